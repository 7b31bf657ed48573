/* SPDX-License-Identifier: MIT */
/* The once-program in the kernel itself, by BPF_PROG_TEST_RUN, against libpcap's own interpreter.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <linux/if_ether.h>

#include <bpf/bpf.h>
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "memory/memory.h"
#include "portmirror/filter.h"
#include "portmirror/once.h"
#include "portmirror/once_hold.h"

/*
 * libpcap's interpreter. Its header names a struct bpf_insn of its own, with the members of the
 * kernel's struct sock_filter, and so excludes <linux/bpf.h>.
 */
u_int bpf_filter(const struct sock_filter *code, const u_char *frame, u_int len, u_int captured);

static int load_code(const struct bytecode *code, uint32_t action, bool received, int map)
{
	struct once_program program cleanup(once_free) = {0};
	struct err e = {0};
	int fd;

	if (scarce(once_build(code, action, received, 0, &program, &e)) < 0)
		fail_msg("%s", e.text);
	fd = once_load(&program, map, &e);
	if (fd < 0)
		fail_msg("%s", e.text);
	return fd;
}

static int load(const char *expression, uint32_t action, bool received, int map)
{
	struct bytecode code cleanup(bytecode_free) = {0};
	struct err e = {0};

	if (filter_compile(expression, &code, &e) < 0)
		fail_msg("%s", e.text);
	return load_code(&code, action, received, map);
}

/* What the program says of a frame at a port that entered by another: true is a copy. */
static bool copies(int program, const uint8_t *frame, size_t len, uint32_t iif, uint32_t port)
{
	struct __sk_buff context = {.ifindex = port, .ingress_ifindex = iif};
	LIBBPF_OPTS(bpf_test_run_opts, run, .data_in = frame, .data_size_in = (uint32_t)len,
		    .ctx_in = &context, .ctx_size_in = sizeof(context));

	assert_int_equal(bpf_prog_test_run_opts(program, &run), 0);
	assert_true(run.retval == 0 || run.retval == UINT32_MAX);
	return run.retval == UINT32_MAX;
}

/* The cells are per CPU: so must a test be. */
static int on_one_cpu(void **state)
{
	cpu_set_t one;

	(void)state;
	CPU_ZERO(&one);
	CPU_SET((size_t)sched_getcpu(), &one);
	return sched_setaffinity(0, sizeof(one), &one);
}

/* lo has index 1 in every namespace, and the kernel wants devices that exist. */
#define A 1

static void frame_of(uint8_t frame[80], unsigned number)
{
	memset(frame, (int)number, 80);
	frame[12] = 0x88;
	frame[13] = 0xb5;
}

static void a_frame_is_copied_by_the_first_hook_that_sees_it(void **state)
{
	int map cleanup(fd_close_at) = once_map_create(NULL);
	int in cleanup(fd_close_at) = load(NULL, 9001, false, map);
	int out cleanup(fd_close_at) = load(NULL, 9001, true, map);
	int other cleanup(fd_close_at) = load(NULL, 9002, true, map);
	uint8_t f[80], g[80];

	(void)state;
	frame_of(f, 1);
	frame_of(g, 2);
	for (int i = 0; i < 5; i++) {
		/* The same frame again and again is a new one each time where it enters. */
		assert_true(copies(in, f, 80, A, A));
		assert_false(copies(out, f, 80, A, A));
		assert_false(copies(other, f, 80, A, A));
		assert_true(copies(in, g, 80, A, A));
		assert_false(copies(other, g, 80, A, A));
	}
}

static void another_frame_is_another_frame(void **state)
{
	int map cleanup(fd_close_at) = once_map_create(NULL);
	int in cleanup(fd_close_at) = load(NULL, 9001, false, map);
	int out cleanup(fd_close_at) = load(NULL, 9001, true, map);
	uint8_t f[80];

	(void)state;
	frame_of(f, 1);
	for (size_t i = 0; i < 64; i++) {
		assert_true(copies(in, f, 80, A, A));
		f[i] ^= 0x10; /* each of the first 64 bytes tells */
		assert_true(copies(out, f, 80, A, A));
		f[i] ^= 0x20;
	}
	for (size_t len = 15; len < 80; len++) {
		f[0] ^= 0x10;
		assert_true(copies(in, f, len, A, A));
		assert_false(copies(out, f, len, A, A));
		assert_true(copies(out, f, len + 1, A, A)); /* so does the length */
	}
}

