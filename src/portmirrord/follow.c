/* SPDX-License-Identifier: MIT */
#include "portmirrord/follow.h"

#include <errno.h>
#include <net/if_arp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "base/err.h"
#include "base/hash.h"
#include "base/loop.h"
#include "base/mem.h"
#include "netlink/monitor.h"
#include "netlink/nl.h"
#include "portmirror/direct.h"
#include "portmirror/engine.h"
#include "portmirror/ours.h"

/* How our filters on a device stood before somebody else changed something there. */
struct before {
	int ifindex;
	uint64_t ours; /* 0: none */
};

struct follow {
	struct follow_config config;
	struct nl_monitor *monitor;
	struct loop_watch *watch;
	struct host_stale stale;
	struct before *before;
	size_t nbefore, before_room;
	struct ifindexes wiped, touched, taps;
	int what;  /* FOLLOW_*, so far */
	bool lost; /* news that was not taken in: nobody tells it again */
};

static uint64_t ours_on(const struct follow *f, int ifindex)
{
	const struct tc_filter *filters;
	size_t count = host_filters(f->config.host, ifindex, &filters);
	uint64_t hash = HASH_START;
	bool any = false;

	for (size_t i = 0; i < count; i++) {
		const struct tc_filter *t = &filters[i];
		const uint64_t told[] = {t->parent,	   t->handle,
					 t->pref,	   t->chain,
					 t->bpf_code_hash, t->nactions ? t->actions[0].index : 0};

		if (!ours_filter(t, f->config.engine->store.house) &&
		    direct_does(t, f->config.engine->store.house) == DIRECT_NONE)
			continue;
		any = true;
		for (size_t j = 0; j < COUNT(told); j++)
			hash = hash_number(hash, told[j]);
		hash = hash_bytes(hash, t->kind, strlen(t->kind));
		hash = hash_bytes(hash, t->bpf_name, strlen(t->bpf_name));
	}
	return any ? hash : 0;
}

static int remember(struct follow *f, int ifindex)
{
	for (size_t i = f->nbefore; i-- > 0;)
		if (f->before[i].ifindex == ifindex)
			return 0;
	if (array_room(&f->before, &f->before_room, f->nbefore, sizeof(*f->before)) < 0)
		return -ENOMEM;
	f->before[f->nbefore++] = (struct before){ifindex, ours_on(f, ifindex)};
	return 0;
}

static bool is_tap(const struct nl_link *link)
{
	return link->type == ARPHRD_ETHER && strcmp(link->kind, "tun") == 0;
}

static int note_tap(struct follow *f, const struct nl_news *news)
{
	const struct nl_link *had = nl_link_by_index(&f->config.host->links, news->ifindex);
	bool same = news->kind == NL_NEWS_LINK && had && had->carrier == news->link.carrier &&
		    strcmp(had->name, news->link.name) == 0;

	if (same || !is_tap(&news->link))
		return 0;
	return ifindexes_add(&f->taps, news->ifindex);
}

/* How urgent the news is: nothing passes a device that is down before and behind it. */
static int urgency(const struct follow *f, const struct nl_news *news)
{
	const struct nl_link *had = nl_link_by_index(&f->config.host->links, news->ifindex);
	bool was_up = had && had->flags & IFF_UP, is_up = news->link.flags & IFF_UP;

	if (news->kind != NL_NEWS_LINK || was_up)
		return FOLLOW_PLAN;
	return is_up ? FOLLOW_PLAN | FOLLOW_UP : FOLLOW_SOON;
}

static int take_in(const struct nl_news *news, void *data)
{
	struct follow *f = data;
	bool ours = news->sender == nl_port(f->config.engine->nl);
	int what = urgency(f, news);
	int r = 0;

	if (news->kind == NL_NEWS_LINK || news->kind == NL_NEWS_LINK_GONE)
		r = note_tap(f, news);
	else if (!ours && news->kind != NL_NEWS_ACTIONS && news->kind != NL_NEWS_BRPORT)
		r = remember(f, news->ifindex);
	if (r < 0)
		return r;
	r = host_take(f->config.host, news, &f->stale);
	if (r < 0)
		return r;
	if (r != HOST_SAME)
		f->what |= FOLLOW_SEEN | (what & FOLLOW_UP);
	if (r == HOST_DIFFERS && !ours)
		f->what |= what;
	return 0;
}

