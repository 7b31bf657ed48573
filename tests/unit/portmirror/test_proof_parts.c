/* SPDX-License-Identifier: MIT */
/* The book of sessions of which copies are a part, or shared out by flow. */
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
#include "portmirror/proof_flows.h"
#include "portmirror/proof_frame.h"
#include "portmirror/proof_strays.h"

static struct book *book;

static int set_up_kind(unsigned kind)
{
	book = book_new(1 << 14, kind);
	return book ? 0 : -1;
}

static int set_up_partial(void **state)
{
	(void)state;
	return set_up_kind(BOOK_PARTIAL);
}

static int set_up_flows(void **state)
{
	(void)state;
	return set_up_kind(BOOK_FLOWS);
}

static int set_up_whole_flows(void **state)
{
	(void)state;
	return set_up_kind(BOOK_WHOLE_FLOWS);
}

static int tear_down(void **state)
{
	(void)state;
	book_free(book);
	return 0;
}

static void see(uint64_t key, enum book_side side, unsigned source)
{
	struct frame_mark mark = {.key = key, .loose = key >> 8};
	struct book_view view = {.side = side, .source = (uint16_t)source, .inside = true};

	assert_true(book_add(book, &mark, &view, 0));
}

/* Of a flow (0: it can't be told), at a destination. */
static void see_flow(uint64_t key, enum book_side side, unsigned destination, uint64_t flow)
{
	struct frame_mark mark = {.key = key, .loose = key, .flow = flow << 20 | flow};
	struct book_view view = {.side = side, .source = (uint16_t)destination, .inside = true};

	assert_true(book_add(book, &mark, &view, 0));
}

static struct proof_counts closed(void)
{
	struct proof_counts c = {0};

	book_close(book);
	book_counts(book, &c);
	assert_int_equal(c.expected, c.copied + c.lost + c.left_out + c.altered);
	return c;
}

/* Keys that collide as hashes do. */
static uint64_t scatter(uint64_t i)
{
	i = (i + 1) * UINT64_C(0x9e3779b97f4a7c15);
	return (i ^ i >> 29) * UINT64_C(0xbf58476d1ce4e5b9);
}

/* What is missing was left out; all else is looked at as ever. */
static void test_partial(void **state)
{
	struct proof_counts c;

	(void)state;
	for (uint64_t key = 0x1000; key < 0x2000; key += 0x100)
		see(key, BOOK_SENT, 0);
	see(0x1000, BOOK_COPIED, 0);
	see(0x1100, BOOK_COPIED, 0);
	see(0x1100, BOOK_COPIED, 0);
	see(0x1201, BOOK_COPIED, 0); /* 0x1200, altered */
	see(0x2000, BOOK_COPIED, 0);
	c = closed();
	assert_int_equal(c.expected, 16);
	assert_int_equal(c.copied, 2);
	assert_int_equal(c.left_out, 13);
	assert_int_equal(c.lost, 0);
	assert_int_equal(c.doubled, 1);
	assert_int_equal(c.altered, 1);
	assert_int_equal(c.other, 1);
	assert_int_equal(c.flows, 0);
}

/* So many are left out that what is known of the first is forgotten; one that is altered is found
 * out all the same. */
static void test_partial_many(void **state)
{
	enum { MANY = 1000 * 1000 };
	struct book_view sent = {.side = BOOK_SENT, .inside = true};
	struct book_view copied = {.side = BOOK_COPIED, .inside = true};
	struct proof_counts c;

	(void)state;
	for (uint64_t i = 0; i < MANY; i++) {
		struct frame_mark mark = {.key = scatter(i), .loose = scatter(i)};
		uint64_t now = i / 5;

		assert_true(book_add(book, &mark, &sent, now));
		mark.key++;
		if (i % 1000 == 7)
			assert_true(book_add(book, &mark, &copied, now));
		if (i % 50 == 0)
			book_sweep(book, 50, now);
	}
	c = closed();
	assert_int_equal(c.altered, MANY / 1000);
	assert_int_equal(c.left_out, MANY - MANY / 1000);
	assert_int_equal(c.other, 0);
}

/* Its other half is still known when as many others have come in between as there is room for. */
static void test_strays_of_two_generations(void **state)
{
	enum { MANY = 250 * 1000 };
	struct strays *strays = scarce_made(strays_new());
	struct stray_sums sums;

	(void)state;
	assert_non_null(strays);
	strays_add(strays, 1, 2, 0);
	for (uint64_t i = 0; i < MANY; i++)
		strays_add(strays, scatter(i), 1, 0);
	sums = strays_sums(strays);
	assert_int_equal(sums.missing + sums.extra, 0);
	strays_add(strays, 1, 0, 3);
	strays_settle(strays);
	sums = strays_sums(strays);
	assert_int_equal(sums.altered, 2);
	assert_int_equal(sums.extra, 1);
	assert_int_equal(sums.missing, MANY);
	strays_free(strays);
}

