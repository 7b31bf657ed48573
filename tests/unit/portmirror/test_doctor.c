/* SPDX-License-Identifier: MIT */
#include "portmirror/doctor.h"

#include <linux/capability.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/tc_act/tc_mirred.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/mem.h"
#include "memory/memory.h"
#include "portmirror/direct.h"
#include "portmirror/facts.h"
#include "portmirror/facts_nm.h"
#include "portmirror/host.h"
#include "portmirror/inliner.h"
#include "portmirror/ours.h"
#include "portmirror/plan.h"
#include "portmirror/store.h"

enum { VNET1 = 3, IDS0 = 5, BR0 = 7, ACTION = 9001, HOUSE = 1 };
#define SENT	 TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS)
#define RECEIVED TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_EGRESS)

/* A host where all is well: a session "ids" from vnet1 to ids0, carried out. */
struct world {
	struct nl_link links[3];
	struct tc_filter filters[4];
	struct tc_action actions[1];
	struct selector from[1];
	struct selector to;
	int ports[1];
	struct saved saved[2];
	struct session_state states[2];
	struct fact_device devices[2];
	struct op ops[2];
	char text[2][64];
	struct sessions sessions;
	struct host host;
	struct plan plan;
	struct facts facts;
};

static struct nl_link link_named(int index, const char *name)
{
	struct nl_link link = {.index = index, .mtu = 1500, .flags = IFF_UP, .carrier = true};

	strcpy(link.name, name);
	return link;
}

static struct tc_filter our_filter(int ifindex, uint32_t parent)
{
	struct tc_filter f = {.ifindex = ifindex,
			      .parent = parent,
			      .pref = 3,
			      .handle = 1,
			      .kind = "bpf",
			      .nactions = 1,
			      .actions = {{.kind = "mirred",
					   .index = ACTION,
					   .control = TC_ACT_UNSPEC,
					   .cookie_len = TC_COOKIE}}};

	ours_cookie(HOUSE, "ids", f.actions[0].cookie);
	return f;
}

static void make(struct world *w)
{
	*w = (struct world){
		.links = {link_named(VNET1, "vnet1"), link_named(IDS0, "ids0"),
			  link_named(BR0, "br0")},
		.filters = {our_filter(VNET1, SENT)},
		.ports = {VNET1},
		.devices = {{.ifindex = VNET1}, {.ifindex = IDS0}},
		.facts = {.probed = true},
	};
	strcpy(w->text[0], "port:vnet1");
	strcpy(w->text[1], "port:ids0");
	w->from[0].text = w->text[0];
	w->to.text = w->text[1];
	w->saved[0].session = (struct session){.name = "ids",
					       .from = w->from,
					       .nfrom = 1,
					       .to = &w->to,
					       .nto = 1,
					       .direction = DIRECTION_BOTH};
	w->states[0] = (struct session_state){.session = &w->saved[0].session,
					      .from = {.items = w->ports, .count = 1},
					      .to = {IDS0},
					      .to_ifindex = IDS0,
					      .engine = ENGINE_TC,
					      .action = ACTION,
					      .in_kernel = true};
	w->sessions = (struct sessions){.items = w->saved, .count = 1};
	w->host.links = (struct nl_links){.items = w->links, .count = COUNT(w->links)};
	w->host.filters = (struct tc_filters){.items = w->filters, .count = 1};
	w->actions[0] = w->filters[0].actions[0];
	w->host.actions = (struct tc_actions){.items = w->actions, .count = 1};
	w->plan = (struct plan){.states = w->states, .nstates = 1, .ops = w->ops};
	w->facts.devices = w->devices;
	w->facts.count = COUNT(w->devices);
}

static struct findings look(const struct world *w)
{
	struct doctor_input in = {.sessions = &w->sessions,
				  .plan = &w->plan,
				  .host = &w->host,
				  .facts = &w->facts,
				  .house = HOUSE};
	struct findings findings = {0};

	assert_int_equal(scarce(doctor_look(&in, &findings, NULL)), 0);
	return findings;
}

/* The only finding is the one of that name and severity; its cure, where cure is given. */
static void assert_only(const struct world *w, const char *name, enum severity severity,
			const char *cure)
{
	struct findings findings cleanup(findings_free) = look(w);

	assert_int_equal(findings.count, 1);
	assert_string_equal(findings.items[0].name, name);
	assert_int_equal(findings.items[0].severity, severity);
	if (cure)
		assert_string_equal(findings.items[0].cure, cure);
}

