/* SPDX-License-Identifier: MIT */
#include "portmirror/engine.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/err.h"
#include "base/mem.h"
#include "bpf/pin.h"
#include "netlink/nl.h"
#include "portmirror/act.h"
#include "portmirror/copier.h"

/*
 * Most often one round does. More are needed where the kernel lacks something, where others change
 * the host at the same time, and until deleted filters have let go of their actions. All pauses
 * together are four seconds.
 */
#define ROUNDS	       12
#define FIRST_PAUSE_NS 1000000

int engine_open(const char *root, struct engine *engine, struct err *e)
{
	struct engine made = {0};
	int r = store_open(root, &made.store, e);

	if (r < 0)
		return r;
	r = pin_house(made.store.house, made.house, e);
	if (r == 0)
		r = nl_open(&made.nl, e);
	if (r < 0) {
		store_close(&made.store);
		return r;
	}
	*engine = made;
	return 0;
}

void engine_close(struct engine *engine)
{
	nl_close(engine->nl);
	once_hold_free(&engine->hold);
	store_close(&engine->store);
	*engine = (struct engine){0};
}

/* A suspended session's is not asked: bypass is the way out, also where it can't be compiled. */
static const char *filter_of(const struct session *session)
{
	return session->suspended ? NULL : session->filter;
}

static bool same_filter(const struct session *a, const struct session *b)
{
	return filter_of(a) && filter_of(b) && strcmp(a->filter, b->filter) == 0;
}

/* Libpcap takes milliseconds for a filter of fifty ports, and seconds for one of some hundred. */
static bool take_known(const struct compiled *known, const struct session *session,
		       struct bytecode *code)
{
	const struct saved *saved =
		known->filters ? sessions_find(known->sessions, session->name) : NULL;
	const struct bytecode *from;

	if (!saved || saved->broken || !same_filter(&saved->session, session))
		return false;
	from = &known->filters[saved - known->sessions->items];
	code->code = from->code ? calloc(from->count, sizeof(*from->code)) : NULL;
	if (!code->code)
		return false;
	memcpy(code->code, from->code, from->count * sizeof(*from->code));
	code->count = from->count;
	return true;
}

int engine_compile(const struct engine *engine, struct sessions *sessions,
		   struct bytecode **filters, struct err *e)
{
	struct bytecode *made = calloc(sessions->count + 1, sizeof(*made));
	struct filter_compiler compiler cleanup(filter_compiler_close) = {0};

	if (!made)
		return err_set(e, -ENOMEM, "out of memory");
	*filters = made;
	for (size_t i = 0; i < sessions->count; i++) {
		struct saved *saved = &sessions->items[i];
		struct err why = {0};

		if (saved->broken || take_known(&engine->known, &saved->session, &made[i]) ||
		    filter_compile_by(&compiler, filter_of(&saved->session), &made[i], &why) == 0)
			continue;
		if (why.code == -ENOMEM)
			return err_set(e, -ENOMEM, "out of memory");
		err_where(&why, "filter");
		saved->broken = strdup(why.text);
		/* Nobody knows which frames are meant: what is to be stopped is all of them. */
		if (!saved->broken || filter_compile(NULL, &made[i], NULL) < 0)
			return err_set(e, -ENOMEM, "out of memory");
	}
	return 0;
}

static bool any_vm(const struct selector *items, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (items[i].kind == SELECTOR_VM || items[i].kind == SELECTOR_MAC)
			return true;
	return false;
}

static bool needs_vms(const struct sessions *sessions)
{
	for (size_t i = 0; i < sessions->count; i++) {
		const struct session *s = &sessions->items[i].session;

		if (sessions->items[i].broken)
			continue;
		if (any_vm(s->to, s->nto) || any_vm(s->from, s->nfrom) ||
		    (s->mode == MODE_INLINE && any_vm(s->through, SIDES)))
			return true;
	}
	return false;
}

int engine_plan(struct engine *engine, const char *newest, struct view *view, struct err *e)
{
	struct lacks shown = lacks_shown(&view->host, &view->notes, engine->store.house);
	struct plan_input in = {
		.sessions = view->sessions,
		.filters = view->filters,
		.newest = newest,
		.host = &view->host,
		.notes = &view->notes,
		.lacks = engine->lacks,
		.house = engine->store.house,
		.preferred = engine->preferred,
	};
	struct plan made;
	int r;

	in.lacks.bpf |= shown.bpf;
	in.lacks.matchall |= shown.matchall;
	in.lacks.prio |= shown.prio;
	r = plan_make(&in, &made, e);
	if (r < 0)
		return r;
	plan_free(&view->plan);
	view->plan = made;
	return 0;
}

static int look_at_host(struct engine *engine, struct view *view, struct err *e)
{
	if (engine->picture)
		return engine->picture(&view->host, engine->picture_data, e);
	return host_look(engine->nl, &engine->hold, engine->house, needs_vms(view->sessions),
			 &view->host, e);
}

static int look(struct engine *engine, const char *newest, struct view *view, struct err *e)
{
	int r = engine_compile(engine, view->sessions, &view->filters, e);

	if (r == 0)
		r = notes_read(engine->store.notes, &view->notes, e);
	if (r == 0)
		r = look_at_host(engine, view, e);
	if (r == 0)
		r = engine_plan(engine, newest, view, e);
	return r;
}

