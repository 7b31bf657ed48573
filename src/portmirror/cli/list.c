/* SPDX-License-Identifier: MIT */
/* portmirror list and show: the sessions and how they stand. */
#include <inttypes.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/term.h"
#include "portmirror/cli/app.h"
#include "portmirror/inliner.h"
#include "portmirror/show.h"

static enum paint paint_of(enum state state)
{
	static const enum paint paints[] = {PAINT_GREEN, PAINT_YELLOW, PAINT_YELLOW, PAINT_YELLOW,
					    PAINT_RED};

	return paints[state];
}

static bool look(const struct cli_call *call, struct engine *engine, struct sessions *sessions,
		 struct view *view)
{
	struct err e = {0};

	if (!app_open(call, engine) || !app_load(call, engine, sessions))
		return false;
	if (engine_look(engine, sessions, NULL, view, &e) < 0) {
		app_fail(call, &e);
		return false;
	}
	return true;
}

static void selectors_text(const struct selector *items, size_t count, struct buf *b)
{
	for (size_t i = 0; i < count; i++)
		buf_fmt(b, "%s%s", i ? " " : "", items[i].text);
}

static int print_table(const struct view *view)
{
	static const char *const titles[] = {"NAME", "STATE", ">PORTS", "DIRECTION",
					     "TO",   "FROM",  "FILTER", NULL};
	struct table *t cleanup(table_free_at) = table_new(titles);

	for (size_t i = 0; i < view->plan.nstates; i++) {
		const struct session_state *st = &view->plan.states[i];
		const struct session *s = st->session;
		struct buf from cleanup(buf_free) = {0};
		struct buf to cleanup(buf_free) = {0};

		selectors_text(s->from, s->nfrom, &from);
		if (s->mode == MODE_INLINE)
			selectors_text(s->through, SIDES, &to);
		else
			selectors_text(s->to, s->nto, &to);
		if (buf_status(&from) < 0 || buf_status(&to) < 0)
			return -ENOMEM;
		table_cell(t, PAINT_BOLD, "%s", s->name);
		table_cell(t, paint_of(show_state(st)), "%s", state_name(show_state(st)));
		table_cell(t, PAINT_NONE, "%zu", st->from.count);
		table_cell(t, PAINT_NONE, "%s",
			   !s->nfrom		    ? ""
			   : s->mode == MODE_INLINE ? "through"
						    : direction_name(s->direction));
		table_cell(t, PAINT_NONE, "%s", buf_text(&to));
		table_cell(t, PAINT_NONE, "%s", buf_text(&from));
		table_cell(t, PAINT_NONE, "%s", s->filter ? s->filter : "");
	}
	return table_print(t, stdout);
}

int verb_list(const struct cli_call *call)
{
	struct engine engine cleanup(engine_close) = {0};
	struct sessions sessions cleanup(sessions_free) = {0};
	struct view view cleanup(view_free) = {0};
	json_t *list;

	if (!look(call, &engine, &sessions, &view))
		return EXIT_FAILED;
	if (app_json(call)) {
		list = json_array();
		for (size_t i = 0; list && i < view.plan.nstates; i++)
			json_array_append_new(list,
					      app_session_object(&view, &view.plan.states[i]));
		return app_print_json(call, list);
	}
	if (view.plan.nstates == 0) {
		printf("no session is saved; portmirror add --help shows how to make one\n");
		return EXIT_OK;
	}
	if (print_table(&view) < 0) {
		cli_complain(call, "out of memory");
		return EXIT_FAILED;
	}
	return EXIT_OK;
}

static void line(struct buf *out, const char *title, const char *text)
{
	buf_fmt(out, "%-12s ", title);
	term_safe(out, text);
	buf_char(out, '\n');
}

/* none: what is said of an empty one. */
static void line_of(struct buf *out, const char *title, const struct buf *text, const char *none)
{
	line(out, title, text->len ? buf_text(text) : none);
	out->failed |= buf_status(text) < 0;
}

static void print_reasons(struct buf *out, const struct session_state *st)
{
	const char *at = st->reasons;

	while (at && *at) {
		size_t len = strcspn(at, "\n");

		buf_fmt(out, "%-12s %.*s\n", "", (int)len, at);
		at += len + (at[len] == '\n');
	}
	if (st->state == STATE_WHOLE && st->pending > 0)
		buf_fmt(out,
			"%-12s the kernel differs from what is saved; portmirror apply mends it\n",
			"");
}

/* The names of devices, those that are there. */
static void devices_text(const struct view *view, const int *indexes, size_t count, struct buf *b)
{
	for (size_t i = 0; i < count; i++) {
		const struct nl_link *link = nl_link_by_index(&view->host.links, indexes[i]);

		if (link)
			buf_fmt(b, "%s%s", b->len ? " " : "", link->name);
	}
}

/* What is off is not told. */
static void print_options(struct buf *out, const struct session *s)
{
	if (s->snap)
		buf_fmt(out, "%-12s %u bytes\n", "snap", s->snap);
	if (s->sample)
		buf_fmt(out, "%-12s one %s in %u\n", "sample", s->sample_flows ? "flow" : "frame",
			s->sample);
	if (s->rate)
		buf_fmt(out, "%-12s %u Mbit/s\n", "rate", s->rate);
	if (s->balance)
		line(out, "balance", "yes");
}

