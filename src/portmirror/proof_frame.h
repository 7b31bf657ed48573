/* SPDX-License-Identifier: MIT */
/* Frames as the proof compares them. Pure, but it works in place: the bytes are changed. */
#ifndef PORTMIRROR_PROOF_FRAME_H
#define PORTMIRROR_PROOF_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One frame as a packet ring shows it. */
struct frame {
	uint8_t *bytes; /* from the destination address on; writable */
	size_t len;
	uint32_t tag;	   /* TPID << 16 | TCI that the kernel took out of the bytes; 0: none */
	uint8_t gso_type;  /* VIRTIO_NET_HDR_GSO_*; 0 for an ordinary frame */
	uint16_t gso_size; /* payload bytes of a segment */
};

struct frame_mark {
	uint64_t key;	/* of the whole content, but for checksums and the outermost tag */
	uint64_t loose; /* of what names a frame (addresses, ports, sequence number) */
	uint32_t tag;	/* the outermost, wherever it stood; 0: none */
};

/* What else is left out of the key. */
enum frame_blur {
	FRAME_EXACT,
	FRAME_TCP_ID, /* the IPv4 identification and header checksum of TCP frames */
};

/* Marks the frame; its bytes are spoilt afterwards. */
void frame_mark(const struct frame *frame, enum frame_blur blur, struct frame_mark *mark);

/* A super-frame being cut into segments, as the kernel does for a device that can't. */
struct frame_cut {
	struct frame frame;
	enum frame_blur blur;
	size_t l3, l4, payload; /* where they begin in the frame */
	size_t at;		/* the next segment's payload */
	size_t header;		/* where the header stands that the next segment is built from */
	bool ipv6, tcp;
	uint16_t id;
	uint32_t seq;
	uint8_t flags;
};

/* False, with nothing changed, where it is no TCP or UDP super-frame over IPv4 or IPv6. */
bool frame_cut_begin(struct frame_cut *cut, const struct frame *frame, enum frame_blur blur);
/* The next segment's mark and length; false behind the last one. */
bool frame_cut_next(struct frame_cut *cut, struct frame_mark *mark, size_t *len);

#endif
