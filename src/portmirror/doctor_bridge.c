/* SPDX-License-Identifier: MIT */
/* What bridges do to a session's frames: to those of its sources, and at its destination. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "portmirror/doctor_work.h"
#include "portmirror/facts.h"
#include "portmirror/host.h"
#include "portmirror/plan.h"

bool doctor_both_ends(const struct work *w, const struct session_state *st,
		      const struct nl_link *source)
{
	if (st->session->direction != DIRECTION_BOTH || source->master == 0)
		return false;
	for (size_t i = 0; i < st->from.count; i++) {
		const struct nl_link *other =
			nl_link_by_index(&w->in->host->links, st->from.items[i]);

		if (other && other != source && other->master == source->master)
			return true;
	}
	return false;
}

/* Conntrack puts fragments together as they enter, and the bridge cuts the packet again when they
 * have all been copied (net/bridge/br_netfilter_hooks.c, br_nf_dev_queue_xmit): of several frames
 * on their way at once the last one is remembered. */
static void look_at_netfilter(struct work *w, const struct session_state *st,
			      const struct nl_link *link)
{
	const struct nl_link *bridge = nl_link_by_index(&w->in->host->links, link->master);

	if (!w->in->facts->bridge_conntrack || !bridge || strcmp(link->port_kind, "bridge") != 0 ||
	    !doctor_both_ends(w, st, link))
		return;
	doctor_add(
		w, SEVERITY_WARNING, "bridge-netfilter", st, bridge->name,
		doctor_text(w,
			    "%s hands IP to the packet filter (bridge-nf-call-iptables or "
			    "-ip6tables), where conntrack puts fragments together: those between "
			    "two sources are copied twice",
			    bridge->name),
		doctor_text(w,
			    "if no firewall needs it: sysctl net.bridge.bridge-nf-call-iptables=0 "
			    "net.bridge.bridge-nf-call-ip6tables=0"));
}

/* Proxmox puts the bridge fwbr100i0 between the machine's tap100i0 and the port fwpr100p0 of its
 * bridge, where the machine has a firewall. */
static bool firewall_port(const struct nl_link *link, unsigned long *vm, unsigned long *nic)
{
	const char *at = link->name;
	char *end;

	if (strncmp(at, "fwpr", 4) != 0 || !isdigit((unsigned char)at[4]))
		return false;
	*vm = strtoul(at + 4, &end, 10);
	if (end[0] != 'p' || !isdigit((unsigned char)end[1]))
		return false;
	*nic = strtoul(end + 1, &end, 10);
	return *end == '\0';
}

/* The session, or another one to a destination of it, mirrors that device. */
static bool mirrored_too(const struct work *w, const struct session_state *of,
			 const struct nl_link *link)
{
	for (size_t i = 0; link && i < w->in->plan->nstates; i++) {
		const struct session_state *st = &w->in->plan->states[i];

		if (st->state != STATE_FAILED && plan_share_destination(st, of) &&
		    ifindexes_have(&st->from, link->index))
			return true;
	}
	return false;
}

static void look_at_firewall(struct work *w, const struct session_state *st,
			     const struct nl_link *link)
{
	unsigned long vm, nic;
	char tap[48];

	if (!firewall_port(link, &vm, &nic))
		return;
	snprintf(tap, sizeof(tap), "tap%lui%lu", vm, nic);
	if (mirrored_too(w, st, nl_link_by_name(&w->in->host->links, tap)))
		doctor_add(w, SEVERITY_WARNING, "firewall-bridge", st, link->name,
			   doctor_text(w,
				       "%s and %s are both mirrored: between them is Proxmox's "
				       "firewall bridge, and a frame that passes it is copied "
				       "on either side",
				       tap, link->name),
			   doctor_text(w, "mirror vm:%lu alone, or the bridge alone", vm));
	else
		doctor_add(w, SEVERITY_HINT, "firewall-bridge", st, link->name,
			   doctor_text(w,
				       "between the machine and %s is Proxmox's firewall bridge: "
				       "what the firewall drops of that which the machine sends is "
				       "not copied",
				       link->name),
			   doctor_text(w, "mirror the machine itself: --from vm:%lu/%lu", vm, nic));
}

