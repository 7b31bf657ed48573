/* SPDX-License-Identifier: MIT */
/*
 * The client's side of IMAP (RFC 3501), as far as putting messages into mailboxes goes, with the
 * same events as SMTP has: bytes in, bytes out. A mailbox is made when it is first needed. With
 * LITERAL+ or LITERAL- (RFC 7888) messages follow each other without waiting; with MULTIAPPEND (RFC
 * 3502) those for one mailbox share a command, until imap_flush(). A command that is refused put
 * none of its messages there: they are told as unsent, and the next ones get commands of their own,
 * so that only the one that the server doesn't want is refused.
 */
#ifndef MAIL_IMAP_H
#define MAIL_IMAP_H

#include "mail/smtp.h"

struct imap;

/* Whose a message is that was found by a Message-ID, as far as is known of others that have it. */
enum imap_whose { IMAP_NOBODYS, IMAP_ANYBODYS, IMAP_ANOTHERS };

struct imap_setup {
	enum smtp_tls tls;
	bool encrypted;
	struct sasl *sasl; /* NULL: the server knows us already (PREAUTH) */
	/* What is known of a UID; may be NULL. */
	enum imap_whose (*whose)(void *data, const char *message_id, uint32_t validity,
				 uint32_t uid);
	void *data;
};

int imap_new(struct imap **i, const struct imap_setup *setup, struct err *e);
void imap_free(struct imap *i);
int imap_input(struct imap *i, const char *bytes, size_t len);
void imap_gone(struct imap *i);
const char *imap_output(const struct imap *i, size_t *len);
void imap_left(struct imap *i, size_t len);
int imap_next(struct imap *i, struct smtp_told *told, struct err *e);
int imap_encrypted(struct imap *i);
bool imap_may_send(const struct imap *i);
/* The strings of the message stay borrowed until it is told. Its body must be exactly size bytes.
 * With a message_id the mailbox is searched for that first; where it is there, and nobody else's,
 * the message counts as sent. Where it may be another's it is in doubt, told with words of why;
 * where the server refuses to tell it is refused for now; unless it is to be put there anyway. The
 * reply of a message that was sent, or found, starts with "[APPENDUID VALIDITY UID]" where that is
 * known (RFC 4315). */
int imap_send(struct imap *i, const struct smtp_message *message);
/* Whether a piece of the body may be given now. */
bool imap_takes_body(const struct imap *i);
int imap_body(struct imap *i, const char *bytes, size_t len, bool last);
/* No more messages for now: what was begun is ended. Before imap_output() is sent. */
void imap_flush(struct imap *i);
size_t imap_open_count(const struct imap *i);
/* True where a message is open, or something else that was said is not answered. */
bool imap_is_busy(const struct imap *i);
/* True where a whole message has left, and its answer is missing. */
bool imap_is_judged(const struct imap *i);
uint64_t imap_size_max(const struct imap *i);
/* Reads all messages that the account holds, or that are in the mailbox below and under it (UTF-8;
 * NULL: all but what only shows the others' mail once more). -ENOENT of imap_next(): there is no
 * such mailbox. Instead of imap_send(). */
int imap_fetch(struct imap *i, const char *below);
/* True where mailboxes are labels of messages that are there once (Gmail): of copies one stays. */
bool imap_has_labels(const struct imap *i);
int imap_quit(struct imap *i);

#endif
