/* SPDX-License-Identifier: MIT */
/* Notices when the saved sessions change: at once by inotify, and where the file system has none
 * (another host wrote the file), when somebody asks. */
#ifndef PORTMIRRORD_FILES_H
#define PORTMIRRORD_FILES_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

struct err;
struct files;
struct loop;
struct store;

int files_new(struct loop *loop, const struct store *store, void (*news)(void *data), void *data,
	      struct files **files, struct err *e);
void files_free(struct files *files);

/* True where inotify tells of a change since the last time. */
bool files_take(struct files *files);
/* Looks at the folders themselves, and watches them again where they are new. */
bool files_poll(struct files *files);

/* Whether a file is the same as before, by what stat(2) says; remembers what it is now. */
struct file_mark {
	uint64_t hash; /* 0: not there */
};
bool file_mark_same(struct file_mark *mark, const char *path);

#endif
