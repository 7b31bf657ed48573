/* SPDX-License-Identifier: MIT */
/* The rules of the API that are about changes and refusals: tests for each, by its number. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "ask.h"
#include "base/mem.h"
#include "data/json.h"
#include "memory/memory.h"

static json_int_t places_of(struct asked *a)
{
	return json_integer_value(json_object_get(a->body, "places"));
}

static void test_rule_7_post_creates(void **state)
{
	struct asked *a = *state;

	ASK(a, "POST", "/api/shelves", JSON("{\"_type\": \"shelf\", \"name\": \"new\"}"));
	answered(a, 201);
	assert_string_equal(header_of(a, "Location"), BASE "/api/shelves/new");
	assert_string_equal(text_of(a->body, "href"), BASE "/api/shelves/new");
	assert_int_equal(places_of(a), 10); /* the default */
	assert_non_null(header_of(a, "ETag"));
	/* A creation that brings its resource along. */
	ASK(a, "POST", "/api/shelves/low/books", JSON("{\"title\": \"Emma\"}"));
	answered(a, 201);
	assert_string_equal(header_of(a, "Location"), BASE "/api/shelves/low/books/2");
	assert_string_equal(text_of(a->body, "title"), "Emma");
}

static void test_rule_7_post_understands_every_format(void **state)
{
	static const struct {
		const char *type, *body;
	} sent[] = {
		{"application/x-resource+json; charset=utf-8", "{\"name\": \"a\", \"places\": 3}"},
		{"application/x-resource+yaml", "!shelf\nname: b\nplaces: 3\n"},
		{"application/xml", "<shelf><name type=\"xs:string\">c</name>"
				    "<places type=\"xs:integer\">3</places></shelf>"},
		{"application/x-www-form-urlencoded",
		 "name=d&places=3&locked=&_token=" SHELVES_TOKEN "&_type=shelf"},
	};
	struct asked *a = *state;

	for (size_t i = 0; i < COUNT(sent); i++) {
		ASK(a, "POST", "/api/shelves", .content_type = sent[i].type, .body = sent[i].body,
		    .len = strlen(sent[i].body));
		answered(a, 201);
		assert_int_equal(places_of(a), 3);
	}
}

static void test_rule_7_put_replaces_whole(void **state)
{
	struct asked *a = *state;

	ASK(a, "PUT", "/api/shelves/low", JSON("{\"labels\": [\"old\"]}"));
	answered(a, 200);
	assert_int_equal(places_of(a), 10); /* left out: the default, not what it was */
	assert_int_equal(json_array_size(json_object_get(a->body, "labels")), 1);
	assert_string_equal(text_of(a->body, "name"), "low");
	/* What was got can be sent back. */
	ASK(a, "PUT", "/api/shelves/low",
	    JSON("{\"_type\": \"shelf\", \"id\": \"low\", \"href\": \"http://x/\", \"link\": [], "
		 "\"name\": \"low\", \"places\": 3, \"visits\": 2}"));
	answered(a, 200);
	assert_int_equal(places_of(a), 3);
	ASK(a, "PUT", "/api/shelves/high", JSON("{\"places\": 3}"));
	answered(a, 404);
	ASK(a, "PUT", "/api/shelves/low", JSON("{\"name\": \"else\"}"));
	refused(a, 400, "fixed-field");
}

static void page_has(struct asked *a, const char *text)
{
	if (!strstr(buf_text(&a->response.body), text))
		fail_msg("no %s in %s", text, buf_text(&a->response.body));
}

/* An application may show what would come of a request, and do nothing. */
static void test_rule_7_a_trial_changes_nothing(void **state)
{
	static const char html[] = "text/html";
	struct asked *a = *state;

	ASK(a, "POST", "/api/shelves",
	    JSON("{\"name\": \"new\", \"places\": 99, \"trial\": true}"));
	answered(a, 200);
	assert_string_equal(text_of(a->body, "_type"), "shelf");
	assert_int_equal(places_of(a), 99);
	assert_null(header_of(a, "Location"));
	ASK(a, "PATCH", "/api/shelves/low", JSON("{\"places\": 99, \"trial\": true}"));
	answered(a, 200);
	assert_int_equal(places_of(a), 99);
	assert_string_equal(text_of(a->body, "href"), BASE "/api/shelves/low");
	assert_null(header_of(a, "ETag")); /* it isn't what is there */
	/* A person sees it, too, and isn't sent on. */
	ASK(a, "POST", "/api/shelves", FORM("name=new&places=99&trial=true"), .accept = html);
	answered(a, 200);
	assert_non_null(strstr(buf_text(&a->response.body), ">99<"));
	ASK(a, "GET", "/api/shelves");
	assert_int_equal(json_array_size(a->body), 1);
}

/* The page that tells of it has the form that does it: with what was tried, for what is there. */
static void test_rule_7_a_trial_is_followed_by_the_deed(void **state)
{
	static const char html[] = "text/html";
	struct asked *a = *state;
	char tag[64], hidden[128], body[200];
	const char *trial;

	ASK(a, "GET", "/api/shelves/low;update");
	(void)snprintf(tag, sizeof(tag), "%.*s", 17, text_of(a->body, "etag") + 1);
	(void)snprintf(hidden, sizeof(hidden), "name=\"_etag\" value=\"&quot;%s", tag);
	ASK(a, "POST", "/api/shelves/low", FORM("_method=PUT&places=99&trial=true"),
	    .accept = html);
	answered(a, 200);
	page_has(a, hidden);
	page_has(a, "value=\"99\"");
	trial = strstr(buf_text(&a->response.body), "name=\"trial\"");
	assert_non_null(trial);
	assert_true(strstr(trial, "<option value=\"false\" selected") < strstr(trial, "</select>"));
	(void)snprintf(body, sizeof(body),
		       "_token=" SHELVES_TOKEN "&_method=PUT&_etag=\"%sf\"&places=99", tag);
	ASK(a, "POST", "/api/shelves/low", .content_type = "application/x-www-form-urlencoded",
	    .body = body, .len = strlen(body), .accept = html);
	answered(a, 303);
	ASK(a, "GET", "/api/shelves/low");
	assert_int_equal(places_of(a), 99);
}

