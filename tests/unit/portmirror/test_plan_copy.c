/* SPDX-License-Identifier: MIT */
/* What is planned for sessions of the engine bpf, on hosts that are made up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "memory/memory.h"
#include "plan_world.h"
#include "portmirror/copier.h"

#define SENT	 TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS)
#define RECEIVED TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_EGRESS)

#define BPF	"engine: bpf\n"
#define ONE	"name: one\n" BPF "from: port:v1\nto: port:s0\n"
#define SEVERAL "name: one\n" BPF "from: port:v1\nto: [port:s0, port:s1]\n"
#define OWN	3 /* maps of a session */
#define SHARED	(COPY_MAPS - OWN)
#define PAIR	2

static const struct copy_config *config(const struct world *w)
{
	assert_int_equal(w->host.ncopiers, 1);
	return &w->copiers[0].config;
}

static void where_nothing_is_all_is_made(void **state)
{
	struct world *w = *state;
	const struct copy_config *told;

	world_want(w, ONE);
	world_plan(w);
	assert_plan(w, "maps.add, programs.load, 2 link.add");
	assert_state(w, "one", STATE_WHOLE, NULL);
	assert_int_equal(w->plan.states[0].pending, 4);
	assert_false(w->plan.states[0].in_kernel);
	for (size_t i = 0; i < 2; i++) {
		const struct op *op = world_op(w, OP_COPY_LINK, i);

		assert_int_equal(op->ifindex, V1);
		assert_int_equal(op->received, i);
		assert_string_equal(op->owner, "one");
	}
	told = &world_op(w, OP_COPY_MAPS, 0)->config;
	assert_int_equal(told->to_count, 1);
	assert_int_equal(told->to[0].ifindex, S0);
	assert_int_equal(told->flags, 0);
	assert_int_equal(told->snap + told->sample + told->rate, 0);
}

static void where_all_is_there_nothing_is_done(void **state)
{
	struct world *w = *state;

	world_want(w, ONE);
	world_settle(w);
	assert_state(w, "one", STATE_WHOLE, NULL);
	assert_true(w->plan.states[0].in_kernel);
	assert_int_equal(world_pins(w, "one"), OWN + PAIR + 2);
	assert_int_equal(world_pins(w, ""), SHARED);
}

static void what_is_not_asked_for_is_not_linked(void **state)
{
	struct world *w = *state;

	world_want(w, ONE "direction: received\n");
	world_plan(w);
	assert_plan(w, "maps.add, programs.load, link.add");
	assert_true(world_op(w, OP_COPY_LINK, 0)->received);
	world_settle(w);
	world_want(w, ONE "direction: sent\n");
	world_plan(w);
	assert_plan(w, "link.add, link.remove");
	assert_false(world_op(w, OP_COPY_LINK, 0)->received);
	assert_true(world_op(w, OP_UNLINK, 0)->received);
	world_settle(w);
}

static void a_program_of_another_build_is_exchanged(void **state)
{
	static const char *const old[] = {"sent-0", "received-0"};
	struct world *w = *state;

	world_want(w, ONE);
	world_settle(w);
	for (size_t i = 0; i < COUNT(old); i++) {
		char name[PIN_NAME];

		copier_program_name(i == 1, name);
		world_rename_pin(w, world_pin(w, "one", name), old[i]);
	}
	world_plan(w);
	assert_plan(w, "programs.load, 2 link.replace, 2 pin.remove");
	for (size_t i = 0; i < COUNT(old); i++)
		assert_non_null(strstr(world_op(w, OP_UNPIN, i)->pin, "-0"));
	world_settle(w);
	assert_int_equal(world_pins(w, "one"), OWN + PAIR + 2);
}

static void a_filter_stands_in_front_and_another_takes_its_place(void **state)
{
	struct world *w = *state;

	world_want(w, ONE);
	world_settle(w);
	world_want(w, ONE "filter: tcp port 80\n");
	world_plan(w);
	assert_plan(w, "programs.load, 2 link.replace");
	world_settle(w);
	/* The map that leads from filter to copy, and two filters. */
	assert_int_equal(world_pins(w, "one"), OWN + PAIR + 2 + 3);
	world_want(w, ONE "filter: udp port 53\n");
	world_plan(w);
	assert_plan(w, "programs.load, 2 link.replace, 3 pin.remove");
	world_settle(w);
	world_want(w, ONE);
	world_plan(w);
	assert_plan(w, "2 link.replace, 3 pin.remove"); /* the pair is there */
	world_settle(w);
	assert_int_equal(world_pins(w, "one"), OWN + PAIR + 2);
}

static void a_filter_that_no_classifier_can_run_is_refused(void **state)
{
	struct world *w = *state;

	world_want(w, ONE "filter: tcp port 80\n");
	w->codes[0].code[0] = (struct sock_filter){.code = BPF_LD | BPF_W | BPF_ABS,
						   .k = (uint32_t)(SKF_AD_OFF + SKF_AD_RANDOM)};
	world_plan(w);
	assert_plan(w, "");
	assert_state(w, "one", STATE_FAILED, "filter: ");
}

static void parts_of_a_filter_that_are_gone_are_made(void **state)
{
	static const char *const parts[] = {"chain-", "filter-", "sent-", "received-"};
	struct world *w = *state;

	world_want(w, ONE "filter: tcp port 80\n");
	for (size_t i = 0; i < COUNT(parts); i++) {
		world_settle(w);
		world_drop_pin(w, world_pin(w, "one", parts[i]));
		world_plan(w);
		assert_plan(w, "programs.load, 2 link.replace");
	}
	world_settle(w);
	world_pin(w, "one", "chain-")->id = 900; /* its filters lead nowhere */
	world_plan(w);
	assert_plan(w, "programs.load, 2 link.replace");
	world_settle(w);
}

static void maps_that_are_gone_are_made_and_the_programs_with_them(void **state)
{
	struct world *w = *state;

	world_want(w, ONE);
	for (int i = 0; i < COPY_MAPS; i++) {
		const char *owner = copier_map_shared((enum copy_map)i) ? "" : "one";

		world_settle(w);
		world_drop_pin(w, world_pin(w, owner, copy_map_name((enum copy_map)i)));
		world_plan(w);
		assert_plan(w, "maps.add, programs.load, 2 link.replace");
	}
	world_settle(w);
	world_pin(w, "", "once")->id = 900; /* another took its place */
	world_plan(w);
	assert_plan(w, "programs.load, 2 link.replace");
	world_settle(w);
	world_pin(w, "one", "sent-")->nmaps--; /* it never had them all */
	world_plan(w);
	assert_plan(w, "programs.load, 2 link.replace");
	world_pin(w, "one", "budget")->kind = PIN_PROGRAM;
	world_plan(w);
	assert_plan(w, "maps.add, programs.load, 2 link.replace");
}

