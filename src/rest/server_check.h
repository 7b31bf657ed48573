/* SPDX-License-Identifier: MIT */
/* A request as the api is to see it, or why it isn't let in. Private to the server. */
#ifndef REST_SERVER_CHECK_H
#define REST_SERVER_CHECK_H

#include <microhttpd.h>
#include <stdbool.h>
#include <stddef.h>

#include "rest/access.h"
#include "rest/api.h"
#include "rest/server.h"

struct client;

/* The headers that the server or the api reads. */
enum header {
	HEADER_HOST,
	HEADER_ORIGIN,
	HEADER_AUTHORIZATION,
	HEADER_CONTENT_LENGTH,
	HEADER_TRANSFER_ENCODING,
	HEADER_CONTENT_TYPE,
	HEADER_RANGE,
	HEADER_IF_RANGE,
	HEADER_ACCEPT, /* from here on lists: several are as good as one with commas */
	HEADER_EXPECT,
	HEADER_IF_MATCH,
	HEADER_IF_NONE_MATCH,
	HEADERS
};

struct check {
	struct rest_request request;
	const struct rest_route *route; /* where it isn't the api's */
	bool refused;
	enum rest_refusal kind;
	struct rest_fault fault;
	unsigned long long body_len; /* as announced */
	bool asks_first;	     /* waits for "100 Continue" before it sends its body */

	const char *headers[HEADERS];
	char *joined[HEADERS]; /* of lists that came in several headers */
	enum header twice;     /* one that must not; HEADERS: none */
	bool unclear;	       /* others might read one of them differently */
	char host[HOST_NAME];
	char base[HOST_NAME + 16];
};

/* Reads the request. Can be called again: it changes nothing. What check holds is borrowed from the
 * connection. */
void check_request(struct client *client, const char *method, const char *version,
		   struct check *check);
void check_free(struct check *check); /* also for cleanup() */
bool check_has_body(struct MHD_Connection *connection);
/* Counts the refusal and logs it. */
void check_log(struct client *client, const struct check *check);
/* The same where the api refused a form for its token. */
void check_form_refusal(struct client *client, const struct rest_request *request,
			const struct rest_response *response);

#endif
