/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <string.h>

#include "base/mem.h"

static void test_array_grows(void **state)
{
	int *items = NULL;
	size_t room = 0;

	(void)state;
	for (size_t i = 0; i < 1000; i++) {
		assert_int_equal(array_room(&items, &room, i, sizeof(*items)), 0);
		assert_true(room > i);
		items[i] = (int)i;
	}
	for (int i = 0; i < 1000; i++)
		assert_int_equal(items[i], i);
	free(items);
}

static void test_array_overflow_changes_nothing(void **state)
{
	char kept;
	void *items = &kept;
	size_t room = SIZE_MAX / 4;

	(void)state;
	assert_int_equal(array_room(&items, &room, SIZE_MAX / 4, 64), -ENOMEM);
	assert_ptr_equal(items, &kept);
	assert_int_equal(room, SIZE_MAX / 4);
	room = SIZE_MAX;
	assert_int_equal(array_room(&items, &room, SIZE_MAX, 1), -ENOMEM);
	assert_ptr_equal(items, &kept);
}

static void test_take(void **state)
{
	char *text cleanup(free_at) = strdup("a");
	char *taken = take(text);

	(void)state;
	assert_null(text);
	assert_string_equal(taken, "a");
	free(taken);
}

static void test_fd(void **state)
{
	int fd, kept;

	(void)state;
	{
		int closed cleanup(fd_close_at) = open("/dev/null", O_RDONLY | O_CLOEXEC);
		int given cleanup(fd_close_at) = open("/dev/null", O_RDONLY | O_CLOEXEC);

		assert_true(closed >= 0 && given >= 0);
		fd = closed;
		kept = fd_take(&given);
		assert_int_equal(given, -1);
		errno = ENOTTY;
	}
	assert_int_equal(errno, ENOTTY);
	assert_int_equal(fcntl(fd, F_GETFD), -1);
	assert_true(fcntl(kept, F_GETFD) >= 0);
	close(kept);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_array_grows),
		cmocka_unit_test(test_array_overflow_changes_nothing),
		cmocka_unit_test(test_take),
		cmocka_unit_test(test_fd),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
