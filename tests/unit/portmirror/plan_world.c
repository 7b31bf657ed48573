/* SPDX-License-Identifier: MIT */
#include "plan_world.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <linux/tc_act/tc_mirred.h>
#include <net/if_arp.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "data/yaml.h"
#include "memory/memory.h"
#include "portmirror/copier.h"
#include "portmirror/op.h"

/* Devices */

static struct nl_link link_named(int index, const char *name, int master)
{
	struct nl_link link = {.index = index,
			       .type = ARPHRD_ETHER,
			       .flags = IFF_UP,
			       .carrier = true,
			       .master = master,
			       .mac = {2, 0, 0, 0, 0, (uint8_t)index},
			       .has_mac = true};

	snprintf(link.name, sizeof(link.name), "%s", name);
	if (master)
		strcpy(link.port_kind, "bridge");
	if (strncmp(name, "br", 2) == 0)
		strcpy(link.kind, "bridge");
	return link;
}

void world_port_comes(struct world *w, int ifindex, const char *name, int master)
{
	struct nl_links *links = &w->host.links;
	size_t at = links->count;

	assert_true(links->count < WORLD_LINKS);
	for (; at > 0 && links->items[at - 1].index > ifindex; at--)
		links->items[at] = links->items[at - 1];
	links->items[at] = link_named(ifindex, name, master);
	links->count++;
}

/* (Of a device that goes the kernel removes qdiscs and filters; a link that is pinned stays, and
 * hangs nowhere.) */
void world_port_goes(struct world *w, int ifindex)
{
	struct host *h = &w->host;
	size_t kept = 0;

	for (size_t i = 0; i < h->links.count; i++)
		if (w->links[i].index != ifindex)
			w->links[kept++] = w->links[i];
	h->links.count = kept;
	kept = 0;
	for (size_t i = 0; i < h->qdiscs.count; i++)
		if (w->qdiscs[i].ifindex != ifindex)
			w->qdiscs[kept++] = w->qdiscs[i];
	h->qdiscs.count = kept;
	kept = 0;
	for (size_t i = 0; i < h->filters.count; i++)
		if (w->filters[i].ifindex != ifindex)
			w->filters[kept++] = w->filters[i];
	h->filters.count = kept;
	for (size_t i = 0; i < h->pins.count; i++)
		if (w->pins[i].kind == PIN_LINK && w->pins[i].ifindex == ifindex)
			w->pins[i].ifindex = 0;
}

int world_new(void **state)
{
	static const struct {
		const char *name;
		int index, master;
	} ports[] = {{"br0", BR0, 0}, {"v1", V1, BR0}, {"v2", V2, BR0}, {"v3", V3, BR0},
		     {"s0", S0, 0},   {"s1", S1, 0},   {"a0", A0, 0},	{"b0", B0, 0},
		     {"br1", BR1, 0}, {"w1", W1, BR1}};
	struct world *w = calloc(1, sizeof(*w));

	if (!w)
		return -1;
	w->host = (struct host){
		.links = {.items = w->links},
		.qdiscs = {.items = w->qdiscs},
		.filters = {.items = w->filters},
		.actions = {.items = w->actions},
		.pins = {.items = w->pins},
		.inliners = w->inliners,
		.copiers = w->copiers,
		.tcx = true,
	};
	for (size_t i = 0; i < COUNT(ports); i++)
		world_port_comes(w, ports[i].index, ports[i].name, ports[i].master);
	*state = w;
	return 0;
}

/* Sessions */

static void forget_codes(struct world *w)
{
	for (size_t i = 0; i < WORLD_SESSIONS; i++)
		bytecode_free(&w->codes[i]);
}

static void compile(struct world *w)
{
	struct err e = {0};

	forget_codes(w);
	for (size_t i = 0; i < w->sessions.count; i++)
		if (filter_compile(w->sessions.items[i].session.filter, &w->codes[i], &e) < 0)
			fail_msg("%s", e.text);
}

int world_end(void **state)
{
	struct world *w = *state;

	plan_free(&w->plan);
	forget_codes(w);
	sessions_free(&w->sessions);
	notes_free(&w->notes);
	free(w);
	return 0;
}

