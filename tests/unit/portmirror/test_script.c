/* SPDX-License-Identifier: MIT */
/* Scripts for hosts that are made up, and for kernels other than this one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <linux/if_ether.h>
#include <linux/pkt_sched.h>
#include <net/if_arp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "data/yaml.h"
#include "memory/memory.h"
#include "portmirror/engine.h"
#include "portmirror/ours.h"
#include "portmirror/script.h"

enum { BR0 = 2, V1, V2, S0 };
#define SENT  TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS)
#define HOUSE 7
#define ALL   (BRPORT_FLOOD | BRPORT_MCAST_FLOOD | BRPORT_BCAST_FLOOD | BRPORT_LEARNING)

/* A host with br0 (v1 v2 s0), and one session. */
struct world {
	struct nl_link links[4];
	struct tc_qdisc qdiscs[4];
	struct tc_filter filters[8];
	struct sessions sessions;
	struct bytecode code;
	struct view view;
};

static void add_link(struct world *w, int index, const char *name)
{
	struct nl_link *link = &w->links[w->view.host.links.count++];

	*link = (struct nl_link){.index = index, .type = ARPHRD_ETHER, .brport = ALL};
	strcpy(link->name, name);
	if (index != BR0) {
		link->master = BR0;
		strcpy(link->port_kind, "bridge");
	}
}

static int new_world(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	if (!w)
		return -1;
	w->view.sessions = &w->sessions;
	w->view.filters = &w->code;
	w->view.host.links.items = w->links;
	w->view.host.qdiscs.items = w->qdiscs;
	w->view.host.filters.items = w->filters;
	add_link(w, BR0, "br0");
	add_link(w, V1, "v1");
	add_link(w, V2, "v2");
	add_link(w, S0, "s0");
	*state = w;
	return 0;
}

static int end_world(void **state)
{
	struct world *w = *state;

	plan_free(&w->view.plan);
	notes_free(&w->view.notes);
	tc_actions_free(&w->view.host.actions);
	bytecode_free(&w->code);
	sessions_free(&w->sessions);
	free(w);
	return 0;
}

static void add_action(struct world *w, uint32_t index, const char *session)
{
	struct tc_actions *t = &w->view.host.actions;
	struct tc_action action = {.kind = "mirred", .index = index, .to_ifindex = S0};

	if (session) {
		ours_cookie(HOUSE, session, action.cookie);
		action.cookie_len = TC_COOKIE;
	}
	assert_int_equal(array_room(&t->items, &t->room, t->count, sizeof(action)), 0);
	t->items[t->count++] = action;
}

static void add_qdisc(struct world *w, int ifindex, uint32_t parent, uint32_t handle,
		      const char *kind, bool noted)
{
	struct tc_qdisc *q = &w->qdiscs[w->view.host.qdiscs.count++];
	struct note note = {
		.kind = NOTE_QDISC, .ifindex = ifindex, .parent = parent, .handle = handle};

	*q = (struct tc_qdisc){.ifindex = ifindex, .parent = parent, .handle = handle};
	strcpy(q->kind, kind);
	strcpy(note.qdisc, kind);
	if (noted)
		assert_int_equal(notes_add(&w->view.notes, &note), 0);
}

static void add_clsact(struct world *w, int ifindex, bool noted)
{
	add_qdisc(w, ifindex, TC_H_CLSACT, TC_H_MAKE(TC_H_CLSACT, 0), "clsact", noted);
}

/* action: the last one's index, or 0 for a foreign filter; handle 0: the row above them. */
static void add_filter(struct world *w, int ifindex, uint16_t pref, uint32_t handle,
		       const char *kind, bool ours)
{
	struct tc_filter *f = &w->filters[w->view.host.filters.count++];

	*f = (struct tc_filter){.ifindex = ifindex,
				.parent = SENT,
				.handle = handle,
				.pref = pref,
				.protocol = ETH_P_ALL};
	strcpy(f->kind, kind);
	if (ours) {
		f->nactions = 1;
		f->actions[0] = w->view.host.actions.items[0];
	}
}

