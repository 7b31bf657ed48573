/* SPDX-License-Identifier: MIT */
/* The rules 8 and 13, on a small library of books. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "data/json.h"
#include "memory/memory.h"
#include "rest/form.h"

static const char *const bindings[] = {"hard", "soft", NULL};

static const struct rest_field fields[] = {
	{.name = "title",
	 .kind = REST_STRING,
	 .use = REST_CREATE | REST_SEARCH,
	 .mandatory = true,
	 .minlen = 2,
	 .maxlen = 10,
	 .regex = "[A-Z][a-z ]*",
	 .help = "What it says on the cover."},
	{.name = "authors",
	 .kind = REST_STRING,
	 .multiple = true,
	 .use = REST_CREATE | REST_UPDATE | REST_SEARCH,
	 .maxlen = 5,
	 .most = 3,
	 .fallback = "[\"anon\"]"},
	{.name = "pages",
	 .kind = REST_NUMBER,
	 .use = REST_CREATE | REST_UPDATE,
	 .has_limits = true,
	 .min = 1,
	 .max = 9999.5},
	{.name = "lent",
	 .kind = REST_BOOLEAN,
	 .use = REST_CREATE | REST_UPDATE,
	 .fallback = "false"},
	{.name = "binding",
	 .kind = REST_STRING,
	 .use = REST_CREATE | REST_UPDATE,
	 .choices = bindings,
	 .fallback = "\"soft\""},
	{.name = "size.cm", .kind = REST_NUMBER, .use = REST_CREATE | REST_UPDATE},
	{.name = "size.sheets",
	 .kind = REST_NUMBER,
	 .whole = true,
	 .use = REST_CREATE | REST_UPDATE},
	{.name = "weight.gram", .kind = REST_NUMBER, .use = REST_UPDATE},
	{.name = "shelf", .kind = REST_LINK, .use = REST_CREATE | REST_UPDATE},
	{.name = "reads", .kind = REST_NUMBER, .use = REST_LIVE},
	{.name = "history", .kind = REST_OBJECT},
	{.name = NULL},
};
static const struct rest_type book = {.name = "book", .plural = "books", .fields = fields};

static const struct rest_field weights[] = {
	{.name = "weight.gram", .kind = REST_NUMBER, .use = REST_UPDATE},
	{.name = "weight.ounces", .kind = REST_NUMBER, .whole = true, .use = REST_UPDATE},
	{.name = NULL},
};
static const struct rest_type scales = {.name = "scales", .plural = "scales", .fields = weights};

/* A type whose fields exclude each other: exactly one of isbn, or author with or without year. */
static const struct rest_field key_fields[] = {
	{.name = "isbn", .kind = REST_STRING, .use = REST_CREATE | REST_UPDATE},
	{.name = "author", .kind = REST_STRING, .use = REST_CREATE | REST_UPDATE},
	{.name = "year", .kind = REST_NUMBER, .use = REST_CREATE | REST_UPDATE},
	{.name = "title", .kind = REST_STRING, .use = REST_CREATE},
	{.name = "note", .kind = REST_STRING, .use = REST_CREATE | REST_UPDATE},
	{.name = NULL},
};
static const struct rest_constraint by_author[] = {
	{.mandatory = true, .field = "author"},
	{.mandatory = true, .field = "title"},
	{.field = "year"},
};
static const struct rest_constraint ways[] = {
	{.mandatory = true, .field = "isbn"},
	{.group = by_author, .ngroup = COUNT(by_author)},
};
static const struct rest_constraint key_constraints[] = {
	{.mandatory = true, .exclusive = true, .group = ways, .ngroup = COUNT(ways)},
};
static const struct rest_type key = {
	.name = "key",
	.plural = "keys",
	.fields = key_fields,
	.constraints = key_constraints,
	.nconstraints = COUNT(key_constraints),
};

/* More values than an array has room for at first. */
static const struct rest_field tag_fields[] = {
	{.name = "tags", .kind = REST_STRING, .multiple = true, .use = REST_CREATE},
	{.name = NULL},
};
static const struct rest_type tagged = {.name = "tagged", .plural = "tagged", .fields = tag_fields};

static json_t *json_of(const char *text)
{
	json_t *value = json_loads(text, JSON_DECODE_ANY, NULL);

	if (!value)
		fail_msg("no JSON: %s", text);
	return value;
}

static void assert_json(const json_t *value, const char *wanted)
{
	json_t *other cleanup(json_free_at) = json_of(wanted);

	if (!json_equal(value, other)) {
		char *text cleanup(free_at) = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);

		fail_msg("%s where %s is wanted", text, wanted);
	}
}

