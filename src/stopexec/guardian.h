/* SPDX-License-Identifier: MIT */
/*
 * The guardians: two processes apart from stopexec that know what it has stopped, so that this
 * goes on when stopexec ends, however it ends, or when its time is up. Two, so that killing one
 * changes nothing.
 */
#ifndef STOPEXEC_GUARDIAN_H
#define STOPEXEC_GUARDIAN_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct catch_maps;
struct err;

enum { GUARDIANS = 2 };

enum { TRACER_UNKNOWN = -1 }; /* nobody has looked yet: it goes on, whoever traces it */

/* A process that stopexec stops. The same process can be stopped again, at its next exec. */
struct stop {
	pid_t pid;
	pid_t tracer;	/* who traced it before; 0: nobody; TRACER_UNKNOWN */
	int64_t number; /* tells two stops of a process apart */
};

struct guardian {
	int sockets[GUARDIANS]; /* each to one of them; -1: none */
};

/* Starts them. records: the folder whose record of a process they remove with it; may be NULL. */
int guardian_start(struct guardian *g, const char *records, struct err *e);

/*
 * Called before the process is stopped: it is to go on when stopexec ends, or at the deadline
 * (now_ms()), unless somebody traces it who did not before. -errno: no guardian holds it.
 */
int guardian_hold(const struct guardian *g, const struct stop *stop, int64_t deadline);

/* Called before it is stopped at another place, and when it is presented: a new deadline, also
 * where the old one has passed. -errno: it can go on at the old one. */
int guardian_hold_anew(const struct guardian *g, const struct stop *stop, int64_t deadline);

/* It is known now who traced it before. */
void guardian_traced(const struct guardian *g, const struct stop *stop);

/* What BPF stops is in these maps before it can be held: they let go of it when stopexec ends. */
int guardian_drains(const struct guardian *g, const struct catch_maps *maps);

/* Until it is held anew, stopexec traces it, may have a breakpoint in it, and looks after its time.
 */
void guardian_traces(const struct guardian *g, const struct stop *stop);

/* It is no longer stopexec's: it goes on, or is in somebody's hands. */
void guardian_release(const struct guardian *g, const struct stop *stop);

/* It stays stopped when stopexec ends, until its time is up, or a guardian is killed. recorded:
 * with that deadline, and whoever makes it go on removes the record. -errno: it goes on when
 * stopexec ends. */
int guardian_leave(const struct guardian *g, const struct stop *stop, bool recorded);

/* 0: both are there. Else stop nothing more: -EPIPE: somebody ended one; -errno: one failed. */
int guardian_lost(const struct guardian *g);

/* Ends stopexec's part: what is still held goes on. */
void guardian_close(struct guardian *g);

#endif
