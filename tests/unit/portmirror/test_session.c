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
#include "portmirror/session.h"

static json_t *json(const char *text)
{
	json_t *value = json_loads(text, JSON_DECODE_ANY, NULL);

	if (!value)
		fail_msg("the test's own JSON is wrong: %s", text);
	return value;
}

static void read_session(const char *text, const char *fallback, struct session *s)
{
	json_t *value cleanup(json_free_at) = json(text);
	char field[SESSION_FIELD] = "";
	struct err e = {0};

	if (scarce(session_read(value, fallback, s, field, &e)) < 0)
		fail_msg("%s gives '%s'", text, e.text);
}

static void a_session_is_read(void **state)
{
	struct session s cleanup(session_free) = {0};

	(void)state;
	read_session("{\"_type\":\"mirror\",\"name\":\"ids\",\"mode\":\"mirror\","
		     "\"from\":[\"vm:web1\",\"port:vnet*\"],\"to\":[\"port:ids0\"],"
		     "\"direction\":\"sent\",\"filter\":\"tcp[13] & 2 != 0\","
		     "\"attach\":\"classic\",\"isolate\":true,\"runtime\":true}",
		     NULL, &s);
	assert_string_equal(s.name, "ids");
	assert_int_equal(s.nfrom, 2);
	assert_string_equal(s.from[1].name, "vnet*");
	assert_int_equal(s.nto, 1);
	assert_string_equal(s.to[0].name, "ids0");
	assert_int_equal(s.direction, DIRECTION_SENT);
	assert_int_equal(s.attach, ATTACH_CLASSIC);
	assert_string_equal(s.filter, "tcp[13] & 2 != 0");
	assert_true(s.isolate);
	assert_true(s.runtime);
}

static void what_is_absent_has_its_default(void **state)
{
	static const char *const texts[] = {
		"{\"from\":\"vm:web1\",\"to\":\"port:ids0\"}",
		"{\"name\":\"ids\",\"from\":[\"vm:web1\"],\"to\":[\"port:ids0\"],\"mode\":null,"
		"\"direction\":null,\"filter\":null,\"attach\":null,\"isolate\":null}",
		"{\"from\":\"vm:web1\",\"to\":\"port:ids0\",\"filter\":\"\"}",
	};

	(void)state;
	for (size_t i = 0; i < COUNT(texts); i++) {
		struct session s cleanup(session_free) = {0};

		read_session(texts[i], "ids", &s);
		assert_string_equal(s.name, "ids");
		assert_int_equal(s.nfrom, 1);
		assert_int_equal(s.direction, DIRECTION_BOTH);
		assert_int_equal(s.attach, ATTACH_AUTO);
		assert_null(s.filter);
		assert_false(s.isolate);
		assert_false(s.runtime);
	}
}

