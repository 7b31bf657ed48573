/* SPDX-License-Identifier: MIT */
/* Jobs and their status monitors, /api/monitors/N. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "data/json.h"
#include "rest/work.h"

struct rest_job {
	struct rest_api *api;
	uint64_t number;
	void (*cancel)(void *data);
	void *data;
	double progress;
	unsigned status; /* 0: under way */
	json_t *resource;
	bool awaited; /* by a held request, which will ask for the end */
	char base[];  /* of the hrefs in resource: as who began it calls this host */
};

bool job_is_done(const struct rest_job *job)
{
	return job->status != 0;
}

void job_await(struct rest_job *job, bool awaited)
{
	job->awaited = awaited;
}

unsigned job_outcome(const struct rest_job *job, const json_t **resource)
{
	*resource = job->resource;
	return job->status;
}

struct rest_job *job_find(const struct rest_api *api, uint64_t number)
{
	for (size_t i = 0; i < REST_JOBS_MAX; i++) {
		if (api->jobs[i] && api->jobs[i]->number == number)
			return api->jobs[i];
	}
	return NULL;
}

void job_drop(struct rest_job *job)
{
	for (size_t i = 0; i < REST_JOBS_MAX; i++) {
		if (job->api->jobs[i] == job)
			job->api->jobs[i] = NULL;
	}
	json_decref(job->resource);
	free(job);
}

void job_cancel(struct rest_job *job)
{
	if (!job_is_done(job) && job->cancel)
		job->cancel(job->data);
	job_drop(job);
}

void jobs_free(struct rest_api *api)
{
	for (size_t i = 0; i < REST_JOBS_MAX; i++) {
		if (api->jobs[i])
			job_cancel(api->jobs[i]);
	}
}

/* Which of two that are done can go: one that nobody waits for, then the older one. */
static bool goes_before(const struct rest_job *one, const struct rest_job *other)
{
	if (one->awaited != other->awaited)
		return other->awaited;
	return one->number < other->number;
}

/* A free place, if need be that of a job which is done. */
static struct rest_job **find_place(struct rest_api *api)
{
	struct rest_job **best = NULL;

	for (size_t i = 0; i < REST_JOBS_MAX; i++) {
		struct rest_job **at = &api->jobs[i];

		if (!*at)
			return at;
		if (job_is_done(*at) && (!best || goes_before(*at, *best)))
			best = at;
	}
	if (best)
		job_drop(*best);
	return best;
}

