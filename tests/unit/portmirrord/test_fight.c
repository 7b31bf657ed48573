/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "portmirrord/fight.h"

#define START INT64_C(5000)

static void repaired_at_once(struct fight *f, int64_t now, unsigned times)
{
	while (times-- > 0)
		assert_int_equal(fight_decide(f, now), FIGHT_REPAIR);
}

static void some_repairs_in_a_window_are_no_fight(void **state)
{
	struct fight f = {0};

	(void)state;
	repaired_at_once(&f, START, FIGHT_REPAIRS);
	assert_int_equal(fight_decide(&f, START + FIGHT_WINDOW_MS - 1), FIGHT_PAUSE);
	assert_int_equal(fight_decide(&f, START + FIGHT_WINDOW_MS), FIGHT_WAIT);
}

/* They are counted in each window for itself. */
static void as_many_are_allowed_in_the_next_window(void **state)
{
	struct fight f = {0};

	(void)state;
	for (int64_t now = START; now < START + 5 * FIGHT_WINDOW_MS; now += FIGHT_WINDOW_MS)
		repaired_at_once(&f, now, FIGHT_REPAIRS);
	assert_int_equal(fight_decide(&f, START + 5 * FIGHT_WINDOW_MS - 1), FIGHT_PAUSE);
}

static void each_pause_is_twice_as_long_up_to_the_longest(void **state)
{
	int64_t now = START, pause = FIGHT_FIRST_MS;
	struct fight f = {0};

	(void)state;
	repaired_at_once(&f, now, FIGHT_REPAIRS);
	for (int i = 0; i < 12; i++) {
		assert_int_equal(fight_decide(&f, now), FIGHT_PAUSE);
		assert_int_equal(f.until, now + pause);
		assert_int_equal(fight_decide(&f, f.until - 1), FIGHT_WAIT);
		now = f.until;
		repaired_at_once(&f, now, 1);
		pause = pause * 2 < FIGHT_LONGEST_MS ? pause * 2 : FIGHT_LONGEST_MS;
	}
	assert_int_equal(pause, FIGHT_LONGEST_MS);
}

static void peace_makes_all_forgotten(void **state)
{
	struct fight f = {0};

	(void)state;
	repaired_at_once(&f, START, FIGHT_REPAIRS);
	assert_int_equal(fight_decide(&f, START), FIGHT_PAUSE);
	repaired_at_once(&f, START + FIGHT_PEACE_MS, FIGHT_REPAIRS);
	assert_int_equal(fight_decide(&f, START + FIGHT_PEACE_MS), FIGHT_PAUSE);
	assert_int_equal(f.until, START + FIGHT_PEACE_MS + FIGHT_FIRST_MS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(some_repairs_in_a_window_are_no_fight),
		cmocka_unit_test(as_many_are_allowed_in_the_next_window),
		cmocka_unit_test(each_pause_is_twice_as_long_up_to_the_longest),
		cmocka_unit_test(peace_makes_all_forgotten),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
