/* SPDX-License-Identifier: MIT */
/* Copies that are cut, and what flow a frame belongs to. */
#include <netinet/in.h>

#include "proof_frames.h"

static uint64_t key_of(const struct bytes *b)
{
	return mark_by(b, b->len, 0, &(struct frame_terms){.blur = FRAME_EXACT}).key;
}

static bool same(struct frame_mark a, struct frame_mark b)
{
	return a.key == b.key && a.tag == b.tag;
}

/* Of a copy the first bytes count, no more and no less; whatever it ends in the midst of. */
static void test_snap(void **state)
{
	(void)state;
	for (size_t snap = 64; snap < 100; snap++) {
		const struct frame_terms terms = {.snap = snap};

		for (size_t i = 0; i < KINDS; i++) {
			struct segment unfinished = kinds[i];
			struct bytes a = build(&kinds[i]), b;
			struct frame_mark whole = mark_by(&a, a.len, 0, &terms);

			unfinished.checksum = 0x1234;
			b = build(&unfinished);
			assert_true(same(whole, mark_by(&b, snap, 0, &terms)));
			assert_false(same(whole, mark_by(&b, snap - 1, 0, &terms)));
			assert_false(same(whole, mark_by(&b, snap - 5, 0, &terms)));
			for (size_t at = 0; at < snap; at++) {
				b = a;
				b.at[at] ^= 1;
				if (key_of(&a) != key_of(&b))
					assert_false(same(whole, mark_by(&b, snap, 0, &terms)));
			}
		}
	}
}

/* The tag is one of the bytes; a view without it is of the same frame. */
static void test_snap_tags(void **state)
{
	const struct frame_terms terms = {.snap = 96};
	struct bytes plain = build(&kinds[0]);
	struct bytes once = tagged(&plain, 0x81000005);
	struct frame_mark inside = mark_by(&once, 96, 0, &terms);
	struct frame_mark outside = mark_by(&plain, 92, 0x81000005, &terms);
	struct frame_mark none = mark_by(&plain, 96, 0, &terms);

	(void)state;
	assert_true(same(inside, outside));
	assert_true(same(inside, mark_by(&plain, plain.len, 0x81000005, &terms)));
	assert_int_equal(none.key, inside.key);
	assert_int_not_equal(none.tag, inside.tag);
	assert_int_not_equal(none.tag, 0);
	assert_int_not_equal(none.tag, mark_by(&plain, 95, 0, &terms).tag);
	assert_int_equal(mark_by(&plain, 92, 0, &terms).tag, 0);
	assert_int_not_equal(mark_by(&plain, 91, 0x81000005, &terms).key, inside.key);
}

static bool too_long(const struct bytes *b, size_t len, size_t snap)
{
	struct bytes copy = *b;
	struct frame frame = {.bytes = copy.at, .len = len};

	return frame_too_long(&frame, snap);
}

/* The kernel leaves a checksum whole that is still to be filled in. */
static void test_too_long(void **state)
{
	struct bytes tcp6 = build(&kinds[1]); /* the checksum ends at 72 */
	struct bytes udp = build(&(struct segment){.udp = true, .len = 300});

	(void)state;
	assert_false(too_long(&udp, 64, 64));
	assert_false(too_long(&udp, 50, 64));
	assert_true(too_long(&udp, 65, 64));
	assert_false(too_long(&tcp6, 64, 64));
	assert_false(too_long(&tcp6, 128, 64));
	assert_true(too_long(&tcp6, 129, 64));
	assert_false(too_long(&tcp6, 72, 72));
	assert_true(too_long(&tcp6, 73, 72));
	tcp6.at[20] = IPPROTO_SCTP; /* its checksum ends at 66 */
	assert_false(too_long(&tcp6, 66, 66));
	assert_true(too_long(&tcp6, 67, 66));
	assert_false(too_long(&tcp6, 130, 65));
	assert_true(too_long(&tcp6, 131, 65));
	tcp6.at[20] = IPPROTO_GRE;
	assert_false(too_long(&tcp6, tcp6.len, 64));
	udp.at[36] = 4789 >> 8; /* a tunnel's, which the kernel may have made itself */
	udp.at[37] = 4789 & 0xff;
	assert_false(too_long(&udp, udp.len, 64));
}

