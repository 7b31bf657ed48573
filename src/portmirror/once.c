/* SPDX-License-Identifier: MIT */
#include "portmirror/once.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/hash.h"
#include "base/mem.h"
#include "portmirror/filter.h"
#include "portmirror/insn.h"

/*
 * Registers: R6 holds the context all along (BPF_LD_ABS demands it). The filter keeps its
 * accumulator in R0 and its index in R7; the second half uses R7 to R9 as it likes.
 * Stack, downwards from the frame pointer: the filter's 16 words, the head of the frame, a key.
 */
enum {
	ACC = BPF_REG_0,
	CTX = BPF_REG_6,
	IDX = BPF_REG_7,
	SAVED = BPF_REG_8,
	WORDS = -64,
	HEAD_LEN = 64,
	HEAD = WORDS - HEAD_LEN,
	KEY = HEAD - 8,
	IP_HEAD = 20, /* the least that an IPv4 header has */
	IPV6_HEAD = 40,
};

#define SAME_FRAME_NS  50000000 /* a bridge floods in microseconds; a virtual CPU may be held up */
#define CTX_AT(field)  ((int16_t)offsetof(struct __sk_buff, field))
#define CELL_AT(field) ((int16_t)offsetof(struct once_cell, field))

/* What the filter asks of the frame's surroundings, where the context has it. */
static int ancillary(struct insns *p, uint32_t k)
{
	static const struct {
		int32_t ancillary;
		int16_t at;
		bool swap;
	} fields[] = {
		{SKF_AD_PROTOCOL, CTX_AT(protocol), true},
		{SKF_AD_IFINDEX, CTX_AT(ifindex), false},
		{SKF_AD_MARK, CTX_AT(mark), false},
		{SKF_AD_QUEUE, CTX_AT(queue_mapping), false},
		{SKF_AD_RXHASH, CTX_AT(hash), false},
		{SKF_AD_VLAN_TAG, CTX_AT(vlan_tci), false},
		{SKF_AD_VLAN_TAG_PRESENT, CTX_AT(vlan_present), false},
		{SKF_AD_VLAN_TPID, CTX_AT(vlan_proto), true},
	};

	for (size_t i = 0; i < COUNT(fields); i++) {
		if (k != (uint32_t)(SKF_AD_OFF + fields[i].ancillary))
			continue;
		insn_load(p, BPF_W, ACC, CTX, fields[i].at);
		if (fields[i].swap)
			insn_to_be16(p, ACC);
		return 0;
	}
	return -ENOTSUP;
}

static int16_t word(uint32_t k)
{
	return (int16_t)(WORDS + 4 * (int)(k & 15));
}

static int convert_load(struct insns *p, const struct sock_filter *f)
{
	uint8_t size = (uint8_t)BPF_SIZE(f->code);

	switch (BPF_MODE(f->code)) {
	case BPF_ABS:
		if (f->k >= (uint32_t)SKF_AD_OFF && f->k < (uint32_t)SKF_AD_OFF + SKF_AD_MAX)
			return ancillary(p, f->k);
		insn_emit(p, BPF_LD | BPF_ABS | size, 0, 0, 0, (int32_t)f->k);
		return 0;
	case BPF_IND:
		insn_emit(p, BPF_LD | BPF_IND | size, 0, IDX, 0, (int32_t)f->k);
		return 0;
	case BPF_IMM:
		insn_move32(p, ACC, (int32_t)f->k);
		return 0;
	case BPF_MEM:
		insn_load(p, BPF_W, ACC, BPF_REG_10, word(f->k));
		return 0;
	case BPF_LEN:
		insn_load(p, BPF_W, ACC, CTX, CTX_AT(len));
		return 0;
	default:
		return -ENOTSUP;
	}
}

