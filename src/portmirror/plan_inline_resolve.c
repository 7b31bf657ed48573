/* SPDX-License-Identifier: MIT */
/* In-line sessions: what they mean now, and what stands in their way. */
#include <errno.h>
#include <linux/pkt_sched.h>
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

/* The bridge that the port is on; 0: none. */
static int bridge_of(const struct work *w, int port)
{
	const struct nl_link *link = link_of(w, port);

	return link && strcmp(link->port_kind, "bridge") == 0 ? link->master : 0;
}

/* The one that the session was on before, if a guarded port is there still: a machine that moves
 * takes no other with it. Else the first port's. */
static int choose_bridge(const struct work *w, int state)
{
	const struct session_state *st = &w->plan->states[state];
	const struct inliner *have = host_inliner(w->in->host, st->session->name);
	int first = 0;

	for (size_t i = 0; i < st->from.count; i++) {
		int bridge = bridge_of(w, st->from.items[i]);

		if (have && bridge != 0 && (uint32_t)bridge == have->state.bridge)
			return bridge;
		if (first == 0)
			first = bridge;
	}
	return first;
}

/* Its programs hang on that port already, as a guarded one. */
static bool guards(const struct work *w, int state, int port)
{
	const char *session = w->plan->states[state].session->name;
	const struct tc_filter *filters;
	size_t count = host_filters(w->in->host, port, &filters);
	char name[PIN_NAME];
	const struct pin *link;

	for (size_t i = 0; i < count; i++)
		if (direct_is(&filters[i], DIRECT_LEADS, w->in->house, session) &&
		    filters[i].parent == TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_EGRESS))
			return true; /* (at an appliance's port nothing hangs there) */
	inliner_link_name(INLINE_TO_MACHINE, port, name);
	link = pins_find(&w->in->host->pins, session, name);
	return link && link->ifindex == port;
}

void plan_add_guarded(struct work *w, int state)
{
	const struct nl_links *links = &w->in->host->links;

	for (size_t i = 0; i < links->count; i++)
		if (guards(w, state, links->items[i].index) &&
		    ifindexes_add(&w->plan->states[state].from, links->items[i].index) < 0)
			w->failed = true;
}

/* A guarded port that can't be led. On a bridge it has neighbours that it would reach uninspected.
 * On none it is left alone, for it may be the host's own link; unless it was guarded already, and
 * is on its way from one bridge to another. */
static void set_aside(struct work *w, int state, int port)
{
	struct session_state *st = &w->plan->states[state];

	if (plan_stops(st->session) && (bridge_of(w, port) != 0 || guards(w, state, port)) &&
	    ifindexes_add(&st->barred, port) < 0)
		w->failed = true;
}

