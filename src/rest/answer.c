/* SPDX-License-Identifier: MIT */
/*
 * The way of every request: what its URL names, the form body of a browser (which may hide another
 * method), what the URL takes, what is expected, the format of the answer; then the method itself.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "data/json.h"
#include "data/text.h"
#include "rest/condition.h"
#include "rest/keep.h"
#include "rest/work.h"

static const struct {
	const char *name;
	enum method method;
} methods[] = {
	{"GET", METHOD_GET},	   {"HEAD", METHOD_HEAD}, {"OPTIONS", METHOD_OPTIONS},
	{"POST", METHOD_POST},	   {"PUT", METHOD_PUT},	  {"PATCH", METHOD_PATCH},
	{"DELETE", METHOD_DELETE},
};

unsigned method_of(const char *name)
{
	for (size_t i = 0; i < COUNT(methods); i++) {
		if (strcmp(methods[i].name, name) == 0)
			return methods[i].method;
	}
	return 0;
}

void methods_text(unsigned set, struct buf *b)
{
	const char *between = "";

	for (size_t i = 0; i < COUNT(methods); i++) {
		if (set & methods[i].method) {
			buf_fmt(b, "%s%s", between, methods[i].name);
			between = ", ";
		}
	}
}

/* Forms, variants and placeholders are only looked at: what they show is changed elsewhere. */
unsigned methods_allowed(const struct route *route)
{
	const struct rest_ops *ops = route->type->ops;
	const unsigned look = METHOD_GET | METHOD_HEAD;
	unsigned set = METHOD_OPTIONS;

	if (route->is_form || route->variant || route_is_placeholder(route))
		return set | look;
	if (route_is_collection(route))
		return set | (ops->list ? look : 0) | (ops->create ? METHOD_POST : 0);
	return set | (ops->get ? look : 0) | (ops->replace ? METHOD_PUT : 0) |
	       (ops->replace ? METHOD_PATCH : 0) | (ops->remove ? METHOD_DELETE : 0);
}

int work_fetch(struct work *work, json_t **resource)
{
	const struct rest_type *type = work->route.type;
	json_t *got = NULL;

	if (route_is_placeholder(&work->route)) {
		*resource = json_incref(api_facts(work->api, type)->sample);
		return 0;
	}
	if (type->ops->get(&work->call, &got, &work->fault) < 0)
		return -1;
	*resource = got;
	return 0;
}

int work_list(struct work *work, struct rest_list *list)
{
	const struct rest_type *type = work->route.type;
	int r;

	list->items = json_array();
	if (!list->items)
		return rest_no_memory(&work->fault);
	if (route_is_placeholder(&work->route))
		r = json_array_append(list->items, api_facts(work->api, type)->sample);
	else
		r = type->ops->list(&work->call, list, &work->fault);
	if (r == 0)
		return 0;
	json_decref(list->items);
	list->items = NULL;
	return -1;
}

/* The hash of what is there now; false, where nothing is that could be looked at. */
static bool hash_now(struct work *work, uint64_t *hash)
{
	const struct rest_type *type = work->route.type;
	const char *base = work->request->base;
	bool collection = route_is_collection(&work->route);
	struct rest_list list = {0};
	json_t *resource = NULL;
	bool there = collection ? type->ops->list && work_list(work, &list) == 0
				: work_fetch(work, &resource) == 0;

	if (there)
		*hash = collection ? condition_hash_all(type, list.items, base)
				   : condition_hash(type, resource, base);
	json_decref(list.items);
	json_decref(resource);
	return there;
}

int work_conditions(struct work *work)
{
	const struct rest_request *request = work->request;
	const char *if_match = work->etag ? json_string_value(work->etag) : request->if_match;
	uint64_t hash = 0;
	bool there;

	if (!if_match && !request->if_none_match)
		return 0;
	there = hash_now(work, &hash);
	if (json_lacked() || (!there && work->fault.status >= 500)) /* it may well be there */
		return rest_no_memory(&work->fault);
	if (if_match && !(there && condition_match(if_match, hash)))
		return rest_refuse(
			&work->fault, 412, "changed-meanwhile", NULL,
			"it has changed since the ETag in If-Match was given, or is gone: "
			"get it again, and decide anew");
	if (request->if_none_match && there && condition_match(request->if_none_match, hash))
		return rest_refuse(&work->fault, 412, "exists", NULL,
				   "it is what If-None-Match says that it must not be");
	return 0;
}

/* How long it takes does not depend on where they differ, nor on how long the given one is. */
static bool is_same_secret(const char *given, const char *secret)
{
	size_t len = strlen(secret), given_len = strlen(given);
	unsigned differ = len != given_len;

	for (size_t i = 0; i < given_len; i++)
		differ |= (unsigned)(unsigned char)given[i] ^
			  (unsigned)(unsigned char)secret[len > 0 ? i % len : 0];
	return differ == 0;
}

/* A form body must show that it comes from a form of ours; other formats can't be sent by a page of
 * another site without its asking first. */
