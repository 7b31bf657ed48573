/* SPDX-License-Identifier: MIT */
#include "portmirrord/keeper.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <time.h>

#include "base/err.h"
#include "base/file.h"
#include "base/loop.h"
#include "base/mem.h"
#include "netlink/nl.h"
#include "portmirror/events.h"
#include "portmirrord/files.h"
#include "portmirrord/follow.h"
#include "portmirrord/keeper_private.h"
#include "portmirrord/machines.h"
#include "portmirrord/tell.h"

enum {
	LOCK_AGAIN_MS = 20,  /* somebody else changes something: it is a matter of milliseconds */
	LOCK_LONG_MS = 5000, /* or not, and is told: it may have been stopped */
	LOCK_SELDOM_MS = 500,
	LOCK_EDIT_MS = 250, /* how long an edit waits for them */
	AGAIN_FIRST_MS = 2, /* what the kernel could not do yet is tried again, later each time */
	AGAIN_LAST_MS = 60000,
	POLL_MS = 30000,
	ACT_MS = 50, /* what takes longer goes on when the rest of the loop has had its turn */
};

static void pass(struct keeper *k);

/* Something was told of: one event, one line of the journal. */
void keeper_tell(struct keeper *k, const char *kind, const char *session, const char *sentence)
{
	static const char *const bad[] = {"session-failed", "fight",   "refused",
					  "error",	    "overrun", "appliance-failed"};
	int priority = LOG_INFO;
	struct err e = {0};
	char line[700];

	for (size_t i = 0; i < COUNT(bad); i++)
		if (strcmp(kind, bad[i]) == 0)
			priority = LOG_WARNING;
	snprintf(line, sizeof(line), "%s%s%s", session, *session ? ": " : "", sentence);
	k->config.log(priority, line, k->config.data);
	if (events_add(k->events, kind, session, &e, "%s", sentence) < 0)
		k->config.log(LOG_ERR, e.text, k->config.data);
	k->changes |= KEEPER_EVENTS;
}

static void tell_one(const char *kind, const char *session, const char *sentence, void *data)
{
	keeper_tell(data, kind, session, sentence);
}

/* The same failure is told once, until something succeeds. */
static void tell_failure(struct keeper *k, const struct err *e)
{
	k->counts.failed++;
	if (strcmp(k->failure, e->text) == 0)
		return;
	memcpy(k->failure, e->text, sizeof(k->failure));
	keeper_tell(k, "error", "", e->text);
}

static bool has_work(const struct keeper *k)
{
	return k->view.plan.nops > 0 || !notes_equal(&k->view.notes, &k->view.plan.notes);
}

void keeper_look_again(struct keeper *k)
{
	k->plan_stale = true;
	pass(k);
}

void keeper_try_again(void *data)
{
	keeper_look_again(data);
}

/* Sooner where news came meanwhile; but those may be of what we do ourselves, again and again. */
static void try_later(struct keeper *k)
{
	k->pause = k->pause == 0 ? AGAIN_FIRST_MS : k->pause * 2;
	if (k->pause > AGAIN_LAST_MS)
		k->pause = AGAIN_LAST_MS;
	loop_timer_set(k->config.loop, &k->again, k->plan_stale ? k->pause / 8 : k->pause,
		       keeper_try_again, k);
}

void keeper_add_reason(struct keeper *k, int session, const char *sentence)
{
	struct session_state *st = &k->view.plan.states[session];

	st->pending++;
	if (!st->reasons || !strstr(st->reasons, sentence))
		(void)plan_add_reason(st, sentence);
}

/* What the kernel refuses is part of the session's state; it is tried again now and then. */
static void keep_refusals(struct keeper *k, const struct outcome *outcome)
{
	for (size_t i = 0; i < outcome->nrefusals; i++) {
		const struct refusal *r = &outcome->refusals[i];
		const struct session_state *st = plan_state(&k->view.plan, r->session);
		struct err e;

		err_set(&e, -EINVAL, "%s", r->text);
		if (st)
			keeper_add_reason(k, (int)(st - k->view.plan.states), r->text);
		else
			tell_failure(k, &e);
	}
}

