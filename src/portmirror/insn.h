/* SPDX-License-Identifier: MIT */
/* A small assembler for eBPF: instructions one after the other, jumps to labels. */
#ifndef PORTMIRROR_INSN_H
#define PORTMIRROR_INSN_H

#include <linux/bpf.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Labels below 4096 are the steps of a classic filter (BPF_MAXINSNS). */
enum {
	LABEL_ACCEPT = 4096,
	LABEL_REJECT,
	LABEL_RECORD,
	LABEL_COPY,
	LABEL_SHORT,
	LABEL_IPV4,
	LABEL_IP,
	LABEL_MEASURED,
	LABELS /* their number */
};

struct insns {
	struct bpf_insn *code;
	size_t count, room;
	struct insn_jump {
		size_t at, label;
	} * jumps;
	size_t njumps, jumps_room;
	uint32_t *labels; /* where each label stands, plus 1 */
	bool failed;
};

void insn_emit(struct insns *p, uint8_t code, uint8_t dst, uint8_t src, int16_t off, int32_t imm);
void insn_wide(struct insns *p, uint8_t dst, uint8_t src, uint64_t imm); /* BPF_LD_IMM64 */
void insn_load(struct insns *p, uint8_t size, uint8_t dst, uint8_t src, int16_t off);
void insn_store(struct insns *p, uint8_t size, uint8_t dst, uint8_t src, int16_t off);
void insn_store_zero(struct insns *p, int16_t off); /* 8 bytes of the stack */
void insn_copy(struct insns *p, uint8_t dst, uint8_t src);
void insn_move32(struct insns *p, uint8_t dst, int32_t imm);
void insn_address(struct insns *p, uint8_t dst, int32_t off); /* dst = frame pointer + off */
void insn_alu32(struct insns *p, uint8_t op, uint8_t dst, int32_t imm);
void insn_alu64(struct insns *p, uint8_t op, uint8_t dst, int32_t imm);
void insn_alu64_by(struct insns *p, uint8_t op, uint8_t dst, uint8_t src);
void insn_to_be16(struct insns *p, uint8_t dst);
void insn_call(struct insns *p, int32_t helper);
void insn_label(struct insns *p, size_t label);
void insn_go(struct insns *p, size_t label);
void insn_jump(struct insns *p, uint8_t code, uint8_t dst, int32_t imm, size_t label);
void insn_jump_by(struct insns *p, uint8_t code, uint8_t dst, uint8_t src, size_t label);

/* Resolves the jumps and frees what only building needs. 0, -ENOMEM, -E2BIG (a jump too far). */
int insns_link(struct insns *p);
void insns_free(struct insns *p);

#endif
