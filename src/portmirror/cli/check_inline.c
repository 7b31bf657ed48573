/* SPDX-License-Identifier: MIT */
/* portmirror check, of an in-line session: probes through the appliance, in both directions. */
#include <string.h>

#include "base/mem.h"
#include "base/sig.h"
#include "base/term.h"
#include "portmirror/cli/app.h"
#include "portmirror/inliner.h"
#include "portmirror/inliner_probe.h"

enum { INTERVAL_MS = 20, WAIT_MS = 500 };

static int signals = -1;

static bool going_on(void)
{
	return signals < 0 || sig_wait(signals, 0) == 0;
}

static json_t *way_object(const struct inliner_trial *trial, enum inline_way way)
{
	return json_pack("{s:i, s:i, s:f}", "sent", (int)trial->sent, "came", (int)trial->came[way],
			 "longest_ms", (double)trial->longest[way] / 1e6);
}

static bool whole(const struct inliner_trial *trial)
{
	return trial->sent > 0 && trial->came[INLINE_OUTWARD] >= trial->sent &&
	       trial->came[INLINE_INWARD] >= trial->sent;
}

static const char *sentence(const struct inliner_trial *trial)
{
	if (whole(trial))
		return "every probe came through the appliance, in both directions";
	if (trial->came[INLINE_OUTWARD] == 0 && trial->came[INLINE_INWARD] == 0)
		return "no probe came through the appliance: does it run, and let EtherType 0x88b5 "
		       "through?";
	return "the appliance lost probes";
}

static int print_json(const struct cli_call *call, const struct session_state *st,
		      const struct inliner_trial *trial)
{
	json_t *probes = json_pack("{s:o, s:o}", "outward", way_object(trial, INLINE_OUTWARD),
				   "inward", way_object(trial, INLINE_INWARD));

	return app_print_json(call,
			      json_pack("{s:s, s:s, s:s, s:b, s:o}", "session", st->session->name,
					"verdict", whole(trial) ? "whole" : "broken", "reason",
					sentence(trial), "learns", inliner_learns(trial), "probes",
					probes));
}

static int print_table(const struct view *view, const struct session_state *st,
		       const struct inliner_trial *trial)
{
	static const char *const titles[] = {"WAY", ">SENT", ">CAME", ">LONGEST", NULL};
	const struct nl_link *ports[SIDES];
	struct table *t cleanup(table_free_at) = table_new(titles);

	for (int side = 0; side < SIDES; side++)
		ports[side] = nl_link_by_index(&view->host.links, st->through[side]);
	for (int way = 0; way < INLINE_LEARNING; way++) {
		const struct nl_link *from = ports[way == INLINE_INWARD];
		const struct nl_link *to = ports[way != INLINE_INWARD];

		table_cell(t, PAINT_BOLD, "%s to %s", from ? from->name : "?", to ? to->name : "?");
		table_cell(t, PAINT_NONE, "%u", trial->sent);
		table_cell(t, trial->came[way] < trial->sent ? PAINT_RED : PAINT_NONE, "%u",
			   trial->came[way]);
		table_cell(t, PAINT_NONE, "%.2f ms", (double)trial->longest[way] / 1e6);
	}
	return table_print(t, stdout);
}

int app_check_inline(const struct cli_call *call, const struct engine *engine,
		     const struct view *view, const struct session_state *st, double seconds)
{
	const char *reasons = st->reasons ? st->reasons : "portmirror apply";
	struct inliner_trial trial;
	struct err e = {0};
	int r;

	if (!host_inliner(&view->host, st->session->name) || st->held) {
		cli_complain(call, "%s is not carried out: %.*s", st->session->name,
			     (int)strcspn(reasons, "\n"), reasons);
		return EXIT_FAILED;
	}
	/* The appliance may be well, and a guarded port be none that it has the frames of. */
	if (st->reasons)
		app_complain_lines(call, st->session->name, st->reasons);
	signals = sig_watch();
	r = inliner_try(engine->house, st->session->name, (unsigned)(seconds * 1000 / INTERVAL_MS),
			INTERVAL_MS, WAIT_MS, going_on, &trial, &e);
	fd_close_at(&signals);
	if (r < 0)
		return app_fail(call, &e);
	r = EXIT_OK;
	if (app_json(call)) {
		r = print_json(call, st, &trial);
	} else {
		if (print_table(view, st, &trial) < 0) {
			cli_complain(call, "out of memory");
			return EXIT_FAILED;
		}
		printf("\n%s: %s\n", whole(&trial) ? "whole" : "broken", sentence(&trial));
	}
	return whole(&trial) ? r : EXIT_FAILED;
}
