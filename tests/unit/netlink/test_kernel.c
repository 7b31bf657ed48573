/* SPDX-License-Identifier: MIT */
/* Everything that is put, against the kernel itself, in a network namespace of the test's own;
 * iproute2 is the witness. */
#include "base/err.h"
#include "base/hash.h"
#include "base/mem.h"
#include "netlink/link.h"
#include "netlink/nl.h"
#include "netlink/tc.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/tc_act/tc_mirred.h>
#include <sched.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <setjmp.h>

#include <cmocka.h>

#define CLSACT_HANDLE TC_H_MAJ(TC_H_CLSACT)
#define INGRESS	      TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS)
#define EGRESS	      TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_EGRESS)

static const uint8_t cookie[TC_COOKIE] = "portmirror:span";
static const struct sock_filter all[] = {{0x06, 0, 0, 0xffffffff}};
static const struct sock_filter none[] = {{0x06, 0, 0, 0}};

static struct nl *nl;
static const char *lacks;	  /* what the machine has not got */
static int port, peer, to, other; /* ifindexes: port and peer are the ends of one cable */

static void run(const char *command)
{
	if (system(command) != 0) /* NOLINT(cert-env33-c): the test's own words */
		fail_msg("this failed: %s", command);
}

/* What a command prints; a buffer that the next call overwrites. */
static const char *said(const char *command)
{
	static char text[65536];
	FILE *pipe = popen(command, "re"); /* NOLINT(cert-env33-c): the test's own words */
	size_t len;

	assert_non_null(pipe);
	len = fread(text, 1, sizeof(text) - 1, pipe);
	text[len] = '\0';
	assert_int_equal(pclose(pipe), 0);
	return text;
}

static void assert_said(const char *command, const char *words)
{
	const char *text = said(command);

	if (!strstr(text, words))
		fail_msg("'%s' doesn't say '%s' but: %s", command, words, text);
}

static size_t times_said(const char *command, const char *words)
{
	size_t n = 0;

	for (const char *at = said(command); (at = strstr(at, words)); at++)
		n++;
	return n;
}

static int setup(void **state)
{
	(void)state;
	if (access("/usr/sbin/tc", X_OK) < 0 && access("/sbin/tc", X_OK) < 0)
		lacks = "iproute2";
	else if (unshare(CLONE_NEWNET) < 0)
		lacks = "the right to make a network namespace (root)";
	return lacks ? 0 : nl_open(&nl, NULL);
}

static int teardown(void **state)
{
	(void)state;
	nl_close(nl);
	return 0;
}

/* A device that got its carrier after it was set up drops what it is to send, until the kernel's
 * linkwatch has looked at it (net/core/link_watch.c, linkwatch_do_dev()). */
static void await_active(size_t devices)
{
	time_t end = time(NULL) + 10;

	while (times_said("ip -o link show up", " state UP ") < devices)
		if (time(NULL) > end)
			fail_msg("not all devices are up: %s", said("ip link show up"));
}

/* Fresh devices for each test. */
static int devices(void **state)
{
	(void)state;
	if (lacks)
		return 0;
	run("ip link add port type veth peer name peer && ip link add to type veth peer name far"
	    " && ip link add other type veth peer name away"
	    " && for d in port peer to far other away; do"
	    " ip link set $d up addrgenmode none; done");
	await_active(6);
	port = (int)if_nametoindex("port");
	peer = (int)if_nametoindex("peer");
	to = (int)if_nametoindex("to");
	other = (int)if_nametoindex("other");
	return 0;
}

static int no_devices(void **state)
{
	(void)state;
	if (lacks)
		return 0;
	run("for d in port to other bridge0; do ip link del $d 2>/dev/null; done; true");
	run("tc actions flush action mirred");
	return 0;
}

#define NEEDS_ALL()                                                                                \
	do {                                                                                       \
		if (lacks) {                                                                       \
			print_message("this machine lacks %s\n", lacks);                           \
			skip();                                                                    \
		}                                                                                  \
	} while (0)

struct refusal {
	size_t count, message;
	int code;
	char words[128];
};

