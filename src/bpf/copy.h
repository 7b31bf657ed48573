/* SPDX-License-Identifier: MIT */
/*
 * The programs that copy frames: what they share with those who set them up. One pair (sent,
 * received) is loaded for each session; its ports have links to the same two.
 */
#ifndef BPF_COPY_H
#define BPF_COPY_H

#include <linux/types.h>

#define COPY_TO_MAX    16
#define COPY_PORTS_MAX 4096 /* ports whose frames are counted, each direction by itself */

/* What a session wants of its copies: the one value of its map "config2". Written by us, read by
 * the programs while they run: a frame that passes in between may see old and new fields mixed. */
struct copy_config {
	__u32 to_count;
	__u32 flags;
	__u32 snap;    /* bytes of a frame that are copied; 0: all */
	__u32 sample;  /* of 2^32: a frame (or flow) whose number is below it is copied; 0: all */
	__u32 rate;    /* Mbit/s; 0: no limit */
	__u32 session; /* tells sessions of a house apart */
	struct copy_to {
		__u32 ifindex; /* 0: not there now */
		__u32 seed;    /* a destination's own, whatever its index: for COPY_BALANCE */
	} to[COPY_TO_MAX];
	__u64 key; /* of what identifies a frame */
};

enum copy_flag {
	COPY_ONCE = 1,	       /* other hooks may see the same frames: each once */
	COPY_ALONE = 2,	       /* once among this session's own hooks; else among all that copy
				  to the destination */
	COPY_SAMPLE_FLOWS = 4, /* sample by flow, not by frame */
	COPY_BALANCE = 8       /* each flow to one destination; else each frame to all */
};

/* Counters of one port and direction: map "ports", by copy_port. */
struct copy_port {
	__u32 ifindex;	/* 0: of all ports that are gone */
	__u32 received; /* 0, 1 */
};
struct copy_count {
	__u64 frames, bytes; /* copied: bytes as they went, after snap */
	__u64 lost;	     /* copies that a destination did not take, or that wasn't there */
	__u64 shed;	     /* copies beyond the rate */
};

/* Who copied a frame last, on this CPU: map "once", by copy_once_key. See portmirror/once.h. */
struct copy_once_key {
	__u32 to;      /* a device, or 0 */
	__u32 session; /* where to is 0 */
};
struct copy_once {
	__u64 frame; /* hash of what identifies it */
	__u64 place; /* the hook that copied it */
	__u64 time;  /* bpf_ktime_get_ns() */
};

/* The copy that is on its way on this CPU: map "cut". The program at the destination's egress makes
 * it as short as this says. */
struct copy_cut {
	__u32 to; /* the device; 0: none */
	__u32 snap;
};

#endif