static int convert_load_index(struct insns *p, const struct sock_filter *f)
{
	switch (BPF_MODE(f->code)) {
	case BPF_IMM:
		insn_move32(p, IDX, (int32_t)f->k);
		return 0;
	case BPF_MEM:
		insn_load(p, BPF_W, IDX, BPF_REG_10, word(f->k));
		return 0;
	case BPF_LEN:
		insn_load(p, BPF_W, IDX, CTX, CTX_AT(len));
		return 0;
	case BPF_MSH: /* X = 4 * (P[k] & 15), the length of an IPv4 header */
		insn_copy(p, SAVED, ACC);
		insn_emit(p, BPF_LD | BPF_ABS | BPF_B, 0, 0, 0, (int32_t)f->k);
		insn_alu32(p, BPF_AND, ACC, 15);
		insn_alu32(p, BPF_LSH, ACC, 2);
		insn_copy(p, IDX, ACC);
		insn_copy(p, ACC, SAVED);
		return 0;
	default:
		return -ENOTSUP;
	}
}

static int convert_alu(struct insns *p, const struct sock_filter *f)
{
	uint8_t op = (uint8_t)BPF_OP(f->code);

	if (op == BPF_NEG) {
		insn_emit(p, BPF_ALU | BPF_NEG, ACC, 0, 0, 0);
	} else if (BPF_SRC(f->code) == BPF_X) {
		if (op == BPF_DIV || op == BPF_MOD) /* classic BPF: a division by 0 rejects */
			insn_jump(p, BPF_JMP32 | BPF_JEQ | BPF_K, IDX, 0, LABEL_REJECT);
		insn_emit(p, (uint8_t)(BPF_ALU | op | BPF_X), ACC, IDX, 0, 0);
	} else {
		insn_alu32(p, op, ACC, (int32_t)f->k);
	}
	return 0;
}

static int convert_jump(struct insns *p, const struct sock_filter *f, size_t next)
{
	uint8_t op = (uint8_t)BPF_OP(f->code);

	if (op == BPF_JA) {
		insn_go(p, next + f->k);
		return 0;
	}
	if (BPF_SRC(f->code) == BPF_X)
		insn_jump_by(p, (uint8_t)(BPF_JMP32 | op | BPF_X), ACC, IDX, next + f->jt);
	else
		insn_jump(p, (uint8_t)(BPF_JMP32 | op | BPF_K), ACC, (int32_t)f->k, next + f->jt);
	if (f->jf)
		insn_go(p, next + f->jf);
	return 0;
}

static int convert_return(struct insns *p, const struct sock_filter *f)
{
	if (BPF_RVAL(f->code) == BPF_A) {
		insn_jump(p, BPF_JMP32 | BPF_JEQ | BPF_K, ACC, 0, LABEL_REJECT);
		insn_go(p, LABEL_ACCEPT);
	} else {
		insn_go(p, f->k ? LABEL_ACCEPT : LABEL_REJECT);
	}
	return 0;
}

/* Labels are the numbers of the filter's own steps; next is the one behind f. */
static int convert(struct insns *p, const struct sock_filter *f, size_t next)
{
	switch (BPF_CLASS(f->code)) {
	case BPF_LD:
		return convert_load(p, f);
	case BPF_LDX:
		return convert_load_index(p, f);
	case BPF_ST:
		insn_store(p, BPF_W, BPF_REG_10, ACC, word(f->k));
		return 0;
	case BPF_STX:
		insn_store(p, BPF_W, BPF_REG_10, IDX, word(f->k));
		return 0;
	case BPF_ALU:
		return convert_alu(p, f);
	case BPF_JMP:
		return convert_jump(p, f, next);
	case BPF_RET:
		return convert_return(p, f);
	default: /* BPF_MISC */
		if (BPF_MISCOP(f->code) == BPF_TAX)
			insn_copy(p, IDX, ACC);
		else
			insn_copy(p, ACC, IDX);
		return 0;
	}
}

/*
 * A classic filter in eBPF, as the kernel itself does it (net/core/filter.c, bpf_convert_filter):
 * BPF_LD_ABS and BPF_LD_IND exist there too, and reject a frame that is too short.
 */
