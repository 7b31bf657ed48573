/* SPDX-License-Identifier: MIT */
/* The rules of the API that are seen by looking: one test for each, by its number. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "ask.h"
#include "base/mem.h"
#include "data/json.h"
#include "memory/memory.h"

static void test_rule_1_one_entry_point_leads_everywhere(void **state)
{
	struct asked *a = *state;
	char url[128];

	ASK(a, "GET", "/api");
	answered(a, 200);
	assert_string_equal(text_of(a->body, "_type"), "library");
	assert_string_equal(text_of(a->body, "version"), "1.0");
	assert_string_equal(text_of(a->body, "href"), BASE "/api");
	assert_non_null(link_of(a->body, "collection/events", NULL));
	assert_non_null(link_of(a->body, "collection/monitors", NULL));
	assert_null(link_of(a->body, "collection/orders", NULL));
	/* No URL is built from here on. */
	(void)snprintf(url, sizeof(url), "%s", link_of(a->body, "collection/shelves", NULL));
	ASK(a, "GET", url);
	answered(a, 200);
	(void)snprintf(url, sizeof(url), "%s",
		       link_of(json_array_get(a->body, 0), "collection/books", NULL));
	ASK(a, "GET", url);
	answered(a, 200);
	(void)snprintf(url, sizeof(url), "%s",
		       text_of(json_array_get(a->body, 0), "href") + strlen(BASE));
	ASK(a, "GET", url);
	answered(a, 200);
	assert_string_equal(text_of(a->body, "title"), "Ulysses");
}

static void test_rule_2_urls_alternate_collection_and_id(void **state)
{
	static const char *const good[] = {"/api",
					   "/api/",
					   "/api/shelves",
					   "/api/shelves/low",
					   "/api/shelves/low/books",
					   "/api/shelves/low/books/1",
					   "/api/shelves/l%6Fw"};
	static const char *const unknown[] = {"/",
					      "/apis",
					      "/api/books",
					      "/api/shelves/high",
					      "/api/shelves/low/shelves",
					      "/api/shelves/high/books",
					      "/api/shelves/low/books/2",
					      "/api//low",
					      "/api/shelves/low/books/1/pages",
					      "/api/shelves//",
					      "/api;x",
					      "/api/shelves;saved",
					      "/api/shelves;saved/low",
					      "/api/shelves/low;update/books",
					      "/api/monitors/1"};
	static const char *const bad[] = {"api",
					  "",
					  "*",
					  "/api/%",
					  "/api/%4",
					  "/api/%zz",
					  "/api/shelves/%00",
					  "/api/shelves/%ff",
					  "/api/shelves/low;%c3"};
	struct asked *a = *state;

	for (size_t i = 0; i < COUNT(good); i++) {
		ASK(a, "GET", good[i]);
		answered(a, 200);
	}
	for (size_t i = 0; i < COUNT(unknown); i++) {
		ASK(a, "GET", unknown[i]);
		answered(a, 404);
	}
	for (size_t i = 0; i < COUNT(bad); i++) {
		ASK(a, "GET", bad[i]);
		refused(a, 400, "bad-target");
	}
}

/* Every value named href, at any depth, is an absolute URL. */
static void hrefs_are_absolute(const json_t *value)
{
	const char *key;
	json_t *part;
	size_t i;

	json_array_foreach(value, i, part) hrefs_are_absolute(part);
	json_object_foreach((json_t *)(uintptr_t)value, key, part)
	{
		if (strcmp(key, "href") == 0)
			assert_int_equal(strncmp(json_string_value(part), "https://a:1/api", 15),
					 0);
		hrefs_are_absolute(part);
	}
}

static void test_rule_2_every_href_is_absolute(void **state)
{
	static const char *const urls[] = {"/api",
					   "/api/shelves",
					   "/api/shelves/low",
					   "/api/shelves/low;saved",
					   "/api/shelves/low;update",
					   "/api/shelves;create"};
	struct asked *a = *state;

	for (size_t i = 0; i < COUNT(urls); i++) {
		ASK(a, "GET", urls[i], .base = "https://a:1");
		answered(a, 200);
		hrefs_are_absolute(a->body);
	}
}

