/* SPDX-License-Identifier: MIT */
#include "netlink/tc.h"

#include "base/hash.h"
#include "base/mem.h"
#include "netlink/attr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/gen_stats.h>
#include <linux/pkt_cls.h>
#include <linux/rtnetlink.h>
#include <linux/tc_act/tc_mirred.h>
#include <string.h>

static const uint8_t tc_wanted[] = {
	[TCA_KIND] = AT_LEAST(2),	  [TCA_OPTIONS] = AT_LEAST(0),
	[TCA_CHAIN] = AT_LEAST(4),	  [TCA_INGRESS_BLOCK] = AT_LEAST(4),
	[TCA_EGRESS_BLOCK] = AT_LEAST(4),
};

/* Checks the message's type, which is made or its opposite, gone, and sorts its attributes. */
static int tc_attrs(const struct nlmsghdr *message, uint16_t made, uint16_t gone,
		    const struct nlattr **at, char *kind)
{
	if ((message->nlmsg_type != made && message->nlmsg_type != gone) ||
	    mnl_nlmsg_get_payload_len(message) < sizeof(struct tcmsg) ||
	    attr_table(attrs_of(message, sizeof(struct tcmsg)), tc_wanted, at, COUNT(tc_wanted)) <
		    0 ||
	    !at[TCA_KIND] || attr_text(at[TCA_KIND], kind, TC_KIND) < 0)
		return -EBADMSG;
	return 0;
}

int tc_qdisc_read(const struct nlmsghdr *message, struct tc_qdisc *qdisc)
{
	const struct tcmsg *body = mnl_nlmsg_get_payload(message);
	const struct nlattr *at[COUNT(tc_wanted)];
	struct tc_qdisc read = {0};

	if (tc_attrs(message, RTM_NEWQDISC, RTM_DELQDISC, at, read.kind) < 0)
		return -EBADMSG;
	attr_u32(at[TCA_INGRESS_BLOCK], &read.ingress_block);
	attr_u32(at[TCA_EGRESS_BLOCK], &read.egress_block);
	read.ifindex = body->tcm_ifindex;
	read.handle = body->tcm_handle;
	read.parent = body->tcm_parent;
	*qdisc = read;
	return 0;
}

static int counters_read(const struct nlattr *nest, struct tc_action *action)
{
	static const uint8_t wanted[] = {
		/* Up to packets; its padding is the compiler's. */
		[TCA_STATS_BASIC] = AT_LEAST(12),
		[TCA_STATS_QUEUE] = AT_LEAST(sizeof(struct gnet_stats_queue)),
		[TCA_STATS_PKT64] = AT_LEAST(8),
	};
	const struct nlattr *at[COUNT(wanted)];
	struct gnet_stats_basic basic = {0};
	struct gnet_stats_queue queue = {0};

	if (attr_table(attrs_in(nest), wanted, at, COUNT(at)) < 0)
		return -EBADMSG;
	attr_bytes(at[TCA_STATS_BASIC], &basic, sizeof(basic));
	attr_bytes(at[TCA_STATS_QUEUE], &queue, sizeof(queue));
	action->bytes = basic.bytes;
	action->frames = basic.packets;
	/* Since 5.5, where basic.packets has run over. */
	attr_u64(at[TCA_STATS_PKT64], &action->frames);
	action->dropped = queue.drops;
	action->overlimits = queue.overlimits;
	return 0;
}

static int mirred_read(const struct nlattr *options, struct tc_action *action)
{
	static const uint8_t wanted[] = {
		[TCA_MIRRED_PARMS] = AT_LEAST(sizeof(struct tc_mirred)),
	};
	const struct nlattr *at[COUNT(wanted)];
	struct tc_mirred parms = {0};

	if (attr_table(attrs_in(options), wanted, at, COUNT(at)) < 0 || !at[TCA_MIRRED_PARMS])
		return -EBADMSG;
	attr_bytes(at[TCA_MIRRED_PARMS], &parms, sizeof(parms));
	action->index = parms.index;
	action->control = parms.action;
	action->bound = parms.bindcnt;
	action->to_ifindex = (int)parms.ifindex;
	action->mirred = parms.eaction;
	return 0;
}

