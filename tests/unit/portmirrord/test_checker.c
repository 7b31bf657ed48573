/* SPDX-License-Identifier: MIT */
/* What the daemon hears of a check, whatever becomes of the process that makes it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/loop.h"
#include "base/mem.h"
#include "calls/calls.h"
#include "data/json.h"
#include "memory/memory.h"
#include "portmirror/engine.h"
#include "portmirror/proof_check.h"
#include "portmirrord/checker.h"

static const char refused[] = "cannot compare the frames of 0 devices";
static const char cut[] = "the check ended before its time: was it killed, or is memory short?";

/* Of a session without sources: the child says so and ends. */
struct world {
	struct loop *loop;
	struct session session;
	struct session_state state;
	struct bytecode filter;
	struct view view;
	struct proof_check proof;
	struct checker *checker;
	int ends; /* that were told */
	struct err e;
};

static pid_t parent_seen; /* 0: the parent */

pid_t __real_getppid(void);
pid_t __wrap_getppid(void);

pid_t __wrap_getppid(void)
{
	return parent_seen ? parent_seen : __real_getppid();
}

static int world_new(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	assert_non_null(w);
	w->state.session = &w->session;
	w->view.filters = &w->filter;
	w->view.plan.states = &w->state;
	w->view.plan.nstates = 1;
	w->proof = (struct proof_check){.view = &w->view, .st = &w->state, .seconds = 1};
	assert_int_equal(loop_new(&w->loop, NULL), 0);
	*state = w;
	return 0;
}

static int world_end(void **state)
{
	struct world *w = *state;

	checker_free(w->checker);
	loop_free(w->loop);
	free(w);
	return 0;
}

static void progressed(double share, void *data)
{
	(void)share;
	(void)data;
	fail();
}

static void finished(json_t *proof, const struct err *e, void *data)
{
	struct world *w = data;

	assert_null(proof);
	w->ends++;
	w->e = *e;
	checker_free(take(w->checker));
}

static int start(struct world *w)
{
	struct err e = {0};

	w->checker = checker_new(w->loop, &w->proof, progressed, finished, w, &e);
	if (!w->checker)
		w->e = e;
	return w->checker ? 0 : e.code;
}

static const char *hear_end(struct world *w)
{
	w->ends = 0;
	for (int i = 0; i < 500 && w->ends == 0; i++)
		assert_int_equal(loop_once(w->loop, 20, NULL), 0);
	assert_int_equal(w->ends, 1);
	return w->e.text;
}

static void what_can_not_be_checked_is_told_by_the_child(void **state)
{
	struct world *w = *state;

	assert_int_equal(start(w), 0);
	assert_string_equal(hear_end(w), refused);
	assert_int_equal(w->e.code, -EINVAL);
}

/* The daemon has gone before its child could ask to go with it: there is no check. */
static void a_child_that_has_lost_its_daemon_checks_nothing(void **state)
{
	struct world *w = *state;

	parent_seen = 1;
	assert_int_equal(start(w), 0);
	parent_seen = 0;
	assert_string_equal(hear_end(w), cut);
}

static int free_descriptor(void)
{
	int fd = dup(STDERR_FILENO);

	close(fd);
	return fd;
}

/* It is told why, and neither a descriptor nor a process stays; O_NONBLOCK is but a precaution. */
static void a_check_that_can_not_be_started(void **state)
{
	struct world *w = *state;
	const char *failed = "";
	int first = free_descriptor();

	for (unsigned nth = 1; failed;) {
		int r;

		(void)call_refuse(&nth, EAGAIN);
		r = start(w);
		failed = call_refused();
		if (r < 0) {
			assert_int_equal(r, -EAGAIN);
			assert_non_null(strstr(w->e.text, ": Resource temporarily unavailable"));
		} else {
			assert_true(!failed || strcmp(failed, "fcntl64") == 0);
			checker_free(take(w->checker));
		}
		assert_int_equal(free_descriptor(), first);
	}
	call_refuse_next("fork", EAGAIN);
	assert_int_equal(start(w), -EAGAIN);
	assert_string_equal(w->e.text, "can't start the check: Resource temporarily unavailable");
}

/* The nth allocation, also where none was refused in the turn before: it may be the child's. */
static void refuse_the(unsigned nth)
{
	unsigned first = 1;
	void *volatile none;

	(void)memory_refuse(&first);
	none = malloc(1);
	assert_null(none);
	(void)memory_refuse(&nth);
}

/* Here, where it is begun; there, in the child, of which all is told or that it ended. */
static void a_check_without_memory(void **state)
{
	struct world *w = *state;
	const char *told = cut;
	size_t cuts = 0;

	for (unsigned nth = 1; told == cut; nth++) {
		int r;

		refuse_the(nth);
		r = start(w);
		if (memory_refused()) {
			assert_int_equal(r, -ENOMEM);
			assert_string_equal(w->e.text, "out of memory");
			continue;
		}
		assert_int_equal(r, 0);
		if (strcmp(hear_end(w), cut) != 0)
			told = w->e.text;
		else
			cuts++;
	}
	assert_string_equal(told, refused);
	assert_true(cuts > 1);
}

/* What the child said has no room, or can't be read: it is told that the check ended. */
static void an_answer_without_memory(void **state)
{
	struct world *w = *state;
	unsigned nth = 0;
	bool lacked;

	do {
		assert_int_equal(start(w), 0);
		refuse_the(++nth);
		(void)hear_end(w);
		lacked = memory_refused();
		assert_string_equal(w->e.text, lacked ? cut : refused);
	} while (lacked);
	assert_true(nth > 5);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, world_new, world_end)
	const struct CMUnitTest tests[] = {
		TEST(what_can_not_be_checked_is_told_by_the_child),
		TEST(a_child_that_has_lost_its_daemon_checks_nothing),
		TEST(a_check_that_can_not_be_started),
		TEST(a_check_without_memory),
		TEST(an_answer_without_memory),
	};

	json_forget_lack(); /* what jansson asks for is asked of us: data/json.c is linked */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