static void assert_nothing(const struct world *w)
{
	struct findings findings cleanup(findings_free) = look(w);

	assert_int_equal(findings.count, 0);
}

static void nothing_is_wrong(void **state)
{
	struct world w;

	(void)state;
	make(&w);
	assert_nothing(&w);
}

static void what_the_kernel_lacks(void **state)
{
	struct world w;

	(void)state;
	make(&w);
	w.facts.lacks_bpf = true;
	assert_only(&w, "no-bpf", SEVERITY_WARNING, NULL);
	w.facts.probed = false; /* nobody knows */
	assert_nothing(&w);
	make(&w);
	w.facts.lacks_mirred = true;
	assert_only(&w, "no-mirred", SEVERITY_ERROR, NULL);
	make(&w);
	w.facts.lacks_clsact = true;
	assert_only(&w, "no-clsact", SEVERITY_ERROR, NULL);
}

static void the_destination(void **state)
{
	struct world w;

	(void)state;
	make(&w);
	w.links[1].flags = 0;
	w.links[1].carrier = false;
	assert_only(&w, "destination-down", SEVERITY_ERROR, "ip link set dev ids0 up");
	strcpy(w.links[1].name, "it's;");
	assert_only(&w, "destination-down", SEVERITY_ERROR, "ip link set dev 'it'\\''s;' up");
	strcpy(w.links[1].name, "i?:12"); /* whose name is no UTF-8 */
	assert_only(&w, "destination-down", SEVERITY_ERROR, "ip link set dev if12 up");
	make(&w);
	w.links[1].carrier = false;
	assert_only(&w, "destination-no-carrier", SEVERITY_ERROR, NULL);
	make(&w);
	w.links[1].mtu = 1499;
	assert_only(&w, "destination-mtu", SEVERITY_WARNING, "ip link set dev ids0 mtu 1500");
	make(&w);
	w.links[1].mtu = 9000;
	assert_nothing(&w);
}

static void a_bridge_port_as_destination(void **state)
{
	struct world w;

	(void)state;
	make(&w);
	w.links[1].master = BR0;
	strcpy(w.links[1].port_kind, "bridge");
	w.links[1].brport = BRPORT_BCAST_FLOOD;
	assert_only(&w, "destination-floods", SEVERITY_WARNING,
		    "(portmirror export ids; echo 'isolate: true') | portmirror apply -");
	w.links[1].brport = BRPORT_ISOLATED | BRPORT_LEARNING;
	assert_nothing(&w);
	w.links[1].brport = BRPORT_FLOOD;
	w.saved[0].session.isolate = true; /* apply's business, told as such */
	assert_nothing(&w);
}

static void a_destination_that_hears_the_host(void **state)
{
	int at[] = {IDS0, 98}; /* its own address does no harm; the other device is gone by now */
	struct world w;

	(void)state;
	make(&w);
	w.links[1].master = BR0;
	strcpy(w.links[1].port_kind, "bridge");
	w.links[1].brport = BRPORT_ISOLATED;
	w.facts.addressed = (struct ifindexes){.items = at, .count = COUNT(at)};
	assert_nothing(&w);
	at[1] = BR0;
	assert_only(&w, "destination-hears-host", SEVERITY_WARNING,
		    "ip link set dev ids0 nomaster");
	at[1] = VNET1; /* built on the bridge */
	w.links[0].link = BR0;
	assert_only(&w, "destination-hears-host", SEVERITY_WARNING, NULL);
	strcpy(w.links[1].port_kind, "bond");
	assert_nothing(&w);
}

static void offloads(void **state)
{
	struct world w;

	(void)state;
	make(&w);
	w.devices[0] = (struct fact_device){.ifindex = VNET1, .tso = true, .gso = true};
	assert_nothing(&w);
	w.devices[1] = (struct fact_device){.ifindex = IDS0, .tso = true, .tx_checksum = true};
	assert_only(&w, "destination-offloads", SEVERITY_HINT, "ethtool -K ids0 tso off tx off");
}

