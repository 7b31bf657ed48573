/* SPDX-License-Identifier: MIT */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"

/* The size is not asked for first: files of /proc say 0, and others may grow meanwhile. */
static int read_all(int fd, size_t max, struct buf *b)
{
	char chunk[16384];
	ssize_t n;

	while ((n = read(fd, chunk, sizeof(chunk))) != 0) {
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0 && (size_t)n > max - b->len)
			return -EFBIG;
		if (n > 0)
			buf_add(b, chunk, (size_t)n);
	}
	return buf_status(b);
}

int file_read_at(int folder, const char *name, size_t max, char **data, size_t *len, struct err *e)
{
	int fd cleanup(fd_close_at) = openat(folder, name, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	struct buf b cleanup(buf_free) = {0};
	size_t total;
	char *text;
	int code;

	if (fd < 0)
		return err_sys(e, -errno, "can't open %s", name);
	code = read_all(fd, max, &b);
	if (code == -EFBIG)
		return err_set(e, code, "%s is larger than %zu bytes", name, max);
	if (code < 0)
		return err_sys(e, code, "can't read %s", name);
	total = b.len;
	text = buf_take(&b);
	if (!text)
		return err_sys(e, -ENOMEM, "can't read %s", name);
	*data = text;
	*len = total;
	return 0;
}

int file_read(const char *path, size_t max, char **data, size_t *len, struct err *e)
{
	return file_read_at(AT_FDCWD, path, max, data, len, e);
}

/* Opens the folder in which path has basename(path), glibc's one. */
static int open_parent(const char *path)
{
	const char *slash = strrchr(path, '/');
	char *folder cleanup(free_at) = NULL;
	int fd;

	if (slash && slash[1] == '\0')
		return -EISDIR;
	if (!slash)
		folder = strdup(".");
	else
		folder = strndup(path, slash == path ? 1 : (size_t)(slash - path));
	if (!folder)
		return -ENOMEM;
	fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* A rename or removal lasts once its folder is on the disk. EINVAL: a file system whose folders
 * can't be synced (fsync(2)); there is nothing more that could be done. */
static int sync_folder(int folder)
{
	return fsync(folder) < 0 && errno != EINVAL ? -errno : 0;
}

static int write_all(int fd, const char *data, size_t len)
{
	while (len > 0) {
		ssize_t n = write(fd, data, len);

		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0) {
			data += n;
			len -= (size_t)n;
		}
	}
	return 0;
}

/* Creates a file of a name that nobody has yet, of 64 random bits. The dot hides it from those who
 * list the folder after a crash left it behind. */
static int make_temporary(int folder, char name[32])
{
	uint64_t random;
	int fd;

	if (getrandom(&random, sizeof(random), 0) != sizeof(random))
		return -EIO;
	(void)snprintf(name, 32, ".tmp-%016" PRIx64, random);
	fd = openat(folder, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	return fd < 0 ? -errno : fd;
}

/* Whose the file is that is replaced; NULL: ours. Who may not give files away keeps it. */
static int fill(int fd, const void *data, size_t len, mode_t mode, const struct stat *whose)
{
	int code = write_all(fd, data, len);
	bool given;

	if (code < 0)
		return code;
	given = !whose || fchown(fd, whose->st_uid, whose->st_gid) == 0 || errno == EPERM;
	return !given || fchmod(fd, mode) < 0 || fsync(fd) < 0 ? -errno : 0;
}

static int replace(int folder, const char *name, const void *data, size_t len, mode_t mode,
		   const struct stat *whose)
{
	int fd cleanup(fd_close_at) = -1;
	char temporary[32];
	int code;

	fd = make_temporary(folder, temporary);
	if (fd < 0)
		return fd;
	code = fill(fd, data, len, mode, whose);
	if (code == 0 && renameat(folder, temporary, folder, name) < 0)
		code = -errno;
	if (code < 0) {
		(void)unlinkat(folder, temporary, 0);
		return code;
	}
	return sync_folder(folder);
}

static int write_as(const char *path, const void *data, size_t len, mode_t mode,
		    const struct stat *whose, struct err *e)
{
	int folder cleanup(fd_close_at) = -1;
	int code;

	folder = open_parent(path);
	code = folder < 0 ? folder : replace(folder, basename(path), data, len, mode, whose);
	return code < 0 ? err_sys(e, code, "can't write %s", path) : 0;
}

int file_write(const char *path, const void *data, size_t len, mode_t mode, struct err *e)
{
	return write_as(path, data, len, mode, NULL, e);
}

int file_rewrite(const char *path, const void *data, size_t len, mode_t mode, struct err *e)
{
	char *real cleanup(free_at) = realpath(path, NULL);
	struct stat st;

	if (!real && errno != ENOENT)
		return err_sys(e, -errno, "can't write %s", path);
	if (!real || stat(real, &st) < 0 || !S_ISREG(st.st_mode)) /* a link to /dev/null, say */
		return file_write(path, data, len, mode, e);
	return write_as(real, data, len, st.st_mode & 07777, &st, e);
}

int file_remove(const char *path, struct err *e)
{
	int folder cleanup(fd_close_at) = -1;
	int code;

	folder = open_parent(path);
	if (folder < 0)
		code = folder;
	else
		code = unlinkat(folder, basename(path), 0) < 0 ? -errno : sync_folder(folder);
	return code < 0 ? err_sys(e, code, "can't remove %s", path) : 0;
}

int file_sync_folder(const char *path, struct err *e)
{
	int folder cleanup(fd_close_at) = open_parent(path);
	int code = folder < 0 ? folder : sync_folder(folder);

	if (code == -EACCES) /* it may be written to, but not read: as with EINVAL above */
		code = 0;
	return code < 0 ? err_sys(e, code, "can't sync the folder of %s", path) : 0;
}

int folder_make(const char *path, mode_t mode, struct err *e)
{
	char *upper cleanup(free_at) = strdup(path);
	struct stat st;

	if (!upper)
		return err_sys(e, -ENOMEM, "can't make the folder %s", path);
	for (size_t i = 1; i <= strlen(path); i++) {
		if (path[i] != '/' && path[i] != '\0')
			continue;
		upper[i] = '\0';
		if (mkdir(upper, mode) < 0 && errno != EEXIST)
			return err_sys(e, -errno, "can't make the folder %s", upper);
		upper[i] = path[i];
	}
	if (stat(path, &st) < 0)
		return err_sys(e, -errno, "can't make the folder %s", path);
	if (!S_ISDIR(st.st_mode))
		return err_sys(e, -ENOTDIR, "can't make the folder %s", path);
	return 0;
}

/* Opens the file and tries: *held tells whether the lock is ours. */
static int open_lock(const char *path, bool *held, struct err *e)
{
	int fd cleanup(fd_close_at) =
		open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY, 0600);

	if (fd < 0)
		return err_sys(e, -errno, "can't open the lock %s", path);
	*held = flock(fd, LOCK_EX | LOCK_NB) == 0;
	if (!*held && errno != EWOULDBLOCK)
		return err_sys(e, -errno, "can't lock %s", path);
	return fd_take(&fd);
}

int file_lock(const char *path, void (*waiting)(void *data), void *data, struct err *e)
{
	bool held = false;
	int fd cleanup(fd_close_at) = open_lock(path, &held, e);

	if (fd < 0 || held)
		return fd_take(&fd);
	if (waiting)
		waiting(data);
	if (flock(fd, LOCK_EX) < 0)
		return err_sys(e, -errno, "can't lock %s", path);
	return fd_take(&fd);
}

int file_try_lock(const char *path, struct err *e)
{
	bool held = false;
	int fd cleanup(fd_close_at) = open_lock(path, &held, e);

	if (fd >= 0 && !held)
		return err_set(e, -EBUSY, "somebody else holds the lock %s", path);
	return fd_take(&fd);
}
