/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "memory/memory.h"
#include "netlink/link.h"
#include "portmirror/selector.h"
#include "portmirror/vm.h"

static void parse(const char *text, struct selector *s)
{
	struct err e = {0};

	if (scarce(selector_parse(text, s, &e)) < 0)
		fail_msg("'%s' gives '%s'", text, e.text);
	assert_string_equal(s->text, text);
}

static void each_kind_is_parsed(void **state)
{
	static const uint8_t mac[6] = {0x52, 0x54, 0, 0xAB, 0xcd, 0xef};
	static const struct {
		const char *text;
		enum selector_kind kind;
		const char *name;
		int nic;
		bool has_mac, single;
	} cases[] = {
		{"vm:web1", SELECTOR_VM, "web1", -1, false, false},
		{"vm:web1/0", SELECTOR_VM, "web1", 0, false, true},
		{"vm:web1/12", SELECTOR_VM, "web1", 12, false, true},
		{"vm:web1/52:54:00:AB:cd:ef", SELECTOR_VM, "web1", -1, true, true},
		{"vm:a/b", SELECTOR_VM, "a/b", -1, false, false},
		{"vm:a/b/1", SELECTOR_VM, "a/b", 1, false, true},
		{"vm:a/", SELECTOR_VM, "a/", -1, false, false},
		{"vm:a/-1", SELECTOR_VM, "a/-1", -1, false, false},
		{"vm:My \"Caf\u00e9\": no. 1", SELECTOR_VM, "My \"Caf\u00e9\": no. 1", -1, false,
		 false},
		{"port:vnet1", SELECTOR_PORT, "vnet1", -1, false, true},
		{"port:vnet*", SELECTOR_PORT, "vnet*", -1, false, false},
		{"port:tap[0-9][0-9][0-9]i?", SELECTOR_PORT, "tap[0-9][0-9][0-9]i?", -1, false,
		 false},
		{"port:exactly15bytes_", SELECTOR_PORT, "exactly15bytes_", -1, false, true},
		{"bridge:br0", SELECTOR_BRIDGE, "br0", -1, false, false},
		{"mac:52:54:00:ab:cd:ef", SELECTOR_MAC, NULL, -1, true, true},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct selector s cleanup(selector_free) = {0};

		parse(cases[i].text, &s);
		assert_int_equal(s.kind, cases[i].kind);
		if (cases[i].name)
			assert_string_equal(s.name, cases[i].name);
		else
			assert_null(s.name);
		assert_int_equal(s.nic, cases[i].nic);
		assert_int_equal(s.has_mac, cases[i].has_mac);
		if (s.has_mac)
			assert_memory_equal(s.mac, mac, 6);
		assert_int_equal(selector_single(&s), cases[i].single);
	}
}