static void refused(size_t message, int code, const char *words, void *data)
{
	struct refusal *r = data;

	r->count++;
	r->message = message;
	r->code = code;
	snprintf(r->words, sizeof(r->words), "%s", words);
}

/* Sends and empties the batch. */
static struct refusal sent(struct nl_batch *b)
{
	struct refusal r = {0};
	struct err e = {0};

	if (nl_batch_send(nl, b, refused, &r, &e) < 0)
		fail_msg("%s", e.text);
	nl_batch_free(b);
	return r;
}

static void assert_done(struct nl_batch *b)
{
	struct refusal r = sent(b);

	if (r.count)
		fail_msg("message %zu: %d %s", r.message, r.code, r.words);
}

/* The only mirred action of the namespace. */
static struct tc_action the_action(void)
{
	struct tc_actions actions cleanup(tc_actions_free) = {0};

	assert_int_equal(tc_actions(nl, "mirred", &actions, NULL), 0);
	assert_int_equal(actions.count, 1);
	return actions.items[0];
}

/* A replaced or deleted filter lets go of its action a little later. */
static void await_bound(int bound)
{
	time_t end = time(NULL) + 10;

	while (the_action().bound != bound)
		if (time(NULL) > end)
			fail_msg("%d filters are bound, not %d", the_action().bound, bound);
}

static void assert_action(int to_ifindex)
{
	struct tc_action a = the_action();

	assert_string_equal(a.kind, "mirred");
	assert_int_equal(a.index, 7);
	assert_int_equal(a.to_ifindex, to_ifindex);
	assert_int_equal(a.mirred, TCA_EGRESS_MIRROR);
	assert_int_equal(a.control, TC_ACT_UNSPEC);
	assert_int_equal(a.cookie_len, TC_COOKIE);
	assert_memory_equal(a.cookie, cookie, TC_COOKIE);
}

/* The filters of one hook: with a handle (rules) and without (rows that name a pref or table). */
struct seen {
	size_t rules, rows;
	struct tc_filter last; /* rule */
};

static struct seen filters_of(int ifindex, uint32_t parent)
{
	struct tc_filters filters cleanup(tc_filters_free) = {0};
	struct seen seen = {0};

	assert_int_equal(tc_filters(nl, ifindex, parent, &filters, NULL), 0);
	seen.rows = filters.count;
	for (size_t i = 0; i < filters.count; i++) {
		assert_int_equal(filters.items[i].ifindex, ifindex);
		assert_int_equal(filters.items[i].parent, parent);
		if (filters.items[i].handle == 0)
			continue;
		seen.rules++;
		seen.last = filters.items[i];
	}
	return seen;
}

static struct tc_rule rule_of(uint32_t parent, uint16_t pref, uint32_t handle)
{
	return (struct tc_rule){.ifindex = port,
				.parent = parent,
				.pref = pref,
				.handle = handle,
				.match = TC_MATCH_BYTECODE,
				.code = all,
				.ncode = 1,
				.program_fd = -1,
				.mirred = 7};
}

static void make_clsact_and_action(void)
{
	struct nl_batch b = {0};

	tc_put_qdisc_add(&b, port, TC_H_CLSACT, CLSACT_HANDLE, "clsact");
	tc_put_mirred(&b, 7, to, cookie, false);
	assert_done(&b);
}

/* One frame onto the cable's other end, so that it comes in at port. */
static void send_frame(void)
{
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	struct sockaddr_ll address = {.sll_family = AF_PACKET, .sll_ifindex = peer};
	const uint8_t frame[60] = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x88, 0xb5};

	assert_true(fd >= 0);
	assert_int_equal(sendto(fd, frame, sizeof(frame), 0, (struct sockaddr *)&address,
				sizeof(address)),
			 sizeof(frame));
	close(fd);
}

