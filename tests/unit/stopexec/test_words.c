/* SPDX-License-Identifier: MIT */
/* The texts of /proc, of capabilities, of records, and the commands that are suggested. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"
#include "memory/memory.h"
#include "stopexec/allow.h"
#include "stopexec/debugger.h"
#include "stopexec/json.h"
#include "stopexec/point.h"
#include "stopexec/proc.h"
#include "stopexec/record.h"
#include "stopexec/report.h"
#include "stopexec/rights.h"

static const char status_text[] = "Name:\tpa)ss\tState:\nState:\tT (stopped)\nTgid:\t123\n"
				  "PPid:\t7\nTracerPid:\t0\nUid:\t1001\t0\t0\t0\n"
				  "Gid:\t1001\t1001\t1001\t1001\nCapPrm:\t000001ffffffffff\n"
				  "CapEff:\t0000000000002000\nCapBnd:\t000001ffffffffff\n"
				  "NoNewPrivs:\t1\nSeccomp:\t0\n";

static void test_status(void **state)
{
	struct proc_status status = {.tgid = 42};

	(void)state;
	assert_true(proc_status_parse(status_text, sizeof(status_text) - 1, &status));
	assert_int_equal(status.state, 'T');
	assert_int_equal(status.tgid, 123);
	assert_int_equal(status.parent, 7);
	assert_int_equal(status.uid.real, 1001);
	assert_int_equal(status.uid.effective, 0);
	assert_int_equal(status.effective, 0x2000);
	assert_true(status.no_new_privs);
	for (size_t len = 0; len < sizeof(status_text) - 14; len++) {
		struct proc_status cut = {.tgid = 42};

		if (!proc_status_parse(status_text, len, &cut))
			assert_int_equal(cut.tgid, 42);
	}
	for (const char *at = status_text; at != NULL; at = strchr(at + 1, '\n')) {
		const char *value = strchr(at + 1, '\t');
		char text[sizeof(status_text)];

		if (value == NULL)
			break;
		memcpy(text, status_text, sizeof(text));
		text[value - status_text + 1] = '?';
		if (strncmp(at, "\nState", 6) != 0 && strncmp(at, "\nSeccomp", 8) != 0 &&
		    at != status_text)
			assert_false(proc_status_parse(text, sizeof(text) - 1, &status));
	}
	assert_int_equal(status.tgid, 123);
	assert_false(proc_status_parse("", 0, &status));
	assert_false(proc_status_parse("Uid:\tx\n", 7, &status));
}

static void test_inherited(void **state)
{
	static const char text[] = "Name:\tx\nUmask:\t0027\nGroups:\t29 44 1001 \nVmPeak:\t1\n";
	static const char none[] = "Umask:\t0002\nGroups:\t\n";
	gid_t *groups = NULL;
	size_t count = 9;
	mode_t mask = 9;

	(void)state;
	for (size_t len = 0; len < strlen("Name:\tx\nUmask:\t0027\nGroups:"); len++)
		assert_int_equal(proc_inherited_parse(text, len, &groups, &count, &mask), -EPROTO);
	assert_true(groups == NULL && count == 9 && mask == 9);
	assert_int_equal(
		scarce(proc_inherited_parse(text, sizeof(text) - 1, &groups, &count, &mask)), 0);
	assert_true(count == 3 && groups[0] == 29 && groups[1] == 44 && groups[2] == 1001);
	assert_int_equal(mask, 027);
	free(groups);
	assert_int_equal(proc_inherited_parse(none, sizeof(none) - 1, &groups, &count, &mask), 0);
	assert_true(count == 0 && mask == 02);
	free(groups);
}

static void test_limits(void **state)
{
	struct rlimit own, limits[RLIM_NLIMITS], untouched[RLIM_NLIMITS] = {{.rlim_cur = 42}};

	(void)state;
	assert_int_equal(proc_limits(getpid(), limits), 0);
	for (int i = 0; i < RLIM_NLIMITS; i++) {
		assert_int_equal(getrlimit((enum __rlimit_resource)i, &own), 0);
		assert_true(own.rlim_cur == limits[i].rlim_cur &&
			    own.rlim_max == limits[i].rlim_max);
	}
	assert_false(proc_limits_parse("", 0, untouched));
	assert_false(proc_limits_parse("Limit\nMax cpu time\n", 19, untouched));
	assert_false(
		proc_limits_parse("Limit\nMax cpu time              unlimited  \n", 45, untouched));
	assert_int_equal(untouched[0].rlim_cur, 42);
}

static void test_terminal(void **state)
{
	static const char with[] = "12 (a) b) S 1 12 12 34816 -1 0",
			  without[] = "12 (a) S 1 12 12 0 -1";

	(void)state;
	assert_true(proc_terminal_parse(with, sizeof(with) - 1));
	assert_false(proc_terminal_parse(without, sizeof(without) - 1));
	assert_false(proc_terminal_parse(with, 12));
}

static void test_start(void **state)
{
	static const char text[] = "12 (a) R 1 2) S 1 12 12 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 "
				   "98765 0 0";
	uint64_t ticks = 0;

	(void)state;
	assert_true(proc_start_parse(text, sizeof(text) - 1, &ticks));
	assert_int_equal(ticks, 98765);
	assert_false(proc_start_parse(text, 30, &ticks));
	assert_false(proc_start_parse("", 0, &ticks));
	assert_false(proc_start_parse("1 (x)", 5, &ticks));
}

static void test_counter(void **state)
{
	uint64_t counter = 1;

	(void)state;
	assert_true(proc_counter_parse("59 0x1 0x2 0x7ffc00 0x7f001234\n", 31, &counter));
	assert_int_equal(counter, 0x7f001234);
	assert_false(proc_counter_parse("running\n", 8, &counter));
	assert_false(proc_counter_parse("", 0, &counter));
	assert_int_equal(counter, 0x7f001234);
}

static void test_mapping(void **state)
{
	static const char line[] = "55d8a0000000-55d8a0021000 r-xp 00002000 fe:00 1234567    "
				   "             /usr/bin/with blank";
	char far[5000] = "1000-2000 rw-p 00000000 00:00 1 /";
	struct mapping m;

	(void)state;
	assert_true(proc_mapping_parse(line, sizeof(line) - 1, &m));
	assert_true(m.start == 0x55d8a0000000 && m.end == 0x55d8a0021000 && m.offset == 0x2000);
	assert_true(m.executable);
	assert_int_equal(m.inode, 1234567);
	assert_string_equal(m.path, "/usr/bin/with blank");
	assert_true(proc_mapping_parse("1000-2000 rw-p 00000000 00:00 0", 31, &m));
	assert_string_equal(m.path, "");
	for (size_t len = 0; len < 48; len++)
		assert_false(proc_mapping_parse(line, len, &m) && m.inode == 1234567);
	memset(far + strlen(far), 'x', sizeof(far) - strlen(far) - 1);
	assert_false(proc_mapping_parse(far, strlen(far), &m)); /* of a longer path than there is */
	assert_true(proc_mapping_parse(far, 4000, &m));
}

