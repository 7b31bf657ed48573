/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <linux/pkt_sched.h>
#include <string.h>

#include "base/mem.h"
#include "portmirror/attach.h"

#define SENT	 TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS)
#define RECEIVED TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_EGRESS)
#define INGRESS	 TC_H_MAKE(TC_H_INGRESS, 0)
#define PM	 TC_H_MAKE(0x706d0000u, 0)
#define HTB	 TC_H_MAKE(0x10000u, 0)

static const struct tc_qdisc clsact = {.kind = "clsact", .parent = TC_H_CLSACT, .handle = INGRESS};
static const struct tc_qdisc ingress = {
	.kind = "ingress", .parent = TC_H_INGRESS, .handle = INGRESS};
static const struct tc_qdisc sent_block = {
	.kind = "clsact", .parent = TC_H_CLSACT, .handle = INGRESS, .ingress_block = 7};
static const struct tc_qdisc received_block = {
	.kind = "clsact", .parent = TC_H_CLSACT, .handle = INGRESS, .egress_block = 8};
static const struct tc_qdisc ingress_block = {
	.kind = "ingress", .parent = TC_H_INGRESS, .handle = INGRESS, .ingress_block = 7};
static const struct tc_qdisc noqueue = {.kind = "noqueue", .parent = TC_H_ROOT};
static const struct tc_qdisc htb = {.kind = "htb", .parent = TC_H_ROOT, .handle = HTB};
static const struct tc_qdisc fq_codel = {.kind = "fq_codel", .parent = TC_H_ROOT, .handle = HTB};

