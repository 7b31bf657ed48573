/* SPDX-License-Identifier: MIT */
/* ptrace(2), as far as stopexec uses it. The caller has SIGCHLD blocked. */
#ifndef STOPEXEC_TRACE_H
#define STOPEXEC_TRACE_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct err;

/* Each value says what the tracer has to do next. */
enum trace_event {
	TRACE_EXEC,   /* new image, before its first instruction: look, then go on */
	TRACE_TRAP,   /* breakpoint or step: look at the counter, then go on */
	TRACE_SIGNAL, /* a signal comes: go on with it */
	TRACE_HELD,   /* a stop signal took effect: keep it so with trace_listen() */
	TRACE_FORK,   /* it has started a thread or process, which is traced too: go on */
	TRACE_NOTE,   /* nothing of interest: go on */
	TRACE_GONE,   /* it ended: nothing left to do */
};

struct trace {
	pid_t pid;
	const sigset_t *end; /* signals (blocked) that break off a wait with -EINTR; may be NULL */
	int64_t deadline;    /* CLOCK_MONOTONIC in milliseconds; -ETIME beyond */
	bool family;	     /* trace_seize(): its threads and processes too */
	int signal;	     /* of the last TRACE_SIGNAL: what trace_go() delivers */
	int ended;	     /* of TRACE_GONE: as waitpid() reports it */
	int broken_off;	     /* of -EINTR: the signal, which is taken */
	bool by_user;	     /* and whether somebody has sent it, not the terminal */
};

/* CLOCK_MONOTONIC in milliseconds. */
int64_t now_ms(void);

/* Becomes the tracer; the process goes on as it was. */
int trace_seize(struct trace *t, struct err *e);

/* Becomes the tracer of a process that a stop signal holds, and makes it go on to here: after
 * this it is stopped by ptrace, and its own stop is undone. */
int trace_seize_stopped(struct trace *t, struct err *e);

/* Waits for the next event: one of enum trace_event, or -EINTR, -ETIME, -errno. */
int trace_wait(struct trace *t);

/* The same for whatever is traced: t->pid says which. -ECHILD: nothing is. */
int trace_wait_any(struct trace *t);

int trace_go(struct trace *t);	 /* goes on, delivering t->signal */
int trace_step(struct trace *t); /* one instruction */
int trace_listen(struct trace *t);

/*
 * Leaves the process stopped by SIGSTOP, and untraced. Asking PTRACE_DETACH for the signal is
 * ignored at PTRACE_EVENT_EXEC: so the signal first.
 */
int trace_leave_stopped(struct trace *t, struct err *e);

/* Waits until a stop signal holds the process, whosever it is. pidfd: its own. -ESRCH: it ended;
 * -ETIME; -EINTR: one of end is pending, which may be NULL; -errno. */
int trace_wait_stopped(pid_t pid, int pidfd, int64_t deadline, const sigset_t *end);

#endif
