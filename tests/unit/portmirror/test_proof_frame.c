/* SPDX-License-Identifier: MIT */
#include "proof_frames.h"

enum { GSO_TCPV4 = 1, GSO_TCPV6 = 4, GSO_UDP = 5 }; /* virtio_net.h */
static struct frame_mark mark_of(const struct bytes *b, size_t len, uint32_t tag,
				 enum frame_blur blur)
{
	return mark_by(b, len, tag, &(struct frame_terms){.blur = blur});
}

static struct frame_mark mark(const struct bytes *b)
{
	return mark_of(b, b->len, 0, FRAME_EXACT);
}

static void test_checksum_left_out(void **state)
{
	(void)state;
	for (size_t i = 0; i < KINDS; i++) {
		struct segment other = kinds[i];
		struct bytes a = build(&kinds[i]);
		struct bytes b;

		other.checksum = 0x1234;
		b = build(&other);
		assert_int_equal(mark(&a).key, mark(&b).key);
	}
}

/* Every byte counts but for the checksum's two. */
static void test_each_byte_counts(void **state)
{
	(void)state;
	for (size_t i = 0; i < KINDS; i++) {
		struct bytes a = build(&kinds[i]);
		uint64_t key = mark(&a).key;
		unsigned same = 0;

		for (size_t at = 0; at < a.len; at++) {
			a.at[at] ^= 1;
			same += mark(&a).key == key;
			a.at[at] ^= 1;
		}
		assert_int_equal(same, 2);
		assert_int_not_equal(mark_of(&a, a.len - 1, 0, FRAME_EXACT).key, key);
	}
}

/* Changed payload, TTL, or a cut: another content, but it is known by its name. */
static void test_loose(void **state)
{
	(void)state;
	for (size_t i = 0; i < KINDS; i++) {
		struct bytes a = build(&kinds[i]);
		uint64_t loose = mark(&a).loose;

		assert_int_equal(mark_of(&a, a.len - 30, 0, FRAME_EXACT).loose, loose);
		a.at[a.len - 1] ^= 1;
		a.at[kinds[i].ipv6 ? 21 : 22]--;
		assert_int_equal(mark(&a).loose, loose);
		a.at[0] ^= 4;
		assert_int_not_equal(mark(&a).loose, loose);
	}
}

static void test_tags(void **state)
{
	struct bytes plain = build(&kinds[0]);
	struct bytes once = tagged(&plain, 0x81000005);
	struct bytes twice = tagged(&once, 0x88a80064);
	struct frame_mark inside = mark(&once);
	struct frame_mark outside = mark_of(&plain, plain.len, 0x81000005, FRAME_EXACT);
	struct frame_mark both = mark_of(&once, once.len, 0x88a80064, FRAME_EXACT);

	(void)state;
	assert_int_equal(inside.key, outside.key);
	assert_int_equal(inside.key, mark(&plain).key);
	assert_int_equal(inside.tag, 0x81000005);
	assert_int_equal(outside.tag, 0x81000005);
	assert_int_equal(mark(&plain).tag, 0);
	assert_int_equal(mark(&twice).tag, 0x88a80064);
	assert_int_equal(mark(&twice).key, both.key);
	assert_int_not_equal(both.key, inside.key); /* the inner tag is content */
	assert_int_equal(both.loose, inside.loose);
}

