/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "memory/memory.h"
#include "portmirror/proof.h"
#include "portmirror/proof_book.h"
#include "portmirror/proof_frame.h"

enum { VLAN5 = 0x81000005, VLAN6 = 0x81000006 };

static struct book *book;

static int set_up(void **state)
{
	(void)state;
	book = scarce_made(book_new(1 << 14, BOOK_FULL));
	return book ? 0 : -1;
}

static int tear_down(void **state)
{
	(void)state;
	book_free(book);
	book_free(NULL);
	return 0;
}

static void see_tagged(uint64_t key, enum book_side side, unsigned source, uint32_t tag)
{
	struct frame_mark mark = {.key = key, .loose = key >> 8, .tag = tag};
	struct book_view view = {.side = side, .source = (uint16_t)source, .inside = true};

	assert_true(book_add(book, &mark, &view, 0));
}

static void see(uint64_t key, enum book_side side, unsigned source)
{
	see_tagged(key, side, source, 0);
}

static void see_outside(uint64_t key, enum book_side side)
{
	struct frame_mark mark = {.key = key, .loose = key >> 8};
	struct book_view view = {.side = side};

	assert_true(book_add(book, &mark, &view, 0));
}

/* expected, copied, lost, doubled, altered, other */
static void expect_now(const uint64_t want[6])
{
	struct proof_counts c = {0};

	book_counts(book, &c);
	assert_int_equal(c.expected, want[0]);
	assert_int_equal(c.copied, want[1]);
	assert_int_equal(c.lost, want[2]);
	assert_int_equal(c.doubled, want[3]);
	assert_int_equal(c.altered, want[4]);
	assert_int_equal(c.other, want[5]);
}

#define EXPECT(...) expect_now((const uint64_t[6]){__VA_ARGS__})
#define CLOSED(...) (book_close(book), EXPECT(__VA_ARGS__))

static void test_copied_once(void **state)
{
	(void)state;
	see(0x100, BOOK_COPIED, 0); /* in any order */
	see(0x100, BOOK_SENT, 0);
	see(0, BOOK_SENT, 0); /* a hash of 0 is a hash as any other */
	see(0, BOOK_COPIED, 0);
	CLOSED(2, 2, 0, 0, 0, 0);
}

static void test_lost_doubled_other(void **state)
{
	(void)state;
	see(0x100, BOOK_SENT, 0);
	see(0x200, BOOK_SENT, 0);
	see(0x200, BOOK_COPIED, 0);
	see(0x200, BOOK_COPIED, 0);
	see(0x300, BOOK_COPIED, 0);
	CLOSED(2, 1, 1, 1, 0, 1);
}

static void test_multiplicity(void **state)
{
	(void)state;
	for (int i = 0; i < 5; i++)
		see(0x100, BOOK_SENT, 0);
	for (int i = 0; i < 3; i++)
		see(0x100, BOOK_COPIED, 0);
	CLOSED(5, 3, 2, 0, 0, 0);
}

/* It enters at a mirrored port, or at another one, and reaches the host by the bridge: one copy. */
static void test_passed_on_to_the_host(void **state)
{
	(void)state;
	see(0x100, BOOK_SENT, 0);
	see(0x100, BOOK_PASSED, 1);
	see(0x100, BOOK_COPIED, 0);
	see(0x100, BOOK_COPIED, 0);
	see(0x200, BOOK_RECEIVED, 0);
	see(0x200, BOOK_PASSED, 1);
	see(0x200, BOOK_COPIED, 0);
	see(0x300, BOOK_PASSED, 1);
	see(0x300, BOOK_COPIED, 0);
	CLOSED(3, 3, 0, 1, 0, 0);
}

/* It enters at one mirrored port and leaves at three: one copy. */
static void test_between_sources(void **state)
{
	(void)state;
	see(0x100, BOOK_SENT, 0);
	for (unsigned source = 1; source < 4; source++)
		see(0x100, BOOK_RECEIVED, source);
	see(0x100, BOOK_COPIED, 0);
	CLOSED(1, 1, 0, 0, 0, 0);
}

