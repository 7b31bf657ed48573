/* SPDX-License-Identifier: MIT */
/* Programs as direct-action filters at clsact, where the kernel has no tcx: where they can hang,
 * and what leads from those that there are to those that there must be. */
#include <linux/if_ether.h>
#include <linux/pkt_sched.h>
#include <stdio.h>
#include <string.h>

#include "portmirror/copier.h"
#include "portmirror/inliner.h"
#include "portmirror/plan_port.h"

bool plan_by_tcx(const struct work *w)
{
	return w->in->host->tcx && w->in->preferred != ENGINE_TC;
}

/* Only at clsact's hooks a program's answer means what it does at tcx's: another qdisc's filters
 * choose a class. */
static const char *hindrance(const struct port *p, enum attach others)
{
	if (others == ATTACH_CLASSIC)
		return "another session attaches there as classic";
	if (attach_decide(&p->qdiscs, ATTACH_CLSACT, DIRECTION_BOTH, true).why_not)
		return "another qdisc is where clsact would be";
	return NULL;
}

static void say_why_not(const struct port *p, const struct want *want, const char *why)
{
	const struct session *s = p->w->plan->states[want->state].session;
	const char *port = p->link->name;

	if (want->direct == DIRECT_LEADS)
		plan_stuck(p->w, want->state,
			   "%s can't be part of an in-line session without tcx (Linux 6.6): %s",
			   port, why);
	else if (want->direct == DIRECT_COPIES)
		plan_stuck(p->w, want->state,
			   "%s can't be mirrored by the engine bpf without tcx (Linux 6.6): %s%s",
			   port, why,
			   session_needs_bpf(s) ? "" : "; the engine tc goes along with that");
	else /* whoever asks for a part of each frame isn't to get the whole */
		plan_say(p->w, want->state, STATE_FAILED,
			 "copies can't be shortened at %s without tcx (Linux 6.6): %s", port, why);
	if (want->direct == DIRECT_LEADS && want->direction == DIRECTION_BOTH) /* guarded */
		plan_say(p->w, want->state, STATE_PARTIAL,
			 "meanwhile all frames of %s go straight on", port);
}

static void check_port(struct work *w, const struct nl_link *link, struct want *wants,
		       size_t nwants)
{
	struct port p = port_look(w, link);
	enum attach how = ATTACH_AUTO; /* the first that says so: as in plan_port.c */

	for (size_t i = 0; i < nwants; i++) {
		const struct session *s = w->plan->states[wants[i].state].session;
		const char *why = NULL;

		if (wants[i].direct != DIRECT_NONE)
			why = hindrance(&p, how);
		wants[i].stuck = why != NULL;
		if (why)
			say_why_not(&p, &wants[i], why);
		else if (how == ATTACH_AUTO)
			how = wants[i].direct != DIRECT_NONE ? ATTACH_CLSACT : s->attach;
	}
}

static bool copies(const struct work *w, int state)
{
	for (size_t i = 0; i < w->nwants; i++)
		if (w->wants[i].state == state && w->wants[i].direct == DIRECT_COPIES &&
		    !w->wants[i].stuck)
			return true;
	return false;
}

void plan_check_directs(struct work *w)
{
	const struct nl_links *links = &w->in->host->links;
	size_t end;

	for (size_t start = 0; start < w->nwants; start = end) {
		const struct nl_link *link = NULL;
		bool any = false;

		for (end = start; end < w->nwants; end++) {
			if (w->wants[end].ifindex != w->wants[start].ifindex)
				break;
			any |= w->wants[end].direct != DIRECT_NONE;
		}
		if (any)
			link = nl_link_by_index(links, w->wants[start].ifindex);
		if (link)
			check_port(w, link, &w->wants[start], end - start);
	}
	for (size_t i = 0; i < w->nwants; i++)
		w->wants[i].stuck |=
			w->wants[i].direct == DIRECT_CUTS && !copies(w, w->wants[i].state);
}

/* In front of all that copies, for what an appliance doesn't let through isn't to be copied; and of
 * what is others', where there is room: it could let frames go past the appliance. */
static uint16_t lead_pref(const struct port *p, uint32_t parent)
{
	unsigned pref = PREF - 1;

	for (size_t i = 0; i < p->nfilters; i++)
		if (p->filters[i].parent == parent && p->filters[i].chain == 0 &&
		    p->filters[i].pref <= pref)
			pref = p->filters[i].pref > 1 ? p->filters[i].pref - 1u : 1;
	while (port_any_pref(p, parent, pref))
		pref++;
	return (uint16_t)pref;
}

bool port_shares_pref(const struct port *p, const struct tc_filter *f)
{
	enum direct does = direct_does(f, p->w->in->house);

	if (f->chain != 0 || f->protocol != ETH_P_ALL)
		return false; /* the kernel takes one protocol a preference; somebody has made it */
	return does == DIRECT_COPIES || does == DIRECT_CUTS ||
	       (ours_filter(f, p->w->in->house) && strcmp(f->kind, "bpf") == 0);
}

