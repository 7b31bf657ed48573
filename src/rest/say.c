/* SPDX-License-Identifier: MIT */
/* The answer is put together: status, headers, and a body in the format that was agreed on. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "data/json.h"
#include "data/text.h"
#include "rest/condition.h"
#include "rest/form_field.h"
#include "rest/work.h"

const char *say_phrase(unsigned status)
{
	static const struct {
		unsigned status;
		const char *phrase;
	} known[] = {
		{200, "OK"},
		{201, "Created"},
		{202, "Accepted"},
		{204, "No Content"},
		{206, "Partial Content"},
		{303, "See Other"},
		{304, "Not Modified"},
		{400, "Bad Request"},
		{401, "Unauthorized"},
		{403, "Forbidden"},
		{404, "Not Found"},
		{405, "Method Not Allowed"},
		{406, "Not Acceptable"},
		{408, "Request Timeout"},
		{409, "Conflict"},
		{410, "Gone"},
		{412, "Precondition Failed"},
		{413, "Content Too Large"},
		{414, "URI Too Long"},
		{415, "Unsupported Media Type"},
		{416, "Range Not Satisfiable"},
		{417, "Expectation Failed"},
		{421, "Misdirected Request"},
		{422, "Unprocessable Content"},
		{431, "Request Header Fields Too Large"},
		{500, "Internal Server Error"},
		{501, "Not Implemented"},
		{503, "Service Unavailable"},
		{504, "Gateway Timeout"},
	};

	for (size_t i = 0; i < COUNT(known); i++) {
		if (known[i].status == status)
			return known[i].phrase;
	}
	return status < 400 ? "OK" : "Failed";
}

void say_header(struct work *work, const char *name, const char *value)
{
	struct rest_response *response = work->response;
	struct rest_header *header = &response->headers[response->nheaders];

	if (response->nheaders == COUNT(response->headers))
		return;
	header->name = name;
	header->value = strdup(value);
	if (header->value)
		response->nheaders++;
	else
		work->lacks = true;
}

void say_tag(struct work *work, uint64_t hash)
{
	char tag[CONDITION_TAG];

	say_header(work, "ETag", condition_tag(tag, hash, work->format));
}

enum step say_nothing(struct work *work, unsigned status)
{
	work->response->status = status;
	work->response->content_type = NULL;
	return STEP_DONE;
}

static json_t *make_form(const struct work *work, const struct route *route,
			 enum rest_form_kind kind, const json_t *shown)
{
	struct buf action cleanup(buf_free) = {0}, href cleanup(buf_free) = {0};

	route_resource_url(&action, work->request->base, route, route->id);
	buf_fmt(&href, "%s;%s", buf_text(&action), rest_form_name(kind));
	if (buf_status(&action) < 0 || buf_status(&href) < 0)
		return NULL;
	return rest_form(route->type, kind, buf_text(&href), buf_text(&action), shown);
}

json_t *say_form(const struct work *work, const struct route *route, enum rest_form_kind kind,
		 const json_t *current)
{
	json_t *form = make_form(work, route, kind, current);
	char tag[CONDITION_TAG];
	uint64_t hash;

	if (!form || !current)
		return form;
	/* A browser can't send If-Match: the form brings the tag along, as _etag. */
	hash = condition_hash(route->type, work->untried ? work->untried : current,
			      work->request->base);
	condition_tag(tag, hash, REST_FORM_BODY);
	if (json_object_set_new(form, "etag", json_string(tag)) < 0) {
		json_decref(form);
		return NULL;
	}
	return form;
}

static int add_form(const struct work *work, const struct route *route, enum rest_form_kind kind,
		    const json_t *current, json_t *forms)
{
	return json_array_append_new(forms, say_form(work, route, kind, current));
}

/* Actions can't be looked at as a collection: their form stands on the page of what they act on. */
static int add_forms_of_subs(const struct work *work, json_t *forms)
{
	const struct rest_type *const *sub = work->route.type->subs;
	struct route below = {.above = work->route.type, .parent = work->route.id};

	for (; sub && *sub; sub++) {
		below.type = *sub;
		if ((*sub)->ops->create && !(*sub)->ops->list &&
		    add_form(work, &below, REST_FORM_CREATE, NULL, forms) < 0)
			return -1;
	}
	return 0;
}

