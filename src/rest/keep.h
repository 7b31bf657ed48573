/* SPDX-License-Identifier: MIT */
/*
 * Answers to GET are kept while nothing changes, if the model has a generation(): who asks again
 * gets the same bytes without their being made again. Conditions, ranges and expectations are
 * answered anew, and so are pages for a browser, which hold a token.
 */
#ifndef REST_KEEP_H
#define REST_KEEP_H

#include <stdbool.h>
#include <stdint.h>

#include "rest/api.h"

struct kept;

/* How far things have changed; 0: this request's answer isn't one that is kept. */
uint64_t keep_generation(struct rest_api *api, const struct rest_request *request);
/* A copy of what was kept for such a request in this generation. False: nothing. */
bool keep_find(const struct rest_api *api, const struct rest_request *request, uint64_t generation,
	       struct rest_response *response);
/* Keeps a copy, where it is worth it. */
void keep_put(struct rest_api *api, const struct rest_request *request, uint64_t generation,
	      const struct rest_response *response);
void keep_free(struct rest_api *api);

#endif
