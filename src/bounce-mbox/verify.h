/* SPDX-License-Identifier: MIT */
#ifndef BOUNCE_MBOX_VERIFY_H
#define BOUNCE_MBOX_VERIFY_H

struct cleaning;
struct err;
struct report;
struct store;

/*
 * Compares an archive with an export of the account that it was sent to: by the hash of each
 * message's body and of those of its fields that no server touches. Tells the report which are
 * missing, changed (the same Message-ID, another content) or doubled. Returns how many kinds of
 * difference there are, 0 where all is well, or an error.
 */
int verify(struct store *archive, struct store *export, const struct cleaning *cleaning,
	   struct report *report, struct err *e);

#endif