/* Appliances are watched while links are made, be they many; an edit is done in one go. */
static bool between(size_t done, size_t total, void *data)
{
	struct keeper *k = data;

	prober_go_on(k->prober);
	if (k->config.busy)
		k->config.busy(k->config.data);
	k->unfinished = k->begun != 0 && done < total && loop_now() - k->begun >= ACT_MS;
	return !k->unfinished;
}

/* Under the lock. What we do is told by the kernel at once, and taken in. */
static int carry_out(struct keeper *k, struct err *e)
{
	struct outcome outcome cleanup(outcome_free) = {0};
	int r;

	k->counts.reconciled++;
	keeper_hold_back(k);
	k->begun = k->in_one_go ? 0 : loop_now();
	r = engine_act(&k->engine, &k->view, &outcome, e);
	k->begun = 0;
	(void)file_mark_same(&k->notes, k->engine.store.notes);
	if (r < 0)
		return r;
	k->plan_told = false;
	keep_refusals(k, &outcome);
	keeper_say_held_back(k);
	keeper_tell_repairs(k, &outcome);
	r = keeper_take_news(k, follow_take, e);
	if (r < 0 || k->unfinished) /* the next pass looks before it goes on */
		return r;
	return host_look_at_copiers(k->engine.house, &k->view.host, NULL, e);
}

static int reconcile_locked(struct keeper *k, struct err *e)
{
	int r = keeper_look(k, e);

	if (r == 0 && has_work(k))
		r = carry_out(k, e);
	return r;
}

/* -EBUSY: somebody else holds the lock. */
static int lock_now(const struct keeper *k, struct err *e)
{
	int fd = file_try_lock(k->engine.store.lock, e);

	if (fd != -ENOENT)
		return fd;
	fd = folder_make(k->folder, 0755, e);
	return fd < 0 ? fd : file_try_lock(k->engine.store.lock, e);
}

static int reconcile(struct keeper *k, struct err *e)
{
	int lock cleanup(fd_close_at) = -1;
	int r = keeper_look(k, e);

	if (r < 0 || !has_work(k))
		return r;
	lock = lock_now(k, e);
	return lock < 0 ? lock : reconcile_locked(k, e);
}

static void tell_all(struct keeper *k)
{
	const struct teller teller = {tell_one, k};

	follow_wiped(k->follow)->count = follow_touched(k->follow)->count = 0;
	if (!k->plan_told && told_update(k->told, &k->view, &teller) < 0)
		k->config.log(LOG_ERR, "out of memory", k->config.data);
	if (!k->plan_told)
		k->changes |= KEEPER_SESSIONS;
	k->plan_told = true;
	if (!k->changes)
		return;
	k->generation++;
	if (k->config.changed)
		k->config.changed(k->changes, k->config.data);
	k->changes = 0;
}

static bool in_use(uint32_t id, const void *data)
{
	return host_map_of(data, id) != 0;
}

/* Of programs that no filter refers to any more, whoever removed it. */
static void let_go(struct keeper *k)
{
	host_drop_programs(&k->view.host);
	once_hold_keep(&k->engine.hold, in_use, &k->view.host);
}

/* An appliance has failed, or is back: the sessions' states are others. */
static void appliance_told(const char *kind, const char *session, const char *sentence, void *data)
{
	struct keeper *k = data;

	keeper_tell(k, kind, session, sentence);
	k->plan_stale = true;
	loop_timer_set(k->config.loop, &k->again, 0, keeper_try_again, k);
}

static void wait_for_lock(struct keeper *k)
{
	int64_t now = loop_now();
	struct err e;

	if (k->locked_out == 0)
		k->locked_out = now;
	if (now - k->locked_out < LOCK_LONG_MS) {
		loop_timer_set(k->config.loop, &k->again, LOCK_AGAIN_MS, keeper_try_again, k);
		return;
	}
	err_set(&e, -EBUSY,
		"another portmirror has held %s for seconds: nothing is set up or mended meanwhile",
		k->engine.store.lock);
	tell_failure(k, &e);
	loop_timer_set(k->config.loop, &k->again, LOCK_SELDOM_MS, keeper_try_again, k);
}

