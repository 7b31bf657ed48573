/* SPDX-License-Identifier: MIT */
#include "portmirror/once_hold.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "portmirror/once.h"

static int identify_program(int fd, struct once_held *it)
{
	uint32_t map_id = 0;
	struct bpf_prog_info info = {.nr_map_ids = 1, .map_ids = (uintptr_t)&map_id};
	uint32_t len = sizeof(info);

	if (bpf_obj_get_info_by_fd(fd, &info, &len) < 0)
		return -errno;
	if (map_id == 0)
		return -ENOENT;
	*it = (struct once_held){.id = info.id, .map_id = map_id, .fd = fd};
	return 0;
}

static int identify_map(int fd, struct once_held *it)
{
	struct bpf_map_info info = {0};
	uint32_t len = sizeof(info);

	if (bpf_obj_get_info_by_fd(fd, &info, &len) < 0)
		return -errno;
	*it = (struct once_held){.id = info.id, .fd = fd};
	return 0;
}

static struct once_held *find(struct once_held *items, size_t count, uint32_t id)
{
	for (size_t i = 0; i < count; i++)
		if (items[i].id == id)
			return &items[i];
	return NULL;
}

static int add(struct once_hold *hold, bool program, const struct once_held *it)
{
	struct once_held **items = program ? &hold->programs : &hold->maps;
	size_t *count = program ? &hold->nprograms : &hold->nmaps;

	if (array_room(items, program ? &hold->programs_room : &hold->maps_room, *count,
		       sizeof(**items)) < 0)
		return -ENOMEM;
	(*items)[(*count)++] = *it;
	if (hold->told)
		hold->told(true, program, it, hold->data);
	return it->fd;
}

static void let_go(struct once_hold *hold, bool program, const struct once_held *it)
{
	if (hold->told)
		hold->told(false, program, it, hold->data);
	fd_close_at(&it->fd);
}

int once_hold_take(struct once_hold *hold, bool program, int fd)
{
	struct once_held it = {0};
	int r = program ? identify_program(fd, &it) : identify_map(fd, &it);

	if (r == 0)
		r = add(hold, program, &it);
	if (r < 0)
		close(fd);
	return r;
}

int once_hold_program(struct once_hold *hold, uint32_t id)
{
	const struct once_held *it = find(hold->programs, hold->nprograms, id);
	int fd;

	if (it)
		return it->fd;
	fd = bpf_prog_get_fd_by_id(id);
	return fd < 0 ? -errno : once_hold_take(hold, true, fd);
}

int once_hold_map(struct once_hold *hold, uint32_t id)
{
	const struct once_held *it = find(hold->maps, hold->nmaps, id);
	int fd;

	if (it)
		return it->fd;
	fd = bpf_map_get_fd_by_id(id);
	return fd < 0 ? -errno : once_hold_take(hold, false, fd);
}

/* For a look only: nothing is kept. */
static int look_up(uint32_t program_id, uint32_t *map_id)
{
	int fd cleanup(fd_close_at) = bpf_prog_get_fd_by_id(program_id);
	struct once_held it = {0};
	int r = fd < 0 ? -errno : identify_program(fd, &it);

	if (r == 0)
		*map_id = it.map_id;
	return r;
}

int once_hold_map_of(struct once_hold *hold, uint32_t program_id, uint32_t *map_id)
{
	const struct once_held *it = find(hold->programs, hold->nprograms, program_id);
	int r;

	if (!it && !hold->lasting)
		return look_up(program_id, map_id);
	if (!it) {
		r = once_hold_program(hold, program_id);
		if (r < 0)
			return r;
		it = find(hold->programs, hold->nprograms, program_id);
	}
	/* A map that can't be had is of no use: no further program could share it. */
	r = it ? once_hold_map(hold, it->map_id) : -ENOENT;
	if (r < 0)
		return r;
	*map_id = it->map_id;
	return 0;
}

int once_hold_load(struct once_hold *hold, const struct once_program *program, int map_fd,
		   struct err *e)
{
	int fd = once_load(program, map_fd, e);
	int r = fd < 0 ? fd : once_hold_take(hold, true, fd);

	return fd >= 0 && r < 0 ? err_sys(e, r, "can't keep a loaded program") : r;
}

int once_hold_new_map(struct once_hold *hold, struct err *e)
{
	int fd = once_map_create(e);
	int r = fd < 0 ? fd : once_hold_take(hold, false, fd);

	return fd >= 0 && r < 0 ? err_sys(e, r, "can't keep a new map") : r;
}

static bool map_in_use(const struct once_hold *hold, uint32_t id)
{
	for (size_t i = 0; i < hold->nprograms; i++)
		if (hold->programs[i].map_id == id)
			return true;
	return false;
}

void once_hold_keep(struct once_hold *hold, bool (*needed)(uint32_t id, const void *data),
		    const void *data)
{
	size_t kept = 0;

	for (size_t i = 0; i < hold->nprograms; i++) {
		if (needed(hold->programs[i].id, data))
			hold->programs[kept++] = hold->programs[i];
		else
			let_go(hold, true, &hold->programs[i]);
	}
	hold->nprograms = kept;
	kept = 0;
	for (size_t i = 0; i < hold->nmaps; i++) {
		if (map_in_use(hold, hold->maps[i].id))
			hold->maps[kept++] = hold->maps[i];
		else
			let_go(hold, false, &hold->maps[i]);
	}
	hold->nmaps = kept;
}

void once_hold_free(struct once_hold *hold)
{
	for (size_t i = 0; i < hold->nprograms; i++)
		fd_close_at(&hold->programs[i].fd);
	for (size_t i = 0; i < hold->nmaps; i++)
		fd_close_at(&hold->maps[i].fd);
	free(hold->programs);
	free(hold->maps);
	*hold = (struct once_hold){
		.lasting = hold->lasting, .told = hold->told, .data = hold->data};
}