static void test_rule_13_forms_describe_their_fields(void **state)
{
	json_t *form cleanup(json_free_at) =
		rest_form(&book, REST_FORM_CREATE, "http://h/f", "http://h/a", NULL);

	(void)state;
	assert_json(
		form,
		"{\"_type\":\"form\",\"id\":\"create\",\"href\":\"http://h/f\",\"method\":\"POST\","
		"\"action\":\"http://h/a\",\"type\":\"book\",\"fields\":["
		"{\"name\":\"title\",\"type\":\"string\",\"minlen\":2,\"maxlen\":10,"
		"\"regex\":\"[A-Z][a-z ]*\",\"help\":\"What it says on the cover.\"},"
		"{\"name\":\"authors\",\"type\":\"string\",\"multiple\":true,\"most\":3,"
		"\"maxlen\":5,\"value\":[\"anon\"]},"
		"{\"name\":\"pages\",\"type\":\"number\",\"min\":1,\"max\":9999.5},"
		"{\"name\":\"lent\",\"type\":\"boolean\",\"value\":false},"
		"{\"name\":\"binding\",\"type\":\"string\",\"choices\":[\"hard\",\"soft\"],"
		"\"value\":\"soft\"},"
		"{\"name\":\"size.cm\",\"type\":\"number\"},"
		"{\"name\":\"size.sheets\",\"type\":\"number\",\"integer\":true},"
		"{\"name\":\"shelf.href\",\"type\":\"string\"}],"
		"\"constraints\":[{\"sense\":\"mandatory\",\"field\":\"title\"},"
		"{\"sense\":\"optional\",\"field\":\"authors\"},"
		"{\"sense\":\"optional\",\"field\":\"pages\"},"
		"{\"sense\":\"optional\",\"field\":\"lent\"},"
		"{\"sense\":\"optional\",\"field\":\"binding\"},"
		"{\"sense\":\"optional\",\"field\":\"size.cm\"},"
		"{\"sense\":\"optional\",\"field\":\"size.sheets\"},"
		"{\"sense\":\"optional\",\"field\":\"shelf.href\"}]}");
}

static const json_t *field_of(const json_t *form, const char *name)
{
	const json_t *field;
	size_t i;

	json_array_foreach(json_object_get(form, "fields"), i, field)
	{
		if (strcmp(json_string_value(json_object_get(field, "name")), name) == 0)
			return field;
	}
	return NULL;
}

static void test_rule_13_the_four_standard_forms(void **state)
{
	static const struct {
		enum rest_form_kind kind;
		const char *name, *method;
		size_t fields;
	} cases[] = {
		{REST_FORM_CREATE, "create", "POST", 8},
		{REST_FORM_UPDATE, "update", "PUT", 8},
		{REST_FORM_DELETE, "delete", "DELETE", 0},
		{REST_FORM_SEARCH, "search", "GET", 2},
	};
	json_t *current cleanup(json_free_at) =
		json_of("{\"pages\":7,\"lent\":null,\"size\":{\"cm\":4},\"shelf\":{\"href\":"
			"\"x\"}}");
	json_t *update cleanup(json_free_at) = rest_form(&book, REST_FORM_UPDATE, "", "", current);
	json_t *search cleanup(json_free_at) = rest_form(&book, REST_FORM_SEARCH, "", "", NULL);

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		json_t *form cleanup(json_free_at) = rest_form(&book, cases[i].kind, "", "", NULL);

		assert_string_equal(rest_form_name(cases[i].kind), cases[i].name);
		assert_string_equal(json_string_value(json_object_get(form, "id")), cases[i].name);
		assert_string_equal(json_string_value(json_object_get(form, "method")),
				    cases[i].method);
		assert_int_equal(json_array_size(json_object_get(form, "fields")), cases[i].fields);
	}
	/* an update form shows what is there, also where that is nothing */
	assert_int_equal(json_integer_value(json_object_get(field_of(update, "pages"), "value")),
			 7);
	assert_int_equal(json_integer_value(json_object_get(field_of(update, "size.cm"), "value")),
			 4);
	assert_string_equal(
		json_string_value(json_object_get(field_of(update, "shelf.href"), "value")), "x");
	assert_null(json_object_get(field_of(update, "lent"), "value"));
	/* a search is for one value */
	assert_null(json_object_get(field_of(search, "authors"), "multiple"));
	assert_json(json_object_get(search, "constraints"),
		    "[{\"sense\":\"optional\",\"field\":\"title\"},"
		    "{\"sense\":\"optional\",\"field\":\"authors\"}]");
}

/* Whoever asks for a change looks whether anything was lost, as change.c does. */
static int checked_whole(int r, json_t **value, struct rest_fault *fault)
{
	if (r < 0)
		return fault->status == 500 ? -ENOMEM : r;
	if (!json_lacked())
		return 0;
	json_decref(*value);
	*value = NULL;
	return -ENOMEM;
}

static int check_whole(const struct rest_type *type, enum rest_form_kind kind, const json_t *input,
		       bool text, json_t **checked, struct rest_fault *fault)
{
	json_forget_lack();
	return checked_whole(rest_form_check(type, kind, input, text, checked, fault), checked,
			     fault);
}

