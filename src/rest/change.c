/* SPDX-License-Identifier: MIT */
/*
 * POST, PUT, PATCH and DELETE, and how their end is told: at once, as a status monitor (202), after
 * having waited for the work (Expect: 201-created), or to a browser, which is sent on to what it
 * wants to see (303).
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "data/json.h"
#include "rest/condition.h"
#include "rest/work.h"

/* A job that is asked for synchronously is waited for: longer than this, and the caller is told
 * where to look instead. */
#define JOB_LIMIT 600000 /* milliseconds */

/* What a change led to. */
struct outcome {
	unsigned status;
	json_t *resource; /* dressed; NULL with 204. Owned */
	bool tagged;	  /* hash is its ETag's */
	uint64_t hash;
	char *location;	      /* what a browser is sent to; with 201 the resource. Owned */
	struct rest_job *job; /* the work goes on; NULL: it is done */
};

static void outcome_free(struct outcome *outcome)
{
	json_decref(outcome->resource);
	free(outcome->location);
}

/* A person, who posted a form and wants to see a page. */
static bool is_browser(const struct work *work)
{
	return work->sent == REST_FORM_BODY && work->format == REST_HTML && work->negotiated;
}

static enum step send_on(struct work *work, const char *location)
{
	say_header(work, "Location", location);
	return say_nothing(work, 303);
}

static enum step say_outcome(struct work *work, const struct outcome *outcome)
{
	if (is_browser(work) && outcome->location)
		return send_on(work, outcome->location);
	if (outcome->status == 201 && outcome->location)
		say_header(work, "Location", outcome->location);
	if (!outcome->resource)
		return say_nothing(work, outcome->status);
	if (outcome->tagged)
		say_tag(work, outcome->hash);
	return say_value(work, outcome->status, REST_RESOURCE, outcome->resource, work->route.type);
}

static char *monitor_url(const struct work *work, const struct rest_job *job)
{
	struct buf b cleanup(buf_free) = {0};

	buf_fmt(&b, "%s/api/%s/%" PRIu64, work->request->base, job_type.plural,
		rest_job_number(job));
	return buf_take(&b);
}

/* 202: the resource, as far as it is known, with a link to the monitor. */
static enum step say_monitor(struct work *work, json_t *resource, const struct rest_job *job)
{
	char *url cleanup(free_at) = monitor_url(work, job);
	json_t *link, *links = json_object_get(resource, "link");

	if (!url || !resource)
		return rest_no_memory(&work->fault);
	if (is_browser(work))
		return send_on(work, url);
	link = json_pack("{s:s, s:s}", "rel", "resource/monitor", "href", url);
	if ((links ? json_array_append_new(links, link)
		   : json_object_set_new(resource, "link", json_pack("[o]", link))) < 0 ||
	    (!json_object_get(resource, "href") &&
	     json_object_set_new(resource, "href", json_string(url)) < 0))
		return rest_no_memory(&work->fault);
	say_header(work, "Location", url);
	return say_value(work, 202, REST_RESOURCE, resource, work->route.type);
}

/* What is there to be shown of a deletion that is answered with 202. */
static json_t *bare_resource(const struct work *work)
{
	return json_pack("{s:s}", "_type", work->route.type->name);
}

/* How a job ended, as the answer to the request that began it. */
static enum step say_ended(struct work *work, const struct rest_job *job)
{
	const json_t *resource;
	const char *href;
	unsigned status = job_outcome(job, &resource);

	href = json_string_value(json_object_get(resource, "href"));
	if (is_browser(work) && status < 400 && href)
		return send_on(work, href);
	if (status == 201 && href)
		say_header(work, "Location", href);
	if (!resource)
		return say_nothing(work, status);
	return say_value(work, status, REST_RESOURCE, resource,
			 status < 400 ? work->route.type : NULL);
}

static enum step hold(struct work *work, struct rest_job *job)
{
	job_await(job, true);
	*work->request->ticket = rest_job_number(job);
	*work->wait = (struct rest_wait){.job = rest_job_number(job), .milliseconds = JOB_LIMIT};
	return STEP_HOLD;
}

