/* SPDX-License-Identifier: MIT */
/* What the user is told of a stopped process. */
#ifndef STOPEXEC_REPORT_H
#define STOPEXEC_REPORT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "stopexec/proc.h"
#include "stopexec/rights.h"

struct buf;

/* Looked up while the process is stopped. */
struct report {
	pid_t pid;
	char program[4096];
	struct proc_status status;
	struct rights_asked asked;
	struct rights_around around;
	bool has_counter;
	uint64_t counter;
	struct mapping at; /* the mapping that holds the counter; path "" where unknown */
	bool main_ahead;   /* point_main_ahead() */
};

/* How the stop came about, and what may be done next. */
struct report_hints {
	const char *point; /* "its first instruction" */
	bool with_sudo;	   /* the reader is not root */
	const char *cont;  /* the command that lets a process go on */
	long seconds;	   /* until it goes on by itself */
	bool enter;	   /* Enter makes it go on */
};

/* -ESRCH: the process is gone. */
int report_look(pid_t pid, bool tracer_unprivileged, struct report *report);

/* Pure: appends the report as lines of text. */
void report_write(struct buf *b, const struct report *report, const struct report_hints *hints);

#endif
