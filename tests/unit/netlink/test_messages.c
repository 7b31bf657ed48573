/* SPDX-License-Identifier: MIT */
/* Messages are built and read back without a kernel, whole, cut at every byte, and corrupted. */
#include "base/hash.h"
#include "base/mem.h"
#include "netlink/link.h"
#include "netlink/monitor.h"
#include "netlink/nl.h"
#include "netlink/tc.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/gen_stats.h>
#include <linux/if_ether.h>
#include <linux/if_link.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <linux/tc_act/tc_mirred.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>

#include <cmocka.h>

#define INGRESS TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS)

static const uint8_t cookie[TC_COOKIE] = "portmirror:span";
static const struct sock_filter all[] = {{0x06, 0, 0, 0xffffffff}};

static struct nlmsghdr *first(const struct nl_batch *b)
{
	return (void *)b->data;
}

static void test_qdisc(void **state)
{
	struct nl_batch b cleanup(nl_batch_free) = {0};
	struct tc_qdisc q;

	(void)state;
	tc_put_qdisc_add(&b, 12, TC_H_CLSACT, TC_H_MAJ(TC_H_CLSACT), "clsact");
	assert_int_equal(b.count, 1);
	assert_int_equal(first(&b)->nlmsg_flags, NLM_F_REQUEST | NLM_F_CREATE | NLM_F_EXCL);
	assert_int_equal(tc_qdisc_read(first(&b), &q), 0);
	assert_int_equal(q.ifindex, 12);
	assert_int_equal(q.parent, TC_H_CLSACT);
	assert_int_equal(q.handle, 0xffff0000);
	assert_string_equal(q.kind, "clsact");
	assert_int_equal(q.ingress_block, 0);
	mnl_attr_put_u32(first(&b), TCA_INGRESS_BLOCK, 7);
	mnl_attr_put_u32(first(&b), TCA_EGRESS_BLOCK, 8);
	assert_int_equal(tc_qdisc_read(first(&b), &q), 0);
	assert_int_equal(q.ingress_block, 7);
	assert_int_equal(q.egress_block, 8);
}

static struct tc_filter filter_back(const struct tc_rule *rule, bool replace, uint16_t flags)
{
	struct nl_batch b cleanup(nl_batch_free) = {0};
	struct tc_filter f = {0};

	tc_put_filter(&b, rule, replace);
	assert_int_equal(first(&b)->nlmsg_flags, NLM_F_REQUEST | NLM_F_CREATE | flags);
	assert_int_equal(tc_filter_read(first(&b), &f), 0);
	assert_int_equal(f.ifindex, rule->ifindex);
	assert_int_equal(f.parent, rule->parent);
	assert_int_equal(f.pref, rule->pref);
	assert_int_equal(f.handle, rule->handle);
	assert_int_equal(f.protocol, ETH_P_ALL);
	if (rule->mirred) {
		assert_int_equal(f.nactions, 1);
		assert_string_equal(f.actions[0].kind, "mirred");
		assert_int_equal(f.actions[0].index, rule->mirred);
		assert_int_equal(f.actions[0].mirred, 0);
		assert_int_equal(f.actions[0].to_ifindex, 0);
		assert_int_equal(f.actions[0].cookie_len, 0);
	}
	return f;
}

static void test_filters(void **state)
{
	struct tc_rule rule = {.ifindex = 7,
			       .parent = INGRESS,
			       .pref = 49000,
			       .handle = 3,
			       .match = TC_MATCH_BYTECODE,
			       .code = all,
			       .ncode = 1,
			       .mirred = 77};
	struct tc_filter f = filter_back(&rule, false, NLM_F_EXCL);

	(void)state;
	assert_string_equal(f.kind, "bpf");
	assert_string_equal(f.bpf_name, "");
	assert_true(f.bpf_code_hash == hash_bytes(HASH_START, all, sizeof(all)));
	assert_false(f.bpf_direct);

	rule.match = TC_MATCH_PROGRAM;
	rule.name = "portmirror-a-name-of-more-than-sixty-three-characters-that-will-be-cut";
	f = filter_back(&rule, true, NLM_F_REPLACE);
	assert_string_equal(f.kind, "bpf");
	assert_int_equal(strlen(f.bpf_name), sizeof(f.bpf_name) - 1);
	assert_memory_equal(f.bpf_name, rule.name, sizeof(f.bpf_name) - 1);
	assert_true(f.bpf_code_hash == 0);
	assert_false(f.bpf_direct);

	rule.mirred = 0;
	f = filter_back(&rule, true, NLM_F_REPLACE);
	assert_true(f.bpf_direct);
	assert_int_equal(f.nactions, 0);

	rule.mirred = 78;
	rule.match = TC_MATCH_ALL;
	assert_string_equal(filter_back(&rule, false, NLM_F_EXCL).kind, "matchall");
	rule.match = TC_MATCH_U32;
	f = filter_back(&rule, false, NLM_F_EXCL);
	assert_string_equal(f.kind, "u32");
	assert_false(f.u32_table);
}