static bool port_mirrored_too(const struct work *w, const struct session_state *of,
			      const struct nl_link *bridge)
{
	const struct nl_links *links = &w->in->host->links;

	for (size_t i = 0; i < links->count; i++)
		if (links->items[i].master == bridge->index &&
		    mirrored_too(w, of, &links->items[i]))
			return true;
	return false;
}

/* The bridge's own device, where its ports may have been meant, or see the same frames. */
static void look_at_bridge(struct work *w, const struct session_state *st,
			   const struct nl_link *link)
{
	enum direction direction = plan_directions(st, &w->in->host->links, link->index);

	if (strcmp(link->kind, "bridge") != 0)
		return;
	if (!port_mirrored_too(w, st, link))
		doctor_add(w, SEVERITY_WARNING, "bridge-device", st, link->name,
			   doctor_text(w,
				       "%s is a bridge: at the device itself passes only what this "
				       "host sends and receives, not what its ports exchange",
				       link->name),
			   doctor_text(w, "mirror its ports: --from bridge:%s", link->name));
	else if (direction & DIRECTION_SENT)
		doctor_add(w, SEVERITY_WARNING, "bridge-device", st, link->name,
			   doctor_text(w,
				       "%s is mirrored, and so are ports of it, but not all in "
				       "this session: what passes one of these and reaches this "
				       "host, too, is copied twice",
				       link->name),
			   doctor_text(w,
				       "mirror its other ports, too: --from bridge:%s; or leave "
				       "port:%s out",
				       link->name, link->name));
	else
		doctor_add(
			w, SEVERITY_HINT, "bridge-device", st, link->name,
			doctor_text(w, "%s is mirrored beside ports of it: it adds %s", link->name,
				    direction & DIRECTION_RECEIVED
					    ? "only what this host itself sends there"
					    : "nothing"),
			doctor_text(w, "leave port:%s out if the machines are meant", link->name));
}

void doctor_source_bridge(struct work *w, const struct session_state *st,
			  const struct nl_link *link)
{
	look_at_firewall(w, st, link);
	look_at_bridge(w, st, link);
	look_at_netfilter(w, st, link);
}

/* This host has an address at the bridge, or at a device on top of it, such as a VLAN's. */
static bool host_speaks(const struct work *w, const struct nl_link *bridge)
{
	const struct ifindexes *at = &w->in->facts->addressed;

	for (size_t i = 0; i < at->count; i++) {
		const struct nl_link *link = nl_link_by_index(&w->in->host->links, at->items[i]);

		if (link && (link == bridge || link->link == bridge->index))
			return true;
	}
	return false;
}

/* What its bridge sends to a destination, beside the copies. */
static void look_at_flooding(struct work *w, const struct session_state *st,
			     const struct nl_link *to)
{
	const unsigned floods = BRPORT_FLOOD | BRPORT_MCAST_FLOOD | BRPORT_BCAST_FLOOD;
	const struct nl_link *bridge = nl_link_by_index(&w->in->host->links, to->master);
	struct quoted q;

	if (!bridge || strcmp(to->port_kind, "bridge") != 0)
		return;
	if ((to->brport & floods) && !st->session->isolate)
		doctor_add(w, SEVERITY_WARNING, "destination-floods", st, to->name,
			   doctor_text(w,
				       "the destination %s is a port of %s too, which floods "
				       "frames to it a second time, and takes in what it sends",
				       to->name, bridge->name),
			   doctor_isolate(w, st->session));
	else if (host_speaks(w, bridge)) /* br_flood() looks at no flag then */
		doctor_add(w, SEVERITY_WARNING, "destination-hears-host", st, to->name,
			   doctor_text(w,
				       "the destination %s is a port of %s, at which this host has "
				       "an address: what the host sends to all there reaches it "
				       "beside the copies, isolated or not",
				       to->name, bridge->name),
			   doctor_text(w, "ip link set dev %s nomaster",
				       doctor_quote(w, &q, to->name)));
}

void doctor_destination_bridge(struct work *w, const struct session_state *st,
			       const struct nl_link *to)
{
	unsigned long vm, nic;

	look_at_flooding(w, st, to);
	if (firewall_port(to, &vm, &nic))
		doctor_add(w, SEVERITY_WARNING, "firewall-bridge", st, to->name,
			   doctor_text(w,
				       "between the destination %s and its machine is Proxmox's "
				       "firewall bridge, which can drop copies",
				       to->name),
			   doctor_text(w, "copy to the machine itself: --to vm:%lu/%lu", vm, nic));
}
