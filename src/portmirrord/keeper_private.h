/* SPDX-License-Identifier: MIT */
/* What the files of the keeper share; for keeper*.c only. */
#ifndef PORTMIRRORD_KEEPER_PRIVATE_H
#define PORTMIRRORD_KEEPER_PRIVATE_H

#include "base/err.h"
#include "base/loop.h"
#include "portmirrord/fight.h"
#include "portmirrord/files.h"
#include "portmirrord/keeper.h"
#include "portmirrord/prober.h"

struct device_fight {
	int ifindex;
	struct fight fight;
	bool decided; /* in this round */
	bool told;    /* that it was mended, likewise */
	enum fight_verdict verdict;
	int64_t settled; /* when others have finished with its qdiscs, we hope; 0: they have */
	int64_t at_most; /* that is put off, as long as they go on */
};

struct keeper {
	struct keeper_config config;
	struct engine engine;
	char *folder; /* ROOT/run/portmirror */
	struct sessions sessions;
	struct view view; /* of these; its plan is what is left to be done */
	struct file_mark notes;
	struct events *events;
	struct told *told;
	struct files *files;
	struct follow *follow;
	struct machines *machines;
	struct prober *prober;
	struct loop_timer again, soon, poll, peace;
	int64_t begun; /* when what is being carried out was; 0: nothing, or in one go */
	bool in_one_go;
	bool unfinished;    /* that was cut short, to go on soon */
	bool goes_on;	    /* what is carried out next is the rest of it */
	int64_t locked_out; /* since when somebody else holds the lock; 0: nobody does */
	int64_t pause;	    /* the last one before trying again; 0: nothing is left over */
	bool started;
	bool sessions_stale, plan_stale, plan_told;
	unsigned changes; /* KEEPER_*, not told yet */
	uint64_t generation;
	int64_t refreshed;
	int64_t doubted; /* when the picture of the host was last read anew for being refused */
	struct keeper_counts counts;
	char failure[sizeof(((struct err *)0)->text)]; /* the last one told */
	struct device_fight *fights;
	size_t nfights, fights_room;
	/* Of the plan: what is left alone for a while. */
	struct op *held_back;
	size_t nheld_back, held_back_room;
};

void keeper_tell(struct keeper *k, const char *kind, const char *session, const char *sentence);

/* keeper_look.c: takes in what take_from (of follow.h) tells. */
int keeper_take_news(struct keeper *k, int (*take_from)(struct follow *follow, struct err *e),
		     struct err *e);
/* All that has happened up to now, and a plan for it. */
int keeper_look(struct keeper *k, struct err *e);
/* For looks that edits make (engine.h); data: the keeper. */
int keeper_copy_picture(struct host *copy, void *data, struct err *e);
/* Looks at what is pinned; what others have taken away of it counts as wiped, and is soon mended.
 */
int keeper_look_at_copiers(struct keeper *k, struct err *e);

/* Plans anew; the second for a timer, data being the keeper. */
void keeper_look_again(struct keeper *k);
void keeper_try_again(void *data);

/* Adds to what a session's state says; work of it is left over. */
void keeper_add_reason(struct keeper *k, int session, const char *sentence);

/* keeper_fight.c: takes out of the plan what is to be left alone for now, because others keep
 * undoing it; says so in the states, once the rest is carried out; and tells what of the things
 * done was a repair. All under the lock. */
void keeper_hold_back(struct keeper *k);
void keeper_say_held_back(struct keeper *k);
void keeper_tell_repairs(struct keeper *k, const struct outcome *outcome);
void keeper_free_fights(struct keeper *k);

#endif
