/* SPDX-License-Identifier: MIT */
/*
 * Catches programs that others start, in one of two ways: catch_fanotify.c knows the program by its
 * file, whatever it is called; catch_bpf.c by its name, whatever file that is, and by what
 * surrounds it. A process of its own does only that. Killing it lets go of what it was busy with.
 */
#ifndef STOPEXEC_CATCH_H
#define STOPEXEC_CATCH_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "stopexec/cgroup.h"
#include "stopexec/guardian.h"

struct err;
struct program;

enum catch_by { CATCH_FANOTIFY, CATCH_BPF };

struct catch_rule {
	enum catch_by by;
	/* by fanotify */
	const struct program *programs;
	size_t nprograms;
	/* by BPF: as in struct catch_filter */
	const char *const *names;
	size_t nnames;
	const char *comm;
	struct cgroup cgroup;
	/* in both ways */
	bool any_user; /* or only this real user id */
	uid_t uid;
	pid_t parent;	      /* only what descends from it; 0: all */
	int64_t milliseconds; /* how long a process is held at most */
};

struct caught {
	struct stop stop;
	int64_t deadline; /* now_ms(): it goes on by then */
	size_t program;	  /* which of the rule's programs, or names */
	bool loader;	  /* a dynamic loader runs, and perhaps the program in it: not counted */
	/* What it ran before, where that can be seen: AT_RANDOM tells old and new image apart. */
	bool same_file, has_random;
	uint64_t random;
};

struct catcher {
	pid_t pid;
	int socket; /* readable: a struct caught, or the end of the catcher */
	int obeyed; /* readable: an order to let pass is in force */
};

/*
 * Starts to watch, for so many starts (-1: without end). -EPERM: root is needed; -EOPNOTSUPP: the
 * kernel can't.
 */
int catch_start(const struct catch_rule *rule, const struct guardian *g, long count,
		struct catcher *catcher, struct err *e);

/* Lets it catch so many more. */
int catch_more(const struct catcher *catcher, long count);

/* Lets a child of ours, and what descends from it, pass (0: nobody). That is in force when it
 * returns. -EPIPE: the catcher has ended. */
int catch_pass(const struct catcher *catcher, pid_t helper);

/* Takes one. 0; -EAGAIN: none is there; -EPIPE: the catcher has ended, catch_stop() tells why. */
int catch_take(const struct catcher *catcher, struct caught *caught);

/* True where the catcher has ended. */
bool catch_lost(const struct catcher *catcher);

/* Removes all marks and ends it; what it has caught and nobody has taken goes on. -EPIPE: somebody
 * had ended it; other than 0: it had failed. */
int catch_stop(struct catcher *catcher);

/*
 * Waits until the caught process is stopped in its new image, and looks who traces it. 0; -ESRCH:
 * it ended; -ENOEXEC: the exec failed; -EAGAIN: a loader that runs another program; -ETIME;
 * -EINTR: one of end is pending, which may be NULL. Where it fails, the process has been told to go
 * on.
 */
int catch_settle(struct caught *caught, const struct catch_rule *rule, const struct guardian *g,
		 int64_t deadline, const sigset_t *end, struct err *e);

#endif
