/* SPDX-License-Identifier: MIT */
/* What is planned for in-line sessions, on hosts that are made up. */
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
#include "plan_world.h"

#define SENT	 TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS)
#define RECEIVED TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_EGRESS)

#define INLINE_MODE "mode: inline\n"
#define THROUGH	    "through: [port:a0, port:b0]\n"
#define CLOSED	    "on-failure: closed\n"
#define OPEN	    "on-failure: open\n"
#define IPS	    "name: ips\n" INLINE_MODE THROUGH
#define USUAL	    IPS CLOSED "guard: [port:v1, port:v2]\n"
#define PINS	    (INLINE_MAPS + INLINE_PROGRAMS)

static void where_nothing_is_all_is_made(void **state)
{
	static const struct {
		int ifindex;
		enum inline_program program;
		bool egress;
	} links[] = {
		/* first what gets frames out of the appliance, then what leads them in */
		{A0, INLINE_FROM_INSIDE, false}, {B0, INLINE_FROM_OUTSIDE, false},
		{V1, INLINE_TO_MACHINE, true},	 {V1, INLINE_FROM_MACHINE, false},
		{V2, INLINE_TO_MACHINE, true},	 {V2, INLINE_FROM_MACHINE, false},
	};
	struct world *w = *state;
	const struct inline_state *told;

	world_want(w, USUAL);
	world_plan(w);
	assert_plan(w, "maps.add, programs.load, 6 link.add");
	assert_state(w, "ips", STATE_WHOLE, NULL);
	assert_int_equal(w->plan.states[0].pending, 8);
	assert_false(w->plan.states[0].in_kernel);
	for (size_t i = 0; i < COUNT(links); i++) {
		const struct op *op = world_op(w, OP_INLINE_LINK, i);

		assert_int_equal(op->ifindex, links[i].ifindex);
		assert_int_equal(op->inline_program, links[i].program);
		assert_int_equal(op->received, links[i].egress);
		assert_string_equal(op->owner, "ips");
	}
	told = &world_op(w, OP_INLINE_MAPS, 0)->inline_state;
	assert_int_equal(told->inside, A0);
	assert_int_equal(told->outside, B0);
	assert_false(told->open);
	assert_false(told->direct);
	assert_int_equal(told->own[SIDE_INSIDE].address[5], A0);
	assert_int_equal(told->own[SIDE_OUTSIDE].address[5], B0);
}

static void where_all_is_there_nothing_is_done(void **state)
{
	struct world *w = *state;

	world_want(w, USUAL);
	world_settle(w);
	assert_state(w, "ips", STATE_WHOLE, NULL);
	assert_true(w->plan.states[0].in_kernel);
	assert_int_equal(world_pins(w, "ips"), PINS + 6);
}

static void on_failure_and_the_kind_of_appliance_are_told_to_the_programs_alone(void **state)
{
	struct world *w = *state;
	uint64_t key;

	world_want(w, USUAL);
	world_settle(w);
	key = w->inliners[0].state.key;
	world_want(w, IPS OPEN "guard: [port:v1, port:v2]\nappliance: bridge\n");
	world_plan(w);
	assert_plan(w, "config.replace");
	assert_true(world_op(w, OP_INLINE_STATE, 0)->inline_state.open);
	assert_true(world_op(w, OP_INLINE_STATE, 0)->inline_state.direct);
	world_settle(w);
	assert_int_equal(w->inliners[0].state.key, key); /* probes are under way */
	world_want(w,
		   IPS OPEN "guard: [port:v1, port:v2]\nappliance: bridge\nprobe-interval: 20\n");
	world_plan(w);
	assert_plan(w, ""); /* that is the prober's */
}

static void another_address_of_the_appliances_port_is_told(void **state)
{
	struct world *w = *state;

	world_want(w, USUAL);
	world_settle(w);
	w->links[6].mac[4] = 9;
	assert_int_equal(w->links[6].index, A0);
	world_plan(w);
	assert_plan(w, "config.replace");
	assert_int_equal(world_op(w, OP_INLINE_STATE, 0)->inline_state.own[SIDE_INSIDE].address[4],
			 9);
	world_settle(w);
}

static void a_program_of_another_build_is_exchanged(void **state)
{
	static const char *const old[] = {"inline-from_machine-0", "inline-to_machine-0",
					  "inline-from_inside-0", "inline-from_outside-0"};
	struct world *w = *state;

	world_want(w, USUAL);
	world_settle(w);
	for (size_t i = 0; i < COUNT(old); i++) {
		char beginning[PIN_NAME];

		snprintf(beginning, sizeof(beginning), "%.*s", (int)strlen(old[i]) - 1, old[i]);
		world_rename_pin(w, world_pin(w, "ips", beginning), old[i]);
	}
	world_plan(w);
	/* Each link in one step; what no link runs any more goes at the end. */
	assert_plan(w, "programs.load, 6 link.replace, 4 pin.remove");
	for (size_t i = 0; i < COUNT(old); i++)
		assert_non_null(strstr(world_op(w, OP_UNPIN, i)->pin, "-0"));
	assert_state(w, "ips", STATE_WHOLE, NULL);
	world_settle(w);
	assert_int_equal(world_pins(w, "ips"), PINS + 6);
}

static void another_filter_is_exchanged(void **state)
{
	struct world *w = *state;

	world_want(w, USUAL);
	world_settle(w);
	world_want(w, USUAL "filter: tcp port 80\n");
	world_plan(w);
	/* The filter stands in front of what guarded ports run: those two have other names. */
	assert_plan(w, "programs.load, 6 link.replace, 2 pin.remove");
	world_settle(w);
	assert_int_equal(world_pins(w, "ips"), PINS + 6);
}

static void a_filter_that_no_classifier_can_run_is_refused(void **state)
{
	struct world *w = *state;

	world_want(w, USUAL "filter: tcp port 80\n");
	/* What a packet socket alone has: its place in a fan-out, say. */
	w->codes[0].code[0] = (struct sock_filter){.code = BPF_LD | BPF_W | BPF_ABS,
						   .k = (uint32_t)(SKF_AD_OFF + SKF_AD_RANDOM)};
	world_plan(w);
	assert_plan(w, "");
	assert_state(w, "ips", STATE_FAILED, "filter: ");
}

static void a_map_that_is_gone_is_made_and_the_programs_with_it(void **state)
{
	struct world *w = *state;

	world_want(w, USUAL);
	world_settle(w);
	world_drop_pin(w, world_pin(w, "ips", "inline-macs"));
	world_plan(w);
	assert_plan(w, "maps.add, programs.load, 6 link.replace");
	world_settle(w);
}

