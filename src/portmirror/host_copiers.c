/* SPDX-License-Identifier: MIT */
/* What of the host concerns eBPF: what is pinned, and what the copying programs have counted. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <bpf/bpf.h>

#include "base/err.h"
#include "base/mem.h"
#include "bpf/copy_load.h"
#include "bpf/load.h"
#include "bpf/tcx.h"
#include "portmirror/host.h"
#include "portmirror/inliner.h"

#define TCX_PROGRAMS_MAX 64  /* BPF_MPROG_MAX, include/linux/bpf_mprog.h */
#define BATCH		 256 /* ports whose counters are read at a time */

static int add_count(struct host *host, const struct copy_port *port,
		     const struct copy_count *of_cpus, size_t cpus)
{
	struct copier_count sum = {.copier = host->ncopiers, .port = *port};

	for (size_t i = 0; i < cpus; i++) {
		sum.count.frames += of_cpus[i].frames;
		sum.count.bytes += of_cpus[i].bytes;
		sum.count.lost += of_cpus[i].lost;
		sum.count.shed += of_cpus[i].shed;
	}
	if (array_room(&host->counts, &host->counts_room, host->ncounts, sizeof(sum)) < 0)
		return -ENOMEM;
	host->counts[host->ncounts++] = sum;
	return 0;
}

/* A hash table's cursor is of the kernel's own making, 4 bytes (kernel/bpf/hashtab.c). */
static int read_counts(int map, struct host *host, size_t cpus)
{
	struct copy_port *ports cleanup(free_at) = calloc(BATCH, sizeof(*ports));
	struct copy_count *counts cleanup(free_at) = calloc(BATCH * cpus, sizeof(*counts));
	uint32_t cursor = 0;
	bool begun = false;
	int r = 0;

	if (!ports || !counts)
		return -ENOMEM;
	while (r == 0) {
		uint32_t found = BATCH;

		r = bpf_map_lookup_batch(map, begun ? &cursor : NULL, &cursor, ports, counts,
					 &found, NULL);
		if (r < 0 && r != -ENOENT)
			return r;
		begun = true;
		for (size_t i = 0; i < found; i++)
			if (add_count(host, &ports[i], &counts[i * cpus], cpus) < 0)
				return -ENOMEM;
	}
	return 0; /* -ENOENT: those were the last */
}

static int open_map(const char *house, const char *session, enum copy_map which, struct err *e)
{
	char path[PIN_PATH];

	pin_path(house, session, copy_map_name(which), path);
	return pin_open(path, e);
}

/* Appends the session's, if it has a config. */
static int add_copier(const char *house, const char *session, struct host *host, size_t cpus,
		      struct err *e)
{
	int config cleanup(fd_close_at) = open_map(house, session, COPY_MAP_CONFIG, e);
	int ports cleanup(fd_close_at) = open_map(house, session, COPY_MAP_PORTS, e);
	struct copier *copier;
	uint32_t zero = 0;
	int r = 0;

	if (config < 0)
		return config == -ENOENT ? 0 : config; /* gone since the pins were read */
	if (ports < 0 && ports != -ENOENT)
		return ports;
	if (array_room(&host->copiers, &host->copiers_room, host->ncopiers, sizeof(*copier)) < 0)
		return err_set(e, -ENOMEM, "out of memory");
	copier = &host->copiers[host->ncopiers];
	*copier = (struct copier){0};
	memcpy(copier->session, session, strnlen(session, PIN_NAME - 1));
	r = bpf_map_lookup_elem(config, &zero, &copier->config);
	if (r == 0 && ports >= 0)
		r = read_counts(ports, host, cpus);
	if (r < 0)
		return err_sys(e, r, "can't read the maps of the session %s", session);
	host->ncopiers++;
	return 0;
}

/* Appends what there is of an in-line session. */
static int add_inliner(const char *house, const char *session, struct host *host, struct err *e)
{
	int r;

	if (array_room(&host->inliners, &host->inliners_room, host->ninliners,
		       sizeof(*host->inliners)) < 0)
		return err_set(e, -ENOMEM, "out of memory");
	r = inliner_look(house, session, &host->inliners[host->ninliners], e);
	if (r == 0)
		host->ninliners++;
	return r;
}

