/* SPDX-License-Identifier: MIT */
/* The actions of a mirror: check (goes on behind its answer), bypass, restore, and tc. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "data/json.h"
#include "portmirror/proof_check.h"
#include "portmirror/script.h"
#include "portmirror/show.h"
#include "portmirrord/api_private.h"
#include "portmirrord/checker.h"

#define KEPT	   64 /* actions that can be looked at afterwards */
#define CHECKS_MAX 4  /* at once: each has rings and a book of 64 MB and more */

struct action {
	struct api *api;
	uint64_t number; /* 0: this place is free */
	char mirror[SESSION_NAME_MAX + 1];
	json_t *told;		 /* the resource, without its id */
	json_t *link;		 /* an object link to it, as who asked for it calls this host */
	struct checker *checker; /* while a check runs */
	struct rest_job *job;
};

struct actions {
	struct action kept[KEPT]; /* number n is at n % KEPT */
	uint64_t last;
};

static struct actions *actions_of(const struct rest_call *call)
{
	return api_of(call)->actions;
}

static void forget(struct action *a)
{
	checker_free(a->checker);
	json_decref(a->told);
	json_decref(a->link);
	*a = (struct action){0};
}

int api_actions_new(struct api *api, struct err *e)
{
	api->actions = calloc(1, sizeof(*api->actions));
	if (!api->actions)
		return err_set(e, -ENOMEM, "out of memory");
	api->actions->last = rest_numbers_start();
	return 0;
}

void api_actions_free(struct actions *actions)
{
	for (size_t i = 0; actions && i < KEPT; i++)
		forget(&actions->kept[i]);
	free(actions);
}

static size_t running(const struct actions *actions)
{
	size_t count = 0;

	for (size_t i = 0; i < KEPT; i++)
		count += actions->kept[i].checker != NULL;
	return count;
}

/* A place for a new one; the oldest that is done makes room. Never NULL: fewer checks run than
 * there are places. told is taken over. */
static struct action *begin(const struct rest_call *call, json_t *told)
{
	struct actions *actions = actions_of(call);
	struct action *a;
	char id[24];

	do
		a = &actions->kept[++actions->last % KEPT];
	while (a->checker);
	forget(a);
	*a = (struct action){.api = api_of(call), .number = actions->last, .told = told};
	snprintf(a->mirror, sizeof(a->mirror), "%s", call->parent);
	snprintf(id, sizeof(id), "%" PRIu64, a->number);
	a->link = rest_link(call, "mirrors", call->parent, "actions", id);
	rest_api_changed(a->api->rest, &api_actions);
	return a;
}

static json_t *resource_of(const struct action *a)
{
	json_t *object cleanup(json_free_at) =
		json_pack("{s:o}", "id", json_sprintf("%" PRIu64, a->number));

	return json_object_update(object, a->told) < 0 ? NULL : take(object);
}

static int list(const struct rest_call *call, struct rest_list *list, struct rest_fault *fault)
{
	const struct actions *actions = actions_of(call);
	int r = api_mirror(call, call->parent, fault) ? 0 : -1;

	for (uint64_t n = actions->last - KEPT + 1; r == 0 && n <= actions->last; n++) {
		const struct action *a = &actions->kept[n % KEPT];

		if (a->number != 0 && strcmp(a->mirror, call->parent) == 0)
			r = api_append(list, resource_of(a), fault);
	}
	return r;
}

static int get(const struct rest_call *call, json_t **resource, struct rest_fault *fault)
{
	const struct actions *actions = actions_of(call);
	char number[24];

	for (size_t i = 0; i < KEPT; i++) {
		const struct action *a = &actions->kept[i];

		snprintf(number, sizeof(number), "%" PRIu64, a->number);
		if (a->number != 0 && strcmp(number, call->id) == 0 &&
		    strcmp(a->mirror, call->parent) == 0)
			return api_give(resource, resource_of(a), fault);
	}
	return api_unknown("action of this mirror", call->id, fault);
}

/* check */

static void set(struct action *a, const char *key, json_t *value)
{
	(void)json_object_set_new(a->told, key, value); /* where memory is out it stays unsaid */
}

static void progressed(double share, void *data)
{
	struct action *a = data;

	rest_job_progress(a->job, share);
}

/* What the monitor tells at the end: as who asks later would see it. */
static json_t *done_resource(const struct action *a)
{
	json_t *object = json_pack("{s:s, s:o}", "_type", "action", "id",
				   json_sprintf("%" PRIu64, a->number));

	(void)json_object_update(object, a->link);
	(void)json_object_update(object, a->told);
	return object;
}