static void test_capabilities(void **state)
{
	static const unsigned char two[20] = {1, 0, 0, 2, 0, 0x20, 0, 0};
	static const unsigned char three[24] = {0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 1};
	static const unsigned char odd[24] = {0, 0, 0, 9};
	uint64_t permitted = 0;

	(void)state;
	assert_true(rights_parse_capabilities(two, sizeof(two), &permitted));
	assert_int_equal(permitted, 1 << 13);
	assert_true(rights_parse_capabilities(three, sizeof(three), &permitted));
	assert_true(permitted == UINT64_C(1) << 32);
	assert_false(rights_parse_capabilities(odd, sizeof(odd), &permitted));
	for (size_t len = 0; len < 16; len++)
		assert_false(rights_parse_capabilities(two, len, &permitted));
}

static void test_judge(void **state)
{
	struct rights_asked asked = {0};
	struct proc_status got = {.uid = {1001, 1001, 1001, 1001}};
	struct rights_around around = {0};

	(void)state;
	assert_int_equal(rights_judge(&asked, &got, &around), RIGHTS_NONE_ASKED);
	asked.set_uid = true;
	assert_int_equal(rights_judge(&asked, &got, &around), RIGHTS_UNCLEAR);
	around.traced = true;
	assert_int_equal(rights_judge(&asked, &got, &around), RIGHTS_TRACER);
	around.user_namespace = true;
	assert_int_equal(rights_judge(&asked, &got, &around), RIGHTS_USER_NAMESPACE);
	got.no_new_privs = true;
	assert_int_equal(rights_judge(&asked, &got, &around), RIGHTS_NO_NEW_PRIVS);
	around.nosuid = true;
	assert_int_equal(rights_judge(&asked, &got, &around), RIGHTS_NOSUID);
	got.uid.effective = 0;
	assert_int_equal(rights_judge(&asked, &got, &around), RIGHTS_GIVEN);
	asked.capabilities = 4;
	around = (struct rights_around){0};
	got.no_new_privs = false;
	assert_int_equal(rights_judge(&asked, &got, &around), RIGHTS_BOUNDING);
	assert_non_null(strstr(rights_words(RIGHTS_BOUNDING), "the capability bounding set"));
	got.permitted = 6;
	assert_int_equal(rights_judge(&asked, &got, &around), RIGHTS_GIVEN);
}