int engine_look(struct engine *engine, struct sessions *sessions, const char *newest,
		struct view *view, struct err *e)
{
	struct view made = {.sessions = sessions};
	int r = look(engine, newest, &made, e);

	if (r < 0) {
		view_free(&made);
		return r;
	}
	*view = made;
	return 0;
}

void view_free(struct view *view)
{
	for (size_t i = 0; view->filters && i < view->sessions->count; i++)
		bytecode_free(&view->filters[i]);
	free(view->filters);
	plan_free(&view->plan);
	host_free(&view->host);
	notes_free(&view->notes);
	*view = (struct view){0};
}

/* All was carried out: what was planned is what there is, and needs no second look. */
static void settle(struct plan *plan)
{
	for (size_t i = 0; i < plan->nops; i++) {
		const struct op *op = &plan->ops[i];
		const struct note *note = NULL;

		if (op->kind == OP_QDISC_DEL || op->kind == OP_QDISC_CLEAR)
			note = notes_qdisc(&plan->notes, op->ifindex, op->parent, op->qdisc);
		else if (op->kind == OP_RESTORE)
			note = notes_isolate(&plan->notes, op->ifindex);
		if (note)
			notes_drop(&plan->notes, note);
	}
	plan->nops = 0;
	for (size_t i = 0; i < plan->nstates; i++)
		plan->states[i].pending = 0;
}

static int write_notes(const struct engine *engine, struct view *view, struct err *e)
{
	int r;

	if (notes_equal(&view->notes, &view->plan.notes))
		return 0;
	r = notes_write(engine->store.notes, &view->plan.notes, e);
	if (r == 0 && notes_copy(&view->notes, &view->plan.notes) < 0)
		r = err_set(e, -ENOMEM, "out of memory");
	return r;
}

int engine_act(struct engine *engine, struct view *view, struct outcome *outcome, struct err *e)
{
	size_t done = outcome->ndone;
	/* Noted before it is done: a note too many means nothing. */
	int r = write_notes(engine, view, e);

	if (r == 0 && view->plan.nops > 0) {
		copier_forget_ports(engine, &view->host);
		r = act(engine, view, outcome, e);
	}
	if (r < 0 || outcome->ndone - done < view->plan.nops)
		return r;
	settle(&view->plan);
	return write_notes(engine, view, e);
}

/* Nothing is left to do: what was refused has been done since, or is no longer wanted. */
static void forget_refusals(struct outcome *outcome)
{
	for (size_t i = 0; i < outcome->nrefusals; i++)
		free(outcome->refusals[i].text);
	outcome->nrefusals = 0;
}

/* Twice as long as the last time. */
static void pause_for(int round)
{
	long ns = FIRST_PAUSE_NS * (1L << round);

	nanosleep(&(struct timespec){.tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000}, NULL);
}

/* What was compiled for the look before, if there was one, is taken over. */
static int look_again(struct engine *engine, struct sessions *sessions, const char *newest,
		      struct view *view, struct err *e)
{
	struct view before cleanup(view_free) = *view;
	struct compiled known = engine->known;
	int r;

	*view = (struct view){0};
	if (before.sessions)
		engine->known = (struct compiled){before.sessions, before.filters};
	r = engine_look(engine, sessions, newest, view, e);
	engine->known = known;
	return r;
}

static int rounds(struct engine *engine, struct sessions *sessions, const char *newest,
		  struct outcome *outcome, struct err *e)
{
	struct view *view = &outcome->view;

	for (int i = 0; i < ROUNDS; i++) {
		size_t refused = outcome->nrefusals, done = outcome->ndone;
		int r = 0;

		if (i > 0 || !view->sessions)
			r = look_again(engine, sessions, newest, view, e);
		if (r == 0)
			r = engine_act(engine, view, outcome, e);
		if (r < 0)
			return r;
		if (view->plan.nops == 0) {
			forget_refusals(outcome);
			if (view->host.pins.count == 0)
				pin_tidy();
			return 0;
		}
		if (outcome->nrefusals > 0 && outcome->ndone == done)
			return 0; /* nothing but what is refused for good is left */
		if (outcome->nrefusals == refused)
			pause_for(i);
	}
	return err_set(e, -EBUSY,
		       "something else keeps changing the traffic control that portmirror sets up; "
		       "portmirror apply tries again");
}

int engine_apply(struct engine *engine, struct sessions *sessions, const char *newest,
		 struct view *first, struct outcome *outcome, struct err *e)
{
	struct outcome made = {0};
	int r;

	if (first) {
		made.view = *first;
		*first = (struct view){0};
	}
	r = rounds(engine, sessions, newest, &made, e);
	if (r < 0) {
		outcome_free(&made);
		return r;
	}
	*outcome = made;
	return 0;
}

void outcome_free(struct outcome *outcome)
{
	forget_refusals(outcome);
	free(outcome->refusals);
	free(outcome->done);
	view_free(&outcome->view);
	*outcome = (struct outcome){0};
}

const char *outcome_refusal(const struct outcome *outcome, const char *session)
{
	for (size_t i = 0; i < outcome->nrefusals; i++)
		if (strcmp(outcome->refusals[i].session, session) == 0)
			return outcome->refusals[i].text;
	return NULL;
}
