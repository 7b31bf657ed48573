/* SPDX-License-Identifier: MIT */
/* Where the frames of each flow were copied to: all of them to the same place? Pure, of
 * bounded size: what there is no room for is not looked at. */
#ifndef PORTMIRROR_PROOF_FLOWS_H
#define PORTMIRROR_PROOF_FLOWS_H

#include <stdint.h>

struct flows;

enum {
	/* Places: the destinations from 1 on, and: */
	FLOWS_NOWHERE = 30,   /* left out */
	FLOWS_SEVERAL = 31,   /* of one frame: at more than one destination */
	FLOWS_LOST_BITS = 16, /* of a flow's number, which are not looked at */
};

struct flows *flows_new(void); /* NULL: out of memory */
void flows_free(struct flows *flows);

void flows_add(struct flows *flows, uint64_t flow, unsigned place);
uint64_t flows_count(const struct flows *flows);
uint64_t flows_split(const struct flows *flows); /* those that were at more than one place */

#endif