void world_want(struct world *w, const char *yaml)
{
	struct yaml_docs docs cleanup(yaml_docs_free) = {0};
	struct session session = {0};
	char field[SESSION_FIELD];
	struct err e = {0};

	if (yaml_read(yaml, strlen(yaml), "test", &docs, &e) < 0 ||
	    session_read(docs.items[0].value, NULL, &session, field, &e) < 0)
		fail_msg("%s", e.text);
	assert_int_equal(sessions_put(&w->sessions, &session), 0);
	assert_true(w->sessions.count <= WORLD_SESSIONS);
	compile(w);
}

void world_forget(struct world *w, const char *session)
{
	sessions_drop(&w->sessions, session);
	compile(w);
}

void world_break(struct world *w, const char *session)
{
	struct saved *saved = sessions_find(&w->sessions, session);
	struct session only_name = {0};

	assert_non_null(saved);
	memcpy(only_name.name, saved->session.name, sizeof(only_name.name));
	session_free(&saved->session);
	saved->session = only_name;
	saved->broken = strdup("x.yaml:3: what is this?");
	assert_non_null(saved->broken);
	compile(w);
}

/* Pins */

struct pin *world_pin(struct world *w, const char *session, const char *beginning)
{
	for (size_t i = 0; i < w->host.pins.count; i++)
		if (strcmp(w->pins[i].session, session) == 0 &&
		    strncmp(w->pins[i].name, beginning, strlen(beginning)) == 0)
			return &w->pins[i];
	fail_msg("no pin %s of %s", beginning, session);
	abort();
}

size_t world_pins(const struct world *w, const char *session)
{
	size_t found = 0;

	for (size_t i = 0; i < w->host.pins.count; i++)
		found += strcmp(w->pins[i].session, session) == 0;
	return found;
}

static int by_name(const void *a, const void *b)
{
	const struct pin *x = a, *y = b;
	int r = strcmp(x->session, y->session);

	return r ? r : strcmp(x->name, y->name);
}

static void sort_pins(struct world *w)
{
	qsort(w->pins, w->host.pins.count, sizeof(*w->pins), by_name);
}

static const struct pin *find(const struct world *w, const char *session, const char *name)
{
	return pins_find(&w->host.pins, session, name);
}

/* In place of what had the name. Its id is returned. */
static uint32_t put_pin(struct world *w, const char *session, const char *name, struct pin pin)
{
	const struct pin *had = find(w, session, name);
	size_t at = had ? (size_t)(had - w->pins) : w->host.pins.count++;

	assert_true(at < COUNT(w->pins));
	snprintf(pin.session, sizeof(pin.session), "%s", session);
	snprintf(pin.name, sizeof(pin.name), "%s", name);
	pin.id = ++w->newest_id;
	w->pins[at] = pin;
	sort_pins(w);
	return pin.id;
}

void world_rename_pin(struct world *w, struct pin *pin, const char *name)
{
	snprintf(pin->name, sizeof(pin->name), "%s", name);
	sort_pins(w);
}

void world_drop_pin(struct world *w, const struct pin *pin)
{
	size_t at = (size_t)(pin - w->pins);

	memmove(&w->pins[at], &w->pins[at + 1], (w->host.pins.count - at - 1) * sizeof(*pin));
	w->host.pins.count--;
}

