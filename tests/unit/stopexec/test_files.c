/* SPDX-License-Identifier: MIT */
/* Records, programs, users, callers, and the places of stop.so, where something is not as it should
 * be. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "base/file.h"
#include "base/mem.h"
#include "calls/calls.h"
#include "memory/memory.h"
#include "stopexec/caller.h"
#include "stopexec/cgroup.h"
#include "stopexec/launch.h"
#include "stopexec/preload.h"
#include "stopexec/proc.h"
#include "stopexec/program.h"
#include "stopexec/record.h"

/* What is none, or of a process that has ended, is not listed. */
static void test_records(void **state)
{
	char folder[] = "/tmp/test-stopexec-XXXXXX", path[PATH_MAX];
	struct record own = {.pid = getpid(), .by = 7, .deadline = 99};
	struct record *records cleanup(free_at) = NULL;
	struct err e = {0};
	size_t count = 9;

	(void)state;
	assert_non_null(mkdtemp(folder));
	assert_int_equal(proc_start(own.pid, &own.start), 0);
	assert_int_equal(record_write(folder, &own, &e), 0);
	snprintf(path, sizeof(path), "%s/1", folder);
	assert_int_equal(file_write(path, "no record", 9, 0600, &e), 0);
	assert_int_equal(scarce(record_all(folder, &records, &count, &e)), 0);
	assert_int_equal(count, 1);
	assert_int_equal(records[0].pid, own.pid);
	assert_int_equal(records[0].by, 7);
	assert_int_equal(file_remove(path, &e), 0);
	own.start++; /* of a former process of that number */
	assert_int_equal(record_write(folder, &own, &e), 0);
	assert_int_equal(record_read(folder, own.pid, records), -ENOENT);
	assert_int_equal(records[0].start, own.start - 1);
	record_remove(folder, own.pid, 99);
	snprintf(path, sizeof(path), "%s/%d.99", folder, own.pid);
	assert_int_equal(mkdir(path, 0700), 0); /* where it can't be put */
	assert_int_equal(record_write(folder, &own, &e), -EISDIR);
	assert_int_equal(rmdir(path), 0);
	assert_int_equal(rmdir(folder), 0);
	assert_int_equal(record_all("/dev/null", &records, &count, &e), -ENOTDIR);
}

/* The process's next stop has a record of its own: what is done about the former is none of it. */
static void test_a_record_is_of_one_stop(void **state)
{
	char folder[] = "/tmp/test-stopexec-XXXXXX";
	struct record own = {.pid = getpid(), .by = 7, .deadline = 99}, seen;

	(void)state;
	assert_non_null(mkdtemp(folder));
	assert_int_equal(record_read(folder, own.pid, &seen), -ENOENT);
	assert_int_equal(proc_start(own.pid, &own.start), 0);
	assert_int_equal(record_write(folder, &own, NULL), 0);
	assert_true(record_is_there(folder, own.pid, 99));
	own.deadline = 98;
	assert_int_equal(record_write(folder, &own, NULL), 0);
	assert_false(record_is_there(folder, own.pid, 99));
	record_remove(folder, own.pid, 99);
	assert_int_equal(record_read(folder, own.pid, &seen), 0);
	assert_int_equal(seen.deadline, 98);
	record_remove(folder, own.pid, 98);
	assert_int_equal(rmdir(folder), 0);
}

static void test_places_of_stop_so(void **state)
{
	struct preload_state seen = {0};
	struct err e = {0};

	(void)state;
	assert_int_equal(preload_check_folder("/no/such/folder", &e), -ENOENT);
	assert_int_equal(preload_check_folder("/dev/null", &e), -ENOTDIR);
	assert_string_equal(e.text, "/dev/null is no folder");
	assert_int_equal(preload_state("/dev/null", &seen, &e), -ENOTDIR);
	assert_int_equal(preload_remove("/dev/null", &e), -ENOTDIR);
	assert_int_equal(preload_check_group(UINT_MAX - 7, &e), -ENOENT);
	assert_false(seen.there);
}

static int next_descriptor(void)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	assert_int_equal(close(fd), 0);
	return fd;
}

/* It says so, and nothing stays open. */
static void test_a_program_that_cannot_be_looked_at(void **state)
{
	int next = next_descriptor();
	struct program program;
	struct err e = {0};

	(void)state;
	assert_int_equal(faulty(program_find("/bin/true", NULL, &program, &e)), 0);
	program_close(&program);
	call_refuse_next("fcntl64", EMFILE);
	assert_int_equal(program_find("/bin/true", NULL, &program, &e), -EMFILE);
	assert_string_equal(e.text, "/bin/true can't be looked at: Too many open files");
	assert_int_equal(next_descriptor(), next);
}

