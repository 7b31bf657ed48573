/* SPDX-License-Identifier: MIT */
/* What there is: one picture of the kernel's devices, bridges, tc state, and virtual machines. */
#ifndef PORTMIRROR_HOST_H
#define PORTMIRROR_HOST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bpf/copy.h"
#include "bpf/pin.h"
#include "netlink/link.h"
#include "netlink/tc.h"
#include "portmirror/selector.h"
#include "portmirror/vm.h"

struct err;
struct inliner;
struct nl;
struct nl_news;
struct once_hold;

/* A loaded program that filters refer to, and the map behind it. */
struct host_program {
	uint32_t id;
	uint32_t map_id; /* 0: none, or not ours to see */
};

/* The copying programs of a session: what they have been told, and what they have counted. */
struct copier {
	char session[PIN_NAME];
	struct copy_config config;
};
struct copier_count {
	size_t copier; /* its number in host.copiers */
	struct copy_port port;
	struct copy_count count; /* of all CPUs together */
};

struct host {
	struct nl_links links;	       /* by index */
	struct tc_qdiscs qdiscs;       /* by ifindex */
	struct tc_filters filters;     /* by ifindex; those at hooks and at classful roots */
	struct tc_actions actions;     /* mirred */
	struct vms vms;		       /* empty unless asked for */
	struct host_program *programs; /* by id; maybe more than filters refer to now */
	size_t nprograms, programs_room;
	uint64_t key;		/* the same until this host boots, and unknown elsewhere */
	bool tcx;		/* the kernel has it */
	char no_pins[200];	/* why nothing can be pinned; "": it can */
	struct pins pins;	/* of this house */
	struct copier *copiers; /* of the sessions that have a config there, by name */
	size_t ncopiers, copiers_room;
	struct copier_count *counts; /* by copier */
	size_t ncounts, counts_room;
	struct inliner *inliners; /* in-line sessions (inliner.h) */
	size_t ninliners, inliners_room;
};

/* Takes the picture. house: bpf/pin.h's folder. with_vms: looks through /proc too. */
int host_look(struct nl *nl, struct once_hold *hold, const char *house, bool with_vms,
	      struct host *host, struct err *e);
/* Reads what concerns eBPF again: nobody tells when that changes. lost: as
 * below; NULL: not asked for. */
int host_look_at_copiers(const char *house, struct host *host, struct ifindexes *lost,
			 struct err *e);
/* Adds the devices, still there, where a link of ours was before and is no longer. */
int host_lost_links(const struct pins *before, const struct pins *now, const struct nl_links *links,
		    struct ifindexes *lost, struct err *e);
void host_free(struct host *host); /* also for cleanup() */

/* The qdiscs or filters of one device: the first in *items, their number returned. */
size_t host_qdiscs(const struct host *host, int ifindex, const struct tc_qdisc **items);
size_t host_filters(const struct host *host, int ifindex, const struct tc_filter **items);
/* The qdisc at TC_H_ROOT or TC_H_INGRESS of a device; NULL: none. */
const struct tc_qdisc *host_qdisc_at(const struct host *host, int ifindex, uint32_t parent);
/* The map of a loaded program; 0: none. */
uint32_t host_map_of(const struct host *host, uint32_t program_id);
const struct copier *host_copier(const struct host *host, const char *session);

/* True for a qdisc whose filters only choose a class: those that we may add a filter to. */
bool qdisc_classful(const char *kind);

/*
 * A picture that is kept: host_take() takes in what the kernel tells, and notes in stale what must
 * be read again, which host_catch_up() does. The virtual machines are the caller's to renew.
 */
struct host_stale {
	struct ifindexes filters; /* of these devices */
	bool all_filters;
	bool actions;
};
enum host_difference {
	HOST_SAME,
	HOST_SEEN,   /* only in what plans don't look at */
	HOST_DIFFERS /* plan anew */
};
int host_take(struct host *host, const struct nl_news *news, struct host_stale *stale);
int host_catch_up(struct nl *nl, struct once_hold *hold, struct host *host,
		  struct host_stale *stale, struct err *e);
void host_stale_free(struct host_stale *stale); /* also for cleanup() */

/* Forgets programs that no filter refers to. */
void host_drop_programs(struct host *host);

int host_copy(const struct host *host, struct host *copy, struct err *e);

/* For host*.c: the filters at the hooks of one qdisc, where it has hooks that we could use,
 * appended; and what programs these filters refer to. */
int host_read_hooks(struct nl *nl, const struct tc_qdisc *q, struct tc_filters *filters,
		    struct err *e);
int host_read_programs(struct once_hold *hold, struct host *host, const struct tc_filters *of,
		       struct err *e);
void host_free_copiers(struct host *host);

#endif