/* More instructions than the kernel takes must not run over the message's end. */
static void test_endless_bytecode(void **state)
{
	struct sock_filter *code = calloc(UINT16_MAX, sizeof(*code));
	struct tc_rule rule = {.ifindex = 7,
			       .parent = INGRESS,
			       .pref = 1,
			       .match = TC_MATCH_BYTECODE,
			       .code = code,
			       .ncode = UINT16_MAX,
			       .mirred = 1};
	struct nl_batch b cleanup(nl_batch_free) = {0};

	(void)state;
	assert_non_null(code);
	for (int i = 0; i < 3; i++)
		tc_put_filter(&b, &rule, false);
	free(code);
	assert_false(b.failed);
	assert_int_equal(b.count, 3);
	assert_in_range(first(&b)->nlmsg_len, BPF_MAXINSNS * sizeof(*code), NL_MESSAGE_MAX);
	assert_true(b.len <= b.room);
}

static void test_mirred(void **state)
{
	struct nl_batch b cleanup(nl_batch_free) = {0};
	struct tc_actions a cleanup(tc_actions_free) = {0};

	(void)state;
	tc_put_mirred(&b, 4242, 9, cookie, false);
	assert_int_equal(first(&b)->nlmsg_flags, NLM_F_REQUEST | NLM_F_CREATE | NLM_F_EXCL);
	assert_int_equal(tc_actions_read(first(&b), &a), 0);
	assert_int_equal(tc_actions_read(first(&b), &a), 0);
	assert_int_equal(a.count, 2);
	assert_string_equal(a.items[1].kind, "mirred");
	assert_int_equal(a.items[1].index, 4242);
	assert_int_equal(a.items[1].to_ifindex, 9);
	assert_int_equal(a.items[1].mirred, TCA_EGRESS_MIRROR);
	assert_int_equal(a.items[1].control, TC_ACT_UNSPEC);
	assert_int_equal(a.items[1].cookie_len, TC_COOKIE);
	assert_memory_equal(a.items[1].cookie, cookie, TC_COOKIE);
}

static struct nlattr *action_start(struct nlmsghdr *m, uint16_t order, const char *kind)
{
	struct nlattr *one = mnl_attr_nest_start(m, order);

	mnl_attr_put_strz(m, TCA_ACT_KIND, kind);
	return one;
}

/* As the kernel shows a filter with more actions than there is room for. */
static void put_many_actions(struct nl_batch *b)
{
	void *extra;
	struct nlmsghdr *m = nl_batch_begin(b, RTM_NEWTFILTER, 0, sizeof(struct tcmsg), &extra);
	struct nlattr *options, *list, *one, *stats;
	const struct gnet_stats_basic basic = {.bytes = 1000, .packets = 7};
	const struct gnet_stats_queue queue = {.drops = 3, .overlimits = 4};

	mnl_attr_put_strz(m, TCA_KIND, "flower");
	options = mnl_attr_nest_start(m, TCA_OPTIONS);
	list = mnl_attr_nest_start(m, TCA_FLOWER_ACT);
	for (uint16_t i = 1; i <= TC_FILTER_ACTIONS + 2; i++) {
		one = action_start(m, i, "gact");
		stats = mnl_attr_nest_start(m, TCA_ACT_STATS);
		mnl_attr_put(m, TCA_STATS_BASIC, sizeof(basic), &basic);
		if (i == 2)
			mnl_attr_put_u64(m, TCA_STATS_PKT64, UINT64_C(0x100000007));
		mnl_attr_put(m, TCA_STATS_QUEUE, sizeof(queue), &queue);
		mnl_attr_nest_end(m, stats);
		mnl_attr_nest_end(m, one);
	}
	mnl_attr_nest_end(m, list);
	mnl_attr_nest_end(m, options);
	nl_batch_end(b, m);
}

