/* SPDX-License-Identifier: MIT */
/* portmirror rm: forget sessions and put back what they changed. */
#include "base/mem.h"
#include "portmirror/cli/app.h"
#include "portmirror/edit.h"

static int report(const struct cli_call *call, const struct outcome *outcome, size_t removed)
{
	bool bad = outcome->nrefusals > 0;

	app_end_progress();
	for (size_t i = 0; i < outcome->nrefusals; i++)
		cli_complain(call, "%s", outcome->refusals[i].text);
	if (app_json(call)) {
		int r = app_print_json(
			call,
			json_pack("{s:I, s:o}", "removed", (json_int_t)removed, "done",
				  app_ops(&outcome->view.plan, outcome->done, outcome->ndone)));

		return bad ? EXIT_FAILED : r;
	}
	printf("%zu session%s removed\n", removed, removed == 1 ? "" : "s");
	return bad ? EXIT_FAILED : EXIT_OK;
}

int verb_rm(const struct cli_call *call)
{
	struct engine engine cleanup(engine_close) = {0};
	struct sessions sessions cleanup(sessions_free) = {0};
	struct outcome outcome cleanup(outcome_free) = {0};
	struct edit edit = {.dry = cli_has(call, "dry-run")};
	int lock cleanup(fd_close_at) = -1;
	size_t removed = 0;
	struct err e = {0};
	int r;

	if (cli_has(call, "all") != (call->nargs == 0))
		return cli_misused(call, cli_has(call, "all")
						 ? "either names or --all, not both"
						 : "name the sessions to remove, or say --all");
	if (!app_open(call, &engine))
		return EXIT_FAILED;
	lock = app_lock(call, &engine);
	if (lock < 0 || !app_load(call, &engine, &sessions))
		return EXIT_FAILED;
	r = edit_remove(&engine, &sessions, call->args, call->nargs, &edit, &removed, &outcome, &e);
	app_unlock(&lock);
	if (r < 0)
		return app_fail(call, &e);
	return edit.dry ? app_print_plan(call, &outcome.view.plan)
			: report(call, &outcome, removed);
}