static void errors_name_their_field(void **state)
{
	static const struct {
		const char *text;
		const char *field;
		const char *sentence;
	} cases[] = {
		{"[]", "", "a session is a mapping of keys to values"},
		{"null", "", "a session is a mapping of keys to values"},
		{"{\"form\":[]}", "form", "unknown key \"form\" (did you mean \"from\"?)"},
		{"{\"colour\":1}", "colour", "unknown key \"colour\""},
		{"{\"\\u001b[31m\":1}", "\x1b[31m", "unknown key \"\\x1b[31m\""},
		{"{\"from\":[\"vm:a\",\"vnet1\"]}", "from[1]",
		 "from[1]: \"vnet1\" is no selector; it starts with vm:, port:, bridge: or mac: "
		 "(for a device: port:vnet1)"},
		{"{\"from\":\"vnet1\"}", "from",
		 "from: \"vnet1\" is no selector; it starts with vm:, port:, bridge: or mac: "
		 "(for a device: port:vnet1)"},
		{"{\"from\":[\"vm:a\",\"vm:b\",\"vm:a\"]}", "from[2]",
		 "from[2]: \"vm:a\" is there already, as from[0]"},
		{"{\"from\":[]}", "from", "from: at least one source is wanted"},
		{"{\"from\":[1]}", "from[0]", "from[0]: a string is wanted here"},
		{"{\"from\":{}}", "from", "from: a string is wanted here"},
		{"{\"to\":[\"port:a\",\"port:b\",\"port:a\"]}", "to[2]",
		 "to[2]: \"port:a\" is there already, as to[0]"},
		{"{\"to\":[]}", "to", "to: at least one destination is wanted"},
		{"{\"engine\":\"ebpf\"}", "engine",
		 "engine: \"ebpf\" is no engine; it is auto, tc or bpf"},
		{"{\"snap\":63}", "snap", "snap: a whole number from 64 to 65535 is wanted here"},
		{"{\"snap\":128.5}", "snap",
		 "snap: a whole number from 64 to 65535 is wanted here"},
		{"{\"snap\":1e300}", "snap",
		 "snap: a whole number from 64 to 65535 is wanted here"},
		{"{\"sample\":1}", "sample",
		 "sample: a whole number from 2 to 1000000 is wanted here"},
		{"{\"rate\":\"10\"}", "rate",
		 "rate: a whole number from 1 to 1000000 is wanted here"},
		{"{\"name\":\"a\",\"from\":\"vm:a\",\"to\":\"port:b\",\"sample-flows\":true}",
		 "sample-flows", "sample-flows: sample is missing: one flow in how many?"},
		{"{\"name\":\"a\",\"from\":\"vm:a\",\"to\":\"port:b\",\"balance\":true}", "balance",
		 "balance: at least two destinations are wanted to spread copies over"},
		{"{\"name\":\"a\",\"from\":\"vm:a\",\"to\":[\"port:b\",\"port:c\"],\"engine\":"
		 "\"tc\"}",
		 "engine",
		 "engine: tc can't do what is asked for (more than one destination); bpf can"},
		{"{\"name\":\"a\",\"from\":[\"vm:a\",\"vm:c\"],\"to\":[\"port:b\",\"vm:c\"]}",
		 "to[1]", "to[1]: a loop: \"vm:c\" is a source too (from[1])"},
		{"{\"to\":[\"port:\"]}", "to[0]",
		 "to[0]: \"port:\" names no device: a name has 1 to 15 bytes, without '/', ':' and "
		 "blanks"},
		{"{\"direction\":\"in\"}", "direction",
		 "direction: \"in\" is no direction; it is both, sent or received"},
		{"{\"attach\":\"tcx\"}", "attach",
		 "attach: \"tcx\" is no way to attach; it is auto, clsact or classic"},
		{"{\"mode\":\"tap\"}", "mode",
		 "mode: \"tap\" is not known; it is mirror or inline"},
		{"{\"mode\":1}", "mode", "mode: a string is wanted here"},
		{"{\"_type\":1}", "_type", "_type: a string is wanted here"},
		{"{\"_type\":\"bridge\"}", "_type", "_type: \"bridge\" is not known; it is mirror"},
		{"{\"isolate\":\"yes\"}", "isolate", "isolate: true or false is wanted here"},
		{"{\"runtime\":1}", "runtime", "runtime: true or false is wanted here"},
		{"{\"filter\":\"tcp\\nport 80\"}", "filter",
		 "filter: \"tcp\\x0aport 80\" holds control characters"},
		{"{\"filter\":true}", "filter", "filter: a string is wanted here"},
		{"{\"name\":\"a b\"}", "name",
		 "name: \"a b\" is no name of a session: 1 to 63 letters, digits, '.', '_' and "
		 "'-', the first a letter or digit"},
		{"{\"from\":\"vm:a\",\"to\":\"port:b\"}", "", "the session has no name"},
		{"{\"name\":\"a\",\"to\":\"port:b\"}", "from",
		 "from is missing: what is to be mirrored?"},
		{"{\"name\":\"a\",\"from\":\"vm:a\",\"to\":null}", "to",
		 "to is missing: where are the copies to go?"},
		{"{\"name\":\"a\",\"from\":[\"vm:x\",\"port:b\"],\"to\":\"port:b\"}", "to",
		 "to: a loop: \"port:b\" is a source too (from[1])"},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		json_t *value cleanup(json_free_at) = json(cases[i].text);
		struct session s = {.nfrom = 99};
		char field[SESSION_FIELD] = "untouched";
		struct err e = {0};

		assert_true(scarce(session_read(value, NULL, &s, field, &e)) < 0);
		assert_string_equal(e.text, cases[i].sentence);
		assert_string_equal(field, cases[i].field);
		assert_int_equal(s.nfrom, 99);
	}
}

