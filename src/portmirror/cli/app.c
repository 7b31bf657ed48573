/* SPDX-License-Identifier: MIT */
#include "portmirror/cli/app.h"

#include <errno.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "data/json.h"
#include "portmirror/inliner.h"
#include "portmirror/op.h"
#include "portmirror/show.h"

const char *app_root(const struct cli_call *call)
{
	const char *root = cli_get(call, "root");

	if (!root)
		root = getenv("PORTMIRROR_ROOT");
	return root ? root : "";
}

bool app_json(const struct cli_call *call)
{
	return cli_has(call, "json");
}

/* strtod(3) would want the locale's decimal point. */
static bool parse_seconds(const char *text, double *seconds)
{
	double value = 0, unit = 1;
	bool point = false;

	if (!*text || strspn(text, "0123456789.") != strlen(text) || strcmp(text, ".") == 0)
		return false;
	for (; *text; text++) {
		if (*text == '.' && point)
			return false;
		if (*text == '.') {
			point = true;
			continue;
		}
		value = value * 10 + (*text - '0');
		unit *= point ? 10 : 1;
	}
	*seconds = value / unit;
	return true;
}

bool app_seconds(const struct cli_call *call, const char *option, double least, double most,
		 double *seconds)
{
	const char *text = cli_get(call, option);
	double value;

	if (!text)
		return true;
	if (parse_seconds(text, &value) && value >= least && value <= most) {
		*seconds = value;
		return true;
	}
	(void)cli_misused(call, "'--%s' takes seconds from %g to %g, not '%s'", option, least, most,
			  text);
	return false;
}

int app_flush(void)
{
	int r;

	errno = 0;
	if (fflush(stdout) == 0 && !ferror(stdout))
		return 0;
	r = errno ? -errno : -EIO; /* that was then, and nobody has kept why */
	clearerr(stdout);
	return r;
}

int app_fail(const struct cli_call *call, const struct err *e)
{
	app_end_progress();
	cli_complain(call, "%s", e->text);
	return EXIT_FAILED;
}

static bool may_administer(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2] = {0};

	if (syscall(SYS_capget, &header, data) < 0)
		return geteuid() == 0;
	return data[0].effective & (1u << CAP_NET_ADMIN);
}

/* What auto means on this host, if somebody has said so. */
static bool prefer(struct engine *engine, struct err *e)
{
	const char *text = getenv("PORTMIRROR_ENGINE");

	if (!text || !*text || engine_kind_parse(text, &engine->preferred, e) == 0)
		return true;
	err_where(e, "PORTMIRROR_ENGINE");
	return false;
}

bool app_open(const struct cli_call *call, struct engine *engine)
{
	struct err e = {0};

	if (!may_administer()) {
		cli_complain(call,
			     "needs root (CAP_NET_ADMIN): it reads and changes the traffic control "
			     "of network devices; try: sudo portmirror %s",
			     call->verb->name);
		return false;
	}
	if (engine_open(app_root(call), engine, &e) < 0 || !prefer(engine, &e)) {
		app_fail(call, &e);
		return false;
	}
	return true;
}

static void say_waiting(void *data)
{
	const struct cli_call *const *call = data;

	cli_complain(*call, "waiting for another portmirror to finish");
}

/* From here on it is a matter of milliseconds, of seconds at most: Ctrl-C comes too late to leave
 * it half done, and Ctrl-Z to keep others waiting. */
static void finish_what_is_begun(void)
{
	sigset_t signals;

	sigemptyset(&signals);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGHUP);
	sigaddset(&signals, SIGTSTP);
	sigprocmask(SIG_BLOCK, &signals, NULL);
}