/* What a page's forms for a change begin with: what is shown there. After a trial that is what was
 * tried, and they are for doing it. NULL: out of memory. */
static json_t *begun_with(const struct work *work, const json_t *shown)
{
	json_t *current cleanup(json_free_at) = json_copy((json_t *)(uintptr_t)shown);
	const struct rest_field *field = work->route.type->fields;

	for (; work->untried && field->name; field++)
		if ((field->use & REST_TRIAL) &&
		    json_object_set_new(current, field->name, form_default(field)) < 0)
			return NULL;
	return take(current);
}

/* The forms that stand on a page for a browser. NULL: out of memory. */
static json_t *forms_of_page(const struct work *work, enum rest_shape shape, const json_t *value)
{
	json_t *current cleanup(json_free_at) = NULL;
	const struct route *route = &work->route;
	unsigned allowed = methods_allowed(route);
	json_t *forms = json_array();
	int r = 0;

	if (shape == REST_COLLECTION) {
		if (api_facts(work->api, route->type)->searchable)
			r |= add_form(work, route, REST_FORM_SEARCH, NULL, forms);
		if (allowed & METHOD_POST)
			r |= add_form(work, route, REST_FORM_CREATE, NULL, forms);
	} else if (shape == REST_RESOURCE && !route_is_collection(route)) {
		current = begun_with(work, value);
		r = current ? 0 : -1;
		if (allowed & METHOD_PUT)
			r |= add_form(work, route, REST_FORM_UPDATE, current, forms);
		if (allowed & METHOD_DELETE)
			r |= add_form(work, route, REST_FORM_DELETE, current, forms);
		if (!route->variant && !route_is_placeholder(route))
			r |= add_forms_of_subs(work, forms);
	}
	if (r < 0) {
		json_decref(forms);
		return NULL;
	}
	return forms;
}

/* Marks the field that the fault is about ("from[1]"). */
static void mark_wrong(json_t *form, const char *wrong)
{
	json_t *field;
	size_t i;

	json_array_foreach(json_object_get(form, "fields"), i, field)
	{
		const char *name = json_string_value(json_object_get(field, "name"));

		if (strncmp(wrong, name, strcspn(wrong, "[")) == 0 &&
		    strlen(name) == strcspn(wrong, "["))
			json_object_set_new(field, "wrong", json_true());
	}
}

/* A person's mistake: the form as it was sent, to be mended. As forms of a page; NULL: out of
 * memory. */
static json_t *form_again(const struct work *work)
{
	bool change = work->method == METHOD_PUT, create = work->method == METHOD_POST;
	json_t *form cleanup(json_free_at) = NULL, *forms = json_array();

	if (work->sent != REST_FORM_BODY || !(change || create) ||
	    !(work->fault.status == 400 || work->fault.status == 409))
		return forms;
	form = make_form(work, &work->route, change ? REST_FORM_UPDATE : REST_FORM_CREATE,
			 work->body);
	mark_wrong(form, work->fault.field);
	if ((work->etag && json_object_set(form, "etag", work->etag) < 0) ||
	    json_array_append(forms, form) < 0) {
		json_decref(forms);
		return NULL;
	}
	return forms;
}

#define CRUMBS_MAX 5

/* The paths from /api to what the route names, to be freed. 0: out of memory. */
static size_t make_crumbs(const struct work *work, char *crumbs[CRUMBS_MAX])
{
	const struct route *route = &work->route;
	struct route above = {.type = route->above};
	struct buf b cleanup(buf_free) = {0};
	size_t count = 0;

	buf_str(&b, "/api");
	crumbs[count++] = buf_take(&b);
	if (route->above) {
		route_collection_url(&b, "", &above);
		crumbs[count++] = buf_take(&b);
		route_resource_url(&b, "", &above, route->parent);
		crumbs[count++] = buf_take(&b);
	}
	if (route->type && route->type->plural) {
		route_collection_url(&b, "", route);
		crumbs[count++] = buf_take(&b);
	}
	if (route->id) {
		route_resource_url(&b, "", route, route->id);
		if (route->variant)
			buf_fmt(&b, ";%s", route->variant);
		crumbs[count++] = buf_take(&b);
	}
	for (size_t i = 0; i < count; i++)
		if (!crumbs[i])
			return 0;
	return count;
}