static void test_rule_2_an_id_may_hold_anything(void **state)
{
	struct asked *a = *state;

	ASK(a, "POST", "/api/shelves", JSON("{\"name\": \"a /;-b\"}"));
	answered(a, 201);
	assert_string_equal(header_of(a, "Location"), BASE "/api/shelves/a%20%2F%3B-b");
	assert_string_equal(text_of(a->body, "href"), header_of(a, "Location"));
	ASK(a, "GET", "/api/shelves/a%20%2F%3B-b;saved");
	answered(a, 200);
	assert_string_equal(text_of(a->body, "id"), "a /;-b");
	assert_string_equal(text_of(a->body, "href"), BASE "/api/shelves/a%20%2F%3B-b;saved");
}

static void test_rule_3_a_resource_is_an_object_with_its_type(void **state)
{
	struct asked *a = *state;
	const char *key;
	json_t *value;

	ASK(a, "GET", "/api/shelves/low");
	answered(a, 200);
	assert_string_equal(text_of(a->body, "_type"), "shelf");
	json_object_foreach(a->body, key, value)
		assert_true(*key != '_' || strcmp(key, "_type") == 0);
	ASK(a, "GET", "/api/shelves");
	answered(a, 200);
	assert_true(json_is_array(a->body));
	assert_string_equal(text_of(json_array_get(a->body, 0), "_type"), "shelf");
}

static void test_rule_4_reserved_attributes(void **state)
{
	struct asked *a = *state;
	const json_t *link;
	size_t i;

	ASK(a, "GET", "/api/shelves/low");
	answered(a, 200);
	assert_string_equal(text_of(a->body, "id"), "low");
	assert_string_equal(text_of(a->body, "href"), BASE "/api/shelves/low");
	assert_true(json_array_size(json_object_get(a->body, "link")) > 0);
	json_array_foreach(json_object_get(a->body, "link"), i, link)
	{
		assert_non_null(text_of(link, "rel"));
		assert_non_null(text_of(link, "href"));
	}
}

static void test_rule_5_relations(void **state)
{
	struct asked *a = *state;

	ASK(a, "GET", "/api/shelves/low");
	answered(a, 200);
	assert_string_equal(link_of(a->body, "collection/books", NULL), "/api/shelves/low/books");
	assert_string_equal(link_of(a->body, "collection/orders", NULL), "/api/shelves/low/orders");
	assert_string_equal(link_of(a->body, "form/update", NULL), "/api/shelves/low;update");
	assert_string_equal(link_of(a->body, "form/delete", NULL), "/api/shelves/low;delete");
	assert_string_equal(link_of(a->body, "form/create", "book"),
			    "/api/shelves/low/books;create");
	assert_string_equal(link_of(a->body, "form/create", "order"),
			    "/api/shelves/low/orders;create");
	assert_string_equal(link_of(a->body, "resource/saved", NULL), "/api/shelves/low;saved");
	/* An object link. */
	assert_string_equal(text_of(json_object_get(a->body, "room"), "href"),
			    BASE "/api/shelves/low");
}

static void test_rule_6_representations(void **state)
{
	static const struct {
		const char *accept, *resource, *collection, *form;
	} known[] = {
		{NULL, "application/x-resource+json", "application/x-collection+json",
		 "application/x-form+json"},
		{"*/*", "application/x-resource+json", "application/x-collection+json",
		 "application/x-form+json"},
		{"application/yaml", "application/x-resource+yaml", "application/x-collection+yaml",
		 "application/x-form+yaml"},
		{"application/xml;q=0.9, application/json;q=0.8", "application/x-resource+xml",
		 "application/x-collection+xml", "application/x-form+xml"},
		{"text/html,application/xhtml+xml,*/*;q=0.8", "text/html", "text/html",
		 "text/html"},
	};
	struct asked *a = *state;

	for (size_t i = 0; i < COUNT(known); i++) {
		ASK(a, "GET", "/api/shelves/low", .accept = known[i].accept);
		answered(a, 200);
		assert_int_equal(strncmp(a->response.content_type, known[i].resource,
					 strlen(known[i].resource)),
				 0);
		assert_string_equal(header_of(a, "Vary"), "Accept");
		ASK(a, "GET", "/api/shelves", .accept = known[i].accept);
		assert_int_equal(strncmp(a->response.content_type, known[i].collection,
					 strlen(known[i].collection)),
				 0);
		ASK(a, "GET", "/api/shelves;create", .accept = known[i].accept);
		assert_int_equal(
			strncmp(a->response.content_type, known[i].form, strlen(known[i].form)), 0);
	}
}

