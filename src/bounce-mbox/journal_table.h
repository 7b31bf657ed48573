/* SPDX-License-Identifier: MIT */
/* The journal in memory: what is known of each key, and the old format's message-ids. */
#ifndef BOUNCE_MBOX_JOURNAL_TABLE_H
#define BOUNCE_MBOX_JOURNAL_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "bounce-mbox/spill.h"

/* The copies of one message, counted. The key's first half is enough to tell messages apart. */
struct journal_entry {
	uint64_t key[2];
	char *id; /* NULL: none, or forgotten */
	uint32_t intended, gone, sent, doubt, refused, met;
};

/* Zero-initialise both kinds of tables but for the folder, into which large ones may spill; NULL:
 * they stay in memory. */
struct journal_table {
	const char *folder;
	struct journal_entry *items;
	size_t count;
	size_t slot_count;
	struct spill entries, slots; /* uint32_t: index + 1; 0: free */
	unsigned touched;
};

/* The key's entry, or NULL where there is none. Valid until the next call that makes one. */
struct journal_entry *journal_table_find(struct journal_table *t, const unsigned char *key);
/* As before, but it is made where there is none, and gets the id where that is not "". NULL with e
 * set: no memory, or no room in the folder. */
struct journal_entry *journal_table_make(struct journal_table *t, const unsigned char *key,
					 const char *id, struct err *e);
/* The ith entry that was made, for a walk over all. */
struct journal_entry *journal_table_nth(const struct journal_table *t, size_t i);
void journal_table_free(struct journal_table *t);

struct journal_ids {
	const char *folder;
	struct spill slots; /* uint64_t: hashes of the ids, without their <>; 0: free */
	size_t count, slot_count;
	unsigned touched;
};

/* Fails as journal_table_make() does. */
int journal_ids_add(struct journal_ids *ids, const char *id, size_t len, struct err *e);
bool journal_ids_have(struct journal_ids *ids, const char *id);
void journal_ids_free(struct journal_ids *ids);

#endif
