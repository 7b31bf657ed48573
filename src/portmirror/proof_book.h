/* SPDX-License-Identifier: MIT */
/*
 * The book of the proof: how often each frame was seen at the sources and at the destination.
 * Pure, of bounded size: entries that are settled make room for new ones.
 */
#ifndef PORTMIRROR_PROOF_BOOK_H
#define PORTMIRROR_PROOF_BOOK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct frame_mark;
struct proof_counts;

enum book_side {
	BOOK_SENT,
	BOOK_PASSED, /* sent, at a bridge's own device: it has entered at a port of it before */
	BOOK_RECEIVED,
	BOOK_COPIED
};

struct book_view {
	enum book_side side;
	uint16_t source; /* of BOOK_PASSED, BOOK_RECEIVED: which one, below UINT16_MAX; of
			    BOOK_COPIED: which destination, below SESSION_TO_MAX */
	bool inside;	 /* the measured time; a view outside of it is not demanded, but excuses */
};

struct book;

enum book_kind {
	BOOK_FULL = 0,	      /* every frame is to be copied */
	BOOK_PARTIAL = 1,     /* some are; what is missing is left out, not lost */
	BOOK_FLOWS = 2,	      /* each flow to the same destination */
	BOOK_WHOLE_FLOWS = 4, /* all of a flow's frames are copied, or none */
};

/* kind: of enum book_kind, together. It grows up to limit entries (a power of two) of 64 bytes.
 * NULL: out of memory. */
struct book *book_new(size_t limit, unsigned kind);
void book_free(struct book *book);

/* False: the book is full, and the view is not in it. now: milliseconds, of any clock that only
 * goes forward. */
bool book_add(struct book *book, const struct frame_mark *mark, const struct book_view *view,
	      uint64_t now);

/* Settles what is old enough in the next of so many parts of the book. To be called between passes
 * over all rings, never in the midst of one. */
void book_sweep(struct book *book, unsigned parts, uint64_t now);

/* Settles all, and pairs missing frames with unexpected ones: those are altered. Ends the book. */
void book_close(struct book *book);

/* What is settled so far: all but unseen and cut. */
void book_counts(const struct book *book, struct proof_counts *counts);

#endif