static void what_is_no_selector_is_refused(void **state)
{
	static const struct {
		const char *text;
		const char *sentence;
	} cases[] = {
		{"vnet1", "\"vnet1\" is no selector; it starts with vm:, port:, bridge: or mac: "
			  "(for a device: port:vnet1)"},
		{"", "\"\" is no selector; it starts with vm:, port:, bridge: or mac:"},
		{"a device", "\"a device\" is no selector; it starts with vm:, port:, bridge: or "
			     "mac:"},
		{"VM:web1", "\"VM:web1\" is no selector; it starts with vm:, port:, bridge: or "
			    "mac:"},
		{"vm:", "\"vm:\" names no machine"},
		{"vm:/0", "\"vm:/0\" names no machine"},
		{"vm:a/1000", "\"vm:a/1000\": the NICs are numbered from 0 to 999"},
		{"vm:a/99999999999999999999999",
		 "\"vm:a/99999999999999999999999\": the NICs are numbered from 0 to 999"},
		{"vm:a\nb", "\"vm:a\\x0ab\" holds control characters, or bytes that are no UTF-8"},
		{"vm:\x1b[31m",
		 "\"vm:\\x1b[31m\" holds control characters, or bytes that are no UTF-8"},
		{"vm:\xff", "\"vm:\\xff\" holds control characters, or bytes that are no UTF-8"},
		{"port:", "\"port:\" names no device: a name has 1 to 15 bytes, without '/', ':' "
			  "and blanks"},
		{"port:sixteen_bytes_ab", "\"port:sixteen_bytes_ab\" names no device: a name has 1 "
					  "to 15 bytes, without '/', ':' and blanks"},
		{"port:a/b", "\"port:a/b\" names no device: a name has 1 to 15 bytes, without '/', "
			     "':' and blanks"},
		{"port:..", "\"port:..\" names no device: a name has 1 to 15 bytes, without '/', "
			    "':' and blanks"},
		{"port:a b*", "\"port:a b*\" can match no device: their names hold no '/' and no "
			      "blank"},
		{"port:lo", "\"port:lo\" is the loopback device: no machine is behind it"},
		{"bridge:br*", "\"bridge:br*\": a bridge is named whole, without *"},
		{"bridge:a:b", "\"bridge:a:b\" names no device: a name has 1 to 15 bytes, without "
			       "'/', ':' and blanks"},
		{"mac:52:54:00:12:34", "\"mac:52:54:00:12:34\" is no address; write "
				       "mac:52:54:00:12:34:56"},
		{"mac:52:54:00:12:34:5g", "\"mac:52:54:00:12:34:5g\" is no address; write "
					  "mac:52:54:00:12:34:56"},
		{"mac:+1: 2:00:12:34:56", "\"mac:+1: 2:00:12:34:56\" is no address; write "
					  "mac:52:54:00:12:34:56"},
		{"mac:ff:ff:ff:ff:ff:ff",
		 "\"mac:ff:ff:ff:ff:ff:ff\" is the address of a group, not of a device"},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct selector s = {.nic = 42};
		struct err e = {0};

		assert_int_equal(scarce(selector_parse(cases[i].text, &s, &e)), -EINVAL);
		assert_string_equal(e.text, cases[i].sentence);
		assert_int_equal(s.nic, 42);
		assert_null(s.text);
	}
}

static void the_length_is_bounded(void **state)
{
	struct selector s cleanup(selector_free) = {0};
	char text[SELECTOR_MAX + 2] = "vm:";

	(void)state;
	memset(text + 3, 'x', SELECTOR_MAX - 3);
	parse(text, &s);
	text[SELECTOR_MAX] = 'x';
	assert_int_equal(scarce(selector_parse(text, &s, NULL)), -EINVAL);
}

static void equal_means_the_same(void **state)
{
	static const struct {
		const char *a, *b;
		bool equal;
	} cases[] = {
		{"vm:a", "vm:a", true},
		{"vm:a/0", "vm:a/00", true},
		{"vm:a/0", "vm:a/1", false},
		{"vm:a/0", "vm:a", false},
		{"vm:a", "vm:b", false},
		{"vm:br0", "bridge:br0", false},
		{"mac:52:54:00:AB:00:01", "mac:52:54:00:ab:00:01", true},
		{"mac:52:54:00:AB:00:01", "mac:52:54:00:ab:00:02", false},
		{"vm:a/52:54:00:ab:00:01", "mac:52:54:00:ab:00:01", false},
		{"vm:a/52:54:00:ab:00:01", "vm:b/52:54:00:ab:00:01", false},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct selector a cleanup(selector_free) = {0};
		struct selector b cleanup(selector_free) = {0};

		parse(cases[i].a, &a);
		parse(cases[i].b, &b);
		assert_int_equal(selector_equal(&a, &b), cases[i].equal);
	}
}

#define MAC(last)                                                                                  \
	{                                                                                          \
		0x52, 0x54, 0, 0, 0, last                                                          \
	}

