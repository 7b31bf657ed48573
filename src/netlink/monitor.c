/* SPDX-License-Identifier: MIT */
#include "netlink/monitor.h"

#include "base/err.h"
#include "base/mem.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <sys/socket.h>

/*
 * A message about a device takes some 4 KiB of the socket's buffer, and a port that comes up on a
 * bridge makes about six: this holds what 300 of them do while we are busy. (The memory is the
 * kernel's, and in use only while there are messages.)
 */
#define NEWS_ROOM    (8 << 20)
#define MESSAGE_ROOM 32768

struct nl_monitor {
	struct mnl_socket *socket;
	char buffer[MESSAGE_ROOM] __attribute__((aligned(8)));
};

/* In place of a device's index, where filters are on a block that several devices share
 * (TCM_IFINDEX_MAGIC_BLOCK, an unsigned number, in linux/rtnetlink.h). */
#define SHARED_BLOCK (-1)

static int read_link(const struct nlmsghdr *message, struct nl_news *news)
{
	const struct ifinfomsg *body = mnl_nlmsg_get_payload(message);
	bool gone = message->nlmsg_type == RTM_DELLINK;
	int r;

	if (mnl_nlmsg_get_payload_len(message) < sizeof(*body))
		return -EBADMSG;
	if (body->ifi_family == AF_BRIDGE && gone)
		return 0; /* the port has left its bridge: the device itself tells that too */
	if (body->ifi_family != AF_BRIDGE && body->ifi_family != AF_UNSPEC)
		return 0;
	if (body->ifi_family == AF_BRIDGE) {
		news->kind = NL_NEWS_BRPORT;
		r = nl_link_read_brport(message, &news->link);
	} else {
		news->kind = gone ? NL_NEWS_LINK_GONE : NL_NEWS_LINK;
		r = nl_link_read(message, &news->link);
	}
	news->ifindex = news->link.index;
	return r < 0 ? r : 1;
}

static int read_qdisc(const struct nlmsghdr *message, struct nl_news *news)
{
	int r = tc_qdisc_read(message, &news->qdisc);

	if (r < 0)
		return r;
	news->kind = message->nlmsg_type == RTM_DELQDISC ? NL_NEWS_QDISC_GONE : NL_NEWS_QDISC;
	news->ifindex = news->qdisc.ifindex;
	return 1;
}

static int read_filters(const struct nlmsghdr *message, struct nl_news *news)
{
	const struct tcmsg *body = mnl_nlmsg_get_payload(message);

	if (mnl_nlmsg_get_payload_len(message) < sizeof(*body))
		return -EBADMSG;
	news->kind = NL_NEWS_FILTERS;
	news->ifindex = body->tcm_ifindex == SHARED_BLOCK ? 0 : body->tcm_ifindex;
	return 1;
}

int nl_news_read(const struct nlmsghdr *message, struct nl_news *news)
{
	*news = (struct nl_news){.sender = message->nlmsg_pid};
	switch (message->nlmsg_type) {
	case RTM_NEWLINK:
	case RTM_DELLINK:
		return read_link(message, news);
	case RTM_NEWQDISC:
	case RTM_DELQDISC:
		return read_qdisc(message, news);
	case RTM_NEWTCLASS: /* a class takes its filters with it */
	case RTM_DELTCLASS:
	case RTM_NEWTFILTER:
	case RTM_DELTFILTER:
	case RTM_NEWCHAIN:
	case RTM_DELCHAIN:
		return read_filters(message, news);
	case RTM_NEWACTION:
	case RTM_DELACTION:
		news->kind = NL_NEWS_ACTIONS;
		return 1;
	default:
		return 0;
	}
}

int nl_monitor_open(struct nl_monitor **monitor, struct err *e)
{
	struct nl_monitor *made = calloc(1, sizeof(*made));
	int room = NEWS_ROOM, fd;

	if (!made)
		return err_set(e, -ENOMEM, "out of memory");
	made->socket = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (!made->socket ||
	    mnl_socket_bind(made->socket, RTMGRP_LINK | RTMGRP_TC, MNL_SOCKET_AUTOPID) < 0) {
		int r = err_sys(e, -errno, "can't listen to the kernel's news");

		nl_monitor_close(made);
		return r;
	}
	fd = mnl_socket_get_fd(made->socket);
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room)) < 0)
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof(room));
	*monitor = made;
	return 0;
}

void nl_monitor_close(struct nl_monitor *monitor)
{
	if (!monitor)
		return;
	if (monitor->socket)
		mnl_socket_close(monitor->socket);
	free(monitor);
}

int nl_monitor_fd(const struct nl_monitor *monitor)
{
	return mnl_socket_get_fd(monitor->socket);
}

/* The next datagram: its length; 0: none there. One that is cut or not the kernel's: -EBADMSG. */
static int receive(struct nl_monitor *monitor)
{
	for (;;) {
		struct sockaddr_nl from = {0};
		socklen_t len = sizeof(from);
		ssize_t got =
			recvfrom(nl_monitor_fd(monitor), monitor->buffer, sizeof(monitor->buffer),
				 MSG_DONTWAIT | MSG_TRUNC, (struct sockaddr *)&from, &len);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return errno == EAGAIN ? 0 : -errno;
		if (from.nl_pid != 0)
			continue; /* only the kernel may tell us anything */
		if ((size_t)got > sizeof(monitor->buffer))
			return -ENOBUFS; /* as good as lost */
		return (int)got;
	}
}

static void throw_away(struct nl_monitor *monitor)
{
	int got;

	do
		got = receive(monitor);
	while (got > 0 || got == -ENOBUFS);
}

int nl_monitor_take(struct nl_monitor *monitor, int (*each)(const struct nl_news *news, void *data),
		    void *data, struct err *e)
{
	int got, count = 0;

	while ((got = receive(monitor)) > 0) {
		const struct nlmsghdr *m = (const void *)monitor->buffer;

		for (; mnl_nlmsg_ok(m, got); m = mnl_nlmsg_next(m, &got)) {
			struct nl_news news;
			int r = nl_news_read(m, &news);

			if (r > 0 && ++count > 0)
				r = each(&news, data);
			if (r < 0)
				return err_sys(e, r, "can't take in the kernel's news");
		}
	}
	if (got == -ENOBUFS) {
		throw_away(monitor);
		return err_set(e, -ENOBUFS, "the kernel had more news than we could take");
	}
	return got < 0 ? err_sys(e, got, "can't receive the kernel's news") : count;
}
