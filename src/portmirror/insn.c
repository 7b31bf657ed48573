/* SPDX-License-Identifier: MIT */
#include "portmirror/insn.h"

#include <errno.h>
#include <stdlib.h>

#include "base/mem.h"

void insn_emit(struct insns *p, uint8_t code, uint8_t dst, uint8_t src, int16_t off, int32_t imm)
{
	if (p->failed || array_room(&p->code, &p->room, p->count, sizeof(*p->code)) < 0) {
		p->failed = true;
		return;
	}
	/* A register is 4 bits: the mask tells the compiler. */
	p->code[p->count++] = (struct bpf_insn){
		.code = code, .dst_reg = dst & 15u, .src_reg = src & 15u, .off = off, .imm = imm};
}

void insn_wide(struct insns *p, uint8_t dst, uint8_t src, uint64_t imm)
{
	/* BPF_LD | BPF_DW | BPF_IMM, of which the last is 0 */
	insn_emit(p, BPF_LD | BPF_DW, dst, src, 0, (int32_t)(uint32_t)imm);
	insn_emit(p, 0, 0, 0, 0, (int32_t)(imm >> 32));
}

void insn_load(struct insns *p, uint8_t size, uint8_t dst, uint8_t src, int16_t off)
{
	insn_emit(p, (uint8_t)(BPF_LDX | BPF_MEM | size), dst, src, off, 0);
}

void insn_store(struct insns *p, uint8_t size, uint8_t dst, uint8_t src, int16_t off)
{
	insn_emit(p, (uint8_t)(BPF_STX | BPF_MEM | size), dst, src, off, 0);
}

void insn_store_zero(struct insns *p, int16_t off)
{
	insn_emit(p, BPF_ST | BPF_MEM | BPF_DW, BPF_REG_10, 0, off, 0);
}

void insn_copy(struct insns *p, uint8_t dst, uint8_t src)
{
	insn_emit(p, BPF_ALU64 | BPF_MOV | BPF_X, dst, src, 0, 0);
}

void insn_move32(struct insns *p, uint8_t dst, int32_t imm)
{
	insn_emit(p, BPF_ALU | BPF_MOV | BPF_K, dst, 0, 0, imm);
}

void insn_address(struct insns *p, uint8_t dst, int32_t off)
{
	insn_copy(p, dst, BPF_REG_10);
	insn_alu64(p, BPF_ADD, dst, off);
}

void insn_alu32(struct insns *p, uint8_t op, uint8_t dst, int32_t imm)
{
	insn_emit(p, (uint8_t)(BPF_ALU | op | BPF_K), dst, 0, 0, imm);
}

void insn_alu64(struct insns *p, uint8_t op, uint8_t dst, int32_t imm)
{
	insn_emit(p, (uint8_t)(BPF_ALU64 | op | BPF_K), dst, 0, 0, imm);
}

void insn_alu64_by(struct insns *p, uint8_t op, uint8_t dst, uint8_t src)
{
	insn_emit(p, (uint8_t)(BPF_ALU64 | op | BPF_X), dst, src, 0, 0);
}

void insn_to_be16(struct insns *p, uint8_t dst)
{
	insn_emit(p, BPF_ALU | BPF_END | BPF_TO_BE, dst, 0, 0, 16);
}

void insn_call(struct insns *p, int32_t helper)
{
	insn_emit(p, BPF_JMP | BPF_CALL, 0, 0, 0, helper);
}

void insn_label(struct insns *p, size_t label)
{
	if (!p->labels)
		p->labels = calloc(LABELS, sizeof(*p->labels));
	if (!p->labels || label >= LABELS)
		p->failed = true;
	else
		p->labels[label] = (uint32_t)p->count + 1;
}

static void jump(struct insns *p, size_t label)
{
	if (p->failed || array_room(&p->jumps, &p->jumps_room, p->njumps, sizeof(*p->jumps)) < 0)
		p->failed = true;
	else
		p->jumps[p->njumps++] = (struct insn_jump){p->count, label};
}

void insn_go(struct insns *p, size_t label)
{
	insn_jump(p, BPF_JMP | BPF_JA, 0, 0, label);
}

void insn_jump(struct insns *p, uint8_t code, uint8_t dst, int32_t imm, size_t label)
{
	jump(p, label);
	insn_emit(p, code, dst, 0, 0, imm);
}

void insn_jump_by(struct insns *p, uint8_t code, uint8_t dst, uint8_t src, size_t label)
{
	jump(p, label);
	insn_emit(p, code, dst, src, 0, 0);
}

int insns_link(struct insns *p)
{
	if (p->failed || !p->labels)
		return -ENOMEM;
	for (size_t i = 0; i < p->njumps; i++) {
		const struct insn_jump *j = &p->jumps[i];
		size_t target = j->label < LABELS ? p->labels[j->label] : 0;

		/* Classic jumps only lead forward, and so do ours; off counts from the next one. */
		if (target == 0 || target - 1 <= j->at || target - 2 - j->at > INT16_MAX)
			return -E2BIG;
		p->code[j->at].off = (int16_t)(target - 2 - j->at);
	}
	free(take(p->jumps));
	free(take(p->labels));
	return 0;
}

void insns_free(struct insns *p)
{
	free(p->code);
	free(p->jumps);
	free(p->labels);
	*p = (struct insns){0};
}
