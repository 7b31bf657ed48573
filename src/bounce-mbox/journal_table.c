/* SPDX-License-Identifier: MIT */
#include "bounce-mbox/journal_table.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"

static size_t find_slot(const struct journal_table *t, const uint64_t key[2])
{
	size_t mask = t->slot_count - 1;
	size_t at = (size_t)key[0] & mask;

	while (t->slots[at] != 0) {
		const struct journal_entry *entry = &t->items[t->slots[at] - 1];

		if (entry->key[0] == key[0] && entry->key[1] == key[1])
			break;
		at = (at + 1) & mask;
	}
	return at;
}

static int grow(struct journal_table *t)
{
	size_t count = t->slot_count ? t->slot_count * 2 : 1024;
	uint32_t *slots;

	if (t->count * 2 < t->slot_count)
		return 0;
	slots = calloc(count, sizeof(*slots));
	if (!slots || t->count >= UINT32_MAX - 1) {
		free(slots);
		return -ENOMEM;
	}
	free(t->slots);
	t->slots = slots;
	t->slot_count = count;
	for (size_t i = 0; i < t->count; i++)
		slots[find_slot(t, t->items[i].key)] = (uint32_t)i + 1;
	return 0;
}

static struct journal_entry *with_id(struct journal_entry *entry, const char *id)
{
	if (entry->id || !id || !*id)
		return entry;
	entry->id = strdup(id);
	return entry->id ? entry : NULL;
}

struct journal_entry *journal_table_at(struct journal_table *t, const unsigned char *key,
				       const char *id)
{
	struct journal_entry new = {0};
	size_t slot;

	memcpy(new.key, key, sizeof(new.key));
	if (t->slot_count > 0) {
		slot = find_slot(t, new.key);
		if (t->slots[slot] != 0)
			return with_id(&t->items[t->slots[slot] - 1], id);
	}
	if (!id || grow(t) < 0 || array_room(&t->items, &t->room, t->count, sizeof(*t->items)) < 0)
		return NULL;
	t->items[t->count] = new;
	t->slots[find_slot(t, new.key)] = (uint32_t)++t->count;
	return with_id(&t->items[t->count - 1], id);
}

void journal_table_free(struct journal_table *t)
{
	for (size_t i = 0; i < t->count; i++)
		free(t->items[i].id);
	free(t->items);
	free(t->slots);
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

int journal_ids_add(struct journal_ids *ids, const char *id, size_t len)
{
	uint64_t hash = hash_id(id, len);

	if (ids->count * 2 >= ids->slot_count) {
		size_t count = ids->slot_count ? ids->slot_count * 2 : 1024;
		uint64_t *slots = calloc(count, sizeof(*slots));

		if (!slots)
			return -ENOMEM;
		for (size_t i = 0; i < ids->slot_count; i++)
			if (ids->slots[i] != 0)
				slots[id_slot(slots, count, ids->slots[i])] = ids->slots[i];
		free(ids->slots);
		ids->slots = slots;
		ids->slot_count = count;
	}
	size_t at = id_slot(ids->slots, ids->slot_count, hash);

	ids->count += ids->slots[at] == 0;
	ids->slots[at] = hash;
	return 0;
}

bool journal_ids_have(const struct journal_ids *ids, const char *id)
{
	if (ids->slot_count == 0)
		return false;
	uint64_t hash = hash_id(id, strlen(id));

	return ids->slots[id_slot(ids->slots, ids->slot_count, hash)] == hash;
}

void journal_ids_free(struct journal_ids *ids)
{
	free(ids->slots);
	*ids = (struct journal_ids){0};
}