/* Such as a device that has come since. */
static void devices_that_nobody_has_asked(void **state)
{
	char name[] = "wired";
	struct world w;

	(void)state;
	make(&w);
	w.devices[0] = (struct fact_device){.ifindex = VNET1, .connection = name};
	assert_only(&w, "networkmanager", SEVERITY_WARNING, NULL);
	w.facts.count = 0;
	assert_nothing(&w);
}

static void tcx_programs(void **state)
{
	struct world w;

	(void)state;
	make(&w);
	w.devices[0].tcx_sent = (struct fact_tcx){.count = 1, .id = 12, .name = "greedy"};
	assert_only(&w, "tcx-program", SEVERITY_WARNING, NULL);
	w.saved[0].session.direction = DIRECTION_RECEIVED;
	assert_nothing(&w);
	w.devices[0].tcx_received = w.devices[0].tcx_sent;
	assert_only(&w, "tcx-program", SEVERITY_WARNING, NULL);
	make(&w);
	w.devices[1].tcx_sent = (struct fact_tcx){.count = 1};
	assert_nothing(&w);
	w.devices[1].tcx_received = (struct fact_tcx){.count = 1};
	assert_only(&w, "tcx-program", SEVERITY_WARNING, NULL);
}

/* Which our links stand behind, or in front of. */
static void tcx_programs_behind_ours(void **state)
{
	struct pin pins[] = {
		{.session = "ids", .name = "config2"},
		{.session = "ids", .name = "in-5", .kind = PIN_LINK, .ifindex = IDS0},
		{.session = "web", .name = "in-3", .kind = PIN_LINK, .ifindex = VNET1},
		{.session = "ids", .name = "in-3", .kind = PIN_LINK, .ifindex = VNET1},
	};
	struct world w;

	(void)state;
	make(&w);
	w.devices[0].tcx_sent = (struct fact_tcx){.count = 1, .id = 12, .behind = true};
	w.host.pins = (struct pins){.items = pins, .count = COUNT(pins)};
	assert_nothing(&w);
	w.host.pins.count--; /* there is none of the session's own there */
	assert_only(&w, "tcx-program", SEVERITY_WARNING, NULL);
}

/* What passes both is copied twice, where both are sources. */
static void proxmox_s_firewall_bridges(void **state)
{
	static const struct {
		const char *port;
		bool told, twice;
	} cases[] = {{"fwpr100p0", true, true},	  {"fwpr100p1", true, false},
		     {"fwpr101p0", true, false},  {"fwpr100", false, false},
		     {"fwpr100px", false, false}, {"fwpr100p0x", false, false},
		     {"fwprxp0", false, false},	  {"fwbr100i0", false, false}};
	int ports[] = {VNET1, BR0};
	struct world w;

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		make(&w);
		strcpy(w.links[0].name, cases[i].port);
		strcpy(w.links[2].name, "tap100i0");
		w.states[0].from = (struct ifindexes){.items = ports, .count = COUNT(ports)};
		if (cases[i].told)
			assert_only(&w, "firewall-bridge",
				    cases[i].twice ? SEVERITY_WARNING : SEVERITY_HINT, NULL);
		else
			assert_nothing(&w);
	}
}

static void filters_in_front(void **state)
{
	static const struct {
		struct tc_filter filter;
		bool found;
	} cases[] = {
		{{.parent = SENT, .pref = 2, .handle = 1, .kind = "u32"}, true},
		{{.parent = SENT, .pref = 3, .handle = 1, .kind = "u32"}, false},
		{{.parent = RECEIVED, .pref = 2, .handle = 1, .kind = "u32"}, false},
		{{.parent = SENT, .pref = 2, .handle = 0, .kind = "u32"}, false},
		{{.parent = SENT, .pref = 2, .handle = 1, .kind = "u32", .u32_table = true}, false},
		{{.parent = SENT, .pref = 2, .handle = 1, .kind = "u32", .chain = 4}, false},
		{{.parent = SENT, .pref = 2, .handle = 1, .kind = "bpf", .bpf_direct = true}, true},
		{{.parent = SENT,
		  .pref = 2,
		  .handle = 1,
		  .kind = "u32",
		  .nactions = 1,
		  .actions = {{.kind = "mirred", .control = TC_ACT_PIPE}}},
		 true},
		{{.parent = SENT,
		  .pref = 2,
		  .handle = 1,
		  .kind = "u32",
		  .nactions = 2,
		  .actions = {{.kind = "skbedit", .control = TC_ACT_PIPE},
			      {.kind = "mirred", .control = TC_ACT_UNSPEC}}},
		 false},
		{{.parent = SENT, .pref = 2, .handle = 1, .kind = "u32", .nactions = 9}, false},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct world w;
		struct findings findings cleanup(findings_free) = {0};

		make(&w);
		w.filters[1] = cases[i].filter;
		w.filters[1].ifindex = VNET1;
		w.host.filters.count = 2;
		findings = look(&w);
		if (findings.count != cases[i].found)
			fail_msg("case %zu: %zu findings", i, findings.count);
		if (findings.count == 1)
			assert_string_equal(findings.items[0].name, "earlier-filter");
	}
}

