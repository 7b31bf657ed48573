/* SPDX-License-Identifier: MIT */
/* Following the machines of this computer, one of which is the test's own, by a clock that is put
 * forward and a search that takes as long as the test likes. argv[1]: test-tap-holder. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "base/loop.h"
#include "base/mem.h"
#include "clock/clock.h"
#include "memory/memory.h"
#include "portmirror/host.h"
#include "portmirrord/machines.h"

static char *program;

/* As where there are more processes than are looked at in one go. */
static bool goes_on; /* it has seen all, but isn't over */
static unsigned portions;

int __real_vms_search_go_on(struct vms_search *search, unsigned steps, struct vms *vms,
			    struct err *e);
int __wrap_vms_search_go_on(struct vms_search *search, unsigned steps, struct vms *vms,
			    struct err *e);

int __wrap_vms_search_go_on(struct vms_search *search, unsigned steps, struct vms *vms,
			    struct err *e)
{
	static struct vms found;
	static int r;

	if (portions++ == 0)
		r = __real_vms_search_go_on(search, steps ? UINT_MAX : 0, &found, e);
	if (r < 0 || (portions > 1 && !goes_on)) {
		*vms = found;
		found = (struct vms){0};
		portions = 0;
		return r;
	}
	return 0;
}

struct world {
	struct loop *loop;
	struct host host;
	struct machines *machines;
	int changes;
	pid_t holder; /* 0: none */
	int stdin;    /* its */
};

static void changed(void *data)
{
	struct world *w = data;

	w->changes++;
}

static int world_new(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	assert_non_null(w);
	assert_int_equal(loop_new(&w->loop, NULL), 0);
	*state = w;
	return 0;
}

static void stop_holder(struct world *w)
{
	if (w->holder == 0)
		return;
	close(w->stdin);
	assert_int_equal(waitpid(w->holder, NULL, 0), w->holder);
	w->holder = 0;
}

static int world_end(void **state)
{
	struct world *w = *state;

	goes_on = false;
	stop_holder(w);
	machines_free(w->machines);
	host_free(&w->host);
	loop_free(w->loop);
	free(w);
	return 0;
}

static void run_holder(int in, int out)
{
	char *argv[] = {(char[]){"/usr/bin/qemu-system-x86_64"},
			(char[]){"-name"},
			(char[]){"guest=web1"},
			(char[]){"-netdev"},
			(char[]){"tap,fd=30,id=a"},
			NULL};
	char *env[] = {(char[]){"TAPS=30=tap0"}, NULL};

	dup2(in, STDIN_FILENO);
	dup2(out, STDOUT_FILENO);
	execve(program, argv, env);
	_exit(1);
}

/* A machine; skips the test where it can't have a tap. */
static void start_holder(struct world *w)
{
	int in[2], out[2], status = 0;
	char ready[5];

	assert_int_equal(pipe2(in, O_CLOEXEC), 0);
	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	w->holder = fork();
	assert_true(w->holder >= 0);
	if (w->holder == 0)
		run_holder(in[0], out[1]);
	close(in[0]);
	close(out[1]);
	w->stdin = in[1];
	if (read(out[0], ready, sizeof(ready)) == sizeof(ready)) {
		close(out[0]);
		return;
	}
	close(out[0]);
	close(w->stdin);
	assert_int_equal(waitpid(w->holder, &status, 0), w->holder);
	w->holder = 0;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
		skip(); /* no /dev/net/tun, or no right to it */
	fail_msg("%s can't be started", program);
}

static bool is_found(const struct world *w)
{
	for (size_t i = 0; i < w->host.vms.count; i++)
		if (strcmp(w->host.vms.items[i].name, "web1") == 0)
			return true;
	return false;
}

static void until_found(struct world *w, bool wanted)
{
	for (int i = 0; i < 100 && is_found(w) != wanted; i++) {
		clock_put_forward(1);
		assert_int_equal(loop_once(w->loop, 20, NULL), 0);
	}
	assert_int_equal(is_found(w), wanted);
}

static int open_machines(struct world *w, struct err *e)
{
	machines_free(take(w->machines));
	return machines_new(w->loop, &w->host, changed, w, &w->machines, e);
}

static int news_of_a_tap(struct world *w)
{
	struct ifindexes taps = {0};
	int r = ifindexes_add(&taps, INT_MAX); /* which is gone again: nothing is waited for */

	if (r == 0)
		r = machines_taps(w->machines, &taps);
	ifindexes_free(&taps);
	return r;
}

/* Whose end can't be watched is found all the same. */
static void opened_without_memory(void **state)
{
	struct world *w = *state;
	struct err e = {0};

	start_holder(w);
	assert_int_equal(scarce_or(is_found(w), open_machines(w, &e)), 0);
	assert_true(is_found(w));
	assert_int_equal(w->changes, 0);
}

/* A lack of memory lasts for a moment: after some seconds it is looked for again. */
static void found_after_a_lack_of_memory(void **state)
{
	struct world *w = *state;
	struct err e = {0};
	bool over = false;

	for (unsigned nth = 1; !over;) {
		assert_int_equal(open_machines(w, &e), 0);
		assert_false(is_found(w));
		start_holder(w);
		assert_int_equal(news_of_a_tap(w), 0);
		over = !memory_refuse(&nth);
		for (int i = 0; i < 4; i++)
			assert_int_equal(loop_once(w->loop, 0, NULL), 0);
		(void)memory_refused();
		until_found(w, true);
		assert_int_equal(w->changes, 1);
		w->changes = 0;
		stop_holder(w);
		assert_int_equal(news_of_a_tap(w), 0); /* its end may not have been watched */
		until_found(w, false);
		w->changes = 0;
	}
}

/* What it has seen already may be gone when it is over. */
static void a_machine_that_ends_while_it_is_looked_for(void **state)
{
	struct world *w = *state;
	struct err e = {0};

	start_holder(w);
	assert_int_equal(open_machines(w, &e), 0);
	assert_true(is_found(w));
	goes_on = true;
	assert_int_equal(news_of_a_tap(w), 0);
	while (portions < 3)
		assert_int_equal(loop_once(w->loop, 20, NULL), 0);
	stop_holder(w);
	for (int i = 0; i < 4; i++)
		assert_int_equal(loop_once(w->loop, 20, NULL), 0);
	assert_true(is_found(w));
	goes_on = false;
	until_found(w, false);
	assert_int_equal(w->changes, 1);
}

int main(int argc, char **argv)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, world_new, world_end)
	const struct CMUnitTest tests[] = {
		TEST(opened_without_memory),
		TEST(found_after_a_lack_of_memory),
		TEST(a_machine_that_ends_while_it_is_looked_for),
	};

	if (argc < 2 || unshare(CLONE_NEWNET) < 0)
		return 77; /* no right to a network namespace */
	program = argv[1];
	return cmocka_run_group_tests(tests, NULL, NULL);
}
