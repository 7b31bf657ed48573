/* SPDX-License-Identifier: MIT */
/* In-line sessions: what must be pinned and attached for each, what is, and what leads from one to
 * the other. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "portmirror/inliner.h"
#include "portmirror/once.h"
#include "portmirror/plan_work.h"

/* What is planned for one session. */
struct lead {
	struct work *w;
	bool *needed; /* for each pin */
	int state;
	const struct pin *programs[INLINE_PROGRAMS]; /* NULL: to be loaded */
	struct op scrap;
};

static const struct session_state *st_of(const struct lead *l)
{
	return &l->w->plan->states[l->state];
}

/* The pin, which is needed from now on; NULL: there is none of that kind. */
static const struct pin *pin(struct lead *l, const char *name, enum pin_kind kind)
{
	const struct pins *pins = &l->w->in->host->pins;
	const struct pin *found = pins_find(pins, st_of(l)->session->name, name);

	if (!found || found->kind != kind)
		return NULL;
	l->needed[found - pins->items] = true;
	return found;
}

/* A folder that a crash left empty is filled again: the session's, and the one around it. */
static void need_folders(struct lead *l)
{
	const struct pins *pins = &l->w->in->host->pins;
	const struct pin *house = pins_find(pins, "", "");

	(void)pin(l, "", PIN_FOLDER);
	if (house)
		l->needed[house - pins->items] = true;
}

static struct op *put(struct lead *l, enum op_kind kind, int ifindex, const char *name)
{
	struct op *op = plan_op(l->w, kind, l->state, ifindex, &l->scrap);

	snprintf(op->owner, sizeof(op->owner), "%s", st_of(l)->session->name);
	snprintf(op->pin, sizeof(op->pin), "%s", name);
	return op;
}

