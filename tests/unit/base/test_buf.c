/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

#include "base/buf.h"
#include "base/mem.h"

static void test_builds(void **state)
{
	struct buf b cleanup(buf_free) = {0};

	(void)state;
	assert_string_equal(buf_text(&b), "");
	buf_str(&b, "port");
	buf_char(&b, ':');
	buf_fmt(&b, "%s%d", "vnet", 12);
	buf_fmt(&b, "%s", "");
	buf_add(&b, "\0x", 2);
	buf_add(&b, NULL, 0);
	assert_int_equal(b.len, 13);
	assert_memory_equal(buf_text(&b), "port:vnet12\0x", 14);
	assert_int_equal(buf_status(&b), 0);
}

static void test_grows(void **state)
{
	struct buf b cleanup(buf_free) = {0};

	(void)state;
	for (int i = 0; i < 5000; i++) {
		buf_char(&b, (char)('a' + i % 26));
		assert_int_equal(b.data[b.len], '\0');
	}
	assert_int_equal(b.len, 5000);
	assert_int_equal(b.data[4999], 'a' + 4999 % 26);
}

static void test_take_hands_over(void **state)
{
	struct buf b = {0};
	char *text;

	(void)state;
	text = buf_take(&b);
	assert_string_equal(text, "");
	free(text);
	buf_str(&b, "x");
	text = buf_take(&b);
	assert_string_equal(text, "x");
	assert_null(b.data);
	assert_int_equal(b.len, 0);
	free(text);
}

static void test_clear_keeps_memory(void **state)
{
	struct buf b cleanup(buf_free) = {0};
	char *data;

	(void)state;
	buf_str(&b, "something");
	data = b.data;
	buf_clear(&b);
	assert_string_equal(buf_text(&b), "");
	assert_ptr_equal(b.data, data);
	buf_str(&b, "else");
	assert_string_equal(buf_text(&b), "else");
}

static void test_failure_is_remembered(void **state)
{
	struct buf b = {0};

	(void)state;
	buf_str(&b, "a");
	buf_add(&b, "never read", SIZE_MAX - 1);
	assert_int_equal(buf_status(&b), -ENOMEM);
	buf_str(&b, "b");
	assert_string_equal(buf_text(&b), "a");
	assert_null(buf_take(&b));
	assert_int_equal(buf_status(&b), 0);
	buf_str(&b, "a");
	buf_fmt(&b, "b%lc", (wint_t)0x110000); /* there is no such character */
	assert_int_equal(buf_status(&b), -ENOMEM);
	assert_string_equal(buf_text(&b), "a");
	buf_free(&b);
}

static void test_queue(void **state)
{
	struct buf b cleanup(buf_free) = {0};
	size_t used = 0, most = 0;

	(void)state;
	buf_shift(&b, &used);
	for (unsigned i = 0; i < 10000; i++) {
		buf_fmt(&b, "%07u,%07u,", 2 * i, 2 * i + 1);
		for (unsigned take = 0; take < (i < 100 ? 1 : 2); take++) {
			assert_int_equal(strtoul(buf_text(&b) + used, NULL, 10),
					 i < 100 ? i : 2 * i - 100 + take);
			used += 8;
			buf_shift(&b, &used);
		}
		most = b.len > most ? b.len : most;
		assert_int_equal(strlen(buf_text(&b)), b.len);
	}
	assert_int_equal(b.len - used, 800);
	assert_true(most <= 1616);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_builds),
		cmocka_unit_test(test_grows),
		cmocka_unit_test(test_take_hands_over),
		cmocka_unit_test(test_clear_keeps_memory),
		cmocka_unit_test(test_failure_is_remembered),
		cmocka_unit_test(test_queue),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