static void add_isolation(struct world *w)
{
	struct note note = {.kind = NOTE_ISOLATE, .ifindex = S0, .flags = ALL};

	w->links[3].brport = BRPORT_ISOLATED;
	assert_int_equal(notes_add(&w->view.notes, &note), 0);
}

static void without_ours(struct world *w)
{
	assert_int_equal(host_without_ours(&w->view.host, &w->view.notes, HOUSE, NULL), 0);
}

static void all_of_ours_goes(void **state)
{
	struct world *w = *state;

	add_action(w, 9001, "ids");
	add_clsact(w, V1, true);
	add_filter(w, V1, 3, 0, "bpf", false);
	add_filter(w, V1, 3, 9001, "bpf", true);
	add_isolation(w);
	without_ours(w);
	assert_int_equal(w->view.host.actions.count, 0);
	assert_int_equal(w->view.host.qdiscs.count, 0);
	assert_int_equal(w->view.host.filters.count, 0);
	assert_int_equal(w->links[3].brport, ALL);
}

static void what_is_not_ours_stays(void **state)
{
	struct world *w = *state;

	add_action(w, 9001, "ids");
	add_action(w, 5, NULL);
	add_clsact(w, V1, false); /* theirs */
	add_filter(w, V1, 3, 0, "bpf", false);
	add_filter(w, V1, 3, 9001, "bpf", true);
	add_clsact(w, V2, true); /* ours, but they have a filter there */
	add_filter(w, V2, 3, 0, "bpf", false);
	add_filter(w, V2, 3, 9001, "bpf", true);
	add_filter(w, V2, 5, 0, "u32", false);
	add_filter(w, V2, 5, 0x80000800, "u32", false);
	without_ours(w);
	assert_int_equal(w->view.host.actions.count, 1);
	assert_int_equal(w->view.host.actions.items[0].index, 5);
	assert_int_equal(w->view.host.qdiscs.count, 2);
	assert_int_equal(w->view.host.filters.count, 2);
	assert_int_equal(w->filters[0].pref, 5);
	assert_int_equal(w->filters[1].handle, 0x80000800);
	assert_int_equal(w->links[3].brport, ALL);
}

static void a_preference_stays_while_others_have_filters_in_it(void **state)
{
	struct world *w = *state;

	add_action(w, 9001, "ids");
	add_clsact(w, V1, false);
	add_filter(w, V1, 3, 0, "bpf", false);
	add_filter(w, V1, 3, 9001, "bpf", true);
	add_filter(w, V1, 3, 1, "bpf", false);
	without_ours(w);
	assert_int_equal(w->view.host.filters.count, 2);
	assert_int_equal(w->filters[0].handle, 0);
	assert_int_equal(w->filters[1].handle, 1);
}

static void what_stands_there_tells_what_the_kernel_lacks(void **state)
{
	struct world *w = *state;
	struct lacks lacks;

	add_action(w, 9001, "ids");
	add_filter(w, V1, 3, 9001, "bpf", true);
	add_filter(w, V1, 5, 1, "u32", false);
	lacks = lacks_shown(&w->view.host, &w->view.notes, HOUSE);
	assert_false(lacks.bpf || lacks.matchall || lacks.prio);
	add_filter(w, V1, 3, 1, "matchall", true);
	lacks = lacks_shown(&w->view.host, &w->view.notes, HOUSE);
	assert_true(lacks.bpf && !lacks.matchall);
	add_filter(w, V1, 3, 1, "u32", true);
	add_qdisc(w, V1, TC_H_ROOT, 0x10000, "htb", true);
	lacks = lacks_shown(&w->view.host, &w->view.notes, HOUSE);
	assert_true(lacks.bpf && lacks.matchall && lacks.prio);
}