static void a_folder_that_a_crash_left_empty_is_used(void **state)
{
	static const struct pin folders[] = {{.kind = PIN_FOLDER},
					     {.session = "one", .kind = PIN_FOLDER}};
	struct world *w = *state;

	for (size_t i = 0; i < COUNT(folders); i++) {
		world_want(w, ONE);
		w->pins[0] = folders[i];
		w->host.pins.count = 1;
		world_plan(w);
		assert_plan(w, "maps.add, programs.load, 2 link.add");
		world_forget(w, "one");
		world_plan(w);
		assert_plan(w, "pin.remove");
	}
}

static void a_link_that_is_not_where_it_should_be_is_made_anew(void **state)
{
	struct world *w = *state;
	struct pin *link;

	world_want(w, ONE);
	world_settle(w);
	link = world_pin(w, "one", "3-received");
	link->egress = false;
	world_plan(w);
	assert_plan(w, "link.add");
	link->egress = true;
	link->ifindex = 0; /* somebody has detached it */
	world_plan(w);
	assert_plan(w, "link.add");
	assert_string_equal(world_op(w, OP_COPY_LINK, 0)->pin, "3-received");
	link->ifindex = V1;
	link->program = 900;
	world_plan(w);
	assert_plan(w, "link.replace");
	world_settle(w);
}

static void a_port_that_comes_touches_no_other(void **state)
{
	struct world *w = *state;

	world_want(w, "name: one\n" BPF "from: 'port:v*'\nto: port:s0\n");
	world_port_goes(w, V3);
	world_settle(w);
	assert_int_equal(config(w)->flags, COPY_ONCE);
	world_port_comes(w, V3, "v3", BR0);
	world_plan(w);
	assert_plan(w, "2 link.add");
	for (size_t i = 0; i < 2; i++)
		assert_int_equal(world_op(w, OP_COPY_LINK, i)->ifindex, V3);
	world_settle(w);
}

/* What a bridge's own device receives has entered at a port: where all of them are sources, but one
 * that is the destination, nothing hangs there for it. */
static void a_bridge_s_own_device_is_heard_where_a_port_of_it_is_not(void **state)
{
	struct world *w = *state;

	world_want(w, "name: one\n" BPF "from: [port:br0, port:v1, port:v2]\nto: port:s0\n");
	world_settle(w);
	assert_non_null(world_pin(w, "one", "2-sent"));
	world_port_goes(w, V3);
	world_plan(w);
	assert_plan(w, "link.remove");
	assert_int_equal(world_op(w, OP_UNLINK, 0)->ifindex, BR0);
	assert_false(world_op(w, OP_UNLINK, 0)->received);
	world_settle(w);
	world_port_comes(w, V3, "v3", BR0);
	world_plan(w);
	assert_plan(w, "link.add");
	world_want(w, "name: one\n" BPF "from: [port:br0, bridge:br0]\nto: port:v3\n"
		      "direction: sent\n");
	world_settle(w);
	assert_non_null(world_pin(w, "one", "4-sent"));
	for (size_t i = 0; i < w->host.pins.count; i++)
		assert_string_not_equal(w->pins[i].name, "2-sent");
	for (int port = V1; port <= V3; port++) /* what is no port of it tells nothing of it */
		world_port_goes(w, port);
	world_want(w, "name: one\n" BPF "from: [port:br0, port:w1]\nto: port:s0\n");
	world_settle(w);
	assert_non_null(world_pin(w, "one", "2-sent"));
}

static void of_a_port_that_is_gone_the_links_go(void **state)
{
	struct world *w = *state;

	world_want(w, "name: one\n" BPF "from: [port:v1, port:v2, port:v3]\nto: port:s0\n");
	world_settle(w);
	world_port_goes(w, V1);
	world_plan(w);
	assert_plan(w, "2 link.remove");
	assert_state(w, "one", STATE_PARTIAL, "waiting for the source port:v1");
	world_settle(w);
	world_port_comes(w, NEXT_PORT, "v1", BR0);
	world_plan(w);
	assert_plan(w, "2 link.add");
	assert_state(w, "one", STATE_WHOLE, NULL);
	world_settle(w);
}

/* Frames of the last one left can't meet: it is told so, and nothing else. */
static void once_is_told_as_ports_come_and_go(void **state)
{
	struct world *w = *state;

	world_want(w, "name: one\n" BPF "from: [port:v1, port:v2]\nto: port:s0\n");
	world_settle(w);
	assert_int_equal(config(w)->flags, COPY_ONCE);
	world_port_goes(w, V1);
	world_plan(w);
	assert_plan(w, "config.replace, 2 link.remove");
	world_settle(w);
	assert_int_equal(config(w)->flags, 0);
	/* Nor does it concern another session, elsewhere. */
	world_want(w, "name: other\n" BPF "from: port:w1\nto: port:s1\n");
	world_port_comes(w, NEXT_PORT, "v1", BR0);
	world_settle(w);
	assert_int_equal(host_copier(&w->host, "one")->config.flags, COPY_ONCE);
	assert_int_equal(host_copier(&w->host, "other")->config.flags, 0);
}

static void the_destination_goes_and_comes_back(void **state)
{
	struct world *w = *state;

	world_want(w, ONE);
	world_settle(w);
	world_port_goes(w, S0);
	world_plan(w);
	assert_plan(w, "config.replace");
	assert_int_equal(world_op(w, OP_COPY_CONFIG, 0)->config.to[0].ifindex, 0);
	assert_state(w, "one", STATE_WAITING, "waiting for the destination port:s0");
	world_settle(w);
	world_port_comes(w, NEXT_PORT, "s0", 0);
	world_plan(w);
	assert_plan(w, "config.replace");
	assert_int_equal(world_op(w, OP_COPY_CONFIG, 0)->config.to[0].ifindex, NEXT_PORT);
	assert_state(w, "one", STATE_WHOLE, NULL);
	world_settle(w);
}

static void it_waits_for_a_destination_that_never_was(void **state)
{
	struct world *w = *state;

	world_want(w, "name: one\n" BPF "from: port:v1\nto: port:x0\n");
	world_plan(w);
	assert_plan(w, "");
	assert_state(w, "one", STATE_WAITING, "waiting for the destination port:x0");
}

