/* SPDX-License-Identifier: MIT */
/* What the engine bpf must have pinned for each session, what it has, and what leads from one to
 * the other. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/hash.h"
#include "base/mem.h"
#include "bpf/copy_load.h"
#include "portmirror/copier.h"
#include "portmirror/once.h"
#include "portmirror/plan_work.h"

struct copies {
	struct work *w;
	/* Those of the engine bpf are among them. */
	const struct want *wants;
	size_t nwants;
	bool *needed; /* for each pin */
	struct op scrap;
};

/* What hangs on tcx links to an array of its own. */
void plan_split(struct work *w)
{
	size_t kept = 0;

	w->copies = calloc(w->nwants + 1, sizeof(*w->copies));
	if (!w->copies) {
		w->failed = true;
		return;
	}
	for (size_t i = 0; i < w->nwants; i++) {
		if (plan_by_tcx(w) && w->plan->states[w->wants[i].state].engine == ENGINE_BPF)
			w->copies[w->ncopies++] = w->wants[i];
		else
			w->wants[kept++] = w->wants[i];
	}
	w->nwants = kept;
}

/* The pin of that name, if it is of that kind. Whatever has the name stays: where it isn't as it
 * should be, it is replaced. */
static const struct pin *need(struct copies *c, const char *session, const char *name,
			      enum pin_kind kind)
{
	const struct pin *found = pins_find(&c->w->in->host->pins, session, name);

	if (found)
		c->needed[found - c->w->in->host->pins.items] = true;
	return found && found->kind == kind ? found : NULL;
}

static void need_all_of(struct copies *c, const char *session)
{
	const struct pins *pins = &c->w->in->host->pins;

	for (size_t i = 0; i < pins->count; i++)
		if (strcmp(pins->items[i].session, session) == 0)
			c->needed[i] = true;
}

static struct op *put(struct copies *c, enum op_kind kind, int state, int ifindex, const char *name)
{
	struct op *op = plan_op(c->w, kind, state, ifindex, &c->scrap);

	if (state >= 0)
		snprintf(op->owner, sizeof(op->owner), "%s",
			 c->w->plan->states[state].session->name);
	snprintf(op->pin, sizeof(op->pin), "%s", name);
	return op;
}

