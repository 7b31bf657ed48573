/* SPDX-License-Identifier: MIT */
/* What is wrong with a session's destination and its sources. */
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/tc_act/tc_mirred.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "portmirror/direct.h"
#include "portmirror/doctor_work.h"
#include "portmirror/facts.h"
#include "portmirror/host.h"
#include "portmirror/ours.h"
#include "portmirror/plan.h"

static const struct nl_link *link_of(const struct work *w, int ifindex)
{
	return nl_link_by_index(&w->in->host->links, ifindex);
}

static const char *name_of(const struct work *w, int ifindex)
{
	const struct nl_link *link = link_of(w, ifindex);

	return link ? link->name : "?";
}

static bool has_link(const struct host *host, const char *session, int ifindex)
{
	for (size_t i = 0; i < host->pins.count; i++)
		if (host->pins.items[i].kind == PIN_LINK &&
		    host->pins.items[i].ifindex == ifindex &&
		    strcmp(host->pins.items[i].session, session) == 0)
			return true;
	return false;
}

/* A foreign program that sees the session's frames first. */
static void look_at_tcx(struct work *w, const struct session_state *st, const struct nl_link *link,
			const struct fact_tcx *tcx, bool sent)
{
	struct quoted q;

	if (tcx->count == 0 ||
	    (tcx->behind && has_link(w->in->host, st->session->name, link->index)))
		return;
	doctor_add(w, SEVERITY_WARNING, "tcx-program", st, link->name,
		   doctor_text(w,
			       "the tcx program %s (id %u) sees what %s %s first, and takes from "
			       "the session every frame for which it doesn't return TCX_NEXT",
			       tcx->name[0] ? tcx->name : "without a name", tcx->id, link->name,
			       sent ? "sends" : "receives"),
		   doctor_text(w,
			       "bpftool prog show id %u tells whose it is; bpftool net detach "
			       "tcx_%s dev %s",
			       tcx->id, sent ? "ingress" : "egress",
			       doctor_quote(w, &q, link->name)));
}

static void look_at_device(struct work *w, const struct session_state *st,
			   const struct nl_link *link)
{
	const struct fact_device *d = facts_device(w->in->facts, link->index);
	enum direction direction = plan_directions(st, &w->in->host->links, link->index);

	if (!d)
		return;
	if (direction & DIRECTION_SENT)
		look_at_tcx(w, st, link, &d->tcx_sent, true);
	if (direction & DIRECTION_RECEIVED)
		look_at_tcx(w, st, link, &d->tcx_received, false);
	if (d->connection)
		doctor_add(w, SEVERITY_WARNING, "networkmanager", st, link->name,
			   doctor_text(w,
				       "NetworkManager has a tc setting for %s, and replaces all "
				       "qdiscs and filters there whenever it brings it up",
				       link->name),
			   doctor_text(w, "nmcli connection modify '%s' remove tc", d->connection));
}

/* Whether a foreign filter may end the classification, so that no later filter of the hook runs.
 * What a pipe leads to behind the last action is the end too (net/sched/cls_api.c). */
static bool ends(const struct tc_filter *f)
{
	const struct tc_action *last;

	if (f->handle == 0 || f->u32_table || f->chain != 0)
		return false;
	if (f->nactions == 0 || f->bpf_direct)
		return true;
	if (f->nactions > TC_FILTER_ACTIONS)
		return false; /* it isn't known how the last one ends */
	last = &f->actions[f->nactions - 1];
	return last->control != TC_ACT_UNSPEC && last->control != TC_ACT_RECLASSIFY;
}

static bool received(uint32_t parent)
{
	return parent == TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_EGRESS) ||
	       TC_H_MAJ(parent) != TC_H_MAJ(TC_H_INGRESS);
}

/* The hook as tc(8) takes it. */
static const char *hook_text(uint32_t parent, char text[24])
{
	if (parent == TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_EGRESS))
		return "egress";
	if (parent == TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS))
		return "ingress";
	snprintf(text, 24, "parent %x:", TC_H_MAJ(parent) >> 16);
	return text;
}