static void several_destinations(void **state)
{
	struct world *w = *state;
	uint32_t seeds[2];

	world_want(w, SEVERAL);
	world_settle(w);
	assert_int_equal(config(w)->to_count, 2);
	assert_int_equal(config(w)->to[0].ifindex, S0);
	assert_int_equal(config(w)->to[1].ifindex, S1);
	for (size_t i = 0; i < 2; i++)
		seeds[i] = config(w)->to[i].seed;
	assert_int_not_equal(seeds[0], seeds[1]);
	world_port_goes(w, S0);
	world_plan(w);
	assert_plan(w, "config.replace");
	assert_state(w, "one", STATE_PARTIAL, "waiting for the destination port:s0");
	world_settle(w);
	/* Each keeps its place, and with it its flows. */
	assert_int_equal(config(w)->to_count, 2);
	assert_int_equal(config(w)->to[0].ifindex, 0);
	assert_int_equal(config(w)->to[1].ifindex, S1);
	world_port_goes(w, S1);
	world_plan(w);
	assert_plan(w, "config.replace");
	assert_state(w, "one", STATE_WAITING, "port:s1");
	world_settle(w);
	world_port_comes(w, NEXT_PORT, "s0", 0);
	world_port_comes(w, NEXT_PORT + 1, "s1", 0);
	world_settle(w);
	assert_state(w, "one", STATE_WHOLE, NULL);
	for (size_t i = 0; i < 2; i++)
		assert_int_equal(config(w)->to[i].seed, seeds[i]);
}

static void what_a_session_leaves_out_is_told_to_its_programs_alone(void **state)
{
	static const struct {
		const char *more;
		uint32_t flags;
	} cases[] = {
		{"balance: true\n", COPY_BALANCE},
		{"sample: 4\n", COPY_ALONE},
		{"sample: 4\nsample-flows: true\n", COPY_ALONE | COPY_SAMPLE_FLOWS},
		{"rate: 100\n", COPY_ALONE},
		{"", 0},
	};
	struct world *w = *state;
	char text[200];

	world_want(w, SEVERAL);
	world_settle(w);
	for (size_t i = 0; i < COUNT(cases); i++) {
		snprintf(text, sizeof(text), SEVERAL "%s", cases[i].more);
		world_want(w, text);
		world_plan(w);
		assert_plan(w, "config.replace");
		assert_int_equal(world_op(w, OP_COPY_CONFIG, 0)->config.flags, cases[i].flags);
		world_settle(w);
		assert_int_equal(config(w)->rate, strstr(cases[i].more, "rate") ? 100 : 0);
		/* Of 2^32 as many as make one of four. */
		assert_int_equal(config(w)->sample, strstr(cases[i].more, "sample") ? 1u << 30 : 0);
	}
}

static void copies_are_cut_at_their_destinations(void **state)
{
	struct world *w = *state;

	world_want(w, SEVERAL "snap: 128\n");
	world_plan(w);
	assert_plan(w, "maps.add, 2 programs.load, 4 link.add");
	assert_int_equal(world_op(w, OP_CUT_LINK, 0)->ifindex, S0);
	assert_int_equal(world_op(w, OP_CUT_LINK, 1)->ifindex, S1);
	assert_string_equal(world_op(w, OP_CUT_LINK, 0)->owner, "");
	assert_int_equal(world_op(w, OP_COPY_MAPS, 0)->config.snap, 128);
	world_settle(w);
	assert_int_equal(world_pins(w, ""), SHARED + 1 + 2);
	world_pin(w, "", "6-cut")->ifindex = 0; /* somebody has detached it */
	world_plan(w);
	assert_plan(w, "link.add");
	world_settle(w);
	/* Another session's copies to the same destination are cut by the same program. */
	world_want(w, "name: two\n" BPF "from: port:v2\nto: port:s1\nsnap: 64\n");
	world_plan(w);
	assert_int_equal(world_count(w, OP_CUT_LINK), 0);
	world_settle(w);
	world_forget(w, "one");
	world_plan(w);
	assert_int_equal(world_count(w, OP_CUT_LINK), 0);
	world_settle(w);
	assert_int_equal(world_pins(w, ""), SHARED + 1 + 1);
	assert_int_equal(world_pin(w, "", "7-cut")->ifindex, S1);
	world_want(w, "name: two\n" BPF "from: port:v2\nto: port:s1\n");
	world_plan(w);
	assert_plan(w, "config.replace, link.remove, pin.remove");
	world_settle(w);
	assert_int_equal(world_pins(w, ""), SHARED);
	world_want(w, SEVERAL "snap: 128\n");
	world_port_goes(w, S0);
	world_plan(w);
	assert_int_equal(world_count(w, OP_CUT_LINK), 1);
	world_settle(w);
}

static void two_that_cut_at_one_destination_plan_it_once(void **state)
{
	struct world *w = *state;

	world_want(w, ONE "snap: 128\n");
	world_want(w, "name: two\n" BPF "from: port:v2\nto: port:s0\nsnap: 64\n");
	world_plan(w);
	assert_int_equal(world_count(w, OP_CUT_LINK), 1);
	world_settle(w);
	world_port_goes(w, S0);
	world_port_comes(w, NEXT_PORT, "s0", 0);
	world_plan(w);
	assert_plan(w, "link.add, 2 config.replace, link.remove");
	assert_int_equal(world_op(w, OP_CUT_LINK, 0)->ifindex, NEXT_PORT);
	world_settle(w);
}

static void suspended_it_wants_nothing(void **state)
{
	struct world *w = *state;

	world_want(w, ONE);
	world_settle(w);
	world_want(w, ONE "suspended: true\n");
	world_plan(w);
	/* Links first: maps and programs are theirs. */
	assert_plan(w, "2 link.remove, 7 pin.remove");
	assert_state(w, "one", STATE_SUSPENDED, "nothing is copied");
	world_settle(w);
	assert_int_equal(w->host.pins.count, 0);
	world_want(w, ONE);
	world_plan(w);
	assert_plan(w, "maps.add, programs.load, 2 link.add");
}

