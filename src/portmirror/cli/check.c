/* SPDX-License-Identifier: MIT */
/* portmirror check: the proof that a session's copies are complete, frame by frame. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/sig.h"
#include "base/term.h"
#include "portmirror/cli/app.h"
#include "portmirror/proof.h"

enum {
	PROBES = 100, /* out of each source */
	FEW = 10,     /* frames that prove little */
};

/* What a check is about, and what came of it. */
struct check {
	const struct cli_call *call;
	const struct view *view;
	const struct session_state *st;
	const struct nl_link *to;
	double seconds;
	bool probe;
	int signals; /* those that end it early; negative: none */
	bool ended;  /* one came */
	bool shown;  /* there is progress on the terminal */
	struct proof_result result;
};

static const char *grouped(char text[32], uint64_t n)
{
	char digits[24];
	size_t len = (size_t)snprintf(digits, sizeof(digits), "%" PRIu64, n), at = 0;

	for (size_t i = 0; i < len; i++) {
		if (i > 0 && (len - i) % 3 == 0)
			text[at++] = ',';
		text[at++] = digits[i];
	}
	text[at] = '\0';
	return text;
}

static const char *port_name(const struct check *c, size_t source)
{
	const struct nl_link *link =
		nl_link_by_index(&c->view->host.links, c->st->from.items[source]);

	return link ? link->name : "?";
}

static bool progress(double share, const struct proof_counts *settled, void *data)
{
	struct check *c = data;
	char frames[32], lost[32];

	if (isatty(STDERR_FILENO)) {
		c->shown = true;
		fprintf(stderr,
			"\r\033[Kchecking %s: %u of %g s, %s frames compared, %s lost (Ctrl-C "
			"ends it here) ",
			c->st->session->name, (unsigned)(share * c->seconds), c->seconds,
			grouped(frames, settled->expected), grouped(lost, settled->lost));
	}
	if (c->signals >= 0 && sig_wait(c->signals, 0) != 0)
		c->ended = true;
	return !c->ended;
}

/* Why the session can't be checked as it stands; empty: it can. */
static void objection(const struct session_state *st, struct buf *why)
{
	enum state state = app_state(st);
	const char *reasons = st->reasons ? st->reasons : "";

	if (state == STATE_WHOLE)
		return;
	buf_fmt(why, "%s is %s", st->session->name, state_name(state));
	if (*reasons)
		buf_fmt(why, ": %.*s", (int)strcspn(reasons, "\n"), reasons);
	else
		buf_str(why, ": the kernel differs from what is saved; portmirror apply mends it");
	buf_str(why, "; only a session that is whole can be checked");
}

/* The direction asked for that showed no frame; 0: none. */
static unsigned missing(const struct check *c)
{
	unsigned seen = 0;

	for (size_t i = 0; i < c->result.nsources; i++) {
		seen |= c->result.sources[i].sent > 0 ? DIRECTION_SENT : 0;
		seen |= c->result.sources[i].received > 0 ? DIRECTION_RECEIVED : 0;
	}
	return c->st->session->direction & ~seen;
}

static void advise_traffic(const struct check *c, struct buf *b)
{
	if (!c->probe && (missing(c) & DIRECTION_RECEIVED))
		buf_fmt(b, "let there be traffic, or: portmirror check %s --probe",
			c->st->session->name);
	else if (c->probe && (missing(c) & DIRECTION_RECEIVED))
		buf_fmt(b,
			"the session's filter lets no probe through (EtherType 0x88b5): let there "
			"be traffic that it takes");
	else
		buf_fmt(b, "let the mirrored machines send something meanwhile%s",
			c->probe ? ": probes only show what machines receive" : "");
}

/* What to do about it; empty: nothing. */
static void advise(const struct check *c, struct buf *b)
{
	const struct proof_result *r = &c->result;

	switch (r->verdict) {
	case PROOF_WHOLE:
		if (r->counts.expected < FEW)
			buf_fmt(b, "that is little traffic to prove anything; --seconds N looks "
				   "longer, --probe sends frames of its own");
		break;
	case PROOF_BROKEN:
		if (r->dropped > 0)
			buf_fmt(b,
				"its reader is too slow, or its queue too short: ip link set dev "
				"%s txqueuelen %u",
				c->to->name,
				c->to->tx_queue_len < 1000 ? 1000 : c->to->tx_queue_len * 10);
		else
			buf_str(b, "what on this host may be the cause: portmirror doctor");
		break;
	case PROOF_BLIND:
		buf_str(b, "look again when there is less traffic, or at fewer sources at a time");
		break;
	case PROOF_NOTHING:
		advise_traffic(c, b);
		break;
	}
}