/* br_netfilter cuts it off on the way from one port to the next. */
static void the_padding_of_an_ip_packet_does_not_count(void **state)
{
	static const struct {
		uint8_t type[2];
		size_t at, length, whole; /* the length field: where, what, and the frame's then */
	} packets[] = {{{0x08, 0x00}, 16, 28, 14 + 28}, {{0x86, 0xdd}, 18, 2, 14 + 40 + 2}};
	int map cleanup(fd_close_at) = once_map_create(NULL);
	int in cleanup(fd_close_at) = load(NULL, 9001, false, map);
	int out cleanup(fd_close_at) = load(NULL, 9001, true, map);
	uint8_t f[80] = {2};

	(void)state;
	for (size_t i = 0; i < COUNT(packets); i++) {
		memcpy(f + 12, packets[i].type, 2);
		f[14] = i == 0 ? 0x45 : 0x60;
		f[packets[i].at + 1] = (uint8_t)packets[i].length;
		assert_true(copies(in, f, 60, A, A));
		assert_false(copies(out, f, packets[i].whole, A, A));
		assert_true(copies(out, f, packets[i].whole - 1, A, A));
		f[packets[i].at + 1] = 0; /* no length that can be believed: all of it counts */
		assert_true(copies(in, f, 60, A, A));
		assert_int_equal(copies(out, f, 59, A, A), i == 0);
	}
}

static void a_frame_that_entered_elsewhere_is_another_frame(void **state)
{
	int map cleanup(fd_close_at) = once_map_create(NULL);
	int in cleanup(fd_close_at) = load(NULL, 9001, false, map);
	int out cleanup(fd_close_at) = load(NULL, 9001, true, map);
	uint8_t f[80];

	(void)state;
	frame_of(f, 1);
	assert_true(copies(in, f, 80, A, A));
	assert_true(copies(out, f, 80, 0, A)); /* the host's own */
}

static void what_was_copied_long_ago_is_forgotten(void **state)
{
	int map cleanup(fd_close_at) = once_map_create(NULL);
	int in cleanup(fd_close_at) = load(NULL, 9001, false, map);
	int out cleanup(fd_close_at) = load(NULL, 9001, true, map);
	uint8_t f[80];

	(void)state;
	frame_of(f, 1);
	assert_true(copies(in, f, 80, A, A));
	nanosleep(&(struct timespec){.tv_nsec = 60000000}, NULL);
	assert_true(copies(out, f, 80, A, A));
}

static void destinations_do_not_share_their_memory(void **state)
{
	int map cleanup(fd_close_at) = once_map_create(NULL);
	int other_map cleanup(fd_close_at) = once_map_create(NULL);
	int in cleanup(fd_close_at) = load(NULL, 9001, false, map);
	int out cleanup(fd_close_at) = load(NULL, 9002, true, other_map);
	uint8_t f[80];

	(void)state;
	frame_of(f, 1);
	assert_true(copies(in, f, 80, A, A));
	assert_true(copies(out, f, 80, A, A));
}

static void the_map_of_a_loaded_program_is_found(void **state)
{
	int map cleanup(fd_close_at) = once_map_create(NULL);
	int in cleanup(fd_close_at) = load(NULL, 9001, false, map);
	struct bpf_prog_info info = {0};
	struct bpf_map_info map_info = {0};
	uint32_t len = sizeof(info), map_len = sizeof(map_info), id = 0;
	struct once_hold hold cleanup(once_hold_free) = {0};

	(void)state;
	assert_int_equal(bpf_obj_get_info_by_fd(in, &info, &len), 0);
	assert_int_equal(bpf_obj_get_info_by_fd(map, &map_info, &map_len), 0);
	assert_int_equal(once_hold_map_of(&hold, info.id, &id), 0);
	assert_int_equal(id, map_info.id);
}