static void report_earlier(struct work *w, const struct session_state *st,
			   const struct nl_link *link, const struct tc_filter *f)
{
	struct quoted q;
	char hook[24];
	char *cure;

	doctor_quote(w, &q, link->name);
	if (f->pref > 1) /* ours are put in front of it when they are made anew */
		cure = doctor_text(w,
				   "portmirror export %s > %s.yaml && portmirror rm %s && "
				   "portmirror apply %s.yaml",
				   st->session->name, st->session->name, st->session->name,
				   st->session->name);
	else
		cure = doctor_text(w,
				   "give it a preference above 1, or let it end in continue: tc "
				   "filter show dev %s %s",
				   q.text, hook_text(f->parent, hook));
	doctor_add(w, SEVERITY_WARNING, "earlier-filter", st, link->name,
		   doctor_text(w,
			       "the %s filter with preference %u is in front of the mirror's for "
			       "what %s %s, and ends the classification: frames that it matches "
			       "aren't copied",
			       f->kind, f->pref, link->name,
			       received(f->parent) ? "receives" : "sends"),
		   cure);
}

static bool is_ours(const struct work *w, const struct tc_filter *f)
{
	return ours_filter(f, w->in->house) || direct_does(f, w->in->house) != DIRECT_NONE;
}

/* A foreign filter in front of one of ours ends the classification. */
static bool hides(const struct work *w, const struct tc_filter *f, const struct tc_filter *ours)
{
	return f->parent == ours->parent && f->pref < ours->pref && !is_ours(w, f) && ends(f);
}

static bool redirects(const struct tc_action *a)
{
	return strcmp(a->kind, "mirred") == 0 &&
	       (a->mirred == TCA_EGRESS_REDIR || a->mirred == TCA_INGRESS_REDIR);
}

static bool hides_any(const struct work *w, const struct session_state *st,
		      const struct nl_link *link, const struct tc_filter *f)
{
	const struct tc_filter *all;
	size_t count = host_filters(w->in->host, link->index, &all);

	for (size_t i = 0; i < count; i++)
		if (ours_copies(&all[i], w->in->house, st->session->name, st->action) &&
		    hides(w, f, &all[i]))
			return true;
	return false;
}

/* The ifb device that a foreign filter leads frames to which enter, to be shaped there, as
 * wondershaper does; NULL: none. They come back to where they were, and enter the bridge then. */
static const struct nl_link *detour(const struct work *w, const struct tc_filter *f)
{
	for (size_t i = 0; i < f->nactions && i < TC_FILTER_ACTIONS; i++) {
		const struct nl_link *to =
			redirects(&f->actions[i]) ? link_of(w, f->actions[i].to_ifindex) : NULL;

		if (to && strcmp(to->kind, "ifb") == 0 && !received(f->parent) && !is_ours(w, f))
			return to;
	}
	return NULL;
}

static void report_detour(struct work *w, const struct session_state *st,
			  const struct nl_link *link, const struct nl_link *to)
{
	doctor_add(w, SEVERITY_WARNING, "source-queued", st, link->name,
		   doctor_text(w,
			       "what %s sends is led to %s, and waits there where that shapes it: "
			       "then it is copied as it enters, and again as it leaves by another "
			       "source",
			       link->name, to->name),
		   doctor_one_direction(w, st->session));
}

/* Foreign filters in front of those that copy for this session; and those that hold frames up
 * between the one and the other end. */
static void look_at_filters(struct work *w, const struct session_state *st,
			    const struct nl_link *link)
{
	const struct tc_filter *all;
	size_t count = host_filters(w->in->host, link->index, &all);

	for (size_t i = 0; i < count; i++) {
		const struct nl_link *to = detour(w, &all[i]);

		if (hides_any(w, st, link, &all[i]))
			report_earlier(w, st, link, &all[i]);
		else if (to && doctor_both_ends(w, st, link))
			report_detour(w, st, link, to);
	}
}

