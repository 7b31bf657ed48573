/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/near.h"

static const char *nearest(const char *word)
{
	static const char *const right[] = {"add", "rm", "list", "stats", "direction"};
	struct near near = {.word = word};

	for (size_t i = 0; i < sizeof(right) / sizeof(right[0]); i++)
		near_try(&near, right[i]);
	return near.best;
}

static void test_near(void **state)
{
	(void)state;
	assert_string_equal(nearest("lsit"), "list");
	assert_string_equal(nearest("ls"), "list");
	assert_string_equal(nearest("stat"), "stats");
	assert_string_equal(nearest("direccion"), "direction");
	assert_string_equal(nearest("dirction"), "direction");
	assert_string_equal(nearest("rn"), "rm");
}

static void test_far(void **state)
{
	(void)state;
	assert_null(nearest(""));
	assert_null(nearest("x"));
	assert_null(nearest("ps"));
	assert_null(nearest("dirxxxion"));
	assert_null(nearest("a word that is far longer than any verb or option could ever be"));
}

static void test_the_nearest_wins(void **state)
{
	struct near near = {.word = "from"};

	(void)state;
	near_try(&near, "for");
	assert_int_equal(near.distance, 2);
	near_try(&near, "frog");
	assert_string_equal(near.best, "frog");
	near_try(&near, "prom");
	assert_string_equal(near.best, "frog");
	near_try(&near, "from");
	assert_int_equal(near.distance, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_near),
		cmocka_unit_test(test_far),
		cmocka_unit_test(test_the_nearest_wins),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