static void test_a_user_without_memory(void **state)
{
	struct user user = {0};
	struct err e = {0};

	(void)state;
	assert_int_equal(scarce(user_find("daemon", &user, &e)), 0);
	assert_string_equal(e.text, "The groups of daemon can't be found: Cannot allocate memory");
	assert_int_equal(user.ngroups, 1);
	user_free(&user);
}

/* In a child of what is called sudo: 0, 1 where it is not found, 2 where it is taken for the caller
 * though whether it still is could not be seen. */
static int look_for_caller(void)
{
	bool found = false, believed = false;

	for (unsigned nth = 1; call_refuse(&nth, EIO);) {
		struct caller caller;
		bool seen = caller_find(getuid(), &caller) && caller.seen;

		if (call_refused() != NULL)
			believed = seen; /* the last time, its last look fails */
		else
			found = seen && caller.sudo == getppid() && caller.gid == getgid();
		caller_free(&caller);
	}
	return !found ? 1 : believed ? 2 : 0;
}

static int in_child(int (*function)(void))
{
	pid_t pid = fork();
	int status;

	if (pid == 0)
		_exit(function());
	return waitpid(pid, &status, 0) == pid && WIFEXITED(status) ? WEXITSTATUS(status) : 9;
}

static int as_sudo(void)
{
	return prctl(PR_SET_NAME, "sudo") < 0 ? 8 : in_child(look_for_caller);
}

static bool empty; /* so is the next file that is read */

int __real_file_read_at(int folder, const char *name, size_t max, char **data, size_t *len,
			struct err *e);
int __wrap_file_read_at(int folder, const char *name, size_t max, char **data, size_t *len,
			struct err *e);
int __wrap_file_read_at(int folder, const char *name, size_t max, char **data, size_t *len,
			struct err *e)
{
	bool now = empty;

	empty = false;
	return __real_file_read_at(folder, now ? "/dev/null" : name, max, data, len, e);
}

/* Of one that has ended, but nobody has waited for: older kernels (6.1) show an empty auxv. */
static void test_the_auxv_of_a_process_that_has_ended(void **state)
{
	pid_t pid = fork();
	uint64_t random;

	(void)state;
	if (pid == 0)
		_exit(0);
	assert_int_equal(waitid(P_PID, (id_t)pid, &(siginfo_t){0}, WEXITED | WNOWAIT), 0);
	assert_int_equal(proc_random(pid, &random), -ESRCH);
	empty = true;
	assert_int_equal(proc_random(pid, &random), -ESRCH);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void test_a_caller_that_may_have_ended(void **state)
{
	(void)state;
	assert_int_equal(in_child(as_sudo), 0);
	assert_int_equal(in_child(look_for_caller), 1);
}

/* Of sudo's environment, which it may have taken along to its end. */
static void test_variables_of_the_caller(void **state)
{
	struct caller caller = {.sudo = INT_MAX};
	char *value cleanup(free_at) = NULL;

	(void)state;
	assert_null(caller_variable(&caller, "PATH"));
	caller.sudo = getpid();
	assert_null(caller_variable(&caller, "NO_SUCH_VARIABLE"));
	assert_null(caller_variable(&caller, "PAT"));
	value = caller_variable(&caller, "PATH");
	assert_string_equal(value, getenv("PATH"));
}

static void test_descent(void **state)
{
	(void)state;
	assert_true(proc_descends(getpid(), getppid()));
	assert_false(proc_descends(getpid(), INT_MAX));
	assert_false(proc_descends(INT_MAX, getppid())); /* it has ended */
}

static void test_control_groups(void **state)
{
	char path[PATH_MAX + 1] = "/";
	struct cgroup group = {.id = 42}, all = {0};
	struct err e = {0};

	(void)state;
	memset(path + 1, 'x', sizeof(path) - 2);
	assert_int_equal(cgroup_find(path, &group, &e), -ENAMETOOLONG);
	assert_non_null(strstr(e.text, "There is no control group /xxx"));
	assert_int_equal(group.id, 42);
	if (cgroup_find("/", &all, &e) < 0)
		skip(); /* none of version 2 is mounted */
	for (unsigned nth = 1; call_refuse(&nth, EIO);) {
		bool holds = cgroup_holds_self(&all);

		if (call_refused() == NULL)
			assert_true(holds);
	}
	call_refuse_next("openat64", EMFILE);
	assert_false(cgroup_holds_self(&all));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_records),
		cmocka_unit_test(test_a_record_is_of_one_stop),
		cmocka_unit_test(test_places_of_stop_so),
		cmocka_unit_test(test_a_program_that_cannot_be_looked_at),
		cmocka_unit_test(test_a_user_without_memory),
		cmocka_unit_test(test_the_auxv_of_a_process_that_has_ended),
		cmocka_unit_test(test_a_caller_that_may_have_ended),
		cmocka_unit_test(test_variables_of_the_caller),
		cmocka_unit_test(test_descent),
		cmocka_unit_test(test_control_groups),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
