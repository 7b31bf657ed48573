/* SPDX-License-Identifier: MIT */
/* An SMTP server that says anything, in pieces of any size, to a client with three messages. The
 * first byte chooses the client's set-up. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "mail/smtp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static const char body[] = "A: 1\r\n\r\n.\r\n";

struct client {
	struct smtp *s;
	unsigned given, told;
};

static bool step(struct client *c)
{
	struct smtp_told told = {0};
	struct smtp_message m = {.id = c->given, .size = sizeof(body) - 1, .eight_bit = true};
	size_t left;

	if (c->given < 3 && smtp_may_send(c->s)) {
		c->given++;
		if (smtp_send(c->s, &m) < 0)
			abort();
	}
	switch (smtp_next(c->s, &told, NULL)) {
	case SMTP_START_TLS:
		(void)smtp_encrypted(c->s);
		return true;
	case SMTP_READY:
		return true;
	case SMTP_BODY:
		if (smtp_body(c->s, body, sizeof(body) - 1, true) < 0)
			abort();
		return true;
	case SMTP_DONE:
		if (told.id >= c->given)
			abort();
		c->told++;
		return true;
	default:
		(void)smtp_output(c->s, &left);
		smtp_left(c->s, left);
		return false;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct smtp_setup setup = {.hello = "me", .sender = "a@x", .recipient = "b@y"};
	struct smtp_told told;
	struct client c = {0};
	size_t piece;

	if (len == 0)
		return 0;
	setup.lmtp = data[0] & 1;
	setup.tls = data[0] & 4 ? SMTP_TLS_OPTIONAL : SMTP_TLS_OFF;
	piece = (data[0] >> 3) + 1U;
	if (smtp_new(&c.s, &setup, NULL) < 0)
		abort();
	for (size_t at = 1; at < len; at += piece) {
		size_t n = len - at < piece ? len - at : piece;

		if (smtp_input(c.s, (const char *)data + at, n) < 0)
			abort();
		while (step(&c))
			;
	}
	smtp_gone(c.s);
	while (smtp_next(c.s, &told, NULL) == SMTP_DONE)
		c.told++;
	if (c.told != c.given) /* each message is told once */
		abort();
	smtp_free(c.s);
	return 0;
}