static void test_links(void **state)
{
	struct nl_links links cleanup(nl_links_free) = {0};
	const struct nl_link *link;
	char mac[32];

	(void)state;
	NEEDS_ALL();
	run("ip link add bridge0 type bridge && ip link set peer master bridge0 mtu 1400 "
	    "txqueuelen 77");
	assert_int_equal(nl_links(nl, &links, NULL), 0);
	link = nl_link_by_name(&links, "peer");
	assert_non_null(link);
	assert_ptr_equal(link, nl_link_by_index(&links, peer));
	assert_string_equal(link->kind, "veth");
	assert_string_equal(link->port_kind, "bridge");
	assert_int_equal(link->master, if_nametoindex("bridge0"));
	assert_int_equal(link->mtu, 1400);
	assert_int_equal(link->tx_queue_len, 77);
	assert_int_equal(link->type, 1);
	assert_true(link->flags & IFF_UP);
	assert_true(link->carrier && link->has_mac && !link->hairpin);
	assert_int_equal(link->brport, BRPORT_ALL & ~(unsigned)(BRPORT_ISOLATED | BRPORT_HAIRPIN));
	snprintf(mac, sizeof(mac), "%02x:%02x:%02x:%02x:%02x:%02x", link->mac[0], link->mac[1],
		 link->mac[2], link->mac[3], link->mac[4], link->mac[5]);
	assert_said("ip link show peer", mac);
	assert_string_equal(nl_link_by_name(&links, "bridge0")->kind, "bridge");
	assert_string_equal(nl_link_by_name(&links, "lo")->kind, "");
	for (size_t i = 1; i < links.count; i++)
		assert_true(links.items[i - 1].index < links.items[i].index);
}

static void test_brport(void **state)
{
	struct nl_links links cleanup(nl_links_free) = {0};
	struct nl_batch b = {0};

	(void)state;
	NEEDS_ALL();
	run("ip link add bridge0 type bridge && ip link set peer master bridge0");
	nl_put_brport(&b, peer, BRPORT_ALL, BRPORT_HAIRPIN | BRPORT_MCAST_FLOOD);
	nl_put_brport(&b, peer, BRPORT_MCAST_FLOOD | BRPORT_ISOLATED, BRPORT_ISOLATED);
	assert_done(&b);
	assert_int_equal(nl_links(nl, &links, NULL), 0);
	assert_int_equal(nl_link_by_index(&links, peer)->brport, BRPORT_HAIRPIN | BRPORT_ISOLATED);
	assert_true(nl_link_by_index(&links, peer)->hairpin);
	assert_said("bridge -d link show dev peer", "learning off flood off mcast_flood off");
	assert_said("bridge -d link show dev peer", "hairpin on");
	assert_said("bridge -d link show dev peer", "isolated on");
}

/* More refusals than fit into one answer, each told, in order; the others are carried out. */
static void test_refusals(void **state)
{
	struct nl_batch b = {0};
	struct refusal r;

	(void)state;
	NEEDS_ALL();
	for (int i = 0; i < 5000; i++)
		tc_put_qdisc_add(&b, port, TC_H_CLSACT, CLSACT_HANDLE, "clsact");
	r = sent(&b);
	assert_int_equal(r.count, 4999);
	assert_int_equal(r.message, 4999);
	assert_int_equal(r.code, -EEXIST);
	assert_string_equal(r.words, "Exclusivity flag on, cannot modify");
}

