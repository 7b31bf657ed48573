/* SPDX-License-Identifier: MIT */
/* One port, while it is planned; for plan_port.c and plan_direct.c only. */
#ifndef PORTMIRROR_PLAN_PORT_H
#define PORTMIRROR_PLAN_PORT_H

#include "portmirror/attach.h"
#include "portmirror/plan_work.h"

/*
 * Below the preferences that tc gives by itself (49152 downwards), so that a filter which ends the
 * classification doesn't hide frames from us; and not 1, which administrators like to use.
 */
#define PREF 3

struct port {
	struct work *w;
	const struct nl_link *link;
	int ifindex;
	const struct tc_filter *filters; /* of this device */
	size_t nfilters;
	const struct tc_qdisc *all; /* its qdiscs */
	size_t nall;
	const struct note *ingress_note, *root_note; /* what we noted of ours; NULL: none */
	bool *done; /* for each filter: wanted as it is, replaced, or not ours to remove */
	struct port_qdiscs qdiscs;
	struct hooks hooks;
	unsigned leads[2]; /* the preference of what leads frames in-line, sent and received; 0:
			      none */
	bool cut;	   /* what shortens copies there has been planned */
	struct op scrap;
};

/* plan_port.c: what there is; the rest is zeroed. */
struct port port_look(struct work *w, const struct nl_link *link);
bool port_is_ours(const struct port *p, const struct tc_filter *f);
bool port_any_pref(const struct port *p, uint32_t parent, unsigned pref);
/* cls_bpf holds the filters of all sessions at one preference: where we are already, or the first
 * that is nobody else's. */
uint16_t port_shared_pref(const struct port *p, uint32_t parent);

/* plan_direct.c: the direct-action filters of a want. */
void port_put_direct(struct port *p, const struct want *want);
/* A filter that hangs at one preference with others of ours: one that leads doesn't. */
bool port_shares_pref(const struct port *p, const struct tc_filter *f);

#endif
