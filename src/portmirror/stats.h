/* SPDX-License-Identifier: MIT */
/*
 * What sessions have copied and lost, from the counters of one look at the host; and rates, from
 * two. Pure.
 */
#ifndef PORTMIRROR_STATS_H
#define PORTMIRROR_STATS_H

#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "portmirror/inliner.h"
#include "portmirror/plan.h"

struct err;
struct host;

struct stats_count {
	uint64_t frames, bytes;
	double frames_per_second, bits_per_second; /* 0 before stats_rates() */
};

/* The device's own counters: all of its frames since it came up, whatever the session's filter. And
 * what the engine bpf has copied of them. */
struct stats_source {
	int ifindex;
	char port[IFNAMSIZ];
	struct stats_copies {
		uint64_t frames, bytes, lost, shed;
	} copies;
	struct stats_count sent, received; /* zero for a direction that the session doesn't have */
	struct stats_count sum;
};

struct stats_session {
	char name[SESSION_NAME_MAX + 1];
	enum direction direction;
	enum state state;
	/* Of an in-line session: the ports of its appliance, and what its programs have counted;
	 * copied is then what was led into it, lost_before what its programs dropped for want of
	 * it. */
	char through[2 * IFNAMSIZ + 4]; /* "": a mirror */
	struct inliner led;
	int to_ifindex; /* 0: not there */
	char to[IFNAMSIZ];
	/* Since the session's action was made, which all its filters share; of frames that machines
	 * send, the kernel counts the bytes behind the Ethernet header. By the engine bpf: since
	 * its maps were made, whole frames, or as much as snap leaves of them. */
	uint32_t action; /* 0: none in the kernel */
	bool counts;	 /* the engine bpf's programs count */
	struct stats_count copied;
	uint64_t lost_before; /* copies that a destination did not take */
	uint64_t shed;	      /* copies beyond the session's rate */
	/* Frames that its driver dropped (tx_dropped), whoever sent them, since the device came up.
	 * Depending on its queueing discipline such a frame is in lost_before too. */
	uint64_t lost_at;
	double lost_before_per_second, lost_at_per_second, shed_per_second;
	struct stats_source *sources;
	size_t nsources;
};

struct stats {
	struct stats_session *items;
	size_t count;
};

/* The counters of all sessions of the plan, or of the one named (NULL: all). To be freed. */
int stats_take(const struct plan *plan, const struct host *host, const char *name,
	       struct stats *stats, struct err *e);
void stats_free(struct stats *stats); /* also for cleanup() */

/* Fills in now's rates, for what was there before too; a counter that runs backwards has begun
 * anew. seconds: between the two, above 0. */
void stats_rates(struct stats *now, const struct stats *before, double seconds);

/* The busiest first, among sessions and among the sources of each; then by name. */
void stats_sort(struct stats *stats);

#endif
