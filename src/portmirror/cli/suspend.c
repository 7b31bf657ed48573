/* SPDX-License-Identifier: MIT */
/* portmirror bypass and restore: a session stays saved, and copies nothing meanwhile. */
#include "base/mem.h"
#include "portmirror/cli/app.h"
#include "portmirror/edit.h"

static int suspend(const struct cli_call *call, bool suspended)
{
	struct engine engine cleanup(engine_close) = {0};
	struct sessions sessions cleanup(sessions_free) = {0};
	struct outcome outcome cleanup(outcome_free) = {0};
	struct edit edit = {.dry = cli_has(call, "dry-run")};
	int lock cleanup(fd_close_at) = -1;
	struct err e = {0};
	int r;

	if (!app_open(call, &engine))
		return EXIT_FAILED;
	lock = app_lock(call, &engine);
	if (lock < 0 || !app_load(call, &engine, &sessions))
		return EXIT_FAILED;
	r = edit_suspend(&engine, &sessions, call->args[0], suspended, &edit, &outcome, &e);
	app_unlock(&lock);
	if (r < 0)
		return app_fail(call, &e);
	return edit.dry ? app_print_plan(call, &outcome.view.plan)
			: app_report(call, &outcome, call->args[0]);
}

int verb_bypass(const struct cli_call *call)
{
	return suspend(call, true);
}

int verb_restore(const struct cli_call *call)
{
	return suspend(call, false);
}
