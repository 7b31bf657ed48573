/* SPDX-License-Identifier: MIT */
/* Which filters must look whether a frame was copied already, and the programs that do. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "portmirror/plan_work.h"

static int by_destination_and_group(const void *a, const void *b, void *data)
{
	const struct work *w = data;
	const struct want *x = &w->wants[*(const size_t *)a], *y = &w->wants[*(const size_t *)b];
	int to_x = w->plan->states[x->state].to_ifindex,
	    to_y = w->plan->states[y->state].to_ifindex;

	if (to_x != to_y)
		return to_x < to_y ? -1 : 1;
	if (x->group != y->group)
		return x->group < y->group ? -1 : 1;
	return x < y ? -1 : x > y;
}

/*
 * Of the wants of one destination on one bridge: could two of them see one frame? Two sessions on
 * the same port can; two ports can unless both look only at frames that enter.
 */
static bool overlap(const struct work *w, const size_t *order, size_t count)
{
	bool received = false, two_ports = false;
	unsigned seen = 0; /* directions that sessions before this one want of the same port */

	for (size_t i = 0; i < count; i++) {
		const struct want *a = &w->wants[order[i]];

		/* The order is that of the wants, in which those of one port are neighbours. */
		if (i > 0 && w->wants[order[i - 1]].ifindex != a->ifindex) {
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

void plan_once(struct work *w)
{
	size_t *order cleanup(free_at) = calloc(w->nwants + 1, sizeof(*order));
	size_t end;

	if (!order) {
		w->failed = true;
		return;
	}
	for (size_t i = 0; i < w->nwants; i++)
		order[i] = i;
	qsort_r(order, w->nwants, sizeof(*order), by_destination_and_group, w);
	for (size_t start = 0; start < w->nwants; start = end) {
		const struct want *first = &w->wants[order[start]];
		int to = w->plan->states[first->state].to_ifindex;

		for (end = start; end < w->nwants; end++) {
			const struct want *other = &w->wants[order[end]];

			if (other->group != first->group ||
			    w->plan->states[other->state].to_ifindex != to)
				break;
		}
		if (!overlap(w, &order[start], end - start))
			continue;
		for (size_t i = start; i < end; i++)
			w->wants[order[i]].once = true;
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

	if (once_build(&w->in->filters[state], st->action, received, &p.program, &why) < 0) {
		plan_say(w, state, STATE_FAILED, "filter: %s", why.text);
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
