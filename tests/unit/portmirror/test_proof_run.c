/* SPDX-License-Identifier: MIT */
/*
 * The proof on real frames, in a network namespace of each test's own: a bridge with the ports
 * pa and pb, machines behind them (veth ends am and bm), and a destination mon. What is to go wrong
 * with a copy, a tc filter does, or the test sends the copies itself.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <linux/if_ether.h>
#include <linux/if_link.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "calls/calls.h"
#include "memory/memory.h"
#include "portmirror/proof.h"
#include "portmirror/proof_ring.h"

/* To send from; kept open over a test, because closing one takes the kernel some milliseconds, in
 * which the proof would not read its rings. */
static int sender = -1;

static void shell(const char *command)
{
	if (system(command) != 0)
		fail_msg("failed: %s", command);
}

static int set_up(void **state)
{
	int fd;

	(void)state;
	if (unshare(CLONE_NEWNET) < 0)
		return 0; /* the tests skip: they find no device */
	sender = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	fd = open("/proc/sys/net/ipv6/conf/default/disable_ipv6", O_WRONLY | O_CLOEXEC);
	if (fd >= 0) { /* frames that nobody sent on purpose would spoil the counts */
		if (write(fd, "1", 1) != 1)
			print_message("IPv6 stays on\n");
		close(fd);
	}
	return system("ip link add br0 type bridge mcast_snooping 0 && "
		      "ip link add pa type veth peer name am && "
		      "ip link add pb type veth peer name bm && "
		      "ip link add mon type veth peer name monm && "
		      "ip link set am address 02:00:00:00:00:0a && "
		      "ip link set bm address 02:00:00:00:00:0b && "
		      "ip link set pa master br0 && ip link set pb master br0 && "
		      "for i in br0 pa am pb bm mon monm; do ip link set $i up || exit 1; done && "
		      "bridge fdb add 02:00:00:00:00:0a dev pa master static && "
		      "bridge fdb add 02:00:00:00:00:0b dev pb master static");
}

/* Copies all that comes in at pa and pb, and what goes out of pb but doesn't come from pa. */
static void mirror(void)
{
	shell("for i in pa pb; do tc qdisc add dev $i clsact && tc filter add dev $i ingress "
	      "protocol all u32 match u32 0 0 action mirred egress mirror dev mon continue "
	      "|| exit 1; done");
	shell("tc filter add dev pb egress pref 1 protocol all u32 match u32 0 0 indev pa flowid "
	      "1:1 "
	      "&& tc filter add dev pb egress pref 2 protocol all u32 match u32 0 0 "
	      "action mirred egress mirror dev mon continue");
}

struct plan {
	void (*send)(void);
	struct proof_source sources[2];
	int to[2];
	struct proof_request request;
	struct proof_result result;
	bool sent;
	uint64_t arrived;
};

/* Frames that arrived at any device of the namespace. */
static uint64_t arrived(void)
{
	struct ifaddrs *all;
	uint64_t sum = 0;

	assert_int_equal(getifaddrs(&all), 0);
	for (const struct ifaddrs *i = all; i; i = i->ifa_next) {
		struct rtnl_link_stats stats;

		if (!i->ifa_addr || i->ifa_addr->sa_family != AF_PACKET || !i->ifa_data)
			continue;
		memcpy(&stats, i->ifa_data, sizeof(stats));
		sum += stats.rx_packets;
	}
	freeifaddrs(all);
	return sum;
}

/* Sends the frames as soon as they count, and is done when they have all gone their way, which
 * the kernel does in its own time. */
static bool send_now(double share, const struct proof_counts *settled, void *data)
{
	struct plan *plan = data;
	uint64_t before = plan->arrived;

	assert_true(share >= 0 && share <= 1);
	assert_int_equal(settled->unseen, 0);
	plan->arrived = arrived();
	if (!plan->sent && plan->send)
		plan->send();
	if (!plan->sent) {
		plan->sent = true;
		plan->arrived = UINT64_MAX;
		return true;
	}
	return plan->arrived != before;
}

