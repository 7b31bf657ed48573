/* SPDX-License-Identifier: MIT */
/*
 * Requests to the API on the model of its unit tests. The input is written like a request: the
 * method and the target in a line, headers in lines, an empty line, the body; then, behind a zero
 * byte, the next request to the same server.
 *
 * Whatever is asked: no 4xx or 5xx without a fault that says the same, a body is what its
 * Content-Type says, and what is held is answered when its time is over.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "../unit/rest/shelves.h"
#include "base/mem.h"
#include "rest/represent.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void must(bool is, const char *what, const struct rest_response *response)
{
	if (is)
		return;
	(void)fprintf(stderr, "%s: %u %s\n", what, response->status, buf_text(&response->body));
	abort();
}

/* The headers that say what the body can't. */
static void check_headers(const struct rest_response *response)
{
	static const struct {
		unsigned status;
		const char *header;
	} needed[] = {{201, "Location"},     {202, "Location"}, {206, "Content-Range"},
		      {303, "Location"},     {304, "ETag"},	{405, "Allow"},
		      {416, "Content-Range"}};

	for (size_t i = 0; i < COUNT(needed); i++)
		must(response->status != needed[i].status ||
			     rest_response_header(response, needed[i].header),
		     needed[i].header, response);
	for (size_t i = 0; i < response->nheaders; i++)
		must(!strpbrk(response->headers[i].value, "\r\n"), "a header of two lines",
		     response);
}

static void check_fault(const struct rest_response *response, const json_t *value)
{
	const char *type = json_string_value(json_object_get(value, "_type"));

	must(type && strcmp(type, "fault") == 0, "no fault", response);
	must(json_integer_value(json_object_get(value, "status")) == response->status,
	     "a fault of another status", response);
	must(json_string_length(json_object_get(value, "reason")) > 0, "no reason", response);
	must(json_string_length(json_object_get(value, "code")) > 0, "no code", response);
	must(strcmp(json_string_value(json_object_get(value, "code")), "internal") != 0,
	     "a defect of the server", response);
}

static void check_answer(const struct rest_response *response)
{
	const struct buf *body = &response->body;
	enum rest_format format = REST_HTML;
	struct err e = {0};
	json_t *value = NULL;

	check_headers(response);
	must(response->status >= 200 && response->status < 600, "a strange status", response);
	if (!response->content_type) {
		must(body->len == 0 && response->status < 400, "a body of no type", response);
		return;
	}
	must(body->len > 0, "an empty body", response);
	if (strncmp(response->content_type, "text/html", strlen("text/html")) == 0) {
		must(strlen(body->data) == body->len, "a NUL in a page", response);
		return;
	}
	must(rest_format_of(response->content_type, &format) == 0, "a strange type", response);
	if (rest_read(body->data, body->len, format, &value, &e) < 0)
		must(false, e.text, response);
	if (response->status >= 400)
		check_fault(response, value);
	json_decref(value);
}

/* Asks, and asks again when the time is over. */
static void ask(struct shelves *app, struct rest_request *request)
{
	struct rest_response response = {0};
	struct rest_wait wait;
	uint64_t ticket = 0;

	request->ticket = &ticket;
	if (rest_answer(app->api, request, &response, &wait) == REST_HOLD) {
		must(!wait.type != !wait.job && wait.milliseconds > 0, "a wait for nothing",
		     &response);
		request->expired = true;
		must(rest_answer(app->api, request, &response, &wait) == REST_ANSWER,
		     "held for ever", &response);
	}
	check_answer(&response);
	rest_response_free(&response);
}

static void set_header(struct rest_request *request, const char *name, const char *value)
{
	const struct {
		const char *name;
		const char **to;
	} known[] = {
		{"Accept", &request->accept},	  {"Content-Type", &request->content_type},
		{"Expect", &request->expect},	  {"Range", &request->range},
		{"If-Match", &request->if_match}, {"If-None-Match", &request->if_none_match},
	};

	for (size_t i = 0; i < COUNT(known); i++) {
		if (strcasecmp(known[i].name, name) == 0)
			*known[i].to = value;
	}
}

/* Reads the lines up to an empty one; the text is cut into strings. Returns where the body is. */
static char *read_lines(char *text, struct rest_request *request)
{
	char *line = strsep(&text, "\n"), *value;

	request->method = strsep(&line, " ");
	request->target = line ? line : "";
	while ((line = strsep(&text, "\n")) && *line) {
		value = strchr(line, ':');
		if (!value)
			continue;
		*value++ = '\0';
		set_header(request, line, value + strspn(value, " "));
	}
	return text;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct shelves app;

	if (shelves_new(&app) < 0)
		abort();
	shelves_happen(&app, "opened");
	while (len > 0) {
		const uint8_t *end = memchr(data, 0, len);
		size_t part = end ? (size_t)(end - data) : len;
		char *text = malloc(part + 1), *body;
		struct rest_request request = {
			.base = "http://localhost", .user = "fuzz", .form_token = SHELVES_TOKEN};

		if (!text)
			abort();
		memcpy(text, data, part);
		text[part] = '\0';
		body = read_lines(text, &request);
		if (body) {
			request.body = body;
			request.len = (size_t)(text + part - body);
		}
		ask(&app, &request);
		free(text);
		data += part + (end != NULL);
		len -= part + (end != NULL);
	}
	shelves_free(&app);
	return 0;
}
