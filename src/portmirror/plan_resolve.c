/* SPDX-License-Identifier: MIT */
/* From selectors to devices; and which sessions can't be carried out. */
#include <errno.h>
#include <net/if_arp.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "portmirror/inliner.h"
#include "portmirror/plan_work.h"

static const char *name_of(const struct work *w, int ifindex)
{
	const struct nl_link *link = nl_link_by_index(&w->in->host->links, ifindex);

	return link ? link->name : "?";
}

/* The one device that a destination means, or 0 and a reason. */
static int resolve_one(struct work *w, int state, const struct selector *to)
{
	struct ifindexes found cleanup(ifindexes_free) = {0};
	const struct nl_link *link;
	struct err why = {0};
	int r = selector_resolve(to, &w->in->host->links, &w->in->host->vms, &found, &why);

	if (r == -ENOMEM) {
		w->failed = true;
	} else if (r < 0) {
		plan_say(w, state, STATE_FAILED, "to: %s", why.text);
	} else if (found.count == 0) {
		plan_wait(w, state, STATE_PARTIAL, "waiting for the destination %s", to->text);
	} else if (found.count > 1) {
		plan_say(w, state, STATE_FAILED,
			 "to: %s means %zu devices (%s, %s, …); a destination is one: name its "
			 "NIC, or the port",
			 to->text, found.count, name_of(w, found.items[0]),
			 name_of(w, found.items[1]));
	} else {
		link = nl_link_by_index(&w->in->host->links, found.items[0]);
		if (link && link->type == ARPHRD_ETHER)
			return found.items[0];
		plan_say(w, state, STATE_FAILED, "to: %s is no Ethernet device",
			 name_of(w, found.items[0]));
	}
	return 0;
}

static void resolve_to(struct work *w, int state, const struct session *s)
{
	struct session_state *st = &w->plan->states[state];

	for (size_t i = 0; i < s->nto; i++) {
		st->to[i] = resolve_one(w, state, &s->to[i]);
		for (size_t j = 0; st->to[i] && j < i; j++)
			if (st->to[j] == st->to[i])
				plan_say(w, state, STATE_FAILED,
					 "to: %s and %s are the same device, %s", s->to[j].text,
					 s->to[i].text, name_of(w, st->to[i]));
		if (st->to_ifindex == 0)
			st->to_ifindex = st->to[i];
	}
	if (st->to_ifindex == 0 && st->state < STATE_WAITING)
		st->state = STATE_WAITING;
}

/* The number of the destination that this device is; -1: it is none. */
static int destination(const struct session_state *st, int ifindex)
{
	for (size_t i = 0; i < st->session->nto; i++)
		if (st->to[i] == ifindex)
			return (int)i;
	return -1;
}

/* Adds what a source means now; a device that can't be mirrored is left out, with a reason. Returns
 * how many were left out for being destinations, among others. */
static size_t add_source(struct work *w, int state, const struct selector *source,
			 const struct ifindexes *found)
{
	struct session_state *st = &w->plan->states[state];
	size_t left_out = 0;

	for (size_t i = 0; i < found->count; i++) {
		const struct nl_link *link = nl_link_by_index(&w->in->host->links, found->items[i]);
		int to = destination(st, found->items[i]);

		if (to >= 0) {
			left_out++;
			if (found->count == 1) /* all that is named */
				plan_say(w, state, STATE_FAILED,
					 "a loop: %s is the source %s and the destination %s at "
					 "once",
					 name_of(w, found->items[i]), source->text,
					 st->session->to[to].text);
		} else if (!link || link->type != ARPHRD_ETHER) {
			plan_stuck(w, state, "%s is no Ethernet device",
				   name_of(w, found->items[i]));
		} else if (ifindexes_add(&st->from, found->items[i]) < 0) {
			w->failed = true;
		}
	}
	return left_out;
}

