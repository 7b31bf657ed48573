/* SPDX-License-Identifier: MIT */
#ifndef MAIL_DATE_H
#define MAIL_DATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mail_date {
	int64_t seconds; /* since 1970, UTC */
	int zone;	 /* minutes east of Greenwich, as it was written */
};

/* A Date: field's value (RFC 5322 3.3, and the obsolete forms of 4.3). */
bool mail_date_parse(const char *text, size_t len, struct mail_date *date);

/* The time in an mbox separator line, "From SOMEBODY Sat Aug 23 10:00:00 [zone] 2008". */
bool mail_date_separator(const char *line, size_t len, struct mail_date *date);

/* "23-Aug-2008 10:00:00 +0200" (RFC 3501 date-time), in the date's own zone. */
const char *mail_date_imap(const struct mail_date *date, char text[32]);

/* "Sat, 23 Aug 2008 10:00:00 +0200" (RFC 5322). */
const char *mail_date_field(const struct mail_date *date, char text[40]);

/* "Sat Aug 23 08:00:00 2008" in UTC, as separator lines have it. */
const char *mail_date_ctime(const struct mail_date *date, char text[32]);

#endif