static struct nl_link host_links[] = {
	{.index = 1, .name = "lo", .flags = IFF_LOOPBACK, .has_mac = true},
	{.index = 2, .name = "eth0", .master = 3, .has_mac = true, .mac = MAC(2)},
	{.index = 3, .name = "br0", .kind = "bridge", .has_mac = true, .mac = MAC(2)},
	{.index = 4, .name = "vnet0", .kind = "tun", .master = 3, .has_mac = true, .mac = MAC(4)},
	{.index = 5, .name = "vnet1", .kind = "tun", .master = 3, .has_mac = true, .mac = MAC(5)},
	{.index = 6, .name = "vnet2", .kind = "tun"},
	{.index = 7, .name = "eth1", .has_mac = true, .mac = MAC(7)},
	{.index = 8, .name = "eth1.5", .kind = "vlan", .has_mac = true, .mac = MAC(7)},
	{.index = 9, .name = "br1", .kind = "bridge"},
	{.index = 10,
	 .name = "tap3",
	 .kind = "tun",
	 .has_mac = true,
	 .mac = {0xfe, 0x54, 0, 0, 0, 0x13}},
	{.index = 11, .name = "tap4", .kind = "tun", .has_mac = true, .mac = MAC(0x14)},
};
static const struct nl_links links = {host_links, COUNT(host_links), COUNT(host_links)};

static struct vm_nic web_nics[] = {
	{"vnet1", true, MAC(0x11)}, {"vnet0", true, MAC(0x10)}, {"vnet9", true, MAC(0x19)}};
static struct vm_nic db_nics[] = {{"vnet2", true, MAC(0x12)}, {"eth1", true, MAC(0x20)}};
static struct vm_nic twin_nics[] = {{"vnet0", true, MAC(0x20)}};
static struct vm_nic late_nics[] = {
	{"tap4", false, {0}}, {"tap3", false, {0}}, {"vnet2", false, {0}}, {"vnet9", false, {0}}};
static char web_name[] = "web1", db_name[] = "My DB", twin_name[] = "twin", late_name[] = "late";
static struct vm host_vms[] = {
	{.pid = 11, .name = web_name, .id = "100", .nics = web_nics, .nnics = COUNT(web_nics)},
	{.pid = 12,
	 .name = db_name,
	 .uuid = "123e4567-e89b-12d3-a456-426614174000",
	 .nics = db_nics,
	 .nnics = COUNT(db_nics)},
	{.pid = 13, .name = twin_name, .id = "7", .nics = twin_nics, .nnics = 1},
	{.pid = 14, .name = twin_name},
	{.pid = 15, .name = late_name, .nics = late_nics, .nnics = COUNT(late_nics)},
};
static const struct vms vms = {host_vms, COUNT(host_vms), COUNT(host_vms)};

