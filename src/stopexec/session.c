/* SPDX-License-Identifier: MIT */
#include "stopexec/session.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cli.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/term.h"
#include "stopexec/allow.h"
#include "stopexec/caller.h"
#include "stopexec/catch.h"
#include "stopexec/debugger.h"
#include "stopexec/helper.h"
#include "stopexec/json.h"
#include "stopexec/proc.h"
#include "stopexec/program.h"
#include "stopexec/record.h"
#include "stopexec/report.h"
#include "stopexec/trace.h"

enum {
	LOOK = 50, /* ms between looks at a process that is held */
	MANY_WORDS = 32,
	SECONDS_MOST = 7 * 24 * 3600,
};

bool session_through_sudo(void)
{
	return getuid() == 0 && getenv("SUDO_UID") != NULL;
}

/* Where tmux runs; sudo does not hand it on. */
static bool find_tmux(void)
{
	const char *user = getenv("SUDO_UID");
	struct caller caller;
	char *value cleanup(free_at) = NULL;

	if (getenv("TMUX") != NULL)
		return true;
	if (!session_through_sudo() || user == NULL ||
	    !caller_find((uid_t)strtoul(user, NULL, 10), &caller))
		return false;
	value = caller_variable(&caller, "TMUX");
	caller_free(&caller);
	return value != NULL && setenv("TMUX", value, 1) == 0;
}

int session_options(struct session *s, const struct cli_call *call)
{
	int ways = 0;

	s->call = call;
	s->seconds = 60;
	if (!cli_number(call, "timeout", 1, SECONDS_MOST, &s->seconds))
		return EXIT_USAGE;
	s->point = point_of(cli_has(call, "at") ? cli_get(call, "at") : "first");
	s->tmux = cli_has(call, "tmux");
	if (cli_has(call, "leave")) {
		s->after = AFTER_LEAVE;
		ways++;
	}
	if (cli_has(call, "strace")) {
		s->after = AFTER_STRACE;
		ways++;
	}
	if (cli_has(call, "gdb") || (s->tmux && ways == 0)) {
		s->after = AFTER_GDB;
		ways++;
	}
	if (ways > 1)
		return cli_misused(call, "Give only one of --leave, --gdb and --strace");
	s->json = cli_has(call, "json");
	if (s->json && s->after != AFTER_WAIT && s->after != AFTER_LEAVE)
		return cli_misused(call,
				   "--json and a debugger exclude each other: both want stdout");
	if (s->tmux && !find_tmux())
		return cli_misused(call,
				   "--tmux works only in a terminal of tmux (TMUX is not set)");
	return EXIT_OK;
}

void session_records(char records[256])
{
	const char *runtime = getenv("XDG_RUNTIME_DIR");

	records[0] = '\0';
	if (geteuid() == 0)
		snprintf(records, 256, "/run/hostkit/stopexec");
	else if (runtime != NULL && strlen(runtime) < 200)
		snprintf(records, 256, "%s/hostkit/stopexec", runtime);
}

bool session_lent(void)
{
	return getuid() != 0 && geteuid() == 0;
}

int session_find(const char *name, const char *search, struct program *program, struct err *e)
{
	bool lent = session_lent();
	int result;

	if (search == NULL)
		search = "/usr/local/bin:/usr/bin:/bin";
	if (!lent)
		return program_find(name, search, program, e);
	if (seteuid(getuid()) < 0)
		return err_sys(e, -errno, "The rights of the caller can't be taken");
	result = program_find(name, search, program, e);
	if (seteuid(0) < 0) {
		if (result == 0)
			program_close(program);
		return err_sys(e, -EACCES, "The rights of root can't be taken back");
	}
	return result < 0 ? result : allow_check(program->real, e);
}

static void block_signals(struct session *s)
{
	static const int ending[] = {SIGINT, SIGTERM, SIGHUP};
	sigset_t all;

	/* Where our caller ignores it, it would not come, and no child could be waited for. */
	signal(SIGCHLD, SIG_DFL);
	sigemptyset(&s->end);
	for (size_t i = 0; i < COUNT(ending); i++) {
		struct sigaction now;

		if (sigaction(ending[i], NULL, &now) == 0 && now.sa_handler != SIG_IGN)
			sigaddset(&s->end, ending[i]);
	}
	all = s->end;
	sigaddset(&all, SIGCHLD);
	sigprocmask(SIG_BLOCK, &all, NULL);
}

int session_open(struct session *s)
{
	struct err e = {0};

	block_signals(s);
	session_records(s->records);
	s->terminal = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
	if (guardian_start(&s->guardian, s->records[0] != '\0' ? s->records : NULL, &e) < 0) {
		fd_close_at(&s->terminal);
		return session_failed(s, &e);
	}
	return EXIT_OK;
}