static int by_id(const void *a, const void *b)
{
	const uint32_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

/* True where all maps are there; ids: ascending. */
static bool has_maps(struct lead *l, uint32_t ids[INLINE_MAPS])
{
	char name[PIN_NAME];
	bool all = true;

	for (int i = 0; i < INLINE_MAPS; i++) {
		const struct pin *map;

		inliner_map_name((enum inline_map)i, name);
		map = pin(l, name, PIN_MAP);
		all &= map != NULL;
		ids[i] = map ? map->id : 0;
	}
	qsort(ids, INLINE_MAPS, sizeof(*ids), by_id);
	return all;
}

/* A program has some of the session's maps, and no other. */
static bool uses(const struct pin *program, const uint32_t *ids)
{
	for (size_t i = 0; i < program->nmaps; i++)
		if (!bsearch(&program->maps[i], ids, INLINE_MAPS, sizeof(*ids), by_id))
			return false;
	return program->nmaps > 0;
}

/* True where all of them are loaded. */
static bool has_programs(struct lead *l, const uint32_t *ids)
{
	char name[PIN_NAME];
	bool all = true;

	for (int i = 0; i < INLINE_PROGRAMS; i++) {
		inliner_program_name((enum inline_program)i, &l->w->in->filters[l->state], name);
		l->programs[i] = pin(l, name, PIN_PROGRAM);
		if (l->programs[i] && !uses(l->programs[i], ids))
			l->programs[i] = NULL;
		all &= l->programs[i] != NULL;
	}
	return all;
}

static void make_state(const struct lead *l, struct inline_state *state)
{
	const struct session_state *st = st_of(l);

	*state = (struct inline_state){
		.inside = INLINE_NOWHERE,
		.outside = INLINE_NOWHERE,
		.open = st->session->on_failure == ON_FAILURE_OPEN,
		.bridge = (uint32_t)st->bridge,
		.direct = st->session->appliance == APPLIANCE_BRIDGE,
	};
	if (st->through[SIDE_INSIDE] != 0)
		state->inside = (uint32_t)st->through[SIDE_INSIDE];
	if (st->through[SIDE_OUTSIDE] != 0)
		state->outside = (uint32_t)st->through[SIDE_OUTSIDE];
	for (int side = 0; side < SIDES; side++) {
		const struct nl_link *link =
			nl_link_by_index(&l->w->in->host->links, st->through[side]);

		if (link && link->has_mac)
			memcpy(state->own[side].address, link->mac, sizeof(link->mac));
	}
}

/* A link of its own for each place. It must run first: what the appliance doesn't let through is no
 * traffic of the machine, and isn't to be copied. */
static void plan_link(struct lead *l, enum inline_program which, int ifindex)
{
	const struct pin *program = l->programs[which], *link;
	bool egress = inliner_egress(which);
	char name[PIN_NAME];
	struct op *op;

	inliner_link_name(which, ifindex, name);
	link = pin(l, name, PIN_LINK);
	if (link && (link->ifindex != ifindex || link->egress != egress || link->behind))
		link = NULL; /* to be made anew in its place */
	if (link && program && link->program == program->id)
		return;
	op = put(l, OP_INLINE_LINK, ifindex, name);
	op->inline_program = which;
	op->received = egress;
	op->replace = link != NULL;
}

static void plan_guard_links(struct lead *l, const struct ifindexes *ports)
{
	for (size_t i = 0; i < ports->count; i++) {
		plan_link(l, INLINE_TO_MACHINE, ports->items[i]);
		plan_link(l, INLINE_FROM_MACHINE, ports->items[i]);
	}
}

static void plan_links(struct lead *l)
{
	const struct session_state *st = st_of(l);

	/* First what gets frames out of the appliance, then what leads them in. */
	if (st->through[SIDE_INSIDE] != 0)
		plan_link(l, INLINE_FROM_INSIDE, st->through[SIDE_INSIDE]);
	if (st->through[SIDE_OUTSIDE] != 0)
		plan_link(l, INLINE_FROM_OUTSIDE, st->through[SIDE_OUTSIDE]);
	plan_guard_links(l, &st->from);
	plan_guard_links(l, &st->barred);
}

/* What is to be told to programs that there are. */
static void plan_state_of(struct lead *l, const struct inliner *have,
			  const struct inline_state *wanted)
{
	const struct session_state *st = st_of(l);
	struct inline_state state = *wanted;
	size_t known = 0;

	state.key = have->state.key;
	for (size_t i = 0; i < st->from.count; i++)
		known += inliner_has(have, st->from.items[i]);
	if (known < st->from.count || memcmp(&state, &have->state, sizeof(state)) != 0)
		put(l, OP_INLINE_STATE, 0, "")->inline_state = state;
	if (known < have->nports)
		put(l, OP_INLINE_FORGET, 0, "");
}

/* What keeps programs from being loaded, as far as it is known, is told before anything is done. */
static bool can_load(struct lead *l)
{
	struct once_program front = {0};
	struct err why = {0};

	if (*l->w->in->lacks.lead) {
		plan_say(l->w, l->state, STATE_FAILED, "%s", l->w->in->lacks.lead);
		return false;
	}
	if (once_build_verdict(&l->w->in->filters[l->state], &front, &why) == 0) {
		once_free(&front);
		return true;
	}
	plan_no_program(l->w, l->state, &why);
	return false;
}

static void keep(struct lead *l)
{
	const struct pins *pins = &l->w->in->host->pins;

	for (size_t i = 0; i < pins->count; i++)
		l->needed[i] |= strcmp(pins->items[i].session, st_of(l)->session->name) == 0;
}

static void rest(struct lead *l)
{
	struct inline_state state;

	keep(l);
	make_state(l, &state);
	if (st_of(l)->held)
		plan_state_of(l, host_inliner(l->w->in->host, st_of(l)->session->name), &state);
}

static void plan_lead(struct lead *l)
{
	const struct inliner *have = host_inliner(l->w->in->host, st_of(l)->session->name);
	struct inline_state state;
	uint32_t ids[INLINE_MAPS];
	bool maps = has_maps(l, ids), programs = has_programs(l, ids) && maps;

	need_folders(l);
	if (!programs && !can_load(l)) {
		plan_rest_inline(l->w, l->state);
		if (st_of(l)->rests)
			rest(l);
		return;
	}
	if (!programs) /* all: they are loaded together, and each link gets the new one */
		memset(l->programs, 0, sizeof(l->programs));
	make_state(l, &state);
	if (!maps || !have)
		put(l, OP_INLINE_MAPS, 0, "")->inline_state = state;
	else
		plan_state_of(l, have, &state);
	if (!programs)
		put(l, OP_INLINE_PROGRAMS, 0, "");
	l->w->loads[l->state] = !programs;
	if (plan_by_tcx(l->w))
		plan_links(l); /* else see plan_direct.c */
}

void plan_inlines(struct work *w, bool *needed)
{
	for (size_t i = 0; i < w->plan->nstates; i++) {
		struct lead l = {.w = w, .needed = needed, .state = (int)i};

		if (plan_is_kept(w, i))
			keep(&l);
		else if (st_of(&l)->rests)
			rest(&l);
		else if (st_of(&l)->session->mode == MODE_INLINE && plan_lives(st_of(&l)))
			plan_lead(&l);
	}
}
