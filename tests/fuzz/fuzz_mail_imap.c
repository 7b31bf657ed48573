/* SPDX-License-Identifier: MIT */
/* An IMAP server that says anything, in pieces of any size, to a client with three messages. The
 * first byte chooses the client's set-up. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "mail/imap.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static const char body[] = "A: 1\r\n\r\n.\r\n";

struct client {
	struct imap *s;
	unsigned given, told;
	bool fetch, ready;
	unsigned sum; /* so that the pieces are looked at */
};

static bool step(struct client *c)
{
	struct smtp_told told = {0};
	struct smtp_message m = {.id = c->given,
				 .size = sizeof(body) - 1,
				 .mailbox = "a/b",
				 .flags = "\\Seen",
				 .date = "23-Aug-2008 10:00:00 +0200",
				 .message_id = c->given == 1 ? "<1@x>" : NULL};
	size_t left;

	if (c->fetch && c->ready) {
		c->fetch = c->ready = false;
		if (imap_fetch(c->s, NULL) < 0)
			abort();
	}
	if (c->given < 3 && imap_may_send(c->s)) {
		c->given++;
		if (imap_send(c->s, &m) < 0)
			abort();
	}
	switch (imap_next(c->s, &told, NULL)) {
	case SMTP_START_TLS:
		(void)imap_encrypted(c->s);
		return true;
	case SMTP_READY:
		c->ready = true;
		return true;
	case SMTP_MAIL:
		if (told.len > 0)
			c->sum += (unsigned)told.piece[0] + (unsigned)told.piece[told.len - 1];
		return true;
	case SMTP_NO_MORE:
		return true;
	case SMTP_BODY:
		if (imap_body(c->s, body, sizeof(body) - 1, true) < 0)
			abort();
		return true;
	case SMTP_DONE:
		if (told.id >= c->given)
			abort();
		c->told++;
		return true;
	default:
		imap_flush(c->s);
		(void)imap_output(c->s, &left);
		imap_left(c->s, left);
		return false;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct imap_setup setup = {0};
	struct smtp_told told;
	struct client c = {0};
	size_t piece;

	if (len == 0)
		return 0;
	c.fetch = data[0] & 2;
	setup.tls = data[0] & 4 ? SMTP_TLS_OPTIONAL : SMTP_TLS_OFF;
	piece = (data[0] >> 3) + 1U;
	if (imap_new(&c.s, &setup, NULL) < 0)
		abort();
	for (size_t at = 1; at < len; at += piece) {
		size_t n = len - at < piece ? len - at : piece;

		if (imap_input(c.s, (const char *)data + at, n) < 0)
			abort();
		while (step(&c))
			;
	}
	imap_gone(c.s);
	while (imap_next(c.s, &told, NULL) == SMTP_DONE)
		c.told++;
	if (c.told != c.given) /* each message is told once */
		abort();
	imap_free(c.s);
	return 0;
}
