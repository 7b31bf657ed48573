/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/mem.h"
#include "data/text.h"

static void characters_are_decoded(void **state)
{
	static const struct {
		const char *text;
		size_t bytes;
		uint32_t code;
	} cases[] = {
		{"a", 1, 'a'},
		{"\xc3\xa9", 2, 0xe9},
		{"\xe2\x82\xac", 3, 0x20ac},
		{"\xf0\x9f\x98\x80", 4, 0x1f600},
		{"\xf4\x8f\xbf\xbf", 4, 0x10ffff},
		{"", 0, 0},
		{"\x80", 0, 0},
		{"\xc0\x80", 0, 0},	    /* overlong */
		{"\xc1\xbf", 0, 0},	    /* overlong */
		{"\xe0\x9f\xbf", 0, 0},	    /* overlong */
		{"\xf0\x8f\xbf\xbf", 0, 0}, /* overlong */
		{"\xed\xa0\x80", 0, 0},	    /* a surrogate */
		{"\xf4\x90\x80\x80", 0, 0}, /* beyond U+10FFFF */
		{"\xf5\x80\x80\x80", 0, 0},
		{"\xe2\x82", 0, 0}, /* cut */
		{"\xc3(", 0, 0},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		uint32_t code = 0;

		assert_int_equal(text_char(cases[i].text, strlen(cases[i].text), &code),
				 cases[i].bytes);
		assert_int_equal(code, cases[i].code);
	}
}

static void control_characters_are_not_printable(void **state)
{
	(void)state;
	assert_true(text_printable(""));
	assert_true(text_printable("web 1 \"caf\xc3\xa9\""));
	assert_false(text_printable("a\nb"));
	assert_false(text_printable("a\x7f"));
	assert_false(text_printable("\xc2\x9b"
				    "31m"));
	assert_false(text_printable("a\xff"));
}

static void foreign_text_is_shown_safely(void **state)
{
	char shown[TEXT_SHOWN], many[600];

	(void)state;
	assert_string_equal(text_shown(shown, "caf\xc3\xa9"), "caf\xc3\xa9");
	assert_string_equal(text_shown(shown, "\x1b[31m\n"), "\\x1b[31m\\x0a");
	assert_string_equal(text_shown(shown, "\xc2\x9b\xff"), "\\xc2\\x9b\\xff");
	memset(many, 'x', sizeof(many) - 1);
	many[sizeof(many) - 1] = '\0';
	assert_int_equal(strlen(text_shown(shown, many)), TEXT_SHOWN - 1);
	assert_string_equal(shown + TEXT_SHOWN - 4, "\xe2\x80\xa6");
	memset(many, '\xff', sizeof(many) - 1);
	assert_true(strlen(text_shown(shown, many)) < TEXT_SHOWN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(characters_are_decoded),
		cmocka_unit_test(control_characters_are_not_printable),
		cmocka_unit_test(foreign_text_is_shown_safely),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