static void test_rule_7_delete(void **state)
{
	struct asked *a = *state;

	ASK(a, "DELETE", "/api/shelves/low");
	answered(a, 204);
	assert_null(a->response.content_type);
	ASK(a, "DELETE", "/api/shelves/low");
	answered(a, 404);
}

static void test_rule_7_head_is_what_get_is(void **state)
{
	struct asked *a = *state;

	ASK(a, "HEAD", "/api/shelves/low/books/1");
	answered(a, 200);
	assert_string_equal(text_of(a->body, "title"), "Ulysses"); /* the server leaves it out */
	assert_non_null(header_of(a, "ETag"));
}

static void test_rule_7_options(void **state)
{
	struct asked *a = *state;

	ASK(a, "OPTIONS", "/api/shelves");
	answered(a, 200);
	assert_string_equal(header_of(a, "Allow"), "GET, HEAD, OPTIONS, POST");
	assert_string_equal(header_of(a, "Accept-Ranges"), "resources");
	ASK(a, "OPTIONS", "/api/shelves/low", .accept = "image/png");
	answered(a, 200);
	assert_string_equal(header_of(a, "Allow"), "GET, HEAD, OPTIONS, PUT, PATCH, DELETE");
	assert_null(header_of(a, "Accept-Ranges"));
	ASK(a, "OPTIONS", "/api/shelves/low/orders");
	assert_string_equal(header_of(a, "Allow"), "OPTIONS, POST");
	ASK(a, "OPTIONS", "/api");
	assert_string_equal(header_of(a, "Allow"), "GET, HEAD, OPTIONS");
	ASK(a, "OPTIONS", "*");
	answered(a, 200);
	assert_string_equal(header_of(a, "Allow"), "GET, HEAD, OPTIONS, POST, PUT, PATCH, DELETE");
	ASK(a, "GET", "*");
	refused(a, 400, "bad-target");
}

static void test_rule_7_what_it_does_not_take(void **state)
{
	struct asked *a = *state;

	ASK(a, "DELETE", "/api/shelves");
	refused(a, 405, "method-not-allowed");
	assert_string_equal(header_of(a, "Allow"), "GET, HEAD, OPTIONS, POST");
	ASK(a, "POST", "/api/shelves/low", JSON("{}"));
	refused(a, 405, "method-not-allowed");
	ASK(a, "GET", "/api/shelves/low/orders");
	refused(a, 405, "method-not-allowed");
	ASK(a, "BREW", "/api/shelves"); /* RFC 9110, 9.1 */
	refused(a, 501, "unknown-method");
	ASK(a, "get", "/api/shelves"); /* RFC 9110, 9.1 */
	refused(a, 501, "unknown-method");
}

/* ETags: two people must not overwrite each other. */
static void test_rule_7_a_change_takes_no_query(void **state)
{
	static const char *const methods[] = {"PUT", "PATCH", "DELETE"};
	struct asked *a = *state;

	ASK(a, "POST", "/api/shelves?dry-run=true", JSON("{\"name\": \"new\"}"));
	refused(a, 400, "bad-query");
	ASK(a, "POST", "/api/shelves?a", FORM("name=new"));
	refused(a, 400, "bad-query");
	ASK(a, "GET", "/api/shelves/new");
	refused(a, 404, "no-such-thing");
	for (size_t i = 0; i < COUNT(methods); i++) {
		ASK(a, methods[i], "/api/shelves/low?dry-run=true", JSON("{\"places\": 8}"));
		refused(a, 400, "bad-query");
	}
	ASK(a, "GET", "/api/shelves/low?any"); /* of no consequence */
	answered(a, 200);
	assert_int_equal(places_of(a), 20);
	ASK(a, "DELETE", "/api/shelves/low", JSON("{\"dry-run\": true}"));
	refused(a, 400, "bad-body");
	ASK(a, "DELETE", "/api/shelves/low?");
	answered(a, 204);
}

static void test_rule_7_conditions_of_changes(void **state)
{
	static const char *const methods[] = {"PUT", "PATCH"};
	struct asked *a = *state;
	char old[40], list[80];

	ASK(a, "GET", "/api/shelves/low", .accept = "application/yaml");
	(void)snprintf(old, sizeof(old), "%s", header_of(a, "ETag"));
	ASK(a, "GET", "/api/shelves/low");
	assert_string_not_equal(header_of(a, "ETag"), old); /* another format */
	ASK(a, "PATCH", "/api/shelves/low", JSON("{\"places\": 5}"), .if_match = old);
	answered(a, 200); /* but the same resource, although "visits" has changed since */
	for (size_t i = 0; i < COUNT(methods); i++) {
		ASK(a, methods[i], "/api/shelves/low", JSON("{\"places\": 6}"), .if_match = old);
		refused(a, 412, "changed-meanwhile");
	}
	ASK(a, "DELETE", "/api/shelves/low", .if_match = old);
	refused(a, 412, "changed-meanwhile");
	ASK(a, "GET", "/api/shelves/low");
	assert_int_equal(places_of(a), 5);
	(void)snprintf(list, sizeof(list), "W/%s", header_of(a, "ETag"));
	ASK(a, "PUT", "/api/shelves/low", JSON("{\"places\": 7}"), .if_match = list);
	refused(a, 412, "changed-meanwhile"); /* a weak tag promises too little */
	ASK(a, "GET", "/api/shelves/low");
	(void)snprintf(list, sizeof(list), "\"x\", %s", header_of(a, "ETag"));
	ASK(a, "PUT", "/api/shelves/low", JSON("{\"places\": 7}"), .if_match = list);
	answered(a, 200);
	ASK(a, "PUT", "/api/shelves/low", JSON("{}"), .if_none_match = "*");
	refused(a, 412, "exists");
	ASK(a, "PUT", "/api/shelves/high", JSON("{}"), .if_match = "*");
	refused(a, 412, "changed-meanwhile");
	ASK(a, "PUT", "/api/shelves/low", JSON("{}"), .if_match = "nonsense");
	refused(a, 412, "changed-meanwhile");
	ASK(a, "GET", "/api/shelves/low");
	(void)snprintf(list, sizeof(list), "%s", header_of(a, "ETag"));
	list[strlen(list) - 1] = '\0'; /* the tag, but it doesn't end */
	ASK(a, "PUT", "/api/shelves/low", JSON("{}"), .if_match = list);
	refused(a, 412, "changed-meanwhile");
	ASK(a, "DELETE", "/api/shelves/low", .if_match = "*");
	answered(a, 204);
}

