/* SPDX-License-Identifier: MIT */
/*
 * Where on a port our filters go: to what is there. A foreign ingress qdisc and a foreign classful
 * root are gone along with; clsact is added only where neither exists, because clsact and ingress
 * exclude each other and libvirt, for one, wants to add an ingress qdisc of its own.
 */
#ifndef PORTMIRROR_ATTACH_H
#define PORTMIRROR_ATTACH_H

#include <stdbool.h>
#include <stdint.h>

#include "netlink/tc.h"
#include "portmirror/session.h"

/* The qdiscs of a port, and which of them are ours to remove or change. */
struct port_qdiscs {
	const struct tc_qdisc *ingress; /* at ffff:, clsact or ingress; NULL: none */
	const struct tc_qdisc *root;	/* NULL: none told */
	bool ingress_ours, root_ours;	/* we added it, and nobody else uses it */
};

/* A qdisc to be added. */
struct new_qdisc {
	const char *kind; /* NULL: none */
	uint32_t parent, handle;
};

struct hooks {
	uint32_t sent, received; /* parents for filters; 0: not possible or not asked for */
	struct new_qdisc ingress, root;
	bool clear_ingress;  /* the one there is ours, and in the way */
	const char *why_not; /* where one that was asked for is 0: a clause for a sentence */
};

/* How the port is to be attached for the directions that all its sessions together want. prio: the
 * kernel has it. */
struct hooks attach_decide(const struct port_qdiscs *have, enum attach how, enum direction wanted,
			   bool prio);

#endif