/* Filters that between them use every kind of instruction that libpcap writes. */
static const char *const expressions[] = {
	"ip",
	"arp or ip6",
	"tcp port 80",
	"udp portrange 10-200",
	"not host 10.0.0.1 and len > 70",
	"len <= 60",
	"src host 10.0.0.1 and (tcp[tcpflags] & (tcp-syn|tcp-fin) != 0)",
	"ip[2:2] / 3 = 20",
	"ip[2:2] % 7 > 2",
	"ether[20] * ether[21] = 300 or ether[22] - ether[23] > 4",
	"ether[14] / ether[15] = 2",
	"ether[14] << 2 > ether[15] >> 1",
	"(ether[14] | 0x10) ^ 0xff = 0x4f",
	"ip[ip[0] & 15] = 0",
	"ip proto 17 and not broadcast",
	"ip6 proto 58",
	"icmp[icmptype] = icmp-echo",
	"ether host 02:00:00:00:00:01",
	"ether multicast",
	"net 10.0.0.0/29 and greater 64",
	"tcp[13] = 2 and tcp[2:2] != 22",
	"-ether[16] = -4",
	"ether proto 0x8847 or ip[9] = 4",
};

static void random_frame(uint8_t *frame, size_t len, unsigned *seed)
{
	static const uint8_t ether_types[][2] = {
		{8, 0}, {8, 0}, {8, 6}, {0x86, 0xdd}, {0x88, 0x47}};
	static const uint8_t protocols[] = {1, 6, 6, 17, 58};

	for (size_t i = 0; i < len; i++)
		frame[i] = (uint8_t)(rand_r(seed) % 4 ? rand_r(seed) % 8 : rand_r(seed));
	memcpy(frame + 12, ether_types[(size_t)rand_r(seed) % COUNT(ether_types)], 2);
	if (len > 40) {
		frame[14] = (uint8_t)(frame[12] == 8 ? 0x45 + rand_r(seed) % 3 : 0x60);
		frame[23] = protocols[(size_t)rand_r(seed) % COUNT(protocols)];
		frame[20] = (uint8_t)(frame[12] == 8 ? 0 : frame[23]);
		memcpy(frame + 26, (const uint8_t[]){10, 0, 0, (uint8_t)(rand_r(seed) % 9)}, 4);
	}
}

/* How many of 2,000 frames match, of which program and interpreter say the same. */
static unsigned matches_alike(const struct bytecode *code, const char *name, unsigned *seed)
{
	int map cleanup(fd_close_at) = once_map_create(NULL);
	int program cleanup(fd_close_at) = load_code(code, 9001, false, map);
	unsigned matched = 0;

	for (unsigned n = 0; n < 2000; n++) {
		uint8_t frame[200];
		/* Whole headers: the kernel's test run refuses others. */
		size_t len = 54 + (size_t)rand_r(seed) % 110;
		bool wanted;

		random_frame(frame, len, seed);
		wanted = bpf_filter(code->code, frame, (u_int)len, (u_int)len) != 0;
		if (copies(program, frame, len, A, A) != wanted)
			fail_msg("'%s' on frame %u", name, n);
		matched += wanted;
	}
	return matched;
}

/* Every filter says of every frame what libpcap's interpreter says of it. */
static void the_filter_is_the_same_in_the_program(void **state)
{
	unsigned seed = 1, matched = 0;

	(void)state;
	for (size_t i = 0; i < COUNT(expressions); i++) {
		struct bytecode code cleanup(bytecode_free) = {0};

		assert_int_equal(filter_compile(expressions[i], &code, NULL), 0);
		matched += matches_alike(&code, expressions[i], &seed);
	}
	/* Neither all nor none: the frames do reach both ends of the filters. */
	assert_in_range(matched, 100 * COUNT(expressions), 1900 * COUNT(expressions));
}