static void test_qdiscs(void **state)
{
	struct tc_qdiscs q cleanup(tc_qdiscs_free) = {0};
	struct nl_batch b = {0};
	bool clsact = false, htb = false;
	struct refusal r;

	(void)state;
	NEEDS_ALL();
	tc_put_qdisc_add(&b, port, TC_H_CLSACT, CLSACT_HANDLE, "clsact");
	tc_put_qdisc_add(&b, to, TC_H_ROOT, 0x10000, "htb");
	tc_put_qdisc_add(&b, other, TC_H_INGRESS, CLSACT_HANDLE, "ingress");
	assert_done(&b);
	assert_said("tc qdisc show dev port", "qdisc clsact ffff: parent ffff:fff1");
	assert_said("tc qdisc show dev to", "qdisc htb 1: root");
	assert_said("tc qdisc show dev other", "qdisc ingress ffff: parent ffff:fff1");
	assert_int_equal(tc_qdiscs(nl, &q, NULL), 0);
	for (size_t i = 0; i < q.count; i++) {
		const struct tc_qdisc *at = &q.items[i];

		clsact |= at->ifindex == port && strcmp(at->kind, "clsact") == 0 &&
			  at->parent == TC_H_CLSACT && at->handle == CLSACT_HANDLE;
		htb |= at->ifindex == to && strcmp(at->kind, "htb") == 0 &&
		       at->parent == TC_H_ROOT && at->handle == 0x10000;
	}
	assert_true(clsact && htb);

	tc_put_qdisc_del(&b, port, TC_H_CLSACT, CLSACT_HANDLE, "ingress");
	r = sent(&b);
	assert_int_equal(r.code, -EINVAL); /* it is another kind's */
	tc_put_qdisc_del(&b, port, TC_H_CLSACT, CLSACT_HANDLE, "clsact");
	tc_put_qdisc_del(&b, to, TC_H_ROOT, 0x10000, "htb");
	assert_done(&b);
	assert_int_equal(times_said("tc qdisc show dev port", "clsact"), 0);
}

static void test_prio(void **state)
{
	struct nl_batch b = {0};
	struct refusal r;

	(void)state;
	NEEDS_ALL();
	tc_put_qdisc_add(&b, to, TC_H_ROOT, 0x10000, "prio");
	r = sent(&b);
	if (r.code == -ENOENT) {
		print_message("this kernel has no sch_prio: %s\n", r.words);
		skip();
	}
	assert_int_equal(r.count, 0);
	assert_said("tc qdisc show dev to", "qdisc prio 1: root refcnt 2 bands 3"
					    " priomap 1 2 2 2 1 2 0 0 1 1 1 1 1 1 1 1");
}

static void test_action(void **state)
{
	struct nl_batch b = {0};
	struct refusal r;

	(void)state;
	NEEDS_ALL();
	tc_put_mirred(&b, 7, to, cookie, false);
	tc_put_mirred(&b, 7, other, (const uint8_t[TC_COOKIE]){0}, false);
	r = sent(&b);
	assert_int_equal(r.count, 1);
	assert_int_equal(r.message, 1);
	assert_int_equal(r.code, -EEXIST);
	assert_action(to);
	assert_said("tc -j actions ls action mirred",
		    "\"kind\":\"mirred\",\"mirred_action\":\"mirror\",\"direction\":\"egress\","
		    "\"to_dev\":\"to\",\"control_action\":{\"type\":\"continue\"},\"index\":7,"
		    "\"ref\":1,\"bind\":0,\"cookie\":\"706f72746d6972726f723a7370616e00\"");
	tc_put_mirred(&b, 7, other, cookie, true);
	assert_done(&b);
	assert_action(other);
	run("ip link del other");
	assert_action(0);
	tc_put_mirred(&b, 7, to, cookie, true);
	assert_done(&b);
	assert_action(to);
	tc_put_mirred_del(&b, 7);
	assert_done(&b);
	assert_int_equal(times_said("tc actions ls action mirred", "index"), 0);
}

static void test_many_actions(void **state)
{
	struct tc_actions actions cleanup(tc_actions_free) = {0};
	struct nl_batch b = {0};

	(void)state;
	NEEDS_ALL();
	for (uint32_t i = 1; i <= 500; i++)
		tc_put_mirred(&b, i, to, cookie, false);
	assert_done(&b);
	assert_int_equal(tc_actions(nl, "mirred", &actions, NULL), 0);
	assert_int_equal(actions.count, 500);
	assert_int_equal(tc_actions(nl, "nonesuch", &actions, NULL), 0);
	assert_int_equal(actions.count, 500);
	assert_int_equal(tc_actions(nl, "a-name-of-17-chars", &actions, NULL), -EINVAL);
}

