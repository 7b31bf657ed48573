/* SPDX-License-Identifier: MIT */
/* Where the mail goes: a URL, or the bare name of an SMTP server. */
#ifndef BOUNCE_MBOX_TARGET_H
#define BOUNCE_MBOX_TARGET_H

#include <stdbool.h>

struct err;

enum target_kind { TARGET_SMTP, TARGET_LMTP, TARGET_IMAP };

struct target {
	enum target_kind kind;
	bool encrypted; /* TLS from the first byte on: smtps, imaps */
	char host[256]; /* "" for a Unix socket */
	char port[8];
	char path[108];	 /* of a Unix socket */
	char user[256];	 /* "" where none is given */
	char shown[400]; /* as a URL, without the user */
};

/*
 * smtp://[USER@]HOST[:PORT], smtps://, lmtp://HOST[:PORT], lmtp:///PATH, imap://, imaps://, or
 * HOST[:PORT]. port: of --port, or NULL. A password in it is refused: everybody could see it.
 */
int target_parse(const char *text, const char *port, struct target *target, struct err *e);

#endif
