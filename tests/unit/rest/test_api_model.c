/* SPDX-License-Identifier: MIT */
/* A wrong declaration is refused when the api is made, with a sentence that says where. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "base/mem.h"
#include "rest/work.h"
#include "shelves.h"

static const struct rest_ops nothing;
static const struct rest_field no_fields[] = {{0}};
static const struct rest_type entry = {.name = "api", .fields = no_fields, .ops = &nothing};

static void is_refused(const struct rest_type *type, const char *why)
{
	const struct rest_type *types[] = {type, NULL};
	const struct rest_model model = {.title = "test", .entry = &entry, .types = types};
	struct rest_api *api = NULL;
	struct err e = {0};

	assert_int_equal(rest_api_new(&model, NULL, &api, &e), -EINVAL);
	assert_null(api);
	if (!strstr(e.text, why))
		fail_msg("\"%s\" does not say \"%s\"", e.text, why);
}

static void test_wrong_fields(void **state)
{
	static const struct {
		struct rest_field field;
		const char *why;
	} wrong[] = {
		{{.name = "link"}, "link"},
		{{.name = "href"}, "href"},
		{{.name = "_x"}, "_x"},
		{{.name = "a b"}, "a b"},
		{{.name = "a."}, "a."},
		{{.name = "1a"}, "1a"},
		{{.name = "a", .regex = "("}, "regular expression"},
		{{.name = "a", .has_limits = true, .min = 2, .max = 1}, "limits"},
		{{.name = "a", .minlen = 2, .maxlen = 1}, "limits"},
		{{.name = "a", .fallback = "1"}, "default"},
		{{.name = "a", .kind = REST_NUMBER, .sample = "\"1\""}, "sample"},
		{{.name = "a", .kind = REST_BOOLEAN, .sample = "0"}, "sample"},
		{{.name = "a", .kind = REST_LINK, .sample = "\"/\""}, "sample"},
		{{.name = "a", .multiple = true, .sample = "\"x\""}, "array"},
		{{.name = "a", .multiple = true, .sample = "[1]"}, "sample"},
		{{.name = "a", .sample = "[\"x\"]"}, "array"},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(wrong); i++) {
		const struct rest_field fields[] = {wrong[i].field, {0}};
		const struct rest_type type = {
			.name = "thing", .plural = "things", .fields = fields, .ops = &nothing};

		is_refused(&type, wrong[i].why);
		is_refused(&type, "thing");
	}
}

static void test_names_that_go_through_another(void **state)
{
	static const struct rest_field fields[] = {
		{.name = "a", .sample = "\"x\""}, {.name = "a.b", .sample = "\"y\""}, {0}};
	static const struct rest_type type = {
		.name = "thing", .plural = "things", .fields = fields, .ops = &nothing};

	(void)state;
	is_refused(&type, "a.b");
}

static int no_remove(const struct rest_call *call, struct rest_fault *fault)
{
	(void)call;
	return rest_no_memory(fault);
}

static void test_wrong_types(void **state)
{
	static const char *const no_name[] = {"a b", NULL}, *const form[] = {"update", NULL};
	static const struct rest_constraint stray = {.field = "nothing"};
	static const struct rest_constraint group = {.group = &stray, .ngroup = 1};
	static const struct rest_type good = {
		.name = "a", .plural = "as", .fields = no_fields, .ops = &nothing};
	static const struct rest_type *const good_list[] = {&good, NULL}, *const twice[] = {&good,
											    &good,
											    NULL};
	static const struct rest_type deep = {.name = "b",
					      .plural = "bs",
					      .fields = no_fields,
					      .ops = &nothing,
					      .subs = good_list};
	static const struct rest_type *const deep_list[] = {&deep, NULL};
	static const struct {
		struct rest_type type;
		const char *why;
	} wrong[] = {
		{{.name = "a", .fields = no_fields, .ops = &nothing}, "plural"},
		{{.name = "a", .plural = "monitors", .fields = no_fields, .ops = &nothing},
		 "plural"},
		{{.name = "a", .plural = "a/b", .fields = no_fields, .ops = &nothing}, "name"},
		{{.name = "", .plural = "as", .fields = no_fields, .ops = &nothing}, "name"},
		{{.name = "a", .plural = "as", .fields = no_fields}, "operations"},
		{{.name = "a", .plural = "as", .ops = &nothing}, "attributes"},
		{{.name = "a",
		  .plural = "as",
		  .fields = no_fields,
		  .ops = &nothing,
		  .variants = no_name},
		 "variant"},
		{{.name = "a",
		  .plural = "as",
		  .fields = no_fields,
		  .ops = &nothing,
		  .variants = form},
		 "variant"},
		{{.name = "a",
		  .plural = "as",
		  .fields = no_fields,
		  .ops = &nothing,
		  .constraints = &group,
		  .nconstraints = 1},
		 "nothing"},
		{{.name = "a", .plural = "as", .fields = no_fields, .ops = &nothing, .subs = twice},
		 "taken"},
		{{.name = "a",
		  .plural = "as",
		  .fields = no_fields,
		  .ops = &nothing,
		  .subs = deep_list},
		 "sub-collection"},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(wrong); i++)
		is_refused(&wrong[i].type, wrong[i].why);
}

/* What the others are, but for one thing. */
static void test_a_right_one(void **state)
{
	struct shelves shelves;

	(void)state;
	assert_int_equal(shelves_new(&shelves), 0);
	shelves_free(&shelves);
}

