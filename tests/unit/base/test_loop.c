/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/err.h"
#include "base/loop.h"
#include "base/mem.h"
#include "memory/memory.h"

struct fixture {
	struct loop *loop;
	struct loop_watch *watches[2];
	int pipes[2][2];
	struct loop_timer timers[3];
	int calls;
	char order[8];
};

static int set_up(void **state)
{
	static struct fixture fixture;

	fixture = (struct fixture){0};
	assert_int_equal(loop_new(&fixture.loop, NULL), 0);
	for (int i = 0; i < 2; i++)
		assert_int_equal(pipe(fixture.pipes[i]), 0);
	*state = &fixture;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	for (int i = 0; i < 4; i++)
		close(f->pipes[i / 2][i % 2]);
	loop_free(f->loop);
	return 0;
}

static void take_note(uint32_t events, void *data)
{
	struct fixture *f = data;

	(void)events;
	f->calls++;
}

static void never(void *data)
{
	(void)data;
	fail();
}

/* A timer in more milliseconds than an int holds (here it would say 5) is waited for as well. */
static void test_a_timer_in_years(void **state)
{
	struct itimerspec soon = {.it_value.tv_nsec = 100000000};
	struct fixture *f = *state;
	int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);

	assert_int_equal(timerfd_settime(fd, 0, &soon, NULL), 0);
	assert_int_equal(loop_watch(f->loop, fd, EPOLLIN, take_note, f, &f->watches[0], NULL), 0);
	loop_timer_set(f->loop, &f->timers[0], ((int64_t)1 << 32) + 5, never, f);
	assert_int_equal(loop_once(f->loop, -1, NULL), 0);
	assert_int_equal(f->calls, 1);
	loop_unwatch(f->loop, f->watches[0]);
	loop_timer_clear(f->loop, &f->timers[0]);
	close(fd);
}

/* Whichever comes first takes both away: the other must not be called any more. */
static void remove_both(uint32_t events, void *data)
{
	struct fixture *f = data;

	assert_true(events & EPOLLIN);
	f->calls++;
	for (int i = 0; i < 2; i++)
		loop_unwatch(f->loop, f->watches[i]);
}

static void test_a_removed_watch_is_not_called(void **state)
{
	struct fixture *f = *state;

	for (int i = 0; i < 2; i++) {
		assert_int_equal(loop_watch(f->loop, f->pipes[i][0], EPOLLIN, remove_both, f,
					    &f->watches[i], NULL),
				 0);
		assert_int_equal(write(f->pipes[i][1], "x", 1), 1);
	}
	assert_int_equal(loop_once(f->loop, -1, NULL), 0);
	assert_int_equal(loop_once(f->loop, 0, NULL), 0);
	assert_int_equal(f->calls, 1);
}

static void note(struct fixture *f, char what)
{
	f->order[f->calls++] = what;
}

static void on_a(void *data)
{
	note(data, 'a');
}

static void on_b(void *data)
{
	note(data, 'b');
}

static void on_end(void *data)
{
	struct fixture *f = data;

	note(f, 'e');
	loop_end(f->loop);
}

static void test_timers_come_in_order(void **state)
{
	struct fixture *f = *state;

	loop_timer_set(f->loop, &f->timers[2], 30, on_end, f);
	loop_timer_set(f->loop, &f->timers[1], 1, on_a, f);
	loop_timer_set(f->loop, &f->timers[0], 10, on_b, f);
	loop_timer_set(f->loop, &f->timers[1], 20, on_a, f); /* later than it was to be */
	assert_int_equal(loop_run(f->loop, NULL), 0);
	assert_string_equal(f->order, "bae");
	assert_false(f->timers[0].set);
}

static void test_a_cleared_timer_is_not_called(void **state)
{
	struct fixture *f = *state;

	loop_timer_set(f->loop, &f->timers[0], 0, on_a, f);
	loop_timer_set(f->loop, &f->timers[1], 5, on_end, f);
	loop_timer_clear(f->loop, &f->timers[0]);
	loop_timer_clear(f->loop, &f->timers[0]);
	assert_int_equal(loop_run(f->loop, NULL), 0);
	assert_string_equal(f->order, "e");
}

static void test_a_timer_that_is_due_is_called_out_of_turn(void **state)
{
	struct fixture *f = *state;

	loop_timer_set(f->loop, &f->timers[0], 0, on_a, f);
	loop_timer_set(f->loop, &f->timers[1], 5, on_end, f);
	loop_timer_set(f->loop, &f->timers[2], 3600000, on_b, f);
	for (int i = 0; i < 2; i++) { /* once only */
		loop_timer_call_due(f->loop, &f->timers[0]);
		loop_timer_call_due(f->loop, &f->timers[2]);
	}
	assert_string_equal(f->order, "a");
	assert_true(f->timers[2].set);
	assert_int_equal(loop_run(f->loop, NULL), 0);
	assert_string_equal(f->order, "ae");
	loop_timer_clear(f->loop, &f->timers[2]);
}

static void again(void *data)
{
	struct fixture *f = data;

	if (++f->calls < 1000)
		loop_timer_set(f->loop, &f->timers[0], 0, again, f);
}

/* A timer that sets itself again for now leaves the descriptors their turn. */
static void test_a_restless_timer_starves_nobody(void **state)
{
	struct fixture *f = *state;

	loop_timer_set(f->loop, &f->timers[0], 0, again, f);
	assert_int_equal(loop_once(f->loop, -1, NULL), 0);
	assert_true(f->calls <= 1);
	loop_timer_clear(f->loop, &f->timers[0]);
}

/* The descriptor that is opened next. */
static int next_descriptor(void)
{
	int fd = fcntl(0, F_DUPFD, 0);

	close(fd);
	return fd;
}

static void test_what_the_kernel_refuses(void **state)
{
	FILE *file = tmpfile();
	struct rlimit old, small;
	struct loop_watch *watch = NULL;
	struct loop *loop = NULL;
	struct err e = {0};
	int fd = next_descriptor(), made;

	(void)state;
	assert_non_null(file);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	small = old;
	small.rlim_cur = (rlim_t)fd;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &small), 0);
	made = loop_new(&loop, &e);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	assert_int_equal(made, -EMFILE);
	assert_string_equal(e.text, "epoll_create: Too many open files");
	assert_null(loop);
	assert_int_equal(scarce(loop_new(&loop, &e)), 0);
	assert_int_equal(loop_watch(loop, fileno(file), EPOLLIN, remove_both, NULL, &watch, &e),
			 -EPERM); /* an ordinary file is always ready */
	assert_string_equal(e.text, "epoll_ctl: Operation not permitted");
	assert_null(watch);
	close(fd);
	assert_int_equal(loop_run(loop, &e), -EBADF);
	assert_string_equal(e.text, "epoll_wait: Bad file descriptor");
	assert_int_equal(open("/dev/null", O_RDONLY | O_CLOEXEC), fd); /* for loop_free() */
	loop_free(loop);
	(void)fclose(file);
}

static void test_no_memory(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(scarce(loop_watch(f->loop, f->pipes[0][0], EPOLLIN, remove_both, f,
					   &f->watches[0], NULL)),
			 0);
	loop_unwatch(f->loop, f->watches[0]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_a_removed_watch_is_not_called, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(test_timers_come_in_order, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_a_timer_in_years, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_a_cleared_timer_is_not_called, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(test_a_timer_that_is_due_is_called_out_of_turn,
						set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_a_restless_timer_starves_nobody, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(test_no_memory, set_up, tear_down),
		cmocka_unit_test(test_what_the_kernel_refuses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