static void a_program_with_a_map_of_somebody_else_is_exchanged(void **state)
{
	struct world *w = *state;

	world_want(w, USUAL);
	world_settle(w);
	world_pin(w, "ips", "inline-to_machine")->maps[0] = 900;
	world_plan(w);
	assert_plan(w, "programs.load, 6 link.replace");
	world_settle(w);
	world_pin(w, "ips", "inline-from_inside")->nmaps = 0;
	world_plan(w);
	assert_plan(w, "programs.load, 6 link.replace");
}

static void what_a_crash_left_is_completed(void **state)
{
	struct world *w = *state;
	size_t links;

	world_want(w, USUAL);
	world_settle(w);
	for (links = 0; links < 6; links++) {
		world_drop_pin(w,
			       world_pin(w, "ips", links < 4 ? "inline-machine" : "inline-port"));
		world_plan(w);
		assert_int_equal(world_count(w, OP_INLINE_LINK), links + 1);
		assert_int_equal(w->plan.nops, links + 1);
	}
	for (size_t i = 0; i < INLINE_PROGRAMS; i++) {
		world_drop_pin(w, world_pin(w, "ips", "inline-"));
		world_plan(w);
		assert_int_equal(world_count(w, OP_INLINE_LINK), 6);
	}
	world_settle(w);
}

static void a_folder_that_a_crash_left_empty_is_used(void **state)
{
	static const struct pin folders[] = {{.kind = PIN_FOLDER},
					     {.session = "ips", .kind = PIN_FOLDER}};
	struct world *w = *state;

	for (size_t i = 0; i < COUNT(folders); i++) {
		world_want(w, USUAL);
		w->pins[0] = folders[i];
		w->host.pins.count = 1;
		world_plan(w);
		assert_plan(w, "maps.add, programs.load, 6 link.add");
		world_forget(w, "ips");
		world_plan(w);
		assert_plan(w, "pin.remove");
	}
}

static void a_link_that_is_not_where_it_should_be_is_made_anew(void **state)
{
	struct world *w = *state;
	struct pin *link;

	world_want(w, USUAL);
	world_settle(w);
	link = world_pin(w, "ips", "inline-machine-3-received");
	link->egress = false;
	world_plan(w);
	assert_plan(w, "link.add");
	link->egress = true;
	link->ifindex = 0; /* somebody has detached it */
	world_plan(w);
	assert_plan(w, "link.add");
	assert_string_equal(world_op(w, OP_INLINE_LINK, 0)->pin, "inline-machine-3-received");
	link->ifindex = V1;
	link->behind = true; /* it would copy first what the appliance may drop */
	world_plan(w);
	assert_plan(w, "link.add");
	link->behind = false;
	link->program = 900;
	world_plan(w);
	assert_plan(w, "link.replace");
	world_settle(w);
}

static void a_port_that_comes_touches_no_other(void **state)
{
	struct world *w = *state;

	world_want(w, IPS CLOSED "guard: 'port:v*'\n");
	world_port_goes(w, V3);
	world_settle(w);
	world_port_comes(w, V3, "v3", BR0);
	world_plan(w);
	assert_plan(w, "config.replace, 2 link.add");
	for (size_t i = 0; i < 2; i++)
		assert_int_equal(world_op(w, OP_INLINE_LINK, i)->ifindex, V3);
	world_settle(w);
	assert_int_equal(w->inliners[0].nports, 3);
}

static void a_port_that_is_gone_is_forgotten(void **state)
{
	struct world *w = *state;

	world_want(w, USUAL);
	world_settle(w);
	world_port_goes(w, V1);
	world_plan(w);
	assert_plan(w, "2 link.remove, config.replace");
	assert_int_equal(world_count(w, OP_INLINE_FORGET), 1);
	assert_state(w, "ips", STATE_PARTIAL, "waiting for the guarded port:v1");
	assert_int_equal(w->plan.states[0].waiting, 1);
	world_settle(w);
	assert_int_equal(w->inliners[0].nports, 1);
	assert_int_equal(w->inliners[0].ports[0], V2);
	world_port_comes(w, NEXT_PORT, "v1", BR0);
	world_settle(w);
	assert_state(w, "ips", STATE_WHOLE, NULL);
	assert_true(inliner_has(&w->inliners[0], NEXT_PORT));
}

static void moves_to(struct world *w, int ifindex, int bridge)
{
	for (size_t i = 0; i < w->host.links.count; i++) {
		if (w->links[i].index != ifindex)
			continue;
		w->links[i].master = bridge;
		strcpy(w->links[i].port_kind, bridge ? "bridge" : "");
	}
}

static bool is_led(const struct world *w, int ifindex)
{
	return inliner_has(&w->inliners[0], ifindex);
}

/* Programs of the first session hang on the port. */
static bool is_hung(const struct world *w, int ifindex)
{
	size_t count = 0;

	for (size_t i = 0; i < w->host.pins.count; i++)
		count += w->pins[i].kind == PIN_LINK && w->pins[i].ifindex == ifindex;
	for (size_t i = 0; i < w->host.filters.count; i++)
		count += w->filters[i].ifindex == ifindex;
	assert_true(count == 0 || count == 2);
	return count == 2;
}

static void a_port_that_leaves_its_bridge_is_guarded_no_longer(void **state)
{
	struct world *w = *state;

	world_want(w, IPS OPEN "guard: [port:v1, port:v2]\n");
	world_settle(w);
	moves_to(w, V1, 0);
	world_plan(w);
	assert_plan(w, "2 link.remove, config.replace");
	assert_state(w, "ips", STATE_PARTIAL, "v1 is on no bridge");
	assert_true(w->plan.states[0].stuck);
	world_settle(w);
	w->links[1].master = BR1; /* a bond, which floods to nobody */
	strcpy(w->links[1].port_kind, "bond");
	world_plan(w);
	assert_plan(w, "");
	assert_state(w, "ips", STATE_PARTIAL, "v1 is on no bridge");
	moves_to(w, V1, BR1);
	world_plan(w);
	assert_plan(w, "");
	assert_state(w, "ips", STATE_PARTIAL, "v1 is on br1");
}

/* Its machine isn't to reach what is there uninspected; nor on its way, before anybody looks. */
static void closed_it_is_barred_wherever_it_goes(void **state)
{
	struct world *w = *state;

	for (int tcx = 1; tcx >= 0; tcx--) {
		w->host.tcx = tcx;
		world_want(w, USUAL);
		world_settle(w);
		moves_to(w, V1, 0);
		world_plan(w);
		assert_plan(w, "config.replace");
		assert_int_equal(world_count(w, OP_INLINE_FORGET), 1);
		assert_state(w, "ips", STATE_PARTIAL, "v1 is on no bridge");
		assert_null(strstr(w->plan.states[0].reasons, "straight"));
		assert_state(w, "ips", STATE_PARTIAL,
			     "meanwhile no frame gets through at 1 guarded port (on-failure: "
			     "closed)");
		assert_true(w->plan.states[0].stuck);
		world_settle(w);
		moves_to(w, V1, BR1);
		world_settle(w);
		assert_state(w, "ips", STATE_PARTIAL, "v1 is on br1, and others are on br0");
		assert_true(is_hung(w, V1) && !is_led(w, V1) && is_led(w, V2));
		/* Where all have gone it is led again. */
		moves_to(w, V2, BR1);
		world_settle(w);
		assert_state(w, "ips", STATE_WHOLE, NULL);
		assert_true(is_led(w, V1) && is_led(w, V2));
		world_port_goes(w, V1);
		world_settle(w);
		assert_false(is_led(w, V1));
		world_port_comes(w, V1, "v1", BR1);
		world_settle(w);
		world_forget(w, "ips");
		world_settle(w);
		assert_int_equal(w->host.filters.count + w->host.qdiscs.count + w->host.pins.count,
				 0);
		moves_to(w, V1, BR0);
		moves_to(w, V2, BR0);
	}
}