static int patch_whole(const json_t *resource, const json_t *patch, json_t **whole,
		       struct rest_fault *fault)
{
	json_forget_lack();
	return checked_whole(rest_patch(&book, resource, patch, whole, fault), whole, fault);
}

static void assert_checked(const struct rest_type *type, enum rest_form_kind kind, bool text,
			   const char *input, const char *wanted)
{
	json_t *value cleanup(json_free_at) = json_of(input);
	json_t *checked cleanup(json_free_at) = NULL;
	struct rest_fault fault = {0};

	if (scarce(check_whole(type, kind, value, text, &checked, &fault)) < 0)
		fail_msg("%s is refused: %s", input, fault.why.text);
	assert_json(checked, wanted);
}

static void assert_fault(const struct rest_type *type, enum rest_form_kind kind, bool text,
			 const char *input, const char *code, const char *field,
			 const char *sentence)
{
	json_t *value cleanup(json_free_at) = json_of(input);
	json_t *untouched = json_null(), *checked = untouched;
	struct rest_fault fault = {0};

	if (rest_form_check(type, kind, value, text, &checked, &fault) == 0)
		fail_msg("%s is taken", input);
	assert_ptr_equal(checked, untouched);
	assert_int_equal(fault.status, 400);
	if (strcmp(fault.code, code) != 0 || strcmp(fault.field, field) != 0 ||
	    strcmp(fault.why.text, sentence) != 0)
		fail_msg("%s gives %s, \"%s\", \"%s\"", input, fault.code, fault.field,
			 fault.why.text);
}

static void test_rule_13_many_values(void **state)
{
	static const char many[] =
		"{\"tags\":[\"a\",\"b\",\"c\",\"d\",\"e\",\"f\",\"g\",\"h\",\"i\"]}";

	(void)state;
	assert_checked(&tagged, REST_FORM_CREATE, false, many, many);
}

static void test_rule_13_defaults_are_filled_in(void **state)
{
	(void)state;
	assert_checked(&book, REST_FORM_CREATE, false, "{\"title\":\"Ab\"}",
		       "{\"title\":\"Ab\",\"authors\":[\"anon\"],\"pages\":null,\"lent\":false,"
		       "\"binding\":\"soft\",\"size\":{\"cm\":null,\"sheets\":null},"
		       "\"shelf\":null}");
	assert_checked(&book, REST_FORM_CREATE, false,
		       "{\"_type\":\"book\",\"title\":\"Ab\",\"authors\":\"me\",\"pages\":2.5,"
		       "\"lent\":true,\"binding\":\"hard\",\"size\":{\"cm\":3},"
		       "\"shelf\":{\"href\":\"http://h/x\"}}",
		       "{\"title\":\"Ab\",\"authors\":[\"me\"],\"pages\":2.5,\"lent\":true,"
		       "\"binding\":\"hard\",\"size\":{\"cm\":3,\"sheets\":null},"
		       "\"shelf\":{\"href\":\"http://h/x\"}}");
	assert_checked(&book, REST_FORM_UPDATE, false, "{\"authors\":[],\"lent\":null}",
		       "{\"authors\":[],\"pages\":null,\"lent\":false,\"binding\":\"soft\","
		       "\"size\":{\"cm\":null,\"sheets\":null},\"weight\":{\"gram\":null},"
		       "\"shelf\":null}");
	assert_checked(&book, REST_FORM_SEARCH, false, "{\"authors\":\"me\"}",
		       "{\"title\":null,\"authors\":\"me\"}");
	assert_checked(&book, REST_FORM_DELETE, false, "{}", "{}");
}

static void test_rule_4_reserved_attributes_are_left_out(void **state)
{
	(void)state;
	assert_checked(&key, REST_FORM_UPDATE, false,
		       "{\"_type\":\"key\",\"id\":\"x\",\"href\":\"y\",\"link\":[],\"title\":\"t\","
		       "\"note\":\"n\"}",
		       "{\"isbn\":null,\"author\":null,\"year\":null,\"note\":\"n\"}");
	assert_fault(&book, REST_FORM_CREATE, false, "{\"_type\":\"shelf\",\"title\":\"Ab\"}",
		     "wrong-type", "_type", "_type must be \"book\", not \"shelf\"");
	assert_fault(&book, REST_FORM_CREATE, false, "{\"_type\":1}", "wrong-type", "_type",
		     "_type must be \"book\"");
	assert_fault(&book, REST_FORM_CREATE, false, "{\"title\":\"Ab\",\"_token\":\"x\"}",
		     "unknown-field", "_token", "_token is not known");
}

