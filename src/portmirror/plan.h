/* SPDX-License-Identifier: MIT */
/*
 * The heart of portmirror: from what is wanted (sessions) and what there is (host, notes) to the
 * list of operations that lead from one to the other. Pure: it asks nobody and changes nothing.
 */
#ifndef PORTMIRROR_PLAN_H
#define PORTMIRROR_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bpf/copy.h"
#include "bpf/inline.h"
#include "bpf/inline_load.h"
#include "bpf/pin.h"
#include "netlink/tc.h"
#include "portmirror/direct.h"
#include "portmirror/filter.h"
#include "portmirror/notes.h"
#include "portmirror/once.h"
#include "portmirror/selector.h"
#include "portmirror/session.h"

struct buf;
struct err;
struct host;
struct nl_links;
struct sessions;

/* What this kernel lacks, as far as it has said so. */
struct lacks {
	bool bpf;      /* cls_bpf */
	bool matchall; /* cls_matchall */
	bool prio;     /* sch_prio */
	/* Why the engine bpf can't be had, as it turned out when it was tried. "": it wasn't. */
	char copy[300];
	char lead[300]; /* likewise of what in-line sessions need */
};

/* What it lacks, as far as what of ours stands there tells: another run has learned it before. */
struct lacks lacks_shown(const struct host *host, const struct notes *notes, uint32_t house);

/* In the order in which they are carried out. */
enum op_kind {
	OP_ACTION_PUT, /* the session's mirred action: made, or moved to another device */
	OP_ISOLATE,    /* a destination's bridge-port flags */
	OP_COPY_MAPS, /* the maps of a session's programs, those that are missing; and its config */
	OP_COPY_PROGRAMS,
	OP_CUT_PROGRAM, /* which shortens copies */
	OP_CUT_LINK,	/* a destination's */
	OP_COPY_CONFIG, /* exchanged in one step */
	OP_COPY_LINK,	/* a port's; made, or its program exchanged in one step */
	OP_INLINE_MAPS, /* the maps of an in-line session, and what is in them */
	OP_INLINE_PROGRAMS,
	OP_INLINE_STATE, /* where the appliance is, and ports that are guarded from now on */
	OP_INLINE_LINK,
	OP_QDISC_CLEAR, /* a qdisc of ours that is in the way of the next */
	OP_QDISC_ADD,
	OP_FILTER_PUT, /* added, or replaced in one step */
	OP_FILTER_DEL,
	OP_UNLINK,
	OP_INLINE_FORGET, /* ports that are guarded no longer */
	OP_RESTORE,	  /* a destination's bridge-port flags, as they were */
	OP_QDISC_DEL,
	OP_ACTION_DEL,
	OP_UNPIN /* maps and programs that no link needs any more */
};

struct op {
	enum op_kind kind;
	int session; /* number in plan.states; -1: a leftover's */
	int ifindex;
	char port[IFNAMSIZ];
	/* qdiscs */
	char qdisc[TC_KIND];
	uint32_t parent, handle;
	/* filters */
	struct tc_rule rule; /* FILTER_PUT: but for program_fd */
	bool replace;	     /* FILTER_PUT, ACTION_PUT: there is one already */
	int program;	     /* number in plan.programs; -1: classic bytecode, matchall, u32 */
	char filter_kind[TC_KIND]; /* FILTER_DEL */
	uint16_t protocol;	   /* FILTER_DEL */
	/* actions */
	uint32_t action;
	uint8_t cookie[TC_COOKIE];
	int to_ifindex;
	char to[IFNAMSIZ];
	/* bridge ports */
	unsigned mask, flags;
	/* the engine bpf: the pin that is made or removed, and what of */
	char owner[PIN_NAME]; /* the session's name; "": all sessions' */
	char pin[PIN_NAME];
	bool received;
	struct copy_config config;
	/* in-line sessions */
	struct inline_state inline_state;
	enum inline_program inline_program;
	bool cuts; /* it puts, or takes away, what shortens copies */
	/* FILTER_PUT: what its program does, if it is one that is pinned there */
	enum direct direct;
	char direct_name[DIRECT_NAME];
};