static void a_barred_port_is_left_to_the_session_that_leads_it(void **state)
{
	struct world *w = *state;

	world_want(w, IPS CLOSED "guard: [port:v1, port:w1]\n");
	world_settle(w);
	assert_true(is_hung(w, W1) && !is_led(w, W1));
	/* A mirror leads nothing. */
	world_want(w, "name: m\nfrom: port:w1\nto: port:s0\nengine: tc\n");
	world_plan(w);
	assert_int_equal(w->plan.states[0].barred.count, 1);
	world_forget(w, "m");
	world_want(w, "name: two\n" INLINE_MODE CLOSED
		      "guard: port:w1\nthrough: [port:s0, port:s1]\n");
	world_settle(w);
	assert_state(w, "two", STATE_WHOLE, NULL);
	assert_state(w, "ips", STATE_PARTIAL, "w1 is on br1");
	assert_null(strstr(w->plan.states[0].reasons, "meanwhile"));
	assert_true(is_hung(w, W1)); /* by one */
}

static void the_appliance_goes_and_comes_back(void **state)
{
	static const struct {
		const char *session, *words;
	} cases[] = {{IPS CLOSED "guard: port:v1\n", "no frame gets through"},
		     {IPS OPEN "guard: port:v1\n", "all frames go straight on"}};
	struct world *w = *state;

	for (size_t i = 0; i < COUNT(cases); i++) {
		const int again = NEXT_PORT + (int)i;
		const struct inline_state *told;

		world_want(w, cases[i].session);
		world_settle(w);
		world_port_goes(w, i == 0 ? A0 : NEXT_PORT);
		world_plan(w);
		assert_state(w, "ips", STATE_WAITING, cases[i].words);
		assert_state(w, "ips", STATE_WAITING, "the appliance's inside port port:a0");
		/* What leads frames in stays, and decides what becomes of them. */
		assert_plan(w, "config.replace, link.remove");
		told = &world_op(w, OP_INLINE_STATE, 0)->inline_state;
		assert_int_equal(told->inside, INLINE_NOWHERE);
		assert_int_equal(told->outside, B0);
		assert_int_equal(told->open, i == 1);
		world_settle(w);
		world_port_comes(w, again, "a0", 0);
		world_plan(w);
		assert_plan(w, "config.replace, link.add");
		assert_int_equal(world_op(w, OP_INLINE_STATE, 0)->inline_state.inside, again);
		assert_int_equal(world_op(w, OP_INLINE_LINK, 0)->ifindex, again);
		assert_state(w, "ips", STATE_WHOLE, NULL);
		world_settle(w);
	}
}

static void it_waits_for_an_appliance_that_never_was(void **state)
{
	struct world *w = *state;

	world_want(w, USUAL);
	world_port_goes(w, A0);
	world_port_goes(w, B0);
	world_plan(w);
	/* Closed means from the beginning: what guards is there. */
	assert_plan(w, "maps.add, programs.load, 4 link.add");
	assert_state(w, "ips", STATE_WAITING, "outside port port:b0");
	assert_int_equal(w->plan.states[0].waiting, 2);
	world_settle(w);
}

static void it_waits_for_what_it_guards(void **state)
{
	struct world *w = *state;

	world_want(w, IPS CLOSED "guard: 'port:x*'\n");
	world_settle(w);
	assert_state(w, "ips", STATE_WAITING, "waiting for the guarded port:x*");
	world_port_comes(w, NEXT_PORT, "x7", BR0);
	world_plan(w);
	assert_plan(w, "config.replace, 2 link.add");
	assert_state(w, "ips", STATE_WHOLE, NULL);
}

static void suspended_it_wants_nothing(void **state)
{
	struct world *w = *state;

	world_want(w, USUAL);
	world_settle(w);
	world_want(w, USUAL "suspended: true\n");
	world_plan(w);
	/* Links first: maps and programs are theirs. */
	assert_plan(w, "6 link.remove, 11 pin.remove");
	assert_state(w, "ips", STATE_SUSPENDED, "all frames go straight on");
	world_settle(w);
	assert_int_equal(w->host.pins.count, 0);
	world_want(w, USUAL);
	world_plan(w);
	assert_plan(w, "maps.add, programs.load, 6 link.add");
}

static void of_a_file_that_can_not_be_read_all_stays(void **state)
{
	struct world *w = *state;

	world_want(w, USUAL);
	world_settle(w);
	world_break(w, "ips");
	world_plan(w);
	assert_plan(w, "");
	assert_state(w, "ips", STATE_FAILED, "what is this?");
	assert_true(w->plan.states[0].in_kernel);
	world_port_goes(w, V1);
	world_port_goes(w, A0);
	world_plan(w);
	assert_plan(w, "");
	world_want(w, USUAL);
	world_settle(w);
	assert_state(w, "ips", STATE_WAITING, "inside port");
}

static void its_filter_breaks(struct world *w, const char *session)
{
	struct saved *saved = sessions_find(&w->sessions, session);

	assert_non_null(saved);
	saved->broken = strdup("filter: means nothing");
	assert_non_null(saved->broken);
}