/* Made, found, refused a second time, replaced in place; the action is never touched. */
static void test_bytecode(void **state)
{
	struct tc_rule rule = rule_of(INGRESS, 9, 1);
	struct nl_batch b = {0};
	struct seen seen;

	(void)state;
	NEEDS_ALL();
	make_clsact_and_action();
	tc_put_filter(&b, &rule, false);
	rule.parent = EGRESS;
	tc_put_filter(&b, &rule, true);
	assert_done(&b);
	assert_action(to);
	assert_int_equal(the_action().bound, 2);
	tc_put_filter(&b, &rule, false);
	assert_int_equal(sent(&b).code, -EEXIST);

	seen = filters_of(port, EGRESS);
	assert_int_equal(seen.rules, 1);
	assert_string_equal(seen.last.kind, "bpf");
	assert_int_equal(seen.last.pref, 9);
	assert_int_equal(seen.last.handle, 1);
	assert_int_equal(seen.last.protocol, ETH_P_ALL);
	assert_int_equal(seen.last.nactions, 1);
	assert_int_equal(seen.last.actions[0].index, 7);
	assert_true(seen.last.bpf_code_hash == hash_bytes(HASH_START, all, sizeof(all)));

	rule.code = none;
	for (int i = 0; i < 5; i++)
		tc_put_filter(&b, &rule, true);
	assert_done(&b);
	seen = filters_of(port, EGRESS);
	assert_int_equal(seen.rules, 1);
	assert_true(seen.last.bpf_code_hash == hash_bytes(HASH_START, none, sizeof(none)));
	assert_int_equal(times_said("tc filter show dev port egress", "handle 0x1"), 1);
	await_bound(2);
	assert_action(to);

	tc_put_filter_del(&b, port, EGRESS, 9, ETH_P_ALL, 1, "u32"); /* it is another kind's */
	assert_true(sent(&b).code < 0);
	tc_put_filter_del(&b, port, EGRESS, 9, ETH_P_ALL, 1, "bpf");
	tc_put_filter_del(&b, port, INGRESS, 9, ETH_P_ALL, 1, "bpf");
	assert_done(&b);
	assert_int_equal(filters_of(port, EGRESS).rows, 0);
	await_bound(0);
	assert_action(to);
}

/* What a filter is bound to must exist: it is never made by the way. */
static void test_no_action_to_bind(void **state)
{
	struct tc_rule rule = rule_of(INGRESS, 9, 1);
	struct nl_batch b = {0};

	(void)state;
	NEEDS_ALL();
	make_clsact_and_action();
	rule.mirred = 8;
	tc_put_filter(&b, &rule, true);
	assert_int_equal(sent(&b).code, -EINVAL);
	assert_action(to);
	assert_int_equal(filters_of(port, INGRESS).rows, 0);
}

static void test_copies(void **state)
{
	struct tc_rule rule = rule_of(INGRESS, 9, 1);
	struct nl_links links cleanup(nl_links_free) = {0};
	struct nl_batch b = {0};
	uint64_t before;

	(void)state;
	NEEDS_ALL();
	make_clsact_and_action();
	tc_put_filter(&b, &rule, false);
	assert_done(&b);
	assert_int_equal(nl_links(nl, &links, NULL), 0);
	before = nl_link_by_index(&links, to)->tx_frames;
	for (int i = 0; i < 3; i++)
		send_frame();
	assert_true(the_action().frames == 3);
	assert_true(the_action().bytes == 138); /* at ingress, without the headers of 14 bytes */
	assert_int_equal(nl_links(nl, &links, NULL), 0);
	assert_true(nl_link_by_index(&links, to)->tx_frames == before + 3);

	/* Moved with its counter; then the destination is down, and copies are lost. */
	tc_put_mirred(&b, 7, other, cookie, true);
	assert_done(&b);
	run("ip link set other down");
	send_frame();
	assert_true(the_action().frames == 4);
	assert_int_equal(the_action().overlimits, 1);
}

