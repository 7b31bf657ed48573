/* SPDX-License-Identifier: MIT */
#include "bpf/pin.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <bpf/bpf.h>

#include "base/err.h"
#include "base/file.h"
#include "base/mem.h"
#include "bpf/tcx.h"

#ifndef BPF_FS_MAGIC
#define BPF_FS_MAGIC 0xcafe4a11
#endif
#define BEING_MADE ",new"

int pin_house(uint32_t house, char path[PIN_PATH], struct err *e)
{
	struct stat st;

	if (stat("/proc/self/ns/net", &st) < 0)
		return err_sys(e, -errno, "/proc/self/ns/net");
	snprintf(path, PIN_PATH, "%s/%08x-%llu", PIN_ROOT, house, (unsigned long long)st.st_ino);
	return 0;
}

static void exchange(char *text, char from, char to)
{
	for (; *text; text++)
		if (*text == from)
			*text = to;
}

void pin_path(const char *house, const char *session, const char *name, char path[PIN_PATH])
{
	char folder[PIN_NAME + 1];

	snprintf(folder, sizeof(folder), "%s%s", session, *session ? "/" : "");
	exchange(folder, '.', '+');
	snprintf(path, PIN_PATH, "%s/%s%s", house, folder, name);
}

/* The BPF file system's own folder is everybody's by the kernel's default, as /tmp is: who made
 * ours could lead us to where others' programs are pinned. */
static bool is_somebodys(const char *folder)
{
	struct stat st;

	return lstat(folder, &st) == 0 &&
	       (!S_ISDIR(st.st_mode) || (st.st_uid != 0 && st.st_uid != geteuid()) ||
		st.st_mode & (S_IWGRP | S_IWOTH));
}

int pin_check(struct err *e)
{
	struct statfs fs;

	if (statfs(PIN_FS, &fs) < 0)
		return err_sys(e, errno == ENOENT ? -ENODEV : -errno,
			       "%s, where the BPF file system belongs", PIN_FS);
	if ((unsigned long)fs.f_type != BPF_FS_MAGIC)
		return err_set(e, -ENODEV,
			       "no BPF file system is mounted at %s, where the engine's programs "
			       "must be kept: mount -t bpf -o mode=700 bpf %s",
			       PIN_FS, PIN_FS);
	if (is_somebodys(PIN_ROOT))
		return err_set(e, -ENODEV,
			       "%s is another user's, or others may write there: remove it",
			       PIN_ROOT);
	return 0;
}

static int make_folders(const char *path, struct err *e)
{
	char folder[PIN_PATH];
	int r, tries = 10;

	snprintf(folder, sizeof(folder), "%s", path);
	*strrchr(folder, '/') = '\0';
	do { /* who removes the last pin of another house takes PIN_ROOT from under us */
		r = folder_make(folder, 0700, e);
	} while (r == -ENOENT && --tries > 0);
	return r;
}

int pin_put(int fd, const char *path, struct err *e)
{
	char making[PIN_PATH + sizeof(BEING_MADE)];
	int r = pin_check(e);

	if (r == 0)
		r = make_folders(path, e);
	if (r == 0)
		r = pin_check(e); /* somebody may have been quicker to make ours */
	if (r < 0)
		return r;
	snprintf(making, sizeof(making), "%s%s", path, BEING_MADE);
	if (unlink(making) < 0 && errno != ENOENT)
		return err_sys(e, -errno, "%s", making);
	r = bpf_obj_pin(fd, making);
	if (r < 0)
		return err_sys(e, r, "can't pin %s", path);
	if (rename(making, path) == 0)
		return 0;
	r = -errno;
	(void)unlink(making);
	return err_sys(e, r, "can't pin %s", path);
}

int pin_open(const char *path, struct err *e)
{
	int fd = bpf_obj_get(path);

	if (fd == -ENOENT)
		return fd;
	return fd < 0 ? err_sys(e, fd, "can't open %s", path) : fd;
}

int pin_drop(const char *path, struct err *e)
{
	char folder[PIN_PATH];

	if (path[strlen(path) - 1] != '/' && unlink(path) < 0 && errno != ENOENT)
		return err_sys(e, -errno, "%s", path);
	snprintf(folder, sizeof(folder), "%s", path);
	while (strlen(folder) > strlen(PIN_ROOT)) {
		*strrchr(folder, '/') = '\0';
		if (rmdir(folder) == 0 || errno == ENOENT)
			continue;
		if (errno == ENOTEMPTY || strcmp(folder, PIN_ROOT) == 0)
			break; /* others are in it, or above it */
		return err_sys(e, -errno, "%s", folder);
	}
	return 0;
}

void pin_tidy(void)
{
	(void)rmdir(PIN_ROOT);
}

int pin_drop_link(const char *path, struct err *e)
{
	int fd cleanup(fd_close_at) = pin_open(path, e);
	int r = fd == -ENOENT ? 0 : fd;

	if (fd >= 0)
		r = bpf_link_detach(fd);
	if (r < 0 && r != -ENOLINK) /* its device has gone */
		return err_sys(e, r, "can't detach %s", path);
	return pin_drop(path, e);
}

