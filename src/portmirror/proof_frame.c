/* SPDX-License-Identifier: MIT */
#include "portmirror/proof_frame.h"

#include <linux/if_ether.h>
#include <linux/virtio_net.h>
#include <netinet/in.h>
#include <string.h>
#include <xxhash.h>

#include "base/cursor.h"

#ifndef VIRTIO_NET_HDR_GSO_UDP_L4 /* since Linux 6.2 */
#define VIRTIO_NET_HDR_GSO_UDP_L4 5
#endif

enum {
	ADDRESSES = 12, /* bytes of both MAC addresses */
	TAG = 4,
	INNER_TAGS_MAX = 4,
	EXTENSIONS_MAX = 8, /* IPv6 extension headers */
	TCP_FIN = 0x01,
	TCP_PSH = 0x08,
	TCP_CWR = 0x80,
	TCP_HEADER = 20,
	UDP_HEADER = 8,
};

/* Where a frame's headers are. */
struct layout {
	uint16_t type;	  /* EtherType behind all tags */
	size_t l3;	  /* what follows it */
	bool ipv4, ipv6;  /* that is a whole IP header */
	size_t l4;	  /* what follows IP's headers */
	uint8_t protocol; /* of l4; 0 where l4 isn't the beginning of a transport header */
};

static bool is_tag(unsigned type)
{
	return type == ETH_P_8021Q || type == ETH_P_8021AD;
}

static uint16_t load16(const uint8_t *at)
{
	return (uint16_t)(at[0] << 8 | at[1]);
}

static uint32_t load32(const uint8_t *at)
{
	return (uint32_t)load16(at) << 16 | load16(at + 2);
}

