/* SPDX-License-Identifier: MIT */
/* The planner on hosts that are made up: what no kernel here could show. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/tc_act/tc_mirred.h>
#include <net/if_arp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "data/json.h"
#include "data/yaml.h"
#include "memory/memory.h"
#include "portmirror/host.h"
#include "portmirror/inliner.h"
#include "portmirror/op.h"
#include "portmirror/ours.h"
#include "portmirror/plan.h"
#include "portmirror/show.h"
#include "portmirror/store.h"

enum { BR0 = 2, V1, V2, V3, S0 };
#define SENT	 TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS)
#define RECEIVED TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_EGRESS)

/* A host with br0 (v1 v2 v3) and s0 beside it, and what is wanted of it. */
struct world {
	struct nl_link links[5];
	struct tc_qdisc qdiscs[8];
	struct tc_filter filters[16];
	struct tc_action actions[4];
	struct host host;
	struct sessions sessions;
	struct bytecode codes[8];
	struct notes notes;
	struct lacks lacks;
	struct plan plan;
};

static struct nl_link link_of(int index, const char *name, int master)
{
	struct nl_link link = {.index = index,
			       .type = ARPHRD_ETHER,
			       .master = master,
			       .brport = BRPORT_FLOOD | BRPORT_LEARNING};

	snprintf(link.name, sizeof(link.name), "%s", name);
	if (master)
		strcpy(link.port_kind, "bridge");
	if (index == BR0)
		strcpy(link.kind, "bridge");
	return link;
}

static int new_world(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	if (!w)
		return -1;
	w->links[0] = link_of(BR0, "br0", 0);
	w->links[1] = link_of(V1, "v1", BR0);
	w->links[2] = link_of(V2, "v2", BR0);
	w->links[3] = link_of(V3, "v3", BR0);
	w->links[4] = link_of(S0, "s0", 0);
	w->host = (struct host){.links = {.items = w->links, .count = 5},
				.qdiscs = {.items = w->qdiscs},
				.filters = {.items = w->filters},
				.actions = {.items = w->actions}};
	*state = w;
	return 0;
}

static int end_world(void **state)
{
	struct world *w = *state;

	plan_free(&w->plan);
	for (size_t i = 0; i < w->sessions.count; i++)
		bytecode_free(&w->codes[i]);
	sessions_free(&w->sessions);
	notes_free(&w->notes);
	free(w);
	return 0;
}

/* Sessions come by name: the codes follow that order. */
static void want(struct world *w, const char *yaml)
{
	struct yaml_docs docs cleanup(yaml_docs_free) = {0};
	struct session session = {0};
	char field[SESSION_FIELD];
	struct err e = {0};

	if (yaml_read(yaml, strlen(yaml), "test", &docs, &e) < 0 ||
	    session_read(docs.items[0].value, NULL, &session, field, &e) < 0 ||
	    filter_compile(session.filter, &w->codes[w->sessions.count], &e) < 0)
		fail_msg("%s", e.text);
	assert_int_equal(sessions_put(&w->sessions, &session), 0);
}

static void plan_it(struct world *w)
{
	struct plan_input in = {.sessions = &w->sessions,
				.filters = w->codes,
				.host = &w->host,
				.notes = &w->notes,
				.lacks = w->lacks};
	struct err e = {0};

	plan_free(&w->plan);
	if (scarce(plan_make(&in, &w->plan, &e)) < 0)
		fail_msg("%s", e.text);
	for (size_t i = 0; i < w->plan.nops; i++) {
		json_t *told cleanup(json_free_at) = scarce_made(op_object(&w->plan.ops[i], "ids"));

		assert_non_null(json_object_get(told, "op"));
	}
}

static size_t count(const struct world *w, enum op_kind kind)
{
	size_t found = 0;

	for (size_t i = 0; i < w->plan.nops; i++)
		found += w->plan.ops[i].kind == kind;
	return found;
}

static const struct op *first(const struct world *w, enum op_kind kind)
{
	for (size_t i = 0; i < w->plan.nops; i++)
		if (w->plan.ops[i].kind == kind)
			return &w->plan.ops[i];
	fail_msg("no such operation");
	abort();
}