static void test_rule_7_conditions_of_get(void **state)
{
	struct asked *a = *state;
	char tag[40], other[44];

	ASK(a, "GET", "/api/shelves/low/books/1");
	(void)snprintf(tag, sizeof(tag), "%s", header_of(a, "ETag"));
	ASK(a, "GET", "/api/shelves/low/books/1", .if_none_match = tag);
	answered(a, 304);
	assert_string_equal(header_of(a, "ETag"), tag);
	ASK(a, "GET", "/api/shelves/low/books/1", .if_none_match = " *");
	answered(a, 304);
	ASK(a, "GET", "/api/shelves/low/books/1", .if_none_match = tag, .accept = "text/html");
	answered(a, 200);
	(void)snprintf(other, sizeof(other), "W/%s", tag);
	ASK(a, "GET", "/api/shelves/low/books/1", .if_none_match = other);
	answered(a, 304);
	/* What changes by itself is always sent. */
	ASK(a, "GET", "/api/shelves/low");
	(void)snprintf(tag, sizeof(tag), "%s", header_of(a, "ETag"));
	ASK(a, "GET", "/api/shelves/low", .if_none_match = tag);
	answered(a, 200);
	ASK(a, "GET", "/api/shelves/low", .if_match = "\"other\"");
	refused(a, 412, "changed-meanwhile");
	/* Collections have tags, too. */
	ASK(a, "GET", "/api/shelves/low/books");
	(void)snprintf(tag, sizeof(tag), "%s", header_of(a, "ETag"));
	ASK(a, "GET", "/api/shelves/low/books", .if_none_match = tag);
	answered(a, 304);
	ASK(a, "POST", "/api/shelves/low/books", JSON("{\"title\": \"Emma\"}"), .if_match = tag);
	answered(a, 201);
	ASK(a, "POST", "/api/shelves/low/books", JSON("{\"title\": \"Emma\"}"), .if_match = tag);
	refused(a, 412, "changed-meanwhile");
	ASK(a, "GET", "/api/shelves/low/books", .if_none_match = tag);
	answered(a, 200);
	ASK(a, "GET", "/api/monitors"); /* an empty one */
	assert_non_null(header_of(a, "ETag"));
	/* And forms: one is another when what it would change is. */
	ASK(a, "GET", "/api/shelves/low;update");
	(void)snprintf(tag, sizeof(tag), "%s", header_of(a, "ETag"));
	ASK(a, "GET", "/api/shelves/low;update", .if_none_match = tag);
	answered(a, 304);
	ASK(a, "PATCH", "/api/shelves/low", JSON("{\"places\": 8}"));
	ASK(a, "GET", "/api/shelves/low;update", .if_none_match = tag);
	answered(a, 200);
	ASK(a, "GET", "/api/shelves/low;update", .if_match = tag);
	refused(a, 412, "changed-meanwhile");
}

static void test_rule_8_patch_of_a_part(void **state)
{
	struct asked *a = *state;

	ASK(a, "PATCH", "/api/shelves/low", JSON("{\"labels\": [\"old\"]}"));
	answered(a, 200);
	assert_int_equal(places_of(a), 20); /* left out: as it was */
	assert_int_equal(json_array_size(json_object_get(a->body, "labels")), 1);
	ASK(a, "PATCH", "/api/shelves/low", JSON("{\"places\": null}"));
	answered(a, 200);
	assert_int_equal(places_of(a), 10);
	ASK(a, "PATCH", "/api/shelves/low", JSON("{\"places\": 1000}"));
	answered(a, 400);
	assert_string_equal(text_of(json_object_get(a->body, "detail"), "field"), "places");
	ASK(a, "PATCH", "/api/shelves/low/books/1", JSON("{}"));
	refused(a, 405, "method-not-allowed");
}

static void test_rule_8_patch_by_changes(void **state)
{
	struct asked *a = *state;

	ASK(a, "PATCH", "/api/shelves/low",
	    JSON("[{\"path\": \"labels\", \"change\": \"add\", \"value\": \"old\"},"
		 "{\"path\": \"labels\", \"change\": \"add\", \"value\": \"rare\"},"
		 "{\"path\": \"labels[0]\", \"change\": \"remove\"},"
		 "{\"path\": \"places\", \"change\": \"change\", \"value\": 4}]"));
	answered(a, 200);
	assert_int_equal(places_of(a), 4);
	assert_string_equal(
		json_string_value(json_array_get(json_object_get(a->body, "labels"), 0)), "rare");
	ASK(a, "PATCH", "/api/shelves/low", JSON("[{\"path\": \"colour\", \"change\": \"add\"}]"));
	answered(a, 400);
	ASK(a, "PUT", "/api/shelves/low", JSON("[]")); /* only PATCH takes a list */
	refused(a, 400, "bad-body");
}