static void test_counters_and_many_actions(void **state)
{
	struct nl_batch b cleanup(nl_batch_free) = {0};
	struct tc_filter f;

	(void)state;
	put_many_actions(&b);
	assert_int_equal(tc_filter_read(first(&b), &f), 0);
	assert_int_equal(f.nactions, TC_FILTER_ACTIONS + 2);
	assert_true(f.actions[0].frames == 7);
	assert_true(f.actions[1].frames == UINT64_C(0x100000007));
	assert_true(f.actions[3].bytes == 1000);
	assert_int_equal(f.actions[3].dropped, 3);
	assert_int_equal(f.actions[3].overlimits, 4);
}

static void put_link(struct nl_batch *b)
{
	void *extra;
	struct nlmsghdr *m = nl_batch_begin(b, RTM_NEWLINK, 0, sizeof(struct ifinfomsg), &extra);
	struct ifinfomsg *body = extra;
	struct rtnl_link_stats64 stats = {.rx_packets = 1,
					  .tx_packets = 2,
					  .rx_bytes = 3,
					  .tx_bytes = 4,
					  .rx_dropped = 5,
					  .tx_dropped = 6};
	struct nlattr *info, *port;

	body->ifi_index = 31;
	body->ifi_flags = IFF_UP | IFF_RUNNING;
	body->ifi_type = 1;
	mnl_attr_put_strz(m, IFLA_IFNAME, "vnet31");
	mnl_attr_put(m, IFLA_ADDRESS, 6, "\x52\x54\0\1\2\3");
	mnl_attr_put_u32(m, IFLA_MASTER, 5);
	mnl_attr_put_u32(m, IFLA_MTU, 9000);
	mnl_attr_put_u32(m, IFLA_TXQLEN, 500);
	mnl_attr_put_u8(m, IFLA_CARRIER, 1);
	mnl_attr_put_u8(m, IFLA_OPERSTATE, 6);
	mnl_attr_put(m, IFLA_STATS64, sizeof(stats), &stats);
	info = mnl_attr_nest_start(m, IFLA_LINKINFO);
	mnl_attr_put_strz(m, IFLA_INFO_KIND, "tun");
	mnl_attr_put_strz(m, IFLA_INFO_SLAVE_KIND, "bridge");
	port = mnl_attr_nest_start(m, IFLA_INFO_SLAVE_DATA);
	mnl_attr_put_u8(m, IFLA_BRPORT_LEARNING, 1);
	mnl_attr_put_u8(m, IFLA_BRPORT_ISOLATED, 0);
	mnl_attr_put_u8(m, IFLA_BRPORT_MODE, 1);
	mnl_attr_nest_end(m, port);
	mnl_attr_nest_end(m, info);
	nl_batch_end(b, m);
}

/* A tap's, of which only the name is known. */
static void test_name_without_an_index(void **state)
{
	char name[IFNAMSIZ] = "no-dev\xff";

	(void)state;
	nl_link_name(name, 0);
	assert_string_equal(name, "no-dev?:0");
}

static void test_bridge_with_vlans(void **state)
{
	struct nl_batch b cleanup(nl_batch_free) = {0};
	struct nl_link link;

	(void)state;
	for (uint8_t on = 0; on < 2; on++) {
		void *extra;
		struct nlmsghdr *m =
			nl_batch_begin(&b, RTM_NEWLINK, 0, sizeof(struct ifinfomsg), &extra);
		struct nlattr *info, *data;

		mnl_attr_put_strz(m, IFLA_IFNAME, "br0");
		info = mnl_attr_nest_start(m, IFLA_LINKINFO);
		mnl_attr_put_strz(m, IFLA_INFO_KIND, "bridge");
		data = mnl_attr_nest_start(m, IFLA_INFO_DATA);
		mnl_attr_put_u8(m, IFLA_BR_VLAN_FILTERING, on);
		mnl_attr_nest_end(m, data);
		mnl_attr_nest_end(m, info);
		nl_batch_end(&b, m);
		assert_int_equal(nl_link_read(m, &link), 0);
		assert_int_equal(link.vlan_filtering, on);
		((struct nlattr *)mnl_attr_get_payload(data))->nla_len = 40; /* beyond it */
		assert_int_equal(nl_link_read(m, &link), -EBADMSG);
	}
}

