/* SPDX-License-Identifier: MIT */
#include "stopexec/report.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/term.h"
#include "stopexec/debugger.h"
#include "stopexec/point.h"

static bool holds(const struct mapping *mapping, void *data)
{
	uint64_t counter = *(const uint64_t *)data;

	return counter >= mapping->start && counter < mapping->end;
}

int report_look(pid_t pid, bool tracer_unprivileged, struct report *report)
{
	int fd cleanup(fd_close_at) = -1;
	int result = proc_status(pid, &report->status);

	if (result < 0)
		return result;
	result = proc_program(pid, report->program);
	if (result < 0)
		return result;
	report->pid = pid;
	report->asked = (struct rights_asked){0};
	report->around = (struct rights_around){0};
	fd = proc_open_program(pid);
	if (fd >= 0) {
		rights_of_file(fd, &report->asked);
		rights_around(pid, fd, &report->around);
	}
	/* A tracer that could have kept the privileges has done so. */
	report->around.traced = tracer_unprivileged || report->status.tracer != 0;
	report->main_ahead = point_main_ahead(pid);
	report->has_counter = proc_counter(pid, &report->counter) == 0;
	report->at.path[0] = '\0';
	if (report->has_counter)
		(void)proc_mapping(pid, holds, &report->counter, &report->at);
	return 0;
}

static void write_asked(struct buf *b, const struct rights_asked *asked)
{
	if (asked->set_uid)
		buf_fmt(b, ", SUID %u", asked->uid);
	if (asked->set_gid)
		buf_fmt(b, ", SGID %u", asked->gid);
	if (asked->capabilities != 0) {
		buf_str(b, ", file capabilities ");
		rights_name(b, asked->capabilities, UINT64_MAX);
	}
}

static void write_verdict(struct buf *b, const struct report *r)
{
	enum rights_verdict verdict = rights_judge(&r->asked, &r->status, &r->around);

	buf_fmt(b, "\n  privileges    %s", rights_words(verdict));
	if (verdict == RIGHTS_TRACER && r->status.tracer == 0) /* so it was us */
		buf_str(b, "; they are with \"sudo stopexec run\"");
	buf_char(b, '\n');
}

static void write_counter(struct buf *b, const struct report *r)
{
	if (!r->has_counter)
		return;
	buf_fmt(b, "  counter       0x%" PRIx64, r->counter);
	if (r->at.path[0] != '\0') {
		buf_str(b, " (");
		term_safe(b, r->at.path);
		buf_fmt(b, "+0x%" PRIx64 ")", r->counter - r->at.start + r->at.offset);
	}
	buf_char(b, '\n');
}

static void write_next(struct buf *b, const struct report *r, const struct report_hints *hints)
{
	struct handover h = {
		.pid = r->pid,
		.to_main = r->main_ahead,
		.with_sudo = hints->with_sudo,
	};

	buf_str(b, "  gdb           ");
	debugger_line(DEBUGGER_GDB, &h, b);
	buf_str(b, "\n  strace        ");
	debugger_line(DEBUGGER_STRACE, &h, b);
	buf_str(b, "\n  perf          ");
	debugger_line(DEBUGGER_PERF, &h, b);
	buf_fmt(b, "\n  go on         %s%s %d; by itself after %ld s\n",
		hints->enter ? "press Enter, or: " : "", hints->cont, r->pid, hints->seconds);
}

void report_write(struct buf *b, const struct report *report, const struct report_hints *hints)
{
	const struct report *r = report;
	const struct ids *uid = &r->status.uid;
	const struct ids *gid = &r->status.gid;

	buf_fmt(b, "Process %d is stopped at %s\n  program       ", r->pid, hints->point);
	term_safe(b, r->program);
	write_asked(b, &r->asked);
	buf_fmt(b, "\n  user ids      real %u, effective %u, saved %u\n", uid->real, uid->effective,
		uid->saved);
	buf_fmt(b, "  group ids     real %u, effective %u, saved %u\n", gid->real, gid->effective,
		gid->saved);
	buf_str(b, "  capabilities  ");
	rights_name(b, r->status.effective, r->status.bounding);
	write_verdict(b, r);
	if (r->status.tracer != 0)
		buf_fmt(b, "  tracer        process %d\n", r->status.tracer);
	write_counter(b, r);
	write_next(b, r, hints);
}
