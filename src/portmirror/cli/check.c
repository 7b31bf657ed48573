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
#include "portmirror/proof_check.h"

/* What a check is about, and what came of it. */
struct check {
	const struct cli_call *call;
	struct proof_check proof;
	int signals; /* those that end it early; negative: none */
	bool shown;  /* there is progress on the terminal */
};

static bool progress(double share, const struct proof_counts *settled, void *data)
{
	struct check *c = data;
	char frames[32], lost[32];

	if (isatty(STDERR_FILENO)) {
		c->shown = true;
		fprintf(stderr,
			"\r\033[Kchecking %s: %u of %g s, %s frames compared, %s lost (Ctrl-C "
			"ends it here) ",
			c->proof.st->session->name, (unsigned)(share * c->proof.seconds),
			c->proof.seconds, proof_grouped(frames, settled->expected),
			proof_grouped(lost, settled->lost));
	}
	if (c->signals >= 0 && sig_wait(c->signals, 0) != 0)
		c->proof.ended = true;
	return !c->proof.ended;
}

static int print_sources(const struct check *c)
{
	static const char *const titles[] = {"SOURCE", ">SENT",	  ">RECEIVED",
					     ">BYTES", ">UNSEEN", NULL};
	struct table *t cleanup(table_free_at) = table_new(titles);
	unsigned direction = c->proof.st->session->direction;
	char text[32];

	for (size_t i = 0; i < c->proof.result.nsources; i++) {
		const struct proof_source_result *s = &c->proof.result.sources[i];

		table_cell(t, PAINT_BOLD, "%s", proof_check_port(&c->proof, i));
		table_cell(t, PAINT_NONE, "%s",
			   direction & DIRECTION_SENT ? proof_grouped(text, s->sent) : "-");
		table_cell(t, PAINT_NONE, "%s",
			   direction & DIRECTION_RECEIVED ? proof_grouped(text, s->received) : "-");
		table_cell(t, PAINT_NONE, "%s", human_count(text, (double)s->bytes, "B"));
		table_cell(t, s->unseen ? PAINT_YELLOW : PAINT_NONE, "%s",
			   proof_grouped(text, s->unseen));
	}
	return table_print(t, stdout);
}

/* Where there are several. With balance they are looked at together. */
static int print_destinations(const struct check *c)
{
	static const char *const titles[] = {"DESTINATION", ">SEEN",   ">LOST",	   ">DOUBLED",
					     ">ALTERED",    ">UNSEEN", ">DROPPED", NULL};
	struct table *t cleanup(table_free_at) = table_new(titles);
	const struct proof_promise *promise = &c->proof.result.promise;
	char text[32];

	for (size_t i = 0; i < c->proof.nto; i++) {
		const struct proof_destination_result *d = &c->proof.result.destinations[i];
		const struct {
			uint64_t number;
			bool told;
			enum paint paint;
		} cells[] = {
			{d->seen, true, PAINT_NONE},
			{d->counts.lost,
			 !promise->balance && (!promise->partial || promise->same_part), PAINT_RED},
			{d->counts.doubled, !promise->balance, PAINT_RED},
			{d->counts.altered, !promise->balance, PAINT_RED},
			{d->unseen, true, PAINT_YELLOW},
			{d->dropped, true, PAINT_RED},
		};

		table_cell(t, PAINT_BOLD, "%s", c->proof.to[i]->name);
		for (size_t j = 0; j < COUNT(cells); j++)
			table_cell(t, cells[j].number ? cells[j].paint : PAINT_NONE, "%s",
				   cells[j].told ? proof_grouped(text, cells[j].number) : "-");
	}
	return table_print(t, stdout);
}

static uint64_t dropped(const struct check *c)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < c->proof.nto; i++)
		sum += c->proof.result.destinations[i].dropped;
	return sum;
}

struct row {
	const char *name, *meaning;
	uint64_t number;
	enum paint paint; /* where there are any */
	bool skipped;	  /* it has nothing to do with what this session promises */
};

static int print_rows(const struct row *rows, size_t count)
{
	static const char *const titles[] = {"FRAMES", ">NUMBER", "MEANING", NULL};
	struct table *t cleanup(table_free_at) = table_new(titles);
	char text[32];

	for (size_t i = 0; i < count; i++) {
		if (rows[i].skipped)
			continue;
		table_cell(t, PAINT_NONE, "%s", rows[i].name);
		table_cell(t, rows[i].number > 0 ? rows[i].paint : PAINT_NONE, "%s",
			   proof_grouped(text, rows[i].number));
		table_cell(t, PAINT_DIM, "%s", rows[i].meaning);
	}
	return table_print(t, stdout);
}

