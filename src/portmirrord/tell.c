/* SPDX-License-Identifier: MIT */
#include "portmirrord/tell.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/hash.h"
#include "base/mem.h"
#include "data/json.h"
#include "portmirror/engine.h"
#include "portmirror/events.h"

struct told_port {
	int ifindex;
	char name[IFNAMSIZ];
};

struct told_session {
	char name[SESSION_NAME_MAX + 1];
	uint64_t saved; /* hash of what is saved */
	char *state;	/* the kind of the event, a space, and the sentence; owned */
	struct told_port *ports;
	size_t nports;
};

struct told {
	const struct events *events;
	struct told_session *sessions; /* by name */
	size_t count;
	bool began; /* false: the first update tells only states */
};

static void session_told_free(struct told_session *s)
{
	free(s->state);
	free(s->ports);
}

static void sessions_told_free(struct told_session *sessions, size_t count)
{
	for (size_t i = 0; sessions && i < count; i++)
		session_told_free(&sessions[i]);
	free(sessions);
}

int told_new(const struct events *events, struct told **told)
{
	struct told *made = calloc(1, sizeof(*made));

	if (!made)
		return -ENOMEM;
	made->events = events;
	*told = made;
	return 0;
}

void told_free(struct told *told)
{
	if (!told)
		return;
	sessions_told_free(told->sessions, told->count);
	free(told);
}

static uint64_t hash_saved(const struct saved *saved)
{
	json_t *object cleanup(json_free_at) = NULL;
	char *text cleanup(free_at) = NULL;

	if (saved->broken)
		return hash_bytes(HASH_START, saved->broken, strlen(saved->broken));
	object = session_object(&saved->session, true);
	text = object ? json_line(object) : NULL;
	return text ? hash_bytes(HASH_START, text, strlen(text)) : 0;
}

/* As the command line shows it: what isn't carried out yet isn't whole. */
static enum state state_of(const struct session_state *st)
{
	return st->state == STATE_WHOLE && st->pending > 0 ? STATE_PARTIAL : st->state;
}

static void say_whole(struct buf *b, const struct view *view, const struct session_state *st)
{
	const struct session *s = st->session;
	bool leads = s->mode == MODE_INLINE;
	const char *before =
		leads ? "all that it guards is led through" : "all that it names is copied to";

	for (size_t i = 0; i < (leads ? SIDES : s->nto); i++) {
		int ifindex = leads ? st->through[i] : st->to[i];
		const struct nl_link *link = nl_link_by_index(&view->host.links, ifindex);

		buf_fmt(b, "%s %s", before, link ? link->name : "a device that has just gone");
		before = leads ? " and" : ",";
	}
}

static char *state_text(const struct view *view, const struct session_state *st)
{
	struct buf b cleanup(buf_free) = {0};

	buf_fmt(&b, "session-%s ", state_name(state_of(st)));
	if (st->reasons)
		for (const char *at = st->reasons; *at; at++)
			buf_str(&b, *at == '\n' ? "; " : (char[]){*at, '\0'});
	else if (st->pending > 0)
		buf_str(&b, "the kernel differs from what is saved");
	else
		say_whole(&b, view, st);
	return buf_take(&b);
}

static int fill(struct told_session *s, const struct view *view, size_t i)
{
	const struct session_state *st = &view->plan.states[i];

	*s = (struct told_session){.saved = hash_saved(&view->sessions->items[i])};
	memcpy(s->name, st->session->name, sizeof(s->name));
	s->state = state_text(view, st);
	s->ports = calloc(st->from.count + 1, sizeof(*s->ports));
	if (!s->state || !s->ports)
		return -ENOMEM;
	for (; s->nports < st->from.count; s->nports++) {
		struct told_port *port = &s->ports[s->nports];
		const struct nl_link *link;

		port->ifindex = st->from.items[s->nports];
		link = nl_link_by_index(&view->host.links, port->ifindex);
		if (link)
			memcpy(port->name, link->name, sizeof(port->name));
	}
	return 0;
}

