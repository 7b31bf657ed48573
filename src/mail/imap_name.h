/* SPDX-License-Identifier: MIT */
/* Names of mailboxes: here UTF-8 with '/' between the levels, for a server modified UTF-7 (RFC 3501
 * 5.1.3) with its own delimiter. */
#ifndef MAIL_IMAP_NAME_H
#define MAIL_IMAP_NAME_H

#include <stdbool.h>
#include <stddef.h>

struct buf;

/* Appends the server's name of the mailbox. What is no UTF-8 counts as Latin 1; a delimiter within
 * a level becomes '_'. */
void imap_name_put(struct buf *b, const char *name, char delimiter);

/* Appends one level of a name in modified UTF-7 as UTF-8; one that is not coded so stays as it is.
 */
void imap_name_read(const char *level, size_t len, struct buf *b);

#endif
