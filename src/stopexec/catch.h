/* SPDX-License-Identifier: MIT */
/*
 * Catches programs that others start, by fanotify(7): the exec of a marked file waits until it is
 * permitted; until then the catcher sends SIGSTOP to the thread that executes, where it stays
 * pending and stops the new image at its first instruction.
 *
 * A process of its own does only that, in a loop that waits for nothing else: while an exec is not
 * answered, its thread hangs. Killing the catcher permits all of them.
 */
#ifndef STOPEXEC_CATCH_H
#define STOPEXEC_CATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "stopexec/guardian.h"

struct err;
struct program;

struct catch_rule {
	const struct program *programs;
	size_t nprograms;
	bool any_user; /* or only this real user id */
	uid_t uid;
	pid_t parent;	      /* only what descends from it; 0: all */
	int64_t milliseconds; /* how long a process is held at most */
};

struct caught {
	struct stop stop;
	size_t program; /* which of the rule's */
	/* It executes the program that it runs already: AT_RANDOM tells old and new apart. */
	bool again;
	uint64_t random;
};

struct catcher {
	pid_t pid;
	int socket; /* readable: a struct caught, or the end of the catcher */
};

/*
 * Starts to watch, for so many starts (-1: without end). -EPERM: root is needed; -EOPNOTSUPP: the
 * kernel, or the file system, can't.
 */
int catch_start(const struct catch_rule *rule, const struct guardian *g, long count,
		struct catcher *catcher, struct err *e);

/* Lets it catch more; helper: a child of ours whose own descendants pass (0: none). */
int catch_more(const struct catcher *catcher, long count, pid_t helper);

/* Takes one. 0; -EAGAIN: none is there; -EPIPE: the catcher has ended. */
int catch_take(const struct catcher *catcher, struct caught *caught);

/* True where the catcher was ended by somebody. */
bool catch_lost(const struct catcher *catcher);

/* Removes all marks and ends it. */
void catch_stop(struct catcher *catcher);

/*
 * Waits until the caught process is stopped in its new image. 0; -ESRCH: it ended; -ENOEXEC: the
 * exec failed; -ETIME. Where it fails, the process has been told to go on.
 */
int catch_settle(const struct caught *caught, const struct program *program, int64_t deadline,
		 struct err *e);

#endif
