/* SPDX-License-Identifier: MIT */
/* One connection of a run: it opens, carries messages, breaks, opens again. */
#ifndef BOUNCE_MBOX_LINK_H
#define BOUNCE_MBOX_LINK_H

#include <stdbool.h>
#include <stdint.h>

#include "bounce-mbox/prepare.h"
#include "mail/smtp.h"

struct err;
struct link;
struct run;

enum job_state {
	JOB_FREE,
	JOB_NEW,    /* prepared */
	JOB_INTENT, /* its intent is on its way to the disk */
	JOB_READY,  /* may be sent */
	JOB_ON_WAY
};

struct job {
	enum job_state state;
	struct prepared p;
	size_t index; /* in the archive: its place in the order */
	unsigned tries;
	bool again;		   /* it is in doubt: an earlier attempt may have put it there */
	bool raw;		   /* has bytes over 127, which the server did not offer to take */
	bool utf8;		   /* says SMTPUTF8: the server refused it without */
	bool bare;		   /* goes without its keywords */
	struct buf resent;	   /* the Resent- block; empty: none */
	struct buf mailbox, flags; /* for IMAP */
	char date[32];
	struct job *next; /* in the queue of its state */
};

/* What the links tell the sender. */
struct link_owner {
	struct run *run;
	struct job *jobs; /* a message's id is its index here */
	/* Of each message that was sent or not; NULL where none is given to a link. */
	void (*done)(struct link_owner *owner, struct job *job, const struct smtp_told *told,
		     bool blame);
	/* For link_fetch() only; an error ends the link. */
	int (*piece)(struct link_owner *owner, const char *bytes, size_t len, bool last,
		     struct err *e);
	bool fetched; /* all of it */
	bool tls_seen;
	char *secret; /* as last got */
	int64_t now;
};

struct link *link_new(struct link_owner *owner);
void link_free(struct link *l);

/* Connects, where it is closed: 0, or the error that came of it. */
int link_open(struct link *l, struct err *e);
bool link_is_open(const struct link *l);
/* When it makes sense to open it again; 0: now. Counts failures in a row. */
int64_t link_retry_at(const struct link *l);
unsigned link_failures(const struct link *l);

/* Whether a message may be handed to it now, and doing so. */
bool link_takes(const struct link *l);
int link_send(struct link *l, struct job *job, struct err *e);
/* It has carried as many messages as one connection may. */
bool link_used_up(const struct link *l);
size_t link_load(const struct link *l); /* messages on the way */

/* Puts into the output what can be said now; errors as of link_hear(). */
int link_go_on(struct link *l, struct err *e);
/* Takes in what the server said and acts on it. An error has closed the link, and everything that
 * was on the way has been told to the owner. */
int link_hear(struct link *l, struct err *e);
/* Sends what there is to send, as far as it goes. */
int link_flush(struct link *l, struct err *e);
/* Asks an IMAP server for all mail, in the mailbox below only unless that is NULL; piece() gets it.
 */
int link_fetch(struct link *l, const char *below, struct err *e);
/* Whether it keeps but one copy of a message, wherever that was put. */
bool link_keeps_one(const struct link *l);
/* Says QUIT; it closes when the server has answered. */
void link_quit(struct link *l);
/* Breaks it off. What is on the way is told. failed: as the server's fault. */
void link_drop(struct link *l, bool failed);

int link_fd(const struct link *l);
short link_events(const struct link *l);
/* So many seconds it waits for a word now. */
int link_patience(const struct link *l);
/* When it has waited too long for a word; INT64_MAX: it does not wait. */
int64_t link_deadline(const struct link *l);
uint64_t link_size_max(const struct link *l);
/* Whether the greeted server takes bytes over 127 as they are. */
bool link_is_eight_bit(const struct link *l);

#endif
