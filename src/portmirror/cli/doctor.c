/* SPDX-License-Identifier: MIT */
/* portmirror doctor: what on this host spoils a mirror, and the cure. */
#include "portmirror/doctor.h"

#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/term.h"
#include "portmirror/cli/app.h"
#include "portmirror/facts.h"

static const enum paint paints[] = {PAINT_BLUE, PAINT_YELLOW, PAINT_RED};

static int print_json(const struct cli_call *call, const struct findings *findings)
{
	json_t *list = json_array();

	for (size_t i = 0; list && i < findings->count; i++) {
		const struct finding *f = &findings->items[i];

		json_array_append_new(list,
				      json_pack("{s:s, s:s, s:s?, s:s?, s:s, s:s}", "severity",
						severity_name(f->severity), "name", f->name,
						"session", f->session, "subject", f->subject,
						"sentence", f->sentence, "cure", f->cure));
	}
	return app_print_json(call, list);
}

static void add_finding(struct buf *out, const struct finding *f, bool colour)
{
	buf_fmt(out, "%s%-8s%s ", term_on(paints[f->severity], colour), severity_name(f->severity),
		term_off(colour));
	if (f->session)
		buf_fmt(out, "%s: ", f->session);
	term_safe(out, f->sentence);
	buf_fmt(out, "\n         %scure:%s ", term_on(PAINT_DIM, colour), term_off(colour));
	term_safe(out, f->cure);
	buf_char(out, '\n');
}

static int print_findings(const struct cli_call *call, const struct findings *findings)
{
	struct buf text cleanup(buf_free) = {0};

	for (size_t i = 0; i < findings->count; i++)
		add_finding(&text, &findings->items[i], term_colour(stdout));
	if (buf_status(&text) < 0) {
		cli_complain(call, "out of memory");
		return EXIT_FAILED;
	}
	printf("%s", buf_text(&text));
	return EXIT_OK;
}

static void print_summary(const struct findings *findings, size_t sessions)
{
	size_t of[COUNT(paints)] = {0};
	const char *before = "";

	for (size_t i = 0; i < findings->count; i++)
		of[findings->items[i].severity]++;
	if (of[SEVERITY_ERROR] + of[SEVERITY_WARNING] == 0) {
		printf("All is well: ");
		if (sessions == 0)
			printf("no session is saved, and none has left anything behind");
		else
			printf("%zu session%s, nothing in the way of a copy", sessions,
			       sessions == 1 ? "" : "s");
		before = "; ";
	}
	for (int severity = SEVERITY_ERROR; severity >= SEVERITY_HINT; severity--) {
		if (of[severity] == 0)
			continue;
		printf("%s%zu %s%s", before, of[severity], severity_name((enum severity)severity),
		       of[severity] == 1 ? "" : "s");
		before = ", ";
	}
	printf("\n");
}

static int report(const struct cli_call *call, const struct findings *findings, size_t sessions)
{
	/* The worst comes first. */
	bool bad = findings->count > 0 && findings->items[0].severity > SEVERITY_HINT;
	int r = app_json(call) ? print_json(call, findings) : print_findings(call, findings);

	if (r == EXIT_OK && !app_json(call))
		print_summary(findings, sessions);
	return bad ? EXIT_FAILED : r;
}

int verb_doctor(const struct cli_call *call)
{
	struct engine engine cleanup(engine_close) = {0};
	struct sessions sessions cleanup(sessions_free) = {0};
	struct view view cleanup(view_free) = {0};
	struct facts facts cleanup(facts_free) = {0};
	struct findings findings cleanup(findings_free) = {0};
	struct doctor_input in = {
		.sessions = &sessions, .plan = &view.plan, .host = &view.host, .facts = &facts};
	struct err e = {0};

	if (!app_open(call, &engine) || !app_load(call, &engine, &sessions))
		return EXIT_FAILED;
	in.house = engine.store.house;
	if (engine_look(&engine, &sessions, NULL, &view, &e) < 0 ||
	    facts_gather(&view.plan, &view.host, app_root(call), &facts, &e) < 0 ||
	    facts_gather_appliances(engine.house, &view.plan, &view.host, &facts, &e) < 0 ||
	    doctor_look(&in, &findings, &e) < 0)
		return app_fail(call, &e);
	return report(call, &findings, sessions.count);
}
