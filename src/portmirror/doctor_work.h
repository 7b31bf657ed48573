/* SPDX-License-Identifier: MIT */
/* What the parts of the doctor hand to each other; for doctor*.c only. */
#ifndef PORTMIRROR_DOCTOR_WORK_H
#define PORTMIRROR_DOCTOR_WORK_H

#include <stdbool.h>

#include "netlink/link.h"
#include "portmirror/doctor.h"

struct session;
struct session_state;

struct work {
	const struct doctor_input *in;
	struct findings findings;
	bool failed; /* out of memory */
};

/* A formatted text to be handed to doctor_add(); NULL where memory is out, which is remembered. */
char *doctor_text(struct work *w, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Takes sentence and cure over. session and subject may be NULL. A finding that is there already,
 * for another session, isn't added again. */
void doctor_add(struct work *w, enum severity severity, const char *name,
		const struct session_state *st, const char *subject, char *sentence, char *cure);

/* A device's name as a shell takes it. */
struct quoted {
	char text[4 * IFNAMSIZ + 3];
};
const char *doctor_quote(struct work *w, struct quoted *quoted, const char *device);

/* The commands that make the session anew, with --isolate. */
char *doctor_isolate(struct work *w, const struct session *s);

/* Likewise, with one direction: then no frame is copied at both ends of its way. */
char *doctor_one_direction(struct work *w, const struct session *s);

/* doctor_inline.c */
void doctor_inline(struct work *w, const struct session_state *st);
/* doctor_bridge.c: what a bridge does to a source's frames, and at a destination. */
void doctor_source_bridge(struct work *w, const struct session_state *st,
			  const struct nl_link *link);
void doctor_destination_bridge(struct work *w, const struct session_state *st,
			       const struct nl_link *to);
/* Both ends of a frame's way over the source's bridge are mirrored. */
bool doctor_both_ends(const struct work *w, const struct session_state *st,
		      const struct nl_link *source);
/* doctor_ports.c */
void doctor_destinations(struct work *w, const struct session_state *st);
void doctor_sources(struct work *w, const struct session_state *st);
/* Foreign programs and filters in front of those of an in-line session. */
void doctor_leads(struct work *w, const struct session_state *st);

#endif
