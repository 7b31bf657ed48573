/* SPDX-License-Identifier: MIT */
/* Selectors name what is mirrored, and where to: vm:web1, vm:web1/0, port:vnet*, bridge:br0, mac:…
 */
#ifndef PORTMIRROR_SELECTOR_H
#define PORTMIRROR_SELECTOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;
struct nl_links;
struct vms;

enum selector_kind { SELECTOR_VM, SELECTOR_PORT, SELECTOR_BRIDGE, SELECTOR_MAC };

struct selector {
	enum selector_kind kind;
	char *text;   /* as it was given; owned */
	char *name;   /* the VM's name, the device or its glob, the bridge; owned; NULL for mac: */
	int nic;      /* vm:NAME/N; -1: all */
	bool has_mac; /* vm:NAME/MAC, mac:… */
	uint8_t mac[6];
};

/*
 * vm:NAME | vm:NAME/N | vm:NAME/MAC | port:NAME-OR-GLOB | bridge:NAME | mac:XX:XX:XX:XX:XX:XX
 * A VM's name may hold any printable UTF-8, also '/' (what follows the last one counts as a NIC
 * only if it is a number or a MAC). Device names as the kernel has them: 1 to 15 bytes, no '/',
 * no white space, no ':'; globs are those of fnmatch(3) and may be longer. lo is refused, and no
 * glob means it: no machine is behind it.
 */
#define SELECTOR_MAX 255 /* bytes */
int selector_parse(const char *text, struct selector *selector, struct err *e);
void selector_free(struct selector *selector);
/* The same kind, name, NIC and address, however they are written. */
bool selector_equal(const struct selector *a, const struct selector *b);

/* True for port: without a glob, mac: and vm:…/N, which can only ever mean one device. */
bool selector_single(const struct selector *selector);

/*
 * The devices that it means now, as ifindexes in rising order, each once: added to *found; none is
 * no error. vm: means the machine of that name, UUID or Proxmox id. A bridge means its ports;
 * -ENOTDIR where the device is no bridge. mac: means the port of the VM's NIC that has it, or, if
 * none has, the device with that address (not the bridge that borrows it from a port). Two VMs of
 * the same name, or two devices of one address, are ambiguous: -ENOTUNIQ with a sentence.
 */
struct ifindexes {
	int *items;
	size_t count, room;
};
int selector_resolve(const struct selector *selector, const struct nl_links *links,
		     const struct vms *vms, struct ifindexes *found, struct err *e);
void ifindexes_free(struct ifindexes *list);
bool ifindexes_have(const struct ifindexes *list, int ifindex);
/* Keeps it sorted and each once. */
int ifindexes_add(struct ifindexes *list, int ifindex);

#endif
