/* SPDX-License-Identifier: MIT */
#include "portmirror/proof_book.h"

#include <limits.h>
#include <stdlib.h>

#include "portmirror/proof.h"
#include "portmirror/proof_flows.h"
#include "portmirror/proof_frame.h"
#include "portmirror/proof_strays.h"

enum {
	TICK = 32,	      /* milliseconds */
	PATIENCE = 1500,      /* for an entry that balances: a later view of it may be queued */
	PATIENCE_TIGHT = 300, /* while the book is nearly full */
	SLOTS_FIRST = 1 << 12,
	TOUCHED_BITS = 11, /* of ticks: a minute, far beyond anybody's patience */
	FLOW_TOLD = 1,
};

/* One cache line. */
struct entry {
	uint64_t key;			   /* 0: free */
	uint64_t loose;			   /* where flows are looked at: see name_of() */
	uint64_t source_tags, copied_tags; /* the sets of tags seen, one bit each */
	uint32_t sent;			   /* at all sources together */
	uint32_t received;		   /* (or passed) at the source `first` */
	uint32_t copied;		   /* all of them, inside the measured time or not */
	uint32_t excused;		   /* views outside the measured time */
	uint32_t sent_sum, received_sum, copied_sum; /* of their tags, mixed */
	uint16_t touched : TOUCHED_BITS;	     /* the last view, in ticks */
	uint16_t at : 16 - TOUCHED_BITS; /* the copies' destination + 1, or FLOWS_SEVERAL */
	uint16_t first;			 /* source + 1; 0: none has shown it as received */
};

_Static_assert(sizeof(struct entry) == 64, "an entry is one cache line");

struct book {
	struct entry *entries;
	size_t mask;  /* slots - 1 */
	size_t limit; /* it grows up to so many slots */
	size_t used;
	size_t hand; /* where the sweep goes on */
	bool partial, whole_flows;
	struct strays *strays;
	struct flows *flows; /* NULL: flows are not looked at */
	struct proof_counts counts;
};

struct book *book_new(size_t limit, unsigned kind)
{
	struct book *book = calloc(1, sizeof(*book));

	if (!book)
		return NULL;
	book->limit = limit;
	book->mask = (limit < SLOTS_FIRST ? limit : SLOTS_FIRST) - 1;
	book->partial = (kind & (BOOK_PARTIAL | BOOK_WHOLE_FLOWS)) != 0;
	book->whole_flows = (kind & BOOK_WHOLE_FLOWS) != 0;
	book->entries = calloc(book->mask + 1, sizeof(*book->entries));
	book->strays = strays_new();
	if (kind & (BOOK_FLOWS | BOOK_WHOLE_FLOWS))
		book->flows = flows_new();
	if (!book->entries || !book->strays ||
	    (kind & (BOOK_FLOWS | BOOK_WHOLE_FLOWS) && !book->flows)) {
		book_free(book);
		return NULL;
	}
	return book;
}

void book_free(struct book *book)
{
	if (!book)
		return;
	free(book->entries);
	strays_free(book->strays);
	flows_free(book->flows);
	free(book);
}

/* Keys are hashes already; 0 stands for a free slot. */
static uint64_t key_of(uint64_t hash)
{
	return hash ? hash : 1;
}

static void count_up(uint32_t *count)
{
	if (*count < UINT32_MAX)
		++*count;
}

/* A bijection with 0 for "no tag": sums of different tags hardly ever agree. */
static uint32_t tag_mix(uint32_t tag)
{
	return tag * UINT32_C(0x9e3779b1);
}

/* "No tag" has a bit of its own, so that a lost tag is never overlooked. */
static uint64_t tag_bit(uint32_t tag)
{
	return tag ? UINT64_C(2) << (tag_mix(tag) >> 16) % 63 : 1;
}

static struct entry *slot_of(const struct book *book, uint64_t key)
{
	size_t at = key & book->mask;

	while (book->entries[at].key && book->entries[at].key != key)
		at = (at + 1) & book->mask;
	return &book->entries[at];
}

/* Twice the slots, where that is allowed and there is memory. */
static void grow(struct book *book)
{
	struct book old = *book;
	struct entry *entries;

	if (old.mask + 1 >= old.limit)
		return;
	entries = calloc((old.mask + 1) * 2, sizeof(*entries));
	if (!entries)
		return;
	book->entries = entries;
	book->mask = old.mask * 2 + 1;
	for (size_t i = 0; i <= old.mask; i++) {
		if (old.entries[i].key)
			*slot_of(book, old.entries[i].key) = old.entries[i];
	}
	free(old.entries);
}

static void add_received(struct entry *e, uint16_t source, uint32_t tag)
{
	if (e->first == 0)
		e->first = (uint16_t)(source + 1);
	if (e->first == source + 1) {
		count_up(&e->received);
		e->received_sum += tag_mix(tag);
	}
}

/* What the entry keeps of a frame's names: its loose key, or its flow (but for its last
 * bits) and a little of the loose key. */
static uint64_t name_of(const struct book *book, const struct frame_mark *mark)
{
	const uint64_t rest = (1 << FLOWS_LOST_BITS) - 1 - FLOW_TOLD;

	if (!book->flows)
		return mark->loose;
	if (!mark->flow)
		return mark->loose & ~(uint64_t)FLOW_TOLD;
	return (mark->flow & ~(rest | FLOW_TOLD)) | (mark->loose & rest) | FLOW_TOLD;
}

