/* SPDX-License-Identifier: MIT */
#include "bpf/inline_load.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "base/err.h"
#include "base/hash.h"
#include "base/mem.h"
#include "bpf/load.h"
#include <inline.skel.h>

static const char *const map_names[] = {
	[INLINE_MAP_STATE] = "state",	[INLINE_MAP_HEALTH] = "health",
	[INLINE_MAP_PROBES] = "probes", [INLINE_MAP_PORTS] = "ports",
	[INLINE_MAP_MACS] = "macs",	[INLINE_MAP_COUNTS] = "counts",
	[INLINE_MAP_FLOOD] = "flood",
};

static const char *const program_names[] = {
	[INLINE_FROM_MACHINE] = "from_machine",
	[INLINE_TO_MACHINE] = "to_machine",
	[INLINE_FROM_INSIDE] = "from_inside",
	[INLINE_FROM_OUTSIDE] = "from_outside",
};

static void inline_free_at(struct inline_bpf **object)
{
	inline_bpf__destroy(*object);
}

const char *inline_map_name(enum inline_map which)
{
	return map_names[which];
}

const char *inline_program_name(enum inline_program which)
{
	return program_names[which];
}

uint32_t inline_version(void)
{
	size_t size;
	const void *object = inline_bpf__elf_bytes(&size);
	uint64_t hash = hash_bytes(HASH_START, object, size);

	return (uint32_t)(hash ^ hash >> 32);
}

int inline_map_make(enum inline_map which, struct err *e)
{
	struct load load cleanup(load_free) = {0};
	struct inline_bpf *object cleanup(inline_free_at) = NULL;
	LIBBPF_OPTS(bpf_map_create_opts, opts);
	const struct bpf_map *map;
	int fd;

	if (load_begin(&load))
		object = inline_bpf__open_opts(load.opts);
	if (!object)
		return err_set(e, -ENOMEM, "out of memory");
	map = bpf_object__find_map_by_name(object->obj, map_names[which]);
	opts.map_flags = bpf_map__map_flags(map);
	fd = bpf_map_create(bpf_map__type(map), map_names[which], bpf_map__key_size(map),
			    bpf_map__value_size(map), bpf_map__max_entries(map), &opts);
	return fd < 0 ? load_refused(e, fd, "a map", "") : fd;
}

/* What is to stand in front of the programs that are loaded next. */
static struct {
	const struct bpf_insn *code;
	size_t count;
} front;

/*
 * libbpf calls this when a program's references to maps are resolved, just before it is loaded.
 * Jumps are relative: what stands in front moves none. Only the notes of which line of C an
 * instruction is from would be wrong.
 */
static int put_in_front(struct bpf_program *program, struct bpf_prog_load_opts *opts, long cookie)
{
	size_t own = bpf_program__insn_cnt(program), count = front.count + own;
	struct bpf_insn *all cleanup(free_at) = calloc(count, sizeof(*all));

	(void)cookie;
	if (!all)
		return -ENOMEM;
	memcpy(all, front.code, front.count * sizeof(*all));
	memcpy(all + front.count, bpf_program__insns(program), own * sizeof(*all));
	opts->line_info_cnt = 0;
	opts->func_info_cnt = 0;
	return bpf_program__set_insns(program, all, count);
}

/* Outlives the skeleton. */
static int keep(int fd)
{
	int kept = fcntl(fd, F_DUPFD_CLOEXEC, 3);

	return kept < 0 ? -errno : kept;
}

static int load_all(struct inline_bpf *object, const struct load *load, const int maps[INLINE_MAPS],
		    int programs[INLINE_PROGRAMS], struct err *e)
{
	int kept = 0, r = 0;

	for (int i = 0; i < INLINE_MAPS && r == 0; i++)
		r = bpf_map__reuse_fd(bpf_object__find_map_by_name(object->obj, map_names[i]),
				      maps[i]);
	if (r < 0)
		return err_sys(e, r, "can't use the maps that there are");
	r = load_finish(load, object->obj, "the programs that lead frames through an appliance", e);
	if (r < 0)
		return r;
	for (; kept < INLINE_PROGRAMS && r >= 0; kept++)
		r = programs[kept] = keep(bpf_program__fd(
			bpf_object__find_program_by_name(object->obj, program_names[kept])));
	if (r >= 0)
		return 0;
	for (int i = 0; i < kept; i++)
		fd_close_at(&programs[i]);
	return err_sys(e, r, "can't keep a loaded program");
}

/* The sections of the two programs of guarded ports are called "guarded". Once for all, as libbpf's
 * table of handlers is the process's: libbpf 1.1 frees it with the last handler that is taken out,
 * and again for the next one (libbpf_unregister_prog_handler() in src/libbpf.c). */
static int handle_guarded(struct err *e)
{
	static int handler = -1;
	LIBBPF_OPTS(libbpf_prog_handler_opts, opts, .prog_prepare_load_fn = put_in_front);

	if (handler < 0)
		handler =
			libbpf_register_prog_handler("guarded", BPF_PROG_TYPE_SCHED_CLS, 0, &opts);
	return handler < 0 ? err_sys(e, handler, "libbpf") : 0;
}

int inline_load(const int maps[INLINE_MAPS], const struct bpf_insn *in_front, size_t count,
		int programs[INLINE_PROGRAMS], struct err *e)
{
	struct load load cleanup(load_free) = {0};
	struct inline_bpf *object cleanup(inline_free_at) = NULL;
	int r = handle_guarded(e);

	if (r < 0)
		return r;
	front.code = in_front;
	front.count = count;
	if (load_begin(&load))
		object = inline_bpf__open_opts(load.opts);
	return object ? load_all(object, &load, maps, programs, e)
		      : err_set(e, -ENOMEM, "out of memory");
}
