/* SPDX-License-Identifier: MIT */
/* Files that are read whole, written whole or not at all, and locks. */
#ifndef BASE_FILE_H
#define BASE_FILE_H

#include <stddef.h>
#include <sys/types.h>

struct err;

/*
 * Reads a whole file of at most max bytes; -EFBIG beyond. A NUL that *len does not count stands
 * behind *data, which the caller frees. Regular files and /proc files alike.
 */
int file_read(const char *path, size_t max, char **data, size_t *len, struct err *e);

/* The same, relative to an open folder; e may be NULL where failing is ordinary. */
int file_read_at(int folder, const char *name, size_t max, char **data, size_t *len, struct err *e);

/*
 * Replaces the file as one step: a temporary file beside it, fsync, rename, fsync of the folder.
 * A crash leaves the old content or the new one.
 */
int file_write(const char *path, const void *data, size_t len, mode_t mode, struct err *e);

/* The same of a file that somebody else may have made: where there is one it keeps its mode and, as
 * far as we may give it away, its owner; a symbolic link leads to it, and stays. */
int file_rewrite(const char *path, const void *data, size_t len, mode_t mode, struct err *e);

/* Removes the file durably. -ENOENT where there is none. */
int file_remove(const char *path, struct err *e);

/* Brings the folder that the file lies in to the disk, and so the name of a file that is new. */
int file_sync_folder(const char *path, struct err *e);

/* Makes the folder and those above it, as far as they are missing. */
int folder_make(const char *path, mode_t mode, struct err *e);

/*
 * Opens (or makes) the file and takes an exclusive lock on it, waiting for those who hold it.
 * waiting, if not NULL, is called once before a wait, with the data given. Returns a descriptor
 * (close-on-exec); closing it gives the lock back.
 */
int file_lock(const char *path, void (*waiting)(void *data), void *data, struct err *e);
/* The same without waiting: -EBUSY where somebody holds it. */
int file_try_lock(const char *path, struct err *e);

#endif