static void test_rule_9_actions(void **state)
{
	struct asked *a = *state;

	ASK(a, "POST", "/api/shelves/low/orders", JSON("{\"type\": \"dust\"}"));
	answered(a, 200);
	assert_string_equal(text_of(a->body, "_type"), "order");
	assert_string_equal(text_of(a->body, "type"), "dust");
	assert_int_equal(a->app.orders, 1);
	ASK(a, "POST", "/api/shelves/low/orders", JSON("{\"type\": \"eat\"}"));
	answered(a, 400);
	ASK(a, "POST", "/api/shelves/high/orders", JSON("{\"type\": \"dust\"}"));
	answered(a, 404);
}

static void post_order(struct asked *a, const char *expect)
{
	ASK(a, "POST", "/api/shelves/low/orders", JSON("{\"type\": \"rebind\"}"), .expect = expect);
}

static json_t *bound(void)
{
	return json_pack("{s:s, s:s}", "_type", "order", "type", "rebind");
}

static void test_rule_10_asynchronous(void **state)
{
	struct asked *a = *state;
	const char *monitor = "/api/monitors/1";

	post_order(a, NULL);
	answered(a, 202);
	assert_string_equal(text_of(a->body, "_type"), "order");
	assert_string_equal(link_of(a->body, "resource/monitor", NULL), monitor);
	assert_string_equal(header_of(a, "Location"), BASE "/api/monitors/1");
	rest_job_progress(a->app.job, 0.5);
	ASK(a, "GET", monitor);
	answered(a, 200);
	assert_string_equal(text_of(a->body, "_type"), "response");
	assert_string_equal(text_of(a->body, "status"), "202 Accepted");
	assert_string_equal(text_of(a->body, "progress"), "50%");
	ASK(a, "GET", monitor, .accept = "text/html");
	assert_non_null(header_of(a, "Refresh")); /* a person needn't press a key */
	rest_job_done(a->app.job, 200, bound());
	rest_job_done(a->app.job, 500, bound()); /* the first end counts */
	ASK(a, "GET", monitor);
	assert_string_equal(text_of(a->body, "status"), "200 OK");
	assert_string_equal(text_of(a->body, "progress"), "100%");
	assert_string_equal(text_of(json_object_get(a->body, "body"), "type"), "rebind");
	assert_true(json_is_array(json_object_get(a->body, "headers")));
	ASK(a, "GET", monitor, .accept = "text/html");
	assert_null(header_of(a, "Refresh"));
	ASK(a, "DELETE", monitor);
	answered(a, 204);
	assert_int_equal(a->app.cancelled, 0); /* it was done */
}

static void test_rule_10_synchronous_when_asked_for(void **state)
{
	struct asked *a = *state;

	post_order(a, "201-created");
	assert_int_equal(a->verdict, REST_HOLD);
	assert_int_equal(a->wait.job, 1);
	assert_null(a->wait.type);
	post_order(a, "201-created"); /* the server asks the same again */
	assert_int_equal(a->verdict, REST_HOLD);
	assert_int_equal(a->app.orders, 1); /* and nothing is done twice */
	rest_job_done(a->app.job, 200, bound());
	post_order(a, "201-created");
	answered(a, 200);
	assert_string_equal(text_of(a->body, "type"), "rebind");
	assert_int_equal(a->app.orders, 1);
	/* The next request is another one. */
	post_order(a, "200-ok");
	assert_int_equal(a->verdict, REST_HOLD);
	assert_int_equal(a->app.orders, 2);
}

static void test_rule_10_a_job_fails(void **state)
{
	struct asked *a = *state;
	struct rest_fault fault = {0};

	post_order(a, "200-ok");
	(void)rest_refuse(&fault, 409, "torn", "type", "the book is torn");
	rest_job_failed(a->app.job, &fault);
	post_order(a, "200-ok");
	refused(a, 409, "torn");
	ASK(a, "GET", "/api/monitors/1");
	assert_string_equal(text_of(a->body, "status"), "409 Conflict");
	assert_string_equal(text_of(json_object_get(a->body, "body"), "code"), "torn");
}

static void test_rule_10_a_wait_has_its_end(void **state)
{
	struct asked *a = *state;

	post_order(a, "204-no-content");
	assert_int_equal(a->verdict, REST_HOLD);
	ASK(a, "POST", "/api/shelves/low/orders", JSON("{\"type\": \"rebind\"}"),
	    .expect = "204-no-content", .expired = true);
	refused(a, 417, "still-working");
	assert_int_equal(a->app.cancelled, 0);
	ASK(a, "GET", "/api/monitors/1");
	assert_string_equal(text_of(a->body, "status"), "202 Accepted");
}

static void test_rule_10_a_job_is_cancelled(void **state)
{
	struct asked *a = *state;

	post_order(a, "200-ok");
	ASK(a, "DELETE", "/api/monitors/1", .ticket = &(uint64_t){0});
	answered(a, 204);
	assert_int_equal(a->app.cancelled, 1);
	a->ticket = 1; /* ask() forgot it with that answer */
	post_order(a, "200-ok");
	refused(a, 410, "cancelled");
	ASK(a, "GET", "/api/monitors/1");
	refused(a, 404, "no-monitor");
	ASK(a, "DELETE", "/api/monitors/1");
	refused(a, 404, "no-monitor");
}

/* Whoever waits for the end gets what it was: no resource, or for a person the page of what there
 * is now. */