enum step work_resume(struct work *work)
{
	struct rest_job *job = job_find(work->api, *work->request->ticket);

	if (!job)
		return rest_refuse(&work->fault, 410, "cancelled", NULL,
				   "the work was cancelled before it was done");
	if (!job_is_done(job) && !work->request->expired)
		return hold(work, job);
	job_await(job, false);
	if (job_is_done(job))
		return say_ended(work, job);
	return rest_refuse(&work->fault, 417, "still-working", NULL,
			   "the work takes longer than a request may wait: /api/%s/%" PRIu64
			   " will tell its end",
			   job_type.plural, rest_job_number(job));
}

/* The work is done, but an asynchronous answer was asked for: its monitor is done, too. */
static enum step finish_as_job(struct work *work, struct outcome *outcome)
{
	struct rest_job *job = take(work->reserved);
	json_t *resource cleanup(json_free_at) =
		outcome->resource ? json_deep_copy(outcome->resource) : bare_resource(work);

	rest_job_done(job, outcome->status, take(outcome->resource));
	return say_monitor(work, resource, job);
}

static enum step finish(struct work *work, struct outcome *outcome)
{
	struct rest_job *job = outcome->job;

	if (work->expect.sync && job)
		return job_is_done(job) ? say_ended(work, job) : hold(work, job);
	if (job)
		return say_monitor(work, outcome->resource, job);
	if (work->reserved)
		return finish_as_job(work, outcome);
	return say_outcome(work, outcome);
}

static char *url_of(const struct work *work, const struct route *route, const char *id)
{
	struct buf b cleanup(buf_free) = {0};

	route_resource_url(&b, work->request->base, route, id);
	return buf_take(&b);
}

/* Where a browser goes after something was made that has no page of its own. */
static char *page_above(const struct work *work)
{
	struct route route = {.type = work->route.type};

	if (work->route.type->ops->list)
		return url_of(work, &work->route, NULL);
	if (work->route.above)
		route.type = work->route.above;
	return url_of(work, &route, work->route.parent);
}

/* Sets the outcome's resource to what the application has now, under this id. */
static int show(struct work *work, const char *id, struct outcome *outcome)
{
	json_t *resource cleanup(json_free_at) = NULL;

	work->call.id = id;
	if (work_fetch(work, &resource) < 0)
		return -1;
	outcome->tagged = true;
	outcome->hash = condition_hash(work->route.type, resource, work->request->base);
	outcome->resource = work->route.type->plural ? dress_resource(work, resource, id)
						     : dress_entry(work, resource);
	return outcome->resource ? 0 : rest_no_memory(&work->fault);
}

/* What was made, but is no resource that could be looked at (an action): what is known of it. */
static json_t *dress_made(const struct work *work, const json_t *known)
{
	json_t *dressed = json_object(), *plain = (json_t *)(uintptr_t)known; /* only read */

	if (json_object_set_new(dressed, "_type", json_string(work->route.type->name)) < 0 ||
	    json_object_update_missing(dressed, plain) < 0 || json_lacked()) {
		json_decref(dressed);
		return NULL;
	}
	return dressed;
}

static int made_outcome(struct work *work, const json_t *input, struct rest_made *made,
			struct outcome *outcome)
{
	const json_t *known = made->resource ? made->resource : input;

	outcome->status = made->id ? 201 : 200;
	outcome->job = made->job;
	if (made->id)
		outcome->location = url_of(work, &work->route, made->id);
	else if (!made->resource)
		outcome->location = page_above(work);
	if (made->id && !made->resource)
		return show(work, made->id, outcome);
	if (made->id) {
		outcome->tagged = true;
		outcome->hash = condition_hash(work->route.type, known, work->request->base);
		outcome->resource = dress_resource(work, known, made->id);
	} else {
		outcome->resource = dress_made(work, known);
	}
	return outcome->resource ? 0 : rest_no_memory(&work->fault);
}

/* Whoever asked must not take it for undone. */
static enum step done_unseen(struct work *work)
{
	struct rest_fault fault = work->fault;

