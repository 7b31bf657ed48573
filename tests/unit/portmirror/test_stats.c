/* SPDX-License-Identifier: MIT */
#include "portmirror/stats.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "memory/memory.h"
#include "portmirror/host.h"

enum { VNET1 = 3, VNET2 = 4, IDS0 = 5, ACTION = 9001 };

/* A host with two ports and a sensor, and a session over all. */
struct world {
	struct nl_link links[3];
	struct tc_action actions[1];
	int from[2];
	struct session session;
	struct session_state states[1];
	struct host host;
	struct plan plan;
};

static void make(struct world *w)
{
	*w = (struct world){
		.links =
			{
				{.index = VNET1,
				 .name = "vnet1",
				 .rx_frames = 10,
				 .rx_bytes = 1000,
				 .tx_frames = 20,
				 .tx_bytes = 4000},
				{.index = VNET2, .name = "vnet2", .rx_frames = 1, .rx_bytes = 60},
				{.index = IDS0, .name = "ids0", .tx_dropped = 7},
			},
		.actions = {{.kind = "mirred",
			     .index = ACTION,
			     .frames = 31,
			     .bytes = 5000,
			     .overlimits = 2}},
		.from = {VNET1, VNET2},
		.session = {.name = "ids", .direction = DIRECTION_BOTH, .nto = 1},
	};
	w->states[0] = (struct session_state){
		.session = &w->session,
		.from = {.items = w->from, .count = 2},
		.to = {IDS0},
		.to_ifindex = IDS0,
		.action = ACTION,
		.in_kernel = true,
	};
	w->host.links.items = w->links;
	w->host.links.count = 3;
	w->host.actions.items = w->actions;
	w->host.actions.count = 1;
	w->plan.states = w->states;
	w->plan.nstates = 1;
}

static struct stats look(const struct world *w)
{
	struct stats stats = {0};

	assert_int_equal(scarce(stats_take(&w->plan, &w->host, NULL, &stats, NULL)), 0);
	assert_int_equal(stats.count, w->plan.nstates);
	return stats;
}

static void totals(void **state)
{
	struct world w;
	struct stats stats cleanup(stats_free) = {0};
	const struct stats_session *s;

	(void)state;
	make(&w);
	stats = look(&w);
	s = &stats.items[0];
	assert_string_equal(s->name, "ids");
	assert_string_equal(s->to, "ids0");
	assert_int_equal(s->state, STATE_WHOLE);
	assert_int_equal(s->copied.frames, 31);
	assert_int_equal(s->copied.bytes, 5000);
	assert_int_equal(s->lost_before, 2);
	assert_int_equal(s->lost_at, 7);
	assert_int_equal(s->nsources, 2);
	assert_string_equal(s->sources[0].port, "vnet1");
	assert_int_equal(s->sources[0].sent.frames, 10);
	assert_int_equal(s->sources[0].received.bytes, 4000);
	assert_int_equal(s->sources[0].sum.frames, 30);
	assert_int_equal(s->sources[1].sum.bytes, 60);
}

/* By programs of two sessions, of which the second is the one that is looked at. */
static void counts_of_its_own_programs(void **state)
{
	struct copier copiers[] = {{.session = "a"}, {.session = "ids"}};
	struct copier_count counts[] = {
		{.copier = 0, .port = {.ifindex = VNET1}, .count = {.frames = 1000}},
		{.copier = 1, .port = {.ifindex = VNET1}, .count = {.frames = 5, .bytes = 300}},
		{.copier = 1, .port = {.ifindex = 99}, .count = {.frames = 2, .bytes = 120}}};
	struct world w;
	struct stats stats cleanup(stats_free) = {0};

	(void)state;
	make(&w);
	w.host.actions.count = 0;
	w.states[0].engine = ENGINE_BPF;
	w.host.copiers = copiers;
	w.host.ncopiers = COUNT(copiers);
	w.host.counts = counts;
	w.host.ncounts = COUNT(counts);
	stats = look(&w);
	assert_int_equal(stats.items[0].copied.frames, 7); /* of a port that is gone, too */
	assert_int_equal(stats.items[0].copied.bytes, 420);
	assert_int_equal(stats.items[0].sources[0].copies.frames, 5);
	assert_int_equal(stats.items[0].sources[1].copies.frames, 0);
}

static void only_the_directions_asked_for(void **state)
{
	struct world w;
	struct stats stats cleanup(stats_free) = {0};

	(void)state;
	make(&w);
	w.session.direction = DIRECTION_RECEIVED;
	stats = look(&w);
	assert_int_equal(stats.items[0].sources[0].sent.frames, 0);
	assert_int_equal(stats.items[0].sources[0].sum.frames, 20);
}

