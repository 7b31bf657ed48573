/* SPDX-License-Identifier: MIT */
/*
 * At a destination's egress: makes a copy that is on its way there as short as its session wants.
 * What else goes there passes. The kernel cuts no further than behind a checksum that is still to
 * be filled in, and nothing that it has put into a tunnel itself (net/core/filter.c,
 * __bpf_skb_change_tail): then the copy is cut where it can be, or goes whole.
 */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#include "bpf/copy.h"

#define TCX_NEXT -1 /* Linux 6.6; TC_ACT_UNSPEC before */
#define VLAN_TAG 4

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct copy_cut);
} cut SEC(".maps");

SEC("tc")
int cut_copy(struct __sk_buff *skb)
{
	__u32 zero = 0, len;
	struct copy_cut *cutting = bpf_map_lookup_elem(&cut, &zero);

	if (!cutting || cutting->to != skb->ifindex)
		return TCX_NEXT;
	cutting->to = 0;
	len = cutting->snap - (skb->vlan_present ? VLAN_TAG : 0);
	for (int i = 0; i < 4 && len < skb->len; i++) {
		if (bpf_skb_change_tail(skb, len, 0) == 0)
			break;
		len *= 2;
	}
	return TCX_NEXT;
}

char licence[] SEC("license") = "MIT";