/* Between two ports of a bridge that are both sources: vnet1 and br0, which is called vnet2 here.
 */
static void make_both_ends(struct world *w, int ports[3])
{
	make(w);
	w->links[0].master = w->links[2].master = 99;
	strcpy(w->links[0].port_kind, "bridge");
	strcpy(w->links[2].name, "vnet2");
	ports[0] = VNET1;
	ports[1] = BR0;
	ports[2] = 98; /* gone by now */
	w->states[0].from = (struct ifindexes){.items = ports, .count = 3};
}

static void filters_that_hold_frames_up(void **state)
{
	static const struct {
		uint32_t parent;
		int mirred, to_ifindex;
		bool found;
	} cases[] = {
		{SENT, TCA_EGRESS_REDIR, IDS0, true},	{SENT, TCA_INGRESS_REDIR, IDS0, true},
		{SENT, TCA_EGRESS_MIRROR, IDS0, false}, {SENT, TCA_EGRESS_REDIR, BR0, false},
		{SENT, TCA_EGRESS_REDIR, 98, false},	{RECEIVED, TCA_EGRESS_REDIR, IDS0, false}};
	struct world w;
	int ports[3];

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		make_both_ends(&w, ports);
		strcpy(w.links[1].kind, "ifb");
		w.filters[1] = (struct tc_filter){.ifindex = VNET1,
						  .parent = cases[i].parent,
						  .pref = 9,
						  .handle = 1,
						  .kind = "u32",
						  .nactions = 1,
						  .actions = {{.kind = "mirred",
							       .mirred = cases[i].mirred,
							       .to_ifindex = cases[i].to_ifindex}}};
		w.host.filters.count = 2;
		if (!cases[i].found) {
			assert_nothing(&w);
			continue;
		}
		assert_only(&w, "source-queued", SEVERITY_WARNING,
			    "(portmirror export ids; echo 'direction: sent') | portmirror apply -");
		w.filters[1].pref = 2; /* then it isn't copied as it enters */
		assert_only(&w, "earlier-filter", SEVERITY_WARNING, NULL);
		w.filters[1].pref = 9;
		w.links[0].master = 0;
		assert_nothing(&w);
		w.links[0].master = 97; /* another bridge */
		assert_nothing(&w);
	}
}

static void fragments_that_a_bridge_puts_together(void **state)
{
	struct world w;
	int ports[3];

	(void)state;
	make_both_ends(&w, ports);
	w.facts.bridge_conntrack = true;
	assert_nothing(&w); /* the bridge is gone by now */
	w.links[0].master = w.links[2].master = IDS0;
	assert_only(&w, "bridge-netfilter", SEVERITY_WARNING, NULL);
	w.saved[0].session.direction = DIRECTION_SENT;
	assert_nothing(&w);
	w.saved[0].session.direction = DIRECTION_BOTH;
	strcpy(w.links[0].port_kind, "bond");
	assert_nothing(&w);
}

static struct tc_filter direct_filter(enum direct does, const char *session, int ifindex,
				      uint32_t parent, uint16_t pref)
{
	struct tc_filter f = {.ifindex = ifindex,
			      .parent = parent,
			      .pref = pref,
			      .handle = 1,
			      .kind = "bpf",
			      .bpf_id = 7,
			      .bpf_direct = true};
	char name[DIRECT_NAME];

	direct_name(does, HOUSE, session, "x", name);
	snprintf(f.bpf_name, sizeof(f.bpf_name), "%s", name);
	return f;
}