static void the_name_must_be_the_place_s(void **state)
{
	json_t *value cleanup(json_free_at) =
		json("{\"name\":\"a\",\"from\":\"vm:a\",\"to\":\"port:b\"}");
	struct session s = {0};
	char field[SESSION_FIELD] = "";
	struct err e = {0};

	(void)state;
	assert_int_equal(scarce(session_read(value, "b", &s, field, &e)), -EINVAL);
	assert_string_equal(e.text, "name: \"a\" where the session is called \"b\"");
	assert_string_equal(field, "name");
	assert_int_equal(scarce(session_read(value, "../b", &s, field, &e)), -EINVAL);
	assert_int_equal(scarce(session_read(value, "../b", &s, field, NULL)), -EINVAL);
}

static void names_are_checked(void **state)
{
	char name[SESSION_NAME_MAX + 2] = "";

	(void)state;
	assert_int_equal(session_check_name("ids", NULL), 0);
	assert_int_equal(session_check_name("0.a_b-C", NULL), 0);
	assert_int_equal(session_check_name("", NULL), -EINVAL);
	assert_int_equal(session_check_name(".", NULL), -EINVAL);
	assert_int_equal(session_check_name("..", NULL), -EINVAL);
	assert_int_equal(session_check_name("-a", NULL), -EINVAL);
	assert_int_equal(session_check_name("_", NULL), -EINVAL);
	assert_int_equal(session_check_name("a/b", NULL), -EINVAL);
	assert_int_equal(session_check_name("caf\u00e9", NULL), -EINVAL);
	memset(name, 'x', SESSION_NAME_MAX);
	assert_int_equal(session_check_name(name, NULL), 0);
	name[SESSION_NAME_MAX] = 'x';
	assert_int_equal(session_check_name(name, NULL), -EINVAL);
}

static void sizes_are_bounded(void **state)
{
	json_t *value cleanup(json_free_at) = json("{\"name\":\"a\",\"to\":\"port:b\"}");
	struct session s cleanup(session_free) = {0};
	char filter[SESSION_FILTER_MAX + 2], field[SESSION_FIELD] = "";
	json_t *from = json_array();
	struct err e = {0};

	(void)state;
	json_object_set_new(value, "from", from);
	for (int i = 0; i < SESSION_FROM_MAX; i++)
		json_array_append_new(from, json_sprintf("vm:%d", i));
	memset(filter, ' ', sizeof(filter));
	filter[SESSION_FILTER_MAX] = '\0';
	json_object_set_new(value, "filter", json_string(filter));
	assert_int_equal(scarce(session_read(value, NULL, &s, field, &e)), 0);
	filter[SESSION_FILTER_MAX] = ' ';
	filter[SESSION_FILTER_MAX + 1] = '\0';
	json_object_set_new(value, "filter", json_string(filter));
	assert_int_equal(scarce(session_read(value, NULL, &s, field, &e)), -E2BIG);
	assert_string_equal(e.text, "filter: 4097 bytes, more than a filter may have (4096)");
	json_object_del(value, "filter");
	json_array_append_new(from, json_string("vm:more"));
	assert_int_equal(scarce(session_read(value, NULL, &s, field, &e)), -E2BIG);
	assert_string_equal(e.text, "from: 257 sources, more than a session may have (256)");
}

static void assert_yaml(const struct session *s, bool all, const char *wanted)
{
	json_t *object cleanup(json_free_at) = session_object(s, all);
	struct buf out cleanup(buf_free) = {0};

	assert_non_null(object);
	assert_int_equal(yaml_write(object, &out, NULL), 0);
	assert_string_equal(buf_text(&out), wanted);
}

static void the_object_keeps_its_order(void **state)
{
	struct session plain cleanup(session_free) = {0};
	struct session full cleanup(session_free) = {0};

	(void)state;
	read_session("{\"to\":\"port:ids0\",\"from\":\"vm:web1\"}", "ids", &plain);
	assert_yaml(&plain, false, "name: ids\nfrom:\n  - vm:web1\nto: port:ids0\n");
	assert_yaml(&plain, true,
		    "!mirror\nname: ids\nmode: mirror\nfrom:\n  - vm:web1\nto: port:ids0\n"
		    "direction: both\nfilter: null\nattach: auto\nengine: auto\n"
		    "snap: null\nsample: null\nsample-flows: false\nrate: null\n"
		    "balance: false\nisolate: false\n"
		    "suspended: false\nruntime: false\n");
	read_session("{\"runtime\":true,\"suspended\":true,\"isolate\":true,"
		     "\"attach\":\"clsact\",\"filter\":\"arp\","
		     "\"direction\":\"received\",\"to\":\"port:ids0\",\"from\":\"vm:web1\"}",
		     "ids", &full);
	assert_yaml(&full, false,
		    "name: ids\nfrom:\n  - vm:web1\nto: port:ids0\ndirection: received\nfilter: "
		    "arp\nattach: clsact\nisolate: true\nsuspended: true\n");
}

