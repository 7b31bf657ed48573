/* SPDX-License-Identifier: MIT */
/* The rules 3 to 6: negotiation, what is written, what is read. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "data/json.h"
#include "memory/memory.h"
#include "rest/represent.h"

static json_t *json_of(const char *text)
{
	json_t *value = json_loads(text, JSON_DECODE_ANY, NULL);

	if (!value)
		fail_msg("no JSON: %s", text);
	return value;
}

static void assert_json(const json_t *value, const char *wanted)
{
	json_t *other cleanup(json_free_at) = json_of(wanted);

	if (!json_equal(value, other)) {
		char *text cleanup(free_at) = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);

		fail_msg("%s where %s is wanted", text, wanted);
	}
}

static const struct rest_field fields[] = {
	{.name = "title", .kind = REST_STRING},
	{.name = "pages", .kind = REST_NUMBER},
	{.name = "shelf", .kind = REST_LINK},
	{.name = NULL},
};
static const struct rest_type book = {.name = "book", .plural = "books", .fields = fields};

static void test_rule_6_content_types(void **state)
{
	static const struct {
		enum rest_format format;
		enum rest_shape shape;
		const char *type;
	} cases[] = {
		{REST_JSON, REST_RESOURCE, "application/x-resource+json"},
		{REST_JSON, REST_COLLECTION, "application/x-collection+json"},
		{REST_JSON, REST_FORM, "application/x-form+json"},
		{REST_YAML, REST_RESOURCE, "application/x-resource+yaml"},
		{REST_YAML, REST_COLLECTION, "application/x-collection+yaml"},
		{REST_YAML, REST_FORM, "application/x-form+yaml"},
		{REST_XML, REST_RESOURCE, "application/x-resource+xml"},
		{REST_XML, REST_COLLECTION, "application/x-collection+xml"},
		{REST_XML, REST_FORM, "application/x-form+xml"},
		{REST_HTML, REST_RESOURCE, "text/html; charset=utf-8"},
		{REST_HTML, REST_FORM, "text/html; charset=utf-8"},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++)
		assert_string_equal(rest_content_type(cases[i].format, cases[i].shape),
				    cases[i].type);
}

#define NONE (-1)

static void test_rule_6_accept_is_negotiated(void **state)
{
	static const struct {
		const char *accept;
		int format; /* of a resource */
	} cases[] = {
		{NULL, REST_JSON},
		{"", REST_JSON},
		{"*/*", REST_JSON},
		{"application/*", REST_JSON},
		{"text/*", REST_HTML},
		{"text/html", REST_HTML},
		{"application/json", REST_JSON},
		{"application/yaml", REST_YAML},
		{"application/xml", REST_XML},
		{"application/x-resource+yaml", REST_YAML},
		{"APPLICATION/X-Resource+XML", REST_XML},
		{"application/x-collection+yaml", NONE}, /* another shape */
		{"image/png", NONE},
		{"image/png, */*;q=0.1", REST_JSON},
		/* what browsers send */
		{"text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8",
		 REST_HTML},
		/* q-values come first, then how exact the range is, then our order */
		{"application/json;q=0.5, application/yaml", REST_YAML},
		{"application/json;q=0.5,application/yaml;q=0.501", REST_YAML},
		{"application/xml, application/yaml", REST_YAML},
		{"*/*, application/xml", REST_XML},
		{"application/*, text/html", REST_HTML},
		/* the most exact range of a format has its weight */
		{"*/*, application/json;q=0", REST_YAML},
		{"application/json;q=0, application/*;q=0.1, text/html;q=0.2", REST_HTML},
		{"application/x-resource+json;q=0, application/json;q=0.3, text/html;q=0.2",
		 REST_JSON},
		{"*/*;q=0", NONE},
		{"application/json;q=0.000", NONE},
		{"application/json;q=0.001", REST_JSON},
		/* blanks, empty members, parameters, quotes */
		{" , ,\tapplication/yaml ; charset=utf-8 ; q=1.000 ,", REST_YAML},
		{"application/json;q=0.2;ext=\"a,b;q=1\", application/xml;q=0.3", REST_XML},
		{"application/json;x=\"\\\"\";Q=0.2, application/xml;q=0.3", REST_XML},
		/* a malformed weight asks for nothing */
		{"application/json;q=2, application/xml;q=0.1", REST_XML},
		{"application/json;q=1.001", NONE},
		{"application/json;q=0.1234", NONE},
		{"application/json;q=x", NONE},
		{"application/json;q=0.x", NONE},
		{"application/json;q=0.5/", NONE},
		{"application/json;q=", NONE},
		{"application/json;q", NONE},
		{"json", NONE},
		{"*", NONE},
		{"\"", NONE},
		{";q=1", NONE},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		enum rest_format format = REST_FORM_BODY;
		int ret = rest_negotiate(cases[i].accept, REST_RESOURCE, &format);
		int found = ret == 0 ? (int)format : NONE;

		if (found != cases[i].format)
			fail_msg("\"%s\" gives %d", cases[i].accept, found);
		if (ret < 0)
			assert_int_equal(ret, -EPROTONOSUPPORT);
	}
}

