/* SPDX-License-Identifier: MIT */
/* portmirror add: save a session and carry it out, or change nothing at all. */
#include <errno.h>
#include <string.h>

#include "base/mem.h"
#include "data/json.h"
#include "portmirror/cli/app.h"

static int set(json_t *object, const char *key, const char *text)
{
	json_t *value;

	if (!text)
		return 0;
	value = json_string(text);
	/* jansson takes no text that isn't UTF-8; the rules for each attribute are session_read's
	 */
	return value ? json_object_set_new(object, key, value) : -EILSEQ;
}

/* The options as a mirror object, so that the command line and the files have the same rules. */
static int object_of(const struct cli_call *call, json_t *object)
{
	json_t *from = json_array();
	int r = from ? json_object_set(object, "from", from) : -ENOMEM;

	for (size_t i = 0; r == 0 && i < cli_count(call, "from"); i++) {
		json_t *text = json_string(cli_nth(call, "from", i));

		r = text ? json_array_append_new(from, text) : -EILSEQ;
	}
	json_decref(from);
	if (r == 0)
		r = set(object, "name", call->args[0]);
	if (r == 0)
		r = set(object, "to", cli_get(call, "to"));
	if (r == 0)
		r = set(object, "direction", cli_get(call, "direction"));
	if (r == 0)
		r = set(object, "filter", cli_get(call, "filter"));
	if (r == 0)
		r = set(object, "attach", cli_get(call, "attach"));
	if (r == 0 && cli_has(call, "isolate"))
		r = json_object_set_new(object, "isolate", json_true());
	if (r == 0 && cli_has(call, "runtime"))
		r = json_object_set_new(object, "runtime", json_true());
	return r;
}

static int read_options(const struct cli_call *call, struct session *session)
{
	json_t *object cleanup(json_free_at) = json_object();
	struct bytecode code cleanup(bytecode_free) = {0};
	char field[SESSION_FIELD];
	struct err e = {0};
	int r = object ? object_of(call, object) : -ENOMEM;

	if (r == -EILSEQ)
		return cli_misused(call, "an argument is not UTF-8 text");
	if (r < 0) {
		cli_complain(call, "out of memory");
		return EXIT_FAILED;
	}
	if (cli_count(call, "from") == 0)
		return cli_misused(call, "--from is missing: what is to be mirrored?");
	if (!cli_has(call, "to"))
		return cli_misused(call, "--to is missing: where do the copies go?");
	if (session_read(object, NULL, session, field, &e) < 0)
		return cli_misused(call, "%s", e.text);
	if (filter_compile(session->filter, &code, &e) < 0) {
		session_free(session);
		return e.code == -EINVAL ? cli_misused(call, "filter: %s", e.text)
					 : app_fail(call, &e);
	}
	return EXIT_OK;
}

/* Why the session can't be added as things stand; NULL: it can. */
static const char *objection(const struct cli_call *call, const struct session_state *st)
{
	if (st->state == STATE_FAILED || st->stuck)
		return st->reasons;
	if (cli_has(call, "strict") && st->waiting > 0)
		return st->reasons;
	return NULL;
}

static int print_plan(const struct cli_call *call, const struct view *view)
{
	const struct plan *plan = &view->plan;

	if (app_json(call))
		return app_print_json(call, json_pack("{s:o}", "planned",
						      app_ops(plan, plan->ops, plan->nops)));
	app_print_ops(plan, plan->ops, plan->nops, "would ");
	if (plan->nops == 0)
		printf("nothing would change in the kernel\n");
	return EXIT_OK;
}

/* Takes everything back. */
static void undo(const struct cli_call *call, struct engine *engine, struct sessions *sessions,
		 const char *name)
{
	struct outcome outcome cleanup(outcome_free) = {0};
	struct saved *saved = sessions_find(sessions, name);
	struct err e = {0};

	if (saved && store_remove(&engine->store, &saved->session, &e) < 0)
		app_fail(call, &e);
	sessions_drop(sessions, name);
	if (engine_apply(engine, sessions, NULL, NULL, &outcome, &e) < 0)
		app_fail(call, &e);
}