static int by_id(const void *a, const void *b)
{
	const uint32_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

static int see_program(int fd, struct pin *pin)
{
	struct bpf_prog_info info = {.nr_map_ids = PIN_MAPS, .map_ids = (uintptr_t)pin->maps};
	uint32_t len = sizeof(info);
	int r = bpf_obj_get_info_by_fd(fd, &info, &len);

	if (r < 0)
		return r;
	pin->kind = PIN_PROGRAM;
	pin->id = info.id;
	pin->nmaps = info.nr_map_ids < PIN_MAPS ? info.nr_map_ids : PIN_MAPS;
	qsort(pin->maps, pin->nmaps, sizeof(pin->maps[0]), by_id);
	return 0;
}

static int see_map(int fd, struct pin *pin)
{
	struct bpf_map_info info = {0};
	uint32_t len = sizeof(info);
	int r = bpf_obj_get_info_by_fd(fd, &info, &len);

	pin->kind = PIN_MAP;
	pin->id = info.id;
	return r;
}

static int see_link(int fd, struct pin *pin)
{
	struct tcx_link link;
	int r = tcx_look(fd, &link);

	if (r < 0)
		return r;
	pin->kind = PIN_LINK;
	pin->id = link.id;
	pin->ifindex = link.ifindex;
	pin->egress = link.egress;
	pin->program = link.program;
	return 0;
}

/* What kind of object a descriptor is only its name in /proc tells. */
static int see(int fd, struct pin *pin)
{
	static const struct {
		const char *name;
		int (*see)(int fd, struct pin *pin);
	} kinds[] = {
		{"anon_inode:bpf-map", see_map},
		{"anon_inode:bpf-prog", see_program},
		{"anon_inode:bpf_link", see_link},
		{"anon_inode:bpf-link", see_link},
	};
	char path[40], name[40] = "";

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (readlink(path, name, sizeof(name) - 1) < 0)
		return -errno;
	for (size_t i = 0; i < COUNT(kinds); i++)
		if (strcmp(name, kinds[i].name) == 0)
			return kinds[i].see(fd, pin);
	return -EBADMSG;
}

static int add(struct pins *pins, const char *path, const char *session, const char *name,
	       struct err *e)
{
	int fd cleanup(fd_close_at) = pin_open(path, e);
	struct pin pin = {0};
	int r;

	if (fd == -ENOENT)
		return 0; /* it has just gone */
	if (fd < 0)
		return fd;
	r = see(fd, &pin);
	if (r < 0)
		return err_sys(e, r, "can't look at %s", path);
	if ((size_t)snprintf(pin.session, sizeof(pin.session), "%s", session) >= PIN_NAME ||
	    (size_t)snprintf(pin.name, sizeof(pin.name), "%s", name) >= PIN_NAME)
		return err_set(e, -ENAMETOOLONG, "%s is no pin of portmirror's", path);
	exchange(pin.session, '+', '.');
	if (array_room(&pins->items, &pins->room, pins->count, sizeof(pin)) < 0)
		return err_set(e, -ENOMEM, "out of memory");
	pins->items[pins->count++] = pin;
	return 0;
}

static int add_folder(struct pins *pins, const char *session)
{
	struct pin pin = {.kind = PIN_FOLDER};

	snprintf(pin.session, sizeof(pin.session), "%.*s", PIN_NAME - 1, session);
	exchange(pin.session, '+', '.');
	if (array_room(&pins->items, &pins->room, pins->count, sizeof(pin)) < 0)
		return -ENOMEM;
	pins->items[pins->count++] = pin;
	return 0;
}

static void dir_close_at(DIR **dir)
{
	if (*dir)
		closedir(*dir);
}

static int look_into(const char *house, const char *session, struct pins *pins, struct err *e)
{
	DIR *dir cleanup(dir_close_at) = NULL;
	char path[PIN_PATH];
	struct dirent *entry;
	bool empty = true;
	int r = 0;

	snprintf(path, sizeof(path), "%s/%s", house, session);
	dir = opendir(path);
	if (!dir)
		return errno == ENOENT ? 0 : err_sys(e, -errno, "%s", path);
	while (r == 0) {
		const char *name;

		errno = 0;
		entry = readdir(dir);
		if (!entry && errno)
			return err_sys(e, -errno, "%s", path);
		if (!entry)
			break;
		name = entry->d_name;
		if (name[0] == '.')
			continue;
		empty = false;
		if (entry->d_type == DT_DIR && *session == '\0') {
			r = look_into(house, name, pins, e);
		} else if (entry->d_type != DT_DIR) {
			pin_path(house, session, name, path);
			r = add(pins, path, session, name, e);
		}
	}
	if (r == 0 && empty && add_folder(pins, session) < 0)
		r = err_set(e, -ENOMEM, "out of memory");
	return r;
}

static int by_name(const void *a, const void *b)
{
	const struct pin *x = a, *y = b;
	int r = strcmp(x->session, y->session);

	return r ? r : strcmp(x->name, y->name);
}

int pins_look(const char *house, struct pins *pins, struct err *e)
{
	struct pins found = {0};
	int r = pin_check(e);

	if (r == 0)
		r = look_into(house, "", &found, e);
	else if (r == -ENODEV)
		r = 0;
	if (r < 0) {
		pins_free(&found);
		return r;
	}
	if (found.count > 0)
		qsort(found.items, found.count, sizeof(*found.items), by_name);
	*pins = found;
	return 0;
}

void pins_free(struct pins *pins)
{
	free(pins->items);
	*pins = (struct pins){0};
}

const struct pin *pins_find(const struct pins *pins, const char *session, const char *name)
{
	size_t low = 0, high = pins->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		const struct pin *pin = &pins->items[middle];
		int r = strcmp(pin->session, session);

		if (r == 0)
			r = strcmp(pin->name, name);
		if (r == 0)
			return pin;
		if (r < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}
