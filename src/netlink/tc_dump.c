/* SPDX-License-Identifier: MIT */
#include "netlink/tc.h"

#include "base/err.h"
#include "base/mem.h"
#include "netlink/attr.h"
#include "netlink/nl.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/pkt_cls.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>

struct tc_request {
	struct nlmsghdr header;
	struct tcmsg body;
};

static struct tc_request tc_request(uint16_t type, uint16_t flags)
{
	return (struct tc_request){.header = {.nlmsg_len = sizeof(struct tc_request),
					      .nlmsg_type = type,
					      .nlmsg_flags = NLM_F_REQUEST | flags}};
}

static int qdiscs_add(const struct nlmsghdr *message, void *data)
{
	struct tc_qdiscs *qdiscs = data;
	int rc = array_room(&qdiscs->items, &qdiscs->room, qdiscs->count, sizeof(*qdiscs->items));

	if (rc == 0)
		rc = tc_qdisc_read(message, &qdiscs->items[qdiscs->count]);
	if (rc == 0)
		qdiscs->count++;
	return rc;
}

int tc_qdiscs(struct nl *nl, struct tc_qdiscs *qdiscs, struct err *e)
{
	struct tc_request request = tc_request(RTM_GETQDISC, NLM_F_DUMP);
	size_t before = qdiscs->count;
	int rc = -EINTR;

	for (int tries = 0; rc == -EINTR && tries < NL_DUMP_TRIES; tries++) {
		qdiscs->count = before;
		rc = nl_dump(nl, &request.header, qdiscs_add, qdiscs, e);
	}
	if (rc < 0) {
		qdiscs->count = before;
		err_where(e, "listing the qdiscs");
	}
	return rc;
}

static int filters_add(const struct nlmsghdr *message, void *data)
{
	struct tc_filters *filters = data;
	int rc = array_room(&filters->items, &filters->room, filters->count,
			    sizeof(*filters->items));

	if (rc == 0)
		rc = tc_filter_read(message, &filters->items[filters->count]);
	if (rc == 0)
		filters->count++;
	return rc;
}

/*
 * u32 and the two hooks of a clsact (or the classes of one htb): all filters of one qdisc share
 * their hash tables, and a dump of one parent shows those of every parent that have the same
 * pref (u32_walk(), net/sched/cls_u32.c). Nothing in the rows tells whose they are. But a filter
 * that is asked for TC_U32_ROOT answers with its own root table. The kernel numbers root tables
 * from 800: on, those of administrators lie below, and are shown to everyone who may link there.
 */
#define U32_FIRST_ROOT UINT32_C(0x80000000)

static bool u32_in_root(const struct tc_filter *f)
{
	return strcmp(f->kind, "u32") == 0 && f->handle >= U32_FIRST_ROOT;
}

static bool same_place(const struct tc_filter *a, const struct tc_filter *b)
{
	return a->pref == b->pref && a->chain == b->chain;
}

static int root_keep(const struct nlmsghdr *message, void *data)
{
	struct tc_filter table;
	uint32_t *root = data;
	int rc = tc_filter_read(message, &table);

	if (rc == 0)
		*root = TC_U32_HTID(table.handle);
	return rc;
}

static int u32_root(struct nl *nl, const struct tc_filter *row, uint32_t *root, struct err *e)
{
	struct {
		struct tc_request tc;
		struct nlattr chain;
		uint32_t value;
	} request = {
		.tc = tc_request(RTM_GETTFILTER, NLM_F_ACK),
		.chain = {.nla_len = sizeof(struct nlattr) + sizeof(uint32_t),
			  .nla_type = TCA_CHAIN},
		.value = row->chain,
	};
	int rc;

	request.tc.header.nlmsg_len = sizeof(request);
	request.tc.body.tcm_ifindex = row->ifindex;
	request.tc.body.tcm_parent = row->parent;
	request.tc.body.tcm_handle = TC_U32_ROOT;
	request.tc.body.tcm_info = TC_H_MAKE((uint32_t)row->pref << 16, htons(row->protocol));
	*root = 0;
	rc = nl_dump(nl, &request.tc.header, root_keep, root, e);
	/* The filter (or its chain, qdisc, device) has gone since it was listed: list again. */
	if (*root == 0 && (rc == 0 || rc == -ENOENT || rc == -ENODEV || rc == -EINVAL))
		return -EINTR;
	return rc;
}

/* True where row is the first of its place that is in a root table, and that of another filter is
 * shown there, too. (The kernel lists place by place.) */
static bool u32_is_mixed(const struct tc_filters *filters, size_t from, size_t row)
{
	const struct tc_filter *first = &filters->items[row];

	if (row > from && u32_in_root(first - 1) && same_place(first - 1, first))
		return false;
	for (size_t i = row; i < filters->count && same_place(&filters->items[i], first); i++)
		if (u32_in_root(&filters->items[i]) &&
		    TC_U32_HTID(filters->items[i].handle) != TC_U32_HTID(first->handle))
			return true;
	return false;
}

