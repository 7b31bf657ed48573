/* SPDX-License-Identifier: MIT */
/* One port: which filters it must have, which it has, and the qdiscs below them. */
#include <linux/if_ether.h>
#include <linux/pkt_sched.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "portmirror/plan_port.h"

bool port_is_ours(const struct port *p, const struct tc_filter *f)
{
	return ours_filter(f, p->w->in->house) || direct_does(f, p->w->in->house) != DIRECT_NONE;
}

/* The hooks of a qdisc: is this filter at one of them? */
static bool hangs_on(const struct tc_filter *f, const struct tc_qdisc *q)
{
	if (q->parent == TC_H_INGRESS)
		return TC_H_MAJ(f->parent) == TC_H_MAJ(TC_H_INGRESS);
	return TC_H_MAJ(f->parent) == TC_H_MAJ(q->handle);
}

/* Nobody but us uses it: no foreign filter on it, no qdisc below it that somebody made. */
static bool only_ours(const struct port *p, const struct tc_qdisc *q)
{
	for (size_t i = 0; i < p->nfilters; i++) {
		const struct tc_filter *f = &p->filters[i];
		bool bare = f->handle == 0 && f->nactions == 0; /* tells only that others follow */

		if (hangs_on(f, q) && !bare && !f->u32_table &&
		    (!port_is_ours(p, f) || plan_keeps(p->w, f)))
			return false;
	}
	for (size_t i = 0; i < p->nall; i++)
		if (TC_H_MAJ(p->all[i].parent) == TC_H_MAJ(q->handle) && q->parent == TC_H_ROOT &&
		    &p->all[i] != q)
			return false;
	return true;
}

static const struct tc_qdisc *qdisc_at(const struct port *p, uint32_t parent)
{
	for (size_t i = 0; i < p->nall; i++)
		if (p->all[i].parent == parent)
			return &p->all[i];
	return NULL;
}

/* That we made it. (A handle of another's choice at the root tells that it isn't the one we noted,
 * and so does a block.) */
static const struct note *note_of(const struct port *p, const struct tc_qdisc *q)
{
	const struct note *n =
		q ? notes_qdisc(p->w->in->notes, p->ifindex, q->parent, q->kind) : NULL;

	return n && n->handle == q->handle && !q->ingress_block && !q->egress_block ? n : NULL;
}

struct port port_look(struct work *w, const struct nl_link *link)
{
	struct port p = {.w = w, .link = link, .ifindex = link->index};
	const struct tc_qdisc *ingress, *root;

	p.nfilters = host_filters(w->in->host, p.ifindex, &p.filters);
	p.nall = host_qdiscs(w->in->host, p.ifindex, &p.all);
	ingress = qdisc_at(&p, TC_H_INGRESS);
	root = qdisc_at(&p, TC_H_ROOT);
	p.ingress_note = note_of(&p, ingress);
	p.root_note = note_of(&p, root);
	p.qdiscs = (struct port_qdiscs){
		.ingress = ingress,
		.root = root,
		.ingress_ours = p.ingress_note && only_ours(&p, ingress),
		.root_ours = p.root_note && only_ours(&p, root),
	};
	return p;
}

static void add_note(struct port *p, const struct note *note)
{
	if (notes_add(&p->w->plan->notes, note) < 0)
		p->w->failed = true;
}

static void add_qdisc(struct port *p, const struct new_qdisc *q, int session)
{
	struct note note = {.kind = NOTE_QDISC,
			    .ifindex = p->ifindex,
			    .parent = q->parent,
			    .handle = q->handle};
	struct op *op;

	if (!q->kind)
		return;
	op = plan_op(p->w, OP_QDISC_ADD, session, p->ifindex, &p->scrap);
	snprintf(op->qdisc, sizeof(op->qdisc), "%s", q->kind);
	op->parent = q->parent;
	op->handle = q->handle;
	snprintf(note.qdisc, sizeof(note.qdisc), "%s", q->kind);
	memcpy(note.port, p->link->name, sizeof(note.port));
	add_note(p, &note);
}