/* As if the kernel had carried the plan out. */
static void carry_out(struct world *w)
{
	struct host *h = &w->host;

	for (size_t i = 0; i < w->plan.nops; i++) {
		const struct op *op = &w->plan.ops[i];

		if (op->kind == OP_ACTION_PUT) {
			struct tc_action *a = &w->actions[h->actions.count++];

			*a = (struct tc_action){.kind = "mirred",
						.index = op->action,
						.cookie_len = TC_COOKIE,
						.control = TC_ACT_UNSPEC,
						.mirred = TCA_EGRESS_MIRROR,
						.to_ifindex = op->to_ifindex};
			memcpy(a->cookie, op->cookie, TC_COOKIE);
		} else if (op->kind == OP_QDISC_ADD) {
			struct tc_qdisc *q = &w->qdiscs[h->qdiscs.count++];

			*q = (struct tc_qdisc){
				.ifindex = op->ifindex, .handle = op->handle, .parent = op->parent};
			strcpy(q->kind, op->qdisc);
		} else if (op->kind == OP_FILTER_PUT) {
			struct tc_filter *f = &w->filters[h->filters.count++];

			*f = (struct tc_filter){.ifindex = op->ifindex,
						.parent = op->rule.parent,
						.handle = op->rule.handle ? op->rule.handle : 1,
						.pref = op->rule.pref,
						.protocol = ETH_P_ALL,
						.nactions = 1,
						.actions = {w->actions[0]}};
			for (size_t j = 0; j < h->actions.count; j++)
				if (w->actions[j].index == op->rule.mirred)
					f->actions[0] = w->actions[j];
			strcpy(f->kind, op->rule.match == TC_MATCH_ALL	 ? "matchall"
					: op->rule.match == TC_MATCH_U32 ? "u32"
									 : "bpf");
			if (op->rule.match == TC_MATCH_BYTECODE)
				f->bpf_code_hash = bytecode_hash(op->rule.code, op->rule.ncode);
		}
	}
	notes_free(&w->notes);
	notes_copy(&w->notes, &w->plan.notes);
}

static void the_simplest_classifier_that_the_kernel_has(void **state)
{
	static const struct {
		struct lacks lacks;
		enum tc_match match;
	} kernels[] = {{{0}, TC_MATCH_BYTECODE},
		       {{.bpf = true}, TC_MATCH_ALL},
		       {{.bpf = true, .matchall = true}, TC_MATCH_U32}};
	struct world *w = *state;

	want(w, "name: a\nfrom: port:v1\nto: port:s0\n");
	for (size_t i = 0; i < COUNT(kernels); i++) {
		w->host.filters.count = w->host.qdiscs.count = w->host.actions.count = 0;
		notes_free(&w->notes);
		w->lacks = kernels[i].lacks;
		plan_it(w);
		assert_int_equal(count(w, OP_FILTER_PUT), 2);
		assert_int_equal(first(w, OP_FILTER_PUT)->rule.match, kernels[i].match);
		carry_out(w);
		plan_it(w);
		assert_int_equal(w->plan.nops, 0);
	}
}

static void without_bpf_what_needs_it_is_refused(void **state)
{
	struct world *w = *state;

	w->lacks.bpf = true;
	want(w, "name: a\nfrom: port:v1\nto: port:s0\nfilter: arp\n");
	want(w, "name: b\nfrom: [port:v2, port:v3]\nto: port:s0\n");
	want(w, "name: c\nfrom: [port:v2, port:v3]\nto: port:s0\ndirection: sent\n");
	plan_it(w);
	assert_int_equal(w->plan.states[0].state, STATE_FAILED);
	assert_non_null(strstr(w->plan.states[0].reasons, "cls_bpf"));
	assert_int_equal(w->plan.states[1].state, STATE_FAILED);
	assert_int_equal(count(w, OP_ACTION_PUT), 0);
}

static void two_sessions_without_bpf_take_a_preference_each(void **state)
{
	struct world *w = *state;

	w->lacks.bpf = true;
	w->links[4].master = 0;
	want(w, "name: a\nfrom: port:v1\nto: port:s0\ndirection: sent\n");
	want(w, "name: b\nfrom: port:v1\nto: port:v2\ndirection: sent\n");
	plan_it(w);
	assert_int_equal(count(w, OP_FILTER_PUT), 2);
	assert_int_not_equal(w->plan.ops[3].rule.pref, w->plan.ops[4].rule.pref);
	carry_out(w);
	plan_it(w);
	assert_int_equal(w->plan.nops, 0);
}

