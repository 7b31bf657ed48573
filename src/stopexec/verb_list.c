/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <unistd.h>

#include "base/cli.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/term.h"
#include "stopexec/proc.h"
#include "stopexec/record.h"
#include "stopexec/session.h"
#include "stopexec/trace.h"
#include "stopexec/verbs.h"

static void add_row(struct table *t, const struct record *record)
{
	const struct passwd *by = getpwuid(record->by);
	int64_t left = (record->deadline - now_ms()) / 1000;
	struct proc_status status;
	char program[4096] = "?";

	if (proc_status(record->pid, &status) < 0)
		return;
	(void)proc_program(record->pid, program);
	table_cell(t, PAINT_NONE, "%d", record->pid);
	if (status.tracer != 0)
		table_cell(t, PAINT_GREEN, "traced by %d", status.tracer);
	else if (status.state == 'T')
		table_cell(t, PAINT_YELLOW, "stopped");
	else
		table_cell(t, PAINT_NONE, "runs");
	table_cell(t, PAINT_NONE, "%u/%u", status.uid.real, status.uid.effective);
	if (by != NULL)
		table_cell(t, PAINT_NONE, "%s", by->pw_name);
	else
		table_cell(t, PAINT_NONE, "%u", record->by);
	table_cell(t, PAINT_NONE, "%lld s", (long long)(left > 0 ? left : 0));
	table_cell(t, PAINT_NONE, "%s", program);
}

int verb_list(const struct cli_call *call)
{
	static const char *const titles[] = {">PID",  "STATE",	 "UID/EUID", "STOPPED BY",
					     ">LEFT", "PROGRAM", NULL};
	struct table *table cleanup(table_free_at) = table_new(titles);
	struct record *records cleanup(free_at) = NULL;
	char folder[256];
	struct err e = {0};
	size_t count = 0;

	session_records(folder);
	if (folder[0] != '\0' && record_all(folder, &records, &count, &e) < 0) {
		cli_complain(call, "%s", e.text);
		return EXIT_FAILED;
	}
	for (size_t i = 0; i < count; i++)
		add_row(table, &records[i]);
	if (count > 0 && table_print(table, stdout) < 0)
		return EXIT_FAILED;
	return EXIT_OK;
}

/* Reads a pid that stopexec holds; says what is wrong. */
static int take_pid(const struct cli_call *call, const char *word, pid_t *pid)
{
	struct record record;
	char folder[256];
	char *behind;
	long number;

	errno = 0;
	number = strtol(word, &behind, 10);
	if (behind == word || *behind != '\0' || errno != 0 || number <= 0 || number > INT_MAX)
		return cli_misused(call, "\"%s\" is no process's number", word);
	session_records(folder);
	if (folder[0] == '\0' || record_read(folder, (pid_t)number, &record) < 0) {
		cli_complain(call, "Process %ld is not one that stopexec has stopped", number);
		return EXIT_FAILED;
	}
	if (getuid() != 0 && record.by != getuid()) {
		cli_complain(call, "Process %ld was stopped by somebody else", number);
		return EXIT_FAILED;
	}
	*pid = (pid_t)number;
	return EXIT_OK;
}

static int continue_one(const struct cli_call *call, const char *word)
{
	int pidfd cleanup(fd_close_at) = -1;
	char folder[256];
	int result;
	pid_t pid = 0;

	result = take_pid(call, word, &pid);
	if (result != EXIT_OK)
		return result;
	/* The record is looked up again behind the open: the number may have changed hands. */
	pidfd = pidfd_open(pid, 0);
	if (pidfd < 0 || take_pid(call, word, &pid) != EXIT_OK ||
	    pidfd_send_signal(pidfd, SIGCONT, NULL, 0) < 0) {
		cli_complain(call, "Process %d can't be continued: %s", pid, strerror(errno));
		return EXIT_FAILED;
	}
	session_records(folder);
	record_remove(folder, pid);
	return EXIT_OK;
}

int verb_cont(const struct cli_call *call)
{
	int result = EXIT_OK;

	for (size_t i = 0; i < call->nargs; i++) {
		int one = continue_one(call, call->args[i]);

		if (one != EXIT_OK)
			result = one;
	}
	return result;
}

int verb_attach(const struct cli_call *call)
{
	struct session s = {0};
	struct stop stop = {0};
	struct proc_status status;
	enum outcome outcome;
	int result = session_options(&s, call);

	if (result == EXIT_OK)
		result = take_pid(call, call->args[0], &stop.pid);
	if (result != EXIT_OK)
		return result;
	if (s.after == AFTER_WAIT)
		s.after = AFTER_GDB;
	if (proc_status(stop.pid, &status) == 0 && status.tracer != 0) {
		cli_complain(call, "Process %d is already traced, by process %d", stop.pid,
			     status.tracer);
		return EXIT_FAILED;
	}
	result = session_open(&s);
	if (result != EXIT_OK)
		return result;
	if (guardian_hold(&s.guardian, &stop, s.seconds * 1000) < 0) {
		cli_complain(call, "Process %d has just ended", stop.pid);
		session_close(&s);
		return EXIT_FAILED;
	}
	outcome = session_present(&s, &stop, "where it was stopped");
	session_close(&s);
	return outcome == OUTCOME_GONE || s.ended_by == 0 ? EXIT_OK : EXIT_FAILED;
}
