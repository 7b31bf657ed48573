/* SPDX-License-Identifier: MIT */
/* What mail programs note about a message in its header: read, answered, starred, deleted, … */
#ifndef MAIL_FLAGS_H
#define MAIL_FLAGS_H

#include <stddef.h>

struct buf;
struct mail_field;

enum {
	MAIL_SEEN = 1 << 0,
	MAIL_ANSWERED = 1 << 1,
	MAIL_FLAGGED = 1 << 2,
	MAIL_DELETED = 1 << 3, /* marked, still there */
	MAIL_DRAFT = 1 << 4,
	MAIL_FORWARDED = 1 << 5,
	MAIL_EXPUNGED = 1 << 6, /* Thunderbird: deleted, waits for the folder to be compacted */
	MAIL_PARTIAL = 1 << 7,	/* Thunderbird: the body was never fetched whole */
	MAIL_INTERNAL = 1 << 8, /* no message at all: a server's note to itself */
	MAIL_FLAGS_BITS = 9
};

/* The flags that this field stands for; 0 for any other field. */
unsigned mail_flags_of(const struct mail_field *field);

/* The letters behind ":2," in the name of a Maildir's file; behind "!2," or ";2,", as KMail, mutt
 * and others write where the file system takes no ':'. NULL: none. */
const char *mail_info_of_name(const char *name);
/* How much of the name stays the same whatever the flags. */
size_t mail_base_of_name(const char *name);
/* The flags in the name of a Maildir file (":2,FRS"). */
unsigned mail_flags_of_name(const char *name);

/* The keywords of a Maildir, as Dovecot keeps them: the file dovecot-keywords has lines "0 WORD",
 * to which the letters a, b, … in the names of the files refer. */
#define MAIL_LETTERS 26
struct mail_letters {
	char *words[MAIL_LETTERS]; /* owned; NULL: none */
};
/* Reads that file; -ENOMEM. */
int mail_letters_read(struct mail_letters *letters, const char *text, size_t len);
void mail_letters_free(struct mail_letters *letters);
/* Adds those in the name of a file. */
void mail_keywords_of_name(const char *name, const struct mail_letters *letters, struct buf *b);

/* The words of X-Mozilla-Keys or X-Keywords, and the label in X-Mozilla-Status2 ("$label1"), each
 * one added as " WORD" once, where an IMAP server can take them as keywords. */
void mail_keywords_of(const struct mail_field *field, struct buf *b);

/* Adds text as one word: what no keyword may have becomes '_', after modified UTF-7, as Thunderbird
 * makes a tag's keyword of its name. */
void mail_keyword_add(struct buf *b, const char *text, size_t len);

#endif