static void expect_names(uint64_t set, uint64_t all, const char *expected)
{
	struct buf b cleanup(buf_free) = {0};

	rights_name(&b, set, all);
	assert_string_equal(buf_text(&b), expected);
}

static void test_names(void **state)
{
	(void)state;
	expect_names(0, 7, "none");
	expect_names(7, 7, "all");
	expect_names(1 | 1 << 13, 7, "cap_chown,cap_net_raw");
	expect_names(UINT64_C(1) << 63, 7, "cap_63");
}

static void test_record(void **state)
{
	static const char *const bad[] = {"",
					  "1",
					  "1 2 3\n",
					  "x 2 3 4 5\n",
					  "0 2 3 4 5\n",
					  "1 2 3 4\n",
					  "1 2 3 4 5 6\n",
					  "1 2 3 4 5"};
	struct record record = {.pid = 42};
	char longest[300];

	(void)state;
	assert_int_equal(record_parse("12 99 1001 5000 7\n", 18, &record), 0);
	assert_true(record.pid == 12 && record.start == 99 && record.by == 1001 &&
		    record.deadline == 5000 && record.waits == 7);
	for (size_t i = 0; i < COUNT(bad); i++)
		assert_int_equal(record_parse(bad[i], strlen(bad[i]), &record), -EPROTO);
	memset(longest, '1', sizeof(longest));
	assert_int_equal(record_parse(longest, sizeof(longest), &record), -EPROTO);
	assert_int_equal(record.pid, 12);
}

static void expect_line(enum debugger debugger, const struct handover *h, const char *expected)
{
	struct buf b cleanup(buf_free) = {0};

	debugger_line(debugger, h, &b);
	assert_int_equal(buf_status(&b), 0);
	assert_string_equal(buf_text(&b), expected);
}

static void test_commands(void **state)
{
	struct handover h = {.pid = 12};

	(void)state;
	expect_line(DEBUGGER_GDB, &h,
		    "gdb -q -p 12 -ex 'handle SIGSTOP SIGCONT nostop noprint nopass' "
		    "-ex 'shell kill -CONT 12'");
	h.to_main = true;
	h.with_sudo = true;
	expect_line(DEBUGGER_GDB, &h,
		    "sudo gdb -q -p 12 -ex 'handle SIGSTOP SIGCONT nostop noprint nopass' "
		    "-ex 'shell kill -CONT 12' -ex 'tbreak main' -ex continue");
	expect_line(DEBUGGER_STRACE, &h, "sudo stopexec attach --strace 12");
	h.with_sudo = false;
	expect_line(DEBUGGER_PERF, &h,
		    "perf record -g -p 12 sh -c 'kill -CONT 12; exec tail --pid=12 -f /dev/null'");
}

static void test_json(void **state)
{
	struct report stopped = {
		.pid = 7,
		.program = "/x/y",
		.asked = {.set_gid = true, .gid = 5},
		.status = {.tracer = 9},
	};
	static const struct report_hints hints = {.point = "main", .cont = "stopexec cont"};
	struct buf text cleanup(buf_free) = {0};

	(void)state;
	json_report(&text, &stopped, &hints);
	assert_int_equal(buf_status(&text), 0);
	assert_non_null(strstr(text.data, "\"pid\": 7"));
	assert_non_null(strstr(text.data, "\"setgid\": 5"));
	assert_non_null(strstr(text.data, "\"tracer\": 9"));
	assert_null(strstr(text.data, "setuid"));
	assert_null(strstr(text.data, "counter"));
	stopped.has_counter = true; /* in no file, as of a program that is made while it runs */
	stopped.counter = 0x1234;
	json_report(&text, &stopped, &hints);
	assert_int_equal(buf_status(&text), 0);
	assert_non_null(strstr(text.data, "\"counter\": \"0x1234\""));
	assert_null(strstr(text.data, "counter_file"));
}