static void u32_drop_others(struct tc_filters *filters, size_t from, const struct tc_filter *place,
			    uint32_t root)
{
	size_t kept = from;

	for (size_t i = from; i < filters->count; i++) {
		const struct tc_filter *f = &filters->items[i];

		if (!u32_in_root(f) || !same_place(place, f) || TC_U32_HTID(f->handle) == root)
			filters->items[kept++] = *f;
	}
	filters->count = kept;
}

static int u32_sort_out(struct nl *nl, struct tc_filters *filters, size_t from, struct err *e)
{
	for (size_t i = from; i < filters->count;) {
		struct tc_filter row = filters->items[i];
		uint32_t root;
		int rc;

		if (!u32_in_root(&row) || !u32_is_mixed(filters, from, i)) {
			i++;
			continue;
		}
		rc = u32_root(nl, &row, &root, e);
		if (rc < 0)
			return rc;
		u32_drop_others(filters, from, &row, root);
	}
	for (size_t i = from; i < filters->count; i++)
		if (u32_in_root(&filters->items[i]) && filters->items[i].u32_table)
			filters->items[i].handle = 0;
	return 0;
}

/* The kernel tells the block in place of device and parent where several devices may share it
 * (tcf_fill_node(), net/sched/cls_api.c). */
static void put_in_place(struct tc_filters *filters, size_t from, int ifindex, uint32_t parent)
{
	for (size_t i = from; i < filters->count; i++) {
		filters->items[i].ifindex = ifindex;
		filters->items[i].parent = parent;
	}
}

int tc_filters(struct nl *nl, int ifindex, uint32_t parent, struct tc_filters *filters,
	       struct err *e)
{
	struct tc_request request = tc_request(RTM_GETTFILTER, NLM_F_DUMP);
	size_t before = filters->count;
	int rc = -EINTR;

	request.body.tcm_ifindex = ifindex;
	request.body.tcm_parent = parent;
	for (int tries = 0; rc == -EINTR && tries < NL_DUMP_TRIES; tries++) {
		filters->count = before;
		rc = nl_dump(nl, &request.header, filters_add, filters, e);
		if (rc == 0)
			rc = u32_sort_out(nl, filters, before, e);
	}
	if (rc < 0) {
		filters->count = before;
		err_where(e, "listing the filters of device %d at %x:%x", ifindex,
			  TC_H_MAJ(parent) >> 16, TC_H_MIN(parent));
	}
	put_in_place(filters, before, ifindex, parent);
	return rc;
}

static int actions_keep(const struct nlmsghdr *message, void *data)
{
	return tc_actions_read(message, data);
}

int tc_actions(struct nl *nl, const char *kind, struct tc_actions *actions, struct err *e)
{
	/* Without it the kernel stops at 32 actions (since 4.14). */
	static const struct nla_bitfield32 all = {TCA_FLAG_LARGE_DUMP_ON, TCA_FLAG_LARGE_DUMP_ON};
	char room[128] __attribute__((aligned(4)));
	struct nlmsghdr *request = mnl_nlmsg_put_header(room);
	struct nlattr *list, *one;
	size_t before = actions->count;
	int rc = -EINTR;

	if (strlen(kind) >= TC_KIND)
		return err_set(e, -EINVAL, "no action has so long a name: %s", kind);
	request->nlmsg_type = RTM_GETACTION;
	request->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	mnl_nlmsg_put_extra_header(request, sizeof(struct tcamsg));
	list = mnl_attr_nest_start(request, TCA_ACT_TAB);
	one = mnl_attr_nest_start(request, 1);
	mnl_attr_put_strz(request, TCA_ACT_KIND, kind);
	mnl_attr_nest_end(request, one);
	mnl_attr_nest_end(request, list);
	mnl_attr_put(request, TCA_ROOT_FLAGS, sizeof(all), &all);
	for (int tries = 0; rc == -EINTR && tries < NL_DUMP_TRIES; tries++) {
		actions->count = before;
		rc = nl_dump(nl, request, actions_keep, actions, e);
	}
	if (rc < 0) {
		actions->count = before;
		err_where(e, "listing the %s actions", kind);
	}
	return rc;
}

void tc_qdiscs_free(struct tc_qdiscs *qdiscs)
{
	free(qdiscs->items);
	*qdiscs = (struct tc_qdiscs){0};
}

void tc_filters_free(struct tc_filters *filters)
{
	free(filters->items);
	*filters = (struct tc_filters){0};
}

void tc_actions_free(struct tc_actions *actions)
{
	free(actions->items);
	*actions = (struct tc_actions){0};
}
