/* SPDX-License-Identifier: MIT */
#include "portmirror/ours.h"

#include <string.h>

#include "base/hash.h"
#include "portmirror/direct.h"

static const char magic[4] = {'p', 'm', 'i', 'r'};

enum { HOUSE_PART = 8 }; /* of a cookie: the same for all of a house's */

static void put_house(uint32_t house, uint8_t part[HOUSE_PART])
{
	memcpy(part, magic, sizeof(magic));
	for (int i = 0; i < 4; i++)
		part[4 + i] = (uint8_t)(house >> (24 - 8 * i));
}

void ours_cookie(uint32_t house, const char *session, uint8_t cookie[TC_COOKIE])
{
	uint64_t hash = hash_bytes(HASH_START, session, strlen(session));

	put_house(house, cookie);
	for (int i = 0; i < 8; i++)
		cookie[HOUSE_PART + i] = (uint8_t)(hash >> (56 - 8 * i));
}

bool ours_somewhere(const struct tc_action *action)
{
	return action->cookie_len == TC_COOKIE && strcmp(action->kind, "mirred") == 0 &&
	       memcmp(action->cookie, magic, sizeof(magic)) == 0;
}

bool ours_action(const struct tc_action *action, uint32_t house)
{
	uint8_t part[HOUSE_PART];

	put_house(house, part);
	return ours_somewhere(action) && memcmp(action->cookie, part, sizeof(part)) == 0;
}

bool ours_filter(const struct tc_filter *filter, uint32_t house)
{
	return filter->nactions == 1 && ours_action(&filter->actions[0], house);
}

bool ours_copies(const struct tc_filter *filter, uint32_t house, const char *session,
		 uint32_t action)
{
	if (ours_filter(filter, house))
		return filter->actions[0].index == action;
	return direct_is(filter, DIRECT_COPIES, house, session);
}