static int action_read(const struct nlattr *nest, struct tc_action *action)
{
	static const uint8_t wanted[] = {
		[TCA_ACT_KIND] = AT_LEAST(2),	[TCA_ACT_OPTIONS] = AT_LEAST(0),
		[TCA_ACT_INDEX] = AT_LEAST(4),	[TCA_ACT_STATS] = AT_LEAST(0),
		[TCA_ACT_COOKIE] = AT_LEAST(0),
	};
	const struct nlattr *at[COUNT(wanted)];
	struct tc_action read = {0};

	if (attr_table(attrs_in(nest), wanted, at, COUNT(at)) < 0 || !at[TCA_ACT_KIND] ||
	    attr_text(at[TCA_ACT_KIND], read.kind, sizeof(read.kind)) < 0 ||
	    counters_read(at[TCA_ACT_STATS], &read) < 0)
		return -EBADMSG;
	attr_u32(at[TCA_ACT_INDEX], &read.index);
	if (at[TCA_ACT_COOKIE]) {
		read.cookie_len = mnl_attr_get_payload_len(at[TCA_ACT_COOKIE]);
		if (read.cookie_len > sizeof(read.cookie))
			return -EBADMSG;
		attr_bytes(at[TCA_ACT_COOKIE], read.cookie, sizeof(read.cookie));
	}
	if (strcmp(read.kind, "mirred") == 0 && mirred_read(at[TCA_ACT_OPTIONS], &read) < 0)
		return -EBADMSG;
	*action = read;
	return 0;
}

static int bpf_read(const struct nlattr *options, struct tc_filter *filter)
{
	static const uint8_t wanted[] = {
		[TCA_BPF_OPS] = AT_LEAST(0),
		[TCA_BPF_NAME] = AT_LEAST(1),
		[TCA_BPF_FLAGS] = AT_LEAST(4),
		[TCA_BPF_ID] = AT_LEAST(4),
	};
	const struct nlattr *at[COUNT(wanted)], *code;
	uint32_t flags = 0;

	if (attr_table(attrs_in(options), wanted, at, COUNT(at)) < 0 ||
	    attr_text(at[TCA_BPF_NAME], filter->bpf_name, sizeof(filter->bpf_name)) < 0)
		return -EBADMSG;
	code = at[TCA_BPF_OPS];
	if (code)
		filter->bpf_code_hash = hash_bytes(HASH_START, mnl_attr_get_payload(code),
						   mnl_attr_get_payload_len(code));
	attr_u32(at[TCA_BPF_ID], &filter->bpf_id);
	attr_u32(at[TCA_BPF_FLAGS], &flags);
	filter->bpf_direct = flags & TCA_BPF_FLAG_ACT_DIRECT;
	return 0;
}

static int u32_read(const struct nlattr *options, struct tc_filter *filter)
{
	static const uint8_t wanted[] = {[TCA_U32_DIVISOR] = AT_LEAST(4)};
	const struct nlattr *at[COUNT(wanted)];

	if (attr_table(attrs_in(options), wanted, at, COUNT(at)) < 0)
		return -EBADMSG;
	filter->u32_table = at[TCA_U32_DIVISOR] != NULL;
	return 0;
}