/* What a device is built on, or a veth's other end: only where that is in this namespace. */
static void test_link_behind(void **state)
{
	struct nl_batch b cleanup(nl_batch_free) = {0};
	struct nl_link link;

	(void)state;
	for (int elsewhere = 0; elsewhere < 2; elsewhere++) {
		void *extra;
		struct nlmsghdr *m =
			nl_batch_begin(&b, RTM_NEWLINK, 0, sizeof(struct ifinfomsg), &extra);

		mnl_attr_put_strz(m, IFLA_IFNAME, "sp0");
		mnl_attr_put_u32(m, IFLA_LINK, 7);
		if (elsewhere)
			mnl_attr_put_u32(m, IFLA_LINK_NETNSID, 0);
		nl_batch_end(&b, m);
		assert_int_equal(nl_link_read(m, &link), 0);
		assert_int_equal(link.link, elsewhere ? 0 : 7);
	}
}

static void test_link(void **state)
{
	struct nl_batch b cleanup(nl_batch_free) = {0};
	struct nl_link link;

	(void)state;
	put_link(&b);
	assert_int_equal(nl_link_read(first(&b), &link), 0);
	assert_int_equal(link.index, 31);
	assert_string_equal(link.name, "vnet31");
	assert_string_equal(link.kind, "tun");
	assert_string_equal(link.port_kind, "bridge");
	assert_int_equal(link.master, 5);
	assert_int_equal(link.mtu, 9000);
	assert_int_equal(link.tx_queue_len, 500);
	assert_int_equal(link.flags, IFF_UP | IFF_RUNNING);
	assert_true(link.carrier && link.has_mac && link.hairpin);
	assert_int_equal(link.operstate, 6);
	assert_memory_equal(link.mac, "\x52\x54\0\1\2\3", 6);
	assert_int_equal(link.brport, BRPORT_LEARNING | BRPORT_HAIRPIN);
	assert_true(link.rx_frames == 1 && link.tx_frames == 2 && link.rx_bytes == 3 &&
		    link.tx_bytes == 4 && link.rx_dropped == 5 && link.tx_dropped == 6);
}

/* What is no UTF-8 is told with what can be told of it, and by index. */
static void test_link_of_any_name(void **state)
{
	static const struct {
		const char *name, *told;
	} names[] = {
		{"d\xff", "d?:31"},
		{"d\xc3\xa9", "d\xc3\xa9"},
		{"\033[31m", "\033[31m"},
		{"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", "????????????:31"},
		{"\xff 789012345\xc3\xa9", "? 789012345?:31"},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(names); i++) {
		struct nl_batch b cleanup(nl_batch_free) = {0};
		struct ifinfomsg *body;
		struct nl_link link;
		void *extra;
		struct nlmsghdr *m = nl_batch_begin(&b, RTM_NEWLINK, 0, sizeof(*body), &extra);

		body = extra;
		body->ifi_index = 31;
		mnl_attr_put_strz(m, IFLA_IFNAME, names[i].name);
		nl_batch_end(&b, m);
		assert_int_equal(nl_link_read(m, &link), 0);
		assert_string_equal(link.name, names[i].told);
	}
}

static int read_any(const struct nlmsghdr *message)
{
	struct tc_actions actions cleanup(tc_actions_free) = {0};
	struct tc_filter filter;
	struct tc_qdisc qdisc;
	struct nl_link link;
	int rc;

	switch (message->nlmsg_type) {
	case RTM_NEWLINK:
		return nl_link_read(message, &link);
	case RTM_NEWQDISC:
		return tc_qdisc_read(message, &qdisc);
	case RTM_NEWTFILTER:
		return tc_filter_read(message, &filter);
	default:
		rc = tc_actions_read(message, &actions);
		assert_true(rc == 0 || actions.count == 0);
		return rc;
	}
}