static void report_past(struct work *w, const struct session_state *st, const struct nl_link *link,
			const struct tc_filter *f, const struct tc_filter *ours)
{
	bool guarded = ifindexes_have(&st->from, link->index);
	struct quoted q;
	char hook[24];

	doctor_add(
		w, SEVERITY_WARNING, "earlier-filter", st, link->name,
		doctor_text(w,
			    "the %s filter with preference %u is in front of the in-line "
			    "session's for what %s %s, and ends the classification: frames that "
			    "it matches %s",
			    f->kind, f->pref, guarded ? link->name : "the appliance puts out at",
			    !guarded		  ? link->name
			    : received(f->parent) ? "receives"
						  : "sends",
			    guarded ? "don't go through the appliance" : "go no further"),
		doctor_text(w,
			    "give it a preference above %u, or let it end in continue: tc filter "
			    "show dev %s %s",
			    ours->pref, doctor_quote(w, &q, link->name),
			    hook_text(f->parent, hook)));
}

static void look_at_leads(struct work *w, const struct session_state *st, int ifindex)
{
	const struct nl_link *link = link_of(w, ifindex);
	const struct tc_filter *all;
	size_t count = host_filters(w->in->host, ifindex, &all);

	for (size_t i = 0; link && i < count; i++) {
		if (!direct_is(&all[i], DIRECT_LEADS, w->in->house, st->session->name))
			continue;
		for (size_t j = 0; j < count; j++)
			if (hides(w, &all[j], &all[i]))
				report_past(w, st, link, &all[j], &all[i]);
	}
}

static void look_at_hooks(struct work *w, const struct session_state *st, int ifindex, bool both)
{
	const struct fact_device *d = facts_device(w->in->facts, ifindex);
	const struct nl_link *link = link_of(w, ifindex);

	look_at_leads(w, st, ifindex);
	if (!d || !link)
		return;
	look_at_tcx(w, st, link, &d->tcx_sent, true);
	if (both)
		look_at_tcx(w, st, link, &d->tcx_received, false);
}

void doctor_leads(struct work *w, const struct session_state *st)
{
	for (size_t i = 0; i < st->from.count; i++)
		look_at_hooks(w, st, st->from.items[i], true);
	for (int side = 0; side < SIDES; side++)
		look_at_hooks(w, st, st->through[side], false);
}

void doctor_sources(struct work *w, const struct session_state *st)
{
	for (size_t i = 0; i < st->from.count; i++) {
		const struct nl_link *link = link_of(w, st->from.items[i]);

		if (!link)
			continue;
		look_at_device(w, st, link);
		look_at_filters(w, st, link);
		doctor_source_bridge(w, st, link);
	}
}

static void look_at_state(struct work *w, const struct session_state *st, const struct nl_link *to)
{
	struct quoted q;

	if (!(to->flags & IFF_UP))
		doctor_add(w, SEVERITY_ERROR, "destination-down", st, to->name,
			   doctor_text(w, "the destination %s is down: all copies are lost",
				       to->name),
			   doctor_text(w, "ip link set dev %s up", doctor_quote(w, &q, to->name)));
	else if (!to->carrier)
		doctor_add(
			w, SEVERITY_ERROR, "destination-no-carrier", st, to->name,
			doctor_text(w,
				    "the destination %s has no carrier: all copies are lost, for "
				    "nothing that is up is at its other end",
				    to->name),
			doctor_text(w,
				    "start the machine that %s belongs to, or bring its "
				    "other end up",
				    to->name));
}

static void look_at_mtu(struct work *w, const struct session_state *st, const struct nl_link *to)
{
	const struct nl_link *largest = NULL;
	unsigned snap = st->session->snap;
	struct quoted q;

	if (snap && snap <= to->mtu + ETH_HLEN)
		return;
	for (size_t i = 0; i < st->from.count; i++) {
		const struct nl_link *link = link_of(w, st->from.items[i]);

		if (link && (!largest || link->mtu > largest->mtu))
			largest = link;
	}
	if (!largest || largest->mtu <= to->mtu)
		return;
	doctor_add(w, SEVERITY_WARNING, "destination-mtu", st, to->name,
		   doctor_text(w,
			       "the destination %s has an MTU of %u, the source %s one of %u: "
			       "copies of longer frames can get lost",
			       to->name, to->mtu, largest->name, largest->mtu),
		   doctor_text(w, "ip link set dev %s mtu %u", doctor_quote(w, &q, to->name),
			       largest->mtu));
}