/* Names of hosts, say, while nobody answers for them. */
static void with_a_filter_that_means_nothing_all_is_stopped(void **state)
{
	struct world *w = *state;

	for (int tcx = 1; tcx >= 0; tcx--) {
		w->host.tcx = tcx;
		world_want(w, IPS CLOSED "guard: 'port:v*'\n");
		its_filter_breaks(w, "ips");
		world_port_goes(w, V3);
		world_settle(w);
		assert_state(w, "ips", STATE_FAILED, "means nothing");
		assert_state(w, "ips", STATE_FAILED, "no frame gets through");
		assert_int_equal(w->inliners[0].state.inside, INLINE_NOWHERE);
		assert_true(is_led(w, V1) && is_hung(w, V1));
		world_port_comes(w, V3, "v3", BR0);
		world_settle(w);
		assert_true(is_led(w, V3) && is_hung(w, V3));
		world_want(w, IPS CLOSED "guard: port:v1\n");
		its_filter_breaks(w, "ips");
		world_settle(w);
		assert_true(is_hung(w, V1) && !is_hung(w, V2) && !is_led(w, V2));
		world_want(w, IPS CLOSED "guard: 'port:v*'\n");
		world_settle(w);
		assert_state(w, "ips", STATE_WHOLE, NULL);
		/* What leads somewhere goes on. */
		its_filter_breaks(w, "ips");
		world_plan(w);
		assert_plan(w, "");
		assert_int_equal(w->plan.states[0].from.count, 3);
		world_forget(w, "ips");
		world_settle(w);
		for (int i = 0; i < 2; i++) {
			world_want(w,
				   i ? IPS OPEN "guard: 'port:v*'\n" : USUAL "suspended: true\n");
			its_filter_breaks(w, "ips");
			world_plan(w);
			assert_plan(w, "");
			assert_state(w, "ips", STATE_FAILED, "means nothing");
			assert_null(strstr(w->plan.states[0].reasons, "meanwhile"));
			world_forget(w, "ips");
		}
	}
}

/* Two that lead at one port would lead a frame round and round. */
static void of_a_file_that_can_not_be_read_the_ports_are_taken(void **state)
{
	static const char *const others[] = {
		"guard: port:v1\nthrough: [port:s0, port:s1]\n",
		"guard: port:v3\nthrough: [port:a0, port:s1]\n",
	};
	struct world *w = *state;
	char text[200];

	for (int tcx = 1; tcx >= 0; tcx--) {
		w->host.tcx = tcx;
		world_want(w, IPS CLOSED "guard: port:v1\n");
		world_settle(w);
		world_break(w, "ips");
		for (size_t i = 0; i < COUNT(others); i++) {
			snprintf(text, sizeof(text), "name: a\n" INLINE_MODE CLOSED "%s",
				 others[i]);
			world_want(w, text);
			world_plan(w);
			assert_state(w, "a", STATE_FAILED,
				     "takes part in the in-line session ips already");
			for (size_t op = 0; op < w->plan.nops; op++)
				assert_int_not_equal(w->plan.ops[op].ifindex, V1);
		}
		/* It leads at nothing else: not at its appliance's port, as a guarded one. */
		assert_int_equal(plan_state(&w->plan, "ips")->from.count, 1);
		world_forget(w, "a");
		world_forget(w, "ips");
		world_settle(w);
	}
}

static void a_dead_session_leaves_nothing(void **state)
{
	struct world *w = *state;

	world_want(w, USUAL);
	world_want(w, "name: other\n" INLINE_MODE CLOSED
		      "guard: port:w1\nthrough: [port:s0, port:s1]\n");
	world_settle(w);
	world_forget(w, "ips");
	world_plan(w);
	assert_plan(w, "6 link.remove, 11 pin.remove");
	for (size_t i = 0; i < w->plan.nops; i++) {
		assert_int_equal(w->plan.ops[i].session, -1);
		assert_string_equal(w->plan.ops[i].owner, "ips");
	}
	world_settle(w);
	assert_int_equal(w->host.pins.count, PINS + 4);
	assert_state(w, "other", STATE_WHOLE, NULL);
}

static void a_pin_that_nobody_knows_goes(void **state)
{
	struct world *w = *state;

	world_want(w, USUAL);
	world_settle(w);
	w->pins[w->host.pins.count++] =
		(struct pin){.session = "ips", .name = "zzz,new", .kind = PIN_PROGRAM, .id = 99};
	world_plan(w);
	assert_plan(w, "pin.remove"); /* such a one is left by a crash while it was made */
	world_settle(w);
}

static void a_session_that_was_a_mirror_before(void **state)
{
	struct world *w = *state;

	world_want(w, "name: ips\nfrom: port:v1\nto: port:s0\nengine: bpf\n");
	world_settle(w);
	world_want(w, IPS CLOSED "guard: port:v1\n");
	world_settle(w);
	assert_int_equal(world_pins(w, "ips"), PINS + 4);
	assert_int_equal(world_pins(w, ""), 0);
	world_want(w, "name: ips\nfrom: port:v1\nto: port:s0\nengine: tc\n");
	world_plan(w);
	assert_int_equal(world_count(w, OP_UNLINK), 4);
	assert_int_equal(world_count(w, OP_UNPIN), PINS);
	world_settle(w);
	assert_int_equal(w->host.pins.count, 0);
}

static void the_health_of_the_appliance_is_told(void **state)
{
	struct world *w = *state;

	world_want(w, USUAL);
	world_settle(w);
	w->inliners[0].health.failure = INLINE_SILENT;
	world_plan(w);
	assert_plan(w, "");
	assert_state(w, "ips", STATE_PARTIAL, "no frame gets through");
	world_want(w, IPS OPEN "guard: [port:v1, port:v2]\n");
	world_settle(w);
	assert_state(w, "ips", STATE_PARTIAL,
		     "the appliance has failed (it lets no probes through): all frames go "
		     "straight on");
	world_port_goes(w, B0);
	world_settle(w); /* that it waits is enough */
	assert_null(strstr(w->plan.states[0].reasons, "has failed"));
}

static void what_can_not_be_is_refused(void **state)
{
	static const struct {
		const char *session, *words;
	} cases[] = {
		{IPS CLOSED "guard: [port:v1, 'port:a*']\n", "a loop: a0 is guarded"},
		{"name: ips\n" INLINE_MODE CLOSED "guard: port:v1\nthrough: [port:a0, port:v2]\n",
		 "v2 is a port of br0; the appliance's ports must be on no bridge: ip link set v2 "
		 "nomaster"},
		{"name: ips\n" INLINE_MODE CLOSED "guard: port:v1\nthrough: [port:w1, port:b0]\n",
		 "w1 is a port of br1"},
		{"name: ips\n" INLINE_MODE CLOSED "guard: port:v1\nthrough: ['port:a*', port:a0]\n",
		 "are the same device, a0"},
		{"name: ips\n" INLINE_MODE CLOSED "guard: port:v1\nthrough: ['port:s*', port:b0]\n",
		 "means 2 devices (s0, s1"},
		{"name: ips\n" INLINE_MODE CLOSED
		 "guard: port:v1\nthrough: ['bridge:s0', port:b0]\n",
		 "through: "},
	};
	struct world *w = *state;

	for (size_t i = 0; i < COUNT(cases); i++) {
		world_want(w, cases[i].session);
		w->newest = "ips"; /* somebody is just making it, and is told */
		world_plan(w);
		assert_plan(w, "");
		assert_state(w, "ips", STATE_FAILED, cases[i].words);
		/* Saved it holds, as it would if it had stood before. */
		w->newest = NULL;
		world_settle(w);
		assert_state(w, "ips", STATE_FAILED, cases[i].words);
		assert_state(w, "ips", STATE_FAILED,
			     "meanwhile no frame gets through (on-failure: closed)");
		assert_true(is_hung(w, V1) && is_led(w, V1));
		assert_int_equal(w->inliners[0].state.inside, INLINE_NOWHERE);
		assert_int_equal(w->inliners[0].state.outside, INLINE_NOWHERE);
		assert_false(w->inliners[0].state.open);
		world_forget(w, "ips");
		world_settle(w);
	}
	w->links[6].type = 772; /* ARPHRD_LOOPBACK */
	world_want(w, IPS OPEN "guard: [port:v1, port:v2]\n");
	world_plan(w);
	assert_plan(w, "");
	assert_state(w, "ips", STATE_FAILED, "");
	assert_null(strstr(w->plan.states[0].reasons, "meanwhile"));
}

