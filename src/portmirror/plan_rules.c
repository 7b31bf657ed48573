/* SPDX-License-Identifier: MIT */
/* Which filters must look whether a frame was copied already, and the programs that do. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "portmirror/plan_work.h"

/* A want, and one of the places where its copies are told apart: a destination; or, of a session
 * that leaves something out, only the session, so that others' copies of that are not suppressed.
 */
struct account {
	int number; /* of the device; or below 0: of the session */
	size_t want;
};

bool plan_alone(const struct session *s)
{
	return s->snap || s->sample || s->rate;
}

static int by_account_and_group(const void *a, const void *b, void *data)
{
	const struct work *w = data;
	const struct account *i = a, *j = b;
	const struct want *x = &w->wants[i->want], *y = &w->wants[j->want];

	if (i->number != j->number)
		return i->number < j->number ? -1 : 1;
	if (x->group != y->group)
		return x->group < y->group ? -1 : 1;
	return x < y ? -1 : x > y;
}

/*
 * Of the wants of one account on one bridge: could two of them see one frame? Two sessions on
 * the same port can; two ports can unless both look only at frames that enter.
 */
static bool overlap(const struct work *w, const struct account *order, size_t count)
{
	bool received = false, two_ports = false;
	unsigned seen = 0; /* directions that sessions before this one want of the same port */

	for (size_t i = 0; i < count; i++) {
		const struct want *a = &w->wants[order[i].want];

		/* The order is that of the wants, in which those of one port are neighbours. */
		if (i > 0 && w->wants[order[i - 1].want].ifindex != a->ifindex) {
			two_ports = true;
			seen = 0;
		}
		if (seen & a->direction)
			return true;
		seen |= a->direction;
		received |= (a->direction & DIRECTION_RECEIVED) != 0;
	}
	return two_ports && received;
}

static size_t list_accounts(const struct work *w, struct account *list)
{
	size_t count = 0;

	for (size_t i = 0; i < w->nwants; i++) {
		const struct session_state *st = &w->plan->states[w->wants[i].state];

		if (w->wants[i].direct == DIRECT_CUTS)
			continue; /* it copies nothing */
		if (plan_alone(st->session)) {
			list[count++] = (struct account){-1 - w->wants[i].state, i};
			continue;
		}
		for (size_t j = 0; j < st->session->nto; j++)
			if (st->to[j])
				list[count++] = (struct account){st->to[j], i};
	}
	return count;
}

/* Each engine has its own cells: what one has copied the other doesn't know. Said once for each
 * session of the engine bpf. */
static void say_doubled(struct work *w, const struct account *order, size_t count, bool *said)
{
	const struct session_state *by_tc = NULL;

	for (size_t i = 0; i < count; i++) {
		const struct session_state *st = &w->plan->states[w->wants[order[i].want].state];

		if (st->engine == ENGINE_TC)
			by_tc = st;
	}
	for (size_t i = 0; by_tc && i < count; i++) {
		int state = w->wants[order[i].want].state;

		if (w->plan->states[state].engine == ENGINE_TC || said[state])
			continue;
		said[state] = true;
		plan_say(w, state, STATE_PARTIAL,
			 "frames that %s copies there too, by the engine tc, arrive twice: one "
			 "engine can't know what the other has copied",
			 by_tc->session->name);
	}
}

void plan_once(struct work *w)
{
	struct account *order cleanup(free_at) =
		calloc(w->nwants * SESSION_TO_MAX + 1, sizeof(*order));
	bool *said cleanup(free_at) = calloc(w->plan->nstates + 1, sizeof(*said));
	size_t end, count;

	if (!order || !said) {
		w->failed = true;
		return;
	}
	count = list_accounts(w, order);
	qsort_r(order, count, sizeof(*order), by_account_and_group, w);
	for (size_t start = 0; start < count; start = end) {
		const struct want *first = &w->wants[order[start].want];

		for (end = start; end < count; end++)
			if (w->wants[order[end].want].group != first->group ||
			    order[end].number != order[start].number)
				break;
		if (!overlap(w, &order[start], end - start))
			continue;
		for (size_t i = start; i < end; i++)
			w->wants[order[i].want].once = true;
		say_doubled(w, &order[start], end - start, said);
	}
}

/* The map that programs of this destination use in the kernel already; 0: none. (Their actions may
 * still have another device: a sensor that restarts keeps its map.) */
static uint32_t map_in_use(const struct work *w, int to_ifindex)
{
	for (size_t i = 0; i < w->in->host->filters.count; i++) {
		const struct tc_filter *f = &w->in->host->filters.items[i];
		int owner;
		uint32_t map;

		if (f->bpf_id == 0 || !ours_filter(f, w->in->house))
			continue;
		owner = plan_owner(w, f->actions[0].index);
		if (owner < 0 || w->plan->states[owner].to_ifindex != to_ifindex)
			continue;
		map = host_map_of(w->in->host, f->bpf_id);
		if (map != 0)
			return map;
	}
	return 0;
}

/* The id of the program, where the kernel has it with that map. */
static uint32_t loaded(const struct work *w, const char *name, uint32_t map)
{
	for (size_t i = 0; map != 0 && i < w->in->host->filters.count; i++) {
		const struct tc_filter *f = &w->in->host->filters.items[i];

		if (f->bpf_id != 0 && ours_filter(f, w->in->house) &&
		    strcmp(f->bpf_name, name) == 0 && host_map_of(w->in->host, f->bpf_id) == map)
			return f->bpf_id;
	}
	return 0;
}

static uint32_t map_of_destination(const struct work *w, int to_ifindex)
{
	for (size_t i = 0; i < w->plan->nprograms; i++)
		if (w->plan->programs[i].to_ifindex == to_ifindex)
			return w->plan->programs[i].map_id;
	return map_in_use(w, to_ifindex);
}

/* Builds the program and finds what the kernel has of it. Returns its number, or -1. */
static int add_program(struct work *w, int state, bool received)
{
	const struct session_state *st = &w->plan->states[state];
	struct plan_program p = {.to_ifindex = st->to_ifindex};
	struct err why = {0};

	if (once_build(&w->in->filters[state], st->action, received, w->in->host->key, &p.program,
		       &why) < 0) {
		plan_no_program(w, state, &why);
		return -1;
	}
	if (array_room(&w->plan->programs, &w->plan->programs_room, w->plan->nprograms,
		       sizeof(*w->plan->programs)) < 0) {
		once_free(&p.program);
		w->failed = true;
		return -1;
	}
	/* The same words as tc(8) has for a program that it takes from bpffs. */
	snprintf(p.name, sizeof(p.name), "%s:[*fsobj]", p.program.name);
	p.map_id = map_of_destination(w, p.to_ifindex);
	p.loaded = loaded(w, p.name, p.map_id);
	w->plan->programs[w->plan->nprograms] = p;
	return (int)w->plan->nprograms++;
}

int plan_program(struct work *w, int state, bool received)
{
	int *number = &w->program_of[2 * state + received];

	if (*number == 0)
		*number = add_program(w, state, received) + 1;
	return *number - 1;
}
