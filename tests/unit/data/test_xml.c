/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <expat.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "data/json.h"
#include "data/xml.h"
#include "memory/memory.h"

/* By the linker, instead of XML_ParserCreate(): what expat asks for can be refused too. */
XML_Parser __wrap_XML_ParserCreate(const char *encoding);

XML_Parser __wrap_XML_ParserCreate(const char *encoding)
{
	static const XML_Memory_Handling_Suite refusable = {malloc, realloc, free};

	return XML_ParserCreate_MM(encoding, &refusable, NULL);
}

static json_t *json_of(const char *text)
{
	json_t *value = json_loads(text, JSON_DECODE_ANY, NULL);

	assert_non_null(value);
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

static void documents_become_json(void **state)
{
	static const struct {
		const char *text;
		const char *json;
	} cases[] = {
		{"<mirror/>", "{\"_type\":\"mirror\"}"},
		{"<mirror><name>ids</name><to type=\"xs:string\"> x </to></mirror>",
		 "{\"_type\":\"mirror\",\"name\":\"ids\",\"to\":\" x \"}"},
		{"<m><from type='xs:list'>\n <from>a</from>\n <x>b</x>\n</from></m>",
		 "{\"_type\":\"m\",\"from\":[\"a\",\"b\"]}"},
		{"<ms type='xs:list'><m><a>1</a></m><n/></ms>",
		 "[{\"_type\":\"m\",\"a\":\"1\"},\"\"]"},
		{"<m><cpu><cores type=\"xs:int\"> +04 </cores></cpu></m>",
		 "{\"_type\":\"m\",\"cpu\":{\"cores\":4}}"},
		{"<m><a type='xs:integer'>-3</a><b type='xs:decimal'>5</b><c "
		 "type='xs:double'>1e3</c></m>",
		 "{\"_type\":\"m\",\"a\":-3,\"b\":5.0,\"c\":1000.0}"},
		{"<m><a type='xs:boolean'>1</a><b type='xs:boolean'>\nfalse</b></m>",
		 "{\"_type\":\"m\",\"a\":true,\"b\":false}"},
		{"<m><a xsi:nil='true'/><b xsi:nil='false'>x</b></m>",
		 "{\"_type\":\"m\",\"a\":null,\"b\":\"x\"}"},
		{"<m><a>&lt;&amp;&#65;&#x42;<![CDATA[<b>]]></a><!-- c --></m>",
		 "{\"_type\":\"m\",\"a\":\"<&AB<b>\"}"},
		{"<m><a type='xs:anyType'/><b type='xs:hexBinary'>01ff</b></m>", NULL},
		{"<m><b type='xs:hexBinary'> 61c3A9</b></m>",
		 "{\"_type\":\"m\",\"b\":\"a\xc3\xa9\"}"},
		{"<m><entry name='a b'>x</entry></m>", "{\"_type\":\"m\",\"a b\":\"x\"}"},
		{"<?xml version='1.0' encoding='utf-8'?>\n<m/>", "{\"_type\":\"m\"}"},
		{"<x type='xs:integer'>7</x>", "7"},
		{"<x>text</x>", "\"text\""},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		json_t *value cleanup(json_free_at) = NULL;
		struct err e = {0};
		int ret = scarce(xml_read(cases[i].text, strlen(cases[i].text), "f", &value, &e));

		if (!cases[i].json) {
			assert_int_equal(ret, -EBADMSG);
			continue;
		}
		if (ret < 0)
			fail_msg("'%s' gives '%s'", cases[i].text, e.text);
		assert_json(value, cases[i].json);
	}
}

static void what_is_wrong_is_refused_with_its_line(void **state)
{
	static const struct {
		const char *text;
		const char *sentence; /* its start */
	} cases[] = {
		{"", "f:1: no element found"},
		{"<a>\n</b>", "f:2: mismatched tag"},
		{"<a/><b/>", "f:1: junk after document element"},
		{"<!DOCTYPE a>\n<a/>", "f:1: a document type declaration"},
		{"<!DOCTYPE a SYSTEM 'file:///etc/passwd'>\n<a/>",
		 "f:1: a document type declaration"},
		{"<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>", "f:1: a document type declaration"},
		{"<a>&b;</a>", "f:1: undefined entity"},
		{"<?php x?><a/>", "f:1: a processing instruction"},
		{"<a><?x?></a>", "f:1: a processing instruction"},
		{"<?xml version='1.0' encoding='UTF-16'?><a/>", "f:1: the encoding UTF-16"},
		{"<a>\n<b/>\n<b/></a>", "f:3: the element b is there twice"},
		{"<a><_type>b</_type></a>", "f:1: the element _type is there twice"},
		{"<a>text<b/></a>", "f:1: text beside elements"},
		{"<a><b/>text</a>", "f:1: text beside elements"},
		{"<a type='xs:integer'><b/></a>", "f:1: the element b stands in a scalar"},
		{"<a type='int'>1</a>", "f:1: the type int is not known"},
		{"<a id='1'/>", "f:1: the XML attribute id is not taken"},
		{"<a type='xs:integer'>1.5</a>", "f:1: \"1.5\" is no xs:integer"},
		{"<a type='xs:integer'>\"1\"</a>", "f:1: \"\"1\"\" is no xs:integer"},
		{"<a type='xs:integer'>9223372036854775808</a>", "f:1: the number"},
		{"<a type='xs:decimal'>NaN</a>", "f:1: \"NaN\" is no xs:decimal"},
		{"<a type='xs:boolean'>yes</a>", "f:1: \"yes\" is no xs:boolean"},
		{"<a xsi:nil='true'>x</a>", "f:1: an element with xsi:nil"},
		{"<a type='xs:hexBinary'>6</a>", "f:1: an xs:hexBinary is of pairs"},
		{"<a type='xs:hexBinary'>ff</a>", "f:1: an xs:hexBinary must be of UTF-8"},
		{"<a type='xs:hexBinary'>00</a>", "f:1: an xs:hexBinary must be of UTF-8"},
		{"<a>\xff</a>", "f:1: not well-formed"},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		json_t *untouched = json_null(), *value = untouched;
		struct err e = {0};

		assert_int_equal(
			scarce(xml_read(cases[i].text, strlen(cases[i].text), "f", &value, &e)),
			-EBADMSG);
		assert_ptr_equal(value, untouched);
		if (strncmp(e.text, cases[i].sentence, strlen(cases[i].sentence)) != 0)
			fail_msg("'%s' gives '%s'", cases[i].text, e.text);
	}
}

static int read_nested(unsigned levels, const char *innermost, struct err *e)
{
	struct buf text cleanup(buf_free) = {0};
	json_t *value cleanup(json_free_at) = NULL;

	for (unsigned i = 0; i < levels; i++)
		buf_str(&text, "<a>");
	buf_str(&text, innermost);
	for (unsigned i = 0; i < levels; i++)
		buf_str(&text, "</a>");
	return xml_read(buf_text(&text), text.len, "f", &value, e);
}

static void depth_and_size_have_limits(void **state)
{
	struct buf text cleanup(buf_free) = {0};
	json_t *value cleanup(json_free_at) = NULL;
	struct err e = {0};

	(void)state;
	assert_int_equal(read_nested(XML_DEPTH_MAX, "<s>x</s>", NULL), 0);
	assert_int_equal(read_nested(XML_DEPTH_MAX + 1, "<s>x</s>", &e), -EBADMSG);
	assert_string_equal(e.text, "f:1: more than 16 levels deep");
	assert_int_equal(read_nested(XML_DEPTH_MAX, "<s type='xs:list'/>", NULL), -EBADMSG);
	assert_int_equal(read_nested(5000, "", NULL), -EBADMSG);
	buf_str(&text, "<a type='xs:list'>");
	for (size_t i = 0; i < XML_VALUES_MAX; i++)
		buf_str(&text, "<b/>");
	buf_str(&text, "</a>");
	assert_int_equal(xml_read(buf_text(&text), text.len, "f", &value, &e), -EBADMSG);
	assert_string_equal(e.text, "f:1: more than 100000 values");
	assert_int_equal(xml_read("", (size_t)INT_MAX + 1, "f", &value, &e), -EBADMSG);
	assert_string_equal(e.text, "f: the document is too large");
}

/* It is added to what there is. */
static int write_anew(const json_t *value, const char *root, struct buf *text)
{
	buf_free(text);
	return xml_write(value, root, text, NULL);
}

static void assert_xml(const char *json, const char *root, const char *wanted)
{
	json_t *value cleanup(json_free_at) = json_of(json);
	struct buf text cleanup(buf_free) = {0};
	const char *body;

	assert_int_equal(scarce(write_anew(value, root, &text)), 0);
	body = strchr(buf_text(&text), '\n') + 1;
	if (strcmp(body, wanted) != 0)
		fail_msg("%s gives\n%s", json, body);
}

#define SPACES                                                                                     \
	" xmlns:xs=\"http://www.w3.org/2001/XMLSchema\""                                           \
	" xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\""

static void values_are_written(void **state)
{
	(void)state;
	assert_xml("{\"_type\":\"mirror\",\"from\":[\"port:a\"],\"n\":1,\"off\":false,\"z\":null}",
		   "x",
		   "<mirror" SPACES ">\n"
		   "  <from type=\"xs:list\">\n"
		   "    <from type=\"xs:string\">port:a</from>\n"
		   "  </from>\n"
		   "  <n type=\"xs:integer\">1</n>\n"
		   "  <off type=\"xs:boolean\">false</off>\n"
		   "  <z xsi:nil=\"true\"></z>\n"
		   "</mirror>\n");
	assert_xml("[{\"_type\":\"vm\",\"nics\":[1]},{}]", "vms",
		   "<vms" SPACES " type=\"xs:list\">\n"
		   "  <vm>\n"
		   "    <nics type=\"xs:list\">\n"
		   "      <nic type=\"xs:integer\">1</nic>\n"
		   "    </nics>\n"
		   "  </vm>\n"
		   "  <vm type=\"xs:anyType\"></vm>\n"
		   "</vms>\n");
	assert_xml("{\"a b\":\"<\\r&\\\"\",\"c\":\"\\u0001\",\"d\":0.1,\"e\":1e300}", "x",
		   "<x" SPACES ">\n"
		   "  <entry name=\"a b\" type=\"xs:string\">&lt;&#13;&amp;&quot;</entry>\n"
		   "  <c type=\"xs:hexBinary\">01</c>\n"
		   "  <d type=\"xs:decimal\">0.1</d>\n"
		   "  <e type=\"xs:double\">1e300</e>\n"
		   "</x>\n");
}

static void what_is_written_is_read_again(void **state)
{
	static const char *const cases[] = {
		"{\"_type\":\"m\"}",
		"{\"_type\":\"m\",\"a\":{},\"b\":[],\"c\":\"\",\"d\":[[1,[]],{\"e\":{}}]}",
		"{\"_type\":\"m\",\"a\":{\"_type\":\"n\",\"b\":1}}",
		"{\"_type\":\"m\",\"\":1,\"1\":2,\"a:b\":3,\"\xc3\xa9\":4,\"a\\nb\":5}",
		"{\"_type\":\"m\",\"a\":\" \\t\\r\\n "
		"\",\"b\":\"\\u0001\\u007f\",\"c\":\"\\uffff\"}",
		"{\"_type\":\"m\",\"a\":[0.1,1e300,-5e-324,1.0,9223372036854775807]}",
		"{\"_type\":\"a b\",\"c\":true}",
		"[{\"_type\":\"m\",\"a\":1},{\"_type\":\"n\"}]",
		"[]",
		"[1,\"x\",null]",
		"\"text\"",
		"\"\"",
		"null",
		"1.5",
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		json_t *value cleanup(json_free_at) = json_of(cases[i]);
		json_t *again cleanup(json_free_at) = NULL;
		struct buf text cleanup(buf_free) = {0};
		struct err e = {0};

		assert_int_equal(scarce(write_anew(value, "root", &text)), 0);
		if (scarce(xml_read(buf_text(&text), text.len, "f", &again, &e)) < 0)
			fail_msg("%s: %s", buf_text(&text), e.text);
		assert_json(again, cases[i]);
	}
}

static void what_xml_can_not_say_is_refused(void **state)
{
	static const char *const cases[] = {"{\"\\u0001\":1}", "{\"_type\":1}", "{\"_type\":\"\"}",
					    "[{},{\"_type\":1}]"};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		json_t *value cleanup(json_free_at) = json_of(cases[i]);
		struct buf text cleanup(buf_free) = {0};

		assert_int_equal(xml_write(value, "x", &text, NULL), -EINVAL);
		assert_int_equal(text.len, 0);
	}
}

