/* SPDX-License-Identifier: MIT */
/*
 * The program that keeps a frame from being copied twice to one destination.
 *
 * A frame that crosses a bridge passes the hooks of several ports: where it enters, and of each
 * port where it leaves. The bridge does all that in one go on one CPU. So every program of a
 * destination shares one cell per CPU that tells which frame was copied last, and where: a hook
 * that sees the same frame again within 50 ms lets it pass.
 *
 * "The same frame" is: its first 64 bytes, its length (without an IP packet's padding) and the
 * device by which it entered the host are the same. The last makes it safe: a machine can't hide a
 * frame behind one that another machine sent. Its own frames are always copied where they enter,
 * for no other hook sees a frame earlier. Where it isn't mirrored itself it could make two frames,
 * to two machines, of one hash: so the hash has a key that nobody outside of this host knows.
 */
#ifndef PORTMIRROR_ONCE_H
#define PORTMIRROR_ONCE_H

#include <linux/bpf.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bytecode;
struct err;

/* The cell, value of a BPF_MAP_TYPE_PERCPU_ARRAY with one entry. */
struct once_cell {
	uint64_t frame; /* hash of what identifies it */
	uint64_t place; /* the hook that copied it */
	uint64_t time;	/* bpf_ktime_get_ns() */
};

struct once_program {
	struct bpf_insn *code; /* owned */
	size_t count;
	size_t map_load;  /* the instruction whose imm takes the map's descriptor */
	char name[16];	  /* "pm_in_0123abcd": tells direction and content */
	const char *what; /* for sentences */
};

/*
 * Builds the program for one session and one direction: filter's frames (classic BPF, as
 * filter_compile() makes it), each once. action is the session's mirred index, part of the place;
 * key, of the hash (host.h): all programs of a destination have the same.
 * -ENOTSUP where the filter reads what only a packet socket has.
 */
int once_build(const struct bytecode *filter, uint32_t action, bool received, uint64_t key,
	       struct once_program *out, struct err *e);
/* A filter alone, in front of other programs: frames that it takes go on to number received of the
 * program array that is its map; for others it returns TC_ACT_UNSPEC, which is TCX_NEXT. */
int once_build_front(const struct bytecode *filter, bool received, struct once_program *out,
		     struct err *e);
/* A filter as the beginning of a program that goes on behind it (bpf/inline_load.h): skb->cb[0] is
 * 1 for a frame that it takes, else 0. */
int once_build_verdict(const struct bytecode *filter, struct once_program *out, struct err *e);
void once_free(struct once_program *program); /* also for cleanup() */

/* Into the kernel (BPF_MAP_CREATE, BPF_PROG_LOAD): descriptors, or a negative errno. See
 * once_hold.h for what is in the kernel already. */
int once_map_create(struct err *e);
int once_load(const struct once_program *program, int map_fd, struct err *e);

#endif
