/* SPDX-License-Identifier: MIT */
#include "portmirrord/web.h"

#include <errno.h>
#include <string.h>
#include <sys/utsname.h>

#include "base/buf.h"
#include "base/mem.h"
#include "data/json.h"
#include "portmirrord/api.h"
#include "rest/api.h"
#include "rest/represent.h"

/* What the API answers; NULL: it fails. range may be NULL. */
static json_t *ask(struct rest_api *api, const char *base, const char *target, const char *range)
{
	const struct rest_request request = {.method = "GET",
					     .target = target,
					     .base = base,
					     .user = "",
					     .accept = "application/json",
					     .range = range};
	struct rest_response response cleanup(rest_response_free) = {0};
	json_t *value = NULL;
	struct rest_wait wait;

	if (rest_answer(api, &request, &response, &wait) != REST_ANSWER || response.status >= 300)
		return response.status == 416 ? json_array() : NULL; /* there is none at all */
	(void)json_load(response.body.data, response.body.len, 0, &value, NULL);
	return value;
}

/* Of each item what is of interest here. "href" is a link under the name of the item's type. NULL:
 * there are no items, or there is no memory: nobody must take a part for the whole. */
static json_t *pick(json_t *items, const char *const *names, bool backwards)
{
	json_t *picked = json_array(), *item;
	size_t i;

	json_array_foreach(items, i, item)
	{
		json_t *object = json_object();

		for (const char *const *name = names; *name; name++) {
			json_t *value = json_object_get(item, *name);

			if (strcmp(*name, "href") == 0)
				json_object_set_new(
					object, json_string_value(json_object_get(item, "_type")),
					json_pack("{s:O}", "href", value));
			else
				json_object_set(object, *name, value);
		}
		json_array_insert_new(picked, backwards ? 0 : i, object);
	}
	if (!items || json_lacked()) {
		json_decref(picked);
		picked = NULL;
	}
	json_decref(items);
	return picked;
}

static json_t *ways_on(const char *base)
{
	return json_pack("[{s:s, s:s, s:o}, {s:s, s:o}]", "rel", "form/create", "type", "mirror",
			 "href", json_sprintf("%s/api/mirrors;create", base), "rel", "resource/api",
			 "href", json_sprintf("%s/api", base));
}

static const struct rest_field fields[] = {
	{.name = "mirrors",
	 .kind = REST_OBJECT,
	 .use = REST_BRIEF,
	 .help = "whole: all that is named is mirrored; partial; waiting: for a source or the "
		 "destination; suspended; failed."},
	{.name = "findings",
	 .kind = REST_OBJECT,
	 .use = REST_BRIEF,
	 .help = "What spoils a mirror, or will."},
	{.name = "events",
	 .kind = REST_OBJECT,
	 .use = REST_BRIEF,
	 .help = "What has happened last, in UTC."},
	{.name = "kernel", .help = "The release of Linux."},
	{0},
};

static const struct rest_type host = {
	.name = "host",
	.summary = "How the mirrors of this host stand.",
	.fields = fields,
};

static json_t *host_object(struct rest_api *api, const char *base)
{
	static const char *const mirror[] = {"href",	    "state",   "reasons",
					     "from",	    "to",      "copied_frames",
					     "lost_before", "lost_at", NULL};
	static const char *const finding[] = {"severity", "mirror", "sentence", "cure", NULL};
	static const char *const event[] = {"time", "mirror", "text", NULL};
	struct utsname system = {0};

	(void)uname(&system);
	return json_pack("{s:s, s:s, s:o, s:o, s:o, s:s, s:o}", "_type", "host", "id",
			 system.nodename, "mirrors",
			 pick(ask(api, base, "/api/mirrors", NULL), mirror, false), "findings",
			 pick(ask(api, base, "/api/findings", NULL), finding, false), "events",
			 pick(ask(api, base, "/api/events", "resources=-10"), event, true),
			 "kernel", system.release, "link", ways_on(base));
}

int web_write(struct api *api, const char *base, struct buf *out)
{
	json_t *value cleanup(json_free_at) = NULL;
	struct rest_page page = {
		.shape = REST_RESOURCE,
		.type = &host,
		.model = &api_model,
		.base = base,
	};
	int r;

	json_forget_lack(); /* an answer that was kept doesn't */
	page.value = value = host_object(api_rest(api), base);
	r = value ? rest_represent(&page, REST_HTML, out, NULL) : -ENOMEM;
	return r == 0 && json_lacked() ? -ENOMEM : r;
}
