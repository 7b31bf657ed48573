/* SPDX-License-Identifier: MIT */
/* GET and HEAD: a resource, a form, a collection or a part of it. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "data/json.h"
#include "rest/condition.h"
#include "rest/range.h"
#include "rest/work.h"

#define POLL_LIMIT	60000 /* milliseconds that a long poll is held */
#define MONITOR_SECONDS "1"   /* after which a browser looks at a monitor again */

/* The ETag is on its way; true where the client has the same already. Always sent are a page for a
 * browser, which carries a token beside the resource, and what changes by itself (live). */
static bool is_fresh(struct work *work, uint64_t hash, bool live)
{
	say_tag(work, hash);
	return work->request->if_none_match && work->format != REST_HTML && !live &&
	       condition_fresh(work->request->if_none_match, hash, work->format);
}

static bool is_live(const struct work *work)
{
	return api_facts(work->api, work->route.type)->live;
}

static enum step say_not_modified(struct work *work)
{
	say_header(work, "Vary", "Accept");
	return say_nothing(work, 304);
}

static int check_if_match(struct work *work, uint64_t hash)
{
	if (!work->request->if_match || condition_match(work->request->if_match, hash))
		return 0;
	return rest_refuse(&work->fault, 412, "changed-meanwhile", NULL,
			   "it has changed since the ETag in If-Match was given");
}

static enum step get_resource(struct work *work)
{
	const struct route *route = &work->route;
	json_t *resource cleanup(json_free_at) = NULL;
	json_t *dressed cleanup(json_free_at) = NULL;
	uint64_t hash;

	if (work_fetch(work, &resource) < 0)
		return STEP_FAILED;
	hash = condition_hash(route->type, resource, work->request->base);
	if (check_if_match(work, hash) < 0)
		return STEP_FAILED;
	if (is_fresh(work, hash, is_live(work)))
		return say_not_modified(work);
	dressed = route->type->plural ? dress_resource(work, resource, route->id)
				      : dress_entry(work, resource);
	if (work->format == REST_HTML && route->type == &job_type &&
	    strcmp(json_string_value(json_object_get(resource, "status")), "202 Accepted") == 0)
		say_header(work, "Refresh", MONITOR_SECONDS);
	return say_value(work, 200, REST_RESOURCE, dressed, route->type);
}

/* That what the form is about is there at all: 404 else. current: what an update form shows. */
static int look_behind_form(struct work *work, json_t **current)
{
	struct work above = *work;

	if (work->route.id || !work->route.type->plural)
		return work->route.type->ops->get ? work_fetch(work, current) : 0;
	if (!work->route.above || !work->route.above->ops->get)
		return 0;
	above.route.type = above.call.type = work->route.above;
	above.route.id = above.call.id = work->route.parent;
	above.route.above = NULL;
	above.route.parent = above.call.parent = NULL;
	above.call.context = api_facts(work->api, above.route.type)->context;
	if (work_fetch(&above, current) < 0) {
		work->fault = above.fault;
		return -1;
	}
	json_decref(*current);
	*current = NULL;
	return 0;
}

static enum step get_form(struct work *work)
{
	const struct route *route = &work->route;
	json_t *current cleanup(json_free_at) = NULL;
	json_t *form cleanup(json_free_at) = NULL;
	uint64_t hash;

	if (look_behind_form(work, &current) < 0)
		return STEP_FAILED;
	form = say_form(work, route, route->form, current);
	hash = condition_hash_form(form, work->request->base);
	if (check_if_match(work, hash) < 0)
		return STEP_FAILED;
	if (is_fresh(work, hash, false))
		return say_not_modified(work);
	return say_value(work, 200, REST_FORM, form, route->type);
}

