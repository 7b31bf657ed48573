/* SPDX-License-Identifier: MIT */
#include "portmirrord/prober.h"

#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <bpf/bpf.h>

#include "base/err.h"
#include "base/loop.h"
#include "base/mem.h"
#include "bpf/pin.h"
#include "portmirror/engine.h"
#include "portmirror/inliner.h"
#include "portmirror/inliner_probe.h"

enum {
	LOST = 3,	    /* probes that stay away in a row: the appliance has failed */
	ANSWERED = 10,	    /* that come in a row: it is back */
	GRACE_NS = 5000000, /* what a probe may take beyond what the last one took */
	RING = 64,	    /* probes that may be under way at once */
};

struct watch {
	struct watch *next;
	struct prober *prober;
	char session[SESSION_NAME_MAX + 1];
	int health, probes;	       /* maps, */
	uint32_t health_id, probes_id; /* and what they are: others may have the same name later */
	struct inline_state state;
	struct inline_health now;
	unsigned interval; /* ms */
	bool open;
	bool wanted;
	bool ports_up;
	uint64_t sent[RING]; /* when, number n at n % RING */
	size_t nsent;
	uint64_t answered[INLINE_LEARNING];  /* when the newest that came was sent */
	uint64_t last_lost[INLINE_LEARNING]; /* and the last of LOST behind it; 0: fewer were */
	uint64_t latency;		     /* ns, of the last that came; 0: none yet */
	unsigned in_a_row;
	struct loop_timer tick, verdict;
};

struct prober {
	struct prober_config config;
	int socket;
	struct watch *watches;
	struct view *view;
};

static const char *meanwhile(const struct watch *w)
{
	return w->open ? "all frames go straight on" : "no frame gets through";
}

/* Into the map; and into the picture that plans are made from. */
static void set_health(struct watch *w)
{
	struct host *host = &w->prober->view->host;
	uint32_t zero = 0;

	(void)bpf_map_update_elem(w->health, &zero, &w->now, BPF_ANY);
	for (size_t i = 0; i < host->ninliners; i++)
		if (strcmp(host->inliners[i].session, w->session) == 0)
			host->inliners[i].health = w->now;
}

static void fail(struct watch *w, enum inline_failure failure, const char *which)
{
	char sentence[200];

	w->in_a_row = 0;
	if (w->now.failure == failure)
		return;
	if (w->now.failure == INLINE_WELL)
		w->now.failures++;
	w->now.failure = failure;
	w->now.since = inliner_now();
	set_health(w);
	snprintf(sentence, sizeof(sentence), "the appliance has failed: %s%s: %s",
		 inliner_failure_text(failure), which, meanwhile(w));
	w->prober->config.told("appliance-failed", w->session, sentence, w->prober->config.data);
}

static void recover(struct watch *w)
{
	char sentence[120];

	w->now.failure = INLINE_WELL;
	w->now.since = inliner_now();
	set_health(w);
	snprintf(
		sentence, sizeof(sentence),
		"the appliance has let %d probes through in a row: frames are led through it again",
		ANSWERED);
	w->prober->config.told("appliance-back", w->session, sentence, w->prober->config.data);
}

/* What came since the last look. True where both ways have. */
static bool look(struct watch *w)
{
	bool both = true;

	for (uint32_t way = 0; way < INLINE_LEARNING; way++) {
		struct inline_probe_seen seen = {0};

		if (bpf_map_lookup_elem(w->probes, &way, &seen) < 0)
			return false; /* nothing came that we know of */
		both &= seen.sent > w->answered[way];
		if (seen.sent > w->answered[way] && seen.arrived > seen.sent)
			w->latency = seen.arrived - seen.sent;
		if (seen.sent != w->answered[way])
			w->last_lost[way] = 0;
		w->answered[way] = seen.sent;
	}
	return both;
}

/* When the last of LOST probes in a row was sent of which none has come; 0: fewer are away. It is
 * kept, as the ring may turn faster than an appliance answers. */
