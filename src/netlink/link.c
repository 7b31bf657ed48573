/* SPDX-License-Identifier: MIT */
#include "netlink/link.h"

#include "base/err.h"
#include "base/mem.h"
#include "base/term.h"
#include "netlink/attr.h"
#include "netlink/nl.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* IFLA_BRPORT_* of the flags of enum brport: one byte each, 0 or 1. */
static const struct {
	uint16_t attr;
	unsigned flag;
} brport_attrs[] = {
	{IFLA_BRPORT_UNICAST_FLOOD, BRPORT_FLOOD},
	{IFLA_BRPORT_MCAST_FLOOD, BRPORT_MCAST_FLOOD},
	{IFLA_BRPORT_BCAST_FLOOD, BRPORT_BCAST_FLOOD},
	{IFLA_BRPORT_LEARNING, BRPORT_LEARNING},
	{IFLA_BRPORT_ISOLATED, BRPORT_ISOLATED},
	{IFLA_BRPORT_MODE, BRPORT_HAIRPIN},
};

static int brport_read(const struct nlattr *nest, struct nl_link *link)
{
	static const uint8_t wanted[] = {
		[IFLA_BRPORT_UNICAST_FLOOD] = AT_LEAST(1), [IFLA_BRPORT_MCAST_FLOOD] = AT_LEAST(1),
		[IFLA_BRPORT_BCAST_FLOOD] = AT_LEAST(1),   [IFLA_BRPORT_LEARNING] = AT_LEAST(1),
		[IFLA_BRPORT_ISOLATED] = AT_LEAST(1),	   [IFLA_BRPORT_MODE] = AT_LEAST(1),
	};
	const struct nlattr *at[COUNT(wanted)];
	int rc = attr_table(attrs_in(nest), wanted, at, COUNT(at));

	if (rc < 0)
		return rc;
	for (size_t i = 0; i < COUNT(brport_attrs); i++) {
		uint8_t on = 0;

		attr_u8(at[brport_attrs[i].attr], &on);
		if (on)
			link->brport |= brport_attrs[i].flag;
	}
	link->hairpin = link->brport & BRPORT_HAIRPIN;
	return 0;
}

static int bridge_read(const struct nlattr *nest, struct nl_link *link)
{
	static const uint8_t wanted[] = {[IFLA_BR_VLAN_FILTERING] = AT_LEAST(1)};
	const struct nlattr *at[COUNT(wanted)];
	uint8_t on = 0;
	int rc = attr_table(attrs_in(nest), wanted, at, COUNT(at));

	if (rc < 0)
		return rc;
	attr_u8(at[IFLA_BR_VLAN_FILTERING], &on);
	link->vlan_filtering = on;
	return 0;
}

static int info_read(const struct nlattr *nest, struct nl_link *link)
{
	static const uint8_t wanted[] = {
		[IFLA_INFO_KIND] = AT_LEAST(1),
		[IFLA_INFO_DATA] = AT_LEAST(0),
		[IFLA_INFO_SLAVE_KIND] = AT_LEAST(1),
		[IFLA_INFO_SLAVE_DATA] = AT_LEAST(0),
	};
	const struct nlattr *at[COUNT(wanted)];

	if (attr_table(attrs_in(nest), wanted, at, COUNT(at)) < 0 ||
	    attr_text(at[IFLA_INFO_KIND], link->kind, sizeof(link->kind)) < 0 ||
	    attr_text(at[IFLA_INFO_SLAVE_KIND], link->port_kind, sizeof(link->port_kind)) < 0)
		return -EBADMSG;
	if (strcmp(link->kind, "bridge") == 0 && bridge_read(at[IFLA_INFO_DATA], link) < 0)
		return -EBADMSG;
	if (strcmp(link->port_kind, "bridge") == 0)
		return brport_read(at[IFLA_INFO_SLAVE_DATA], link);
	return 0;
}

