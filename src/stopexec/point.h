/* SPDX-License-Identifier: MIT */
/* Where in its new image a program is stopped. */
#ifndef STOPEXEC_POINT_H
#define STOPEXEC_POINT_H

#include <stdbool.h>
#include <sys/types.h>

struct err;
struct trace;

enum point_kind {
	POINT_FIRST, /* its first instruction */
	POINT_ENTRY, /* its libraries are loaded, none of its own code has run */
	POINT_MAIN,
	POINT_SYMBOL, /* a function of its own, or of a library that it starts with */
};

struct point {
	enum point_kind kind;
	const char *symbol; /* of POINT_SYMBOL; borrowed */
};

struct point point_of(const char *word); /* "first", "entry", "main", or a symbol */

/*
 * The process is stopped by ptrace at its first instruction; on success it is stopped by ptrace
 * at the point. -ENOENT: there is no such function (the process may have gone on to its entry);
 * -ESRCH: it ended on the way; -ESTALE: it executed another program, whose first instruction is
 * next; -EINTR, -ETIME: as trace_wait(). The process stays traced, unless it ended.
 */
int point_reach(struct trace *t, const struct point *point, struct err *e);

/* The traced process goes on untraced from wherever it is, stopped or not. Without this the
 * breakpoint would stay in it when its tracer ends, and kill it. */
void point_abandon(struct trace *t);

/* The stopped process is at its first instruction, or at its entry, and its program has a symbol
 * called main. */
bool point_main_ahead(pid_t pid);

#endif
