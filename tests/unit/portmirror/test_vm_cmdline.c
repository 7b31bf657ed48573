/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "memory/memory.h"
#include "portmirror/vm.h"

#define UUID "123e4567-e89b-12d3-a456-426614174000"

/* A command line: the arguments are parted by '\n', of which the tests' own hold none. */
struct line {
	char bytes[2048];
	size_t len;
};

static struct line line_of(const char *text)
{
	struct line line = {.len = strlen(text) + 1};

	assert_true(line.len <= sizeof(line.bytes));
	memcpy(line.bytes, text, line.len);
	for (size_t i = 0; i < line.len; i++)
		if (line.bytes[i] == '\n')
			line.bytes[i] = '\0';
	return line;
}

static void hints_free(struct vm_hints *hints)
{
	free(hints->items);
}

struct wanted_hint {
	const char *fds, *port, *mac;
};

static const struct {
	const char *line;
	const char *comm;
	const char *monitor, *name, *uuid, *id;
	bool named;
	struct wanted_hint hints[3]; /* ends with a NULL fds */
} cases[] = {
	/* libvirt 9 */
	{"/usr/bin/qemu-system-x86_64\n-name\nguest=web1,debug-threads=on\n-S\n-object\n"
	 "{\"qom-type\":\"secret\",\"id\":\"masterKey0\",\"format\":\"raw\"}\n-machine\n"
	 "pc-q35-7.2,usb=off\n-uuid\n" UUID "\n-netdev\n"
	 "{\"type\":\"tap\",\"fd\":\"30\",\"vhost\":true,\"vhostfd\":\"32\",\"id\":\"hostnet0\"}\n"
	 "-device\n{\"driver\":\"virtio-net-pci\",\"netdev\":\"hostnet0\",\"id\":\"net0\","
	 "\"mac\":\"52:54:00:6d:90:01\",\"bus\":\"pci.1\",\"addr\":\"0x0\"}\n-netdev\n"
	 "{\"type\":\"tap\",\"fds\":\"33:34\",\"id\":\"hostnet1\"}\n-device\n"
	 "{\"driver\":\"virtio-net-pci\",\"mq\":true,\"netdev\":\"hostnet1\","
	 "\"mac\":\"52:54:00:6d:90:02\"}\n-msg\ntimestamp=on",
	 "qemu-system-x86",
	 "qemu",
	 "web1",
	 UUID,
	 "",
	 true,
	 {{"30", "", "52:54:00:6d:90:01"}, {"33 34", "", "52:54:00:6d:90:02"}}},
	/* libvirt before JSON; the device comes first */
	{"/usr/libexec/qemu-kvm\n-name\nguest=a,,b c,debug-threads=on\n-device\n"
	 "virtio-net-pci,host_mtu=9000,netdev=hostnet0,id=net0,mac=52:54:00:6d:90:01,bus=pci.0\n"
	 "-netdev\ntap,fds=30:31,id=hostnet0,vhost=on,vhostfds=32:33",
	 "qemu-kvm",
	 "qemu",
	 "a,b c",
	 "",
	 "",
	 true,
	 {{"30 31", "", "52:54:00:6d:90:01"}}},
	/* OpenStack */
	{"/usr/bin/"
	 "qemu-system-x86_64\n-name\nguest=instance-0000000a,debug-threads=on\n-uuid\n" UUID
	 "\n-smbios\ntype=1,manufacturer=OpenStack "
	 "Foundation,uuid=00000000-0000-0000-0000-000000000001,family=Virtual Machine",
	 "qemu-system-x86",
	 "qemu",
	 "instance-0000000a",
	 UUID,
	 "",
	 true,
	 {{NULL}}},
	/* Proxmox */
	{"/usr/bin/kvm\n-id\n100\n-name\nweb1,debug-threads=on\n-no-shutdown\n-smbios\n"
	 "type=1,uuid=123E4567-E89B-12D3-A456-426614174000\n-netdev\n"
	 "type=tap,id=net0,ifname=tap100i0,script=/usr/libexec/qemu-server/pve-bridge,"
	 "downscript=/usr/libexec/qemu-server/pve-bridgedown,vhost=on\n-device\n"
	 "virtio-net-pci,mac=BC:24:11:00:00:01,netdev=net0,bus=pci.0,addr=0x12,id=net0",
	 "kvm",
	 "qemu",
	 "web1",
	 UUID,
	 "100",
	 true,
	 {{"", "tap100i0", "bc:24:11:00:00:01"}}},
	/* by hand */
	{"qemu-system-aarch64\n--name\nweb 1 \"caf\u00e9\"\n-nic\n"
	 "tap,ifname=tap0,script=no,mac=52:54:00:00:00:01\n-net\ntap,ifname=tap1\n-nic\nuser",
	 "qemu-system-aar",
	 "qemu",
	 "web 1 \"caf\u00e9\"",
	 "",
	 "",
	 true,
	 {{"", "tap0", "52:54:00:00:00:01"}, {"", "tap1", NULL}}},
	{"/nix/store/x/bin/.qemu-system-x86_64-wrapped\n-netdev\nbridge,br=br0,id=n\n-netdev\n"
	 "user,id=u\n-device\ne1000,netdev=u,mac=52:54:00:00:00:02\n-device\n"
	 "e1000,netdev=n,mac=52:54:00:00:00:01",
	 "x",
	 "qemu",
	 "pid-77",
	 "",
	 "",
	 false,
	 {{"", "", "52:54:00:00:00:01"}}},
	{"qemu-system-x86_64\n-uuid\n123e4567-e89b-12d3-a456-42661417400g\n-smbios\n"
	 "type=1,uuid=" UUID,
	 "x",
	 "qemu",
	 UUID,
	 UUID,
	 "",
	 true,
	 {{NULL}}},
	{"/opt/qemu-system-of-a-name-that-nobody-could-have-given-to-a-program-of-his\n-name\nx",
	 "kvm",
	 "qemu",
	 "x",
	 "",
	 "",
	 true,
	 {{NULL}}},
	{"qemu-system-x86_64\n-uuid\n" UUID, "x", "qemu", UUID, UUID, "", true, {{NULL}}},
	{"kvm\n-id\n100", "kvm", "qemu", "100", "", "100", true, {{NULL}}},
	{"qemu-system-x86_64\n-name\ndebug-threads=on",
	 "q",
	 "qemu",
	 "pid-77",
	 "",
	 "",
	 false,
	 {{NULL}}},
	{"qemu-system-x86_64\n-name\nx\n-name\nguest=y,guest=z",
	 "q",
	 "qemu",
	 "z",
	 "",
	 "",
	 true,
	 {{NULL}}},
	{"/usr/bin/kvm-renamed\n-name\nweb1", "kvm", "qemu", "web1", "", "", true, {{NULL}}},
	/* cloud-hypervisor */
	{"/usr/bin/cloud-hypervisor\n--kernel\nvmlinux\n--net\n"
	 "tap=tap0,mac=12:34:56:78:90:ab,ip=,mask=\nfd=[3,4],mac=12:34:56:78:90:ac,num_queues=4\n"
	 "--net=tap=tap1\n--platform\nnum_pci_segments=1,uuid=" UUID,
	 "cloud-hyperviso",
	 "cloud-hypervisor",
	 UUID,
	 UUID,
	 "",
	 true,
	 {{"", "tap0", "12:34:56:78:90:ab"}, {"3 4", "", "12:34:56:78:90:ac"}, {"", "tap1", NULL}}},
	/* Firecracker */
	{"/firecracker\n--id\nmy-vm\n--api-sock\n/x",
	 "firecracker",
	 "firecracker",
	 "my-vm",
	 "",
	 "",
	 true,
	 {{NULL}}},
	{"./firecracker-v1.7.0-x86_64\n--id=my-vm\n--seccomp-level=2",
	 "x",
	 "firecracker",
	 "my-vm",
	 "",
	 "",
	 true,
	 {{NULL}}},
	/* others */
	{"/usr/sbin/openvpn\n--name\nx\n--dev\ntap0",
	 "openvpn",
	 "openvpn",
	 "pid-77",
	 "",
	 "",
	 false,
	 {{NULL}}},
	{"/usr/sbin/virtqemud\n-name\nx",
	 "virtqemud",
	 "virtqemud",
	 "pid-77",
	 "",
	 "",
	 false,
	 {{NULL}}},
	{"qemu-nbd\n-name\nx", "qemu-nbd", "qemu-nbd", "pid-77", "", "", false, {{NULL}}},
	{"", "odd\x1b\xff", "odd??", "pid-77", "", "", false, {{NULL}}},
	/* garbage */
	{"qemu-system-x86_64\n-netdev\n{\"type\":\"tap\",\"fd\":\n-netdev\n\n-netdev\n{}\n-netdev\n"
	 "{\"type\":1}\n-netdev\ntap,fd=x,id=\n-netdev\n"
	 "tap,fd=99999999999999999999,ifname=much-too-long-for-a-device\n-device\n,,,,=\n"
	 "-device\nx,netdev=,mac=52:54:00:00:00:01\n-uuid\n123\n-uuid\n-name\n-name\nx\x1b\xff"
	 "y\n-device",
	 "q",
	 "qemu",
	 "x??y",
	 "",
	 "",
	 true,
	 {{"", "", NULL}, {"", "", NULL}}},
};

