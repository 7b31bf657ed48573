/* SPDX-License-Identifier: MIT */
/* What an SMTP or LMTP server answers (RFC 5321 4.2, RFC 2034). */
#ifndef MAIL_REPLY_H
#define MAIL_REPLY_H

#include <stddef.h>

struct smtp_reply {
	int code;	   /* 200…599; 0: none */
	char enhanced[12]; /* "5.7.1", or "" */
	char text[500];	   /* all lines behind the code, joined by blanks; cut, made printable */
};

/* What Gmail's IMAP says where an account has used up a day's megabytes or commands: in a NO or a
 * BYE, under the code of a full mailbox, [OVERQUOTA], or another. */
#define REPLY_BANDWIDTH "exceeded command or bandwidth limits"

/* No line and no reply may be longer. */
#define SMTP_REPLY_LINE 4096
#define SMTP_REPLY_MAX	65536

/*
 * Reads one reply, which may have many lines, from bytes. Returns how long it is; 0 where it is
 * not complete yet; -EPROTO where it is none.
 */
long smtp_reply_read(const char *bytes, size_t len, struct smtp_reply *reply);

#endif