/* One of each, with everything in it that is read. */
static void put_all(struct nl_batch *b)
{
	struct tc_rule rule = {.ifindex = 7,
			       .parent = INGRESS,
			       .pref = 1,
			       .match = TC_MATCH_BYTECODE,
			       .code = all,
			       .ncode = 1,
			       .mirred = 77,
			       .name = "program"};

	put_link(b);
	tc_put_qdisc_add(b, 7, TC_H_ROOT, 0x10000, "htb");
	tc_put_qdisc_add(b, 7, TC_H_ROOT, 0x10000, "prio");
	tc_put_filter(b, &rule, false);
	rule.match = TC_MATCH_PROGRAM;
	tc_put_filter(b, &rule, false);
	rule.match = TC_MATCH_U32;
	tc_put_filter(b, &rule, false);
	put_many_actions(b);
	tc_put_mirred(b, 1, 2, cookie, true);
}

/* On its own in memory, so that the sanitizer sees any read behind its end. */
static int read_copy(const void *bytes, size_t len, size_t said, size_t flip, uint8_t with)
{
	uint8_t *copy = malloc(len);
	int rc;

	assert_non_null(copy);
	memcpy(copy, bytes, len);
	((struct nlmsghdr *)(void *)copy)->nlmsg_len = (uint32_t)said;
	if (flip >= sizeof(struct nlmsghdr))
		copy[flip] ^= with;
	rc = read_any((void *)copy);
	free(copy);
	return rc;
}

static void test_cut_and_corrupted(void **state)
{
	static const uint8_t flips[] = {0x01, 0x04, 0x80, 0xff};
	struct nl_batch b cleanup(nl_batch_free) = {0};
	size_t whole = 0, cut = 0;

	(void)state;
	put_all(&b);
	for (size_t at = 0; at < b.len;) {
		const struct nlmsghdr *m = (const void *)(b.data + at);
		size_t len = m->nlmsg_len;

		assert_int_equal(read_copy(m, len, len, 0, 0), 0);
		for (size_t n = sizeof(*m); n < len; n++) {
			int rc = read_copy(m, n, n, 0, 0);

			assert_true(rc == 0 || rc == -EBADMSG);
			*(rc ? &cut : &whole) += 1;
			for (size_t i = 0; i < COUNT(flips); i++) {
				rc = read_copy(m, len, len, n, flips[i]);
				assert_true(rc == 0 || rc == -EBADMSG);
			}
		}
		at += len;
	}
	/* Cut between two attributes, or in one that nobody reads, a message is still whole. */
	assert_true(cut > 20 * whole);
}

static void test_something_else(void **state)
{
	struct nl_batch b cleanup(nl_batch_free) = {0};
	struct tc_actions actions cleanup(tc_actions_free) = {0};
	struct tc_filter filter = {.pref = 1};
	struct tc_qdisc qdisc = {.handle = 1};
	struct nl_link link = {.index = 1};

	(void)state;
	tc_put_filter_del(&b, 1, INGRESS, 1, ETH_P_ALL, 1, "bpf");
	assert_int_equal(nl_link_read(first(&b), &link), -EBADMSG);
	assert_int_equal(tc_qdisc_read(first(&b), &qdisc), -EBADMSG);
	assert_int_equal(tc_actions_read(first(&b), &actions), -EBADMSG);
	assert_int_equal(tc_filter_read(first(&b), &filter), 0);
	first(&b)->nlmsg_type = RTM_NEWQDISC;
	filter.pref = 99;
	assert_int_equal(tc_filter_read(first(&b), &filter), -EBADMSG);
	assert_int_equal(filter.pref, 99);
	assert_int_equal(qdisc.handle, 1);
	assert_int_equal(link.index, 1);
}