static uint64_t last_lost(struct watch *w, uint32_t way)
{
	size_t first = w->nsent > RING ? w->nsent - RING : 0;
	unsigned away = 0;

	for (size_t n = first; n < w->nsent && w->last_lost[way] == 0; n++)
		if (w->sent[n % RING] > w->answered[way] && ++away == LOST)
			w->last_lost[way] = w->sent[n % RING];
	return w->last_lost[way];
}

/* When that one should have come; 0: fewer are away. A slow appliance is no failed one: each has as
 * long as the last that came took. */
static uint64_t deadline(struct watch *w, uint32_t way)
{
	uint64_t usual = w->latency ? w->latency : (uint64_t)w->interval * 1000000 * LOST;
	uint64_t lost = last_lost(w, way);

	return lost ? lost + usual + GRACE_NS : 0;
}

static bool over(uint64_t deadline, uint64_t now)
{
	return deadline != 0 && now >= deadline;
}

static void judge(void *data)
{
	struct watch *w = data;
	uint64_t outward, inward, next, now;
	bool out, in;

	(void)look(w);
	now = inliner_now();
	outward = deadline(w, INLINE_OUTWARD);
	inward = deadline(w, INLINE_INWARD);
	out = over(outward, now);
	in = over(inward, now);
	if (w->ports_up && (out || in)) {
		fail(w, INLINE_SILENT,
		     !in    ? " from inside to outside"
		     : !out ? " from outside to inside"
			    : "");
		return;
	}
	next = !outward || (inward && inward < outward) ? inward : outward;
	if (next > now)
		loop_timer_set(w->prober->config.loop, &w->verdict,
			       (int64_t)((next - now) / 1000000) + 1, judge, w);
}

static void probe(struct watch *w)
{
	uint64_t now = inliner_now();

	w->sent[w->nsent++ % RING] = now;
	inliner_probe_send(w->prober->socket, &w->state, now);
	w->now.watched = now;
	set_health(w);
}

static void tick(void *data)
{
	struct watch *w = data;

	loop_timer_set(w->prober->config.loop, &w->tick, w->interval, tick, w);
	if (look(w) && w->ports_up)
		w->in_a_row++;
	else
		w->in_a_row = 0;
	if (w->now.failure != INLINE_WELL && w->in_a_row >= ANSWERED)
		recover(w);
	probe(w);
	if (w->now.failure == INLINE_WELL)
		judge(w);
}

static void watch_free(struct watch *w)
{
	loop_timer_clear(w->prober->config.loop, &w->tick);
	loop_timer_clear(w->prober->config.loop, &w->verdict);
	fd_close_at(&w->health);
	fd_close_at(&w->probes);
	free(w);
}

int prober_new(const struct prober_config *config, struct prober **prober, struct err *e)
{
	struct prober *made = calloc(1, sizeof(*made));

	if (!made)
		return err_set(e, -ENOMEM, "out of memory");
	made->config = *config;
	made->socket = inliner_probe_open(e);
	if (made->socket < 0) {
		free(made);
		return e->code;
	}
	*prober = made;
	return 0;
}

void prober_free(struct prober *p)
{
	if (!p)
		return;
	while (p->watches) {
		struct watch *w = p->watches;

		p->watches = w->next;
		watch_free(w);
	}
	fd_close_at(&p->socket);
	free(p);
}

static int open_map(const struct prober *p, const char *session, enum inline_map which)
{
	char path[PIN_PATH], name[PIN_NAME];

	inliner_map_name(which, name);
	pin_path(p->config.house, session, name, path);
	return pin_open(path, NULL);
}

static struct watch *find(const struct prober *p, const char *session)
{
	struct watch *w = p->watches;

	while (w && strcmp(w->session, session) != 0)
		w = w->next;
	return w;
}

/* As the last look has found it; 0: it was not there. */
static uint32_t map_id(const struct view *view, const char *session, enum inline_map which)
{
	char name[PIN_NAME];
	const struct pin *pin;

	inliner_map_name(which, name);
	pin = pins_find(&view->host.pins, session, name);
	return pin ? pin->id : 0;
}