static void of_a_file_that_can_not_be_read_all_stays(void **state)
{
	struct world *w = *state;

	world_want(w, ONE "snap: 64\n");
	world_settle(w);
	world_break(w, "one");
	world_plan(w);
	assert_plan(w, "");
	assert_state(w, "one", STATE_FAILED, "what is this?");
	assert_true(w->plan.states[0].in_kernel);
	world_port_goes(w, V1);
	world_port_goes(w, S0);
	world_plan(w);
	assert_plan(w, "");
	/* What it shares with others stays, too. */
	world_want(w, "name: two\n" BPF "from: port:v2\nto: port:s1\n");
	world_settle(w);
	world_forget(w, "two");
	world_settle(w);
	assert_int_equal(world_pins(w, ""), SHARED + 2);
}

static void a_dead_session_leaves_nothing(void **state)
{
	struct world *w = *state;

	world_want(w, ONE "filter: tcp port 80\nsnap: 64\n");
	world_want(w, "name: two\n" BPF "from: port:v2\nto: port:s1\n");
	world_settle(w);
	world_forget(w, "one");
	world_plan(w);
	assert_plan(w, "3 link.remove, 9 pin.remove");
	for (size_t i = 0; i < w->plan.nops; i++)
		assert_int_equal(w->plan.ops[i].session, -1);
	world_settle(w);
	assert_int_equal(w->host.pins.count, OWN + PAIR + 2 + SHARED);
	assert_state(w, "two", STATE_WHOLE, NULL);
	world_forget(w, "two");
	world_settle(w);
	assert_int_equal(w->host.pins.count, 0); /* the last takes along what all shared */
}

static void what_a_crash_left_is_completed_or_removed(void **state)
{
	struct world *w = *state;

	world_want(w, ONE);
	world_settle(w);
	/* As rm goes: links first, then all else in the order of names. */
	for (size_t left = world_pins(w, "one"); left > 0; left--) {
		world_drop_pin(w, world_pin(w, "one", left > 6 ? "3-" : ""));
		world_plan(w);
		assert_true(w->plan.nops > 0);
		assert_state(w, "one", STATE_WHOLE, NULL);
	}
	world_settle(w);
	world_forget(w, "one");
	world_drop_pin(w, world_pin(w, "one", "config2"));
	w->host.ncopiers = 0;
	/* Who waits for a destination keeps what he has, not what others have left. */
	world_want(w, "name: waiting\nfrom: port:v1\nto: port:x0\n");
	world_settle(w);
	assert_state(w, "waiting", STATE_WAITING, "port:x0");
	assert_int_equal(w->host.pins.count, 0);
}

static void from_bpf_to_tc_and_back(void **state)
{
	struct world *w = *state;

	world_want(w, ONE);
	world_settle(w);
	world_want(w, "name: one\nengine: tc\nfrom: port:v1\nto: port:s0\n");
	world_plan(w);
	assert_plan(w, "action.add, qdisc.add, 2 filter.add, 2 link.remove, 7 pin.remove");
	world_settle(w);
	world_want(w, ONE);
	world_plan(w);
	assert_plan(w, "maps.add, programs.load, 2 link.add, qdisc.remove, action.remove");
	world_settle(w);
}

static void what_the_host_lacks_is_told(void **state)
{
	struct world *w = *state;

	world_want(w, ONE);
	strcpy(w->host.no_pins, "no BPF file system is mounted");
	world_plan(w);
	assert_plan(w, "");
	assert_state(w, "one", STATE_FAILED, "no BPF file system");
	/* Nobody has asked for bpf: tc does it, and says why. */
	world_want(w, "name: one\nfrom: port:v1\nto: port:s0\n");
	w->preferred = ENGINE_BPF;
	world_plan(w);
	assert_plan(w, "action.add, qdisc.add, 2 filter.add");
	assert_state(w, "one", STATE_WHOLE, "no BPF file system");
	w->host.no_pins[0] = '\0';
	strcpy(w->lacks.copy, "the kernel refuses the programs");
	world_want(w, "name: one\nfrom: port:v1\nto: port:s0\nsnap: 64\n");
	world_plan(w);
	assert_plan(w, "");
	assert_state(w, "one", STATE_FAILED, "the kernel refuses the programs");
}

static void what_can_not_be_is_refused(void **state)
{
	static const struct {
		const char *session, *words;
	} cases[] = {
		{"name: one\n" BPF "from: port:v1\nto: ['port:s0', 'mac:02:00:00:00:00:06']\n",
		 "are the same device, s0"},
		{"name: one\n" BPF "from: port:v1\nto: 'port:s*'\n", "means 2 devices"},
		{"name: one\n" BPF "from: mac:02:00:00:00:00:06\nto: port:s0\n", "a loop"},
	};
	struct world *w = *state;

	for (size_t i = 0; i < COUNT(cases); i++) {
		world_want(w, cases[i].session);
		world_plan(w);
		assert_plan(w, "");
		assert_state(w, "one", STATE_FAILED, cases[i].words);
	}
}

static struct nl_link *link_at(struct world *w, int ifindex)
{
	size_t at = 0;

	while (w->links[at].index != ifindex)
		assert_true(++at < w->host.links.count);
	return &w->links[at];
}

/* VLANs and bonds, which the kernel that runs the tests may lack. */
static void a_loop_through_what_a_destination_is_built_on(void **state)
{
	static const struct {
		const char *session, *words;
	} cases[] = {
		/* vl is a VLAN of bo, a bond of s1. */
		{"from: port:s1\nto: port:vl\n", "to vl, from where frames come to s1, which one"},
		{"from: port:bo\nto: port:vl\n", "to vl, from where frames come to bo, which one"},
		{"from: port:s1\nto: port:bo\n", "to bo, from where frames come to s1, which one"},
		{"from: port:s1\nto: port:vl\ndirection: sent\n", NULL},
		/* A filter can pass over what has the tag. */
		{"from: port:s1\nto: port:vl\nfilter: not vlan 9\n", NULL},
		{"from: port:s1\nto: port:bo\nfilter: not vlan 9\n", "a loop"},
	};
	struct world *w = *state;

	world_port_comes(w, NEXT_PORT, "bo", 0);
	world_port_comes(w, NEXT_PORT + 1, "vl", 0);
	strcpy(link_at(w, NEXT_PORT)->kind, "bond");
	strcpy(link_at(w, NEXT_PORT + 1)->kind, "vlan");
	link_at(w, NEXT_PORT + 1)->link = NEXT_PORT;
	link_at(w, S1)->master = NEXT_PORT;
	for (size_t i = 0; i < COUNT(cases); i++) {
		char *text cleanup(free_at) = NULL;

		assert_true(asprintf(&text, "name: one\n%s", cases[i].session) > 0);
		world_want(w, text);
		world_plan(w);
		assert_state(w, "one", cases[i].words ? STATE_FAILED : STATE_WHOLE, cases[i].words);
	}
}

