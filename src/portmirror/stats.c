/* SPDX-License-Identifier: MIT */
#include "portmirror/stats.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "portmirror/host.h"
#include "portmirror/show.h"

static void take_source(const struct nl_link *link, enum direction direction,
			struct stats_source *s)
{
	s->ifindex = link->index;
	memcpy(s->port, link->name, sizeof(s->port));
	/* What the machine sends, its port on the host receives. */
	if (direction & DIRECTION_SENT)
		s->sent = (struct stats_count){.frames = link->rx_frames, .bytes = link->rx_bytes};
	if (direction & DIRECTION_RECEIVED)
		s->received =
			(struct stats_count){.frames = link->tx_frames, .bytes = link->tx_bytes};
	s->sum.frames = s->sent.frames + s->received.frames;
	s->sum.bytes = s->sent.bytes + s->received.bytes;
}

static void take_action(const struct host *host, struct stats_session *s)
{
	for (size_t i = 0; s->action && i < host->actions.count; i++) {
		const struct tc_action *a = &host->actions.items[i];

		if (a->index != s->action)
			continue;
		s->copied.frames = a->frames;
		s->copied.bytes = a->bytes;
		s->lost_before = a->overlimits;
	}
}

static struct stats_source *source_of(struct stats_session *s, uint32_t ifindex)
{
	for (size_t i = 0; i < s->nsources; i++)
		if (s->sources[i].ifindex == (int)ifindex)
			return &s->sources[i];
	return NULL;
}

/* What the programs count, port by port; the sum has those too that the session has lost since. */
static void take_copies(const struct host *host, struct stats_session *s)
{
	const struct copier *copier = host_copier(host, s->name);

	s->counts = copier != NULL;
	for (size_t i = 0; copier && i < host->ncounts; i++) {
		const struct copier_count *c = &host->counts[i];
		struct stats_source *source = source_of(s, c->port.ifindex);

		if (&host->copiers[c->copier] != copier)
			continue;
		s->copied.frames += c->count.frames;
		s->copied.bytes += c->count.bytes;
		s->lost_before += c->count.lost;
		s->shed += c->count.shed;
		if (!source)
			continue;
		source->copies.frames += c->count.frames;
		source->copies.bytes += c->count.bytes;
		source->copies.lost += c->count.lost;
		source->copies.shed += c->count.shed;
	}
}

/* Of all destinations that are there. */
static uint64_t dropped_at(const struct session_state *st, const struct host *host)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < SESSION_TO_MAX; i++) {
		const struct nl_link *to = nl_link_by_index(&host->links, st->to[i]);

		sum += to ? to->tx_dropped : 0;
	}
	return sum;
}

static void take_lead(const struct session_state *st, const struct host *host,
		      struct stats_session *s)
{
	const struct inliner *have = host_inliner(host, s->name);
	const struct nl_link *inside = nl_link_by_index(&host->links, st->through[SIDE_INSIDE]);
	const struct nl_link *outside = nl_link_by_index(&host->links, st->through[SIDE_OUTSIDE]);

	if (st->session->mode != MODE_INLINE)
		return;
	snprintf(s->through, sizeof(s->through), "%s, %s", inside ? inside->name : "?",
		 outside ? outside->name : "?");
	if (!have)
		return;
	s->led = *have;
	s->copied.frames = have->counts[INLINE_LED_OUT].frames + have->counts[INLINE_LED_IN].frames;
	s->copied.bytes = have->counts[INLINE_LED_OUT].bytes + have->counts[INLINE_LED_IN].bytes;
	s->lost_before = have->counts[INLINE_STOPPED].frames;
}

static int take_session(const struct session_state *st, const struct host *host,
			struct stats_session *s)
{
	const struct nl_link *to = nl_link_by_index(&host->links, st->to_ifindex);

	memcpy(s->name, st->session->name, sizeof(s->name));
	/* Unknown of one whose file can't be read: the devices count all the same. */
	s->direction = st->session->direction ? st->session->direction : DIRECTION_BOTH;
	s->state = show_state(st);
	s->action = st->in_kernel ? st->action : 0;
	take_action(host, s);
	if (to) {
		s->to_ifindex = to->index;
		memcpy(s->to, to->name, sizeof(s->to));
		s->lost_at = dropped_at(st, host);
	}
	s->sources = calloc(st->from.count + 1, sizeof(*s->sources));
	if (!s->sources)
		return -ENOMEM;
	for (size_t i = 0; i < st->from.count; i++) {
		const struct nl_link *link = nl_link_by_index(&host->links, st->from.items[i]);

		if (link)
			take_source(link, s->direction, &s->sources[s->nsources++]);
	}
	take_copies(host, s);
	take_lead(st, host, s);
	return 0;
}

