/* SPDX-License-Identifier: MIT */
/*
 * What was sent, so that it is never sent twice. A text file to which lines are only added:
 *
 *	@SUM run BOOT TIME TOTAL TARGET		a run starts, to RECIPIENT at SERVER
 *	@SUM at TIME				what follows left then or later
 *	@SUM intent KEY ID			durable before any of the message's last bytes leave
 *	@SUM retry KEY ID			the same, of one in doubt, which it stays
 *	@SUM go KEY				written (not waited for) before they do
 *	@SUM go KEY again			the same, behind "retry"
 *	@SUM done KEY WORDS			the server has it
 *	@SUM not KEY WORDS			it has not: refused, or looked for in vain
 *	@SUM back KEY WORDS			it never left, for these words
 *	@SUM lost				the disk failed: lines may be missing
 *	@SUM owed PLACE				a mailbox is to get it, whatever others have
 *	@SUM paid PLACE				that mailbox has it: before its "done"
 *
 * SUM is a checksum of the rest of its line, KEY the SHA-256 of the message, cleaned but for what
 * --repair and --remove change, BOOT the kernel's boot id: where it is still the same, every line
 * that was written is there, and an intent without "go" is known never to have left. After a power
 * loss it is in doubt, and where a sync failed, as the kernel forgets what it could not write. That
 * line may go the same way: a disk that is pulled out and comes back takes lines with it unseen.
 * PLACE is the SHA-256 of KEY and the mailbox's name (IMAP).
 * Version 0.1.0 wrote "again" for "retry", which took the doubt away, and "not" for "back".
 * Any other line is a message-id that was sent, as the first bounce-mbox wrote them.
 */
#ifndef BOUNCE_MBOX_JOURNAL_H
#define BOUNCE_MBOX_JOURNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bounce-mbox/pace.h"
#include "bounce-mbox/prepare.h"
#include "mail/imap.h"

struct err;
struct journal;

enum journal_state { JOURNAL_NEW, JOURNAL_SENT, JOURNAL_DOUBT };

struct journal_sums {
	uint64_t sent;
	uint64_t doubt;
	uint64_t refused; /* told "not" with the server's words, and not sent since */
	uint64_t total;	  /* of the last run's archive */
	uint64_t old;	  /* message-ids in the first format */
	bool healed;	  /* a torn end was cut off */
	char target[500];
};

/*
 * Opens (or makes) the journal, locks it, heals a torn end, and reads it. -EBUSY where another
 * run has it; -EBADMSG where a line in its midst is damaged. boot: this machine's boot id.
 */
int journal_open(struct journal **j, const char *path, const char *boot, struct err *e);
/* The same without a lock or a change, for --status. */
int journal_look(struct journal **j, const char *path, const char *boot, struct err *e);
void journal_close(struct journal *j);

void journal_sums(const struct journal *j, struct journal_sums *sums);
/* Calls each() for the messages in doubt; id may be "". */
void journal_doubts(const struct journal *j, void (*each)(const char *id, void *data), void *data);

/* Whether the next message of that key was dealt with by an earlier run. Copies of one message are
 * counted: each call stands for one more copy in the archive. One that is placed, and was begun for
 * its mailbox in vain, is not dealt with, whatever others took. */
enum journal_state journal_meet(struct journal *j, struct prepared *p);

/* How many messages left in the last 24 hours before it was opened: the newest part of them first.
 */
void journal_recent(const struct journal *j, uint32_t parts[DAY_PARTS]);

/* Of a message of that Message-ID in an IMAP account, by what "done" was said in this run and
 * earlier ones. */
enum imap_whose journal_whose(struct journal *j, const char *id, uint32_t validity, uint32_t uid);

/* Lines are gathered; journal_write() hands them to the kernel, journal_sync() to the disk. Where
 * something was lacking for one of them (memory, or room), it still writes the others, then fails.
 */
void journal_run(struct journal *j, uint64_t total, const char *target);
void journal_intent(struct journal *j, struct prepared *p, bool again);
void journal_go(struct journal *j, struct prepared *p);
void journal_done(struct journal *j, const struct prepared *p, const char *words);
/* The server has it not, by any attempt. With words: the server's, or why it does not get it. */
void journal_not(struct journal *j, struct prepared *p, const char *words);
int journal_write(struct journal *j, struct err *e);
int journal_sync(struct journal *j, struct err *e);

/* The same without waiting: one at a time. Before the first one: journal_sync_apart(). */
int journal_sync_apart(struct journal *j, struct err *e);
int journal_sync_start(struct journal *j, struct err *e);
/* 1: what was started is on the disk; 0: not yet. */
int journal_sync_done(struct journal *j, struct err *e);
/* Readable when it is. */
int journal_sync_fd(const struct journal *j);

#endif
