/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "data/json.h"
#include "data/yaml.h"
#include "memory/memory.h"

static void read_ok(const char *text, struct yaml_docs *docs)
{
	struct err e = {0};

	if (scarce(yaml_read(text, strlen(text), "f", docs, &e)) < 0)
		fail_msg("'%s' gives '%s'", text, e.text);
}

static void assert_json(const json_t *value, const char *wanted)
{
	json_t *other cleanup(json_free_at) = json_loads(wanted, JSON_DECODE_ANY, NULL);

	assert_non_null(other);
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
		{"name: ids\nfrom:\n- vm:web1\n- port:vnet*\nto: port:ids0\nisolate: true\n",
		 "{\"name\":\"ids\",\"from\":[\"vm:web1\",\"port:vnet*\"],\"to\":\"port:ids0\","
		 "\"isolate\":true}"},
		{"[1, -2, 0, 1.5, 1e3, -0.5E-2]", "[1,-2,0,1.5,1000.0,-0.005]"},
		{"[true, false, null, ~, ]", "[true,false,null,null]"},
		{"{a: , b: ''}", "{\"a\":null,\"b\":\"\"}"},
		/* what YAML 1.1 takes for something else, and what is nearly a number */
		{"[yes, no, on, off, True, NULL, 0x10, 1_000, 12:30:45, 2001-01-01, .5, 5., +1, "
		 "01, "
		 ".inf, 1e, -, 1.e3]",
		 "[\"yes\",\"no\",\"on\",\"off\",\"True\",\"NULL\",\"0x10\",\"1_000\",\"12:30:45\","
		 "\"2001-01-01\",\".5\",\"5.\",\"+1\",\"01\",\".inf\",\"1e\",\"-\",\"1.e3\"]"},
		{"123e4567-e89b-12d3-a456-426614174000",
		 "\"123e4567-e89b-12d3-a456-426614174000\""},
		{"['1', \"true\", !!str 12, ! x]", "[\"1\",\"true\",\"12\",\"x\"]"},
		{"a: |\n  x\n  y\nb: >-\n  x\n  y\n", "{\"a\":\"x\\ny\\n\",\"b\":\"x y\"}"},
		{"!mirror\nname: ids\n", "{\"_type\":\"mirror\",\"name\":\"ids\"}"},
		{"--- !mirror {name: ids}\n", "{\"_type\":\"mirror\",\"name\":\"ids\"}"},
		{"!!map {a: !!seq []}", "{\"a\":[]}"},
		{"\xef\xbb\xbf"
		 "a: 1\nb: 2\n",
		 "{\"a\":1,\"b\":2}"},
		{"%YAML 1.2\n---\na: \"\\u00e9\\x41\"\n", "{\"a\":\"\xc3\xa9"
							  "A\"}"},
		{"\"<<\": 1", "{\"<<\":1}"},
		{"---", "null"},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct yaml_docs docs cleanup(yaml_docs_free) = {0};

		read_ok(cases[i].text, &docs);
		assert_int_equal(docs.count, 1);
		assert_json(docs.items[0].value, cases[i].json);
	}
}

static void several_documents_or_none(void **state)
{
	struct yaml_docs docs cleanup(yaml_docs_free) = {0};
	struct yaml_docs none cleanup(yaml_docs_free) = {0};

	(void)state;
	read_ok("a: 1\n---\n---\n- 2\n...\n", &docs);
	assert_int_equal(docs.count, 3);
	assert_json(docs.items[0].value, "{\"a\":1}");
	assert_json(docs.items[1].value, "null");
	assert_json(docs.items[2].value, "[2]");
	assert_int_equal(yaml_line(&docs.items[2], "[0]"), 4);
	read_ok("", &none);
	read_ok("# a remark\n\n", &none);
	assert_int_equal(none.count, 0);
}

static void assert_refused(const char *text, size_t len, const char *sentence)
{
	struct yaml_docs docs = {.count = 7};
	struct err e = {0};
	int ret = scarce(yaml_read(text, len, "f", &docs, &e));

	if (ret != -EBADMSG || strcmp(e.text, sentence) != 0)
		fail_msg("'%s' gives %d, '%s'", text, ret, e.text);
	assert_int_equal(docs.count, 7);
}