/* The same, of frames that can't all be looked at. */
static bool send_unseen(double share, const struct proof_counts *settled, void *data)
{
	static const struct proof_counts none;

	(void)settled;
	return send_now(share, &none, data);
}

static int tear_down(void **state)
{
	(void)state;
	close(sender);
	return 0;
}

static struct plan plan_of(enum direction direction, void (*send)(void))
{
	struct plan plan = {.send = send};

	if (geteuid() != 0 || if_nametoindex("mon") == 0) {
		print_message("needs root, for a network namespace\n");
		skip();
	}
	plan.sources[0] = (struct proof_source){(int)if_nametoindex("pa"), direction};
	plan.sources[1] = (struct proof_source){(int)if_nametoindex("pb"), direction};
	plan.request.nsources = 2;
	plan.to[0] = (int)if_nametoindex("mon");
	plan.request.nto = 1;
	plan.request.seconds = 20;
	plan.request.progress = send_now;
	return plan;
}

static const struct proof_counts *run(struct plan *plan)
{
	struct err e = {0};

	plan->request.sources = plan->sources;
	plan->request.to = plan->to;
	plan->request.data = plan;
	if (proof_run(&plan->request, &plan->result, &e) < 0)
		fail_msg("%s", e.text);
	return &plan->result.counts;
}

static void assert_verdict(struct plan *plan, enum proof_verdict verdict)
{
	if (plan->result.verdict != verdict)
		fail_msg("%s: %s", proof_verdict_name(plan->result.verdict), plan->result.why);
	proof_result_free(&plan->result);
}

/* One frame of len bytes, with a number in it, out of a device. */
static void send_frame(const char *device, const char *to, uint16_t type, uint32_t number,
		       size_t len)
{
	uint8_t frame[2000] = {0};
	struct sockaddr_ll address = {.sll_family = AF_PACKET,
				      .sll_ifindex = (int)if_nametoindex(device),
				      .sll_halen = ETH_ALEN};
	ssize_t n;

	memcpy(frame, to, 6);
	memcpy(frame + 6, "\x02\0\0\0\0\x55", 6);
	frame[12] = (uint8_t)(type >> 8);
	frame[13] = (uint8_t)type;
	memcpy(frame + 60, &number, sizeof(number));
	n = sendto(sender, frame, len, 0, (struct sockaddr *)&address, sizeof(address));
	assert_int_equal(n, len);
}

#define TO_A   "\x02\0\0\0\0\x0a"
#define TO_B   "\x02\0\0\0\0\x0b"
#define TO_ALL "\xff\xff\xff\xff\xff\xff"
enum { LOCAL = 0x88b6, MANY = 100 };

static void send_both_ways(void)
{
	for (uint32_t i = 0; i < MANY; i++) {
		send_frame("am", TO_B, LOCAL, i, 64 + i * 10);
		send_frame("bm", TO_A, LOCAL, i, 64 + i * 10);
	}
	send_frame("am", TO_ALL, LOCAL, 0, 64);
	send_frame("br0", TO_B, LOCAL, MANY, 64); /* from the host to bm */
}

static void test_whole(void **state)
{
	struct plan plan = plan_of(DIRECTION_BOTH, send_both_ways);
	const struct proof_counts *c;

	(void)state;
	mirror();
	c = run(&plan);
	assert_int_equal(c->expected, 2 * MANY + 2);
	assert_int_equal(c->copied, 2 * MANY + 2);
	assert_int_equal(c->other, 0);
	assert_int_equal(plan.result.sources[0].sent, MANY + 1);
	assert_int_equal(plan.result.sources[0].received, MANY);
	assert_int_equal(plan.result.sources[1].received, MANY + 2);
	assert_verdict(&plan, PROOF_WHOLE);
}

