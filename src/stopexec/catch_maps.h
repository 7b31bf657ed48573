/* SPDX-License-Identifier: MIT */
/*
 * What the kernel's BPF program and we share: a word to it, and what it has stopped. A process that
 * it has stopped stays in the ring until a guardian holds it, and whoever has the maps can let go
 * of what is in there: so that a catcher killed at any instant leaves nothing stopped.
 */
#ifndef STOPEXEC_CATCH_MAPS_H
#define STOPEXEC_CATCH_MAPS_H

struct catch_control;
struct catch_event;
struct err;

struct catch_maps {
	int control, ring; /* -1: none */
};

/* Why bpf(2) refuses; lack: the sentence for a kernel that can't do it. -EOPNOTSUPP: it can't; else
 * the code: not now, or not for us. */
int catch_refused(int code, const char *lack, struct err *e);

/* What catch_refused() returns. */
int catch_maps_make(struct catch_maps *maps, struct err *e);
void catch_maps_close(struct catch_maps *maps);

/* The memory of the control map; NULL where it can't be had. Until the process ends. */
struct catch_control *catch_maps_control(const struct catch_maps *maps);

/*
 * Waits for the program where it runs at this moment, on another processor: what it has told of,
 * is stopped behind this, so that a SIGCONT comes after the SIGSTOP.
 */
void catch_maps_wait(void);

/* Ends the stopping, and makes all go on that nobody has taken from the ring. */
void catch_maps_drain(const struct catch_maps *maps);

#endif
