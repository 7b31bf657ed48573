/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <pcap/pcap.h>
#include <sched.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "memory/memory.h"
#include "portmirror/filter.h"

static bool no_memory; /* for libpcap */

pcap_t *__real_pcap_open_dead(int type, int len);
pcap_t *__wrap_pcap_open_dead(int type, int len);
int __real_pcap_compile(pcap_t *handle, struct bpf_program *program, const char *text, int optimize,
			bpf_u_int32 mask);
int __wrap_pcap_compile(pcap_t *handle, struct bpf_program *program, const char *text, int optimize,
			bpf_u_int32 mask);

pcap_t *__wrap_pcap_open_dead(int type, int len)
{
	return no_memory ? NULL : __real_pcap_open_dead(type, len);
}

int __wrap_pcap_compile(pcap_t *handle, struct bpf_program *program, const char *text, int optimize,
			bpf_u_int32 mask)
{
	if (!no_memory)
		return __real_pcap_compile(handle, program, text, optimize, mask);
	errno = ENOMEM;
	return -1;
}

static void libpcap_has_no_memory(void **state)
{
	struct bytecode code cleanup(bytecode_free) = {0};
	struct err e = {0};

	(void)state;
	no_memory = true;
	assert_int_equal(filter_compile("arp", &code, &e), -ENOMEM);
	no_memory = false;
	assert_string_equal(e.text, "out of memory");
}

static void no_filter_is_every_frame(void **state)
{
	struct bytecode code cleanup(bytecode_free) = {0};
	struct buf text cleanup(buf_free) = {0};

	(void)state;
	assert_int_equal(scarce(filter_compile(NULL, &code, NULL)), 0);
	bytecode_text(code.code, code.count, &text);
	assert_string_equal(buf_text(&text), "1,6 0 0 4294967295");
}

static void a_match_has_the_value_that_the_classifier_wants(void **state)
{
	struct bytecode code cleanup(bytecode_free) = {0};
	unsigned matches = 0;

	(void)state;
	assert_int_equal(scarce(filter_compile("arp", &code, NULL)), 0);
	for (size_t i = 0; i < code.count; i++) {
		if (code.code[i].code != (BPF_RET | BPF_K))
			continue;
		assert_true(code.code[i].k == 0 || code.code[i].k == UINT32_MAX);
		matches += code.code[i].k != 0;
	}
	assert_true(matches > 0);
}

static void a_tag_is_looked_for_beside_the_frame(void **state)
{
	struct bytecode code cleanup(bytecode_free) = {0};
	bool beside = false;

	(void)state;
	assert_int_equal(scarce(filter_compile("vlan 5", &code, NULL)), 0);
	for (size_t i = 0; i < code.count; i++)
		beside |= code.code[i].k == (uint32_t)(SKF_AD_OFF + SKF_AD_VLAN_TAG_PRESENT);
	assert_true(beside);
}

static void a_wrong_one_is_refused_in_libpcaps_words(void **state)
{
	struct bytecode code = {.count = 7};
	struct err e = {0};

	(void)state;
	assert_int_equal(scarce(filter_compile("tcp prt 80", &code, &e)), -EINVAL);
	assert_non_null(strstr(e.text, "\"tcp prt 80\""));
	assert_non_null(strstr(e.text, "syntax error"));
	assert_int_equal(code.count, 7);
}

/* Also one that /etc/hosts or /etc/networks has: nobody is asked. */
static void a_name_is_refused(void **state)
{
	static const char *const filters[][2] = {
		{"host localhost", "localhost"},
		{"tcp and (src host 10.0.0.1 or localhost)", "localhost"},
		{"net loopback", "loopback"},
		{"dst htpp", "htpp"},
		{"host ::1 or ip6 host no.such.name.invalid", "no.such.name.invalid"},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(filters); i++) {
		struct bytecode code = {.count = 7};
		struct err e = {0};
		char *said cleanup(free_at) = string_fmt(
			"\"%s\" has the name %s where a filter takes addresses only: what "
			"a name means may change; getent ahosts tells the addresses of a host",
			filters[i][0], filters[i][1]);

		assert_int_equal(scarce(filter_compile(filters[i][0], &code, &e)), -EINVAL);
		assert_string_equal(e.text, said);
		assert_int_equal(code.count, 7);
	}
	a_wrong_one_is_refused_in_libpcaps_words(state);
}

static void addresses_of_all_kinds_are_none(void **state)
{
	static const char *const filters[] = {
		"host 10.1.2.3", "host ::ffff:10.1.2.3",  "net 10.1.0.0/16",	    "net 10.1",
		"src ::1",	 "dst net 2001:db8::/32", "ether host 2:0:0:0:0:1", "port http",
	};

	(void)state;
	for (size_t i = 0; i < COUNT(filters); i++) {
		struct bytecode code cleanup(bytecode_free) = {0};
		struct err e = {0};

		if (filter_compile(filters[i], &code, &e) < 0)
			fail_msg("%s", e.text);
	}
}

