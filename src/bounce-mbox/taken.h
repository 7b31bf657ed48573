/* SPDX-License-Identifier: MIT */
/* Which messages in an IMAP account are known to be others than one of the same Message-ID that is
 * asked for. */
#ifndef BOUNCE_MBOX_TAKEN_H
#define BOUNCE_MBOX_TAKEN_H

#include "bounce-mbox/journal_table.h"
#include "mail/imap.h"

/* Zero-initialise it but for the folders of its tables. */
struct taken {
	struct journal_ids uids; /* "VALIDITY UID\nID" of what was sent … */
	struct journal_ids ids;	 /* … and "ID" where the server did not tell them */
};

/* A message of that Message-ID was sent, with the server's words; fails as journal_ids_add(). */
int taken_add(struct taken *t, const char *id, const char *words, struct err *e);
enum imap_whose taken_whose(struct taken *t, const char *id, uint32_t validity, uint32_t uid);
void taken_free(struct taken *t);

#endif
