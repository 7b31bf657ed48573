/* SPDX-License-Identifier: MIT */
#include "portmirror/proof_frame.h"

#include <linux/if_ether.h>
#include <netinet/in.h>
#include <string.h>
#include <xxhash.h>

#include "base/cursor.h"
#include "portmirror/proof_layout.h"

void frame_pull_tag(struct frame *f)
{
	uint32_t tag;

	if (f->tag || f->len < FRAME_ADDRESSES + FRAME_TAG)
		return;
	tag = load32(f->bytes + FRAME_ADDRESSES);
	if (!is_tag(tag >> 16))
		return;
	f->tag = tag;
	memmove(f->bytes + FRAME_TAG, f->bytes, FRAME_ADDRESSES);
	f->bytes += FRAME_TAG;
	f->len -= FRAME_TAG;
}

/* As much of the field as is there: a frame may be cut in the midst of it. */
static void clear(const struct frame *f, size_t at, size_t len)
{
	if (at < f->len)
		memset(f->bytes + at, 0, len < f->len - at ? len : f->len - at);
}

/* A frame inside the host may have a partial checksum (CHECKSUM_PARTIAL), and its copy behind a
 * device that wants it finished the whole one. */
static void clear_checksum(const struct frame *f, const struct layout *l)
{
	if (l->protocol == IPPROTO_TCP)
		clear(f, l->l4 + 16, 2);
	else if (l->protocol == IPPROTO_UDP)
		clear(f, l->l4 + 6, 2);
	else if (l->protocol == IPPROTO_SCTP)
		clear(f, l->l4 + 8, 4);
}

/* The bytes that most likely survive where others were changed. */
static uint64_t loose_key(const struct frame *f, const struct layout *l)
{
	uint8_t name[FRAME_ADDRESSES + 2 + 1 + 32 + 8] = {0};
	struct cursor c = cursor_of(f->bytes, f->len);
	size_t at = FRAME_ADDRESSES;
	size_t rest = l->protocol == IPPROTO_TCP ? 8 : 4;

	cursor_copy(&c, name, FRAME_ADDRESSES);
	store16(name + at, l->type);
	at += 2;
	name[at++] = l->protocol;
	c = cursor_of(f->bytes, f->len);
	if (l->ipv4) {
		if (l->protocol != IPPROTO_TCP)
			memcpy(name + at, f->bytes + l->l3 + 4, 2);
		memcpy(name + at + 2, f->bytes + l->l3 + 12, 8);
		at += 10;
	} else if (l->ipv6) {
		memcpy(name + at, f->bytes + l->l3 + 8, 32);
		at += 32;
	} else {
		rest = 26;
	}
	if (cursor_skip(&c, l->l4)) {
		size_t left = cursor_left(&c);

		cursor_copy(&c, name + at, left < rest ? left : rest);
	}
	return XXH3_64bits(name, sizeof(name));
}

/* One end of a flow. */
struct end {
	uint8_t address[16];
	uint16_t port, zero;
};

/* The ends in an order of their own, so that both directions are one flow. */
static uint64_t both(const struct end *a, const struct end *b, uint16_t type, unsigned what)
{
	struct {
		struct end ends[2];
		uint32_t what;
	} name = {.what = (uint32_t)type << 16 | what};
	uint64_t hash;

	_Static_assert(sizeof(name) == 44, "there is no padding in what is hashed");
	name.ends[0] = memcmp(a, b, sizeof(*a)) < 0 ? *a : *b;
	name.ends[1] = memcmp(a, b, sizeof(*a)) < 0 ? *b : *a;
	hash = XXH3_64bits(&name, sizeof(name));
	return hash ? hash : 1;
}