static void test_quote(void **state)
{
	struct buf b cleanup(buf_free) = {0};

	(void)state;
	shell_quote(&b, "plain-1.2");
	buf_char(&b, ' ');
	shell_quote(&b, "it's $HOME");
	buf_char(&b, ' ');
	shell_quote(&b, "");
	assert_string_equal(buf_text(&b), "plain-1.2 'it'\\''s $HOME' ''");
}

/* A command that lacks something is none. */
static void test_commands_without_memory(void **state)
{
	struct handover h = {.pid = 42, .to_main = true, .with_sudo = true};

	(void)state;
	for (unsigned nth = 1; memory_refuse(&nth);) {
		struct buf line cleanup(buf_free) = {0};

		debugger_line(DEBUGGER_GDB, &h, &line);
		assert_int_equal(buf_status(&line), memory_refused() ? -ENOMEM : 0);
	}
}

static void test_too_many_words(void **state)
{
	struct handover h = {.pid = 42};
	const char *words[6] = {NULL};

	(void)state;
	for (size_t most = 1; most <= COUNT(words); most++) {
		struct buf strings cleanup(buf_free) = {0};
		int result = debugger_words(DEBUGGER_STRACE, &h, &strings, words, most);

		assert_int_equal(result, most < 5 ? -ENOMEM : 0);
		if (result == 0)
			assert_true(strcmp(words[3], "42") == 0 && words[4] == NULL);
	}
}

/* Without a group that could not be read, somebody would be refused without a reason. */
static void test_own_groups(void **state)
{
	char **groups = NULL;
	size_t count = 0;

	(void)state;
	assert_int_equal(scarce(allow_groups(&groups, &count)), 0);
	for (size_t i = 0; i < count; i++)
		assert_true(*groups[i] != '\0');
	allow_groups_free(groups, count);
}

static void test_allow(void **state)
{
	static const char *const groups[] = {"audio", "alice"};
	static const struct allow_user alice = {"alice", groups, 2};
	static const char text[] =
		"# alice /bin/a\n  alice\t/bin/b /bin/c # /bin/d\n%audio /bin/e\n"
		"%alic /bin/f\nalicex /bin/g\nalice\n\nbob /bin/h\nalice /bin/i";
	static const char allowed[] = "bcei";

	(void)state;
	for (char c = 'a'; c <= 'j'; c++) {
		char program[] = "/bin/?";

		program[5] = c;
		assert_int_equal(allow_says(text, sizeof(text) - 1, &alice, program),
				 strchr(allowed, c) != NULL);
	}
	assert_false(allow_says(text, sizeof(text) - 1, &alice, "alice"));
	assert_false(allow_says("", 0, &alice, "/bin/a"));
}

static void test_points(void **state)
{
	(void)state;
	assert_int_equal(point_of("first").kind, POINT_FIRST);
	assert_int_equal(point_of("entry").kind, POINT_ENTRY);
	assert_int_equal(point_of("main").kind, POINT_MAIN);
	assert_int_equal(point_of("mainly").kind, POINT_SYMBOL);
	assert_string_equal(point_of("mainly").symbol, "mainly");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_status),
		cmocka_unit_test(test_inherited),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_terminal),
		cmocka_unit_test(test_start),
		cmocka_unit_test(test_counter),
		cmocka_unit_test(test_mapping),
		cmocka_unit_test(test_capabilities),
		cmocka_unit_test(test_judge),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_record),
		cmocka_unit_test(test_commands),
		cmocka_unit_test(test_json),
		cmocka_unit_test(test_quote),
		cmocka_unit_test(test_commands_without_memory),
		cmocka_unit_test(test_too_many_words),
		cmocka_unit_test(test_own_groups),
		cmocka_unit_test(test_points),
		cmocka_unit_test(test_allow),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