/* It comes from elsewhere and is flooded to three mirrored ports, twice. */
static void test_flooded(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 6; i++)
		see(0x100, BOOK_RECEIVED, i % 3);
	see(0x100, BOOK_COPIED, 0);
	see(0x100, BOOK_COPIED, 0);
	CLOSED(2, 2, 0, 0, 0, 0);
}

static void test_tag_lost(void **state)
{
	(void)state;
	see_tagged(0x100, BOOK_SENT, 0, VLAN5);
	see_tagged(0x100, BOOK_COPIED, 0, 0);
	see_tagged(0x200, BOOK_RECEIVED, 0, VLAN5);
	see_tagged(0x200, BOOK_COPIED, 0, 0);
	CLOSED(2, 0, 0, 0, 2, 0);
}

/* The same content in two VLANs; both copies in one of them. */
static void test_tag_changed(void **state)
{
	(void)state;
	see_tagged(0x100, BOOK_SENT, 0, VLAN5);
	see_tagged(0x100, BOOK_SENT, 0, VLAN6);
	see_tagged(0x100, BOOK_COPIED, 0, VLAN6);
	see_tagged(0x100, BOOK_COPIED, 0, VLAN6);
	CLOSED(2, 1, 0, 0, 1, 0);
}

/* From an access port to a trunk: the copy is made on the way in, without a tag. */
static void test_bridge_adds_tag(void **state)
{
	(void)state;
	see_tagged(0x100, BOOK_SENT, 0, 0);
	see_tagged(0x100, BOOK_RECEIVED, 1, VLAN5);
	see_tagged(0x100, BOOK_COPIED, 0, 0);
	see_tagged(0x200, BOOK_SENT, 0, 0);
	see_tagged(0x200, BOOK_RECEIVED, 1, VLAN5);
	see_tagged(0x200, BOOK_COPIED, 0, VLAN5);
	CLOSED(2, 1, 0, 0, 1, 0);
}

/* Flooded to a trunk and to an access port: the one copy may be of either. */
static void test_flooded_tags(void **state)
{
	(void)state;
	see_tagged(0x100, BOOK_RECEIVED, 0, VLAN5);
	see_tagged(0x100, BOOK_RECEIVED, 1, 0);
	see_tagged(0x100, BOOK_COPIED, 0, 0);
	see_tagged(0x200, BOOK_RECEIVED, 0, VLAN5);
	see_tagged(0x200, BOOK_RECEIVED, 1, 0);
	see_tagged(0x200, BOOK_COPIED, 0, VLAN5);
	CLOSED(2, 2, 0, 0, 0, 0);
}

static void test_altered(void **state)
{
	(void)state;
	see(0x101, BOOK_SENT, 0); /* the same loose key */
	see(0x102, BOOK_COPIED, 0);
	see(0x201, BOOK_SENT, 0);
	see(0x202, BOOK_COPIED, 0);
	see(0x203, BOOK_COPIED, 0);
	CLOSED(2, 0, 0, 0, 2, 1);
}

/* Frames at the edges: nothing is demanded, nothing is blamed. */
static void test_edges(void **state)
{
	(void)state;
	see_outside(0x100, BOOK_SENT); /* before it began; its copy was seen inside */
	see(0x100, BOOK_COPIED, 0);
	see(0x200, BOOK_SENT, 0); /* inside; its copy came after the end */
	see_outside(0x200, BOOK_COPIED);
	see_outside(0x300, BOOK_COPIED);
	see_outside(0x400, BOOK_SENT);
	for (int i = 0; i < 3; i++) {
		see_outside(0x500, BOOK_SENT); /* ever the same frame, across the edge */
		see(0x500, BOOK_SENT, 0);
		see(0x500, BOOK_COPIED, 0);
		see(0x500, BOOK_COPIED, 0);
	}
	CLOSED(4, 4, 0, 0, 0, 0);
}

