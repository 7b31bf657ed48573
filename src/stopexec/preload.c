/* SPDX-License-Identifier: MIT */
#include "stopexec/preload.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/file.h"
#include "base/mem.h"

enum { LIBRARY_MOST = 1 << 20 };

static const char mark[] = "hostkit stop.so ";

static void path_in(char path[PATH_MAX], const char *folder)
{
	snprintf(path, PATH_MAX, "%s/stop.so", folder);
}

static int own_folder(char folder[256], struct err *e)
{
	Dl_info libc;
	char real[PATH_MAX];

	if (dladdr(stdout, &libc) == 0 || realpath(libc.dli_fname, real) == NULL ||
	    strlen(real) >= 256)
		return err_set(
			e, -ENOENT,
			"The folder of the C library that stopexec runs with can't be found");
	*strrchr(real, '/') = '\0';
	snprintf(folder, 256, "%.255s", real);
	return 0;
}

int preload_places(struct preload_place places[PRELOAD_KINDS], struct err *e)
{
	static const char *const narrow[] = {"/usr/lib/i386-linux-gnu", "/usr/lib32"};

	for (size_t i = 0; i < PRELOAD_KINDS; i++)
		places[i] = (struct preload_place){.kind = i == 0 ? "64-bit" : "32-bit"};
	if (own_folder(places[0].folder, e) < 0)
		return -ENOENT;
	for (size_t i = 0; i < COUNT(narrow) && places[1].folder[0] == '\0'; i++) {
		char libc[PATH_MAX];

		snprintf(libc, sizeof(libc), "%s/libc.so.6", narrow[i]);
		if (access(libc, R_OK) == 0)
			snprintf(places[1].folder, sizeof(places[1].folder), "%s", narrow[i]);
	}
	return 0;
}

int preload_state(const char *folder, struct preload_state *state, struct err *e)
{
	char *data cleanup(free_at) = NULL;
	struct preload_state got = {0};
	char path[PATH_MAX];
	struct stat st;
	size_t len;
	int result;

	path_in(path, folder);
	if (lstat(path, &st) < 0) {
		if (errno != ENOENT)
			return err_sys(e, -errno, "%s can't be looked at", path);
		*state = got;
		return 0;
	}
	got.there = true;
	got.mode = st.st_mode & 07777;
	got.owner = st.st_uid;
	got.group = st.st_gid;
	got.active = S_ISREG(st.st_mode) && (st.st_mode & S_ISUID) != 0;
	if (S_ISREG(st.st_mode)) {
		result = file_read(path, LIBRARY_MOST, &data, &len, NULL);
		got.ours = result == 0 && memmem(data, len, mark, sizeof(mark) - 1) != NULL;
		got.hidden = result == -EACCES;
	}
	*state = got;
	return 0;
}

static int check_one_folder(const char *folder, struct err *e)
{
	struct stat st;

	if (stat(folder, &st) < 0)
		return err_sys(e, -errno, "%s can't be looked at", folder);
	if (!S_ISDIR(st.st_mode))
		return err_set(e, -ENOTDIR, "%s is no folder", folder);
	if (st.st_uid != 0 || (st.st_mode & (S_IWGRP | S_IWOTH)) != 0)
		return err_set(e, -EPERM,
			       "%s can be changed by others than root: a set-user-ID library is "
			       "not safe there",
			       folder);
	return 0;
}

int preload_check_folder(const char *folder, struct err *e)
{
	char path[PATH_MAX];
	struct preload_state state = {0};
	int result = check_one_folder("/", e);

	snprintf(path, sizeof(path), "%s", folder);
	while (result == 0 && path[0] != '\0') {
		result = check_one_folder(path, e);
		*strrchr(path, '/') = '\0';
	}
	if (result == 0)
		result = preload_state(folder, &state, e);
	if (result == 0 && state.there && !state.ours)
		return err_set(e, -EPERM,
			       "%s/stop.so is there already, and is not the stop.so of stopexec",
			       folder);
	return result;
}

static int read_source(const char *source, char **data, size_t *len, struct err *e)
{
	int result = file_read(source, LIBRARY_MOST, data, len, e);

	if (result == 0 && (*data == NULL || memmem(*data, *len, mark, sizeof(mark) - 1) == NULL))
		return err_set(e, -EINVAL, "%s is not the stop.so of stopexec", source);
	return result;
}

int preload_check_source(const char *source, struct err *e)
{
	char *data cleanup(free_at) = NULL;
	size_t len = 0;

	return read_source(source, &data, &len, e);
}

int preload_check_group(gid_t group, struct err *e)
{
	static const char *const everybody[] = {"root", "nogroup", "nobody", "users"};
	const struct group *entry = getgrgid(group);
	const struct passwd *user;
	bool primary = false;

	if (entry == NULL)
		return err_set(e, -ENOENT, "There is no group %u", group);
	for (size_t i = 0; i < COUNT(everybody); i++)
		if (strcmp(entry->gr_name, everybody[i]) == 0)
			return err_set(
				e, -EPERM,
				"The group %s is no group of its own: whoever is in it could "
				"stop SUID programs",
				entry->gr_name);
	setpwent();
	while (!primary && (user = getpwent()) != NULL)
		primary = user->pw_gid == group;
	endpwent();
	if (primary)
		return err_set(e, -EPERM,
			       "Group %u is the primary group of a user: make one of its own "
			       "(groupadd --system stopexec)",
			       group);
	return 0;
}

static int write_library(const char *path, const char *data, size_t len, gid_t group, struct err *e)
{
	char temporary[PATH_MAX + 16];
	int fd cleanup(fd_close_at) = -1;
	int result = 0;

	snprintf(temporary, sizeof(temporary), "%s.new", path);
	unlink(temporary);
	fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return err_sys(e, -errno, "%s can't be written", temporary);
	errno = ENOSPC; /* write(2) does not say why it takes only a part */
	/* The mode last: chown and write take the set-user-ID bit away. */
	if (write(fd, data, len) != (ssize_t)len || fchown(fd, 0, group) < 0 ||
	    fchmod(fd, PRELOAD_MODE) < 0 || fsync(fd) < 0 || rename(temporary, path) < 0) {
		result = err_sys(e, -errno, "%s can't be written", path);
		unlink(temporary);
	}
	return result;
}

int preload_install(const char *source, const char *folder, gid_t group, struct err *e)
{
	char *data cleanup(free_at) = NULL;
	char path[PATH_MAX];
	size_t len = 0;
	int result = preload_check_folder(folder, e);

	if (result == 0)
		result = preload_check_group(group, e);
	if (result == 0)
		result = read_source(source, &data, &len, e);
	if (result < 0)
		return result;
	path_in(path, folder);
	return write_library(path, data, len, group, e);
}

int preload_remove(const char *folder, struct err *e)
{
	struct preload_state state = {0};
	char path[PATH_MAX];
	int result = preload_state(folder, &state, e);

	if (result < 0)
		return result;
	path_in(path, folder);
	if (!state.there)
		return err_set(e, -ENOENT, "%s is not there", path);
	if (!state.ours)
		return err_set(e, -EPERM, "%s is not the stop.so of stopexec, and stays", path);
	return file_remove(path, e);
}
