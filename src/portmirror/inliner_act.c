/* SPDX-License-Identifier: MIT */
/* The operations of in-line sessions, carried out. Each may be cut short at any step: what is there
 * is seen by the next look, and a link that isn't pinned yet ends with this process. */
#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include <bpf/bpf.h>

#include "base/err.h"
#include "base/mem.h"
#include "bpf/tcx.h"
#include "portmirror/engine.h"
#include "portmirror/inliner.h"

static int open_pin(const struct engine *engine, const struct op *op, const char *name,
		    struct err *e)
{
	char path[PIN_PATH];
	int fd;

	pin_path(engine->house, op->owner, name, path);
	fd = pin_open(path, e);
	return fd == -ENOENT ? err_sys(e, fd, "%s", path) : fd;
}

static int put_pin(const struct engine *engine, const struct op *op, const char *name, int fd,
		   struct err *e)
{
	char path[PIN_PATH];

	pin_path(engine->house, op->owner, name, path);
	return pin_put(fd, path, e);
}

static int open_map(const struct engine *engine, const struct op *op, enum inline_map which,
		    struct err *e)
{
	char name[PIN_NAME];

	inliner_map_name(which, name);
	return open_pin(engine, op, name, e);
}

static int set_state(int map, const struct inline_state *wanted, struct err *e)
{
	struct inline_state state = *wanted;
	uint32_t zero = 0;
	int r = 0;

	if (state.key == 0 && getrandom(&state.key, sizeof(state.key), 0) != sizeof(state.key))
		r = -errno;
	if (r == 0)
		r = bpf_map_update_elem(map, &zero, &state, BPF_ANY);
	return r < 0 ? err_sys(e, r, "can't tell the programs of the appliance") : 0;
}

static int add_ports(int map, const struct ifindexes *ports, struct err *e)
{
	uint32_t unused = 0;

	for (size_t i = 0; i < ports->count; i++) {
		uint32_t port = (uint32_t)ports->items[i];
		int r = bpf_map_update_elem(map, &port, &unused, BPF_ANY);

		if (r < 0)
			return err_sys(e, r, "can't tell the programs of a guarded port");
	}
	return 0;
}

/* A map that is there stays. */
static int put_map(const struct engine *engine, const struct view *view, const struct op *op,
		   enum inline_map which, struct err *e)
{
	int fd cleanup(fd_close_at) = open_map(engine, op, which, e);
	bool made = fd == -ENOENT;
	char name[PIN_NAME];
	int r = 0;

	if (made)
		fd = inline_map_make(which, e);
	if (fd < 0)
		return fd;
	if (which == INLINE_MAP_STATE)
		r = set_state(fd, &op->inline_state, e);
	if (which == INLINE_MAP_PORTS)
		r = add_ports(fd, &view->plan.states[op->session].from, e);
	inliner_map_name(which, name);
	return r == 0 && made ? put_pin(engine, op, name, fd, e) : r;
}

/* The state last: a session that has one has all its maps. */
static int put_maps(const struct engine *engine, const struct view *view, const struct op *op,
		    struct err *e)
{
	int r = 0;

	for (int i = INLINE_MAPS - 1; i >= 0 && r == 0; i--)
		r = put_map(engine, view, op, (enum inline_map)i, e);
	return r;
}

static int load(const struct engine *engine, const struct view *view, const struct op *op,
		int programs[INLINE_PROGRAMS], struct err *e)
{
	struct once_program front cleanup(once_free) = {0};
	int maps[INLINE_MAPS], opened = 0;
	int r = once_build_verdict(&view->filters[op->session], &front, e);

	for (; opened < INLINE_MAPS && r >= 0; opened++)
		r = maps[opened] = open_map(engine, op, (enum inline_map)opened, e);
	if (r >= 0)
		r = inline_load(maps, front.code, front.count, programs, e);
	for (int i = 0; i < opened; i++)
		fd_close_at(&maps[i]);
	return r;
}

static int put_programs(const struct engine *engine, const struct view *view, const struct op *op,
			struct err *e)
{
	int programs[INLINE_PROGRAMS];
	int r = load(engine, view, op, programs, e);
	char name[PIN_NAME];

	if (r < 0)
		return r;
	for (int i = 0; i < INLINE_PROGRAMS; i++) {
		inliner_program_name((enum inline_program)i, &view->filters[op->session], name);
		if (r == 0)
			r = put_pin(engine, op, name, programs[i], e);
		fd_close_at(&programs[i]);
	}
	return r;
}

static int put_state(const struct engine *engine, const struct view *view, const struct op *op,
		     struct err *e)
{
	int state cleanup(fd_close_at) = open_map(engine, op, INLINE_MAP_STATE, e);
	int ports cleanup(fd_close_at) =
		state < 0 ? state : open_map(engine, op, INLINE_MAP_PORTS, e);
	int r = ports < 0 ? ports : add_ports(ports, &view->plan.states[op->session].from, e);

	return r < 0 ? r : set_state(state, &op->inline_state, e);
}

/* Ports that are guarded no longer. */
static int forget_ports(const struct engine *engine, const struct view *view, const struct op *op,
			struct err *e)
{
	const struct inliner *have = host_inliner(&view->host, op->owner);
	int map cleanup(fd_close_at) = open_map(engine, op, INLINE_MAP_PORTS, e);

	for (size_t i = 0; map >= 0 && have && i < have->nports; i++) {
		uint32_t port = (uint32_t)have->ports[i];

		if (!ifindexes_have(&view->plan.states[op->session].from, have->ports[i]))
			(void)bpf_map_delete_elem(map, &port);
	}
	return map < 0 ? map : 0;
}

/* Exchanges the program of a link that is there; or makes one, in front of all programs that are
 * there, in place of one that isn't. */
static int put_link(const struct engine *engine, const struct view *view, const struct op *op,
		    struct err *e)
{
	enum inline_program which = op->inline_program;
	int program cleanup(fd_close_at) = -1;
	int link cleanup(fd_close_at) = -1;
	char name[PIN_NAME], path[PIN_PATH];
	int r;

	inliner_program_name(which, &view->filters[op->session], name);
	program = open_pin(engine, op, name, e);
	if (program < 0)
		return program;
	if (op->replace) {
		link = open_pin(engine, op, op->pin, e);
		return link < 0 ? link : tcx_replace(link, program, e);
	}
	/* A program can't hang at one place twice: a link that is in the wrong place goes first. */
	pin_path(engine->house, op->owner, op->pin, path);
	r = pin_drop_link(path, e);
	if (r < 0)
		return r;
	link = tcx_attach(program, op->ifindex, inliner_egress(which), 0, e);
	return link < 0 ? link : put_pin(engine, op, op->pin, link, e);
}

static int (*const deeds[])(const struct engine *engine, const struct view *view,
			    const struct op *op, struct err *e) = {
	[OP_INLINE_MAPS] = put_maps,	   [OP_INLINE_PROGRAMS] = put_programs,
	[OP_INLINE_STATE] = put_state,	   [OP_INLINE_LINK] = put_link,
	[OP_INLINE_FORGET] = forget_ports,
};

bool inliner_does(const struct op *op)
{
	return op->kind < COUNT(deeds) && deeds[op->kind];
}

int inliner_act(const struct engine *engine, const struct view *view, const struct op *op,
		struct err *e)
{
	return deeds[op->kind](engine, view, op, e);
}