static void test_sweep(void **state)
{
	struct frame_mark mark = {.key = 0x300};
	struct book_view sent = {.side = BOOK_SENT, .inside = true};
	struct book_view copied = {.side = BOOK_COPIED, .inside = true};

	(void)state;
	see(0x100, BOOK_SENT, 0);
	see(0x100, BOOK_COPIED, 0);
	see(0x200, BOOK_SENT, 0);
	assert_true(book_add(book, &mark, &sent, 1000));
	assert_true(book_add(book, &mark, &copied, 1000));
	book_sweep(book, 1, 1000);
	EXPECT(0, 0, 0, 0, 0, 0); /* too young */
	book_sweep(book, 1, 2000);
	EXPECT(1, 1, 0, 0, 0, 0); /* 0x200 waits on, 0x300 is young */
	see(0x200, BOOK_COPIED, 0);
	CLOSED(3, 3, 0, 0, 0, 0);
}

/* Keys that collide as hashes do. */
static uint64_t scatter(uint64_t i)
{
	i = (i + 1) * UINT64_C(0x9e3779b97f4a7c15);
	return (i ^ i >> 29) * UINT64_C(0xbf58476d1ce4e5b9);
}

/* Many frames, in rounds, each a round late at the destination: the book grows and recycles, and
 * loses none. Every 100th is lost, and every 1000th doubled. */
static void test_many(void **state)
{
	enum { ROUNDS = 60, EACH = 1000 };
	struct book_view sent = {.side = BOOK_SENT, .inside = true};
	struct book_view copied = {.side = BOOK_COPIED, .inside = true};

	(void)state;
	for (uint64_t i = 0; i < ROUNDS * EACH + EACH; i++) {
		uint64_t late = i - EACH;
		struct frame_mark mark = {.key = scatter(i), .loose = i};

		if (i < ROUNDS * EACH)
			assert_true(book_add(book, &mark, &sent, i / 4));
		mark = (struct frame_mark){.key = scatter(late), .loose = late};
		if (i >= EACH && late % 100 != 0)
			assert_true(book_add(book, &mark, &copied, i / 4));
		if (i >= EACH && late % 1000 == 1)
			assert_true(book_add(book, &mark, &copied, i / 4));
		if (i % EACH == 0)
			book_sweep(book, 4, i / 4);
	}
	CLOSED(60000, 59400, 600, 60, 0, 0);
}

/* A full book refuses, and what is in it stays right. */
static void test_full(void **state)
{
	struct book_view sent = {.side = BOOK_SENT, .inside = true};
	struct proof_counts c = {0};
	uint64_t in = 0;

	(void)state;
	for (uint64_t i = 1; i <= 20000; i++) {
		struct frame_mark mark = {.key = scatter(i), .loose = i};

		in += book_add(book, &mark, &sent, 0);
	}
	assert_in_range(in, (1 << 14) / 2, (1 << 14) - 1);
	book_sweep(book, 1, 1600); /* none balances, but room is needed */
	book_counts(book, &c);
	assert_in_range(c.expected, in / 4, in - 1); /* some wait on for their copies */
	see(1, BOOK_SENT, 0);
	CLOSED(in + 1, 0, in + 1, 0, 0, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_copied_once),
		TEST(test_lost_doubled_other),
		TEST(test_multiplicity),
		TEST(test_between_sources),
		TEST(test_passed_on_to_the_host),
		TEST(test_flooded),
		TEST(test_tag_lost),
		TEST(test_tag_changed),
		TEST(test_bridge_adds_tag),
		TEST(test_flooded_tags),
		TEST(test_altered),
		TEST(test_edges),
		TEST(test_sweep),
		TEST(test_many),
		TEST(test_full),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
