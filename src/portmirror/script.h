/* SPDX-License-Identifier: MIT */
/*
 * A session as a shell script: commands of tc(8), bridge(8) and bpftool(8) which, on a machine with
 * the same devices and nothing of ours, make the kernel state that the session has when it is
 * carried out. Pure.
 */
#ifndef PORTMIRROR_SCRIPT_H
#define PORTMIRROR_SCRIPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "portmirror/plan.h"

struct buf;
struct err;
struct host;
struct view;

/* Turns the picture into one of the host as if portmirror (of this house) had never been used on
 * it. */
int host_without_ours(struct host *host, const struct notes *notes, uint32_t house, struct err *e);

/*
 * The plan for one session alone on that host; its action has the number that it has, or would
 * get, among the others. view is a look at all sessions, and its host is taken for the picture that
 * host_without_ours() changes. name must be one of them. The plan's one state tells whether it can
 * be carried out; it borrows from view.
 */
int script_plan(struct view *view, const char *name, uint32_t house, struct plan *plan,
		struct err *e);

/* -EOPNOTSUPP, and why, for a session that can't be said in such commands. */
int script_possible(const struct session *session, struct err *e);

struct script {
	struct script_line {
		char *text;   /* without the last newline; a here-document has several lines */
		bool comment; /* what the commands behind it are for */
	} * lines;
	size_t count, room;
	char *object; /* the programs' ELF object in base64, in one line; NULL: none are needed */
};

/* The plan's operations, which only make things, as commands for any POSIX shell. */
int script_make(const struct plan *plan, struct script *script, struct err *e);
void script_free(struct script *script); /* also for cleanup() */

/* One word for the shell that stands for exactly these bytes, in printable ASCII; appended. */
void script_word(struct buf *out, const char *word);

#endif