static void drop_qdisc(struct port *p, const struct tc_qdisc *q, enum op_kind kind)
{
	struct op *op = plan_op(p->w, kind, -1, p->ifindex, &p->scrap);

	snprintf(op->qdisc, sizeof(op->qdisc), "%s", q->kind);
	op->parent = q->parent;
	op->handle = q->handle;
	/* Its filters go with it. */
	for (size_t i = 0; i < p->nfilters; i++) {
		if (!hangs_on(&p->filters[i], q))
			continue;
		p->done[i] = true;
		op->cuts |= direct_does(&p->filters[i], p->w->in->house) == DIRECT_CUTS;
	}
}

static bool at(const struct tc_filter *f, uint32_t parent, unsigned pref)
{
	return f->parent == parent && f->pref == pref;
}

/* Somebody else has filters (or an empty table of them) at this preference. */
static bool foreign_pref(const struct port *p, uint32_t parent, unsigned pref)
{
	bool taken = false;

	for (size_t i = 0; i < p->nfilters; i++) {
		if (!at(&p->filters[i], parent, pref))
			continue;
		if (port_is_ours(p, &p->filters[i]))
			return false; /* what else stands there are the rows that lead to ours */
		taken = true;
	}
	return taken;
}

bool port_any_pref(const struct port *p, uint32_t parent, unsigned pref)
{
	for (size_t i = 0; i < p->nfilters; i++)
		if (at(&p->filters[i], parent, pref))
			return true;
	return false;
}

/* The preference that keeps us in front of the others at this hook; but what an appliance doesn't
 * let through isn't to be copied. */
static unsigned first_pref(const struct port *p, uint32_t parent)
{
	unsigned leads = p->leads[parent == p->hooks.received], lowest = PREF + 1;

	for (size_t i = 0; i < p->nfilters; i++) {
		const struct tc_filter *f = &p->filters[i];

		if (f->parent == parent && f->chain == 0 && f->pref < lowest &&
		    foreign_pref(p, parent, f->pref))
			lowest = f->pref;
	}
	lowest = lowest > 1 ? lowest - 1 : 1;
	return lowest > leads ? lowest : leads + 1;
}

uint16_t port_shared_pref(const struct port *p, uint32_t parent)
{
	unsigned pref;

	for (size_t i = 0; i < p->nfilters; i++)
		if (p->filters[i].parent == parent && port_shares_pref(p, &p->filters[i]))
			return p->filters[i].pref;
	for (pref = first_pref(p, parent); port_any_pref(p, parent, pref);)
		pref++;
	return (uint16_t)pref;
}

/* The others take one rule a preference: the nth free one. */
static uint16_t own_pref(const struct port *p, uint32_t parent, unsigned nth)
{
	unsigned pref = first_pref(p, parent);

	for (;; pref++)
		if (!port_any_pref(p, parent, pref) && nth-- == 0)
			return (uint16_t)pref;
}

/* How the rule tells its frames: the simplest way that the kernel has and that can be exchanged in
 * one step when the session's needs change, which cls_bpf alone can. */
static void choose_match(struct port *p, const struct want *want, bool received,
			 struct tc_rule *rule, int *program)
{
	const struct lacks *lacks = &p->w->in->lacks;
	const struct bytecode *code = &p->w->in->filters[want->state];

	*program = -1;
	if (want->once) {
		rule->match = TC_MATCH_PROGRAM;
		*program = plan_program(p->w, want->state, received);
		return;
	}
	rule->match = !lacks->bpf	 ? TC_MATCH_BYTECODE
		      : !lacks->matchall ? TC_MATCH_ALL
					 : TC_MATCH_U32;
	rule->code = code->code;
	rule->ncode = code->count;
}

static const char *kind_of(enum tc_match match)
{
	return match == TC_MATCH_ALL ? "matchall" : match == TC_MATCH_U32 ? "u32" : "bpf";
}

