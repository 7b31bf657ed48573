/* SPDX-License-Identifier: MIT */
/*
 * Range: resources=100-199 (RFC 9110, 14.2, with a unit of our own): positions in a collection,
 * counted from 0. Where a collection has lost its oldest (events), what is left keeps its numbers.
 */
#ifndef REST_RANGE_H
#define REST_RANGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "rest/model.h"

struct range {
	bool given;    /* false: everything */
	bool suffix;   /* the last "last" ones */
	uint64_t from; /* the first wanted */
	uint64_t last; /* the last wanted; UINT64_MAX: to the end */
};

/* header: NULL: no range. Another unit is as good as no header (the RFC has it so); a range of ours
 * that can't be read, or several, are refused with 400. */
int range_read(const char *header, struct range *range, struct rest_fault *fault);

/* Which of count items, the first of which has the number first, are in the range: *at (an index)
 * and *many. False: none is,
 * and *many is 0. */
bool range_cut(const struct range *range, uint64_t first, size_t count, size_t *at, size_t *many);

#endif
