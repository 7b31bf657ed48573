/* SPDX-License-Identifier: MIT */
/* Which engine copies for sessions that leave it open, on hosts that are made up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "plan_world.h"

#define TWICE "arrive twice"
#define MANY  101 /* ports: more than tcx is taken for */

static enum engine_kind engine(struct world *w, const char *session)
{
	struct session_state *st;

	world_plan(w);
	st = plan_state(&w->plan, session);
	assert_non_null(st);
	return st->engine;
}

/* More ports on br0, so that there are that many. */
static void fill(struct world *w, size_t ports)
{
	char name[24];

	for (size_t i = 3; i < ports; i++) {
		snprintf(name, sizeof(name), "m%zu", i);
		world_port_comes(w, NEXT_PORT + (int)i, name, BR0);
	}
}

static void tcx_where_the_kernel_has_it(void **state)
{
	struct world *w = *state;

	world_want(w, "name: one\nfrom: port:v1\nto: port:s0\n");
	assert_int_equal(engine(w, "one"), ENGINE_BPF);
	assert_plan(w, "maps.add, programs.load, 2 link.add");
	assert_state(w, "one", STATE_WHOLE, NULL);
	w->host.tcx = false;
	assert_int_equal(engine(w, "one"), ENGINE_TC);
	assert_state(w, "one", STATE_WHOLE, NULL);
}

static void tc_where_tcx_can_not_be_had(void **state)
{
	struct world *w = *state;

	world_want(w, "name: one\nfrom: port:v1\nto: port:s0\n");
	strcpy(w->host.no_pins, "no BPF file system is mounted");
	assert_int_equal(engine(w, "one"), ENGINE_TC);
	assert_state(w, "one", STATE_WHOLE, "because bpf can't be had: no BPF file system");
	w->host.no_pins[0] = '\0';
	strcpy(w->lacks.copy, "the kernel refuses the programs");
	assert_int_equal(engine(w, "one"), ENGINE_TC);
	assert_state(w, "one", STATE_WHOLE, "the kernel refuses the programs");
}

static void who_says_where_filters_hang_has_tc(void **state)
{
	struct world *w = *state;

	world_want(w, "name: one\nfrom: port:v1\nto: port:s0\nattach: classic\n");
	assert_int_equal(engine(w, "one"), ENGINE_TC);
}

static void what_the_host_prefers(void **state)
{
	struct world *w = *state;

	world_want(w, "name: one\nfrom: bridge:br0\nto: port:s0\n");
	w->preferred = ENGINE_TC;
	assert_int_equal(engine(w, "one"), ENGINE_TC);
	w->preferred = ENGINE_BPF;
	fill(w, MANY);
	assert_int_equal(engine(w, "one"), ENGINE_BPF);
}

static void tc_for_many_ports(void **state)
{
	struct world *w = *state;

	world_want(w, "name: one\nfrom: bridge:br0\nto: port:s0\n");
	fill(w, MANY - 1);
	assert_int_equal(engine(w, "one"), ENGINE_BPF);
	world_port_comes(w, NEXT_PORT + MANY, "last", BR0);
	assert_int_equal(engine(w, "one"), ENGINE_TC);
}

/* Those of all who share the destination. */
static void ports_are_counted_together(void **state)
{
	struct world *w = *state;

	world_want(w, "name: one\nfrom: bridge:br0\nto: port:s0\n");
	world_want(w, "name: two\nfrom: port:w1\nto: port:s0\n");
	world_want(w, "name: three\nfrom: port:w1\nto: port:s1\n");
	fill(w, MANY - 1);
	assert_int_equal(engine(w, "one"), ENGINE_TC);
	assert_int_equal(engine(w, "two"), ENGINE_TC);
	assert_int_equal(engine(w, "three"), ENGINE_BPF);
}