/* What others have changed; and what was ours there before, and is not any more. */
static int find_wiped(struct follow *f)
{
	int r = 0;

	for (size_t i = 0; i < f->nbefore && r == 0; i++) {
		const struct before *b = &f->before[i];

		r = ifindexes_add(&f->touched, b->ifindex);
		if (r == 0 && b->ours != 0 && ours_on(f, b->ifindex) != b->ours &&
		    nl_link_by_index(&f->config.host->links, b->ifindex))
			r = ifindexes_add(&f->wiped, b->ifindex);
	}
	if (r == 0)
		f->nbefore = 0;
	return r;
}

static int all_anew(struct follow *f, struct err *e)
{
	struct host *host = f->config.host;
	struct engine *engine = f->config.engine;
	struct host fresh = {0};
	int r;

	f->lost = true; /* until all that follows is done */
	r = host_look(engine->nl, &engine->hold, engine->house, false, &fresh, e);

	if (r < 0)
		return r;
	r = host_lost_links(&host->pins, &fresh.pins, &fresh.links, &f->wiped, e);
	fresh.vms = host->vms;
	host->vms = (struct vms){0};
	host_free(host);
	*host = fresh;
	host_stale_free(&f->stale);
	f->nbefore = 0;
	f->what |= FOLLOW_SEEN | FOLLOW_PLAN;
	for (size_t i = 0; i < host->links.count && r == 0; i++)
		if (is_tap(&host->links.items[i]))
			r = ifindexes_add(&f->taps, host->links.items[i].index);
	f->lost = r < 0;
	return r < 0 ? err_set(e, r, "out of memory") : 0;
}

static int told(struct follow *f)
{
	int what = f->what;

	f->what = 0;
	return what;
}

static int take_news(struct follow *f, struct err *e)
{
	int r = nl_monitor_take(f->monitor, take_in, f, e);

	f->lost |= r < 0;
	if (r != -ENOBUFS)
		return r;
	f->what |= FOLLOW_OVERRUN;
	return 0;
}

int follow_take(struct follow *f, struct err *e)
{
	int r = take_news(f, e);

	if (r >= 0)
		r = f->lost ? all_anew(f, e)
			    : host_catch_up(f->config.engine->nl, &f->config.engine->hold,
					    f->config.host, &f->stale, e);
	if (r >= 0 && find_wiped(f) < 0)
		r = err_set(e, -ENOMEM, "out of memory");
	return r < 0 ? r : told(f);
}

int follow_renew(struct follow *f, struct err *e)
{
	int r = take_news(f, e);

	if (r >= 0)
		r = all_anew(f, e);
	return r < 0 ? r : told(f);
}

static void readable(uint32_t events, void *data)
{
	struct follow *f = data;

	(void)events; /* an error is told by reading, too */
	f->config.news(f->config.data);
}

int follow_new(const struct follow_config *config, struct follow **follow, struct err *e)
{
	struct follow *made = calloc(1, sizeof(*made));
	int r;

	if (!made)
		return err_set(e, -ENOMEM, "out of memory");
	made->config = *config;
	r = nl_monitor_open(&made->monitor, e);
	if (r == 0)
		r = loop_watch(config->loop, nl_monitor_fd(made->monitor), EPOLLIN, readable, made,
			       &made->watch, e);
	if (r == 0)
		r = all_anew(made, e);
	if (r < 0) {
		follow_free(made);
		return r;
	}
	*follow = made;
	return 0;
}

void follow_free(struct follow *f)
{
	if (!f)
		return;
	loop_unwatch(f->config.loop, f->watch);
	nl_monitor_close(f->monitor);
	host_stale_free(&f->stale);
	ifindexes_free(&f->wiped);
	ifindexes_free(&f->touched);
	ifindexes_free(&f->taps);
	free(f->before);
	free(f);
}

struct ifindexes *follow_wiped(struct follow *f)
{
	return &f->wiped;
}

struct ifindexes *follow_touched(struct follow *f)
{
	return &f->touched;
}

struct ifindexes *follow_taps(struct follow *f)
{
	return &f->taps;
}