static void test_rule_6_each_shape_has_its_names(void **state)
{
	enum rest_format format;

	(void)state;
	assert_int_equal(rest_negotiate("application/x-collection+yaml", REST_COLLECTION, &format),
			 0);
	assert_int_equal(format, REST_YAML);
	assert_int_equal(rest_negotiate("application/x-form+xml", REST_FORM, &format), 0);
	assert_int_equal(format, REST_XML);
	assert_true(rest_negotiate("application/x-resource+xml", REST_FORM, &format) < 0);
	assert_int_equal(rest_negotiate("application/xml", REST_FORM, &format), 0);
}

static void test_rule_6_a_body_has_a_known_type(void **state)
{
	static const struct {
		const char *type;
		int format;
	} cases[] = {
		{"application/json", REST_JSON},
		{"application/x-resource+json", REST_JSON},
		{"application/yaml; charset=UTF-8", REST_YAML},
		{"application/x-resource+xml;charset=\"us-ascii\"", REST_XML},
		{"Application/X-WWW-Form-URLencoded", REST_FORM_BODY},
		{"application/json; charset=iso-8859-1", NONE},
		{"text/html", NONE},
		{"multipart/form-data; boundary=x", NONE},
		{"application/jsonx", NONE},
		{"", NONE},
		{NULL, NONE},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		enum rest_format format = REST_HTML;
		int ret = rest_format_of(cases[i].type, &format);

		if ((ret == 0 ? (int)format : NONE) != cases[i].format)
			fail_msg("\"%s\" gives %d", cases[i].type, (int)format);
	}
}

/* It is added to what there is. */
static int represent_anew(const struct rest_page *page, enum rest_format format, struct buf *out,
			  struct err *e)
{
	buf_free(out);
	return rest_represent(page, format, out, e);
}

static void assert_shown(const char *json, enum rest_shape shape, enum rest_format format,
			 const char *wanted)
{
	json_t *value cleanup(json_free_at) = json_of(json);
	struct rest_page page = {.shape = shape, .value = value, .type = &book};
	struct buf out cleanup(buf_free) = {0};
	struct err e = {0};

	if (scarce(represent_anew(&page, format, &out, &e)) < 0)
		fail_msg("%s", e.text);
	assert_string_equal(buf_text(&out), wanted);
}

static const char one[] = "{\"_type\":\"book\",\"id\":\"1\",\"title\":\"A \\\"b\\\"\",\"price\":"
			  "0.1,\"tags\":[\"x\"],\"lent\":false,\"shelf\":{\"href\":\"http://h/"
			  "api/shelves/a\"}}";

static void test_rule_3_a_resource_is_an_object_in_every_format(void **state)
{
	(void)state;
	assert_shown(one, REST_RESOURCE, REST_JSON,
		     "{\n  \"_type\": \"book\",\n  \"id\": \"1\",\n  \"title\": \"A \\\"b\\\"\",\n"
		     "  \"price\": 0.1,\n  \"tags\": [\n    \"x\"\n  ],\n  \"lent\": false,\n"
		     "  \"shelf\": {\n    \"href\": \"http://h/api/shelves/a\"\n  }\n}\n");
	assert_shown(one, REST_RESOURCE, REST_YAML,
		     "!book\nid: \"1\"\ntitle: \"A \\\"b\\\"\"\nprice: 0.1\ntags:\n  - x\n"
		     "lent: false\nshelf:\n  href: http://h/api/shelves/a\n");
	assert_shown(one, REST_RESOURCE, REST_XML,
		     "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
		     "<book xmlns:xs=\"http://www.w3.org/2001/XMLSchema\""
		     " xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\">\n"
		     "  <id type=\"xs:string\">1</id>\n"
		     "  <title type=\"xs:string\">A &quot;b&quot;</title>\n"
		     "  <price type=\"xs:decimal\">0.1</price>\n"
		     "  <tags type=\"xs:list\">\n    <tag type=\"xs:string\">x</tag>\n  </tags>\n"
		     "  <lent type=\"xs:boolean\">false</lent>\n"
		     "  <shelf>\n    <href type=\"xs:string\">http://h/api/shelves/a</href>\n"
		     "  </shelf>\n</book>\n");
}