/* What libpcap of today does not write, and another may. */
static void so_are_instructions_that_are_rare(void **state)
{
	struct {
		const char *name;
		uint16_t count;
		struct sock_filter code[6];
	} filters[] = {
		{"A to M to X to A",
		 5,
		 {BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 15), BPF_STMT(BPF_ST, 15),
		  BPF_STMT(BPF_LDX | BPF_MEM, 15), BPF_STMT(BPF_MISC | BPF_TXA, 0),
		  BPF_STMT(BPF_RET | BPF_A, 0)}},
		{"X to M to A",
		 6,
		 {BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 16), BPF_STMT(BPF_MISC | BPF_TAX, 0),
		  BPF_STMT(BPF_LD | BPF_IMM, 1), BPF_STMT(BPF_STX, 0),
		  BPF_STMT(BPF_LD | BPF_MEM, 0), BPF_STMT(BPF_RET | BPF_A, 0)}},
		{"the length in X",
		 4,
		 {BPF_STMT(BPF_LDX | BPF_LEN, 0), BPF_STMT(BPF_MISC | BPF_TXA, 0),
		  BPF_STMT(BPF_ALU | BPF_AND | BPF_K, 3), BPF_STMT(BPF_RET | BPF_A, 0)}},
		{"a constant in X",
		 4,
		 {BPF_STMT(BPF_LDX | BPF_IMM, 3), BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 17),
		  BPF_STMT(BPF_ALU | BPF_AND | BPF_X, 0), BPF_STMT(BPF_RET | BPF_A, 0)}},
	};
	unsigned seed = 1;

	(void)state;
	for (size_t i = 0; i < COUNT(filters); i++) {
		struct bytecode code = {.code = filters[i].code, .count = filters[i].count};

		assert_in_range(matches_alike(&code, filters[i].name, &seed), 100, 1900);
	}
}

/* The context has it in the network's byte order, a filter's accumulator in the host's. */
static void the_protocol_is_the_frames(void **state)
{
	struct sock_filter code[] = {{BPF_LD | BPF_W | BPF_ABS, 0, 0,
				      (uint32_t)(SKF_AD_OFF + SKF_AD_PROTOCOL)},
				     {BPF_JMP | BPF_JEQ | BPF_K, 0, 1, ETH_P_ARP},
				     {BPF_RET | BPF_K, 0, 0, UINT32_MAX},
				     {BPF_RET | BPF_K, 0, 0, 0}};
	struct bytecode filter = {.code = code, .count = COUNT(code)};
	int map cleanup(fd_close_at) = once_map_create(NULL);
	int program cleanup(fd_close_at) = load_code(&filter, 9001, false, map);
	uint8_t frame[60] = {[12] = 8, [13] = 6};

	(void)state;
	assert_true(copies(program, frame, sizeof(frame), A, A));
	frame[13] = 0;
	assert_false(copies(program, frame, sizeof(frame), A, A));
}

static void what_only_a_socket_has_is_refused(void **state)
{
	static const struct sock_filter loads[] = {
		{BPF_LD | BPF_W | BPF_ABS, 0, 0, (uint32_t)(SKF_AD_OFF + SKF_AD_PAY_OFFSET)},
		/* (These two are no instructions at all.) */
		BPF_STMT(BPF_LD | BPF_B | BPF_MSH, 0),
		BPF_STMT(BPF_LDX | BPF_W | BPF_ABS, 0),
	};

	(void)state;
	for (size_t i = 0; i < COUNT(loads); i++) {
		struct sock_filter code[] = {loads[i], {BPF_RET | BPF_K, 0, 0, 1}};
		struct bytecode filter = {.code = code, .count = 2};
		struct once_program program = {.count = 7};
		struct err e = {0};

		assert_int_equal(scarce(once_build(&filter, 1, false, 0, &program, &e)), -ENOTSUP);
		assert_int_equal(program.count, 7);
	}
}

static void a_jump_beyond_the_end_is_refused(void **state)
{
	struct sock_filter code[] = {BPF_STMT(BPF_JMP | BPF_JA, 5), BPF_STMT(BPF_RET | BPF_K, 1)};
	struct bytecode filter = {.code = code, .count = COUNT(code)};
	struct once_program program = {.count = 7};
	struct err e = {0};

	(void)state;
	assert_int_equal(scarce(once_build(&filter, 1, false, 0, &program, &e)), -E2BIG);
	assert_int_equal(program.count, 7);
}

