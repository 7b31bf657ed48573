/* SPDX-License-Identifier: MIT */
#include "portmirrord/fight.h"

static int64_t pause_of(unsigned pauses)
{
	int64_t pause = FIGHT_FIRST_MS;

	while (pauses-- > 0 && pause < FIGHT_LONGEST_MS)
		pause *= 2;
	return pause < FIGHT_LONGEST_MS ? pause : FIGHT_LONGEST_MS;
}

static enum fight_verdict repair(struct fight *f, int64_t now)
{
	f->last = now;
	f->repairs++;
	return FIGHT_REPAIR;
}

enum fight_verdict fight_decide(struct fight *f, int64_t now)
{
	if (now < f->until)
		return FIGHT_WAIT;
	if (f->repairs == 0 || now - f->last >= FIGHT_PEACE_MS) {
		*f = (struct fight){.window = now};
		return repair(f, now);
	}
	if (f->pauses == 0 && now - f->window >= FIGHT_WINDOW_MS) {
		f->window = now;
		f->repairs = 0;
	}
	/* Behind a pause a single repair is tried; if that is undone too, the next pause is due. */
	if (f->pauses > 0 && f->until > f->last)
		return repair(f, now);
	if (f->pauses == 0 && f->repairs < FIGHT_REPAIRS)
		return repair(f, now);
	f->until = now + pause_of(f->pauses);
	f->pauses++;
	return FIGHT_PAUSE;
}
