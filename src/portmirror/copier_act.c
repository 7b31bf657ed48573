/* SPDX-License-Identifier: MIT */
/* The engine bpf's operations, carried out. Each may be cut short at any step: what is there is
 * seen by the next look, and a link that isn't pinned yet ends with this process. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <bpf/bpf.h>

#include "base/err.h"
#include "base/mem.h"
#include "bpf/copy_load.h"
#include "bpf/load.h"
#include "bpf/tcx.h"
#include "portmirror/copier.h"
#include "portmirror/engine.h"
#include "portmirror/inliner.h"

static int open_pin(const struct engine *engine, const char *session, const char *name,
		    struct err *e)
{
	char path[PIN_PATH];
	int fd;

	pin_path(engine->house, session, name, path);
	fd = pin_open(path, e);
	return fd == -ENOENT ? err_sys(e, fd, "%s", path) : fd;
}

static int put_pin(const struct engine *engine, const char *session, const char *name, int fd,
		   struct err *e)
{
	char path[PIN_PATH];

	pin_path(engine->house, session, name, path);
	return pin_put(fd, path, e);
}

static int update_config(int map, const struct copy_config *config, struct err *e)
{
	uint32_t zero = 0;
	int r = bpf_map_update_elem(map, &zero, config, BPF_ANY);

	return r < 0 ? err_sys(e, r, "can't set what is to be copied where") : 0;
}

static const char *owner_of(const struct op *op, enum copy_map which)
{
	return copier_map_shared(which) ? "" : op->owner;
}

/* One that is there stays: the shared ones are used by others. */
static int put_map(const struct engine *engine, const struct op *op, enum copy_map which,
		   struct err *e)
{
	int fd cleanup(fd_close_at) =
		open_pin(engine, owner_of(op, which), copy_map_name(which), e);
	bool made = fd == -ENOENT;
	int r = 0;

	if (made)
		fd = copy_map_make(which, e);
	if (fd < 0)
		return fd;
	if (which == COPY_MAP_CONFIG)
		r = update_config(fd, &op->config, e);
	if (r == 0 && made)
		r = put_pin(engine, owner_of(op, which), copy_map_name(which), fd, e);
	return r;
}

/* The config last: a session that has one has all its maps. */
static int put_maps(const struct engine *engine, const struct view *view, const struct op *op,
		    struct err *e)
{
	int r = 0;

	(void)view;
	for (int i = COPY_MAPS - 1; i >= 0 && r == 0; i--)
		r = put_map(engine, op, (enum copy_map)i, e);
	return r;
}

static int load_pair(const struct engine *engine, const struct op *op, int programs[2],
		     struct err *e)
{
	int maps[COPY_MAPS], opened = 0, r = 0;

	for (; opened < COPY_MAPS && r >= 0; opened++)
		r = maps[opened] = open_pin(engine, owner_of(op, (enum copy_map)opened),
					    copy_map_name((enum copy_map)opened), e);
	if (r >= 0)
		r = copy_load(maps, programs, e);
	for (int i = 0; i < opened; i++)
		fd_close_at(&maps[i]);
	return r;
}

/* Loads what stands in front of one of the pair. */
static int put_filter(const struct engine *engine, const struct op *op,
		      const struct bytecode *filter, bool received, int chain, struct err *e)
{
	struct once_program front cleanup(once_free) = {0};
	char name[PIN_NAME];
	int r = once_build_front(filter, received, &front, e);
	int fd cleanup(fd_close_at) = r < 0 ? r : once_load(&front, chain, e);

	if (fd < 0)
		return fd;
	copier_filter_name(filter, received, name);
	return put_pin(engine, op->owner, name, fd, e);
}

static int put_filters(const struct engine *engine, const struct op *op,
		       const struct bytecode *filter, const int programs[2], struct err *e)
{
	int chain cleanup(fd_close_at) = bpf_map_create(
		BPF_MAP_TYPE_PROG_ARRAY, "chain", sizeof(uint32_t), sizeof(uint32_t), 2, NULL);
	char name[PIN_NAME];
	int r = 0;

	if (chain < 0)
		return err_sys(e, chain, "can't make the map that leads from filter to copy");
	for (uint32_t i = 0; i < 2 && r == 0; i++)
		r = bpf_map_update_elem(chain, &i, &programs[i], BPF_ANY);
	if (r < 0)
		return err_sys(e, r, "can't lead from filter to copy");
	/* Pinned before its users: the kernel empties it when nobody holds it
	 * (kernel/bpf/arraymap.c, prog_array_map_clear). */
	copier_chain_name(filter, name);
	r = put_pin(engine, op->owner, name, chain, e);
	for (int i = 0; i < 2 && r == 0; i++)
		r = put_filter(engine, op, filter, i == 1, chain, e);
	return r;
}

static int put_programs(const struct engine *engine, const struct view *view, const struct op *op,
			struct err *e)
{
	const struct bytecode *filter = &view->filters[op->session];
	int programs[2], r = load_pair(engine, op, programs, e);
	char name[PIN_NAME];

	if (r < 0)
		return r;
	for (int i = 0; i < 2 && r == 0; i++) {
		copier_program_name(i == 1, name);
		r = put_pin(engine, op->owner, name, programs[i], e);
	}
	if (r == 0 && copier_filters(filter))
		r = put_filters(engine, op, filter, programs, e);
	close(programs[0]);
	close(programs[1]);
	return r;
}