/* Guarded ports are on a bridge, all on the same one, which floods to them. */
static void check_bridge(struct work *w, int state)
{
	struct session_state *st = &w->plan->states[state];
	size_t kept = 0, beyond = 0, loose;

	st->bridge = choose_bridge(w, state);
	for (size_t i = 0; i < st->from.count; i++) {
		int port = st->from.items[i], bridge = bridge_of(w, port);

		if (bridge != 0 && bridge == st->bridge && kept < INLINE_PORTS_MAX) {
			st->from.items[kept++] = port;
			continue;
		}
		set_aside(w, state, port);
		if (bridge == 0)
			plan_stuck(w, state, "%s is on no bridge: it can't be guarded",
				   name_of(w, port));
		else if (bridge != st->bridge)
			plan_stuck(
				w, state,
				"%s is on %s, and others are on %s: machines of two bridges need "
				"two sessions",
				name_of(w, port), name_of(w, bridge), name_of(w, st->bridge));
		else
			beyond++;
	}
	loose = st->from.count - kept - st->barred.count;
	st->from.count = kept;
	if (beyond > 0)
		plan_stuck(w, state, "%zu guarded ports, more than the %d that a session may have",
			   kept + beyond, INLINE_PORTS_MAX);
	if (plan_stops(st->session) && loose > 0)
		plan_say(w, state, STATE_PARTIAL,
			 "meanwhile all frames go straight on at %zu guarded port%s", loose,
			 loose == 1 ? "" : "s");
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

bool plan_stops(const struct session *s)
{
	return s->mode == MODE_INLINE && s->on_failure == ON_FAILURE_CLOSED && !s->suspended;
}

static bool leads_nowhere(const struct inline_state *state)
{
	return state->inside == INLINE_NOWHERE && state->outside == INLINE_NOWHERE;
}

/* But one whose filter alone is wrong, and that has nothing but frames to stop, goes on with that.
 */
bool plan_is_kept(const struct work *w, size_t state)
{
	const struct session *s = w->plan->states[state].session;
	const struct inliner *have = host_inliner(w->in->host, s->name);

	return w->in->sessions->items[state].broken && have &&
	       !(plan_stops(s) && leads_nowhere(&have->state));
}

void plan_keep_inline(struct work *w, int state)
{
	struct session_state *st = &w->plan->states[state];
	const struct inliner *have = host_inliner(w->in->host, st->session->name);

	plan_add_guarded(w, state);
	st->through[SIDE_INSIDE] = (int)have->state.inside;
	st->through[SIDE_OUTSIDE] = (int)have->state.outside;
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
		bool kept = plan_is_kept(w, i);
		int port;

		if ((int)i == state || (!kept && !plan_lives(other)))
			continue;
		port = kept || (other->session->mode == MODE_INLINE &&
				comes_later(w, state, (int)i))
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

/* Another session leads the frames of that port, or at it. */
static bool is_led(const struct work *w, int state, int port)
{
	for (size_t i = 0; i < w->plan->nstates; i++) {
		const struct session_state *other = &w->plan->states[i];

		bool leads = plan_is_kept(w, i) || (other->session->mode == MODE_INLINE &&
						    other->state < STATE_SUSPENDED);

		if ((int)i != state && leads && takes_part(other, port))
			return true;
	}
	return false;
}

/* What stops frames, or lets them go straight on, does so at ports that no other session leads. */
static void leave_to_others(const struct work *w, int state, struct ifindexes *ports)
{
	size_t kept = 0;

	for (size_t i = 0; i < ports->count; i++)
		if (!is_led(w, state, ports->items[i]))
			ports->items[kept++] = ports->items[i];
	ports->count = kept;
}

/* What leads frames to nowhere, or into a loop, doesn't stay; but guarded ports are as if the
 * appliance were gone. */
static void hold(struct work *w, int state)
{
	struct session_state *st = &w->plan->states[state];

	st->held = true;
	memset(st->through, 0, sizeof(st->through));
	leave_to_others(w, state, &st->from);
	if (st->from.count > 0)
		plan_say(w, state, STATE_FAILED, "meanwhile %s (on-failure: %s)",
			 meanwhile(st->session),
			 st->session->on_failure == ON_FAILURE_OPEN ? "open" : "closed");
}

/* One that is closed holds from the beginning, but not while somebody tries to make it, who is told
 * why it can't be. */
static bool can_hold(const struct work *w, int state)
{
	const struct session_state *st = &w->plan->states[state];

	return plan_stands(w, state) ||
	       (st->session->on_failure == ON_FAILURE_CLOSED && !is_newest(w, st) &&
		!*w->in->host->no_pins && !*w->in->lacks.lead);
}

/* What becomes of the frames, when it is known what all sessions can do. */
static void settle(struct work *w, int state)
{
	struct session_state *st = &w->plan->states[state];

	leave_to_others(w, state, &st->barred);
	if (st->state != STATE_FAILED && st->barred.count > 0)
		plan_say(w, state, STATE_PARTIAL,
			 "meanwhile no frame gets through at %zu guarded port%s (on-failure: "
			 "closed)",
			 st->barred.count, st->barred.count == 1 ? "" : "s");
	if (st->state != STATE_FAILED)
		tell_health(w, state);
	else if (can_hold(w, state))
		hold(w, state);
	else if (st->session->on_failure == ON_FAILURE_CLOSED)
		plan_say(w, state, STATE_FAILED, "meanwhile all frames go straight on");
}

static bool is_wanted(const struct work *w, size_t state)
{
	const struct session *s = w->plan->states[state].session;

	return s->mode == MODE_INLINE && !s->suspended && !plan_is_kept(w, state);
}

void plan_check_inlines(struct work *w)
{
	for (size_t i = 0; i < w->plan->nstates; i++) {
		struct session_state *st = &w->plan->states[i];

		if (!is_wanted(w, i))
			continue;
		for (int side = 0; side < SIDES; side++)
			if (st->through[side] && ifindexes_have(&st->from, st->through[side]))
				plan_say(w, (int)i, STATE_FAILED,
					 "a loop: %s is guarded, and a port of the appliance",
					 name_of(w, st->through[side]));
		check_bridge(w, (int)i);
		if (plan_lives(st))
			check_others(w, (int)i);
	}
	for (size_t i = 0; i < w->plan->nstates; i++)
		if (is_wanted(w, i))
			settle(w, (int)i);
}

void plan_rest_inline(struct work *w, int state)
{
	struct session_state *st = &w->plan->states[state];

	st->rests = plan_stands(w, state);
	if (!st->rests && st->held)
		plan_say(w, state, STATE_FAILED, "nor can they be stopped: they go straight on");
	else if (!st->held)
		plan_say(w, state, STATE_FAILED, "meanwhile %s",
			 st->rests ? "the path stays as it is" : "all frames go straight on");
	st->held &= st->rests;
}
