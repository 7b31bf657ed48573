/* SPDX-License-Identifier: MIT */
/*
 * What on this host spoils a mirror, or will: from all that was seen, to findings with their cures.
 * Pure.
 */
#ifndef PORTMIRROR_DOCTOR_H
#define PORTMIRROR_DOCTOR_H

#include <stddef.h>
#include <stdint.h>

struct err;
struct facts;
struct host;
struct plan;
struct sessions;

enum severity {
	SEVERITY_HINT,	  /* the sensor may see something that it doesn't expect */
	SEVERITY_WARNING, /* copies can get lost, double or altered */
	SEVERITY_ERROR,	  /* copies don't arrive */
};
const char *severity_name(enum severity severity);

struct finding {
	enum severity severity;
	const char *name; /* for programs: "destination-down", … */
	char *session;	  /* its name; NULL: of none in particular. Owned */
	char *subject;	  /* the device or file that it is about; NULL: none. Owned */
	char *sentence;	  /* owned */
	char *cure;	  /* a command to type, or what to do. Owned */
};

struct findings {
	struct finding *items; /* the worst first */
	size_t count, room;
};

struct doctor_input {
	const struct sessions *sessions;
	const struct plan *plan; /* of those sessions */
	const struct host *host;
	const struct facts *facts;
	uint32_t house;
};

/* A finding that several sessions share (such as a destination that is down) is told once. */
int doctor_look(const struct doctor_input *in, struct findings *findings, struct err *e);
void findings_free(struct findings *findings); /* also for cleanup() */

#endif
