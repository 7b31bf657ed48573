/* SPDX-License-Identifier: MIT */
#include "stopexec/record.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/file.h"
#include "base/mem.h"
#include "stopexec/proc.h"

enum { RECORD_MOST = 256 };

static void path_of(char path[PATH_MAX], const char *folder, pid_t pid, int64_t deadline)
{
	snprintf(path, PATH_MAX, "%s/%d.%" PRId64, folder, pid, deadline);
}

/* Of one that is being written: no record's name. */
static void fresh_path_of(char path[PATH_MAX], const char *folder, pid_t pid, int64_t deadline)
{
	snprintf(path, PATH_MAX, "%s/.%d.%" PRId64, folder, pid, deadline);
}

/* From its name; 0: it is none. */
static pid_t pid_of(const char *name)
{
	long pid = strtol(name, NULL, 10);

	return pid > 0 && pid <= INT_MAX ? (pid_t)pid : 0;
}

/* Where that fails, a former one is listed too. */
static void remove_others(const char *folder, pid_t pid, const char *own)
{
	DIR *open = opendir(folder);
	const struct dirent *entry;

	while (open != NULL && (entry = readdir(open)) != NULL)
		if (pid_of(entry->d_name) == pid && strcmp(entry->d_name, own) != 0)
			unlinkat(dirfd(open), entry->d_name, 0);
	if (open != NULL)
		closedir(open);
}

int record_write(const char *folder, const struct record *record, struct err *e)
{
	char path[PATH_MAX], fresh[PATH_MAX], text[RECORD_MOST];
	int len, fd, result;

	result = folder_make(folder, 0755, e);
	if (result < 0)
		return result;
	path_of(path, folder, record->pid, record->deadline);
	fresh_path_of(fresh, folder, record->pid, record->deadline);
	len = snprintf(text, sizeof(text), "%d %" PRIu64 " %u %" PRId64 " %d\n", record->pid,
		       record->start, record->by, record->deadline, record->waits);
	/* Of no worth after a crash of the machine, so without the fsync of file_write(). */
	fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
	if (fd < 0)
		return err_sys(e, -errno, "%s can't be written", path);
	result = write(fd, text, (size_t)len) == len ? 0 : -EIO;
	close(fd);
	if (result == 0 && rename(fresh, path) < 0)
		result = -errno;
	if (result < 0) {
		unlink(fresh);
		return err_sys(e, result, "%s can't be written", path);
	}
	remove_others(folder, record->pid, path + strlen(folder) + 1);
	return 0;
}

int record_parse(const char *text, size_t len, struct record *record)
{
	char copy[RECORD_MOST];
	struct record got;
	char *at = copy;
	unsigned long long numbers[5];

	if (len >= sizeof(copy))
		return -EPROTO;
	memcpy(copy, text, len);
	copy[len] = '\0';
	for (size_t i = 0; i < COUNT(numbers); i++) {
		char *behind;

		errno = 0;
		numbers[i] = strtoull(at, &behind, 10);
		if (behind == at || errno != 0)
			return -EPROTO;
		at = behind;
	}
	if (strcmp(at, "\n") != 0 || numbers[0] == 0 || numbers[0] > INT_MAX ||
	    numbers[2] > UINT_MAX || numbers[3] > INT64_MAX || numbers[4] > INT_MAX)
		return -EPROTO;
	got = (struct record){(pid_t)numbers[0], numbers[1], (uid_t)numbers[2], (int64_t)numbers[3],
			      (pid_t)numbers[4]};
	*record = got;
	return 0;
}

/* -ENOENT: it is none, or of a process that has ended. */
static int read_one(int folder, const char *name, struct record *record)
{
	char *text cleanup(free_at) = NULL;
	struct record got;
	uint64_t start;
	size_t len;
	int result;

	if (pid_of(name) == 0)
		return -ENOENT;
	result = file_read_at(folder, name, RECORD_MOST, &text, &len, NULL);
	if (result < 0)
		return result;
	if (record_parse(text, len, &got) < 0 || got.pid != pid_of(name))
		return -ENOENT;
	result = proc_start(got.pid, &start);
	if (result < 0)
		return result == -ESRCH ? -ENOENT : result;
	if (start != got.start)
		return -ENOENT;
	*record = got;
	return 0;
}

int record_read(const char *folder, pid_t pid, struct record *record)
{
	DIR *open = opendir(folder);
	const struct dirent *entry;
	int result = open == NULL ? -errno : -ENOENT;

	while (result == -ENOENT && open != NULL && (entry = readdir(open)) != NULL)
		if (pid_of(entry->d_name) == pid)
			result = read_one(dirfd(open), entry->d_name, record);
	if (open != NULL)
		closedir(open);
	return result;
}

bool record_is_there(const char *folder, pid_t pid, int64_t deadline)
{
	char path[PATH_MAX];

	path_of(path, folder, pid, deadline);
	return access(path, F_OK) == 0 || errno != ENOENT;
}

void record_remove(const char *folder, pid_t pid, int64_t deadline)
{
	char path[PATH_MAX];

	path_of(path, folder, pid, deadline);
	unlink(path);
	fresh_path_of(path, folder, pid, deadline); /* where whoever wrote it was killed */
	unlink(path);
}

static int by_pid(const void *one, const void *other)
{
	pid_t a = ((const struct record *)one)->pid;
	pid_t b = ((const struct record *)other)->pid;

	return (a > b) - (a < b);
}

int record_all(const char *folder, struct record **records, size_t *count, struct err *e)
{
	struct record *all cleanup(free_at) = NULL;
	size_t room = 0, n = 0;
	DIR *open = opendir(folder);
	const struct dirent *entry;
	int result = 0;

	if (open == NULL && errno != ENOENT)
		return err_sys(e, -errno, "%s can't be read", folder);
	while (open != NULL && result == 0 && (entry = readdir(open)) != NULL) {
		struct record record;

		result = read_one(dirfd(open), entry->d_name, &record);
		if (result == 0)
			result = array_room(&all, &room, n, sizeof(*all));
		if (result == 0)
			all[n++] = record;
		if (result == -ENOENT)
			result = 0;
	}
	if (open != NULL)
		closedir(open);
	if (result < 0)
		return err_sys(e, result, "The records of %s can't be listed", folder);
	if (n > 0)
		qsort(all, n, sizeof(*all), by_pid);
	*records = take(all);
	*count = n;
	return 0;
}
