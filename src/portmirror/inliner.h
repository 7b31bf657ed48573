/* SPDX-License-Identifier: MIT */
/*
 * An in-line session in the kernel: what its pins (bpf/pin.h) are called. In its folder: the maps
 * inline-state … inline-flood; the programs inline-from_machine-HASH …, of this build and the
 * session's filter; and the links inline-machine-IFINDEX-sent and -received of guarded ports, and
 * inline-port-IFINDEX of the appliance's ports. Where the kernel has no tcx, direct-action filters
 * take the place of links: see direct.h.
 */
#ifndef PORTMIRROR_INLINER_H
#define PORTMIRROR_INLINER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bpf/inline.h"
#include "bpf/inline_load.h"
#include "bpf/pin.h"
#include "portmirror/plan.h"

struct bytecode;
struct engine;
struct err;
struct host;
struct op;
struct view;

void inliner_map_name(enum inline_map which, char name[PIN_NAME]);
void inliner_program_name(enum inline_program which, const struct bytecode *filter,
			  char name[PIN_NAME]);
/* Of a guarded port, in that direction; or of a port of the appliance. */
void inliner_link_name(enum inline_program which, int ifindex, char name[PIN_NAME]);
bool inliner_egress(enum inline_program which);

/* A pin of an in-line session, by its name. */
bool inliner_owns(const struct pin *pin);

/* One as the kernel has it. */
struct inliner {
	char session[PIN_NAME];
	struct inline_state state;
	struct inline_health health;
	struct inline_probe_seen probes[INLINE_WAYS];
	struct inline_count counts[INLINE_COUNTS]; /* of all CPUs together */
	int ports[INLINE_PORTS_MAX];		   /* those that its programs know as guarded */
	size_t nports;
};

/* The session's, NULL: it has none in the kernel. */
const struct inliner *host_inliner(const struct host *host, const char *session);
/* For host_copiers.c: reads what is pinned for the session. */
int inliner_look(const char *house, const char *session, struct inliner *found, struct err *e);
bool inliner_has(const struct inliner *inliner, int port);

/* "well", "gone", "down", "silent" */
const char *inliner_failure_name(uint32_t failure);
/* A clause: "its port is gone". */
const char *inliner_failure_text(uint32_t failure);
/* True while somebody (portmirrord) sends probes and looks for them. now: CLOCK_MONOTONIC, ns. */
bool inliner_watched(const struct inliner *inliner, unsigned interval, uint64_t now);
/* CLOCK_MONOTONIC, ns: bpf_ktime_get_ns() of the programs. */
uint64_t inliner_now(void);

/* The last program of an in-line session at that hook, by its id: programs that copy go behind it,
 * for what an appliance doesn't let through is no traffic of the machine. 0: there is none. */
uint32_t inliner_in_front(const struct pins *pins, int ifindex, bool egress);

/* Carries out one operation (OP_INLINE_…), if it does that one. */
int inliner_act(const struct engine *engine, const struct view *view, const struct op *op,
		struct err *e);
bool inliner_does(const struct op *op);

#endif
