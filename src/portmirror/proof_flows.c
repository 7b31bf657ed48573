/* SPDX-License-Identifier: MIT */
#include "portmirror/proof_flows.h"

#include <stddef.h>
#include <stdlib.h>

enum {
	SLOTS = 1 << 18,
	SLOTS_MAX = SLOTS / 8 * 7,
	PLACE = 0xff,
	SPLIT = 0x100,
};

_Static_assert((PLACE | SPLIT) < 1 << FLOWS_LOST_BITS, "the place stands beside the flow");

struct flows {
	uint64_t *slots; /* flow | SPLIT | place; 0: free */
	uint64_t count, split;
};

struct flows *flows_new(void)
{
	struct flows *flows = calloc(1, sizeof(*flows));

	if (!flows)
		return NULL;
	flows->slots = calloc(SLOTS, sizeof(*flows->slots));
	if (flows->slots)
		return flows;
	free(flows);
	return NULL;
}

void flows_free(struct flows *flows)
{
	if (!flows)
		return;
	free(flows->slots);
	free(flows);
}

static uint64_t *slot_of(const struct flows *flows, uint64_t flow)
{
	size_t at = flow >> FLOWS_LOST_BITS & (SLOTS - 1);

	while (flows->slots[at] && flows->slots[at] >> FLOWS_LOST_BITS != flow >> FLOWS_LOST_BITS)
		at = (at + 1) & (SLOTS - 1);
	return &flows->slots[at];
}

void flows_add(struct flows *flows, uint64_t flow, unsigned place)
{
	uint64_t *slot = slot_of(flows, flow);

	if (!*slot) {
		if (flows->count >= SLOTS_MAX)
			return;
		flows->count++;
		*slot = flow >> FLOWS_LOST_BITS << FLOWS_LOST_BITS | place;
	}
	if ((place == FLOWS_SEVERAL || (*slot & PLACE) != place) && !(*slot & SPLIT)) {
		*slot |= SPLIT;
		flows->split++;
	}
}

uint64_t flows_count(const struct flows *flows)
{
	return flows->count;
}

uint64_t flows_split(const struct flows *flows)
{
	return flows->split;
}