/* News that are no news to us, and such that are cut in their fixed part. */
static void test_no_news(void **state)
{
	static const uint16_t cut[] = {RTM_NEWLINK, RTM_DELLINK, RTM_NEWQDISC, RTM_DELTFILTER,
				       RTM_NEWCHAIN};
	struct nl_batch b cleanup(nl_batch_free) = {0};
	struct ifinfomsg *port;
	struct nl_news news;
	struct nlmsghdr *m;
	void *extra;

	(void)state;
	for (size_t i = 0; i < COUNT(cut); i++) {
		m = nl_batch_begin(&b, cut[i], 0, 8, &extra);
		*(unsigned char *)extra = AF_BRIDGE;
		assert_int_equal(nl_news_read(m, &news), -EBADMSG);
	}
	m = nl_batch_begin(&b, RTM_NEWADDR, 0, sizeof(*port), &extra);
	assert_int_equal(nl_news_read(m, &news), 0);
	m = nl_batch_begin(&b, RTM_NEWLINK, 0, sizeof(*port), &extra);
	port = extra;
	port->ifi_family = AF_INET6;
	mnl_attr_put_strz(m, IFLA_IFNAME, "port");
	assert_int_equal(nl_news_read(m, &news), 0);
}

/* A name without its NUL, a number too short, and a cookie longer than a cookie may be. */
static void test_bad_values(void **state)
{
	struct nl_batch b cleanup(nl_batch_free) = {0};
	struct tc_actions actions cleanup(tc_actions_free) = {0};
	struct tc_filter filter;
	struct tc_qdisc qdisc;
	struct nlattr *list, *one;
	struct ifinfomsg *port;
	struct nl_news news;
	struct nlmsghdr *m;
	void *extra;

	(void)state;
	m = nl_batch_begin(&b, RTM_NEWLINK, 0, sizeof(*port), &extra);
	port = extra;
	port->ifi_family = AF_BRIDGE;
	assert_int_equal(nl_news_read(m, &news), 1);
	mnl_attr_put(m, IFLA_IFNAME, 4, "port");
	assert_int_equal(nl_news_read(m, &news), -EBADMSG);
	m = nl_batch_begin(&b, RTM_NEWQDISC, 0, sizeof(struct tcmsg), &extra);
	mnl_attr_put(m, TCA_KIND, 4, "prio");
	assert_int_equal(tc_qdisc_read(m, &qdisc), -EBADMSG);
	m = nl_batch_begin(&b, RTM_NEWTFILTER, 0, sizeof(struct tcmsg), &extra);
	mnl_attr_put_strz(m, TCA_KIND, "bpf");
	assert_int_equal(tc_filter_read(m, &filter), 0);
	mnl_attr_put_u16(m, TCA_CHAIN, 1);
	assert_int_equal(tc_filter_read(m, &filter), -EBADMSG);
	m = nl_batch_begin(&b, RTM_NEWTFILTER, 0, sizeof(struct tcmsg), &extra);
	mnl_attr_put_strz(m, TCA_KIND, "u32");
	list = mnl_attr_nest_start(m, TCA_OPTIONS);
	mnl_attr_put_u16(m, TCA_U32_DIVISOR, 1);
	mnl_attr_nest_end(m, list);
	assert_int_equal(tc_filter_read(m, &filter), -EBADMSG);
	m = nl_batch_begin(&b, RTM_NEWACTION, 0, sizeof(struct tcamsg), &extra);
	list = mnl_attr_nest_start(m, TCA_ACT_TAB);
	one = action_start(m, 1, "gact");
	mnl_attr_put(m, TCA_ACT_COOKIE, TC_COOKIE + 1, "0123456789abcdef0");
	mnl_attr_nest_end(m, one);
	mnl_attr_nest_end(m, list);
	assert_int_equal(tc_actions_read(m, &actions), -EBADMSG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_qdisc),
		cmocka_unit_test(test_filters),
		cmocka_unit_test(test_endless_bytecode),
		cmocka_unit_test(test_mirred),
		cmocka_unit_test(test_counters_and_many_actions),
		cmocka_unit_test(test_link),
		cmocka_unit_test(test_link_of_any_name),
		cmocka_unit_test(test_name_without_an_index),
		cmocka_unit_test(test_bridge_with_vlans),
		cmocka_unit_test(test_link_behind),
		cmocka_unit_test(test_cut_and_corrupted),
		cmocka_unit_test(test_something_else),
		cmocka_unit_test(test_bad_values),
		cmocka_unit_test(test_no_news),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