static uint64_t ip_flow(const struct frame *f, const struct layout *l)
{
	size_t size = l->ipv4 ? 4 : 16;
	const uint8_t *addresses = f->bytes + l->l3 + (l->ipv4 ? 12 : 8);
	unsigned what = l->fragment ? 0x100U | l->carried : l->protocol;
	struct end from = {0}, to = {0};

	memcpy(from.address, addresses, size);
	memcpy(to.address, addresses + size, size);
	if (what == 0)
		return 0;
	if (!l->fragment && layout_has_ports(l)) {
		if (f->len < l->l4 + 4)
			return 0;
		if (!layout_is_tunnel(l, f)) {
			memcpy(&from.port, f->bytes + l->l4, 2);
			memcpy(&to.port, f->bytes + l->l4 + 2, 2);
		}
	}
	return both(&from, &to, l->type, what);
}

/*
 * What flow it belongs to, never more loosely than who copies tells them apart
 * (bpf/flow.bpf.h): fragments and tunnels by their addresses, what is no IP by Ethernet's. 0: it
 * can't be told, as the ports are not among the bytes.
 */
static uint64_t flow_of(const struct frame *f, const struct layout *l)
{
	struct end from = {0}, to = {0};

	if (l->ipv4 || l->ipv6)
		return ip_flow(f, l);
	if (l->l3 == 0 || l->type == ETH_P_IP || l->type == ETH_P_IPV6)
		return 0;
	memcpy(from.address, f->bytes + ETH_ALEN, ETH_ALEN);
	memcpy(to.address, f->bytes, ETH_ALEN);
	return both(&from, &to, l->type, 0);
}

/*
 * Of a copy that is cut its tag counts among the bytes: where it has none, there are four more of
 * the content. They stand for the tag in the comparison, so that the views of a frame are one
 * whether a bridge has given it a tag in between or not.
 */
static void take_tail(struct frame *f, size_t snap, struct frame_mark *mark)
{
	size_t most = snap - FRAME_TAG;

	if (f->len <= most)
		return;
	if (!mark->tag)
		mark->tag = (uint32_t)XXH3_64bits(f->bytes + most, f->len - most) | 1;
	f->len = most;
}

void frame_mark(const struct frame *frame, const struct frame_terms *terms, struct frame_mark *mark)
{
	struct frame f = *frame;
	struct layout l;

	frame_pull_tag(&f);
	if (terms->snap && f.len > frame_room(&f, terms->snap))
		f.len = frame_room(&f, terms->snap);
	l = layout_of(&f);
	clear_checksum(&f, &l);
	if (terms->blur == FRAME_TCP_ID && l.ipv4 && l.protocol == IPPROTO_TCP) {
		memset(f.bytes + l.l3 + 4, 0, 2);
		memset(f.bytes + l.l3 + 10, 0, 2);
	}
	mark->tag = f.tag;
	if (terms->snap)
		take_tail(&f, terms->snap, mark);
	mark->loose = loose_key(&f, &l);
	mark->flow = terms->flows ? flow_of(&f, &l) : 0;
	mark->key = XXH3_64bits(f.bytes, f.len);
}

size_t frame_room(const struct frame *f, size_t snap)
{
	return snap - (f->tag ? FRAME_TAG : 0);
}

/* Where a checksum ends that may still be to be filled in. */
static size_t checksum_end(const struct layout *l)
{
	return l->l4 + (l->protocol == IPPROTO_TCP    ? 18
			: l->protocol == IPPROTO_UDP  ? 8
			: l->protocol == IPPROTO_SCTP ? 12
						      : 0);
}

bool frame_too_long(const struct frame *f, size_t snap)
{
	size_t most = frame_room(f, snap);
	struct layout l;

	if (f->len <= most)
		return false;
	l = layout_of(f);
	while (most < checksum_end(&l)) /* as bpf/cut.bpf.c tries it */
		most *= 2;
	return f->len > most && !layout_is_tunnel(&l, f);
}

bool frame_is_tcp_data(const struct frame *f)
{
	struct layout l = layout_of(f);

	return l.protocol == IPPROTO_TCP && f->len >= l.l4 + 13 &&
	       f->len > l.l4 + (size_t)(f->bytes[l.l4 + 12] >> 4) * 4;
}
