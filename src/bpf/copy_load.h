/* SPDX-License-Identifier: MIT */
/* The programs of copy.bpf.c and cut.bpf.c, and their maps, into the kernel. See copy.h. */
#ifndef BPF_COPY_LOAD_H
#define BPF_COPY_LOAD_H

#include <stdint.h>

struct err;

enum copy_map {
	COPY_MAP_CONFIG, /* each session's own: these three */
	COPY_MAP_BUDGET,
	COPY_MAP_PORTS,
	COPY_MAP_ONCE, /* the house's: these two */
	COPY_MAP_CUT,
	COPY_MAPS
};

/* Its name, for a pin. */
const char *copy_map_name(enum copy_map which);

/* Makes one, empty, as the programs want it: a descriptor, or a negative errno. */
int copy_map_make(enum copy_map which, struct err *e);

/* Loads the pair with these maps (descriptors, by enum copy_map; they stay the caller's): two
 * descriptors in programs, for what machines send and what they receive. */
int copy_load(const int maps[COPY_MAPS], int programs[2], struct err *e);

/* Loads the program for a destination's egress: a descriptor. */
int cut_load(int cut_map, struct err *e);

/* What tells the programs of this build from others: part of their pins' names. */
uint32_t copy_version(void);
uint32_t cut_version(void);

#endif
