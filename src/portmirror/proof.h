/* SPDX-License-Identifier: MIT */
/*
 * The proof behind "check": packet rings see every frame at a session's sources and at its
 * destinations, and the frames are compared one by one, for each destination by itself.
 *
 * Two frames are the same where their bytes are, from the destination address to the end. Left
 * out are the checksums of TCP, UDP and SCTP, which a frame inside the host may not have yet. The
 * outermost VLAN tag is compared apart from the rest, because a bridge may add or remove it
 * between two views of one frame: a copy must bear the tag with which its frame entered at a
 * source, or, of a frame that only left at sources, one that it had there.
 *
 * Of each content as many copies are expected as entered at all sources together, or as left at
 * the first source where it was seen to leave, whichever is more: a frame that enters at one
 * source and leaves at others is copied once. What a bridge's own device receives for this host has
 * entered at a port of the bridge: there it counts among what leaves.
 *
 * A session may promise less. Of copies that are cut so many bytes are compared; the tag counts
 * among them, so an untagged frame's last four stand for it in the comparison. Where only a part of
 * the frames is copied nobody can tell a frame that was left out from one that was lost; but no
 * copy may be doubled or altered. Where flows are kept together each must be in one place.
 */
#ifndef PORTMIRROR_PROOF_H
#define PORTMIRROR_PROOF_H

#include <linux/filter.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "portmirror/session.h"

struct err;

#define PROOF_SECONDS_MAX 3600

struct proof_source {
	int ifindex;
	enum direction direction; /* as the machine behind it sees it */
};

/* What is promised of the copies. All 0: every frame once at each destination, and whole. */
struct proof_promise {
	bool balance;	  /* each at one of the destinations, and each flow at the same */
	bool partial;	  /* a part of the frames only */
	bool same_part;	  /* partial: the same at each destination */
	bool whole_flows; /* partial: of each flow all frames, or none */
	unsigned snap;	  /* as many bytes of each; 0: all */
};

/* expected == copied + lost + left_out + altered. */
struct proof_counts {
	uint64_t expected;
	uint64_t copied;   /* once and whole */
	uint64_t lost;	   /* seen at a source, not at the destination */
	uint64_t left_out; /* likewise, where a part of the frames is copied only */
	uint64_t doubled;  /* copies beyond the first */
	uint64_t altered;  /* copies with a changed byte or tag, or cut */
	uint64_t other;	   /* frames out of the destination that no source showed */
	uint64_t unseen;   /* frames that no ring had room for, or that could not be compared */
	uint64_t cut;	   /* super-frames that were compared as the segments they stand for */
	/* Where flows are kept together: all that were seen, and those at several places.
	 */
	uint64_t flows, split;
};

struct proof_request {
	const struct proof_source *sources; /* each device once, no destination among them */
	size_t nsources;
	const int *to; /* the destinations, each once */
	size_t nto;    /* up to SESSION_TO_MAX */
	struct proof_promise promise;
	const struct sock_filter *code; /* the session's filter, run in the kernel; NULL: all */
	size_t ncode;
	double seconds;	 /* above 0, up to PROOF_SECONDS_MAX */
	unsigned probes; /* frames of our own to send out of every source; see below */

	/* Called when the measurement begins (share 0) and then about twenty times a second, with
	 * what is settled so far: frames of the last 1.5 seconds aren't. While it runs the rings
	 * aren't read: it must be quick. False ends the measurement here; its result holds for the
	 * time until then. May be NULL. */
	bool (*progress)(double share, const struct proof_counts *settled, void *data);
	void *data;
};

/*
 * A probe is an Ethernet frame of 60 to 1514 bytes (within the device's MTU) to a local unicast
 * address that nobody has, EtherType 0x88b5 (IEEE 802, local experiments). It goes out of the
 * source port towards the machine, through the queueing discipline and its filters as any frame
 * does. So probes can only prove the received half: nobody but the machine can send for the
 * machine. A session's filter that doesn't match them leaves them out.
 */

enum proof_verdict {
	PROOF_WHOLE,
	PROOF_BROKEN,  /* lost, doubled or altered frames or split flows, more than the
			  unseen frames explain; or frames that a destination dropped */
	PROOF_BLIND,   /* nothing wrong that could be seen, but not all could be seen */
	PROOF_NOTHING, /* a direction asked for showed no frame, or no frame was copied of those of
			  which a part is */
};

struct proof_source_result {
	uint64_t sent,
		received; /* frames seen; super-frames that were cut count as their segments */
	uint64_t bytes;
	uint64_t unseen;
};

struct proof_destination_result {
	struct proof_counts counts; /* its own; with balance all 0: they are one for all */
	uint64_t seen;		    /* frames out of it */
	uint64_t unseen;	    /* of those */
	uint64_t dropped;	    /* that its driver dropped (tx_dropped) meanwhile */
};

struct proof_result {
	enum proof_verdict verdict;
	struct proof_promise promise;
	struct proof_counts counts;	     /* of all destinations added up, but for flows */
	struct proof_source_result *sources; /* in the request's order */
	size_t nsources;
	struct proof_destination_result *destinations; /* in the request's order */
	size_t ndestinations;
	size_t blamed; /* the destination that the verdict rests on; ndestinations: all together */
	uint64_t probes;			   /* sent */
	double seconds;				   /* measured */
	double frames_per_second, bits_per_second; /* seen at all sources together */
	bool as_segments; /* TCP super-frames were cut: a device involved doesn't take them, so the
			     kernel cuts frames behind the copying. The IPv4 identification and
			     header checksum of TCP frames are then left out of the comparison */
	char why[200];	  /* what the verdict rests on, one sentence */
};

/*
 * Measures, in the calling thread, for the seconds asked for and half a second more, which it
 * does with a higher priority where it may (CAP_SYS_NICE; set back at the end). Needs CAP_NET_RAW,
 * about 64 MB for the rings and as much for the book at the highest rates. Returns 0 and the
 * result, to be freed with proof_result_free(); or -EINVAL, -ENODEV (a device is gone), -EPERM,
 * -ENOMEM, or another negative errno.
 */
int proof_run(const struct proof_request *request, struct proof_result *result, struct err *e);
void proof_result_free(struct proof_result *result); /* what it holds */

/* The verdict on what was measured: sets verdict, blamed and why; where the same part is promised
 * to each destination, what one has less than another is lost there. Pure; proof_run() does it. */
void proof_judge(const struct proof_request *request, struct proof_result *result);

/* "whole", "broken", "blind", "nothing". */
const char *proof_verdict_name(enum proof_verdict verdict);

#endif