static void test_rule_13_values_are_checked(void **state)
{
	static const struct {
		const char *input, *field, *sentence;
	} cases[] = {
		{"{\"title\":1}", "title", "title must be a string"},
		{"{\"title\":[\"Ab\"]}", "title", "title must be one value, not several"},
		{"{\"title\":\"A\"}", "title", "title must have at least 2 bytes, not 1"},
		{"{\"title\":\"Abcdefghijk\"}", "title",
		 "title must have at most 10 bytes, not 11"},
		{"{\"title\":\"ab\"}", "title",
		 "title must match the regular expression [A-Z][a-z ]*, unlike \"ab\""},
		{"{\"title\":\"Ab\\nc\"}", "title",
		 "title must match the regular expression [A-Z][a-z ]*, unlike \"Ab\\x0ac\""},
		{"{\"authors\":[\"a\",\"b\",\"c\",\"d\"]}", "authors",
		 "authors must have at most 3 values, not 4"},
		{"{\"authors\":[\"a\",\"abcdef\"]}", "authors[1]",
		 "authors[1] must have at most 5 bytes, not 6"},
		{"{\"authors\":[null]}", "authors[0]", "authors[0] must be a string"},
		{"{\"authors\":{\"a\":1}}", "authors[0]", "authors[0] must be a string"},
		{"{\"pages\":\"1\"}", "pages", "pages must be a number"},
		{"{\"pages\":0.5}", "pages", "pages must be at least 1"},
		{"{\"pages\":10000}", "pages", "pages must be at most 9999.5"},
		{"{\"lent\":\"true\"}", "lent", "lent must be true or false"},
		{"{\"binding\":\"x\"}", "binding", "binding must be hard or soft, not \"x\""},
		{"{\"size\":{\"cm\":\"x\"}}", "size.cm", "size.cm must be a number"},
		{"{\"size\":{\"sheets\":1.5}}", "size.sheets",
		 "size.sheets must be a whole number"},
		{"{\"shelf\":{\"href\":1}}", "shelf.href", "shelf.href must be a string"},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++)
		assert_fault(&book, REST_FORM_CREATE, false, cases[i].input, "bad-value",
			     cases[i].field, cases[i].sentence);
	assert_fault(&book, REST_FORM_CREATE, false, "{\"title\":\"Ab\",\"shelf\":\"x\"}",
		     "bad-value", "shelf", "shelf must be an object with \"href\"");
	assert_fault(&book, REST_FORM_CREATE, false, "[]", "not-an-object", "",
		     "an object of type \"book\" is wanted");
	assert_fault(&book, REST_FORM_CREATE, false, "null", "not-an-object", "",
		     "an object of type \"book\" is wanted");
}

/* JavaScript has no other numbers; and a form's are written as HTML lets them be. */
static void test_rule_13_a_number_in_each_way_of_writing_it(void **state)
{
	static const struct {
		const char *typed, *wanted; /* NULL: refused */
	} cases[] = {
		{"12", "12"},  {"012", "12"},	{"0", "0"},	  {"000", "0"},	    {"-05", "-5"},
		{".5", "0.5"}, {"-.5", "-0.5"}, {"00.50", "0.5"}, {"1e2", "100.0"}, {"5E-1", "0.5"},
		{"0x1", NULL}, {"+5", NULL},	{".", NULL},	  {"-", NULL},	    {"5.", NULL},
		{"e5", NULL},  {"1e999", NULL}, {"--5", NULL},	  {"5 6", NULL},    {"..5", NULL},
	};
	char input[80], made[80];

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		snprintf(input, sizeof(input), "{\"weight\":{\"gram\":\"%s\"}}", cases[i].typed);
		if (!cases[i].wanted) {
			assert_fault(&scales, REST_FORM_UPDATE, true, input, "bad-value",
				     "weight.gram", "weight.gram must be a number");
			continue;
		}
		snprintf(made, sizeof(made), "{\"weight\":{\"gram\":%s,\"ounces\":null}}",
			 cases[i].wanted);
		assert_checked(&scales, REST_FORM_UPDATE, true, input, made);
	}
	assert_checked(&scales, REST_FORM_UPDATE, false, "{\"weight\":{\"ounces\":1e3}}",
		       "{\"weight\":{\"gram\":null,\"ounces\":1000}}");
	assert_checked(&scales, REST_FORM_UPDATE, true, "{\"weight\":{\"ounces\":\"7.0\"}}",
		       "{\"weight\":{\"gram\":null,\"ounces\":7}}");
}

static void test_rule_13_presence_is_checked_after_values(void **state)
{
	(void)state;
	assert_fault(&book, REST_FORM_CREATE, false, "{}", "missing-field", "title",
		     "title is missing");
	assert_fault(&book, REST_FORM_CREATE, false, "{\"title\":null}", "missing-field", "title",
		     "title is missing");
	assert_fault(&book, REST_FORM_CREATE, false, "{\"pages\":0}", "bad-value", "pages",
		     "pages must be at least 1");
	assert_fault(&book, REST_FORM_CREATE, false, "{\"nonsense\":1}", "missing-field", "title",
		     "title is missing");
}

