/* SPDX-License-Identifier: MIT */
#ifndef BOUNCE_MBOX_VERIFY_H
#define BOUNCE_MBOX_VERIFY_H

struct cleaning;
struct err;
struct item;
struct report;
struct store;

/* Called for each message; an error ends the walk. */
typedef int verify_visit(void *data, struct store *store, const struct item *item, struct err *e);
/* Shows each message of what there is to compare with. Returns 0, 1 where that keeps only one of
 * several copies, or an error. */
typedef int verify_walk(void *export, verify_visit *visit, void *data, struct err *e);

/* The walk over a struct store. */
verify_walk verify_store;

/*
 * Compares an archive with an account that it was sent to, or an export of it: by the hash of each
 * message's body and of those of its fields that no server touches. Tells the report which are
 * missing, changed (the same Message-ID, another content) or doubled. Returns how many kinds of
 * difference there are, 0 where all is well, or an error.
 */
int verify(struct store *archive, verify_walk *walk, void *export, const struct cleaning *cleaning,
	   struct report *report, struct err *e);

#endif
