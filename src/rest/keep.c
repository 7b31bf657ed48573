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

/* One place; which one a request has is told by the hash of its key. */
struct kept {
	char *key; /* NULL: nothing is kept here */
	uint64_t generation;
	struct rest_response response;
};

static void forget(struct kept *kept)
{
	free(kept->key);
	rest_response_free(&kept->response);
	*kept = (struct kept){0};
}

/* All that such an answer depends on. */
static void make_key(const struct rest_request *request, struct buf *key)
{
	buf_str(key, request->target);
	buf_char(key, '\n');
	buf_str(key, request->base);
	buf_char(key, '\n');
	buf_str(key, request->accept ? request->accept : "");
}

static struct kept *place_of(const struct rest_api *api, const struct buf *key)
{
	return &api->kept[hash_bytes(HASH_START, key->data, key->len) % KEPT];
}

static bool copy(struct rest_response *to, const struct rest_response *from)
{
	*to = (struct rest_response){.status = from->status, .content_type = from->content_type};
	buf_add(&to->body, from->body.data, from->body.len);
	for (size_t i = 0; i < from->nheaders; i++) {
		struct rest_header *header = &to->headers[to->nheaders];

		header->name = from->headers[i].name;
		header->value = strdup(from->headers[i].value);
		if (header->value)
			to->nheaders++;
	}
	if (buf_status(&to->body) == 0 && to->nheaders == from->nheaders)
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
	struct buf key cleanup(buf_free) = {0};
	const struct kept *kept;

	if (!api->kept || !generation)
		return false;
	make_key(request, &key);
	if (buf_status(&key) < 0)
		return false;
	kept = place_of(api, &key);
	return kept->key && kept->generation == generation &&
	       strcmp(kept->key, buf_text(&key)) == 0 && copy(response, &kept->response);
}

static bool is_worth_it(const struct rest_response *response)
{
	return response->status == 200 && response->body.len <= KEPT_BYTES &&
	       strcmp(response->content_type, rest_content_type(REST_HTML, REST_RESOURCE)) != 0;
}

void keep_put(struct rest_api *api, const struct rest_request *request, uint64_t generation,
	      const struct rest_response *response)
{
	struct buf key cleanup(buf_free) = {0};
	struct kept *kept;

	if (!generation || !is_worth_it(response))
		return;
	if (!api->kept && !(api->kept = calloc(KEPT, sizeof(*api->kept))))
		return;
	make_key(request, &key);
	if (buf_status(&key) < 0)
		return;
	kept = place_of(api, &key);
	forget(kept);
	if (!copy(&kept->response, response))
		return;
	kept->key = buf_take(&key);
	kept->generation = generation;
}

void keep_free(struct rest_api *api)
{
	for (size_t i = 0; api->kept && i < KEPT; i++)
		forget(&api->kept[i]);
	free(api->kept);
}
