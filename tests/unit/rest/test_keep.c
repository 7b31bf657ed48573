/* SPDX-License-Identifier: MIT */
/* Answers that are kept while nothing changes: when the application is asked, and when not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "memory/memory.h"
#include "rest/api.h"

struct app {
	uint64_t generation;
	int looked; /* how often the application was asked */
	size_t size;
};

static int get(const struct rest_call *call, json_t **resource, struct rest_fault *fault)
{
	struct app *app = call->context;
	char *text = calloc(1, app->size + 1);

	app->looked++;
	if (!text)
		return rest_no_memory(fault);
	memset(text, 'x', app->size);
	*resource = json_pack("{s:i, s:s}", "looked", app->looked, "text", text);
	free(text);
	if (!*resource)
		return rest_no_memory(fault);
	if (call->id && strcmp(call->id, "none") == 0) {
		json_decref(*resource);
		return rest_refuse(fault, 404, "none", NULL, "there is none");
	}
	return 0;
}

static int replace(const struct rest_call *call, const json_t *input, struct rest_made *made,
		   struct rest_fault *fault)
{
	(void)call;
	(void)input;
	(void)made;
	(void)fault;
	return 0;
}

static uint64_t generation(void *context)
{
	const struct app *app = context;

	return app->generation;
}

static const struct rest_field fields[] = {
	{.name = "looked", .kind = REST_NUMBER, .use = REST_LIVE},
	{.name = "text", .use = REST_UPDATE},
	{0},
};
static const struct rest_ops ops = {.get = get, .replace = replace};
static const struct rest_type entry = {.name = "entry", .fields = fields, .ops = &ops};
static const struct rest_type thing = {
	.name = "thing", .plural = "things", .fields = fields, .ops = &ops};
static const struct rest_type news = {
	.name = "new", .plural = "news", .fields = fields, .ops = &ops, .fresh = true};
static const struct rest_type *const types[] = {&thing, &news, NULL};
static const struct rest_model model = {
	.title = "keep", .entry = &entry, .types = types, .generation = generation};
static const struct rest_model careless = {.title = "keep", .entry = &entry, .types = types};

/* The answer's body; to be freed. */
static char *ask(struct rest_api *api, struct rest_request request)
{
	struct rest_response response cleanup(rest_response_free) = {0};
	struct rest_wait wait;

	request.base = request.base ? request.base : "http://a";
	request.target = request.target ? request.target : "/api/things/1";
	request.method = request.method ? request.method : "GET";
	assert_int_equal(rest_answer(api, &request, &response, &wait), REST_ANSWER);
	if (response.status == 200)
		assert_non_null(rest_response_header(&response, "ETag"));
	return buf_take(&response.body);
}

#define ASK(api, ...)                                                                              \
	do {                                                                                       \
		free(ask(api, (struct rest_request){__VA_ARGS__}));                                \
	} while (0)

static void test_nothing_is_made_twice_while_nothing_changes(void **state)
{
	struct app app = {0};
	struct rest_api *api;
	char *first, *second;

	(void)state;
	assert_int_equal(rest_api_new(&model, &app, &api, NULL), 0);
	first = ask(api, (struct rest_request){0});
	second = ask(api, (struct rest_request){0});
	assert_string_equal(first, second);
	ASK(api, .method = "HEAD");
	assert_int_equal(app.looked, 1);
	free(first);
	free(second);
	rest_api_free(api);
}

static void test_a_change_is_seen_at_once(void **state)
{
	struct app app = {0};
	struct rest_api *api;

	(void)state;
	assert_int_equal(rest_api_new(&model, &app, &api, NULL), 0);
	ASK(api);
	app.generation++;
	ASK(api);
	assert_int_equal(app.looked, 2);
	rest_api_changed(api, &news);
	ASK(api);
	assert_int_equal(app.looked, 3);
	ASK(api, .method = "PUT", .content_type = "application/json", .body = "{}", .len = 2);
	app.looked = 0;
	ASK(api);
	assert_int_equal(app.looked, 1);
	rest_job_done(rest_job_new(&(struct rest_call){.api = api, .base = ""}, NULL, NULL), 204,
		      NULL);
	ASK(api);
	assert_int_equal(app.looked, 2);
	rest_api_free(api);
}