/* RFC 4302: its length is counted otherwise than that of the other headers. */
static void test_ipv6_authentication(void **state)
{
	struct bytes a = build(&kinds[1]);
	struct bytes b = {.len = 0};

	(void)state;
	a.at[20] = 51;
	put(&b, a.at, 54);
	put(&b, "\x06\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 24);
	put(&b, a.at + 54, a.len - 54);
	a = b;
	a.at[54 + 24 + 17] ^= 0xff; /* its checksum */
	assert_int_equal(mark(&a).key, mark(&b).key);
}

/* An ESP header behind two extension headers isn't taken for a transport header. */
static void test_ipv6_extensions(void **state)
{
	struct bytes a = build(&kinds[1]);
	struct bytes b = {.len = 0};

	(void)state;
	a.at[20] = 0; /* hop by hop */
	put(&b, a.at, 54);
	put(&b, "\x3c\0\0\0\0\0\0\0", 8);		     /* options */
	put(&b, "\x06\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 16); /* TCP follows */
	put(&b, a.at + 54, a.len - 54);
	a = b;
	a.at[54 + 24 + 16] ^= 0xff; /* its checksum */
	assert_int_equal(mark(&a).key, mark(&b).key);
	b.at[62] = 50;
	a.at[62] = 50;
	assert_int_not_equal(mark(&a).key, mark(&b).key);
}

/* Only the first fragment has a transport header; what follows is told apart by all its bytes. */
static void test_ipv6_fragments(void **state)
{
	struct bytes a = build(&kinds[1]);
	struct bytes b = {.len = 0};

	(void)state;
	a.at[20] = 44;
	put(&b, a.at, 54);
	put(&b, "\x06\0\0\x01\0\0\0\x07", 8); /* more of them follow */
	put(&b, a.at + 54, a.len - 54);
	a = b;
	a.at[54 + 8 + 16] ^= 0xff; /* its checksum */
	assert_int_equal(mark(&a).key, mark(&b).key);
	b.at[57] = a.at[57] = 0x09; /* at byte 8 of the packet */
	assert_int_not_equal(mark(&a).key, mark(&b).key);
	assert_int_equal(mark(&a).loose, mark(&a).loose);
}

static void test_sctp(void **state)
{
	struct bytes a = build(&kinds[1]), b;

	(void)state;
	a.at[20] = 132;
	b = a;
	b.at[54 + 8] ^= 0xff; /* its checksum */
	assert_int_equal(mark(&a).key, mark(&b).key);
	b.at[54 + 12] ^= 0xff;
	assert_int_not_equal(mark(&a).key, mark(&b).key);
}

/* An IPv4 header of which the options are cut off: nothing is known of what would follow. */
static void test_ipv4_options_cut_off(void **state)
{
	struct bytes a = build(&kinds[0]);
	uint64_t key;

	(void)state;
	a.at[14] = 0x4f; /* 60 bytes */
	a.len = 60;
	key = mark(&a).key;
	for (size_t at = 34; at < a.len; at++) {
		a.at[at] ^= 1;
		assert_int_not_equal(mark(&a).key, key);
		a.at[at] ^= 1;
	}
}

/* Not a super-frame, whatever kind it says it is. */
static void test_not_to_be_cut(void **state)
{
	struct bytes b = build(&kinds[0]);
	struct frame frame = {.bytes = b.at, .len = b.len, .gso_type = GSO_TCPV4};
	struct frame_cut cut;

	(void)state;
	assert_false(frame_cut_begin(&cut, &frame, &(struct frame_terms){.blur = FRAME_EXACT}));
}

static void cut_and_compare(struct segment whole, uint8_t gso_type, uint16_t size,
			    enum frame_blur blur, uint32_t tag)
{
	struct bytes super = build(&whole);
	uint8_t *copy = malloc(super.len);
	struct frame frame = {.bytes = copy,
			      .len = super.len,
			      .tag = tag,
			      .gso_type = gso_type,
			      .gso_size = size};
	struct frame_cut cut;
	struct frame_mark got;
	size_t len, number = 0;

	assert_non_null(copy);
	memcpy(copy, super.at, super.len);
	assert_true(frame_cut_begin(&cut, &frame, &(struct frame_terms){.blur = blur}));
	for (size_t at = 0; at < whole.len; at += size, number++) {
		struct segment s = whole;
		struct bytes want;

		s.from = at;
		s.len = whole.len - at < size ? whole.len - at : size;
		s.seq = whole.seq + (unsigned)at;
		s.id = (whole.id + (unsigned)number) & 0xffff;
		if (at > 0)
			s.flags &= ~(unsigned)CWR;
		if (at + s.len < whole.len)
			s.flags &= ~(unsigned)(FIN | PSH);
		want = build(&s);
		assert_true(frame_cut_next(&cut, &got, &len));
		assert_int_equal(len, want.len);
		assert_int_equal(got.tag, tag);
		assert_int_equal(got.key, mark_of(&want, want.len, 0, blur).key);
		assert_int_equal(got.loose, mark_of(&want, want.len, 0, blur).loose);
	}
	assert_false(frame_cut_next(&cut, &got, &len));
	free(copy);
}

static void test_cut(void **state)
{
	struct segment tcp = {
		.id = 0xfffe, .flags = ACK | PSH | FIN | CWR, .seq = 0xffffff00, .len = 3000};
	struct segment udp = {.udp = true, .id = 3, .len = 2345};

	(void)state;
	cut_and_compare(tcp, GSO_TCPV4, 1448, FRAME_EXACT, 0);
	cut_and_compare(tcp, GSO_TCPV4 | 0x80, 1000, FRAME_EXACT, 0x81000005);
	cut_and_compare(tcp, GSO_TCPV4, 7, FRAME_TCP_ID, 0); /* shorter than the headers */
	cut_and_compare(tcp, GSO_TCPV4, 5000, FRAME_TCP_ID, 0);
	cut_and_compare(udp, GSO_UDP, 1000, FRAME_EXACT, 0);
	tcp.ipv6 = udp.ipv6 = true;
	cut_and_compare(tcp, GSO_TCPV6, 1428, FRAME_TCP_ID, 0);
	cut_and_compare(udp, GSO_UDP, 1000, FRAME_EXACT, 0);
}

static void test_blur(void **state)
{
	struct segment a = kinds[0];
	struct segment b = kinds[0];
	struct bytes x, y;

	(void)state;
	b.id++;
	x = build(&a);
	y = build(&b);
	assert_int_not_equal(mark(&x).key, mark(&y).key);
	assert_int_equal(mark_of(&x, x.len, 0, FRAME_TCP_ID).key,
			 mark_of(&y, y.len, 0, FRAME_TCP_ID).key);
}

/* Cut short at every length, and with every byte in turn set to 0 and 255: nothing is read or
 * written beyond the frame (the sanitizer watches), and cutting ends. */
static void abuse(const struct bytes *b, size_t len, uint8_t gso_type)
{
	uint8_t *copy = malloc(len ? len : 1);
	struct frame frame = {.bytes = copy, .len = len, .gso_type = gso_type, .gso_size = 16};
	struct frame_cut cut;
	struct frame_mark m;
	size_t part, sum = 0;

	assert_non_null(copy);
	memcpy(copy, b->at, len);
	if (frame_cut_begin(&cut, &frame, &(struct frame_terms){.blur = FRAME_TCP_ID})) {
		while (frame_cut_next(&cut, &m, &part))
			sum++;
		assert_in_range(sum, 1, len / 16 + 1);
	}
	free(copy);
	mark_of(b, len, 0, FRAME_TCP_ID);
	mark_by(b, len, 0, &(struct frame_terms){.flows = true, .snap = 64});
	mark_by(b, len, 0x81000005, &(struct frame_terms){.snap = 71});
}

static void test_malformed(void **state)
{
	static const uint8_t types[] = {GSO_TCPV4, GSO_TCPV6, GSO_UDP, 77};

	(void)state;
	for (size_t i = 0; i < KINDS * sizeof(types); i++) {
		struct bytes plain = build(&kinds[i / sizeof(types)]);
		struct bytes b = tagged(&plain, 0x81000005);
		uint8_t type = types[i % sizeof(types)];

		for (size_t len = 0; len < b.len; len++)
			abuse(&b, len, type);
		for (size_t at = 12; at < 100; at++) {
			uint8_t byte = b.at[at];

			b.at[at] = 0;
			abuse(&b, b.len, type);
			b.at[at] = 255;
			abuse(&b, b.len, type);
			b.at[at] = byte;
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_checksum_left_out),
		cmocka_unit_test(test_each_byte_counts),
		cmocka_unit_test(test_loose),
		cmocka_unit_test(test_tags),
		cmocka_unit_test(test_ipv6_extensions),
		cmocka_unit_test(test_ipv6_authentication),
		cmocka_unit_test(test_ipv6_fragments),
		cmocka_unit_test(test_sctp),
		cmocka_unit_test(test_ipv4_options_cut_off),
		cmocka_unit_test(test_not_to_be_cut),
		cmocka_unit_test(test_cut),
		cmocka_unit_test(test_blur),
		cmocka_unit_test(test_malformed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