static void settle(struct keeper *k, int r, const struct err *e)
{
	prober_update(k->prober, &k->view);
	if (r == -EBUSY) {
		/* There is nothing else to tell before it is done, one way or the other. */
		wait_for_lock(k);
		return;
	}
	k->locked_out = 0;
	if (r == 0 && k->unfinished) {
		k->unfinished = false;
		k->goes_on = true;
		loop_timer_set(k->config.loop, &k->again, 0, keeper_try_again, k);
		return; /* likewise */
	}
	if (r < 0)
		tell_failure(k, e);
	else if (!k->plan_told)
		let_go(k);
	if (r < 0 || k->view.plan.nops > 0) {
		try_later(k);
	} else {
		k->pause = 0;
		*k->failure = '\0';
		loop_timer_clear(k->config.loop, &k->again);
		/* News that came while it was carried out. */
		if (k->plan_stale)
			loop_timer_set(k->config.loop, &k->again, 0, keeper_try_again, k);
	}
	tell_all(k);
}

/* What the kernel has just turned out to lack is done without at once. */
static void pass(struct keeper *k)
{
	struct lacks before = k->engine.lacks;
	struct err e = {0};
	int r = reconcile(k, &e);

	if (r == 0 && memcmp(&before, &k->engine.lacks, sizeof(before)) != 0) {
		k->plan_stale = true;
		r = reconcile(k, &e);
	}
	settle(k, r, &e);
}

static void news(void *data)
{
	pass(data);
}

static void machines_changed(void *data)
{
	struct keeper *k = data;

	k->changes |= KEEPER_HOST;
	keeper_look_again(k);
}

static bool any_broken(const struct sessions *sessions)
{
	for (size_t i = 0; i < sessions->count; i++)
		if (sessions->items[i].broken)
			return true;
	return false;
}

/* Nobody tells when a program of ours is detached by force, or a pin removed; nor when what kept
 * the engine bpf or in-line sessions from being had, or a file from being read, is no longer so. */
static void poll_files(void *data)
{
	struct keeper *k = data;

	loop_timer_set(k->config.loop, &k->poll, POLL_MS, poll_files, k);
	k->engine.lacks.copy[0] = k->engine.lacks.lead[0] = '\0';
	k->sessions_stale |= files_poll(k->files) || any_broken(&k->sessions);
	keeper_look_again(k);
}

static int open_parts(struct keeper *k, struct err *e)
{
	const struct keeper_config *c = &k->config;
	struct follow_config follow = {.loop = c->loop,
				       .engine = &k->engine,
				       .host = &k->view.host,
				       .news = news,
				       .data = k};
	struct prober_config prober = {
		.loop = c->loop, .house = k->engine.house, .told = appliance_told, .data = k};
	char *path cleanup(free_at) = string_fmt("%s/events", k->folder);
	int r = path ? folder_make(k->folder, 0755, e) : err_set(e, -ENOMEM, "out of memory");

	if (r == 0)
		r = events_open(path, &k->events, e);
	if (r == 0 && told_new(k->events, &k->told) < 0)
		r = err_set(e, -ENOMEM, "out of memory");
	/* Watched first, read then: nothing falls between. */
	if (r == 0)
		r = files_new(c->loop, &k->engine.store, news, k, &k->files, e);
	if (r == 0)
		r = follow_new(&follow, &k->follow, e);
	if (r == 0)
		r = prober_new(&prober, &k->prober, e);
	if (r == 0)
		r = machines_new(c->loop, &k->view.host, machines_changed, k, &k->machines, e);
	return r;
}

static void take_over(struct keeper *k)
{
	for (size_t i = 0; i < k->config.nkept; i++)
		(void)once_hold_take(&k->engine.hold, k->config.kept[i].program,
				     k->config.kept[i].fd);
	k->engine.hold.told = k->config.held;
	k->engine.hold.data = k->config.data;
}

