/* SPDX-License-Identifier: MIT */
/* Traffic control: qdiscs, filters and actions, as read from the kernel and as sent to it. */
#ifndef NETLINK_TC_H
#define NETLINK_TC_H

#include <linux/filter.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;
struct nl;
struct nl_batch;
struct nlmsghdr;

#define TC_KIND	  16
#define TC_COOKIE 16 /* TC_COOKIE_MAX_SIZE: bytes of an action's cookie, since Linux 4.11 */

struct tc_qdisc {
	int ifindex;
	uint32_t handle; /* major:0; 0 for a qdisc that the kernel made itself */
	uint32_t parent; /* TC_H_ROOT, TC_H_INGRESS, or a class */
	char kind[TC_KIND];
	/* Linux 4.16: the block of filters that the hook shares with other devices; 0: its own */
	uint32_t ingress_block, egress_block;
};

struct tc_action {
	char kind[TC_KIND];
	uint32_t index;
	uint8_t cookie[TC_COOKIE];
	size_t cookie_len;
	int control; /* TC_ACT_* */
	/* mirred only: */
	int to_ifindex; /* 0 where the device has vanished */
	int mirred;	/* TCA_EGRESS_MIRROR, … */
	/* Counters. Ingress counts a frame's bytes without its Ethernet header, egress with it. */
	uint64_t frames, bytes;
	uint32_t dropped, overlimits;
	int bound; /* filters that are bound to it */
};

#define TC_FILTER_ACTIONS 4
struct tc_filter {
	int ifindex;
	uint32_t parent; /* the hook or the qdisc's handle */
	uint32_t handle;
	uint16_t pref;
	uint16_t protocol; /* ETH_P_*, host order */
	uint32_t chain;
	char kind[TC_KIND];
	/* bpf only: */
	char bpf_name[64];	/* TCA_BPF_NAME, cut; "" for classic bytecode */
	uint32_t bpf_id;	/* the program's id; 0 for classic bytecode */
	uint64_t bpf_code_hash; /* hash_bytes() over the classic bytecode; 0 for a program */
	bool bpf_direct;	/* direct-action */
	/* u32 only: */
	bool u32_table; /* it is a hash table, not a rule */
	/* its actions, as many as fit; nactions counts all */
	size_t nactions;
	struct tc_action actions[TC_FILTER_ACTIONS];
};

struct tc_qdiscs {
	struct tc_qdisc *items;
	size_t count, room;
};
struct tc_filters {
	struct tc_filter *items;
	size_t count, room;
};
struct tc_actions {
	struct tc_action *items;
	size_t count, room;
};

/* Tables are zero-initialised by the caller. The rows are appended; on failure none is. */

/* All qdiscs of all devices (those with handle 0 that the kernel made are included). */
int tc_qdiscs(struct nl *nl, struct tc_qdiscs *qdiscs, struct err *e);
/* The filters at one parent of one device, appended. A rule of u32 is told once: what the kernel
 * shows of the other hook's tables (the two share them) is left out by its table's parent. A
 * device or qdisc that is gone by now: nothing appended, 0. Default hash-table rows of u32 and
 * bare rows that show a (pref, kind) without a filter (handle 0) are appended too, with handle 0.
 * Those of a block that devices share are told as filters of each of them.
 */
int tc_filters(struct nl *nl, int ifindex, uint32_t parent, struct tc_filters *filters,
	       struct err *e);
/* All actions of kind (a mirred dump shows bound-only ones as well). Kind unknown: none, 0. */
int tc_actions(struct nl *nl, const char *kind, struct tc_actions *actions, struct err *e);
void tc_qdiscs_free(struct tc_qdiscs *qdiscs);
void tc_filters_free(struct tc_filters *filters);
void tc_actions_free(struct tc_actions *actions);

/* The pure halves: one message each, RTM_NEW… or (qdiscs, filters) RTM_DEL…; -EBADMSG where it is
 * something else or malformed. */
int tc_qdisc_read(const struct nlmsghdr *message, struct tc_qdisc *qdisc);
int tc_filter_read(const struct nlmsghdr *message, struct tc_filter *filter);
/* An RTM_NEWACTION holds many. */
int tc_actions_read(const struct nlmsghdr *message, struct tc_actions *actions);

/* How a filter of ours tells frames. */
enum tc_match {
	TC_MATCH_PROGRAM,  /* cls_bpf with a loaded program (program_fd, name) */
	TC_MATCH_BYTECODE, /* cls_bpf with classic bytecode */
	TC_MATCH_ALL,	   /* cls_matchall */
	TC_MATCH_U32	   /* cls_u32, match u32 0 0 at 0 */
};

struct tc_rule {
	int ifindex;
	uint32_t parent;
	uint16_t pref;
	/* bpf and matchall take it as it is. u32: a new one's low 12 bits (1 to fff), in the
	 * filter's own root table, whose number the kernel chooses; to replace it, the handle as
	 * tc_filters() tells it. */
	uint32_t handle;
	enum tc_match match;
	int program_fd;
	const char *name;
	const struct sock_filter *code;
	uint16_t ncode;
	/* The index of the mirred action that it is bound to, which must exist and stays as it is.
	 * 0: no action; a program then decides by itself (direct-action). */
	uint32_t mirred;
};

/* Messages. The kernel's own default is exclusive creation: "Exclusivity flag on, cannot modify"
 * where there is one already. */
void tc_put_qdisc_add(struct nl_batch *b, int ifindex, uint32_t parent, uint32_t handle,
		      const char *kind); /* clsact, ingress, prio (3 bands), htb (no default) */
void tc_put_qdisc_del(struct nl_batch *b, int ifindex, uint32_t parent, uint32_t handle,
		      const char *kind);
/* protocol all; NLM_F_CREATE, and NLM_F_REPLACE where replace is set, else NLM_F_EXCL. */
void tc_put_filter(struct nl_batch *b, const struct tc_rule *rule, bool replace);
/* Handle 0: the whole pref, with all its filters. A u32 pref whose tables are shared (both hooks of
 * a clsact use u32) outlives its last filter, and ends only so. */
void tc_put_filter_del(struct nl_batch *b, int ifindex, uint32_t parent, uint16_t pref,
		       uint16_t protocol, uint32_t handle, const char *kind);
/* A standalone mirred action: egress mirror, control continue. replace: NLM_F_REPLACE. */
void tc_put_mirred(struct nl_batch *b, uint32_t index, int to_ifindex,
		   const uint8_t cookie[TC_COOKIE], bool replace);
/* Refused with -EPERM while a filter is bound to it. A deleted or replaced filter stays bound for
 * some milliseconds: the kernel lets go of it behind an RCU grace period. */
void tc_put_mirred_del(struct nl_batch *b, uint32_t index);

#endif