static void test_another_request_is_another_answer(void **state)
{
	static const struct rest_request others[] = {
		{.target = "/api/things/2"},
		{.base = "http://b"},
		{.accept = "application/yaml"},
		{.if_match = "*"},
		{.if_none_match = "\"x\""},
		{.expect = "200-ok"},
		{.range = "bytes=0-1"},
		{.target = "/api/things/1?x=y"},
		{.target = "/api/things/1;update"},
	};
	struct app app = {0};
	struct rest_api *api;

	(void)state;
	assert_int_equal(rest_api_new(&model, &app, &api, NULL), 0);
	for (size_t i = 0; i < COUNT(others); i++) {
		ASK(api);
		app.looked = 0;
		free(ask(api, others[i]));
		assert_int_equal(app.looked, 1);
	}
	rest_api_free(api);
}

static void is_never_kept(const struct rest_model *kept_by, size_t size,
			  struct rest_request request)
{
	struct app app = {.size = size};
	struct rest_api *api;

	assert_int_equal(rest_api_new(kept_by, &app, &api, NULL), 0);
	for (int i = 1; i <= 3; i++) {
		free(ask(api, request));
		assert_int_equal(app.looked, i);
	}
	rest_api_free(api);
}

static void test_what_is_never_kept(void **state)
{
	(void)state;
	is_never_kept(&model, 0, (struct rest_request){.target = "/api/news/1"});
	is_never_kept(&model, 0, (struct rest_request){.target = "/api/things/none"});
	is_never_kept(&model, 0, (struct rest_request){.accept = "text/html", .form_token = "t"});
	is_never_kept(&model, 40000, (struct rest_request){0});
	is_never_kept(&careless, 0, (struct rest_request){0});
}

static void tells(struct rest_api *api, struct rest_request request, const char *wanted)
{
	char *body = ask(api, request);

	assert_non_null(strstr(body, wanted));
	free(body);
}

/* More different requests than there are places: each is still answered as asked. */
static void test_places_are_used_again(void **state)
{
	struct app app = {0};
	struct rest_api *api;
	char text[60];

	(void)state;
	assert_int_equal(rest_api_new(&model, &app, &api, NULL), 0);
	for (int i = 0; i < 1000; i++) {
		(void)snprintf(text, sizeof(text), "/api/things/%d", i);
		tells(api, (struct rest_request){.target = text}, text);
		(void)snprintf(text, sizeof(text), "http://h%d", i);
		tells(api, (struct rest_request){.base = text}, text);
		(void)snprintf(text, sizeof(text), "application/%s;x=%d", i % 2 ? "yaml" : "json",
			       i);
		tells(api, (struct rest_request){.accept = text}, i % 2 ? "!thing" : "\"_type\"");
	}
	rest_api_free(api);
}

/* Without memory nothing is kept, or nothing is found: the next answer is right all the same. */
static void test_what_there_is_no_memory_for_is_not_kept(void **state)
{
	static const struct rest_request look = {
		.method = "GET", .target = "/api/things/1", .base = "http://a"};
	bool lacked = true;

	(void)state;
	for (unsigned nth = 1; lacked;) {
		struct app app = {0};
		struct rest_api *api;
		struct rest_response response cleanup(rest_response_free) = {0};
		struct rest_wait wait;

		assert_int_equal(rest_api_new(&model, &app, &api, NULL), 0);
		(void)memory_refuse(&nth);
		assert_int_equal(rest_answer(api, &look, &response, &wait), REST_ANSWER);
		lacked = memory_refused();
		assert_true(response.status == 200 || (lacked && response.status == 500));
		app.looked = 0;
		tells(api, look, "\"text\"");
		tells(api, look, "\"text\"");
		assert_in_range(app.looked, 0, 1);
		rest_api_free(api);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nothing_is_made_twice_while_nothing_changes),
		cmocka_unit_test(test_a_change_is_seen_at_once),
		cmocka_unit_test(test_another_request_is_another_answer),
		cmocka_unit_test(test_what_is_never_kept),
		cmocka_unit_test(test_places_are_used_again),
		cmocka_unit_test(test_what_there_is_no_memory_for_is_not_kept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