static void test_rule_13_an_exclusive_group_stops_at_its_first_match(void **state)
{
	(void)state;
	assert_checked(&key, REST_FORM_CREATE, false, "{\"isbn\":\"1\"}",
		       "{\"isbn\":\"1\",\"author\":null,\"year\":null,\"title\":null,"
		       "\"note\":null}");
	assert_checked(&key, REST_FORM_CREATE, false, "{\"author\":\"a\",\"title\":\"t\"}",
		       "{\"isbn\":null,\"author\":\"a\",\"year\":null,\"title\":\"t\","
		       "\"note\":null}");
	assert_checked(&key, REST_FORM_CREATE, false,
		       "{\"author\":\"a\",\"title\":\"t\",\"year\":1,\"note\":\"n\"}",
		       "{\"isbn\":null,\"author\":\"a\",\"year\":1,\"title\":\"t\","
		       "\"note\":\"n\"}");
	assert_fault(&key, REST_FORM_CREATE, false, "{\"isbn\":\"1\",\"year\":1}", "unwanted-field",
		     "year", "year can't be given together with the others");
	assert_fault(&key, REST_FORM_CREATE, false, "{}", "missing-field", "",
		     "one is missing of isbn, author, title, year");
}

static void test_rule_13_an_ordinary_group_gives_back_what_it_collected(void **state)
{
	static const struct rest_constraint group[] = {
		{.mandatory = true, .field = "isbn"},
		{.mandatory = true, .field = "year"},
	};
	static const struct rest_constraint whole[] = {{.group = group, .ngroup = COUNT(group)}};
	struct rest_type pair = key;

	(void)state;
	pair.constraints = whole;
	pair.nconstraints = COUNT(whole);
	assert_checked(&pair, REST_FORM_CREATE, false, "{\"isbn\":\"1\",\"year\":2}",
		       "{\"isbn\":\"1\",\"author\":null,\"year\":2,\"title\":null,"
		       "\"note\":null}");
	/* the group misses, which is no fault; but then nothing has named isbn */
	assert_fault(&pair, REST_FORM_CREATE, false, "{\"isbn\":\"1\"}", "unwanted-field", "isbn",
		     "isbn can't be given together with the others");
	assert_checked(&pair, REST_FORM_CREATE, false, "{}",
		       "{\"isbn\":null,\"author\":null,\"year\":null,\"title\":null,"
		       "\"note\":null}");
}

/* The update form has no title: then the group can't be asked for as a whole. */
static void test_rule_13_a_group_without_all_its_fields_is_optional(void **state)
{
	json_t *form cleanup(json_free_at) = rest_form(&key, REST_FORM_UPDATE, "", "", NULL);

	(void)state;
	assert_json(json_object_get(form, "constraints"),
		    "[{\"sense\":\"optional\",\"exclusive\":true,\"constraints\":["
		    "{\"sense\":\"mandatory\",\"field\":\"isbn\"},"
		    "{\"sense\":\"optional\",\"exclusive\":false,\"constraints\":["
		    "{\"sense\":\"mandatory\",\"field\":\"author\"},"
		    "{\"sense\":\"optional\",\"field\":\"year\"}]}]},"
		    "{\"sense\":\"optional\",\"field\":\"note\"}]");
}

static void test_rule_13_a_field_that_nothing_names_is_an_error(void **state)
{
	(void)state;
	assert_fault(&book, REST_FORM_CREATE, false, "{\"title\":\"Ab\",\"page\":1}",
		     "unknown-field", "page", "page is not known; did you mean pages?");
	assert_fault(&book, REST_FORM_CREATE, false, "{\"title\":\"Ab\",\"size\":{\"inch\":1}}",
		     "unknown-field", "size.inch", "size.inch is not known");
	assert_fault(&book, REST_FORM_CREATE, false, "{\"title\":\"Ab\",\"weight\":{\"kg\":1}}",
		     "unknown-field", "weight.kg", "weight.kg is not known");
	assert_fault(&book, REST_FORM_CREATE, false, "{\"title\":\"Ab\",\"height\":{}}",
		     "unknown-field", "height", "height is not known");
	assert_fault(&book, REST_FORM_CREATE, false, "{\"title\":\"Ab\",\"size\":4}",
		     "unknown-field", "size", "size is not known");
	assert_fault(&book, REST_FORM_CREATE, false, "{\"title\":\"Ab\",\"\\u001b[31m\":1}",
		     "unknown-field", "\\x1b[31m", "\\x1b[31m is not known");
	assert_fault(&book, REST_FORM_DELETE, false, "{\"x\":1}", "unknown-field", "x",
		     "x is not known");
	/* null is as good as absent; what is only shown may come back as it was */
	assert_checked(&book, REST_FORM_UPDATE, false,
		       "{\"nonsense\":null,\"reads\":4,\"history\":{\"x\":1}}",
		       "{\"authors\":[\"anon\"],\"pages\":null,\"lent\":false,\"binding\":\"soft\","
		       "\"size\":{\"cm\":null,\"sheets\":null},\"weight\":{\"gram\":null},"
		       "\"shelf\":null}");
	/* but not in a search, which would find all */
	assert_fault(&book, REST_FORM_SEARCH, false, "{\"reads\":4}", "unknown-field", "reads",
		     "nothing can be searched for by reads: there is title, authors");
	assert_fault(&book, REST_FORM_SEARCH, false, "{\"id\":\"1\"}", "unknown-field", "id",
		     "id is not known");
}

