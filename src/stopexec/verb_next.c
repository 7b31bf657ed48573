/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cli.h"
#include "base/err.h"
#include "base/mem.h"
#include "stopexec/catch.h"
#include "stopexec/launch.h"
#include "stopexec/proc.h"
#include "stopexec/program.h"
#include "stopexec/session.h"
#include "stopexec/trace.h"
#include "stopexec/verbs.h"

/* The options of both verbs. */
static const char at_help[] = "first (default), entry, main, or the name of a function";
static const char uid_help[] = "only where this user starts it";
static const char parent_help[] = "only where this process, or one below it, starts it";
static const char by_help[] =
	"fanotify (default: by its file), or bpf (by its name, in any container)";
static const char comm_help[] = "only what ps(1) then shows as this command (by bpf)";
static const char cgroup_help[] = "only within this control group (by bpf)";
static const char timeout_help[] = "let it go on after S seconds, unless it is traced (60)";

const struct cli_option next_options[] = {
	{.name = "at", .value = "POINT", .help = at_help},
	{.name = "uid", .value = "USER", .help = uid_help, .letter = 'u'},
	{.name = "parent", .value = "PID", .help = parent_help},
	{.name = "by", .value = "WAY", .help = by_help},
	{.name = "comm", .value = "NAME", .help = comm_help},
	{.name = "cgroup", .value = "PATH", .help = cgroup_help},
	{.name = "timeout", .value = "S", .help = timeout_help, .letter = 't'},
	{.name = "count",
	 .value = "N",
	 .help = "stop the next N starts, one after the other (1)",
	 .letter = 'n'},
	{.name = "wait",
	 .value = "S",
	 .help = "give up after S seconds without a start (default: never)"},
	{.name = "leave", .help = "return at once, and leave it stopped"},
	{.name = "json", .help = "print what is stopped as JSON, an object a line"},
	{.name = "gdb", .help = "open gdb on it"},
	{.name = "strace", .help = "run strace on it"},
	{.name = "tmux", .help = "open the debugger in a new window of tmux"},
	{0},
};

const struct cli_option watch_options[] = {
	{.name = "at", .value = "POINT", .help = at_help},
	{.name = "uid", .value = "USER", .help = uid_help, .letter = 'u'},
	{.name = "parent", .value = "PID", .help = parent_help},
	{.name = "by", .value = "WAY", .help = by_help},
	{.name = "comm", .value = "NAME", .help = comm_help},
	{.name = "cgroup", .value = "PATH", .help = cgroup_help},
	{.name = "timeout", .value = "S", .help = timeout_help, .letter = 't'},
	{.name = "gdb", .help = "open gdb on each"},
	{.name = "strace", .help = "run strace on each"},
	{.name = "tmux", .help = "open the debugger in a new window of tmux"},
	{.name = "exec",
	 .value = "CMD",
	 .help = "run this shell command for each; {pid} becomes its number",
	 .letter = 'x'},
	{0},
};

struct waiting {
	struct session session;
	struct catch_rule rule;
	struct catcher catcher;
	struct program *programs;
	long left;	 /* starts still to be caught; negative: without end */
	long wait;	 /* milliseconds without a start; negative: for ever */
	int64_t give_up; /* now_ms(); INT64_MAX: never */
};

static void wait_anew(struct waiting *w)
{
	w->give_up = w->wait < 0 ? INT64_MAX : now_ms() + w->wait;
}

static int read_rule(struct waiting *w, const struct cli_call *call)
{
	const char *user = cli_get(call, "uid");
	long parent = 0, wait = -1;
	struct user found;
	struct err e = {0};

	w->rule.any_user = user == NULL;
	if (user != NULL) {
		if (user_find(user, &found, &e) < 0)
			return session_failed(&w->session, &e);
		w->rule.uid = found.uid;
		user_free(&found);
	}
	if (!cli_number(call, "parent", 1, INT_MAX, &parent) ||
	    !cli_number(call, "wait", 1, INT_MAX, &wait))
		return EXIT_USAGE;
	w->rule.parent = (pid_t)parent;
	w->rule.milliseconds = w->session.seconds * 1000;
	w->wait = wait < 0 ? -1 : wait * 1000;
	wait_anew(w);
	return EXIT_OK;
}

/* "--by", and what only BPF can. */
static int read_way(struct waiting *w, const struct cli_call *call)
{
	const char *by = cli_get(call, "by");
	const char *cgroup = cli_get(call, "cgroup");
	struct err e = {0};

	w->rule.comm = cli_get(call, "comm");
	w->rule.by = w->rule.comm != NULL || cgroup != NULL ? CATCH_BPF : CATCH_FANOTIFY;
	if (by != NULL && strcmp(by, "bpf") == 0)
		w->rule.by = CATCH_BPF;
	else if (by != NULL && strcmp(by, "fanotify") != 0)
		return cli_misused(call, "--by is fanotify or bpf, not \"%s\"", by);
	else if (by != NULL && w->rule.by == CATCH_BPF)
		return cli_misused(call, "--comm and --cgroup work by BPF only: leave --by out");
	if (call->nargs == 0 && w->rule.comm == NULL && cgroup == NULL)
		return cli_misused(call,
				   "Which program? Give its path or name, or --comm or --cgroup");
	if (w->rule.comm != NULL && *w->rule.comm == '\0')
		return cli_misused(call, "--comm wants a name");
	if (w->rule.by == CATCH_BPF && session_lent()) {
		cli_complain(call, "Only root can catch by BPF: the allow file is about files");
		return EXIT_FAILED;
	}
	if (cgroup != NULL && cgroup_find(cgroup, &w->rule.cgroup, &e) < 0)
		return session_failed(&w->session, &e);
	return EXIT_OK;
}