static void test_rule_10_how_it_ended_is_the_answer(void **state)
{
	struct asked *a = *state;

	post_order(a, "200-ok");
	rest_job_done(a->app.job, 204, NULL);
	post_order(a, "200-ok");
	answered(a, 204);
	assert_null(a->response.content_type);
	for (int i = 0; i < 2; i++) {
		ASK(a, "POST", "/api/shelves/low/orders", FORM("type=rebind"),
		    .accept = "text/html", .expect = "200-ok");
		if (i == 0) {
			assert_int_equal(a->verdict, REST_HOLD);
			rest_job_done(a->app.job, 201,
				      json_pack("{s:s, s:s}", "_type", "book", "href",
						BASE "/api/shelves/low/books/1"));
		}
	}
	answered(a, 303);
	assert_string_equal(header_of(a, "Location"), BASE "/api/shelves/low/books/1");
}

/* A change, on new shelves each time: without memory it says so, or it is answered as it should. */
static void change_scarce(struct asked *a, struct rest_request request, unsigned wanted)
{
	request.base = BASE;
	request.form_token = SHELVES_TOKEN;
	request.ticket = &a->ticket;
	for (unsigned nth = 1; memory_refuse(&nth);) {
		struct rest_response response cleanup(rest_response_free) = {0};
		struct rest_wait wait = {0};
		bool lacked;

		assert_int_equal(rest_answer(a->app.api, &request, &response, &wait), REST_ANSWER);
		lacked = memory_refused();
		if (response.status != wanted && !(lacked && response.status >= 500))
			fail_msg("%u: %s", response.status, buf_text(&response.body));
		if (response.status == 500)
			assert_non_null(strstr(buf_text(&response.body), "out of memory"));
		if (response.status >= 500)
			assert_null(a->app.job); /* no work goes on that nobody can ask for */
		if (response.status == 400)
			assert_non_null(strstr(buf_text(&response.body), "_etag"));
		shelves_free(&a->app);
		assert_int_equal(shelves_new(&a->app), 0);
	}
}

static void test_a_change_without_memory(void **state)
{
	struct asked *a = *state;

	change_scarce(a,
		      (struct rest_request){.method = "POST",
					    .target = "/api/shelves/low/orders",
					    FORM("type=rebind")},
		      202);
	change_scarce(a,
		      (struct rest_request){.method = "POST",
					    .target = "/api/shelves/low",
					    .expect = "202-accepted",
					    FORM("_method=DELETE")},
		      202);
	change_scarce(a,
		      (struct rest_request){.method = "POST",
					    .target = "/api/shelves/low",
					    FORM("_method=PUT&places=7&labels=old&locked=true")},
		      200);
	change_scarce(a,
		      (struct rest_request){.method = "POST",
					    .target = "/api/shelves/low",
					    .accept = "text/html",
					    FORM("_method=PUT&places=7&trial=true")},
		      200);
	/* A form that comes back still has what keeps one from overwriting somebody else's. */
	change_scarce(a,
		      (struct rest_request){.method = "POST",
					    .target = "/api/shelves/low",
					    .accept = "text/html",
					    FORM("_method=PUT&places=1000&_etag=*")},
		      400);
}

/* A client that asks after a restart must not be told of another's work. */
static void test_rule_10_numbers_are_those_of_no_process_before(void **state)
{
	struct asked *a = *state;
	uint64_t before = rest_numbers_start(), number;
	struct rest_api *api;

	assert_int_equal(rest_api_new(&shelves_model, &a->app, &api, NULL), 0);
	number = rest_job_number(
		rest_job_new(&(struct rest_call){.api = api, .base = BASE}, NULL, NULL));
	assert_in_range(number, before + 1, rest_numbers_start() + 1);
	assert_in_range(number / 1000, time(NULL) - 60, time(NULL));
	rest_api_free(api);
}

/* Who asks for the end may call this host otherwise than who has begun it. */
static void test_rule_2_a_monitor_tells_hrefs_as_it_is_called(void **state)
{
	static const char other[] = "https://kvm1.example";
	struct asked *a = *state;
	const json_t *body;

	ASK(a, "POST", "/api/shelves/low/books", .expect = "202-accepted",
	    JSON("{\"title\": \"http://localhost:8640/\"}"));
	answered(a, 202);
	ASK(a, "GET", "/api/monitors/1", .base = other);
	answered(a, 200);
	assert_string_equal(text_of(a->body, "href"), "https://kvm1.example/api/monitors/1");
	body = json_object_get(a->body, "body");
	assert_string_equal(text_of(body, "href"), "https://kvm1.example/api/shelves/low/books/2");
	assert_string_equal(text_of(body, "title"), "http://localhost:8640/");
	assert_string_equal(text_of(json_array_get(json_object_get(a->body, "headers"), 0),
				    "value"),
			    "https://kvm1.example/api/shelves/low/books/2");
	ASK(a, "POST", "/api/shelves", .expect = "202-accepted", JSON("{\"name\": \"high\"}"));
	answered(a, 202);
	ASK(a, "GET", "/api/monitors", .base = other);
	answered(a, 200);
	body = json_object_get(json_array_get(a->body, 1), "body");
	assert_string_equal(text_of(json_object_get(body, "room"), "href"),
			    "https://kvm1.example/api/shelves/high");
	assert_string_equal(text_of(json_array_get(json_object_get(body, "link"), 0), "href"),
			    "https://kvm1.example/api/shelves/high/books");
}

