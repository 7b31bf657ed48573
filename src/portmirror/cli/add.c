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
	int r;

	if (!text)
		return 0;
	/* (The rules for each attribute are session_read's.) */
	r = json_text(text, strlen(text), &value);
	return r < 0 ? r : json_object_set_new(object, key, value);
}

static int set_list(const struct cli_call *call, json_t *object, const char *key)
{
	json_t *list = json_array();
	int r = list ? json_object_set_new(object, key, list) : -ENOMEM;

	for (size_t i = 0; r == 0 && i < cli_count(call, key); i++) {
		const char *text = cli_nth(call, key, i);
		json_t *value;

		r = json_text(text, strlen(text), &value);
		if (r == 0)
			r = json_array_append_new(list, value);
	}
	return r;
}

/* The options as a mirror object, so that the command line and the files have the same rules. */
static int object_of(const struct cli_call *call, json_t *object)
{
	static const char *const lists[] = {"from", "to"};
	static const char *const texts[] = {"direction", "filter", "attach", "engine"};
	static const char *const switches[] = {"sample-flows", "balance", "isolate", "runtime"};
	int r = set(object, "name", call->args[0]);

	for (size_t i = 0; r == 0 && i < COUNT(lists); i++)
		r = set_list(call, object, lists[i]);
	for (size_t i = 0; r == 0 && i < COUNT(texts); i++)
		r = set(object, texts[i], cli_get(call, texts[i]));
	for (size_t i = 0; r == 0 && i < COUNT(switches); i++)
		if (cli_has(call, switches[i]))
			r = json_object_set_new(object, switches[i], json_true());
	return r;
}

static const struct {
	const char *name;
	long least, most;
} numbers[] = {
	{"snap", SESSION_SNAP_MIN, SESSION_SNAP_MAX},
	{"sample", 2, SESSION_SAMPLE_MAX},
	{"rate", 1, SESSION_RATE_MAX},
};

/* EXIT_OK; else it was told what is wrong. */
static int set_numbers(const struct cli_call *call, json_t *object)
{
	for (size_t i = 0; i < COUNT(numbers); i++) {
		const char *name = numbers[i].name;
		long number = 0;

		if (!cli_number(call, name, numbers[i].least, numbers[i].most, &number))
			return EXIT_USAGE;
		if (number && json_object_set_new(object, name, json_integer(number)) < 0) {
			cli_complain(call, "out of memory");
			return EXIT_FAILED;
		}
	}
	return EXIT_OK;
}

int app_read_session(const struct cli_call *call, const json_t *object, struct session *session)
{
	struct bytecode code cleanup(bytecode_free) = {0};
	char field[SESSION_FIELD];
	struct err e = {0};

	if (session_read(object, NULL, session, field, &e) < 0)
		return e.code == -ENOMEM ? app_fail(call, &e) : cli_misused(call, "%s", e.text);
	if (filter_compile(session->filter, &code, &e) < 0) {
		session_free(session);
		return e.code == -EINVAL ? cli_misused(call, "filter: %s", e.text)
					 : app_fail(call, &e);
	}
	return EXIT_OK;
}

static int read_options(const struct cli_call *call, struct session *session)
{
	json_t *object cleanup(json_free_at) = json_object();
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
	r = set_numbers(call, object);
	return r != EXIT_OK ? r : app_read_session(call, object, session);
}

static int add(const struct cli_call *call, struct engine *engine, struct sessions *sessions,
	       struct session *session, int *lock)
{
	struct edit edit = {.dry = cli_has(call, "dry-run"), .strict = cli_has(call, "strict")};
	struct outcome outcome cleanup(outcome_free) = {0};
	char name[SESSION_NAME_MAX + 1];
	struct err e = {0};
	int r;

	memcpy(name, session->name, sizeof(name));
	r = edit_put(engine, sessions, session, false, &edit, &outcome, &e);
	app_unlock(lock);
	if (r == -EEXIST) {
		cli_complain(call, "%s; remove it first: portmirror rm %s", e.text, name);
		return EXIT_FAILED;
	}
	if (r < 0)
		return app_fail(call, &e);
	return edit.dry ? app_print_plan(call, &outcome.view.plan)
			: app_report(call, &outcome, name);
}

int app_add(const struct cli_call *call, struct session *session)
{
	struct engine engine cleanup(engine_close) = {0};
	struct sessions sessions cleanup(sessions_free) = {0};
	int lock cleanup(fd_close_at) = -1;

	if (!app_open(call, &engine))
		return EXIT_FAILED;
	lock = app_lock(call, &engine);
	if (lock < 0 || !app_load(call, &engine, &sessions))
		return EXIT_FAILED;
	return add(call, &engine, &sessions, session, &lock);
}

int verb_add(const struct cli_call *call)
{
	struct session session cleanup(session_free) = {0};
	int r = read_options(call, &session);

	return r == EXIT_OK ? app_add(call, &session) : r;
}
