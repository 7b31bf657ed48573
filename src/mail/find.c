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