static void test_rule_6_nothing_acceptable(void **state)
{
	struct asked *a = *state;

	ASK(a, "GET", "/api/shelves", .accept = "image/png");
	refused(a, 406, "not-acceptable");
	assert_string_equal(a->response.content_type, "application/x-resource+json");
	ASK(a, "POST", "/api/shelves", JSON("{\"name\": \"new\"}"), .accept = "image/png");
	refused(a, 406, "not-acceptable");
	assert_int_equal(json_array_size(a->app.shelves), 1); /* refused before it was done */
	/* What has nothing to show needs no format. */
	ASK(a, "DELETE", "/api/shelves/low", .accept = "image/png");
	answered(a, 204);
}

static void test_rule_6_a_page_has_forms_that_work(void **state)
{
	struct asked *a = *state;
	const char *page;

	ASK(a, "GET", "/api/shelves/low", .accept = "text/html");
	answered(a, 200);
	page = buf_text(&a->response.body);
	assert_non_null(strstr(page, "name=\"_method\" value=\"PUT\""));
	assert_non_null(strstr(page, "name=\"_method\" value=\"DELETE\""));
	assert_non_null(strstr(page, "value=\"" SHELVES_TOKEN "\""));
	/* Orders have no page of their own: their form is here. */
	assert_non_null(strstr(page, "action=\"" BASE "/api/shelves/low/orders\""));
	assert_non_null(strstr(page, "/api/shelves/low/books"));
	ASK(a, "GET", "/api/shelves", .accept = "text/html");
	page = buf_text(&a->response.body);
	assert_non_null(strstr(page, "action=\"" BASE "/api/shelves\""));
	assert_non_null(strstr(page, "type=\"number\" step=\"1\" id=\"create-shelf-places\""));
	/* A variant is only looked at. */
	ASK(a, "GET", "/api/shelves/low;saved", .accept = "text/html");
	assert_null(strstr(buf_text(&a->response.body), "_method"));
}

static void five_events(struct asked *a)
{
	for (int i = 0; i < 5; i++)
		shelves_happen(&a->app, i % 2 ? "closed" : "opened");
}

static void range_is(struct asked *a, const char *range, const char *content, const char *first,
		     size_t count)
{
	ASK(a, "GET", "/api/events", .range = range);
	answered(a, 206);
	assert_string_equal(header_of(a, "Content-Range"), content);
	assert_int_equal(json_array_size(a->body), count);
	assert_string_equal(text_of(json_array_get(a->body, 0), "id"), first);
}

static void test_rule_11_ranges(void **state)
{
	struct asked *a = *state;

	five_events(a); /* 5 to 9 */
	range_is(a, "resources=6-7", "resources 6-7/10", "6", 2);
	range_is(a, "resources=7-", "resources 7-9/10", "7", 3);
	range_is(a, "resources=9-100", "resources 9-9/10", "9", 1);
	range_is(a, "resources=0-5", "resources 5-5/10", "5", 1);
	range_is(a, "resources=-2", "resources 8-9/10", "8", 2);
	range_is(a, "resources=-20", "resources 5-9/10", "5", 5);
	range_is(a, "Resources=5-18446744073709551616", "resources 5-9/10", "5", 5);
	ASK(a, "GET", "/api/events");
	answered(a, 200);
	assert_int_equal(json_array_size(a->body), 5);
	assert_null(header_of(a, "Content-Range"));
	assert_string_equal(header_of(a, "Accept-Ranges"), "resources");
	ASK(a, "GET", "/api/events", .range = "bytes=0-1"); /* a unit that is none of ours */
	answered(a, 200);
	assert_int_equal(json_array_size(a->body), 5);
}

