/* SPDX-License-Identifier: MIT */
/* portmirror stats: what was copied and what was lost, once or live. */
#include "portmirror/stats.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/term.h"
#include "portmirror/cli/app.h"
#include "portmirror/cli/live.h"
#include "portmirror/show.h"

#define SECONDS_MIN 0.1
#define SECONDS_MAX 3600.0

/* One look; the sentence is told by the caller, who may have to put the terminal back first. */
static int look(const struct cli_call *call, struct engine *engine, struct stats *stats,
		struct err *e)
{
	const char *name = call->nargs > 0 ? call->args[0] : NULL;
	struct sessions sessions cleanup(sessions_free) = {0};
	struct view view cleanup(view_free) = {0};
	int r = store_load(&engine->store, &sessions, e);

	if (r == 0 && name && !sessions_find(&sessions, name))
		r = err_set(e, -ENOENT, "there is no session named %s", name);
	if (r == 0)
		r = engine_look(engine, &sessions, NULL, &view, e);
	if (r == 0)
		r = stats_take(&view.plan, &view.host, name, stats, e);
	return r;
}

/* Only with rates where they are asked for. */
static json_t *count_object(const struct stats_count *c, bool rates)
{
	if (!rates)
		return json_pack("{s:I, s:I}", "frames", (json_int_t)c->frames, "bytes",
				 (json_int_t)c->bytes);
	return json_pack("{s:I, s:I, s:f, s:f}", "frames", (json_int_t)c->frames, "bytes",
			 (json_int_t)c->bytes, "frames_per_second", c->frames_per_second,
			 "bits_per_second", c->bits_per_second);
}

static json_t *source_object(const struct stats_session *s, const struct stats_source *source,
			     bool rates)
{
	json_t *o = json_pack("{s:s}", "port", source->port);

	if (o && s->counts)
		json_object_set_new(o, "copies",
				    json_pack("{s:I, s:I, s:I, s:I}", "frames",
					      (json_int_t)source->copies.frames, "bytes",
					      (json_int_t)source->copies.bytes, "lost",
					      (json_int_t)source->copies.lost, "shed",
					      (json_int_t)source->copies.shed));
	if (o && (s->direction & DIRECTION_SENT))
		json_object_set_new(o, "sent", count_object(&source->sent, rates));
	if (o && (s->direction & DIRECTION_RECEIVED))
		json_object_set_new(o, "received", count_object(&source->received, rates));
	return o;
}

static json_t *session_object_of(const struct stats_session *s, bool rates)
{
	json_t *sources = json_array();
	json_t *o;

	for (size_t i = 0; sources && i < s->nsources; i++)
		json_array_append_new(sources, source_object(s, &s->sources[i], rates));
	o = json_pack("{s:s, s:s, s:s?, s:o, s:I, s:I, s:I, s:o}", "name", s->name, "state",
		      state_name(s->state), "destination", *s->to ? s->to : NULL, "copied",
		      count_object(&s->copied, rates), "lost_before", (json_int_t)s->lost_before,
		      "lost_at", (json_int_t)s->lost_at, "shed", (json_int_t)s->shed, "sources",
		      sources);
	if (o && *s->through)
		json_object_set_new(o, "appliance", show_inline_counts(&s->led));
	if (o && rates) {
		json_object_set_new(o, "lost_before_per_second",
				    json_real(s->lost_before_per_second));
		json_object_set_new(o, "lost_at_per_second", json_real(s->lost_at_per_second));
		json_object_set_new(o, "shed_per_second", json_real(s->shed_per_second));
	}
	return o;
}

static json_t *sessions_array(const struct stats *stats, bool rates)
{
	json_t *list = json_array();

	for (size_t i = 0; list && i < stats->count; i++)
		if (json_array_append_new(list, session_object_of(&stats->items[i], rates)) < 0) {
			json_decref(list);
			return NULL;
		}
	return list;
}

static enum paint state_paint(enum state state)
{
	static const enum paint paints[] = {PAINT_GREEN, PAINT_YELLOW, PAINT_YELLOW, PAINT_YELLOW,
					    PAINT_RED};

	return paints[state];
}

static void cell_rates(struct table *t, const struct stats_count *c)
{
	char text[16];

	table_cell(t, PAINT_NONE, "%s", human_count(text, c->frames_per_second, ""));
	table_cell(t, PAINT_NONE, "%s", human_count(text, c->bits_per_second, ""));
}

static void cell_totals(struct table *t, const struct stats_count *c)
{
	char text[16];

	table_cell(t, PAINT_NONE, "%" PRIu64, c->frames);
	table_cell(t, PAINT_NONE, "%s", human_count(text, (double)c->bytes, "B"));
}

