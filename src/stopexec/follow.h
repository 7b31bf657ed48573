/* SPDX-License-Identifier: MIT */
/* Follows a program and all that it starts, thread by thread, to an exec of theirs. */
#ifndef STOPEXEC_FOLLOW_H
#define STOPEXEC_FOLLOW_H

#include <stdbool.h>
#include <sys/types.h>

struct trace;

struct follow {
	pid_t child;	/* the program that was started: ours to wait for */
	bool ended;	/* it ended before that exec, */
	int status;	/* so, as of waitpid() */
	unsigned execs; /* so many were seen */
};

/*
 * t->pid is the started child, seized (with t->family where exec is above 1), and has not executed
 * anything yet. 0: t->pid is the process of the exec-th exec, stopped before its first instruction;
 * nothing else is traced any more, except first threads that have ended before the others: whoever
 * waits takes their ends too. -ECHILD: all ended before that. -EINTR, -ETIME, -errno:
 * then follow_end().
 */
int follow_execs(struct trace *t, unsigned exec, struct follow *f);

/* Kills the child, and takes its end. */
void follow_end(const struct follow *f);

#endif