int app_lock(const struct cli_call *call, struct engine *engine)
{
	char *folder cleanup(free_at) = strdup(engine->store.lock);
	struct err e = {0};
	int fd;

	if (!folder) {
		cli_complain(call, "out of memory");
		return -ENOMEM;
	}
	*strrchr(folder, '/') = '\0';
	if (folder_make(folder, 0755, &e) < 0) {
		app_fail(call, &e);
		return e.code;
	}
	fd = file_lock(engine->store.lock, say_waiting, &call, &e);
	if (fd < 0)
		app_fail(call, &e);
	else
		finish_what_is_begun();
	app_show_progress(engine);
	return fd;
}

void app_unlock(int *lock)
{
	fd_close_at(lock);
	*lock = -1;
}

bool app_load(const struct cli_call *call, const struct engine *engine, struct sessions *sessions)
{
	struct err e = {0};

	if (store_load(&engine->store, sessions, &e) < 0) {
		app_fail(call, &e);
		return false;
	}
	return true;
}

int app_print_json(const struct cli_call *call, json_t *value)
{
	struct err e = {0};
	int r;

	if (!value) {
		cli_complain(call, "out of memory");
		return EXIT_FAILED;
	}
	r = json_print(value, stdout, &e);
	json_decref(value);
	if (r < 0 && ferror(stdout))
		return EXIT_FAILED; /* which cli_main() tells */
	return r < 0 ? app_fail(call, &e) : EXIT_OK;
}

/* The names of those that are there. */
static json_t *devices(const struct view *view, const int *indexes, size_t count)
{
	json_t *list = json_array();

	for (size_t i = 0; list && i < count; i++) {
		const struct nl_link *link = nl_link_by_index(&view->host.links, indexes[i]);

		if (link)
			json_array_append_new(list, json_string(link->name));
	}
	return list;
}

/* An in-line session has ports of an appliance instead of a destination. */
static void add_appliance(json_t *o, const struct view *view, const struct session_state *st)
{
	json_object_del(o, "destination");
	json_object_del(o, "destinations");
	json_object_set_new(o, "appliance_ports", devices(view, st->through, SIDES));
	json_object_set_new(o, "appliance_state",
			    show_appliance(st, host_inliner(&view->host, st->session->name)));
}

json_t *app_session_object(const struct view *view, const struct session_state *st)
{
	const struct nl_link *to = nl_link_by_index(&view->host.links, st->to_ifindex);
	bool broken = view->sessions->items[st - view->plan.states].broken != NULL;
	json_t *o = broken ? json_pack("{s:s, s:b}", "name", st->session->name, "runtime",
				       st->session->runtime)
			   : session_object(st->session, true);
	json_t *more = json_pack("{s:s, s:o, s:o, s:s?, s:o}", "state", state_name(show_state(st)),
				 "reasons", show_reasons(st), "ports",
				 devices(view, st->from.items, st->from.count), "destination",
				 to ? to->name : NULL, "destinations",
				 devices(view, st->to, SESSION_TO_MAX));

	if (o && more && !broken && st->session->mode == MODE_INLINE)
		add_appliance(more, view, st);
	if (!o || !more || json_object_update(o, more) < 0 ||
	    (st->engine != ENGINE_AUTO &&
	     json_object_set_new(o, "by", json_string(engine_kind_name(st->engine))) < 0) ||
	    (st->action && json_object_set_new(o, "action", json_integer(st->action)) < 0)) {
		json_decref(o);
		o = NULL;
	}
	json_decref(more);
	return o;
}

static const char *session_of(const struct plan *plan, const struct op *op)
{
	return op->session >= 0 && (size_t)op->session < plan->nstates
		       ? plan->states[op->session].session->name
		       : NULL;
}

void app_print_ops(const struct plan *plan, const struct op *ops, size_t nops, const char *before)
{
	for (size_t i = 0; i < nops; i++) {
		const char *session = session_of(plan, &ops[i]);
		char text[200];

		op_text(&ops[i], text, sizeof(text));
		if (session)
			printf("%s%s: %s\n", before, session, text);
		else
			printf("%s%s\n", before, text);
	}
}

