/* SPDX-License-Identifier: MIT */
/* Records, and the places of stop.so, where something is not as it should be. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/file.h"
#include "base/mem.h"
#include "memory/memory.h"
#include "stopexec/preload.h"
#include "stopexec/proc.h"
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
	record_remove(folder, own.pid);
	assert_int_equal(rmdir(folder), 0);
	assert_int_equal(record_all("/dev/null", &records, &count, &e), -ENOTDIR);
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
	assert_int_equal(preload_check_group(UINT_MAX - 7, &e), -ENOENT);
	assert_false(seen.there);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_records),
		cmocka_unit_test(test_places_of_stop_so),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
