/* SPDX-License-Identifier: MIT */
/*
 * When to mend what others break, and when to leave it for a while: two tools that each undo the
 * other's work would otherwise do so for ever, as fast as they can. Pure.
 */
#ifndef PORTMIRRORD_FIGHT_H
#define PORTMIRRORD_FIGHT_H

#include <stddef.h>
#include <stdint.h>

/* So many repairs of one device in so long a time are no fight yet. */
#define FIGHT_REPAIRS	 5
#define FIGHT_WINDOW_MS	 60000
#define FIGHT_FIRST_MS	 1000 /* the first pause; each is twice as long as the one before */
#define FIGHT_LONGEST_MS 300000
#define FIGHT_PEACE_MS	 600000 /* after so long a time without a repair all is forgotten */

/* Zero-initialise it. */
struct fight {
	int64_t window;	  /* when the counting began */
	int64_t last;	  /* the last repair */
	int64_t until;	  /* nothing is done before */
	unsigned repairs; /* in this window */
	unsigned pauses;  /* so far */
};

enum fight_verdict {
	FIGHT_REPAIR, /* mend it now */
	FIGHT_PAUSE,  /* a pause has begun: tell somebody */
	FIGHT_WAIT    /* it still lasts */
};

/* Something is to be mended at now (milliseconds). Unless it is to be mended, fight->until tells
 * when to ask again. */
enum fight_verdict fight_decide(struct fight *fight, int64_t now);

#endif