/* A filter has this handle at that preference, or will have. */
static bool taken(const struct port *p, const struct tc_rule *rule)
{
	const struct plan *plan = p->w->plan;

	for (size_t i = 0; i < p->nfilters; i++)
		if (p->filters[i].parent == rule->parent && p->filters[i].pref == rule->pref &&
		    p->filters[i].handle == rule->handle)
			return true;
	for (size_t i = plan->nops; i-- > 0 && plan->ops[i].ifindex == p->ifindex;)
		if (plan->ops[i].kind == OP_FILTER_PUT &&
		    plan->ops[i].rule.parent == rule->parent &&
		    plan->ops[i].rule.pref == rule->pref &&
		    plan->ops[i].rule.handle == rule->handle)
			return true;
	return false;
}

static void choose_place(const struct port *p, enum direct does, struct tc_rule *rule)
{
	rule->handle = 1;
	if (does == DIRECT_LEADS) {
		rule->pref = lead_pref(p, rule->parent);
		return;
	}
	rule->pref = port_shared_pref(p, rule->parent);
	while (taken(p, rule))
		rule->handle++;
}

static enum inline_program lead_program(const struct session_state *st, int ifindex, bool received)
{
	if (ifindex == st->through[SIDE_INSIDE])
		return INLINE_FROM_INSIDE;
	if (ifindex == st->through[SIDE_OUTSIDE])
		return INLINE_FROM_OUTSIDE;
	return received ? INLINE_TO_MACHINE : INLINE_FROM_MACHINE;
}

/* What hangs there, and where its program is pinned. */
static void name_program(const struct port *p, const struct want *want, bool received,
			 struct op *op)
{
	const struct session_state *st = &p->w->plan->states[want->state];
	const struct bytecode *code = &p->w->in->filters[want->state];

	op->direct = want->direct;
	op->cuts = want->direct == DIRECT_CUTS;
	op->received = received;
	if (want->direct != DIRECT_CUTS) /* those are all sessions' */
		snprintf(op->owner, sizeof(op->owner), "%s", st->session->name);
	if (want->direct == DIRECT_LEADS) {
		op->inline_program = lead_program(st, p->ifindex, received);
		inliner_program_name(op->inline_program, code, op->pin);
	} else if (want->direct == DIRECT_COPIES) {
		copier_front_name(code, received, op->pin);
	} else {
		copier_cut_name(op->pin);
	}
	direct_name(want->direct, p->w->in->house, op->owner, op->pin, op->direct_name);
}

/* The filter that does this at the hook already; NULL: there is none. Of several, the others go. */
static const struct tc_filter *find_direct(const struct port *p, uint32_t parent,
					   const struct op *op)
{
	for (size_t i = 0; i < p->nfilters; i++)
		if (!p->done[i] && p->filters[i].parent == parent && p->filters[i].chain == 0 &&
		    direct_is(&p->filters[i], op->direct, p->w->in->house, op->owner)) {
			p->done[i] = true;
			return &p->filters[i];
		}
	return NULL;
}

/* It has the program that is pinned, which stays. */
static bool same(const struct port *p, const struct tc_filter *f, const struct op *op, int state)
{
	const struct pin *pin = pins_find(&p->w->in->host->pins, op->owner, op->pin);
	size_t loader = op->direct == DIRECT_CUTS ? p->w->plan->nstates : (size_t)state;

	return !p->w->loads[loader] && strcmp(f->bpf_name, op->direct_name) == 0 && pin &&
	       pin->kind == PIN_PROGRAM && f->bpf_id == pin->id;
}

static void put_at(struct port *p, const struct want *want, uint32_t parent, bool received)
{
	struct op wanted = {.rule = {.ifindex = p->ifindex,
				     .parent = parent,
				     .match = TC_MATCH_PROGRAM,
				     .program_fd = -1}};
	const struct tc_filter *have;
	struct op *op;

	name_program(p, want, received, &wanted);
	have = find_direct(p, parent, &wanted);
	if (have) {
		wanted.rule.pref = have->pref;
		wanted.rule.handle = have->handle;
	} else {
		choose_place(p, want->direct, &wanted.rule);
	}
	if (want->direct == DIRECT_LEADS)
		p->leads[received] = wanted.rule.pref;
	if (have && same(p, have, &wanted, want->state))
		return;
	op = plan_op(p->w, OP_FILTER_PUT, want->state, p->ifindex, &p->scrap);
	wanted.kind = op->kind;
	wanted.session = op->session;
	wanted.ifindex = op->ifindex;
	wanted.program = op->program;
	wanted.replace = have != NULL;
	memcpy(wanted.port, op->port, sizeof(wanted.port));
	*op = wanted;
}

void port_put_direct(struct port *p, const struct want *want)
{
	/* What shortens copies is all sessions'. */
	if (want->direct == DIRECT_CUTS && p->cut)
		return;
	p->cut |= want->direct == DIRECT_CUTS;
	if (want->direction & DIRECTION_SENT)
		put_at(p, want, p->hooks.sent, false);
	if (want->direction & DIRECTION_RECEIVED)
		put_at(p, want, p->hooks.received, true);
}