static bool copies(const struct pins *pins, uint32_t program)
{
	for (size_t i = 0; i < pins->count; i++)
		if (pins->items[i].kind == PIN_PROGRAM && pins->items[i].id == program)
			return !inliner_owns(&pins->items[i]);
	return false;
}

/* An in-line session's programs run before those that copy. */
static void look_at_order(struct pins *pins)
{
	for (size_t i = 0; i < pins->count; i++) {
		struct pin *p = &pins->items[i];
		uint32_t ids[TCX_PROGRAMS_MAX];
		int count;

		if (p->kind != PIN_LINK || p->ifindex == 0 || !inliner_owns(p))
			continue;
		count = tcx_programs(p->ifindex, p->egress, ids, COUNT(ids));
		for (int j = 0; j < count && j < (int)COUNT(ids) && ids[j] != p->program; j++)
			p->behind |= copies(pins, ids[j]);
	}
}

int host_lost_links(const struct pins *before, const struct pins *now, const struct nl_links *links,
		    struct ifindexes *lost, struct err *e)
{
	for (size_t i = 0; i < before->count; i++) {
		const struct pin *had = &before->items[i], *has;

		if (had->kind != PIN_LINK || !nl_link_by_index(links, had->ifindex))
			continue;
		has = pins_find(now, had->session, had->name);
		if ((!has || has->ifindex != had->ifindex) && ifindexes_add(lost, had->ifindex) < 0)
			return err_set(e, -ENOMEM, "out of memory");
	}
	return 0;
}

int host_look_at_copiers(const char *house, struct host *host, struct ifindexes *lost,
			 struct err *e)
{
	struct host found = {0};
	struct err why = {0};
	int cpus = load_cpus(e), tcx = cpus < 0 ? cpus : tcx_known(e);
	char state[PIN_NAME];
	int r = tcx < 0 ? tcx : 0;

	found.tcx = tcx > 0;
	if (pin_check(&why) < 0)
		memcpy(found.no_pins, why.text, strnlen(why.text, sizeof(found.no_pins) - 1));
	if (r == 0)
		r = pins_look(house, &found.pins, e);
	for (size_t i = 0; r == 0 && i < found.pins.count; i++)
		if (*found.pins.items[i].session &&
		    strcmp(found.pins.items[i].name, copy_map_name(COPY_MAP_CONFIG)) == 0)
			r = add_copier(house, found.pins.items[i].session, &found, (size_t)cpus, e);
	inliner_map_name(INLINE_MAP_STATE, state);
	for (size_t i = 0; r == 0 && i < found.pins.count; i++)
		if (strcmp(found.pins.items[i].name, state) == 0)
			r = add_inliner(house, found.pins.items[i].session, &found, e);
	look_at_order(&found.pins);
	if (r == 0 && lost)
		r = host_lost_links(&host->pins, &found.pins, &host->links, lost, e);
	if (r < 0) {
		host_free_copiers(&found);
		return r;
	}
	host_free_copiers(host);
	host->tcx = found.tcx;
	memcpy(host->no_pins, found.no_pins, sizeof(host->no_pins));
	host->pins = found.pins;
	host->copiers = found.copiers;
	host->ncopiers = found.ncopiers;
	host->copiers_room = found.copiers_room;
	host->counts = found.counts;
	host->ncounts = found.ncounts;
	host->counts_room = found.counts_room;
	host->inliners = found.inliners;
	host->ninliners = found.ninliners;
	host->inliners_room = found.inliners_room;
	return 0;
}

void host_free_copiers(struct host *host)
{
	pins_free(&host->pins);
	free(host->copiers);
	free(host->counts);
	free(host->inliners);
	host->inliners = NULL;
	host->ninliners = host->inliners_room = 0;
	host->copiers = NULL;
	host->counts = NULL;
	host->ncopiers = host->copiers_room = host->ncounts = host->counts_room = 0;
}

const struct copier *host_copier(const struct host *host, const char *session)
{
	for (size_t i = 0; i < host->ncopiers; i++)
		if (strcmp(host->copiers[i].session, session) == 0)
			return &host->copiers[i];
	return NULL;
}