static void test_rule_13_form_bodies_are_read_as_what_the_fields_are(void **state)
{
	(void)state;
	assert_checked(&book, REST_FORM_CREATE, true,
		       "{\"_type\":\"book\",\"_method\":\"POST\",\"_token\":\"t\",\"title\":\"Ab\","
		       "\"authors\":\" me \\r\\n\\r\\nyou\\r\\n\",\"pages\":\"12\",\"lent\":"
		       "\"true\",\"binding\":\"\",\"size\":{\"cm\":\"1.5\",\"sheets\":\"\"},"
		       "\"shelf\":{\"href\":\"\"},\"nonsense\":\"\"}",
		       "{\"title\":\"Ab\",\"authors\":[\"me\",\"you\"],\"pages\":12,\"lent\":true,"
		       "\"binding\":\"soft\",\"size\":{\"cm\":1.5,\"sheets\":null},"
		       "\"shelf\":null}");
	assert_checked(&book, REST_FORM_UPDATE, true,
		       "{\"authors\":[\"a\",\"b\\nc\"],\"lent\":\"false\"}",
		       "{\"authors\":[\"a\",\"b\",\"c\"],\"pages\":null,\"lent\":false,"
		       "\"binding\":\"soft\",\"size\":{\"cm\":null,\"sheets\":null},"
		       "\"weight\":{\"gram\":null},\"shelf\":null}");
	assert_checked(&book, REST_FORM_UPDATE, true, "{\"authors\":\"\\r\\n\"}",
		       "{\"authors\":[\"anon\"],\"pages\":null,\"lent\":false,"
		       "\"binding\":\"soft\",\"size\":{\"cm\":null,\"sheets\":null},"
		       "\"weight\":{\"gram\":null},\"shelf\":null}");
	assert_fault(&book, REST_FORM_UPDATE, true, "{\"pages\":\"x\"}", "bad-value", "pages",
		     "pages must be a number");
	assert_fault(&book, REST_FORM_UPDATE, true, "{\"pages\":[\"1\",\"2\"]}", "bad-value",
		     "pages", "pages must be one value, not several");
	assert_fault(&book, REST_FORM_UPDATE, true, "{\"lent\":\"on\"}", "bad-value", "lent",
		     "lent must be true or false");
}

static const char there[] =
	"{\"id\":\"1\",\"title\":\"Ab\",\"authors\":[\"a\",\"b\"],\"pages\":7,\"lent\":false,"
	"\"size\":{\"cm\":1,\"sheets\":2},\"shelf\":null,\"reads\":5}";

static void assert_patched(const char *patch, const char *wanted)
{
	json_t *resource cleanup(json_free_at) = json_of(there);
	json_t *value cleanup(json_free_at) = json_of(patch);
	json_t *whole cleanup(json_free_at) = NULL;
	json_t *changes cleanup(json_free_at) = json_of(wanted);
	json_t *expected cleanup(json_free_at) = json_of(there);
	struct rest_fault fault = {0};

	if (scarce(patch_whole(resource, value, &whole, &fault)) < 0)
		fail_msg("%s is refused: %s", patch, fault.why.text);
	assert_json(resource, there); /* nothing is changed in place */
	json_object_update(expected, changes);
	if (!json_equal(whole, expected)) {
		char *text cleanup(free_at) = json_dumps(whole, JSON_COMPACT);

		fail_msg("%s gives %s", patch, text);
	}
}

static void assert_patch_fault(const char *patch, const char *code, const char *field,
			       const char *sentence)
{
	json_t *resource cleanup(json_free_at) = json_of(there);
	json_t *value cleanup(json_free_at) = json_of(patch);
	json_t *whole = NULL;
	struct rest_fault fault = {0};

	if (rest_patch(&book, resource, value, &whole, &fault) == 0)
		fail_msg("%s is taken", patch);
	assert_null(whole);
	assert_int_equal(fault.status, 400);
	if (strcmp(fault.code, code) != 0 || strcmp(fault.field, field) != 0 ||
	    strcmp(fault.why.text, sentence) != 0)
		fail_msg("%s gives %s, \"%s\", \"%s\"", patch, fault.code, fault.field,
			 fault.why.text);
}

