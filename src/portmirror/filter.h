/* SPDX-License-Identifier: MIT */
/* pcap-filter(7) expressions as classic BPF for cls_bpf and packet sockets. */
#ifndef PORTMIRROR_FILTER_H
#define PORTMIRROR_FILTER_H

#include <linux/filter.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf;
struct err;
struct pcap; /* libpcap's pcap_t */

struct bytecode {
	struct sock_filter *code; /* owned */
	uint16_t count;
};

/*
 * Compiles expression (NULL: every frame) with libpcap for Ethernet, as the kernel shows frames to
 * a classifier: the outer VLAN tag may stand in the frame or beside it, and "vlan" finds both.
 * A frame that matches gets the value 0xffffffff, which cls_bpf takes for "matches, no class".
 * A wrong expression: -EINVAL and libpcap's own words. So is one with the name of a host or a
 * network: nobody is asked what it means.
 */
int filter_compile(const char *expression, struct bytecode *out, struct err *e);

/*
 * The same for one of several expressions: what libpcap compiles by is opened for the first that
 * needs it, and stays so until it is closed, which takes two of the kernel's RCU grace periods,
 * tens of milliseconds (packet_release(), net/packet/af_packet.c). All zero: not open yet.
 */
struct filter_compiler {
	struct pcap *handle;
	bool live;
};

int filter_compile_by(struct filter_compiler *c, const char *expression, struct bytecode *out,
		      struct err *e);
void filter_compiler_close(struct filter_compiler *c); /* also for cleanup() */

/* The form that tc(8) and iptables take: "2,40 0 0 12,6 0 0 4294967295". */
void bytecode_text(const struct sock_filter *code, size_t count, struct buf *out);

/* The kernel keeps the code as it was sent: equal hashes are equal filters (see tc_filter). */
uint64_t bytecode_hash(const struct sock_filter *code, size_t count);

void bytecode_free(struct bytecode *code); /* also for cleanup() */

#endif