static void test_rule_11_outside_of_it(void **state)
{
	static const char *const outside[] = {"resources=10-", "resources=0-4", "resources=-0",
					      "resources=99999999999999999999999-"};
	static const char *const bad[] = {"resources=",	 "resources=2-1",     "resources=a-b", "5-",
					  "resources=-", "resources=1-2,4-5", "resources=1"};
	struct asked *a = *state;

	five_events(a);
	for (size_t i = 0; i < COUNT(outside); i++) {
		ASK(a, "GET", "/api/events", .range = outside[i]);
		refused(a, 416, "outside-range");
		assert_string_equal(header_of(a, "Content-Range"), "resources */10");
		ASK(a, "GET", "/api/events", .range = outside[i], .if_match = "\"other\"");
		refused(a, 412, "changed-meanwhile");
		ASK(a, "GET", "/api/events", .range = outside[i], .if_none_match = "*");
		answered(a, 304);
	}
	for (size_t i = 0; i < COUNT(bad); i++) {
		ASK(a, "GET", "/api/events", .range = bad[i]);
		refused(a, 400, "bad-range");
	}
}

/* A part is only of use to whoever has the others, of the same whole. */
static void test_rule_11_a_part_of_what_it_was(void **state)
{
	struct asked *a = *state;
	char tag[64];

	ASK(a, "GET", "/api/shelves", .range = "resources=0-0");
	answered(a, 206);
	(void)snprintf(tag, sizeof(tag), "%s", header_of(a, "ETag"));
	ASK(a, "GET", "/api/shelves", .range = "resources=0-0", .if_range = tag);
	answered(a, 206);
	ASK(a, "GET", "/api/shelves", .range = "resources=0-0", .if_range = tag,
	    .accept = "application/yaml");
	answered(a, 200); /* another representation */
	ASK(a, "POST", "/api/shelves", JSON("{\"name\": \"high\"}"));
	answered(a, 201);
	ASK(a, "GET", "/api/shelves", .range = "resources=1-", .if_range = tag);
	answered(a, 200);
	assert_null(header_of(a, "Content-Range"));
	assert_int_equal(json_array_size(a->body), 2);
	ASK(a, "GET", "/api/shelves", .range = "resources=7-", .if_range = tag);
	answered(a, 200); /* there is no range that it could be outside of */
	ASK(a, "GET", "/api/shelves", .range = "resources=1-",
	    .if_range = "Sat, 29 Oct 1994 19:43:31 GMT");
	answered(a, 200);
}

static void test_rule_12_long_polling(void **state)
{
	struct asked *a = *state;

	/* Off unless asked for. */
	ASK(a, "GET", "/api/events");
	answered(a, 200);
	assert_int_equal(json_array_size(a->body), 0);
	ASK(a, "GET", "/api/events", .expect = "nonempty-response");
	assert_int_equal(a->verdict, REST_HOLD);
	assert_ptr_equal(a->wait.type, &event_type);
	assert_int_equal(a->wait.job, 0);
	assert_int_equal(a->wait.milliseconds, 60000);
	ASK(a, "GET", "/api/events", .expect = "nonempty-response", .expired = true);
	answered(a, 200);
	assert_int_equal(json_array_size(a->body), 0);
	five_events(a);
	ASK(a, "GET", "/api/events", .expect = "nonempty-response", .range = "resources=10-");
	assert_int_equal(a->verdict, REST_HOLD);
	ASK(a, "GET", "/api/events", .expect = "nonempty-response", .range = "resources=10-",
	    .expired = true);
	answered(a, 200);
	assert_int_equal(json_array_size(a->body), 0);
	shelves_happen(&a->app, "at last");
	ASK(a, "GET", "/api/events", .expect = "Nonempty-Response, 100-continue",
	    .range = "resources=10-");
	answered(a, 206);
	assert_string_equal(text_of(json_array_get(a->body, 0), "text"), "at last");
	/* With a search: until something is found. */
	ASK(a, "GET", "/api/events?text=never", .expect = "nonempty-response");
	assert_int_equal(a->verdict, REST_HOLD);
	ASK(a, "GET", "/api/shelves/low", .expect = "nonempty-response");
	refused(a, 417, "never-empty");
}

