/* SPDX-License-Identifier: MIT */
/* Follows what the kernel tells, and keeps a picture of the host as of now. */
#ifndef PORTMIRRORD_FOLLOW_H
#define PORTMIRRORD_FOLLOW_H

#include <stdbool.h>

#include "portmirror/host.h"

struct engine;
struct err;
struct follow;
struct loop;

struct follow_config {
	struct loop *loop;
	struct engine *engine;
	struct host *host;	  /* the picture; its virtual machines are left alone */
	void (*news)(void *data); /* there is something to take */
	void *data;
};

/* Listens, and takes the first picture. */
int follow_new(const struct follow_config *config, struct follow **follow, struct err *e);
void follow_free(struct follow *follow);

enum {
	FOLLOW_SEEN = 1 << 0,	 /* something is different */
	FOLLOW_PLAN = 1 << 1,	 /* a plan would be: others than we have changed something */
	FOLLOW_OVERRUN = 1 << 2, /* news was lost: all was read anew */
	FOLLOW_SOON = 1 << 3,	 /* as FOLLOW_PLAN, but only of devices that are down: what comes
				    next to them can be taken along, until FOLLOW_UP */
	FOLLOW_UP = 1 << 4,	 /* a device has come up */
};
/* Takes in all that has happened up to now: what of the above there was, or a negative errno. */
int follow_take(struct follow *follow, struct err *e);
/* Throws the picture away and takes it anew; as follow_take(). */
int follow_renew(struct follow *follow, struct err *e);

/* Devices on which others have taken away or changed what is ours, until it is emptied. */
struct ifindexes *follow_wiped(struct follow *follow);
/* Devices whose traffic control others have changed, ours or not, until it is emptied. */
struct ifindexes *follow_touched(struct follow *follow);
/* Devices that machines may stand behind, and that have come, gone or got another name or carrier,
 * until it is emptied. */
struct ifindexes *follow_taps(struct follow *follow);

#endif
