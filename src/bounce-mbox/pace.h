/* SPDX-License-Identifier: MIT */
/* How fast to send: pure, the caller brings the clock (microseconds, any start). */
#ifndef BOUNCE_MBOX_PACE_H
#define BOUNCE_MBOX_PACE_H

#include <stdbool.h>
#include <stdint.h>

struct err;
struct smtp_reply;

#define SECOND INT64_C(1000000)

struct provider {
	const char *name;
	int64_t interval;	 /* between messages, in microseconds */
	unsigned per_day;	 /* 0: not said */
	unsigned per_connection; /* 0: not said */
	const char *source;	 /* of these facts */
};

/* NULL where it is not known. */
const struct provider *provider_find(const char *name);
/* The table, one after the other; NULL behind the last. */
const struct provider *provider_nth(unsigned n);

/* "60/min", "3600/hour", "2/s", "60" (a minute): the microseconds between two. */
int pace_rate_parse(const char *text, int64_t *interval, struct err *e);

/* The last 24 hours are counted in so many parts. */
#define DAY_PARTS 96

struct pace {
	int64_t interval;
	unsigned per_day;
	int64_t backoff; /* the first wait after the server said: later */

	int64_t next;		       /* private from here */
	int64_t part;		       /* the one that it is now, counted from the clock's start */
	uint32_t parts[DAY_PARTS + 1]; /* messages in each of the last ones */
	unsigned setbacks;	       /* without a success since */
};

/* How long until the next message may start; 0: now. */
int64_t pace_wait(const struct pace *p, int64_t now);
/* The day's allowance is used up. */
bool pace_is_used_up(const struct pace *p, int64_t now);
/* So many messages started in the parts of the last day before now, the newest first. */
void pace_recall(struct pace *p, int64_t now, const uint32_t parts[DAY_PARTS]);
/* A message starts. */
void pace_took(struct pace *p, int64_t now);
/* The server took one. */
void pace_good(struct pace *p);
/* The server wants us to come back later. Returns how long the pause is. */
int64_t pace_setback(struct pace *p, int64_t now, const struct smtp_reply *reply);

/* True where the reply means that the day's allowance is used up, whatever its code. */
bool pace_is_quota(const struct smtp_reply *reply);

#endif
