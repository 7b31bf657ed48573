/* SPDX-License-Identifier: MIT */
#include "portmirror/edit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/file.h"
#include "base/mem.h"
#include "portmirror/ours.h"

/* Why a session can't be carried out as things stand; NULL: it can. */
static const char *objection(const struct session_state *st, const struct edit *edit)
{
	if (st->state == STATE_FAILED || st->stuck)
		return st->reasons;
	if (edit->strict && st->waiting > 0)
		return st->reasons;
	return NULL;
}

/* The first line only: one sentence is wanted. */
static int refuse(const char *name, const char *why, struct err *e)
{
	return err_set(e, -EINVAL, "%s: %.*s", name, (int)strcspn(why, "\n"), why);
}

static int say_unchanged(int r, struct err *e)
{
	struct err first = *e;

	return err_set(e, r, "%s; nothing was changed", first.text);
}

/* An edit of one session, in the list already; and what was there before. */
struct change {
	struct engine *engine;
	struct sessions *sessions;
	char name[SESSION_NAME_MAX + 1];
	bool replaced;
	struct saved before; /* where replaced is set; and its file, byte for byte: somebody may */
	char *file;	     /* have written remarks there. NULL where it is gone */
	size_t len;
};

static void change_free(struct change *c)
{
	session_free(&c->before.session);
	free(c->before.broken);
	free(c->file);
	c->before = (struct saved){0};
}

/* The list as it was. */
static void put_back(struct change *c)
{
	struct saved *now = sessions_find(c->sessions, c->name);

	if (!c->replaced) {
		sessions_drop(c->sessions, c->name);
	} else if (now) {
		session_free(&now->session);
		free(now->broken);
		*now = c->before;
		c->before = (struct saved){0};
	}
}

/* The file as it was. Untouched where it is so already: a disk that is full takes nothing back. */
static int restore_file(const struct change *c, const char *path, struct err *e)
{
	char *now cleanup(free_at) = NULL;
	size_t len = 0;
	int r = store_read_file(path, &now, &len, NULL);

	if (!c->file)
		return r == -ENOENT ? 0 : file_remove(path, e);
	if (r == 0 && len == c->len && memcmp(now, c->file, len) == 0)
		return 0;
	return store_write_file(path, c->file, c->len, e);
}

/* List, file and, where it was changed, kernel as they were. False: that failed, which is told
 * behind the sentence in e. */
static bool undo(struct change *c, bool changed, struct err *e)
{
	struct outcome outcome cleanup(outcome_free) = {0};
	const struct saved *now = sessions_find(c->sessions, c->name);
	char *path cleanup(free_at) = now ? store_path(&c->engine->store, &now->session) : NULL;
	struct err why = {0};
	int r = path ? restore_file(c, path, &why) : err_set(&why, -ENOMEM, "out of memory");

	put_back(c);
	if (r == 0 && changed)
		r = engine_apply(c->engine, c->sessions, NULL, NULL, &outcome, &why);
	if (r == 0 && outcome.nrefusals > 0)
		r = err_set(&why, -EIO, "%s", outcome.refusals[0].text);
	if (r < 0) {
		struct err first = *e;

		err_set(e, first.code, "%s; taking it back failed too: %s", first.text, why.text);
	}
	return r == 0;
}

static int carry_out(struct change *c, const struct edit *edit, struct view *first,
		     struct outcome *outcome, struct err *e)
{
	struct outcome made cleanup(outcome_free) = {0};
	const struct session_state *st;
	const char *refusal;
	int r = store_save(&c->engine->store, &sessions_find(c->sessions, c->name)->session, e);

	if (r < 0) {
		view_free(first);  /* it borrows from the list */
		undo(c, false, e); /* the file may be there all the same, but not for sure */
		return r;
	}
	r = engine_apply(c->engine, c->sessions, c->name, first, &made, e);
	if (r < 0) {
		undo(c, true, e);
		return r;
	}
	refusal = outcome_refusal(&made, c->name);
	st = plan_state(&made.view.plan, c->name);
	if (!refusal && st)
		refusal = objection(st, edit);
	if (refusal) {
		r = refuse(c->name, refusal, e);
		outcome_free(&made); /* it borrows from the list */
		return undo(c, true, e) ? say_unchanged(r, e) : r;
	}
	*outcome = made;
	made = (struct outcome){0};
	return 0;
}

/* Looks whether the list as changed can be carried out, and does so unless dry. */
static int commit(struct change *c, const struct edit *edit, struct outcome *outcome, struct err *e)
{
	struct view view cleanup(view_free) = {0};
	const struct session_state *st;
	const char *why;
	int r = engine_look(c->engine, c->sessions, c->name, &view, e);

	if (r < 0) {
		put_back(c);
		return r;
	}
	st = plan_state(&view.plan, c->name);
	why = st ? objection(st, edit) : NULL;
	if (why) {
		r = say_unchanged(refuse(c->name, why, e), e);
		view_free(&view);
		put_back(c);
		return r;
	}
	if (!edit->dry)
		return carry_out(c, edit, &view, outcome, e);
	outcome->view = view;
	view = (struct view){0};
	return 0;
}

