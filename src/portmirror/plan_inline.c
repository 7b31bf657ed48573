/* SPDX-License-Identifier: MIT */
/* In-line sessions: what they mean now, what must be pinned and attached for each, what is, and
 * what leads from one to the other. */
#include <errno.h>
#include <net/if_arp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "portmirror/inliner.h"
#include "portmirror/once.h"
#include "portmirror/plan_work.h"

static const char *const side_names[] = {[SIDE_INSIDE] = "inside", [SIDE_OUTSIDE] = "outside"};

static const struct nl_link *link_of(const struct work *w, int ifindex)
{
	return nl_link_by_index(&w->in->host->links, ifindex);
}

static const char *name_of(const struct work *w, int ifindex)
{
	const struct nl_link *link = link_of(w, ifindex);

	return link ? link->name : "?";
}

/* What becomes of the frames meanwhile. */
static const char *meanwhile(const struct session *s)
{
	return s->on_failure == ON_FAILURE_OPEN ? "all frames go straight on"
						: "no frame gets through";
}

/* The device that a port of the appliance is now, or 0 and a reason. */
static int resolve_port(struct work *w, int state, enum side side)
{
	const struct session *s = w->plan->states[state].session;
	const struct selector *selector = &s->through[side];
	struct ifindexes found cleanup(ifindexes_free) = {0};
	const struct nl_link *link;
	struct err why = {0};
	int r = selector_resolve(selector, &w->in->host->links, &w->in->host->vms, &found, &why);

	if (r == -ENOMEM) {
		w->failed = true;
		return 0;
	}
	if (r < 0) {
		plan_say(w, state, STATE_FAILED, "through: %s", why.text);
		return 0;
	}
	if (found.count == 0) {
		plan_wait(w, state, STATE_WAITING, "waiting for the appliance's %s port %s: %s",
			  side_names[side], selector->text, meanwhile(s));
		return 0;
	}
	link = link_of(w, found.items[0]);
	if (found.count > 1)
		plan_say(
			w, state, STATE_FAILED,
			"through: %s means %zu devices (%s, %s, …), and the appliance has one port "
			"%s: name its NIC, or the port",
			selector->text, found.count, name_of(w, found.items[0]),
			name_of(w, found.items[1]), side_names[side]);
	else if (!link || link->type != ARPHRD_ETHER)
		plan_say(w, state, STATE_FAILED, "through: %s is no Ethernet device",
			 name_of(w, found.items[0]));
	else if (link->master != 0)
		plan_say(w, state, STATE_FAILED,
			 "through: %s is a port of %s; the appliance's ports must be on no bridge: "
			 "ip link set %s nomaster",
			 link->name, name_of(w, link->master), link->name);
	else
		return link->index;
	return 0;
}

/* Guarded ports are on a bridge, all on the same one, which floods to them. */
static void check_bridge(struct work *w, int state)
{
	struct session_state *st = &w->plan->states[state];
	int bridge = 0;
	size_t kept = 0;

	for (size_t i = 0; i < st->from.count; i++) {
		const struct nl_link *link = link_of(w, st->from.items[i]);

		if (!link || link->master == 0 || strcmp(link->port_kind, "bridge") != 0) {
			plan_stuck(w, state, "%s is on no bridge: it can't be guarded",
				   name_of(w, st->from.items[i]));
			continue;
		}
		if (bridge != 0 && link->master != bridge) {
			plan_stuck(
				w, state,
				"%s is on %s, and others are on %s: machines of two bridges need "
				"two sessions",
				link->name, name_of(w, link->master), name_of(w, bridge));
			continue;
		}
		bridge = link->master;
		st->from.items[kept++] = st->from.items[i];
	}
	st->from.count = kept;
	if (kept > INLINE_PORTS_MAX) {
		plan_stuck(w, state, "%zu guarded ports, more than the %d that a session may have",
			   kept, INLINE_PORTS_MAX);
		st->from.count = INLINE_PORTS_MAX;
	}
}

