/* SPDX-License-Identifier: MIT */
/* Whom the prober watches, in a network namespace of the test's own, where no appliance is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/loop.h"
#include "base/mem.h"
#include "bpf/pin.h"
#include "memory/memory.h"
#include "portmirror/engine.h"
#include "portmirror/inliner.h"
#include "portmirrord/prober.h"

/* Whether the maps of a session are to be had: something that can be opened, and no more. */
static bool has_maps;

int __real_pin_open(const char *path, struct err *e);
int __wrap_pin_open(const char *path, struct err *e);

int __wrap_pin_open(const char *path, struct err *e)
{
	return has_maps ? open("/dev/null", O_RDWR | O_CLOEXEC) : __real_pin_open(path, e);
}

struct world {
	struct loop *loop;
	struct session sessions[2];
	struct session_state states[2];
	struct inliner inliners[2];
	struct view view;
	struct prober *prober;
	int failures; /* that were told */
};

static void told(const char *kind, const char *session, const char *sentence, void *data)
{
	struct world *w = data;

	assert_string_equal(kind, "appliance-failed");
	assert_true(strcmp(session, "one") == 0 || strcmp(session, "two") == 0);
	assert_non_null(strstr(sentence, "the appliance has failed"));
	w->failures++;
}

static int open_prober(struct world *w, struct err *e)
{
	const struct prober_config config = {
		.loop = w->loop, .house = "/nowhere", .told = told, .data = w};

	return prober_new(&config, &w->prober, e);
}

static int world_new(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	static const char *const names[] = {"one", "two"};

	assert_non_null(w);
	for (int i = 0; i < 2; i++) {
		strcpy(w->sessions[i].name, names[i]);
		w->sessions[i].mode = MODE_INLINE;
		w->sessions[i].on_failure = ON_FAILURE_OPEN;
		w->sessions[i].probe_interval = 1000;
		w->states[i] =
			(struct session_state){.session = &w->sessions[i], .state = STATE_WHOLE};
		strcpy(w->inliners[i].session, names[i]);
		w->inliners[i].state.inside = w->inliners[i].state.outside = INLINE_NOWHERE;
	}
	w->view.plan.states = w->states;
	w->view.plan.nstates = 2;
	w->view.host.inliners = w->inliners;
	w->view.host.ninliners = 2;
	has_maps = false;
	assert_int_equal(loop_new(&w->loop, NULL), 0);
	*state = w;
	return 0;
}

static int world_end(void **state)
{
	struct world *w = *state;

	prober_free(w->prober);
	loop_free(w->loop);
	free(w);
	return 0;
}

/* Whose maps can't be had is watched as soon as they can. */
static void each_session_is_watched_once_it_has_its_maps(void **state)
{
	struct world *w = *state;
	struct err e = {0};

	assert_int_equal(scarce(open_prober(w, &e)), 0);
	prober_update(w->prober, &w->view);
	assert_int_equal(prober_sent(w->prober, "one"), 0);
	assert_int_equal(w->failures, 0);
	has_maps = true;
	prober_update(w->prober, &w->view);
	prober_update(w->prober, &w->view); /* the same two */
	assert_int_equal(prober_sent(w->prober, "one"), 1);
	assert_int_equal(prober_sent(w->prober, "two"), 1);
	assert_int_equal(prober_sent(w->prober, "three"), 0);
	assert_int_equal(w->failures, 2);
}

/* Neither is it where there is no memory for it; the next plan makes up for that. */
static void watched_after_a_lack_of_memory(void **state)
{
	struct world *w = *state;
	struct err e = {0};
	unsigned nth = 1;

	assert_int_equal(open_prober(w, &e), 0);
	has_maps = true;
	assert_true(memory_refuse(&nth));
	prober_update(w->prober, &w->view);
	assert_true(memory_refused());
	assert_int_equal(prober_sent(w->prober, "one"), 0);
	assert_int_equal(prober_sent(w->prober, "two"), 1);
	prober_update(w->prober, &w->view);
	assert_int_equal(prober_sent(w->prober, "one"), 1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, world_new, world_end)
	const struct CMUnitTest tests[] = {
		TEST(each_session_is_watched_once_it_has_its_maps),
		TEST(watched_after_a_lack_of_memory),
	};

	if (unshare(CLONE_NEWNET) < 0)
		return 77; /* no right to a network namespace, nor to probes */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
