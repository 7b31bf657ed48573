/* SPDX-License-Identifier: MIT */
/*
 * The client's side of IMAP (RFC 3501), as far as putting messages into mailboxes goes, with the
 * same events as SMTP has: bytes in, bytes out. A mailbox is made when it is first needed. With
 * LITERAL+ or LITERAL- (RFC 7888) messages follow each other without waiting.
 */
#ifndef MAIL_IMAP_H
#define MAIL_IMAP_H

#include "mail/smtp.h"

struct imap;

struct imap_setup {
	enum smtp_tls tls;
	bool encrypted;
	struct sasl *sasl; /* NULL: the server knows us already (PREAUTH) */
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
 * With ask, the mailbox is searched for the message's Message-ID first; where that is there, the
 * message counts as sent. */
int imap_send(struct imap *i, const struct smtp_message *message);
int imap_body(struct imap *i, const char *bytes, size_t len, bool last);
size_t imap_open_count(const struct imap *i);
uint64_t imap_size_max(const struct imap *i);
int imap_quit(struct imap *i);

#endif
