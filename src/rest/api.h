/* SPDX-License-Identifier: MIT */
/*
 * From a request to its answer: routing, negotiation, conditions, forms, ranges, jobs, waiting.
 * It knows no sockets: server.h brings the requests here.
 */
#ifndef REST_API_H
#define REST_API_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "rest/model.h"

struct err;
struct rest_api;

/* Checks the model (names, JSON of defaults and samples, regular expressions): -EINVAL and a
 * sentence where it is wrong. The model must outlive the api. */
int rest_api_new(const struct rest_model *model, void *context, struct rest_api **api,
		 struct err *e);
void rest_api_free(struct rest_api *api); /* cancels the jobs under way */

#define REST_BODY_MAX 65536

/* As it came, but for the limits that server.h keeps; NULL where a header is absent. Borrowed. */
struct rest_request {
	const char *method; /* "GET"; of a form with _method, rest_answer() sees to it */
	const char *target; /* path and query as sent, percent-encoded */
	const char *base;   /* "http://localhost:8080" */
	const char *user;
	const char *accept, *content_type, *expect, *range, *if_match, *if_none_match, *if_range;
	const char *form_token; /* what a form body's _token must be, and what forms carry */
	const char *body;
	size_t len;
	bool expired; /* a held request whose time has passed: answer as things are */
	/* What a held request remembers from one asking to the next, so that it never creates
	 * twice: a number that the server keeps for it, 0 at first. NULL: this caller can't hold
	 * (an Expect that needs it is refused with 417). Nothing is to be freed. */
	uint64_t *ticket;
};

#define REST_HEADERS_MAX 10
struct rest_header {
	const char *name; /* static */
	char *value;	  /* owned */
};
struct rest_response {
	unsigned status;
	const char *content_type; /* static; NULL: no body */
	struct rest_header headers[REST_HEADERS_MAX];
	size_t nheaders;
	struct buf body; /* HEAD: what GET would have */
};
void rest_response_free(struct rest_response *response); /* also for cleanup() */
const char *rest_response_header(const struct rest_response *response, const char *name);

/* What a held request waits for. It is asked again, whole, after rest_api_changed() of the type
 * or the job's end, and with expired set when the time is over. */
struct rest_wait {
	const struct rest_type *type; /* a change in its collection; NULL: job */
	uint64_t job;		      /* the end of this job */
	int64_t milliseconds;	      /* from when it was asked first */
};

enum rest_verdict {
	REST_ANSWER, /* response holds the answer */
	REST_HOLD,   /* nothing to say yet: wait */
};
enum rest_verdict rest_answer(struct rest_api *api, const struct rest_request *request,
			      struct rest_response *response, struct rest_wait *wait);

/* A fault as an answer, for what the server itself refuses (400, 401, 403, 408, 413, 421, 431,
 * 503): negotiated like any other. */
void rest_answer_fault(struct rest_api *api, const struct rest_request *request,
		       const struct rest_fault *fault, struct rest_response *response);

/* The application tells that a collection has changed; job: see rest_wait; one of the two is 0.
 * The server learns it through the listener. */
void rest_api_changed(struct rest_api *api, const struct rest_type *type);
void rest_api_listen(struct rest_api *api,
		     void (*changed)(const struct rest_type *type, uint64_t job, void *data),
		     void *data);

/* The documentation of the whole model, as a page of HTML. base: as in a request. */
int rest_document(const struct rest_api *api, const char *base, struct buf *out);

/*
 * Jobs: work that goes on after its request was answered with 202. Each has a status monitor,
 * /api/monitors/N: a resource of type "response" with "status" ("202 Accepted" until it is done)
 * and "progress" ("50%"), then with the final status, headers and body. DELETE cancels.
 * At most REST_JOBS_MAX are kept; NULL where all are under way (answered with 503) or memory is
 * out.
 */
#define REST_JOBS_MAX 64
/* What comes before the first number of a process that numbers what stands in URLs: no process
 * before has come so far, so that a client which asks after a restart isn't told of something else
 * than it began. (The clock, in milliseconds: nobody gives out a thousand a second for long.) */
uint64_t rest_numbers_start(void);
/* call: the request that begins it; what it ends with has hrefs with its base. */
struct rest_job *rest_job_new(const struct rest_call *call, void (*cancel)(void *data), void *data);
uint64_t rest_job_number(const struct rest_job *job);
/* share: 0 to 1. */
void rest_job_progress(struct rest_job *job, double share);
/* The end. resource (taken over; may be NULL) has its _type and everything. The job is the api's
 * from now on; after its cancel() was called, too. */
void rest_job_done(struct rest_job *job, unsigned status, json_t *resource);
void rest_job_failed(struct rest_job *job, const struct rest_fault *fault);

#endif
