/* SPDX-License-Identifier: MIT */
/*
 * What the programs of an in-line session (inline.bpf.c) and the program that sets them up share:
 * the layout of their maps, and of probe frames. For clang's BPF target and for the host's alike.
 */
#ifndef BPF_INLINE_H
#define BPF_INLINE_H

#include <linux/types.h>

#define INLINE_PORTS_MAX 256
#define INLINE_NOWHERE	 0xffffffffu /* no device has this index */
#define INLINE_MACS_MAX	 16384

/* The mark of a frame between "out of the appliance" and the guarded port's own hook, which takes
 * it away again: nothing else ever sees it. */
#define INLINE_MARK 0x08000000u

/* An address; key of the map "macs": where a guarded machine's was last seen. */
struct inline_mac {
	__u8 address[6];
	__u8 unused[2]; /* 0 */
};

/* Map "state": what the session says. */
struct inline_state {
	__u32 inside; /* the appliance's ports, as ifindexes; INLINE_NOWHERE: it isn't there */
	__u32 outside;
	__u8 open;   /* on failure: 1 straight through, 0 stop */
	__u8 direct; /* guarded machines talk to each other past the appliance */
	__u8 unused[2];
	__u32 bridge; /* that guarded ports are on; 0: none is on one. (For who plans the next
			 change) */
	__u64 key;    /* random; probes carry it */
	/* The addresses of the two ports: what comes from them is the host's own noise. */
	struct inline_mac own[2];
};

/* Map "health": what the one who sends the probes finds. */
enum inline_failure { INLINE_WELL, INLINE_GONE, INLINE_DOWN, INLINE_SILENT };
struct inline_health {
	__u32 failure;	/* enum inline_failure */
	__u32 failures; /* how often it failed */
	__u64 since;	/* CLOCK_MONOTONIC, ns: when it failed, or came back; 0: never */
	__u64 watched;	/* when the watcher last looked; 0: nobody does */
};

/* Map "probes": of each way, the newest probe that came through. */
enum inline_way {
	INLINE_OUTWARD, /* in at the inside port, out at the outside port */
	INLINE_INWARD,
	INLINE_LEARNING, /* outward, to an address that a learning bridge has seen inside */
	INLINE_WAYS
};
struct inline_probe_seen {
	__u64 sent, arrived; /* CLOCK_MONOTONIC, ns */
	__u64 count;	     /* of all that came */
};

/* Map "counts", for each CPU. */
enum inline_count_of {
	INLINE_LED_OUT,	  /* from a machine, into the appliance */
	INLINE_LED_IN,	  /* towards a machine, into the appliance */
	INLINE_BACK_OUT,  /* out of the appliance, and on into the network */
	INLINE_BACK_IN,	  /* out of the appliance, and on to a machine */
	INLINE_STRAIGHT,  /* past it, because it has failed */
	INLINE_STOPPED,	  /* lost, because its port is gone and the session says "closed" */
	INLINE_UNMATCHED, /* past it, because the filter doesn't want it */
	INLINE_DIRECT,	  /* past it, between two guarded machines */
	INLINE_STRANGERS, /* out of it with no guarded machine's address: dropped */
	INLINE_ECHOES,	  /* out of it, back to the machine that it is from: dropped */
	INLINE_TOO_LONG,  /* longer than the appliance's port takes */
	INLINE_COUNTS
};
struct inline_count {
	__u64 frames, bytes;
};

/* Map "flood", for each CPU: the frame that a bridge is just flooding. */
struct inline_flood {
	__u64 frame; /* hash */
	__u64 time;
	__u32 port;
	__u32 unused;
};

/* A probe frame, padded to the least length. */
#define INLINE_PROBE_TYPE  0x88b5 /* IEEE 802, local experimental EtherType 1 */
#define INLINE_PROBE_MAGIC 0x706d70726f626531ull
struct inline_probe {
	__u8 to[6], from[6];
	__be16 type;
	__u8 way; /* enum inline_way */
	__u8 version;
	__u64 magic, key, sent;
} __attribute__((packed));

#endif