/* After a boot, say. */
static void what_is_closed_holds_from_the_beginning(void **state)
{
	struct world *w = *state;

	for (int tcx = 1; tcx >= 0; tcx--) {
		w->host.tcx = tcx;
		moves_to(w, A0, BR1);
		world_want(w, IPS CLOSED "guard: [port:v1, port:w1, port:s0]\n");
		world_plan(w);
		assert_plan(w, tcx ? "maps.add, programs.load, 4 link.add"
				   : "maps.add, programs.load, 2 qdisc.add, 4 filter.add");
		world_settle(w);
		assert_state(w, "ips", STATE_FAILED, "a0 is a port of br1");
		assert_true(is_led(w, V1) && is_hung(w, V1));
		assert_true(!is_led(w, W1) && is_hung(w, W1));
		assert_false(is_hung(w, S0)); /* it may be how the host is reached */
		moves_to(w, A0, 0);
		world_settle(w);
		assert_state(w, "ips", STATE_PARTIAL, "w1 is on br1");
		world_forget(w, "ips");
		world_settle(w);
	}
}

static void where_nothing_can_be_stopped_it_says_so(void **state)
{
	struct world *w = *state;

	moves_to(w, A0, BR1);
	world_want(w, USUAL);
	strcpy(w->lacks.lead, "the kernel refuses the programs");
	world_plan(w);
	assert_plan(w, "");
	assert_state(w, "ips", STATE_FAILED, "meanwhile all frames go straight on");
	w->lacks.lead[0] = '\0';
	strcpy(w->host.no_pins, "no BPF file system is mounted");
	world_plan(w);
	assert_plan(w, "");
	assert_state(w, "ips", STATE_FAILED, "meanwhile all frames go straight on");
	w->host.no_pins[0] = '\0';
	w->host.tcx = false;
	w->lacks.bpf = true;
	world_plan(w);
	assert_plan(w, "");
	assert_state(w, "ips", STATE_FAILED, "neither tcx nor cls_bpf");
	assert_state(w, "ips", STATE_FAILED, "nor can they be stopped: they go straight on");
}

/* It was there before: it is as if the appliance were gone, until it can be again. */
static void what_can_not_be_any_more_does_as_on_failure_says(void **state)
{
	static const struct {
		const char *session, *words;
	} cases[] = {{USUAL, "meanwhile no frame gets through (on-failure: closed)"},
		     {IPS OPEN "guard: [port:v1, port:v2]\n",
		      "meanwhile all frames go straight on (on-failure: open)"}};
	struct world *w = *state;

	for (size_t i = 0; i < COUNT(cases); i++) {
		const struct inline_state *told;

		world_want(w, cases[i].session);
		world_settle(w);
		w->links[6].master = BR1;
		strcpy(w->links[6].port_kind, "bridge");
		world_plan(w);
		assert_state(w, "ips", STATE_FAILED, "a0 is a port of br1");
		assert_state(w, "ips", STATE_FAILED, cases[i].words);
		/* What comes out of ports that are no longer the appliance's goes where it will. */
		assert_plan(w, "config.replace, 2 link.remove");
		told = &world_op(w, OP_INLINE_STATE, 0)->inline_state;
		assert_int_equal(told->inside, INLINE_NOWHERE);
		assert_int_equal(told->outside, INLINE_NOWHERE);
		assert_int_equal(told->open, i);
		world_settle(w);
		assert_true(w->plan.states[0].in_kernel);
		w->links[6].master = 0;
		w->links[6].port_kind[0] = '\0';
		world_plan(w);
		assert_plan(w, "config.replace, 2 link.add");
		assert_state(w, "ips", STATE_WHOLE, NULL);
		world_settle(w);
	}
}

static void meanwhile_guarded_ports_come_and_go(void **state)
{
	struct world *w = *state;

	for (int tcx = 1; tcx >= 0; tcx--) {
		w->host.tcx = tcx;
		world_want(w, USUAL);
		world_settle(w);
		w->links[6].master = BR1;
		strcpy(w->links[6].port_kind, "bridge");
		world_port_goes(w, V1);
		world_port_goes(w, V2);
		world_settle(w);
		assert_state(w, "ips", STATE_FAILED, "waiting for the guarded port:v1");
		assert_int_equal(w->inliners[0].nports, 0);
		world_port_comes(w, V1, "v1", BR0);
		world_plan(w);
		assert_plan(w, tcx ? "config.replace, 2 link.add"
				   : "config.replace, qdisc.add, 2 filter.add");
		world_port_comes(w, V2, "v2", BR0);
		world_settle(w);
		assert_state(w, "ips", STATE_FAILED, "no frame gets through");
		assert_true(inliner_has(&w->inliners[0], V1) && inliner_has(&w->inliners[0], V2));
		w->links[6].master = 0;
		w->links[6].port_kind[0] = '\0';
		world_settle(w);
		assert_state(w, "ips", STATE_WHOLE, NULL);
		world_forget(w, "ips");
		world_settle(w);
		assert_int_equal(w->host.filters.count + w->host.qdiscs.count + w->host.pins.count,
				 0);
	}
}

static void machines(struct world *w, struct vm *vms, size_t count)
{
	w->host.vms.items = vms;
	w->host.vms.count = count;
}