static void finished(json_t *proof, const struct err *e, void *data)
{
	struct action *a = data;
	struct rest_fault fault = {0};

	checker_free(a->checker);
	a->checker = NULL;
	set(a, "state", json_string(proof ? "done" : "failed"));
	if (proof) {
		set(a, "verdict", json_copy(json_object_get(proof, "verdict")));
		set(a, "reason", json_copy(json_object_get(proof, "reason")));
		set(a, "proof", json_incref(proof));
		rest_job_done(a->job, 201, done_resource(a));
	} else {
		set(a, "reason", json_string(e->text));
		(void)api_refuse(e, NULL, &fault);
		rest_job_failed(a->job, &fault);
	}
	rest_api_changed(a->api->rest, &api_actions);
	a->job = NULL;
}

static void cancelled(void *data)
{
	struct action *a = data;

	checker_free(a->checker);
	a->checker = NULL;
	a->job = NULL;
	set(a, "state", json_string("cancelled"));
}

/* What was made of the request. */
static int describe(const struct action *a, struct rest_made *made, struct rest_fault *fault)
{
	made->resource = resource_of(a);
	if (made->resource && asprintf(&made->id, "%" PRIu64, a->number) >= 0)
		return 0;
	made->id = NULL;
	return rest_no_memory(fault);
}

static int check(const struct rest_call *call, const json_t *input, struct rest_made *made,
		 struct rest_fault *fault)
{
	struct proof_check proof = {
		.view = keeper_view(api_of(call)->keeper),
		.seconds = json_number_value(json_object_get(input, "seconds")),
		.probe = json_is_true(json_object_get(input, "probe")),
	};
	struct action *a;
	json_t *told;
	struct err e = {0};

	if (proof_check_find(&proof, call->parent, &e) < 0)
		return e.code == -EAGAIN
			       ? rest_refuse(fault, 409, "mirror-not-whole", NULL, "%s", e.text)
			       : api_refuse(&e, NULL, fault);
	if (running(actions_of(call)) >= CHECKS_MAX)
		return rest_refuse(fault, 503, "checks-busy", NULL,
				   "%d checks are under way, as many as may be: wait for one, or "
				   "cancel it",
				   CHECKS_MAX);
	told = json_pack("{s:s, s:s, s:f, s:b}", "type", "check", "state", "running", "seconds",
			 proof.seconds, "probe", proof.probe);
	if (!told)
		return rest_no_memory(fault);
	a = begin(call, told);
	/* (There is room for more jobs than checks.) */
	if (describe(a, made, fault) < 0 || !(a->job = rest_job_new(call, cancelled, a))) {
		forget(a);
		return rest_no_memory(fault);
	}
	a->checker = checker_new(api_of(call)->loop, &proof, progressed, finished, a, &e);
	if (!a->checker) {
		(void)api_refuse(&e, NULL, fault);
		rest_job_failed(a->job, fault);
		forget(a);
		return -1;
	}
	made->job = a->job;
	return 0;
}

/* bypass, restore, tc: done at once */

static int done(const struct rest_call *call, json_t *told, struct rest_made *made,
		struct rest_fault *fault)
{
	return told ? describe(begin(call, told), made, fault) : rest_no_memory(fault);
}

static int suspend(const struct rest_call *call, bool suspended, const json_t *input,
		   struct rest_made *made, struct rest_fault *fault)
{
	bool dry = json_is_true(json_object_get(input, "dry-run"));
	json_t *ops = NULL;

	if (api_suspend(call, call->parent, suspended, dry, &ops, fault) < 0)
		return -1;
	return done(call,
		    json_pack("{s:s, s:s, s:b, s:o}", "type", suspended ? "bypass" : "restore",
			      "state", "done", "dry-run", dry, "operations", ops),
		    made, fault);
}

static json_t *commands_of(const struct script *script)
{
	json_t *list = json_array();

	for (size_t i = 0; list && i < script->count; i++)
		if (!script->lines[i].comment)
			json_array_append_new(list, json_string(script->lines[i].text));
	return list;
}

/* The script changes the picture that it is made from: it gets one of its own. */
static int script_of(struct engine *engine, struct sessions *sessions, const char *name,
		     struct script *script, struct err *e)
{
	struct view view cleanup(view_free) = {0};
	struct plan plan cleanup(plan_free) = {0};
	const struct session_state *st;
	int r = engine_look(engine, sessions, NULL, &view, e);