/* The filter does what the rule asks for. */
static bool same(const struct port *p, const struct tc_filter *f, const struct tc_rule *rule,
		 int program)
{
	const struct plan_program *want;

	if (f->protocol != ETH_P_ALL || f->chain != 0 || strcmp(f->kind, kind_of(rule->match)) != 0)
		return false;
	if (rule->match == TC_MATCH_BYTECODE)
		return f->bpf_id == 0 && f->handle == rule->handle &&
		       f->bpf_code_hash == bytecode_hash(rule->code, rule->ncode);
	if (rule->match != TC_MATCH_PROGRAM)
		return true;
	want = &p->w->plan->programs[program];
	return want->loaded != 0 && f->handle == rule->handle &&
	       strcmp(f->bpf_name, want->name) == 0 &&
	       host_map_of(p->w->in->host, f->bpf_id) == want->map_id;
}

/* The filter that we have for this session at this hook already; NULL: none. */
static size_t find_filter(const struct port *p, uint32_t parent, uint32_t action)
{
	for (size_t i = 0; i < p->nfilters; i++)
		if (!p->done[i] && p->filters[i].parent == parent &&
		    port_is_ours(p, &p->filters[i]) && p->filters[i].actions[0].index == action)
			return i;
	return p->nfilters;
}

static void put_rule(struct port *p, const struct want *want, uint32_t parent, bool received,
		     unsigned *nth)
{
	uint32_t action = p->w->plan->states[want->state].action;
	size_t have = find_filter(p, parent, action);
	struct tc_rule rule = {.ifindex = p->ifindex,
			       .parent = parent,
			       .program_fd = -1,
			       .handle = action,
			       .mirred = action};
	bool replace = false;
	struct op *op;
	int program;

	choose_match(p, want, received, &rule, &program);
	if (have < p->nfilters && same(p, &p->filters[have], &rule, program)) {
		p->done[have] = true;
		return;
	}
	if (rule.match == TC_MATCH_ALL || rule.match == TC_MATCH_U32) {
		rule.handle = 0;
		rule.pref = own_pref(p, parent, (*nth)++);
	} else if (have < p->nfilters && p->filters[have].handle == action &&
		   port_shares_pref(p, &p->filters[have])) {
		replace = true;
		rule.pref = p->filters[have].pref;
		p->done[have] = true;
	} else {
		rule.pref = port_shared_pref(p, parent);
	}
	op = plan_op(p->w, OP_FILTER_PUT, want->state, p->ifindex, &p->scrap);
	op->rule = rule;
	op->replace = replace;
	op->program = program;
}

/* The preferences of filters that lead frames in-line. */
static void find_leads(struct port *p)
{
	for (size_t i = 0; i < p->nfilters; i++) {
		const struct tc_filter *f = &p->filters[i];
		unsigned *leads = &p->leads[f->parent == p->hooks.received];

		if (direct_does(f, p->w->in->house) == DIRECT_LEADS && f->pref > *leads)
			*leads = f->pref;
	}
}

/* Adds what the session of the engine tc needs; says so where the port can't give it. */
static void put_rules(struct port *p, const struct want *want, unsigned nth[2])
{
	bool sent = (want->direction & DIRECTION_SENT) != 0;
	bool received = (want->direction & DIRECTION_RECEIVED) != 0;

	if ((sent && p->hooks.sent == 0) || (received && p->hooks.received == 0))
		plan_stuck(p->w, want->state, "%s %s", p->link->name,
			   p->hooks.why_not ? p->hooks.why_not : "can't be attached");
	if (sent && p->hooks.sent != 0)
		put_rule(p, want, p->hooks.sent, false, &nth[0]);
	if (received && p->hooks.received != 0)
		put_rule(p, want, p->hooks.received, true, &nth[1]);
}

/* (What leads comes first: the others go behind it.) */
static void put_filters(struct port *p, const struct want *wants, size_t nwants)
{
	unsigned nth[2] = {0, 0};

	find_leads(p);
	for (size_t i = 0; i < nwants; i++)
		if (wants[i].direct == DIRECT_LEADS)
			port_put_direct(p, &wants[i]);
	for (size_t i = 0; i < nwants; i++) {
		if (wants[i].direct == DIRECT_NONE)
			put_rules(p, &wants[i], nth);
		else if (wants[i].direct != DIRECT_LEADS)
			port_put_direct(p, &wants[i]);
	}
}

