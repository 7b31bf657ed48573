/* SPDX-License-Identifier: MIT */
/* portmirror apply and export: the sessions as files, and the kernel as the files say. */
#include <errno.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "data/json.h"
#include "data/yaml.h"
#include "portmirror/cli/app.h"

/* The sessions of a file or folder, if one is named. Without the lock: whoever writes them may be
 * slow. */
static bool read_given(const struct cli_call *call, struct sessions *given)
{
	struct filter_compiler compiler cleanup(filter_compiler_close) = {0};
	struct err e = {0};

	if (call->nargs == 0)
		return true;
	if (store_read_path(call->args[0], given, &e) < 0) {
		app_fail(call, &e);
		return false;
	}
	for (size_t i = 0; i < given->count; i++) {
		const struct session *s = &given->items[i].session;
		struct bytecode code cleanup(bytecode_free) = {0};

		if (filter_compile_by(&compiler, s->filter, &code, &e) < 0) {
			cli_complain(call, "%s: %s: filter: %s", store_called(call->args[0]),
				     s->name, e.text);
			return false;
		}
	}
	return true;
}

/* Takes them over into the saved ones; with save, on disk too. */
static bool take_over(const struct cli_call *call, const struct engine *engine,
		      struct sessions *given, struct sessions *sessions, bool save)
{
	struct err e = {0};

	for (size_t i = 0; i < given->count; i++) {
		const struct session *s = &given->items[i].session;
		const struct saved *old = sessions_find(sessions, s->name);

		if (old && old->session.runtime != s->runtime) {
			cli_complain(call,
				     "%s: a session of that name is saved %s; remove it first",
				     s->name,
				     old->session.runtime ? "for this boot only" : "for good");
			return false;
		}
	}
	for (size_t i = 0; i < given->count; i++) {
		struct session *s = &given->items[i].session;

		if (save && store_save(&engine->store, s, &e) < 0) {
			app_fail(call, &e);
			return false;
		}
		if (sessions_put(sessions, s) < 0) {
			cli_complain(call, "out of memory");
			return false;
		}
	}
	return true;
}

static json_t *states(const struct view *view)
{
	json_t *list = json_array();

	for (size_t i = 0; list && i < view->plan.nstates; i++)
		if (json_array_append_new(list, app_session_object(view, &view->plan.states[i])) <
		    0) {
			json_decref(list);
			return NULL;
		}
	return list;
}

static int report(const struct cli_call *call, const struct outcome *outcome)
{
	const struct plan *plan = &outcome->view.plan;
	bool bad = app_complain_states(call, outcome, NULL);

	if (app_json(call)) {
		int r = app_print_json(call, json_pack("{s:o, s:o}", "done",
						       app_ops(plan, outcome->done, outcome->ndone),
						       "sessions", states(&outcome->view)));

		return bad ? EXIT_FAILED : r;
	}
	app_print_ops(plan, outcome->done, outcome->ndone, "");
	if (outcome->ndone == 0)
		printf("nothing to do: the kernel is as %zu saved session%s say%s\n", plan->nstates,
		       plan->nstates == 1 ? "" : "s", plan->nstates == 1 ? "s" : "");
	return bad ? EXIT_FAILED : EXIT_OK;
}

static int dry_run(const struct cli_call *call, struct engine *engine, struct sessions *sessions,
		   int *lock)
{
	struct view view cleanup(view_free) = {0};
	struct err e = {0};
	int r = engine_look(engine, sessions, NULL, &view, &e);

	app_unlock(lock);
	if (r < 0)
		return app_fail(call, &e);
	if (app_json(call))
		return app_print_json(call,
				      json_pack("{s:o, s:o}", "planned",
						app_ops(&view.plan, view.plan.ops, view.plan.nops),
						"sessions", states(&view)));
	app_print_ops(&view.plan, view.plan.ops, view.plan.nops, "would ");
	if (view.plan.nops == 0)
		printf("nothing would change in the kernel\n");
	return EXIT_OK;
}

int verb_apply(const struct cli_call *call)
{
	struct engine engine cleanup(engine_close) = {0};
	struct sessions given cleanup(sessions_free) = {0}, sessions cleanup(sessions_free) = {0};
	struct outcome outcome cleanup(outcome_free) = {0};
	int lock cleanup(fd_close_at) = -1;
	bool dry = cli_has(call, "dry-run");
	struct err e = {0};
	int r;

	if (!app_open(call, &engine) || !read_given(call, &given))
		return EXIT_FAILED;
	lock = app_lock(call, &engine);
	if (lock < 0 || !app_load(call, &engine, &sessions) ||
	    !take_over(call, &engine, &given, &sessions, !dry))
		return EXIT_FAILED;
	if (dry)
		return dry_run(call, &engine, &sessions, &lock);
	r = engine_apply(&engine, &sessions, NULL, NULL, &outcome, &e);
	app_unlock(&lock);
	if (r < 0)
		return app_fail(call, &e);
	return report(call, &outcome);
}

/* What apply reads, as JSON; full: also what is by default. */
static json_t *exported(const struct session *session, bool full)
{
	json_t *object = session_object(session, full);

	if (object && session->runtime && json_object_set_new(object, "runtime", json_true()) < 0) {
		json_decref(object);
		return NULL;
	}
	return object;
}

/* One document; an error is told. */
static int export_yaml(const struct cli_call *call, const struct session *session, bool more)
{
	struct buf text cleanup(buf_free) = {0};
	json_t *object cleanup(json_free_at) = exported(session, false);
	struct err e = {0};
	int r = object ? yaml_write(object, &text, &e) : err_set(&e, -ENOMEM, "out of memory");

	if (r < 0)
		return app_fail(call, &e);
	printf("%s%s", more ? "---\n" : "", buf_text(&text));
	return EXIT_OK;
}

int verb_export(const struct cli_call *call)
{
	struct store store cleanup(store_close) = {0};
	struct sessions sessions cleanup(sessions_free) = {0};
	const char *name = call->nargs > 0 ? call->args[0] : NULL;
	struct err e = {0};
	json_t *list cleanup(json_free_at) = app_json(call) ? json_array() : NULL;
	int worst = EXIT_OK, r = EXIT_OK;
	bool more = false;

	if (store_open(app_root(call), &store, &e) < 0 || store_load(&store, &sessions, &e) < 0)
		return app_fail(call, &e);
	if (name && !sessions_find(&sessions, name)) {
		cli_complain(call, "there is no session named %s", name);
		return EXIT_FAILED;
	}
	for (size_t i = 0; i < sessions.count; i++) {
		const struct saved *saved = &sessions.items[i];

		if (name && strcmp(name, saved->session.name) != 0)
			continue;
		if (saved->broken) {
			cli_complain(call, "%s", saved->broken);
			worst = EXIT_FAILED;
		} else if (app_json(call)) {
			if (json_array_append_new(list, exported(&saved->session, true)) < 0) {
				json_decref(list); /* which its printing tells */
				list = NULL;
			}
		} else {
			r = export_yaml(call, &saved->session, more);
			more |= r == EXIT_OK;
			worst = r > worst ? r : worst;
		}
	}
	if (app_json(call))
		r = app_print_json(call, take(list));
	return r > worst ? r : worst;
}
