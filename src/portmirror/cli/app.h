/* SPDX-License-Identifier: MIT */
/* What the verbs of portmirror share. Here, and only here, things are printed. */
#ifndef PORTMIRROR_CLI_APP_H
#define PORTMIRROR_CLI_APP_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

#include "base/cli.h"
#include "base/err.h"
#include "portmirror/engine.h"

/* The verbs: each returns an exit code. */
int verb_add(const struct cli_call *call);
int verb_apply(const struct cli_call *call);
int verb_bypass(const struct cli_call *call);
int verb_check(const struct cli_call *call);
int verb_doctor(const struct cli_call *call);
int verb_events(const struct cli_call *call);
int verb_export(const struct cli_call *call);
int verb_inline(const struct cli_call *call);
int verb_list(const struct cli_call *call);
int verb_ports(const struct cli_call *call);
int verb_restore(const struct cli_call *call);
int verb_rm(const struct cli_call *call);
int verb_show(const struct cli_call *call);
int verb_stats(const struct cli_call *call);
int verb_tc(const struct cli_call *call);
int verb_vms(const struct cli_call *call);

/* The folder that stands for / (--root, PORTMIRROR_ROOT); "" for the system's own. */
const char *app_root(const struct cli_call *call);
bool app_json(const struct cli_call *call);

/* Reads the option as seconds, with a fraction or without, within [least, most]; *seconds is left
 * untouched where it was not given. false: it said what is wrong (EXIT_USAGE). */
bool app_seconds(const struct cli_call *call, const char *option, double least, double most,
		 double *seconds);

/* Opens the engine. false: it said why not (no privilege, no netlink). */
bool app_open(const struct cli_call *call, struct engine *engine);

/* The lock, for all that changes something; it says that it waits. Once it is held, Ctrl-C and the
 * like wait for the end. A descriptor; negative: it said why not. */
int app_lock(const struct cli_call *call, struct engine *engine);
/* Before anything is printed: whoever reads that may be slow. */
void app_unlock(int *lock);

/* cli/progress.c: what is changed from now on tells how far it is, where stderr is a terminal and
 * it takes longer than a moment; and takes that away again, before anything else is said. */
void app_show_progress(struct engine *engine);
void app_end_progress(void);

/* The saved sessions. false: it said why not. */
bool app_load(const struct cli_call *call, const struct engine *engine, struct sessions *sessions);

/* The sentence in e, on stderr. Returns EXIT_FAILED. */
int app_fail(const struct cli_call *call, const struct err *e);

/* Sends on what was printed: 0, or a negative errno, for the caller to tell: cli_main() doesn't any
 * more. */
int app_flush(void);

/* Prints the value and releases it; NULL means out of memory. Returns an exit code. */
int app_print_json(const struct cli_call *call, json_t *value);

/* A session with its state, as an object of the API (;current). NULL: out of memory. */
json_t *app_session_object(const struct view *view, const struct session_state *st);

/* The operations, as lines or as JSON objects. */
void app_print_ops(const struct plan *plan, const struct op *ops, size_t nops, const char *before);
json_t *app_ops(const struct plan *plan, const struct op *ops, size_t nops);

/* Several sentences about a session, one a line, on stderr. */
void app_complain_lines(const struct cli_call *call, const char *name, const char *lines);

/* Reasons and refusals of all sessions that are not whole, on stderr, but for those of skip (may be
 * NULL). Returns true where any session failed or the kernel refused anything. */
bool app_complain_states(const struct cli_call *call, const struct outcome *outcome,
			 const char *skip);

/* The plan of a dry run. Returns an exit code. */
int app_print_plan(const struct cli_call *call, const struct plan *plan);

/* A session of a mirror object, with its filter compiled once to see whether it can be. Anything
 * but EXIT_OK: it said why. */
int app_read_session(const struct cli_call *call, const json_t *object, struct session *session);

/* Saves a session (taken over) that must be new, and carries it out, with --dry-run and --strict.
 * Returns an exit code. */
int app_add(const struct cli_call *call, struct session *session);

/* What an edit of one session has led to. Returns an exit code. */
int app_report(const struct cli_call *call, const struct outcome *outcome, const char *name);

/* Of an in-line session, what portmirror check does. Returns an exit code. */
int app_check_inline(const struct cli_call *call, const struct engine *engine,
		     const struct view *view, const struct session_state *st, double seconds);

#endif
