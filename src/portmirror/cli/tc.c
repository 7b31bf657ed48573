/* SPDX-License-Identifier: MIT */
/* portmirror tc: a session as commands that do the same. */
#include <string.h>

#include "base/mem.h"
#include "portmirror/cli/app.h"
#include "portmirror/script.h"

/* The alone plan of the session: whether it can be carried out. */
static bool plan_alone(const struct cli_call *call, struct engine *engine, struct view *view,
		       struct plan *plan)
{
	const struct session_state *st = plan_state(&view->plan, call->args[0]);
	struct err e = {0};

	if (!st) {
		cli_complain(call, "there is no session named %s", call->args[0]);
		return false;
	}
	if (script_possible(st->session, &e) < 0) {
		app_fail(call, &e);
		return false;
	}
	if (st->state == STATE_FAILED || st->to_ifindex == 0) {
		app_complain_lines(call, st->session->name, st->reasons);
		return false;
	}
	if (script_plan(view, call->args[0], engine->store.house, plan, &e) < 0) {
		app_fail(call, &e);
		return false;
	}
	st = &plan->states[0];
	if (st->reasons)
		app_complain_lines(call, st->session->name, st->reasons);
	return st->state != STATE_FAILED;
}

static int print_json(const struct cli_call *call, const struct script *script)
{
	json_t *commands = json_array();

	for (size_t i = 0; commands && i < script->count; i++)
		if (!script->lines[i].comment)
			json_array_append_new(commands, json_string(script->lines[i].text));
	return app_print_json(call, json_pack("{s:o, s:s?}", "commands", commands, "object",
					      script->object));
}

static void print_comment(const char *text)
{
	while (*text) {
		size_t len = strcspn(text, "\n");

		printf("# %.*s\n", (int)len, text);
		text += len + (text[len] == '\n');
	}
}

static void print_lines(const struct script *script)
{
	for (size_t i = 0; i < script->count; i++) {
		if (!script->lines[i].comment) {
			printf("%s\n", script->lines[i].text);
			continue;
		}
		if (i > 0)
			printf("\n");
		print_comment(script->lines[i].text);
	}
}

int verb_tc(const struct cli_call *call)
{
	struct engine engine cleanup(engine_close) = {0};
	struct sessions sessions cleanup(sessions_free) = {0};
	struct view view cleanup(view_free) = {0};
	struct plan plan cleanup(plan_free) = {0};
	struct script script cleanup(script_free) = {0};
	struct err e = {0};

	if (!app_open(call, &engine) || !app_load(call, &engine, &sessions))
		return EXIT_FAILED;
	if (engine_look(&engine, &sessions, NULL, &view, &e) < 0)
		return app_fail(call, &e);
	if (!plan_alone(call, &engine, &view, &plan))
		return EXIT_FAILED;
	if (script_make(&plan, &script, &e) < 0)
		return app_fail(call, &e);
	if (app_json(call))
		return print_json(call, &script);
	print_lines(&script);
	return EXIT_OK;
}
