/* SPDX-License-Identifier: MIT */
/* One link driven by itself, for whoever only wants to ask something. */
#ifndef BOUNCE_MBOX_DIAL_H
#define BOUNCE_MBOX_DIAL_H

#include <stdbool.h>

struct err;
struct link;
struct link_owner;

/* Opens the link, and returns when the server would take a message. */
int dial(struct link *l, struct link_owner *owner, struct err *e);

/* Goes on until that is so, or there is an error: the connection is gone, the server silent, or
 * somebody wants to stop (-EINTR). */
int dial_until(struct link *l, struct link_owner *owner,
	       bool (*there)(const struct link *l, const struct link_owner *owner), struct err *e);

#endif
