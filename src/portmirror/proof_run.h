/* SPDX-License-Identifier: MIT */
/* What proof.c sets up and proof_measure.c fills. */
#ifndef PORTMIRROR_PROOF_RUN_H
#define PORTMIRROR_PROOF_RUN_H

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "portmirror/proof.h"
#include "portmirror/proof_frame.h"

#define SECOND	    UINT64_C(1000000000)
#define MILLISECOND UINT64_C(1000000)

enum {
	RINGS_MEMORY = 64 << 20,
	LARGE_BLOCK = 512 << 10, /* holds seven super-frames of 64 KB */
	SMALL_BLOCK = 128 << 10, /* holds one */
};

struct book;
struct ring;
struct run;

/* One ring, and what was seen there. */
struct watch {
	struct run *run;
	struct ring *ring;
	bool destination;
	bool bridge;	 /* a bridge's own device */
	uint16_t number; /* of the source, or of the destination */
	unsigned mtu;
	bool cuts;	 /* TCP super-frames leave the device as segments */
	uint64_t unseen; /* but for the ring's own drops */
	struct proof_source_result seen;
};

struct run {
	const struct proof_request *request;
	/* The destinations', then the sources'. */
	struct watch *watches;
	struct ring *rings;
	struct pollfd *polls;
	size_t nrings;
	struct book **books; /* one a destination; with balance one for all */
	size_t nbooks;
	struct frame_terms terms;
	uint64_t cut;
	/* All times are nanoseconds of CLOCK_MONOTONIC. */
	uint64_t ahead; /* of CLOCK_REALTIME, in which the rings stamp */
	uint64_t now, start, end, swept, shown;
	bool ended; /* before its time */
	int probe_fd;
	uint64_t probe_rounds, probes;
};

/* All is set up, and the rings are started. */
void proof_measure(struct run *run);
/* What is settled so far, of all books added up. */
void proof_count(const struct run *run, struct proof_counts *counts);
uint64_t proof_unseen(const struct watch *watch);

#endif