/* The copy of every frame whose number is odd is left out. */
static void test_lost(void **state)
{
	struct plan plan = plan_of(DIRECTION_SENT, send_both_ways);
	const struct proof_counts *c;

	(void)state;
	shell("for i in pa pb; do tc qdisc add dev $i clsact && tc filter add dev $i ingress "
	      "protocol all u32 match u8 0 1 at 46 action mirred egress mirror dev mon continue "
	      "|| exit 1; done");
	c = run(&plan);
	assert_int_equal(c->expected, 2 * MANY + 1);
	assert_int_equal(c->lost, MANY);
	assert_int_equal(c->copied, MANY + 1);
	assert_int_equal(c->doubled + c->altered + c->other, 0);
	assert_verdict(&plan, PROOF_BROKEN);
}

static void test_doubled(void **state)
{
	struct plan plan = plan_of(DIRECTION_SENT, send_both_ways);
	const struct proof_counts *c;

	(void)state;
	mirror();
	shell("tc filter add dev pa ingress pref 9 protocol all u32 match u32 0 0 "
	      "action mirred egress mirror dev mon continue");
	c = run(&plan);
	assert_int_equal(c->copied, 2 * MANY + 1);
	assert_int_equal(c->doubled, MANY + 1);
	assert_verdict(&plan, PROOF_BROKEN);
}

static void test_nothing(void **state)
{
	struct plan plan = plan_of(DIRECTION_BOTH, NULL);

	(void)state;
	mirror();
	assert_int_equal(run(&plan)->expected, 0);
	assert_verdict(&plan, PROOF_NOTHING);
}

/* Copies of the test's own making: one with a byte changed, one cut short, one that is not in
 * any machine's traffic; the rest as they should be. */
static void send_altered(void)
{
	for (uint32_t i = 0; i < 10; i++)
		send_frame("am", TO_B, LOCAL + (uint16_t)i, i, 100);
	for (uint32_t i = 0; i < 10; i++)
		send_frame("mon", TO_B, LOCAL + (uint16_t)i, i == 3 ? 99 : i, i == 5 ? 90 : 100);
	send_frame("mon", TO_ALL, LOCAL, 0, 60);
}

static void test_altered(void **state)
{
	struct plan plan = plan_of(DIRECTION_SENT, send_altered);
	const struct proof_counts *c;

	(void)state;
	c = run(&plan);
	assert_int_equal(c->expected, 10);
	assert_int_equal(c->copied, 8);
	assert_int_equal(c->altered, 2);
	assert_int_equal(c->other, 1);
	assert_int_equal(c->lost + c->doubled, 0);
	assert_verdict(&plan, PROOF_BROKEN);
}

static void send_tagged(const char *device, unsigned tag, bool with_tag)
{
	uint8_t frame[80] = "\x02\0\0\0\0\x0b\x02\0\0\0\0\x55\x81\0\0\0\x88\xb6";
	struct sockaddr_ll address = {.sll_family = AF_PACKET,
				      .sll_protocol = htons(with_tag ? ETH_P_8021Q : LOCAL),
				      .sll_ifindex = (int)if_nametoindex(device),
				      .sll_halen = ETH_ALEN};
	size_t len = sizeof(frame);

	frame[15] = (uint8_t)tag;
	frame[20] = (uint8_t)tag;
	if (!with_tag) {
		len -= 4;
		memmove(frame + 12, frame + 16, len - 12);
	}
	assert_int_equal(
		sendto(sender, frame, len, 0, (struct sockaddr *)&address, sizeof(address)), len);
}

/* The kernel takes the tag out of the bytes at the source; in the copies it still stands there. */
static void send_tags(void)
{
	for (unsigned tag = 1; tag <= 10; tag++) {
		send_tagged("am", tag, true);
		send_tagged("mon", tag, tag != 7);
	}
}

static void test_tag_lost(void **state)
{
	struct plan plan = plan_of(DIRECTION_SENT, send_tags);
	const struct proof_counts *c;

	(void)state;
	c = run(&plan);
	assert_int_equal(c->copied, 9);
	assert_int_equal(c->altered, 1);
	assert_verdict(&plan, PROOF_BROKEN);
}

