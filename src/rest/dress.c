/* SPDX-License-Identifier: MIT */
/*
 * What the library puts on each resource: its type, its URL, and links to whatever a client can do
 * next: sub-collections, forms, variants. A collection is a bare array and can bear no links, so
 * the forms of a collection are linked by the resource that links the collection; the link's "type"
 * says which of them it is for.
 */
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "data/json.h"
#include "rest/work.h"

/* Links are added to an array; the first failure shows at the end. */
struct links {
	const struct work *work;
	json_t *array;
	const char *url; /* of the resource that bears them */
	bool failed;
};

static void add(struct links *links, const char *kind, const char *name, const char *about,
		json_t *href)
{
	json_t *link = json_object();

	if (json_object_set_new_nocheck(link, "rel", json_sprintf("%s/%s", kind, name)) < 0 ||
	    json_object_set_nocheck(link, "href", href) < 0 ||
	    (about && json_object_set_new_nocheck(link, "type", json_string_nocheck(about)) < 0) ||
	    json_array_append(links->array, link) < 0)
		links->failed = true;
	json_decref(link);
	json_decref(href);
}

static void add_collection(struct links *links, const struct rest_type *type)
{
	const struct rest_ops *ops = type->ops;
	const char *url = links->url, *plural = type->plural;

	if (ops->list || ops->create)
		add(links, "collection", plural, NULL, json_sprintf("%s/%s", url, plural));
	if (api_facts(links->work->api, type)->searchable)
		add(links, "form", rest_form_name(REST_FORM_SEARCH), type->name,
		    json_sprintf("%s/%s;search", url, plural));
	if (ops->create)
		add(links, "form", rest_form_name(REST_FORM_CREATE), type->name,
		    json_sprintf("%s/%s;create", url, plural));
}

static void add_forms(struct links *links, const struct rest_type *type)
{
	if (type->ops->replace)
		add(links, "form", rest_form_name(REST_FORM_UPDATE), NULL,
		    json_sprintf("%s;update", links->url));
	if (type->ops->remove)
		add(links, "form", rest_form_name(REST_FORM_DELETE), NULL,
		    json_sprintf("%s;delete", links->url));
}

/* The other ways to see the same resource, and from one of them back to the resource itself. */
static void add_variants(struct links *links, const struct rest_type *type, const char *shown)
{
	if (shown)
		add(links, "resource", type->name, NULL, json_string(links->url));
	for (const char *const *v = type->variants; v && *v; v++) {
		if (!shown || strcmp(*v, shown) != 0)
			add(links, "resource", *v, NULL, json_sprintf("%s;%s", links->url, *v));
	}
}

/* What the application links to comes first. */
static void add_own(struct links *links, const json_t *resource)
{
	json_t *own = json_object_get(resource, "link");

	links->failed |= own && json_array_extend(links->array, own) < 0;
}

static json_t *dress(const json_t *resource, const char *type, const char *id, const char *href,
		     json_t *links)
{
	json_t *dressed = json_object();
	json_t *plain = (json_t *)(uintptr_t)resource; /* only read */

	if (json_object_set_new_nocheck(dressed, "_type", json_string_nocheck(type)) < 0 ||
	    (id && json_object_set_new(dressed, "id", json_string(id)) < 0) ||
	    json_object_set_new(dressed, "href", json_string(href)) < 0 ||
	    json_object_update_missing(dressed, plain) < 0 ||
	    json_object_set_nocheck(dressed, "link", links) < 0 || json_lacked()) {
		json_decref(dressed);
		return NULL;
	}
	return dressed;
}

json_t *dress_resource(const struct work *work, const json_t *resource, const char *id)
{
	const struct route *route = &work->route;
	const struct rest_type *type = route->type;
	const char *variant = route->id ? route->variant : NULL;
	struct buf url cleanup(buf_free) = {0};
	json_t *array cleanup(json_free_at) = json_array();
	struct links links = {.work = work, .array = array};

	route_resource_url(&url, work->request->base, route, id);
	if (buf_status(&url) < 0)
		return NULL;
	links.url = buf_text(&url);
	add_own(&links, resource);
	for (const struct rest_type *const *sub = type->subs; sub && *sub; sub++)
		add_collection(&links, *sub);
	if (!variant)
		add_forms(&links, type);
	add_variants(&links, type, variant);
	if (variant)
		buf_fmt(&url, ";%s", variant);
	if (links.failed || buf_status(&url) < 0)
		return NULL;
	return dress(resource, type->name, id, buf_text(&url), array);
}

json_t *dress_entry(const struct work *work, const json_t *resource)
{
	const struct rest_type *type = work->api->model->entry;
	struct buf url cleanup(buf_free) = {0};
	json_t *array cleanup(json_free_at) = json_array();
	struct links links = {.work = work, .array = array};

	route_collection_url(&url, work->request->base, &work->route);
	if (buf_status(&url) < 0)
		return NULL;
	links.url = buf_text(&url);
	add_own(&links, resource);
	for (const struct rest_type *const *top = work->api->types; *top; top++)
		add_collection(&links, *top);
	add_forms(&links, type);
	if (links.failed)
		return NULL;
	return dress(resource, type->name, NULL, links.url, array);
}