int keeper_new(const struct keeper_config *config, struct keeper **keeper, struct err *e)
{
	struct keeper *k = calloc(1, sizeof(*k));
	int r;

	if (!k)
		return err_set(e, -ENOMEM, "out of memory");
	k->config = *config;
	r = engine_open(config->root, &k->engine, e);
	k->engine.preferred = config->preferred;
	if (r < 0) {
		free(k);
		return r;
	}
	k->engine.hold.lasting = true;
	take_over(k);
	k->view.sessions = &k->sessions;
	k->sessions_stale = true;
	k->folder = strdup(k->engine.store.lock);
	if (k->folder)
		*strrchr(k->folder, '/') = '\0';
	r = k->folder ? open_parts(k, e) : err_set(e, -ENOMEM, "out of memory");
	if (r < 0) {
		keeper_free(k);
		return r;
	}
	k->engine.picture = keeper_copy_picture;
	k->engine.picture_data = k;
	k->engine.between = between;
	k->engine.between_data = k;
	*keeper = k;
	return 0;
}

void keeper_start(struct keeper *k)
{
	k->started = true;
	keeper_tell(k, "started", "", "portmirrord " VERSION " follows this host from now on");
	loop_timer_set(k->config.loop, &k->poll, POLL_MS, poll_files, k);
	k->in_one_go = true; /* who has started it is told when all is done */
	pass(k);
	k->in_one_go = false;
}

void keeper_free(struct keeper *k)
{
	if (!k)
		return;
	if (k->started)
		keeper_tell(k, "stopped", "",
			    "portmirrord ends; the kernel goes on copying as it stands");
	loop_timer_clear(k->config.loop, &k->again);
	loop_timer_clear(k->config.loop, &k->soon);
	loop_timer_clear(k->config.loop, &k->poll);
	machines_free(k->machines);
	prober_free(k->prober);
	follow_free(k->follow);
	files_free(k->files);
	told_free(k->told);
	events_close(k->events);
	keeper_free_fights(k);
	view_free(&k->view);
	sessions_free(&k->sessions);
	k->engine.hold.told = NULL; /* what systemd keeps for us, it keeps */
	engine_close(&k->engine);
	free(k->folder);
	free(k);
}

const struct sessions *keeper_sessions(const struct keeper *k)
{
	return &k->sessions;
}

const struct view *keeper_view(const struct keeper *k)
{
	return &k->view;
}

uint64_t keeper_generation(const struct keeper *k)
{
	return k->generation;
}

struct events *keeper_events(struct keeper *k)
{
	return k->events;
}

const struct store *keeper_store(const struct keeper *k)
{
	return &k->engine.store;
}

enum engine_kind keeper_preferred(const struct keeper *k)
{
	const struct host *host = &k->view.host;

	if (k->engine.preferred != ENGINE_AUTO)
		return k->engine.preferred;
	return host->tcx && !*host->no_pins ? ENGINE_BPF : ENGINE_TC;
}

void keeper_counts(const struct keeper *k, struct keeper_counts *counts)
{
	*counts = k->counts;
}

void keeper_renew(struct keeper *k)
{
	struct err e = {0};
	int r = keeper_take_news(k, follow_renew, &e);

	k->sessions_stale = true;
	if (r < 0)
		settle(k, r, &e);
	else
		pass(k);
}

static int lock_soon(const struct keeper *k, struct err *e)
{
	for (int waited = 0;; waited += 10) {
		int fd = lock_now(k, e);

		if (fd != -EBUSY)
			return fd;
		if (waited >= LOCK_EDIT_MS)
			return err_set(e, -EBUSY,
				       "another portmirror is changing something; try again");
		nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
	}
}

int keeper_edit(struct keeper *k,
		int (*edit)(struct engine *engine, struct sessions *sessions, void *data,
			    struct err *e),
		void *data, struct err *e)
{
	int lock cleanup(fd_close_at) = lock_soon(k, e);
	struct sessions sessions cleanup(sessions_free) = {0};
	struct err why = {0};
	int edited, r;

	if (lock < 0)
		return lock;
	r = store_load(&k->engine.store, &sessions, e);
	if (r < 0)
		return r;
	edited = edit(&k->engine, &sessions, data, e);
	k->sessions_stale = k->plan_stale = true;
	(void)files_take(k->files);
	r = reconcile_locked(k, &why);
	settle(k, r, &why);
	return edited;
}