static void what_is_not_taken_is_refused_with_its_line(void **state)
{
	static const struct {
		const char *text;
		const char *sentence;
	} cases[] = {
		{"a: 1\nb: 2\na: 3\n", "f:3: the key \"a\" is there twice"},
		{"!t\n_type: t\n", "f:2: the key \"_type\" is there twice"},
		{"a: &x 1\n", "f:1: anchors (&x) are not taken"},
		{"a: &x [1]\n", "f:1: anchors (&x) are not taken"},
		{"a: &x {b: 1}\n", "f:1: anchors (&x) are not taken"},
		{"&x a: 1\n", "f:1: anchors (&x) are not taken"},
		{"a: 1\nb: *x\n", "f:2: aliases (*x) are not taken"},
		{"*x : 1\n", "f:1: aliases (*x) are not taken"},
		{"<<: {a: 1}\n", "f:1: merge keys (<<) are not taken"},
		{"1: x\n", "f:1: a key must be a string: \"1\", with the quotes"},
		{"true: x\n", "f:1: a key must be a string: \"true\", with the quotes"},
		{"~: x\n", "f:1: a key must be a string: \"~\", with the quotes"},
		{"[a]: x\n", "f:1: a key must be a string"},
		{"? {a: b}\n: x\n", "f:1: a key must be a string"},
		{"a: !!int 3\n", "f:1: the tag tag:yaml.org,2002:int is not taken here"},
		{"a: !x 3\n", "f:1: the tag !x is not taken here"},
		{"a: !!binary aGk=\n", "f:1: the tag tag:yaml.org,2002:binary is not taken here"},
		{"!!python/object:os.system {}\n",
		 "f:1: the tag tag:yaml.org,2002:python/object:os.system is not taken here"},
		{"!x [1]\n", "f:1: the tag !x is not taken here"},
		{"a: \"x\\0y\"\n", "f:1: a string must not hold a NUL"},
		{"a: 99999999999999999999\n",
		 "f:1: the number 99999999999999999999 is too big; quote it if it is text"},
		{"a: 1e999\n", "f:1: the number 1e999 is too big; quote it if it is text"},
		{"a: 1\nb: \xff\n", "f:2: invalid leading UTF-8 octet"},
		{"a: \x1b[31m\n", "f:1: control characters are not allowed"},
		{"\xff\xfe"
		 "a",
		 "f:1: invalid leading UTF-8 octet"},
		{"a: 1\nb: [1\nc: 2\n",
		 "f:3: did not find expected ',' or ']' while parsing a flow sequence"},
		{"a: b: c\n", "f:1: mapping values are not allowed in this context"},
		{"a: 1\n\tb: 2\n", "f:2: found a tab character that violates indentation while "
				   "scanning a plain scalar"},
		{"[[[[[[[[[[[[[[[[[\n", "f:1: more than 16 levels deep"},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++)
		assert_refused(cases[i].text, strlen(cases[i].text), cases[i].sentence);
	assert_refused("a: 1\nb: \0", 9, "f:2: control characters are not allowed");
}

static void the_number_of_values_is_bounded(void **state)
{
	struct buf text cleanup(buf_free) = {0};
	struct yaml_docs docs = {0};
	struct err e = {0};

	(void)state;
	for (int i = 0; i < YAML_VALUES_MAX; i++)
		buf_str(&text, "- 1\n");
	assert_int_equal(yaml_read(text.data, text.len, "f", &docs, &e), -EBADMSG);
	assert_string_equal(e.text, "f:100000: more than 100000 values");
	assert_int_equal(yaml_read(text.data, text.len - 4, "f", &docs, &e), 0);
	yaml_docs_free(&docs);
}

static void every_value_has_its_line(void **state)
{
	static const struct {
		const char *path;
		unsigned line;
	} cases[] = {
		{"", 2},	{"name", 2},	{"from", 4},	    {"from[0]", 4}, {"from[1]", 6},
		{"to", 7},	{"to[0].a", 8}, {"to[0].b[1]", 10}, {"to[1]", 11},  {"odd.key", 12},
		{"from[2]", 4}, {"nothing", 2}, {"from[x]", 4},	    {"from.x", 4},  {"to[0].zz", 8},
		{"to[9].a", 7}, {"name.x", 2},	{"from[1", 4},	    {"name[0]", 2}, {".", 2},
		{"last", 13},
	};
	struct yaml_docs docs cleanup(yaml_docs_free) = {0};

	(void)state;
	read_ok("# remark\n"
		"name: x\n"
		"from:\n"
		"- a\n"
		"\n"
		"- b\n"
		"to: [\n"
		"  {a: 1,\n"
		"   b: [2,\n"
		"       3]},\n"
		"  4]\n"
		"odd.key: 1\n"
		"last: 1\n",
		&docs);
	for (size_t i = 0; i < COUNT(cases); i++)
		if (yaml_line(&docs.items[0], cases[i].path) != cases[i].line)
			fail_msg("'%s' is said to be on line %u", cases[i].path,
				 yaml_line(&docs.items[0], cases[i].path));
}

