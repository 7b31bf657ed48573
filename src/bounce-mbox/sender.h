/* SPDX-License-Identifier: MIT */
/* What the parts of the sender share: reading ahead, what became of a message, the rounds. */
#ifndef BOUNCE_MBOX_SENDER_H
#define BOUNCE_MBOX_SENDER_H

#include "base/err.h"
#include "bounce-mbox/link.h"
#include "bounce-mbox/run.h"

#define JOBS	   1024
#define READY_LOW  512
#define READY_HIGH 768
/* With so many that may be sent, the next ones need not be synced yet, and so many are enough for a
 * sync of their own: it costs the same for one as for hundreds, and holds up what is written
 * meanwhile. */
#define READY_ENOUGH 256
#define AHEAD_BYTES  ((size_t)4 * 1024 * 1024)
/* A message that breaks the session, or is put off, so often, is set aside. */
#define TRIES_MAX 3
/* So many failures in a row, and the server is given up. */
#define FAILURES_MAX 10
#define LINKS_MAX    64

/* Jobs of one state, in the archive's order. */
struct queue {
	struct job *first, *last;
	size_t count;
};

struct sender {
	struct link_owner owner; /* first: done() gets its address */
	struct run *run;
	struct job jobs[JOBS];
	struct queue free, new, intent, ready;
	size_t waiting; /* jobs that are new, or on the way to being ready, or ready */
	size_t bytes;	/* that jobs hold */
	bool syncing;
	struct link *links[LINKS_MAX];
	unsigned nlinks;
	size_t next;	    /* item of the archive */
	const char *folder; /* of the message that went last; NULL: none yet */
	bool stopping;
	bool taken; /* the server has taken a message, or greeted us, at least once */
	unsigned refused_in_a_row; /* for the sender or the recipient */
	bool told_used_up;	   /* that the day's allowance is */
	bool told_delivered;	   /* that a message has a Delivered-To of the recipient's */
	bool refreshed;		   /* the secret was got again, and not yet proved */
	int failure;		   /* the error that ends the run; 0: none */
	struct err why;
};

int64_t sender_now(void);
/* The run ends, with this as its error where it is the first one. */
void sender_fail(struct sender *s, const struct err *e);

/* The oldest job of a queue; NULL: none. */
struct job *sender_pop(struct queue *q);
/* Prepares messages as far ahead as makes sense. */
void sender_fill(struct sender *s);
/* New messages become ready once their intents are on the disk. */
void sender_commit(struct sender *s);
/* The job is to be sent once more. */
void sender_again(struct sender *s, struct job *job);
void sender_free_job(struct sender *s, struct job *job);

/* Told by the links: link_owner.done. */
void sender_done(struct link_owner *owner, struct job *job, const struct smtp_told *told,
		 bool blame);
void sender_set_aside(struct sender *s, struct job *job, const char *words);
void sender_doubt(struct sender *s, struct job *job, const char *words);
/* The attempt came to nothing. absent: the server was asked what it has of earlier ones: nothing;
 * else a message that was in doubt stays so. */
void sender_not(struct sender *s, struct job *job, bool absent, const char *words);
/* A pause before an IMAP server is asked what it has. */
void sender_let_settle(struct sender *s);
/* An IMAP server can be asked whether it has a message with a plain id; nobody else can (RFC
 * 1047). */
bool sender_can_ask(const struct sender *s, const struct job *job);
const char *sender_folder(const struct sender *s, const struct job *job);

#endif
