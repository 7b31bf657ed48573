/* SPDX-License-Identifier: MIT */
#include "bounce-mbox/journal_table.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"

/* A look-up touches any page: after so many the memory is given back. */
#define REST_LOOKS 64
/* A walk touches them one after the other. */
#define REST_WALK ((size_t)64 * 1024)

static size_t find_slot(const struct journal_table *t, const uint32_t *slots, const uint64_t key[2])
{
	size_t mask = t->slot_count - 1;
	size_t at = (size_t)key[0] & mask;

	while (slots[at] != 0) {
		const struct journal_entry *entry = &t->items[slots[at] - 1];

		if (entry->key[0] == key[0] && entry->key[1] == key[1])
			break;
		at = (at + 1) & mask;
	}
	return at;
}

static int zeroed(struct spill *s, size_t size, const char *folder, struct err *e)
{
	int r = spill_grow(s, size, folder, e);

	if (r == 0 && !s->mapped)
		memset(s->bytes, 0, size);
	return r;
}

static void rest(struct journal_table *t)
{
	if (++t->touched % REST_LOOKS != 0)
		return;
	spill_rest(&t->entries);
	spill_rest(&t->slots);
}

static int grow(struct journal_table *t, struct err *e)
{
	size_t count = t->slot_count ? t->slot_count * 2 : 1024;
	struct spill slots = {0};
	int r;

	if (t->count * 2 < t->slot_count)
		return 0;
	if (t->count >= UINT32_MAX - 1)
		return err_set(e, -ENOMEM, "out of memory");
	r = zeroed(&slots, count * sizeof(uint32_t), t->folder, e);
	if (r < 0)
		return r;
	spill_free(&t->slots);
	t->slots = slots;
	t->slot_count = count;
	for (size_t i = 0; i < t->count; i++) {
		uint32_t *at = t->slots.bytes;

		at[find_slot(t, at, t->items[i].key)] = (uint32_t)i + 1;
		rest(t);
	}
	return 0;
}

static struct journal_entry *with_id(struct journal_entry *entry, const char *id, struct err *e)
{
	if (!entry->id && *id) {
		entry->id = strdup(id);
		if (!entry->id) {
			err_set(e, -ENOMEM, "out of memory");
			return NULL;
		}
	}
	return entry;
}

struct journal_entry *journal_table_find(struct journal_table *t, const unsigned char *key)
{
	const uint32_t *slots = t->slots.bytes;
	uint64_t wanted[2];
	size_t slot;

	rest(t);
	if (t->slot_count == 0)
		return NULL;
	memcpy(wanted, key, sizeof(wanted));
	slot = find_slot(t, slots, wanted);
	return slots[slot] != 0 ? &t->items[slots[slot] - 1] : NULL;
}

struct journal_entry *journal_table_make(struct journal_table *t, const unsigned char *key,
					 const char *id, struct err *e)
{
	struct journal_entry new = {0}, *found = journal_table_find(t, key);
	uint32_t *slots;

	if (found)
		return with_id(found, id, e);
	if (grow(t, e) < 0 ||
	    spill_grow(&t->entries, (t->count + 1) * sizeof(new), t->folder, e) < 0)
		return NULL;
	memcpy(new.key, key, sizeof(new.key));
	t->items = t->entries.bytes;
	slots = t->slots.bytes;
	t->items[t->count] = new;
	slots[find_slot(t, slots, new.key)] = (uint32_t)++t->count;
	return with_id(&t->items[t->count - 1], id, e);
}

struct journal_entry *journal_table_nth(const struct journal_table *t, size_t i)
{
	if (i % REST_WALK == 0)
		spill_rest(&t->entries);
	return &t->items[i];
}

void journal_table_free(struct journal_table *t)
{
	for (size_t i = 0; i < t->count; i++)
		free(journal_table_nth(t, i)->id);
	spill_free(&t->entries);
	spill_free(&t->slots);
	*t = (struct journal_table){0};
}

/* The first bounce-mbox may have written ids with their brackets or without. */
static uint64_t hash_id(const char *id, size_t len)
{
	uint64_t hash;

	if (len > 2 && *id == '<' && id[len - 1] == '>') {
		id++;
		len -= 2;
	}
	hash = hash_bytes(HASH_START, id, len);
	return hash ? hash : 1;
}

static size_t id_slot(const uint64_t *slots, size_t count, uint64_t hash)
{
	size_t at = (size_t)hash & (count - 1);

	while (slots[at] != 0 && slots[at] != hash)
		at = (at + 1) & (count - 1);
	return at;
}

static int grow_ids(struct journal_ids *ids, struct err *e)
{
	size_t count = ids->slot_count ? ids->slot_count * 2 : 1024;
	const uint64_t *old = ids->slots.bytes;
	struct spill slots = {0};
	int r;

	if (ids->count * 2 < ids->slot_count)
		return 0;
	r = zeroed(&slots, count * sizeof(uint64_t), ids->folder, e);
	if (r < 0)
		return r;
	/* A walk in both: what is at i goes to i, or to i + slot_count, or close behind. */
	for (size_t i = 0; i < ids->slot_count; i++) {
		uint64_t *to = slots.bytes;

		if (old[i] != 0)
			to[id_slot(to, count, old[i])] = old[i];
		if (i % REST_WALK == 0) {
			spill_rest(&ids->slots);
			spill_rest(&slots);
		}
	}
	spill_free(&ids->slots);
	ids->slots = slots;
	ids->slot_count = count;
	return 0;
}

static void rest_ids(struct journal_ids *ids)
{
	if (++ids->touched % REST_LOOKS == 0)
		spill_rest(&ids->slots);
}

int journal_ids_add(struct journal_ids *ids, const char *id, size_t len, struct err *e)
{
	uint64_t hash = hash_id(id, len), *slots;
	int r;

	rest_ids(ids);
	r = grow_ids(ids, e);
	if (r < 0)
		return r;
	slots = ids->slots.bytes;

	size_t at = id_slot(slots, ids->slot_count, hash);

	ids->count += slots[at] == 0;
	slots[at] = hash;
	return 0;
}

bool journal_ids_have(struct journal_ids *ids, const char *id)
{
	const uint64_t *slots = ids->slots.bytes;
	uint64_t hash = hash_id(id, strlen(id));

	rest_ids(ids);
	return ids->slot_count > 0 && slots[id_slot(slots, ids->slot_count, hash)] == hash;
}

void journal_ids_free(struct journal_ids *ids)
{
	spill_free(&ids->slots);
	*ids = (struct journal_ids){0};
}