/* The items from at on, dressed. NULL: out of memory, or an item without an id. */
static json_t *dress_items(struct work *work, const json_t *items, size_t at, size_t many)
{
	json_t *dressed = json_array();

	for (size_t i = at; i < at + many; i++) {
		const json_t *item = json_array_get(items, i);
		const char *id = json_string_value(json_object_get(item, "id"));

		if (!id || json_array_append_new(dressed, dress_resource(work, item, id)) < 0) {
			json_decref(dressed);
			return NULL;
		}
	}
	return dressed;
}

static enum step say_items(struct work *work, const struct rest_list *list, size_t at, size_t many,
			   bool part)
{
	json_t *dressed cleanup(json_free_at) = dress_items(work, list->items, at, many);
	uint64_t first = list->first + at, total = list->first + json_array_size(list->items);
	char text[96];

	say_header(work, "Accept-Ranges", "resources");
	if (part) {
		(void)snprintf(text, sizeof(text), "resources %" PRIu64 "-%" PRIu64 "/%" PRIu64,
			       first, first + many - 1, total);
		say_header(work, "Content-Range", text);
	}
	return say_value(work, part ? 206 : 200, REST_COLLECTION, dressed, work->route.type);
}

static int refuse_range(struct work *work, uint64_t total)
{
	char text[48];

	(void)snprintf(text, sizeof(text), "resources */%" PRIu64, total);
	say_header(work, "Content-Range", text);
	return rest_refuse(&work->fault, 416, "outside-range", NULL,
			   "there is nothing in that range: the collection ends before %" PRIu64,
			   total);
}

static enum step hold(struct work *work)
{
	*work->wait = (struct rest_wait){.type = work->route.type, .milliseconds = POLL_LIMIT};
	return STEP_HOLD;
}

/* RFC 9110, 13.1.5: a part of what isn't the same any more doesn't fit to the other parts. */
static void check_if_range(const struct work *work, uint64_t hash, struct range *range)
{
	const char *tag = work->request->if_range;

	if (tag && !condition_same(tag, hash, work->format))
		*range = (struct range){0};
}

static enum step get_items(struct work *work, struct rest_list *list)
{
	struct range range = {0};
	size_t at, many;
	uint64_t hash = 0, end;
	bool found, waits;

	/* RFC 9110, 14.2: with GET only. */
	if (work->method == METHOD_GET &&
	    range_read(work->request->range, &range, &work->fault) < 0)
		return STEP_FAILED;
	if (work->route.query) {
		/* What is found has positions of its own. */
		if (search_items(work, &list->items) < 0)
			return STEP_FAILED;
		list->first = 0;
	}
	/* No tag for a long poll: it is no use there, and a change wakes thousands of them. */
	if (!work->expect.nonempty) {
		hash = condition_hash_all(work->route.type, list->items, work->request->base);
		check_if_range(work, hash, &range);
	}
	found = range_cut(&range, list->first, json_array_size(list->items), &at, &many);
	end = list->first + json_array_size(list->items);
	/* What begins beyond the next one isn't waited for: it was counted in a collection that is
	 * no more (events, before the host was booted), and all until then would be missed. */
	waits = work->expect.nonempty && range.from <= end;
	if (!found && waits && !work->request->expired)
		return hold(work);
	/* RFC 9110, 13.2.2: first whether it is what the client knows, then the range. */
	if (!work->expect.nonempty) {
		if (check_if_match(work, hash) < 0)
			return STEP_FAILED;
		if (is_fresh(work, hash, is_live(work)))
			return say_not_modified(work);
	}
	if (!found && range.given && !waits)
		return refuse_range(work, end);
	return say_items(work, list, at, many, range.given && found);
}

static enum step get_collection(struct work *work)
{
	struct rest_list list = {0};
	enum step step;

	if (work_list(work, &list) < 0)
		return STEP_FAILED;
	step = get_items(work, &list);
	json_decref(list.items);
	return step;
}

enum step work_get(struct work *work)
{
	if (work->route.is_form)
		return get_form(work);
	return route_is_collection(&work->route) ? get_collection(work) : get_resource(work);
}
