/* SPDX-License-Identifier: MIT */
/* The oldest message first, whatever the number of messages: sorted in runs that fit into memory,
 * which are then merged. */
#include <stdlib.h>

#include "base/mem.h"
#include "bounce-mbox/store.h"

#define RUN_ITEMS ((size_t)256 * 1024)
/* So many items are touched before their memory is given back. */
#define REST_ITEMS  ((size_t)128 * 1024)
#define BLOCK_ITEMS ((size_t)512)

static int by_date(const void *left, const void *right)
{
	const struct item *a = left, *b = right;

	if (a->date != b->date)
		return a->date < b->date ? -1 : 1;
	if (a->folder != b->folder)
		return a->folder < b->folder ? -1 : 1;
	return a->at < b->at ? -1 : a->at > b->at;
}

const struct item *store_item(const struct store *a, size_t i)
{
	if (i % REST_ITEMS == 0)
		spill_rest(&a->index);
	return (const struct item *)a->index.bytes + i;
}

static bool in_order(const struct store *a)
{
	for (size_t i = 1; i < a->count; i++)
		if (by_date(store_item(a, i) - 1, store_item(a, i)) > 0)
			return false;
	return true;
}

/* A sorted run of the table, read block by block: through its mapping the kernel would show us far
 * more around each place than is asked for, and that at all runs at once. */
struct run {
	size_t at, end; /* what of the table is still to be read */
	size_t next, have;
	struct item block[BLOCK_ITEMS];
};

/* Sees to it that the run's next item is in its block, if it has one. */
static int refill(const struct store *a, struct run *run, struct err *e)
{
	size_t count = run->end - run->at < BLOCK_ITEMS ? run->end - run->at : BLOCK_ITEMS;
	int r;

	if (run->next < run->have || count == 0)
		return 0;
	r = spill_read(&a->index, run->at * sizeof(struct item), run->block,
		       count * sizeof(struct item), e);
	if (r < 0)
		return r;
	run->at += count;
	run->next = 0;
	run->have = count;
	return 0;
}

/* The one whose next item is the first of all. */
static struct run *first_run(struct run *runs, size_t count)
{
	struct run *first = NULL;

	for (size_t k = 0; k < count; k++) {
		struct run *run = &runs[k];

		if (run->next < run->have &&
		    (!first || by_date(&run->block[run->next], &first->block[first->next]) < 0))
			first = run;
	}
	return first;
}

static int merge(const struct store *a, struct run *runs, size_t count, struct spill *merged,
		 struct err *e)
{
	struct item *to = merged->bytes;
	int r = 0;

	for (size_t k = 0; k < count && r == 0; k++)
		r = refill(a, &runs[k], e);
	for (size_t i = 0; i < a->count && r == 0; i++) {
		struct run *run = first_run(runs, count);

		to[i] = run->block[run->next++];
		r = refill(a, run, e);
		if (i % REST_ITEMS == 0)
			spill_rest(merged);
	}
	return r;
}

/* Merges the sorted runs into another table. */
static int merge_runs(struct store *a, size_t count, struct err *e)
{
	struct run *runs cleanup(free_at) = calloc(count, sizeof(*runs));
	struct spill merged = {0};
	int r;

	if (!runs)
		return store_no_memory(e);
	for (size_t k = 0; k < count; k++) {
		runs[k].at = k * RUN_ITEMS;
		runs[k].end = (k + 1) * RUN_ITEMS < a->count ? (k + 1) * RUN_ITEMS : a->count;
	}
	r = spill_grow(&merged, a->count * sizeof(struct item), a->temporary, e);
	if (r == 0)
		r = merge(a, runs, count, &merged, e);
	if (r < 0) {
		spill_free(&merged);
		return r;
	}
	spill_free(&a->index);
	a->index = merged;
	return 0;
}

int store_sort(struct store *a, struct err *e)
{
	struct item *items = a->index.bytes;
	size_t runs = 0;

	if (in_order(a))
		return 0;
	for (size_t start = 0; start < a->count; start += RUN_ITEMS) {
		size_t left = a->count - start;

		qsort(items + start, left < RUN_ITEMS ? left : RUN_ITEMS, sizeof(*items), by_date);
		spill_rest(&a->index);
		runs++;
	}
	return runs > 1 ? merge_runs(a, runs, e) : 0;
}