static int filter_half(struct insns *p, const struct bytecode *filter)
{
	insn_copy(p, CTX, BPF_REG_1);
	if (filter->count == 1)
		return filter->code[0].k ? 0 : -ENOTSUP; /* every frame */
	insn_move32(p, ACC, 0);
	insn_move32(p, IDX, 0);
	for (int at = WORDS; at < 0; at += 8)
		insn_store_zero(p, (int16_t)at);
	for (size_t i = 0; i < filter->count; i++) {
		int r;

		insn_label(p, i);
		r = convert(p, &filter->code[i], i + 1);
		if (r < 0)
			return r;
	}
	return 0;
}

/* Loads len (a register, 1 to HEAD_LEN) bytes of the frame into a zeroed HEAD. */
static void load_head(struct insns *p, uint8_t len)
{
	for (int at = HEAD; at < HEAD + HEAD_LEN; at += 8)
		insn_store_zero(p, (int16_t)at);
	insn_copy(p, BPF_REG_4, len);
	insn_copy(p, BPF_REG_1, CTX);
	insn_move32(p, BPF_REG_2, 0);
	insn_address(p, BPF_REG_3, HEAD);
	insn_call(p, BPF_FUNC_skb_load_bytes);
	insn_jump(p, BPF_JMP | BPF_JNE | BPF_K, BPF_REG_0, 0, LABEL_COPY);
}

/*
 * R9 = the frame's length without the padding of a short IP packet: br_netfilter cuts that off
 * between one port and the next (net/bridge/br_netfilter_hooks.c, br_validate_ipv4).
 */
static void measure(struct insns *p)
{
	insn_load(p, BPF_W, BPF_REG_9, CTX, CTX_AT(len));
	insn_jump(p, BPF_JMP | BPF_JLT | BPF_K, BPF_REG_9, ETH_HLEN + IP_HEAD, LABEL_MEASURED);
	insn_move32(p, BPF_REG_7, ETH_HLEN + IP_HEAD);
	load_head(p, BPF_REG_7);
	insn_load(p, BPF_H, BPF_REG_1, BPF_REG_10, HEAD + 12);
	insn_jump(p, BPF_JMP | BPF_JEQ | BPF_K, BPF_REG_1, htons(ETH_P_IP), LABEL_IPV4);
	insn_jump(p, BPF_JMP | BPF_JNE | BPF_K, BPF_REG_1, htons(ETH_P_IPV6), LABEL_MEASURED);
	insn_load(p, BPF_H, BPF_REG_1, BPF_REG_10, HEAD + ETH_HLEN + 4);
	insn_to_be16(p, BPF_REG_1);
	insn_alu64(p, BPF_ADD, BPF_REG_1, IPV6_HEAD);
	insn_go(p, LABEL_IP);
	insn_label(p, LABEL_IPV4);
	insn_load(p, BPF_H, BPF_REG_1, BPF_REG_10, HEAD + ETH_HLEN + 2);
	insn_to_be16(p, BPF_REG_1);
	insn_label(p, LABEL_IP);
	/* A length of 0 stands for one beyond 64 KiB; one below a header's is nonsense. */
	insn_jump(p, BPF_JMP | BPF_JLT | BPF_K, BPF_REG_1, IP_HEAD, LABEL_MEASURED);
	insn_alu64(p, BPF_ADD, BPF_REG_1, ETH_HLEN);
	insn_jump_by(p, BPF_JMP | BPF_JGE | BPF_X, BPF_REG_1, BPF_REG_9, LABEL_MEASURED);
	insn_copy(p, BPF_REG_9, BPF_REG_1);
	insn_label(p, LABEL_MEASURED);
}

