/* SPDX-License-Identifier: MIT */
/* What the keeper sees: the kernel's news, the notes, the sessions' files; and a plan for all that.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/loop.h"
#include "base/mem.h"
#include "portmirrord/files.h"
#include "portmirrord/follow.h"
#include "portmirrord/keeper_private.h"
#include "portmirrord/machines.h"

enum {
	SOON_MS = 2,	/* a device that is being made is on its bridge and up by then */
	LONG_MS = 1000, /* a pause of this kind: something was refused again and again */
	DOUBT_MS = 10000,
};

static void filters_free(struct bytecode *filters, size_t count)
{
	for (size_t i = 0; filters && i < count; i++)
		bytecode_free(&filters[i]);
	free(filters);
}

/* A list, what it is compiled to, and a plan for it belong together: all three are new, or none. */
static int load_sessions(struct keeper *k, struct err *e)
{
	struct sessions fresh cleanup(sessions_free) = {0}, old;
	struct view next = k->view;
	int r = store_load(&k->engine.store, &fresh, e);

	if (r < 0)
		return r;
	next.sessions = &fresh;
	next.filters = NULL;
	next.plan = (struct plan){0};
	r = engine_compile(&k->engine, &fresh, &next.filters, e);
	if (r == 0)
		r = engine_plan(&k->engine, NULL, &next, e);
	if (r < 0) {
		filters_free(next.filters, fresh.count);
		return r;
	}
	filters_free(k->view.filters, k->sessions.count);
	plan_free(&k->view.plan);
	old = k->sessions;
	k->sessions = fresh;
	fresh = old;
	next.sessions = &k->sessions;
	k->view = next;
	k->engine.known = (struct compiled){&k->sessions, k->view.filters};
	return 0;
}

static int read_notes(struct keeper *k, struct err *e)
{
	struct notes fresh = {0};
	int r;

	if (file_mark_same(&k->notes, k->engine.store.notes))
		return 0;
	r = notes_read(k->engine.store.notes, &fresh, e);
	if (r < 0) {
		k->notes.hash = 0;
		return r;
	}
	notes_free(&k->view.notes);
	k->view.notes = fresh;
	k->plan_stale = true;
	return 0;
}

int keeper_take_news(struct keeper *k, int (*take_from)(struct follow *follow, struct err *e),
		     struct err *e)
{
	int what = take_from(k->follow, e);

	if (what < 0)
		return what;
	if (what & FOLLOW_SEEN)
		k->changes |= KEEPER_HOST;
	if (what & FOLLOW_SOON && !k->soon.set)
		loop_timer_set(k->config.loop, &k->soon, SOON_MS, keeper_try_again, k);
	if (what & FOLLOW_PLAN || (what & FOLLOW_UP && k->soon.set))
		k->plan_stale = true;
	if (what & FOLLOW_OVERRUN) {
		k->counts.overruns++;
		keeper_tell(
			k, "overrun", "",
			"more happened at once than could be followed: everything was read anew");
	}
	if (machines_taps(k->machines, follow_taps(k->follow)) < 0)
		return err_set(e, -ENOMEM, "out of memory");
	return 0;
}

int keeper_look_at_copiers(struct keeper *k, struct err *e)
{
	struct ifindexes *wiped = follow_wiped(k->follow);
	size_t before = wiped->count;
	int r = host_look_at_copiers(k->engine.house, &k->view.host, wiped, e);

	if (wiped->count > before && !k->plan_stale) {
		k->plan_stale = true;
		loop_timer_set(k->config.loop, &k->again, 0, keeper_try_again, k);
	}
	return r;
}

/* What is refused again and again may be so because our picture is wrong: a dump of qdiscs leaves
 * out a device, and doesn't say so, where another is deleted meanwhile (tc_dump_qdisc(),
 * net/sched/sch_api.c, goes on by position). */
static bool in_doubt(struct keeper *k)
{
	int64_t now = loop_now();

	if (k->pause < LONG_MS || now - k->doubted < DOUBT_MS)
		return false;
	k->doubted = now;
	return true;
}

int keeper_look(struct keeper *k, struct err *e)
{
	int r = keeper_take_news(k, in_doubt(k) ? follow_renew : follow_take, e);

	/* A port of an appliance that went down can't wait for a plan. */
	prober_update(k->prober, &k->view);
	if (r == 0)
		r = read_notes(k, e);
	k->sessions_stale |= files_take(k->files);
	if (r < 0 || (!k->sessions_stale && !k->plan_stale))
		return r;
	r = keeper_look_at_copiers(k, e);
	if (r == 0)
		r = k->sessions_stale ? load_sessions(k, e)
				      : engine_plan(&k->engine, NULL, &k->view, e);
	if (r < 0)
		return r;
	k->sessions_stale = k->plan_stale = k->plan_told = false;
	loop_timer_clear(k->config.loop, &k->soon);
	return 0;
}

int keeper_copy_picture(struct host *copy, void *data, struct err *e)
{
	struct keeper *k = data;
	int r = keeper_take_news(k, follow_take, e);

	if (r == 0)
		r = keeper_look_at_copiers(k, e);
	return r < 0 ? r : host_copy(&k->view.host, copy, e);
}