/* Whether anybody notices when the appliance fails. */
static const char *watcher(const struct session *s, const struct inliner *have)
{
	if (have && inliner_watched(have, s->probe_interval, inliner_now()))
		return "by portmirrord";
	return "by nobody: static, portmirrord doesn't run; only a port that is gone is noticed";
}

static void print_counts(struct buf *out, const struct inliner *have)
{
	for (unsigned i = 0; i < INLINE_COUNTS; i++)
		if (have->counts[i].frames)
			buf_fmt(out, "%-12s %" PRIu64 " frames, %" PRIu64 " bytes\n",
				show_inline_count(i), (uint64_t)have->counts[i].frames,
				(uint64_t)have->counts[i].bytes);
}

static void print_inline(struct buf *out, const struct view *view, const struct session_state *st)
{
	const struct session *s = st->session;
	const struct inliner *have = host_inliner(&view->host, s->name);
	struct buf guard cleanup(buf_free) = {0};
	struct buf through cleanup(buf_free) = {0};
	struct buf ports cleanup(buf_free) = {0};
	struct buf appliance cleanup(buf_free) = {0};

	selectors_text(s->from, s->nfrom, &guard);
	selectors_text(s->through, SIDES, &through);
	devices_text(view, st->from.items, st->from.count, &ports);
	devices_text(view, st->through, SIDES, &appliance);
	line(out, "mode", "inline");
	line_of(out, "guard", &guard, "");
	line_of(out, "through", &through, "");
	line(out, "on-failure",
	     s->on_failure == ON_FAILURE_OPEN ? "open: frames go straight on"
					      : "closed: no frame gets through");
	line(out, "appliance",
	     s->appliance == APPLIANCE_WIRE
		     ? "wire"
		     : "bridge: guarded machines talk to each other past it");
	line(out, "filter", s->filter ? s->filter : "(all frames)");
	buf_fmt(out, "%-12s every %u ms\n", "probes", s->probe_interval);
	line(out, "suspended", s->suspended ? "yes" : "no");
	line_of(out, "ports", &ports, "(none now)");
	line_of(out, "devices", &appliance, "(none now)");
	line(out, "watched", watcher(s, have));
	if (!have)
		return;
	buf_fmt(out, "%-12s %u\n", "failures", have->health.failures);
	print_counts(out, have);
}

static void print_one(struct buf *out, const struct view *view, const struct session_state *st,
		      const char *path)
{
	const struct session *s = st->session;
	bool colour = term_colour(stdout);
	struct buf ports cleanup(buf_free) = {0};
	struct buf from cleanup(buf_free) = {0};
	struct buf to cleanup(buf_free) = {0};
	struct buf destinations cleanup(buf_free) = {0};

	line(out, "name", s->name);
	buf_fmt(out, "%-12s %s%s%s\n", "state", term_on(paint_of(show_state(st)), colour),
		state_name(show_state(st)), term_off(colour));
	print_reasons(out, st);
	line(out, "file", path);
	devices_text(view, st->from.items, st->from.count, &ports);
	devices_text(view, st->to, SESSION_TO_MAX, &destinations);
	if (s->nfrom == 0) { /* a broken one: there is no more to tell, but what goes on */
		if (ports.len > 0)
			line_of(out, "ports", &ports, "");
		if (destinations.len > 0)
			line_of(out, "destination", &destinations, "");
		return;
	}
	if (s->mode == MODE_INLINE) {
		print_inline(out, view, st);
		return;
	}
	selectors_text(s->from, s->nfrom, &from);
	selectors_text(s->to, s->nto, &to);
	line_of(out, "from", &from, "");
	line_of(out, "to", &to, "");
	line(out, "direction", direction_name(s->direction));
	line(out, "filter", s->filter ? s->filter : "(all frames)");
	line(out, "attach", attach_name(s->attach));
	line(out, "engine", engine_kind_name(st->engine == ENGINE_AUTO ? s->engine : st->engine));
	print_options(out, s);
	line(out, "isolate", s->isolate ? "yes" : "no");
	line(out, "suspended", s->suspended ? "yes" : "no");
	line_of(out, "ports", &ports, "(none now)");
	line_of(out, "destination", &destinations, "(none now)");
	if (st->action && st->in_kernel)
		buf_fmt(out, "%-12s mirred %u\n", "action", st->action);
}

int verb_show(const struct cli_call *call)
{
	struct engine engine cleanup(engine_close) = {0};
	struct sessions sessions cleanup(sessions_free) = {0};
	struct view view cleanup(view_free) = {0};
	const struct session_state *st;
	char *path cleanup(free_at) = NULL;
	struct buf out cleanup(buf_free) = {0};

	if (!look(call, &engine, &sessions, &view))
		return EXIT_FAILED;
	st = plan_state(&view.plan, call->args[0]);
	if (!st) {
		cli_complain(call, "there is no session named %s", call->args[0]);
		return EXIT_FAILED;
	}
	if (app_json(call))
		return app_print_json(call, app_session_object(&view, st));
	path = store_path(&engine.store, st->session);
	if (path)
		print_one(&out, &view, st, path);
	if (!path || buf_status(&out) < 0) {
		cli_complain(call, "out of memory");
		return EXIT_FAILED;
	}
	fputs(buf_text(&out), stdout);
	return EXIT_OK;
}
