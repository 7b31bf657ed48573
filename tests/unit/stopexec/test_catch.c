/* SPDX-License-Identifier: MIT */
/* The names of programs, and the BPF program's limits; what it does, tests/exec shows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "calls/calls.h"
#include "memory/memory.h"
#include "stopexec/catch.h"
#include "stopexec/catch_loop.h"
#include "stopexec/catch_maps.h"
#include "stopexec/catch_program.h"
#include "stopexec/proc.h"
#include "stopexec/trace.h"

enum { LONG = 10000 }; /* ms */

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
	assert_int_equal(catch_settle(&caught, &rule, &nobody, 0, NULL, &e), -ETIME);
	assert_non_null(strstr(e.text, "was not stopped in time"));
	assert_int_equal(waitpid(pid, &signal, 0), pid);
	assert_int_equal(WEXITSTATUS(signal), 7);
	assert_int_equal(catch_settle(&caught, &rule, &nobody, 0, NULL, &e), -ESRCH);
}

static void await_state(pid_t pid, char state)
{
	struct proc_status status = {0};

	for (int64_t end = now_ms() + LONG; status.state != state; usleep(100)) {
		assert_int_equal(proc_status(pid, &status), 0);
		assert_true(now_ms() < end);
	}
}

static void await_sleep(pid_t pid)
{
	char program[4096] = "";

	for (int64_t end = now_ms() + LONG; strstr(program, "test-") != NULL || *program == '\0';) {
		assert_int_equal(proc_program(pid, program), 0);
		assert_true(now_ms() < end);
		usleep(100);
	}
}

/* By the dynamic loader: only its words tell what it runs. Who can't be looked at goes on. */
static void test_one_that_the_loader_runs(void **state)
{
	static const char *const names[] = {"60"};
	struct catch_rule rule = {.by = CATCH_BPF, .names = names, .nnames = 1};
	struct caught caught = {.loader = true};
	struct guardian nobody = {{-1, -1}};
	pid_t pid = fork();
	struct err e = {0};
	int status;

	(void)state;
	if (pid == 0) {
		raise(SIGSTOP);
		execl("/bin/sleep", "ld.so", "60", NULL);
		_exit(1);
	}
	assert_int_equal(waitpid(pid, &status, WUNTRACED), pid);
	kill(pid, SIGCONT);
	caught.stop.pid = pid;
	await_sleep(pid);
	for (unsigned nth = 1; call_refuse(&nth, EIO);) {
		int result;

		kill(pid, SIGSTOP);
		result = catch_settle(&caught, &rule, &nobody, now_ms() + LONG, NULL, &e);
		if (call_refused() == NULL) {
			assert_int_equal(result, 0);
			await_state(pid, 'T');
		} else if (result < 0) {
			await_state(pid, 'S');
		}
	}
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, &status, 0), pid);
}

/* Of a PID namespace that we can't see, and init. */
static void test_who_is_spared(void **state)
{
	struct catch_loop l = {.spared = {42}, .nspared = 1};

	(void)state;
	assert_true(catch_spares(&l, 0));
	assert_true(catch_spares(&l, 1));
	assert_true(catch_spares(&l, 42));
	assert_false(catch_spares(&l, 2));
}

/* The first map can be had, the second can't. */
static int made;

int __wrap_bpf_map_create(enum bpf_map_type type, const char *name, uint32_t key, uint32_t value,
			  uint32_t most, const void *options);
int __wrap_bpf_map_create(enum bpf_map_type type, const char *name, uint32_t key, uint32_t value,
			  uint32_t most, const void *options)
{
	(void)name;
	(void)key;
	(void)value;
	(void)most;
	(void)options;
	if (type == BPF_MAP_TYPE_RINGBUF)
		return -EINVAL;
	made = open("/dev/null", O_RDWR | O_CLOEXEC);
	return made;
}

/* Who asks for something else, or later, is not sent away. */
static void test_why_it_is_refused(void **state)
{
	struct err e = {0};

	(void)state;
	assert_int_equal(catch_refused(-EPERM, "lacks", &e), -EPERM);
	assert_non_null(strstr(e.text, "needs root"));
	assert_int_equal(catch_refused(-EMFILE, "lacks", &e), -EMFILE);
	assert_string_equal(e.text, "Nothing can be watched by BPF: Too many open files");
	assert_int_equal(catch_refused(-ENOSYS, "lacks", &e), -EOPNOTSUPP);
	assert_string_equal(e.text, "lacks: Operation not supported");
}

static void test_a_kernel_without_ring_buffers(void **state)
{
	struct catch_maps maps = {7, 8};
	struct err e = {0};

	(void)state;
	assert_int_equal(catch_maps_make(&maps, &e), -EOPNOTSUPP);
	assert_non_null(strstr(e.text, "This kernel gives no BPF for it"));
	assert_true(maps.control == 7 && maps.ring == 8);
	assert_int_equal(fcntl(made, F_GETFD), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_loader),
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_one_that_does_not_stop),
		cmocka_unit_test(test_one_that_the_loader_runs),
		cmocka_unit_test(test_who_is_spared),
		cmocka_unit_test(test_why_it_is_refused),
		cmocka_unit_test(test_a_kernel_without_ring_buffers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
