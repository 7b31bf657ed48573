/* SPDX-License-Identifier: MIT */
#include "portmirrord/web.h"

#include <errno.h>
#include <sys/utsname.h>

#include "base/mem.h"
#include "data/json.h"
#include "portmirror/events.h"
#include "portmirror/show.h"
#include "portmirrord/keeper.h"
#include "rest/represent.h"

#define EVENTS_SHOWN 10
#define COUNTERS_MS  1000

static json_t *href(const char *base, const char *path, const char *id)
{
	return json_pack("{s:o}", "href", json_sprintf("%s%s%s", base, path, id));
}

/* Their names need no encoding: see session_check_name(). */
static json_t *mirror_of(const struct view *view, const char *base, const struct session_state *st)
{
	const struct host *host = &view->host;
	json_t *object = json_pack("{s:o, s:s, s:I}", "mirror",
				   href(base, "/api/mirrors/", st->session->name), "state",
				   state_name(show_state(st)), "ports", (json_int_t)st->from.count);
	json_t *reasons cleanup(json_free_at) = show_reasons(st);

	for (size_t i = 0; object && st->in_kernel && i < host->actions.count; i++) {
		const struct tc_action *a = &host->actions.items[i];

		if (a->index != st->action)
			continue;
		json_object_set_new(object, "copied_frames", json_integer((json_int_t)a->frames));
		json_object_set_new(object, "lost_before", json_integer(a->overlimits));
	}
	if (json_array_size(reasons) > 0)
		json_object_set(object, "reasons", reasons);
	return object;
}

static json_t *mirrors(const struct view *view, const char *base)
{
	json_t *list = json_array();

	for (size_t i = 0; list && i < view->plan.nstates; i++)
		json_array_append_new(list, mirror_of(view, base, &view->plan.states[i]));
	return list;
}

/* The newest first. */
static json_t *happened(const struct events *events)
{
	size_t count = events_count(events);
	json_t *list = json_array();

	for (size_t i = 0; list && i < count && i < EVENTS_SHOWN; i++) {
		const struct event *event = events_nth(events, count - 1 - i);
		char time[SHOW_TIME];

		json_array_append_new(list, json_sprintf("%s  %s%s%s", show_time(time, event->time),
							 event->session,
							 *event->session ? ": " : "", event->text));
	}
	return list;
}

static json_t *ways_on(const char *base)
{
	static const struct {
		const char *rel, *path;
	} ways[] = {
		{"resource/api", "/api"},
		{"form/create", "/api/mirrors;create"},
		{"collection/mirrors", "/api/mirrors"},
		{"collection/vms", "/api/vms"},
		{"collection/ports", "/api/ports"},
		{"collection/findings", "/api/findings"},
		{"collection/events", "/api/events"},
	};
	json_t *list = json_array();

	for (size_t i = 0; list && i < COUNT(ways); i++)
		json_array_append_new(list, json_pack("{s:s, s:o}", "rel", ways[i].rel, "href",
						      json_sprintf("%s%s", base, ways[i].path)));
	return list;
}

static const struct rest_field fields[] = {
	{.name = "host", .help = "This host, and its kernel."},
	{.name = "mirrors",
	 .kind = REST_OBJECT,
	 .help = "whole: all that is named is mirrored; partial; waiting: for a source or the "
		 "destination; suspended; failed."},
	{.name = "happened", .kind = REST_OBJECT, .help = "The last of it, in UTC."},
	{.name = "link", .kind = REST_OBJECT, .help = "Where to go from here."},
	{0},
};

static const struct rest_type overview = {
	.name = "overview",
	.summary = "How the mirrors of this host stand.",
	.fields = fields,
};

int web_write(struct keeper *keeper, const char *base, struct buf *out)
{
	struct rest_page page = {
		.shape = REST_RESOURCE,
		.type = &overview,
		.title = "portmirror",
		.base = base,
	};
	json_t *value cleanup(json_free_at) = NULL;
	struct utsname kernel = {0};
	const struct view *view;

	(void)keeper_refresh(keeper, COUNTERS_MS, NULL);
	view = keeper_view(keeper);
	(void)uname(&kernel);
	value = json_pack("{s:s, s:o, s:o, s:o, s:o}", "_type", "overview", "host",
			  json_sprintf("%s, Linux %s", kernel.nodename, kernel.release), "mirrors",
			  mirrors(view, base), "happened", happened(keeper_events(keeper)), "link",
			  ways_on(base));
	if (!value)
		return -ENOMEM;
	page.value = value;
	return rest_represent(&page, REST_HTML, out, NULL);
}
