/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "rest/access.h"

static void test_where(void **state)
{
	static const struct {
		const char *text;
		bool here;
	} right[] = {
		{"unix:/run/portmirror/api.sock", true},
		{"tcp:127.0.0.1:8640", true},
		{"tcp:127.255.255.254:1", true},
		{"tcp:[::1]:0", true},
		{"tcp:[::ffff:127.0.0.1]:65535", true},
		{"tcp:0.0.0.0:80", false},
		{"tcp:192.0.2.1:80", false},
		{"tcp:[::]:80", false},
		{"tcp:[2001:db8::1]:80", false},
		{"tcp:[::ffff:192.0.2.1]:80", false},
	};
	char text[WHERE_TEXT];

	(void)state;
	for (size_t i = 0; i < COUNT(right); i++) {
		struct where where;

		assert_int_equal(where_read(right[i].text, &where, NULL), 0);
		assert_int_equal(where_is_here(&where), right[i].here);
		assert_string_equal(where_text(&where, text), right[i].text);
	}
}

static void test_where_that_is_none(void **state)
{
	static const char *const wrong[] = {
		"",
		"/run/x",
		"unix:",
		"unix:run/x",
		"tcp:",
		"tcp::80",
		"tcp:127.0.0.1",
		"tcp:127.0.0.1:",
		"tcp:127.0.0.1:65536",
		"tcp:127.0.0.1:-1",
		"tcp:127.0.0.1: 80",
		"tcp:127.0.0.1:080000",
		"tcp:127.1:80",
		"tcp:localhost:80",
		"tcp:::1:80",
		"tcp:[]:80",
		"tcp:[::1:80",
		"tcp:[127.0.0.1]:80",
		"tcp:[::1%lo]:80",
		"TCP:127.0.0.1:80",
		"udp:127.0.0.1:80",
	};

	(void)state;
	for (size_t i = 0; i < COUNT(wrong); i++) {
		struct where where = {.len = 77};
		struct err e = {0};

		assert_true(where_read(wrong[i], &where, &e) < 0);
		assert_true(e.text[0]);
		assert_int_equal(where.len, 77); /* untouched */
	}
}

static void test_the_longest_path(void **state)
{
	char text[200] = "unix:/";
	struct where where;

	(void)state;
	memset(text + 6, 'x', 106);
	assert_int_equal(where_read(text, &where, NULL), 0);
	text[6 + 106] = 'x';
	assert_int_equal(where_read(text, &where, NULL), -ENAMETOOLONG);
}

static void test_hosts(void **state)
{
	static const struct {
		const char *host, *name;
	} right[] = {
		{"localhost", "localhost"}, {"localhost:80", "localhost"},
		{"a-b.c_d:0", "a-b.c_d"},   {"127.0.0.1:65535", "127.0.0.1"},
		{"[::1]", "::1"},	    {"[2001:db8::1]:8640", "2001:db8::1"},
		{"LocalHost", "LocalHost"},
	};
	static const char *const wrong[] = {
		"",	  ":80",       "a:",   "a:b", "a:65536", "a:1:2",    "::1",	  "[::1",
		"[::1]x", "[::1]:",    "[]",   "[a]", "[::1%1]", "a b",	     "a/b",	  "a@b",
		"a%41",	  "a\r\nX: y", "a\"b", "a<b", "a,b",	 "\xc3\xa4", "[1.2.3.4]",
	};
	char name[HOST_NAME];

	(void)state;
	for (size_t i = 0; i < COUNT(right); i++) {
		assert_true(host_read(right[i].host, name));
		assert_string_equal(name, right[i].name);
	}
	for (size_t i = 0; i < COUNT(wrong); i++)
		assert_false(host_read(wrong[i], name));
}

static void test_a_host_has_an_end(void **state)
{
	char host[HOST_NAME + 1] = "", name[HOST_NAME];

	(void)state;
	memset(host, 'x', HOST_NAME - 1);
	assert_true(host_read(host, name));
	host[HOST_NAME - 1] = 'x';
	assert_false(host_read(host, name));
}

static void test_loopback_names(void **state)
{
	static const char *const here[] = {"localhost", "LOCALHOST", "127.0.0.1",
					   "127.9.9.9", "::1",	     "0:0:0:0:0:0:0:1"};
	static const char *const elsewhere[] = {"",
						"localhost.example",
						"localhost.",
						"128.0.0.1",
						"127.0.0.1.example",
						"0.0.0.0",
						"::",
						"127.1",
						"0x7f.0.0.1",
						"2130706433",
						"example"};

	(void)state;
	for (size_t i = 0; i < COUNT(here); i++)
		assert_true(host_is_loopback(here[i]));
	for (size_t i = 0; i < COUNT(elsewhere); i++)
		assert_false(host_is_loopback(elsewhere[i]));
}

