/* SPDX-License-Identifier: MIT */
/*
 * Where the kernel has no tcx, programs hang at clsact, as direct-action filters of cls_bpf. A
 * filter has no cookie, but a name (TCA_BPF_NAME), which tells what it does and for whom:
 *
 *     pmi:HOUSE:SESSION:PROGRAM      leads frames through an appliance
 *     pmc:HOUSE:SESSION:PROGRAM      copies
 *     pmcut:HOUSE:SESSION:PROGRAM    shortens copies: one for all sessions, so SESSION is that of
 * ""
 *
 * All but the first are hashes; PROGRAM is that of the pin which holds the program.
 */
#ifndef PORTMIRROR_DIRECT_H
#define PORTMIRROR_DIRECT_H

#include <stdbool.h>
#include <stdint.h>

struct tc_filter;

#define DIRECT_NAME 40

enum direct { DIRECT_NONE, DIRECT_LEADS, DIRECT_COPIES, DIRECT_CUTS };

void direct_name(enum direct does, uint32_t house, const char *session, const char *pin,
		 char name[DIRECT_NAME]);

/* What a filter of this house does so; DIRECT_NONE: it is none of them. */
enum direct direct_does(const struct tc_filter *filter, uint32_t house);

/* One that does that, for that session. */
bool direct_is(const struct tc_filter *filter, enum direct does, uint32_t house,
	       const char *session);

#endif
