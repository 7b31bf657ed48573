/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <limits.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cli.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/term.h"
#include "stopexec/json.h"
#include "stopexec/proc.h"
#include "stopexec/record.h"
#include "stopexec/session.h"
#include "stopexec/trace.h"
#include "stopexec/verbs.h"

const struct cli_option list_options[] = {
	{.name = "json", .help = "as JSON: a list of objects"},
	{0},
};

/* What there is to tell of a record's process. */
struct row {
	pid_t pid;
	struct proc_status status;
	const char *state;
	char by[32];
	long long left; /* seconds */
	char program[4096];
};

static int look(const struct record *record, struct row *row)
{
	const struct passwd *by = getpwuid(record->by);
	int64_t left = (record->deadline - now_ms()) / 1000;
	int result = proc_status(record->pid, &row->status);

	if (result < 0)
		return result;
	row->pid = record->pid;
	row->state = row->status.tracer != 0	? "traced"
		     : row->status.state == 'T' ? "stopped"
						: "runs";
	if (by != NULL)
		snprintf(row->by, sizeof(row->by), "%s", by->pw_name);
	else
		snprintf(row->by, sizeof(row->by), "%u", record->by);
	row->left = left > 0 ? left : 0;
	if (proc_program(record->pid, row->program) < 0)
		snprintf(row->program, sizeof(row->program), "?");
	return 0;
}

static void add_row(struct table *t, const struct row *row)
{
	table_cell(t, PAINT_NONE, "%d", row->pid);
	if (row->status.tracer != 0)
		table_cell(t, PAINT_GREEN, "traced by %d", row->status.tracer);
	else
		table_cell(t, row->status.state == 'T' ? PAINT_YELLOW : PAINT_NONE, "%s",
			   row->state);
	table_cell(t, PAINT_NONE, "%u/%u", row->status.uid.real, row->status.uid.effective);
	table_cell(t, PAINT_NONE, "%s", row->by);
	table_cell(t, PAINT_NONE, "%lld s", row->left);
	table_cell(t, PAINT_NONE, "%s", row->program);
}

static void add_object(struct buf *b, const struct row *row)
{
	buf_str(b, b->len > 1 ? ",\n {" : "{");
	json_number(b, "pid", row->pid);
	json_text(b, "state", row->state);
	if (row->status.tracer != 0)
		json_number(b, "tracer", row->status.tracer);
	json_number(b, "uid", row->status.uid.real);
	json_number(b, "euid", row->status.uid.effective);
	json_text(b, "stopped_by", row->by);
	json_number(b, "seconds_left", row->left);
	json_text(b, "program", row->program);
	buf_char(b, '}');
}

static int print_rows(const struct cli_call *call, const struct record *records, size_t count)
{
	static const char *const titles[] = {">PID",  "STATE",	 "UID/EUID", "STOPPED BY",
					     ">LEFT", "PROGRAM", NULL};
	struct table *table cleanup(table_free_at) = table_new(titles);
	struct buf text cleanup(buf_free) = {0};
	size_t rows = 0;
	bool json = cli_has(call, "json");
	int lack;

	buf_char(&text, '[');
	for (size_t i = 0; i < count; i++) {
		struct row row;
		struct err e = {0};
		int result = look(&records[i], &row);

		if (result == -ESRCH)
			continue;
		if (result < 0) {
			err_sys(&e, result, "Process %d can't be looked at", records[i].pid);
			cli_complain(call, "%s", e.text);
			return EXIT_FAILED;
		}
		add_row(table, &row);
		add_object(&text, &row);
		rows++;
	}
	buf_char(&text, ']');
	lack = json ? buf_status(&text) : rows > 0 ? table_print(table, stdout) : 0;
	if (lack == -ENOMEM) {
		cli_complain(call, "There is no memory for the list");
		return EXIT_FAILED;
	}
	/* Where stdout takes nothing, that is told at our end. */
	if (json)
		(void)puts(text.data);
	if (json || rows > 0)
		return EXIT_OK;
	fputs(geteuid() == 0 ? "Nothing is stopped\n"
			     : "Nothing of yours is stopped; root's are shown to root\n",
	      stderr);
	return EXIT_OK;
}

