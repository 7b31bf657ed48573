/* SPDX-License-Identifier: MIT */
/* portmirror inline: save an in-line session and carry it out, or change nothing at all. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "data/json.h"
#include "portmirror/cli/app.h"

static int put(json_t *object, const char *key, const char *text)
{
	json_t *value;
	int r;

	if (!text)
		return 0;
	/* (The rules for each attribute are session_read's.) */
	r = json_text(text, strlen(text), &value);
	return r < 0 ? r : json_object_set_new(object, key, value);
}

/* 1: it is; 0: it isn't; -ENOMEM: who knows. */
static int is_selector(const char *text, size_t len)
{
	char *copy cleanup(free_at) = strndup(text, len);
	struct selector selector = {0};
	int r = copy ? selector_parse(copy, &selector, NULL) : -ENOMEM;

	if (r == 0)
		selector_free(&selector);
	return r == -ENOMEM ? r : r == 0;
}

/* A machine's name may hold commas: the one is meant that has a selector on each side. */
static int comma_of(const char *text, const char **comma)
{
	for (const char *at = strchr(text, ','); at; at = strchr(at + 1, ',')) {
		int r = is_selector(text, (size_t)(at - text));

		if (r == 1)
			r = is_selector(at + 1, strlen(at + 1));
		if (r < 0)
			return r;
		if (r == 1) {
			*comma = at;
			return 0;
		}
	}
	*comma = strchr(text, ',');
	return 0;
}

static int put_through(json_t *object, const char *text)
{
	json_t *both cleanup(json_free_at) = json_array();
	const char *comma;
	json_t *side;
	int r = both ? comma_of(text, &comma) : -ENOMEM;

	if (r == 0)
		r = json_text(text, (size_t)(comma - text), &side);
	if (r == 0)
		r = json_array_append_new(both, side);
	if (r == 0)
		r = json_text(comma + 1, strlen(comma + 1), &side);
	if (r == 0)
		r = json_array_append_new(both, side);
	return r < 0 ? r : json_object_set(object, "through", both);
}

static int put_guards(json_t *object, const struct cli_call *call)
{
	json_t *guards = json_array();
	int r = guards ? json_object_set(object, "guard", guards) : -ENOMEM;

	for (size_t i = 0; r == 0 && i < cli_count(call, "guard"); i++) {
		const char *text = cli_nth(call, "guard", i);
		json_t *value;

		r = json_text(text, strlen(text), &value);
		if (r == 0)
			r = json_array_append_new(guards, value);
	}
	json_decref(guards);
	return r;
}

/* The options as a mirror object, so that the command line and the files have the same rules. */
static int object_of(const struct cli_call *call, unsigned interval, json_t *object)
{
	static const char *const plain[] = {"on-failure", "appliance", "filter"};
	int r = put(object, "name", call->args[0]);

	if (r == 0)
		r = put(object, "mode", "inline");
	if (r == 0)
		r = put_guards(object, call);
	if (r == 0)
		r = put_through(object, cli_get(call, "through"));
	for (size_t i = 0; r == 0 && i < COUNT(plain); i++)
		r = put(object, plain[i], cli_get(call, plain[i]));
	if (r == 0 && interval)
		r = json_object_set_new(object, "probe-interval", json_integer(interval));
	if (r == 0 && cli_has(call, "runtime"))
		r = json_object_set_new(object, "runtime", json_true());
	return r;
}

/* EXIT_USAGE: it said what is missing. */
static int check_options(const struct cli_call *call, unsigned *interval)
{
	const char *text = cli_get(call, "probe-interval");
	const char *through = cli_get(call, "through");

	if (cli_count(call, "guard") == 0)
		return cli_misused(call, "--guard is missing: which machines?");
	if (!through)
		return cli_misused(call, "--through is missing: which are the appliance's ports?");
	if (!strchr(through, ','))
		return cli_misused(call,
				   "'--through' takes two selectors with a comma between them, the "
				   "appliance's inside port and its outside port");
	if (!cli_has(call, "on-failure"))
		return cli_misused(call,
				   "--on-failure is missing: when the appliance fails, is the "
				   "traffic to go straight on (open), or to stop (closed)?");
	*interval = text && strlen(text) <= 6 && strspn(text, "0123456789") == strlen(text)
			    ? (unsigned)strtoul(text, NULL, 10)
			    : 0;
	if (text && (*interval < PROBE_INTERVAL_MIN || *interval > PROBE_INTERVAL_MAX))
		return cli_misused(call,
				   "'--probe-interval' takes milliseconds from %d to %d, not '%s'",
				   PROBE_INTERVAL_MIN, PROBE_INTERVAL_MAX, text);
	return EXIT_OK;
}

static int read_options(const struct cli_call *call, struct session *session)
{
	json_t *object cleanup(json_free_at) = json_object();
	unsigned interval = 0;
	int r = check_options(call, &interval);

	if (r != EXIT_OK)
		return r;
	r = object ? object_of(call, interval, object) : -ENOMEM;
	if (r == -EILSEQ)
		return cli_misused(call, "an argument is not UTF-8 text");
	if (r < 0) {
		cli_complain(call, "out of memory");
		return EXIT_FAILED;
	}
	return app_read_session(call, object, session);
}

int verb_inline(const struct cli_call *call)
{
	struct session session cleanup(session_free) = {0};
	int r = read_options(call, &session);

	return r == EXIT_OK ? app_add(call, &session) : r;
}