/* What comes in at a bond is the bond's, and what comes in at a bridge leaves by its other ports.
 */
static void a_loop_through_a_bond_into_a_bridge(void **state)
{
	struct world *w = *state;

	world_port_comes(w, NEXT_PORT, "bo", BR0);
	world_port_comes(w, NEXT_PORT + 1, "sp0", 0);
	world_port_comes(w, NEXT_PORT + 2, "sp1", 0);
	strcpy(link_at(w, NEXT_PORT)->kind, "bond");
	strcpy(link_at(w, NEXT_PORT + 1)->kind, "veth");
	link_at(w, NEXT_PORT + 1)->link = NEXT_PORT + 2;
	link_at(w, NEXT_PORT + 2)->master = NEXT_PORT;
	world_want(w, "name: one\nfrom: port:v2\nto: port:sp0\ndirection: received\n");
	world_plan(w);
	assert_state(w, "one", STATE_FAILED, "to sp0, from where frames come to v2, which one");
	world_want(w, "name: one\nfrom: port:bo\nto: port:sp0\ndirection: sent\n");
	world_plan(w);
	assert_state(w, "one", STATE_FAILED, "to sp0, from where frames come to bo, which one");
	world_want(w, "name: one\nfrom: port:v2\nto: port:sp0\ndirection: sent\n");
	world_plan(w);
	assert_state(w, "one", STATE_WHOLE, NULL);
}

static void expect(struct world *w, const char *session, const char *words)
{
	world_want(w, session);
	world_plan(w);
	assert_state(w, "one", words ? STATE_FAILED : STATE_WHOLE, words);
}

/* The other end of the destination leads into the mirrored bridge, perhaps into another VLAN. */
static void no_loop_through_a_bridge_with_vlans(void **state)
{
	static const char machine[] = "name: one\nfrom: port:v2\nto: port:sp0\n";
	static const char all[] = "name: one\nfrom: bridge:br0\nto: port:sp0\n";
	struct world *w = *state;

	world_port_comes(w, NEXT_PORT, "sp0", 0);
	world_port_comes(w, NEXT_PORT + 1, "sp1", BR0);
	strcpy(link_at(w, NEXT_PORT)->kind, "veth");
	strcpy(link_at(w, NEXT_PORT + 1)->port_kind, "bridge");
	link_at(w, NEXT_PORT)->link = NEXT_PORT + 1;
	expect(w, machine, "to sp0, from where frames come to v2, which one");
	link_at(w, BR0)->vlan_filtering = true;
	expect(w, machine, NULL);
	expect(w, all, "to sp0, from where frames come to sp1, which one");
	/* Both ends are there: what comes in at the one leaves by the other, again and again. */
	link_at(w, BR0)->vlan_filtering = false;
	link_at(w, NEXT_PORT)->master = BR0;
	strcpy(link_at(w, NEXT_PORT)->port_kind, "bridge");
	expect(w, machine, "to sp0, from where frames come to v2, which one");
}

/* A tunnel's packets leave by what may be mirrored itself, where a filter can pass over them. */
static void a_loop_through_a_tunnel(void **state)
{
	static const char *const kinds[] = {"gretap", "ip6erspan", "vxlan", "macvlan"};
	struct world *w = *state;

	world_port_comes(w, NEXT_PORT, "tu", 0);
	link_at(w, NEXT_PORT)->link = S1;
	for (size_t i = 0; i < COUNT(kinds); i++) {
		strcpy(link_at(w, NEXT_PORT)->kind, kinds[i]);
		expect(w, "name: one\nfrom: port:s1\nto: port:tu\n",
		       "to tu, from where frames come to s1, which one");
		expect(w, "name: one\nfrom: port:s1\nto: port:tu\nfilter: not ip proto 47\n",
		       i < 3 ? NULL : "to tu, from where frames come to s1, which one");
	}
}

/* Kernels without tcx */

static void add_qdisc(struct world *w, int ifindex, const char *kind)
{
	struct tc_qdisc *q = &w->qdiscs[w->host.qdiscs.count++];

	*q = (struct tc_qdisc){.ifindex = ifindex,
			       .parent = TC_H_INGRESS, /* which is TC_H_CLSACT */
			       .handle = TC_H_MAKE(TC_H_INGRESS, 0)};
	strcpy(q->kind, kind);
}

static void add_foreign(struct world *w, int ifindex, uint32_t parent, uint16_t pref)
{
	w->filters[w->host.filters.count++] = (struct tc_filter){.ifindex = ifindex,
								 .parent = parent,
								 .pref = pref,
								 .handle = 1,
								 .kind = "matchall",
								 .protocol = ETH_P_IP};
}

static void assert_nothing_is_left(const struct world *w)
{
	assert_int_equal(w->host.qdiscs.count, 0);
	assert_int_equal(w->host.filters.count, 0);
	assert_int_equal(w->host.pins.count, 0);
	assert_int_equal(w->plan.notes.count, 0);
}

static void without_tcx_filters_copy(void **state)
{
	struct world *w = *state;

	w->host.tcx = false;
	world_want(w, ONE);
	world_plan(w);
	assert_plan(w, "maps.add, programs.load, qdisc.add, 2 filter.add");
	assert_state(w, "one", STATE_WHOLE, NULL);
	assert_int_equal(w->plan.notes.count, 1);
	for (size_t i = 0; i < 2; i++) {
		const struct op *op = world_op(w, OP_FILTER_PUT, i);

		assert_int_equal(op->ifindex, V1);
		assert_int_equal(op->direct, DIRECT_COPIES);
		assert_int_equal(op->rule.parent, i ? RECEIVED : SENT);
		assert_int_equal(op->rule.pref, 3);
		assert_int_equal(op->rule.mirred, 0); /* direct-action */
		assert_string_equal(op->owner, "one");
		assert_memory_equal(op->pin, i ? "received-" : "sent-", 5);
		assert_memory_equal(op->direct_name, "pmc:00000000:", 13);
	}
	world_settle(w);
	assert_int_equal(world_pins(w, "one"), OWN + PAIR);
	world_forget(w, "one");
	world_plan(w);
	assert_plan(w, "qdisc.remove, 7 pin.remove"); /* its filters go with it */
	world_settle(w);
	assert_nothing_is_left(w);
}