/* The verdict in one sentence. */
static void judge(const struct check *c, struct buf *b)
{
	const struct proof_result *r = &c->result;
	char frames[32];

	if (r->verdict == PROOF_WHOLE && r->counts.expected == 1)
		buf_str(b, "the one frame was copied once");
	else if (r->verdict == PROOF_WHOLE)
		buf_fmt(b, "every one of %s frames was copied once",
			grouped(frames, r->counts.expected));
	else
		buf_str(b, r->why);
}

static json_t *sources_array(const struct check *c)
{
	json_t *list = json_array();

	for (size_t i = 0; list && i < c->result.nsources; i++) {
		const struct proof_source_result *s = &c->result.sources[i];

		json_array_append_new(list, json_pack("{s:s, s:I, s:I, s:I, s:I}", "port",
						      port_name(c, i), "sent", (json_int_t)s->sent,
						      "received", (json_int_t)s->received, "bytes",
						      (json_int_t)s->bytes, "unseen",
						      (json_int_t)s->unseen));
	}
	return list;
}

static json_t *counts_object(const struct proof_counts *n)
{
	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "expected", (json_int_t)n->expected,
			 "copied", (json_int_t)n->copied, "lost", (json_int_t)n->lost, "doubled",
			 (json_int_t)n->doubled, "altered", (json_int_t)n->altered, "unseen",
			 (json_int_t)n->unseen, "other", (json_int_t)n->other);
}

static int print_json(const struct check *c)
{
	const struct proof_result *r = &c->result;
	struct buf sentence cleanup(buf_free) = {0};
	struct buf advice cleanup(buf_free) = {0};

	judge(c, &sentence);
	advise(c, &advice);
	return app_print_json(
		c->call,
		json_pack("{s:s, s:s, s:s, s:s?, s:b, s:f, s:f, s:f, s:I, s:b, s:o, s:o, s:{s:s, "
			  "s:I, s:I}}",
			  "session", c->st->session->name, "verdict",
			  proof_verdict_name(r->verdict), "reason", buf_text(&sentence), "advice",
			  advice.len ? buf_text(&advice) : NULL, "ended_early", c->ended, "seconds",
			  r->seconds, "frames_per_second", r->frames_per_second, "bits_per_second",
			  r->bits_per_second, "probes", (json_int_t)r->probes, "as_segments",
			  r->as_segments, "frames", counts_object(&r->counts), "sources",
			  sources_array(c), "destination", "port", c->to->name, "dropped",
			  (json_int_t)r->dropped, "unseen", (json_int_t)r->unseen_at_destination));
}

static int print_sources(const struct check *c)
{
	static const char *const titles[] = {"SOURCE", ">SENT",	  ">RECEIVED",
					     ">BYTES", ">UNSEEN", NULL};
	struct table *t cleanup(table_free_at) = table_new(titles);
	unsigned direction = c->st->session->direction;
	char text[32];

	for (size_t i = 0; i < c->result.nsources; i++) {
		const struct proof_source_result *s = &c->result.sources[i];

		table_cell(t, PAINT_BOLD, "%s", port_name(c, i));
		table_cell(t, PAINT_NONE, "%s",
			   direction & DIRECTION_SENT ? grouped(text, s->sent) : "-");
		table_cell(t, PAINT_NONE, "%s",
			   direction & DIRECTION_RECEIVED ? grouped(text, s->received) : "-");
		table_cell(t, PAINT_NONE, "%s", human_count(text, (double)s->bytes, "B"));
		table_cell(t, s->unseen ? PAINT_YELLOW : PAINT_NONE, "%s",
			   grouped(text, s->unseen));
	}
	return table_print(t, stdout);
}

static int print_counts(const struct check *c)
{
	static const char *const titles[] = {"FRAMES", ">NUMBER", "MEANING", NULL};
	const struct proof_counts *n = &c->result.counts;
	const struct {
		const char *name;
		uint64_t number;
		enum paint paint; /* where there are any */
		const char *meaning;
	} rows[] = {
		{"expected", n->expected, PAINT_NONE, "seen at the sources, each once"},
		{"copied", n->copied, PAINT_GREEN, "once, and whole"},
		{"lost", n->lost, PAINT_RED, "not seen at the destination"},
		{"doubled", n->doubled, PAINT_RED, "copies beyond the first"},
		{"altered", n->altered, PAINT_RED, "copies with a changed byte or tag, or cut"},
		{"unseen", n->unseen, PAINT_YELLOW, "more than could be looked at"},
		{"other", n->other, PAINT_NONE, "at the destination, from none of the sources"},
		{"dropped", c->result.dropped, PAINT_RED, "by the destination's driver"},
	};
	struct table *t cleanup(table_free_at) = table_new(titles);
	char text[32];

	for (size_t i = 0; i < COUNT(rows); i++) {
		enum paint paint = rows[i].number > 0 ? rows[i].paint : PAINT_NONE;

		table_cell(t, PAINT_NONE, "%s", rows[i].name);
		table_cell(t, paint, "%s", grouped(text, rows[i].number));
		table_cell(t, PAINT_DIM, "%s", rows[i].meaning);
	}
	return table_print(t, stdout);
}

