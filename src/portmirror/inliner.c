/* SPDX-License-Identifier: MIT */
#include "portmirror/inliner.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <bpf/bpf.h>

#include "base/err.h"
#include "base/hash.h"
#include "base/mem.h"
#include "bpf/load.h"
#include "portmirror/filter.h"
#include "portmirror/host.h"

/* Who watches says so at every probe; a moment late is no reason to call it dead. */
#define WATCHED_NS 2000000000ull

static uint32_t fold(uint64_t hash)
{
	return (uint32_t)(hash ^ hash >> 32);
}

void inliner_map_name(enum inline_map which, char name[PIN_NAME])
{
	snprintf(name, PIN_NAME, "inline-%s", inline_map_name(which));
}

void inliner_program_name(enum inline_program which, const struct bytecode *filter,
			  char name[PIN_NAME])
{
	uint32_t hash = inline_version();

	if (which == INLINE_FROM_MACHINE || which == INLINE_TO_MACHINE)
		hash ^= fold(bytecode_hash(filter->code, filter->count));
	snprintf(name, PIN_NAME, "inline-%s-%08x", inline_program_name(which), hash);
}

void inliner_link_name(enum inline_program which, int ifindex, char name[PIN_NAME])
{
	if (which == INLINE_FROM_INSIDE || which == INLINE_FROM_OUTSIDE)
		snprintf(name, PIN_NAME, "inline-port-%d", ifindex);
	else
		snprintf(name, PIN_NAME, "inline-machine-%d-%s", ifindex,
			 which == INLINE_TO_MACHINE ? "received" : "sent");
}

bool inliner_egress(enum inline_program which)
{
	return which == INLINE_TO_MACHINE;
}

const struct inliner *host_inliner(const struct host *host, const char *session)
{
	for (size_t i = 0; i < host->ninliners; i++)
		if (strcmp(host->inliners[i].session, session) == 0)
			return &host->inliners[i];
	return NULL;
}

static int open_map(const char *house, const char *session, enum inline_map which, struct err *e)
{
	char path[PIN_PATH], name[PIN_NAME];

	inliner_map_name(which, name);
	pin_path(house, session, name, path);
	return pin_open(path, e);
}

/* The values of an array's first entries. One that isn't pinned (yet) has none. */
static int read_array(const char *house, const char *session, enum inline_map which, void *values,
		      size_t size, uint32_t count, struct err *e)
{
	int map cleanup(fd_close_at) = open_map(house, session, which, e);

	if (map < 0)
		return map == -ENOENT ? 0 : map;
	for (uint32_t i = 0; i < count; i++) {
		int r = bpf_map_lookup_elem(map, &i, (char *)values + i * size);

		if (r < 0)
			return err_sys(e, r, "can't read the maps of the session %s", session);
	}
	return 0;
}

static int read_counts(const char *house, const char *session, struct inliner *found, struct err *e)
{
	int cpus = load_cpus(e);
	struct inline_count *all cleanup(free_at) =
		cpus < 0 ? NULL : calloc((size_t)cpus * INLINE_COUNTS, sizeof(*all));
	int r;

	if (!all)
		return cpus < 0 ? cpus : err_set(e, -ENOMEM, "out of memory");
	r = read_array(house, session, INLINE_MAP_COUNTS, all, sizeof(*all) * (size_t)cpus,
		       INLINE_COUNTS, e);
	for (size_t i = 0; i < INLINE_COUNTS; i++) {
		for (size_t cpu = 0; cpu < (size_t)cpus; cpu++) {
			found->counts[i].frames += all[i * (size_t)cpus + cpu].frames;
			found->counts[i].bytes += all[i * (size_t)cpus + cpu].bytes;
		}
	}
	return r;
}

static int read_ports(const char *house, const char *session, struct inliner *found, struct err *e)
{
	int map cleanup(fd_close_at) = open_map(house, session, INLINE_MAP_PORTS, e);
	uint32_t port, *before = NULL;
	int r;

	if (map < 0)
		return map == -ENOENT ? 0 : map;
	while ((r = bpf_map_get_next_key(map, before, &port)) == 0) {
		if (found->nports < INLINE_PORTS_MAX)
			found->ports[found->nports++] = (int)port;
		before = &port;
	}
	return r == -ENOENT ? 0 : err_sys(e, r, "can't read the maps of the session %s", session);
}

int inliner_look(const char *house, const char *session, struct inliner *found, struct err *e)
{
	struct inliner made = {0};
	int r = read_array(house, session, INLINE_MAP_STATE, &made.state, sizeof(made.state), 1, e);

	memcpy(made.session, session, strnlen(session, PIN_NAME - 1));
	if (r == 0)
		r = read_array(house, session, INLINE_MAP_HEALTH, &made.health, sizeof(made.health),
			       1, e);
	if (r == 0)
		r = read_array(house, session, INLINE_MAP_PROBES, made.probes, sizeof(*made.probes),
			       INLINE_WAYS, e);
	if (r == 0)
		r = read_counts(house, session, &made, e);
	if (r == 0)
		r = read_ports(house, session, &made, e);
	if (r == 0)
		*found = made;
	return r;
}

bool inliner_has(const struct inliner *inliner, int port)
{
	for (size_t i = 0; i < inliner->nports; i++)
		if (inliner->ports[i] == port)
			return true;
	return false;
}

bool inliner_owns(const struct pin *pin)
{
	return strncmp(pin->name, "inline-", 7) == 0;
}

uint32_t inliner_in_front(const struct pins *pins, int ifindex, bool egress)
{
	for (size_t i = 0; i < pins->count; i++) {
		const struct pin *p = &pins->items[i];

		if (p->kind == PIN_LINK && p->ifindex == ifindex && p->egress == egress &&
		    inliner_owns(p))
			return p->program;
	}
	return 0;
}

static const struct {
	const char *name, *text;
} failures[] = {
	[INLINE_WELL] = {"well", "nothing is wrong with it"},
	[INLINE_GONE] = {"gone", "a port of it is gone"},
	[INLINE_DOWN] = {"down", "a port of it is down"},
	[INLINE_SILENT] = {"silent", "it lets no probes through"},
};

const char *inliner_failure_name(uint32_t failure)
{
	return failures[failure < COUNT(failures) ? failure : INLINE_SILENT].name;
}

const char *inliner_failure_text(uint32_t failure)
{
	return failures[failure < COUNT(failures) ? failure : INLINE_SILENT].text;
}

uint64_t inliner_now(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

bool inliner_watched(const struct inliner *inliner, unsigned interval, uint64_t now)
{
	uint64_t late = (uint64_t)interval * 3000000u + WATCHED_NS;

	return inliner->health.watched != 0 && now < inliner->health.watched + late;
}