static int by_id(const void *a, const void *b)
{
	const uint32_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

/* True where all of the session's maps are there; ids: ascending. */
static bool has_maps(struct copies *c, const char *session, uint32_t ids[COPY_MAPS])
{
	bool all = true;

	for (int i = 0; i < COPY_MAPS; i++) {
		const char *owner = copier_map_shared((enum copy_map)i) ? "" : session;
		const struct pin *map = need(c, owner, copy_map_name((enum copy_map)i), PIN_MAP);

		all &= map != NULL;
		ids[i] = map ? map->id : 0;
	}
	qsort(ids, COPY_MAPS, sizeof(*ids), by_id);
	return all;
}

static bool uses(const struct pin *program, const uint32_t *ids, size_t count)
{
	return program && program->nmaps == count &&
	       memcmp(program->maps, ids, count * sizeof(*ids)) == 0;
}

/* The program that ports have links to, if it is there and works with these maps; else NULL. */
static const struct pin *program_of(struct copies *c, int state, bool received,
				    const uint32_t ids[COPY_MAPS])
{
	const char *session = c->w->plan->states[state].session->name;
	const struct bytecode *filter = &c->w->in->filters[state];
	char name[PIN_NAME];
	const struct pin *program, *chain, *front;

	copier_program_name(received, name);
	program = need(c, session, name, PIN_PROGRAM);
	if (!uses(program, ids, COPY_MAPS))
		program = NULL;
	if (!copier_filters(filter))
		return program;
	copier_chain_name(filter, name);
	chain = need(c, session, name, PIN_MAP);
	copier_filter_name(filter, received, name);
	front = need(c, session, name, PIN_PROGRAM);
	return program && chain && uses(front, &chain->id, 1) ? front : NULL;
}

/* A session's config for how things stand; what it names by hashes stays the same for ever. */
static void make_config(const struct copies *c, int state, struct copy_config *config)
{
	const struct session_state *st = &c->w->plan->states[state];
	const struct session *s = st->session;

	*config = (struct copy_config){
		.to_count = (uint32_t)s->nto,
		.flags = (s->sample_flows ? COPY_SAMPLE_FLOWS : 0) |
			 (s->balance ? COPY_BALANCE : 0) | (plan_alone(s) ? COPY_ALONE : 0),
		.snap = s->snap,
		.sample = s->sample ? UINT32_MAX / s->sample + 1 : 0,
		.rate = s->rate,
		.session = copier_number(s->name),
		.key = c->w->in->host->key,
	};
	for (size_t i = 0; i < c->nwants; i++)
		if (c->wants[i].state == state && c->wants[i].once)
			config->flags |= COPY_ONCE;
	for (size_t i = 0; i < s->nto; i++)
		config->to[i] = (struct copy_to){.ifindex = (uint32_t)st->to[i],
						 .seed = copier_number(s->to[i].text)};
}

/* The link of one port and direction to a program (NULL: it is still to be loaded). */
static void plan_link(struct copies *c, const struct want *want, bool received,
		      const struct pin *program)
{
	char name[PIN_NAME];
	const struct pin *link;
	struct op *op;

	copier_link_name(want->ifindex, received, name);
	link = need(c, c->w->plan->states[want->state].session->name, name, PIN_LINK);
	if (link && (link->ifindex != want->ifindex || link->egress != received))
		link = NULL; /* detached: to be made anew in its place */
	if (link && program && link->program == program->id)
		return;
	op = put(c, OP_COPY_LINK, want->state, want->ifindex, name);
	op->received = received;
	op->replace = link != NULL;
}

static void plan_links(struct copies *c, int state, const struct pin *const programs[2])
{
	for (size_t i = 0; i < c->nwants; i++) {
		const struct want *want = &c->wants[i];

		if (want->state != state)
			continue;
		if (want->direction & DIRECTION_SENT)
			plan_link(c, want, false, programs[0]);
		if (want->direction & DIRECTION_RECEIVED)
			plan_link(c, want, true, programs[1]);
	}
}

/* Somebody before has planned the same. */
static bool planned(const struct copies *c, enum op_kind kind, int ifindex)
{
	for (size_t i = 0; i < c->w->plan->nops; i++)
		if (c->w->plan->ops[i].kind == kind && c->w->plan->ops[i].ifindex == ifindex)
			return true;
	return false;
}

/* What shortens copies, for all sessions; NULL: it is still to be loaded. */
static const struct pin *plan_cut_program(struct copies *c, int state)
{
	const struct pin *map = need(c, "", copy_map_name(COPY_MAP_CUT), PIN_MAP);
	bool *loads = &c->w->loads[c->w->plan->nstates];
	const struct pin *program;
	char name[PIN_NAME];

	copier_cut_name(name);
	program = need(c, "", name, PIN_PROGRAM);
	if (map && uses(program, &map->id, 1))
		return program;
	if (!*loads)
		put(c, OP_CUT_PROGRAM, state, 0, name)->owner[0] = '\0';
	*loads = true;
	return NULL;
}

/* Its links, at each destination of the session. */
static void plan_cut_links(struct copies *c, int state, const struct pin *program)
{
	const struct session_state *st = &c->w->plan->states[state];
	char name[PIN_NAME];

	for (size_t i = 0; i < st->session->nto; i++) {
		const struct pin *link;
		struct op *op;

		if (st->to[i] == 0)
			continue;
		copier_cut_link_name(st->to[i], name);
		link = need(c, "", name, PIN_LINK);
		if (link && link->ifindex != st->to[i])
			link = NULL;
		if ((link && program && link->program == program->id) ||
		    planned(c, OP_CUT_LINK, st->to[i]))
			continue;
		op = put(c, OP_CUT_LINK, state, st->to[i], name);
		op->owner[0] = '\0'; /* all sessions' */
		op->replace = link != NULL;
	}
}

/* A filter that can't run in a classifier is told before anything is done. */
static bool can_filter(struct copies *c, int state)
{
	const struct bytecode *filter = &c->w->in->filters[state];
	struct once_program front = {0};
	struct err why = {0};

	if (!copier_filters(filter))
		return true;
	if (once_build_front(filter, false, &front, &why) == 0) {
		once_free(&front);
		return true;
	}
	plan_no_program(c->w, state, &why);
	return false;
}

static void plan_session(struct copies *c, int state)
{
	const struct session_state *st = &c->w->plan->states[state];
	const char *session = st->session->name;
	const struct copier *have = host_copier(c->w->in->host, session);
	const struct pin *programs[2];
	const struct pin *cut = NULL;
	struct copy_config config;
	uint32_t ids[COPY_MAPS];
	bool maps = has_maps(c, session, ids), load;

	/* (No map has the id 0: without all of them no program will do.) */
	(void)need(c, session, "", PIN_FOLDER);
	(void)need(c, "", "", PIN_FOLDER);
	programs[0] = program_of(c, state, false, ids);
	programs[1] = program_of(c, state, true, ids);
	load = !programs[0] || !programs[1];
	if (load && !can_filter(c, state))
		return;
	if (load) /* both: a pair is loaded together */
		programs[0] = programs[1] = NULL;
	make_config(c, state, &config);
	if (!maps)
		put(c, OP_COPY_MAPS, state, 0, "")->config = config;
	else if (!have || memcmp(&have->config, &config, sizeof(config)) != 0)
		put(c, OP_COPY_CONFIG, state, 0, copy_map_name(COPY_MAP_CONFIG))->config = config;
	if (load)
		put(c, OP_COPY_PROGRAMS, state, 0, "");
	c->w->loads[state] = load;
	if (st->session->snap)
		cut = plan_cut_program(c, state);
	if (!plan_by_tcx(c->w))
		return; /* see plan_direct.c */
	if (st->session->snap)
		plan_cut_links(c, state, cut);
	plan_links(c, state, programs);
}

/* It waits for its destinations: no copy is to go to what is called otherwise by now, or has the
 * index of one that is gone. */
static void rest(struct copies *c, int state)
{
	const char *session = c->w->plan->states[state].session->name;
	const struct copier *have = host_copier(c->w->in->host, session);
	struct copy_config config = have->config;

	need_all_of(c, session);
	need_all_of(c, "");
	for (size_t i = 0; i < COPY_TO_MAX; i++)
		config.to[i].ifindex = 0;
	if (!c->w->in->sessions->items[state].broken &&
	    memcmp(&have->config, &config, sizeof(config)) != 0)
		put(c, OP_COPY_CONFIG, state, 0, copy_map_name(COPY_MAP_CONFIG))->config = config;
}

static bool active(const struct copies *c, int state)
{
	const struct session_state *st = &c->w->plan->states[state];

	if (st->engine != ENGINE_BPF || st->state == STATE_FAILED || st->to_ifindex == 0)
		return false;
	for (size_t i = 0; i < c->nwants; i++)
		if (c->wants[i].state == state)
			return true;
	return false;
}

static int owner_of(const struct work *w, const char *session)
{
	for (size_t i = 0; i < w->plan->nstates; i++)
		if (strcmp(w->plan->states[i].session->name, session) == 0)
			return (int)i;
	return -1;
}

static void drop_the_rest(struct copies *c)
{
	const struct pins *pins = &c->w->in->host->pins;

	for (size_t i = 0; i < pins->count; i++) {
		const struct pin *p = &pins->items[i];
		bool link = p->kind == PIN_LINK;
		struct op *op;

		if (c->needed[i])
			continue;
		op = put(c, link ? OP_UNLINK : OP_UNPIN, owner_of(c->w, p->session),
			 link ? p->ifindex : 0, p->name);
		memcpy(op->owner, p->session, sizeof(op->owner));
		op->received = p->egress;
		op->cuts = link && !*p->session; /* (all sessions' links are for that) */
	}
}

void plan_copies(struct work *w)
{
	const struct pins *pins = &w->in->host->pins;
	bool tcx = plan_by_tcx(w);
	struct copies c = {
		.w = w,
		.wants = tcx ? w->copies : w->wants,
		.nwants = tcx ? w->ncopies : w->nwants,
		.needed = calloc(pins->count + 1, sizeof(*c.needed)),
	};

	if (!c.needed) {
		w->failed = true;
		return;
	}
	for (size_t i = 0; i < w->plan->nstates; i++) {
		if (active(&c, (int)i)) {
			plan_session(&c, (int)i);
		} else if (plan_rests(w, (int)i) &&
			   host_copier(w->in->host, w->plan->states[i].session->name)) {
			rest(&c, (int)i);
		}
	}
	plan_inlines(w, c.needed);
	drop_the_rest(&c);
	free(c.needed);
}
