/* SPDX-License-Identifier: MIT */
#include "stopexec/json.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/term.h"
#include "stopexec/debugger.h"
#include "stopexec/report.h"

void json_string(struct buf *b, const char *text)
{
	struct buf safe cleanup(buf_free) = {0};

	term_safe(&safe, text); /* no control characters, and UTF-8 only */
	buf_char(b, '"');
	for (const char *at = buf_text(&safe); *at != '\0'; at++) {
		if (*at == '"' || *at == '\\')
			buf_char(b, '\\');
		buf_char(b, *at);
	}
	buf_char(b, '"');
	b->failed |= safe.failed;
}

static void name_of(struct buf *b, const char *name)
{
	if (b->len > 0 && b->data[b->len - 1] != '{')
		buf_str(b, ", ");
	buf_fmt(b, "\"%s\": ", name);
}

void json_text(struct buf *b, const char *name, const char *value)
{
	name_of(b, name);
	json_string(b, value);
}

void json_number(struct buf *b, const char *name, long long value)
{
	name_of(b, name);
	buf_fmt(b, "%lld", value);
}

static void write_ids(struct buf *b, const char *name, const struct ids *ids)
{
	name_of(b, name);
	buf_char(b, '{');
	json_number(b, "real", ids->real);
	json_number(b, "effective", ids->effective);
	json_number(b, "saved", ids->saved);
	buf_char(b, '}');
}

static void write_capabilities(struct buf *b, const char *name, uint64_t set, uint64_t all)
{
	struct buf words cleanup(buf_free) = {0};

	rights_name(&words, set, all);
	json_text(b, name, buf_text(&words));
	b->failed |= words.failed;
}

static void write_command(struct buf *b, const char *name, enum debugger debugger,
			  const struct handover *h)
{
	struct buf line cleanup(buf_free) = {0};

	debugger_line(debugger, h, &line);
	json_text(b, name, buf_text(&line));
	b->failed |= line.failed;
}

static void write_asked(struct buf *b, const struct rights_asked *asked)
{
	name_of(b, "file");
	buf_char(b, '{');
	if (asked->set_uid)
		json_number(b, "setuid", asked->uid);
	if (asked->set_gid)
		json_number(b, "setgid", asked->gid);
	write_capabilities(b, "capabilities", asked->capabilities, UINT64_MAX);
	buf_char(b, '}');
}

static void write_counter(struct buf *b, const struct report *r)
{
	char text[24];

	if (!r->has_counter)
		return;
	snprintf(text, sizeof(text), "0x%" PRIx64, r->counter);
	json_text(b, "counter", text);
	if (r->at.path[0] == '\0')
		return;
	json_text(b, "counter_file", r->at.path);
	snprintf(text, sizeof(text), "0x%" PRIx64, r->counter - r->at.start + r->at.offset);
	json_text(b, "counter_offset", text);
}

void json_report(struct buf *b, const struct report *report, const struct report_hints *hints)
{
	const struct report *r = report;
	struct handover h = {
		.pid = r->pid,
		.to_main = r->main_ahead,
		.with_sudo = hints->with_sudo,
	};

	buf_char(b, '{');
	json_number(b, "pid", r->pid);
	json_text(b, "point", hints->point);
	json_text(b, "program", r->program);
	write_asked(b, &r->asked);
	write_ids(b, "uid", &r->status.uid);
	write_ids(b, "gid", &r->status.gid);
	write_capabilities(b, "capabilities", r->status.effective, r->status.bounding);
	json_text(b, "privileges", rights_words(rights_judge(&r->asked, &r->status, &r->around)));
	if (r->status.tracer != 0)
		json_number(b, "tracer", r->status.tracer);
	write_counter(b, r);
	json_number(b, "seconds_left", hints->seconds);
	write_command(b, "gdb", DEBUGGER_GDB, &h);
	write_command(b, "strace", DEBUGGER_STRACE, &h);
	write_command(b, "perf", DEBUGGER_PERF, &h);
	buf_char(b, '}');
}