/* The engine bpf's, without tcx. */
static void filters_in_front_of_programs(void **state)
{
	struct world w;

	(void)state;
	make(&w);
	w.states[0].engine = ENGINE_BPF;
	w.states[0].action = 0;
	w.saved[0].session.snap = 64;
	w.filters[0] = (struct tc_filter){
		.ifindex = VNET1, .parent = SENT, .pref = 2, .handle = 1, .kind = "u32"};
	w.filters[1] = direct_filter(DIRECT_COPIES, "ids", VNET1, SENT, 3);
	w.host.filters.count = 2;
	assert_only(&w, "earlier-filter", SEVERITY_WARNING, NULL);
	/* In front of another session's it is no affair of this one. */
	w.filters[1] = direct_filter(DIRECT_COPIES, "other", VNET1, SENT, 3);
	assert_nothing(&w);
	/* What leads frames in-line is ours. */
	w.filters[0] = direct_filter(DIRECT_LEADS, "ips", VNET1, SENT, 2);
	w.filters[1] = direct_filter(DIRECT_COPIES, "ids", VNET1, SENT, 3);
	assert_nothing(&w);
	w.filters[0] = (struct tc_filter){
		.ifindex = IDS0, .parent = RECEIVED, .pref = 2, .handle = 1, .kind = "u32"};
	w.filters[1] = direct_filter(DIRECT_CUTS, "", IDS0, RECEIVED, 3);
	assert_only(&w, "earlier-filter", SEVERITY_WARNING, NULL);
	w.saved[0].session.snap = 0;
	assert_nothing(&w);
}

/* An in-line session without tcx: filters of ours at vnet1, and at ids0, a port of its appliance.
 */
static void make_inline(struct world *w)
{
	static const struct {
		int ifindex;
		uint32_t parent;
	} leads[] = {{VNET1, SENT}, {VNET1, RECEIVED}, {IDS0, SENT}};

	make(w);
	w->saved[0].session.mode = MODE_INLINE;
	w->states[0].through[SIDE_INSIDE] = IDS0;
	w->host.filters.count = COUNT(leads);
	for (size_t i = 0; i < COUNT(leads); i++)
		w->filters[i] =
			direct_filter(DIRECT_LEADS, "ids", leads[i].ifindex, leads[i].parent, 2);
}

/* In front of the others at its place. */
static void add_foreign(struct world *w, int ifindex, const struct tc_filter *filter)
{
	size_t at = 0;

	while (at < w->host.filters.count && w->filters[at].ifindex < ifindex)
		at++;
	memmove(&w->filters[at + 1], &w->filters[at],
		(w->host.filters.count++ - at) * sizeof(*filter));
	w->filters[at] = *filter;
	w->filters[at].ifindex = ifindex;
}

static void filters_that_let_frames_past_an_appliance(void **state)
{
	static const struct {
		int ifindex;
		struct tc_filter filter;
		const char *words, *cure; /* NULL: nothing is found */
	} cases[] = {
		{VNET1,
		 {.parent = SENT, .pref = 1, .handle = 1, .kind = "u32"},
		 "what vnet1 sends, and ends the classification: frames that it matches don't go "
		 "through the appliance",
		 "give it a preference above 2, or let it end in continue: tc filter show dev "
		 "vnet1 ingress"},
		{VNET1,
		 {.parent = RECEIVED, .pref = 1, .handle = 1, .kind = "bpf", .bpf_direct = true},
		 "what vnet1 receives",
		 "give it a preference above 2, or let it end in continue: tc filter show dev "
		 "vnet1 egress"},
		{IDS0,
		 {.parent = SENT, .pref = 1, .handle = 1, .kind = "matchall"},
		 "what the appliance puts out at ids0, and ends the classification: frames that it "
		 "matches go no further",
		 NULL},
		{VNET1, {.parent = SENT, .pref = 3, .handle = 1, .kind = "u32"}, NULL, NULL},
		{VNET1, {.parent = SENT, .pref = 1, .handle = 0, .kind = "u32"}, NULL, NULL},
		{VNET1,
		 {.parent = SENT,
		  .pref = 1,
		  .handle = 1,
		  .kind = "u32",
		  .nactions = 1,
		  .actions = {{.kind = "mirred", .control = TC_ACT_UNSPEC}}},
		 NULL,
		 NULL},
		{IDS0, {.parent = RECEIVED, .pref = 1, .handle = 1, .kind = "u32"}, NULL, NULL},
		{BR0, {.parent = SENT, .pref = 1, .handle = 1, .kind = "u32"}, NULL, NULL},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct findings findings cleanup(findings_free) = {0};
		struct world w;

		make_inline(&w);
		assert_nothing(&w);
		add_foreign(&w, cases[i].ifindex, &cases[i].filter);
		findings = look(&w);
		if (findings.count != (cases[i].words != NULL))
			fail_msg("case %zu: %zu findings", i, findings.count);
		if (!cases[i].words)
			continue;
		assert_string_equal(findings.items[0].name, "earlier-filter");
		assert_string_equal(findings.items[0].session, "ids");
		assert_int_equal(findings.items[0].severity, SEVERITY_WARNING);
		assert_non_null(strstr(findings.items[0].sentence, cases[i].words));
		if (cases[i].cure)
			assert_string_equal(findings.items[0].cure, cases[i].cure);
	}
}

