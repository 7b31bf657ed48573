/* SPDX-License-Identifier: MIT */
/* What the parts of the planner hand to each other; for plan*.c only. */
#ifndef PORTMIRROR_PLAN_WORK_H
#define PORTMIRROR_PLAN_WORK_H

#include "portmirror/direct.h"
#include "portmirror/host.h"
#include "portmirror/ours.h"
#include "portmirror/plan.h"
#include "portmirror/store.h"

/* A session wants the frames of a port. */
struct want {
	int ifindex;
	int group; /* the bridge that the port is on, or the port itself */
	int state; /* number in plan.states */
	enum direction direction;
	bool once; /* others could copy the same frames to the same destination */
	/* A program of ours must hang there, and there is no tcx. Else: the engine tc's. */
	enum direct direct;
	bool stuck; /* it can't be had, and that has been said */
};

struct work {
	const struct plan_input *in;
	struct plan *plan;
	struct want *wants; /* by ifindex, then state */
	size_t nwants, wants_room;
	/* Likewise: those of the engine bpf, where its programs hang on tcx links. They are among
	 * the others until plan_split(). */
	struct want *copies;
	size_t ncopies;
	int *program_of; /* by 2 * state + received: the number of its program, plus 1; 0: none yet
			  */
	bool *loads; /* by state: its programs are loaded (anew); behind those: what shortens copies
		      */
	bool failed; /* out of memory */
};

/* plan_resolve.c: what each session means now; fills plan.states and work.wants. */
void plan_resolve(struct work *w);
/* plan_engine.c: which engine copies for each session, when it is known what all mean. */
void plan_engines(struct work *w);
/* plan_rules.c: which wants need a once-program, and the programs. Returns the program's number,
 * or -1. */
void plan_once(struct work *w);
/* It leaves out some of what it could copy: others copy that all the same. */
bool plan_alone(const struct session *s);
int plan_program(struct work *w, int state, bool received);
/* plan_copy.c: the operations of the engine bpf. */
void plan_split(struct work *w);
void plan_copies(struct work *w);
/* plan_inline_resolve.c: what an in-line session means now; and what stands in its way, when all
 * are known. One whose programs can't be had stays as it stands. */
void plan_resolve_inline(struct work *w, int state);
void plan_keep_inline(struct work *w, int state); /* its file can't be read */
void plan_check_inlines(struct work *w);
void plan_rest_inline(struct work *w, int state);
/* plan_inline.c: its operations, and the pins that it needs. */
void plan_inlines(struct work *w, bool *needed);
/* plan_direct.c: where no program can hang, without tcx; known before anything is planned. */
void plan_check_directs(struct work *w);
/* plan_port.c: the operations of one port. */
void plan_port(struct work *w, const struct nl_link *link, const struct want *wants, size_t nwants);

/* Appends; the result is zeroed but for its kind, session, ifindex and port. Never NULL: where
 * memory is out, work.failed is set and a place to be thrown away is returned. */
struct op *plan_op(struct work *w, enum op_kind kind, int session, int ifindex, struct op *scrap);

/* Adds a sentence to a session's state and makes it at least that bad. */
void plan_say(struct work *w, int state, enum state at_least, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

/* A session's filter has no program, and why. */
void plan_no_program(struct work *w, int state, const struct err *why);

/* The same, for what can't be done on this host as it stands, and for what isn't there yet; of
 * sources, the latter is no fault. */
void plan_stuck(struct work *w, int state, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
void plan_wait(struct work *w, int state, enum state at_least, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

void plan_absent(struct work *w, int state, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* An in-line session of which there is more in the kernel than what a failed attempt leaves. */
bool plan_stands(const struct work *w, int state);
/* The ports that its programs hang on already, as guarded ones, become sources. */
void plan_add_guarded(struct work *w, int state);
/* An in-line session that stops what it can't lead. */
bool plan_stops(const struct session *s);
/* Its file can't be read, and all of it stays as it is. */
bool plan_is_kept(const struct work *w, size_t state);
/* It has failed, and nothing is to be made for it: one that is held has what guards its ports. */
bool plan_dead(const struct session_state *st);
/* Neither dead nor suspended. */
bool plan_lives(const struct session_state *st);

/* A session whose kernel state stays as it is: its file can't be read, it waits for its
 * destination, or the programs that it needs now can't be had. */
bool plan_rests(const struct work *w, int state);

/* Programs hang on tcx links; else on clsact, as direct-action filters. */
bool plan_by_tcx(const struct work *w);

/* The session that this direct-action filter is of; -1: none, or all of them (DIRECT_CUTS). */
int plan_direct_owner(const struct work *w, const struct tc_filter *filter);

/* The session that has this action; -1: none. */
int plan_owner(const struct work *w, uint32_t action);

/* True where this filter is ours but must be left alone (its session's file can't be read, or its
 * destination is away). */
bool plan_keeps(const struct work *w, const struct tc_filter *filter);

#endif