static void test_flows_together(void **state)
{
	struct proof_counts c;

	(void)state;
	for (uint64_t i = 1; i <= 100; i++) {
		uint64_t flow = i % 10 + 1;

		see_flow(i, BOOK_SENT, 0, flow);
		see_flow(i, BOOK_COPIED, (unsigned)flow % 16, flow);
	}
	see_flow(200, BOOK_SENT, 0, 99);  /* a lost one is at no other place */
	see_flow(201, BOOK_COPIED, 3, 1); /* nor is one that no source has shown */
	see_flow(202, BOOK_SENT, 0, 0);
	see_flow(202, BOOK_COPIED, 1, 0); /* of no flow */
	see_flow(203, BOOK_SENT, 0, 0);
	see_flow(203, BOOK_COPIED, 2, 0);
	c = closed();
	assert_int_equal(c.flows, 10);
	assert_int_equal(c.split, 0);
	assert_int_equal(c.lost, 1);
	assert_int_equal(c.copied, 102);
}

static void test_flows_split(void **state)
{
	struct proof_counts c;

	(void)state;
	for (uint64_t i = 1; i <= 100; i++) {
		see_flow(i, BOOK_SENT, 0, i % 10 + 1);
		see_flow(i, BOOK_COPIED, i % 30 == 0, i % 10 + 1);
	}
	see_flow(300, BOOK_SENT, 0, 7);
	see_flow(300, BOOK_COPIED, 15, 7); /* the same frame at two */
	see_flow(300, BOOK_COPIED, 0, 7);
	c = closed();
	assert_int_equal(c.flows, 10);
	assert_int_equal(c.split, 2); /* 1, more than once, and 7 */
	assert_int_equal(c.doubled, 1);
	assert_int_equal(c.lost, 0);
}

/* Lost and extra are still told apart by what little is kept of the loose key. */
static void test_flows_altered(void **state)
{
	struct frame_mark mark = {.key = 1, .loose = 0x10, .flow = 77};
	struct book_view view = {.side = BOOK_SENT, .inside = true};
	struct proof_counts c;

	(void)state;
	assert_true(book_add(book, &mark, &view, 0));
	view.side = BOOK_COPIED;
	mark = (struct frame_mark){.key = 2, .loose = 0x10, .flow = 77};
	assert_true(book_add(book, &mark, &view, 0));
	mark = (struct frame_mark){.key = 3, .loose = 0x20, .flow = 77};
	assert_true(book_add(book, &mark, &view, 0));
	c = closed();
	assert_int_equal(c.altered, 1);
	assert_int_equal(c.lost, 0);
	assert_int_equal(c.other, 1);
}

static void test_whole_flows(void **state)
{
	struct proof_counts c;

	(void)state;
	for (uint64_t i = 1; i <= 100; i++) {
		uint64_t flow = i % 10 + 1;

		see_flow(i, BOOK_SENT, 0, flow);
		if (flow < 4 && i != 42)
			see_flow(i, BOOK_COPIED, 0, flow);
	}
	c = closed();
	assert_int_equal(c.flows, 10);
	assert_int_equal(c.split, 1);
	assert_int_equal(c.copied, 29);
	assert_int_equal(c.left_out, 71);
}

/* Two flows that would stand in the same slot, and one more at two places. */
static void test_flows_that_meet(void **state)
{
	const uint64_t one = UINT64_C(1) << FLOWS_LOST_BITS, far = UINT64_C(1) << 62;
	struct flows *flows = scarce_made(flows_new());

	(void)state;
	for (int i = 0; i < 2; i++) {
		flows_add(flows, one, 1);
		flows_add(flows, one | far, 2);
		flows_add(flows, 2 * one, (unsigned)i);
	}
	assert_int_equal(flows_count(flows), 3);
	assert_int_equal(flows_split(flows), 1);
	flows_free(flows);
}

/* There is no room for more: those that are known are still looked at. */
static void test_more_flows_than_there_is_room_for(void **state)
{
	enum { MANY = 300 * 1000 };
	struct flows *flows = scarce_made(flows_new());
	uint64_t known;

	(void)state;
	for (uint64_t i = 1; i <= MANY; i++)
		flows_add(flows, i << FLOWS_LOST_BITS, 1);
	known = flows_count(flows);
	assert_in_range(known, 200 * 1000, MANY - 1);
	flows_add(flows, (uint64_t)MANY << FLOWS_LOST_BITS, 2);
	assert_int_equal(flows_split(flows), 0);
	flows_add(flows, UINT64_C(1) << FLOWS_LOST_BITS, 2);
	assert_int_equal(flows_split(flows), 1);
	assert_int_equal(flows_count(flows), known);
	flows_free(flows);
}

#define KIND(name, kind) cmocka_unit_test_setup_teardown(name, kind, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		KIND(test_partial, set_up_partial),
		KIND(test_partial_many, set_up_partial),
		cmocka_unit_test(test_strays_of_two_generations),
		KIND(test_flows_together, set_up_flows),
		KIND(test_flows_split, set_up_flows),
		KIND(test_flows_altered, set_up_flows),
		KIND(test_whole_flows, set_up_whole_flows),
		cmocka_unit_test(test_flows_that_meet),
		cmocka_unit_test(test_more_flows_than_there_is_room_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
