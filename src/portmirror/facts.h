/* SPDX-License-Identifier: MIT */
/*
 * What else there is on the host that can spoil a mirror, beyond what host.h tells: offloads, tcx
 * programs, NetworkManager, and what the kernel can't do. Only looked at, never changed.
 */
#ifndef PORTMIRROR_FACTS_H
#define PORTMIRROR_FACTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "portmirror/inliner_probe.h"
#include "portmirror/selector.h"
#include "portmirror/session.h"

struct err;
struct host;
struct plan;

/* The foreign programs at one of a device's two tcx hooks (Linux 6.6). */
struct fact_tcx {
	size_t count;
	bool behind; /* one of ours runs before them all */
	uint32_t id; /* of the first */
	char name[16];
};

struct fact_device {
	int ifindex;
	bool tso, gso, tx_checksum;		/* on; false where the device can't be asked */
	struct fact_tcx tcx_sent, tcx_received; /* its ingress; its egress */
	/* NetworkManager's connection for it that has a tc setting: its UUID, or name; NULL: none.
	 * Owned. */
	char *connection;
};

/* The daemon has stopped mending what somebody else keeps breaking, a short time ago. */
struct fact_fight {
	char *session, *port; /* owned */
};

/* What came of probes through an in-line session's appliance. */
struct fact_appliance {
	char session[SESSION_NAME_MAX + 1];
	struct inliner_trial trial;
};

struct facts {
	/* All sources and destinations, guarded ports and those of appliances, by ifindex. */
	struct fact_device *devices;
	size_t count;
	struct fact_fight *fights;
	size_t nfights, fights_room;
	struct fact_appliance *appliances;
	size_t nappliances, appliances_room;
	char **misnamed; /* files beside those of sessions that are taken for none. Owned */
	size_t nmisnamed;
	/* Devices at which this host has an address of its own; link-local ones don't count, which
	 * every device has that is up. */
	struct ifindexes addressed;
	bool bridge_conntrack; /* bridges hand IP to the packet filter, and that to conntrack */
	bool probed;	       /* the following are known */
	bool lacks_mirred, lacks_clsact, lacks_bpf;
};

/*
 * Looks at the devices of the plan's sessions. root: as for store_open(); NetworkManager's files
 * are looked for below it, and count only while a process of that name runs. To be freed.
 * What this kernel can do is tried in a network namespace of its own that ends with the call;
 * probed is false where none can be made.
 */
int facts_gather(const struct plan *plan, const struct host *host, const char *root,
		 struct facts *facts, struct err *e);
/* facts_fight.c: the events say it. */
int facts_gather_fights(const char *root, struct facts *facts, struct err *e);
/* facts_inline.c: sends a few probes through each appliance (house: bpf/pin.h). */
int facts_gather_appliances(const char *house, const struct plan *plan, const struct host *host,
			    struct facts *facts, struct err *e);
const struct fact_appliance *facts_appliance(const struct facts *facts, const char *session);
void facts_free(struct facts *facts); /* also for cleanup() */

/* What is known of a device; NULL: nothing. */
const struct fact_device *facts_device(const struct facts *facts, int ifindex);

#endif
