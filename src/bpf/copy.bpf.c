/* SPDX-License-Identifier: MIT */
/*
 * Copies what a port's machine sends, or receives, as the session's config says. The frame itself
 * goes on as it came. A session's filter stands in front as a program of its own, and calls one of
 * these at its end.
 */
#include <linux/bpf.h>
#include <stddef.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "bpf/copy.h"
#include "bpf/flow.bpf.h"

#define TCX_NEXT      -1 /* Linux 6.6; TC_ACT_UNSPEC before */
#define HEAD_LEN      64
#define IP_HEAD	      20 /* the least that an IPv4 header has */
#define IPV6_HEAD     40
#define SAME_FRAME_NS 50000000 /* a bridge floods in microseconds; a virtual CPU may be held up */
#define BURST_NS      10000000 /* of a rate's budget, that may be used at once */
#define LARGEST	      65551    /* a super-frame: fits in any budget */
#define VLAN_TAG      4
#define SAMPLE_SEED   0x53616d706c65ULL /* what is sampled tells nothing of how it is balanced */

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct copy_config);
} config2 SEC(".maps");

/* When the budget will have been earned that has been used: the one value is a time in ns. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} budget SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, 2 * COPY_PORTS_MAX);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct copy_port);
	__type(value, struct copy_count);
} ports SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_PERCPU_HASH);
	__uint(max_entries, 1024);
	__type(key, struct copy_once_key);
	__type(value, struct copy_once);
} once SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct copy_cut);
} cut SEC(".maps");

/*
 * The frame's length without the padding of a short IP packet: br_netfilter cuts that off between
 * one port and the next (net/bridge/br_netfilter_hooks.c, br_validate_ipv4).
 */
static __always_inline __u32 measure(const struct __sk_buff *skb, const __u8 *head)
{
	__be16 kind = *(const __be16 *)(const void *)(head + 12);
	__u32 len = skb->len, ip;

	if (len < ETH_HLEN + IP_HEAD)
		return len;
	if (kind == bpf_htons(ETH_P_IP))
		ip = bpf_ntohs(*(const __be16 *)(const void *)(head + ETH_HLEN + 2));
	else if (kind == bpf_htons(ETH_P_IPV6))
		ip = IPV6_HEAD + bpf_ntohs(*(const __be16 *)(const void *)(head + ETH_HLEN + 4));
	else
		return len;
	/* A length of 0 stands for one beyond 64 KiB; one below a header's is nonsense. */
	return ip >= IP_HEAD && ETH_HLEN + ip < len ? ETH_HLEN + ip : len;
}

/* Loads the first bytes of a frame, as many as it has of them, behind which is nothing. */
static __always_inline int load_head(struct __sk_buff *skb, __u64 *words, __u32 len)
{
	for (int i = 0; i < HEAD_LEN / 8; i++)
		words[i] = 0;
	if (len > HEAD_LEN)
		len = HEAD_LEN;
	/* The verifier of Linux 6.1 doesn't learn from a comparison with 0 that something is at
	 * least 1; and clang would leave out what tells it. (0 becomes more than there is.) */
	barrier_var(len);
	len = ((len - 1) & (HEAD_LEN - 1)) + 1;
	return bpf_skb_load_bytes(skb, 0, words, len);
}

/* What tells this frame from others: its first bytes, its length, and where it entered the host. 0:
 * it can't be told. (Global functions are verified once, wherever they are called from.) */
__noinline __u64 identify(struct __sk_buff *skb, __u64 key)
{
	__u64 words[HEAD_LEN / 8];
	__u32 len;
	__u64 hash;

	if (load_head(skb, words, skb->len) < 0)
		return 0;
	len = measure(skb, (const __u8 *)words);
	if (len != skb->len && len < HEAD_LEN && load_head(skb, words, len) < 0)
		return 0;
	hash = (__u64)skb->ingress_ifindex << 32 ^ len;
	for (int i = 0; i < HEAD_LEN / 8; i++) {
		/* What a difference between two frames becomes is known to nobody, so that none can
		 * be made up for by the next word. (Odd: each value leads to another.) */
		hash = (hash ^ words[i]) * (key | 1);
		hash ^= hash >> 32;
	}
	return hash ? hash : 1;
}

/* True where another hook copied this frame a moment ago; otherwise this hook has from now on. */
__noinline int copied_elsewhere(__u32 to, __u32 session, __u64 frame, __u64 place)
{
	struct copy_once_key key = {.to = to, .session = session};
	struct copy_once *last = bpf_map_lookup_elem(&once, &key), first = {};
	__u64 now = bpf_ktime_get_ns();

	if (!last) {
		first.frame = frame;
		first.place = place;
		first.time = now;
		bpf_map_update_elem(&once, &key, &first, BPF_ANY);
		return 0;
	}
	if (last->frame == frame && last->place != place && now - last->time <= SAME_FRAME_NS)
		return 1;
	last->frame = frame;
	last->place = place;
	last->time = now;
	return 0;
}

__noinline __u64 flow_number(struct __sk_buff *skb)
{
	return flow_of(skb);
}

static __always_inline int sampled(struct __sk_buff *skb, const struct copy_config *c)
{
	__u32 number = c->flags & COPY_SAMPLE_FLOWS
			       ? (__u32)(mix(flow_number(skb) ^ SAMPLE_SEED) >> 32)
			       : bpf_get_prandom_u32();

	return number < c->sample;
}

