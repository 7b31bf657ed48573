/* SPDX-License-Identifier: MIT */
#include "netlink/tc.h"

#include "netlink/attr.h"
#include "netlink/nl.h"

#include <arpa/inet.h>
#include <libmnl/libmnl.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <linux/tc_act/tc_mirred.h>
#include <string.h>

static struct nlmsghdr *tc_begin(struct nl_batch *b, uint16_t type, uint16_t flags, int ifindex,
				 struct tcmsg **body)
{
	void *extra;
	struct nlmsghdr *message = nl_batch_begin(b, type, flags, sizeof(**body), &extra);

	if (message) {
		*body = extra;
		(*body)->tcm_family = AF_UNSPEC;
		(*body)->tcm_ifindex = ifindex;
	}
	return message;
}

/* The options that a qdisc can't be made without. */
static void put_qdisc_options(struct nlmsghdr *message, const char *kind)
{
	/* pfifo_fast's bands, as the kernel maps priorities itself (prio2band, sch_generic.c). */
	static const struct tc_prio_qopt prio = {
		.bands = 3, .priomap = {1, 2, 2, 2, 1, 2, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1}};
	/* Version 3 of its interface, and tc's own rate2quantum. */
	static const struct tc_htb_glob htb = {.version = 3, .rate2quantum = 10};
	struct nlattr *nest;

	if (strcmp(kind, "prio") == 0) {
		mnl_attr_put(message, TCA_OPTIONS, sizeof(prio), &prio);
	} else if (strcmp(kind, "htb") == 0) {
		nest = mnl_attr_nest_start(message, TCA_OPTIONS);
		mnl_attr_put(message, TCA_HTB_INIT, sizeof(htb), &htb);
		mnl_attr_nest_end(message, nest);
	}
}

void tc_put_qdisc_add(struct nl_batch *b, int ifindex, uint32_t parent, uint32_t handle,
		      const char *kind)
{
	struct tcmsg *body;
	struct nlmsghdr *message =
		tc_begin(b, RTM_NEWQDISC, NLM_F_CREATE | NLM_F_EXCL, ifindex, &body);

	if (!message)
		return;
	body->tcm_parent = parent;
	body->tcm_handle = handle;
	mnl_attr_put_strz(message, TCA_KIND, kind);
	put_qdisc_options(message, kind);
	nl_batch_end(b, message);
}

void tc_put_qdisc_del(struct nl_batch *b, int ifindex, uint32_t parent, uint32_t handle,
		      const char *kind)
{
	struct tcmsg *body;
	struct nlmsghdr *message = tc_begin(b, RTM_DELQDISC, 0, ifindex, &body);

	if (!message)
		return;
	body->tcm_parent = parent;
	body->tcm_handle = handle;
	mnl_attr_put_strz(message, TCA_KIND, kind);
	nl_batch_end(b, message);
}

/* A list of one mirred action. It is the caller's to fill parms. */
static void put_mirred_list(struct nlmsghdr *message, uint16_t attr, const struct tc_mirred *parms,
			    const uint8_t *cookie)
{
	struct nlattr *list = mnl_attr_nest_start(message, attr);
	struct nlattr *one = mnl_attr_nest_start(message, 1);
	struct nlattr *options;

	mnl_attr_put_strz(message, TCA_ACT_KIND, "mirred");
	options = mnl_attr_nest_start(message, TCA_ACT_OPTIONS);
	mnl_attr_put(message, TCA_MIRRED_PARMS, sizeof(*parms), parms);
	mnl_attr_nest_end(message, options);
	if (cookie)
		mnl_attr_put(message, TCA_ACT_COOKIE, TC_COOKIE, cookie);
	mnl_attr_nest_end(message, one);
	mnl_attr_nest_end(message, list);
}

/*
 * Binds to the action that has this index, and changes nothing of it: where there is one, the
 * kernel reads no more than the index (tcf_mirred_init(), net/sched/act_mirred.c). Where there is
 * none, it refuses this, because 0 is no valid eaction.
 */
static void put_binding(struct nlmsghdr *message, uint16_t attr, uint32_t index)
{
	struct tc_mirred parms = {.index = index};

	if (index)
		put_mirred_list(message, attr, &parms, NULL);
}

