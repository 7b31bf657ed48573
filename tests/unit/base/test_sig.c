/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/sig.h"

static sigset_t before;

static int save_mask(void **state)
{
	(void)state;
	return sigprocmask(SIG_SETMASK, NULL, &before);
}

static int restore_mask(void **state)
{
	(void)state;
	return sigprocmask(SIG_SETMASK, &before, NULL);
}

static void test_tells_the_signal(void **state)
{
	int fd = sig_watch();

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	assert_int_equal(sig_wait(fd, 0), 0);
	assert_int_equal(sig_wait(fd, 1), 0);
	assert_int_equal(raise(SIGTERM), 0);
	assert_int_equal(sig_wait(fd, -1), SIGTERM);
	assert_int_equal(raise(SIGINT), 0);
	assert_int_equal(sig_wait(fd, 0), SIGINT);
	assert_int_equal(sig_wait(fd, 0), 0);
	close(fd);
}

static void test_ignored_stays_ignored(void **state)
{
	void (*old)(int) = signal(SIGHUP, SIG_IGN);
	int fd = sig_watch();

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(raise(SIGHUP), 0);
	assert_int_equal(sig_wait(fd, 0), 0);
	close(fd);
	assert_true(signal(SIGHUP, old) == SIG_IGN);
}

static void test_bad_descriptor(void **state)
{
	int ends[2];

	(void)state;
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	close(ends[1]);
	/* The end of a pipe is no signal: it must not be waited for again and again. */
	assert_int_equal(sig_wait(ends[0], 0), -EINVAL);
	close(ends[0]);
	assert_int_equal(sig_wait(ends[0], 0), -EBADF);
}

static int ticks;

static void tick(int number)
{
	(void)number;
	ticks++;
}

/* Another signal, with a handler, doesn't end the wait. */
static void test_goes_on_waiting(void **state)
{
	struct sigaction act = {.sa_handler = tick}, old;
	int fd = sig_watch();

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(sigaction(SIGALRM, &act, &old), 0);
	ualarm(2000, 2000);
	for (ticks = 0; ticks == 0;)
		assert_int_equal(sig_wait(fd, 20), 0);
	ualarm(0, 0);
	assert_int_equal(sigaction(SIGALRM, &old, NULL), 0);
	close(fd);
}

/* Without a descriptor to spare there is none to watch, and what was blocked is as before; where
 * none may be open there is no waiting. */
static void test_no_descriptors(void **state)
{
	struct rlimit old, none;
	int fd = sig_watch();
	sigset_t now;

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(sigprocmask(SIG_SETMASK, &before, NULL), 0);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	none = old;
	none.rlim_cur = 0;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);

	int made = sig_watch(), waited = sig_wait(fd, 0);

	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	assert_int_equal(made, -EMFILE);
	assert_int_equal(waited, -EINVAL);
	assert_int_equal(sigprocmask(SIG_SETMASK, NULL, &now), 0);
	assert_int_equal(sigismember(&now, SIGTERM), sigismember(&before, SIGTERM));
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_tells_the_signal, save_mask, restore_mask),
		cmocka_unit_test_setup_teardown(test_ignored_stays_ignored, save_mask,
						restore_mask),
		cmocka_unit_test(test_bad_descriptor),
		cmocka_unit_test_setup_teardown(test_goes_on_waiting, save_mask, restore_mask),
		cmocka_unit_test_setup_teardown(test_no_descriptors, save_mask, restore_mask),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