static void without_tcx_all_else_is_the_same(void **state)
{
	struct world *w = *state;

	w->host.tcx = false;
	world_want(w, ONE "direction: sent\n");
	world_settle(w);
	assert_int_equal(w->host.filters.count, 1);
	world_want(w, ONE "sample: 10\ndirection: sent\n");
	world_plan(w);
	assert_plan(w, "config.replace");
	world_settle(w);
	world_want(w, ONE "filter: tcp port 80\ndirection: sent\n");
	world_plan(w);
	assert_plan(w, "programs.load, config.replace, filter.replace");
	assert_int_equal(world_op(w, OP_FILTER_PUT, 0)->rule.pref, w->filters[0].pref);
	assert_memory_equal(world_op(w, OP_FILTER_PUT, 0)->pin, "filter-", 7);
	world_settle(w);
	world_port_goes(w, S0);
	world_plan(w);
	assert_plan(w, "config.replace");
	assert_state(w, "one", STATE_WAITING, "port:s0");
	world_settle(w);
	world_port_comes(w, NEXT_PORT, "s0", 0);
	world_plan(w);
	assert_plan(w, "config.replace");
	world_settle(w);
	world_break(w, "one");
	world_plan(w);
	assert_plan(w, "");
	world_want(w, ONE "suspended: true\n");
	world_settle(w);
	assert_nothing_is_left(w);
}

/* Of the same names, but not the same. */
static void without_tcx_programs_that_are_loaded_anew_are_put_at_once(void **state)
{
	struct world *w = *state;

	w->host.tcx = false;
	world_want(w, ONE "snap: 64\n");
	world_settle(w);
	world_drop_pin(w, world_pin(w, "one", "ports"));
	world_plan(w);
	assert_plan(w, "maps.add, programs.load, 2 filter.replace");
	world_settle(w);
	world_drop_pin(w, world_pin(w, "", "cut-"));
	world_plan(w);
	assert_plan(w, "programs.load, filter.replace");
	assert_int_equal(world_op(w, OP_FILTER_PUT, 0)->direct, DIRECT_CUTS);
	world_settle(w);
}

static void without_tcx_a_filter_that_others_removed_comes_back(void **state)
{
	struct world *w = *state;

	w->host.tcx = false;
	world_want(w, ONE);
	world_settle(w);
	w->host.filters.count = 1;
	world_plan(w);
	assert_plan(w, "filter.add");
	assert_state(w, "one", STATE_WHOLE, NULL);
	assert_int_equal(w->plan.states[0].pending, 1);
	world_settle(w);
	w->filters[2] = w->filters[1]; /* a second one, which nobody needs */
	w->filters[2].handle = 9;
	w->host.filters.count = 3;
	world_plan(w);
	assert_plan(w, "filter.remove");
	world_settle(w);
}

static void filters_of_several_sessions_share_a_preference(void **state)
{
	struct world *w = *state;

	w->host.tcx = false;
	add_qdisc(w, V1, "clsact");
	add_foreign(w, V1, SENT, 3);
	world_want(w, ONE "direction: sent\n");
	world_want(w, "name: two\n" BPF "from: port:v1\nto: port:s1\ndirection: sent\n");
	world_want(w, "name: xtc\nfrom: port:v1\nto: port:v3\ndirection: sent\n");
	world_plan(w);
	assert_int_equal(world_count(w, OP_QDISC_ADD), 0);
	for (size_t i = 0; i < 3; i++) {
		const struct op *op = world_op(w, OP_FILTER_PUT, i);

		assert_int_equal(op->rule.pref, 2); /* in front of the foreign one */
		assert_int_equal(op->rule.handle, i < 2 ? i + 1 : op->rule.mirred);
	}
	world_settle(w);
	world_want(w, "name: aaa\n" BPF "from: port:v1\nto: port:v2\ndirection: sent\n");
	world_plan(w);
	assert_int_equal(world_op(w, OP_FILTER_PUT, 0)->rule.pref, 2);
	assert_int_equal(world_op(w, OP_FILTER_PUT, 0)->rule.handle, 3);
	world_settle(w);
	for (size_t i = 0; i < 4; i++)
		world_forget(w, (const char *[]){"one", "two", "xtc", "aaa"}[i]);
	world_plan(w);
	assert_int_equal(world_count(w, OP_FILTER_DEL), 4);
	assert_int_equal(world_count(w, OP_QDISC_DEL), 0); /* it isn't ours */
	world_settle(w);
	assert_int_equal(w->host.filters.count, 1);
	assert_int_equal(w->host.qdiscs.count, 1);
}

static void without_tcx_filters_cut_copies(void **state)
{
	struct world *w = *state;

	w->host.tcx = false;
	world_want(w, SEVERAL "snap: 128\n");
	world_plan(w);
	assert_plan(w, "maps.add, 2 programs.load, 3 qdisc.add, 4 filter.add");
	for (size_t i = 0; i < 4; i++) { /* first what cuts, then what copies */
		const struct op *op = world_op(w, OP_FILTER_PUT, i);

		assert_int_equal(op->direct, i < 2 ? DIRECT_CUTS : DIRECT_COPIES);
		assert_int_equal(op->ifindex, i == 0 ? S0 : i == 1 ? S1 : V1);
		assert_string_equal(op->owner, i < 2 ? "" : "one");
	}
	assert_int_equal(world_op(w, OP_FILTER_PUT, 0)->rule.parent, RECEIVED);
	world_settle(w);
	assert_int_equal(world_pins(w, ""), SHARED + 1);
	/* Another session's copies to the same destination are cut by the same filter. */
	world_want(w, "name: two\n" BPF "from: port:v2\nto: port:s1\nsnap: 64\n");
	world_plan(w);
	assert_plan(w, "maps.add, programs.load, qdisc.add, 2 filter.add");
	world_settle(w);
	world_forget(w, "one");
	world_plan(w); /* v1's clsact, then s0's: what cuts goes last */
	assert_int_equal(world_count(w, OP_QDISC_DEL), 2);
	assert_int_equal(world_op(w, OP_QDISC_DEL, 0)->ifindex, V1);
	assert_int_equal(world_op(w, OP_QDISC_DEL, 1)->ifindex, S0);
	world_settle(w);
	world_break(w, "two");
	world_plan(w);
	assert_plan(w, "");
	world_want(w, "name: two\n" BPF "from: port:v2\nto: port:s1\n");
	world_plan(w);
	assert_plan(w, "config.replace, qdisc.remove, pin.remove");
	world_settle(w);
	assert_int_equal(world_pins(w, ""), SHARED);
	world_forget(w, "two");
	world_settle(w);
	assert_nothing_is_left(w);
}

