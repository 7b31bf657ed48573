/* SPDX-License-Identifier: MIT */
/* The names of programs, and the BPF program's limits; what it does, tests/exec shows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "memory/memory.h"
#include "stopexec/catch.h"
#include "stopexec/catch_program.h"

static void test_names(void **state)
{
	(void)state;
	assert_true(catch_name_fits("/usr/bin/ping", "ping"));
	assert_true(catch_name_fits("ping", "ping"));
	assert_true(catch_name_fits("/usr/bin/ping", "/usr/bin/ping"));
	assert_false(catch_name_fits("/usr/bin/aping", "ping"));
	assert_false(catch_name_fits("./ping", "/usr/bin/ping"));
	assert_false(catch_name_fits("/usr/bin/ping/", "ping"));
	assert_false(catch_name_fits("", "ping"));
}

#define RUNS(words, name) catch_loader_runs(words, sizeof(words), name)

static void test_loader(void **state)
{
	(void)state;
	assert_true(RUNS("ld.so\0/bin/ping", "ping"));
	assert_true(RUNS("ld.so\0--preload\0ping\0./ping\0-c1", "ping"));
	assert_true(RUNS("ld.so\0--inhibit-cache\0/bin/ping", "/bin/ping"));
	assert_true(RUNS("ld.so\0--library-path=/x\0ping", "ping"));
	assert_false(RUNS("ld.so\0--preload\0ping\0/bin/true", "ping"));
	assert_false(RUNS("ld.so\0/bin/true\0ping", "ping"));
	assert_false(RUNS("ld.so\0--verify\0/bin/ping", "ping"));
	assert_false(RUNS("ld.so\0--list\0/bin/ping", "ping"));
	assert_false(RUNS("ping", "ping"));
	assert_false(RUNS("ld.so\0--preload", "ping"));
	assert_false(catch_loader_runs("", 0, "ping"));
	/* cut off, without a NUL */
	assert_false(catch_loader_runs("ld.so\0ping", 10, "ping"));
	assert_false(catch_loader_runs("ld.so\0--preload", 15, "ping"));
}

static int make(const char *const *names, size_t count, size_t *insns)
{
	static const struct catch_offsets offsets = {1, 2, 3};
	struct catch_filter filter = {.names = names, .nnames = count, .any_user = true};
	struct bpf_insn *made cleanup(free_at) = NULL;

	return catch_program(&filter, &offsets, 4, 5, &made, insns);
}

static void test_sizes(void **state)
{
	char longest[CATCH_NAME_MOST + 2];
	static const char *many[4096];
	const char *names[64];
	size_t count = 0;

	(void)state;
	memset(longest, 'x', sizeof(longest));
	longest[CATCH_NAME_MOST] = '\0';
	for (size_t i = 0; i < COUNT(names); i++)
		names[i] = longest;
	assert_int_equal(scarce(make(names, COUNT(names), &count)), 0);
	assert_in_range(count, 1, INT16_MAX);
	for (size_t i = 0; i < COUNT(many); i++)
		many[i] = longest;
	assert_int_equal(make(many, COUNT(many), &count), -E2BIG);
	longest[CATCH_NAME_MOST] = 'x';
	longest[CATCH_NAME_MOST + 1] = '\0';
	assert_int_equal(make(names, 1, &count), -ENAMETOOLONG);
}

/* It is told to go on, as its stop may come later. */
static void test_one_that_does_not_stop(void **state)
{
	struct catch_rule rule = {.by = CATCH_BPF};
	struct guardian nobody = {{-1, -1}};
	struct caught caught = {0};
	sigset_t set;
	struct err e = {0};
	int signal;
	pid_t pid;

	(void)state;
	sigemptyset(&set);
	sigaddset(&set, SIGCONT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	pid = fork();
	if (pid == 0)
		_exit(sigwait(&set, &signal) == 0 && signal == SIGCONT ? 7 : 1);
	caught.stop.pid = pid;
	assert_int_equal(catch_settle(&caught, &rule, &nobody, 0, &e), -ETIME);
	assert_non_null(strstr(e.text, "was not stopped in time"));
	assert_int_equal(waitpid(pid, &signal, 0), pid);
	assert_int_equal(WEXITSTATUS(signal), 7);
	assert_int_equal(catch_settle(&caught, &rule, &nobody, 0, &e), -ESRCH);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_loader),
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_one_that_does_not_stop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
