/* SPDX-License-Identifier: MIT */
#include "stopexec/cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/err.h"
#include "base/file.h"
#include "base/mem.h"

enum {
	ROOT_ID = 1, /* of the hierarchy's first folder (kernfs) */
	LEVELS = 256,
	SELF_MOST = 1 << 16,
};

/* Where systemd mounts it: alone, and beside version 1. */
static const char *const mounts[] = {"", "/sys/fs/cgroup", "/sys/fs/cgroup/unified"};

/* A group's id is the number of its folder (cgroup_id() in the kernel). */
static int open_folder(const char *mount, const char *path)
{
	char whole[PATH_MAX];
	struct statfs fs;
	int fd;

	if (snprintf(whole, sizeof(whole), "%s%s", mount, path) >= PATH_MAX)
		return -ENAMETOOLONG;
	fd = open(whole, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (fstatfs(fd, &fs) == 0 && fs.f_type == CGROUP2_SUPER_MAGIC)
		return fd;
	close(fd);
	return -ENOENT;
}

static int find(const char *path)
{
	int fd = -ENOENT;

	for (size_t i = 0; i < COUNT(mounts) && fd < 0; i++)
		fd = open_folder(mounts[i], path);
	return fd;
}

/* How far below the hierarchy's root; -EOPNOTSUPP where that can't be seen. */
static int level_of(int folder, const struct stat *st)
{
	int at cleanup(fd_close_at) = fcntl(folder, F_DUPFD_CLOEXEC, 0);
	struct stat now = *st;
	int level = 0;

	while (now.st_ino != ROOT_ID) {
		int up = openat(at, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

		if (up < 0)
			return -errno;
		close(at);
		at = up;
		if (fstat(at, &now) < 0)
			return -errno;
		if (now.st_dev != st->st_dev || ++level > LEVELS)
			return -EOPNOTSUPP;
	}
	return level;
}

int cgroup_find(const char *path, struct cgroup *cgroup, struct err *e)
{
	int fd cleanup(fd_close_at) = *path == '/' ? find(path) : -ENOENT;
	struct stat st;
	int level;

	if (fd < 0)
		return err_set(e, fd,
			       "There is no control group %s (a path as /proc/PID/cgroup shows it "
			       "behind \"0::\"; version 2 only)",
			       path);
	if (fstat(fd, &st) < 0)
		return err_sys(e, -errno, "The control group %s can't be looked at", path);
	level = level_of(fd, &st);
	if (level < 0)
		return err_sys(e, level,
			       "Where the control group %s stands can't be seen from here", path);
	*cgroup = (struct cgroup){.id = st.st_ino, .level = level};
	return 0;
}

bool cgroup_holds_self(const struct cgroup *cgroup)
{
	char *text cleanup(free_at) = NULL;
	char *own = NULL;
	size_t len;

	if (file_read("/proc/self/cgroup", SELF_MOST, &text, &len, NULL) == 0)
		own = strstr(text, "0::/");
	if (own == NULL)
		return false;
	own += strlen("0::");
	own[strcspn(own, "\n")] = '\0';
	/* the group itself, then each above it */
	for (;;) {
		int fd cleanup(fd_close_at) = find(*own != '\0' ? own : "/");
		char *slash = strrchr(own, '/');
		struct stat st;

		if (fd >= 0 && fstat(fd, &st) == 0 && st.st_ino == cgroup->id)
			return true;
		if (slash == NULL)
			return false;
		*slash = '\0';
	}
}