/* Who asks for what comes after the next one has seen numbers that are no longer counted from. */
static void test_rule_12_nobody_waits_for_what_is_beyond_the_next(void **state)
{
	struct asked *a = *state;

	five_events(a); /* 5 to 9 */
	for (int expired = 0; expired < 2; expired++) {
		ASK(a, "GET", "/api/events", .expect = "nonempty-response",
		    .range = "resources=11-", .expired = expired);
		refused(a, 416, "outside-range");
		assert_string_equal(header_of(a, "Content-Range"), "resources */10");
	}
	ASK(a, "GET", "/api/events", .expect = "nonempty-response", .range = "resources=0-4");
	assert_int_equal(a->verdict, REST_HOLD);
	ASK(a, "GET", "/api/events?text=never", .expect = "nonempty-response",
	    .range = "resources=1-");
	refused(a, 416, "outside-range");
	ASK(a, "GET", "/api/events?text=never", .expect = "nonempty-response",
	    .range = "resources=-1");
	assert_int_equal(a->verdict, REST_HOLD);
}

static void heard(const struct rest_type *type, uint64_t job, void *data)
{
	struct rest_wait *last = data;

	*last = (struct rest_wait){.type = type, .job = job};
}

static void test_rule_12_changes_are_told(void **state)
{
	struct asked *a = *state;
	struct rest_wait last = {0};

	rest_api_listen(a->app.api, heard, &last);
	shelves_happen(&a->app, "opened");
	assert_ptr_equal(last.type, &event_type);
	ASK(a, "POST", "/api/shelves", JSON("{\"name\": \"new\"}"));
	assert_ptr_equal(last.type, &shelf_type);
	ASK(a, "POST", "/api/shelves/low/orders", JSON("{\"type\": \"rebind\"}"));
	answered(a, 202);
	assert_non_null(last.type); /* a monitor more */
	assert_string_equal(last.type->plural, "monitors");
	rest_job_done(a->app.job, 200, NULL);
	assert_int_equal(last.job, 1);
}

static void test_rule_13_forms_are_resources(void **state)
{
	struct asked *a = *state;

	ASK(a, "GET", "/api/shelves;create");
	answered(a, 200);
	assert_string_equal(text_of(a->body, "_type"), "form");
	assert_string_equal(text_of(a->body, "method"), "POST");
	assert_string_equal(text_of(a->body, "action"), BASE "/api/shelves");
	assert_string_equal(text_of(a->body, "href"), BASE "/api/shelves;create");
	assert_string_equal(text_of(a->body, "type"), "shelf");
	assert_true(json_array_size(json_object_get(a->body, "fields")) == 5);
	ASK(a, "GET", "/api/shelves;search");
	answered(a, 200);
	assert_string_equal(text_of(a->body, "method"), "GET");
	ASK(a, "GET", "/api/shelves/low;update");
	answered(a, 200);
	assert_string_equal(text_of(a->body, "method"), "PUT");
	assert_string_equal(text_of(a->body, "action"), BASE "/api/shelves/low");
	/* It shows what is there now. */
	assert_int_equal(json_integer_value(json_object_get(
				 json_array_get(json_object_get(a->body, "fields"), 0), "value")),
			 20);
	ASK(a, "GET", "/api/shelves/low;delete");
	answered(a, 200);
	assert_string_equal(text_of(a->body, "method"), "DELETE");
	ASK(a, "GET", "/api/shelves/low/orders;create");
	answered(a, 200);
}

