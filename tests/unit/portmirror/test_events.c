/* SPDX-License-Identifier: MIT */
#include "portmirror/events.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "memory/memory.h"

static char folder[] = "/tmp/events-XXXXXX", path[sizeof(folder) + 10];

static int make_folder(void **state)
{
	(void)state;
	if (!mkdtemp(folder))
		return -1;
	snprintf(path, sizeof(path), "%s/events", folder);
	return 0;
}

static int remove_file(void **state)
{
	(void)state;
	(void)unlink(path);
	return 0;
}

static int remove_folder(void **state)
{
	(void)state;
	return rmdir(folder);
}

static struct events *opened(void)
{
	struct events *events = NULL;
	struct err e = {0};

	if (events_open(path, &events, &e) < 0)
		fail_msg("%s", e.text);
	return events;
}

static void append(const char *text)
{
	FILE *file = fopen(path, "ae");

	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
}

static void assert_kept(const struct events *events, uint64_t first, uint64_t last)
{
	assert_int_equal(events_count(events), last - first + 1);
	for (size_t i = 0; i < events_count(events); i++) {
		char text[24];

		snprintf(text, sizeof(text), "event %zu", (size_t)first + i);
		assert_int_equal(events_nth(events, i)->number, first + i);
		assert_string_equal(events_nth(events, i)->text, text);
	}
	assert_null(events_nth(events, events_count(events)));
}

static void the_last_are_kept(void **state)
{
	enum { ALL = 2 * EVENTS_MAX + 10 };
	struct events *events = opened(), *again;
	struct stat before, after;

	(void)state;
	for (int i = 1; i <= ALL; i++) {
		if (i == 2 * EVENTS_MAX + 1)
			assert_int_equal(stat(path, &before), 0);
		assert_int_equal(events_add(events, "repaired", "ids", NULL, "event %d", i), 0);
	}
	assert_kept(events, ALL - EVENTS_MAX + 1, ALL);
	assert_int_equal(stat(path, &after), 0);
	assert_true(after.st_size < before.st_size); /* it was written anew, with the last ones */
	again = opened();
	assert_kept(again, ALL - EVENTS_MAX + 1, ALL);
	assert_int_equal(events_add(again, "repaired", "ids", NULL, "event %d", ALL + 1), 0);
	events_close(again);
	assert_int_equal(events_follow(events, NULL), 1);
	assert_kept(events, ALL - EVENTS_MAX + 2, ALL + 1);
	events_close(events);
}

/* The file was removed, and a daemon that started then knew of no number. */
static void numbers_that_begin_anew_are_followed(void **state)
{
	(void)state;
	for (int before = 1; before <= 2 * EVENTS_MAX; before += EVENTS_MAX - 1) {
		struct events *events = opened(), *other;

		for (int i = 1; i <= before; i++)
			assert_int_equal(events_add(events, "repaired", "", NULL, "old %d", i), 0);
		assert_int_equal(unlink(path), 0);
		assert_int_equal(events_follow(events, NULL), 0);
		assert_int_equal(usleep(2000), 0); /* a time is known to the millisecond */
		other = opened();
		for (int i = 1; i <= 3; i++)
			assert_int_equal(events_add(other, "started", "", NULL, "event %d", i), 0);
		assert_int_equal(events_follow(events, NULL), 3);
		assert_kept(events, 1, 3);
		assert_int_equal(events_add(other, "started", "", NULL, "event %d", 4), 0);
		assert_int_equal(events_follow(events, NULL), 1);
		assert_kept(events, 1, 4);
		events_close(other);
		events_close(events);
		assert_int_equal(unlink(path), 0);
	}
}

static int add_next(struct events *events)
{
	return events_add(events, "repaired", "ids", NULL, "event %zu", events_count(events) + 1);
}

/* One event is in its file, which is written anew with the next. */
static struct events *opened_full(void)
{
	char lines[2 * EVENTS_MAX];
	struct events *events = opened();

	memset(lines, '\n', sizeof(lines));
	lines[sizeof(lines) - 1] = '\0';
	assert_int_equal(add_next(events), 0);
	append(lines);
	assert_int_equal(events_follow(events, NULL), 0);
	return events;
}

/* What the file lacks then comes into it the next time. */
static void no_memory_to_write_all_anew(void **state)
{
	bool more = true;

	(void)state;
	for (unsigned nth = 1; more;) {
		struct events *events = opened_full();
		struct stat st;
		size_t count;
		int r;

		more = memory_refuse(&nth);
		r = add_next(events);
		if (memory_refused()) {
			assert_int_equal(r, -ENOMEM);
			r = add_next(events);
		}
		assert_int_equal(r, 0);
		count = events_count(events);
		events_close(events);
		assert_int_equal(stat(path, &st), 0);
		assert_true(st.st_size < EVENTS_MAX);
		events = opened();
		assert_kept(events, 1, count);
		events_close(events);
		assert_int_equal(unlink(path), 0);
	}
}

