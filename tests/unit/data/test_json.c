/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "data/json.h"
#include "memory/memory.h"

static void values_are_read(void **state)
{
	static const char text[] = " {\"a\": [1, 2.5, \"x\", null, true]}\n";
	json_t *value cleanup(json_free_at) = NULL;

	(void)state;
	assert_int_equal(scarce(json_read(text, strlen(text), "f", &value, NULL)), 0);
	assert_int_equal(json_array_size(json_object_get(value, "a")), 5);
}

static void what_is_no_json_is_refused(void **state)
{
	static const struct {
		const char *text;
		const char *sentence; /* its start */
	} cases[] = {
		{"", "f:1: "},
		{"{\"a\": 1,\n \"a\": 2}", "f:2: duplicate object key near '\"a\"'"},
		{"{} x", "f:1: end of file expected near 'x'"},
		{"{\n\n  \"a\": \x1b[31m}", "f:3: invalid token near '\\x1b'"},
		{"\"\xff\"", "f:1: unable to decode byte 0xff"},
		{"\"a\\u0000b\"", "f:1: \\u0000 is not allowed"},
		{"99999999999999999999", "f:1: too big integer"},
		{"NaN", "f:1: "},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		json_t *untouched = json_null(), *value = untouched;
		struct err e = {0};

		assert_int_equal(
			scarce(json_read(cases[i].text, strlen(cases[i].text), "f", &value, &e)),
			-EBADMSG);
		assert_ptr_equal(value, untouched);
		if (strncmp(e.text, cases[i].sentence, strlen(cases[i].sentence)) != 0)
			fail_msg("'%s' gives '%s'", cases[i].text, e.text);
	}
}

static void text_is_taken_if_it_is_utf8(void **state)
{
	json_t *value cleanup(json_free_at) = NULL, *untouched = NULL;

	(void)state;
	assert_int_equal(json_text("caf\xc3\xa9!", 5, &value), 0);
	assert_string_equal(json_string_value(value), "caf\xc3\xa9");
	assert_int_equal(json_text("caf\xc3\xa9", 4, &untouched), -EILSEQ);
	assert_null(untouched);
}

static void values_are_printed(void **state)
{
	json_t *value cleanup(json_free_at) =
		json_pack("{s:s, s:[i,f], s:{}}", "name", "caf\xc3\xa9", "n", 1, 0.1, "none");
	char *text cleanup(free_at) = NULL;
	size_t len = 0;
	FILE *stream = open_memstream(&text, &len);

	(void)state;
	assert_int_equal(json_print(value, stream, NULL), 0);
	fclose(stream);
	assert_string_equal(text, "{\n  \"name\": \"caf\xc3\xa9\",\n  \"n\": [\n    1,\n    0.1\n  "
				  "],\n  \"none\": {}\n}\n");
}

static void a_failing_write_is_reported(void **state)
{
	json_t *value cleanup(json_free_at) = json_integer(1);
	FILE *full = fopen("/dev/full", "we");
	struct err e = {0};

	(void)state;
	assert_non_null(full);
	assert_int_equal(setvbuf(full, NULL, _IONBF, 0), 0);
	assert_int_equal(json_print(value, full, &e), -ENOSPC);
	assert_string_equal(e.text, "can't write JSON: No space left on device");
	fclose(full);
}

/* It is whole, or there is none. */
static void a_line_is_whole(void **state)
{
	json_t *value cleanup(json_free_at) = NULL;
	char *line cleanup(free_at) = NULL;

	(void)state;
	value = json_pack("{s:[{s:s, s:i}], s:{s:b}}", "a-list-of-them", "name", "of some length",
			  "number", 7, "another", "is", 1);
	assert_non_null(value);
	line = scarce_made(json_line(value));
	assert_string_equal(line,
			    "{\"a-list-of-them\":[{\"name\":\"of some length\",\"number\":7}],"
			    "\"another\":{\"is\":true}}");
}

/* Wherever in a string jansson has no room for more: at a quote, or within an escape. */
static void a_value_is_whole(void **state)
{
	(void)state;
	for (size_t len = 0; len < 70; len++) {
		json_t *value cleanup(json_free_at) = NULL;
		char text[256];

		snprintf(text, sizeof(text), "[\"%.*s\\n\\u00e4\\\"\", \"%.*s\"]", (int)len,
			 "seventy bytes, of which some are before what is written otherwise, all "
			 "told",
			 (int)len,
			 "seventy bytes again, of which some or all are before the string's own "
			 "end, all");
		assert_int_equal(scarce(json_load(text, strlen(text), 0, &value, NULL)), 0);
		assert_int_equal(json_string_length(json_array_get(value, 0)), len + 4);
		assert_int_equal(json_string_length(json_array_get(value, 1)), len);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		/* First: where memory was lacking before, nothing is printed. */
		cmocka_unit_test(values_are_printed),
		cmocka_unit_test(a_failing_write_is_reported),
		cmocka_unit_test(values_are_read),
		cmocka_unit_test(what_is_no_json_is_refused),
		cmocka_unit_test(text_is_taken_if_it_is_utf8),
		cmocka_unit_test(a_line_is_whole),
		cmocka_unit_test(a_value_is_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