static void resolve_from(struct work *w, int state, const struct session *s)
{
	size_t left_out = 0;

	for (size_t i = 0; i < s->nfrom; i++) {
		struct ifindexes found cleanup(ifindexes_free) = {0};
		struct err why = {0};
		int r = selector_resolve(&s->from[i], &w->in->host->links, &w->in->host->vms,
					 &found, &why);

		if (r == -ENOMEM)
			w->failed = true;
		else if (r < 0)
			plan_say(w, state, STATE_FAILED, "%s: %s",
				 s->mode == MODE_INLINE ? "guard" : "from", why.text);
		else if (found.count == 0)
			plan_wait(w, state, STATE_PARTIAL, "waiting for the %s %s",
				  s->mode == MODE_INLINE ? "guarded" : "source", s->from[i].text);
		else
			left_out += add_source(w, state, &s->from[i], &found);
	}
	if (w->plan->states[state].from.count == 0 &&
	    w->plan->states[state].state != STATE_FAILED) {
		if (left_out > 0)
			plan_say(w, state, STATE_WAITING,
				 "waiting: all that the sources name now are destinations");
		else if (w->plan->states[state].state < STATE_WAITING)
			w->plan->states[state].state = STATE_WAITING;
	}
}

/* The action that the session has in the kernel; NULL: none. */
static const struct tc_action *find_action(const struct work *w, const struct session *s)
{
	uint8_t cookie[TC_COOKIE];

	ours_cookie(w->in->house, s->name, cookie);
	for (size_t i = 0; i < w->in->host->actions.count; i++) {
		const struct tc_action *a = &w->in->host->actions.items[i];

		if (ours_somewhere(a) && memcmp(a->cookie, cookie, TC_COOKIE) == 0)
			return a;
	}
	return NULL;
}

/* Copies to state a's destinations go out of these devices: which of them does session b mirror
 * what goes there? 0: none. */
static int feeds(const struct session_state *a, const struct session_state *b)
{
	if (b->to_ifindex == 0 || !(b->session->direction & DIRECTION_RECEIVED))
		return 0;
	for (size_t i = 0; i < a->session->nto; i++)
		if (a->to[i] != 0 && ifindexes_have(&b->from, a->to[i]))
			return a->to[i];
	return 0;
}

/* Looks for a way from at back to start; path gets the sessions on it. */
static bool leads_back(const struct plan *plan, size_t start, size_t at, bool *seen,
		       const struct session_state **next)
{
	for (size_t i = 0; i < plan->nstates; i++) {
		if (plan->states[i].state == STATE_FAILED ||
		    !feeds(&plan->states[at], &plan->states[i]))
			continue;
		*next = &plan->states[i];
		if (i == start)
			return true;
		if (!seen[i]) {
			const struct session_state *further;

			seen[i] = true;
			if (leads_back(plan, start, i, seen, &further))
				return true;
		}
	}
	return false;
}

static void refuse_loop(struct work *w, size_t state)
{
	bool *seen cleanup(free_at) = calloc(w->plan->nstates, sizeof(*seen));
	struct session_state *s = &w->plan->states[state];
	const struct session_state *next;

	if (!seen) {
		w->failed = true;
		return;
	}
	if (s->state == STATE_FAILED || !leads_back(w->plan, state, state, seen, &next))
		return;
	plan_say(w, (int)state, STATE_FAILED,
		 "a loop: %s copies to %s, which %s mirrors to %s, and so on back to %s",
		 s->session->name, name_of(w, feeds(s, next)), next->session->name,
		 name_of(w, next->to_ifindex), s->session->name);
	s->to_ifindex = 0;
	memset(s->to, 0, sizeof(s->to));
}

/* The newest of the sessions in a loop is refused, else the first by name. */
static void refuse_loops(struct work *w)
{
	for (size_t i = 0; w->in->newest && i < w->plan->nstates; i++)
		if (strcmp(w->plan->states[i].session->name, w->in->newest) == 0)
			refuse_loop(w, i);
	for (size_t i = 0; i < w->plan->nstates; i++)
		refuse_loop(w, i);
}

