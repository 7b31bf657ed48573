/* SPDX-License-Identifier: MIT */
#include "mail/find.h"

#include <stdint.h>
#include <string.h>

typedef unsigned char block __attribute__((vector_size(16)));
typedef uint64_t halves __attribute__((vector_size(16)));

#define BLOCKS 4

static block load(const char *at)
{
	block b;

	memcpy(&b, at, sizeof(b));
	return b;
}

static bool any(block b)
{
	halves h = (halves)b;

	return (h[0] | h[1]) != 0;
}

static const char *find_pair_slowly(const char *at, const char *end, char first, char second)
{
	while (end - at >= 2) {
		at = memchr(at, first, (size_t)(end - at) - 1);
		if (!at)
			return NULL;
		if (at[1] == second)
			return at;
		at++;
	}
	return NULL;
}

const char *find_pair(const char *at, const char *end, char first, char second)
{
	const block a = (block){0} + (unsigned char)first;
	const block b = (block){0} + (unsigned char)second;
	const ptrdiff_t step = BLOCKS * (ptrdiff_t)sizeof(block);

	for (; end - at > step; at += step) {
		block hit = {0};

		for (ptrdiff_t i = 0; i < step; i += (ptrdiff_t)sizeof(block))
			hit |= (block)(load(at + i) == a) & (block)(load(at + i + 1) == b);
		if (any(hit)) /* the second byte may be the first one behind this step */
			return find_pair_slowly(at, at + step + 1, first, second);
	}
	return find_pair_slowly(at, end, first, second);
}

bool find_8bit(const char *at, size_t len)
{
	block all = {0};
	unsigned char rest = 0;

	for (; len >= sizeof(block); at += sizeof(block), len -= sizeof(block))
		all |= load(at);
	for (; len > 0; at++, len--)
		rest |= (unsigned char)*at;
	return any(all & 0x80) || (rest & 0x80) != 0;
}

/* How many bytes follow the first one of a character; -1: none starts so. */
static int more_of(unsigned char first)
{
	if (first < 0x80)
		return 0;
	if (first < 0xc2 || first > 0xf4)
		return -1;
	return first < 0xe0 ? 1 : first < 0xf0 ? 2 : 3;
}

/* RFC 3629: no longer form than needed, no surrogates, nothing over U+10FFFF. */
static bool may_follow(unsigned char first, unsigned char second)
{
	switch (first) {
	case 0xe0:
		return second >= 0xa0;
	case 0xed:
		return second < 0xa0;
	case 0xf0:
		return second >= 0x90;
	case 0xf4:
		return second < 0x90;
	default:
		return true;
	}
}

bool is_utf8(const char *at, size_t len)
{
	const unsigned char *p = (const unsigned char *)at, *end = p + len;

	while (p < end) {
		int more = more_of(*p);

		if (more < 0 || end - p <= more || (more > 0 && !may_follow(p[0], p[1])))
			return false;
		for (p++; more > 0; more--, p++)
			if ((*p & 0xc0) != 0x80)
				return false;
	}
	return true;
}