static void test_rule_13_no_form_leads_nowhere(void **state)
{
	static const char *const none[] = {"/api/events;create",
					   "/api/shelves/low/books/1;update",
					   "/api/shelves;update",
					   "/api/shelves/low;create",
					   "/api/shelves/high;update",
					   "/api/shelves/high;delete",
					   "/api/shelves/high/books;create",
					   "/api/shelves/low/orders;search",
					   "/api;update"};
	struct asked *a = *state;

	for (size_t i = 0; i < COUNT(none); i++) {
		ASK(a, "GET", none[i]);
		answered(a, 404);
	}
	ASK(a, "POST", "/api/shelves;create", JSON("{}"));
	refused(a, 405, "method-not-allowed");
	assert_string_equal(header_of(a, "Allow"), "GET, HEAD, OPTIONS");
}

static void found(struct asked *a, const char *target, size_t count)
{
	ASK(a, "GET", target);
	answered(a, 200);
	assert_int_equal(json_array_size(a->body), count);
}

static void test_rule_13_search_by_the_form(void **state)
{
	struct asked *a = *state;

	ASK(a, "POST", "/api/shelves",
	    JSON("{\"name\": \"high\", \"places\": 3, \"labels\": [\"old\", \"big & wide\"], "
		 "\"locked\": true}"));
	answered(a, 201);
	found(a, "/api/shelves?name=high", 1);
	found(a, "/api/shelves?name=hi", 0);
	found(a, "/api/shelves?places=3", 1);
	found(a, "/api/shelves?places=3&locked=false", 0);
	found(a, "/api/shelves?locked=true", 1);
	found(a, "/api/shelves?labels=old", 1);
	found(a, "/api/shelves?labels=big+%26%20wide", 1);
	found(a, "/api/shelves?room.href=high", 1); /* a link, by the id at its end, or whole */
	found(a, "/api/shelves?room.href=http%3A%2F%2Flocalhost%3A8640%2Fapi%2Fshelves%2Fhigh", 1);
	found(a, "/api/shelves?room.href=igh", 0);
	found(a, "/api/shelves?room.href=hi", 0);
	found(a, "/api/shelves?room.href=highest", 0);
	found(a, "/api/shelves?name=", 2); /* a field left empty */
	found(a, "/api/shelves?", 2);
	ASK(a, "GET", "/api/shelves?labels=old&labels=rare");
	answered(a, 400);
	ASK(a, "GET", "/api/shelves?places=many");
	answered(a, 400);
	ASK(a, "GET", "/api/shelves?colour=red");
	answered(a, 400);
	/* What it has, but can't be searched for: all of them would be the wrong answer. */
	ASK(a, "GET", "/api/shelves?visits=7");
	refused(a, 400, "unknown-field");
	assert_string_equal(text_of(a->body, "reason"),
			    "nothing can be searched for by visits: there is name, places, labels, "
			    "locked, room.href");
	ASK(a, "GET", "/api/shelves?id=low");
	refused(a, 400, "unknown-field");
	ASK(a, "GET", "/api/shelves?_type=shelf&visits=");
	answered(a, 200);
	ASK(a, "GET", "/api/shelves?name=%ff");
	answered(a, 400);
	ASK(a, "GET", "/api/shelves?locked=true", .range = "resources=0-0");
	answered(a, 206);
	assert_string_equal(header_of(a, "Content-Range"), "resources 0-0/1");
}

static void test_rule_14_variants(void **state)
{
	struct asked *a = *state;

	ASK(a, "GET", "/api/shelves/low;current");
	answered(a, 200);
	assert_int_equal(json_integer_value(json_object_get(a->body, "places")), 1);
	assert_string_equal(text_of(a->body, "href"), BASE "/api/shelves/low;current");
	assert_string_equal(link_of(a->body, "resource/saved", NULL), "/api/shelves/low;saved");
	assert_string_equal(link_of(a->body, "resource/shelf", NULL), "/api/shelves/low");
	assert_null(link_of(a->body, "form/update", NULL));
	ASK(a, "GET", "/api/shelves/low;saved");
	answered(a, 200);
	assert_int_equal(json_integer_value(json_object_get(a->body, "places")), 20);
	ASK(a, "GET", "/api/shelves/low;former");
	answered(a, 404);
	ASK(a, "DELETE", "/api/shelves/low;saved");
	refused(a, 405, "method-not-allowed");
}

