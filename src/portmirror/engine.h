/* SPDX-License-Identifier: MIT */
/*
 * Reconciling: look, plan, act, and look again until there is nothing left to do. This is what all
 * that changes something goes through, under the lock of the store.
 */
#ifndef PORTMIRROR_ENGINE_H
#define PORTMIRROR_ENGINE_H

#include <stdbool.h>
#include <stddef.h>

#include "portmirror/host.h"
#include "portmirror/once_hold.h"
#include "portmirror/plan.h"
#include "portmirror/store.h"

struct err;
struct nl;

/* The sessions' filters as code, one for each. */
struct compiled {
	struct sessions *sessions;
	const struct bytecode *filters;
};

struct engine {
	struct store store;
	struct nl *nl;
	struct lacks lacks; /* learned from what the kernel refuses */
	struct once_hold hold;
	char house[PIN_PATH];	    /* where its programs and maps are pinned */
	enum engine_kind preferred; /* see plan_input */
	/* Where somebody keeps the host's picture up to date: a copy of it, with the virtual
	 * machines. NULL: each look takes its own. */
	int (*picture)(struct host *copy, void *data, struct err *e);
	void *picture_data;
	/* Called after each deed that takes its time (a link at tcx: some 13 ms), of so many
	 * operations in all. False: what is left is not done now. NULL: nobody is interested. */
	bool (*between)(size_t done, size_t total, void *data);
	void *between_data;
	/* What somebody keeps compiled, so that it needn't be again. Borrowed; may be empty. */
	struct compiled known;
};

int engine_open(const char *root, struct engine *engine, struct err *e);
void engine_close(struct engine *engine); /* also for cleanup() */

/* Everything that was seen and thought of for a set of sessions. */
struct view {
	struct sessions *sessions; /* borrowed */
	struct bytecode *filters;  /* of each */
	struct host host;
	struct notes notes;
	struct plan plan;
};

/* Looks and plans; changes nothing. newest: see plan_input; may be NULL. A session whose filter
 * libpcap refuses becomes a broken one. */
int engine_look(struct engine *engine, struct sessions *sessions, const char *newest,
		struct view *view, struct err *e);
void view_free(struct view *view); /* also for cleanup() */

/* The parts of a look, for who keeps a view. A filter that libpcap refuses breaks its session. */
int engine_compile(const struct engine *engine, struct sessions *sessions,
		   struct bytecode **filters, struct err *e);
/* A plan for the view's sessions, filters, host and notes, in place of the one it has. */
int engine_plan(struct engine *engine, const char *newest, struct view *view, struct err *e);

/* What the kernel refused, for good. */
struct refusal {
	char session[SESSION_NAME_MAX + 1]; /* "": a leftover's */
	char *text;			    /* owned */
};
struct outcome {
	struct op *done; /* what was carried out, in order */
	size_t ndone, done_room;
	struct refusal *refusals;
	size_t nrefusals, refusals_room;
	struct view view; /* how it stands now */
};

/*
 * Carries the sessions out. The lock must be held. first: a look that was taken of them under this
 * lock, taken over; NULL: it takes its own. 0 also where the kernel refused something: see
 * outcome->refusals. A negative errno: nothing more can be said than the sentence in e.
 */
int engine_apply(struct engine *engine, struct sessions *sessions, const char *newest,
		 struct view *first, struct outcome *outcome, struct err *e);
void outcome_free(struct outcome *outcome); /* also for cleanup() */
/* A single round: carries view->plan out as far as the kernel lets it now, and notes it. What is
 * left in view->plan.nops is to be looked at again. outcome->view is not used. */
int engine_act(struct engine *engine, struct view *view, struct outcome *outcome, struct err *e);

/* The first refusal that concerns the session; NULL: none. */
const char *outcome_refusal(const struct outcome *outcome, const char *session);

#endif
