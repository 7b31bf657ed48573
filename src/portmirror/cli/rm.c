/* SPDX-License-Identifier: MIT */
/* portmirror rm: forget sessions and put back what they changed. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "portmirror/cli/app.h"
#include "portmirror/ours.h"

/* A name without a file may still have kernel state: its file was removed by hand. */
static bool known(const struct engine *engine, const struct sessions *sessions,
		  const struct view *view, const char *name)
{
	uint8_t cookie[TC_COOKIE];

	if (sessions_find(sessions, name))
		return true;
	ours_cookie(engine->store.house, name, cookie);
	for (size_t i = 0; i < view->host.actions.count; i++)
		if (ours_somewhere(&view->host.actions.items[i]) &&
		    memcmp(view->host.actions.items[i].cookie, cookie, TC_COOKIE) == 0)
			return true;
	return false;
}

static bool all_known(const struct cli_call *call, const struct engine *engine,
		      const struct sessions *sessions, const struct view *view)
{
	bool all = true;

	for (size_t i = 0; i < call->nargs; i++) {
		if (known(engine, sessions, view, call->args[i]))
			continue;
		cli_complain(call, "there is no session named %s; nothing was changed",
			     call->args[i]);
		all = false;
	}
	return all;
}

/* Whether this one is to go. */
static bool named(const struct cli_call *call, const char *name)
{
	if (cli_has(call, "all"))
		return true;
	for (size_t i = 0; i < call->nargs; i++)
		if (strcmp(call->args[i], name) == 0)
			return true;
	return false;
}

/* Drops them from the sessions, and their files unless dry. The number dropped, or -1. */
static long drop(const struct cli_call *call, const struct engine *engine,
		 struct sessions *sessions, bool dry)
{
	long dropped = 0;

	for (size_t i = 0; i < sessions->count;) {
		const struct session *s = &sessions->items[i].session;
		struct err e = {0};
		int r = 0;

		if (!named(call, s->name)) {
			i++;
			continue;
		}
		if (!dry)
			r = store_remove(&engine->store, s, &e);
		if (r < 0 && r != -ENOENT) {
			app_fail(call, &e);
			return -1;
		}
		sessions_drop(sessions, s->name);
		dropped++;
	}
	return dropped;
}

static int report(const struct cli_call *call, const struct outcome *outcome, long dropped)
{
	bool bad = outcome->nrefusals > 0;

	for (size_t i = 0; i < outcome->nrefusals; i++)
		cli_complain(call, "%s", outcome->refusals[i].text);
	if (app_json(call)) {
		int r = app_print_json(
			call,
			json_pack("{s:I, s:o}", "removed", (json_int_t)dropped, "done",
				  app_ops(&outcome->view.plan, outcome->done, outcome->ndone)));

		return bad ? EXIT_FAILED : r;
	}
	printf("%ld session%s removed\n", dropped, dropped == 1 ? "" : "s");
	return bad ? EXIT_FAILED : EXIT_OK;
}

static int dry_run(const struct cli_call *call, struct engine *engine, struct sessions *sessions)
{
	struct view view cleanup(view_free) = {0};
	struct err e = {0};

	if (drop(call, engine, sessions, true) < 0)
		return EXIT_FAILED;
	if (engine_look(engine, sessions, NULL, &view, &e) < 0)
		return app_fail(call, &e);
	if (app_json(call))
		return app_print_json(
			call, json_pack("{s:o}", "planned",
					app_ops(&view.plan, view.plan.ops, view.plan.nops)));
	app_print_ops(&view.plan, view.plan.ops, view.plan.nops, "would ");
	return EXIT_OK;
}

static int remove_them(const struct cli_call *call, struct engine *engine,
		       struct sessions *sessions)
{
	struct outcome outcome cleanup(outcome_free) = {0};
	struct err e = {0};
	long dropped;

	if (!cli_has(call, "all")) {
		struct view view cleanup(view_free) = {0};

		if (engine_look(engine, sessions, NULL, &view, &e) < 0)
			return app_fail(call, &e);
		if (!all_known(call, engine, sessions, &view))
			return EXIT_FAILED;
	}
	if (cli_has(call, "dry-run"))
		return dry_run(call, engine, sessions);
	dropped = drop(call, engine, sessions, false);
	if (dropped < 0)
		return EXIT_FAILED;
	if (engine_apply(engine, sessions, NULL, NULL, &outcome, &e) < 0)
		return app_fail(call, &e);
	return report(call, &outcome, dropped);
}

int verb_rm(const struct cli_call *call)
{
	struct engine engine cleanup(engine_close) = {0};
	struct sessions sessions cleanup(sessions_free) = {0};
	int lock cleanup(fd_close_at) = -1;

	if (cli_has(call, "all") != (call->nargs == 0))
		return cli_misused(call, cli_has(call, "all")
						 ? "either names or --all, not both"
						 : "name the sessions to remove, or say --all");
	if (!app_open(call, &engine))
		return EXIT_FAILED;
	lock = app_lock(call, &engine);
	if (lock < 0 || !app_load(call, &engine, &sessions))
		return EXIT_FAILED;
	return remove_them(call, &engine, &sessions);
}