static int check_token(struct work *work)
{
	const char *token = work->request->form_token;
	const char *given = json_string_value(json_object_get(work->body, "_token"));

	if (!given) /* what curl -d sends unless it is told otherwise */
		return rest_refuse(&work->fault, 403, "form-token", "_token",
				   "a form is taken with the _token of its page only; a program "
				   "sends JSON instead, with Content-Type: application/json");
	if (!token || !*token || !is_same_secret(given, token))
		return rest_refuse(&work->fault, 403, "form-token", "_token",
				   "the form is none of this server's, or too old: load the page "
				   "again, and send the form from there");
	(void)json_object_del(work->body, "_token");
	return 0;
}

static int take_method(struct work *work)
{
	json_t *given = json_object_get(work->body, "_method");
	unsigned method = given ? method_of(json_is_string(given) ? json_string_value(given) : "")
				: METHOD_POST;

	if (!(method & METHODS_THAT_CHANGE))
		return rest_refuse(&work->fault, 400, "bad-method", "_method",
				   "_method is one of POST, PUT, PATCH and DELETE");
	(void)json_object_del(work->body, "_method");
	if (json_is_string(json_object_get(work->body, "_etag")))
		work->etag = json_incref(json_object_get(work->body, "_etag"));
	(void)json_object_del(work->body, "_etag");
	work->method = method;
	return 0;
}

static int read_body(struct work *work)
{
	const struct rest_request *request = work->request;
	struct err e = {0};
	int r = rest_read(request->body, request->len, work->sent, &work->body, &e);

	if (r == -ENOMEM)
		return rest_no_memory(&work->fault);
	if (r < 0)
		return rest_refuse(&work->fault, 400, "bad-body", NULL, "%s", e.text);
	if (!json_is_object(work->body) &&
	    !(json_is_array(work->body) && work->method == METHOD_PATCH))
		return rest_refuse(&work->fault, 400, "bad-body", NULL,
				   "the body must be one resource: names and their values");
	return 0;
}

static int check_size(struct work *work)
{
	if (work->request->len > REST_BODY_MAX)
		return rest_refuse(&work->fault, 413, "body-too-large", NULL,
				   "a body has at most %d bytes", REST_BODY_MAX);
	return 0;
}

/* The body of a browser's form, which says what the request really is. */
static int take_form(struct work *work)
{
	const char *type = work->request->content_type;

	if (work->method != METHOD_POST || !type || rest_format_of(type, &work->sent) < 0 ||
	    work->sent != REST_FORM_BODY)
		return 0;
	if (check_size(work) < 0 || read_body(work) < 0 || check_token(work) < 0)
		return -1;
	return take_method(work);
}

static int take_body(struct work *work)
{
	const struct rest_request *request = work->request;
	const unsigned with_body = METHOD_POST | METHOD_PUT | METHOD_PATCH;
	char shown[TEXT_SHOWN];

	if (!(work->method & with_body) || work->body)
		return 0;
	if (check_size(work) < 0)
		return -1;
	if (!request->content_type || rest_format_of(request->content_type, &work->sent) < 0)
		return rest_refuse(&work->fault, 415, "unknown-content-type", NULL,
				   "a body of type \"%s\" can't be read: send "
				   "application/x-resource+json, +yaml or +xml",
				   request->content_type ? text_shown(shown, request->content_type)
							 : "");
	if (work->sent == REST_FORM_BODY)
		return rest_refuse(&work->fault, 415, "unknown-content-type", NULL,
				   "a form's body is only taken with POST, and _method in it");
	return read_body(work);
}

static int check_method(struct work *work)
{
	unsigned allowed = methods_allowed(&work->route);
	struct buf b cleanup(buf_free) = {0};
	char shown[TEXT_SHOWN];

	if (work->method & allowed)
		return 0;
	methods_text(allowed, &b);
	say_header(work, "Allow", buf_text(&b));
	if (work->method == 0)
		return rest_refuse(&work->fault, 501, "unknown-method", NULL,
				   "%s is no method that is known here: there is %s",
				   text_shown(shown, work->request->method), buf_text(&b));
	return rest_refuse(&work->fault, 405, "method-not-allowed", NULL,
			   "%s is not possible here: there is %s",
			   text_shown(shown, work->request->method), buf_text(&b));
}

static int check_expectation(struct work *work)
{
	const unsigned look = METHOD_GET | METHOD_HEAD;

	if (expect_read(work->request->expect, &work->expect, &work->fault) < 0)
		return -1;
	if (work->expect.async && !(work->method & METHODS_THAT_CHANGE))
		return rest_refuse(&work->fault, 417, "never-asynchronous", NULL,
				   "only a change can be answered before it is done");
	if (work->expect.nonempty &&
	    !((work->method & look) && !work->route.is_form && route_is_collection(&work->route)))
		return rest_refuse(&work->fault, 417, "never-empty", NULL,
				   "only a collection can be waited for");
	if (work->expect.sync && (work->method & METHODS_THAT_CHANGE) && !work->request->ticket)
		return rest_refuse(&work->fault, 417, "no-waiting", NULL,
				   "requests can't wait for their end here");
	return 0;
}