	if (r < 0)
		return r;
	st = plan_state(&view.plan, name);
	if (!st)
		return err_set(e, -ENOENT, "there is no mirror named %s", name);
	r = script_possible(st->session, e);
	if (r == 0 && (st->state == STATE_FAILED || st->to_ifindex == 0))
		r = err_set(e, -EINVAL, "%s: %.*s", name,
			    (int)strcspn(st->reasons ? st->reasons : "", "\n"),
			    st->reasons ? st->reasons : "");
	if (r == 0)
		r = script_plan(&view, name, engine->store.house, &plan, e);
	if (r == 0)
		r = script_make(&plan, script, e);
	return r;
}

struct tc {
	const char *name;
	struct script script;
};

static int make_script(struct engine *engine, struct sessions *sessions, void *data, struct err *e)
{
	struct tc *tc = data;

	return script_of(engine, sessions, tc->name, &tc->script, e);
}

static int tell_tc(const struct rest_call *call, struct rest_made *made, struct rest_fault *fault)
{
	struct tc tc = {.name = call->parent};
	struct err e = {0};
	json_t *told;

	if (keeper_edit(api_of(call)->keeper, make_script, &tc, &e) < 0)
		return api_refuse(&e, NULL, fault);
	told = json_pack("{s:s, s:s, s:o, s:s?}", "type", "tc", "state", "done", "commands",
			 commands_of(&tc.script), "object", tc.script.object);
	script_free(&tc.script);
	if (json_lacked()) { /* a script without one of its lines is none */
		json_decref(told);
		return rest_no_memory(fault);
	}
	return done(call, told, made, fault);
}

static int create(const struct rest_call *call, const json_t *input, struct rest_made *made,
		  struct rest_fault *fault)
{
	const char *type = json_string_value(json_object_get(input, "type"));

	if (!api_mirror(call, call->parent, fault))
		return -1;
	if (strcmp(type, "check") == 0)
		return check(call, input, made, fault);
	if (strcmp(type, "tc") == 0)
		return tell_tc(call, made, fault);
	return suspend(call, strcmp(type, "bypass") == 0, input, made, fault);
}

static const char *const kinds[] = {"check", "bypass", "restore", "tc", NULL};

static const struct rest_field fields[] = {
	{.name = "type",
	 .use = REST_CREATE | REST_BRIEF,
	 .mandatory = true,
	 .choices = kinds,
	 .sample = "\"check\"",
	 .help = "check: prove that the copy is complete, frame by frame; bypass: suspend the "
		 "mirror; restore: let it go on; tc: the tc commands that would do the same."},
	{.name = "seconds",
	 .kind = REST_NUMBER,
	 .use = REST_CREATE,
	 .has_limits = true,
	 .min = 0.1,
	 .max = PROOF_SECONDS_MAX,
	 .fallback = "5",
	 .sample = "5",
	 .help = "Of check: how long to look."},
	{.name = "probe",
	 .kind = REST_BOOLEAN,
	 .use = REST_CREATE,
	 .fallback = "false",
	 .sample = "false",
	 .help = "Of check: send frames of its own too, towards the machines."},
	{.name = "dry-run",
	 .kind = REST_BOOLEAN,
	 .use = REST_CREATE,
	 .fallback = "false",
	 .sample = "false",
	 .help = "Of bypass and restore: tell what would be done, and change nothing."},
	{.name = "state",
	 .use = REST_LIVE | REST_BRIEF,
	 .sample = "\"done\"",
	 .help = "running, done, failed, or cancelled."},
	{.name = "verdict",
	 .use = REST_LIVE | REST_BRIEF,
	 .sample = "\"whole\"",
	 .help = "Of check: whole (every frame was copied once, or as the mirror promises it), "
		 "broken, blind (not all could be seen), or nothing (no frame was seen)."},
	{.name = "reason",
	 .use = REST_LIVE | REST_BRIEF,
	 .sample = "\"every one of 42 frames was copied once\"",
	 .help = "What the verdict, or the failure, rests on."},
	{.name = "proof",
	 .kind = REST_OBJECT,
	 .use = REST_LIVE,
	 .help = "Of check: the counts; of several destinations those of each too."},
	{.name = "operations",
	 .multiple = true,
	 .sample = "[]",
	 .help = "Of bypass and restore: what was done to the kernel, or would be."},
	{.name = "commands",
	 .multiple = true,
	 .sample = "[]",
	 .help = "Of tc: lines for a shell, run as root where the same devices are."},
	{.name = "object", .help = "Of tc: the programs in them as an ELF object, in base64."},
	{0},
};

static const struct rest_ops ops = {.list = list, .get = get, .create = create};

const struct rest_type api_actions = {
	.name = "action",
	.plural = "actions",
	.summary = "What can be done with a mirror beyond changing it. The last ones are kept.",
	.fields = fields,
	.ops = &ops,
};