static void resolve(struct work *w, int state, const struct saved *saved)
{
	struct session_state *st = &w->plan->states[state];
	const struct tc_action *action = find_action(w, &saved->session);

	st->session = &saved->session;
	st->in_kernel = action || host_copier(w->in->host, saved->session.name) ||
			host_inliner(w->in->host, saved->session.name);
	st->action = action ? action->index : 0;
	if (saved->broken) {
		plan_say(w, state, STATE_FAILED, "%s", saved->broken);
		return;
	}
	if (saved->session.suspended) { /* it wants nothing, and nothing is looked up for it */
		plan_say(w, state, STATE_SUSPENDED,
			 saved->session.mode == MODE_INLINE
				 ? "suspended: all frames go straight on until it is restored"
				 : "suspended: nothing is copied until it is restored");
		return;
	}
	if (saved->session.mode == MODE_INLINE) {
		plan_resolve_inline(w, state);
		resolve_from(w, state, &saved->session);
		return;
	}
	resolve_to(w, state, &saved->session);
	resolve_from(w, state, &saved->session);
}

static int group_of(const struct work *w, int ifindex)
{
	const struct nl_link *link = nl_link_by_index(&w->in->host->links, ifindex);

	return link && link->master != 0 && strcmp(link->port_kind, "bridge") == 0 ? link->master
										   : ifindex;
}

static void add_want(struct work *w, int state, int ifindex, enum direction direction,
		     enum direct direct)
{
	if (ifindex == 0)
		return;
	if (array_room(&w->wants, &w->wants_room, w->nwants, sizeof(*w->wants)) < 0) {
		w->failed = true;
		return;
	}
	w->wants[w->nwants++] = (struct want){
		.ifindex = ifindex,
		.group = group_of(w, ifindex),
		.state = state,
		.direction = direction,
		.direct = direct,
	};
}

/* Without tcx the programs of in-line sessions hang on qdiscs, as filters do. */
static void add_leads(struct work *w, int state)
{
	const struct session_state *st = &w->plan->states[state];

	for (size_t i = 0; i < st->from.count; i++)
		add_want(w, state, st->from.items[i], DIRECTION_BOTH, DIRECT_LEADS);
	for (int side = 0; side < SIDES; side++)
		add_want(w, state, st->through[side], DIRECTION_SENT, DIRECT_LEADS);
}

/* So do those that copy, and those that shorten copies at the destinations. */
static void add_copies(struct work *w, int state)
{
	const struct session_state *st = &w->plan->states[state];
	bool direct = st->engine == ENGINE_BPF && !plan_by_tcx(w);

	for (size_t i = 0; i < st->from.count; i++)
		add_want(w, state, st->from.items[i], st->session->direction,
			 direct ? DIRECT_COPIES : DIRECT_NONE);
	for (size_t i = 0; direct && st->session->snap && i < st->session->nto; i++)
		add_want(w, state, st->to[i], DIRECTION_RECEIVED, DIRECT_CUTS);
}

static void add_wants(struct work *w, int state)
{
	const struct session_state *st = &w->plan->states[state];

	if (st->state == STATE_FAILED || st->state == STATE_SUSPENDED)
		return;
	if (st->session->mode == MODE_INLINE && !plan_by_tcx(w))
		add_leads(w, state);
	if (st->to_ifindex != 0)
		add_copies(w, state);
}

static int by_port(const void *a, const void *b)
{
	const struct want *x = a, *y = b;

	if (x->ifindex != y->ifindex)
		return x->ifindex < y->ifindex ? -1 : 1;
	return x->state < y->state ? -1 : x->state > y->state;
}

void plan_resolve(struct work *w)
{
	const struct sessions *sessions = w->in->sessions;

	for (size_t i = 0; i < sessions->count; i++)
		resolve(w, (int)i, &sessions->items[i]);
	plan_check_inlines(w);
	refuse_loops(w);
	plan_engines(w);
	for (size_t i = 0; i < sessions->count; i++)
		add_wants(w, (int)i);
	if (w->nwants > 1)
		qsort(w->wants, w->nwants, sizeof(*w->wants), by_port);
}