int verb_list(const struct cli_call *call)
{
	struct record *records cleanup(free_at) = NULL;
	char folder[256];
	struct err e = {0};
	size_t count = 0;

	session_records(folder);
	if (folder[0] == '\0') {
		cli_complain(call, "What you stop is not recorded, for XDG_RUNTIME_DIR is not set");
		return EXIT_FAILED;
	}
	if (record_all(folder, &records, &count, &e) < 0) {
		cli_complain(call, "%s", e.text);
		return EXIT_FAILED;
	}
	return print_rows(call, records, count);
}

static int read_pid(const struct cli_call *call, const char *word, pid_t *pid)
{
	char *behind;
	long number;

	errno = 0;
	number = strtol(word, &behind, 10);
	if (behind == word || *behind != '\0' || errno != 0 || number <= 0 || number > INT_MAX)
		return cli_misused(call, "\"%s\" is no process's number", word);
	*pid = (pid_t)number;
	return EXIT_OK;
}

/* What is noted of a process that stopexec holds; says what is wrong. */
static int take_record(const struct cli_call *call, const char *word, struct record *record)
{
	char folder[256];
	pid_t pid = 0;
	int result = read_pid(call, word, &pid);

	if (result != EXIT_OK)
		return result;
	session_records(folder);
	result = folder[0] == '\0' ? -ENOENT : record_read(folder, pid, record);
	if (result == -ENOENT) {
		cli_complain(call, "Process %d is not one that stopexec has stopped", pid);
		return EXIT_FAILED;
	}
	if (result < 0) {
		cli_complain(call, "What is noted of process %d can't be read: %s", pid,
			     strerror(-result));
		return EXIT_FAILED;
	}
	if (getuid() != 0 && record->by != getuid()) {
		cli_complain(call, "Process %d was stopped by somebody else", pid);
		return EXIT_FAILED;
	}
	return EXIT_OK;
}

static int continue_one(const struct cli_call *call, const char *word)
{
	int pidfd cleanup(fd_close_at) = -1;
	struct record record;
	char folder[256];
	bool waits;
	int result;

	result = take_record(call, word, &record);
	if (result != EXIT_OK)
		return result;
	/* The record is looked up again behind the open: the number may have changed hands. */
	pidfd = pidfd_open(record.pid, 0);
	if (pidfd >= 0 && take_record(call, word, &record) != EXIT_OK)
		return EXIT_FAILED;
	waits = record.waits != 0 && proc_descends(record.pid, record.waits);
	if (pidfd < 0 || pidfd_send_signal(pidfd, SIGCONT, NULL, 0) < 0) {
		cli_complain(call, "Process %d can't be continued: %s", record.pid,
			     strerror(errno));
		return EXIT_FAILED;
	}
	if (waits)
		kill(record.waits, SIGCONT);
	session_records(folder);
	record_remove(folder, record.pid, record.deadline);
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

/* Whoever has stopped it: stop.so, for example. */
static int take_stopped(const struct cli_call *call, const char *word, pid_t *pid)
{
	struct proc_status status;
	int result = read_pid(call, word, pid);

	if (result != EXIT_OK)
		return result;
	if (proc_status(*pid, &status) < 0)
		cli_complain(call, "There is no process %d", *pid);
	else if (status.tracer != 0)
		cli_complain(call, "Process %d is already traced, by process %d", *pid,
			     status.tracer);
	else if (status.state != 'T')
		cli_complain(call, "Process %d is not stopped", *pid);
	else
		return EXIT_OK;
	return EXIT_FAILED;
}

int verb_attach(const struct cli_call *call)
{
	struct session s = {0};
	struct stop stop = {0};
	enum outcome outcome;
	int result = session_options(&s, call);

	if (result == EXIT_OK)
		result = take_stopped(call, call->args[0], &stop.pid);
	if (result != EXIT_OK)
		return result;
	if (s.after == AFTER_WAIT)
		s.after = AFTER_GDB;
	result = session_open(&s);
	if (result != EXIT_OK)
		return result;
	if (guardian_hold(&s.guardian, &stop, session_deadline(&s)) < 0) {
		cli_complain(call, "Process %d has just ended", stop.pid);
		session_close(&s);
		return EXIT_FAILED;
	}
	outcome = session_present(&s, &stop, "where it was stopped");
	session_close(&s);
	return !s.failed && (outcome == OUTCOME_GONE || s.ended_by == 0) ? EXIT_OK : EXIT_FAILED;
}