static int report(const struct cli_call *call, const struct outcome *outcome, const char *name)
{
	const struct session_state *st = plan_state(&outcome->view.plan, name);
	const struct nl_link *to;

	app_complain_states(call, outcome, NULL);
	if (!st)
		return EXIT_FAILED;
	if (app_json(call))
		return app_print_json(
			call,
			json_pack("{s:o, s:o}", "session", app_session_object(&outcome->view, st),
				  "done",
				  app_ops(&outcome->view.plan, outcome->done, outcome->ndone)));
	to = nl_link_by_index(&outcome->view.host.links, st->to_ifindex);
	printf("%s: %s", name, state_name(app_state(st)));
	if (to && st->from.count > 0)
		printf(", %zu port%s mirrored to %s", st->from.count,
		       st->from.count == 1 ? "" : "s", to->name);
	printf("\n");
	return EXIT_OK;
}

static int carry_out(const struct cli_call *call, struct engine *engine, struct sessions *sessions,
		     const char *name, struct view *first)
{
	struct outcome outcome cleanup(outcome_free) = {0};
	const struct session_state *st;
	const char *refusal;
	struct err e = {0};

	if (store_save(&engine->store, &sessions_find(sessions, name)->session, &e) < 0)
		return app_fail(call, &e);
	if (engine_apply(engine, sessions, name, first, &outcome, &e) < 0) {
		app_fail(call, &e);
		undo(call, engine, sessions, name);
		return EXIT_FAILED;
	}
	refusal = outcome_refusal(&outcome, name);
	st = plan_state(&outcome.view.plan, name);
	if (!refusal && st && objection(call, st))
		refusal = st->reasons;
	if (refusal) {
		cli_complain(call, "%s: %s; nothing was changed", name, refusal);
		outcome_free(&outcome);
		undo(call, engine, sessions, name);
		return EXIT_FAILED;
	}
	return report(call, &outcome, name);
}

static int add(const struct cli_call *call, struct engine *engine, struct sessions *sessions,
	       struct session *session)
{
	char name[SESSION_NAME_MAX + 1];
	const struct session_state *st;
	struct view view cleanup(view_free) = {0};
	const char *why;
	struct err e = {0};

	memcpy(name, session->name, sizeof(name));
	if (sessions_find(sessions, name)) {
		cli_complain(call,
			     "there is a session named %s already; remove it first: "
			     "portmirror rm %s",
			     name, name);
		return EXIT_FAILED;
	}
	if (sessions_put(sessions, session) < 0) {
		cli_complain(call, "out of memory");
		return EXIT_FAILED;
	}
	if (engine_look(engine, sessions, name, &view, &e) < 0)
		return app_fail(call, &e);
	st = plan_state(&view.plan, name);
	why = st ? objection(call, st) : NULL;
	if (why) {
		cli_complain(call, "%s: %.*s; nothing was changed", name, (int)strcspn(why, "\n"),
			     why);
		return EXIT_FAILED;
	}
	if (cli_has(call, "dry-run"))
		return print_plan(call, &view);
	return carry_out(call, engine, sessions, name, &view);
}

int verb_add(const struct cli_call *call)
{
	struct engine engine cleanup(engine_close) = {0};
	struct sessions sessions cleanup(sessions_free) = {0};
	struct session session cleanup(session_free) = {0};
	int lock cleanup(fd_close_at) = -1;
	int r = read_options(call, &session);

	if (r != EXIT_OK)
		return r;
	if (!app_open(call, &engine))
		return EXIT_FAILED;
	lock = app_lock(call, &engine);
	if (lock < 0 || !app_load(call, &engine, &sessions))
		return EXIT_FAILED;
	return add(call, &engine, &sessions, &session);
}