/* Also where it hangs on what isn't ours. */
static void what_cuts_goes_last(void **state)
{
	struct world *w = *state;

	for (int tcx = 0; tcx < 2; tcx++) {
		bool cut = false;

		w->host.tcx = tcx;
		w->host.qdiscs.count = 0;
		add_qdisc(w, S0, "clsact");
		world_want(w, ONE "snap: 128\n");
		world_settle(w);
		world_forget(w, "one");
		world_plan(w);
		for (size_t i = 0; i < w->plan.nops; i++) {
			cut |= w->plan.ops[i].cuts;
			assert_false(cut && w->plan.ops[i].ifindex == V1);
		}
		assert_true(cut);
		assert_int_equal(world_count(w, OP_FILTER_DEL) + world_count(w, OP_UNLINK),
				 tcx ? 3 : 1);
		world_settle(w);
	}
}

static void two_filters_that_cut_at_one_destination_are_one(void **state)
{
	struct world *w = *state;

	w->host.tcx = false;
	world_want(w, ONE "snap: 128\n");
	world_want(w, "name: two\n" BPF "from: port:v2\nto: port:s0\nsnap: 64\n");
	world_plan(w);
	assert_plan(w, "2 maps.add, 3 programs.load, 3 qdisc.add, 5 filter.add");
	world_settle(w);
}

static void an_ingress_qdisc_of_others_is_in_the_way(void **state)
{
	struct world *w = *state;

	w->host.tcx = false;
	add_qdisc(w, V1, "ingress");
	world_want(w, ONE);
	world_plan(w);
	assert_state(w, "one", STATE_PARTIAL,
		     "v1 can't be mirrored by the engine bpf without tcx (Linux 6.6): another "
		     "qdisc is where clsact would be; the engine tc goes along with that");
	assert_true(w->plan.states[0].stuck);
	assert_plan(w, ""); /* no map, no program */
	world_want(w, "name: one\n" BPF "from: [port:v1, port:v2]\nto: port:s0\nsnap: 64\n");
	world_plan(w);
	assert_null(strstr(w->plan.states[0].reasons, "the engine tc goes")); /* it can't cut */
	for (size_t i = 0; i < w->plan.nops; i++)
		assert_int_not_equal(w->plan.ops[i].ifindex, V1);
	assert_int_equal(world_count(w, OP_FILTER_PUT), 3); /* at v2, and s0 */
	world_settle(w);
	/* A session of the engine tc beside it goes along with that qdisc all the same. */
	world_want(w, "name: two\nfrom: port:v1\nto: port:s0\ndirection: sent\n");
	world_settle(w);
	assert_state(w, "two", STATE_WHOLE, NULL);
	w->qdiscs[0] = w->qdiscs[1]; /* the ingress qdisc goes, with the filter */
	w->qdiscs[1] = w->qdiscs[2];
	w->host.qdiscs.count = 2;
	memmove(w->filters, w->filters + 1, 3 * sizeof(*w->filters));
	w->host.filters.count = 3;
	world_settle(w);
	assert_state(w, "one", STATE_WHOLE, NULL);
}

static void where_copies_can_not_be_cut_there_are_none(void **state)
{
	struct world *w = *state;

	w->host.tcx = false;
	add_qdisc(w, S1, "ingress");
	world_want(w, SEVERAL "snap: 64\n");
	world_plan(w);
	assert_state(w, "one", STATE_FAILED,
		     "copies can't be shortened at s1 without tcx (Linux 6.6): another qdisc is");
	assert_plan(w, "");
}

static void a_session_that_attaches_as_classic_is_in_the_way(void **state)
{
	struct world *w = *state;

	w->host.tcx = false;
	world_want(w, "name: a\nfrom: port:v1\nto: port:s1\nattach: classic\n");
	world_want(w, ONE);
	world_plan(w);
	assert_state(w, "a", STATE_WHOLE, NULL);
	assert_state(w, "one", STATE_PARTIAL, "another session attaches there as classic");
	assert_int_equal(world_count(w, OP_COPY_MAPS), 0);
	world_settle(w);
	world_want(w, "name: a\nfrom: port:v1\nto: port:s1\nattach: clsact\n");
	world_settle(w);
	assert_state(w, "one", STATE_WHOLE, NULL);
}

static void a_classful_root_is_left_alone(void **state)
{
	struct world *w = *state;

	w->host.tcx = false;
	w->qdiscs[w->host.qdiscs.count++] = (struct tc_qdisc){
		.ifindex = V1, .parent = TC_H_ROOT, .handle = TC_H_MAKE(0x10000, 0), .kind = "htb"};
	world_want(w, ONE);
	world_plan(w);
	assert_int_equal(world_count(w, OP_QDISC_ADD), 1);
	assert_string_equal(world_op(w, OP_QDISC_ADD, 0)->qdisc, "clsact");
	assert_int_equal(world_op(w, OP_FILTER_PUT, 1)->rule.parent, RECEIVED);
	world_settle(w);
	world_forget(w, "one");
	world_settle(w);
	assert_int_equal(w->host.qdiscs.count, 1);
}

static void what_an_appliance_keeps_back_is_not_copied(void **state)
{
	static const uint16_t foreign[] = {0, 1, 2, 3};
	struct world *w = *state;

	w->host.tcx = false;
	world_want(w, ONE);
	world_want(w, "name: ips\nmode: inline\nguard: port:v1\nthrough: [port:a0, port:b0]\n"
		      "on-failure: closed\n");
	for (size_t i = 0; i < COUNT(foreign); i++) {
		const struct op *copies = NULL, *leads = NULL;

		w->host.qdiscs.count = w->host.filters.count = 0;
		add_qdisc(w, V1, "clsact");
		if (foreign[i])
			add_foreign(w, V1, SENT, foreign[i]);
		world_plan(w);
		for (size_t j = 0; j < world_count(w, OP_FILTER_PUT); j++) {
			const struct op *op = world_op(w, OP_FILTER_PUT, j);

			if (op->ifindex == V1 && op->rule.parent == SENT)
				*(op->direct == DIRECT_LEADS ? &leads : &copies) = op;
		}
		assert_true(leads && copies && leads->rule.pref < copies->rule.pref);
	}
}