void session_close(struct session *s)
{
	guardian_close(&s->guardian);
	fd_close_at(&s->terminal);
	s->terminal = -1;
}

bool session_say(const struct session *s, const char *text, size_t len)
{
	int to = s->terminal < 0 || isatty(STDERR_FILENO) ? STDERR_FILENO : s->terminal;

	while (len > 0) {
		ssize_t done = write(to, text, len);

		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return false;
		text += done;
		len -= (size_t)done;
	}
	return true;
}

void session_note(const struct session *s, const char *format, ...)
{
	char text[4400] = "";
	va_list args;
	size_t len;

	va_start(args, format);
	(void)vsnprintf(text, sizeof(text) - 1, format, args);
	va_end(args);
	term_make_safe(text); /* it may hold names that others gave */
	len = strlen(text);
	text[len] = '\n';
	(void)session_say(s, text, len + 1);
}

int session_failed(const struct session *s, const struct err *e)
{
	cli_complain(s->call, "%s", e->text);
	return EXIT_FAILED;
}

const char *session_where(const struct session *s, char words[128])
{
	switch (s->point.kind) {
	case POINT_FIRST:
		return "its first instruction";
	case POINT_ENTRY:
		return "its entry: libraries loaded, no code of its own run";
	case POINT_MAIN:
		return "main";
	case POINT_SYMBOL:
		break;
	}
	snprintf(words, 128, "%.100s", s->point.symbol);
	return words;
}

bool session_ended(struct session *s)
{
	struct timespec now = {0};
	siginfo_t info;
	int got = sigtimedwait(&s->end, &info, &now);

	if (got > 0) {
		s->ended_by = got;
		s->ended_by_user = info.si_code <= 0;
	}
	return got > 0;
}

int64_t session_deadline(const struct session *s)
{
	return now_ms() + s->seconds * 1000;
}

int session_leave_stopped(const struct session *s, struct trace *t, const struct stop *stop,
			  struct err *e)
{
	int result = guardian_hold_anew(&s->guardian, stop, session_deadline(s));

	if (result < 0)
		return err_sys(e, result, "Process %d can't be held", stop->pid);
	return trace_leave_stopped(t, e);
}

static bool write_record(struct session *s, pid_t pid, int64_t deadline)
{
	struct record record = {
		.pid = pid,
		.by = getuid(),
		.deadline = deadline,
		.waits = s->waits,
	};
	struct err e = {0};
	int result;

	if (s->records[0] == '\0')
		return false;
	result = proc_start(pid, &record.start);
	if (result < 0)
		err_sys(&e, result, "process %d can't be looked at", pid);
	else if (record_write(s->records, &record, &e) == 0)
		return true;
	session_note(s, "\"stopexec list\" will not show it: %s", e.text);
	return false;
}

/* Reading from the background would stop us (SIGTTIN). In a pipeline, sudo keeps us there. */
static bool in_foreground(const struct session *s)
{
	return s->terminal >= 0 && tcgetpgrp(s->terminal) == getpgrp();
}

static bool report(struct session *s, pid_t pid, const char *where)
{
	struct report_hints hints = {
		.point = where,
		.with_sudo = getuid() != 0 || getenv("SUDO_UID") != NULL,
		.cont = s->unprivileged				       ? "kill -CONT"
			: session_lent() || getenv("SUDO_UID") == NULL ? "stopexec cont"
								       : "sudo stopexec cont",
		.seconds = s->seconds,
		.enter = s->after == AFTER_WAIT && in_foreground(s),
	};
	struct report *looked cleanup(free_at) = calloc(1, sizeof(*looked));
	struct buf text cleanup(buf_free) = {0};

	if (looked == NULL || report_look(pid, s->unprivileged, looked) < 0)
		return false;
	if (s->json)
		json_report(&text, looked, &hints);
	else
		report_write(&text, looked, &hints);
	if (buf_status(&text) < 0)
		return false;
	if (s->json)
		return puts(text.data) != EOF && fflush(stdout) == 0;
	return session_say(s, text.data, text.len);
}

static bool enter_pressed(const struct session *s)
{
	char line[256];

	return in_foreground(s) && read(s->terminal, line, sizeof(line)) > 0;
}

/* A stopped process, and the image that it was stopped in. */
struct subject {
	struct stop stop;
	int64_t deadline;
	int pidfd;
	bool has_random;
	uint64_t random;
};

/* Has it gone on so far that it executes something else? What stopped that, is another stop. */
static bool is_past(const struct subject *p)
{
	uint64_t random;

	return p->has_random && proc_random(p->stop.pid, &random) == 0 && random != p->random;
}

