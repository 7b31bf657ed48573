// SPDX-License-Identifier: MIT
/*
 * An appliance in the path of guarded machines, as four programs at traffic-control hooks (tcx, or
 * clsact as direct action; both take the same answers).
 *
 *     machine ── P ─┬─ bridge ── the network
 *                   A (inside)  appliance  B (outside)
 *
 * from_machine (P, ingress)  leads what the machine sends into A
 * from_outside (B, ingress)  puts what comes out into P's ingress: the bridge takes it as from P
 * to_machine   (P, egress)   leads what the bridge sends to the machine into B
 * from_inside  (A, ingress)  sends what comes out to the machine that it is for
 *
 * Nothing loops, whatever the appliance sends: what comes out of A goes to a machine and nowhere
 * else, what comes out of B enters the bridge once, as from the machine whose address it bears, or
 * not at all; and to_machine leads in nothing that entered by a guarded port or by A.
 *
 * In front of the programs of P (section "guarded") stands the session's filter: skb->cb[0] tells
 * whether it takes the frame.
 */
#include <linux/bpf.h>
#include <linux/errno.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "bpf/inline.h"

/* On to the next program, and into the stack: TCX_NEXT and TC_ACT_UNSPEC are one number. */
#define NEXT TC_ACT_UNSPEC
#define DROP TC_ACT_SHOT

/* A bridge floods a frame in one go, on one CPU. */
#define FLOOD_NS 50000000ull
#define HEAD	 64
#define ARP_LEN	 42 /* the shortest frame that is flooded often */

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct inline_state);
} state SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct inline_health);
} health SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, INLINE_WAYS);
	__type(key, __u32);
	__type(value, struct inline_probe_seen);
} probes SEC(".maps");

/* The guarded ports; the value has no meaning. Where a program hangs on another, that can't be led:
 * it is as if the appliance were gone. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, INLINE_PORTS_MAX);
	__type(key, __u32);
	__type(value, __u32);
} ports SEC(".maps");

/* Learned as a bridge learns: the newest port that sent with the address. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, INLINE_MACS_MAX);
	__type(key, struct inline_mac);
	__type(value, __u32);
} macs SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, INLINE_COUNTS);
	__type(key, __u32);
	__type(value, struct inline_count);
} counts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct inline_flood);
} flood SEC(".maps");

static __always_inline void count(const struct __sk_buff *skb, __u32 what)
{
	struct inline_count *c = bpf_map_lookup_elem(&counts, &what);

	if (c) {
		c->frames++;
		c->bytes += skb->len;
	}
}

static __always_inline const struct inline_state *get_state(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&state, &zero);
}

/* A guarded port that has the address; 0: none. */
static __always_inline __u32 port_of(const struct inline_mac *mac)
{
	const __u32 *port = bpf_map_lookup_elem(&macs, mac);

	return port && bpf_map_lookup_elem(&ports, port) ? *port : 0;
}

struct addresses {
	struct inline_mac to, from;
};

/*
 * In one piece: without CAP_PERFMON the verifier of Linux 6.1 takes no part of a word on the stack
 * into which a number of known range was written before ("attempt to corrupt spilled pointer").
 */
static __always_inline int address_at(struct __sk_buff *skb, __u32 at, struct inline_mac *mac)
{
	__u64 word;

	if (bpf_skb_load_bytes(skb, at, &word, sizeof(word)) < 0)
		return -1;
	word &= bpf_cpu_to_be64(0xffffffffffff0000ull);
	__builtin_memcpy(mac, &word, sizeof(word));
	return 0;
}

static __always_inline int addresses_of(struct __sk_buff *skb, struct addresses *a)
{
	return address_at(skb, 0, &a->to) < 0 ? -1 : address_at(skb, ETH_ALEN, &a->from);
}

static __always_inline int is_group(const struct inline_mac *mac)
{
	return mac->address[0] & 1;
}

