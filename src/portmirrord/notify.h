/* SPDX-License-Identifier: MIT */
/* What a service tells systemd (sd_notify(3)), and the descriptors that it lets it keep. */
#ifndef PORTMIRRORD_NOTIFY_H
#define PORTMIRRORD_NOTIFY_H

struct err;
struct notify;

/* socket: the value of NOTIFY_SOCKET. */
int notify_open(const char *socket, struct notify **notify, struct err *e);
void notify_close(struct notify *notify);

/* Assignments, a line each: "READY=1\nSTATUS=…". A NULL notify says nothing. What can't be
 * delivered is lost: the service goes on all the same. */
void notify_say(const struct notify *notify, const char *lines);

/* The descriptor store: the descriptor comes back to the next process of the service, by this
 * name; or it is let go. */
void notify_keep(const struct notify *notify, const char *name, int fd);
void notify_forget(const struct notify *notify, const char *name);

#endif