/* Takes the session into the list, and keeps what was there. */
static int enter(struct change *c, struct session *session, struct err *e)
{
	struct saved *old = sessions_find(c->sessions, session->name);
	char *path cleanup(free_at) = NULL;
	int r;

	memcpy(c->name, session->name, sizeof(c->name));
	if (!old)
		return sessions_put(c->sessions, session) < 0 ? err_set(e, -ENOMEM, "out of memory")
							      : 0;
	path = store_path(&c->engine->store, session);
	if (!path)
		r = err_set(e, -ENOMEM, "out of memory");
	else
		r = store_read_file(path, &c->file, &c->len, e);
	if (r < 0 && r != -ENOENT) {
		session_free(session);
		return r;
	}
	c->replaced = true;
	c->before = *old;
	*old = (struct saved){.session = *session};
	*session = (struct session){0};
	return 0;
}

int edit_put(struct engine *engine, struct sessions *sessions, struct session *session,
	     bool replace, const struct edit *edit, struct outcome *outcome, struct err *e)
{
	struct change c cleanup(change_free) = {.engine = engine, .sessions = sessions};
	int r;

	if (!replace && sessions_find(sessions, session->name)) {
		r = err_set(e, -EEXIST, "there is a session named %s already", session->name);
		session_free(session);
		return r;
	}
	r = enter(&c, session, e);
	return r < 0 ? r : commit(&c, edit, outcome, e);
}

int edit_suspend(struct engine *engine, struct sessions *sessions, const char *name, bool suspended,
		 const struct edit *edit, struct outcome *outcome, struct err *e)
{
	const struct saved *saved = sessions_find(sessions, name);
	struct change c cleanup(change_free) = {.engine = engine, .sessions = sessions};
	struct session session = {0};
	int r;

	if (!saved)
		return err_set(e, -ENOENT, "there is no session named %s; nothing was changed",
			       name);
	if (saved->broken)
		return say_unchanged(refuse(name, saved->broken, e), e);
	r = session_copy(&saved->session, &session, e);
	if (r < 0)
		return r;
	session.suspended = suspended;
	r = enter(&c, &session, e);
	return r < 0 ? r : commit(&c, edit, outcome, e);
}

/* A name without a file may still have kernel state: its file was removed by hand. */
static bool known(const struct engine *engine, const struct sessions *sessions,
		  const struct view *view, const char *name)
{
	uint8_t cookie[TC_COOKIE];

	if (sessions_find(sessions, name))
		return true;
	ours_cookie(engine->store.house, name, cookie);
	for (size_t i = 0; i < view->host.actions.count; i++)
		if (ours_somewhere(&view->host.actions.items[i]) &&
		    memcmp(view->host.actions.items[i].cookie, cookie, TC_COOKIE) == 0)
			return true;
	for (size_t i = 0; i < view->host.pins.count; i++)
		if (strcmp(view->host.pins.items[i].session, name) == 0)
			return true;
	return false;
}

static int all_known(struct engine *engine, struct sessions *sessions, const char *const *names,
		     size_t count, struct err *e)
{
	struct view view cleanup(view_free) = {0};
	int r = engine_look(engine, sessions, NULL, &view, e);

	for (size_t i = 0; r == 0 && i < count; i++)
		if (!known(engine, sessions, &view, names[i]))
			r = err_set(e, -ENOENT, "there is no session named %s; nothing was changed",
				    names[i]);
	return r;
}

/* Whether this one is to go. */
static bool named(const char *const *names, size_t count, const char *name)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(names[i], name) == 0)
			return true;
	return count == 0;
}

/* Drops them from the sessions, and their files unless dry. */
static int drop(const struct engine *engine, struct sessions *sessions, const char *const *names,
		size_t count, bool dry, size_t *dropped, struct err *e)
{
	for (size_t i = 0; i < sessions->count;) {
		const struct session *s = &sessions->items[i].session;
		int r = 0;

		if (!named(names, count, s->name)) {
			i++;
			continue;
		}
		if (!dry)
			r = store_remove(&engine->store, s, e);
		if (r < 0 && r != -ENOENT)
			return r;
		sessions_drop(sessions, s->name);
		(*dropped)++;
	}
	return 0;
}

int edit_remove(struct engine *engine, struct sessions *sessions, const char *const *names,
		size_t count, const struct edit *edit, size_t *removed, struct outcome *outcome,
		struct err *e)
{
	size_t dropped = 0;
	struct notes notes cleanup(notes_free) = {0};
	/* Whoever could not read what we noted would forget sessions that it can't take away. */
	int r = count > 0 ? all_known(engine, sessions, names, count, e)
			  : notes_read(engine->store.notes, &notes, e);

	if (r == 0)
		r = drop(engine, sessions, names, count, edit->dry, &dropped, e);
	if (r == 0 && edit->dry)
		r = engine_look(engine, sessions, NULL, &outcome->view, e);
	else if (r == 0)
		r = engine_apply(engine, sessions, NULL, NULL, outcome, e);
	if (r == 0)
		*removed = dropped;
	return r;
}
