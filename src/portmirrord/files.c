/* SPDX-License-Identifier: MIT */
#include "portmirrord/files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "base/err.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/loop.h"
#include "base/mem.h"
#include "portmirror/store.h"

/* Not IN_CREATE: a file that is being written is not yet what it will be. (A hard link makes no
 * other event: the next poll finds it.) */
#define WATCHED                                                                                    \
	(IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_ATTRIB | IN_DELETE_SELF |   \
	 IN_MOVE_SELF | IN_ONLYDIR)

struct files {
	struct loop *loop;
	const char *folders[2]; /* the store's */
	int watches[2];
	int fd;
	struct loop_watch *watch;
	void (*news)(void *data);
	void *data;
	uint64_t seen; /* hash of what stat(2) says of all files */
};

static uint64_t hash_of(const struct stat *st)
{
	const uint64_t told[] = {
		st->st_dev,
		st->st_ino,
		(uint64_t)st->st_size,
		(uint64_t)st->st_mtim.tv_sec,
		(uint64_t)st->st_mtim.tv_nsec,
		(uint64_t)st->st_ctim.tv_sec,
		(uint64_t)st->st_ctim.tv_nsec,
		st->st_mode,
	};
	uint64_t hash = HASH_START;

	for (size_t i = 0; i < COUNT(told); i++)
		hash = hash_number(hash, told[i]);
	return hash;
}

bool file_mark_same(struct file_mark *mark, const char *path)
{
	struct stat st;
	uint64_t hash = stat(path, &st) < 0 ? 0 : hash_of(&st);
	bool same = mark->hash == hash;

	mark->hash = hash;
	return same;
}

/* The sum over all files, in whatever order the folder has them. */
static uint64_t hash_of_folder(const char *path)
{
	DIR *dir = opendir(path);
	const struct dirent *entry;
	uint64_t sum = dir ? 1 : 0;

	while (dir && (entry = readdir(dir))) {
		struct stat st;

		if (*entry->d_name != '.' && fstatat(dirfd(dir), entry->d_name, &st, 0) == 0)
			sum += hash_bytes(hash_of(&st), entry->d_name, strlen(entry->d_name));
	}
	if (dir)
		closedir(dir);
	return sum;
}

static uint64_t look(const struct files *f)
{
	return hash_number(hash_number(HASH_START, hash_of_folder(f->folders[0])),
			   hash_of_folder(f->folders[1]));
}

/* (The same folder has the same watch.) A folder that can't be made or watched is left to polls. */
static void watch_folders(struct files *f)
{
	for (size_t i = 0; i < COUNT(f->folders); i++) {
		f->watches[i] = inotify_add_watch(f->fd, f->folders[i], WATCHED);
		if (f->watches[i] < 0 && errno == ENOENT &&
		    folder_make(f->folders[i], 0755, NULL) == 0)
			f->watches[i] = inotify_add_watch(f->fd, f->folders[i], WATCHED);
	}
}

/* What a writer makes on its way ('.name.tmp') is nothing to us. */
static bool matters(const struct inotify_event *event)
{
	return !(event->mask & IN_IGNORED) && (event->len == 0 || *event->name != '.');
}

bool files_take(struct files *f)
{
	char buffer[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
	bool changed = false;
	ssize_t got;

	while ((got = read(f->fd, buffer, sizeof(buffer))) > 0) {
		const struct inotify_event *event;

		for (ssize_t at = 0; at < got; at += (ssize_t)(sizeof(*event) + event->len)) {
			event = (const void *)(buffer + at);
			changed |= matters(event);
		}
	}
	if (changed)
		f->seen = look(f);
	return changed;
}

bool files_poll(struct files *f)
{
	bool changed = files_take(f);
	uint64_t now;

	watch_folders(f);
	now = look(f);
	changed |= now != f->seen;
	f->seen = now;
	return changed;
}

static void readable(uint32_t events, void *data)
{
	struct files *f = data;

	(void)events;
	f->news(f->data);
}

int files_new(struct loop *loop, const struct store *store, void (*news)(void *data), void *data,
	      struct files **files, struct err *e)
{
	struct files *made = calloc(1, sizeof(*made));
	int r;

	if (!made)
		return err_set(e, -ENOMEM, "out of memory");
	*made = (struct files){.loop = loop,
			       .folders = {store->saved, store->runtime},
			       .news = news,
			       .data = data};
	made->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	if (made->fd < 0)
		r = err_sys(e, -errno, "can't watch files");
	else
		r = loop_watch(loop, made->fd, EPOLLIN, readable, made, &made->watch, e);
	if (r < 0) {
		files_free(made);
		return r;
	}
	watch_folders(made);
	made->seen = look(made);
	*files = made;
	return 0;
}

void files_free(struct files *f)
{
	if (!f)
		return;
	loop_unwatch(f->loop, f->watch);
	fd_close_at(&f->fd);
	free(f);
}