static void filters_of_ours_let_nothing_past(void **state)
{
	struct tc_filter f = direct_filter(DIRECT_COPIES, "web", VNET1, SENT, 1);
	struct world w;

	(void)state;
	make_inline(&w);
	add_foreign(&w, VNET1, &f);
	assert_nothing(&w);
	make_inline(&w);
	direct_name(DIRECT_COPIES, HOUSE + 1, "web", "x", f.bpf_name); /* another house's */
	add_foreign(&w, VNET1, &f);
	assert_only(&w, "earlier-filter", SEVERITY_WARNING, NULL);
}

static void a_redirect_at_the_destination(void **state)
{
	struct world w;

	(void)state;
	make(&w);
	w.filters[1] = (struct tc_filter){
		.ifindex = IDS0,
		.parent = TC_H_MAKE(0x50000u, 0),
		.pref = 9,
		.handle = 1,
		.kind = "u32",
		.nactions = 1,
		.actions = {{.kind = "mirred", .mirred = TCA_EGRESS_REDIR, .to_ifindex = BR0}}};
	w.host.filters.count = 2;
	assert_only(&w, "destination-redirected", SEVERITY_WARNING,
		    "tc filter del dev ids0 parent 5: pref 9");
	w.filters[1].actions[0].mirred = TCA_EGRESS_MIRROR;
	assert_nothing(&w);
	w.filters[1].actions[0].mirred = TCA_INGRESS_REDIR;
	w.filters[1].parent = SENT; /* what the sensor sends */
	assert_nothing(&w);
}

static void sessions_by_their_states(void **state)
{
	static char reasons[] = "waiting for one\nwaiting for two";
	static char broken[] = "a.yaml:3: what is this?";
	struct findings findings cleanup(findings_free) = {0};
	struct world w;

	(void)state;
	make(&w);
	w.states[0].reasons = reasons;
	w.states[0].state = STATE_PARTIAL;
	findings = look(&w);
	assert_int_equal(findings.count, 2);
	assert_string_equal(findings.items[0].sentence, "waiting for one");
	assert_string_equal(findings.items[1].sentence, "waiting for two");
	assert_string_equal(findings.items[1].session, "ids");
	assert_int_equal(findings.items[1].severity, SEVERITY_WARNING);

	findings_free(&findings);
	w.states[0].absent = 1; /* it may be on another host */
	findings = look(&w);
	assert_int_equal(findings.count, 2);
	assert_int_equal(findings.items[0].severity, SEVERITY_WARNING);
	assert_string_equal(findings.items[1].sentence, "waiting for two");
	assert_string_equal(findings.items[1].name, "source-absent");
	assert_int_equal(findings.items[1].severity, SEVERITY_HINT);

	make(&w);
	w.states[0].state = STATE_FAILED;
	w.states[0].reasons = w.saved[0].broken = broken;
	w.links[1].flags = 0; /* not looked at */
	assert_only(&w, "session-failed", SEVERITY_ERROR, "mend the file, then: portmirror apply");

	make(&w);
	w.states[0].pending = 1;
	assert_only(&w, "session-not-applied", SEVERITY_WARNING, "portmirror apply");
}

