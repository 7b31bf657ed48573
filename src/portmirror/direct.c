/* SPDX-License-Identifier: MIT */
#include "portmirror/direct.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "netlink/tc.h"

static const char *const beginnings[] = {
	[DIRECT_LEADS] = "pmi", [DIRECT_COPIES] = "pmc", [DIRECT_CUTS] = "pmcut"};

static uint32_t hash(const char *text)
{
	uint64_t wide = hash_bytes(HASH_START, text, strlen(text));

	return (uint32_t)(wide ^ wide >> 32);
}

/* The beginning of all such names of a session, or of the house: session NULL. */
static size_t prefix(enum direct does, uint32_t house, const char *session, char name[DIRECT_NAME])
{
	size_t len = (size_t)snprintf(name, DIRECT_NAME, "%s:%08x:", beginnings[does], house);

	if (session)
		len += (size_t)snprintf(name + len, DIRECT_NAME - len, "%08x:", hash(session));
	return len;
}

void direct_name(enum direct does, uint32_t house, const char *session, const char *pin,
		 char name[DIRECT_NAME])
{
	size_t len = prefix(does, house, session, name);

	snprintf(name + len, DIRECT_NAME - len, "%08x", hash(pin));
}

static bool begins(const struct tc_filter *filter, enum direct does, uint32_t house,
		   const char *session)
{
	char name[DIRECT_NAME];

	return strncmp(filter->bpf_name, name, prefix(does, house, session, name)) == 0;
}

enum direct direct_does(const struct tc_filter *filter, uint32_t house)
{
	if (filter->nactions != 0 || !filter->bpf_direct || filter->bpf_id == 0)
		return DIRECT_NONE;
	for (enum direct does = DIRECT_LEADS; does <= DIRECT_CUTS; does++)
		if (begins(filter, does, house, NULL))
			return does;
	return DIRECT_NONE;
}

bool direct_is(const struct tc_filter *filter, enum direct does, uint32_t house,
	       const char *session)
{
	return direct_does(filter, house) == does && begins(filter, does, house, session);
}