static void what_was_guarded_and_is_ambiguous_now_is_known_to_the_kernel(void **state)
{
	struct vm_nic nics[] = {{.port = "v1"}, {.port = "v3"}};
	char name[] = "web";
	struct vm vms[] = {{.name = name, .nics = &nics[0], .nnics = 1},
			   {.name = name, .nics = &nics[1], .nnics = 1}};
	struct world *w = *state;

	machines(w, vms, 1);
	world_want(w, IPS CLOSED "guard: [vm:web, port:v2]\n");
	world_settle(w);
	machines(w, vms, 2);
	world_plan(w);
	assert_state(w, "ips", STATE_FAILED, "guard: ");
	assert_state(w, "ips", STATE_FAILED, "no frame gets through");
	assert_plan(w, "config.replace, 2 link.remove"); /* the appliance's */
	world_settle(w);
	assert_int_equal(w->inliners[0].nports, 2);
	assert_true(inliner_has(&w->inliners[0], V1));
	world_port_goes(w, V1);
	world_settle(w);
	assert_int_equal(w->inliners[0].nports, 1);
	machines(w, NULL, 0);
	world_settle(w);
	world_forget(w, "ips");
	world_settle(w);
	/* Where nothing of it was there, the others are stopped. */
	machines(w, vms, 2);
	world_want(w, IPS CLOSED "guard: [vm:web, port:v2]\n");
	world_settle(w);
	assert_state(w, "ips", STATE_FAILED, "guard: ");
	assert_true(is_led(w, V2) && !is_hung(w, V1) && !is_hung(w, V3));
	assert_state(w, "ips", STATE_FAILED,
		     "all frames go straight on at ports of it that were not guarded before");
	machines(w, NULL, 0);
}

/* What failed before it was whole is no session that stands. */
static void what_a_failed_attempt_left_goes(void **state)
{
	struct world *w = *state;

	world_want(w, USUAL);
	world_settle(w);
	for (size_t i = w->host.pins.count; i-- > 0;)
		if (w->pins[i].kind == PIN_PROGRAM || w->pins[i].kind == PIN_LINK)
			world_drop_pin(w, &w->pins[i]);
	strcpy(w->lacks.lead, "the kernel refuses the programs");
	world_plan(w);
	assert_state(w, "ips", STATE_FAILED, "the kernel refuses the programs");
	assert_int_equal(world_count(w, OP_UNPIN), w->plan.nops);
	world_settle(w);
	assert_int_equal(w->host.pins.count, 0);
}

static void where_new_programs_can_not_be_had_the_path_stays(void **state)
{
	struct world *w = *state;

	for (int tcx = 1; tcx >= 0; tcx--) {
		w->host.tcx = tcx;
		world_want(w, USUAL);
		world_settle(w);
		/* Those that there are will do. */
		strcpy(w->lacks.lead, "the kernel refuses the programs");
		world_plan(w);
		assert_plan(w, "");
		assert_state(w, "ips", STATE_WHOLE, NULL);
		world_want(w, USUAL "filter: tcp port 80\n");
		world_plan(w);
		assert_plan(w, "");
		assert_state(w, "ips", STATE_FAILED, "the kernel refuses the programs");
		assert_state(w, "ips", STATE_FAILED, "meanwhile the path stays as it is");
		/* But nothing is led to where the appliance can't be. */
		w->links[6].master = BR1;
		strcpy(w->links[6].port_kind, "bridge");
		world_plan(w);
		assert_plan(w, "config.replace");
		assert_state(w, "ips", STATE_FAILED, "no frame gets through");
		assert_null(strstr(w->plan.states[0].reasons, "stays"));
		world_settle(w);
		w->links[6].master = 0;
		w->links[6].port_kind[0] = '\0';
		w->lacks.lead[0] = '\0';
		world_settle(w);
		w->codes[0].code[0] =
			(struct sock_filter){.code = BPF_LD | BPF_W | BPF_ABS,
					     .k = (uint32_t)(SKF_AD_OFF + SKF_AD_RANDOM)};
		world_plan(w);
		assert_plan(w, "");
		assert_state(w, "ips", STATE_FAILED, "filter: ");
		world_forget(w, "ips");
		world_settle(w);
	}
}

static void only_ports_of_one_bridge(void **state)
{
	struct world *w = *state;

	world_want(w, IPS CLOSED "guard: [port:v1, port:w1, port:s0]\n");
	world_settle(w);
	assert_state(w, "ips", STATE_PARTIAL, "machines of two bridges need two sessions");
	assert_state(w, "ips", STATE_PARTIAL, "s0 is on no bridge");
	assert_true(w->plan.states[0].stuck);
	assert_int_equal(w->inliners[0].nports, 1);
	assert_true(is_led(w, V1));
	assert_true(is_hung(w, W1) && !is_hung(w, S0));
	assert_state(w, "ips", STATE_PARTIAL, "all frames go straight on at 1 guarded port");
	assert_state(w, "ips", STATE_PARTIAL, "no frame gets through at 1 guarded port");
	world_want(w, IPS OPEN "guard: [port:v1, port:w1, port:s0]\n");
	world_settle(w);
	assert_state(w, "ips", STATE_PARTIAL, "machines of two bridges need two sessions");
	assert_null(strstr(w->plan.states[0].reasons, "meanwhile"));
	assert_false(is_hung(w, W1));
}

static void no_more_ports_than_its_map_has(void **state)
{
	struct world *w = *state;

	for (int i = 0; i < INLINE_PORTS_MAX; i++) {
		char name[16];

		snprintf(name, sizeof(name), "v1%03d", i);
		world_port_comes(w, NEXT_PORT + i, name, BR0);
	}
	world_want(w, IPS CLOSED "guard: 'port:v1*'\n");
	world_plan(w);
	assert_state(w, "ips", STATE_PARTIAL, "257 guarded ports, more than the 256");
	/* What is beyond passes nothing. */
	assert_state(w, "ips", STATE_PARTIAL, "meanwhile no frame gets through at 1 guarded port");
	assert_int_equal(w->plan.states[0].from.count, INLINE_PORTS_MAX);
	assert_int_equal(world_count(w, OP_INLINE_LINK), 2 * (INLINE_PORTS_MAX + 2));
	world_want(w, IPS OPEN "guard: 'port:v1*'\n");
	world_plan(w);
	assert_int_equal(world_count(w, OP_INLINE_LINK), 2 * (INLINE_PORTS_MAX + 1));
}

static void a_device_takes_part_in_one_session(void **state)
{
	static const char *const others[] = {
		"guard: port:v3\nthrough: [port:s0, port:b0]\n",
		"guard: port:v1\nthrough: [port:s0, port:s1]\n",
		"guard: port:v3\nthrough: [port:b0, port:s1]\n",
	};
	struct world *w = *state;
	char text[200];

	world_want(w, USUAL);
	world_settle(w);
	for (size_t i = 0; i < COUNT(others); i++) {
		snprintf(text, sizeof(text), "name: a\n" INLINE_MODE CLOSED "%s", others[i]);
		world_want(w, text);
		w->newest = "a"; /* else it would be the first, by its name */
		world_plan(w);
		assert_plan(w, "");
		assert_state(w, "a", STATE_FAILED, "takes part in the in-line session ips already");
		assert_state(w, "ips", STATE_WHOLE, NULL);
		w->newest = NULL;
		world_plan(w); /* what stands is not for what a file says to take away */
		assert_state(w, "a", STATE_FAILED, "takes part in the in-line session ips already");
		assert_state(w, "ips", STATE_WHOLE, NULL);
		/* Nor are its ports: a stops frames at others only. */
		assert_int_equal(world_count(w, OP_INLINE_LINK), i == 1 ? 0 : 2);
		for (size_t op = 0; op < world_count(w, OP_INLINE_LINK); op++)
			assert_int_equal(world_op(w, OP_INLINE_LINK, op)->ifindex, V3);
		w->newest = "ips";
		world_plan(w);
		assert_state(w, "ips", STATE_FAILED, "takes part in the in-line session a already");
		assert_state(w, "a", STATE_WHOLE, NULL);
		w->newest = NULL;
	}
	world_want(w,
		   "name: a\n" INLINE_MODE CLOSED "guard: port:v3\nthrough: [port:s0, port:s1]\n");
	world_settle(w);
	assert_state(w, "a", STATE_WHOLE, NULL);
	assert_state(w, "ips", STATE_WHOLE, NULL);
}

