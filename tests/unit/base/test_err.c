/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "base/err.h"

static void test_set(void **state)
{
	struct err e = {0};

	(void)state;
	assert_int_equal(err_set(&e, -ENOENT, "no %s here", "bridge"), -ENOENT);
	assert_int_equal(e.code, -ENOENT);
	assert_string_equal(e.text, "no bridge here");
	assert_int_equal(err_set(NULL, -EIO, "x"), -EIO);
}

static void test_sys(void **state)
{
	struct err e = {0};

	(void)state;
	assert_int_equal(err_sys(&e, -ENOENT, "can't open %s", "x"), -ENOENT);
	assert_string_equal(e.text, "can't open x: No such file or directory");
	assert_int_equal(err_sys(NULL, -ENOENT, "x"), -ENOENT);
}

static void test_where(void **state)
{
	struct err e = {0};

	(void)state;
	(void)err_set(&e, -EINVAL, "no such key");
	assert_int_equal(err_where(&e, "a.yaml:%d", 3), -EINVAL);
	assert_string_equal(e.text, "a.yaml:3: no such key");
	assert_int_equal(err_where(NULL, "x"), 0);
}

static void test_may_quote_itself(void **state)
{
	struct err e = {0};

	(void)state;
	(void)err_set(&e, -EINVAL, "inner");
	(void)err_set(&e, -EIO, "outer <%s>", e.text);
	assert_string_equal(e.text, "outer <inner>");
}

static void test_is_cut(void **state)
{
	char text[2000];
	struct err e = {0};

	(void)state;
	memset(text, 'a', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	(void)err_set(&e, -EINVAL, "%s", text);
	assert_int_equal(strlen(e.text), sizeof(e.text) - 1);
	(void)err_where(&e, "where");
	assert_int_equal(strlen(e.text), sizeof(e.text) - 1);
	assert_memory_equal(e.text, "where: aaa", 10);
	(void)err_where(&e, "%s", text);
	(void)err_sys(&e, -EIO, "%s", text);
	assert_int_equal(strlen(e.text), sizeof(e.text) - 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_set),    cmocka_unit_test(test_sys),
		cmocka_unit_test(test_where),  cmocka_unit_test(test_may_quote_itself),
		cmocka_unit_test(test_is_cut),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