static void test_rule_10_asynchronous_when_asked_for(void **state)
{
	struct asked *a = *state;

	/* What would be done at once gets a monitor, too, which is done. */
	ASK(a, "POST", "/api/shelves", JSON("{\"name\": \"new\"}"), .expect = "202-accepted");
	answered(a, 202);
	assert_string_equal(text_of(a->body, "href"), BASE "/api/shelves/new");
	assert_string_equal(link_of(a->body, "resource/monitor", NULL), "/api/monitors/1");
	ASK(a, "GET", "/api/monitors/1");
	assert_string_equal(text_of(a->body, "status"), "201 Created");
	assert_string_equal(text_of(json_array_get(json_object_get(a->body, "headers"), 0),
				    "value"),
			    BASE "/api/shelves/new");
	ASK(a, "DELETE", "/api/shelves/new", .expect = "202-accepted");
	answered(a, 202);
	ASK(a, "GET", "/api/monitors/2");
	assert_string_equal(text_of(a->body, "status"), "204 No Content");
	/* A refusal leaves no monitor. */
	ASK(a, "DELETE", "/api/shelves/new", .expect = "202-accepted");
	answered(a, 404);
	ASK(a, "GET", "/api/monitors");
	assert_int_equal(json_array_size(a->body), 2);
}

static void test_rule_10_expectations_that_fail(void **state)
{
	struct asked *a = *state;

	post_order(a, "a-miracle");
	refused(a, 417, "unknown-expectation");
	post_order(a, "200-ok, 202-accepted");
	refused(a, 417, "contradicting-expectations");
	ASK(a, "GET", "/api/shelves", .expect = "202-accepted");
	refused(a, 417, "never-asynchronous");
	ASK(a, "GET", "/api/shelves", .expect = "200-ok");
	answered(a, 200);
	post_order(a, "nonempty-response");
	refused(a, 417, "never-empty");
	assert_int_equal(a->app.orders, 0);
	/* Whoever can't hold requests says so before anything is done. */
	{
		struct rest_request request = {.method = "POST",
					       .target = "/api/shelves/low/orders",
					       .base = BASE,
					       .expect = "200-ok",
					       JSON("{\"type\": \"rebind\"}")};
		struct rest_response response cleanup(rest_response_free) = {0};
		struct rest_wait wait;

		assert_int_equal(rest_answer(a->app.api, &request, &response, &wait), REST_ANSWER);
		assert_int_equal(response.status, 417);
		assert_int_equal(a->app.orders, 0);
	}
}

static void test_rule_10_only_so_many_jobs(void **state)
{
	struct asked *a = *state;

	for (int i = 0; i < REST_JOBS_MAX; i++) {
		post_order(a, NULL);
		answered(a, 202);
	}
	post_order(a, NULL);
	refused(a, 503, "busy");
	ASK(a, "DELETE", "/api/shelves/low", .expect = "202-accepted");
	refused(a, 503, "too-many-jobs");
	rest_job_done(a->app.job, 200, NULL);
	post_order(a, NULL); /* what is done makes room */
	answered(a, 202);
	ASK(a, "GET", "/api/monitors/64");
	answered(a, 404);
}

/* But not what somebody waits for and hasn't been told yet, while another is done. */
static void test_rule_10_who_waits_is_told_the_end(void **state)
{
	struct asked *a = *state;
	uint64_t waiting;

	post_order(a, "200-ok");
	assert_int_equal(a->verdict, REST_HOLD);
	waiting = a->ticket;
	rest_job_done(a->app.job, 200, bound());
	for (int i = 1; i <= REST_JOBS_MAX; i++) {
		ASK(a, "POST", "/api/shelves/low/orders", JSON("{\"type\": \"rebind\"}"),
		    .ticket = &(uint64_t){0});
		answered(a, 202);
		if (i == 1)
			rest_job_done(a->app.job, 200, NULL);
	}
	ASK(a, "GET", "/api/monitors/2");
	refused(a, 404, "no-monitor");
	a->ticket = waiting;
	post_order(a, "200-ok");
	answered(a, 200);
	assert_string_equal(text_of(a->body, "type"), "rebind");
}

static void test_rule_13_input_is_checked_by_the_form(void **state)
{
	static const struct {
		const char *body, *field;
	} wrong[] = {
		{"{}", NULL},
		{"{\"name\": null}", NULL},
		{"{\"name\": \"UPPER\"}", "name"},
		{"{\"name\": \"averyveryverylongname\"}", "name"},
		{"{\"name\": 3}", "name"},
		{"{\"name\": \"a\", \"places\": 0}", "places"},
		{"{\"name\": \"a\", \"places\": \"many\"}", "places"},
		{"{\"name\": \"a\", \"colour\": \"red\"}", "colour"},
		{"{\"name\": \"a\", \"_type\": \"book\"}", "_type"},
		{"{\"name\": \"a\", \"labels\": [\"1\", \"2\", \"3\", \"4\", \"5\"]}", "labels"},
	};
	struct asked *a = *state;

	for (size_t i = 0; i < COUNT(wrong); i++) {
		ASK(a, "POST", "/api/shelves", JSON(wrong[i].body));
		answered(a, 400);
		if (wrong[i].field)
			assert_string_equal(text_of(json_object_get(a->body, "detail"), "field"),
					    wrong[i].field);
	}
	assert_int_equal(json_array_size(a->app.shelves), 1);
	ASK(a, "POST", "/api/shelves/low/books",
	    JSON("{\"title\": \"a\", \"isbn\": \"1\", \"shelfmark\": \"2\"}"));
	answered(a, 400); /* an exclusive group */
}

