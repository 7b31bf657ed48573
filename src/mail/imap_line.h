/* SPDX-License-Identifier: MIT */
/* The lines of an IMAP server (RFC 3501 7), as far as a client that only appends needs them, and
 * names of mailboxes. */
#ifndef MAIL_IMAP_LINE_H
#define MAIL_IMAP_LINE_H

#include <stdbool.h>
#include <stddef.h>

struct buf;

enum imap_kind { IMAP_TAGGED, IMAP_UNTAGGED, IMAP_CONTINUE };

struct imap_line {
	enum imap_kind kind;
	unsigned tag; /* of ours: "A12" */
	const char
		*words; /* behind the tag, '*' or '+', up to the line end or a literal; borrowed */
	size_t len;
};

#define IMAP_LINE_MAX	 65536
#define IMAP_LITERAL_MAX 1048576L

/* Reads one line with its literals. Returns how long it is; 0 where it is not complete yet; -EPROTO
 * where it is none, or one that nobody needs to be so long. */
long imap_line_read(const char *bytes, size_t len, struct imap_line *line);

/* True where the words start with this word (in any case), followed by a blank or the end. *rest:
 * what follows. */
bool imap_word(const char *words, size_t len, const char *word, const char **rest);

/* Appends the name of a mailbox, UTF-8 with '/' between the levels, as a quoted string in modified
 * UTF-7 (RFC 3501 5.1.3) with the server's delimiter. What is no UTF-8 counts as Latin 1. */
void imap_mailbox(struct buf *b, const char *name, char delimiter);

/* Appends text as a quoted string. */
void imap_quoted(struct buf *b, const char *text);

#endif