static void only_what_could_meet_looks_twice(void **state)
{
	static const struct {
		const char *sessions[2];
		bool once;
	} cases[] = {
		{{"name: a\nfrom: port:v1\nto: port:s0\n"}, false},
		{{"name: a\nfrom: [port:v1, port:v2]\nto: port:s0\n"}, true},
		{{"name: a\nfrom: bridge:br0\nto: port:s0\ndirection: sent\n"}, false},
		{{"name: a\nfrom: bridge:br0\nto: port:s0\ndirection: received\n"}, true},
		{{"name: a\nfrom: port:v1\nto: port:s0\n", "name: b\nfrom: port:v1\nto: port:s0\n"},
		 true},
		{{"name: a\nfrom: port:v1\nto: port:s0\ndirection: sent\n",
		  "name: b\nfrom: port:v1\nto: port:s0\ndirection: received\n"},
		 false},
		{{"name: a\nfrom: port:v1\nto: port:s0\n", "name: b\nfrom: port:v2\nto: port:v3\n"},
		 false},
	};
	struct world *w = *state;

	for (size_t i = 0; i < COUNT(cases); i++) {
		for (size_t j = 0; j < 2 && cases[i].sessions[j]; j++)
			want(w, cases[i].sessions[j]);
		plan_it(w);
		for (size_t j = 0; j < w->plan.nops; j++)
			if (w->plan.ops[j].kind == OP_FILTER_PUT &&
			    (w->plan.ops[j].rule.match == TC_MATCH_PROGRAM) != cases[i].once)
				fail_msg("case %zu", i);
		for (size_t j = 0; j < w->sessions.count; j++)
			bytecode_free(&w->codes[j]);
		sessions_free(&w->sessions);
	}
}

static void a_new_port_touches_no_other(void **state)
{
	struct world *w = *state;

	want(w, "name: a\nfrom: 'port:v*'\nto: port:s0\n");
	w->host.links.items = w->links;
	w->links[3].type = ARPHRD_LOOPBACK; /* v3 isn't there yet */
	plan_it(w);
	assert_int_equal(count(w, OP_FILTER_PUT), 4);
	assert_int_equal(w->plan.nprograms, 2); /* one a direction, however many ports */
	carry_out(w);
	for (size_t i = 0; i < w->host.filters.count; i++) {
		const struct plan_program *p = &w->plan.programs[w->filters[i].parent == RECEIVED];

		w->filters[i].bpf_id = 7 + (w->filters[i].parent == RECEIVED);
		snprintf(w->filters[i].bpf_name, sizeof(w->filters[i].bpf_name), "%s", p->name);
	}
	w->host.programs = (struct host_program[]){{7, 5}, {8, 5}};
	w->host.nprograms = 2;
	w->links[3].type = ARPHRD_ETHER;
	plan_it(w);
	assert_int_equal(w->plan.nops, 3); /* a qdisc, and two filters */
	for (size_t i = 0; i < w->plan.nops; i++)
		assert_int_equal(w->plan.ops[i].ifindex, V3);
	assert_int_equal(w->plan.programs[0].map_id, 5);
	assert_int_equal(w->plan.programs[0].loaded, 7);
}

static void a_preference_in_front_of_the_others(void **state)
{
	static const struct {
		uint16_t theirs[2], ours;
	} cases[] = {{{0, 0}, 3}, {{49152, 0}, 3}, {{10, 0}, 3}, {{4, 0}, 3}, {{3, 0}, 2},
		     {{2, 0}, 1}, {{1, 0}, 2},	   {{1, 2}, 3},	 {{3, 2}, 1}};
	struct world *w = *state;

	want(w, "name: a\nfrom: port:v1\nto: port:s0\ndirection: sent\n");
	w->qdiscs[0] = (struct tc_qdisc){.ifindex = V1,
					 .parent = TC_H_CLSACT,
					 .handle = TC_H_MAKE(TC_H_CLSACT, 0),
					 .kind = "clsact"};
	w->host.qdiscs.count = 1;
	for (size_t i = 0; i < COUNT(cases); i++) {
		w->host.filters.count = 0;
		for (size_t j = 0; j < 2; j++)
			if (cases[i].theirs[j])
				w->filters[w->host.filters.count++] =
					(struct tc_filter){.ifindex = V1,
							   .parent = SENT,
							   .handle = 1,
							   .kind = "u32",
							   .pref = cases[i].theirs[j],
							   .protocol = ETH_P_IP};
		plan_it(w);
		if (first(w, OP_FILTER_PUT)->rule.pref != cases[i].ours)
			fail_msg("case %zu: %u", i, first(w, OP_FILTER_PUT)->rule.pref);
	}
}