static void from_filters_to_links_and_back(void **state)
{
	struct world *w = *state;

	world_want(w, ONE "snap: 64\n");
	w->preferred = ENGINE_TC;
	world_settle(w);
	assert_int_equal(w->host.filters.count, 3);
	w->preferred = ENGINE_AUTO;
	world_plan(w);
	assert_plan(w, "3 link.add, 2 qdisc.remove");
	world_settle(w);
	w->preferred = ENGINE_TC;
	world_plan(w);
	assert_plan(w, "2 qdisc.add, 3 filter.add, 3 link.remove");
	world_settle(w);
}

static void without_tcx_and_cls_bpf_nothing_can_be_had(void **state)
{
	struct world *w = *state;

	w->host.tcx = false;
	w->lacks.bpf = true;
	world_want(w, ONE);
	world_want(w, "name: two\nfrom: port:v2\nto: port:s1\n");
	w->preferred = ENGINE_BPF;
	world_plan(w);
	assert_state(w, "one", STATE_FAILED, "neither tcx (Linux 6.6) nor cls_bpf");
	assert_state(w, "two", STATE_WHOLE, "by the engine tc, because bpf can't be had");
	assert_int_equal(world_count(w, OP_COPY_MAPS), 0);
	w->lacks.bpf = false;
	world_plan(w);
	assert_int_equal(w->plan.states[0].engine, ENGINE_BPF);
	assert_int_equal(w->plan.states[1].engine, ENGINE_BPF);
	w->preferred = ENGINE_AUTO;
	world_plan(w);
	assert_int_equal(w->plan.states[1].engine, ENGINE_TC);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, world_new, world_end)

static void a_destination_is_one_device(void **state)
{
	struct world *w = *state;

	for (size_t i = 0; i < w->host.links.count; i++)
		if (w->links[i].index == S1)
			w->links[i].mac[5] = S0;
	world_want(w, "name: one\nfrom: port:v1\nto: mac:02:00:00:00:00:06\n");
	world_plan(w);
	assert_state(w, "one", STATE_FAILED,
		     "to: mac:02:00:00:00:00:06 is the address of both s0 and s1");
}

static void sources_that_name_only_destinations(void **state)
{
	struct world *w = *state;

	world_port_comes(w, NEXT_PORT, "w2", BR1);
	world_want(w, "name: one\nfrom: bridge:br1\nto: [port:w1, port:w2]\n");
	world_plan(w);
	assert_plan(w, "");
	assert_state(w, "one", STATE_WAITING, "all that the sources name now are destinations");
}

static void sessions_of_a_port_attach_in_one_way(void **state)
{
	struct world *w = *state;

	world_want(w, "name: one\nfrom: port:v1\nto: port:s0\nengine: tc\nattach: classic\n");
	world_want(w, "name: two\nfrom: port:v1\nto: port:s1\nengine: tc\nattach: clsact\n");
	world_plan(w);
	assert_state(w, "one", STATE_WHOLE, NULL);
	assert_state(w, "two", STATE_PARTIAL, "attached as classic, because another session is");
}

static void a_host_is_copied_whole(void **state)
{
	struct host copy cleanup(host_free) = {0};
	struct world *w = *state;

	world_want(w, "name: one\nfrom: bridge:br0\nto: [port:s0, port:s1]\nsnap: 100\n");
	world_settle(w);
	assert_int_equal(scarce(host_copy(&w->host, &copy, NULL)), 0);
	assert_int_equal(copy.links.count, w->host.links.count);
	assert_int_equal(copy.pins.count, w->host.pins.count);
	assert_memory_equal(copy.pins.items, w->host.pins.items,
			    copy.pins.count * sizeof(*copy.pins.items));
	assert_int_equal(copy.ncopiers, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(where_nothing_is_all_is_made),
		TEST(where_all_is_there_nothing_is_done),
		TEST(what_is_not_asked_for_is_not_linked),
		TEST(a_program_of_another_build_is_exchanged),
		TEST(a_filter_stands_in_front_and_another_takes_its_place),
		TEST(a_filter_that_no_classifier_can_run_is_refused),
		TEST(parts_of_a_filter_that_are_gone_are_made),
		TEST(maps_that_are_gone_are_made_and_the_programs_with_them),
		TEST(a_folder_that_a_crash_left_empty_is_used),
		TEST(a_link_that_is_not_where_it_should_be_is_made_anew),
		TEST(a_port_that_comes_touches_no_other),
		TEST(a_bridge_s_own_device_is_heard_where_a_port_of_it_is_not),
		TEST(of_a_port_that_is_gone_the_links_go),
		TEST(once_is_told_as_ports_come_and_go),
		TEST(the_destination_goes_and_comes_back),
		TEST(it_waits_for_a_destination_that_never_was),
		TEST(several_destinations),
		TEST(what_a_session_leaves_out_is_told_to_its_programs_alone),
		TEST(copies_are_cut_at_their_destinations),
		TEST(two_that_cut_at_one_destination_plan_it_once),
		TEST(suspended_it_wants_nothing),
		TEST(of_a_file_that_can_not_be_read_all_stays),
		TEST(a_dead_session_leaves_nothing),
		TEST(what_a_crash_left_is_completed_or_removed),
		TEST(from_bpf_to_tc_and_back),
		TEST(what_the_host_lacks_is_told),
		TEST(without_tcx_filters_copy),
		TEST(without_tcx_all_else_is_the_same),
		TEST(without_tcx_programs_that_are_loaded_anew_are_put_at_once),
		TEST(without_tcx_a_filter_that_others_removed_comes_back),
		TEST(filters_of_several_sessions_share_a_preference),
		TEST(without_tcx_filters_cut_copies),
		TEST(what_cuts_goes_last),
		TEST(two_filters_that_cut_at_one_destination_are_one),
		TEST(an_ingress_qdisc_of_others_is_in_the_way),
		TEST(where_copies_can_not_be_cut_there_are_none),
		TEST(a_session_that_attaches_as_classic_is_in_the_way),
		TEST(a_classful_root_is_left_alone),
		TEST(what_an_appliance_keeps_back_is_not_copied),
		TEST(from_filters_to_links_and_back),
		TEST(without_tcx_and_cls_bpf_nothing_can_be_had),
		TEST(what_can_not_be_is_refused),
		TEST(a_loop_through_what_a_destination_is_built_on),
		TEST(a_loop_through_a_bond_into_a_bridge),
		TEST(no_loop_through_a_bridge_with_vlans),
		TEST(a_loop_through_a_tunnel),
		TEST(a_host_is_copied_whole),
		TEST(a_destination_is_one_device),
		TEST(sources_that_name_only_destinations),
		TEST(sessions_of_a_port_attach_in_one_way),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
