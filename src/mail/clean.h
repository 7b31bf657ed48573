/* SPDX-License-Identifier: MIT */
/*
 * From the bytes in an archive to the bytes of the message: unwanted fields go, ">From " loses its
 * quote, every line ends in CRLF. Nothing else changes, unless a repair is asked for. Works on
 * pieces, so that a message of any size passes through a small window.
 */
#ifndef MAIL_CLEAN_H
#define MAIL_CLEAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mail/mbox.h"

struct buf;
struct err;
struct mail_names;

/* SMTP's limit for a line without its end: RFC 5321 4.5.3.1.6. */
#define MAIL_LINE_MAX 998

enum {
	MAIL_REPAIR_NUL = 1 << 0,  /* NUL bytes are left out */
	MAIL_REPAIR_CR = 1 << 1,   /* a CR alone becomes a line end */
	MAIL_REPAIR_LONG = 1 << 2, /* lines are broken before their 999th byte */
	MAIL_REPAIR_SPACE = 1 << 3 /* " From " at a line's start loses its blank */
};

/* Reads "nul,cr,long,space" (any of them) or "all". */
int mail_repair_parse(const char *list, unsigned *repair, struct err *e);

struct mail_facts {
	bool eight_bit; /* a byte over 127 anywhere */
	bool utf8_head; /* … in the header, which is UTF-8 */
	uint64_t nuls;	/* found, whether repaired or not */
	uint64_t crs;
	size_t longest;	   /* line, without its end, before a repair */
	uint64_t repaired; /* changes that repairs have made */
	uint64_t removed;  /* fields */
	uint64_t quotes;   /* lines that may be quoted, whether they were */
	uint64_t leaks;	   /* "From " lines in the header, dropped */
};

struct mail_clean {
	const struct mail_names *remove; /* borrowed */
	enum mbox_quote quote;
	unsigned repair;
	struct mail_facts facts;
	size_t column; /* private: how much of the current line is out */
};

/* As far as a header is looked for. */
#define MAIL_HEAD_ROOM ((size_t)1024 * 1024)

/*
 * Appends the cleaned header with its empty line to out. bytes hold the message's start, at least
 * MAIL_HEAD_ROOM of it where it is longer. Returns where the body begins.
 */
size_t mail_clean_head(struct mail_clean *c, const char *bytes, size_t len, struct buf *out);

/*
 * Appends the cleaned piece of the body to out. Returns how much of it was used: the rest, part of
 * a line, comes again at the front of the next piece. With last everything is used, and a line end
 * is added where there is none.
 */
size_t mail_clean_body(struct mail_clean *c, const char *bytes, size_t len, bool last,
		       struct buf *out);

#endif