static void test_rule_13_a_form_of_a_browser(void **state)
{
	struct asked *a = *state;
	static const char html[] = "text/html,application/xhtml+xml,*/*;q=0.8";

	ASK(a, "POST", "/api/shelves", FORM("_type=shelf&name=new&places="), .accept = html);
	answered(a, 303); /* a person is sent on to what was made */
	assert_string_equal(header_of(a, "Location"), BASE "/api/shelves/new");
	ASK(a, "POST", "/api/shelves/new",
	    FORM("_method=PUT&places=7&labels=a&labels=b&locked=true"), .accept = html);
	answered(a, 303);
	ASK(a, "GET", "/api/shelves/new");
	assert_int_equal(places_of(a), 7);
	assert_int_equal(json_array_size(json_object_get(a->body, "labels")), 2);
	assert_true(json_is_true(json_object_get(a->body, "locked")));
	ASK(a, "POST", "/api/shelves/new", FORM("_method=PATCH&places=8"));
	answered(a, 200); /* not a browser: an ordinary answer */
	assert_int_equal(places_of(a), 8);
	assert_true(json_is_true(json_object_get(a->body, "locked")));
	ASK(a, "POST", "/api/shelves/new", FORM("_method=DELETE"), .accept = html);
	answered(a, 303);
	assert_string_equal(header_of(a, "Location"), BASE "/api/shelves");
	ASK(a, "POST", "/api/shelves/low/orders", FORM("type=rebind"), .accept = html);
	answered(a, 303);
	assert_string_equal(header_of(a, "Location"), BASE "/api/monitors/1");
	ASK(a, "POST", "/api/shelves/low/orders", FORM("type=dust"), .accept = html);
	answered(a, 303); /* to what was dusted: there is no page of orders */
	assert_string_equal(header_of(a, "Location"), BASE "/api/shelves/low");
	assert_int_equal(a->app.orders, 2);
}

/* What was typed isn't lost by a mistake in it. */
static void test_rule_13_a_form_comes_back_with_what_was_typed(void **state)
{
	static const char html[] = "text/html";
	struct asked *a = *state;

	ASK(a, "POST", "/api/shelves", FORM("name=UPPER&places=7&labels=a%26b%0D%0Ac&locked=true"),
	    .accept = html);
	answered(a, 400);
	page_has(a, "role=\"alert\"");
	page_has(a, "<details class=\"form\" open=\"\">");
	page_has(a, "action=\"" BASE "/api/shelves\"");
	page_has(a, "aria-invalid=\"true\" autofocus=\"\" maxlength=\"16\"");
	page_has(a, "value=\"UPPER\"");
	page_has(a, "value=\"7\"");
	page_has(a, ">\na&amp;b\nc</textarea>");
	page_has(a, "<option value=\"true\" selected=\"\">");
	page_has(a, "value=\"" SHELVES_TOKEN "\"");
	ASK(a, "POST", "/api/shelves", FORM("name=low"), .accept = html);
	answered(a, 409);
	page_has(a, "value=\"low\"");
	ASK(a, "POST", "/api/shelves/low", FORM("_method=PUT&_etag=%22x%22&places=x"),
	    .accept = html);
	answered(a, 412); /* it would only fail again */
	assert_null(strstr(buf_text(&a->response.body), "<form"));
	ASK(a, "POST", "/api/shelves/low", FORM("_method=PUT&_etag=*&places=x"), .accept = html);
	answered(a, 400);
	page_has(a, "name=\"_method\" value=\"PUT\"");
	page_has(a, "name=\"_etag\" value=\"*\"");
	page_has(a, "value=\"x\"");
	/* One that came from elsewhere is not made ours. */
	ASK(a, "POST", "/api/shelves", .content_type = "application/x-www-form-urlencoded",
	    .body = "name=UPPER", .len = 10, .accept = html);
	answered(a, 403);
	assert_null(strstr(buf_text(&a->response.body), "<form"));
}

/* Two people with browsers must not overwrite each other either. */
static void test_rule_13_a_form_knows_what_it_changes(void **state)
{
	struct asked *a = *state;
	char body[200];

	ASK(a, "GET", "/api/shelves/low;update");
	(void)snprintf(body, sizeof(body), "_token=" SHELVES_TOKEN "&_method=PUT&_etag=%s&places=3",
		       text_of(a->body, "etag"));
	ASK(a, "GET", "/api/shelves/low", .accept = "text/html");
	assert_non_null(strstr(buf_text(&a->response.body), "name=\"_etag\""));
	for (int i = 0; i < 2; i++) {
		ASK(a, "POST", "/api/shelves/low",
		    .content_type = "application/x-www-form-urlencoded", .body = body,
		    .len = strlen(body), .accept = "text/html");
		answered(a, i == 0 ? 303 : 412);
	}
}

static void test_rule_13_forms_of_others_are_refused(void **state)
{
	static const char *const bodies[] = {"name=new",
					     "name=new&_token=",
					     "name=new&_token=0123456789abcde",
					     "name=new&_token=0123456789abcdef0",
					     "name=new&_token=0123456789abcdef&_token=x",
					     "name=new&_token.x=0123456789abcdef",
					     "_method=DELETE"};
	struct asked *a = *state;
	struct rest_response response cleanup(rest_response_free) = {0};
	struct rest_wait wait;
	struct rest_request no_token = {
		.method = "POST", .target = "/api/shelves", .base = BASE, FORM("name=new")};

	for (size_t i = 0; i < COUNT(bodies); i++) {
		ASK(a, "POST", "/api/shelves", .content_type = "application/x-www-form-urlencoded",
		    .body = bodies[i], .len = strlen(bodies[i]));
		refused(a, 403, "form-token");
	}
	assert_int_equal(rest_answer(a->app.api, &no_token, &response, &wait), REST_ANSWER);
	assert_int_equal(response.status, 403);
	ASK(a, "POST", "/api/shelves", FORM("_method=GET"));
	refused(a, 400, "bad-method");
	ASK(a, "PUT", "/api/shelves/low", FORM("places=3"));
	refused(a, 415, "unknown-content-type");
	assert_int_equal(json_array_size(a->app.shelves), 1);
}