/* NULL: its maps can't be had (yet). */
static struct watch *begin(struct prober *p, const char *session)
{
	struct watch *w = calloc(1, sizeof(*w));

	if (!w)
		return NULL;
	*w = (struct watch){.prober = p, .ports_up = true};
	snprintf(w->session, sizeof(w->session), "%s", session);
	w->health = open_map(p, session, INLINE_MAP_HEALTH);
	w->probes = open_map(p, session, INLINE_MAP_PROBES);
	w->health_id = map_id(p->view, session, INLINE_MAP_HEALTH);
	w->probes_id = map_id(p->view, session, INLINE_MAP_PROBES);
	if (w->health < 0 || w->probes < 0) {
		watch_free(w);
		return NULL;
	}
	w->next = p->watches;
	p->watches = w;
	return w;
}

/* Whether the port that the programs lead frames to can take them. */
static enum inline_failure port_failure(const struct view *view, uint32_t port)
{
	const struct nl_link *link =
		port == INLINE_NOWHERE ? NULL : nl_link_by_index(&view->host.links, (int)port);

	if (!link)
		return INLINE_GONE;
	return (link->flags & IFF_UP) && link->carrier ? INLINE_WELL : INLINE_DOWN;
}

static void look_at_ports(struct watch *w, const struct view *view)
{
	enum inline_failure inside = port_failure(view, w->state.inside);
	enum inline_failure outside = port_failure(view, w->state.outside);

	w->ports_up = inside == INLINE_WELL && outside == INLINE_WELL;
	if (!w->ports_up)
		fail(w, inside == INLINE_GONE || outside == INLINE_GONE ? INLINE_GONE : INLINE_DOWN,
		     inside && outside ? ""
		     : inside	       ? " (inside)"
				       : " (outside)");
}

static void follow(struct prober *p, const struct session_state *st, const struct inliner *have,
		   const struct view *view)
{
	struct watch *w = find(p, st->session->name);
	bool new = !w || w->health_id != map_id(view, w->session, INLINE_MAP_HEALTH) ||
		   w->probes_id != map_id(view, w->session, INLINE_MAP_PROBES);

	if (new) /* one of before, of maps that are gone, is dropped */
		w = begin(p, st->session->name);
	if (!w)
		return;
	w->wanted = true;
	w->state = have->state;
	w->interval = st->session->probe_interval;
	w->open = st->session->on_failure == ON_FAILURE_OPEN;
	if (new) {
		w->now = have->health;
		look_at_ports(w, view);
		tick(w);
	} else {
		look_at_ports(w, view);
	}
}

static void drop_unwanted(struct prober *p)
{
	for (struct watch **at = &p->watches; *at;) {
		struct watch *w = *at;

		if (w->wanted) {
			at = &w->next;
			continue;
		}
		*at = w->next;
		watch_free(w);
	}
}

void prober_update(struct prober *p, struct view *view)
{
	p->view = view;
	for (struct watch *w = p->watches; w; w = w->next)
		w->wanted = false;
	for (size_t i = 0; i < view->plan.nstates; i++) {
		const struct session_state *st = &view->plan.states[i];
		const struct inliner *have = host_inliner(&view->host, st->session->name);

		if (have && st->session->mode == MODE_INLINE && st->state != STATE_SUSPENDED &&
		    st->state != STATE_FAILED)
			follow(p, st, have, view);
	}
	drop_unwanted(p);
}

void prober_go_on(struct prober *p)
{
	for (struct watch *w = p->watches; w; w = w->next) {
		loop_timer_call_due(p->config.loop, &w->tick);
		loop_timer_call_due(p->config.loop, &w->verdict);
	}
}

uint64_t prober_sent(const struct prober *p, const char *session)
{
	const struct watch *w = find(p, session);

	return w ? w->nsent : 0;
}
