/* SPDX-License-Identifier: MIT */
/* What the two halves of the journal share: writing lines, and reading them again. */
#ifndef BOUNCE_MBOX_JOURNAL_PRIVATE_H
#define BOUNCE_MBOX_JOURNAL_PRIVATE_H

#include <sys/types.h>

#include "base/err.h"
#include "bounce-mbox/journal.h"
#include "bounce-mbox/journal_table.h"
#include "bounce-mbox/taken.h"

struct syncer;

/* The time is noted so often, in seconds. */
#define MARK_EVERY 60

struct journal {
	int fd;
	char *path;
	char *folder; /* of it; NULL: it is only looked at */
	char boot[40];
	bool same_boot; /* as the run whose lines are being read */
	struct buf lines;
	struct err lack; /* of memory, or of room in the folder: code 0 while there is none */
	struct journal_table table;
	struct journal_table owed; /* by place; "sent": copies that it lacks */
	struct journal_ids old;
	struct taken taken; /* of what IMAP servers took */
	bool imap;	    /* the run that is read, or goes on, is of mail to one */
	struct journal_sums sums;
	int64_t opened, marked; /* seconds since 1970: when it was, when a line last said */
	uint32_t recent[DAY_PARTS];
	struct syncer *syncer;
};

/* Of a line without its own checksum and without the newline. */
uint32_t journal_line_sum(const char *line, size_t len);
/* Whether a run's target is an IMAP account: others are never asked. */
bool journal_is_imap(const char *target);
/* Reads the file; *good: how far it makes sense. */
int journal_read(struct journal *j, off_t *good, struct err *e);

#endif
