/* SPDX-License-Identifier: MIT */
#include "bpf/copy_load.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "base/err.h"
#include "base/hash.h"
#include "base/mem.h"
#include "bpf/copy.h"
#include "bpf/load.h"
#include <copy.skel.h>
#include <cut.skel.h>

static const char *const names[] = {
	[COPY_MAP_CONFIG] = "config2", [COPY_MAP_BUDGET] = "budget", [COPY_MAP_PORTS] = "ports",
	[COPY_MAP_ONCE] = "once",      [COPY_MAP_CUT] = "cut",
};

/* What an older portmirror has pinned is found by name: another layout has another one. */
static_assert(sizeof(struct copy_config) == 160, "a map of another layout needs another name");

static void copy_free_at(struct copy_bpf **copy)
{
	copy_bpf__destroy(*copy);
}

static void cut_free_at(struct cut_bpf **cut)
{
	cut_bpf__destroy(*cut);
}

static uint32_t version(const void *object, size_t size)
{
	uint64_t hash = hash_bytes(HASH_START, object, size);

	return (uint32_t)(hash ^ hash >> 32);
}

uint32_t copy_version(void)
{
	size_t size;
	const void *object = copy_bpf__elf_bytes(&size);

	return version(object, size);
}

uint32_t cut_version(void)
{
	size_t size;
	const void *object = cut_bpf__elf_bytes(&size);

	return version(object, size);
}

const char *copy_map_name(enum copy_map which)
{
	return names[which];
}

/* Outlives the skeleton. */
static int keep(int fd)
{
	int kept = fcntl(fd, F_DUPFD_CLOEXEC, 3);

	return kept < 0 ? -errno : kept;
}

int copy_map_make(enum copy_map which, struct err *e)
{
	struct load load cleanup(load_free) = {0};
	struct copy_bpf *copy cleanup(copy_free_at) = NULL;
	LIBBPF_OPTS(bpf_map_create_opts, opts);
	const struct bpf_map *map;
	int fd;

	if (load_begin(&load))
		copy = copy_bpf__open_opts(load.opts);
	if (!copy)
		return err_set(e, -ENOMEM, "out of memory");
	map = bpf_object__find_map_by_name(copy->obj, names[which]);
	opts.map_flags = bpf_map__map_flags(map);
	fd = bpf_map_create(bpf_map__type(map), names[which], bpf_map__key_size(map),
			    bpf_map__value_size(map), bpf_map__max_entries(map), &opts);
	return fd < 0 ? load_refused(e, fd, "a map", "") : fd;
}

int copy_load(const int maps[COPY_MAPS], int programs[2], struct err *e)
{
	struct load load cleanup(load_free) = {0};
	struct copy_bpf *copy cleanup(copy_free_at) = NULL;
	int sent cleanup(fd_close_at) = -1;
	int r = 0;

	if (load_begin(&load))
		copy = copy_bpf__open_opts(load.opts);
	if (!copy)
		return err_set(e, -ENOMEM, "out of memory");
	for (int i = 0; i < COPY_MAPS && r == 0; i++)
		r = bpf_map__reuse_fd(bpf_object__find_map_by_name(copy->obj, names[i]), maps[i]);
	if (r < 0)
		return err_sys(e, r, "can't use the maps that there are");
	r = load_finish(&load, copy->obj, "the programs that copy frames", e);
	if (r < 0)
		return r;
	sent = keep(bpf_program__fd(copy->progs.copy_sent));
	r = sent < 0 ? sent : keep(bpf_program__fd(copy->progs.copy_received));
	if (r < 0)
		return err_sys(e, r, "can't keep a loaded program");
	programs[1] = r;
	programs[0] = fd_take(&sent);
	return 0;
}

int cut_load(int cut_map, struct err *e)
{
	struct load load cleanup(load_free) = {0};
	struct cut_bpf *cut cleanup(cut_free_at) = NULL;
	int r;

	if (load_begin(&load))
		cut = cut_bpf__open_opts(load.opts);
	if (!cut)
		return err_set(e, -ENOMEM, "out of memory");
	r = bpf_map__reuse_fd(cut->maps.cut, cut_map);
	if (r < 0)
		return err_sys(e, r, "can't use the map that there is");
	r = load_finish(&load, cut->obj, "the program that shortens copies", e);
	if (r < 0)
		return r;
	r = keep(bpf_program__fd(cut->progs.cut_copy));
	return r < 0 ? err_sys(e, r, "can't keep a loaded program") : r;
}
