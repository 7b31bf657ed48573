/* SPDX-License-Identifier: MIT */
/*
 * Where the messages of an mbox file begin and end, in one pass over a bounded window, and which
 * of the mbox variants (mbox(5) of qmail, RFC 4155) the whole file is written in.
 */
#ifndef MAIL_MBOX_H
#define MAIL_MBOX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;

enum mbox_format {
	MBOX_AUTO,
	MBOX_O,		 /* only "From " is quoted: ">From " is ambiguous */
	MBOX_RD,	 /* every ">…>From " is quoted once more */
	MBOX_CL,	 /* mboxo with Content-Length */
	MBOX_CL2,	 /* Content-Length, nothing is quoted */
	MBOX_THUNDERBIRD /* a separator is what two header lines follow; quoted like mboxrd */
};

/* "mboxo", … */
const char *mbox_format_name(enum mbox_format format);
int mbox_format_parse(const char *text, enum mbox_format *format, struct err *e);

/* What to take off in a body: how many '>' a line may have in front of "From " to lose one, or all
 * of them. */
enum mbox_quote { MBOX_QUOTE_NONE, MBOX_QUOTE_ONE, MBOX_QUOTE_ANY, MBOX_QUOTE_ALL };
enum mbox_quote mbox_quote_of(enum mbox_format format);

/* Part of a file; last: it reaches the end. */
struct mbox_window {
	const char *bytes;
	size_t len;
	uint64_t at;
	bool last;
};

#define MBOX_NO_DATE INT64_MIN

struct mbox_message {
	uint64_t from;	/* the separator line */
	uint64_t at;	/* the header behind it */
	uint64_t len;	/* of header and body, without the empty line that ends a message */
	int64_t date;	/* of Date:, else of the separator; MBOX_NO_DATE */
	unsigned flags; /* MAIL_* */
};

/* What the pass saw, for the decision. */
struct mbox_seen {
	uint64_t messages;
	uint64_t mozilla;	/* "From - " separators, X-Mozilla-Status */
	uint64_t takeout;	/* headers that begin as Google Takeout writes them */
	uint64_t kept;		/* … with what this or another mail program notes */
	uint64_t lengths;	/* Content-Length fields … */
	uint64_t landed;	/* … that lead to a separator or the end */
	uint64_t inside;	/* "From " within a body so measured, not quoted */
	uint64_t quoted;	/* ">From " */
	uint64_t quoted_deeper; /* ">>From ", … */
	uint64_t bare;		/* "From " in a body, not quoted */
	uint64_t before;	/* bytes before the first separator */
};

/* Reads up to len bytes at an offset; returns how many there are. */
typedef size_t mbox_peek(uint64_t at, char *bytes, size_t len, void *data);

/* Private, but for seen and keep. Zero-initialise all but format, peek and data. */
struct mbox_scan {
	enum mbox_format format;
	mbox_peek *peek; /* to see whether a Content-Length tells the truth */
	void *data;
	struct mbox_seen seen;
	uint64_t keep; /* the next window starts here or earlier */

	uint64_t pos;	   /* where the search goes on */
	uint64_t body;	   /* of the current message */
	uint64_t measured; /* separators before it are text; the current message ends here */
	bool open;
	bool trusted;
	struct mbox_message current;
};

/* A window must be able to hold this much. */
#define MBOX_WINDOW ((size_t)512 * 1024)

enum mbox_event {
	MBOX_MORE,    /* give a window that begins at keep (or earlier) and reaches further */
	MBOX_MESSAGE, /* *message is complete: call again with the same window */
	MBOX_END
};
enum mbox_event mbox_scan_next(struct mbox_scan *scan, const struct mbox_window *window,
			       struct mbox_message *message);

/* The variant, and in why (of size bytes) the reason in a few words. */
enum mbox_format mbox_decide(const struct mbox_seen *seen, char *why, size_t size);

/* Whether Google Takeout wrote the file, and no mail program has worked with it since: there the
 * folder says more than the labels. Some messages may come from elsewhere, and some have fields of
 * mail programs from another life. */
bool mbox_is_takeout(const struct mbox_seen *seen);

#endif
