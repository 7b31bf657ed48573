/* SPDX-License-Identifier: MIT */
/* The counters of the keeper's picture: the kernel tells of no change of theirs. */
#include <stddef.h>

#include "base/mem.h"
#include "netlink/nl.h"
#include "portmirrord/keeper.h"
#include "portmirrord/keeper_private.h"

/* Both by rising index. */
static void copy_link_counters(struct nl_links *to, const struct nl_links *from)
{
	for (size_t i = 0, j = 0; i < to->count; i++) {
		struct nl_link *link = &to->items[i];
		const struct nl_link *now;

		while (j < from->count && from->items[j].index < link->index)
			j++;
		if (j == from->count || from->items[j].index != link->index)
			continue;
		now = &from->items[j];
		link->rx_frames = now->rx_frames;
		link->rx_bytes = now->rx_bytes;
		link->rx_dropped = now->rx_dropped;
		link->tx_frames = now->tx_frames;
		link->tx_bytes = now->tx_bytes;
		link->tx_dropped = now->tx_dropped;
	}
}

static void copy_action_counters(struct tc_actions *to, const struct tc_actions *from)
{
	for (size_t i = 0; i < to->count; i++) {
		struct tc_action *action = &to->items[i];

		for (size_t j = 0; j < from->count; j++) {
			if (from->items[j].index != action->index)
				continue;
			action->frames = from->items[j].frames;
			action->bytes = from->items[j].bytes;
			action->dropped = from->items[j].dropped;
			action->overlimits = from->items[j].overlimits;
			action->bound = from->items[j].bound;
		}
	}
}

int keeper_refresh(struct keeper *k, unsigned milliseconds, struct err *e)
{
	struct nl_links links cleanup(nl_links_free) = {0};
	struct tc_actions actions cleanup(tc_actions_free) = {0};
	int r;

	if (k->refreshed != 0 && loop_now() - k->refreshed < milliseconds)
		return 0;
	r = nl_links(k->engine.nl, &links, e);
	if (r == 0)
		r = tc_actions(k->engine.nl, "mirred", &actions, e);
	if (r == 0)
		r = keeper_look_at_copiers(k, e);
	if (r < 0)
		return r;
	copy_link_counters(&k->view.host.links, &links);
	copy_action_counters(&k->view.host.actions, &actions);
	k->refreshed = loop_now();
	k->generation++;
	return 0;
}

uint64_t keeper_probes(const struct keeper *k, const char *session)
{
	return prober_sent(k->prober, session);
}