static void want(struct world *w, const char *yaml)
{
	struct yaml_docs docs cleanup(yaml_docs_free) = {0};
	struct session session = {0};
	char field[SESSION_FIELD];
	struct err e = {0};

	if (yaml_read(yaml, strlen(yaml), "test", &docs, &e) < 0 ||
	    session_read(docs.items[0].value, NULL, &session, field, &e) < 0 ||
	    filter_compile(session.filter, &w->code, &e) < 0)
		fail_msg("%s", e.text);
	assert_int_equal(sessions_put(&w->sessions, &session), 0);
}

static struct plan plan_with(struct world *w, struct lacks lacks)
{
	struct plan_input in = {.sessions = &w->sessions,
				.filters = &w->code,
				.host = &w->view.host,
				.notes = &w->view.notes,
				.lacks = lacks,
				.house = HOUSE};
	struct plan plan = {0};

	assert_int_equal(plan_make(&in, &plan, NULL), 0);
	return plan;
}

/* The commands of the script, a newline behind each. */
static char *commands(const struct plan *plan)
{
	struct script script cleanup(script_free) = {0};
	struct buf text = {0};

	assert_int_equal(scarce(script_make(plan, &script, NULL)), 0);
	for (size_t i = 0; i < script.count; i++)
		if (!script.lines[i].comment)
			buf_fmt(&text, "%s\n", script.lines[i].text);
	return buf_take(&text);
}

static void each_kernel_has_its_commands(void **state)
{
	static const struct {
		struct lacks lacks;
		const char *words;
	} kernels[] = {
		{{0}, "pref 3 handle 0x2329 bpf bytecode '1,6 0 0 4294967295' action"},
		{{.bpf = true}, "pref 3 matchall action"},
		{{.bpf = true, .matchall = true}, "pref 3 u32 match u32 0 0 action"},
	};
	struct world *w = *state;

	want(w, "name: a\nfrom: port:v1\nto: port:s0\ndirection: sent\n");
	for (size_t i = 0; i < COUNT(kernels); i++) {
		struct plan plan cleanup(plan_free) = plan_with(w, kernels[i].lacks);
		char *text cleanup(free_at) = commands(&plan);
		char expected[512];

		snprintf(expected, sizeof(expected),
			 "tc actions add action mirred egress mirror dev s0 continue index 9001 "
			 "cookie 706d697200000007af63dc4c8601ec8c\n"
			 "tc qdisc add dev v1 clsact\n"
			 "tc filter add dev v1 ingress protocol all %s mirred index 9001\n",
			 kernels[i].words);
		assert_string_equal(text, expected);
	}
}

static void the_classic_root_is_prio_or_else_htb(void **state)
{
	struct world *w = *state;
	struct plan plan cleanup(plan_free) = {0};
	char *text cleanup(free_at) = NULL;

	want(w, "name: a\nfrom: port:v1\nto: port:s0\ndirection: received\nattach: classic\n");
	plan = plan_with(w, (struct lacks){0});
	text = commands(&plan);
	assert_non_null(strstr(text, "tc qdisc add dev v1 root handle 706d: prio 2>/dev/null ||\n"
				     "\ttc qdisc add dev v1 root handle 706d: htb\n"
				     "tc filter add dev v1 parent 706d: protocol all"));
	free(text);
	plan_free(&plan);
	plan = plan_with(w, (struct lacks){.prio = true});
	text = commands(&plan);
	assert_non_null(strstr(text, "tc qdisc add dev v1 root handle 706d: htb\n"));
	assert_null(strstr(text, "prio"));
}

