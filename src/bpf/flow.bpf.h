/* SPDX-License-Identifier: MIT */
/* A frame's flow, as a number that is the same for both directions of a conversation. */
#ifndef BPF_FLOW_BPF_H
#define BPF_FLOW_BPF_H

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define HASH_MULTIPLIER 0x9e3779b97f4a7c15ULL

/* Headers of IPv6 that stand in front of the transport's (RFC 8200 section 4.1), by number. */
enum { HEADER_HOP = 0, HEADER_ROUTING = 43, HEADER_FRAGMENT = 44, HEADER_DESTINATION = 60 };

struct flow_vlan {
	__be16 tci, kind;
};

struct flow_ipv4 {
	__u8 version_length, tos;
	__be16 length, id, fragment;
	__u8 ttl, protocol;
	__be16 sum;
	__be32 from, to;
};

struct flow_ipv6 {
	__be32 version;
	__be16 length;
	__u8 next, hops;
	__u64 from[2], to[2];
};

struct flow_ports {
	__be16 from, to;
};

static __always_inline __u64 mix(__u64 x)
{
	x *= HASH_MULTIPLIER;
	x ^= x >> 32;
	x *= HASH_MULTIPLIER;
	return x ^ x >> 29;
}

/* Tunnels choose a source port for each flow inside and direction: what they have in common is the
 * addresses (RFC 7348 section 5, RFC 8926 section 3.3). */
static __always_inline int tunnel_port(__be16 port)
{
	return port == bpf_htons(4789) || port == bpf_htons(6081) || port == bpf_htons(8472);
}

/* Two ends, in either order. */
static __always_inline __u64 both(__u64 one, __u64 other, __u64 protocol)
{
	return mix(mix(one) + mix(other) + protocol);
}

/* With ports where the protocol has any at this place of the frame. */
static __always_inline __u64 with_ports(struct __sk_buff *skb, __u32 at, __u8 protocol, __u64 from,
					__u64 to)
{
	struct flow_ports ports = {};

	if ((protocol == IPPROTO_TCP || protocol == IPPROTO_UDP || protocol == IPPROTO_SCTP ||
	     protocol == IPPROTO_UDPLITE || protocol == IPPROTO_DCCP) &&
	    bpf_skb_load_bytes(skb, at, &ports, sizeof(ports)) == 0 &&
	    !(protocol == IPPROTO_UDP && (tunnel_port(ports.from) || tunnel_port(ports.to)))) {
		from = mix(from) + ports.from;
		to = mix(to) + ports.to;
	}
	return both(from, to, protocol);
}

static __always_inline __u64 flow_of_ipv4(struct __sk_buff *skb, __u32 at)
{
	struct flow_ipv4 ip;

	if (bpf_skb_load_bytes(skb, at, &ip, sizeof(ip)) < 0)
		return 0;
	/* Only the first fragment has ports: all of them go by the addresses. */
	if (ip.fragment & bpf_htons(0x3fff))
		return both(ip.from, ip.to, ip.protocol);
	return with_ports(skb, at + (ip.version_length & 15) * 4U, ip.protocol, ip.from, ip.to);
}

static __always_inline __u64 flow_of_ipv6(struct __sk_buff *skb, __u32 at)
{
	struct flow_ipv6 ip;
	__u64 from, to;
	__u8 next;

	if (bpf_skb_load_bytes(skb, at, &ip, sizeof(ip)) < 0)
		return 0;
	from = mix(ip.from[0]) + ip.from[1];
	to = mix(ip.to[0]) + ip.to[1];
	next = ip.next;
	at += sizeof(ip);
#pragma unroll
	for (int i = 0; i < 4; i++) {
		struct {
			__u8 next, length;
		} header;

		if (next != HEADER_HOP && next != HEADER_ROUTING && next != HEADER_DESTINATION &&
		    next != HEADER_FRAGMENT)
			break;
		if (bpf_skb_load_bytes(skb, at, &header, sizeof(header)) < 0)
			return both(from, to, 0);
		if (next == HEADER_FRAGMENT)
			return both(from, to, header.next);
		next = header.next;
		at += (header.length + 1U) * 8;
	}
	return with_ports(skb, at, next, from, to);
}

/* What is no IP goes by the Ethernet addresses. */
static __always_inline __u64 flow_of(struct __sk_buff *skb)
{
	struct ethhdr eth;
	__u64 from = 0, to = 0;
	__be16 kind;
	__u32 at = sizeof(eth);

	if (bpf_skb_load_bytes(skb, 0, &eth, sizeof(eth)) < 0)
		return 0;
	kind = eth.h_proto;
#pragma unroll
	for (int i = 0; i < 2; i++) {
		struct flow_vlan vlan;

		if (kind != bpf_htons(ETH_P_8021Q) && kind != bpf_htons(ETH_P_8021AD))
			break;
		if (bpf_skb_load_bytes(skb, at, &vlan, sizeof(vlan)) < 0)
			break;
		kind = vlan.kind;
		at += sizeof(vlan);
	}
	if (kind == bpf_htons(ETH_P_IP))
		return flow_of_ipv4(skb, at);
	if (kind == bpf_htons(ETH_P_IPV6))
		return flow_of_ipv6(skb, at);
	__builtin_memcpy(&from, eth.h_source, ETH_ALEN);
	__builtin_memcpy(&to, eth.h_dest, ETH_ALEN);
	return both(from, to, kind);
}

#endif
