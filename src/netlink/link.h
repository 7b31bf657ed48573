/* SPDX-License-Identifier: MIT */
/* Network devices: what the kernel says of them, and the bridge-port flags that --isolate sets. */
#ifndef NETLINK_LINK_H
#define NETLINK_LINK_H

#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;
struct nl;
struct nl_batch;
struct nlmsghdr;

/* The flags of a bridge port that matter to a mirror's destination. */
enum brport {
	BRPORT_FLOOD = 1 << 0,	     /* unknown unicast is flooded to it */
	BRPORT_MCAST_FLOOD = 1 << 1, /* unregistered multicast likewise */
	BRPORT_BCAST_FLOOD = 1 << 2, /* broadcast likewise */
	BRPORT_LEARNING = 1 << 3,    /* the bridge learns addresses from it */
	BRPORT_ISOLATED = 1 << 4,    /* it can't reach other isolated ports */
	BRPORT_HAIRPIN = 1 << 5,
	BRPORT_ALL = (1 << 6) - 1
};

struct nl_link {
	int index;
	char name[IFNAMSIZ];
	char kind[16]; /* IFLA_INFO_KIND: "veth", "tun", "bridge", …; "" for a physical device */
	char port_kind[16]; /* IFLA_INFO_SLAVE_KIND: "bridge" for a bridge port */
	int master;	    /* ifindex of the bridge (or bond) it belongs to; 0: none */
	/* The device that it is built on (VLAN, macvlan), or a veth's other end, where that is in
	 * this network namespace; 0: none */
	int link;
	unsigned flags; /* IFF_UP, IFF_RUNNING, … */
	bool carrier;
	uint8_t operstate; /* IF_OPER_* */
	unsigned type;	   /* ARPHRD_* */
	unsigned mtu;
	unsigned tx_queue_len;
	uint8_t mac[6];
	bool has_mac;
	bool has_tc_program; /* reserved for tcx; false */
	unsigned brport;     /* enum brport; 0 where port_kind isn't "bridge" */
	bool hairpin;
	bool vlan_filtering; /* of a bridge: its ports reach each other only within a VLAN */
	uint64_t rx_frames, rx_bytes, tx_frames, tx_bytes, tx_dropped, rx_dropped;
};

struct nl_links {
	struct nl_link *items; /* by rising index */
	size_t count, room;
};

/* All devices, in place of what links held (zero-initialise it). To be freed. */
int nl_links(struct nl *nl, struct nl_links *links, struct err *e);
void nl_links_free(struct nl_links *links);
const struct nl_link *nl_link_by_index(const struct nl_links *links, int index);
const struct nl_link *nl_link_by_name(const struct nl_links *links, const char *name);

/* The kernel allows any bytes in a name but '/', ':' and blanks. What is no UTF-8 can't be told in
 * JSON, and becomes '?'; behind it stands the index: "d?:12" is no other device's name. index 0:
 * the kernel is asked for it, where it is needed. */
void nl_link_name(char name[IFNAMSIZ], int index);
/* The index at the end of such a name, which iproute2 takes behind "if"; NULL: it is a real name.
 */
const char *nl_link_number(const char *name);

/* The pure half: reads one RTM_NEWLINK or RTM_DELLINK. -EBADMSG where it isn't one. */
int nl_link_read(const struct nlmsghdr *message, struct nl_link *link);
/* An RTM_NEWLINK of AF_BRIDGE, which tells of a bridge port: index, name, master and brport. */
int nl_link_read_brport(const struct nlmsghdr *message, struct nl_link *link);

/* RTM_SETLINK, AF_BRIDGE, IFLA_PROTINFO: sets those flags of mask to what is in flags. */
void nl_put_brport(struct nl_batch *b, int ifindex, unsigned mask, unsigned flags);

#endif