static void the_action_keeps_its_number(void **state)
{
	struct world *w = *state;
	struct plan plan cleanup(plan_free) = {0};
	char *text cleanup(free_at) = NULL;

	want(w, "name: a\nfrom: port:v1\nto: port:s0\nisolate: true\n");
	add_action(w, 9005, "a");
	add_clsact(w, V1, true);
	add_filter(w, V1, 3, 9005, "bpf", true);
	add_isolation(w);
	w->view.plan = plan_with(w, (struct lacks){0});
	assert_int_equal(scarce(script_plan(&w->view, "a", HOUSE, &plan, NULL)), 0);
	text = commands(&plan);
	assert_non_null(strstr(text, "continue index 9005 cookie"));
	assert_non_null(strstr(text, "bridge link set dev s0 flood off mcast_flood off "
				     "bcast_flood off learning off isolated on\n"));
	assert_non_null(strstr(text, "tc qdisc add dev v1 clsact\n"));
	assert_non_null(strstr(text, "egress protocol all pref 3 handle 0x232d"));
}

/* A session that is not carried out yet: the number that it would get. */
static void the_action_has_a_number_before_it_is_there(void **state)
{
	struct world *w = *state;
	struct plan plan cleanup(plan_free) = {0};
	char *text cleanup(free_at) = NULL;

	want(w, "name: a\nfrom: port:v1\nto: port:s0\n");
	w->view.plan = plan_with(w, (struct lacks){0});
	assert_int_equal(scarce(script_plan(&w->view, "a", HOUSE, &plan, NULL)), 0);
	text = commands(&plan);
	assert_non_null(strstr(text, "continue index 9001 cookie"));
}

static void a_plan_that_removes_is_no_script(void **state)
{
	struct world *w = *state;
	struct plan plan cleanup(plan_free) = {0};
	struct script script = {0};
	struct err e = {0};

	want(w, "name: a\nfrom: port:v1\nto: port:s0\n");
	add_action(w, 9002, "b");
	plan = plan_with(w, (struct lacks){0});
	assert_int_equal(script_make(&plan, &script, &e), -EINVAL);
	assert_null(script.lines);
	w->view.plan = plan;
	assert_int_equal(script_plan(&w->view, "none", HOUSE, &plan, &e), -ENOENT);
	assert_string_equal(e.text, "there is no session named none");
	w->view.plan = (struct plan){0};
}

static void words_are_safe(void **state)
{
	static const struct {
		const char *name, *word;
	} words[] = {
		{"vnet1.20", "vnet1.20"},
		{"", "''"},
		{"a b", "'a b'"},
		{"$(x)`y`", "'$(x)`y`'"},
		{"it's", "'it'\\''s'"},
		{"a\\b", "'a\\b'"},
		{"a\x1b[m", "\"$(printf %b 'a\\0033\\0133m')\""},
		{"'\x7f\\", "\"$(printf %b '\\0047\\0177\\0134')\""},
		{"\xc3\xa9", "\"$(printf %b '\\0303\\0251')\""},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(words); i++) {
		struct buf b cleanup(buf_free) = {0};

		script_word(&b, words[i].name);
		assert_string_equal(buf_text(&b), words[i].word);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(all_of_ours_goes, new_world, end_world),
		cmocka_unit_test_setup_teardown(what_is_not_ours_stays, new_world, end_world),
		cmocka_unit_test_setup_teardown(a_preference_stays_while_others_have_filters_in_it,
						new_world, end_world),
		cmocka_unit_test_setup_teardown(what_stands_there_tells_what_the_kernel_lacks,
						new_world, end_world),
		cmocka_unit_test_setup_teardown(each_kernel_has_its_commands, new_world, end_world),
		cmocka_unit_test_setup_teardown(the_classic_root_is_prio_or_else_htb, new_world,
						end_world),
		cmocka_unit_test_setup_teardown(the_action_keeps_its_number, new_world, end_world),
		cmocka_unit_test_setup_teardown(the_action_has_a_number_before_it_is_there,
						new_world, end_world),
		cmocka_unit_test_setup_teardown(a_plan_that_removes_is_no_script, new_world,
						end_world),
		cmocka_unit_test(words_are_safe),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