static void one_by_name(void **state)
{
	struct world w;
	struct stats stats cleanup(stats_free) = {0};

	(void)state;
	make(&w);
	assert_int_equal(scarce(stats_take(&w.plan, &w.host, "other", &stats, NULL)), 0);
	assert_int_equal(stats.count, 0);
	stats_free(&stats);
	assert_int_equal(scarce(stats_take(&w.plan, &w.host, "ids", &stats, NULL)), 0);
	assert_int_equal(stats.count, 1);
}

static void what_is_not_there(void **state)
{
	struct world w;
	struct stats stats cleanup(stats_free) = {0};

	(void)state;
	make(&w);
	w.states[0].to[0] = w.states[0].to_ifindex = 99;
	w.states[0].in_kernel = false;
	w.states[0].pending = 3;
	w.from[1] = 98;
	stats = look(&w);
	assert_string_equal(stats.items[0].to, "");
	assert_int_equal(stats.items[0].state, STATE_PARTIAL);
	assert_int_equal(stats.items[0].copied.frames, 0);
	assert_int_equal(stats.items[0].nsources, 1);
}

static void rates(void **state)
{
	struct world w;
	struct stats before cleanup(stats_free) = {0};
	struct stats now cleanup(stats_free) = {0};
	const struct stats_session *s;

	(void)state;
	make(&w);
	before = look(&w);
	w.actions[0].frames += 100;
	w.actions[0].bytes += 6400;
	w.actions[0].overlimits += 10;
	w.links[2].tx_dropped += 4;
	w.links[0].rx_frames += 8;
	w.links[0].tx_bytes += 500;
	now = look(&w);
	stats_rates(&now, &before, 2);
	s = &now.items[0];
	assert_float_equal(s->copied.frames_per_second, 50, 0);
	assert_float_equal(s->copied.bits_per_second, 25600, 0);
	assert_float_equal(s->lost_before_per_second, 5, 0);
	assert_float_equal(s->lost_at_per_second, 2, 0);
	assert_float_equal(s->sources[0].sent.frames_per_second, 4, 0);
	assert_float_equal(s->sources[0].received.bits_per_second, 2000, 0);
	assert_float_equal(s->sources[0].sum.bits_per_second, 2000, 0);
	assert_float_equal(s->sources[1].sum.frames_per_second, 0, 0);
}

static void counters_that_began_anew(void **state)
{
	struct world w;
	struct stats before cleanup(stats_free) = {0};
	struct stats now cleanup(stats_free) = {0};
	struct nl_link renamed;

	(void)state;
	make(&w);
	before = look(&w);
	w.actions[0].frames = 5; /* the same action, made again */
	/* Other devices of the same names; tables of links are sorted by index. */
	renamed = w.links[0];
	w.links[0] = w.links[1];
	w.links[1] = renamed;
	w.links[1].index = w.from[0] = IDS0 + 1;
	w.links[1].rx_frames += 5;
	w.links[2].index = w.states[0].to[0] = w.states[0].to_ifindex = IDS0 + 2;
	w.links[2].tx_dropped += 5;
	now = look(&w);
	stats_rates(&now, &before, 1);
	assert_int_equal(now.items[0].nsources, 2);
	assert_float_equal(now.items[0].copied.frames_per_second, 5, 0);
	assert_float_equal(now.items[0].sources[0].sum.frames_per_second, 0, 0);
	assert_float_equal(now.items[0].lost_at_per_second, 0, 0);
}

static void the_busiest_first(void **state)
{
	struct stats_source sources[] = {{.port = "vnet10"},
					 {.port = "vnet9"},
					 {.port = "vnet11", .sum.bits_per_second = 1}};
	struct stats_session items[] = {
		{.name = "b"},
		{.name = "a", .sources = sources, .nsources = COUNT(sources)},
		{.name = "c", .copied.bits_per_second = 7},
	};
	struct stats stats = {.items = items, .count = COUNT(items)};

	(void)state;
	stats_sort(&stats);
	assert_string_equal(items[0].name, "c");
	assert_string_equal(items[1].name, "a");
	assert_string_equal(sources[0].port, "vnet11");
	assert_string_equal(sources[1].port, "vnet9");
	assert_string_equal(sources[2].port, "vnet10");
	stats_sort(&(struct stats){0});
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(totals),
		cmocka_unit_test(counts_of_its_own_programs),
		cmocka_unit_test(only_the_directions_asked_for),
		cmocka_unit_test(one_by_name),
		cmocka_unit_test(what_is_not_there),
		cmocka_unit_test(rates),
		cmocka_unit_test(counters_that_began_anew),
		cmocka_unit_test(the_busiest_first),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