static void send_tags_to_source(void)
{
	for (unsigned tag = 1; tag <= 10; tag++)
		send_tagged("am", tag, true);
}

static void test_tag_kept(void **state)
{
	struct plan plan = plan_of(DIRECTION_BOTH, send_tags_to_source);

	(void)state;
	mirror();
	assert_int_equal(run(&plan)->copied, 10);
	assert_int_equal(plan.result.sources[1].received, 10);
	assert_int_equal(plan.result.counts.other, 0);
	proof_result_free(&plan.result);
}

/* The session's filter: only frames with EtherType 0x88b6. */
static void send_two_kinds(void)
{
	for (uint32_t i = 0; i < 10; i++) {
		send_frame("am", TO_B, LOCAL, i, 100);
		send_frame("am", TO_B, LOCAL + 1, i, 100);
	}
}

static void test_filter(void **state)
{
	static const struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 12),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, LOCAL, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, 20), /* even where it asks for the beginning only */
		BPF_STMT(BPF_RET | BPF_K, 0),
	};
	struct plan plan = plan_of(DIRECTION_BOTH, send_two_kinds);
	const struct proof_counts *c;

	(void)state;
	mirror();
	plan.request.code = code;
	plan.request.ncode = sizeof(code) / sizeof(code[0]);
	c = run(&plan);
	assert_int_equal(c->expected, 10);
	assert_int_equal(c->copied, 10);
	assert_int_equal(c->other, 0);
	assert_int_equal(plan.result.sources[0].received, 0);
	assert_verdict(&plan, PROOF_WHOLE);
}

/* As a ring gets a frame that is larger than its blocks. */
static void test_seen_in_part(void **state)
{
	static const struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_IMM, 60),
		BPF_STMT(BPF_RET | BPF_A, 0),
	};
	struct plan plan = plan_of(DIRECTION_SENT, send_two_kinds);
	const struct proof_counts *c;

	(void)state;
	mirror();
	plan.request.code = code;
	plan.request.ncode = sizeof(code) / sizeof(code[0]);
	plan.request.progress = send_unseen;
	c = run(&plan);
	assert_int_equal(plan.result.sources[0].unseen, 20);
	assert_int_equal(c->expected, 0);
	assert_verdict(&plan, PROOF_BLIND);
}

static bool wait_for_end(double share, const struct proof_counts *settled, void *data)
{
	(void)share;
	(void)settled;
	(void)data;
	return true;
}

static void test_probes(void **state)
{
	struct plan plan = plan_of(DIRECTION_RECEIVED, NULL);
	const struct proof_counts *c;

	(void)state;
	shell("for i in pa pb; do tc qdisc add dev $i clsact && tc filter add dev $i egress "
	      "protocol "
	      "all u32 match u32 0 0 action mirred egress mirror dev mon continue || exit 1; done");
	plan.request.seconds = 2; /* a busy machine may stand still for some of it */
	plan.request.probes = 20;
	plan.request.progress = wait_for_end;
	c = run(&plan);
	assert_int_equal(plan.result.probes, 40);
	assert_int_equal(c->expected, 40);
	assert_int_equal(c->copied, 40);
	assert_int_equal(plan.result.sources[0].received, 20);
	assert_verdict(&plan, PROOF_WHOLE);
}

static void send_more_than_remembered(void)
{
	unsigned nth = 1;

	for (uint32_t i = 0; i < 4000; i++)
		send_frame("am", TO_B, LOCAL, i, 64);
	assert_true(memory_refuse(&nth));
}

/* What there is no room to remember is counted as not seen, not as lost. */
static void test_no_memory_for_more(void **state)
{
	struct plan plan = plan_of(DIRECTION_SENT, send_more_than_remembered);
	const struct proof_counts *c;

	(void)state;
	mirror();
	plan.request.progress = send_unseen;
	c = run(&plan);
	assert_true(memory_refused());
	assert_true(c->unseen > 0);
	assert_verdict(&plan, PROOF_BLIND);
}