int stats_take(const struct plan *plan, const struct host *host, const char *name,
	       struct stats *stats, struct err *e)
{
	struct stats made = {.items = calloc(plan->nstates + 1, sizeof(*made.items))};
	int r = made.items ? 0 : -ENOMEM;

	for (size_t i = 0; r == 0 && i < plan->nstates; i++) {
		const struct session_state *st = &plan->states[i];
		struct stats_session s = {0};

		if (name && strcmp(name, st->session->name) != 0)
			continue;
		r = take_session(st, host, &s);
		if (r == 0)
			made.items[made.count++] = s;
	}
	if (r < 0) {
		stats_free(&made);
		return err_set(e, r, "out of memory");
	}
	*stats = made;
	return 0;
}

void stats_free(struct stats *stats)
{
	for (size_t i = 0; i < stats->count; i++)
		free(stats->items[i].sources);
	free(stats->items);
	*stats = (struct stats){0};
}

static uint64_t more(uint64_t now, uint64_t before)
{
	return now >= before ? now - before : now;
}

static void count_rates(struct stats_count *now, const struct stats_count *before, double seconds)
{
	now->frames_per_second = (double)more(now->frames, before->frames) / seconds;
	now->bits_per_second = (double)more(now->bytes, before->bytes) * 8 / seconds;
}

static void source_rates(struct stats_source *now, const struct stats_session *before,
			 double seconds)
{
	for (size_t i = 0; i < before->nsources; i++) {
		const struct stats_source *b = &before->sources[i];

		if (b->ifindex != now->ifindex)
			continue;
		count_rates(&now->sent, &b->sent, seconds);
		count_rates(&now->received, &b->received, seconds);
		now->sum.frames_per_second =
			now->sent.frames_per_second + now->received.frames_per_second;
		now->sum.bits_per_second =
			now->sent.bits_per_second + now->received.bits_per_second;
	}
}

static void session_rates(struct stats_session *now, const struct stats_session *before,
			  double seconds)
{
	if ((now->action && now->action == before->action) || (now->counts && before->counts)) {
		count_rates(&now->copied, &before->copied, seconds);
		now->lost_before_per_second =
			(double)more(now->lost_before, before->lost_before) / seconds;
		now->shed_per_second = (double)more(now->shed, before->shed) / seconds;
	}
	if (now->to_ifindex && now->to_ifindex == before->to_ifindex)
		now->lost_at_per_second = (double)more(now->lost_at, before->lost_at) / seconds;
	for (size_t i = 0; i < now->nsources; i++)
		source_rates(&now->sources[i], before, seconds);
}

void stats_rates(struct stats *now, const struct stats *before, double seconds)
{
	for (size_t i = 0; i < now->count; i++)
		for (size_t j = 0; j < before->count; j++)
			if (strcmp(now->items[i].name, before->items[j].name) == 0)
				session_rates(&now->items[i], &before->items[j], seconds);
}

static int busier(const struct stats_count *a, const struct stats_count *b)
{
	return a->bits_per_second < b->bits_per_second ? 1
						       : -(a->bits_per_second > b->bits_per_second);
}

static int compare_sessions(const void *a, const void *b)
{
	const struct stats_session *x = a, *y = b;
	int order = busier(&x->copied, &y->copied);

	return order ? order : strcmp(x->name, y->name);
}

static int compare_sources(const void *a, const void *b)
{
	const struct stats_source *x = a, *y = b;
	int order = busier(&x->sum, &y->sum);

	return order ? order : strverscmp(x->port, y->port);
}

void stats_sort(struct stats *stats)
{
	if (stats->count > 0)
		qsort(stats->items, stats->count, sizeof(*stats->items), compare_sessions);
	for (size_t i = 0; i < stats->count; i++)
		if (stats->items[i].nsources > 0)
			qsort(stats->items[i].sources, stats->items[i].nsources,
			      sizeof(*stats->items[i].sources), compare_sources);
}
