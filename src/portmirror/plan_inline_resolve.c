/* SPDX-License-Identifier: MIT */
/* In-line sessions: what they mean now, and what stands in their way. */
#include <errno.h>
#include <net/if_arp.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "portmirror/inliner.h"
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

bool plan_lives(const struct session_state *st)
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

		if ((int)i == state || !plan_lives(other))
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

		if (st->session->mode != MODE_INLINE || !plan_lives(st))
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
