/* SPDX-License-Identifier: MIT */
/*
 * What the kernel tells of changes, unasked: devices, qdiscs, filters, actions. A message is
 * taken as it is where it says all; of filters and actions it says only where to look again.
 */
#ifndef NETLINK_MONITOR_H
#define NETLINK_MONITOR_H

#include <stdint.h>

#include "netlink/link.h"
#include "netlink/tc.h"

struct err;
struct nl_monitor;
struct nlmsghdr;

enum nl_news_kind {
	NL_NEWS_LINK,	    /* a device is there, or has changed */
	NL_NEWS_LINK_GONE,  /* .link: as it was */
	NL_NEWS_BRPORT,	    /* a bridge port's flags: .link has index, master and brport only */
	NL_NEWS_QDISC,	    /* a qdisc is there, or has changed */
	NL_NEWS_QDISC_GONE, /* and with it what hung on it, which nobody tells */
	NL_NEWS_FILTERS,    /* or classes, of ifindex; 0: of a block that devices share */
	NL_NEWS_ACTIONS
};

struct nl_news {
	enum nl_news_kind kind;
	uint32_t sender; /* nl_port() of who asked for the change; 0: the kernel itself */
	int ifindex;
	struct nl_link link;
	struct tc_qdisc qdisc;
};

/* The pure half: 1, or 0 for a message that tells nothing of the above, or -EBADMSG. */
int nl_news_read(const struct nlmsghdr *message, struct nl_news *news);

/* Listens from now on. */
int nl_monitor_open(struct nl_monitor **monitor, struct err *e);
void nl_monitor_close(struct nl_monitor *monitor);
int nl_monitor_fd(const struct nl_monitor *monitor); /* readable while there is news */

/*
 * Calls each() for all the news there is; the number of them. (A change that this process made is
 * among the news as soon as the call that made it returns.) -ENOBUFS: more came than the socket
 * holds, and some were lost; the rest is thrown away, so that what is read from the kernel after
 * this is newer than any message. each() returns 0 or a negative errno, which is returned.
 */
int nl_monitor_take(struct nl_monitor *monitor, int (*each)(const struct nl_news *news, void *data),
		    void *data, struct err *e);

#endif