static void the_worst_first_and_each_once(void **state)
{
	struct findings findings cleanup(findings_free) = {0};
	struct world w;

	(void)state;
	make(&w);
	w.saved[1].session = w.saved[0].session;
	strcpy(w.saved[1].session.name, "web");
	w.states[1] = w.states[0];
	w.states[1].session = &w.saved[1].session;
	w.sessions.count = w.plan.nstates = 2;
	w.devices[1].gso = true;
	w.devices[0].tcx_sent.count = 1;
	w.links[1].flags = 0;
	findings = look(&w);
	assert_int_equal(findings.count, 3);
	assert_string_equal(findings.items[0].name, "destination-down");
	assert_string_equal(findings.items[1].name, "tcx-program");
	assert_string_equal(findings.items[2].name, "destination-offloads");
}

static void leftovers(void **state)
{
	struct world w;

	(void)state;
	make(&w);
	w.ops[0] = (struct op){.kind = OP_QDISC_DEL, .session = -1, .ifindex = IDS0};
	w.plan.nops = 1;
	assert_only(&w, "leftovers", SEVERITY_WARNING, "portmirror apply");
	w.ops[0].ifindex = VNET1; /* where the session has its filters */
	assert_nothing(&w);
	w.ops[0] = (struct op){.kind = OP_FILTER_DEL, .session = 0, .ifindex = IDS0};
	assert_nothing(&w);
	w.ops[0] = (struct op){.kind = OP_ACTION_DEL, .session = -1, .action = 9002};
	assert_only(&w, "leftovers", SEVERITY_WARNING, "portmirror apply");
}

static void another_root(void **state)
{
	struct world w;

	(void)state;
	make(&w);
	ours_cookie(HOUSE + 1, "ids", w.actions[0].cookie);
	assert_only(&w, "another-root", SEVERITY_HINT, NULL);
}

static void a_file_by_another_name(void **state)
{
	char path[] = "/etc/portmirror/sessions.d/ids.yml";
	char *paths[] = {path};
	struct world w;

	(void)state;
	make(&w);
	w.facts.misnamed = paths;
	w.facts.nmisnamed = 1;
	assert_only(&w, "file-not-read", SEVERITY_HINT, "rename it, then: portmirror apply");
}

static void connections_of_networkmanager(void **state)
{
	struct nm_connection c;

	(void)state;
	assert_true(nm_connection_read("# by hand\n[connection]\nid = The port \nuuid=1-2\n"
				       "interface-name=vnet1\ntype=tun\n\n[tc]\nqdisc.root=fq\n",
				       &c));
	assert_string_equal(c.id, "The port");
	assert_string_equal(c.uuid, "1-2");
	assert_string_equal(c.interface, "vnet1");
	assert_true(nm_connection_read("[tc]", &c));
	assert_string_equal(c.uuid, "");
	assert_false(nm_connection_read("", &c));
	assert_false(nm_connection_read("[tcp]\nid=tc\n#[tc]\n[connection]\nid=[tc]\n", &c));
	assert_string_equal(c.id, "[tc]");
	assert_false(nm_connection_read("[ethernet]\nuuid=3\ninterface-name=x\n[", &c));
	assert_string_equal(c.uuid, "");
}

static void an_appliance_that_failed_while_nobody_watched(void **state)
{
	struct inliner ips = {.session = "ids", .health = {.failure = INLINE_DOWN}};
	struct findings findings cleanup(findings_free) = {0};
	struct world w;

	(void)state;
	make_inline(&w);
	w.host.inliners = &ips;
	w.host.ninliners = 1;
	findings = look(&w);
	assert_string_equal(findings.items[0].name, "appliance-failed");
	assert_non_null(
		strstr(findings.items[0].cure, "portmirror bypass ids && portmirror restore ids"));
	assert_string_equal(findings.items[findings.count - 1].name, "appliance-unwatched");
}

static void a_source_that_is_gone_by_now(void **state)
{
	struct world w;

	(void)state;
	make(&w);
	w.states[0].from.items[0] = 99;
	w.host.filters.count = 0;
	assert_nothing(&w);
}

static int gather_at(const struct world *w, const char *root, struct facts *facts)
{
	facts_free(facts);
	return facts_gather(&w->plan, &w->host, root, facts, NULL);
}

static int gather_anew(const struct world *w, struct facts *facts)
{
	return gather_at(w, "/nonexistent", facts);
}