static void leftovers_go_and_foreign_ones_stay(void **state)
{
	struct world *w = *state;
	struct tc_action ours = {.kind = "mirred", .index = 9001, .cookie_len = TC_COOKIE};
	struct tc_action theirs = {
		.kind = "mirred", .index = 9, .cookie_len = 4, .cookie = {'p', 'm', 'i', 'r'}};

	ours_cookie(0, "dead", ours.cookie);
	w->actions[0] = ours;
	w->actions[1] = theirs;
	w->actions[2] = ours;
	w->actions[2].index = 9002;
	ours_cookie(5, "dead", w->actions[2].cookie); /* of another root */
	w->host.actions.count = 3;
	for (size_t i = 0; i < 3; i++)
		w->filters[i] = (struct tc_filter){.ifindex = V1,
						   .parent = SENT,
						   .pref = 3,
						   .handle = 1 + (uint32_t)i,
						   .kind = "bpf",
						   .protocol = ETH_P_ALL,
						   .nactions = 1,
						   .actions = {w->actions[i]}};
	w->filters[3] = w->filters[0]; /* bound to ours and to another: not ours */
	w->filters[3].nactions = 2;
	w->host.filters.count = 4;
	plan_it(w);
	assert_int_equal(w->plan.nops, 2);
	assert_int_equal(first(w, OP_FILTER_DEL)->rule.handle, 1);
	assert_int_equal(first(w, OP_ACTION_DEL)->action, 9001);
}

static void a_qdisc_goes_only_if_it_is_noted_and_unused(void **state)
{
	struct world *w = *state;
	struct note note = {.kind = NOTE_QDISC,
			    .ifindex = V1,
			    .parent = TC_H_CLSACT,
			    .handle = TC_H_MAKE(TC_H_CLSACT, 0),
			    .qdisc = "clsact"};

	w->qdiscs[0] = (struct tc_qdisc){
		.ifindex = V1, .parent = note.parent, .handle = note.handle, .kind = "clsact"};
	w->host.qdiscs.count = 1;
	plan_it(w);
	assert_int_equal(w->plan.nops, 0);
	notes_add(&w->notes, &note);
	plan_it(w);
	assert_int_equal(count(w, OP_QDISC_DEL), 1);
	w->filters[0] = (struct tc_filter){.ifindex = V1,
					   .parent = RECEIVED,
					   .pref = 7,
					   .handle = 1,
					   .kind = "bpf",
					   .protocol = ETH_P_ALL};
	w->host.filters.count = 1;
	plan_it(w);
	assert_int_equal(w->plan.nops, 0);
	assert_int_equal(w->plan.notes.count, 1); /* it is still ours, for later */
}

/* Somebody has put a qdisc of his own below our root: he would lose it with ours. */
static void a_root_qdisc_stays_while_others_hang_on_it(void **state)
{
	struct world *w = *state;
	struct note note = {.kind = NOTE_QDISC,
			    .ifindex = V1,
			    .parent = TC_H_ROOT,
			    .handle = 0x706d0000,
			    .qdisc = "prio"};

	w->qdiscs[0] = (struct tc_qdisc){
		.ifindex = V1, .parent = TC_H_ROOT, .handle = note.handle, .kind = "prio"};
	w->qdiscs[1] = (struct tc_qdisc){
		.ifindex = V1, .parent = note.handle | 1, .handle = 0x50000, .kind = "fq"};
	w->host.qdiscs.count = 2;
	notes_add(&w->notes, &note);
	plan_it(w);
	assert_int_equal(w->plan.nops, 0);
	assert_int_equal(w->plan.notes.count, 1);
	w->host.qdiscs.count = 1;
	plan_it(w);
	assert_int_equal(count(w, OP_QDISC_DEL), 1);
}

/* One that has our action, but sees a part of the frames only. */
static void a_filter_of_ours_that_was_changed_is_put_right(void **state)
{
	struct world *w = *state;

	want(w, "name: a\nfrom: port:v1\nto: port:s0\ndirection: sent\n");
	plan_it(w);
	carry_out(w);
	plan_it(w);
	assert_int_equal(w->plan.nops, 0);
	w->filters[0].protocol = ETH_P_ARP;
	plan_it(w);
	assert_int_equal(count(w, OP_FILTER_PUT), 1);
	/* The kernel refuses to exchange one for that of another protocol. */
	assert_false(first(w, OP_FILTER_PUT)->replace);
	assert_int_not_equal(first(w, OP_FILTER_PUT)->rule.pref, w->filters[0].pref);
	assert_int_equal(count(w, OP_FILTER_DEL), 1);
	assert_int_equal(first(w, OP_FILTER_DEL)->protocol, ETH_P_ARP);
}

