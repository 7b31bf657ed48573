/* SPDX-License-Identifier: MIT */
/* What the two halves of a link share: the connection, and the messages on it. */
#ifndef BOUNCE_MBOX_LINK_PRIVATE_H
#define BOUNCE_MBOX_LINK_PRIVATE_H

#include "bounce-mbox/link.h"
#include "bounce-mbox/talk.h"
#include "mail/sasl.h"

/* As much waits in memory to be sent before more is read. */
#define LINK_BACKLOG ((size_t)1024 * 1024)

struct link {
	struct link_owner *owner;
	struct net *net;
	struct talk talk;
	struct sasl *sasl;
	struct sasl_login login;
	char literal[64]; /* what it is called by, where it has no full name; "" */
	int64_t heard, retry_at;
	unsigned failures, carried;
	bool ready, quitting, fetching;
	bool put_off;	    /* it ends, and has said so of a message */
	bool dropped;	    /* it ends with messages on the way */
	struct job *giving; /* whose body is wanted */
	struct stream stream;
	bool streaming;
};

/* Bytes that wait to be sent. */
size_t link_backlog(const struct link *l);
/* A piece of the body that is wanted, if there is room for it. */
int link_give(struct link *l, struct err *e);
/* That body is not wanted any more. */
void link_give_no_more(struct link *l);

#endif