static void tell(const struct teller *t, const char *kind, const char *session,
		 const char *sentence)
{
	t->tell(kind, session, sentence, t->data);
}

static void tell_ports_in(const struct told_session *here, const struct told_session *there,
			  const char *kind, const char *what, const struct teller *teller)
{
	for (size_t i = 0, j = 0; i < here->nports; i++) {
		char sentence[64];

		while (j < there->nports && there->ports[j].ifindex < here->ports[i].ifindex)
			j++;
		if (j < there->nports && there->ports[j].ifindex == here->ports[i].ifindex)
			continue;
		snprintf(sentence, sizeof(sentence), "%s %s", here->ports[i].name, what);
		tell(teller, kind, here->name, sentence);
	}
}

static void tell_ports(const struct told_session *old, const struct told_session *now,
		       const struct teller *teller)
{
	tell_ports_in(old, now, "port-left", "is no longer one of its sources", teller);
	tell_ports_in(now, old, "port-joined", "is one of its sources from now on", teller);
}

static void tell_state(const struct told_session *now, const struct teller *teller)
{
	char kind[32];
	size_t len = strcspn(now->state, " ");

	snprintf(kind, sizeof(kind), "%.*s", (int)len, now->state);
	tell(teller, kind, now->name, now->state + len + 1);
}

/* What the events say of the session's state, in the form of state_text(). */
static bool known_state(const struct events *events, const struct told_session *now)
{
	for (size_t i = events_count(events); i-- > 0;) {
		const struct event *event = events_nth(events, i);
		size_t len = strlen(event->kind);

		if (strcmp(event->session, now->name) != 0 || !strstr(event->kind, "session-"))
			continue;
		return strncmp(now->state, event->kind, len) == 0 && now->state[len] == ' ' &&
		       strcmp(now->state + len + 1, event->text) == 0;
	}
	return false;
}

static void tell_new(const struct told *told, const struct told_session *now,
		     const struct teller *teller)
{
	if (told->began)
		tell(teller, "session-added", now->name, "it was saved");
	if (told->began || !known_state(told->events, now))
		tell_state(now, teller);
}

static void tell_difference(const struct told_session *old, const struct told_session *now,
			    const struct teller *teller)
{
	if (old->saved != now->saved)
		tell(teller, "session-changed", now->name, "it was saved with other attributes");
	tell_ports(old, now, teller);
	if (strcmp(old->state, now->state) != 0)
		tell_state(now, teller);
}

/* Both lists are by name. */
static void tell_all(const struct told *told, const struct told_session *now, size_t count,
		     const struct teller *teller)
{
	size_t i = 0, j = 0;

	for (;;) {
		const struct told_session *old = i < told->count ? &told->sessions[i] : NULL;
		const struct told_session *new = j < count ? &now[j] : NULL;
		int order;

		if (!old && !new)
			return;
		order = !old ? 1 : !new ? -1 : strcmp(old->name, new->name);
		if (order < 0)
			tell(teller, "session-removed", old->name, "it is saved no longer");
		else if (order > 0)
			tell_new(told, new, teller);
		else
			tell_difference(old, new, teller);
		i += order <= 0;
		j += order >= 0;
	}
}

int told_update(struct told *told, const struct view *view, const struct teller *teller)
{
	size_t count = view->plan.nstates;
	struct told_session *now = calloc(count + 1, sizeof(*now));
	int r = now ? 0 : -ENOMEM;

	for (size_t i = 0; i < count && r == 0; i++)
		r = fill(&now[i], view, i);
	if (r < 0) {
		sessions_told_free(now, count);
		return r;
	}
	tell_all(told, now, count, teller);
	sessions_told_free(told->sessions, told->count);
	told->sessions = now;
	told->count = count;
	told->began = true;
	return 0;
}
