/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ask.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "memory/memory.h"
#include "rest/represent.h"

int asked_setup(void **state)
{
	struct asked *a = calloc(1, sizeof(*a));

	*state = a;
	return a ? shelves_new(&a->app) : -1;
}

static void forget(struct asked *a)
{
	rest_response_free(&a->response);
	json_decref(a->body);
	a->body = NULL;
}

int asked_teardown(void **state)
{
	struct asked *a = *state;

	forget(a);
	shelves_free(&a->app);
	free(a);
	return 0;
}

/* Never an error without a fault; and what is sent can be read by what it says that it is. */
static void read_body(struct asked *a)
{
	const struct buf *body = &a->response.body;
	enum rest_format format = REST_HTML;
	struct err e = {0};

	if (!a->response.content_type) {
		assert_true(a->response.status < 400);
		assert_int_equal(body->len, 0);
		return;
	}
	assert_int_not_equal(body->len, 0);
	if (strncmp(a->response.content_type, "text/html", strlen("text/html")) != 0)
		assert_int_equal(rest_format_of(a->response.content_type, &format), 0);
	if (format != REST_HTML && rest_read(body->data, body->len, format, &a->body, &e) < 0)
		fail_msg("%s: %s", e.text, buf_text(body));
	if (a->response.status >= 400 && format != REST_HTML) {
		assert_string_equal(text_of(a->body, "_type"), "fault");
		assert_int_equal(json_integer_value(json_object_get(a->body, "status")),
				 a->response.status);
		assert_non_null(text_of(a->body, "reason"));
	}
}

static bool changes_nothing(const struct rest_request *request)
{
	return strcmp(request->method, "GET") == 0 || strcmp(request->method, "HEAD") == 0;
}

/* Whatever there is no memory for, that is said, and nothing half is answered; but another fault
 * may go out without a header. */
static void ask_without_memory(struct asked *a, const struct rest_request *request)
{
	unsigned others = 500;

	for (unsigned nth = 1; memory_refuse(&nth);) {
		uint64_t ticket = *request->ticket;
		struct rest_wait wait = {0};

		a->verdict = rest_answer(a->app.api, request, &a->response, &wait);
		if (!memory_refused())
			assert_true(others == 500 || others == a->response.status);
		else if (a->response.status != 500)
			others = a->response.status;
		assert_true(others >= 400);
		*request->ticket = ticket;
		forget(a);
	}
}

void ask(struct asked *a, struct rest_request request)
{
	forget(a);
	if (!request.base)
		request.base = BASE;
	if (!request.form_token)
		request.form_token = SHELVES_TOKEN;
	if (!request.ticket)
		request.ticket = &a->ticket;
	if (changes_nothing(&request))
		ask_without_memory(a, &request);
	a->verdict = rest_answer(a->app.api, &request, &a->response, &a->wait);
	if (a->verdict == REST_ANSWER) {
		a->ticket = 0;
		read_body(a);
	}
}

void answered(const struct asked *a, unsigned status)
{
	assert_int_equal(a->verdict, REST_ANSWER);
	if (a->response.status != status)
		fail_msg("%u instead of %u: %s", a->response.status, status,
			 buf_text(&a->response.body));
}

void refused(const struct asked *a, unsigned status, const char *code)
{
	answered(a, status);
	assert_string_equal(text_of(a->body, "code"), code);
}

const char *header_of(const struct asked *a, const char *name)
{
	return rest_response_header(&a->response, name);
}

const char *text_of(const json_t *object, const char *name)
{
	return json_string_value(json_object_get(object, name));
}

const char *link_of(const json_t *resource, const char *rel, const char *type)
{
	const json_t *link;
	size_t i;

	json_array_foreach(json_object_get(resource, "link"), i, link)
	{
		const char *about = text_of(link, "type");

		if (strcmp(text_of(link, "rel"), rel) != 0 ||
		    (type && (!about || strcmp(about, type) != 0)))
			continue;
		assert_int_equal(strncmp(text_of(link, "href"), BASE, strlen(BASE)), 0);
		return text_of(link, "href") + strlen(BASE);
	}
	return NULL;
}
