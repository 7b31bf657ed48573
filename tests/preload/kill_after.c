/* SPDX-License-Identifier: MIT */
/*
 * For LD_PRELOAD: a program under test dies between two of its changes to the kernel's network
 * state. Each rtnetlink message that changes something is counted; dumps and look-ups pass. A
 * batch goes to the kernel as single messages, with their own flags, so that the answers are those
 * that the program waits for. So is each call of bpf(2) that makes or changes something that others
 * can see (links, pins, the content of maps), and each change of a name in the BPF file system.
 *
 *   KILL_AT=N            SIGKILL at the Nth such message; 0 or unset: never
 *   KILL_WHEN=before     instead of sending it (or "after": as soon as it is sent; the default)
 *   COUNT_FILE=PATH      how many there have been so far, in decimal
 *   MEANWHILE=COMMAND    instead of dying, it waits for this command of a shell's, before it sends
 *                        the message: somebody else was quicker. KILL_AT=all: at each message
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
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

/* Counts one more; true: it is the last, so die behind it. */
static bool another(void)
{
	const char *at = getenv("KILL_AT"), *when = getenv("KILL_WHEN");
	const char *meanwhile = getenv("MEANWHILE");
	bool last;

	count++;
	record();
	last = at && (strtoul(at, NULL, 10) == count || strcmp(at, "all") == 0);
	if (last && meanwhile) {
		unsetenv("LD_PRELOAD"); /* for the command's sake */
		if (system(meanwhile) != 0)
			abort();
		return false;
	}
	if (last && when && strcmp(when, "before") == 0)
		raise(SIGKILL);
	return last;
}

static bool bpf_changes(long command)
{
	return command == BPF_MAP_UPDATE_ELEM || command == BPF_OBJ_PIN ||
	       command == BPF_LINK_CREATE || command == BPF_LINK_UPDATE ||
	       command == BPF_LINK_DETACH;
}

/* libbpf has no other way to bpf(2). */
long syscall(long number, ...)
{
	long (*next)(long number, ...);
	long a[6], result;
	bool last = false;
	va_list args;

	va_start(args, number);
	for (int i = 0; i < 6; i++)
		a[i] = va_arg(args, long);
	va_end(args);
	*(void **)&next = dlsym(RTLD_NEXT, "syscall");
	if (number == SYS_bpf && bpf_changes(a[0]))
		last = another();
	result = next(number, a[0], a[1], a[2], a[3], a[4], a[5]);
	if (last)
		raise(SIGKILL);
	return result;
}

static bool is_bpf_file(const char *path)
{
	return strncmp(path, "/sys/fs/bpf/", 12) == 0;
}

int rename(const char *from, const char *to)
{
	int (*next)(const char *from, const char *to);
	bool last = is_bpf_file(to) && another();
	int result;

	*(void **)&next = dlsym(RTLD_NEXT, "rename");
	result = next(from, to);
	if (last)
		raise(SIGKILL);
	return result;
}

/* (Most are for names that aren't there: only those that were count.) */
int unlink(const char *path)
{
	int (*next)(const char *path);
	bool last = is_bpf_file(path) && access(path, F_OK) == 0 && another();
	int result;

	*(void **)&next = dlsym(RTLD_NEXT, "unlink");
	result = next(path);
	if (last)
		raise(SIGKILL);
	return result;
}

int mkdir(const char *path, mode_t mode)
{
	int (*next)(const char *path, mode_t mode);
	bool last = is_bpf_file(path) && access(path, F_OK) != 0 && another();
	int result;

	*(void **)&next = dlsym(RTLD_NEXT, "mkdir");
	result = next(path, mode);
	if (last)
		raise(SIGKILL);
	return result;
}

static ssize_t send_one(int fd, const struct nlmsghdr *message, int flags,
			const struct sockaddr *to, socklen_t tolen)
{
	bool last = changes_state(message) && another();
	ssize_t sent;

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