/* Losses are red; how many came just now stands behind them. */
static void cell_loss(struct table *t, uint64_t lost, double per_second)
{
	char text[16];

	if (per_second > 0)
		table_cell(t, PAINT_RED, "%" PRIu64 " (+%s/s)", lost,
			   human_count(text, per_second, ""));
	else
		table_cell(t, lost > 0 ? PAINT_RED : PAINT_NONE, "%" PRIu64, lost);
}

static void session_rows(struct table *t, const struct stats_session *s, bool rates)
{
	table_cell(t, PAINT_BOLD, "%s", s->name);
	table_cell(t, state_paint(s->state), "%s", state_name(s->state));
	if (*s->through)
		table_cell(t, PAINT_NONE, "through %s", s->through);
	else
		table_cell(t, PAINT_NONE, "to %s",
			   *s->to			 ? s->to
			   : s->state == STATE_SUSPENDED ? "(suspended)"
							 : "(not there)");
	if (rates)
		cell_rates(t, &s->copied);
	cell_totals(t, &s->copied);
	cell_loss(t, s->lost_before, s->lost_before_per_second);
	cell_loss(t, s->lost_at, s->lost_at_per_second);
	table_cell(t, PAINT_NONE, "%" PRIu64, s->shed); /* on purpose */
	for (size_t i = 0; i < s->nsources; i++) {
		const struct stats_source *source = &s->sources[i];

		table_cell(t, PAINT_NONE, "%s", "");
		table_cell(t, PAINT_NONE, "%s", "");
		table_cell(t, PAINT_NONE, "from %s", source->port);
		if (rates)
			cell_rates(t, &source->sum);
		cell_totals(t, &source->sum);
		table_cell(t, PAINT_NONE, "%s", "");
		table_cell(t, PAINT_NONE, "%s", "");
		table_cell(t, PAINT_NONE, "%s", "");
	}
}

static struct table *table_of(const struct stats *stats, bool rates)
{
	static const char *const totals[] = {"SESSION",	 "STATE",  "PORT",
					     ">FRAMES",	 ">BYTES", ">LOST BEFORE",
					     ">LOST AT", ">SHED",  NULL};
	static const char *const with_rates[] = {"SESSION",  "STATE",	"PORT",	  ">FRAMES/S",
						 ">BITS/S",  ">FRAMES", ">BYTES", ">LOST BEFORE",
						 ">LOST AT", ">SHED",	NULL};
	struct table *t = table_new(rates ? with_rates : totals);

	for (size_t i = 0; t && i < stats->count; i++)
		session_rows(t, &stats->items[i], rates);
	return t;
}

static int print_once(const struct cli_call *call, const struct stats *stats)
{
	struct table *t cleanup(table_free_at) = NULL;

	if (app_json(call))
		return app_print_json(call, sessions_array(stats, false));
	if (stats->count == 0) {
		printf("no session is saved; portmirror add --help shows how to make one\n");
		return EXIT_OK;
	}
	t = table_of(stats, false);
	if (table_print(t, stdout) < 0) {
		cli_complain(call, "out of memory");
		return EXIT_FAILED;
	}
	return EXIT_OK;
}

struct watch {
	const struct cli_call *call;
	struct engine *engine;
	double every; /* seconds */
	struct live live;
	struct stats stats;
	double taken; /* when, in seconds of a clock that only goes forward; 0: not yet */
	bool rates;   /* stats has them */
};

