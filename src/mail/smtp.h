/* SPDX-License-Identifier: MIT */
/*
 * The client's side of SMTP (RFC 5321) and LMTP (RFC 2033) as a machine: bytes in, bytes out,
 * events. It knows no sockets and no clock. One recipient a message.
 *
 * The caller gives what the server says to smtp_input(), sends what smtp_output() has, and calls
 * smtp_next() until that says SMTP_WAIT.
 */
#ifndef MAIL_SMTP_H
#define MAIL_SMTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mail/reply.h"

struct err;
struct sasl;
struct smtp;

enum smtp_tls { SMTP_TLS_OFF, SMTP_TLS_OPTIONAL, SMTP_TLS_REQUIRED };

struct smtp_setup {
	bool lmtp;
	const char *hello;     /* this machine's name */
	const char *sender;    /* MAIL FROM, without <>; may be "" */
	const char *recipient; /* RCPT TO */
	enum smtp_tls tls;
	bool encrypted;	   /* the connection is TLS from its first byte on */
	struct sasl *sasl; /* NULL: no login */
};

enum smtp_event {
	SMTP_WAIT,	/* nothing more: send the output, wait for input */
	SMTP_START_TLS, /* do the TLS handshake, then call smtp_encrypted() */
	SMTP_READY,	/* the session is open: give messages while smtp_may_send() */
	SMTP_BODY,	/* give (more of) the body of the message id with smtp_body() */
	SMTP_DONE,	/* what became of the message id: result, reply; its body is not wanted */
	SMTP_CLOSED,	/* the session is over: reply holds the server's last words, or code 0 */
	/* only after imap_fetch() */
	SMTP_MAIL,   /* a piece of a message that the account holds, and whether it is the last */
	SMTP_NO_MORE /* that were all messages */
};

enum smtp_result {
	SMTP_SENT,    /* the server has it */
	SMTP_REFUSED, /* reply says why: 4xx for now, 5xx for good */
	SMTP_UNSENT,  /* it was not dealt with, through no fault of its own */
	SMTP_DOUBT    /* all of it left, and no answer came: RFC 1047 */
};

struct smtp_told {
	uint64_t id;
	enum smtp_result result;
	struct smtp_reply reply;
	bool wants_utf8;     /* it was refused for want of SMTPUTF8, which the server knows */
	bool absent;	     /* it was asked for, and is not there but for this attempt (IMAP) */
	const char *command; /* that the reply was to: "MAIL FROM", … */
	const char *piece;   /* for SMTP_MAIL; borrowed until the next call */
	size_t len;
	bool last;
};

struct smtp_message {
	uint64_t id;
	uint64_t size;
	bool eight_bit; /* says BODY=8BITMIME where the server knows it */
	bool utf8;	/* says SMTPUTF8 where the server knows it (RFC 6531) */
	/* for IMAP only */
	const char *mailbox;	/* UTF-8, '/' between the levels */
	const char *flags;	/* "\\Seen \\Flagged work" */
	const char *date;	/* mail_date_imap() */
	const char *message_id; /* to be asked for first; NULL: do not ask */
	bool anyway;		/* … and to be put there where the answer leaves a doubt */
	bool odd; /* the server may not make sense of these: the body waits for its word */
};

/* The strings of setup stay borrowed. */
int smtp_new(struct smtp **s, const struct smtp_setup *setup, struct err *e);
void smtp_free(struct smtp *s);

/* -ENOMEM. The bytes are copied. */
int smtp_input(struct smtp *s, const char *bytes, size_t len);
/* The connection is gone, for whatever reason: what is open is told now, then SMTP_CLOSED. */
void smtp_gone(struct smtp *s);

/* What is to be sent: borrowed until the next call that changes s. */
const char *smtp_output(const struct smtp *s, size_t *len);
/* So many bytes of it have left. */
void smtp_left(struct smtp *s, size_t len);

/*
 * An event, or -EPROTO (the server broke the protocol), -EACCES (it refused the login), -EAGAIN
 * (it asks to come back later), -ECONNREFUSED (it wants nothing of us), -ENOTSUP (what was asked
 * for is not offered), -ENOMEM. After an error: close the connection, and call smtp_gone().
 */
int smtp_next(struct smtp *s, struct smtp_told *told, struct err *e);

int smtp_encrypted(struct smtp *s);

/* Whether a message may be given now. */
bool smtp_may_send(const struct smtp *s);
int smtp_send(struct smtp *s, const struct smtp_message *message);
/* Whether a piece of the body may be given now: not where the message is refused already, or, with
 * BDAT but without PIPELINING, before the server has answered to the piece before. */
bool smtp_takes_body(const struct smtp *s);
/* A piece of the body, whose lines end in CRLF. With last it is the last one, and ends a line. */
int smtp_body(struct smtp *s, const char *bytes, size_t len, bool last);
/* How many messages are neither told nor done. */
size_t smtp_open_count(const struct smtp *s);
/* True where a message is open, or something else that was said is not answered. */
bool smtp_is_busy(const struct smtp *s);
/* True where a whole message has left, and its answer is missing. */
bool smtp_is_judged(const struct smtp *s);

int smtp_quit(struct smtp *s);

/* Of the greeted server: the largest message it takes (0: not said), what it knows. */
uint64_t smtp_size_max(const struct smtp *s);
bool smtp_knows(const struct smtp *s, const char *keyword);

#endif
