/* SPDX-License-Identifier: MIT */
/* Messages that no server takes, kept in an mbox (mboxrd) that can be sent again. */
#ifndef BOUNCE_MBOX_REJECTS_H
#define BOUNCE_MBOX_REJECTS_H

struct cleaning;
struct err;
struct prepared;
struct rejects;
struct store;

/* The header field that holds why. It is removed when the message is sent again. */
#define REJECTS_FIELD "X-Bounce-Mbox-Refused"

/* temporary: folder for what outgrows memory; borrowed. */
int rejects_open(struct rejects **r, const char *path, const struct cleaning *cleaning,
		 const char *temporary, struct err *e);
/* Appends the cleaned message, with the words of who refused it, unless it was there when the file
 * was opened: each call stands for one more copy in the archive. Durable when it returns. */
int rejects_add(struct rejects *r, struct store *store, const struct prepared *p,
		const struct cleaning *cleaning, const char *words, struct err *e);
void rejects_close(struct rejects *r);

#endif