/* 01:80:c2:00:00:0x: what stations of one link say to each other (IEEE 802.1Q, table 8-1). */
static __always_inline int is_link_local(const struct inline_mac *mac)
{
	const __u8 *a = mac->address;

	return a[0] == 0x01 && a[1] == 0x80 && a[2] == 0xc2 && !a[3] && !a[4] && a[5] < 0x10;
}

/* Where a frame goes that is to be led in: its answer where the appliance can't have it, else 1. */
static __always_inline int unable(struct __sk_buff *skb, const struct inline_state *s, __u32 into)
{
	__u32 zero = 0, length = 0, other = into == s->inside ? s->outside : s->inside;
	__u32 port = skb->ifindex;
	const struct inline_health *h = bpf_map_lookup_elem(&health, &zero);
	int gone, fits;

	if (h && h->failure && s->open) {
		count(skb, INLINE_STRAIGHT);
		return NEXT;
	}
	/* The one thing about another device that a program can ask for: is there one? */
	gone = !bpf_map_lookup_elem(&ports, &port) ||
	       bpf_check_mtu(skb, other, &length, 0, 0) == -ENODEV;
	length = 0;
	fits = bpf_check_mtu(skb, into, &length, 0, 0);
	if (gone || fits == -ENODEV) {
		count(skb, s->open ? INLINE_STRAIGHT : INLINE_STOPPED);
		return s->open ? NEXT : DROP;
	}
	if (fits == BPF_MTU_CHK_RET_FRAG_NEEDED)
		count(skb, INLINE_TOO_LONG);
	return 1;
}

SEC("guarded")
int from_machine(struct __sk_buff *skb)
{
	const struct inline_state *s = get_state();
	__u32 port = skb->ifindex;
	const __u32 *had;
	struct addresses a;
	int answer;

	if (skb->mark & INLINE_MARK) {
		skb->mark &= ~INLINE_MARK;
		return NEXT;
	}
	if (!s || addresses_of(skb, &a) < 0)
		return NEXT;
	had = bpf_map_lookup_elem(&macs, &a.from);
	if ((!had || *had != port) && !is_group(&a.from) && bpf_map_lookup_elem(&ports, &port))
		bpf_map_update_elem(&macs, &a.from, &port, BPF_ANY);
	if (!skb->cb[0]) {
		count(skb, INLINE_UNMATCHED);
		return NEXT;
	}
	if (s->direct && !is_group(&a.to) && bpf_map_lookup_elem(&ports, &port) && port_of(&a.to)) {
		count(skb, INLINE_DIRECT);
		return NEXT;
	}
	answer = unable(skb, s, s->inside);
	if (answer != 1)
		return answer;
	count(skb, INLINE_LED_OUT);
	return bpf_redirect(s->inside, 0);
}

/* The same frame is leaving by another guarded port already: a bridge floods it. */
static __always_inline int is_flooded_already(struct __sk_buff *skb)
{
	struct inline_flood *f;
	__u64 hash = ((__u64)skb->ingress_ifindex << 32) ^ skb->len, now = bpf_ktime_get_ns();
	__u64 head[HEAD / 8];
	__u32 zero = 0;

	/* Lengths that the verifier of Linux 6.1 need not follow. A load that fails leaves zeros.
	 */
	if (bpf_skb_load_bytes(skb, 0, head, HEAD) < 0 &&
	    bpf_skb_load_bytes(skb, 0, head, ARP_LEN) < 0 &&
	    bpf_skb_load_bytes(skb, 0, head, ETH_HLEN) < 0)
		return 0;
#pragma unroll
	for (int i = 0; i < HEAD / 8; i++) {
		hash = (hash ^ head[i]) * 0x9e3779b97f4a7c15ull;
		hash ^= hash >> 32;
	}
	f = bpf_map_lookup_elem(&flood, &zero);
	if (!f)
		return 0;
	if (f->frame == hash && f->port != skb->ifindex && now - f->time < FLOOD_NS)
		return 1;
	f->frame = hash;
	f->port = skb->ifindex;
	f->time = now;
	return 0;
}