static int load_program(void)
{
	/* return TC_ACT_UNSPEC */
	const struct bpf_insn code[] = {{.code = 0xb7, .imm = -1}, {.code = 0x95}};
	union bpf_attr attr = {.prog_type = BPF_PROG_TYPE_SCHED_CLS,
			       .insns = (uint64_t)(uintptr_t)code,
			       .insn_cnt = COUNT(code),
			       .license = (uint64_t)(uintptr_t) "MIT"};

	return (int)syscall(SYS_bpf, BPF_PROG_LOAD, &attr, sizeof(attr));
}

static void test_program(void **state)
{
	struct tc_rule rule = rule_of(INGRESS, 9, 1);
	int fd cleanup(fd_close_at) = -1;
	struct nl_batch b = {0};
	struct seen seen;

	(void)state;
	NEEDS_ALL();
	fd = load_program();
	if (fd < 0) {
		print_message("this machine loads no eBPF programs\n");
		skip();
	}
	make_clsact_and_action();
	rule.match = TC_MATCH_PROGRAM;
	rule.program_fd = fd;
	rule.name = "portmirror:span";
	tc_put_filter(&b, &rule, false);
	assert_done(&b);
	seen = filters_of(port, INGRESS);
	assert_int_equal(seen.rules, 1);
	assert_string_equal(seen.last.bpf_name, rule.name);
	assert_true(seen.last.bpf_id > 0);
	assert_false(seen.last.bpf_direct);
	assert_true(seen.last.bpf_code_hash == 0);
	send_frame();
	assert_true(the_action().frames == 1);

	rule.mirred = 0;
	tc_put_filter(&b, &rule, true);
	assert_done(&b);
	seen = filters_of(port, INGRESS);
	assert_int_equal(seen.rules, 1);
	assert_true(seen.last.bpf_direct);
	assert_int_equal(seen.last.nactions, 0);
	assert_said("tc filter show dev port ingress", "direct-action");
}

/* tc shows the rules of both hooks under each; we tell each one once, where it works. */
static void test_u32_at_both_hooks(void **state)
{
	struct tc_rule rule = rule_of(INGRESS, 9, 5);
	struct nl_batch b = {0};
	struct seen in, out;

	(void)state;
	NEEDS_ALL();
	make_clsact_and_action();
	rule.match = TC_MATCH_U32;
	tc_put_filter(&b, &rule, false);
	rule.parent = EGRESS;
	tc_put_filter(&b, &rule, false);
	rule.pref = 10;
	tc_put_filter(&b, &rule, false);
	assert_done(&b);
	assert_action(to);
	assert_int_equal(the_action().bound, 3);
	assert_int_equal(times_said("tc filter show dev port ingress", "match 00000000/00000000"),
			 2);
	in = filters_of(port, INGRESS);
	assert_int_equal(in.rules, 1);
	assert_int_equal(in.rows, 3); /* its pref, its table, itself */
	assert_int_equal(in.last.handle & 0xfff, 5);
	assert_int_equal(in.last.nactions, 1);
	assert_false(in.last.u32_table);
	out = filters_of(port, EGRESS);
	assert_int_equal(out.rules, 2);
	assert_int_equal(out.rows, 6);
	send_frame();
	assert_true(the_action().frames == 1);

	/* Replaced by the handle that was told, and by no other. */
	rule.handle = out.last.handle;
	tc_put_filter(&b, &rule, true);
	assert_done(&b);
	assert_int_equal(filters_of(port, EGRESS).rules, 2);
	await_bound(3);

	/* The shared tables keep the pref alive; handle 0 ends it, and leaves the other hook's. */
	tc_put_filter_del(&b, port, INGRESS, 9, ETH_P_ALL, in.last.handle, "u32");
	assert_done(&b);
	assert_int_equal(filters_of(port, INGRESS).rules, 0);
	assert_int_equal(filters_of(port, INGRESS).rows, 2);
	tc_put_filter_del(&b, port, INGRESS, 9, ETH_P_ALL, 0, "u32");
	assert_done(&b);
	assert_int_equal(filters_of(port, INGRESS).rows, 0);
	assert_int_equal(filters_of(port, EGRESS).rules, 2);
}