static int represent(struct work *work, enum rest_shape shape, const json_t *value,
		     const struct rest_type *type, struct err *e)
{
	json_t *forms cleanup(json_free_at) = NULL;
	char *crumbs[CRUMBS_MAX] = {0};
	struct rest_page page = {
		.shape = shape,
		.value = value,
		.type = type,
		.model = work->api->model,
		.base = work->request->base,
		.form_token = work->request->form_token,
	};
	int r;

	if (work->format == REST_HTML) {
		forms = type ? forms_of_page(work, shape, value) : form_again(work);
		if (!forms)
			return err_set(e, -ENOMEM, "out of memory");
		page.forms = forms;
		page.ncrumbs = make_crumbs(work, crumbs);
		page.crumbs = (const char *const *)crumbs;
	}
	if (work->format == REST_HTML && page.ncrumbs == 0)
		r = err_set(e, -ENOMEM, "out of memory");
	else
		r = rest_represent(&page, work->format, &work->response->body, e);
	for (size_t i = 0; i < CRUMBS_MAX; i++)
		free(crumbs[i]);
	return r;
}

enum step say_value(struct work *work, unsigned status, enum rest_shape shape, const json_t *value,
		    const struct rest_type *type)
{
	struct err e = {0};
	int r = value ? represent(work, shape, value, type, &e) : -ENOMEM;

	if (r < 0) {
		buf_free(&work->response->body);
		return r == -ENOMEM
			       ? rest_no_memory(&work->fault)
			       : rest_refuse(&work->fault, 500, "internal", NULL, "%s", e.text);
	}
	work->response->status = status;
	work->response->content_type = rest_content_type(work->format, shape);
	say_header(work, "Vary", "Accept");
	return STEP_DONE;
}

/* A sentence may be cut within a character, or hold what somebody else said in other bytes: what is
 * no UTF-8 is shown as '?'. */
static json_t *words(const char *text)
{
	struct buf b cleanup(buf_free) = {0};
	size_t left = strlen(text);

	while (left > 0) {
		uint32_t code;
		size_t bytes = text_char(text, left, &code);

		buf_add(&b, bytes ? text : "?", bytes ? bytes : 1);
		bytes += bytes == 0;
		text += bytes;
		left -= bytes;
	}
	return buf_status(&b) < 0 ? NULL : json_string(buf_text(&b));
}

json_t *say_fault_resource(const struct rest_fault *fault)
{
	json_t *resource =
		json_pack("{s:s, s:i, s:s, s:o}", "_type", "fault", "status", (int)fault->status,
			  "code", fault->code, "reason", words(fault->why.text));

	if (resource && *fault->field &&
	    json_object_set_new(resource, "detail",
				json_pack("{s:o}", "field", words(fault->field))) < 0) {
		json_decref(resource);
		return NULL;
	}
	return resource;
}

/* The format of a fault is the one agreed on; before that, what Accept asks for; where that is
 * nothing of ours, JSON: better read with difficulty than not at all. */
static void agree_on_fault(struct work *work)
{
	if (!work->negotiated &&
	    rest_negotiate(work->request->accept, REST_RESOURCE, &work->format) < 0)
		work->format = REST_JSON;
}

void say_fault(struct work *work)
{
	static const char last_words[] =
		"{\"_type\": \"fault\", \"status\": 500, \"code\": \"out-of-memory\", "
		"\"reason\": \"the server is out of memory\"}\n";
	json_t *fault cleanup(json_free_at) = NULL;

	agree_on_fault(work);
	buf_free(&work->response->body);
	fault = say_fault_resource(&work->fault);
	if (fault && say_value(work, work->fault.status, REST_RESOURCE, fault, NULL) == STEP_DONE)
		return;
	work->response->status = 500;
	work->response->content_type = rest_content_type(REST_JSON, REST_RESOURCE);
	buf_str(&work->response->body, last_words);
}
