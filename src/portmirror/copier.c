/* SPDX-License-Identifier: MIT */
#include "portmirror/copier.h"

#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "portmirror/filter.h"

static uint32_t fold(uint64_t hash)
{
	return (uint32_t)(hash ^ hash >> 32);
}

static uint32_t filter_hash(const struct bytecode *filter)
{
	return fold(bytecode_hash(filter->code, filter->count)) ^ copy_version();
}

static const char *direction(bool received)
{
	return received ? "received" : "sent";
}

bool copier_map_shared(enum copy_map which)
{
	return which == COPY_MAP_ONCE || which == COPY_MAP_CUT;
}

void copier_program_name(bool received, char name[PIN_NAME])
{
	snprintf(name, PIN_NAME, "%s-%08x", direction(received), copy_version());
}

void copier_chain_name(const struct bytecode *filter, char name[PIN_NAME])
{
	snprintf(name, PIN_NAME, "chain-%08x", filter_hash(filter));
}

void copier_filter_name(const struct bytecode *filter, bool received, char name[PIN_NAME])
{
	snprintf(name, PIN_NAME, "filter-%08x-%s", filter_hash(filter), direction(received));
}

void copier_front_name(const struct bytecode *filter, bool received, char name[PIN_NAME])
{
	if (copier_filters(filter))
		copier_filter_name(filter, received, name);
	else
		copier_program_name(received, name);
}

void copier_link_name(int ifindex, bool received, char name[PIN_NAME])
{
	snprintf(name, PIN_NAME, "%d-%s", ifindex, direction(received));
}

void copier_cut_name(char name[PIN_NAME])
{
	snprintf(name, PIN_NAME, "cut-%08x", cut_version());
}

void copier_cut_link_name(int ifindex, char name[PIN_NAME])
{
	snprintf(name, PIN_NAME, "%d-cut", ifindex);
}

uint32_t copier_number(const char *text)
{
	uint32_t number = fold(hash_bytes(HASH_START, text, strlen(text)));

	return number ? number : 1;
}

bool copier_filters(const struct bytecode *filter)
{
	return filter->count != 1 || filter->code[0].k == 0;
}