static void what_the_kernel_says_is_told(void **state)
{
	struct bytecode all cleanup(bytecode_free) = {0};
	struct once_program program cleanup(once_free) = {0};
	int map cleanup(fd_close_at) = once_map_create(NULL);
	struct err e = {0};

	(void)state;
	assert_int_equal(filter_compile(NULL, &all, NULL), 0);
	assert_int_equal(once_build(&all, 9001, false, 0, &program, NULL), 0);
	program.code[program.count - 1].code = BPF_ALU; /* no exit */
	assert_int_equal(once_load(&program, map, &e), -EINVAL);
	assert_string_equal(e.text,
			    "the kernel refused the program that keeps frames from being copied "
			    "twice: last insn is not an exit or jmp: Invalid argument");
}

/* A program that is none of ours, and one whose map can't be had any more. */
static void a_program_without_a_map_shares_none(void **state)
{
	struct bpf_insn code[] = {{.code = BPF_ALU64 | BPF_MOV | BPF_K},
				  {.code = BPF_JMP | BPF_EXIT}};
	int program cleanup(fd_close_at) =
		bpf_prog_load(BPF_PROG_TYPE_SCHED_CLS, "other", "MIT", code, COUNT(code), NULL);
	struct bpf_prog_info info = {0};
	uint32_t len = sizeof(info), id = 77;
	struct once_hold hold cleanup(once_hold_free) = {.lasting = true};
	struct once_held gone = {.id = 5, .map_id = UINT32_MAX, .fd = -1};

	(void)state;
	assert_int_equal(bpf_obj_get_info_by_fd(program, &info, &len), 0);
	for (int lasting = 0; lasting < 2; lasting++) {
		hold.lasting = lasting;
		assert_int_equal(once_hold_map_of(&hold, info.id, &id), -ENOENT);
	}
	assert_int_equal(hold.nprograms, 0);
	hold.programs = &gone;
	hold.nprograms = 1;
	assert_int_equal(once_hold_map_of(&hold, 5, &id), -ENOENT);
	hold.programs = NULL;
	hold.nprograms = 0;
	assert_int_equal(id, 77);
}

static void names_tell_contents_apart(void **state)
{
	struct bytecode all cleanup(bytecode_free) = {0}, arp cleanup(bytecode_free) = {0};
	struct once_program p[4] = {0};

	(void)state;
	assert_int_equal(filter_compile(NULL, &all, NULL), 0);
	assert_int_equal(filter_compile("arp", &arp, NULL), 0);
	assert_int_equal(scarce(once_build(&all, 9001, false, 0, &p[0], NULL)), 0);
	assert_int_equal(scarce(once_build(&all, 9001, true, 0, &p[1], NULL)), 0);
	assert_int_equal(scarce(once_build(&all, 9002, false, 0, &p[2], NULL)), 0);
	assert_int_equal(scarce(once_build(&arp, 9001, false, 0, &p[3], NULL)), 0);
	for (int i = 0; i < 4; i++)
		for (int j = 0; j < i; j++)
			assert_string_not_equal(p[i].name, p[j].name);
	for (int i = 0; i < 4; i++)
		once_free(&p[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_frame_is_copied_by_the_first_hook_that_sees_it),
		cmocka_unit_test(another_frame_is_another_frame),
		cmocka_unit_test(the_padding_of_an_ip_packet_does_not_count),
		cmocka_unit_test(a_frame_that_entered_elsewhere_is_another_frame),
		cmocka_unit_test(what_was_copied_long_ago_is_forgotten),
		cmocka_unit_test(destinations_do_not_share_their_memory),
		cmocka_unit_test(the_map_of_a_loaded_program_is_found),
		cmocka_unit_test(the_filter_is_the_same_in_the_program),
		cmocka_unit_test(so_are_instructions_that_are_rare),
		cmocka_unit_test(the_protocol_is_the_frames),
		cmocka_unit_test(what_only_a_socket_has_is_refused),
		cmocka_unit_test(a_jump_beyond_the_end_is_refused),
		cmocka_unit_test(what_the_kernel_says_is_told),
		cmocka_unit_test(a_program_without_a_map_shares_none),
		cmocka_unit_test(names_tell_contents_apart),
	};

	if (geteuid() != 0) {
		puts("skipped: only root may load programs");
		return 77;
	}
	return cmocka_run_group_tests(tests, on_one_cpu, NULL);
}