static void what_is_written_is_read_back(void **state)
{
	struct session s cleanup(session_free) = {0};

	(void)state;
	read_session("{\"runtime\":true,\"isolate\":true,\"attach\":\"clsact\",\"filter\":\"tcp[0] "
		     "= 1\",\"direction\":\"received\",\"to\":\"port:ids0\",\"from\":[\"vm:a: "
		     "#1/0\",\"mac:52:54:00:00:00:01\"]}",
		     "no", &s);
	for (int all = 0; all < 2; all++) {
		json_t *object cleanup(json_free_at) = session_object(&s, all);
		struct yaml_docs docs cleanup(yaml_docs_free) = {0};
		struct session back cleanup(session_free) = {0};
		struct buf out cleanup(buf_free) = {0};
		char field[SESSION_FIELD];

		assert_int_equal(yaml_write(object, &out, NULL), 0);
		assert_int_equal(yaml_read(out.data, out.len, "f", &docs, NULL), 0);
		assert_int_equal(
			scarce(session_read(docs.items[0].value, NULL, &back, field, NULL)), 0);
		back.runtime = true;
		assert_true(session_equal(&s, &back));
	}
}

static void equal_minds_everything_but_the_order(void **state)
{
	static const char *const others[] = {
		"{\"from\":[\"vm:a\",\"vm:c\"],\"to\":\"port:x\"}",
		"{\"from\":[\"vm:a\"],\"to\":\"port:x\"}",
		"{\"from\":[\"vm:a\",\"vm:b\"],\"to\":\"port:y\"}",
		"{\"from\":[\"vm:a\",\"vm:b\"],\"to\":\"port:x\",\"direction\":\"sent\"}",
		"{\"from\":[\"vm:a\",\"vm:b\"],\"to\":\"port:x\",\"attach\":\"clsact\"}",
		"{\"from\":[\"vm:a\",\"vm:b\"],\"to\":\"port:x\",\"filter\":\"arp\"}",
		"{\"from\":[\"vm:a\",\"vm:b\"],\"to\":\"port:x\",\"isolate\":true}",
		"{\"from\":[\"vm:a\",\"vm:b\"],\"to\":\"port:x\",\"suspended\":true}",
		"{\"from\":[\"vm:a\",\"vm:b\"],\"to\":\"port:x\",\"runtime\":true}",
	};
	struct session s cleanup(session_free) = {0};
	struct session same cleanup(session_free) = {0};
	struct session renamed cleanup(session_free) = {0};

	(void)state;
	read_session("{\"from\":[\"vm:a\",\"vm:b\"],\"to\":\"port:x\"}", "n", &s);
	read_session("{\"from\":[\"vm:b\",\"vm:a\"],\"to\":\"port:x\"}", "n", &same);
	read_session("{\"from\":[\"vm:a\",\"vm:b\"],\"to\":\"port:x\"}", "m", &renamed);
	assert_true(session_equal(&s, &same));
	assert_false(session_equal(&s, &renamed));
	for (size_t i = 0; i < COUNT(others); i++) {
		struct session other cleanup(session_free) = {0};

		read_session(others[i], "n", &other);
		assert_false(session_equal(&s, &other));
	}
}

#define INLINE                                                                                     \
	"\"mode\":\"inline\",\"guard\":[\"vm:a\",\"vm:b\"],"                                       \
	"\"through\":[\"port:in\",\"port:out\"],\"on-failure\":\"open\""

static void an_in_line_session_is_read(void **state)
{
	struct session s cleanup(session_free) = {0};

	(void)state;
	read_session("{" INLINE ",\"appliance\":\"bridge\",\"probe-interval\":20,"
		     "\"filter\":\"arp\"}",
		     "ips", &s);
	assert_int_equal(s.mode, MODE_INLINE);
	assert_int_equal(s.nfrom, 2);
	assert_string_equal(s.from[1].text, "vm:b");
	assert_string_equal(s.through[SIDE_INSIDE].text, "port:in");
	assert_string_equal(s.through[SIDE_OUTSIDE].text, "port:out");
	assert_int_equal(s.on_failure, ON_FAILURE_OPEN);
	assert_int_equal(s.appliance, APPLIANCE_BRIDGE);
	assert_int_equal(s.probe_interval, 20);
	assert_int_equal(s.nto, 0);
	assert_yaml(&s, false,
		    "name: ips\nmode: inline\nguard:\n  - vm:a\n  - vm:b\nthrough:\n  - port:in\n"
		    "  - port:out\non-failure: open\nappliance: bridge\nfilter: arp\n"
		    "probe-interval: 20\n");
}