static void counters_read(const struct nlattr *attr, struct nl_link *link)
{
	struct rtnl_link_stats64 stats = {0};

	attr_bytes(attr, &stats, sizeof(stats));
	link->rx_frames = stats.rx_packets;
	link->rx_bytes = stats.rx_bytes;
	link->rx_dropped = stats.rx_dropped;
	link->tx_frames = stats.tx_packets;
	link->tx_bytes = stats.tx_bytes;
	link->tx_dropped = stats.tx_dropped;
}

void nl_link_name(char name[IFNAMSIZ], int index)
{
	char behind[IFNAMSIZ];
	size_t len, room;

	if (term_is_utf8(name))
		return;
	if (index == 0)
		index = (int)if_nametoindex(name);
	len = (size_t)snprintf(behind, sizeof(behind), ":%d", index);
	room = IFNAMSIZ - 1 - len;
	name[room] = '\0';
	term_make_safe(name); /* which it may also be cut for */
	memcpy(name + strlen(name), behind, len + 1);
}

const char *nl_link_number(const char *name)
{
	const char *colon = strrchr(name, ':');

	return colon ? colon + 1 : NULL;
}

static void numbers_read(const struct nlattr *const *at, struct nl_link *link)
{
	uint32_t master = 0, mtu = 0, queue = 0, lower = 0;
	uint8_t carrier = 0;

	attr_u32(at[IFLA_MASTER], &master);
	attr_u32(at[IFLA_MTU], &mtu);
	attr_u32(at[IFLA_TXQLEN], &queue);
	attr_u8(at[IFLA_CARRIER], &carrier);
	attr_u8(at[IFLA_OPERSTATE], &link->operstate);
	if (!at[IFLA_LINK_NETNSID])
		attr_u32(at[IFLA_LINK], &lower);
	link->master = (int)master;
	link->link = (int)lower;
	link->mtu = mtu;
	link->tx_queue_len = queue;
	link->carrier = carrier != 0;
	if (at[IFLA_ADDRESS] && mnl_attr_get_payload_len(at[IFLA_ADDRESS]) == sizeof(link->mac)) {
		attr_bytes(at[IFLA_ADDRESS], link->mac, sizeof(link->mac));
		link->has_mac = true;
	}
	counters_read(at[IFLA_STATS64], link);
}

int nl_link_read(const struct nlmsghdr *message, struct nl_link *link)
{
	static const uint8_t wanted[] = {
		[IFLA_IFNAME] = AT_LEAST(2),
		[IFLA_ADDRESS] = AT_LEAST(0),
		[IFLA_MASTER] = AT_LEAST(4),
		[IFLA_MTU] = AT_LEAST(4),
		[IFLA_LINK] = AT_LEAST(4),
		[IFLA_LINK_NETNSID] = AT_LEAST(4),
		[IFLA_TXQLEN] = AT_LEAST(4),
		[IFLA_CARRIER] = AT_LEAST(1),
		[IFLA_OPERSTATE] = AT_LEAST(1),
		[IFLA_LINKINFO] = AT_LEAST(0),
		/* Up to tx_dropped: Linux 2.6.35 had these already, later ones came behind. */
		[IFLA_STATS64] = AT_LEAST(8 * 8),
	};
	const struct nlattr *at[COUNT(wanted)];
	const struct ifinfomsg *body = mnl_nlmsg_get_payload(message);
	struct nl_link read = {0};

	if ((message->nlmsg_type != RTM_NEWLINK && message->nlmsg_type != RTM_DELLINK) ||
	    mnl_nlmsg_get_payload_len(message) < sizeof(*body) ||
	    attr_table(attrs_of(message, sizeof(*body)), wanted, at, COUNT(at)) < 0 ||
	    !at[IFLA_IFNAME] || attr_text(at[IFLA_IFNAME], read.name, sizeof(read.name)) < 0 ||
	    info_read(at[IFLA_LINKINFO], &read) < 0)
		return -EBADMSG;
	read.index = body->ifi_index;
	nl_link_name(read.name, read.index);
	read.flags = body->ifi_flags;
	read.type = body->ifi_type;
	numbers_read(at, &read);
	*link = read;
	return 0;
}

