/* SPDX-License-Identifier: MIT */
/* What has been told of the sessions, and what is new since: events. */
#ifndef PORTMIRRORD_TELL_H
#define PORTMIRRORD_TELL_H

#include <stdbool.h>
#include <stddef.h>

struct events;
struct told;
struct view;

/* Tells one thing that happened. */
struct teller {
	void (*tell)(const char *kind, const char *session, const char *sentence, void *data);
	void *data;
};

/* Of what was told before, events has the states: a daemon that starts anew doesn't repeat them. */
int told_new(const struct events *events, struct told **told);
void told_free(struct told *told);

/* Compares the view with what was told, and tells the differences. */
int told_update(struct told *told, const struct view *view, const struct teller *teller);

#endif
