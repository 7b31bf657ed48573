/* SPDX-License-Identifier: MIT */
/*
 * What happened, to which session, and why: numbered, the last EVENTS_MAX of them, kept in
 * ROOT/run/portmirror/events (an object of JSON a line), so that the numbers go on when the daemon
 * starts anew and "portmirror events" needs no daemon.
 */
#ifndef PORTMIRROR_EVENTS_H
#define PORTMIRROR_EVENTS_H

#include <stddef.h>
#include <stdint.h>

#include "portmirror/session.h"

struct err;

#define EVENTS_MAX 1024

struct event {
	uint64_t number;  /* from 1 */
	int64_t time;	  /* milliseconds since 1970 */
	const char *kind; /* "session-added", "session-changed", "session-removed",
			     "session-whole", "session-partial", "session-waiting",
			     "session-failed", "repaired", "fight", "overrun", …; static */
	char session[SESSION_NAME_MAX + 1]; /* "": none in particular */
	char *text;			    /* one sentence; owned */
};

struct events;

/* Reads the file; a damaged or torn line is left out. */
int events_open(const char *path, struct events **events, struct err *e);
void events_close(struct events *events);

/* Appends, and writes it to the file. */
int events_add(struct events *events, const char *kind, const char *session, struct err *e,
	       const char *format, ...) __attribute__((format(printf, 5, 6)));

/* Those there are, oldest first: number i of count; first: the number of the oldest. */
size_t events_count(const struct events *events);
const struct event *events_nth(const struct events *events, size_t i);

/* Takes in what another process has appended since; the number of new ones, or negative. */
int events_follow(struct events *events, struct err *e);

#endif