static bool takes_part(const struct session_state *st, int ifindex)
{
	return st->through[SIDE_INSIDE] == ifindex || st->through[SIDE_OUTSIDE] == ifindex ||
	       ifindexes_have(&st->from, ifindex);
}

/* A device that both sessions would lead frames at. */
static int shared_by(const struct session_state *a, const struct session_state *b)
{
	for (size_t i = 0; i < a->from.count; i++)
		if (takes_part(b, a->from.items[i]))
			return a->from.items[i];
	for (int side = 0; side < SIDES; side++)
		if (a->through[side] != 0 && takes_part(b, a->through[side]))
			return a->through[side];
	return 0;
}

bool plan_stands(const struct work *w, int state)
{
	const struct pins *pins = &w->in->host->pins;
	const char *name = w->plan->states[state].session->name;

	for (size_t i = 0; i < pins->count; i++)
		if (pins->items[i].kind == PIN_PROGRAM && inliner_owns(&pins->items[i]) &&
		    strcmp(pins->items[i].session, name) == 0)
			return host_inliner(w->in->host, name) != NULL;
	return false;
}

bool plan_dead(const struct session_state *st)
{
	return st->state == STATE_FAILED && (!st->held || st->rests);
}

static bool is_newest(const struct work *w, const struct session_state *st)
{
	return w->in->newest && strcmp(st->session->name, w->in->newest) == 0;
}

/* The newest; else the one of which nothing is in the kernel; else the second, by name. */
static bool comes_later(const struct work *w, int state, int other)
{
	const struct session_state *a = &w->plan->states[state], *b = &w->plan->states[other];

	if (is_newest(w, a) || is_newest(w, b))
		return is_newest(w, a);
	return a->in_kernel != b->in_kernel ? b->in_kernel : other < state;
}

static bool lives(const struct session_state *st)
{
	return !plan_dead(st) && st->state != STATE_SUSPENDED;
}

/* A mirror's destinations. For the sake of a mirror no path that stands is given up. */
static void check_destinations(struct work *w, int state, int mirror)
{
	const struct session_state *st = &w->plan->states[state];
	const struct session_state *other = &w->plan->states[mirror];

	for (size_t to = 0; to < other->session->nto && other->state != STATE_FAILED; to++) {
		if (other->to[to] == 0 || (other->to[to] != st->through[SIDE_INSIDE] &&
					   other->to[to] != st->through[SIDE_OUTSIDE]))
			continue;
		if (is_newest(w, other) || (plan_stands(w, state) && !is_newest(w, st)))
			plan_say(w, mirror, STATE_FAILED,
				 "to: %s is a port of the appliance of %s: copies would be led on "
				 "into the network",
				 name_of(w, other->to[to]), st->session->name);
		else
			plan_say(w, state, STATE_FAILED,
				 "%s, a port of the appliance, is the destination of %s: copies "
				 "would be led on into the network",
				 name_of(w, other->to[to]), other->session->name);
	}
}

/* What another session does with the same devices. */
static void check_others(struct work *w, int state)
{
	struct session_state *st = &w->plan->states[state];

	for (size_t i = 0; i < w->plan->nstates && st->state != STATE_FAILED; i++) {
		const struct session_state *other = &w->plan->states[i];
		int port;

		if ((int)i == state || !lives(other))
			continue;
		port = other->session->mode == MODE_INLINE && comes_later(w, state, (int)i)
			       ? shared_by(st, other)
			       : 0;
		if (port != 0)
			plan_say(w, state, STATE_FAILED,
				 "%s takes part in the in-line session %s already",
				 name_of(w, port), other->session->name);
		check_destinations(w, state, (int)i);
	}
}

/* What the appliance is like now, as far as anybody watches it. */
static void tell_health(struct work *w, int state)
{
	const struct session_state *st = &w->plan->states[state];
	const struct inliner *have = host_inliner(w->in->host, st->session->name);

	if (have && have->health.failure != INLINE_WELL && st->through[0] && st->through[1])
		plan_say(w, state, STATE_PARTIAL, "the appliance has failed (%s): %s",
			 inliner_failure_text(have->health.failure), meanwhile(st->session));
}