static void a_tag_counts_as_a_value(void **state)
{
	struct yaml_docs docs cleanup(yaml_docs_free) = {0};

	(void)state;
	read_ok("!mirror\na: 1\nb: !x\n  c: 2\nd: 3\n", &docs);
	assert_int_equal(yaml_line(&docs.items[0], "_type"), 1);
	assert_int_equal(yaml_line(&docs.items[0], "b.c"), 4);
	assert_int_equal(yaml_line(&docs.items[0], "d"), 5);
}

/* Behind the first so many bytes. */
static int write_behind(size_t kept, const json_t *value, struct buf *out, struct err *e)
{
	out->failed = false;
	out->len = kept;
	return yaml_write(value, out, e);
}

static void written(const json_t *value, struct buf *out)
{
	size_t kept = out->len;
	struct err e = {0};

	if (scarce(write_behind(kept, value, out, &e)) < 0)
		fail_msg("%s", e.text);
}

static void documents_are_written_in_block_style(void **state)
{
	static const struct {
		const char *json;
		const char *yaml;
	} cases[] = {
		{"{\"name\":\"ids\",\"from\":[\"vm:web1\",\"port:vnet*\"],\"to\":\"port:ids0\","
		 "\"num\":1,\"no\":true}",
		 "name: ids\nfrom:\n  - vm:web1\n  - port:vnet*\nto: port:ids0\nnum: 1\n\"no\": "
		 "true\n"},
		{"{}", "{}\n"},
		{"[]", "[]\n"},
		{"{\"a\":{},\"b\":[],\"c\":[{}]}", "a: {}\nb: []\nc:\n  - {}\n"},
		{"[[1,2],[[3]],{\"a\":1,\"b\":{\"c\":2}}]",
		 "- - 1\n  - 2\n- - - 3\n- a: 1\n  b:\n    c: 2\n"},
		{"{\"_type\":\"mirror\",\"a\":1}", "!mirror\na: 1\n"},
		{"{\"x\":{\"_type\":\"t\"},\"z\":[{\"_type\":\"u\",\"a\":[1]}]}",
		 "x: !t {}\nz:\n  - !u\n    a:\n      - 1\n"},
		{"{\"_type\":\"a b\"}", "_type: a b\n"},
		{"[0.1,1.0,1e20,1e-7,-2.5e30,true,null]",
		 "- 0.1\n- 1.0\n- 1.0e+20\n- 1.0e-7\n- -2.5e+30\n- true\n- null\n"},
		{"\"tcp[13] & 2 != 0 and host 10.0.0.1\"", "tcp[13] & 2 != 0 and host 10.0.0.1\n"},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		json_t *value cleanup(json_free_at) =
			json_loads(cases[i].json, JSON_DECODE_ANY, NULL);
		struct yaml_docs docs cleanup(yaml_docs_free) = {0};
		struct buf out cleanup(buf_free) = {0};

		written(value, &out);
		assert_string_equal(buf_text(&out), cases[i].yaml);
		read_ok(buf_text(&out), &docs);
		assert_json(docs.items[0].value, cases[i].json);
	}
}

static void strings_stay_strings(void **state)
{
	static const char *const strings[] = {
		"",
		"y",
		"N",
		"yes",
		"No",
		"on",
		"OFF",
		"true",
		"True",
		"FALSE",
		"null",
		"Null",
		"NULL",
		"~",
		"0",
		"1",
		"-1",
		"+1",
		"0x10",
		"0o17",
		"017",
		"0b1",
		"1_000",
		"12:30:45",
		"1e3",
		"1.5",
		".5",
		"5.",
		".inf",
		"-.INF",
		".NaN",
		"2001-01-01",
		"-",
		"- a",
		"?",
		"? a",
		":",
		": a",
		"a:",
		"a: b",
		"a:b",
		"a #b",
		"#a",
		"a#b",
		"&a",
		"*a",
		"!a",
		"!!str a",
		"|",
		">",
		"%a",
		"@a",
		"`a",
		"\"a\"",
		"'a'",
		"it's",
		"{a",
		"[a]",
		"a, b",
		",a",
		"a]",
		"a}",
		" a",
		"a ",
		"a  b",
		"\ta",
		"a\t",
		"a\tb",
		"a\nb",
		"\n",
		"a\r",
		"---",
		"...",
		"--- a",
		"<<",
		"=",
		"a=b",
		"\\",
		"a\\nb",
		"\x01",
		"\x7f",
		"\x1b[31m",
		"\xc2\x80",
		"\xc2\x85",
		"\xc2\xa0",
		"\xc3\xa9t\xc3\xa9",
		"\xe2\x80\xa8",
		"\ufeffa",
		"\xef\xbf\xbf",
		"\xf0\x9f\x98\x80",
		"\xf0\x9f\xbf\xbf",
		"vm:web1/0",
		"mac:52:54:00:12:34:56",
		"52:54:00:12:34:56",
		"port:vnet*",
		"123e4567-e89b-12d3-a456-426614174000",
		"a,b: c",
		"x \xe2\x80\xa6",
		"null a",
	};
	json_t *list cleanup(json_free_at) = json_array();
	json_t *keys cleanup(json_free_at) = json_object();
	struct buf out cleanup(buf_free) = {0};
	struct yaml_docs docs cleanup(yaml_docs_free) = {0};

	(void)state;
	for (size_t i = 0; i < COUNT(strings); i++) {
		assert_int_equal(json_array_append_new(list, json_string(strings[i])), 0);
		assert_int_equal(json_object_set_new(keys, strings[i], json_string(strings[i])), 0);
	}
	written(list, &out);
	buf_str(&out, "---\n");
	written(keys, &out);
	read_ok(buf_text(&out), &docs);
	assert_int_equal(docs.count, 2);
	for (size_t i = 0; i < COUNT(strings); i++)
		assert_string_equal(json_string_value(json_array_get(docs.items[0].value, i)),
				    strings[i]);
	assert_true(json_equal(docs.items[1].value, keys));
}