/* An administrator's table with rules of its own, linked from the root table. */
static void test_u32_of_others(void **state)
{
	struct tc_filters filters cleanup(tc_filters_free) = {0};
	size_t tables = 0, rules = 0;

	(void)state;
	NEEDS_ALL();
	run("tc qdisc add dev port clsact"
	    " && tc filter add dev port ingress protocol ip pref 3 handle 2: u32 divisor 4"
	    " && tc filter add dev port ingress protocol ip pref 3 u32 ht 2:1: match ip tos 1 0xff"
	    " flowid 1:1"
	    " && tc filter add dev port ingress protocol ip pref 3 u32 ht 800: link 2:"
	    " hashkey mask 0x00ff0000 at 0 match ip dst 10.0.0.0/8"
	    " && tc filter add dev port egress protocol ip pref 3 u32 match u32 0 0 flowid 1:2");
	assert_int_equal(tc_filters(nl, port, INGRESS, &filters, NULL), 0);
	for (size_t i = 0; i < filters.count; i++) {
		assert_int_equal(filters.items[i].protocol, ETH_P_IP);
		tables += filters.items[i].u32_table;
		rules += filters.items[i].handle != 0 && !filters.items[i].u32_table;
	}
	assert_int_equal(tables, 2);
	assert_int_equal(rules, 2);
}

/* The kernel tells neither device nor parent of a block's filters. */
static void test_block(void **state)
{
	struct tc_filters filters cleanup(tc_filters_free) = {0};

	(void)state;
	NEEDS_ALL();
	run("for d in port other; do tc qdisc add dev $d ingress_block 7 egress_block 8 clsact; "
	    "done"
	    " && tc filter add block 7 protocol ip pref 5 u32 match u32 0 0 flowid 1:1"
	    " && tc filter add block 8 protocol ip pref 6 u32 match u32 0 0 flowid 1:1");
	assert_int_equal(tc_filters(nl, port, EGRESS, &filters, NULL), 0);
	assert_int_equal(tc_filters(nl, other, INGRESS, &filters, NULL), 0);
	assert_int_equal(filters.count, 6);
	for (size_t i = 0; i < 6; i++) {
		assert_int_equal(filters.items[i].ifindex, i < 3 ? port : other);
		assert_int_equal(filters.items[i].parent, i < 3 ? EGRESS : INGRESS);
		assert_int_equal(filters.items[i].pref, i < 3 ? 6 : 5);
	}
}

static void test_matchall(void **state)
{
	struct tc_rule rule = rule_of(INGRESS, 9, 1);
	struct nl_batch b = {0};
	struct refusal r;
	struct seen seen;

	(void)state;
	NEEDS_ALL();
	make_clsact_and_action();
	rule.match = TC_MATCH_ALL;
	tc_put_filter(&b, &rule, false);
	r = sent(&b);
	if (r.code == -ENOENT) {
		assert_string_equal(r.words, "TC classifier not found");
		print_message("this kernel has no cls_matchall\n");
		skip();
	}
	assert_int_equal(r.count, 0);
	tc_put_filter(&b, &rule, true);
	assert_done(&b);
	seen = filters_of(port, INGRESS);
	assert_int_equal(seen.rules, 1);
	assert_string_equal(seen.last.kind, "matchall");
	assert_int_equal(seen.last.actions[0].index, 7);
	assert_action(to);
}

static void test_nothing_there(void **state)
{
	(void)state;
	NEEDS_ALL();
	assert_int_equal(filters_of(1234567, INGRESS).rows, 0);
	assert_int_equal(filters_of(port, INGRESS).rows, 0);
	assert_int_equal(filters_of(port, 0x10000).rows, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, devices, no_devices)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_links),	  TEST(test_brport),   TEST(test_refusals),
		TEST(test_qdiscs),	  TEST(test_prio),     TEST(test_action),
		TEST(test_many_actions),  TEST(test_bytecode), TEST(test_no_action_to_bind),
		TEST(test_copies),	  TEST(test_program),  TEST(test_u32_at_both_hooks),
		TEST(test_u32_of_others), TEST(test_block),    TEST(test_matchall),
		TEST(test_nothing_there),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