/* R8 = the frame's identity. Goes to COPY where it can't be told. */
static void identify(struct insns *p, uint64_t key)
{
	measure(p);
	insn_copy(p, BPF_REG_7, BPF_REG_9);
	insn_jump(p, BPF_JMP | BPF_JLE | BPF_K, BPF_REG_7, HEAD_LEN, LABEL_SHORT);
	insn_move32(p, BPF_REG_7, HEAD_LEN);
	insn_label(p, LABEL_SHORT);
	/* "Below 1", not "0": from that the verifier of Linux 6.1 concludes no lower bound. */
	insn_jump(p, BPF_JMP | BPF_JLT | BPF_K, BPF_REG_7, 1, LABEL_COPY);
	load_head(p, BPF_REG_7);

	insn_load(p, BPF_W, BPF_REG_8, CTX, CTX_AT(ingress_ifindex));
	insn_alu64(p, BPF_LSH, BPF_REG_8, 32);
	insn_alu64_by(p, BPF_XOR, BPF_REG_8, BPF_REG_9);
	/* Odd: each value of a word leads to another. What nobody knows is what a difference
	 * between two frames becomes, so that none can be made up for by the next word. */
	insn_wide(p, BPF_REG_2, 0, key | 1);
	for (int at = HEAD; at < HEAD + HEAD_LEN; at += 8) {
		insn_load(p, BPF_DW, BPF_REG_1, BPF_REG_10, (int16_t)at);
		insn_alu64_by(p, BPF_XOR, BPF_REG_8, BPF_REG_1);
		insn_alu64_by(p, BPF_MUL, BPF_REG_8, BPF_REG_2);
		insn_copy(p, BPF_REG_1, BPF_REG_8);
		insn_alu64(p, BPF_RSH, BPF_REG_1, 32);
		insn_alu64_by(p, BPF_XOR, BPF_REG_8, BPF_REG_1);
	}
}

/* R0 = the cell, R9 = the place, R7 = now. Returns the number of the map's load. */
static size_t find_cell(struct insns *p, uint32_t hook)
{
	size_t map_load;

	insn_call(p, BPF_FUNC_ktime_get_ns);
	insn_copy(p, BPF_REG_7, BPF_REG_0);
	insn_load(p, BPF_W, BPF_REG_9, CTX, CTX_AT(ifindex));
	insn_wide(p, BPF_REG_1, 0, (uint64_t)hook << 32);
	insn_alu64_by(p, BPF_XOR, BPF_REG_9, BPF_REG_1);
	insn_store_zero(p, KEY);
	map_load = p->count;
	insn_wide(p, BPF_REG_1, BPF_PSEUDO_MAP_FD, 0);
	insn_address(p, BPF_REG_2, KEY);
	insn_call(p, BPF_FUNC_map_lookup_elem);
	insn_jump(p, BPF_JMP | BPF_JEQ | BPF_K, BPF_REG_0, 0, LABEL_COPY);
	return map_load;
}