static void an_appliances_port_is_no_destination_of_copies(void **state)
{
	struct world *w = *state;

	world_want(w, USUAL);
	world_want(w, "name: m\nfrom: port:v3\nto: [port:s0, port:b0]\nengine: bpf\n");
	world_plan(w);
	assert_state(w, "ips", STATE_FAILED,
		     "b0, a port of the appliance, is the destination of m");
	assert_state(w, "m", STATE_WHOLE, NULL);
	world_want(w, "name: m\nfrom: port:v3\nto: port:b0\nsuspended: true\n");
	world_settle(w);
	assert_state(w, "ips", STATE_WHOLE, NULL);
	/* What stands does not fail for a mirror that comes after it. */
	for (int i = 0; i < 2; i++) {
		world_want(w, "name: m\nfrom: port:v3\nto: [port:s0, port:b0]\n");
		w->newest = i == 0 ? "m" : NULL;
		world_plan(w);
		assert_plan(w, "");
		assert_state(w, "ips", STATE_WHOLE, NULL);
		assert_state(w, "m", STATE_FAILED, "b0 is a port of the appliance of ips");
	}
	/* Nor for one that comes to mean a port of its appliance. */
	w->newest = NULL;
	world_want(w, "name: m\nfrom: port:v3\nto: 'port:s0*'\nengine: bpf\n");
	world_settle(w);
	assert_state(w, "m", STATE_WHOLE, NULL);
	world_want(w, "name: m\nfrom: port:v3\nto: 'port:b*0'\nengine: bpf\n");
	world_port_goes(w, BR0);
	world_plan(w);
	assert_state(w, "ips", STATE_WHOLE, NULL);
	assert_state(w, "m", STATE_FAILED, "b0 is a port of the appliance of ips");
}

static void what_the_host_lacks_is_told(void **state)
{
	struct world *w = *state;

	world_want(w, USUAL);
	strcpy(w->host.no_pins, "no BPF file system is mounted");
	world_plan(w);
	assert_plan(w, "");
	assert_state(w, "ips", STATE_FAILED, "no BPF file system");
	w->host.no_pins[0] = '\0';
	strcpy(w->lacks.lead, "the kernel refuses the programs");
	world_plan(w);
	assert_plan(w, "");
	assert_state(w, "ips", STATE_FAILED, "the kernel refuses the programs");
}

/* Kernels without tcx */

static void without_tcx_filters_lead(void **state)
{
	static const struct {
		int ifindex;
		uint32_t parent;
		enum inline_program program;
	} filters[] = {{V1, SENT, INLINE_FROM_MACHINE},
		       {V1, RECEIVED, INLINE_TO_MACHINE},
		       {A0, SENT, INLINE_FROM_INSIDE},
		       {B0, SENT, INLINE_FROM_OUTSIDE}};
	struct world *w = *state;

	w->host.tcx = false;
	world_want(w, IPS CLOSED "guard: port:v1\n");
	world_plan(w);
	assert_plan(w, "maps.add, programs.load, 3 qdisc.add, 4 filter.add");
	assert_int_equal(w->plan.notes.count, 3);
	for (size_t i = 0; i < COUNT(filters); i++) {
		const struct op *op = world_op(w, OP_FILTER_PUT, i);

		assert_int_equal(op->ifindex, filters[i].ifindex);
		assert_int_equal(op->rule.parent, filters[i].parent);
		assert_int_equal(op->inline_program, filters[i].program);
		assert_int_equal(op->rule.pref, 2); /* before what copies */
		assert_int_equal(op->rule.mirred, 0);
		assert_int_equal(op->direct, DIRECT_LEADS);
	}
	world_settle(w);
	assert_state(w, "ips", STATE_WHOLE, NULL);
	assert_int_equal(world_pins(w, "ips"), PINS);
	world_forget(w, "ips");
	world_plan(w);
	assert_plan(w, "3 qdisc.remove, 11 pin.remove"); /* filters go with their qdiscs */
	world_settle(w);
}

static void a_lead_stands_in_front_of_others_filters(void **state)
{
	static const struct {
		uint16_t theirs[3], ours;
	} cases[] = {{{0}, 2}, {{3}, 2}, {{2}, 1}, {{1}, 2}, {{1, 2}, 3}, {{1, 2, 3}, 4}};
	struct world *w = *state;

	w->host.tcx = false;
	world_want(w, IPS CLOSED "guard: port:v1\n");
	w->qdiscs[0] = (struct tc_qdisc){.ifindex = V1,
					 .parent = TC_H_CLSACT,
					 .handle = TC_H_MAKE(TC_H_CLSACT, 0),
					 .kind = "clsact"};
	w->host.qdiscs.count = 1;
	for (size_t i = 0; i < COUNT(cases); i++) {
		w->host.filters.count = 0;
		for (size_t j = 0; j < COUNT(cases[i].theirs) && cases[i].theirs[j]; j++)
			w->filters[w->host.filters.count++] =
				(struct tc_filter){.ifindex = V1,
						   .parent = SENT,
						   .handle = 1,
						   .kind = "u32",
						   .pref = cases[i].theirs[j],
						   .protocol = ETH_P_IP};
		world_plan(w);
		assert_int_equal(world_op(w, OP_FILTER_PUT, 0)->rule.parent, SENT);
		assert_int_equal(world_op(w, OP_FILTER_PUT, 0)->rule.pref, cases[i].ours);
		assert_int_equal(world_op(w, OP_FILTER_PUT, 1)->rule.pref, 2);
	}
}