static bool is_address(const char *name, const char *address)
{
	struct where where;

	assert_int_equal(where_read(address, &where, NULL), 0);
	return host_is_address(name, &where.address.any);
}

static void test_addresses(void **state)
{
	(void)state;
	assert_true(is_address("192.0.2.1", "tcp:192.0.2.1:80"));
	assert_true(is_address("192.0.2.1", "tcp:[::ffff:192.0.2.1]:80"));
	assert_true(is_address("2001:DB8:0::1", "tcp:[2001:db8::1]:80"));
	assert_false(is_address("192.0.2.2", "tcp:192.0.2.1:80"));
	assert_false(is_address("192.0.2.1.example", "tcp:192.0.2.1:80"));
	assert_false(is_address("2001:db8::2", "tcp:[2001:db8::1]:80"));
	assert_false(is_address("::192.0.2.1", "tcp:192.0.2.1:80"));
	assert_false(is_address("", "unix:/x"));
}

/* What token_of() finds; NULL: nothing. */
static const char *found(const char *authorization)
{
	static char token[TOKEN_MAX + 1];

	memset(token, 'x', sizeof(token));
	if (!token_of(authorization, token))
		return NULL;
	for (size_t i = strlen(token); i < sizeof(token); i++)
		assert_int_equal(token[i], 0);
	return token;
}

static void test_tokens_of_authorizations(void **state)
{
	static const char *const none[] = {
		"",
		"Bearer",
		"Bearersecret",
		"Digest secret",
		"Basic",
		"Basic ",
		"Basic c2VjcmV0", /* without a colon */
		"Basic bWU6c2VjcmV0=",
		"Basic bWU6c2Vjcm$0",
		"Basic bWU6 c2VjcmV0",
		"Basic =",
		"Basic ====",
		"Basic bW==c2VjcmV0",
	};

	(void)state;
	assert_string_equal(found("Bearer secret"), "secret");
	assert_string_equal(found("bEARER   secret"), "secret");
	assert_string_equal(found("Bearer "), "");
	assert_string_equal(found("Basic bWU6c2VjcmV0"), "secret");  /* me:secret */
	assert_string_equal(found("basic OnNlY3JldHM="), "secrets"); /* :secrets */
	assert_string_equal(found("Basic YTpiOmM="), "b:c");
	assert_string_equal(found("Basic YTo="), "");
	for (size_t i = 0; i < COUNT(none); i++)
		assert_null(found(none[i]));
}

static void test_a_token_has_an_end(void **state)
{
	char text[1000] = "Bearer ";

	(void)state;
	memset(text + 7, 'y', TOKEN_MAX);
	assert_int_equal(strlen(found(text)), TOKEN_MAX);
	text[7 + TOKEN_MAX] = 'y';
	assert_null(found(text));
	memcpy(text, "Basic ", 6);
	memset(text + 6, 'A', 992);
	assert_null(found(text));
}

static void test_tokens_are_equal_whole(void **state)
{
	char a[TOKEN_MAX + 1] = "correct horse", b[TOKEN_MAX + 1] = "correct horse";

	(void)state;
	assert_true(token_equal(a, b));
	b[12] = 'f';
	assert_false(token_equal(a, b));
	b[12] = '\0';
	assert_false(token_equal(a, b));
	assert_false(token_equal(b, a));
	memset(a, 'x', TOKEN_MAX);
	memset(b, 'x', TOKEN_MAX);
	assert_true(token_equal(a, b));
	b[TOKEN_MAX - 1] = 'y';
	assert_false(token_equal(a, b));
}

static void test_token_files(void **state)
{
	static const char *const wrong[] = {"",
					    "\n",
					    "fifteen-letters",
					    "sixteen letters!",
					    "sixteen-letters!\nand more",
					    "sixteen-letters\x7f",
					    "s\xc3\xa4xteen-letters"};
	char token[TOKEN_MAX + 1] = "as it was";

	(void)state;
	for (size_t i = 0; i < COUNT(wrong); i++) {
		struct err e = {0};

		assert_true(token_read(wrong[i], token, &e) < 0);
		assert_true(e.text[0]);
		assert_string_equal(token, "as it was");
	}
	assert_int_equal(token_read("sixteen-letters!\r\n", token, NULL), 0);
	assert_string_equal(token, "sixteen-letters!");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_where),
		cmocka_unit_test(test_where_that_is_none),
		cmocka_unit_test(test_the_longest_path),
		cmocka_unit_test(test_hosts),
		cmocka_unit_test(test_a_host_has_an_end),
		cmocka_unit_test(test_loopback_names),
		cmocka_unit_test(test_addresses),
		cmocka_unit_test(test_tokens_of_authorizations),
		cmocka_unit_test(test_a_token_has_an_end),
		cmocka_unit_test(test_tokens_are_equal_whole),
		cmocka_unit_test(test_token_files),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