/* A change that leaves nothing to show can be answered in no format at all. */
static int negotiate(struct work *work)
{
	const unsigned look = METHOD_GET | METHOD_HEAD;
	bool form = work->route.is_form;
	enum rest_shape shape = form ? REST_FORM : REST_RESOURCE;

	if (!form && (work->method & look) && route_is_collection(&work->route))
		shape = REST_COLLECTION;
	if (work->method & (METHOD_OPTIONS | METHOD_DELETE)) {
		work->negotiated = rest_negotiate(work->request->accept, shape, &work->format) == 0;
		return 0;
	}
	if (rest_negotiate(work->request->accept, shape, &work->format) < 0)
		return rest_refuse(&work->fault, 406, "not-acceptable", NULL,
				   "there is %s, +yaml, +xml, and text/html: Accept asks for "
				   "none of these",
				   rest_content_type(REST_JSON, shape));
	work->negotiated = true;
	return 0;
}

static enum step say_options(struct work *work)
{
	struct buf b cleanup(buf_free) = {0};

	methods_text(methods_allowed(&work->route), &b);
	say_header(work, "Allow", buf_text(&b));
	if (route_is_collection(&work->route) && !work->route.is_form)
		say_header(work, "Accept-Ranges", "resources");
	return say_nothing(work, 200);
}

/* RFC 9110, 9.3.7: of the server as such. */
static enum step say_options_of_all(struct work *work)
{
	struct buf b cleanup(buf_free) = {0};

	work->route.type = work->api->model->entry;
	work->method = METHOD_OPTIONS;
	methods_text(~0U, &b);
	say_header(work, "Allow", buf_text(&b));
	return say_nothing(work, 200);
}

/* What is told there would be passed over: "?dry-run=true" of what is done then. */
static int check_strays(struct work *work)
{
	if (!(work->method & METHODS_THAT_CHANGE))
		return 0;
	if (work->route.query && *work->route.query)
		return rest_refuse(&work->fault, 400, "bad-query", NULL,
				   "a change takes no query: what it is to know stands in its "
				   "body");
	if (work->method == METHOD_DELETE && !work->body && work->request->len > 0)
		return rest_refuse(&work->fault, 400, "bad-body", NULL, "DELETE takes no body");
	return 0;
}

static enum step answer(struct work *work)
{
	const struct rest_request *request = work->request;
	struct rest_api *api = work->api;

	if (strcmp(request->target, "*") == 0 && method_of(request->method) == METHOD_OPTIONS)
		return say_options_of_all(work);
	if (route_parse(request->target, api->model->entry, api->types, &work->route,
			&work->fault) < 0)
		return STEP_FAILED;
	work->call = (struct rest_call){
		.api = api,
		.context = api_facts(api, work->route.type)->context,
		.type = work->route.type,
		.parent = work->route.parent,
		.id = work->route.id,
		.variant = work->route.variant,
		.base = request->base,
		.user = request->user,
	};
	work->method = method_of(request->method);
	if (take_form(work) < 0 || check_method(work) < 0 || negotiate(work) < 0 ||
	    check_strays(work) < 0 || check_expectation(work) < 0)
		return STEP_FAILED;
	if (work->method == METHOD_OPTIONS)
		return say_options(work);
	if (work->method & (METHOD_GET | METHOD_HEAD))
		return work_get(work);
	if (request->ticket && *request->ticket)
		return work_resume(work);
	return take_body(work) < 0 ? STEP_FAILED : work_change(work);
}

enum rest_verdict rest_answer(struct rest_api *api, const struct rest_request *request,
			      struct rest_response *response, struct rest_wait *wait)
{
	struct work work = {.api = api, .request = request, .response = response, .wait = wait};
	uint64_t generation = keep_generation(api, request);
	enum step step;

	*response = (struct rest_response){0};
	*wait = (struct rest_wait){0};
	if (keep_find(api, request, generation, response))
		return REST_ANSWER;
	json_forget_lack();
	step = answer(&work);
	if (step == STEP_DONE && (work.lacks || json_lacked()) &&
	    !(work.method & METHODS_THAT_CHANGE)) {
		rest_response_free(response);
		step = rest_no_memory(&work.fault);
	}
	if (step == STEP_FAILED && json_lacked() && work.fault.status < 500)
		(void)rest_no_memory(&work.fault); /* what seems wrong may be what was lost */
	if (step == STEP_FAILED)
		say_fault(&work);
	else if (step == STEP_DONE && !work.route.type->fresh)
		keep_put(api, request, generation, response);
	if (work.reserved) /* for a change that came to nothing */
		job_drop(work.reserved);
	json_decref(work.body);
	json_decref(work.etag);
	if (step == STEP_HOLD)
		rest_response_free(response);
	return step == STEP_HOLD ? REST_HOLD : REST_ANSWER;
}

void rest_answer_fault(struct rest_api *api, const struct rest_request *request,
		       const struct rest_fault *fault, struct rest_response *response)
{
	struct work work = {.api = api, .request = request, .response = response, .fault = *fault};

	*response = (struct rest_response){0};
	say_fault(&work);
}
