/* SPDX-License-Identifier: MIT */
/* The programs of inline.bpf.c, and their maps, into the kernel. See inline.h. */
#ifndef BPF_INLINE_LOAD_H
#define BPF_INLINE_LOAD_H

#include <stddef.h>
#include <stdint.h>

struct bpf_insn;
struct err;

enum inline_map {
	INLINE_MAP_STATE,
	INLINE_MAP_HEALTH,
	INLINE_MAP_PROBES,
	INLINE_MAP_PORTS,
	INLINE_MAP_MACS,
	INLINE_MAP_COUNTS,
	INLINE_MAP_FLOOD,
	INLINE_MAPS
};

/* Where they hang: a guarded port's ingress and egress, and the ingress of the appliance's ports.
 */
enum inline_program {
	INLINE_FROM_MACHINE,
	INLINE_TO_MACHINE,
	INLINE_FROM_INSIDE,
	INLINE_FROM_OUTSIDE,
	INLINE_PROGRAMS
};

/* Names, for pins. */
const char *inline_map_name(enum inline_map which);
const char *inline_program_name(enum inline_program which);

/* Makes one, empty, as the programs want it: a descriptor, or a negative errno. */
int inline_map_make(enum inline_map which, struct err *e);

/*
 * Loads all programs with these maps (descriptors, by enum inline_map; they stay the caller's):
 * descriptors in programs. front: instructions that stand in front of the two of guarded ports, and
 * tell which frames are to be led through (skb->cb[0]); they end without an exit, and with the
 * context in register 1.
 */
int inline_load(const int maps[INLINE_MAPS], const struct bpf_insn *front, size_t nfront,
		int programs[INLINE_PROGRAMS], struct err *e);

/* What tells the programs of this build from others: part of their pins' names. */
uint32_t inline_version(void);

#endif