void plan_resolve_inline(struct work *w, int state)
{
	struct session_state *st = &w->plan->states[state];

	for (int side = 0; side < SIDES; side++)
		st->through[side] = resolve_port(w, state, (enum side)side);
	if (st->through[0] != 0 && st->through[0] == st->through[1])
		plan_say(w, state, STATE_FAILED, "through: %s and %s are the same device, %s",
			 st->session->through[0].text, st->session->through[1].text,
			 name_of(w, st->through[0]));
	if (*w->in->host->no_pins)
		plan_say(w, state, STATE_FAILED, "%s", w->in->host->no_pins);
	else if (*w->in->lacks.lead && !plan_stands(w, state))
		plan_say(w, state, STATE_FAILED, "%s", w->in->lacks.lead);
}

/* What leads frames to nowhere, or into a loop, doesn't stay; but guarded ports are as if the
 * appliance were gone. */
static void hold(struct work *w, int state)
{
	struct session_state *st = &w->plan->states[state];

	st->held = true;
	memset(st->through, 0, sizeof(st->through));
	plan_say(w, state, STATE_FAILED, "meanwhile %s (on-failure: %s)", meanwhile(st->session),
		 st->session->on_failure == ON_FAILURE_OPEN ? "open" : "closed");
}

void plan_check_inlines(struct work *w)
{
	for (size_t i = 0; i < w->plan->nstates; i++) {
		struct session_state *st = &w->plan->states[i];

		if (st->session->mode != MODE_INLINE || !lives(st))
			continue;
		for (int side = 0; side < SIDES; side++)
			if (st->through[side] && ifindexes_have(&st->from, st->through[side]))
				plan_say(w, (int)i, STATE_FAILED,
					 "a loop: %s is guarded, and a port of the appliance",
					 name_of(w, st->through[side]));
		check_bridge(w, (int)i);
		check_others(w, (int)i);
		if (st->state != STATE_FAILED)
			tell_health(w, (int)i);
		else if (plan_stands(w, (int)i))
			hold(w, (int)i);
	}
}

void plan_rest_inline(struct work *w, int state)
{
	struct session_state *st = &w->plan->states[state];

	st->rests = plan_stands(w, state);
	if (st->rests && !st->held)
		plan_say(w, state, STATE_FAILED, "meanwhile the path stays as it is");
}

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
		.direct = st->session->appliance == APPLIANCE_BRIDGE,
	};
	if (st->through[SIDE_INSIDE] != 0)
		state->inside = (uint32_t)st->through[SIDE_INSIDE];
	if (st->through[SIDE_OUTSIDE] != 0)
		state->outside = (uint32_t)st->through[SIDE_OUTSIDE];
	for (int side = 0; side < SIDES; side++) {
		const struct nl_link *link = link_of(l->w, st->through[side]);

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

static void plan_links(struct lead *l)
{
	const struct session_state *st = st_of(l);

	/* First what gets frames out of the appliance, then what leads them in. */
	if (st->through[SIDE_INSIDE] != 0)
		plan_link(l, INLINE_FROM_INSIDE, st->through[SIDE_INSIDE]);
	if (st->through[SIDE_OUTSIDE] != 0)
		plan_link(l, INLINE_FROM_OUTSIDE, st->through[SIDE_OUTSIDE]);
	for (size_t i = 0; i < st->from.count; i++) {
		plan_link(l, INLINE_TO_MACHINE, st->from.items[i]);
		plan_link(l, INLINE_FROM_MACHINE, st->from.items[i]);
	}
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

		if (w->in->sessions->items[i].broken &&
		    host_inliner(w->in->host, st_of(&l)->session->name))
			keep(&l);
		else if (st_of(&l)->rests)
			rest(&l);
		else if (st_of(&l)->session->mode == MODE_INLINE && lives(st_of(&l)))
			plan_lead(&l);
	}
}