static void the_other_mode_s_defaults_do_no_harm(void **state)
{
	struct session s cleanup(session_free) = {0};
	struct session copy cleanup(session_free) = {0};
	struct session mirror cleanup(session_free) = {0};

	(void)state;
	read_session("{" INLINE ",\"from\":null,\"to\":null,\"direction\":\"both\","
		     "\"attach\":\"auto\",\"engine\":\"auto\",\"isolate\":false,"
		     "\"balance\":false,\"snap\":null}",
		     "ips", &s);
	assert_int_equal(scarce(session_copy(&s, &copy, NULL)), 0);
	assert_true(session_equal(&s, &copy));
	read_session("{\"from\":\"vm:a\",\"to\":\"port:x\",\"guard\":null,\"through\":null,"
		     "\"on-failure\":null,\"appliance\":\"wire\",\"probe-interval\":100}",
		     "ips", &mirror);
	assert_false(session_equal(&s, &mirror));
}

static void what_an_in_line_session_can_not_be(void **state)
{
	static const struct {
		const char *more, *field, *words;
	} wrong[] = {
		{"\"from\":\"vm:c\"", "from", "only one of them is wanted"},
		{"\"to\":\"port:x\"", "to", "only a session of mode mirror has it"},
		{"\"direction\":\"sent\"", "direction", "only a session of mode mirror has it"},
		{"\"snap\":100", "snap", "only a session of mode mirror has it"},
		{"\"isolate\":true", "isolate", "only a session of mode mirror has it"},
		{"\"through\":[\"port:a\"]", "through", "an array of two selectors"},
		{"\"through\":[\"port:a\",\"port:a\"]", "through", "are one: \"port:a\""},
		{"\"through\":[\"port:a\",\"vm:b\"]", "through", "guarded too (guard[1])"},
		{"\"through\":[\"port:a\",7]", "through[1]", "a string is wanted here"},
		{"\"guard\":[\"vm:a\",\"vm:a\"]", "guard[1]", "there already, as guard[0]"},
		{"\"guard\":null", "guard", "guard is missing"},
		{"\"through\":null", "through", "through is missing"},
		{"\"on-failure\":null", "on-failure", "on-failure is missing"},
		{"\"on-failure\":\"\"", "on-failure", "it is open or closed"},
		{"\"appliance\":\"hub\"", "appliance", "it is wire or bridge"},
		{"\"mode\":\"tap\"", "mode", "it is mirror or inline"},
		{"\"mode\":\"mirror\"", "guard", "only a session of mode inline has it"},
		{"\"probe-interval\":9", "probe-interval", "from 10 to 60000"},
		{"\"probe-interval\":\"9\"", "probe-interval", "from 10 to 60000"},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(wrong); i++) {
		json_t *object cleanup(json_free_at) = json("{" INLINE "}");
		char text[200], field[SESSION_FIELD] = "";
		json_t *more cleanup(json_free_at) = NULL;
		struct session s = {0};
		struct err e = {0};

		snprintf(text, sizeof(text), "{%s}", wrong[i].more);
		more = json(text);
		json_object_update(object, more);
		if (scarce(session_read(object, "ips", &s, field, &e)) == 0)
			fail_msg("%s is taken", wrong[i].more);
		if (strcmp(field, wrong[i].field) != 0 || !strstr(e.text, wrong[i].words))
			fail_msg("%s gives, at '%s': %s", wrong[i].more, field, e.text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_session_is_read),
		cmocka_unit_test(what_is_absent_has_its_default),
		cmocka_unit_test(errors_name_their_field),
		cmocka_unit_test(the_name_must_be_the_place_s),
		cmocka_unit_test(names_are_checked),
		cmocka_unit_test(sizes_are_bounded),
		cmocka_unit_test(the_object_keeps_its_order),
		cmocka_unit_test(what_is_written_is_read_back),
		cmocka_unit_test(equal_minds_everything_but_the_order),
		cmocka_unit_test(an_in_line_session_is_read),
		cmocka_unit_test(the_other_mode_s_defaults_do_no_harm),
		cmocka_unit_test(what_an_in_line_session_can_not_be),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