uint64_t rest_numbers_start(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

struct rest_job *rest_job_new(const struct rest_call *call, void (*cancel_job)(void *data),
			      void *data)
{
	struct rest_api *api = call->api;
	struct rest_job **place = find_place(api);
	size_t room = strlen(call->base) + 1;
	struct rest_job *job = place ? calloc(1, sizeof(*job) + room) : NULL;

	if (!job)
		return NULL;
	*job = (struct rest_job){
		.api = api, .number = ++api->last_job, .cancel = cancel_job, .data = data};
	memcpy(job->base, call->base, room);
	*place = job;
	rest_api_changed(api, &job_type);
	return job;
}

uint64_t rest_job_number(const struct rest_job *job)
{
	return job->number;
}

void rest_job_progress(struct rest_job *job, double share)
{
	job->progress = share >= 1 ? 1 : share > 0 ? share : 0;
	rest_api_changed(job->api, &job_type);
}

static void end(struct rest_job *job, unsigned status, json_t *resource)
{
	struct rest_api *api = job->api;

	if (job_is_done(job)) {
		json_decref(resource);
		return;
	}
	job->status = status;
	job->resource = resource;
	rest_api_changed(api, &job_type);
	if (api->changed)
		api->changed(NULL, job->number, api->data);
}

void rest_job_done(struct rest_job *job, unsigned status, json_t *resource)
{
	end(job, status, resource);
}

void rest_job_failed(struct rest_job *job, const struct rest_fault *fault)
{
	end(job, fault->status, say_fault_resource(fault));
}

/* The monitor, as a resource like any other. */

static const struct rest_field fields[] = {
	{.name = "status",
	 .use = REST_LIVE | REST_BRIEF,
	 .sample = "\"202 Accepted\"",
	 .help = "202 Accepted until the work is done, then the status of its answer."},
	{.name = "progress",
	 .use = REST_LIVE | REST_BRIEF,
	 .sample = "\"50%\"",
	 .help = "How much of the work is done."},
	{.name = "headers",
	 .kind = REST_OBJECT,
	 .use = REST_LIVE,
	 .sample = "[]",
	 .help = "The headers of the answer, once the work is done: name and value of each."},
	{.name = "body",
	 .kind = REST_OBJECT,
	 .use = REST_LIVE,
	 .help = "The resource that the answer consists of, once the work is done."},
	{0},
};

/* Makes the hrefs in it those of another base. (json_lacked() is asked in the end.) */
static void rebase(json_t *value, const char *from, const char *to)
{
	size_t len = strlen(from), i;
	const char *key, *href;
	json_t *part;

	json_array_foreach(value, i, part)
	{
		rebase(part, from, to);
	}
	json_object_foreach(value, key, part)
	{
		href = strcmp(key, "href") == 0 ? json_string_value(part) : NULL;
		if (!href)
			rebase(part, from, to);
		else if (strncmp(href, from, len) == 0 && href[len] == '/')
			json_object_set_new(value, key, json_sprintf("%s%s", to, href + len));
	}
}

static json_t *headers_of(unsigned status, const json_t *body)
{
	const json_t *href = json_object_get(body, "href");

	if (status != 201 || !href)
		return json_array();
	return json_pack("[{s:s, s:s}]", "name", "Location", "value", json_string_value(href));
}

static json_t *monitor(const struct rest_job *job, const struct rest_call *call)
{
	unsigned status = job->status ? job->status : 202;
	double progress = job->status ? 1 : job->progress;
	json_t *body = json_deep_copy(job->resource);

	rebase(body, job->base, call->base);
	return json_pack("{s:o, s:o, s:o, s:o, s:o?}", "id", json_sprintf("%" PRIu64, job->number),
			 "status", json_sprintf("%u %s", status, say_phrase(status)), "progress",
			 json_sprintf("%d%%", (int)(progress * 100)), "headers",
			 headers_of(status, body), "body", body);
}

static int list_jobs(const struct rest_call *call, struct rest_list *list, struct rest_fault *fault)
{
	const struct rest_api *api = call->api;

	/* In the order of their numbers: places are used again. */
	for (uint64_t last = 0;;) {
		const struct rest_job *next = NULL;

		for (size_t i = 0; i < REST_JOBS_MAX; i++) {
			const struct rest_job *job = api->jobs[i];

			if (job && job->number > last && (!next || job->number < next->number))
				next = job;
		}
		if (!next)
			return 0;
		if (json_array_append_new(list->items, monitor(next, call)) < 0)
			return rest_no_memory(fault);
		last = next->number;
	}
}

static struct rest_job *called(const struct rest_call *call, struct rest_fault *fault)
{
	for (size_t i = 0; i < REST_JOBS_MAX; i++) {
		struct rest_job *job = call->api->jobs[i];
		char number[24];

		if (!job)
			continue;
		(void)snprintf(number, sizeof(number), "%" PRIu64, job->number);
		if (strcmp(number, call->id) == 0)
			return job;
	}
	(void)rest_refuse(fault, 404, "no-monitor", NULL,
			  "there is no such monitor: it was cancelled, or it was done and had to "
			  "make room (%d are kept)",
			  REST_JOBS_MAX);
	return NULL;
}

static int get_job(const struct rest_call *call, json_t **resource, struct rest_fault *fault)
{
	const struct rest_job *job = called(call, fault);

	if (!job)
		return -1;
	*resource = monitor(job, call);
	return *resource ? 0 : rest_no_memory(fault);
}

static int remove_job(const struct rest_call *call, struct rest_fault *fault)
{
	struct rest_job *job = called(call, fault);
	struct rest_api *api = call->api;
	uint64_t number;

	if (!job)
		return -1;
	number = job->number;
	job_cancel(job);
	rest_api_changed(api, &job_type);
	if (api->changed)
		api->changed(NULL, number, api->data);
	return 0;
}

static const struct rest_ops ops = {.list = list_jobs, .get = get_job, .remove = remove_job};

const struct rest_type job_type = {
	.name = "response",
	.plural = "monitors",
	.summary = "The status monitor of a request whose work goes on after 202 Accepted. "
		   "Deleting it cancels the work.",
	.fields = fields,
	.ops = &ops,
};