/* what is there -> what is done; "" for a qdisc that is not added */
static const struct {
	const char *what;
	struct port_qdiscs have;
	enum attach how;
	enum direction wanted;
	uint32_t sent, received;
	const char *ingress, *root;
	bool clear, refused, no_prio;
} cases[] = {
	{"nothing", {.root = &noqueue}, ATTACH_AUTO, 3, SENT, RECEIVED, "clsact", "", 0, 0, 0},
	{"not even a root", {0}, ATTACH_AUTO, 3, SENT, RECEIVED, "clsact", "", 0, 0, 0},
	{"their clsact", {.ingress = &clsact}, ATTACH_AUTO, 3, SENT, RECEIVED, "", "", 0, 0, 0},
	{"one direction", {0}, ATTACH_AUTO, DIRECTION_SENT, SENT, 0, "clsact", "", 0, 0, 0},
	{"a block for what is sent",
	 {.ingress = &sent_block},
	 ATTACH_AUTO,
	 3,
	 0,
	 RECEIVED,
	 "",
	 "",
	 0,
	 1,
	 0},
	{"a block for what is received",
	 {.ingress = &received_block},
	 ATTACH_CLSACT,
	 3,
	 SENT,
	 0,
	 "",
	 "",
	 0,
	 1,
	 0},
	{"a block for the other direction",
	 {.ingress = &sent_block},
	 ATTACH_AUTO,
	 DIRECTION_RECEIVED,
	 0,
	 RECEIVED,
	 "",
	 "",
	 0,
	 0,
	 0},
	{"an ingress with a block beside an htb",
	 {.ingress = &ingress_block, .root = &htb},
	 ATTACH_AUTO,
	 3,
	 0,
	 HTB,
	 "",
	 "",
	 0,
	 1,
	 0},
	{"libvirt's bandwidth",
	 {.ingress = &ingress, .root = &htb},
	 ATTACH_AUTO,
	 3,
	 INGRESS,
	 HTB,
	 "",
	 "",
	 0,
	 0,
	 0},
	{"only libvirt's inbound",
	 {.root = &htb},
	 ATTACH_AUTO,
	 3,
	 INGRESS,
	 HTB,
	 "ingress",
	 "",
	 0,
	 0,
	 0},
	{"their ingress alone",
	 {.ingress = &ingress, .root = &noqueue},
	 ATTACH_AUTO,
	 3,
	 INGRESS,
	 PM,
	 "",
	 "prio",
	 0,
	 0,
	 0},
	{"the same without prio",
	 {.ingress = &ingress, .root = &noqueue},
	 ATTACH_AUTO,
	 3,
	 INGRESS,
	 PM,
	 "",
	 "htb",
	 0,
	 0,
	 1},
	{"their ingress, sent only",
	 {.ingress = &ingress, .root = &noqueue},
	 ATTACH_AUTO,
	 DIRECTION_SENT,
	 INGRESS,
	 0,
	 "",
	 "",
	 0,
	 0,
	 0},
	{"their ingress and a root that would drop",
	 {.ingress = &ingress, .root = &fq_codel},
	 ATTACH_AUTO,
	 3,
	 INGRESS,
	 0,
	 "",
	 "",
	 0,
	 1,
	 0},
	{"a root that would drop, alone",
	 {.root = &fq_codel},
	 ATTACH_AUTO,
	 3,
	 SENT,
	 RECEIVED,
	 "clsact",
	 "",
	 0,
	 0,
	 0},
	{"our clsact when an htb came",
	 {.ingress = &clsact, .root = &htb, .ingress_ours = true},
	 ATTACH_AUTO,
	 3,
	 SENT,
	 RECEIVED,
	 "",
	 "",
	 0,
	 0,
	 0},
	{"our ingress when the htb went",
	 {.ingress = &ingress, .root = &noqueue, .ingress_ours = true},
	 ATTACH_AUTO,
	 3,
	 SENT,
	 RECEIVED,
	 "clsact",
	 "",
	 1,
	 0,
	 0},
	{"our ingress beside an htb",
	 {.ingress = &ingress, .root = &htb, .ingress_ours = true},
	 ATTACH_AUTO,
	 3,
	 INGRESS,
	 HTB,
	 "",
	 "",
	 0,
	 0,
	 0},
	{"clsact beside an ingress",
	 {.ingress = &ingress},
	 ATTACH_CLSACT,
	 3,
	 0,
	 0,
	 "",
	 "",
	 0,
	 1,
	 0},
	{"clsact for our ingress",
	 {.ingress = &ingress, .ingress_ours = true},
	 ATTACH_CLSACT,
	 3,
	 SENT,
	 RECEIVED,
	 "clsact",
	 "",
	 1,
	 0,
	 0},
	{"classic", {.root = &noqueue}, ATTACH_CLASSIC, 3, INGRESS, PM, "ingress", "prio", 0, 0, 0},
	{"classic, received only",
	 {.root = &noqueue},
	 ATTACH_CLASSIC,
	 DIRECTION_RECEIVED,
	 0,
	 PM,
	 "",
	 "prio",
	 0,
	 0,
	 0},
	{"classic beside a clsact", {.ingress = &clsact}, ATTACH_CLASSIC, 3, 0, 0, "", "", 0, 1, 0},
	{"classic for our clsact",
	 {.ingress = &clsact, .root = &noqueue, .ingress_ours = true},
	 ATTACH_CLASSIC,
	 3,
	 INGRESS,
	 PM,
	 "ingress",
	 "prio",
	 1,
	 0,
	 0},
	{"classic with their root",
	 {.root = &htb},
	 ATTACH_CLASSIC,
	 3,
	 INGRESS,
	 HTB,
	 "ingress",
	 "",
	 0,
	 0,
	 0},
};

static void goes_to_what_is_there(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct hooks h = attach_decide(&cases[i].have, cases[i].how, cases[i].wanted,
					       !cases[i].no_prio);
		const char *in = h.ingress.kind ? h.ingress.kind : "";
		const char *root = h.root.kind ? h.root.kind : "";

		if (h.sent != cases[i].sent || h.received != cases[i].received ||
		    strcmp(in, cases[i].ingress) != 0 || strcmp(root, cases[i].root) != 0 ||
		    h.clear_ingress != cases[i].clear || (h.why_not != NULL) != cases[i].refused)
			fail_msg("%s: sent %x, received %x, adds '%s' and '%s', clears %d, '%s'",
				 cases[i].what, h.sent, h.received, in, root, h.clear_ingress,
				 h.why_not ? h.why_not : "");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(goes_to_what_is_there)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