/* Copies run through the filters of the destination's own egress. */
static void look_at_redirects(struct work *w, const struct session_state *st,
			      const struct nl_link *to)
{
	const struct tc_filter *all;
	size_t count = host_filters(w->in->host, to->index, &all);
	struct quoted q;
	char hook[24];

	for (size_t i = 0; i < count; i++) {
		const struct tc_filter *f = &all[i];

		if (!received(f->parent))
			continue;
		for (size_t j = 0; j < f->nactions && j < TC_FILTER_ACTIONS; j++)
			if (redirects(&f->actions[j]))
				doctor_add(
					w, SEVERITY_WARNING, "destination-redirected", st, to->name,
					doctor_text(w,
						    "the %s filter with preference %u on the "
						    "destination %s redirects the copies that it "
						    "matches to %s",
						    f->kind, f->pref, to->name,
						    name_of(w, f->actions[j].to_ifindex)),
					doctor_text(w, "tc filter del dev %s %s pref %u",
						    doctor_quote(w, &q, to->name),
						    hook_text(f->parent, hook), f->pref));
	}
}

/* Foreign filters in front of what shortens copies. */
static void look_at_cuts(struct work *w, const struct session_state *st, const struct nl_link *to)
{
	const struct tc_filter *all;
	size_t count = host_filters(w->in->host, to->index, &all);
	struct quoted q;
	char hook[24];

	for (size_t i = 0; i < count; i++) {
		bool cuts = st->session->snap && direct_does(&all[i], w->in->house) == DIRECT_CUTS;

		for (size_t j = 0; cuts && j < count; j++)
			if (hides(w, &all[j], &all[i]))
				doctor_add(
					w, SEVERITY_WARNING, "earlier-filter", st, to->name,
					doctor_text(w,
						    "the %s filter with preference %u on the "
						    "destination %s is in front of what shortens "
						    "copies, and ends the classification: copies "
						    "that it matches go whole",
						    all[j].kind, all[j].pref, to->name),
					doctor_text(w,
						    "let it end in continue: tc filter show dev %s "
						    "%s",
						    doctor_quote(w, &q, to->name),
						    hook_text(all[j].parent, hook)));
	}
}

static void look_at_offloads(struct work *w, const struct session_state *st,
			     const struct nl_link *to, const struct fact_device *d)
{
	struct quoted q;

	if (!d->tso && !d->gso && !d->tx_checksum)
		return;
	doctor_add(
		w, SEVERITY_HINT, "destination-offloads", st, to->name,
		doctor_text(
			w,
			"offloads of the destination %s are on: the appliance gets TCP frames of "
			"up to 64 KiB as one, and checksums that aren't filled in yet",
			to->name),
		doctor_text(w, "ethtool -K %s%s%s%s", doctor_quote(w, &q, to->name),
			    d->tso ? " tso off" : "", d->gso ? " gso off" : "",
			    d->tx_checksum ? " tx off" : ""));
}

static void look_at_destination(struct work *w, const struct session_state *st,
				const struct nl_link *to)
{
	const struct fact_device *d = facts_device(w->in->facts, to->index);

	look_at_state(w, st, to);
	look_at_mtu(w, st, to);
	doctor_destination_bridge(w, st, to);
	look_at_redirects(w, st, to);
	look_at_cuts(w, st, to);
	if (!d)
		return;
	look_at_tcx(w, st, to, &d->tcx_received, false);
	look_at_offloads(w, st, to, d);
}

void doctor_destinations(struct work *w, const struct session_state *st)
{
	for (size_t i = 0; i < st->session->nto; i++) {
		const struct nl_link *to = link_of(w, st->to[i]);

		if (to)
			look_at_destination(w, st, to);
	}
}