static void assert_hint(const struct vm_hint *hint, const struct wanted_hint *wanted)
{
	char fds[128] = "", mac[18] = "";

	for (size_t i = 0, len = 0; i < hint->nfds; i++)
		len += (size_t)snprintf(fds + len, sizeof(fds) - len, "%s%d", i ? " " : "",
					hint->fds[i]);
	assert_string_equal(fds, wanted->fds);
	assert_string_equal(hint->port, wanted->port);
	assert_int_equal(hint->has_mac, wanted->mac != NULL);
	for (size_t i = 0; i < 6; i++)
		snprintf(mac + 3 * i, sizeof(mac) - 3 * i, "%02x:", hint->mac[i]);
	if (wanted->mac)
		assert_string_equal(mac, wanted->mac);
}

/* Hints are added to what there is. */
static int read_anew(const struct line *line, const char *comm, struct vm *vm,
		     struct vm_hints *hints)
{
	hints_free(hints);
	*hints = (struct vm_hints){0};
	return vm_read_cmdline(line->bytes, line->len, comm, vm, hints);
}

static void command_lines_are_read(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct line line = line_of(cases[i].line);
		struct vm_hints hints cleanup(hints_free) = {0};
		struct vm vm cleanup(vm_free) = {.pid = 77};
		size_t count = 0;

		assert_int_equal(scarce(read_anew(&line, cases[i].comm, &vm, &hints)), 0);
		assert_string_equal(vm.monitor, cases[i].monitor);
		assert_string_equal(vm.name, cases[i].name);
		assert_string_equal(vm.uuid, cases[i].uuid);
		assert_string_equal(vm.id, cases[i].id);
		assert_int_equal(vm.named, cases[i].named);
		while (count < COUNT(cases[i].hints) && cases[i].hints[count].fds)
			count++;
		assert_int_equal(hints.count, count);
		for (size_t j = 0; j < count; j++)
			assert_hint(&hints.items[j], &cases[i].hints[j]);
	}
}