SEC("guarded")
int to_machine(struct __sk_buff *skb)
{
	const struct inline_state *s = get_state();
	__u32 entered = skb->ingress_ifindex, port;
	struct addresses a;
	int answer;

	if (!s || entered == s->inside)
		return NEXT;
	if (entered && bpf_map_lookup_elem(&ports, &entered))
		return NEXT; /* another guarded machine's: it has been through, if it had to */
	if (!skb->cb[0]) {
		count(skb, INLINE_UNMATCHED);
		return NEXT;
	}
	if (addresses_of(skb, &a) < 0 || (!entered && is_link_local(&a.to)))
		return NEXT; /* the bridge's own word to this port alone: STP, LLDP */
	answer = unable(skb, s, s->outside);
	if (answer != 1)
		return answer;
	port = is_group(&a.to) ? 0 : port_of(&a.to);
	if (port ? port != skb->ifindex : is_flooded_already(skb))
		return DROP; /* it is led in at another port */
	count(skb, INLINE_LED_IN);
	return bpf_redirect(s->outside, 0);
}

/* True for a probe of this session, which ends here. side: the way that ends at this port. */
static __always_inline int is_probe(struct __sk_buff *skb, const struct inline_state *s, int inside)
{
	struct inline_probe p;
	struct inline_probe_seen *seen;
	__u32 way;

	if (skb->protocol != bpf_htons(INLINE_PROBE_TYPE) ||
	    bpf_skb_load_bytes(skb, 0, &p, sizeof(p)) < 0 || p.magic != INLINE_PROBE_MAGIC ||
	    p.key != s->key)
		return 0;
	way = p.way;
	if (inside != (way == INLINE_INWARD))
		return 1; /* an echo */
	seen = bpf_map_lookup_elem(&probes, &way);
	if (seen && p.sent > seen->sent) {
		seen->sent = p.sent;
		seen->arrived = bpf_ktime_get_ns();
		seen->count++;
	}
	return 1;
}

SEC("tc")
int from_outside(struct __sk_buff *skb)
{
	const struct inline_state *s = get_state();
	struct addresses a;
	__u32 port;

	if (!s || addresses_of(skb, &a) < 0 || is_probe(skb, s, 0))
		return DROP;
	port = port_of(&a.from);
	if (!port) {
		count(skb, INLINE_STRANGERS);
		return DROP;
	}
	count(skb, INLINE_BACK_OUT);
	skb->mark |= INLINE_MARK;
	return bpf_redirect(port, BPF_F_INGRESS);
}

struct spread {
	struct __sk_buff *skb;
	__u32 except;
};

static long send_to(void *map, const __u32 *port, const __u32 *value, struct spread *spread)
{
	(void)map;
	(void)value;
	if (*port != spread->except)
		bpf_clone_redirect(spread->skb, *port, 0);
	return 0;
}

static __always_inline __u64 number_of(const struct inline_mac *mac)
{
	__u64 number;

	__builtin_memcpy(&number, mac, sizeof(number));
	return number;
}

static __always_inline int is_own(const struct inline_state *s, const struct inline_mac *mac)
{
	return number_of(mac) == number_of(&s->own[0]) || number_of(mac) == number_of(&s->own[1]);
}

SEC("tc")
int from_inside(struct __sk_buff *skb)
{
	const struct inline_state *s = get_state();
	struct spread spread = {.skb = skb};
	struct addresses a;
	__u32 port;

	if (!s || addresses_of(skb, &a) < 0 || is_probe(skb, s, 1))
		return DROP;
	if (is_own(s, &a.from)) {
		count(skb, INLINE_STRANGERS);
		return DROP;
	}
	spread.except = port_of(&a.from);
	port = is_group(&a.to) ? 0 : port_of(&a.to);
	if (port && port == spread.except) {
		count(skb, INLINE_ECHOES);
		return DROP;
	}
	count(skb, INLINE_BACK_IN);
	if (port)
		return bpf_redirect(port, 0);
	bpf_for_each_map_elem(&ports, send_to, &spread, 0);
	return DROP;
}

/* MIT allows it, and bpf_check_mtu() wants a licence that goes with the GPL. */
char licence[] SEC("license") = "Dual MIT/GPL";