int nl_link_read_brport(const struct nlmsghdr *message, struct nl_link *link)
{
	static const uint8_t wanted[] = {
		[IFLA_IFNAME] = AT_LEAST(2),
		[IFLA_MASTER] = AT_LEAST(4),
		[IFLA_PROTINFO] = AT_LEAST(0),
	};
	const struct nlattr *at[COUNT(wanted)];
	const struct ifinfomsg *body = mnl_nlmsg_get_payload(message);
	struct nl_link read = {0};
	uint32_t master = 0;

	if (message->nlmsg_type != RTM_NEWLINK ||
	    mnl_nlmsg_get_payload_len(message) < sizeof(*body) || body->ifi_family != AF_BRIDGE ||
	    attr_table(attrs_of(message, sizeof(*body)), wanted, at, COUNT(at)) < 0 ||
	    attr_text(at[IFLA_IFNAME], read.name, sizeof(read.name)) < 0 ||
	    brport_read(at[IFLA_PROTINFO], &read) < 0)
		return -EBADMSG;
	attr_u32(at[IFLA_MASTER], &master);
	read.index = body->ifi_index;
	nl_link_name(read.name, read.index);
	read.master = (int)master;
	*link = read;
	return 0;
}

static int links_add(const struct nlmsghdr *message, void *data)
{
	struct nl_links *links = data;
	int rc = array_room(&links->items, &links->room, links->count, sizeof(*links->items));

	if (rc == 0)
		rc = nl_link_read(message, &links->items[links->count]);
	if (rc == 0)
		links->count++;
	return rc;
}

static int by_index(const void *left, const void *right)
{
	const struct nl_link *a = left, *b = right;

	return (a->index > b->index) - (a->index < b->index);
}

int nl_links(struct nl *nl, struct nl_links *links, struct err *e)
{
	struct nl_links fresh cleanup(nl_links_free) = {0};
	struct {
		struct nlmsghdr header;
		struct ifinfomsg body;
	} request = {
		.header = {.nlmsg_len = sizeof(request),
			   .nlmsg_type = RTM_GETLINK,
			   .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP},
	};
	int rc = -EINTR;

	for (int tries = 0; rc == -EINTR && tries < NL_DUMP_TRIES; tries++) {
		fresh.count = 0;
		rc = nl_dump(nl, &request.header, links_add, &fresh, e);
	}
	if (rc < 0) {
		err_where(e, "listing the network devices");
		return rc;
	}
	/* Before 6.10 the kernel lists them by hash bucket. */
	if (fresh.count > 0)
		qsort(fresh.items, fresh.count, sizeof(*fresh.items), by_index);
	nl_links_free(links);
	*links = fresh;
	fresh = (struct nl_links){0};
	return 0;
}

void nl_links_free(struct nl_links *links)
{
	free(links->items);
	*links = (struct nl_links){0};
}

const struct nl_link *nl_link_by_index(const struct nl_links *links, int index)
{
	struct nl_link key = {.index = index};

	if (links->count == 0)
		return NULL;
	return bsearch(&key, links->items, links->count, sizeof(key), by_index);
}

const struct nl_link *nl_link_by_name(const struct nl_links *links, const char *name)
{
	for (size_t i = 0; i < links->count; i++)
		if (strcmp(links->items[i].name, name) == 0)
			return &links->items[i];
	return NULL;
}

void nl_put_brport(struct nl_batch *b, int ifindex, unsigned mask, unsigned flags)
{
	struct ifinfomsg *body;
	void *extra;
	struct nlmsghdr *message = nl_batch_begin(b, RTM_SETLINK, 0, sizeof(*body), &extra);
	struct nlattr *nest;

	if (!message)
		return;
	body = extra;
	body->ifi_family = AF_BRIDGE;
	body->ifi_index = ifindex;
	nest = mnl_attr_nest_start(message, IFLA_PROTINFO);
	for (size_t i = 0; i < COUNT(brport_attrs); i++)
		if (mask & brport_attrs[i].flag)
			mnl_attr_put_u8(message, brport_attrs[i].attr,
					(flags & brport_attrs[i].flag) != 0);
	mnl_attr_nest_end(message, nest);
	nl_batch_end(b, message);
}