static void test_rule_15_placeholders(void **state)
{
	static const char *const urls[] = {"/api/shelves/_", "/api/shelves/_/books/_",
					   "/api/shelves/low/books/_", "/api/events/_",
					   "/api/monitors/_"};
	struct asked *a = *state;

	for (size_t i = 0; i < COUNT(urls); i++) {
		ASK(a, "GET", urls[i]);
		answered(a, 200);
		assert_string_equal(text_of(a->body, "id"), "_");
	}
	ASK(a, "GET", "/api/shelves/_");
	assert_int_equal(json_object_size(json_object_get(a->body, "room")), 1);
	assert_int_equal(json_array_size(json_object_get(a->body, "labels")), 2);
	assert_string_equal(text_of(a->body, "href"), BASE "/api/shelves/_");
	assert_non_null(link_of(a->body, "form/update", NULL));
	ASK(a, "GET", "/api/shelves/_/books");
	answered(a, 200);
	assert_int_equal(json_array_size(a->body), 1);
	ASK(a, "GET", "/api/shelves/_;update");
	answered(a, 200);
	ASK(a, "DELETE", "/api/shelves/_");
	refused(a, 405, "method-not-allowed");
	ASK(a, "POST", "/api/shelves/_/orders", JSON("{\"type\": \"dust\"}"));
	refused(a, 405, "method-not-allowed");
	ASK(a, "GET", "/api/shelves"); /* never among the real ones */
	assert_int_equal(json_array_size(a->body), 1);
}

static void test_rule_16_no_link_header(void **state)
{
	static const char *const urls[] = {"/api", "/api/shelves", "/api/shelves/low",
					   "/api/shelves;create", "/nowhere"};
	struct asked *a = *state;

	for (size_t i = 0; i < COUNT(urls); i++) {
		ASK(a, "GET", urls[i]);
		assert_null(header_of(a, "Link"));
	}
}

static int document(const struct asked *a, struct buf *page)
{
	buf_free(page);
	return rest_document(a->app.api, BASE, page);
}

static void test_the_documentation_tells_it_all(void **state)
{
	static const char *const told[] = {"shelf",
					   "A shelf &lt;with&gt; books.",
					   "/api/shelves/ID;saved",
					   "/api/shelves/ID/books/ID",
					   "<code>cookery</code>",
					   "How many books fit.",
					   "GET, HEAD, OPTIONS, PUT, PATCH, DELETE",
					   "id=\"response\""};
	struct asked *a = *state;
	struct buf page cleanup(buf_free) = {0};

	assert_int_equal(scarce(document(a, &page)), 0);
	for (size_t i = 0; i < COUNT(told); i++) {
		if (!strstr(buf_text(&page), told[i]))
			fail_msg("%s is missing", told[i]);
	}
	assert_null(strstr(buf_text(&page), "<with>"));
}

#define RULE(test) cmocka_unit_test_setup_teardown(test, asked_setup, asked_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		RULE(test_rule_1_one_entry_point_leads_everywhere),
		RULE(test_rule_2_urls_alternate_collection_and_id),
		RULE(test_rule_2_every_href_is_absolute),
		RULE(test_rule_2_an_id_may_hold_anything),
		RULE(test_rule_3_a_resource_is_an_object_with_its_type),
		RULE(test_rule_4_reserved_attributes),
		RULE(test_rule_5_relations),
		RULE(test_rule_6_representations),
		RULE(test_rule_6_nothing_acceptable),
		RULE(test_rule_6_a_page_has_forms_that_work),
		RULE(test_rule_11_ranges),
		RULE(test_rule_11_a_part_of_what_it_was),
		RULE(test_rule_11_outside_of_it),
		RULE(test_rule_12_long_polling),
		RULE(test_rule_12_nobody_waits_for_what_is_beyond_the_next),
		RULE(test_rule_12_changes_are_told),
		RULE(test_rule_13_forms_are_resources),
		RULE(test_rule_13_no_form_leads_nowhere),
		RULE(test_rule_13_search_by_the_form),
		RULE(test_rule_14_variants),
		RULE(test_rule_15_placeholders),
		RULE(test_rule_16_no_link_header),
		RULE(test_the_documentation_tells_it_all),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