static void put_bpf(struct nlmsghdr *message, const struct tc_rule *rule)
{
	size_t n = rule->ncode;

	if (rule->match == TC_MATCH_PROGRAM) {
		mnl_attr_put_u32(message, TCA_BPF_FD, (uint32_t)rule->program_fd);
		mnl_attr_put_strz(message, TCA_BPF_NAME, rule->name);
		if (!rule->mirred)
			mnl_attr_put_u32(message, TCA_BPF_FLAGS, TCA_BPF_FLAG_ACT_DIRECT);
	} else {
		/* The kernel refuses a longer one, whose bytes wouldn't fit the message. */
		if (n > BPF_MAXINSNS)
			n = BPF_MAXINSNS;
		mnl_attr_put_u16(message, TCA_BPF_OPS_LEN, rule->ncode);
		mnl_attr_put(message, TCA_BPF_OPS, n * sizeof(*rule->code), rule->code);
	}
	put_binding(message, TCA_BPF_ACT, rule->mirred);
}

static void put_u32(struct nlmsghdr *message, const struct tc_rule *rule)
{
	struct {
		struct tc_u32_sel sel;
		struct tc_u32_key key; /* mask 0: any frame */
	} any = {.sel = {.flags = TC_U32_TERMINAL, .nkeys = 1}};

	mnl_attr_put(message, TCA_U32_SEL, sizeof(any), &any);
	put_binding(message, TCA_U32_ACT, rule->mirred);
}

static const char *match_kind(enum tc_match match)
{
	switch (match) {
	case TC_MATCH_PROGRAM:
	case TC_MATCH_BYTECODE:
		return "bpf";
	case TC_MATCH_ALL:
		return "matchall";
	case TC_MATCH_U32:
		break;
	}
	return "u32";
}

void tc_put_filter(struct nl_batch *b, const struct tc_rule *rule, bool replace)
{
	struct tcmsg *body;
	struct nlattr *options;
	struct nlmsghdr *message =
		tc_begin(b, RTM_NEWTFILTER, NLM_F_CREATE | (replace ? NLM_F_REPLACE : NLM_F_EXCL),
			 rule->ifindex, &body);

	if (!message)
		return;
	body->tcm_parent = rule->parent;
	body->tcm_handle = rule->handle;
	body->tcm_info = TC_H_MAKE((uint32_t)rule->pref << 16, htons(ETH_P_ALL));
	mnl_attr_put_strz(message, TCA_KIND, match_kind(rule->match));
	options = mnl_attr_nest_start(message, TCA_OPTIONS);
	switch (rule->match) {
	case TC_MATCH_PROGRAM:
	case TC_MATCH_BYTECODE:
		put_bpf(message, rule);
		break;
	case TC_MATCH_ALL:
		put_binding(message, TCA_MATCHALL_ACT, rule->mirred);
		break;
	case TC_MATCH_U32:
		put_u32(message, rule);
		break;
	}
	mnl_attr_nest_end(message, options);
	nl_batch_end(b, message);
}

void tc_put_filter_del(struct nl_batch *b, int ifindex, uint32_t parent, uint16_t pref,
		       uint16_t protocol, uint32_t handle, const char *kind)
{
	struct tcmsg *body;
	struct nlmsghdr *message = tc_begin(b, RTM_DELTFILTER, 0, ifindex, &body);

	if (!message)
		return;
	body->tcm_parent = parent;
	body->tcm_handle = handle;
	body->tcm_info = TC_H_MAKE((uint32_t)pref << 16, htons(protocol));
	mnl_attr_put_strz(message, TCA_KIND, kind);
	nl_batch_end(b, message);
}

static struct nlmsghdr *action_begin(struct nl_batch *b, uint16_t type, uint16_t flags)
{
	void *body;

	return nl_batch_begin(b, type, flags, sizeof(struct tcamsg), &body);
}

void tc_put_mirred(struct nl_batch *b, uint32_t index, int to_ifindex,
		   const uint8_t cookie[TC_COOKIE], bool replace)
{
	struct tc_mirred parms = {.index = index,
				  .action = TC_ACT_UNSPEC,
				  .eaction = TCA_EGRESS_MIRROR,
				  .ifindex = (uint32_t)to_ifindex};
	struct nlmsghdr *message = action_begin(
		b, RTM_NEWACTION, NLM_F_CREATE | (replace ? NLM_F_REPLACE : NLM_F_EXCL));

	if (!message)
		return;
	put_mirred_list(message, TCA_ACT_TAB, &parms, cookie);
	nl_batch_end(b, message);
}

void tc_put_mirred_del(struct nl_batch *b, uint32_t index)
{
	struct nlmsghdr *message = action_begin(b, RTM_DELACTION, 0);
	struct nlattr *list, *one;

	if (!message)
		return;
	list = mnl_attr_nest_start(message, TCA_ACT_TAB);
	one = mnl_attr_nest_start(message, 1);
	mnl_attr_put_strz(message, TCA_ACT_KIND, "mirred");
	mnl_attr_put_u32(message, TCA_ACT_INDEX, index);
	mnl_attr_nest_end(message, one);
	mnl_attr_nest_end(message, list);
	nl_batch_end(b, message);
}
