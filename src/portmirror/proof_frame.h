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
	uint64_t flow;	/* that it belongs to, the same for both directions; 0: not told */
	uint32_t tag;	/* the outermost, wherever it stood; 0: none */
};

/* What else is left out of the key. */
enum frame_blur {
	FRAME_EXACT,
	FRAME_TCP_ID, /* the IPv4 identification and header checksum of TCP frames */
};

/* What is compared of frames. */
struct frame_terms {
	enum frame_blur blur;
	bool flows;  /* tell them */
	size_t snap; /* so many bytes (64 and more), the outermost tag among them; 0: all of them */
};

/* Marks the frame; its bytes are spoilt afterwards. */
void frame_mark(const struct frame *frame, const struct frame_terms *terms,
		struct frame_mark *mark);

/* Takes an outermost tag that stands in the bytes out of them, as the kernel does on the way in.
 * (frame_mark() and frame_cut_begin() do it themselves.) */
void frame_pull_tag(struct frame *frame);

/* Of frames without a tag in their bytes: */
/* How many of its bytes fit in a copy of so many. */
size_t frame_room(const struct frame *frame, size_t snap);
/* Is this copy longer than it had to be? The kernel cuts none in front of a checksum that is still
 * to be filled in, nor what it put into a tunnel. */
bool frame_too_long(const struct frame *frame, size_t snap);
/* It carries some of TCP's data. */
bool frame_is_tcp_data(const struct frame *frame);

/* A super-frame being cut into segments, as the kernel does for a device that can't. */
struct frame_cut {
	struct frame frame;
	struct frame_terms terms;
	size_t l3, l4, payload; /* where they begin in the frame */
	size_t at;		/* the next segment's payload */
	size_t header;		/* where the header stands that the next segment is built from */
	bool ipv6, tcp;
	uint16_t id;
	uint32_t seq;
	uint8_t flags;
};

/* False, with nothing changed, where it is no TCP or UDP super-frame over IPv4 or IPv6. */
bool frame_cut_begin(struct frame_cut *cut, const struct frame *frame,
		     const struct frame_terms *terms);
/* The next segment's mark and length; false behind the last one. */
bool frame_cut_next(struct frame_cut *cut, struct frame_mark *mark, size_t *len);

#endif
