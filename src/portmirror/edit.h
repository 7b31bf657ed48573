/* SPDX-License-Identifier: MIT */
/*
 * Editing the saved sessions, and carrying the edit out: what the command line and the API both
 * do, under the store's lock.
 */
#ifndef PORTMIRROR_EDIT_H
#define PORTMIRROR_EDIT_H

#include <stdbool.h>
#include <stddef.h>

#include "portmirror/engine.h"

struct err;

struct edit {
	bool dry;    /* look and plan only: outcome->view has the plan */
	bool strict; /* refuse selectors that match nothing yet */
};

/*
 * Saves a session (taken over) and carries it out; or changes nothing at all, and says why. A
 * session of that name is replaced where replace is set (runtime must be as it was), else refused
 * with -EEXIST. Refused by the kernel or by the plan: -EINVAL, and all is as it was.
 */
int edit_put(struct engine *engine, struct sessions *sessions, struct session *session,
	     bool replace, const struct edit *edit, struct outcome *outcome, struct err *e);

/* Removes the named sessions (-ENOENT and nothing done where one isn't known), or all: count 0. */
int edit_remove(struct engine *engine, struct sessions *sessions, const char *const *names,
		size_t count, const struct edit *edit, size_t *removed, struct outcome *outcome,
		struct err *e);

/* Suspends a session, or lets it go on: it stays saved, and copies nothing meanwhile. */
int edit_suspend(struct engine *engine, struct sessions *sessions, const char *name, bool suspended,
		 const struct edit *edit, struct outcome *outcome, struct err *e);

#endif
