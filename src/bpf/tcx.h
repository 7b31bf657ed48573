/* SPDX-License-Identifier: MIT */
/*
 * tcx (Linux 6.6): programs at a device's ingress and egress, in front of traffic control, without
 * any qdisc. A link holds a program there as long as the link is held, by a descriptor or a pin;
 * only BPF_LINK_DETACH takes it away before that, or the end of the device.
 *
 * Programs return TCX_NEXT for "go on with the next". Frames at both hooks begin with the Ethernet
 * header. For kernels without tcx see TC_MATCH_PROGRAM with no action (direct-action) in
 * netlink/tc.h: there TCX_NEXT's value is TC_ACT_UNSPEC, which goes on as well.
 */
#ifndef BPF_TCX_H
#define BPF_TCX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;

/* 1: the kernel has it; 0: it hasn't, or this process may not ask (CAP_NET_ADMIN); -ENOMEM: that
 * can't be told now. */
int tcx_known(struct err *e);

/* Attaches the program in front of all others at that hook; or just behind the one with the id
 * behind, if that isn't 0. Returns the link's descriptor, which is the caller's. -ENODEV: no such
 * device. */
int tcx_attach(int program_fd, int ifindex, bool egress, uint32_t behind, struct err *e);

/* Exchanges the program of a link in one step: no frame is missed. */
int tcx_replace(int link_fd, int program_fd, struct err *e);

struct tcx_link {
	uint32_t id, program;
	int ifindex; /* 0: detached (its device is gone, or by force) */
	bool egress;
};
/* -ENOTSUP: a link, but none of tcx. */
int tcx_look(int link_fd, struct tcx_link *link);

/* The ids of the programs at a hook, in the order in which they run, whoever attached them. Returns
 * their number (more than room: the rest isn't told), or a negative errno. */
int tcx_programs(int ifindex, bool egress, uint32_t *ids, size_t room);

#endif