/* Copy, unless another hook copied this frame a moment ago. */
static size_t once_half(struct insns *p, uint32_t hook, uint64_t key)
{
	size_t map_load;

	insn_label(p, LABEL_ACCEPT);
	identify(p, key);
	map_load = find_cell(p, hook);
	insn_load(p, BPF_DW, BPF_REG_1, BPF_REG_0, CELL_AT(frame));
	insn_jump_by(p, BPF_JMP | BPF_JNE | BPF_X, BPF_REG_1, BPF_REG_8, LABEL_RECORD);
	insn_load(p, BPF_DW, BPF_REG_1, BPF_REG_0, CELL_AT(place));
	insn_jump_by(p, BPF_JMP | BPF_JEQ | BPF_X, BPF_REG_1, BPF_REG_9, LABEL_RECORD);
	insn_load(p, BPF_DW, BPF_REG_1, BPF_REG_0, CELL_AT(time));
	insn_copy(p, BPF_REG_2, BPF_REG_7);
	insn_alu64_by(p, BPF_SUB, BPF_REG_2, BPF_REG_1);
	insn_jump(p, BPF_JMP | BPF_JGT | BPF_K, BPF_REG_2, SAME_FRAME_NS, LABEL_RECORD);

	insn_label(p, LABEL_REJECT);
	insn_move32(p, BPF_REG_0, 0);
	insn_emit(p, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);

	insn_label(p, LABEL_RECORD);
	insn_store(p, BPF_DW, BPF_REG_0, BPF_REG_8, CELL_AT(frame));
	insn_store(p, BPF_DW, BPF_REG_0, BPF_REG_9, CELL_AT(place));
	insn_store(p, BPF_DW, BPF_REG_0, BPF_REG_7, CELL_AT(time));
	insn_label(p, LABEL_COPY);
	insn_move32(p, BPF_REG_0, -1); /* cls_bpf: it matches, and the actions run */
	insn_emit(p, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
	return map_load;
}

/* A tail call comes back only where it fails: then, as for a frame that is not taken, go on. */
static size_t front_half(struct insns *p, uint32_t received, uint64_t key)
{
	size_t map_load;

	(void)key;
	insn_label(p, LABEL_ACCEPT);
	insn_copy(p, BPF_REG_1, CTX);
	map_load = p->count;
	insn_wide(p, BPF_REG_2, BPF_PSEUDO_MAP_FD, 0);
	insn_move32(p, BPF_REG_3, (int32_t)received);
	insn_call(p, BPF_FUNC_tail_call);
	insn_label(p, LABEL_REJECT);
	insn_move32(p, BPF_REG_0, -1);
	insn_emit(p, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
	return map_load;
}

/* skb->cb[0] = the verdict; what comes next finds its context where a program begins with it. */
static size_t verdict_half(struct insns *p, uint32_t all, uint64_t key)
{
	(void)key;
	insn_label(p, LABEL_ACCEPT);
	insn_move32(p, BPF_REG_0, 1);
	if (!all) { /* else the verifier would find it unreachable */
		insn_go(p, LABEL_RECORD);
		insn_label(p, LABEL_REJECT);
		insn_move32(p, BPF_REG_0, 0);
	}
	insn_label(p, LABEL_RECORD);
	insn_store(p, BPF_W, CTX, BPF_REG_0, CTX_AT(cb[0]));
	insn_copy(p, BPF_REG_1, CTX);
	return 0;
}

/* The filter, then what half appends to it. */
static int build(const struct bytecode *filter,
		 size_t (*half)(struct insns *p, uint32_t data, uint64_t key), uint32_t data,
		 uint64_t key, struct once_program *out, struct err *e)
{
	struct insns p = {0};
	size_t map_load;
	int r = filter_half(&p, filter);

	if (r < 0 && !p.failed) {
		insns_free(&p);
		return err_set(e, r,
			       "the filter asks for something that a classifier can't see "
			       "(only a packet socket can)");
	}
	map_load = half(&p, data, key);
	r = insns_link(&p);
	if (r < 0) {
		insns_free(&p);
		return err_set(e, r, r == -ENOMEM ? "out of memory" : "the filter is too long");
	}
	*out = (struct once_program){.code = p.code, .count = p.count, .map_load = map_load};
	return 0;
}

int once_build(const struct bytecode *filter, uint32_t action, bool received, uint64_t key,
	       struct once_program *out, struct err *e)
{
	struct once_program p = {0};
	uint64_t hash;
	int r = build(filter, once_half, action << 1 | received, key, &p, e);

	if (r < 0)
		return r;
	p.what = "the program that keeps frames from being copied twice";
	hash = hash_bytes(HASH_START, p.code, p.count * sizeof(*p.code));
	snprintf(p.name, sizeof(p.name), "pm_%s_%08x", received ? "out" : "in",
		 (uint32_t)(hash ^ hash >> 32));
	*out = p;
	return 0;
}

int once_build_front(const struct bytecode *filter, bool received, struct once_program *out,
		     struct err *e)
{
	int r = build(filter, front_half, received, 0, out, e);

	if (r < 0)
		return r;
	out->what = "the program that filters frames";
	snprintf(out->name, sizeof(out->name), "pm_filter_%s", received ? "out" : "in");
	return 0;
}

int once_build_verdict(const struct bytecode *filter, struct once_program *out, struct err *e)
{
	return build(filter, verdict_half, filter->count == 1, 0, out, e);
}

void once_free(struct once_program *program)
{
	free(program->code);
	*program = (struct once_program){0};
}
