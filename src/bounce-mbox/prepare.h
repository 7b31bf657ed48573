/* SPDX-License-Identifier: MIT */
/* One message on its way: cleaned, measured, named. */
#ifndef BOUNCE_MBOX_PREPARE_H
#define BOUNCE_MBOX_PREPARE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "mail/clean.h"
#include "mail/date.h"

struct err;
struct evp_md_ctx_st;
struct item;
struct mail_names;
struct store;

#define KEY_BYTES 32

/* How messages are cleaned in this run. */
struct cleaning {
	const struct mail_names *remove;
	size_t always; /* so many of these names go in each run */
	unsigned repair;
	const char *recipient; /* of whose earlier deliveries it is told; NULL: nobody's */
};

struct prepared {
	const struct item *item;
	char *id;		      /* Message-ID with its <>; "" where there is none */
	unsigned char key[KEY_BYTES]; /* SHA-256 of it cleaned as in each run: no repair counts, and
					 no quote */
	unsigned char as_sent[KEY_BYTES]; /* of the cleaned message: bounce-mbox 0.1.0's key */
	uint64_t size;			  /* of it */
	struct mail_facts facts;
	bool delivered;	       /* goes with a Delivered-To of the recipient's */
	struct buf keywords;   /* " WORD WORD", from fields that may be removed */
	struct buf mailbox;    /* that Takeout's labels name; empty: the archive's folder counts */
	unsigned flags;	       /* MAIL_*, of the archive and that field */
	struct mail_date date; /* when it was received; else written; else as the archive has it */
	struct buf text;       /* the cleaned message, where it is small; else empty: stream it */
	unsigned char place[KEY_BYTES]; /* of key and mailbox; only where placed */
	bool placed;
	bool owed;     /* the journal says that its mailbox is to get it */
	bool in_doubt; /* the journal says that the server may have it */
};

/* Zero-initialise p, or give one that prepared_free() or prepare() left: its memory is used again.
 */
int prepare(struct prepared *p, struct store *store, const struct item *item,
	    const struct cleaning *cleaning, struct err *e);
void prepared_free(struct prepared *p);
/* Whether an IMAP server's search for its Message-ID finds it where it is, and nothing else. */
bool prepared_is_searchable(const struct prepared *p);
/* The IMAP mailbox that it goes to, below into (NULL: none); levels have '/' between them. */
int prepared_mailbox(const struct prepared *p, const struct store *store, const char *into,
		     struct buf *name);
/* For the journal: it goes to a mailbox, and copies of it may go to others. */
int prepared_place(struct prepared *p, const char *mailbox, struct err *e);

/* The cleaned message again, piece by piece. */
struct stream {
	struct store *store;
	const struct item *item;
	struct mail_clean clean;
	uint64_t at; /* how far the item is read */
	struct buf raw;
	bool body;
	struct prepared *about;	      /* gets keywords and date; may be NULL */
	const struct prepared *same;  /* that it must be, byte for byte; NULL: whatever it is */
	struct evp_md_ctx_st *digest; /* … as far as it was given */
	uint64_t given;
};

void stream_start(struct stream *s, struct store *store, const struct item *item,
		  const struct cleaning *cleaning);
/* Of a message that was prepared: whoever gets all pieces has that very message. */
void stream_again(struct stream *s, struct store *store, const struct prepared *p,
		  const struct cleaning *cleaning);
/* Appends the next piece (about a megabyte) to out. *last: it was the last one. -ESTALE: the
 * archive does not hold the message any more, or not as it was prepared. */
int stream_next(struct stream *s, struct buf *out, bool *last, struct err *e);
void stream_free(struct stream *s);

#endif