/* A TCP super-frame of three segments from a machine, as a guest with TSO sends it. */
static void send_super_frames(void)
{
	struct {
		struct virtio_net_hdr offload;
		uint8_t frame[54 + 4000];
	} __attribute__((packed)) s = {.offload = {.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
						   .gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
						   .hdr_len = 54,
						   .gso_size = 1448,
						   .csum_start = 34,
						   .csum_offset = 16}};
	static const uint8_t headers[54] = "\x02\0\0\0\0\x0b\x02\0\0\0\0\x0a\x08\0"
					   "\x45\0\x0f\xc8\0\x07\x40\0\x40\x06\x17\x27"
					   "\x0a\0\0\1\x0a\0\0\2"
					   "\x30\x39\x13\x89\0\0\0\1\0\0\0\1\x50\x18\1\0\0\0\0";
	struct sockaddr_ll address = {.sll_family = AF_PACKET,
				      .sll_protocol = htons(ETH_P_IP),
				      .sll_ifindex = (int)if_nametoindex("am"),
				      .sll_halen = ETH_ALEN};
	int on = 1;

	memcpy(s.frame, headers, sizeof(headers));
	for (size_t i = sizeof(headers); i < sizeof(s.frame); i++)
		s.frame[i] = (uint8_t)(i * 31 + i / 256);
	assert_int_equal(setsockopt(sender, SOL_PACKET, PACKET_VNET_HDR, &on, sizeof(on)), 0);
	for (uint8_t i = 0; i < 10; i++) {
		s.frame[18] = i; /* the identification, and so the header's checksum */
		s.frame[24] = (uint8_t)(0x17 - i);
		s.frame[40] = i;
		assert_int_equal(sendto(sender, &s, sizeof(s), 0, (struct sockaddr *)&address,
					sizeof(address)),
				 sizeof(s));
	}
}

/* UDP super-frames, of three segments too; USO is of Linux 6.2. */
static void send_udp_super_frames(void)
{
	struct {
		struct virtio_net_hdr offload;
		uint8_t frame[42 + 4000];
	} __attribute__((packed)) s = {.offload = {.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
						   .gso_type = 5, /* VIRTIO_NET_HDR_GSO_UDP_L4 */
						   .hdr_len = 42,
						   .gso_size = 1400,
						   .csum_start = 34,
						   .csum_offset = 6}};
	struct sockaddr_ll address = {.sll_family = AF_PACKET,
				      .sll_protocol = htons(ETH_P_IP),
				      .sll_ifindex = (int)if_nametoindex("am"),
				      .sll_halen = ETH_ALEN};
	int on = 1;

	memcpy(s.frame,
	       "\x02\0\0\0\0\x0b\x02\0\0\0\0\x0a\x08\0"
	       "\x45\0\x0f\xbc\0\x07\x40\0\x40\x11\x17\x28\x0a\0\0\1\x0a\0\0\2"
	       "\x30\x39\x13\x89\x0f\xa8\0\0",
	       42);
	assert_int_equal(setsockopt(sender, SOL_PACKET, PACKET_VNET_HDR, &on, sizeof(on)), 0);
	for (uint8_t i = 0; i < 10; i++) {
		s.frame[18] = i;
		s.frame[24] = (uint8_t)(0x17 - i);
		s.frame[42] = i;
		if (sendto(sender, &s, sizeof(s), 0, (struct sockaddr *)&address, sizeof(address)) <
		    0)
			skip();
	}
}

/* Few devices take them, so they are compared as their segments always. */
static void test_udp_super_frames(void **state)
{
	struct plan plan = plan_of(DIRECTION_BOTH, send_udp_super_frames);
	const struct proof_counts *c;

	(void)state;
	mirror();
	c = run(&plan);
	assert_false(plan.result.as_segments);
	assert_int_equal(c->expected, 30);
	assert_int_equal(c->copied, 30);
	assert_int_equal(c->cut, 20);
	assert_verdict(&plan, PROOF_WHOLE);
}

