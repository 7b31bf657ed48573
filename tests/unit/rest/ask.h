/* SPDX-License-Identifier: MIT */
/* Requests to the shelves, and what comes back. Include it behind cmocka.h. */
#ifndef TESTS_REST_ASK_H
#define TESTS_REST_ASK_H

#include "rest/api.h"
#include "shelves.h"

struct asked {
	struct shelves app;
	enum rest_verdict verdict;
	struct rest_response response;
	struct rest_wait wait;
	uint64_t ticket;
	json_t *body; /* what the response's body says; NULL: no body, or HTML */
};

/* A new application for each test: cmocka's setup and teardown. */
int asked_setup(void **state);
int asked_teardown(void **state);

/* Asks; base, form_token and ticket are filled in where they are missing. */
void ask(struct asked *a, struct rest_request request);
/* ASK(a, "GET", "/api", .accept = "text/html"); */
#define ASK(a, m, t, ...) ask(a, (struct rest_request){.method = (m), .target = (t), __VA_ARGS__})
#define JSON(text)	  .content_type = "application/json", .body = (text), .len = strlen(text)
#define FORM(text)                                                                                 \
	.content_type = "application/x-www-form-urlencoded",                                       \
	.body = "_token=" SHELVES_TOKEN "&" text, .len = strlen("_token=" SHELVES_TOKEN "&" text)

/* Fails unless it was answered so; with a fault, unless it bears the code. */
void answered(const struct asked *a, unsigned status);
void refused(const struct asked *a, unsigned status, const char *code);

const char *header_of(const struct asked *a, const char *name); /* NULL: absent */
const char *text_of(const json_t *object, const char *name);
/* The URL behind base of the link with this rel (and type, unless NULL); NULL: no such link. */
const char *link_of(const json_t *resource, const char *rel, const char *type);

#define BASE "http://localhost:8640"

#endif
