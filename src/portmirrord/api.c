/* SPDX-License-Identifier: MIT */
/* The entry point, and what the resources share. */
#include "portmirrord/api.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include "base/mem.h"
#include "portmirrord/api_private.h"

#define COUNTERS_MS 1000 /* as old as counters may be */

/* The entry point */

/* Whether the kernel has it: null where nothing has shown it yet. */
static json_t *feature(const struct view *view, const char *kind, bool lacks)
{
	if (lacks)
		return json_false();
	for (size_t i = 0; i < view->host.filters.count; i++)
		if (strcmp(view->host.filters.items[i].kind, kind) == 0)
			return json_true();
	for (size_t i = 0; i < view->host.qdiscs.count; i++)
		if (strcmp(view->host.qdiscs.items[i].kind, kind) == 0)
			return json_true();
	return json_null();
}

static int get_entry(const struct rest_call *call, json_t **resource, struct rest_fault *fault)
{
	const struct api *api = api_of(call);
	const struct view *view = keeper_view(api->keeper);
	struct lacks lacks =
		lacks_shown(&view->host, &view->notes, keeper_store(api->keeper)->house);
	struct utsname kernel = {0};

	(void)uname(&kernel);
	*resource =
		json_pack("{s:s, s:s, s:s, s:s, s:{s:o, s:o, s:o, s:o}}", "version", VERSION,
			  "kernel", kernel.release, "hostname", kernel.nodename, "engine",
			  engine_kind_name(keeper_preferred(api->keeper)), "features", "clsact",
			  feature(view, "clsact", false), "bpf", feature(view, "bpf", lacks.bpf),
			  "matchall", feature(view, "matchall", lacks.matchall), "prio",
			  feature(view, "prio", lacks.prio));
	return *resource ? 0 : rest_no_memory(fault);
}

static const struct rest_field entry_fields[] = {
	{.name = "version", .sample = "\"0.1.0\"", .help = "Of portmirrord."},
	{.name = "kernel", .sample = "\"6.1.0\"", .help = "The release of Linux."},
	{.name = "hostname", .sample = "\"kvm1\"", .help = "What this host calls itself."},
	{.name = "engine",
	 .sample = "\"tc\"",
	 .help = "What copies the frames of a session of few ports that leaves it open."},
	{.name = "features",
	 .kind = REST_OBJECT,
	 .use = REST_LIVE,
	 .sample = "{\"clsact\": true, \"bpf\": true, \"matchall\": null, \"prio\": null}",
	 .help = "The parts of traffic control that are in use (true) or that the kernel lacks "
		 "(false)."},
	{0},
};

static const struct rest_ops entry_ops = {.get = get_entry};

static const struct rest_type entry = {
	.name = "api",
	.summary = "The entry point: links to all that there is.",
	.fields = entry_fields,
	.ops = &entry_ops,
};

/* Also brings the counters up to date, so that what is kept is as old as they may be. */
static uint64_t generation(void *context)
{
	const struct api *api = context;

	(void)keeper_refresh(api->keeper, COUNTERS_MS, NULL);
	return keeper_generation(api->keeper);
}

static const struct rest_type *const types[] = {
	&api_mirrors, &api_ports, &api_bridges, &api_vms, &api_events, &api_findings, NULL,
};

const struct rest_model api_model = {
	.title = "portmirror",
	.home = API_HOME,
	.documentation = API_DOCUMENTATION,
	.entry = &entry,
	.types = types,
	.generation = generation,
};

/* What the resources share */

void api_refresh(const struct rest_call *call)
{
	/* Where it fails, the picture is the last one; the keeper tells why in its events. */
	(void)keeper_refresh(api_of(call)->keeper, COUNTERS_MS, NULL);
}

int api_append(struct rest_list *list, json_t *resource, struct rest_fault *fault)
{
	if (!resource || json_array_append_new(list->items, resource) < 0)
		return rest_no_memory(fault);
	return 0;
}

int api_give(json_t **to, json_t *resource, struct rest_fault *fault)
{
	*to = resource;
	return resource ? 0 : rest_no_memory(fault);
}

int api_unknown(const char *what, const char *id, struct rest_fault *fault)
{
	return rest_refuse(fault, 404, "not-found", NULL, "there is no %s named %s", what, id);
}

int api_refuse(const struct err *e, const char *field, struct rest_fault *fault)
{
	switch (-e->code) {
	case ENOMEM:
		return rest_no_memory(fault);
	case ENOENT:
		return rest_refuse(fault, 404, "not-found", field, "%s", e->text);
	case EBUSY:
		return rest_refuse(fault, 503, "busy", field, "%s", e->text);
	case EINVAL:
	case EEXIST:
	case EOPNOTSUPP:
		/* The request is right, but this host, as it is now, can't do it. */
		return rest_refuse(fault, 409, "not-possible", field, "%s", e->text);
	default:
		return rest_refuse(fault, 500, "failed", field, "%s", e->text);
	}
}

int api_new(const struct api_config *config, struct api **api, struct err *e)
{
	struct api *made = calloc(1, sizeof(*made));
	int r;

	if (!made)
		return err_set(e, -ENOMEM, "out of memory");
	made->loop = config->loop;
	made->keeper = config->keeper;
	made->root = config->root;
	r = api_actions_new(made, e);
	if (r == 0)
		r = rest_api_new(&api_model, made, &made->rest, e);
	if (r < 0) {
		api_free(made);
		return r;
	}
	*api = made;
	return 0;
}

void api_free(struct api *api)
{
	if (!api)
		return;
	rest_api_free(api->rest); /* cancels the checks: they use the actions */
	api_actions_free(api->actions);
	free(api);
}

struct rest_api *api_rest(struct api *api)
{
	return api->rest;
}

void api_changed(struct api *api, unsigned changes)
{
	static const struct {
		enum keeper_change change;
		const struct rest_type *type;
	} concerned[] = {
		{KEEPER_EVENTS, &api_events},	  {KEEPER_SESSIONS, &api_mirrors},
		{KEEPER_SESSIONS, &api_sources},  {KEEPER_SESSIONS, &api_taps},
		{KEEPER_HOST, &api_taps},	  {KEEPER_HOST, &api_ports},
		{KEEPER_HOST, &api_bridges},	  {KEEPER_HOST, &api_members},
		{KEEPER_HOST, &api_vms},	  {KEEPER_HOST, &api_nics},
		{KEEPER_SESSIONS, &api_findings}, {KEEPER_HOST, &api_findings},
	};

	for (size_t i = 0; i < COUNT(concerned); i++)
		if (changes & concerned[i].change)
			rest_api_changed(api->rest, concerned[i].type);
}
