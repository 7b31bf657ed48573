/* SPDX-License-Identifier: MIT */
/* What the person sees while it runs, and at the end. */
#ifndef BOUNCE_MBOX_REPORT_H
#define BOUNCE_MBOX_REPORT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct err;
struct report;
struct run;
struct store;
struct tally;

enum report_kind {
	REPORT_ASIDE,
	REPORT_DOUBT,
	REPORT_FAILED,
	REPORT_RISK,
	REPORT_MISSING,
	REPORT_CHANGED,
	REPORT_DOUBLED
};

/* json: the results go to stdout as one JSON object; quiet: no progress. */
int report_new(struct report **r, bool json, bool quiet, struct err *e);
void report_free(struct report *r);

/* Called often while the archive is read, unpacked or compared, as what says: on a terminal, how
 * much was. */
void report_reading(struct report *r, const char *what, const char *name, uint64_t bytes,
		    int64_t now);
/* Something else will be said: the line that shows how far it is goes. */
void report_make_room(struct report *r);
/* Which files could not be read as messages. */
void report_damages(struct report *r, const struct store *store);
/* The archive was read. */
void report_store(struct report *r, const struct store *store);
/* A message that something is to be said about: its id may be "". */
void report_message(struct report *r, enum report_kind kind, const char *id, const char *folder,
		    const char *words);
/* After a check: how many messages might be refused, and how long sending will take at least. */
void report_checked(struct report *r, uint64_t risky, double seconds);
/* The end of a comparison, in place of report_end(). */
void report_verified(struct report *r, uint64_t compared, uint64_t missing, uint64_t changed,
		     uint64_t doubled);
/* Something to know, as one sentence. */
void report_note(struct report *r, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Called often: shows how far it is, where enough time has passed. */
void report_progress(struct report *r, const struct tally *t, const char *folder, int64_t now);
/* False: memory was lacking to tell all of it; no JSON was printed then. */
bool report_is_whole(const struct report *r);
/* The sums. left: messages that were not looked at. */
void report_end(struct report *r, const struct tally *t, int64_t microseconds, const char *trouble);

#endif
