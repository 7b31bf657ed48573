/* SPDX-License-Identifier: MIT */
#include "portmirrord/notify.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/err.h"
#include "base/mem.h"

struct notify {
	int fd;
	struct sockaddr_un address;
	socklen_t len;
};

int notify_open(const char *socket_name, struct notify **notify, struct err *e)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	size_t len = strlen(socket_name);
	struct notify *made;

	if (len < 2 || len >= sizeof(address.sun_path) ||
	    (*socket_name != '/' && *socket_name != '@'))
		return err_set(e, -EINVAL, "NOTIFY_SOCKET names no socket: %s", socket_name);
	memcpy(address.sun_path, socket_name, len);
	if (*socket_name == '@') /* one without a file */
		address.sun_path[0] = '\0';
	made = calloc(1, sizeof(*made));
	if (!made)
		return err_set(e, -ENOMEM, "out of memory");
	made->address = address;
	made->len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
	made->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (made->fd < 0) {
		free(made);
		return err_sys(e, -errno, "can't open a socket to systemd");
	}
	*notify = made;
	return 0;
}

void notify_close(struct notify *notify)
{
	if (!notify)
		return;
	fd_close_at(&notify->fd);
	free(notify);
}

/* fd: goes along; -1: none. */
static void deliver(const struct notify *notify, const char *lines, int fd)
{
	union {
		struct cmsghdr header; /* for its alignment */
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = {0};
	struct sockaddr_un address = notify->address;
	char text[512];
	struct iovec part = {.iov_base = text, .iov_len = strnlen(lines, sizeof(text))};
	struct msghdr message = {.msg_name = &address,
				 .msg_namelen = notify->len,
				 .msg_iov = &part,
				 .msg_iovlen = 1};

	memcpy(text, lines, part.iov_len);
	if (fd >= 0) {
		struct cmsghdr *header = &control.header;

		header->cmsg_level = SOL_SOCKET;
		header->cmsg_type = SCM_RIGHTS;
		header->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(header), &fd, sizeof(fd));
		message.msg_control = &control;
		message.msg_controllen = sizeof(control.bytes);
	}
	(void)sendmsg(notify->fd, &message, MSG_NOSIGNAL);
}

void notify_say(const struct notify *notify, const char *lines)
{
	if (notify)
		deliver(notify, lines, -1);
}

void notify_keep(const struct notify *notify, const char *name, int fd)
{
	char lines[300];

	snprintf(lines, sizeof(lines), "FDSTORE=1\nFDPOLL=0\nFDNAME=%s", name);
	if (notify)
		deliver(notify, lines, fd);
}

void notify_forget(const struct notify *notify, const char *name)
{
	char lines[300];

	snprintf(lines, sizeof(lines), "FDSTOREREMOVE=1\nFDNAME=%s", name);
	notify_say(notify, lines);
}