static void selectors_are_resolved(void **state)
{
	static const struct {
		const char *text;
		int found[11]; /* ends with 0 */
	} cases[] = {
		{"port:vnet1", {5}},
		{"port:none", {0}},
		{"port:vnet*", {4, 5, 6}},
		{"port:*", {2, 3, 4, 5, 6, 7, 8, 9, 10, 11}},
		{"port:l?", {0}},
		{"port:[!vet]*", {3, 9}},
		{"bridge:br0", {2, 4, 5}},
		{"bridge:br1", {0}},
		{"bridge:br2", {0}},
		{"vm:web1", {4, 5}},
		{"vm:100", {4, 5}},
		{"vm:100/0", {5}},
		{"vm:web1/0", {5}},
		{"vm:web1/1", {4}},
		{"vm:web1/2", {0}}, /* a port that has gone meanwhile */
		{"vm:web1/3", {0}},
		{"vm:web1/52:54:00:00:00:10", {4}},
		{"vm:web1/52:54:00:00:00:12", {0}},
		{"vm:My DB", {6, 7}},
		{"vm:123E4567-E89B-12D3-A456-426614174000/0", {6}},
		{"vm:7", {4}},
		{"vm:WEB1", {0}},
		{"vm:nobody", {0}},
		{"mac:52:54:00:00:00:12", {6}}, /* a guest's */
		{"mac:52:54:00:00:00:05", {5}}, /* a device's */
		{"mac:52:54:00:00:00:02", {2}}, /* not the bridge's, too */
		{"mac:52:54:00:00:00:99", {0}},
		{"mac:52:54:00:00:00:13", {10}}, /* plugged in later, under libvirt */
		{"vm:late/52:54:00:00:00:13", {10}},
		{"vm:late/52:54:00:00:00:14", {0}},
		{"mac:00:00:00:00:00:00", {0}}, /* lo has it */
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct selector s cleanup(selector_free) = {0};
		struct ifindexes found cleanup(ifindexes_free) = {0};
		struct err e = {0};
		size_t count = 0;

		parse(cases[i].text, &s);
		assert_int_equal(scarce(selector_resolve(&s, &links, &vms, &found, &e)), 0);
		while (cases[i].found[count])
			count++;
		if (found.count != count ||
		    (count > 0 && memcmp(found.items, cases[i].found, count * sizeof(int)) != 0))
			fail_msg("'%s' means %zu devices, the first %d", cases[i].text, found.count,
				 found.count ? found.items[0] : 0);
	}
}

static void what_is_ambiguous_is_refused(void **state)
{
	static const struct {
		const char *text;
		int code;
		const char *sentence;
	} cases[] = {
		{"bridge:eth0", -ENOTDIR, "eth0 is no bridge"},
		{"vm:twin", -ENOTUNIQ,
		 "two machines are called \"twin\" (processes 13 and 14): name one by its UUID"},
		{"mac:52:54:00:00:00:20", -ENOTUNIQ,
		 "mac:52:54:00:00:00:20 is the address of both eth1 and vnet0: name one with "
		 "port:"},
		{"mac:52:54:00:00:00:07", -ENOTUNIQ,
		 "mac:52:54:00:00:00:07 is the address of both eth1 and eth1.5: name one with "
		 "port:"},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct selector s cleanup(selector_free) = {0};
		struct ifindexes found cleanup(ifindexes_free) = {0};
		struct err e = {0};

		parse(cases[i].text, &s);
		assert_int_equal(ifindexes_add(&found, 77), 0);
		assert_int_equal(scarce(selector_resolve(&s, &links, &vms, &found, &e)),
				 cases[i].code);
		assert_string_equal(e.text, cases[i].sentence);
		assert_int_equal(found.count, 1);
	}
}

static void results_are_added_in_order(void **state)
{
	static const int wanted[] = {2, 4, 5, 6, 77};
	struct ifindexes found cleanup(ifindexes_free) = {0};
	struct selector bridge cleanup(selector_free) = {0};
	struct selector ports cleanup(selector_free) = {0};

	(void)state;
	parse("bridge:br0", &bridge);
	parse("port:vnet*", &ports);
	assert_int_equal(ifindexes_add(&found, 77), 0);
	assert_int_equal(scarce(selector_resolve(&ports, &links, &vms, &found, NULL)), 0);
	assert_int_equal(scarce(selector_resolve(&bridge, &links, &vms, &found, NULL)), 0);
	assert_int_equal(found.count, COUNT(wanted));
	assert_memory_equal(found.items, wanted, sizeof(wanted));
	assert_true(ifindexes_have(&found, 77));
	assert_false(ifindexes_have(&found, 3));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_kind_is_parsed),
		cmocka_unit_test(what_is_no_selector_is_refused),
		cmocka_unit_test(the_length_is_bounded),
		cmocka_unit_test(equal_means_the_same),
		cmocka_unit_test(selectors_are_resolved),
		cmocka_unit_test(what_is_ambiguous_is_refused),
		cmocka_unit_test(results_are_added_in_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