/* Each on the heap, so that the sanitizer sees a byte read beyond the end. */
static void every_truncation_is_harmless(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct line line = line_of(cases[i].line);

		for (size_t len = 0; len < line.len; len++) {
			char *cut cleanup(free_at) = malloc(len ? len : 1);
			struct vm_hints hints cleanup(hints_free) = {0};
			struct vm vm cleanup(vm_free) = {.pid = 1};

			assert_non_null(cut);
			memcpy(cut, line.bytes, len);
			assert_int_equal(scarce(vm_read_cmdline(cut, len, "kvm", &vm, &hints)), 0);
			assert_non_null(vm.name);
		}
	}
}

static void a_long_name_is_none(void **state)
{
	char line[1024] = "kvm";
	struct vm_hints hints cleanup(hints_free) = {0};
	struct vm fits cleanup(vm_free) = {.pid = 77};

	(void)state;
	memcpy(line + 4, "-name", 6);
	memset(line + 10, 'x', 500);
	assert_int_equal(scarce(vm_read_cmdline(line, 10 + 255, "", &fits, &hints)), 0);
	assert_int_equal(strlen(fits.name), 255);
	for (size_t len = 256; len < 500; len++) {
		struct vm longer cleanup(vm_free) = {.pid = 77};

		assert_int_equal(scarce(vm_read_cmdline(line, 10 + len, "", &longer, &hints)), 0);
		assert_string_equal(longer.name, "pid-77");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(command_lines_are_read),
		cmocka_unit_test(every_truncation_is_harmless),
		cmocka_unit_test(a_long_name_is_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
