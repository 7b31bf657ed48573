/* SPDX-License-Identifier: MIT */
/* Where a frame's headers are, as far as the proof has to know it. Pure. */
#ifndef PORTMIRROR_PROOF_LAYOUT_H
#define PORTMIRROR_PROOF_LAYOUT_H

#include <linux/if_ether.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct frame;

enum {
	FRAME_ADDRESSES = 12, /* bytes of both MAC addresses */
	FRAME_TAG = 4,
	UDP_HEADER = 8,
};

struct layout {
	uint16_t type;	  /* EtherType behind all tags */
	size_t l3;	  /* what follows it */
	bool ipv4, ipv6;  /* that is a whole IP header */
	bool fragment;	  /* of an IP packet, be it the first */
	uint8_t carried;  /* of a fragment: the protocol of what it is a part of */
	size_t l4;	  /* what follows IP's headers */
	uint8_t protocol; /* of l4; 0 where l4 isn't the beginning of a transport header */
};

/* Of a frame with no outermost tag in its bytes. */
struct layout layout_of(const struct frame *frame);

/* True where l4 begins with two ports. */
bool layout_has_ports(const struct layout *l);
/* A tunnel, by its protocol or its ports. */
bool layout_is_tunnel(const struct layout *l, const struct frame *frame);

static inline bool is_tag(unsigned type)
{
	return type == ETH_P_8021Q || type == ETH_P_8021AD;
}

static inline uint16_t load16(const uint8_t *at)
{
	return (uint16_t)(at[0] << 8 | at[1]);
}

static inline uint32_t load32(const uint8_t *at)
{
	return (uint32_t)load16(at) << 16 | load16(at + 2);
}

static inline void store16(uint8_t *at, size_t value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

static inline void store32(uint8_t *at, uint32_t value)
{
	store16(at, value >> 16);
	store16(at + 2, value & 0xffff);
}

#endif