/* A once-program to be loaded for a session and a direction. */
struct plan_program {
	struct once_program program;
	char name[32];	 /* TCA_BPF_NAME */
	int to_ifindex;	 /* programs of one destination share a map */
	uint32_t map_id; /* the map that is in use already; 0: a new one */
	uint32_t loaded; /* the id of the same program, loaded already; 0: none */
};

enum state { STATE_WHOLE, STATE_PARTIAL, STATE_WAITING, STATE_SUSPENDED, STATE_FAILED };
const char *state_name(enum state state);

/* What became of a session. */
struct session_state {
	const struct session *session; /* borrowed from the sessions given */
	enum state state;
	char *reasons; /* sentences, one a line; NULL: none. Owned */
	size_t absent; /* the last so many of them: sources that match nothing now */
	struct ifindexes from;
	int to[SESSION_TO_MAX];	 /* of each destination; 0: not there */
	int to_ifindex;		 /* the first that is there; 0: none is */
	enum engine_kind engine; /* tc or bpf */
	/* Guarded ports of an in-line session that can't be led, and none of whose frames gets
	 * through; and the bridge that the others are on */
	struct ifindexes barred;
	int bridge;
	int through[SIDES]; /* the ports of an in-line session's appliance; 0: not there */
	uint32_t action;    /* its mirred index; 0: none yet */
	bool in_kernel;	    /* an action of it is there now */
	size_t pending;	    /* operations that would change something for it */
	size_t waiting;	    /* selectors that match nothing now */
	bool stuck;	    /* something of it can't be done on this host as it stands */
	/* An in-line session that has failed, but isn't to be opened by that: */
	bool held;  /* guarded ports do what on-failure says, as if the appliance were gone */
	bool rests; /* all of it stays where it is, for the programs it needs can't be had */
};

struct plan {
	struct op *ops;
	size_t nops, ops_room;
	struct session_state *states; /* one for each session given, same order */
	size_t nstates;
	struct plan_program *programs;
	size_t nprograms, programs_room;
	struct notes notes; /* what is to be noted before the operations are carried out */
};

struct plan_input {
	const struct sessions *sessions;
	const struct bytecode *filters; /* of each session, compiled; all frames if it can't be */
	const char
		*newest; /* the session that is refused if two of them make a loop; may be NULL */
	const struct host *host;
	const struct notes *notes;
	struct lacks lacks;
	uint32_t house;
	/* What a session's engine auto means here, where it can be had. ENGINE_AUTO: tcx, or tc, by
	 * what is best for the session (plan_engine.c). */
	enum engine_kind preferred;
	bool tc_only; /* by the engine tc, whatever the sessions say */
};

int plan_make(const struct plan_input *in, struct plan *plan, struct err *e);
void plan_free(struct plan *plan); /* also for cleanup() */

/* The state of a session by name; NULL: not among those given. */
struct session_state *plan_state(const struct plan *plan, const char *name);
/* The directions in which a session's source is to be copied: the session's; but what a bridge's
 * own device receives for this host isn't, where all ports of the bridge are sources too. */
enum direction plan_directions(const struct session_state *st, const struct nl_links *links,
			       int ifindex);
/* Of its reasons those of absent sources, the last ones; "": there are none. */
const char *plan_absences(const struct session_state *st);
/* Nothing else keeps it from being whole: the machines may be on another host. */
bool plan_only_absences(const struct session_state *st);
/* Another reason, in front of those. -ENOMEM. */
int plan_add_reason(struct session_state *st, const char *sentence);
/* Whether copies of both go to one device. */
bool plan_share_destination(const struct session_state *a, const struct session_state *b);

#endif