static int by_number(const void *a, const void *b)
{
	const uint32_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

static void add_map(struct pin *program, const struct pin *map)
{
	assert_non_null(map); /* a program can't be loaded without its maps */
	assert_int_equal(map->kind, PIN_MAP);
	program->maps[program->nmaps++] = map->id;
	qsort(program->maps, program->nmaps, sizeof(*program->maps), by_number);
}

static void put_map(struct world *w, const char *session, const char *name)
{
	if (!find(w, session, name))
		put_pin(w, session, name, (struct pin){.kind = PIN_MAP});
}

static void put_link(struct world *w, const struct op *op, const char *program, bool egress)
{
	const struct pin *pin = find(w, op->owner, program), *had = find(w, op->owner, op->pin);

	if (!pin) {
		fail_msg("a link to %s, which isn't there", program);
		abort();
	}
	assert_non_null(nl_link_by_index(&w->host.links, op->ifindex));
	if (op->replace) {
		assert_non_null(had);
		assert_int_equal(had->ifindex, op->ifindex);
		assert_int_equal(had->egress, egress);
	}
	put_pin(w, op->owner, op->pin,
		(struct pin){.kind = PIN_LINK,
			     .ifindex = op->ifindex,
			     .egress = egress,
			     .program = pin->id});
}

static void drop_pin(struct world *w, const struct op *op)
{
	const struct pin *pin = find(w, op->owner, op->pin);
	char state[PIN_NAME];

	assert_non_null(pin);
	assert_int_equal(pin->kind == PIN_LINK, op->kind == OP_UNLINK);
	for (size_t i = 0; i < w->host.pins.count; i++)
		if (pin->kind == PIN_PROGRAM && w->pins[i].kind == PIN_LINK &&
		    w->pins[i].program == pin->id)
			fail_msg("%s goes, and %s still runs it", pin->name, w->pins[i].name);
	for (size_t i = 0; i < w->host.filters.count; i++)
		if (pin->kind == PIN_PROGRAM && w->filters[i].bpf_id == pin->id)
			fail_msg("%s goes, and a filter still runs it", pin->name);
	inliner_map_name(INLINE_MAP_STATE, state);
	for (size_t i = 0; i < w->host.ninliners; i++)
		if (strcmp(op->pin, state) == 0 && strcmp(op->owner, w->inliners[i].session) == 0)
			w->inliners[i] = w->inliners[--w->host.ninliners];
	for (size_t i = 0; i < w->host.ncopiers; i++)
		if (strcmp(op->pin, copy_map_name(COPY_MAP_CONFIG)) == 0 &&
		    strcmp(op->owner, w->copiers[i].session) == 0)
			w->copiers[i] = w->copiers[--w->host.ncopiers];
	world_drop_pin(w, pin);
}

/* In-line sessions */

static struct inliner *inliner_of(struct world *w, const char *session)
{
	struct inliner *new = &w->inliners[w->host.ninliners];

	for (size_t i = 0; i < w->host.ninliners; i++)
		if (strcmp(w->inliners[i].session, session) == 0)
			return &w->inliners[i];
	assert_true(w->host.ninliners++ < WORLD_SESSIONS);
	*new = (struct inliner){0};
	snprintf(new->session, sizeof(new->session), "%s", session);
	return new;
}

static void tell_inliner(struct world *w, const struct op *op)
{
	const struct ifindexes *from = &w->plan.states[op->session].from;
	struct inliner *in = inliner_of(w, op->owner);

	in->state = op->inline_state;
	if (in->state.key == 0)
		in->state.key = 4711; /* chosen at random */
	for (size_t i = 0; i < from->count; i++)
		if (!inliner_has(in, from->items[i]))
			in->ports[in->nports++] = from->items[i];
}

static void forget_ports(struct world *w, const struct op *op)
{
	struct inliner *in = inliner_of(w, op->owner);
	size_t kept = 0;

	for (size_t i = 0; i < in->nports; i++)
		if (ifindexes_have(&w->plan.states[op->session].from, in->ports[i]))
			in->ports[kept++] = in->ports[i];
	in->nports = kept;
}

static void make_inline_maps(struct world *w, const struct op *op)
{
	char name[PIN_NAME];

	for (int i = 0; i < INLINE_MAPS; i++) {
		inliner_map_name((enum inline_map)i, name);
		put_map(w, op->owner, name);
	}
	tell_inliner(w, op);
}

/* (What each of the four really uses is the compiler's choice: some, and "state" in any case.) */
static void load_inline(struct world *w, const struct op *op)
{
	char name[PIN_NAME];

	for (int i = 0; i < INLINE_PROGRAMS; i++) {
		struct pin program = {.kind = PIN_PROGRAM};

		inliner_map_name(INLINE_MAP_STATE, name);
		add_map(&program, find(w, op->owner, name));
		inliner_map_name(INLINE_MAP_COUNTS, name);
		add_map(&program, find(w, op->owner, name));
		inliner_program_name((enum inline_program)i, &w->codes[op->session], name);
		put_pin(w, op->owner, name, program);
	}
}

static void link_inline(struct world *w, const struct op *op)
{
	char name[PIN_NAME];

	inliner_program_name(op->inline_program, &w->codes[op->session], name);
	put_link(w, op, name, inliner_egress(op->inline_program));
}

/* The engine bpf */

static const char *owner_of(const struct op *op, int map)
{
	return copier_map_shared((enum copy_map)map) ? "" : op->owner;
}

static void tell_copier(struct world *w, const struct op *op)
{
	struct copier *c = &w->copiers[0];

	for (; c < w->copiers + w->host.ncopiers; c++)
		if (strcmp(c->session, op->owner) == 0)
			break;
	if (c == w->copiers + w->host.ncopiers)
		w->host.ncopiers++;
	assert_true(w->host.ncopiers <= WORLD_SESSIONS);
	snprintf(c->session, sizeof(c->session), "%s", op->owner);
	c->config = op->config;
}

static void make_copy_maps(struct world *w, const struct op *op)
{
	for (int i = 0; i < COPY_MAPS; i++)
		put_map(w, owner_of(op, i), copy_map_name((enum copy_map)i));
	tell_copier(w, op);
}

static void load_copy(struct world *w, const struct op *op)
{
	const struct bytecode *filter = &w->codes[op->session];
	struct pin program = {.kind = PIN_PROGRAM}, front = {.kind = PIN_PROGRAM};
	char name[PIN_NAME];

	for (int i = 0; i < COPY_MAPS; i++)
		add_map(&program, find(w, owner_of(op, i), copy_map_name((enum copy_map)i)));
	for (int received = 0; received < 2; received++) {
		copier_program_name(received, name);
		put_pin(w, op->owner, name, program);
	}
	if (!copier_filters(filter))
		return;
	copier_chain_name(filter, name);
	put_pin(w, op->owner, name, (struct pin){.kind = PIN_MAP});
	add_map(&front, find(w, op->owner, name));
	for (int received = 0; received < 2; received++) {
		copier_filter_name(filter, received, name);
		put_pin(w, op->owner, name, front);
	}
}

static void link_copy(struct world *w, const struct op *op)
{
	char name[PIN_NAME];

	copier_front_name(&w->codes[op->session], op->received, name);
	put_link(w, op, name, op->received);
}

static void load_cut(struct world *w, const struct op *op)
{
	struct pin program = {.kind = PIN_PROGRAM};

	add_map(&program, find(w, "", copy_map_name(COPY_MAP_CUT)));
	put_pin(w, op->owner, op->pin, program);
}

static void link_cut(struct world *w, const struct op *op)
{
	char name[PIN_NAME];

	copier_cut_name(name);
	put_link(w, op, name, true);
}

/* Traffic control */

static void put_action(struct world *w, const struct op *op)
{
	struct tc_action *a = &w->actions[w->host.actions.count];

	for (size_t i = 0; i < w->host.actions.count; i++)
		if (w->actions[i].index == op->action)
			a = &w->actions[i];
	w->host.actions.count += !op->replace;
	*a = (struct tc_action){.kind = "mirred",
				.index = op->action,
				.cookie_len = TC_COOKIE,
				.control = TC_ACT_UNSPEC,
				.mirred = TCA_EGRESS_MIRROR,
				.to_ifindex = op->to_ifindex};
	memcpy(a->cookie, op->cookie, TC_COOKIE);
}

static void drop_action(struct world *w, const struct op *op)
{
	for (size_t i = 0; i < w->host.actions.count; i++)
		if (w->actions[i].index == op->action)
			w->actions[i] = w->actions[--w->host.actions.count];
}

static void add_qdisc(struct world *w, const struct op *op)
{
	struct host *h = &w->host;
	size_t at = h->qdiscs.count++;

	for (; at > 0 && w->qdiscs[at - 1].ifindex > op->ifindex; at--)
		w->qdiscs[at] = w->qdiscs[at - 1];
	w->qdiscs[at] = (struct tc_qdisc){
		.ifindex = op->ifindex, .handle = op->handle, .parent = op->parent};
	memcpy(w->qdiscs[at].kind, op->qdisc, sizeof(op->qdisc));
}

static void drop_qdisc(struct world *w, const struct op *op)
{
	size_t kept = 0;

	for (size_t i = 0; i < w->host.qdiscs.count; i++)
		if (w->qdiscs[i].ifindex != op->ifindex || w->qdiscs[i].parent != op->parent)
			w->qdiscs[kept++] = w->qdiscs[i];
	w->host.qdiscs.count = kept;
	kept = 0;
	for (size_t i = 0; i < w->host.filters.count; i++)
		if (w->filters[i].ifindex != op->ifindex ||
		    TC_H_MAJ(w->filters[i].parent) != TC_H_MAJ(op->handle))
			w->filters[kept++] = w->filters[i];
	w->host.filters.count = kept;
}

/* Where the filter is, or would be: they come by ifindex. */
static size_t filter_at(const struct world *w, const struct op *op, bool *there)
{
	size_t at = 0;

	for (; at < w->host.filters.count && w->filters[at].ifindex <= op->ifindex; at++) {
		const struct tc_filter *f = &w->filters[at];

		if (f->ifindex == op->ifindex && f->parent == op->rule.parent &&
		    f->pref == op->rule.pref && f->handle == op->rule.handle) {
			*there = true;
			return at;
		}
	}
	*there = false;
	return at;
}

static void put_filter(struct world *w, const struct op *op)
{
	struct tc_filter f = {.ifindex = op->ifindex,
			      .parent = op->rule.parent,
			      .handle = op->rule.handle,
			      .pref = op->rule.pref,
			      .protocol = ETH_P_ALL,
			      .kind = "bpf"};
	const struct pin *program = find(w, op->owner, op->pin);
	bool there;
	size_t at = filter_at(w, op, &there);

	assert_int_equal(there, op->replace);
	if (op->direct != DIRECT_NONE) {
		assert_non_null(program);
		f.bpf_direct = true;
		f.bpf_id = program->id;
		snprintf(f.bpf_name, sizeof(f.bpf_name), "%s", op->direct_name);
	} else {
		f.nactions = 1;
		f.bpf_code_hash = bytecode_hash(op->rule.code, op->rule.ncode);
		for (size_t i = 0; i < w->host.actions.count; i++)
			if (w->actions[i].index == op->rule.mirred)
				f.actions[0] = w->actions[i];
	}
	if (!there) {
		memmove(&w->filters[at + 1], &w->filters[at],
			(w->host.filters.count - at) * sizeof(f));
		w->host.filters.count++;
	}
	w->filters[at] = f;
}

static void drop_filter(struct world *w, const struct op *op)
{
	struct op at_parent = *op;
	bool there;
	size_t at;

	at_parent.rule.parent = op->parent;
	at = filter_at(w, &at_parent, &there);
	assert_true(there);
	memmove(&w->filters[at], &w->filters[at + 1],
		(w->host.filters.count - at - 1) * sizeof(*w->filters));
	w->host.filters.count--;
}

/* Plans */

void world_plan(struct world *w)
{
	struct plan_input in = {.sessions = &w->sessions,
				.filters = w->codes,
				.newest = w->newest,
				.host = &w->host,
				.notes = &w->notes,
				.lacks = w->lacks,
				.preferred = w->preferred};
	struct err e = {0};

	for (unsigned nth = 1; memory_refuse(&nth);) {
		int r;

		plan_free(&w->plan);
		r = plan_make(&in, &w->plan, &e);
		if (memory_refused())
			assert_int_equal(r, -ENOMEM);
		else if (r < 0)
			fail_msg("%s", e.text);
	}
	for (size_t i = 1; i < w->plan.nops; i++)
		assert_true(w->plan.ops[i - 1].kind <= w->plan.ops[i].kind ||
			    (w->plan.ops[i].cuts && w->plan.ops[i].kind == OP_FILTER_DEL));
}

void world_carry_out(struct world *w)
{
	static const struct {
		enum op_kind kind;
		void (*act)(struct world *w, const struct op *op);
	} deeds[] = {
		{OP_ACTION_PUT, put_action},	   {OP_COPY_MAPS, make_copy_maps},
		{OP_COPY_PROGRAMS, load_copy},	   {OP_CUT_PROGRAM, load_cut},
		{OP_CUT_LINK, link_cut},	   {OP_COPY_CONFIG, tell_copier},
		{OP_COPY_LINK, link_copy},	   {OP_INLINE_MAPS, make_inline_maps},
		{OP_INLINE_PROGRAMS, load_inline}, {OP_INLINE_STATE, tell_inliner},
		{OP_INLINE_LINK, link_inline},	   {OP_QDISC_CLEAR, drop_qdisc},
		{OP_QDISC_ADD, add_qdisc},	   {OP_FILTER_PUT, put_filter},
		{OP_FILTER_DEL, drop_filter},	   {OP_UNLINK, drop_pin},
		{OP_INLINE_FORGET, forget_ports},  {OP_QDISC_DEL, drop_qdisc},
		{OP_ACTION_DEL, drop_action},	   {OP_UNPIN, drop_pin},
	};

	for (size_t i = 0; i < w->plan.nops; i++) {
		size_t deed = 0;

		while (deed < COUNT(deeds) && deeds[deed].kind != w->plan.ops[i].kind)
			deed++;
		assert_true(deed < COUNT(deeds));
		deeds[deed].act(w, &w->plan.ops[i]);
	}
	notes_free(&w->notes);
	notes_copy(&w->notes, &w->plan.notes);
}

void world_settle(struct world *w)
{
	world_plan(w);
	world_carry_out(w);
	world_plan(w);
	assert_plan(w, "");
}

size_t world_count(const struct world *w, enum op_kind kind)
{
	size_t found = 0;

	for (size_t i = 0; i < w->plan.nops; i++)
		found += w->plan.ops[i].kind == kind;
	return found;
}

const struct op *world_op(const struct world *w, enum op_kind kind, size_t nth)
{
	for (size_t i = 0; i < w->plan.nops; i++)
		if (w->plan.ops[i].kind == kind && nth-- == 0)
			return &w->plan.ops[i];
	fail_msg("no such operation");
	abort();
}

static void add_word(struct buf *text, size_t count, const char *name)
{
	if (count == 0)
		return;
	if (text->len > 0)
		buf_str(text, ", ");
	if (count > 1)
		buf_fmt(text, "%zu ", count);
	buf_str(text, name);
}

void world_assert_plan(const struct world *w, const char *wanted, const char *file, int line)
{
	struct buf text cleanup(buf_free) = {0};
	char last[32] = "";
	size_t count = 0;

	for (size_t i = 0; i < w->plan.nops; i++) {
		json_t *op = op_object(&w->plan.ops[i], NULL);
		const char *name = json_string_value(json_object_get(op, "op"));

		assert_non_null(name);
		if (strcmp(name, last) != 0) {
			add_word(&text, count, last);
			count = 0;
		}
		snprintf(last, sizeof(last), "%s", name);
		count++;
		json_decref(op);
	}
	add_word(&text, count, last);
	if (strcmp(buf_text(&text), wanted) != 0) {
		print_error("planned: %s\n wanted: %s\n", buf_text(&text), wanted);
		_fail(file, line);
	}
}

void world_assert_state(const struct world *w, const char *session, enum state wanted,
			const char *words, const char *file, int line)
{
	const struct session_state *st = plan_state(&w->plan, session);

	if (st && st->state == wanted &&
	    (words ? st->reasons && strstr(st->reasons, words) : !st->reasons))
		return;
	print_error("%s is %s: %s\n", session, st ? state_name(st->state) : "not there",
		    st && st->reasons ? st->reasons : "");
	_fail(file, line);
}