json_t *app_ops(const struct plan *plan, const struct op *ops, size_t nops)
{
	json_t *list = json_array();

	for (size_t i = 0; list && i < nops; i++) {
		if (json_array_append_new(list, op_object(&ops[i], session_of(plan, &ops[i]))) <
		    0) {
			json_decref(list);
			return NULL;
		}
	}
	return list;
}

void app_complain_lines(const struct cli_call *call, const char *name, const char *lines)
{
	while (*lines) {
		size_t len = strcspn(lines, "\n");

		cli_complain(call, "%s: %.*s", name, (int)len, lines);
		lines += len + (lines[len] == '\n');
	}
}

bool app_complain_states(const struct cli_call *call, const struct outcome *outcome,
			 const char *skip)
{
	const struct plan *plan = &outcome->view.plan;
	bool bad = outcome->nrefusals > 0;

	app_end_progress();
	for (size_t i = 0; i < plan->nstates; i++) {
		const struct session_state *st = &plan->states[i];

		bad |= st->state == STATE_FAILED || st->stuck;
		if (st->reasons && (!skip || strcmp(skip, st->session->name) != 0))
			app_complain_lines(call, st->session->name, st->reasons);
	}
	for (size_t i = 0; i < outcome->nrefusals; i++) {
		const struct refusal *r = &outcome->refusals[i];

		cli_complain(call, "%s%s%s", r->session, *r->session ? ": " : "", r->text);
	}
	return bad;
}

int app_print_plan(const struct cli_call *call, const struct plan *plan)
{
	if (app_json(call))
		return app_print_json(call, json_pack("{s:o}", "planned",
						      app_ops(plan, plan->ops, plan->nops)));
	app_print_ops(plan, plan->ops, plan->nops, "would ");
	if (plan->nops == 0)
		printf("nothing would change in the kernel\n");
	return EXIT_OK;
}

static void print_more_destinations(const struct view *view, const struct session_state *st)
{
	for (size_t i = 0; i < st->session->nto; i++) {
		const struct nl_link *link = nl_link_by_index(&view->host.links, st->to[i]);

		if (link && link->index != st->to_ifindex)
			printf(", %s", link->name);
	}
}

static bool lives(const struct session_state *st)
{
	return st->state != STATE_FAILED && st->state != STATE_SUSPENDED;
}

static void print_led(const struct view *view, const struct session_state *st)
{
	const struct nl_link *inside =
		nl_link_by_index(&view->host.links, st->through[SIDE_INSIDE]);
	const struct nl_link *outside =
		nl_link_by_index(&view->host.links, st->through[SIDE_OUTSIDE]);

	if (inside && outside && lives(st))
		printf(", %zu port%s led through %s and %s", st->from.count,
		       st->from.count == 1 ? "" : "s", inside->name, outside->name);
}

int app_report(const struct cli_call *call, const struct outcome *outcome, const char *name)
{
	const struct session_state *st = plan_state(&outcome->view.plan, name);
	const struct nl_link *to;

	app_complain_states(call, outcome, NULL);
	if (!st || outcome_refusal(outcome, ""))
		return EXIT_FAILED; /* ("": what the session has left, and nobody's) */
	if (app_json(call))
		return app_print_json(
			call,
			json_pack("{s:o, s:o}", "session", app_session_object(&outcome->view, st),
				  "done",
				  app_ops(&outcome->view.plan, outcome->done, outcome->ndone)));
	to = nl_link_by_index(&outcome->view.host.links, st->to_ifindex);
	printf("%s: %s", name, state_name(show_state(st)));
	if (to && st->from.count > 0) {
		printf(", %zu port%s mirrored to %s", st->from.count,
		       st->from.count == 1 ? "" : "s", to->name);
		print_more_destinations(&outcome->view, st);
	}
	if (st->session->mode == MODE_INLINE)
		print_led(&outcome->view, st);
	printf("\n");
	return EXIT_OK;
}
