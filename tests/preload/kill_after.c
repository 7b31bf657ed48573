/* SPDX-License-Identifier: MIT */
/*
 * For LD_PRELOAD: a program under test dies between two of its changes to the kernel's network
 * state. Each rtnetlink message that changes something is counted; dumps and look-ups pass. A
 * batch goes to the kernel as single messages, with their own flags, so that the answers are those
 * that the program waits for.
 *
 *   KILL_AT=N            SIGKILL at the Nth such message; 0 or unset: never
 *   KILL_WHEN=before     instead of sending it (or "after": as soon as it is sent; the default)
 *   COUNT_FILE=PATH      how many there have been so far, in decimal
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

typedef ssize_t sendto_fn(int fd, const void *data, size_t len, int flags,
			  const struct sockaddr *to, socklen_t tolen);
typedef ssize_t sendmsg_fn(int fd, const struct msghdr *message, int flags);

static unsigned long count;

static sendto_fn *next_sendto(void)
{
	sendto_fn *function;

	*(void **)&function = dlsym(RTLD_NEXT, "sendto");
	return function;
}

static sendmsg_fn *next_sendmsg(void)
{
	sendmsg_fn *function;

	*(void **)&function = dlsym(RTLD_NEXT, "sendmsg");
	return function;
}

static bool is_rtnetlink(int fd)
{
	int domain, protocol;
	socklen_t len = sizeof(int);

	return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) == 0 && domain == AF_NETLINK &&
	       getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &len) == 0 &&
	       protocol == NETLINK_ROUTE;
}

/* rtnetlink's types come in fours: NEW, DEL, GET, SET (rtnetlink_rcv_msg in the kernel). */
static bool changes_state(const struct nlmsghdr *message)
{
	return message->nlmsg_type >= RTM_BASE && ((message->nlmsg_type - RTM_BASE) & 3) != 2;
}

static void record(void)
{
	const char *path = getenv("COUNT_FILE");
	char text[24];
	int fd;

	if (!path)
		return;
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		abort();
	snprintf(text, sizeof(text), "%lu\n", count);
	if (write(fd, text, strlen(text)) < 0)
		abort();
	close(fd);
}

static ssize_t send_one(int fd, const struct nlmsghdr *message, int flags,
			const struct sockaddr *to, socklen_t tolen)
{
	const char *at = getenv("KILL_AT"), *when = getenv("KILL_WHEN");
	bool last = false;
	ssize_t sent;

	if (changes_state(message)) {
		count++;
		record();
		last = at && strtoul(at, NULL, 10) == count;
	}
	if (last && when && strcmp(when, "before") == 0)
		raise(SIGKILL);
	sent = next_sendto()(fd, message, message->nlmsg_len, flags, to, tolen);
	if (last)
		raise(SIGKILL);
	return sent;
}

ssize_t sendto(int fd, const void *data, size_t len, int flags, const struct sockaddr *to,
	       socklen_t tolen)
{
	const uint8_t *bytes = data;
	size_t done = 0;

	if (!is_rtnetlink(fd))
		return next_sendto()(fd, data, len, flags, to, tolen);
	while (len - done >= sizeof(struct nlmsghdr)) {
		const struct nlmsghdr *message = (const void *)(bytes + done);
		ssize_t sent;

		if (message->nlmsg_len < sizeof(*message) || message->nlmsg_len > len - done)
			abort(); /* the program under test built a wrong message */
		sent = send_one(fd, message, flags, to, tolen);
		if (sent < 0)
			return done > 0 ? (ssize_t)done : sent;
		done += NLMSG_ALIGN(message->nlmsg_len);
		if (done >= len)
			break;
	}
	return (ssize_t)len;
}

ssize_t send(int fd, const void *data, size_t len, int flags)
{
	return sendto(fd, data, len, flags, NULL, 0);
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
	size_t len = 0, done = 0;
	uint8_t *data;
	ssize_t sent;

	if (!is_rtnetlink(fd))
		return next_sendmsg()(fd, message, flags);
	for (size_t i = 0; i < message->msg_iovlen; i++)
		len += message->msg_iov[i].iov_len;
	data = calloc(1, len + 1);
	if (!data)
		abort();
	for (size_t i = 0; i < message->msg_iovlen; i++) {
		memcpy(data + done, message->msg_iov[i].iov_base, message->msg_iov[i].iov_len);
		done += message->msg_iov[i].iov_len;
	}
	sent = sendto(fd, data, len, flags, message->msg_name, message->msg_namelen);
	free(data);
	return sent;
}