/* Exchanges the program of a link that is there, or makes one. */
static int put_link(const struct engine *engine, const struct view *view, const struct op *op,
		    int program, bool egress, struct err *e)
{
	uint32_t in_front = inliner_in_front(&view->host.pins, op->ifindex, egress);
	int link cleanup(fd_close_at) = -1;

	if (op->replace) {
		link = open_pin(engine, op->owner, op->pin, e);
		return link < 0 ? link : tcx_replace(link, program, e);
	}
	link = tcx_attach(program, op->ifindex, egress, in_front, e);
	return link < 0 ? link : put_pin(engine, op->owner, op->pin, link, e);
}

static int put_copy_link(const struct engine *engine, const struct view *view, const struct op *op,
			 struct err *e)
{
	int program cleanup(fd_close_at) = -1;
	char name[PIN_NAME];

	copier_front_name(&view->filters[op->session], op->received, name);
	program = open_pin(engine, op->owner, name, e);
	return program < 0 ? program : put_link(engine, view, op, program, op->received, e);
}

/* For all sessions' copies. */
static int put_cut_program(const struct engine *engine, const struct view *view,
			   const struct op *op, struct err *e)
{
	int map cleanup(fd_close_at) = open_pin(engine, "", copy_map_name(COPY_MAP_CUT), e);
	int program cleanup(fd_close_at) = map < 0 ? map : cut_load(map, e);

	(void)view;
	return program < 0 ? program : put_pin(engine, op->owner, op->pin, program, e);
}

static int put_cut_link(const struct engine *engine, const struct view *view, const struct op *op,
			struct err *e)
{
	int program cleanup(fd_close_at) = -1;
	char name[PIN_NAME];

	copier_cut_name(name);
	program = open_pin(engine, op->owner, name, e);
	return program < 0 ? program : put_link(engine, view, op, program, true, e);
}

static int put_config(const struct engine *engine, const struct view *view, const struct op *op,
		      struct err *e)
{
	int map cleanup(fd_close_at) = open_pin(engine, op->owner, op->pin, e);

	(void)view;
	return map < 0 ? map : update_config(map, &op->config, e);
}

static int drop_link(const struct engine *engine, const struct view *view, const struct op *op,
		     struct err *e)
{
	char path[PIN_PATH];

	(void)view;
	pin_path(engine->house, op->owner, op->pin, path);
	return pin_drop_link(path, e);
}

static int drop_pin(const struct engine *engine, const struct view *view, const struct op *op,
		    struct err *e)
{
	char path[PIN_PATH];

	(void)view;
	pin_path(engine->house, op->owner, op->pin, path);
	return pin_drop(path, e);
}

/* Adds a port's counters, CPU by CPU, to those of port 0. (That port is taken away before: there
 * may be room for none more.) */
static void add_to_gone(int map, const struct copy_port *port, const struct copy_count *counts,
			struct copy_count *sum, size_t cpus)
{
	const struct copy_port gone = {.received = port->received};

	if (bpf_map_lookup_elem(map, &gone, sum) < 0)
		memset(sum, 0, cpus * sizeof(*sum));
	for (size_t i = 0; i < cpus; i++) {
		sum[i].frames += counts[i].frames;
		sum[i].bytes += counts[i].bytes;
		sum[i].lost += counts[i].lost;
		sum[i].shed += counts[i].shed;
	}
	(void)bpf_map_update_elem(map, &gone, sum, BPF_ANY);
}

static void forget_ports(const struct engine *engine, const struct host *host, size_t copier,
			 size_t cpus)
{
	struct copy_count *counts cleanup(free_at) = calloc(2 * cpus, sizeof(*counts));
	int map cleanup(fd_close_at) = open_pin(engine, host->copiers[copier].session,
						copy_map_name(COPY_MAP_PORTS), NULL);

	for (size_t i = 0; counts && map >= 0 && i < host->ncounts; i++) {
		const struct copier_count *c = &host->counts[i];

		if (c->copier == copier && c->port.ifindex != 0 &&
		    !nl_link_by_index(&host->links, (int)c->port.ifindex) &&
		    bpf_map_lookup_elem(map, &c->port, counts) == 0 &&
		    bpf_map_delete_elem(map, &c->port) == 0)
			add_to_gone(map, &c->port, counts, counts + cpus, cpus);
	}
}

void copier_forget_ports(const struct engine *engine, const struct host *host)
{
	int cpus = load_cpus(NULL);

	for (size_t i = 0; cpus > 0 && i < host->ncopiers; i++)
		forget_ports(engine, host, i, (size_t)cpus);
}

static int (*const deeds[])(const struct engine *engine, const struct view *view,
			    const struct op *op, struct err *e) = {
	[OP_COPY_MAPS] = put_maps,
	[OP_COPY_PROGRAMS] = put_programs,
	[OP_COPY_CONFIG] = put_config,
	[OP_COPY_LINK] = put_copy_link,
	[OP_CUT_PROGRAM] = put_cut_program,
	[OP_CUT_LINK] = put_cut_link,
	[OP_UNLINK] = drop_link,
	[OP_UNPIN] = drop_pin,
};

bool copier_does(const struct op *op)
{
	return op->kind < COUNT(deeds) && deeds[op->kind];
}

int copier_act(const struct engine *engine, const struct view *view, const struct op *op,
	       struct err *e)
{
	return deeds[op->kind](engine, view, op, e);
}