static void test_rule_17_faults_are_resources(void **state)
{
	static const char *const formats[] = {"application/json", "application/yaml",
					      "application/xml"};
	struct asked *a = *state;

	for (size_t i = 0; i < COUNT(formats); i++) {
		ASK(a, "POST", "/api/shelves", JSON("{\"name\": \"low\"}"), .accept = formats[i]);
		refused(a, 409, "shelf-exists");
		assert_string_equal(text_of(a->body, "reason"),
				    "there is a shelf named \"low\" already");
		assert_string_equal(text_of(json_object_get(a->body, "detail"), "field"), "name");
	}
	ASK(a, "GET", "/api/nothing", .accept = "text/html");
	answered(a, 404);
	assert_non_null(strstr(buf_text(&a->response.body), "nothing"));
}

static void test_rule_17_bodies_that_cannot_be_read(void **state)
{
	static const struct {
		unsigned status;
		const char *type, *body;
	} wrong[] = {
		{415, NULL, "{}"},
		{415, "text/plain", "{}"},
		{415, "application/json; charset=latin1", "{}"},
		{400, "application/json", ""},
		{400, "application/json", "{"},
		{400, "application/json", "3"},
		{400, "application/json", "[]"},
		{400, "application/json", "{\"name\": \"\xff\"}"},
		{400, "application/yaml", "a: &a [*a, *a]"},
		{400, "application/xml", "<!DOCTYPE x [<!ENTITY a \"b\">]><shelf>&a;</shelf>"},
	};
	static char large[REST_BODY_MAX + 1];
	struct asked *a = *state;

	for (size_t i = 0; i < COUNT(wrong); i++) {
		ASK(a, "POST", "/api/shelves", .content_type = wrong[i].type, .body = wrong[i].body,
		    .len = strlen(wrong[i].body));
		answered(a, wrong[i].status);
	}
	memset(large, ' ', sizeof(large));
	ASK(a, "POST", "/api/shelves", .content_type = "application/json", .body = large,
	    .len = sizeof(large));
	refused(a, 413, "body-too-large");
	{
		char target[2000] = "/api/shelves/";

		memset(target + strlen(target), 'a', 1500);
		ASK(a, "GET", target);
		refused(a, 414, "target-too-long");
	}
}

static void test_rule_17_what_the_server_itself_refuses(void **state)
{
	struct asked *a = *state;
	struct rest_fault fault = {0};
	struct rest_request request = {
		.method = "", .target = "", .base = BASE, .accept = "application/yaml"};
	struct rest_response response cleanup(rest_response_free) = {0};

	(void)rest_refuse(&fault, 401, "no-token", NULL, "a bearer token is needed");
	rest_answer_fault(a->app.api, &request, &fault, &response);
	assert_int_equal(response.status, 401);
	assert_string_equal(response.content_type, "application/x-resource+yaml");
	assert_non_null(strstr(buf_text(&response.body), "!fault"));
}

static void test_rule_17_a_reason_in_foreign_bytes(void **state)
{
	struct asked *a = *state;
	struct rest_fault fault = {0};
	struct rest_request request = {.method = "", .target = "", .base = BASE};
	struct rest_response response cleanup(rest_response_free) = {0};

	(void)rest_refuse(&fault, 400, "cut", "\xc3", "caf\xc3\xa9 and caf\xe9");
	rest_answer_fault(a->app.api, &request, &fault, &response);
	assert_int_equal(response.status, 400);
	assert_non_null(strstr(buf_text(&response.body), "caf\xc3\xa9 and caf?"));
}

#define RULE(test) cmocka_unit_test_setup_teardown(test, asked_setup, asked_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		RULE(test_rule_7_post_creates),
		RULE(test_rule_7_post_understands_every_format),
		RULE(test_rule_7_put_replaces_whole),
		RULE(test_rule_7_a_trial_changes_nothing),
		RULE(test_rule_7_a_trial_is_followed_by_the_deed),
		RULE(test_rule_7_delete),
		RULE(test_rule_7_head_is_what_get_is),
		RULE(test_rule_7_options),
		RULE(test_rule_7_what_it_does_not_take),
		RULE(test_rule_7_a_change_takes_no_query),
		RULE(test_rule_7_conditions_of_changes),
		RULE(test_rule_7_conditions_of_get),
		RULE(test_rule_8_patch_of_a_part),
		RULE(test_rule_8_patch_by_changes),
		RULE(test_rule_9_actions),
		RULE(test_rule_10_asynchronous),
		RULE(test_rule_10_synchronous_when_asked_for),
		RULE(test_rule_10_a_job_fails),
		RULE(test_rule_10_a_wait_has_its_end),
		RULE(test_rule_10_a_job_is_cancelled),
		RULE(test_rule_10_how_it_ended_is_the_answer),
		RULE(test_rule_10_numbers_are_those_of_no_process_before),
		RULE(test_rule_2_a_monitor_tells_hrefs_as_it_is_called),
		RULE(test_rule_10_asynchronous_when_asked_for),
		RULE(test_a_change_without_memory),
		RULE(test_rule_10_expectations_that_fail),
		RULE(test_rule_10_only_so_many_jobs),
		RULE(test_rule_10_who_waits_is_told_the_end),
		RULE(test_rule_13_input_is_checked_by_the_form),
		RULE(test_rule_13_a_form_of_a_browser),
		RULE(test_rule_13_a_form_comes_back_with_what_was_typed),
		RULE(test_rule_13_a_form_knows_what_it_changes),
		RULE(test_rule_13_forms_of_others_are_refused),
		RULE(test_rule_17_faults_are_resources),
		RULE(test_rule_17_bodies_that_cannot_be_read),
		RULE(test_rule_17_what_the_server_itself_refuses),
		RULE(test_rule_17_a_reason_in_foreign_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
