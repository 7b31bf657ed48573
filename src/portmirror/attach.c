/* SPDX-License-Identifier: MIT */
#include "portmirror/attach.h"

#include <linux/pkt_sched.h>
#include <stddef.h>
#include <string.h>

#include "portmirror/host.h"

#define CLSACT_SENT	TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS)
#define CLSACT_RECEIVED TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_EGRESS)
#define INGRESS_SENT	TC_H_MAKE(TC_H_INGRESS, 0)
#define ROOT_HANDLE	TC_H_MAKE(0x706d0000u, 0) /* "pm" */

static bool is(const struct tc_qdisc *qdisc, const char *kind)
{
	return qdisc && strcmp(qdisc->kind, kind) == 0;
}

static bool classful(const struct tc_qdisc *root)
{
	return root && root->handle != 0 && qdisc_classful(root->kind);
}

static void use_clsact(struct hooks *h, bool add)
{
	if (add)
		h->ingress = (struct new_qdisc){"clsact", TC_H_CLSACT, TC_H_MAKE(TC_H_CLSACT, 0)};
	h->sent = CLSACT_SENT;
	h->received = CLSACT_RECEIVED;
}

/* What the machine receives: at a classful root, or at one that we put in the default's place. */
static void use_root(struct hooks *h, const struct port_qdiscs *have, bool prio)
{
	if (classful(have->root)) {
		h->received = have->root->handle;
	} else if (!have->root || have->root->handle == 0) {
		/* The kernel's own default comes back when this one is deleted. */
		h->root = (struct new_qdisc){prio ? "prio" : "htb", TC_H_ROOT, ROOT_HANDLE};
		h->received = ROOT_HANDLE;
	} else {
		h->why_not = "has a root qdisc that takes no filters and is not ours to replace; "
			     "only what the machine sends can be mirrored (--direction sent)";
	}
}

static void use_ingress(struct hooks *h, const struct port_qdiscs *have, bool prio, bool received)
{
	if (!is(have->ingress, "ingress"))
		h->ingress = (struct new_qdisc){"ingress", TC_H_INGRESS, INGRESS_SENT};
	h->clear_ingress = is(have->ingress, "clsact");
	h->sent = INGRESS_SENT;
	if (received)
		use_root(h, have, prio);
}

static struct hooks decide_auto(const struct port_qdiscs *have, bool prio, bool received)
{
	struct hooks h = {0};
	bool foreign_root = classful(have->root) && !have->root_ours;

	if (is(have->ingress, "clsact"))
		use_clsact(&h, false);
	else if (foreign_root || (have->ingress && !have->ingress_ours))
		use_ingress(&h, have, prio, received);
	else {
		h.clear_ingress = have->ingress != NULL;
		use_clsact(&h, true);
	}
	return h;
}

static struct hooks decide_clsact(const struct port_qdiscs *have)
{
	struct hooks h = {0};

	if (is(have->ingress, "clsact")) {
		use_clsact(&h, false);
	} else if (have->ingress && !have->ingress_ours) {
		h.why_not =
			"has an ingress qdisc, which keeps clsact out; --attach auto goes along "
			"with it";
	} else {
		h.clear_ingress = have->ingress != NULL;
		use_clsact(&h, true);
	}
	return h;
}

static struct hooks decide_classic(const struct port_qdiscs *have, enum direction wanted, bool prio)
{
	struct hooks h = {0};

	if (is(have->ingress, "clsact") && !have->ingress_ours && (wanted & DIRECTION_SENT)) {
		h.why_not = "has a clsact qdisc, which keeps ingress out; --attach auto goes along "
			    "with it";
		return h;
	}
	if (wanted & DIRECTION_SENT)
		use_ingress(&h, have, prio, false);
	if (wanted & DIRECTION_RECEIVED)
		use_root(&h, have, prio);
	return h;
}

/* What shares its filters takes none for one device alone (tcf_block_find(), net/sched/cls_api.c).
 */
static void spare_blocks(struct hooks *h, const struct tc_qdisc *ingress)
{
	bool sent = h->sent && ingress && ingress->ingress_block;
	bool received = h->received == CLSACT_RECEIVED && ingress && ingress->egress_block;

	if (sent)
		h->sent = 0;
	if (received)
		h->received = 0;
	if (sent || received)
		h->why_not = "has a qdisc that shares its filters with other devices (a block), "
			     "and takes none for it alone; the engine bpf needs no qdisc where the "
			     "kernel has tcx (Linux 6.6)";
}

struct hooks attach_decide(const struct port_qdiscs *have, enum attach how, enum direction wanted,
			   bool prio)
{
	struct hooks h;

	if (how == ATTACH_CLSACT)
		h = decide_clsact(have);
	else if (how == ATTACH_CLASSIC)
		h = decide_classic(have, wanted, prio);
	else
		h = decide_auto(have, prio, wanted & DIRECTION_RECEIVED);
	if (!(wanted & DIRECTION_SENT))
		h.sent = 0;
	if (!(wanted & DIRECTION_RECEIVED))
		h.received = 0;
	spare_blocks(&h, have->ingress);
	return h;
}
