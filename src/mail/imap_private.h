/* SPDX-License-Identifier: MIT */
/* What the two halves of the IMAP machine share: the session, and the mails in it. */
#ifndef MAIL_IMAP_PRIVATE_H
#define MAIL_IMAP_PRIVATE_H

#include "base/buf.h"
#include "mail/imap.h"

/* Messages on the way at once, where literals need no waiting. */
#define MAILS_MAX 16

enum asked {
	ASKED_CAPABILITY,
	ASKED_STARTTLS,
	ASKED_AUTH,
	ASKED_LIST,
	ASKED_EXAMINE,
	ASKED_SEARCH,
	ASKED_UNSELECT,
	ASKED_CREATE,
	ASKED_SUBSCRIBE,
	ASKED_APPEND,
	ASKED_LOGOUT
};

enum step { STEP_NONE, STEP_ASK, STEP_MAKE, STEP_APPEND, STEP_GO_AHEAD, STEP_BODY };

struct mail {
	struct smtp_message message;
	unsigned tag; /* of its APPEND; 0: not said yet */
	bool whole;   /* its last byte is in the output */
	uint64_t end; /* … and has left when so many bytes have */
	bool told_body;
	enum smtp_result result;
	bool decided;
	struct smtp_reply reply;
};

struct question {
	enum asked asked;
	unsigned tag;
};

struct imap {
	struct imap_setup setup;
	struct buf in, out;
	size_t in_at, out_at;
	uint64_t left;
	unsigned tag;
	struct question questions[MAILS_MAX + 8];
	size_t question_count;
	bool greeted, ready, tell_ready, start_tls, encrypted, authenticated, gone, quit;
	struct buf capabilities; /* " IMAP4rev1 AUTH=PLAIN … " */
	char delimiter;
	bool literal_plus, literal_minus;
	uint64_t size_max;
	struct smtp_reply farewell;
	struct mail mails[MAILS_MAX];
	size_t mail_count;
	enum step step;	  /* of the youngest */
	bool found;	  /* the search found something */
	struct buf known; /* mailboxes that are there: "\nINBOX\nWork\n" */
};

/* Starts a command: its tag, and the expectation of its answer. */
void imap_ask(struct imap *i, enum asked asked);
void imap_say(struct imap *i, enum asked asked, const char *command);
void imap_set_reply(struct smtp_reply *r, int code, const char *words, size_t len);
/* True where the server's refusal is only for now (RFC 5530). */
bool imap_for_now(const char *words, size_t len);

/* Says for the youngest mail what can be said now. */
void imap_mail_go_on(struct imap *i);
int imap_mail_reply(struct imap *i, const struct question *q, bool ok, const char *words,
		    size_t len, struct err *e);
/* What became of the oldest mail, where that is known. */
bool imap_mail_tell(struct imap *i, struct smtp_told *told);
bool imap_mail_wants_body(struct imap *i, struct smtp_told *told);

#endif
