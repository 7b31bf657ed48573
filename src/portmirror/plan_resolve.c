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

/* What was guarded is known to the kernel, as long as it is there. */
static void fail_source(struct work *w, int state, const char *why)
{
	const struct session_state *st = &w->plan->states[state];
	bool guards = st->session->mode == MODE_INLINE;

	plan_say(w, state, STATE_FAILED, "%s: %s", guards ? "guard" : "from", why);
	if (guards)
		plan_add_guarded(w, state);
	if (plan_stops(st->session))
		plan_say(w, state, STATE_FAILED,
			 "meanwhile all frames go straight on at ports of it that were not "
			 "guarded before");
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
		else if (r < 0 && s->mode == MODE_MIRROR && s->nfrom > 1)
			plan_stuck(w, state, "from: %s", why.text); /* the others are mirrored */
		else if (r < 0)
			fail_source(w, state, why.text);
		else if (found.count == 0)
			plan_absent(w, state, "waiting for the %s %s",
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

/* Where on this host what goes out of a destination passes: where it leaves, and comes in again. */
struct way {
	struct ifindexes out, in;
	struct ifindexes dressed; /* of both: those where it has a tag, or is a tunnel's packet,
				   * which a filter can tell */
};

struct loops {
	struct work *w;
	struct way (*ways)[SESSION_TO_MAX]; /* by state */
};

static void loops_free(struct loops *l)
{
	for (size_t i = 0; l->ways && i < l->w->plan->nstates; i++) {
		for (size_t j = 0; j < SESSION_TO_MAX; j++) {
			ifindexes_free(&l->ways[i][j].out);
			ifindexes_free(&l->ways[i][j].in);
			ifindexes_free(&l->ways[i][j].dressed);
		}
	}
	free(l->ways);
}

static bool is_any(const char *kind, const char *const *kinds, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(kind, kinds[i]) == 0)
			return true;
	return false;
}

/* What leaves by one end of it comes in at the other. */
static bool is_pair(const struct nl_link *link)
{
	static const char *const kinds[] = {"veth", "netkit"};

	return is_any(link->kind, kinds, COUNT(kinds));
}

/* What leaves by it leaves by devices that belong to it. */
static bool is_bundle(const struct nl_link *link)
{
	static const char *const kinds[] = {"bridge", "bond", "team"};

	return is_any(link->kind, kinds, COUNT(kinds));
}

/* What leaves by it leaves by the device below as it is: not so of a VLAN, or a tunnel. */
static bool is_another_name(const struct nl_link *link)
{
	static const char *const kinds[] = {"macvlan", "macvtap", "ipvlan", "ipvtap"};

	return is_any(link->kind, kinds, COUNT(kinds));
}

/* False where that is known already. */
static bool note(struct work *w, struct way *way, struct ifindexes *list, int ifindex, bool dressed)
{
	if (ifindexes_have(list, ifindex))
		return false;
	if (ifindexes_add(list, ifindex) == 0 &&
	    (!dressed || ifindexes_add(&way->dressed, ifindex) == 0))
		return true;
	w->failed = true;
	return false;
}

static void go_out(struct work *w, struct way *way, const struct nl_link *link, bool dressed);

/* By all that belong to a bridge or bond, but where it came from. */
static void go_out_of(struct work *w, struct way *way, int master, const struct nl_link *from,
		      bool dressed)
{
	const struct nl_links *links = &w->in->host->links;

	for (size_t i = 0; i < links->count; i++)
		if (links->items[i].master == master && &links->items[i] != from)
			go_out(w, way, &links->items[i], dressed);
}

static void come_in(struct work *w, struct way *way, const struct nl_link *link, bool dressed)
{
	const struct nl_link *master = nl_link_by_index(&w->in->host->links, link->master);

	if (!note(w, way, &way->in, link->index, dressed) || !master)
		return;
	if (master->vlan_filtering) /* it may have a VLAN of its own there */
		return;
	come_in(w, way, master, dressed);
	if (strcmp(link->port_kind, "bridge") == 0)
		go_out_of(w, way, link->master, link, dressed);
}

static void go_out(struct work *w, struct way *way, const struct nl_link *link, bool dressed)
{
	const struct nl_link *next = nl_link_by_index(&w->in->host->links, link->link);

	if (!note(w, way, &way->out, link->index, dressed))
		return;
	if (next && is_pair(link))
		come_in(w, way, next, dressed);
	else if (next)
		go_out(w, way, next, dressed || !is_another_name(link));
	if (is_bundle(link) && !link->vlan_filtering)
		go_out_of(w, way, link->index, NULL, dressed);
}

static void find_ways(struct loops *l, size_t state)
{
	const struct session_state *st = &l->w->plan->states[state];

	for (size_t i = 0; i < st->session->nto; i++) {
		const struct nl_link *to = nl_link_by_index(&l->w->in->host->links, st->to[i]);

		if (to)
			go_out(l->w, &l->ways[state][i], to, false);
	}
}

/* A device of the list that the session mirrors; 0: none. */
static int mirrored(const struct session_state *st, const struct way *way,
		    const struct ifindexes *list)
{
	for (size_t i = 0; i < list->count; i++)
		if (ifindexes_have(&st->from, list->items[i]) &&
		    !(st->session->filter && ifindexes_have(&way->dressed, list->items[i])))
			return list->items[i];
	return 0;
}

/* Copies of session a go out of a destination, *to, and pass this device, where session b mirrors
 * them. 0: none. */
static int feeds(const struct loops *l, size_t a, size_t b, int *to)
{
	const struct session_state *from = &l->w->plan->states[a], *st = &l->w->plan->states[b];
	int at = 0;

	for (size_t i = 0; i < from->session->nto && st->to_ifindex != 0 && at == 0; i++) {
		const struct way *way = &l->ways[a][i];

		*to = from->to[i];
		if (st->session->direction & DIRECTION_RECEIVED)
			at = mirrored(st, way, &way->out);
		if (at == 0 && st->session->direction & DIRECTION_SENT)
			at = mirrored(st, way, &way->in);
	}
	return at;
}

/* Looks for a way from at back to start; next gets the session behind at on it. */
static bool leads_back(const struct loops *l, size_t start, size_t at, bool *seen, size_t *next)
{
	for (size_t i = 0; i < l->w->plan->nstates; i++) {
		int to;

		if (l->w->plan->states[i].state == STATE_FAILED || !feeds(l, at, i, &to))
			continue;
		*next = i;
		if (i == start)
			return true;
		if (!seen[i]) {
			size_t further;

			seen[i] = true;
			if (leads_back(l, start, i, seen, &further))
				return true;
		}
	}
	return false;
}

static void refuse_loop(struct loops *l, size_t state)
{
	struct work *w = l->w;
	bool *seen cleanup(free_at) = calloc(w->plan->nstates, sizeof(*seen));
	struct session_state *s = &w->plan->states[state];
	const struct session_state *next;
	size_t number;
	int to = 0, at;

	if (!seen) {
		w->failed = true;
		return;
	}
	if (s->state == STATE_FAILED || !leads_back(l, state, state, seen, &number))
		return;
	next = &w->plan->states[number];
	at = feeds(l, state, number, &to);
	plan_say(w, (int)state, STATE_FAILED,
		 "a loop: %s copies to %s, %s%s%swhich %s mirrors to %s, and so on back to %s",
		 s->session->name, name_of(w, to), at != to ? "from where frames come to " : "",
		 at != to ? name_of(w, at) : "", at != to ? ", " : "", next->session->name,
		 name_of(w, next->to_ifindex), s->session->name);
	s->to_ifindex = 0;
	memset(s->to, 0, sizeof(s->to));
}

/* The newest of the sessions in a loop is refused, else the first by name. */
static void refuse_loops(struct work *w)
{
	struct loops l cleanup(loops_free) = {.w = w};

	l.ways = calloc(w->plan->nstates + 1, sizeof(*l.ways));
	if (!l.ways) {
		w->failed = true;
		return;
	}
	for (size_t i = 0; i < w->plan->nstates; i++)
		find_ways(&l, i);
	for (size_t i = 0; w->in->newest && i < w->plan->nstates; i++)
		if (strcmp(w->plan->states[i].session->name, w->in->newest) == 0)
			refuse_loop(&l, i);
	for (size_t i = 0; i < w->plan->nstates; i++)
		refuse_loop(&l, i);
}

/* Of a session whose file can't be read what copies for it, which stays: as far as the kernel can
 * tell what it is. */
static void find_what_stands(struct work *w, int state, const struct tc_action *action)
{
	struct session_state *st = &w->plan->states[state];
	const struct host *host = w->in->host;
	const struct copier *copier = host_copier(host, st->session->name);

	for (size_t i = 0; i < host->filters.count; i++)
		if (ours_copies(&host->filters.items[i], w->in->house, st->session->name,
				st->action))
			w->failed |= ifindexes_add(&st->from, host->filters.items[i].ifindex) < 0;
	for (size_t i = 0; i < host->pins.count; i++)
		if (host->pins.items[i].kind == PIN_LINK && host->pins.items[i].ifindex != 0 &&
		    strcmp(host->pins.items[i].session, st->session->name) == 0)
			w->failed |= ifindexes_add(&st->from, host->pins.items[i].ifindex) < 0;
	if (action)
		st->to[0] = action->to_ifindex;
	for (size_t i = 0; i < SESSION_TO_MAX; i++) {
		if (copier)
			st->to[i] = (int)copier->config.to[i].ifindex;
		if (st->to_ifindex == 0)
			st->to_ifindex = st->to[i];
	}
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
		if (plan_is_kept(w, (size_t)state)) {
			plan_keep_inline(w, state);
			return;
		}
		if (!plan_stops(&saved->session)) {
			find_what_stands(w, state, action);
			return;
		}
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
		st->held = st->state == STATE_FAILED && plan_stands(w, state);
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
	if (ifindex == 0 || direction == 0)
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
	for (size_t i = 0; i < st->barred.count; i++)
		add_want(w, state, st->barred.items[i], DIRECTION_BOTH, DIRECT_LEADS);
	for (int side = 0; side < SIDES; side++)
		add_want(w, state, st->through[side], DIRECTION_SENT, DIRECT_LEADS);
}

/* All ports of the bridge, but destinations, are sources. */
static bool has_all_ports(const struct session_state *st, const struct nl_links *links, int bridge)
{
	bool any = false;

	for (size_t i = 0; i < links->count; i++) {
		int port = links->items[i].index;

		if (links->items[i].master != bridge || destination(st, port) >= 0)
			continue;
		if (!ifindexes_have(&st->from, port))
			return false;
		any = true;
	}
	return any;
}

/* As a bridge passes a frame up it enters the host once more, at the bridge's own device, and
 * nothing tells there by which port it came: __netif_receive_skb_core() sets skb_iif anew. */
enum direction plan_directions(const struct session_state *st, const struct nl_links *links,
			       int ifindex)
{
	const struct nl_link *link = nl_link_by_index(links, ifindex);
	unsigned all = st->session->direction;

	if (link && strcmp(link->kind, "bridge") == 0 && has_all_ports(st, links, ifindex))
		all &= ~(unsigned)DIRECTION_SENT;
	return (enum direction)all;
}

/* So do those that copy, and those that shorten copies at the destinations. */
static void add_copies(struct work *w, int state)
{
	const struct session_state *st = &w->plan->states[state];
	bool direct = st->engine == ENGINE_BPF && !plan_by_tcx(w);

	for (size_t i = 0; i < st->from.count; i++)
		add_want(w, state, st->from.items[i],
			 plan_directions(st, &w->in->host->links, st->from.items[i]),
			 direct ? DIRECT_COPIES : DIRECT_NONE);
	for (size_t i = 0; direct && st->session->snap && i < st->session->nto; i++)
		add_want(w, state, st->to[i], DIRECTION_RECEIVED, DIRECT_CUTS);
}

static void add_wants(struct work *w, int state)
{
	const struct session_state *st = &w->plan->states[state];

	if (plan_dead(st) || st->state == STATE_SUSPENDED)
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
