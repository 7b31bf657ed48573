/* SPDX-License-Identifier: MIT */
/*
 * Probes: frames of ours (EtherType 0x88b5) that go into an appliance at one port, and end at the
 * other, where the session's program notes them in the map "probes". No machine ever sees one.
 */
#ifndef PORTMIRROR_INLINER_PROBE_H
#define PORTMIRROR_INLINER_PROBE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bpf/inline.h"

struct err;

#define INLINER_PROBE_LEN 60

/* The frame, to be sent out of the port where that way begins. sent: CLOCK_MONOTONIC, ns. */
void inliner_probe_make(const struct inline_state *state, enum inline_way way, uint64_t sent,
			uint8_t frame[INLINER_PROBE_LEN]);

/* A socket that sends and never receives. */
int inliner_probe_open(struct err *e);

/* Sends one of each way. A port that can't take it now is as good as an appliance that doesn't let
 * it through. */
void inliner_probe_send(int socket, const struct inline_state *state, uint64_t sent);

/* What came of a number of probes. */
struct inliner_trial {
	unsigned sent;
	unsigned came[INLINE_WAYS];
	uint64_t longest[INLINE_WAYS]; /* ns */
};

/*
 * Sends count probes of each way, one every interval ms, and waits for the last ones for as long as
 * wait says. going_on() may end it early; NULL: nobody does.
 */
int inliner_try(const char *house, const char *session, unsigned count, unsigned interval,
		unsigned wait, bool (*going_on)(void), struct inliner_trial *trial, struct err *e);

/* True where probes come through, but not those that a learning bridge keeps back. */
bool inliner_learns(const struct inliner_trial *trial);

#endif