/* A budget that fills as time goes by, shared by all CPUs. */
__noinline int affordable(__u32 rate, __u32 bytes)
{
	__u64 price, depth;
	__u64 now = bpf_ktime_get_ns();
	__u32 zero = 0;
	__u64 *spent = bpf_map_lookup_elem(&budget, &zero);

	if (!spent || !rate)
		return 0;
	price = (__u64)bytes * 8000 / rate;
	depth = (__u64)LARGEST * 8000 / rate;
	if (depth < BURST_NS)
		depth = BURST_NS;
#pragma unroll
	for (int i = 0; i < 4; i++) {
		__u64 was = *spent, then = was > now ? was : now;

		if (then + price > now + depth)
			return 0;
		if (__sync_val_compare_and_swap(spent, was, then + price) == was)
			return 1;
	}
	return 0; /* four other CPUs were quicker */
}

/* The flow's destination, of those that are there: the one with the highest score of its own, so
 * that one that goes or comes moves no flow between the others. 0: none. (Unrolled: without
 * CAP_PERFMON nobody may add a variable to a pointer into a map, kernel/bpf/verifier.c,
 * sanitize_ptr_alu.) */
__noinline __u32 balanced(struct __sk_buff *skb)
{
	__u64 flow = flow_number(skb), best = 0;
	__u32 chosen = 0, zero = 0;
	const struct copy_config *c = bpf_map_lookup_elem(&config2, &zero);

	if (!c)
		return 0;
#pragma unroll
	for (__u32 i = 0; i < COPY_TO_MAX; i++) {
		__u64 score = mix(flow ^ (__u64)c->to[i].seed << 32 ^ c->to[i].seed);

		if (i >= c->to_count)
			break;
		if (c->to[i].ifindex == 0 || (chosen && score <= best))
			continue;
		best = score;
		chosen = c->to[i].ifindex;
	}
	return chosen;
}

__noinline int send(struct __sk_buff *skb, __u32 to, struct copy_count *count)
{
	__u32 zero = 0, bytes = skb->len + (skb->vlan_present ? VLAN_TAG : 0);
	const struct copy_config *c = bpf_map_lookup_elem(&config2, &zero);
	struct copy_cut *cutting = NULL, outer = {};
	int done;

	if (!c)
		return 0;
	if (c->snap != 0 && c->snap < bytes) {
		bytes = c->snap;
		cutting = bpf_map_lookup_elem(&cut, &zero);
	}
	if (c->rate != 0 && !affordable(c->rate, bytes)) {
		if (count)
			count->shed++;
		return 0;
	}
	if (cutting) {
		outer = *cutting;
		cutting->to = to;
		cutting->snap = c->snap;
	}
	done = to && bpf_clone_redirect(skb, to, 0) == 0;
	if (count && done) {
		count->frames++;
		count->bytes += bytes;
	} else if (count) {
		count->lost++;
	}
	if (cutting)
		*cutting = outer;
	return 0;
}

/* NULL: there is no room, or no memory at hand (kernel/bpf/memalloc.c fetches it a little at a
 * time). What can't be counted is copied all the same. */
static __always_inline struct copy_count *counters(__u32 ifindex, __u32 received)
{
	struct copy_port port = {.ifindex = ifindex, .received = received};
	struct copy_count *count = bpf_map_lookup_elem(&ports, &port), none = {};

	if (count)
		return count;
	bpf_map_update_elem(&ports, &port, &none, BPF_NOEXIST);
	return bpf_map_lookup_elem(&ports, &port);
}

/* To all destinations, but where another hook was quicker; which also tells of a frame whose
 * destination isn't there that it is lost already. */
static __always_inline void send_all(struct __sk_buff *skb, const struct copy_config *c,
				     __u64 frame, __u64 place, struct copy_count *count)
{
#pragma unroll
	for (__u32 i = 0; i < COPY_TO_MAX; i++) {
		__u32 to = c->to[i].ifindex;

		if (i >= c->to_count)
			break;
		if (!frame || !copied_elsewhere(to, to ? 0 : c->session, frame, place))
			send(skb, to, count);
	}
}

static __always_inline int copy(struct __sk_buff *skb, __u32 received)
{
	__u32 zero = 0, only;
	const struct copy_config *c = bpf_map_lookup_elem(&config2, &zero);
	struct copy_count *count;
	__u64 frame = 0, place = 0;

	if (!c)
		return TCX_NEXT;
	if (c->flags & COPY_ONCE) {
		frame = identify(skb, c->key);
		place = (__u64)c->session << 32 | skb->ifindex << 1 | received;
	}
	if (frame && (c->flags & COPY_ALONE)) {
		if (copied_elsewhere(0, c->session, frame, place))
			return TCX_NEXT;
		frame = 0;
	}
	if (c->sample && !sampled(skb, c))
		return TCX_NEXT;
	count = counters(skb->ifindex, received);
	if (!(c->flags & COPY_BALANCE)) {
		send_all(skb, c, frame, place, count);
		return TCX_NEXT;
	}
	only = balanced(skb);
	if (!frame || !copied_elsewhere(only, only ? 0 : c->session, frame, place))
		send(skb, only, count);
	return TCX_NEXT;
}

SEC("tc")
int copy_sent(struct __sk_buff *skb)
{
	return copy(skb, 0);
}

SEC("tc")
int copy_received(struct __sk_buff *skb)
{
	return copy(skb, 1);
}

char licence[] SEC("license") = "MIT";
