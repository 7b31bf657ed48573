/* SPDX-License-Identifier: MIT */
/*
 * How the kernel's state tells what is ours: each session has one standalone mirred action, and
 * that action carries a cookie of 16 bytes: "pmir", the house (which root the session is saved
 * under, see store.h), and a hash of the session's name. A filter is ours if it is bound to such
 * an action and to nothing else.
 */
#ifndef PORTMIRROR_OURS_H
#define PORTMIRROR_OURS_H

#include <stdbool.h>
#include <stdint.h>

#include "netlink/tc.h"

/* The first index that we give to an action of ours; others go upwards from it. */
#define OURS_FIRST_INDEX 9001

void ours_cookie(uint32_t house, const char *session, uint8_t cookie[TC_COOKIE]);
/* Of this house. */
bool ours_action(const struct tc_action *action, uint32_t house);
bool ours_filter(const struct tc_filter *filter, uint32_t house);
/* Of any house. */
bool ours_somewhere(const struct tc_action *action);

/* A filter that copies for that session: it is bound to its action, or has its program. */
bool ours_copies(const struct tc_filter *filter, uint32_t house, const char *session,
		 uint32_t action);

#endif