	return rest_refuse(&work->fault, 500, "not-shown", NULL,
			   "it is done, but can't be shown: %s", fault.why.text);
}

static void made_free(struct rest_made *made)
{
	free(made->id);
	json_decref(made->resource);
}

static enum step post(struct work *work)
{
	const struct rest_type *type = work->route.type;
	json_t *input cleanup(json_free_at) = NULL;
	struct rest_made made cleanup(made_free) = {0};
	struct outcome outcome cleanup(outcome_free) = {0};
	enum step step;

	if (rest_form_check(type, REST_FORM_CREATE, work->body, work->sent == REST_FORM_BODY,
			    &input, &work->fault) < 0)
		return STEP_FAILED;
	if (json_lacked()) /* what was sent may have lost a part */
		return rest_no_memory(&work->fault);
	if (type->ops->create(&work->call, input, &made, &work->fault) < 0)
		return STEP_FAILED;
	if (made_outcome(work, input, &made, &outcome) == 0)
		step = finish(work, &outcome);
	else
		step = made.id && !made.job ? done_unseen(work) : STEP_FAILED;
	/* Nobody would know where to ask for its end. */
	if (step == STEP_FAILED && made.job && !job_is_done(made.job))
		job_cancel(made.job);
	return step;
}

static enum step replace(struct work *work, const json_t *before, const json_t *body)
{
	const struct rest_type *type = work->route.type;
	json_t *input cleanup(json_free_at) = NULL;
	struct rest_made made cleanup(made_free) = {0};
	struct outcome outcome cleanup(outcome_free) = {.status = 200};

	if (rest_form_check(type, REST_FORM_UPDATE, body, work->sent == REST_FORM_BODY, &input,
			    &work->fault) < 0)
		return STEP_FAILED;
	if (json_lacked())
		return rest_no_memory(&work->fault);
	if (type->ops->replace(&work->call, input, &made, &work->fault) < 0)
		return STEP_FAILED;
	if (made.resource) {
		work->untried = before;
		outcome.resource = dress_resource(work, made.resource, work->route.id);
		return finish(work, &outcome);
	}
	outcome.location = url_of(work, &work->route, work->route.id);
	if (show(work, work->route.id, &outcome) < 0)
		return done_unseen(work);
	return finish(work, &outcome);
}

static enum step put(struct work *work)
{
	json_t *resource cleanup(json_free_at) = NULL;

	if (work_fetch(work, &resource) < 0)
		return STEP_FAILED;
	if (rest_form_fixed(work->route.type, resource, work->body, &work->fault) < 0)
		return STEP_FAILED;
	return replace(work, resource, work->body);
}

static enum step patch(struct work *work)
{
	json_t *resource cleanup(json_free_at) = NULL;
	json_t *whole cleanup(json_free_at) = NULL;

	if (work_fetch(work, &resource) < 0)
		return STEP_FAILED;
	if (rest_patch(work->route.type, resource, work->body, &whole, &work->fault) < 0)
		return STEP_FAILED;
	return replace(work, resource, whole);
}

static enum step delete (struct work *work) {
	struct outcome outcome cleanup(outcome_free) = {.status = 204};

	if (work->route.type->ops->remove(&work->call, &work->fault) < 0) return STEP_FAILED;
	outcome.location = page_above(work);
	return finish(work, &outcome);
}

enum step work_change(struct work *work)
{
	if (work_conditions(work) < 0)
		return STEP_FAILED;
	if (work->etag || work->request->if_match)
		work->call.stale = 412;
	else if (work->method == METHOD_PATCH)
		work->call.stale = 409;
	work->api->changes++;
	if (work->expect.async && !(work->reserved = rest_job_new(&work->call, NULL, NULL)))
		return rest_refuse(&work->fault, 503, "too-many-jobs", NULL,
				   "%d jobs are under way already: try again when one is done",
				   REST_JOBS_MAX);
	switch (work->method) {
	case METHOD_POST:
		return post(work);
	case METHOD_PUT:
		return put(work);
	case METHOD_PATCH:
		return patch(work);
	default:
		return delete (work);
	}
}