static void operations_come_in_an_order_that_works(void **state)
{
	struct world *w = *state;

	want(w, "name: a\nfrom: bridge:br0\nto: port:s0\n");
	plan_it(w);
	for (size_t i = 1; i < w->plan.nops; i++)
		assert_true(w->plan.ops[i - 1].kind <= w->plan.ops[i].kind);
	assert_int_equal(w->plan.notes.count, 3);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, new_world, end_world)

static void assert_told(const struct op *op, const char *name, const char *text)
{
	json_t *told cleanup(json_free_at) = scarce_made(op_object(op, NULL));

	assert_string_equal(json_string_value(json_object_get(told, "op")), name);
	assert_string_equal(json_string_value(json_object_get(told, "text")), text);
	assert_true(json_is_null(json_object_get(told, "session")));
}

static void what_is_amiss_is_told_whole(void **state)
{
	char reasons[] = "vnet9 is not there\nids0 is down";
	struct session_state st = {.state = STATE_WHOLE, .reasons = reasons, .pending = 1};
	json_t *list cleanup(json_free_at) = scarce_made(show_reasons(&st));
	struct inliner have = {.counts[INLINE_TOO_LONG].frames = 7};
	json_t *counts cleanup(json_free_at) = scarce_made(show_inline_counts(&have));

	(void)state;
	assert_int_equal(json_array_size(list), 3);
	assert_string_equal(json_string_value(json_array_get(list, 1)), "ids0 is down");
	assert_int_equal(json_object_size(counts), INLINE_COUNTS);
}

/* Whoever tells only the first sentence tells one of those that are a fault. */
static void absent_sources_are_told_behind_all_else(void **state)
{
	struct world *w = *state;
	struct session_state *st;

	want(w, "name: a\nfrom: [port:none1, port:v1, port:none2]\nto: port:s0\n");
	plan_it(w);
	st = plan_state(&w->plan, "a");
	assert_int_equal(st->state, STATE_PARTIAL);
	assert_string_equal(st->reasons, "waiting for the source port:none1\n"
					 "waiting for the source port:none2");
	st->pending = 0;
	assert_true(plan_only_absences(st));
	st->pending = 1;
	assert_false(plan_only_absences(st));
	st->pending = 0;
	for (unsigned nth = 1; memory_refuse(&nth);)
		assert_int_equal(plan_add_reason(st, "one fault"), memory_refused() ? -ENOMEM : 0);
	assert_int_equal(plan_add_reason(st, "another fault"), 0);
	assert_string_equal(st->reasons, "one fault\nanother fault\n"
					 "waiting for the source port:none1\n"
					 "waiting for the source port:none2");
	assert_string_equal(plan_absences(st), "waiting for the source port:none1\n"
					       "waiting for the source port:none2");
	assert_false(plan_only_absences(st));
}

static void what_is_done_is_told(void **state)
{
	(void)state;
	assert_told(&(struct op){.kind = OP_RESTORE, .port = "ids0"}, "bridge-port.restore",
		    "put back the bridge-port flags of ids0");
	assert_told(&(struct op){.kind = OP_ISOLATE, .port = "ids0"}, "bridge-port.isolate",
		    "isolate the bridge port ids0");
	assert_told(&(struct op){.kind = OP_UNLINK, .pin = "in-3"}, "link.remove", "detach in-3");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_simplest_classifier_that_the_kernel_has),
		TEST(what_is_amiss_is_told_whole),
		TEST(absent_sources_are_told_behind_all_else),
		TEST(what_is_done_is_told),
		TEST(without_bpf_what_needs_it_is_refused),
		TEST(two_sessions_without_bpf_take_a_preference_each),
		TEST(only_what_could_meet_looks_twice),
		TEST(a_new_port_touches_no_other),
		TEST(a_preference_in_front_of_the_others),
		TEST(leftovers_go_and_foreign_ones_stay),
		TEST(a_qdisc_goes_only_if_it_is_noted_and_unused),
		TEST(a_root_qdisc_stays_while_others_hang_on_it),
		TEST(a_filter_of_ours_that_was_changed_is_put_right),
		TEST(operations_come_in_an_order_that_works),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