static void without_tcx_all_else_is_the_same(void **state)
{
	struct world *w = *state;

	w->host.tcx = false;
	world_want(w, USUAL);
	world_settle(w);
	world_want(w, IPS OPEN "guard: [port:v1, port:v2]\n");
	world_plan(w);
	assert_plan(w, "config.replace");
	world_settle(w);
	world_port_goes(w, V1);
	world_plan(w);
	assert_plan(w, "config.replace");
	assert_int_equal(world_count(w, OP_INLINE_FORGET), 1);
	world_settle(w);
	world_port_goes(w, B0);
	world_plan(w);
	assert_plan(w, "config.replace");
	assert_state(w, "ips", STATE_WAITING, "outside port port:b0");
	world_settle(w);
	world_port_comes(w, NEXT_PORT, "b0", 0);
	world_plan(w);
	assert_plan(w, "config.replace, qdisc.add, filter.add");
	world_settle(w);
	world_break(w, "ips");
	world_plan(w);
	assert_plan(w, "");
	world_want(w, USUAL "suspended: true\n");
	world_settle(w);
	assert_int_equal(w->host.filters.count + w->host.qdiscs.count + w->host.pins.count, 0);
}

static void without_tcx_another_filter_is_exchanged(void **state)
{
	struct world *w = *state;

	w->host.tcx = false;
	world_want(w, IPS CLOSED "guard: port:v1\n");
	world_settle(w);
	world_want(w, IPS CLOSED "guard: port:v1\nfilter: tcp port 80\n");
	world_plan(w);
	assert_int_equal(world_count(w, OP_INLINE_PROGRAMS), 1);
	assert_int_equal(world_count(w, OP_FILTER_DEL), 0);
	for (size_t i = 0; i < world_count(w, OP_FILTER_PUT); i++) {
		assert_true(world_op(w, OP_FILTER_PUT, i)->replace); /* in one step */
		assert_int_equal(world_op(w, OP_FILTER_PUT, i)->rule.pref, 2);
	}
	/* (The appliance's ports have programs of the same names, loaded anew.) */
	assert_int_equal(world_count(w, OP_FILTER_PUT), 4);
	world_settle(w);
	assert_int_equal(w->host.filters.count, 4);
}

static void an_ingress_qdisc_of_others_is_in_the_way(void **state)
{
	struct world *w = *state;

	w->host.tcx = false;
	w->qdiscs[0] = (struct tc_qdisc){.ifindex = V1,
					 .parent = TC_H_INGRESS,
					 .handle = TC_H_MAKE(TC_H_INGRESS, 0),
					 .kind = "ingress"};
	w->host.qdiscs.count = 1;
	world_want(w, USUAL);
	world_plan(w);
	assert_state(w, "ips", STATE_PARTIAL, "v1 can't be part of an in-line session without tcx");
	assert_state(w, "ips", STATE_PARTIAL, "meanwhile all frames of v1 go straight on");
	for (size_t i = 0; i < w->plan.nops; i++)
		assert_int_not_equal(w->plan.ops[i].ifindex, V1);
	world_settle(w);
}

static void without_tcx_and_cls_bpf_nothing_can_lead(void **state)
{
	struct world *w = *state;

	w->host.tcx = false;
	w->lacks.bpf = true;
	world_want(w, USUAL);
	world_plan(w);
	assert_int_equal(world_count(w, OP_FILTER_PUT), 0);
	assert_state(w, "ips", STATE_FAILED, "neither tcx nor cls_bpf");
	/* What stands already goes on leading. */
	w->lacks.bpf = false;
	world_settle(w);
	w->lacks.bpf = true;
	world_plan(w);
	assert_plan(w, "");
	assert_state(w, "ips", STATE_FAILED, "neither tcx nor cls_bpf");
	assert_state(w, "ips", STATE_FAILED, "meanwhile the path stays as it is");
}

static void from_filters_to_links_and_back(void **state)
{
	struct world *w = *state;

	world_want(w, IPS CLOSED "guard: port:v1\n");
	w->preferred = ENGINE_TC;
	world_settle(w);
	assert_int_equal(w->host.filters.count, 4);
	w->preferred = ENGINE_AUTO;
	world_plan(w);
	assert_plan(w, "4 link.add, 3 qdisc.remove");
	world_settle(w);
	w->preferred = ENGINE_TC;
	world_plan(w);
	assert_plan(w, "3 qdisc.add, 4 filter.add, 4 link.remove");
	world_settle(w);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, world_new, world_end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(where_nothing_is_all_is_made),
		TEST(where_all_is_there_nothing_is_done),
		TEST(on_failure_and_the_kind_of_appliance_are_told_to_the_programs_alone),
		TEST(another_address_of_the_appliances_port_is_told),
		TEST(a_program_of_another_build_is_exchanged),
		TEST(another_filter_is_exchanged),
		TEST(a_filter_that_no_classifier_can_run_is_refused),
		TEST(a_map_that_is_gone_is_made_and_the_programs_with_it),
		TEST(a_program_with_a_map_of_somebody_else_is_exchanged),
		TEST(what_a_crash_left_is_completed),
		TEST(a_folder_that_a_crash_left_empty_is_used),
		TEST(a_link_that_is_not_where_it_should_be_is_made_anew),
		TEST(a_port_that_comes_touches_no_other),
		TEST(a_port_that_is_gone_is_forgotten),
		TEST(a_port_that_leaves_its_bridge_is_guarded_no_longer),
		TEST(closed_it_is_barred_wherever_it_goes),
		TEST(a_barred_port_is_left_to_the_session_that_leads_it),
		TEST(the_appliance_goes_and_comes_back),
		TEST(it_waits_for_an_appliance_that_never_was),
		TEST(it_waits_for_what_it_guards),
		TEST(suspended_it_wants_nothing),
		TEST(of_a_file_that_can_not_be_read_all_stays),
		TEST(with_a_filter_that_means_nothing_all_is_stopped),
		TEST(of_a_file_that_can_not_be_read_the_ports_are_taken),
		TEST(a_dead_session_leaves_nothing),
		TEST(a_pin_that_nobody_knows_goes),
		TEST(a_session_that_was_a_mirror_before),
		TEST(the_health_of_the_appliance_is_told),
		TEST(what_can_not_be_is_refused),
		TEST(what_is_closed_holds_from_the_beginning),
		TEST(where_nothing_can_be_stopped_it_says_so),
		TEST(what_can_not_be_any_more_does_as_on_failure_says),
		TEST(meanwhile_guarded_ports_come_and_go),
		TEST(what_was_guarded_and_is_ambiguous_now_is_known_to_the_kernel),
		TEST(what_a_failed_attempt_left_goes),
		TEST(where_new_programs_can_not_be_had_the_path_stays),
		TEST(only_ports_of_one_bridge),
		TEST(no_more_ports_than_its_map_has),
		TEST(a_device_takes_part_in_one_session),
		TEST(an_appliances_port_is_no_destination_of_copies),
		TEST(what_the_host_lacks_is_told),
		TEST(without_tcx_filters_lead),
		TEST(a_lead_stands_in_front_of_others_filters),
		TEST(without_tcx_all_else_is_the_same),
		TEST(without_tcx_another_filter_is_exchanged),
		TEST(an_ingress_qdisc_of_others_is_in_the_way),
		TEST(without_tcx_and_cls_bpf_nothing_can_lead),
		TEST(from_filters_to_links_and_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