static void store16(uint8_t *at, size_t value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

static void store32(uint8_t *at, uint32_t value)
{
	store16(at, value >> 16);
	store16(at + 2, value & 0xffff);
}

static bool read_ipv4(struct cursor *c, struct layout *l)
{
	const uint8_t *ip;

	if (!cursor_bytes(c, 20, &ip) || ip[0] >> 4 != 4 || (ip[0] & 15) < 5)
		return false;
	l->ipv4 = true;
	if (!cursor_skip(c, (size_t)(ip[0] & 15) * 4 - 20))
		return false;
	if ((load16(ip + 6) & 0x1fff) == 0) /* later fragments have no transport header */
		l->protocol = ip[9];
	return true;
}

/* RFC 8200, section 4. */
static bool read_ipv6(struct cursor *c, struct layout *l)
{
	const uint8_t *ip;
	const uint8_t *extension;
	uint8_t next;

	if (!cursor_bytes(c, 40, &ip) || ip[0] >> 4 != 6)
		return false;
	l->ipv6 = true;
	next = ip[6];
	for (int i = 0; i < EXTENSIONS_MAX; i++) {
		size_t unit = 8, more = 0;

		if (next == IPPROTO_AH) /* RFC 4302: counted in words of 4 bytes, minus 2 */
			unit = 4, more = 1;
		else if (next != IPPROTO_HOPOPTS && next != IPPROTO_ROUTING &&
			 next != IPPROTO_DSTOPTS && next != IPPROTO_FRAGMENT)
			break;
		if (!cursor_bytes(c, 8, &extension))
			return false;
		if (next == IPPROTO_FRAGMENT && (load16(extension + 2) & 0xfff8) != 0)
			return true;
		if (next != IPPROTO_FRAGMENT &&
		    !cursor_skip(c, (extension[1] + 1 + more) * unit - 8))
			return false;
		next = extension[0];
	}
	l->protocol = next;
	return true;
}

static struct layout find_layout(const struct frame *f)
{
	struct layout l = {0};
	struct cursor c = cursor_of(f->bytes, f->len);
	bool whole = false;

	if (!cursor_skip(&c, ADDRESSES) || !cursor_be16(&c, &l.type))
		return l;
	for (int i = 0; i < INNER_TAGS_MAX && is_tag(l.type); i++) {
		if (!cursor_skip(&c, 2) || !cursor_be16(&c, &l.type))
			return l;
	}
	l.l3 = (size_t)(c.at - f->bytes);
	if (l.type == ETH_P_IP)
		whole = read_ipv4(&c, &l);
	else if (l.type == ETH_P_IPV6)
		whole = read_ipv6(&c, &l);
	if (!whole)
		l.protocol = 0;
	l.l4 = (size_t)(c.at - f->bytes);
	return l;
}

/* Takes an outermost tag that stands in the bytes out of them, as the kernel does on the way in.
 */
static void pull_tag(struct frame *f)
{
	uint32_t tag;

	if (f->tag || f->len < ADDRESSES + TAG)
		return;
	tag = load32(f->bytes + ADDRESSES);
	if (!is_tag(tag >> 16))
		return;
	f->tag = tag;
	memmove(f->bytes + TAG, f->bytes, ADDRESSES);
	f->bytes += TAG;
	f->len -= TAG;
}

static void clear(const struct frame *f, size_t at, size_t len)
{
	if (at <= f->len && len <= f->len - at)
		memset(f->bytes + at, 0, len);
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
	uint8_t name[ADDRESSES + 2 + 1 + 32 + 8] = {0};
	struct cursor c = cursor_of(f->bytes, f->len);
	size_t at = ADDRESSES;
	size_t rest = l->protocol == IPPROTO_TCP ? 8 : 4;

	cursor_copy(&c, name, ADDRESSES);
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

void frame_mark(const struct frame *frame, enum frame_blur blur, struct frame_mark *mark)
{
	struct frame f = *frame;
	struct layout l;

	pull_tag(&f);
	l = find_layout(&f);
	clear_checksum(&f, &l);
	mark->loose = loose_key(&f, &l);
	if (blur == FRAME_TCP_ID && l.ipv4 && l.protocol == IPPROTO_TCP) {
		memset(f.bytes + l.l3 + 4, 0, 2);
		memset(f.bytes + l.l3 + 10, 0, 2);
	}
	mark->key = XXH3_64bits(f.bytes, f.len);
	mark->tag = f.tag;
}

bool frame_cut_begin(struct frame_cut *cut, const struct frame *frame, enum frame_blur blur)
{
	unsigned type = frame->gso_type & ~(unsigned)VIRTIO_NET_HDR_GSO_ECN;
	struct frame_cut new = {.frame = *frame, .blur = blur};
	struct layout l;
	size_t header = UDP_HEADER, least = UDP_HEADER;

	if (frame->gso_size == 0)
		return false;
	pull_tag(&new.frame);
	l = find_layout(&new.frame);
	new.tcp = type == VIRTIO_NET_HDR_GSO_TCPV4 || type == VIRTIO_NET_HDR_GSO_TCPV6;
	if (!new.tcp && type != VIRTIO_NET_HDR_GSO_UDP_L4)
		return false;
	if (l.protocol != (new.tcp ? IPPROTO_TCP : IPPROTO_UDP))
		return false;
	if (new.tcp) {
		least = TCP_HEADER;
		if (new.frame.len - l.l4 < least)
			return false;
		header = (size_t)(new.frame.bytes[l.l4 + 12] >> 4) * 4;
		new.seq = load32(new.frame.bytes + l.l4 + 4);
		new.flags = new.frame.bytes[l.l4 + 13];
	}
	if (header < least || new.frame.len - l.l4 <= header)
		return false;
	new.ipv6 = l.ipv6;
	new.id = l.ipv4 ? load16(new.frame.bytes + l.l3 + 4) : 0;
	new.l3 = l.l3;
	new.l4 = l.l4;
	new.payload = l.l4 + header;
	new.at = new.payload;
	*cut = new;
	return true;
}

/* RFC 1071, over the IPv4 header at ip. */
static uint16_t ip_checksum(const uint8_t *ip)
{
	uint32_t sum = 0;

	for (size_t i = 0; i < (size_t)(ip[0] & 15) * 4; i += 2)
		sum += load16(ip + i);
	sum = (sum & 0xffff) + (sum >> 16);
	sum += sum >> 16;
	return (uint16_t)~sum;
}

static void write_segment_ip(const struct frame_cut *cut, uint8_t *ip, size_t number, size_t len)
{
	if (cut->ipv6) {
		store16(ip + 4, len - 40);
		return;
	}
	store16(ip + 2, len);
	store16(ip + 4, (cut->id + number) & 0xffff);
	store16(ip + 10, 0);
	store16(ip + 10, ip_checksum(ip));
}

/* As the kernel's tcp_gso_segment() and __udp_gso_segment() do it: FIN and PSH stand in the last
 * segment only, CWR in the first. */
static void write_segment_l4(const struct frame_cut *cut, uint8_t *l4, size_t len)
{
	bool first = cut->at == cut->payload;
	bool last = cut->at + len == cut->frame.len;
	uint8_t flags = cut->flags;

	if (!cut->tcp) {
		store16(l4 + 4, UDP_HEADER + len);
		return;
	}
	if (!last)
		flags &= (uint8_t) ~(TCP_FIN | TCP_PSH);
	if (!first)
		flags &= (uint8_t)~TCP_CWR;
	store32(l4 + 4, cut->seq + (uint32_t)(cut->at - cut->payload));
	l4[13] = flags;
}

/* A segment is built in place: its header goes over the end of the segment before it, which is
 * done with. */
bool frame_cut_next(struct frame_cut *cut, struct frame_mark *mark, size_t *len)
{
	struct frame segment = {.tag = cut->frame.tag};
	size_t left = cut->frame.len - cut->at;
	size_t payload = left < cut->frame.gso_size ? left : cut->frame.gso_size;
	size_t start = cut->at - cut->payload;

	if (payload == 0)
		return false;
	segment.bytes = cut->frame.bytes + start;
	segment.len = cut->payload + payload;
	memmove(segment.bytes, cut->frame.bytes + cut->header, cut->payload);
	cut->header = start;
	write_segment_ip(cut, segment.bytes + cut->l3, start / cut->frame.gso_size,
			 segment.len - cut->l3);
	write_segment_l4(cut, segment.bytes + cut->l4, payload);
	cut->at += payload;
	*len = segment.len;
	frame_mark(&segment, cut->blur, mark);
	return true;
}