static void what_a_session_has_it_keeps(void **state)
{
	struct world *w = *state;

	world_want(w, "name: one\nfrom: bridge:br0\nto: port:s0\n");
	world_settle(w);
	assert_int_equal(w->host.ncopiers, 1);
	fill(w, MANY);
	assert_int_equal(engine(w, "one"), ENGINE_BPF);
}

static void a_session_of_tc_stays_one(void **state)
{
	struct world *w = *state;

	w->preferred = ENGINE_TC;
	world_want(w, "name: one\nfrom: port:v1\nto: port:s0\n");
	world_settle(w);
	w->preferred = ENGINE_AUTO;
	assert_int_equal(engine(w, "one"), ENGINE_TC);
	assert_plan(w, "");
	/* Suspended it has nothing, and is chosen for anew. */
	world_want(w, "name: one\nfrom: port:v1\nto: port:s0\nsuspended: true\n");
	world_settle(w);
	world_want(w, "name: one\nfrom: port:v1\nto: port:s0\n");
	assert_int_equal(engine(w, "one"), ENGINE_BPF);
}

static void one_destination_has_one_engine(void **state)
{
	struct world *w = *state;

	world_want(w, "name: one\nengine: tc\nfrom: port:v1\nto: port:s0\n");
	world_want(w, "name: two\nfrom: port:v2\nto: port:s0\n");
	assert_int_equal(engine(w, "two"), ENGINE_TC);
	world_forget(w, "one");
	/* One that has tc goes along with one that needs bpf. */
	w->preferred = ENGINE_TC;
	world_settle(w);
	w->preferred = ENGINE_AUTO;
	world_want(w, "name: three\nengine: bpf\nfrom: port:v1\nto: port:s0\n");
	assert_int_equal(engine(w, "two"), ENGINE_BPF);
	world_settle(w);
	assert_int_equal(w->host.actions.count, 0);
}

/* Also by way of a third. */
static void destinations_link_sessions(void **state)
{
	struct world *w = *state;

	w->preferred = ENGINE_TC;
	world_want(w, "name: one\nfrom: port:v1\nto: port:s0\n");
	world_settle(w);
	w->preferred = ENGINE_AUTO;
	world_want(w, "name: two\nfrom: port:v2\nto: port:s1\n");
	assert_int_equal(engine(w, "two"), ENGINE_BPF);
	world_want(w, "name: two\nfrom: port:v2\nto: port:s0\n");
	assert_int_equal(engine(w, "two"), ENGINE_TC);
}

static void two_engines_at_one_destination_are_told(void **state)
{
	struct world *w = *state;

	world_want(w, "name: one\nengine: tc\nfrom: port:v1\nto: port:s0\n");
	world_want(w, "name: two\nengine: bpf\nfrom: bridge:br0\nto: port:s0\n");
	world_plan(w);
	assert_state(w, "one", STATE_WHOLE, NULL);
	assert_state(w, "two", STATE_PARTIAL,
		     "frames that one copies there too, by the engine tc, " TWICE);
	/* Nothing that both could copy; what a session leaves out concerns it alone. */
	world_want(w, "name: two\nengine: bpf\nfrom: port:w1\nto: port:s0\n");
	world_plan(w);
	assert_state(w, "two", STATE_WHOLE, NULL);
	world_want(w, "name: two\nfrom: port:v1\nto: port:s0\nsnap: 64\n");
	world_plan(w);
	assert_state(w, "two", STATE_WHOLE, NULL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, world_new, world_end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(tcx_where_the_kernel_has_it),
		TEST(tc_where_tcx_can_not_be_had),
		TEST(who_says_where_filters_hang_has_tc),
		TEST(what_the_host_prefers),
		TEST(tc_for_many_ports),
		TEST(ports_are_counted_together),
		TEST(what_a_session_has_it_keeps),
		TEST(a_session_of_tc_stays_one),
		TEST(one_destination_has_one_engine),
		TEST(destinations_link_sessions),
		TEST(two_engines_at_one_destination_are_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
