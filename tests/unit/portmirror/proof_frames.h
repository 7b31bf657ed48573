/* SPDX-License-Identifier: MIT */
/* Frames for the tests of the proof, built by hand. */
#ifndef TEST_PROOF_FRAMES_H
#define TEST_PROOF_FRAMES_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "portmirror/proof_frame.h"

enum { FIN = 1, PSH = 8, ACK = 16, CWR = 128 };
enum { ROOM = 4096 };

struct bytes {
	uint8_t at[ROOM];
	size_t len;
};

static inline void put(struct bytes *b, const void *bytes, size_t len)
{
	assert_true(b->len + len <= ROOM);
	memcpy(b->at + b->len, bytes, len);
	b->len += len;
}

static inline void put_be(struct bytes *b, uint64_t value, size_t len)
{
	while (len-- > 0) {
		uint8_t byte = (uint8_t)(value >> (8 * len));

		put(b, &byte, 1);
	}
}

/* What the kernel makes of one segment; the same function makes the super-frame. */
struct segment {
	bool ipv6, udp;
	unsigned id, flags, seq, checksum;
	size_t from, len; /* of the payload */
};

static inline uint8_t payload_byte(size_t i)
{
	return (uint8_t)(i * 7 + i / 256);
}

static inline unsigned ip_sum(const uint8_t *ip)
{
	unsigned sum = 0;

	for (int i = 0; i < 20; i += 2)
		sum += (unsigned)ip[i] << 8 | ip[i + 1];
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return ~sum & 0xffff;
}

static inline struct bytes build(const struct segment *s)
{
	struct bytes b = {.len = 0};
	size_t l4 = (s->udp ? 8 : 20) + s->len;

	put(&b, "\x02\0\0\0\0\x02\x02\0\0\0\0\x01", 12);
	put_be(&b, s->ipv6 ? 0x86dd : 0x0800, 2);
	if (s->ipv6) {
		put_be(&b, 0x60012345, 4);
		put_be(&b, l4, 2);
		put_be(&b, s->udp ? 0x1140 : 0x0640, 2);
		put(&b, "\xfd\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01", 16);
		put(&b, "\xfd\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x02", 16);
	} else {
		unsigned sum;

		put_be(&b, 0x4500, 2);
		put_be(&b, 20 + l4, 2);
		put_be(&b, s->id, 2);
		put_be(&b, s->udp ? 0x40004011 : 0x40004006, 4);
		put_be(&b, 0, 2);
		put(&b, "\x0a\0\0\x01\x0a\0\0\x02", 8);
		sum = ip_sum(b.at + 14);
		b.at[24] = (uint8_t)(sum >> 8);
		b.at[25] = (uint8_t)sum;
	}
	put_be(&b, 0x30391389, 4); /* ports 12345, 5001 */
	if (s->udp) {
		put_be(&b, l4, 2);
		put_be(&b, s->checksum, 2);
	} else {
		put_be(&b, s->seq, 4);
		put_be(&b, 99, 4);
		put_be(&b, 0x5000 | s->flags, 2);
		put_be(&b, 0x7210, 2);
		put_be(&b, s->checksum, 2);
		put_be(&b, 0, 2);
	}
	for (size_t i = 0; i < s->len; i++)
		put_be(&b, payload_byte(s->from + i), 1);
	return b;
}

/* In memory of exactly that size, so that the sanitizer sees a step beyond. */
static inline struct frame_mark mark_by(const struct bytes *b, size_t len, uint32_t tag,
					const struct frame_terms *terms)
{
	uint8_t *copy = malloc(len ? len : 1);
	struct frame frame = {.bytes = copy, .len = len, .tag = tag};
	struct frame_mark mark;

	assert_non_null(copy);
	memcpy(copy, b->at, len);
	frame_mark(&frame, terms, &mark);
	free(copy);
	return mark;
}

static inline struct bytes tagged(const struct bytes *b, uint32_t tag)
{
	struct bytes new = {.len = 0};

	put(&new, b->at, 12);
	put_be(&new, tag, 4);
	put(&new, b->at + 12, b->len - 12);
	return new;
}

static const struct segment kinds[] = {
	{.id = 7, .flags = ACK, .seq = 1000, .len = 100},
	{.ipv6 = true, .flags = ACK, .seq = 1000, .len = 100},
	{.udp = true, .id = 7, .len = 100},
	{.ipv6 = true, .udp = true, .len = 100},
};
enum { KINDS = sizeof(kinds) / sizeof(kinds[0]) };

#endif