/* What was asked can't be done, so it goes on. */
static enum outcome give_up(struct session *s, pid_t pid, const char *why)
{
	cli_complain(s->call, "Process %d goes on: %s", pid, why);
	s->failed = true;
	return OUTCOME_CONTINUED;
}

static bool is_helpless(const struct session *s, pid_t pid)
{
	if (guardian_lost(&s->guardian) == 0 && (s->catcher == NULL || !catch_lost(s->catcher)))
		return false;
	session_note(s, "Process %d goes on: a process of stopexec's has ended", pid);
	return true;
}

/* False: it could not be told to. */
static bool go_on(const struct subject *p)
{
	struct proc_status status;

	if (proc_status(p->stop.pid, &status) == 0 &&
	    (is_past(p) || (status.tracer != 0 && status.tracer != p->stop.tracer)))
		return true;
	if (p->pidfd < 0)
		return kill(p->stop.pid, SIGCONT) == 0;
	return pidfd_send_signal(p->pidfd, SIGCONT, NULL, 0) == 0;
}

static void note_timeout(const struct session *s, const struct subject *p)
{
	if (now_ms() >= p->deadline - LOOK)
		session_note(s, "Process %d went on: nobody traced it for %ld s", p->stop.pid,
			     s->seconds);
}

struct seen {
	bool ended, typed;
};

/* Waits for a moment. *terminal: becomes -1 where nobody is there any more. */
static struct seen look_out(const struct session *s, int pidfd, int *terminal)
{
	/* In the background, what is typed is not for us, and may stay there for long. */
	struct pollfd polls[2] = {
		{.fd = pidfd, .events = POLLIN},
		{.fd = in_foreground(s) ? *terminal : -1, .events = POLLIN},
	};

	(void)poll(polls, COUNT(polls), LOOK); /* where that fails, nothing is seen */
	if ((polls[1].revents & (POLLHUP | POLLERR)) != 0)
		*terminal = -1;
	return (struct seen){polls[0].revents != 0, (polls[1].revents & POLLIN) != 0};
}

/* Until somebody traces it, or it is to go on. The guardians look after the time. */
static enum outcome hold(struct session *s, const struct subject *p)
{
	pid_t pid = p->stop.pid;
	int terminal = s->after == AFTER_WAIT ? s->terminal : -1;

	for (;;) {
		struct seen seen = look_out(s, p->pidfd, &terminal);
		struct proc_status status;
		struct err e = {0};
		int looked = proc_status(pid, &status);

		if (seen.ended || looked == -ESRCH) {
			note_timeout(s, p);
			return OUTCOME_GONE;
		}
		if (looked < 0) {
			err_sys(&e, looked, "it can't be looked at");
			return give_up(s, pid, e.text);
		}
		if (status.tracer != 0 && status.tracer != p->stop.tracer)
			return OUTCOME_TRACED;
		if (seen.typed && enter_pressed(s))
			return OUTCOME_CONTINUED;
		/* Somebody let it go on: a guardian in time, or "stopexec cont". (But whoever has
		 * traced it all along stops it again and again, and may be about to hand on our
		 * stop: after a SIGCONT that can't happen any more.) */
		if ((status.state != 'T' && status.state != 't') || is_past(p)) {
			note_timeout(s, p);
			if (p->stop.tracer != 0)
				(void)go_on(p);
			return OUTCOME_RUNS;
		}
		if (session_ended(s) || is_helpless(s, pid))
			return OUTCOME_CONTINUED;
	}
}

static pid_t start_helper(struct session *s, pid_t pid, int *gate, struct err *e)
{
	struct handover h = {
		.pid = pid,
		.to_main = point_main_ahead(pid),
		.with_sudo = s->tmux && session_through_sudo(),
	};
	enum debugger debugger = s->after == AFTER_GDB ? DEBUGGER_GDB : DEBUGGER_STRACE;
	struct buf strings cleanup(buf_free) = {0}, line cleanup(buf_free) = {0};
	const char *words[MANY_WORDS] = {"sh", "-c", NULL};

	if (s->after == AFTER_COMMAND) {
		for (const char *at = s->command; *at != '\0'; at++) {
			if (strncmp(at, "{pid}", 5) == 0) {
				buf_fmt(&line, "%d", pid);
				at += 4;
			} else {
				buf_char(&line, *at);
			}
		}
		words[2] = buf_text(&line);
	} else if (debugger_words(debugger, &h, &strings, words, MANY_WORDS) < 0) {
		strings.failed = true;
	}
	if (s->tmux) {
		for (size_t i = 0; words[i] != NULL; i++) {
			buf_str(&line, i > 0 ? " " : "");
			shell_quote(&line, words[i]);
		}
		words[0] = "tmux";
		words[1] = "new-window";
		words[2] = buf_text(&line);
		words[3] = NULL;
	}
	if (buf_status(&strings) < 0 || buf_status(&line) < 0)
		return err_sys(e, -ENOMEM, "no debugger could be started");
	return helper_start(words, gate, e);
}

