/* SPDX-License-Identifier: MIT */
/*
 * What didn't match in the book, by its loose key: a frame that is missing here and a copy that is
 * too much there may be the same, altered. Pure, of bounded size: the oldest are settled to make
 * room for new ones.
 */
#ifndef PORTMIRROR_PROOF_STRAYS_H
#define PORTMIRROR_PROOF_STRAYS_H

#include <stdint.h>

struct strays;

struct stray_sums {
	uint64_t altered; /* missing and extra, in pairs */
	uint64_t missing, extra;
};

struct strays *strays_new(void); /* NULL: out of memory */
void strays_free(struct strays *strays);

void strays_add(struct strays *strays, uint64_t loose, uint32_t missing, uint32_t extra);
/* Settles all. Ends them. */
void strays_settle(struct strays *strays);
/* What is settled so far. */
struct stray_sums strays_sums(const struct strays *strays);

#endif
