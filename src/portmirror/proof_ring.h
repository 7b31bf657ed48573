/* SPDX-License-Identifier: MIT */
/* Packet rings (AF_PACKET, TPACKET_V3): every frame of a device, read in place. */
#ifndef PORTMIRROR_PROOF_RING_H
#define PORTMIRROR_PROOF_RING_H

#include <linux/filter.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "portmirror/proof_frame.h"
#include "portmirror/session.h"

struct err;

struct ring {
	int fd;
	int ifindex;
	uint8_t *map;
	size_t block_size, blocks;
	size_t next; /* the block that the kernel hands over next */
	uint64_t drops;
};

struct ring_frame {
	struct frame frame;
	uint64_t time; /* CLOCK_REALTIME, nanoseconds */
	bool outgoing; /* it leaves the host through the device */
	bool partial;  /* not all of its bytes are there, and gso_* aren't known */
};

struct ring_spec {
	int ifindex;
	enum direction direction; /* DIRECTION_SENT: what comes in; DIRECTION_RECEIVED: goes out */
	const struct sock_filter *code; /* NULL: all */
	size_t ncode;
	size_t block_size, blocks;
};

/*
 * Opens count rings, by several threads: making or closing one waits some 15 ms for the kernel's
 * other processors (synchronize_net()). Each is mapped and its filter in place, but none gets a
 * frame before ring_start(). To be closed with rings_close(), also after a failure.
 */
int rings_open(struct ring *rings, const struct ring_spec *specs, size_t count, struct err *e);
void rings_close(struct ring *rings, size_t count);

int ring_start(struct ring *ring, struct err *e);

/* Hands the frames of the next full block to each(), then the block back to the kernel. False:
 * there is none. The frames' bytes may be changed, and are the ring's again afterwards. */
bool ring_read(struct ring *ring, void (*each)(const struct ring_frame *frame, void *data),
	       void *data);

/* Frames that the ring had no room for, since ring_start(). */
uint64_t ring_drops(struct ring *ring);

/*
 * The filter of a ring: the session's, behind a test of the direction, with every positive answer
 * made "the whole frame". Returns the number of instructions in out (room for ncode +
 * RING_FILTER_EXTRA). Pure.
 */
#define RING_FILTER_EXTRA 4
size_t ring_filter(enum direction direction, const struct sock_filter *code, size_t ncode,
		   struct sock_filter *out);

/* True where the device takes all TCP super-frames (TSO). False also where it can't be asked. */
bool ring_takes_super_frames(const char *name);

#endif