static enum outcome assist(struct session *s, const struct subject *p)
{
	int gate = -1;
	struct err e = {0};
	pid_t helper = start_helper(s, p->stop.pid, &gate, &e);
	struct pollfd end = {.fd = p->pidfd, .events = POLLIN};
	int status;

	if (helper < 0)
		return give_up(s, p->stop.pid, e.text);
	if (s->catcher != NULL)
		(void)catch_pass(s->catcher, helper);
	helper_go(&gate);
	status = helper_wait(s, helper, s->after == AFTER_STRACE ? p->stop.pid : 0, p->stop.tracer);
	if (s->catcher != NULL)
		(void)catch_pass(s->catcher, 0);
	if (status >= 0 && WIFEXITED(status) && WEXITSTATUS(status) == 127) {
		cli_complain(s->call, "The command could not be started; is it installed?");
		s->failed = true;
	} else if (status > 0 && s->tmux) { /* which has said why */
		cli_complain(s->call, "tmux did not open a window");
		s->failed = true;
	} else if (status == 0 && s->tmux) {
		enum outcome outcome = hold(s, p);

		if (outcome == OUTCOME_TRACED && s->after == AFTER_STRACE)
			pidfd_send_signal(p->pidfd, SIGCONT, NULL, 0);
		return outcome;
	}
	return poll(&end, 1, 0) > 0 ? OUTCOME_GONE : OUTCOME_CONTINUED;
}

static enum outcome work_on(struct session *s, const struct subject *p, const char *where)
{
	bool recorded = write_record(s, p->stop.pid, p->deadline);

	if (!report(s, p->stop.pid, where))
		return give_up(s, p->stop.pid, "it can't be told what it is");
	switch (s->after) {
	case AFTER_WAIT:
		return hold(s, p);
	case AFTER_LEAVE:
		if (guardian_leave(&s->guardian, &p->stop, recorded) == 0)
			return OUTCOME_LEFT;
		return give_up(s, p->stop.pid, "a guardian can't be told to leave it stopped");
	case AFTER_GDB:
	case AFTER_STRACE:
		if (p->stop.tracer == 0)
			return assist(s, p);
		session_note(s, "No debugger can attach: process %d traces it already",
			     p->stop.tracer);
		return hold(s, p);
	case AFTER_COMMAND:
		break;
	}
	return assist(s, p);
}

static enum outcome present(struct session *s, const struct stop *stop, const char *where)
{
	int pidfd cleanup(fd_close_at) = pidfd_open(stop->pid, 0);
	struct subject subject = {.stop = *stop, .pidfd = pidfd, .deadline = session_deadline(s)};
	int result = pidfd < 0 ? -errno : proc_random(stop->pid, &subject.random);
	enum outcome outcome;
	struct err e = {0};

	subject.has_random = result == 0;
	if (result == 0)
		result = guardian_hold_anew(&s->guardian, stop, subject.deadline);
	if (result == -ESRCH)
		outcome = OUTCOME_GONE;
	else if (result == -EPIPE && is_helpless(s, stop->pid))
		outcome = OUTCOME_CONTINUED;
	else if (result < 0)
		outcome = give_up(s, stop->pid, (err_sys(&e, result, "it can't be held"), e.text));
	else
		outcome = work_on(s, &subject, where);
	if (outcome == OUTCOME_LEFT)
		return outcome;
	if (s->records[0] != '\0')
		record_remove(s->records, stop->pid, subject.deadline);
	/* Else the guardians do it, when stopexec ends. */
	if (outcome != OUTCOME_CONTINUED || go_on(&subject))
		guardian_release(&s->guardian, stop);
	return outcome;
}

enum outcome session_present(struct session *s, const struct stop *stop, const char *where)
{
	struct stop waits = {.pid = s->waits};
	enum outcome outcome;

	if (s->waits == 0)
		return present(s, stop, where);
	(void)guardian_hold(&s->guardian, &waits, INT64_MAX);
	outcome = present(s, stop, where);
	/* It goes on behind the other, which it would continue too. */
	if (outcome != OUTCOME_LEFT)
		guardian_release(&s->guardian, &waits);
	else if (guardian_hold_anew(&s->guardian, &waits, session_deadline(s) + LOOK) == 0)
		(void)guardian_leave(&s->guardian, &waits, false);
	return outcome;
}