static void test_rule_3_a_collection_is_an_array(void **state)
{
	static const char two[] = "[{\"_type\":\"book\",\"id\":\"1\"},{\"_type\":\"book\",\"id\":"
				  "\"2\"}]";

	(void)state;
	assert_shown(two, REST_COLLECTION, REST_YAML,
		     "- !book\n  id: \"1\"\n- !book\n  id: \"2\"\n");
	assert_shown(two, REST_COLLECTION, REST_XML,
		     "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
		     "<books xmlns:xs=\"http://www.w3.org/2001/XMLSchema\""
		     " xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" type=\"xs:list\">\n"
		     "  <book>\n    <id type=\"xs:string\">1</id>\n  </book>\n"
		     "  <book>\n    <id type=\"xs:string\">2</id>\n  </book>\n</books>\n");
	assert_shown("[]", REST_COLLECTION, REST_JSON, "[]\n");
}

static void assert_read(const char *body, enum rest_format format, const char *wanted)
{
	json_t *value cleanup(json_free_at) = NULL;
	struct err e = {0};

	if (scarce(rest_read(body, strlen(body), format, &value, &e)) < 0)
		fail_msg("%s gives '%s'", body, e.text);
	assert_json(value, wanted);
}

static void test_rule_6_one_body_in_every_format(void **state)
{
	static const char wanted[] = "{\"_type\":\"book\",\"title\":\"A\",\"tags\":[\"x\",\"y\"],"
				     "\"size\":{\"cm\":\"4\"}}";

	(void)state;
	assert_read(wanted, REST_JSON, wanted);
	assert_read("!book\ntitle: A\ntags: [x, y]\nsize: {cm: '4'}\n", REST_YAML, wanted);
	assert_read("<book><title>A</title><tags type='xs:list'><tag>x</tag><tag>y</tag></tags>"
		    "<size><cm>4</cm></size></book>",
		    REST_XML, wanted);
	assert_read("_type=book&title=A&tags=x&size.cm=4&tags=y", REST_FORM_BODY, wanted);
}

static void test_rule_6_form_bodies(void **state)
{
	(void)state;
	assert_read("", REST_FORM_BODY, "{}");
	assert_read("a=1+2%2B3&b=%c3%A9&&c", REST_FORM_BODY,
		    "{\"a\":\"1 2+3\",\"b\":\"\xc3\xa9\",\"c\":\"\"}");
	assert_read("a=1&a=2&a=3", REST_FORM_BODY, "{\"a\":[\"1\",\"2\",\"3\"]}");
	assert_read("a.b.c=1&a.d=2&a.b.c=3", REST_FORM_BODY,
		    "{\"a\":{\"b\":{\"c\":[\"1\",\"3\"]},\"d\":\"2\"}}");
}

static void assert_refused(const char *body, size_t len, enum rest_format format,
			   const char *sentence)
{
	json_t *untouched = json_null(), *value = untouched;
	struct err e = {0};

	assert_true(rest_read(body, len, format, &value, &e) < 0);
	assert_ptr_equal(value, untouched);
	if (strncmp(e.text, sentence, strlen(sentence)) != 0)
		fail_msg("%s gives '%s'", body, e.text);
}

