/* SPDX-License-Identifier: MIT */
/* What the parts of the api share while they answer a request. Private to them. */
#ifndef REST_WORK_H
#define REST_WORK_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "rest/api.h"
#include "rest/expect.h"
#include "rest/represent.h"
#include "rest/route.h"

/* What is worked out of a type once, so that no request has to. */
struct facts {
	const struct rest_type *type;
	void *context; /* for its operations */
	bool live;     /* an attribute changes by itself */
	bool searchable;
	json_t *sample; /* the placeholder, without _type, href and link */
};

struct rest_api {
	const struct rest_model *model;
	void *context;
	const struct rest_type **types; /* the model's at the top, and monitors; ends with NULL */
	struct facts *facts;
	size_t nfacts, facts_room;
	struct rest_job *jobs[REST_JOBS_MAX];
	uint64_t last_job;
	uint64_t changes;  /* how often something was changed, as far as the library saw it */
	struct kept *kept; /* keep.c; NULL: none yet */
	void (*changed)(const struct rest_type *type, uint64_t job, void *data);
	void *data;
};

const struct facts *api_facts(const struct rest_api *api, const struct rest_type *type);

/* model.c: whether the model is right; and the facts of all its types. */
int model_check(const struct rest_model *model, struct err *e);
int model_facts(struct rest_api *api, const struct rest_type *type, void *context, struct err *e);

enum method {
	METHOD_GET = 1 << 0,
	METHOD_HEAD = 1 << 1,
	METHOD_OPTIONS = 1 << 2,
	METHOD_POST = 1 << 3,
	METHOD_PUT = 1 << 4,
	METHOD_PATCH = 1 << 5,
	METHOD_DELETE = 1 << 6,
};
#define METHODS_THAT_CHANGE (METHOD_POST | METHOD_PUT | METHOD_PATCH | METHOD_DELETE)
unsigned method_of(const char *name); /* 0: unknown */
unsigned methods_allowed(const struct route *route);
void methods_text(unsigned methods, struct buf *b); /* "GET, HEAD" */

/* A request on its way to its answer. */
struct work {
	struct rest_api *api;
	const struct rest_request *request;
	struct rest_response *response;
	struct rest_wait *wait;
	struct route route;
	struct rest_call call;
	struct expect expect;
	unsigned method; /* one of enum method; of a form with _method, what that says */
	bool negotiated;
	enum rest_format format;   /* of the answer */
	enum rest_format sent;	   /* of the body */
	json_t *body;		   /* owned; NULL: none */
	json_t *etag;		   /* a form's, instead of If-Match. Owned; NULL: none */
	struct rest_job *reserved; /* for Expect: 202-accepted */
	const json_t *untried;	   /* what is there, where the answer shows what was only tried */
	bool lacks;		   /* for want of memory, a header; see say_header() */
	struct rest_fault fault;
};

/* How a step of it ended. */
enum step {
	STEP_FAILED = -1, /* the fault says why */
	STEP_DONE,
	STEP_HOLD,
};

enum step work_get(struct work *work);	  /* get.c: GET and HEAD */
enum step work_change(struct work *work); /* change.c: POST, PUT, PATCH, DELETE */
enum step work_resume(struct work *work); /* change.c: a held change is asked again */

/* The resource as the application has it (a new reference). -1 and the fault. */
int work_fetch(struct work *work, json_t **resource);
/* All of the collection's. */
int work_list(struct work *work, struct rest_list *list);
/* Checks the request's conditions on what is to be changed. -1 and the fault (412). */
int work_conditions(struct work *work);

/* Only the items that the query asks for stay (a new array). -1 and the fault. */
int search_items(struct work *work, json_t **items);

/*
 * Puts on what every resource has: _type, id and href in front, link behind. The URL is the
 * route's, with the id given. A new object; NULL: out of memory.
 */
json_t *dress_resource(const struct work *work, const json_t *resource, const char *id);
json_t *dress_entry(const struct work *work, const json_t *resource);

/* say.c: the answer. Headers: the value is copied. Where there is no memory for one, a request that
 * changes nothing fails; the answer to a change goes without it. */
void say_header(struct work *work, const char *name, const char *value);
void say_tag(struct work *work, uint64_t hash);
enum step say_value(struct work *work, unsigned status, enum rest_shape shape, const json_t *value,
		    const struct rest_type *type);
/* The form of a type, for this request. current: what is to be changed by it; NULL: nothing yet. */
json_t *say_form(const struct work *work, const struct route *route, enum rest_form_kind kind,
		 const json_t *current);
enum step say_nothing(struct work *work, unsigned status);
void say_fault(struct work *work);
json_t *say_fault_resource(const struct rest_fault *fault);
const char *say_phrase(unsigned status); /* "Not Found" */

/* job.c */
extern const struct rest_type job_type;
bool job_is_done(const struct rest_job *job);
struct rest_job *job_find(const struct rest_api *api, uint64_t number);
void job_await(struct rest_job *job, bool awaited); /* kept longer than others */
void job_drop(struct rest_job *job);		    /* without a word to anybody */
void job_cancel(struct rest_job *job);		    /* ends the work, and drops it */
/* How it ended. Borrowed. */
unsigned job_outcome(const struct rest_job *job, const json_t **resource);
void jobs_free(struct rest_api *api);

#endif