static void beware(struct waiting *w, const char *name)
{
	if (program_gives_root(name) && !program_root_shell_open())
		session_note(
			&w->session,
			"Beware: while %s is being stopped you can't become root with it, and no "
			"other root shell is open. Open one first.",
			name);
}

static int check_names(struct waiting *w, const struct cli_call *call)
{
	const struct catch_rule *rule = &w->rule;
	struct err e = {0};

	w->rule.names = call->args;
	w->rule.nnames = call->nargs;
	for (size_t i = 0; i < rule->nnames; i++) {
		if (program_refuse_name(rule->names[i], getuid(), &e) < 0)
			return session_failed(&w->session, &e);
		beware(w, rule->names[i]);
	}
	if (rule->comm != NULL && program_refuse_name(rule->comm, getuid(), &e) < 0)
		return session_failed(&w->session, &e);
	if (rule->nnames == 0 && rule->comm == NULL && cgroup_holds_self(&rule->cgroup)) {
		cli_complain(call,
			     "You are in the control group %s yourself: name a program too, or "
			     "every command that you start would stop",
			     cli_get(call, "cgroup"));
		return EXIT_FAILED;
	}
	return EXIT_OK;
}

static int find_programs(struct waiting *w, const struct cli_call *call)
{
	const char *search = getenv("PATH");
	struct err e = {0};

	w->programs = calloc(call->nargs, sizeof(*w->programs));
	if (w->programs == NULL) {
		err_sys(&e, -ENOMEM, "The programs can't be looked for");
		return session_failed(&w->session, &e);
	}
	for (size_t i = 0; i < call->nargs; i++)
		w->programs[i].fd = -1;
	for (size_t i = 0; i < call->nargs; i++) {
		struct program *p = &w->programs[i];

		if (session_find(call->args[i], search, p, &e) < 0 ||
		    program_refuse(p, getuid(), &e) < 0)
			return session_failed(&w->session, &e);
		beware(w, p->real);
	}
	w->rule.programs = w->programs;
	w->rule.nprograms = call->nargs;
	return EXIT_OK;
}

/* From the first instruction to where the user wants it. */
static int go_to_point(struct waiting *w, struct caught *caught, struct err *e)
{
	struct trace t = {.pid = caught->stop.pid, .end = &w->session.end};
	int result;

	if (w->session.point.kind == POINT_FIRST)
		return 0;
	if (caught->loader)
		return err_set(e, -EBUSY,
			       "Process %d stays at its first instruction: it was started through "
			       "the dynamic loader, and its program is not loaded yet",
			       caught->stop.pid);
	if (caught->stop.tracer != 0)
		return err_set(e, -EBUSY,
			       "Process %d stays at its first instruction: process %d traces it "
			       "already",
			       caught->stop.pid, caught->stop.tracer);
	t.deadline = session_deadline(&w->session);
	guardian_traces(&w->session.guardian, &caught->stop);
	result = trace_seize_stopped(&t, e);
	if (result == 0)
		result = point_reach(&t, &w->session.point, e);
	if (result == 0)
		result = session_leave_stopped(&w->session, &t, &caught->stop, e);
	if (result < 0) {
		point_abandon(&t);
		w->session.ended_by = t.broken_off;
		return result;
	}
	return catch_settle(caught, &w->rule, &w->session.guardian, t.deadline, t.end, e);
}

/* A process of the catcher's turned out to be a start, or to be none; the loaders that it finds are
 * not counted before. */
static void count(struct waiting *w, const struct caught *caught, bool start)
{
	if (w->left < 0)
		return;
	if (start)
		w->left--;
	if (start == caught->loader)
		(void)catch_more(&w->catcher, start ? -1 : 1);
}

static void handle(struct waiting *w, struct caught *caught)
{
	struct session *s = &w->session;
	char words[128];
	struct err e = {0};
	int result;

	if (now_ms() < caught->deadline) /* else the guardians have let it go */
		result =
			catch_settle(caught, &w->rule, &s->guardian, caught->deadline, &s->end, &e);
	else
		result = err_set(&e, -ETIME, "Process %d went on unseen: its time was up",
				 caught->stop.pid);
	count(w, caught, result == 0);
	if (result < 0) {
		if (result != -EAGAIN)
			session_note(s, "%s", e.text);
		guardian_release(&s->guardian, &caught->stop);
		return;
	}
	result = go_to_point(w, caught, &e);
	if (result == -EBUSY) {
		session_note(s, "%s", e.text);
		result = 0;
	}
	if (result < 0) {
		cli_complain(s->call, "%s", e.text);
		kill(caught->stop.pid, SIGCONT);
		guardian_release(&s->guardian, &caught->stop);
		s->failed = true;
		return;
	}
	(void)session_present(s, &caught->stop, session_where(s, words));
}