/* Filters of ours that nobody wants. */
static void drop_filters(struct port *p)
{
	for (size_t i = 0; i < p->nfilters; i++) {
		const struct tc_filter *f = &p->filters[i];
		struct op *op;

		if (p->done[i] || !port_is_ours(p, f) || plan_keeps(p->w, f))
			continue;
		op = plan_op(p->w, OP_FILTER_DEL,
			     f->nactions == 1 ? plan_owner(p->w, f->actions[0].index)
					      : plan_direct_owner(p->w, f),
			     p->ifindex, &p->scrap);
		op->cuts = direct_does(f, p->w->in->house) == DIRECT_CUTS;
		op->parent = f->parent;
		op->protocol = f->protocol;
		op->rule.pref = f->pref;
		/* The empty table of a u32 preference stays unless the whole preference goes. */
		op->rule.handle = strcmp(f->kind, "u32") == 0 ? 0 : f->handle;
		snprintf(op->filter_kind, sizeof(op->filter_kind), "%s", f->kind);
	}
}

static bool used(const struct port *p, const struct tc_qdisc *q)
{
	uint32_t major = TC_H_MAJ(q->handle);

	return (p->hooks.sent != 0 && TC_H_MAJ(p->hooks.sent) == major) ||
	       (p->hooks.received != 0 && TC_H_MAJ(p->hooks.received) == major);
}

/* A qdisc of ours that is in the way goes first, one that nobody needs goes last; a note lives on
 * as long as its qdisc. */
static void settle_qdisc(struct port *p, const struct tc_qdisc *q, const struct note *had,
			 bool ours, bool clear)
{
	struct note note;

	if (!had)
		return;
	if (ours && clear)
		drop_qdisc(p, q, OP_QDISC_CLEAR);
	else if (ours && !used(p, q))
		drop_qdisc(p, q, OP_QDISC_DEL);
	note = *had;
	memcpy(note.port, p->link->name, sizeof(note.port)); /* it may have been renamed */
	add_note(p, &note);
}

/* The way of attaching: the first session's that has one; others must go along with it. */
static enum attach how_to_attach(struct work *w, const struct want *wants, size_t nwants)
{
	enum attach how = ATTACH_AUTO;

	for (size_t i = 0; i < nwants; i++) {
		enum attach own = wants[i].direct != DIRECT_NONE
					  ? ATTACH_CLSACT
					  : w->plan->states[wants[i].state].session->attach;

		if (how == ATTACH_AUTO)
			how = own;
		else if (own != ATTACH_AUTO && own != how)
			plan_stuck(w, wants[i].state, "attached as %s, because another session is",
				   attach_name(how));
	}
	return how;
}

void plan_port(struct work *w, const struct nl_link *link, const struct want *wants, size_t nwants)
{
	struct port p = port_look(w, link);
	unsigned wanted = 0;

	p.done = calloc(p.nfilters + 1, sizeof(*p.done));
	if (!p.done) {
		w->failed = true;
		return;
	}
	for (size_t i = 0; i < nwants; i++)
		wanted |= wants[i].direction;
	if (nwants > 0)
		p.hooks = attach_decide(&p.qdiscs, how_to_attach(w, wants, nwants),
					(enum direction)wanted, !w->in->lacks.prio);
	settle_qdisc(&p, p.qdiscs.ingress, p.ingress_note, p.qdiscs.ingress_ours,
		     p.hooks.clear_ingress);
	settle_qdisc(&p, p.qdiscs.root, p.root_note, p.qdiscs.root_ours, false);
	if (nwants > 0) {
		add_qdisc(&p, &p.hooks.ingress, wants[0].state);
		add_qdisc(&p, &p.hooks.root, wants[0].state);
	}
	put_filters(&p, wants, nwants);
	drop_filters(&p);
	free(p.done);
}
