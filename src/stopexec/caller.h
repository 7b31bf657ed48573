/* SPDX-License-Identifier: MIT */
/* Who called sudo(8), which has started us: what that process has, and sudo does not hand on. */
#ifndef STOPEXEC_CALLER_H
#define STOPEXEC_CALLER_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "stopexec/launch.h"

/* The largest environment that is read, in bytes. */
enum { ENVIRONMENT_MOST = 8 << 20 };

struct caller {
	pid_t sudo; /* it has the caller's environment */
	bool seen;  /* the caller is still there, so that the rest is known: */
	gid_t gid;
	gid_t *groups; /* supplementary */
	size_t ngroups;
	struct heritage heritage;
};

/* False where it was not sudo that has started us, for this user. Free with caller_free(). */
bool caller_find(uid_t uid, struct caller *caller);
void caller_free(struct caller *caller);

/* A variable of the caller's environment, for the caller to free; NULL where there is none. */
char *caller_variable(const struct caller *caller, const char *name);

#endif
