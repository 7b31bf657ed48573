/* SPDX-License-Identifier: MIT */
/* The folders of the saved sessions: what inotify tells, and what only a look finds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/err.h"
#include "base/loop.h"
#include "memory/memory.h"
#include "portmirror/store.h"
#include "portmirrord/files.h"
#include "root.h"

struct world {
	char root[32];
	struct store store;
	struct loop *loop;
	struct files *files;
	unsigned told;
};

static void news(void *data)
{
	struct world *w = data;

	w->told++;
}

static int world_new(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	struct err e = {0};

	assert_non_null(w);
	strcpy(w->root, "/tmp/files-XXXXXX");
	assert_non_null(mkdtemp(w->root));
	assert_int_equal(store_open(w->root, &w->store, &e), 0);
	assert_int_equal(loop_new(&w->loop, &e), 0);
	*state = w;
	return 0;
}

static int world_end(void **state)
{
	struct world *w = *state;

	files_free(w->files);
	loop_free(w->loop);
	remove_root(w->root);
	store_close(&w->store);
	free(w);
	return 0;
}

/* (Where a folder can't be made, that is left to a later look: they are there when memory is
 * scarce.)
 */
static void watch(struct world *w)
{
	struct err e = {0};

	assert_int_equal(files_new(w->loop, &w->store, news, w, &w->files, &e), 0);
	files_free(w->files);
	w->files = NULL;
	assert_int_equal(scarce(files_new(w->loop, &w->store, news, w, &w->files, &e)), 0);
	assert_false(files_take(w->files) || files_poll(w->files));
}

static char *path_of(const char *folder, const char *name)
{
	static char path[128];

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	return path;
}

static void write_file(const char *folder, const char *name, const char *text)
{
	int fd = open(path_of(folder, name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
}

static void rename_folder(const struct world *w, const char *from, const char *to)
{
	char target[128];

	snprintf(target, sizeof(target), "%s/%s", w->root, to);
	assert_int_equal(rename(from, target), 0);
}

static void what_inotify_tells_is_told_at_once(void **state)
{
	struct world *w = *state;
	struct err e = {0};

	watch(w);
	assert_int_equal(loop_once(w->loop, 0, &e), 0);
	assert_int_equal(w->told, 0);
	write_file(w->store.saved, "ids.yaml", "from");
	assert_int_equal(loop_once(w->loop, 0, &e), 0);
	assert_int_equal(w->told, 1);
	assert_true(files_take(w->files));
	assert_false(files_take(w->files) || files_poll(w->files)); /* told once */
	write_file(w->store.runtime, "ids.yaml", "from");
	assert_true(files_poll(w->files)); /* which takes it, too */
	assert_false(files_take(w->files) || files_poll(w->files));
}

static void what_a_writer_makes_on_its_way_is_nothing(void **state)
{
	struct world *w = *state;

	watch(w);
	write_file(w->store.saved, ".ids.yaml.tmp", "from");
	assert_false(files_take(w->files) || files_poll(w->files));
}

/* A hard link makes no event that is watched for. */
static void a_look_finds_what_nobody_tells(void **state)
{
	struct world *w = *state;
	char elsewhere[128];

	snprintf(elsewhere, sizeof(elsewhere), "%s", path_of(w->root, "there"));
	write_file(w->root, "there", "from");
	watch(w);
	assert_int_equal(link(elsewhere, path_of(w->store.saved, "ids.yaml")), 0);
	assert_false(files_take(w->files));
	assert_true(files_poll(w->files));
	assert_false(files_poll(w->files));
}

/* The watch goes with the folder that was moved away. */
static void a_new_folder_is_watched_from_the_next_look_on(void **state)
{
	struct world *w = *state;

	watch(w);
	rename_folder(w, w->store.saved, "old");
	assert_true(files_poll(w->files));
	write_file(w->store.saved, "ids.yaml", "from");
	assert_true(files_take(w->files));
}

static void without_descriptors_it_says_so_and_leaves_none(void **state)
{
	struct world *w = *state;
	struct rlimit before, few;
	struct err e = {0};
	int next = dup(STDERR_FILENO), r;

	close(next);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	few = (struct rlimit){(rlim_t)next, before.rlim_max};
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
	r = files_new(w->loop, &w->store, news, w, &w->files, &e);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	assert_int_equal(r, -EMFILE);
	assert_string_equal(e.text, "can't watch files: Too many open files");
	assert_null(w->files);
}

static void a_file_is_the_same_as_before(void **state)
{
	const struct world *w = *state;
	struct file_mark mark = {0};
	char path[128];

	snprintf(path, sizeof(path), "%s", path_of(w->root, "there"));
	assert_true(file_mark_same(&mark, path)); /* not there, as before */
	write_file(w->root, "there", "from");
	assert_false(file_mark_same(&mark, path));
	assert_true(file_mark_same(&mark, path));
	assert_int_equal(unlink(path), 0);
	assert_false(file_mark_same(&mark, path));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, world_new, world_end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_inotify_tells_is_told_at_once),
		TEST(what_a_writer_makes_on_its_way_is_nothing),
		TEST(a_look_finds_what_nobody_tells),
		TEST(a_new_folder_is_watched_from_the_next_look_on),
		TEST(without_descriptors_it_says_so_and_leaves_none),
		TEST(a_file_is_the_same_as_before),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