static double seconds_now(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Looks anew, and compares with the last look. */
static int look_again(struct watch *w, struct err *e)
{
	struct stats now;
	int r = look(w->call, w->engine, &now, e);
	double taken = seconds_now();

	if (r < 0)
		return r;
	w->rates = w->taken > 0;
	if (w->rates)
		stats_rates(&now, &w->stats, taken - w->taken);
	stats_sort(&now);
	stats_free(&w->stats);
	w->stats = now;
	w->taken = taken;
	return 0;
}

/* In UTC, for programs. */
static const char *timestamp(char text[32])
{
	struct timespec t;
	struct tm tm;
	size_t len;

	(void)clock_gettime(CLOCK_REALTIME, &t);
	(void)gmtime_r(&t.tv_sec, &tm);
	len = strftime(text, 32, "%Y-%m-%dT%H:%M:%S", &tm);
	(void)snprintf(text + len, 32 - len, ".%03ldZ", t.tv_nsec / 1000000);
	return text;
}

static int draw(const struct watch *w)
{
	struct table *t cleanup(table_free_at) = table_of(&w->stats, true);
	struct buf text cleanup(buf_free) = {0};
	bool colour = term_colour(stdout);
	time_t now = time(NULL);
	char clock[16];
	struct tm tm;
	int r = 0;

	(void)localtime_r(&now, &tm);
	(void)strftime(clock, sizeof(clock), "%H:%M:%S", &tm);
	buf_fmt(&text, "%sportmirror%s  %s  every %g s%s  q quits\n\n", term_on(PAINT_BOLD, colour),
		term_off(colour), clock, w->every,
		w->rates ? "" : "  (the rates come with the next look)");
	if (w->stats.count == 0)
		buf_str(&text, "no session is saved\n");
	else
		r = table_text(t, term_width(stdout), colour, &text);
	return r < 0 ? r : live_draw(&text);
}

#define COLUMNS "%-24s %-20s %15s %18s %12s %15s %12s %12s %12s\n"

static void print_header(void)
{
	printf(COLUMNS, "TIME", "SESSION", "FRAMES", "BYTES", "FRAMES/S", "BITS/S", "LOST_BEFORE",
	       "LOST_AT", "SHED");
}

static void print_lines(const struct stats *stats)
{
	char when[32], n[7][24];

	timestamp(when);
	for (size_t i = 0; i < stats->count; i++) {
		const struct stats_session *s = &stats->items[i];

		snprintf(n[0], sizeof(n[0]), "%" PRIu64, s->copied.frames);
		snprintf(n[1], sizeof(n[1]), "%" PRIu64, s->copied.bytes);
		snprintf(n[2], sizeof(n[2]), "%.0f", s->copied.frames_per_second);
		snprintf(n[3], sizeof(n[3]), "%.0f", s->copied.bits_per_second);
		snprintf(n[4], sizeof(n[4]), "%" PRIu64, s->lost_before);
		snprintf(n[5], sizeof(n[5]), "%" PRIu64, s->lost_at);
		snprintf(n[6], sizeof(n[6]), "%" PRIu64, s->shed);
		printf(COLUMNS, when, s->name, n[0], n[1], n[2], n[3], n[4], n[5], n[6]);
	}
}

static int print_json_line(const struct stats *stats)
{
	char when[32];
	json_t *o = json_pack("{s:s, s:o}", "time", timestamp(when), "sessions",
			      sessions_array(stats, true));
	int r = o ? json_dumpf(o, stdout, JSON_COMPACT | JSON_REAL_PRECISION(9)) : -1;

	json_decref(o);
	if (r < 0)
		return -ENOMEM;
	printf("\n");
	return 0;
}

/* What is to be seen of the last look. */
static int show(const struct watch *w, struct err *e)
{
	int r = 0;

	if (w->live.screen)
		r = draw(w);
	else if (!w->rates)
		return 0; /* lines begin when there are rates */
	else if (app_json(w->call))
		r = print_json_line(&w->stats);
	else
		print_lines(&w->stats);
	if (r == -ENOMEM && !ferror(stdout))
		return err_set(e, r, "out of memory");
	if (r < 0 && r != -ENOMEM)
		return err_sys(e, r, "can't write the output");
	r = app_flush();
	return r < 0 ? err_sys(e, r, "can't write the output") : 0;
}

static int watch_loop(struct watch *w, struct err *e)
{
	int64_t next = live_now(), every = (int64_t)(w->every * 1000);

	for (;;) {
		enum live_event event;
		int r = look_again(w, e);

		if (r < 0)
			return r;
		next += every;
		if (next < live_now())
			next = live_now(); /* too slow: no burst of looks afterwards */
		do {
			r = show(w, e);
			if (r < 0)
				return r;
			event = live_wait(&w->live, next);
		} while (event == LIVE_REDRAW);
		if (event == LIVE_FAILED)
			return err_sys(e, -errno, "can't wait");
		if (event == LIVE_END)
			return 0;
	}
}

/* A terminal that can be drawn on. */
static bool can_draw(void)
{
	const char *term = getenv("TERM");

	return isatty(STDOUT_FILENO) && term && strcmp(term, "dumb") != 0;
}

static int watch(const struct cli_call *call, struct engine *engine, double every)
{
	struct watch w = {.call = call, .engine = engine, .every = every};
	struct err e = {0};
	int r = live_open(&w.live, !app_json(call) && can_draw());

	if (r < 0) {
		err_sys(&e, r, "can't watch");
		return app_fail(call, &e);
	}
	if (!w.live.screen && !app_json(call)) {
		print_header();
		(void)fflush(stdout); /* watch_loop() tells where that fails */
	}
	r = watch_loop(&w, &e);
	stats_free(&w.stats);
	live_close(&w.live);
	return r < 0 ? app_fail(call, &e) : EXIT_OK;
}

int verb_stats(const struct cli_call *call)
{
	struct engine engine cleanup(engine_close) = {0};
	struct stats stats cleanup(stats_free) = {0};
	const char *every = cli_get(call, "watch");
	struct err e = {0};
	double seconds = 1;

	if (every && *every && !app_seconds(call, "watch", SECONDS_MIN, SECONDS_MAX, &seconds))
		return EXIT_USAGE;
	if (!app_open(call, &engine))
		return EXIT_FAILED;
	if (cli_has(call, "watch"))
		return watch(call, &engine, seconds);
	if (look(call, &engine, &stats, &e) < 0)
		return app_fail(call, &e);
	return print_once(call, &stats);
}