static void check_super_frames(const char *cut_at, uint64_t frames, uint64_t cut)
{
	struct plan plan = plan_of(DIRECTION_BOTH, send_super_frames);
	char command[80];
	const struct proof_counts *c;

	mirror();
	if (cut_at) {
		snprintf(command, sizeof(command), "ethtool -K %s tso off", cut_at);
		if (system("command -v ethtool >/dev/null") != 0) {
			print_message("needs ethtool\n");
			skip();
		}
		shell(command);
	}
	c = run(&plan);
	assert_int_equal(plan.result.as_segments, cut_at != NULL);
	assert_int_equal(c->expected, frames);
	assert_int_equal(c->copied, frames);
	assert_int_equal(c->other, 0);
	assert_int_equal(c->cut, cut);
	proof_result_free(&plan.result);
}

static void test_super_frames_whole(void **state)
{
	(void)state;
	check_super_frames(NULL, 10, 0);
}

static void test_super_frames_cut_at_destination(void **state)
{
	(void)state;
	check_super_frames("mon", 30, 20);
}

/* The source's own ring sees segments, the copy was made before they were cut. */
static void test_super_frames_cut_at_source(void **state)
{
	(void)state;
	check_super_frames("pb", 30, 10);
}

static int tap = -1;

/* TCP in a tunnel, as super-frames: a machine that offloads sends them. */
static void send_tunnelled(void)
{
	struct {
		struct virtio_net_hdr offload;
		uint8_t frame[74 + 4000];
	} __attribute__((packed)) s = {.offload = {.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
						   .gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
						   .hdr_len = 74,
						   .gso_size = 1428,
						   .csum_start = 54,
						   .csum_offset = 16}};

	memcpy(s.frame,
	       "\x02\0\0\0\0\x0b\x02\0\0\0\0\x0a\x08\0"
	       "\x45\0\x0f\xdc\0\x07\x40\0\x40\x04\x17\x15\x0a\0\0\1\x0a\0\0\2"
	       "\x45\0\x0f\xc8\0\x07\x40\0\x40\x06\x17\x27\x0a\0\0\1\x0a\0\0\2"
	       "\x30\x39\x13\x89\0\0\0\1\0\0\0\1\x50\x18\1\0\0\0\0",
	       74);
	for (int i = 0; i < 10; i++)
		assert_int_equal(write(tap, &s, sizeof(s)), sizeof(s));
}

/* They are not cut into segments, so where a device on the way takes none they can't be compared.
 */
