/* SPDX-License-Identifier: MIT */
/* Which engine copies for each session. */
#include <stdlib.h>

#include "base/mem.h"
#include "portmirror/plan_work.h"

/*
 * A tcx link is made, and goes, while rtnetlink waits for all CPUs (kernel/bpf/tcx.c,
 * tcx_entry_sync()): 13 ms each, measured with HZ=250. For so many ports, both ways, that is three
 * seconds in which nobody else gets much done with devices; a filter takes 0.1 ms.
 */
#define TCX_PORTS_MAX 100

/* Sessions whose engine is open and that share destinations, one with the next: they get the same,
 * for two engines know nothing of each other's copies. */
struct company {
	size_t *members; /* numbers in plan.states */
	size_t count;
	bool *joined;		   /* by state */
	bool firm[ENGINE_BPF + 1]; /* engines of other sessions to these destinations */
	bool had[ENGINE_BPF + 1];  /* engines that members have in the kernel */
	size_t ports;
};

static bool copies(const struct work *w, size_t state)
{
	const struct saved *saved = &w->in->sessions->items[state];

	return !saved->broken && !saved->session.suspended && saved->session.mode == MODE_MIRROR;
}

/* Why this host can't do with eBPF; NULL: it can. */
static const char *no_bpf(const struct work *w)
{
	if (*w->in->lacks.copy)
		return w->in->lacks.copy;
	if (!plan_by_tcx(w) && w->in->lacks.bpf)
		return "this kernel has neither tcx (Linux 6.6) nor cls_bpf";
	return *w->in->host->no_pins ? w->in->host->no_pins : NULL;
}

/* The engine, as far as session and host tell; ENGINE_AUTO: it is open. What tc can't do is bpf's;
 * a session that says which qdiscs to use is tc's. */
static enum engine_kind firm_engine(struct work *w, int state, const struct session *s)
{
	const char *only = session_needs_bpf(s), *why = no_bpf(w);
	enum engine_kind preferred = w->in->preferred;

	if (s->engine == ENGINE_TC || w->in->tc_only)
		return ENGINE_TC;
	if (s->engine == ENGINE_BPF || only) {
		if (why)
			plan_say(w, state, STATE_FAILED, "the engine bpf%s%s%s can't be had: %s",
				 only ? " (for " : "", only ? only : "", only ? ")" : "", why);
		return ENGINE_BPF;
	}
	if (s->attach != ATTACH_AUTO || preferred == ENGINE_TC ||
	    (preferred == ENGINE_AUTO && !w->in->host->tcx))
		return ENGINE_TC;
	if (!why)
		return preferred;
	plan_say(w, state, STATE_WHOLE, "by the engine tc, because bpf can't be had: %s", why);
	return ENGINE_TC;
}

bool plan_share_destination(const struct session_state *a, const struct session_state *b)
{
	for (size_t i = 0; i < a->session->nto; i++)
		for (size_t j = 0; a->to[i] && j < b->session->nto; j++)
			if (a->to[i] == b->to[j])
				return true;
	return false;
}

static void join(struct company *c, size_t state)
{
	if (!c->joined[state])
		c->members[c->count++] = state;
	c->joined[state] = true;
}

/* Takes in those who share a destination with the member at that place. */
static void meet(const struct work *w, struct company *c, size_t at)
{
	const struct session_state *member = &w->plan->states[c->members[at]];

	for (size_t i = 0; i < w->plan->nstates; i++) {
		const struct session_state *other = &w->plan->states[i];

		if (!copies(w, i) || !plan_share_destination(member, other))
			continue;
		if (other->engine != ENGINE_AUTO)
			c->firm[other->engine] = true;
		else
			join(c, i);
	}
	c->had[ENGINE_TC] |= member->action != 0;
	c->had[ENGINE_BPF] |= host_copier(w->in->host, member->session->name) != NULL;
	c->ports += member->from.count;
}

/* What they have they keep, so that no session changes because one port comes. */
static enum engine_kind agree(const struct company *c)
{
	if (c->firm[ENGINE_TC] != c->firm[ENGINE_BPF])
		return c->firm[ENGINE_TC] ? ENGINE_TC : ENGINE_BPF;
	if (c->had[ENGINE_TC] != c->had[ENGINE_BPF])
		return c->had[ENGINE_TC] ? ENGINE_TC : ENGINE_BPF;
	return c->ports > TCX_PORTS_MAX ? ENGINE_TC : ENGINE_BPF;
}

static void settle_company(struct work *w, size_t first, size_t *members, bool *joined)
{
	struct company c = {.members = members, .joined = joined};
	enum engine_kind engine;

	join(&c, first);
	for (size_t at = 0; at < c.count; at++)
		meet(w, &c, at);
	engine = agree(&c);
	for (size_t i = 0; i < c.count; i++)
		w->plan->states[members[i]].engine = engine;
}

void plan_engines(struct work *w)
{
	size_t count = w->plan->nstates;
	size_t *members cleanup(free_at) = calloc(count + 1, sizeof(*members));
	bool *joined cleanup(free_at) = calloc(count + 1, sizeof(*joined));

	if (!members || !joined) {
		w->failed = true;
		return;
	}
	for (size_t i = 0; i < count; i++)
		if (copies(w, i))
			w->plan->states[i].engine =
				firm_engine(w, (int)i, w->plan->states[i].session);
	for (size_t i = 0; i < count; i++)
		if (copies(w, i) && w->plan->states[i].engine == ENGINE_AUTO)
			settle_company(w, i, members, joined);
}