static void test_rule_6_what_is_no_body_is_refused(void **state)
{
	static const struct {
		const char *body;
		enum rest_format format;
		const char *sentence;
	} cases[] = {
		{"", REST_JSON, "body:1: "},
		{"{\n\"a\":1,\"a\":2}", REST_JSON, "body:2: duplicate object key"},
		{"{\"a\":\"\xff\"}", REST_JSON, "body:1: "},
		{"", REST_YAML, "body: one YAML document is wanted, not 0"},
		{"a: 1\n---\nb: 2\n", REST_YAML, "body: one YAML document is wanted, not 2"},
		{"a: &x 1\nb: *x\n", REST_YAML, "body:1: anchors"},
		{"<!DOCTYPE a><a/>", REST_XML, "body:1: a document type declaration"},
		{"a=%4", REST_FORM_BODY, "body: behind '%'"},
		{"a=%zz", REST_FORM_BODY, "body: behind '%'"},
		{"a=%4z", REST_FORM_BODY, "body: behind '%'"},
		{"a=%00", REST_FORM_BODY, "body: UTF-8 without NUL"},
		{"%ff=1", REST_FORM_BODY, "body: UTF-8 without NUL"},
		{"=1", REST_FORM_BODY, "body: a field has an empty name"},
		{".a=1", REST_FORM_BODY, "body: a field has an empty name"},
		{"a.=1", REST_FORM_BODY, "body: a field has an empty name"},
		{"a=1&a.b=2", REST_FORM_BODY, "body: a has both a value and parts"},
		{"a.b=1&a=2", REST_FORM_BODY, "body: a has both a value and parts"},
		{"a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p.q=1", REST_FORM_BODY,
		 "body: more than 16 levels deep"},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++)
		assert_refused(cases[i].body, strlen(cases[i].body), cases[i].format,
			       cases[i].sentence);
	assert_refused("a=\0", 3, REST_FORM_BODY, "body: UTF-8 without NUL");
}

static void repeat(struct buf *out, const char *text, size_t count)
{
	while (count-- > 0)
		buf_str(out, text);
}

static void test_rule_6_bodies_have_limits(void **state)
{
	struct buf body cleanup(buf_free) = {0};

	(void)state;
	repeat(&body, "[", REST_DEPTH_MAX + 1);
	repeat(&body, "]", REST_DEPTH_MAX + 1);
	assert_refused(buf_text(&body), body.len, REST_JSON, "body: more than 16 levels deep");
	assert_refused(buf_text(&body), body.len, REST_YAML, "body:1: more than 16 levels deep");
	buf_clear(&body);
	buf_str(&body, "[0");
	repeat(&body, ",0", REST_VALUES_MAX - 1);
	buf_str(&body, "]");
	assert_refused(buf_text(&body), body.len, REST_JSON, "body: more than 10000 values");
	assert_refused(buf_text(&body), body.len, REST_YAML, "body: more than 10000 values");
	buf_clear(&body);
	repeat(&body, "&a=", REST_VALUES_MAX + 1);
	assert_refused(buf_text(&body), body.len, REST_FORM_BODY, "body: more than 10000 values");
}

static void test_rule_6_html_is_written_and_form_bodies_are_read(void **state)
{
	json_t *value = NULL, *shown cleanup(json_free_at) = json_object();
	struct rest_page page = {.shape = REST_RESOURCE, .value = shown, .type = &book};
	struct buf out cleanup(buf_free) = {0};
	struct err e = {0};

	(void)state;
	assert_int_equal(rest_represent(&page, REST_FORM_BODY, &out, &e), -EINVAL);
	assert_string_equal(e.text, "a form body is only read");
	assert_int_equal(rest_read("<p>", 3, REST_HTML, &value, &e), -EINVAL);
	assert_string_equal(e.text, "HTML is only written");
	assert_null(value);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rule_3_a_resource_is_an_object_in_every_format),
		cmocka_unit_test(test_rule_3_a_collection_is_an_array),
		cmocka_unit_test(test_rule_6_content_types),
		cmocka_unit_test(test_rule_6_html_is_written_and_form_bodies_are_read),
		cmocka_unit_test(test_rule_6_accept_is_negotiated),
		cmocka_unit_test(test_rule_6_each_shape_has_its_names),
		cmocka_unit_test(test_rule_6_a_body_has_a_known_type),
		cmocka_unit_test(test_rule_6_one_body_in_every_format),
		cmocka_unit_test(test_rule_6_form_bodies),
		cmocka_unit_test(test_rule_6_what_is_no_body_is_refused),
		cmocka_unit_test(test_rule_6_bodies_have_limits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