static void test_super_frames_that_are_not_cut(void **state)
{
	struct ifreq request = {.ifr_name = "tap0",
				.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
	struct plan plan = plan_of(DIRECTION_SENT, send_tunnelled);
	const struct proof_counts *c;

	(void)state;
	tap = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
	if (tap < 0 || ioctl(tap, TUNSETIFF, &request) < 0) {
		print_message("needs /dev/net/tun\n");
		skip();
	}
	shell("ip link set tap0 master br0 up; ethtool -K mon tso off");
	plan.sources[0].ifindex = (int)if_nametoindex("tap0");
	plan.request.nsources = 1;
	plan.request.progress = send_unseen;
	c = run(&plan);
	close(tap);
	assert_int_equal(plan.result.sources[0].unseen, 10);
	assert_int_equal(c->expected, 0);
	assert_verdict(&plan, PROOF_BLIND);
}

static clock_t spent;

/* Until the time is up. */
static bool go_down_once(double share, const struct proof_counts *settled, void *data)
{
	struct plan *plan = data;

	(void)share, (void)settled;
	if (!plan->sent) {
		shell("ip link set pb down");
		spent = clock();
	}
	plan->sent = true;
	return true;
}

/* Its ring is left with an error, at which poll(2) would return for ever. */
static void test_a_device_that_goes_down(void **state)
{
	struct plan plan = plan_of(DIRECTION_BOTH, NULL);

	(void)state;
	plan.request.seconds = 1;
	plan.request.progress = go_down_once;
	(void)run(&plan);
	spent = clock() - spent;
	assert_in_range(spent, 0, CLOCKS_PER_SEC / 2);
	assert_verdict(&plan, PROOF_NOTHING);
}

/* An offload that can't be asked for counts as off. */
static void test_offloads(void **state)
{
	bool taken = false;
	unsigned refused = 0;

	(void)state;
	(void)plan_of(DIRECTION_BOTH, NULL);
	for (unsigned nth = 1; call_refuse(&nth, EOPNOTSUPP);) {
		taken = ring_takes_super_frames("am");
		if (call_refused() && strcmp(call_refused(), "close") != 0) {
			assert_false(taken);
			refused++;
		}
	}
	assert_true(taken);
	assert_int_equal(refused, 4); /* socket(), and ioctl() three times */
}

static void test_no_ring(void **state)
{
	static const char *const calls[] = {"mmap64", "bind"};
	struct plan plan = plan_of(DIRECTION_BOTH, NULL);
	struct sock_filter code[BPF_MAXINSNS] = {{.code = BPF_RET | BPF_K, .k = UINT32_MAX}};
	struct proof_result untouched = {.probes = 77};
	struct err e = {0};

	(void)state;
	plan.request.sources = plan.sources;
	plan.request.to = plan.to;
	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		call_refuse_next(calls[i], ENOBUFS);
		assert_int_equal(proof_run(&plan.request, &untouched, &e), -ENOBUFS);
		assert_non_null(call_refused());
		assert_non_null(strstr(e.text, "No buffer space available"));
	}
	plan.request.code = code;
	plan.request.ncode = BPF_MAXINSNS;
	assert_int_equal(proof_run(&plan.request, &untouched, &e), -E2BIG);
	assert_string_equal(e.text, "the filter is too long: 4096 instructions");
	assert_int_equal(untouched.probes, 77);
}

static void test_refused(void **state)
{
	struct plan plan = plan_of(DIRECTION_BOTH, NULL);
	struct proof_result untouched = {.probes = 77};
	struct proof_request bad = plan.request;
	struct err e = {0};

	(void)state;
	bad.sources = plan.sources;
	bad.to = plan.to;
	bad.seconds = 0;
	assert_int_equal(proof_run(&bad, &untouched, &e), -EINVAL);
	bad.seconds = 1;
	plan.to[0] = plan.sources[0].ifindex;
	assert_int_equal(proof_run(&bad, &untouched, &e), -EINVAL);
	plan.to[0] = 9999;
	assert_int_equal(proof_run(&bad, &untouched, &e), -ENODEV);
	assert_non_null(strstr(e.text, "9999"));
	bad.nsources = UINT16_MAX;
	assert_int_equal(proof_run(&bad, &untouched, &e), -EINVAL);
	assert_string_equal(e.text, "cannot compare the frames of 65535 devices");
	bad.nsources = 1;
	bad.nto = 0;
	assert_int_equal(proof_run(&bad, &untouched, &e), -EINVAL);
	bad.nto = SESSION_TO_MAX + 1;
	assert_int_equal(proof_run(&bad, &untouched, &e), -EINVAL);
	assert_int_equal(untouched.probes, 77);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_whole),
		TEST(test_lost),
		TEST(test_doubled),
		TEST(test_nothing),
		TEST(test_altered),
		TEST(test_tag_lost),
		TEST(test_tag_kept),
		TEST(test_filter),
		TEST(test_seen_in_part),
		TEST(test_probes),
		TEST(test_super_frames_whole),
		TEST(test_udp_super_frames),
		TEST(test_super_frames_cut_at_destination),
		TEST(test_super_frames_cut_at_source),
		TEST(test_super_frames_that_are_not_cut),
		TEST(test_no_memory_for_more),
		TEST(test_a_device_that_goes_down),
		TEST(test_offloads),
		TEST(test_no_ring),
		TEST(test_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
