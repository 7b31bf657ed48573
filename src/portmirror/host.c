/* SPDX-License-Identifier: MIT */
#include "portmirror/host.h"

#include <assert.h>
#include <errno.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/mem.h"
#include "portmirror/once_hold.h"

/*
 * Classful qdiscs that take an unclassified frame as before when a filter says "continue". Not
 * among them: fq_codel, sfq and others that drop it as soon as they have any filter
 * (net/sched/sch_fq_codel.c, fq_codel_classify).
 */
bool qdisc_classful(const char *kind)
{
	static const char *const kinds[] = {"prio", "htb", "hfsc", "drr", "qfq", "ets", "multiq"};

	for (size_t i = 0; i < COUNT(kinds); i++)
		if (strcmp(kind, kinds[i]) == 0)
			return true;
	return false;
}

static int by_ifindex(const void *a, const void *b)
{
	const struct tc_qdisc *x = a, *y = b;

	return x->ifindex < y->ifindex ? -1 : x->ifindex > y->ifindex;
}

int host_read_hooks(struct nl *nl, const struct tc_qdisc *q, struct tc_filters *filters,
		    struct err *e)
{
	int r;

	if (q->parent == TC_H_INGRESS && strcmp(q->kind, "clsact") == 0) {
		r = tc_filters(nl, q->ifindex, TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS), filters,
			       e);
		if (r < 0)
			return r;
		return tc_filters(nl, q->ifindex, TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_EGRESS), filters,
				  e);
	}
	if (q->parent == TC_H_INGRESS)
		return tc_filters(nl, q->ifindex, TC_H_MAKE(TC_H_INGRESS, 0), filters, e);
	if (q->parent == TC_H_ROOT && q->handle != 0 && qdisc_classful(q->kind))
		return tc_filters(nl, q->ifindex, q->handle, filters, e);
	return 0;
}

/* Where the program is, or belongs. */
static size_t place_of(const struct host *host, uint32_t id)
{
	size_t low = 0, high = host->nprograms;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (host->programs[middle].id < id)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* Looks the program's map up, once a program. One that is gone, or that we may not look up, has
 * none for us. */
static int add_program(struct once_hold *hold, struct host *host, uint32_t id, struct err *e)
{
	struct host_program program = {.id = id};
	size_t at = place_of(host, id);
	int r;

	if (at < host->nprograms && host->programs[at].id == id)
		return 0;
	if (array_room(&host->programs, &host->programs_room, host->nprograms,
		       sizeof(*host->programs)) < 0)
		return err_set(e, -ENOMEM, "out of memory");
	r = once_hold_map_of(hold, id, &program.map_id);
	if (r < 0 && r != -ENOENT && r != -EPERM)
		return err_sys(e, r, "can't look up the eBPF program %u", id);
	memmove(&host->programs[at + 1], &host->programs[at],
		(host->nprograms - at) * sizeof(*host->programs));
	host->programs[at] = program;
	host->nprograms++;
	return 0;
}

int host_read_programs(struct once_hold *hold, struct host *host, const struct tc_filters *of,
		       struct err *e)
{
	int r = 0;

	for (size_t i = 0; i < of->count && r == 0; i++) {
		const struct tc_filter *f = &of->items[i];

		if (f->bpf_id != 0 && strncmp(f->bpf_name, "pm_", 3) == 0)
			r = add_program(hold, host, f->bpf_id, e);
	}
	return r;
}

static int read_key(uint64_t *key, struct err *e)
{
	char *text cleanup(free_at) = NULL;
	size_t len;
	int r = file_read("/proc/sys/kernel/random/boot_id", 64, &text, &len, e);

	if (r == 0)
		*key = hash_bytes(HASH_START, text, len);
	return r;
}

static int read_all(struct nl *nl, struct once_hold *hold, const char *house, bool with_vms,
		    struct host *host, struct err *e)
{
	int r = read_key(&host->key, e);

	if (r == 0)
		r = nl_links(nl, &host->links, e);
	if (r == 0)
		r = tc_qdiscs(nl, &host->qdiscs, e);
	if (r == 0)
		r = tc_actions(nl, "mirred", &host->actions, e);
	if (r == 0 && host->qdiscs.count > 0)
		qsort(host->qdiscs.items, host->qdiscs.count, sizeof(*host->qdiscs.items),
		      by_ifindex);
	for (size_t i = 0; r == 0 && i < host->qdiscs.count; i++)
		r = host_read_hooks(nl, &host->qdiscs.items[i], &host->filters, e);
	if (r == 0)
		r = host_read_programs(hold, host, &host->filters, e);
	if (r == 0)
		r = host_look_at_copiers(house, host, NULL, e);
	if (r == 0 && with_vms)
		r = vms_find("/proc", &host->vms, e);
	return r;
}

int host_look(struct nl *nl, struct once_hold *hold, const char *house, bool with_vms,
	      struct host *host, struct err *e)
{
	struct host found = {0};
	int r = read_all(nl, hold, house, with_vms, &found, e);

	if (r < 0) {
		host_free(&found);
		return r;
	}
	*host = found;
	return 0;
}

void host_free(struct host *host)
{
	nl_links_free(&host->links);
	tc_qdiscs_free(&host->qdiscs);
	tc_filters_free(&host->filters);
	tc_actions_free(&host->actions);
	vms_free(&host->vms);
	free(host->programs);
	host_free_copiers(host);
	*host = (struct host){0};
}

/* Both tables begin each item with its ifindex, and are in its order. */
static_assert(offsetof(struct tc_qdisc, ifindex) == 0, "range_of() reads it there");
static_assert(offsetof(struct tc_filter, ifindex) == 0, "range_of() reads it there");

static int ifindex_at(const void *items, size_t size, size_t i)
{
	return *(const int *)(const void *)((const char *)items + i * size);
}

/* Where the items of one device begin, and how many there are. */
static size_t range_of(const void *items, size_t size, size_t count, int ifindex, size_t *first)
{
	size_t low = 0, high = count, end;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (ifindex_at(items, size, middle) < ifindex)
			low = middle + 1;
		else
			high = middle;
	}
	for (end = low; end < count && ifindex_at(items, size, end) == ifindex;)
		end++;
	*first = low;
	return end - low;
}

size_t host_qdiscs(const struct host *host, int ifindex, const struct tc_qdisc **items)
{
	const struct tc_qdiscs *all = &host->qdiscs;
	size_t first = 0, count = 0;

	if (all->items)
		count = range_of(all->items, sizeof(**items), all->count, ifindex, &first);
	*items = count > 0 ? &all->items[first] : NULL;
	return count;
}

size_t host_filters(const struct host *host, int ifindex, const struct tc_filter **items)
{
	const struct tc_filters *all = &host->filters;
	size_t first = 0, count = 0;

	if (all->items)
		count = range_of(all->items, sizeof(**items), all->count, ifindex, &first);
	*items = count > 0 ? &all->items[first] : NULL;
	return count;
}

const struct tc_qdisc *host_qdisc_at(const struct host *host, int ifindex, uint32_t parent)
{
	const struct tc_qdisc *q;
	size_t count = host_qdiscs(host, ifindex, &q);

	for (size_t i = 0; i < count; i++)
		if (q[i].parent == parent)
			return &q[i];
	return NULL;
}

uint32_t host_map_of(const struct host *host, uint32_t program_id)
{
	size_t at = place_of(host, program_id);

	return at < host->nprograms && host->programs[at].id == program_id
		       ? host->programs[at].map_id
		       : 0;
}
