/* SPDX-License-Identifier: MIT */
/* The oldest message first, whatever the number of messages: sorted in runs that fit into memory,
 * which are then merged. */
#include <stdlib.h>

#include "base/mem.h"
#include "bounce-mbox/store.h"

#define RUN_ITEMS ((size_t)256 * 1024)
/* So many items are touched before their memory is given back. */
#define REST_ITEMS ((size_t)128 * 1024)

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

/* The run whose next item is the first of all; at[] is where each one stands. */
static size_t first_run(const struct store *a, const size_t *at, size_t runs)
{
	const struct item *items = a->index.bytes;
	size_t first = runs;

	for (size_t k = 0; k < runs; k++) {
		size_t end = (k + 1) * RUN_ITEMS < a->count ? (k + 1) * RUN_ITEMS : a->count;

		if (at[k] < end && (first == runs || by_date(&items[at[k]], &items[at[first]]) < 0))
			first = k;
	}
	return first;
}

static void merge(const struct store *a, size_t *at, size_t runs, struct spill *merged)
{
	const struct item *items = a->index.bytes;
	struct item *to = merged->bytes;

	for (size_t i = 0; i < a->count; i++) {
		to[i] = items[at[first_run(a, at, runs)]++];
		if (i % REST_ITEMS == 0) {
			spill_rest(&a->index);
			spill_rest(merged);
		}
	}
}

/* Merges the sorted runs into another table. */
static int merge_runs(struct store *a, size_t runs, struct err *e)
{
	size_t *at cleanup(free_at) = calloc(runs, sizeof(*at));
	struct spill merged = {0};
	int r;

	if (!at)
		return store_no_memory(e);
	for (size_t k = 0; k < runs; k++)
		at[k] = k * RUN_ITEMS;
	r = spill_grow(&merged, a->count * sizeof(struct item), a->temporary, e);
	if (r < 0)
		return r;
	merge(a, at, runs, &merged);
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