static void test_rule_8_a_partial_object_changes_what_it_gives(void **state)
{
	(void)state;
	assert_patched("{}", "{}");
	assert_patched("{\"pages\":8}", "{\"pages\":8}");
	assert_patched("{\"pages\":null}", "{\"pages\":null}");
	assert_patched("{\"authors\":[\"c\"]}", "{\"authors\":[\"c\"]}");
	assert_patched("{\"size\":{\"cm\":4}}", "{\"size\":{\"cm\":4,\"sheets\":2}}");
	assert_patched("{\"shelf\":{\"href\":\"x\"}}", "{\"shelf\":{\"href\":\"x\"}}");
	assert_patched("{\"id\":\"1\",\"title\":\"Ab\",\"reads\":5.0}", "{\"reads\":5.0}");
	assert_patch_fault("{\"title\":\"Cd\"}", "fixed-field", "title", "title can't be changed");
	assert_patch_fault("{\"title\":null}", "fixed-field", "title", "title can't be changed");
	assert_patch_fault("{\"reads\":0}", "fixed-field", "reads", "reads can't be changed");
	assert_patch_fault("{\"id\":\"2\"}", "fixed-field", "id", "id can't be changed");
	assert_patch_fault("\"x\"", "bad-patch", "",
			   "a partial object or an array of changes is wanted");
}

#define CHANGE(path, change) "[{\"path\":\"" path "\",\"change\":\"" change "\"}]"
#define VALUE(path, change, value)                                                                 \
	"[{\"path\":\"" path "\",\"change\":\"" change "\",\"value\":" value "}]"

static void test_rule_8_a_list_of_changes(void **state)
{
	(void)state;
	assert_patched("[]", "{}");
	assert_patched(VALUE("authors", "add", "\"c\""), "{\"authors\":[\"a\",\"b\",\"c\"]}");
	assert_patched(VALUE("authors[1]", "add", "\"c\""), "{\"authors\":[\"a\",\"c\",\"b\"]}");
	assert_patched(VALUE("authors[2]", "add", "\"c\""), "{\"authors\":[\"a\",\"b\",\"c\"]}");
	assert_patched(VALUE("authors", "remove", "\"a\""), "{\"authors\":[\"b\"]}");
	assert_patched(CHANGE("authors[0]", "remove"), "{\"authors\":[\"b\"]}");
	assert_patched(CHANGE("authors", "remove"), "{\"authors\":null}");
	assert_patched(VALUE("authors[1]", "change", "\"c\""), "{\"authors\":[\"a\",\"c\"]}");
	assert_patched(VALUE("authors", "change", "[]"), "{\"authors\":[]}");
	assert_patched(CHANGE("pages", "remove"), "{\"pages\":null}");
	assert_patched(VALUE("pages", "change", "1"), "{\"pages\":1}");
	assert_patched(VALUE("size.cm", "change", "9"), "{\"size\":{\"cm\":9,\"sheets\":2}}");
	assert_patched(VALUE("weight.gram", "add", "9"), "{\"weight\":{\"gram\":9}}");
	assert_patched(VALUE("shelf", "add", "{\"href\":\"x\"}"), "{\"shelf\":{\"href\":\"x\"}}");
	assert_patched(VALUE("shelf.href", "add", "\"x\""), "{\"shelf\":{\"href\":\"x\"}}");
	assert_patched("[{\"path\":\"authors\",\"change\":\"remove\"},"
		       "{\"_type\":\"change\",\"path\":\"authors\",\"change\":\"add\","
		       "\"value\":\"z\"},"
		       "{\"path\":\"pages\",\"change\":\"remove\"},"
		       "{\"path\":\"pages\",\"change\":\"add\",\"value\":3}]",
		       "{\"authors\":[\"z\"],\"pages\":3}");
}

/* One value of several may be told without an array: it is the first of them all the same. */
static void test_rule_8_one_value_without_an_array(void **state)
{
	static const struct {
		const char *patch, *authors;
	} changes[] = {
		{VALUE("authors", "remove", "\"a\""), "[]"},
		{VALUE("authors", "add", "\"c\""), "[\"a\",\"c\"]"},
		{VALUE("authors[0]", "change", "\"c\""), "[\"c\"]"},
		{VALUE("authors[0]", "add", "\"c\""), "[\"c\",\"a\"]"},
		{CHANGE("authors[0]", "remove"), "[]"},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(changes); i++) {
		json_t *resource cleanup(json_free_at) = json_of("{\"authors\":\"a\"}");
		json_t *patch cleanup(json_free_at) = json_of(changes[i].patch);
		json_t *wanted cleanup(json_free_at) = json_of(changes[i].authors);
		json_t *whole cleanup(json_free_at) = NULL;
		struct rest_fault fault = {0};

		if (rest_patch(&book, resource, patch, &whole, &fault) < 0)
			fail_msg("%s: %s", changes[i].patch, fault.why.text);
		if (!json_equal(json_object_get(whole, "authors"), wanted))
			fail_msg("%s gives something else", changes[i].patch);
	}
}

