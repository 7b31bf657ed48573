/* SPDX-License-Identifier: MIT */
#include "rest/keep.h"

#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "rest/represent.h"
#include "rest/work.h"

/* Memory for them stays below 2 MB, whatever is asked for. */
enum { KEPT = 64, KEPT_BYTES = 32 << 10 };

/* One place; which one a request has is told by its hash. */
struct kept {
	char *target, *base, *accept; /* of the request; NULL: nothing is kept here */
	uint64_t generation;
	struct rest_response response;
};

static void forget(struct kept *kept)
{
	free(kept->target);
	free(kept->base);
	free(kept->accept);
	rest_response_free(&kept->response);
	*kept = (struct kept){0};
}

static const char *accept_of(const struct rest_request *request)
{
	return request->accept ? request->accept : "";
}

static struct kept *place_of(const struct rest_api *api, const struct rest_request *request)
{
	const char *accept = accept_of(request);
	uint64_t hash = HASH_START;

	hash = hash_bytes(hash, request->target, strlen(request->target) + 1);
	hash = hash_bytes(hash, request->base, strlen(request->base) + 1);
	hash = hash_bytes(hash, accept, strlen(accept));
	return &api->kept[hash % KEPT];
}

static bool copy(struct rest_response *to, const struct rest_response *from)
{
	*to = (struct rest_response){.status = from->status, .content_type = from->content_type};
	buf_add(&to->body, from->body.data, from->body.len);
	for (size_t i = 0; i < from->nheaders; i++) {
		to->headers[i] =
			(struct rest_header){from->headers[i].name, strdup(from->headers[i].value)};
		to->nheaders++;
		to->body.failed |= !to->headers[i].value;
	}
	if (buf_status(&to->body) == 0)
		return true;
	rest_response_free(to);
	*to = (struct rest_response){0};
	return false;
}

uint64_t keep_generation(struct rest_api *api, const struct rest_request *request)
{
	bool look = strcmp(request->method, "GET") == 0 || strcmp(request->method, "HEAD") == 0;

	if (!look || !api->model->generation || request->expect || request->range ||
	    request->if_match || request->if_none_match)
		return 0;
	/* Both only count up: so the sum is another one when one of them is. */
	return 1 + api->changes + api->model->generation(api->context);
}

bool keep_find(const struct rest_api *api, const struct rest_request *request, uint64_t generation,
	       struct rest_response *response)
{
	const struct kept *kept = api->kept && generation ? place_of(api, request) : NULL;

	return kept && kept->target && kept->generation == generation &&
	       strcmp(kept->target, request->target) == 0 &&
	       strcmp(kept->base, request->base) == 0 &&
	       strcmp(kept->accept, accept_of(request)) == 0 && copy(response, &kept->response);
}

static bool is_worth_it(const struct rest_response *response)
{
	return response->status == 200 && response->body.len <= KEPT_BYTES &&
	       strcmp(response->content_type, rest_content_type(REST_HTML, REST_RESOURCE)) != 0;
}

void keep_put(struct rest_api *api, const struct rest_request *request, uint64_t generation,
	      const struct rest_response *response)
{
	struct kept *kept;

	if (!generation || !is_worth_it(response))
		return;
	if (!api->kept && !(api->kept = calloc(KEPT, sizeof(*api->kept))))
		return;
	kept = place_of(api, request);
	forget(kept);
	*kept = (struct kept){.target = strdup(request->target),
			      .base = strdup(request->base),
			      .accept = strdup(accept_of(request)),
			      .generation = generation};
	if (!kept->target || !kept->base || !kept->accept || !copy(&kept->response, response))
		forget(kept);
}

void keep_free(struct rest_api *api)
{
	for (size_t i = 0; api->kept && i < KEPT; i++)
		forget(&api->kept[i]);
	free(api->kept);
}
