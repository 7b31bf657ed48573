/* SPDX-License-Identifier: MIT */
/* Super-frames, as the kernel cuts them into segments. */
#include <linux/virtio_net.h>
#include <netinet/in.h>
#include <string.h>

#include "portmirror/proof_frame.h"
#include "portmirror/proof_layout.h"

#ifndef VIRTIO_NET_HDR_GSO_UDP_L4 /* since Linux 6.2 */
#define VIRTIO_NET_HDR_GSO_UDP_L4 5
#endif

enum {
	TCP_FIN = 0x01,
	TCP_PSH = 0x08,
	TCP_CWR = 0x80,
	TCP_HEADER = 20,
};

bool frame_cut_begin(struct frame_cut *cut, const struct frame *frame,
		     const struct frame_terms *terms)
{
	unsigned type = frame->gso_type & ~(unsigned)VIRTIO_NET_HDR_GSO_ECN;
	struct frame_cut new = {.frame = *frame, .terms = *terms};
	struct layout l;
	size_t header = UDP_HEADER, least = UDP_HEADER;

	if (frame->gso_size == 0)
		return false;
	frame_pull_tag(&new.frame);
	l = layout_of(&new.frame);
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
	frame_mark(&segment, &cut->terms, mark);
	return true;
}
