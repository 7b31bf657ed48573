/* SPDX-License-Identifier: MIT */
/* The lines of an IMAP server (RFC 3501 7), as far as a client that only appends needs them. */
#ifndef MAIL_IMAP_LINE_H
#define MAIL_IMAP_LINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf;

enum imap_kind { IMAP_TAGGED, IMAP_UNTAGGED, IMAP_CONTINUE };

struct imap_line {
	enum imap_kind kind;
	unsigned tag; /* of ours: "A12" */
	const char
		*words; /* behind the tag, '*' or '+', up to the line end or a literal; borrowed */
	size_t len;
	const char *literal; /* behind these words; NULL: none; borrowed */
	size_t literal_len;
};

#define IMAP_LINE_MAX	 65536
#define IMAP_LITERAL_MAX 1048576L

/* Reads one line with its literals. Returns how long it is; 0 where it is not complete yet; -EPROTO
 * where it is none, or one that nobody needs to be so long. */
long imap_line_read(const char *bytes, size_t len, struct imap_line *line);

/* True where the words start with this word (in any case), followed by a blank or the end. *rest:
 * what follows. */
bool imap_word(const char *words, size_t len, const char *word, const char **rest);

/* Reads a string: quoted, an atom, or the line's literal; *rest: what follows. Its text is
 * appended, and is false where there is none, or a NUL in it. */
bool imap_string(const struct imap_line *line, const char *at, struct buf *b, const char **rest);

/* Reads "[APPENDUID VALIDITY SET]" (RFC 4315): the nth (from 0) of the set. */
bool imap_append_uid(const char *words, size_t len, size_t nth, uint32_t *validity, uint32_t *uid);

/* A number at the front, of 32 bits; 0: none (IMAP has no 0 where this is used). */
uint32_t imap_number(const char **at, const char *end);

/* Appends text as a quoted string. */
void imap_quoted(struct buf *b, const char *text);

#endif