/* Also one that declares its id: the placeholder's stays what it is in every URL. */
static void test_an_id_of_a_sample_of_its_own(void **state)
{
	static const struct rest_field fields[] = {
		{.name = "id", .sample = "\"low\""}, {.name = "a", .sample = "\"x\""}, {0}};
	static const struct rest_type type = {
		.name = "thing", .plural = "things", .fields = fields, .ops = &nothing};
	static const struct rest_type *const types[] = {&type, NULL};
	static const struct rest_model model = {.title = "test", .entry = &entry, .types = types};
	struct rest_api *api = NULL;
	struct err e = {0};
	const json_t *sample;

	(void)state;
	assert_int_equal(rest_api_new(&model, NULL, &api, &e), 0);
	sample = api_facts(api, &type)->sample;
	assert_string_equal(json_string_value(json_object_get(sample, "id")), ROUTE_PLACEHOLDER);
	assert_string_equal(json_string_value(json_object_get(sample, "a")), "x");
	rest_api_free(api);
}

/* One may stand below several others: what is known of it is kept once. */
static void test_a_type_below_two_others(void **state)
{
	static const struct rest_type part = {
		.name = "part", .plural = "parts", .fields = no_fields, .ops = &nothing};
	static const struct rest_type *const parts[] = {&part, NULL};
	static const struct rest_type one = {.name = "one",
					     .plural = "ones",
					     .fields = no_fields,
					     .ops = &nothing,
					     .subs = parts},
				      two = {.name = "two",
					     .plural = "twos",
					     .fields = no_fields,
					     .ops = &nothing,
					     .subs = parts};
	static const struct rest_type *const types[] = {&one, &two, NULL};
	static const struct rest_model model = {.title = "test", .entry = &entry, .types = types};
	struct rest_api *api = NULL;
	struct err e = {0};
	size_t found = 0;

	(void)state;
	assert_int_equal(rest_api_new(&model, NULL, &api, &e), 0);
	for (size_t i = 0; i < api->nfacts; i++)
		found += api->facts[i].type == &part;
	assert_int_equal(found, 1);
	rest_api_free(api);
}

static void test_wrong_models(void **state)
{
	static const struct rest_ops removed = {.remove = no_remove};
	static const struct rest_type unseen = {
		.name = "a", .plural = "as", .fields = no_fields, .ops = &removed};
	static const struct rest_type plural = {
		.name = "a", .plural = "as", .fields = no_fields, .ops = &nothing};
	static const struct rest_type *const none[] = {NULL};
	static const struct rest_model wrong[] = {{.types = none},
						  {.entry = &plural, .types = none}};

	(void)state;
	is_refused(&unseen, "looked at");
	for (size_t i = 0; i < COUNT(wrong); i++) {
		struct rest_api *api = NULL;
		struct err e = {0};

		assert_int_equal(rest_api_new(&wrong[i], NULL, &api, &e), -EINVAL);
		assert_string_equal(e.text, "a model needs an entry, without a plural, and types");
	}
}

/* Others than those that this server answers with. */
static void test_any_status_has_a_phrase(void **state)
{
	(void)state;
	assert_string_equal(say_phrase(404), "Not Found");
	assert_string_equal(say_phrase(299), "OK");
	assert_string_equal(say_phrase(599), "Failed");
}

/* What there is no place for is left out, and nothing behind it is overwritten. */
static void test_more_headers_than_there_is_room_for(void **state)
{
	struct rest_response response cleanup(rest_response_free) = {0};
	struct work work = {.response = &response};

	(void)state;
	for (int i = 0; i <= REST_HEADERS_MAX; i++)
		say_header(&work, "Vary", i < REST_HEADERS_MAX ? "Accept" : "too much");
	assert_int_equal(response.nheaders, REST_HEADERS_MAX);
	assert_string_equal(rest_response_header(&response, "Vary"), "Accept");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_wrong_fields),
		cmocka_unit_test(test_names_that_go_through_another),
		cmocka_unit_test(test_wrong_types),
		cmocka_unit_test(test_wrong_models),
		cmocka_unit_test(test_any_status_has_a_phrase),
		cmocka_unit_test(test_a_right_one),
		cmocka_unit_test(test_an_id_of_a_sample_of_its_own),
		cmocka_unit_test(test_a_type_below_two_others),
		cmocka_unit_test(test_more_headers_than_there_is_room_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
