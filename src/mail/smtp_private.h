/* SPDX-License-Identifier: MIT */
/* What the two halves of the SMTP machine share: the session, and the mails in it. */
#ifndef MAIL_SMTP_PRIVATE_H
#define MAIL_SMTP_PRIVATE_H

#include "base/buf.h"
#include "mail/smtp.h"

enum asked {
	ASKED_GREETING,
	ASKED_EHLO,
	ASKED_HELO,
	ASKED_STARTTLS,
	ASKED_AUTH,
	ASKED_MAIL,
	ASKED_RCPT,
	ASKED_DATA,
	ASKED_DOT,
	ASKED_BDAT,
	ASKED_BDAT_LAST,
	ASKED_RSET,
	ASKED_QUIT
};

struct question {
	enum asked asked;
	uint64_t at; /* it has left when so many bytes have */
};

/* What comes next for the youngest mail. */
enum step { STEP_NONE, STEP_MAIL, STEP_RCPT, STEP_DATA, STEP_GO_AHEAD, STEP_BODY };

struct mail {
	struct smtp_message message;
	struct smtp_reply bad; /* the first reply that was no success */
	const char *command;   /* that it was to */
	struct smtp_reply last;
	size_t open; /* replies that are missing */
	bool whole;  /* nothing more will be sent */
	bool ended;  /* the last byte of its body is in the output */
	bool sent, told_body;
	bool nested;  /* MAIL came too early, for the mail before it: 503 */
	uint64_t end; /* … and has left when so many bytes have */
};

struct smtp {
	struct smtp_setup setup;
	struct buf in;
	size_t in_at;
	struct buf out;
	size_t out_at;
	uint64_t added, left; /* bytes of output, ever */

	struct question *questions;
	size_t question_first, question_count, question_room;

	bool encrypted, extended, ready, tell_ready, start_tls, authenticated, gone, closed, quit;
	struct smtp_reply farewell;
	struct buf keywords; /* "\nSIZE 1000\nPIPELINING…\n" */
	uint64_t size_max;
	bool pipelining, chunking;
	bool utf8_address; /* the sender's or the recipient's is not ASCII (RFC 6531) */

	struct mail *mails;
	size_t mail_first, mail_count, mail_room;
	size_t mail_replied; /* index of the mail whose replies come now, from mail_first */
	enum step step;
	bool line_start; /* of the body being given */
	bool reset;	 /* a transaction hangs: RSET before the next one */
};

int smtp_ask(struct smtp *s, enum asked asked);
/* -EPROTO for a reply that nobody asked for. */
int smtp_mail_reply(struct smtp *s, enum asked asked, const struct smtp_reply *r, struct err *e);
/* A reply in the middle of a body: true where it is the server's way to refuse it. */
bool smtp_mail_early(struct smtp *s, const struct smtp_reply *r);
/* Says what can be said now. */
int smtp_mail_go_on(struct smtp *s);
/* The next result or wish for a body; false: none. */
bool smtp_mail_event(struct smtp *s, struct smtp_told *told, enum smtp_event *event);

#endif