static int print_proof(const struct check *c)
{
	static const enum paint paints[] = {PAINT_GREEN, PAINT_RED, PAINT_YELLOW, PAINT_YELLOW};
	const struct proof_result *r = &c->result;
	struct buf sentence cleanup(buf_free) = {0};
	struct buf advice cleanup(buf_free) = {0};
	bool colour = term_colour(stdout);
	char frames[16], bits[16], text[32];

	printf("%s to %s: %.1f s%s, %s frames/s, %s\n", c->st->session->name, c->to->name,
	       r->seconds, c->ended ? " (ended early)" : "",
	       human_count(frames, r->frames_per_second, ""),
	       human_count(bits, r->bits_per_second, "bit/s"));
	if (r->probes > 0)
		printf("%s of the frames are probes of this check\n", grouped(text, r->probes));
	if (r->as_segments)
		printf("TCP super-frames were compared as the segments that they stand for\n");
	printf("\n");
	if (print_sources(c) < 0)
		return -ENOMEM;
	printf("\n");
	if (print_counts(c) < 0)
		return -ENOMEM;
	judge(c, &sentence);
	advise(c, &advice);
	printf("\n%s%s%s: %s\n", term_on(paints[r->verdict], colour),
	       proof_verdict_name(r->verdict), term_off(colour), buf_text(&sentence));
	if (advice.len > 0)
		printf("%s\n", buf_text(&advice));
	return 0;
}

static int measure(struct check *c, struct err *e)
{
	const struct ifindexes *from = &c->st->from;
	const struct bytecode *filter = &c->view->filters[c->st - c->view->plan.states];
	struct proof_source *sources cleanup(free_at) = calloc(from->count + 1, sizeof(*sources));
	struct proof_request request = {
		.sources = sources,
		.nsources = from->count,
		.to_ifindex = c->to->index,
		.code = filter->code,
		.ncode = filter->count,
		.seconds = c->seconds,
		.probes = c->probe ? PROBES : 0,
		.progress = progress,
		.data = c,
	};
	int r;

	if (!sources)
		return err_set(e, -ENOMEM, "out of memory");
	for (size_t i = 0; i < from->count; i++)
		sources[i] = (struct proof_source){from->items[i], c->st->session->direction};
	c->signals = sig_watch();
	r = proof_run(&request, &c->result, e);
	if (c->shown)
		fprintf(stderr, "\r\033[K");
	return r;
}

static int check(struct check *c)
{
	struct err e = {0};
	int r = measure(c, &e);

	if (r < 0)
		return app_fail(c->call, &e);
	if (app_json(c->call)) {
		r = print_json(c);
		return r == EXIT_OK && c->result.verdict != PROOF_WHOLE ? EXIT_FAILED : r;
	}
	if (print_proof(c) < 0) {
		cli_complain(c->call, "out of memory");
		return EXIT_FAILED;
	}
	return c->result.verdict == PROOF_WHOLE ? EXIT_OK : EXIT_FAILED;
}

/* The session's state, if it can be checked; NULL: it said why not. */
static const struct session_state *find(const struct cli_call *call, const struct view *view)
{
	const struct session_state *st = plan_state(&view->plan, call->args[0]);
	struct buf why cleanup(buf_free) = {0};

	if (!st) {
		cli_complain(call, "there is no session named %s", call->args[0]);
		return NULL;
	}
	objection(st, &why);
	if (why.len > 0)
		cli_complain(call, "%s", buf_text(&why));
	return why.len > 0 ? NULL : st;
}

int verb_check(const struct cli_call *call)
{
	struct engine engine cleanup(engine_close) = {0};
	struct sessions sessions cleanup(sessions_free) = {0};
	struct view view cleanup(view_free) = {0};
	struct check c = {.call = call,
			  .view = &view,
			  .seconds = 5,
			  .signals = -1,
			  .probe = cli_has(call, "probe")};
	struct err e = {0};
	int r;

	if (!app_seconds(call, "seconds", 0.1, PROOF_SECONDS_MAX, &c.seconds))
		return EXIT_USAGE;
	if (!app_open(call, &engine) || !app_load(call, &engine, &sessions))
		return EXIT_FAILED;
	if (engine_look(&engine, &sessions, NULL, &view, &e) < 0)
		return app_fail(call, &e);
	c.st = find(call, &view);
	if (!c.st)
		return EXIT_FAILED;
	c.to = nl_link_by_index(&view.host.links, c.st->to_ifindex);
	if (!c.to) {
		cli_complain(call, "the destination %s is not there", c.st->session->to.text);
		return EXIT_FAILED;
	}
	r = check(&c);
	proof_result_free(&c.result);
	fd_close_at(&c.signals);
	return r;
}