static int open_anew(struct events **events)
{
	events_close(*events);
	*events = NULL;
	return events_open(path, events, NULL);
}

static void damaged_lines_are_left_out(void **state)
{
	struct events *events = opened();

	(void)state;
	assert_int_equal(events_add(events, "repaired", "ids", NULL, "event %d", 1), 0);
	append("{\"number\":0}\nno JSON\n{\"number\":2,\"time\":");
	assert_int_equal(scarce_or(events_count(events) == 1, open_anew(&events)), 0);
	assert_kept(events, 1, 1);
	assert_int_equal(events_add(events, "repaired", "ids", NULL, "event\n%d", 2), 0);
	events_close(events);
	events = opened(); /* the torn line has been ended before, and a sentence is one line */
	assert_kept(events, 1, 2);
	events_close(events);
}

/* Written by another version, or by hand. */
static void what_this_version_does_not_write(void **state)
{
	char line[200];
	struct events *events;

	(void)state;
	append("{\"number\":1,\"time\":1,\"kind\":\"session-moved\",\"text\":\"event 1\"}\n");
	snprintf(line, sizeof(line),
		 "{\"number\":2,\"time\":1,\"kind\":\"repaired\",\"session\":\"%0*d\","
		 "\"text\":\"no session has such a name\"}\n",
		 SESSION_NAME_MAX + 1, 0);
	append(line);
	append("{\"number\":0,\"time\":1,\"kind\":\"repaired\",\"text\":\"event 0\"}\n");
	events = opened();
	assert_kept(events, 1, 1);
	assert_string_equal(events_nth(events, 0)->kind, "other");
	events_close(events);
}

static void behind_a_gap_it_begins_anew(void **state)
{
	struct events *events = opened();

	(void)state;
	append("{\"number\":1,\"time\":1,\"kind\":\"repaired\",\"text\":\"event 1\"}\n");
	assert_int_equal(events_follow(events, NULL), 1);
	assert_kept(events, 1, 1);
	append("{\"number\":7,\"time\":1,\"kind\":\"repaired\",\"text\":\"event 7\"}\n");
	append("{\"number\":8,\"time\":1,\"kind\":\"repaired\",\"text\":\"event 8\"}\n");
	assert_true(events_follow(events, NULL) > 0);
	assert_kept(events, 7, 8);
	events_close(events);
}

static void what_cannot_be_read_is_told(void **state)
{
	struct events *events = NULL;
	struct err e = {0};

	(void)state;
	append("");
	assert_int_equal(truncate(path, (off_t)17 << 20), 0);
	assert_int_equal(events_open(path, &events, &e), -EFBIG);
	assert_non_null(strstr(e.text, path));
	(void)unlink(path);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(events_open(path, &events, &e), -EISDIR);
	assert_int_equal(rmdir(path), 0);
}

static void what_cannot_be_written_is_told(void **state)
{
	struct rlimit none = {.rlim_cur = 0}, before;
	struct events *events = opened();
	struct err e = {0};

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
	none.rlim_max = before.rlim_max;
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &none), 0);
	assert_int_equal(events_add(events, "repaired", "ids", &e, "event %d", 1), -EFBIG);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
	assert_non_null(strstr(e.text, path));
	assert_int_equal(events_add(events, "repaired", "ids", &e, "event %d", 2), 0);
	events_close(events);
	events = opened(); /* what could not be written then is there too */
	assert_kept(events, 1, 2);
	(void)unlink(path);
	assert_int_equal(symlink("/nowhere", path), 0);
	assert_int_equal(events_add(events, "repaired", "ids", &e, "event %d", 3), -ELOOP);
	events_close(events);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(the_last_are_kept, remove_file),
		cmocka_unit_test_teardown(numbers_that_begin_anew_are_followed, remove_file),
		cmocka_unit_test_teardown(no_memory_to_write_all_anew, remove_file),
		cmocka_unit_test_teardown(damaged_lines_are_left_out, remove_file),
		cmocka_unit_test_teardown(what_this_version_does_not_write, remove_file),
		cmocka_unit_test_teardown(behind_a_gap_it_begins_anew, remove_file),
		cmocka_unit_test_teardown(what_cannot_be_read_is_told, remove_file),
		cmocka_unit_test_teardown(what_cannot_be_written_is_told, remove_file),
	};

	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