/* Classifiers whose options we know: where their actions are, and what else is read of them. */
static const struct classifier {
	const char *kind;
	uint16_t actions; /* the attribute */
	int (*read)(const struct nlattr *options, struct tc_filter *filter);
} classifiers[] = {
	{"bpf", TCA_BPF_ACT, bpf_read},
	{"u32", TCA_U32_ACT, u32_read},
	{"matchall", TCA_MATCHALL_ACT, NULL},
	{"flower", TCA_FLOWER_ACT, NULL},
	{"fw", TCA_FW_ACT, NULL},
	{"basic", TCA_BASIC_ACT, NULL},
	{"flow", TCA_FLOW_ACT, NULL},
	{"cgroup", TCA_CGROUP_ACT, NULL},
	{"route", TCA_ROUTE4_ACT, NULL},
};

static int filter_actions_read(struct attrs list, struct tc_filter *filter)
{
	const struct nlattr *nest;
	struct tc_action action;
	int rc;

	while ((rc = attr_next(&list, &nest)) > 0) {
		rc = action_read(nest, &action);
		if (rc < 0)
			return rc;
		if (filter->nactions < TC_FILTER_ACTIONS)
			filter->actions[filter->nactions] = action;
		filter->nactions++;
	}
	return rc;
}

static int options_read(const struct nlattr *options, struct tc_filter *filter)
{
	const struct classifier *c = NULL;
	struct attrs attrs = attrs_in(options);
	const struct nlattr *attr;
	int rc;

	for (size_t i = 0; i < COUNT(classifiers) && !c; i++)
		if (strcmp(filter->kind, classifiers[i].kind) == 0)
			c = &classifiers[i];
	if (!c)
		return 0;
	while ((rc = attr_next(&attrs, &attr)) > 0)
		if (mnl_attr_get_type(attr) == c->actions &&
		    filter_actions_read(attrs_in(attr), filter) < 0)
			return -EBADMSG;
	return rc == 0 && c->read ? c->read(options, filter) : rc;
}

int tc_filter_read(const struct nlmsghdr *message, struct tc_filter *filter)
{
	const struct tcmsg *body = mnl_nlmsg_get_payload(message);
	const struct nlattr *at[COUNT(tc_wanted)];
	struct tc_filter read = {0};

	if (tc_attrs(message, RTM_NEWTFILTER, RTM_DELTFILTER, at, read.kind) < 0 ||
	    options_read(at[TCA_OPTIONS], &read) < 0)
		return -EBADMSG;
	attr_u32(at[TCA_CHAIN], &read.chain);
	read.ifindex = body->tcm_ifindex;
	read.parent = body->tcm_parent;
	read.handle = body->tcm_handle;
	read.pref = (uint16_t)(TC_H_MAJ(body->tcm_info) >> 16);
	read.protocol = ntohs((uint16_t)TC_H_MIN(body->tcm_info));
	*filter = read;
	return 0;
}

static int actions_add(struct attrs list, struct tc_actions *actions)
{
	const struct nlattr *nest;
	int rc;

	while ((rc = attr_next(&list, &nest)) > 0) {
		rc = array_room(&actions->items, &actions->room, actions->count,
				sizeof(*actions->items));
		if (rc == 0)
			rc = action_read(nest, &actions->items[actions->count]);
		if (rc < 0)
			return rc;
		actions->count++;
	}
	return rc;
}

int tc_actions_read(const struct nlmsghdr *message, struct tc_actions *actions)
{
	static const uint8_t wanted[] = {[TCA_ACT_TAB] = AT_LEAST(0)};
	const struct nlattr *at[COUNT(wanted)];
	size_t before = actions->count;
	int rc;

	/* The answers to a dump keep the request's type. */
	if ((message->nlmsg_type != RTM_NEWACTION && message->nlmsg_type != RTM_GETACTION) ||
	    mnl_nlmsg_get_payload_len(message) < sizeof(struct tcamsg) ||
	    attr_table(attrs_of(message, sizeof(struct tcamsg)), wanted, at, COUNT(at)) < 0)
		return -EBADMSG;
	rc = actions_add(attrs_in(at[TCA_ACT_TAB]), actions);
	if (rc < 0)
		actions->count = before;
	return rc;
}
