/* SPDX-License-Identifier: MIT */
/* portmirror add: save a session and carry it out, or change nothing at all. */
#include <errno.h>
#include <string.h>

#include "base/mem.h"
#include "data/json.h"
#include "portmirror/cli/app.h"
#include "portmirror/edit.h"

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

static int add(const struct cli_call *call, struct engine *engine, struct sessions *sessions,
	       struct session *session)
{
	struct edit edit = {.dry = cli_has(call, "dry-run"), .strict = cli_has(call, "strict")};
	struct outcome outcome cleanup(outcome_free) = {0};
	char name[SESSION_NAME_MAX + 1];
	struct err e = {0};
	int r;

	memcpy(name, session->name, sizeof(name));
	r = edit_put(engine, sessions, session, false, &edit, &outcome, &e);
	if (r == -EEXIST) {
		cli_complain(call, "%s; remove it first: portmirror rm %s", e.text, name);
		return EXIT_FAILED;
	}
	if (r < 0)
		return app_fail(call, &e);
	return edit.dry ? app_print_plan(call, &outcome.view.plan)
			: app_report(call, &outcome, name);
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