static void test_tcp_data(void **state)
{
	struct bytes tcp = build(&kinds[0]);
	struct bytes udp = build(&(struct segment){.udp = true, .len = 300});

	(void)state;
	assert_true(frame_is_tcp_data(&(struct frame){.bytes = tcp.at, .len = tcp.len}));
	assert_false(frame_is_tcp_data(&(struct frame){.bytes = tcp.at, .len = 54}));
	assert_false(frame_is_tcp_data(&(struct frame){.bytes = tcp.at, .len = 40}));
	assert_false(frame_is_tcp_data(&(struct frame){.bytes = udp.at, .len = udp.len}));
}

static void swap(struct bytes *b, size_t one, size_t other, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		uint8_t byte = b->at[one + i];

		b->at[one + i] = b->at[other + i];
		b->at[other + i] = byte;
	}
}

static uint64_t flow_of(const struct bytes *b, size_t snap)
{
	return mark_by(b, b->len, 0, &(struct frame_terms){.flows = true, .snap = snap}).flow;
}

/* The answer, at all layers. */
static struct bytes answer(const struct bytes *b, bool ipv6)
{
	struct bytes a = *b;

	swap(&a, 0, 6, 6);
	swap(&a, ipv6 ? 22 : 26, ipv6 ? 38 : 30, ipv6 ? 16 : 4);
	swap(&a, ipv6 ? 54 : 34, ipv6 ? 56 : 36, 2);
	return a;
}

static void test_flows(void **state)
{
	(void)state;
	for (size_t i = 0; i < KINDS; i++) {
		struct bytes a = build(&kinds[i]);
		struct bytes b = answer(&a, kinds[i].ipv6);
		struct bytes tag = tagged(&a, 0x81000005);
		size_t ports = kinds[i].ipv6 ? 54 : 34;

		assert_int_not_equal(flow_of(&a, 0), 0);
		assert_int_equal(flow_of(&a, 0), flow_of(&b, 0));
		assert_int_equal(flow_of(&a, 0), flow_of(&tag, 0));
		assert_int_equal(flow_of(&a, 0), flow_of(&a, 64));
		b.at[ports] ^= 1;
		assert_int_not_equal(flow_of(&a, 0), flow_of(&b, 0));
		b = answer(&a, kinds[i].ipv6);
		b.at[ports - 1] ^= 1; /* an address */
		assert_int_not_equal(flow_of(&a, 0), flow_of(&b, 0));
	}
}

/* Fragments, the first among them, and tunnels go by their addresses. */
static void test_flows_without_ports(void **state)
{
	struct bytes first = build(&(struct segment){.udp = true, .len = 300}), later, tunnel;

	(void)state;
	tunnel = first;
	tunnel.at[36] = 6081 >> 8;
	tunnel.at[37] = 6081 & 0xff;
	first.at[20] = 0x20;
	later = first;
	later.at[21] = 9;
	later.at[34] ^= 0x55; /* no port */
	assert_int_equal(flow_of(&first, 0), flow_of(&later, 0));
	later = tunnel;
	later.at[34] ^= 0x55;
	assert_int_equal(flow_of(&tunnel, 0), flow_of(&later, 0));
	later.at[12] = 0x88; /* no IP: by the MAC addresses and the type */
	later.at[13] = 0xb5;
	tunnel = later;
	swap(&tunnel, 0, 6, 6);
	tunnel.at[30] ^= 1;
	assert_int_equal(flow_of(&tunnel, 0), flow_of(&later, 0));
	tunnel.at[3] ^= 1;
	assert_int_not_equal(flow_of(&tunnel, 0), flow_of(&later, 0));
}

/* A copy that ends in front of the ports doesn't tell. */
static void test_flow_behind_the_end(void **state)
{
	struct bytes a = build(&kinds[1]);
	struct bytes tag = tagged(&a, 0x81000005);
	struct bytes tags = tagged(&tag, 0x88a80007);

	(void)state;
	assert_int_not_equal(flow_of(&tags, 66), 0);
	assert_int_equal(flow_of(&tags, 65), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_snap),
		cmocka_unit_test(test_snap_tags),
		cmocka_unit_test(test_too_long),
		cmocka_unit_test(test_tcp_data),
		cmocka_unit_test(test_flows),
		cmocka_unit_test(test_flows_without_ports),
		cmocka_unit_test(test_flow_behind_the_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
