/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/cursor.h"

static void test_numbers(void **state)
{
	static const uint8_t bytes[] = {0x01, 0xff, 0xfe, 0x80, 0x00, 0x00, 0x02};
	struct cursor c = cursor_of(bytes, sizeof(bytes));
	uint8_t one;
	uint16_t two;
	uint32_t four;

	(void)state;
	assert_true(cursor_u8(&c, &one));
	assert_int_equal(one, 1);
	assert_true(cursor_be16(&c, &two));
	assert_int_equal(two, 0xfffe);
	assert_true(cursor_be32(&c, &four));
	assert_int_equal(four, 0x80000002);
	assert_int_equal(cursor_left(&c), 0);
	assert_false(cursor_u8(&c, &one));
}

static void test_short_input_moves_nothing(void **state)
{
	static const uint8_t bytes[] = {1, 2, 3};
	struct cursor c = cursor_of(bytes, sizeof(bytes));
	const uint8_t *part = NULL;
	uint8_t to[4] = {9, 9, 9, 9};
	uint32_t four = 7;

	(void)state;
	assert_false(cursor_be32(&c, &four));
	assert_false(cursor_skip(&c, 4));
	assert_false(cursor_skip(&c, SIZE_MAX));
	assert_false(cursor_bytes(&c, 4, &part));
	assert_false(cursor_copy(&c, to, 4));
	assert_int_equal(four, 7);
	assert_null(part);
	assert_int_equal(to[0], 9);
	assert_int_equal(cursor_left(&c), 3);
	assert_true(cursor_copy(&c, to, 2));
	assert_true(cursor_bytes(&c, 1, &part));
	assert_ptr_equal(part, bytes + 2);
	assert_int_equal(to[1], 2);
	assert_int_equal(to[2], 9);
}

static void test_parts(void **state)
{
	static const char text[] = "one::two";
	static const char *const expected[] = {"one", "", "two"};
	struct cursor c = cursor_of(text, strlen(text));
	const char *part;
	size_t len;

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		assert_true(cursor_part(&c, ':', &part, &len));
		assert_int_equal(len, strlen(expected[i]));
		assert_memory_equal(part, expected[i], len);
	}
	assert_false(cursor_part(&c, ':', &part, &len));
}

static void test_last_separator_starts_no_part(void **state)
{
	struct cursor c = cursor_of("a\0b", 4);
	const char *part;
	size_t len;

	(void)state;
	assert_true(cursor_part(&c, '\0', &part, &len));
	assert_true(cursor_part(&c, '\0', &part, &len));
	assert_string_equal(part, "b");
	assert_false(cursor_part(&c, '\0', &part, &len));
}

static void test_nothing(void **state)
{
	struct cursor c = cursor_of(NULL, 0);
	const uint8_t *bytes;
	const char *part;
	size_t len;

	(void)state;
	assert_int_equal(cursor_left(&c), 0);
	assert_true(cursor_bytes(&c, 0, &bytes));
	assert_true(cursor_copy(&c, NULL, 0));
	assert_false(cursor_skip(&c, 1));
	assert_false(cursor_part(&c, ',', &part, &len));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_short_input_moves_nothing),
		cmocka_unit_test(test_parts),
		cmocka_unit_test(test_last_separator_starts_no_part),
		cmocka_unit_test(test_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