static void long_texts_are_kept(void **state)
{
	char text[3000];
	json_t *value cleanup(json_free_at) = json_object();
	struct buf out cleanup(buf_free) = {0};
	struct yaml_docs docs cleanup(yaml_docs_free) = {0};

	(void)state;
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	text[1500] = ' ';
	assert_int_equal(
		json_object_set_new(value, "a", json_pack("[{s:s,s:[i]}]", text, text, "b", 1)), 0);
	written(value, &out);
	read_ok(buf_text(&out), &docs);
	assert_true(json_equal(docs.items[0].value, value));
}

/* Whichever of its values the room for their lines ends at. */
static void a_tag_without_memory(void **state)
{
	(void)state;
	for (unsigned before = 0; before < 20; before++) {
		struct yaml_docs docs cleanup(yaml_docs_free) = {0};
		struct buf text cleanup(buf_free) = {0};
		char path[20];

		for (unsigned i = 0; i < before; i++)
			buf_str(&text, "- 1\n");
		buf_str(&text, "- !x\n  a: 1\n");
		read_ok(buf_text(&text), &docs);
		snprintf(path, sizeof(path), "[%u].a", before);
		assert_int_equal(yaml_line(&docs.items[0], path), before + 2);
	}
}

/* A program's own mistake (jansson checks what others send): it ends, and stays one string. */
static void what_is_no_utf8_ends_a_string(void **state)
{
	json_t *value cleanup(json_free_at) = json_string_nocheck("a\xff"
								  "b");
	struct buf out cleanup(buf_free) = {0};

	(void)state;
	written(value, &out);
	assert_string_equal(buf_text(&out), "\"a\"\n");
}

static void what_cannot_be_read_back_is_not_written(void **state)
{
	json_t *nul cleanup(json_free_at) = json_stringn("a\0b", 3);
	json_t *member cleanup(json_free_at) = json_pack("{s:O,s:i}", "a", nul, "b", 1);
	json_t *deep cleanup(json_free_at) = json_array();
	struct buf out cleanup(buf_free) = {0};
	struct err e = {0};

	(void)state;
	buf_str(&out, "before");
	assert_int_equal(yaml_write(nul, &out, &e), -EINVAL);
	assert_string_equal(e.text, "a string with a NUL can't be written as YAML");
	assert_int_equal(yaml_write(member, &out, &e), -EINVAL);
	assert_string_equal(buf_text(&out), "before");
	for (int i = 1; i < YAML_DEPTH_MAX; i++) {
		json_t *outer = json_array();

		assert_int_equal(json_array_append_new(outer, deep), 0);
		deep = outer;
	}
	assert_int_equal(yaml_write(deep, &out, &e), 0);
	buf_clear(&out);
	buf_str(&out, "before");
	deep = json_pack("[o]", deep);
	assert_int_equal(yaml_write(deep, &out, &e), -EINVAL);
	assert_string_equal(e.text, "a value of more than 16 levels can't be written");
	assert_string_equal(buf_text(&out), "before");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(documents_become_json),
		cmocka_unit_test(several_documents_or_none),
		cmocka_unit_test(what_is_not_taken_is_refused_with_its_line),
		cmocka_unit_test(the_number_of_values_is_bounded),
		cmocka_unit_test(every_value_has_its_line),
		cmocka_unit_test(a_tag_counts_as_a_value),
		cmocka_unit_test(documents_are_written_in_block_style),
		cmocka_unit_test(strings_stay_strings),
		cmocka_unit_test(long_texts_are_kept),
		cmocka_unit_test(a_tag_without_memory),
		cmocka_unit_test(what_is_no_utf8_ends_a_string),
		cmocka_unit_test(what_cannot_be_read_back_is_not_written),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