static int print_counts(const struct check *c)
{
	const struct proof_counts *n = &c->proof.result.counts;
	const struct proof_promise *p = &c->proof.result.promise;
	const char *expected = c->proof.nto > 1 && !p->balance
				       ? "seen at the sources, each once for each destination"
				       : "seen at the sources, each once";
	const char *copied = p->snap ? "once, as much as is to be copied" : "once, and whole";
	const char *altered = p->snap ? "copies with a changed byte or tag, too short or too long"
				      : "copies with a changed byte or tag, or cut";
	char share[48];

	snprintf(share, sizeof(share), "%.3g %% of those expected",
		 100 * proof_check_left_out(&c->proof));

	const struct row rows[] = {
		{"expected", expected, n->expected, PAINT_NONE, false},
		{"copied", copied, n->copied, PAINT_GREEN, false},
		{"left out", share, n->left_out, PAINT_NONE, !p->partial},
		{"lost", "not seen at the destination", n->lost, PAINT_RED,
		 p->partial && n->lost == 0},
		{"doubled", "copies beyond the first", n->doubled, PAINT_RED, false},
		{"altered", altered, n->altered, PAINT_RED, false},
		{"torn apart", "flows, not frames", n->split, PAINT_RED,
		 !p->balance && !p->whole_flows},
		{"unseen", "more than could be looked at", n->unseen, PAINT_YELLOW, false},
		{"other", "at the destination, from none of the sources", n->other, PAINT_NONE,
		 false},
		{"dropped", "by the destination's driver", dropped(c), PAINT_RED, false},
	};

	return print_rows(rows, COUNT(rows));
}

static void print_head(const struct check *c)
{
	const struct proof_result *r = &c->proof.result;
	char frames[16], bits[16], text[32];

	printf("%s to ", c->proof.st->session->name);
	for (size_t i = 0; i < c->proof.nto; i++)
		printf("%s%s", i > 0 ? ", " : "", c->proof.to[i]->name);
	printf(": %.1f s%s, %s frames/s, %s\n", r->seconds, c->proof.ended ? " (ended early)" : "",
	       human_count(frames, r->frames_per_second, ""),
	       human_count(bits, r->bits_per_second, "bit/s"));
	if (r->probes > 0)
		printf("%s of the frames are probes of this check\n",
		       proof_grouped(text, r->probes));
	if (r->as_segments)
		printf("TCP super-frames were compared as the segments that they stand for\n");
	if (c->proof.st->reasons) /* it is whole, but for that */
		printf("%s\n", c->proof.st->reasons);
	printf("\n");
}

static int print_tables(const struct check *c)
{
	int r = print_sources(c);

	printf("\n");
	if (r == 0 && c->proof.nto > 1) {
		r = print_destinations(c);
		printf("\n");
	}
	return r < 0 ? r : print_counts(c);
}

static int print_proof(const struct check *c)
{
	static const enum paint paints[] = {PAINT_GREEN, PAINT_RED, PAINT_YELLOW, PAINT_YELLOW};
	const struct proof_result *r = &c->proof.result;
	struct buf sentence cleanup(buf_free) = {0};
	struct buf advice cleanup(buf_free) = {0};
	bool colour = term_colour(stdout);

	proof_check_judge(&c->proof, &sentence);
	proof_check_advise(&c->proof, &advice);
	if (buf_status(&sentence) < 0 || buf_status(&advice) < 0)
		return -ENOMEM;
	print_head(c);
	if (print_tables(c) < 0)
		return -ENOMEM;
	printf("\n%s%s%s: %s\n", term_on(paints[r->verdict], colour),
	       proof_verdict_name(r->verdict), term_off(colour), buf_text(&sentence));
	if (advice.len > 0)
		printf("%s\n", buf_text(&advice));
	return 0;
}

static int check(struct check *c)
{
	struct err e = {0};
	int r;

	c->signals = sig_watch();
	r = proof_check_run(&c->proof, progress, c, &e);
	if (c->shown)
		fprintf(stderr, "\r\033[K");
	if (r < 0)
		return app_fail(c->call, &e);
	if (app_json(c->call)) {
		r = app_print_json(c->call, proof_check_object(&c->proof));
		return r == EXIT_OK && c->proof.result.verdict != PROOF_WHOLE ? EXIT_FAILED : r;
	}
	if (print_proof(c) < 0) {
		cli_complain(c->call, "out of memory");
		return EXIT_FAILED;
	}
	return c->proof.result.verdict == PROOF_WHOLE ? EXIT_OK : EXIT_FAILED;
}

int verb_check(const struct cli_call *call)
{
	struct engine engine cleanup(engine_close) = {0};
	struct sessions sessions cleanup(sessions_free) = {0};
	struct view view cleanup(view_free) = {0};
	struct check c = {
		.call = call,
		.proof = {.view = &view, .seconds = 5, .probe = cli_has(call, "probe")},
		.signals = -1,
	};
	const struct session_state *st;
	struct err e = {0};
	int r;

	if (!app_seconds(call, "seconds", 0.1, PROOF_SECONDS_MAX, &c.proof.seconds))
		return EXIT_USAGE;
	if (!app_open(call, &engine) || !app_load(call, &engine, &sessions))
		return EXIT_FAILED;
	if (engine_look(&engine, &sessions, NULL, &view, &e) < 0)
		return app_fail(call, &e);
	st = plan_state(&view.plan, call->args[0]);
	if (st && st->session->mode == MODE_INLINE)
		return app_check_inline(call, &engine, &view, st, c.proof.seconds);
	if (proof_check_find(&c.proof, call->args[0], &e) < 0)
		return app_fail(call, &e);
	r = check(&c);
	proof_check_free(&c.proof);
	fd_close_at(&c.signals);
	return r;
}