static void add_copied(struct entry *e, unsigned destination, uint32_t tag)
{
	count_up(&e->copied);
	e->copied_sum += tag_mix(tag);
	e->copied_tags |= tag_bit(tag);
	if (e->at == 0)
		e->at = (destination + 1) & FLOWS_SEVERAL;
	else if (e->at != destination + 1)
		e->at = FLOWS_SEVERAL;
}

static uint16_t ticks(uint64_t ms)
{
	return (uint16_t)(ms / TICK & ((1U << TOUCHED_BITS) - 1));
}

bool book_add(struct book *book, const struct frame_mark *mark, const struct book_view *view,
	      uint64_t now)
{
	struct entry *e = slot_of(book, key_of(mark->key));

	if (!e->key) {
		if (book->used >= (book->mask + 1) / 8 * 7) {
			grow(book);
			e = slot_of(book, key_of(mark->key));
		}
		if (book->used >= (book->mask + 1) / 8 * 7)
			return false;
		*e = (struct entry){.key = key_of(mark->key), .loose = name_of(book, mark)};
		book->used++;
	}
	e->touched = ticks(now) & ((1U << TOUCHED_BITS) - 1);
	if (!view->inside)
		count_up(&e->excused);
	if (view->side == BOOK_COPIED) {
		add_copied(e, view->source, mark->tag);
		return true;
	}
	e->source_tags |= tag_bit(mark->tag);
	if (!view->inside)
		return true;
	if (view->side == BOOK_SENT) {
		count_up(&e->sent);
		e->sent_sum += tag_mix(mark->tag);
	} else {
		add_received(e, view->source, mark->tag);
	}
	return true;
}

static uint32_t expected_of(const struct entry *e)
{
	return e->sent > e->received ? e->sent : e->received;
}

static uint32_t lesser(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

/* Do the copies bear tags that the sources showed? Exactly, where each copy stands for a frame
 * that was sent, or received at one port; by the set of tags where views of several kinds mix. */
static bool tags_agree(const struct entry *e)
{
	if (e->excused == 0 && e->copied == e->sent && e->received <= e->sent)
		return e->copied_sum == e->sent_sum;
	if (e->copied == e->received && e->copied_sum == e->received_sum)
		return true;
	return (e->copied_tags & ~e->source_tags) == 0;
}

static uint32_t altered_of(const struct entry *e, uint32_t matched)
{
	if (matched == 0 || tags_agree(e))
		return 0;
	return (e->copied_tags & e->source_tags) == 0 ? matched : 1;
}

static void settle_flow(struct book *book, const struct entry *e, uint32_t matched,
			uint32_t missing)
{
	if (!book->flows || !(e->loose & FLOW_TOLD))
		return;
	if (matched > 0)
		flows_add(book->flows, e->loose, e->at);
	if (missing > 0 && book->whole_flows)
		flows_add(book->flows, e->loose, FLOWS_NOWHERE);
}

static void settle(struct book *book, const struct entry *e)
{
	uint32_t expected = expected_of(e);
	uint32_t matched = lesser(expected, e->copied);
	uint32_t altered = altered_of(e, matched);
	uint32_t extra = e->copied - matched;

	extra -= lesser(extra, e->excused);
	book->counts.expected += expected;
	book->counts.copied += matched - altered;
	book->counts.altered += altered;
	if (expected > 0) {
		book->counts.doubled += extra;
		extra = 0;
	}
	if (expected > matched || extra > 0)
		strays_add(book->strays, e->loose, expected - matched, extra);
	settle_flow(book, e, matched, expected - matched);
}

/* Frees the slot, and moves the entries behind it forward that it held off their place (Knuth,
 * volume 3, section 6.4, algorithm R). */
static void drop(struct book *book, size_t hole)
{
	size_t at = hole;

	for (;;) {
		size_t home;

		at = (at + 1) & book->mask;
		if (!book->entries[at].key)
			break;
		home = book->entries[at].key & book->mask;
		if (((at - home) & book->mask) >= ((at - hole) & book->mask)) {
			book->entries[hole] = book->entries[at];
			hole = at;
		}
	}
	book->entries[hole].key = 0;
	book->used--;
}

/* Entries that don't balance may wait for their copy as long as there is room. */
static bool is_settled(const struct book *book, const struct entry *e, uint64_t now)
{
	uint16_t age = (ticks(now) - e->touched) & ((1U << TOUCHED_BITS) - 1);
	bool tight = book->used > book->limit / 4 * 3;
	bool balanced = e->copied == expected_of(e);

	if (!balanced && book->used < book->limit / 2)
		return false;
	return age > (tight ? PATIENCE_TIGHT : PATIENCE) / TICK;
}

void book_sweep(struct book *book, unsigned parts, uint64_t now)
{
	for (size_t left = book->mask / parts + 1; left > 0;) {
		struct entry *e = &book->entries[book->hand];

		if (e->key && is_settled(book, e, now)) {
			settle(book, e);
			drop(book, book->hand); /* another entry may stand here now */
			continue;
		}
		book->hand = (book->hand + 1) & book->mask;
		left--;
	}
}

void book_close(struct book *book)
{
	for (size_t i = 0; i <= book->mask; i++) {
		if (book->entries[i].key)
			settle(book, &book->entries[i]);
	}
	strays_settle(book->strays);
}

void book_counts(const struct book *book, struct proof_counts *counts)
{
	struct stray_sums strays = strays_sums(book->strays);

	*counts = book->counts;
	counts->altered += strays.altered;
	counts->other += strays.extra;
	if (book->partial)
		counts->left_out += strays.missing;
	else
		counts->lost += strays.missing;
	if (book->flows) {
		counts->flows = flows_count(book->flows);
		counts->split = flows_split(book->flows);
	}
}
