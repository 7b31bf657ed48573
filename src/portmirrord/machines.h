/* SPDX-License-Identifier: MIT */
/*
 * Finds the virtual machines when there may be others than before: a tap has come or changed, or a
 * machine's process has ended. Looking through /proc costs something, so it is done only then.
 */
#ifndef PORTMIRRORD_MACHINES_H
#define PORTMIRRORD_MACHINES_H

#include "portmirror/selector.h"

struct err;
struct host;
struct loop;
struct machines;

/* host->vms is kept as they are; changed() is called when they are others than before. */
int machines_new(struct loop *loop, struct host *host, void (*changed)(void *data), void *data,
		 struct machines **machines, struct err *e);
void machines_free(struct machines *machines);

/* These taps (emptied) have come, changed or gone: looks soon, and again as long as their owner is
 * young (it takes a moment until a process says which machine it runs). */
int machines_taps(struct machines *machines, struct ifindexes *taps);

#endif
