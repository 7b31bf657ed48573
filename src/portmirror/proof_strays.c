/* SPDX-License-Identifier: MIT */
#include "portmirror/proof_strays.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum {
	SLOTS = 1 << 18,
	SLOTS_MAX = SLOTS / 8 * 7, /* that are used */
};

struct stray {
	uint64_t loose;
	uint32_t missing, extra; /* both 0: the slot is free */
};

/* Two generations: when the younger is full, the older is settled. So each waits for its other half
 * for as long as it takes to fill one. */
struct strays {
	struct stray *young, *old;
	size_t used; /* of the young */
	struct stray_sums sums;
};

struct strays *strays_new(void)
{
	struct strays *strays = calloc(1, sizeof(*strays));

	if (!strays)
		return NULL;
	strays->young = calloc(SLOTS, sizeof(*strays->young));
	strays->old = calloc(SLOTS, sizeof(*strays->old));
	if (strays->young && strays->old)
		return strays;
	strays_free(strays);
	return NULL;
}

void strays_free(struct strays *strays)
{
	if (!strays)
		return;
	free(strays->young);
	free(strays->old);
	free(strays);
}

static bool is_free(const struct stray *s)
{
	return !s->missing && !s->extra;
}

static struct stray *slot_of(struct stray *slots, uint64_t loose)
{
	size_t at = loose & (SLOTS - 1);

	while (!is_free(&slots[at]) && slots[at].loose != loose)
		at = (at + 1) & (SLOTS - 1);
	return &slots[at];
}

static uint32_t sum(uint32_t a, uint32_t b)
{
	return b < UINT32_MAX - a ? a + b : UINT32_MAX;
}

static void settle(struct stray_sums *sums, struct stray *slots)
{
	for (size_t i = 0; i < SLOTS; i++) {
		const struct stray *s = &slots[i];
		uint32_t altered = s->missing < s->extra ? s->missing : s->extra;

		sums->altered += altered;
		sums->missing += s->missing - altered;
		sums->extra += s->extra - altered;
	}
}

static void grow_old(struct strays *strays)
{
	struct stray *old = strays->old;

	settle(&strays->sums, old);
	memset(old, 0, SLOTS * sizeof(*old));
	strays->old = strays->young;
	strays->young = old;
	strays->used = 0;
}

void strays_add(struct strays *strays, uint64_t loose, uint32_t missing, uint32_t extra)
{
	struct stray *s = slot_of(strays->old, loose);

	if (is_free(s))
		s = slot_of(strays->young, loose);
	if (is_free(s)) {
		if (strays->used >= SLOTS_MAX) {
			grow_old(strays);
			s = slot_of(strays->young, loose);
		}
		strays->used++;
	}
	s->loose = loose;
	s->missing = sum(s->missing, missing);
	s->extra = sum(s->extra, extra);
}

void strays_settle(struct strays *strays)
{
	settle(&strays->sums, strays->old);
	settle(&strays->sums, strays->young);
}

struct stray_sums strays_sums(const struct strays *strays)
{
	return strays->sums;
}