static void a_loop_is_refused(void **state)
{
	struct bytecode code cleanup(bytecode_free) = {0};
	struct err e = {0};

	(void)state;
	assert_int_equal(scarce(filter_compile("ip6 protochain 6", &code, &e)), -EINVAL);
	assert_non_null(strstr(e.text, "protochain"));
}

/* At a port's hooks every frame would be inbound, and none outbound. */
static void what_only_packet_sockets_are_told_is_refused(void **state)
{
	static const char *const all[] = {"inbound", "tcp port 80 and not outbound",
					  "ether[0xfffff004] = 4"};

	(void)state;
	for (size_t i = 0; i < COUNT(all); i++) {
		struct bytecode code = {.count = 7};
		struct err e = {0};

		assert_int_equal(scarce(filter_compile(all[i], &code, &e)), -EINVAL);
		assert_non_null(strstr(e.text, all[i]));
		assert_non_null(strstr(e.text, "use --direction"));
		assert_int_equal(code.count, 7);
	}
}

/* The hooks know the port that they are at. */
static void a_port_by_its_number_is_taken(void **state)
{
	struct bytecode code cleanup(bytecode_free) = {0};

	(void)state;
	assert_int_equal(scarce(filter_compile("ifindex 3", &code, NULL)), 0);
}

static void equal_code_has_an_equal_hash(void **state)
{
	struct bytecode a cleanup(bytecode_free) = {0}, b cleanup(bytecode_free) = {0};
	struct bytecode c cleanup(bytecode_free) = {0};

	(void)state;
	assert_int_equal(scarce(filter_compile("tcp port 80", &a, NULL)), 0);
	assert_int_equal(scarce(filter_compile("tcp port  80", &b, NULL)), 0);
	assert_int_equal(scarce(filter_compile("tcp port 81", &c, NULL)), 0);
	assert_true(bytecode_hash(a.code, a.count) == bytecode_hash(b.code, b.count));
	assert_true(bytecode_hash(a.code, a.count) != bytecode_hash(c.code, c.count));
}

static void several_are_compiled_by_one_handle(void **state)
{
	static const char *const filters[] = {"vlan 5", "tcp prt 80", "arp", "vlan 5 and port 80"};
	struct filter_compiler compiler cleanup(filter_compiler_close) = {0};
	struct pcap *first = NULL;

	(void)state;
	for (size_t i = 0; i < COUNT(filters); i++) {
		struct bytecode alone cleanup(bytecode_free) = {0};
		struct bytecode code cleanup(bytecode_free) = {0};
		int expected = filter_compile(filters[i], &alone, NULL);

		assert_int_equal(filter_compile_by(&compiler, filters[i], &code, NULL), expected);
		assert_int_equal(code.count, alone.count);
		assert_true(bytecode_hash(code.code, code.count) ==
			    bytecode_hash(alone.code, alone.count));
		first = i == 0 ? compiler.handle : first;
		assert_true(compiler.handle == first);
	}
	filter_compiler_close(&compiler);
	assert_null(compiler.handle);
}

static void a_long_one_is_refused(void **state)
{
	struct bytecode code cleanup(bytecode_free) = {0};
	struct buf text cleanup(buf_free) = {0};
	struct err e = {0};

	(void)state;
	buf_str(&text, "host ::1");
	for (unsigned i = 2; i < 400; i++)
		buf_fmt(&text, "||host %x:%x::%x", i, i + 1, i + 2);
	assert_int_equal(filter_compile(buf_text(&text), &code, &e), -E2BIG);
	if (!strstr(e.text, "; the kernel takes 4096"))
		fail_msg("%s", e.text);
}

/* What a tag looks like depends on the device, and there lo stands for all. */
static void a_tag_needs_lo(void **state)
{
	struct bytecode code cleanup(bytecode_free) = {0};
	struct err e = {0};

	(void)state;
	if (unshare(CLONE_NEWNET) < 0)
		skip();
	assert_int_equal(filter_compile("vlan 5", &code, &e), -ENETDOWN);
	assert_non_null(strstr(e.text, "ip link set lo up"));
	assert_int_equal(filter_compile("arp", &code, &e), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_filter_is_every_frame),
		cmocka_unit_test(a_match_has_the_value_that_the_classifier_wants),
		cmocka_unit_test(a_tag_is_looked_for_beside_the_frame),
		cmocka_unit_test(a_wrong_one_is_refused_in_libpcaps_words),
		cmocka_unit_test(a_name_is_refused),
		cmocka_unit_test(addresses_of_all_kinds_are_none),
		cmocka_unit_test(a_loop_is_refused),
		cmocka_unit_test(what_only_packet_sockets_are_told_is_refused),
		cmocka_unit_test(a_port_by_its_number_is_taken),
		cmocka_unit_test(equal_code_has_an_equal_hash),
		cmocka_unit_test(several_are_compiled_by_one_handle),
		cmocka_unit_test(a_long_one_is_refused),
		cmocka_unit_test(libpcap_has_no_memory),
		cmocka_unit_test(a_tag_needs_lo), /* lo is down from here on */
		cmocka_unit_test(libpcap_has_no_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