static void test_rule_8_a_wrong_change_is_refused(void **state)
{
	static const char *const nowhere[] = {"",
					      "page",
					      "authors[2]",
					      "authors[x]",
					      "authors[]",
					      "authors[-1]",
					      "authors[0",
					      "authors[0]x",
					      "authors.0",
					      "pages[0]",
					      "pages.x",
					      "size",
					      "authors[99999999999999999999]"};

	(void)state;
	for (size_t i = 0; i < COUNT(nowhere); i++) {
		char patch[128], sentence[160];

		(void)snprintf(patch, sizeof(patch), CHANGE("%s", "remove"), nowhere[i]);
		(void)snprintf(sentence, sizeof(sentence),
			       "the path %s leads nowhere; paths look like \"name\", \"cpu.cores\" "
			       "or \"from[1]\"",
			       nowhere[i]);
		assert_patch_fault(patch, "bad-path", nowhere[i], sentence);
	}
	assert_patch_fault(VALUE("authors[3]", "add", "\"c\""), "bad-path", "authors[3]",
			   "the path authors[3] leads nowhere; paths look like \"name\", "
			   "\"cpu.cores\" or \"from[1]\"");
	assert_patch_fault(VALUE("authors[2]", "change", "\"c\""), "bad-path", "authors[2]",
			   "the path authors[2] leads nowhere; paths look like \"name\", "
			   "\"cpu.cores\" or \"from[1]\"");
	assert_patch_fault(VALUE("title", "change", "\"Cd\""), "fixed-field", "title",
			   "title can't be changed");
	assert_patch_fault(VALUE("pages", "add", "1"), "bad-change", "pages",
			   "pages has a value; \"change\" it");
	assert_patch_fault(VALUE("authors", "remove", "\"z\""), "bad-change", "authors",
			   "authors has no such value to remove");
	assert_patch_fault(CHANGE("pages", "change"), "bad-change", "pages",
			   "the change of pages has no \"value\"");
	assert_patch_fault(VALUE("pages", "set", "1"), "bad-change", "pages",
			   "the \"change\" of pages must be add, remove or change");
	assert_patch_fault("[1]", "bad-change", "",
			   "change 0 must be an object with \"path\" and \"change\"");
	assert_patch_fault("[{\"path\":\"pages\",\"change\":\"remove\",\"from\":1}]", "bad-change",
			   "", "change 0 has an unknown \"from\"");
}

static void test_rule_7_a_replacement_must_keep_what_is_fixed(void **state)
{
	json_t *resource cleanup(json_free_at) = json_of(there);
	json_t *same cleanup(json_free_at) =
		json_of("{\"id\":\"1\",\"title\":\"Ab\",\"reads\":99,\"pages\":1}");
	json_t *other cleanup(json_free_at) = json_of("{\"title\":\"Cd\"}");
	struct rest_fault fault = {0};

	(void)state;
	assert_int_equal(rest_form_fixed(&book, resource, same, &fault), 0);
	assert_int_equal(rest_form_fixed(&book, resource, other, &fault), -1);
	assert_string_equal(fault.field, "title");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rule_4_reserved_attributes_are_left_out),
		cmocka_unit_test(test_rule_7_a_replacement_must_keep_what_is_fixed),
		cmocka_unit_test(test_rule_8_a_partial_object_changes_what_it_gives),
		cmocka_unit_test(test_rule_8_a_list_of_changes),
		cmocka_unit_test(test_rule_8_one_value_without_an_array),
		cmocka_unit_test(test_rule_8_a_wrong_change_is_refused),
		cmocka_unit_test(test_rule_13_forms_describe_their_fields),
		cmocka_unit_test(test_rule_13_the_four_standard_forms),
		cmocka_unit_test(test_rule_13_defaults_are_filled_in),
		cmocka_unit_test(test_rule_13_many_values),
		cmocka_unit_test(test_rule_13_values_are_checked),
		cmocka_unit_test(test_rule_13_a_number_in_each_way_of_writing_it),
		cmocka_unit_test(test_rule_13_presence_is_checked_after_values),
		cmocka_unit_test(test_rule_13_an_exclusive_group_stops_at_its_first_match),
		cmocka_unit_test(test_rule_13_an_ordinary_group_gives_back_what_it_collected),
		cmocka_unit_test(test_rule_13_a_group_without_all_its_fields_is_optional),
		cmocka_unit_test(test_rule_13_a_field_that_nothing_names_is_an_error),
		cmocka_unit_test(test_rule_13_form_bodies_are_read_as_what_the_fields_are),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