static void files_that_are_taken_for_none(void **state)
{
	static const char *const files[] = {"a.yml", "b@c.YAML", "d.yaml", "e.yaml~", ".f.yml"};
	struct facts facts cleanup(facts_free) = {0};
	char root[] = "/tmp/doctor-XXXXXX", folder[64], path[100];
	struct world w;

	(void)state;
	make(&w);
	assert_non_null(mkdtemp(root));
	snprintf(folder, sizeof(folder), "%s/etc/portmirror/sessions.d", root);
	assert_int_equal(folder_make(folder, 0755, NULL), 0);
	for (size_t i = 0; i < COUNT(files); i++) {
		snprintf(path, sizeof(path), "%s/%s", folder, files[i]);
		assert_int_equal(file_write(path, "", 0, 0644, NULL), 0);
	}
	assert_int_equal(scarce_or(!facts.probed, gather_at(&w, root, &facts)), 0);
	assert_int_equal(facts.nmisnamed, 2);
	assert_non_null(strstr(facts.misnamed[0], "/sessions.d/a.yml"));
	assert_non_null(strstr(facts.misnamed[1], "/sessions.d/b@c.YAML"));
	snprintf(path, sizeof(path), "rm -r %s", root);
	assert_int_equal(system(path), 0);
}

/* Whether the kernel can mirror is tried in a thread, and remains unknown where that has no memory.
 */
static void what_the_kernel_can_is_tried(void **state)
{
	struct facts facts cleanup(facts_free) = {0};
	struct world w;

	(void)state;
	if (geteuid() != 0)
		skip();
	make(&w);
	strcpy(w.links[2].name, "lo"); /* where this host has an address */
	assert_int_equal(scarce_or(!facts.probed, gather_anew(&w, &facts)), 0);
	assert_true(ifindexes_have(&facts.addressed, BR0));
	assert_int_equal(facts.count, 2);
	assert_true(facts.probed);
	assert_false(facts.lacks_mirred || facts.lacks_clsact || facts.lacks_bpf);
	w.states[0].from.items[0] = 99; /* gone by now */
	assert_int_equal(gather_anew(&w, &facts), 0);
	assert_int_equal(facts.count, 1);
}

/* A process that may make network namespaces, and not set anything up in them. */
static void nothing_is_said_of_a_kernel_that_could_not_be_tried(void **state)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct rights[2];
	struct facts facts cleanup(facts_free) = {0};
	struct world w;
	int status;
	pid_t pid;

	(void)state;
	if (geteuid() != 0)
		skip();
	make(&w);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		if (syscall(SYS_capget, &header, rights) < 0)
			_exit(1);
		rights[0].effective &= ~(1U << CAP_NET_ADMIN);
		if (syscall(SYS_capset, &header, rights) < 0 || gather_anew(&w, &facts) < 0)
			_exit(2);
		_exit(facts.probed || facts.lacks_mirred ? 3 : 0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_is_wrong),
		cmocka_unit_test(what_the_kernel_lacks),
		cmocka_unit_test(the_destination),
		cmocka_unit_test(a_bridge_port_as_destination),
		cmocka_unit_test(a_destination_that_hears_the_host),
		cmocka_unit_test(offloads),
		cmocka_unit_test(devices_that_nobody_has_asked),
		cmocka_unit_test(tcx_programs),
		cmocka_unit_test(tcx_programs_behind_ours),
		cmocka_unit_test(proxmox_s_firewall_bridges),
		cmocka_unit_test(filters_in_front),
		cmocka_unit_test(filters_that_hold_frames_up),
		cmocka_unit_test(fragments_that_a_bridge_puts_together),
		cmocka_unit_test(filters_in_front_of_programs),
		cmocka_unit_test(filters_that_let_frames_past_an_appliance),
		cmocka_unit_test(an_appliance_that_failed_while_nobody_watched),
		cmocka_unit_test(what_the_kernel_can_is_tried),
		cmocka_unit_test(nothing_is_said_of_a_kernel_that_could_not_be_tried),
		cmocka_unit_test(a_source_that_is_gone_by_now),
		cmocka_unit_test(filters_of_ours_let_nothing_past),
		cmocka_unit_test(a_redirect_at_the_destination),
		cmocka_unit_test(sessions_by_their_states),
		cmocka_unit_test(the_worst_first_and_each_once),
		cmocka_unit_test(leftovers),
		cmocka_unit_test(another_root),
		cmocka_unit_test(a_file_by_another_name),
		cmocka_unit_test(files_that_are_taken_for_none),
		cmocka_unit_test(connections_of_networkmanager),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