static int lost(const struct waiting *w, const char *what, int why)
{
	struct err e = {0};

	if (why == -EPIPE)
		err_set(&e, why, "Somebody ended %s: nothing more is stopped", what);
	else
		err_sys(&e, why, "Nothing more is stopped, as %s failed", what);
	return session_failed(&w->session, &e);
}

static int loop(struct waiting *w)
{
	struct session *s = &w->session;
	struct pollfd polls = {.fd = w->catcher.socket, .events = POLLIN};

	while (w->left != 0 && s->ended_by == 0) {
		struct caught caught;
		int result = catch_take(&w->catcher, &caught);

		if (result == 0) {
			long left = w->left;

			handle(w, &caught);
			if (w->left != left) /* it was a start */
				wait_anew(w);
			continue;
		}
		if (result == -EPIPE)
			return lost(w, "the catcher", catch_stop(&w->catcher));
		if (result != -EAGAIN)
			return lost(w, "the pipe to the catcher", result);
		result = guardian_lost(&s->guardian);
		if (result < 0)
			return lost(w, "a guardian", result);
		if (now_ms() >= w->give_up) {
			cli_complain(s->call, "Nobody started it in time");
			return EXIT_FAILED;
		}
		(void)poll(&polls, 1, 50);
		(void)session_ended(s);
	}
	if (w->left > 0)
		return 128 + s->ended_by;
	return s->failed ? EXIT_FAILED : EXIT_OK;
}

static void waiting_close(struct waiting *w, size_t programs)
{
	for (size_t i = 0; w->programs != NULL && i < programs; i++)
		program_close(&w->programs[i]);
	free(w->programs);
}

static void say_what(const struct waiting *w, const struct cli_call *call)
{
	const struct catch_rule *rule = &w->rule;
	const char *where = cli_has(call, "cgroup") ? " in " : "";
	const char *cgroup = cli_has(call, "cgroup") ? cli_get(call, "cgroup") : "";

	for (size_t i = 0; i < rule->nprograms; i++)
		session_note(&w->session, "Waiting for somebody to start %s",
			     rule->programs[i].real);
	for (size_t i = 0; i < rule->nnames; i++)
		session_note(&w->session, "Waiting for somebody to start a program called %s%s%s",
			     rule->names[i], where, cgroup);
	if (rule->by == CATCH_BPF && rule->nnames == 0)
		session_note(&w->session, "Waiting for somebody to start %s%s%s",
			     rule->comm != NULL ? rule->comm : "a program", where, cgroup);
}

static int wait_for(struct waiting *w, const struct cli_call *call)
{
	struct session *s = &w->session;
	struct err e = {0};
	int result = read_rule(w, call);

	if (result == EXIT_OK)
		result = read_way(w, call);
	if (result == EXIT_OK)
		result = w->rule.by == CATCH_BPF ? check_names(w, call) : find_programs(w, call);
	if (result == EXIT_OK)
		result = session_open(s);
	if (result != EXIT_OK)
		return result;
	if (catch_start(&w->rule, &s->guardian, w->left, &w->catcher, &e) < 0) {
		session_close(s);
		return session_failed(s, &e);
	}
	s->catcher = &w->catcher;
	say_what(w, call);
	result = loop(w);
	(void)catch_stop(&w->catcher);
	session_close(s);
	return result;
}

int verb_next(const struct cli_call *call)
{
	struct waiting w = {.left = 1, .session = {.terminal = -1}};
	int result;

	if (!cli_number(call, "count", 1, 1000000, &w.left))
		return EXIT_USAGE;
	result = session_options(&w.session, call);
	if (result == EXIT_OK)
		result = wait_for(&w, call);
	waiting_close(&w, call->nargs);
	return result;
}

int verb_watch(const struct cli_call *call)
{
	struct waiting w = {.left = -1, .session = {.terminal = -1}};
	int result = session_options(&w.session, call);

	if (result == EXIT_OK && cli_has(call, "exec")) {
		if (w.session.after != AFTER_WAIT)
			return cli_misused(call, "Give only one of --gdb, --strace and --exec");
		w.session.after = AFTER_COMMAND;
		w.session.command = cli_get(call, "exec");
	}
	if (result == EXIT_OK && w.session.after == AFTER_WAIT)
		result = cli_misused(call, "One of --gdb, --strace and --exec is needed");
	if (result == EXIT_OK)
		result = wait_for(&w, call);
	waiting_close(&w, call->nargs);
	return result;
}
