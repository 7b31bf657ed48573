/* SPDX-License-Identifier: MIT */
/* The picture, kept up to date by what the kernel tells. */
#include <errno.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "netlink/monitor.h"
#include "portmirror/host.h"
#include "portmirror/inliner.h"

void host_stale_free(struct host_stale *stale)
{
	ifindexes_free(&stale->filters);
	*stale = (struct host_stale){0};
}

static int differ(bool plan, bool seen)
{
	return plan ? HOST_DIFFERS : seen ? HOST_SEEN : HOST_SAME;
}

/* Where the device is, or belongs. */
static size_t place_of(const struct nl_links *links, int index)
{
	size_t low = 0, high = links->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (links->items[middle].index < index)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* In what a plan looks at. */
static bool plans_alike(const struct nl_link *a, const struct nl_link *b)
{
	return strcmp(a->name, b->name) == 0 && strcmp(a->kind, b->kind) == 0 &&
	       strcmp(a->port_kind, b->port_kind) == 0 && a->master == b->master &&
	       a->link == b->link && a->vlan_filtering == b->vlan_filtering && a->type == b->type &&
	       a->has_mac == b->has_mac && memcmp(a->mac, b->mac, sizeof(a->mac)) == 0 &&
	       a->brport == b->brport;
}

static bool looks_alike(const struct nl_link *a, const struct nl_link *b)
{
	return a->flags == b->flags && a->carrier == b->carrier && a->operstate == b->operstate &&
	       a->mtu == b->mtu && a->tx_queue_len == b->tx_queue_len;
}

static int take_link(struct host *host, const struct nl_link *link)
{
	struct nl_links *links = &host->links;
	size_t at = place_of(links, link->index);
	struct nl_link *place;
	int difference;

	if (at == links->count || links->items[at].index != link->index) {
		if (array_room(&links->items, &links->room, links->count, sizeof(*link)) < 0)
			return -ENOMEM;
		place = &links->items[at];
		memmove(place + 1, place, (links->count - at) * sizeof(*place));
		links->count++;
		*place = *link;
		return HOST_DIFFERS;
	}
	place = &links->items[at];
	difference = differ(!plans_alike(place, link), !looks_alike(place, link));
	*place = *link;
	return difference;
}

static int take_brport(struct host *host, const struct nl_link *link)
{
	size_t at = place_of(&host->links, link->index);
	struct nl_link *place = &host->links.items[at];
	bool same;

	/* (Where its membership changes too, the device tells it itself.) */
	if (at == host->links.count || place->index != link->index || place->master != link->master)
		return HOST_SAME;
	same = place->brport == link->brport;
	place->brport = link->brport;
	place->hairpin = link->hairpin;
	return differ(!same, false);
}

static void drop_qdiscs(struct host *host, int ifindex,
			bool (*which)(const struct tc_qdisc *q, const struct tc_qdisc *of),
			const struct tc_qdisc *of)
{
	struct tc_qdiscs *all = &host->qdiscs;
	const struct tc_qdisc *items;
	size_t count = host_qdiscs(host, ifindex, &items), first, kept;

	if (count == 0)
		return;
	first = kept = (size_t)(items - all->items);
	for (size_t i = first; i < first + count; i++)
		if (!which(&all->items[i], of))
			all->items[kept++] = all->items[i];
	memmove(&all->items[kept], &all->items[first + count],
		(all->count - first - count) * sizeof(*items));
	all->count -= first + count - kept;
}

static void drop_filters(struct host *host, int ifindex)
{
	struct tc_filters *all = &host->filters;
	const struct tc_filter *items;
	size_t count = host_filters(host, ifindex, &items), first;

	if (count == 0)
		return;
	first = (size_t)(items - all->items);
	memmove(&all->items[first], &all->items[first + count],
		(all->count - first - count) * sizeof(*items));
	all->count -= count;
}

static bool any_qdisc(const struct tc_qdisc *q, const struct tc_qdisc *of)
{
	(void)q, (void)of;
	return true;
}

/* What was there goes with it: nobody tells of its qdiscs and filters, nor that actions which lead
 * to it have no device any more. */
static int take_link_gone(struct host *host, int index)
{
	struct nl_links *links = &host->links;
	size_t at = place_of(links, index);

	if (at == links->count || links->items[at].index != index)
		return HOST_SAME;
	memmove(&links->items[at], &links->items[at + 1],
		(links->count - at - 1) * sizeof(*links->items));
	links->count--;
	drop_qdiscs(host, index, any_qdisc, NULL);
	drop_filters(host, index);
	for (size_t i = 0; i < host->actions.count; i++)
		if (host->actions.items[i].to_ifindex == index)
			host->actions.items[i].to_ifindex = 0;
	return HOST_DIFFERS;
}

static bool same_qdisc(const struct tc_qdisc *a, const struct tc_qdisc *b)
{
	return a->handle == b->handle && a->parent == b->parent && strcmp(a->kind, b->kind) == 0;
}

/* What ends with, or is replaced by, a qdisc: at the root, all the tree below it. */
static bool in_its_place(const struct tc_qdisc *q, const struct tc_qdisc *of)
{
	if (of->parent == TC_H_ROOT)
		return q->parent != TC_H_INGRESS;
	return q->parent == of->parent;
}

static int take_qdisc(struct host *host, const struct tc_qdisc *qdisc, bool gone,
		      struct host_stale *stale)
{
	struct tc_qdiscs *all = &host->qdiscs;
	const struct tc_qdisc *items;
	size_t count = host_qdiscs(host, qdisc->ifindex, &items), at;

	for (size_t i = 0; i < count && !gone; i++)
		if (same_qdisc(&items[i], qdisc))
			return HOST_SAME;
	drop_qdiscs(host, qdisc->ifindex, in_its_place, qdisc);
	if (!gone) {
		if (array_room(&all->items, &all->room, all->count, sizeof(*qdisc)) < 0)
			return -ENOMEM;
		for (at = all->count; at > 0 && all->items[at - 1].ifindex > qdisc->ifindex; at--)
			all->items[at] = all->items[at - 1];
		all->items[at] = *qdisc;
		all->count++;
	}
	/* Its filters are gone, or come from a block that others share. */
	if (ifindexes_add(&stale->filters, qdisc->ifindex) < 0)
		return -ENOMEM;
	return HOST_DIFFERS;
}

static int take_filters(int ifindex, struct host_stale *stale)
{
	if (ifindex == 0)
		stale->all_filters = true;
	else if (ifindexes_add(&stale->filters, ifindex) < 0)
		return -ENOMEM;
	stale->actions = true; /* those of foreign filters come and go with them */
	return HOST_DIFFERS;
}

int host_take(struct host *host, const struct nl_news *news, struct host_stale *stale)
{
	switch (news->kind) {
	case NL_NEWS_LINK:
		return take_link(host, &news->link);
	case NL_NEWS_LINK_GONE:
		return take_link_gone(host, news->ifindex);
	case NL_NEWS_BRPORT:
		return take_brport(host, &news->link);
	case NL_NEWS_QDISC:
	case NL_NEWS_QDISC_GONE:
		return take_qdisc(host, &news->qdisc, news->kind == NL_NEWS_QDISC_GONE, stale);
	case NL_NEWS_FILTERS:
		return take_filters(news->ifindex, stale);
	case NL_NEWS_ACTIONS:
	default:
		stale->actions = true;
		return HOST_DIFFERS;
	}
}

/* The filters of the stale devices, by ifindex. */
static int read_filters(struct nl *nl, const struct host *host, const struct host_stale *stale,
			struct tc_filters *fresh, struct err *e)
{
	for (size_t i = 0; i < host->qdiscs.count; i++) {
		const struct tc_qdisc *q = &host->qdiscs.items[i];
		int r = 0;

		if (stale->all_filters || ifindexes_have(&stale->filters, q->ifindex))
			r = host_read_hooks(nl, q, fresh, e);
		if (r < 0)
			return r;
	}
	return 0;
}

static void drop_stale(struct host *host, const struct host_stale *stale)
{
	struct tc_filters *all = &host->filters;
	size_t kept = 0;

	for (size_t i = 0; i < all->count && !stale->all_filters; i++)
		if (!ifindexes_have(&stale->filters, all->items[i].ifindex)) {
			if (kept != i)
				all->items[kept] = all->items[i];
			kept++;
		}
	all->count = kept;
}

/* Merges from the end, so that each row is moved once at most. */
static int merge_filters(struct tc_filters *all, const struct tc_filters *fresh)
{
	size_t left = all->count, right = fresh->count, at = left + right;

	while (all->room < at) {
		size_t room = all->room;

		if (array_room(&all->items, &all->room, room, sizeof(*all->items)) < 0)
			return -ENOMEM;
	}
	all->count = at;
	while (right > 0) {
		const struct tc_filter *next = &fresh->items[right - 1];

		if (left > 0 && all->items[left - 1].ifindex > next->ifindex) {
			all->items[--at] = all->items[--left];
		} else {
			all->items[--at] = *next;
			right--;
		}
	}
	return 0;
}

static int renew_filters(struct nl *nl, struct once_hold *hold, struct host *host,
			 const struct host_stale *stale, struct err *e)
{
	struct tc_filters fresh cleanup(tc_filters_free) = {0};
	int r = read_filters(nl, host, stale, &fresh, e);

	if (r < 0)
		return r;
	drop_stale(host, stale);
	r = merge_filters(&host->filters, &fresh);
	if (r < 0)
		return err_set(e, r, "out of memory");
	return host_read_programs(hold, host, &fresh, e);
}

static int renew_actions(struct nl *nl, struct host *host, struct err *e)
{
	struct tc_actions fresh cleanup(tc_actions_free) = {0}, old;
	int r = tc_actions(nl, "mirred", &fresh, e);

	if (r < 0)
		return r;
	old = host->actions;
	host->actions = fresh;
	fresh = old;
	return 0;
}

int host_catch_up(struct nl *nl, struct once_hold *hold, struct host *host,
		  struct host_stale *stale, struct err *e)
{
	int r = 0;

	if (stale->all_filters || stale->filters.count > 0)
		r = renew_filters(nl, hold, host, stale, e);
	if (r == 0)
		stale->filters.count = stale->all_filters = 0;
	if (r == 0 && stale->actions)
		r = renew_actions(nl, host, e);
	if (r == 0)
		stale->actions = false;
	return r;
}

static int by_number(const void *a, const void *b)
{
	const uint32_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

void host_drop_programs(struct host *host)
{
	uint32_t *used = calloc(host->filters.count + 1, sizeof(*used));
	size_t count = 0, kept = 0;

	if (!used)
		return; /* the next time */
	for (size_t i = 0; i < host->filters.count; i++)
		if (host->filters.items[i].bpf_id != 0)
			used[count++] = host->filters.items[i].bpf_id;
	qsort(used, count, sizeof(*used), by_number);
	for (size_t i = 0; i < host->nprograms; i++)
		if (bsearch(&host->programs[i].id, used, count, sizeof(*used), by_number))
			host->programs[kept++] = host->programs[i];
	host->nprograms = kept;
	free(used);
}

/* A copy of count rows, with room for none more. */
static int copy_rows(const void *from, size_t count, size_t size, void *to)
{
	void *rows = calloc(count + 1, size);

	if (!rows)
		return -ENOMEM;
	if (count > 0)
		memcpy(rows, from, count * size);
	*(void **)to = rows;
	return 0;
}

int host_copy(const struct host *host, struct host *copy, struct err *e)
{
	struct host made = {.links.count = host->links.count,
			    .links.room = host->links.count,
			    .qdiscs.count = host->qdiscs.count,
			    .qdiscs.room = host->qdiscs.count,
			    .filters.count = host->filters.count,
			    .filters.room = host->filters.count,
			    .actions.count = host->actions.count,
			    .actions.room = host->actions.count,
			    .nprograms = host->nprograms,
			    .programs_room = host->nprograms,
			    .tcx = host->tcx,
			    .key = host->key,
			    .pins.count = host->pins.count,
			    .pins.room = host->pins.count,
			    .ncopiers = host->ncopiers,
			    .copiers_room = host->ncopiers,
			    .ncounts = host->ncounts,
			    .counts_room = host->ncounts,
			    .ninliners = host->ninliners,
			    .inliners_room = host->ninliners};

	memcpy(made.no_pins, host->no_pins, sizeof(made.no_pins));

	if (copy_rows(host->links.items, host->links.count, sizeof(*host->links.items),
		      &made.links.items) < 0 ||
	    copy_rows(host->qdiscs.items, host->qdiscs.count, sizeof(*host->qdiscs.items),
		      &made.qdiscs.items) < 0 ||
	    copy_rows(host->filters.items, host->filters.count, sizeof(*host->filters.items),
		      &made.filters.items) < 0 ||
	    copy_rows(host->actions.items, host->actions.count, sizeof(*host->actions.items),
		      &made.actions.items) < 0 ||
	    copy_rows(host->programs, host->nprograms, sizeof(*host->programs), &made.programs) <
		    0 ||
	    copy_rows(host->pins.items, host->pins.count, sizeof(*host->pins.items),
		      &made.pins.items) < 0 ||
	    copy_rows(host->copiers, host->ncopiers, sizeof(*host->copiers), &made.copiers) < 0 ||
	    copy_rows(host->counts, host->ncounts, sizeof(*host->counts), &made.counts) < 0 ||
	    copy_rows(host->inliners, host->ninliners, sizeof(*host->inliners), &made.inliners) <
		    0 ||
	    vms_copy(&host->vms, &made.vms) < 0) {
		host_free(&made);
		return err_set(e, -ENOMEM, "out of memory");
	}
	*copy = made;
	return 0;
}