/* Nothing is written that would not be read again. */
static void what_is_too_deep_to_be_read_is_not_written(void **state)
{
	json_t *value cleanup(json_free_at) = json_integer(1);
	struct buf text cleanup(buf_free) = {0};
	json_t *again cleanup(json_free_at) = NULL;
	struct err e = {0};

	(void)state;
	for (unsigned i = 0; i < XML_DEPTH_MAX; i++)
		value = json_pack("[o]", value);
	assert_int_equal(xml_write(value, "x", &text, &e), 0);
	assert_int_equal(xml_read(buf_text(&text), text.len, "f", &again, &e), 0);
	assert_true(json_equal(again, value));
	value = json_pack("[o]", value);
	buf_clear(&text);
	assert_int_equal(xml_write(value, "x", &text, &e), -EINVAL);
	assert_string_equal(e.text, "a value of more than 16 levels can't be written");
	assert_int_equal(text.len, 0);
}

static void plurals_have_singulars(void **state)
{
	static const char *const cases[][2] = {
		{"sources", "source"},
		{"entries", "entry"},
		{"from", "from"},
		{"vms", "vm"},
		{"bridges", "bridge"},
		{"addresses", "address"},
		{"statuses", "status"},
		{"status", "status"},
		{"boxes", "box"},
		{"patches", "patch"},
		{"choices", "choice"},
		{"class", "class"},
		{"basis", "basis"},
		{"shelves", "shelf"},
		{"a b", "item"},
		{"s", "s"},
		{"on-failures", "on-failure"},
	};
	char singular[XML_NAME_MAX], many[100];

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++)
		assert_string_equal(xml_singular(singular, cases[i][0]), cases[i][1]);
	memset(many, 'x', sizeof(many) - 1);
	many[sizeof(many) - 1] = '\0';
	assert_string_equal(xml_singular(singular, many), "item");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(documents_become_json),
		cmocka_unit_test(what_is_wrong_is_refused_with_its_line),
		cmocka_unit_test(depth_and_size_have_limits),
		cmocka_unit_test(values_are_written),
		cmocka_unit_test(what_is_written_is_read_again),
		cmocka_unit_test(what_xml_can_not_say_is_refused),
		cmocka_unit_test(what_is_too_deep_to_be_read_is_not_written),
		cmocka_unit_test(plurals_have_singulars),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
