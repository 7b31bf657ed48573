/* SPDX-License-Identifier: MIT */
/* In-line sessions: the appliance, its ports, and who watches it. */
#include <string.h>

#include "portmirror/doctor_work.h"
#include "portmirror/facts.h"
#include "portmirror/host.h"
#include "portmirror/inliner.h"
#include "portmirror/plan.h"

static const char *meanwhile(const struct session_state *st)
{
	return st->session->on_failure == ON_FAILURE_OPEN ? "all frames go straight on, uninspected"
							  : "no frame gets through";
}

static void look_at_mtu(struct work *w, const struct session_state *st)
{
	const struct nl_links *links = &w->in->host->links;
	const struct nl_link *longest = NULL;

	for (size_t i = 0; i < st->from.count; i++) {
		const struct nl_link *link = nl_link_by_index(links, st->from.items[i]);

		if (link && (!longest || link->mtu > longest->mtu))
			longest = link;
	}
	for (int side = 0; longest && side < SIDES; side++) {
		const struct nl_link *link = nl_link_by_index(links, st->through[side]);
		struct quoted name;

		if (!link || link->mtu >= longest->mtu)
			continue;
		doctor_add(w, SEVERITY_WARNING, "appliance-mtu", st, link->name,
			   doctor_text(w,
				       "%s, a port of the appliance, takes frames of %u bytes, and "
				       "%s has longer ones, of up to %u: they are lost",
				       link->name, link->mtu, longest->name, longest->mtu),
			   doctor_text(w,
				       "ip link set %s mtu %u, and the same inside the appliance",
				       doctor_quote(w, &name, link->name), longest->mtu));
	}
}

/* Inspected by nobody: who guards machines should know. */
static void tell_direct(struct work *w, const struct session_state *st)
{
	if (st->session->appliance == APPLIANCE_BRIDGE && st->from.count > 1)
		doctor_add(w, SEVERITY_HINT, "guarded-direct", st, NULL,
			   doctor_text(w,
				       "the %zu guarded machines talk to each other past the "
				       "appliance (--appliance bridge)",
				       st->from.count),
			   doctor_text(w, "a session and an appliance for each, or an appliance "
					  "that works as a wire, if they must not"));
}

static void tell_unwatched(struct work *w, const struct session_state *st,
			   const struct inliner *have)
{
	if (!inliner_watched(have, st->session->probe_interval, inliner_now()))
		doctor_add(w, SEVERITY_HINT, "appliance-unwatched", st, NULL,
			   doctor_text(w,
				       "the state is static, for portmirrord doesn't run: nobody "
				       "notices when the appliance hangs or its port goes down"),
			   doctor_text(w, "systemctl enable --now portmirrord"));
}

static void tell_failure(struct work *w, const struct session_state *st, const struct inliner *have)
{
	bool watched = inliner_watched(have, st->session->probe_interval, inliner_now());

	doctor_add(w, SEVERITY_ERROR, "appliance-failed", st, NULL,
		   doctor_text(w, "the appliance has failed (%s): %s",
			       inliner_failure_text(have->health.failure), meanwhile(st)),
		   watched ? doctor_text(w,
					 "mend the appliance: the session goes on by itself when "
					 "it has answered for a while")
			   : doctor_text(w,
					 "mend the appliance, then: portmirror bypass %s && "
					 "portmirror restore %s (portmirrord would do so by "
					 "itself)",
					 st->session->name, st->session->name));
}

/* What came of probes. */
static void judge(struct work *w, const struct session_state *st, const struct inliner_trial *trial)
{
	bool outward = trial->came[INLINE_OUTWARD] == 0, inward = trial->came[INLINE_INWARD] == 0;

	if (outward || inward) {
		doctor_add(w, SEVERITY_ERROR, "appliance-silent", st, NULL,
			   doctor_text(w, "none of %u probes came through the appliance%s",
				       trial->sent,
				       !inward	  ? " from inside to outside"
				       : !outward ? " from outside to inside"
						  : ""),
			   doctor_text(w,
				       "look whether it runs, forwards from port to port, and lets "
				       "EtherType 0x88b5 through, of which probes are"));
	} else if (inliner_learns(trial) && st->session->appliance == APPLIANCE_WIRE) {
		doctor_add(w, st->from.count > 1 ? SEVERITY_WARNING : SEVERITY_HINT,
			   "appliance-learns", st, NULL,
			   doctor_text(w,
				       "the appliance is a learning bridge, not a wire: it drops "
				       "what one guarded machine sends to another"),
			   doctor_text(w, "make the session anew with --appliance bridge: guarded "
					  "machines then talk to each other past it"));
	}
}

static bool up(const struct work *w, int ifindex)
{
	const struct nl_link *link = nl_link_by_index(&w->in->host->links, ifindex);

	return link && (link->flags & IFF_UP) && link->carrier;
}

static void look_at_ports(struct work *w, const struct session_state *st)
{
	for (int side = 0; side < SIDES; side++) {
		const struct nl_link *link =
			nl_link_by_index(&w->in->host->links, st->through[side]);
		struct quoted name;

		if (!link || up(w, link->index))
			continue;
		doctor_add(
			w, SEVERITY_ERROR, "appliance-down", st, link->name,
			doctor_text(w,
				    "%s, a port of the appliance, is %s: frames led there are "
				    "lost",
				    link->name, link->flags & IFF_UP ? "without carrier" : "down"),
			link->flags & IFF_UP
				? doctor_text(w, "start the appliance, or bring its end of %s up",
					      link->name)
				: doctor_text(w, "ip link set %s up",
					      doctor_quote(w, &name, link->name)));
	}
}

void doctor_inline(struct work *w, const struct session_state *st)
{
	const struct inliner *have = host_inliner(w->in->host, st->session->name);
	const struct fact_appliance *fact = facts_appliance(w->in->facts, st->session->name);

	look_at_mtu(w, st);
	tell_direct(w, st);
	doctor_leads(w, st);
	if (!have)
		return;
	tell_unwatched(w, st, have);
	if (have->health.failure != INLINE_WELL)
		tell_failure(w, st, have);
	else
		look_at_ports(w, st);
	if (have->health.failure == INLINE_WELL && fact && up(w, st->through[SIDE_INSIDE]) &&
	    up(w, st->through[SIDE_OUTSIDE]))
		judge(w, st, &fact->trial);
}
