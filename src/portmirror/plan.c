/* SPDX-License-Identifier: MIT */
#include "portmirror/plan.h"

#include <errno.h>
#include <linux/pkt_cls.h>
#include <linux/tc_act/tc_mirred.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "portmirror/inliner.h"
#include "portmirror/plan_work.h"

/* What --isolate sets: the port takes part in nothing but the mirror. */
#define ISOLATE_MASK                                                                               \
	(BRPORT_FLOOD | BRPORT_MCAST_FLOOD | BRPORT_BCAST_FLOOD | BRPORT_LEARNING | BRPORT_ISOLATED)
#define ISOLATE_FLAGS BRPORT_ISOLATED

const char *state_name(enum state state)
{
	static const char *const names[] = {"whole", "partial", "waiting", "suspended", "failed"};

	return names[state];
}

const char *plan_absences(const struct session_state *st)
{
	const char *reasons = st->reasons ? st->reasons : "";
	const char *at = reasons + strlen(reasons);

	for (size_t i = 0; i < st->absent && at > reasons; i++)
		while (--at > reasons && at[-1] != '\n')
			;
	return at;
}

bool plan_only_absences(const struct session_state *st)
{
	return st->absent > 0 && st->pending == 0 && plan_absences(st) == st->reasons;
}

int plan_add_reason(struct session_state *st, const char *sentence)
{
	const char *reasons = st->reasons ? st->reasons : "";
	const char *absences = plan_absences(st);
	char *all;

	if (asprintf(&all, "%.*s%s%s%s%s", (int)(absences - reasons), reasons,
		     *reasons && !*absences ? "\n" : "", sentence, *absences ? "\n" : "",
		     absences) < 0)
		return -ENOMEM;
	free(st->reasons);
	st->reasons = all;
	return 0;
}

static void __attribute__((format(printf, 4, 0)))
say(struct work *w, int state, enum state at_least, const char *format, va_list args)
{
	struct session_state *st = &w->plan->states[state];
	char *sentence = NULL;

	if (st->state < at_least)
		st->state = at_least;
	if (vasprintf(&sentence, format, args) < 0) {
		w->failed = true;
		return;
	}
	w->failed |= plan_add_reason(st, sentence) < 0;
	free(sentence);
}

void plan_say(struct work *w, int state, enum state at_least, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	say(w, state, at_least, format, args);
	va_end(args);
}

void plan_no_program(struct work *w, int state, const struct err *why)
{
	if (why->code == -ENOMEM)
		w->failed = true;
	else
		plan_say(w, state, STATE_FAILED, "filter: %s", why->text);
}

void plan_stuck(struct work *w, int state, const char *format, ...)
{
	va_list args;

	w->plan->states[state].stuck = true;
	va_start(args, format);
	say(w, state, STATE_PARTIAL, format, args);
	va_end(args);
}

void plan_wait(struct work *w, int state, enum state at_least, const char *format, ...)
{
	va_list args;

	w->plan->states[state].waiting++;
	va_start(args, format);
	say(w, state, at_least, format, args);
	va_end(args);
}

void plan_absent(struct work *w, int state, const char *format, ...)
{
	struct session_state *st = &w->plan->states[state];
	size_t before = st->absent;
	va_list args;

	st->waiting++;
	st->absent = 0; /* it comes behind those, too */
	va_start(args, format);
	say(w, state, STATE_PARTIAL, format, args);
	va_end(args);
	st->absent = before + 1;
}

struct op *plan_op(struct work *w, enum op_kind kind, int session, int ifindex, struct op *scrap)
{
	const struct nl_link *link = nl_link_by_index(&w->in->host->links, ifindex);
	struct op *op = scrap;

	if (array_room(&w->plan->ops, &w->plan->ops_room, w->plan->nops, sizeof(*w->plan->ops)) < 0)
		w->failed = true;
	else
		op = &w->plan->ops[w->plan->nops++];
	*op = (struct op){.kind = kind, .session = session, .ifindex = ifindex, .program = -1};
	if (link)
		memcpy(op->port, link->name, sizeof(op->port));
	return op;
}

int plan_owner(const struct work *w, uint32_t action)
{
	for (size_t i = 0; i < w->plan->nstates; i++)
		if (w->plan->states[i].action == action)
			return (int)i;
	return -1;
}

/*
 * Left alone: what belongs to a session whose file can't be read, and what waits for a destination
 * that has vanished. (Such an action has no device any more; one that still has another device
 * would copy to where nobody wants it.)
 */
static bool keeps_action(const struct work *w, const struct tc_action *action)
{
	int owner = plan_owner(w, action->index);

	return owner >= 0 && plan_rests(w, owner) &&
	       (w->in->sessions->items[owner].broken || action->to_ifindex == 0);
}

bool plan_rests(const struct work *w, int state)
{
	const struct session_state *st = &w->plan->states[state];

	if ((w->in->sessions->items[state].broken && !st->held) || st->rests)
		return true;
	return st->state != STATE_FAILED && st->state != STATE_SUSPENDED &&
	       st->session->mode == MODE_MIRROR && st->to_ifindex == 0;
}

static const struct tc_action *action_by_index(const struct host *host, uint32_t index)
{
	for (size_t i = 0; i < host->actions.count; i++)
		if (host->actions.items[i].index == index)
			return &host->actions.items[i];
	return NULL;
}

int plan_direct_owner(const struct work *w, const struct tc_filter *filter)
{
	enum direct does = direct_does(filter, w->in->house);

	for (size_t i = 0; i < w->plan->nstates && does != DIRECT_NONE; i++)
		if (direct_is(filter, does, w->in->house, w->plan->states[i].session->name))
			return (int)i;
	return -1;
}

static bool keeps_programs(const struct work *w, int state)
{
	const char *session = w->plan->states[state].session->name;

	return plan_rests(w, state) &&
	       (host_copier(w->in->host, session) || host_inliner(w->in->host, session));
}

static bool keeps_direct(const struct work *w, const struct tc_filter *filter)
{
	int owner = plan_direct_owner(w, filter);
	bool any = false;

	if (direct_does(filter, w->in->house) != DIRECT_CUTS)
		return owner >= 0 && keeps_programs(w, owner);
	for (size_t i = 0; i < w->plan->nstates; i++)
		any |= keeps_programs(w, (int)i);
	return any;
}

/* (What a filter shows of its action is as old as the look at the filter.) */
bool plan_keeps(const struct work *w, const struct tc_filter *filter)
{
	const struct tc_action *action;

	if (filter->nactions != 1)
		return keeps_direct(w, filter);
	action = action_by_index(w->in->host, filter->actions[0].index);
	return keeps_action(w, action ? action : &filter->actions[0]);
}

/* An action is what the engine tc has of a session. */
static bool wants_action(const struct session_state *st)
{
	return st->engine == ENGINE_TC && st->state != STATE_FAILED && st->to_ifindex != 0;
}

static bool index_used(const struct work *w, uint32_t index)
{
	for (size_t i = 0; i < w->in->host->actions.count; i++)
		if (w->in->host->actions.items[i].index == index)
			return true;
	return plan_owner(w, index) >= 0;
}

static void choose_indexes(struct work *w)
{
	uint32_t next = OURS_FIRST_INDEX;

	for (size_t i = 0; i < w->plan->nstates; i++) {
		if (!wants_action(&w->plan->states[i]) || w->plan->states[i].action != 0)
			continue;
		while (index_used(w, next))
			next++;
		w->plan->states[i].action = next;
	}
}

/* Those of a session that has failed go, and those that can't be had. */
static void drop_wants(struct work *w)
{
	size_t kept = 0;

	for (size_t i = 0; i < w->nwants; i++)
		if (!w->wants[i].stuck && !plan_dead(&w->plan->states[w->wants[i].state]))
			w->wants[kept++] = w->wants[i];
	w->nwants = kept;
}

/* Programs are built, and what the kernel lacks is told, before anything of a session is planned.
 */
static void check_wants(struct work *w)
{
	for (size_t i = 0; i < w->nwants; i++) {
		const struct want *want = &w->wants[i];
		bool every = w->in->filters[want->state].count == 1;

		if (plan_dead(&w->plan->states[want->state]))
			continue;
		if (want->direct != DIRECT_NONE && !w->in->lacks.bpf)
			continue;
		if (want->direct == DIRECT_LEADS) {
			plan_say(w, want->state, STATE_FAILED,
				 "this kernel has neither tcx nor cls_bpf, without which no frame "
				 "can be led through an appliance");
			plan_rest_inline(w, want->state);
		} else if (w->in->lacks.bpf && (want->once || !every)) {
			plan_say(w, want->state, STATE_FAILED,
				 "this kernel has no cls_bpf, without which %s",
				 every ? "a frame that passes two mirrored ports is copied twice"
				       : "it can't run a filter");
		} else if (want->once) {
			if (want->direction & DIRECTION_SENT)
				plan_program(w, want->state, false);
			if (want->direction & DIRECTION_RECEIVED)
				plan_program(w, want->state, true);
		}
	}
	drop_wants(w);
}

static void plan_actions(struct work *w)
{
	const struct host *host = w->in->host;
	struct op scrap;

	for (size_t i = 0; i < w->plan->nstates; i++) {
		const struct session_state *st = &w->plan->states[i];
		const struct tc_action *have = action_by_index(host, st->action);
		const struct nl_link *to = nl_link_by_index(&host->links, st->to_ifindex);
		struct op *op;

		if (!wants_action(st) || !to)
			continue;
		if (have && have->to_ifindex == st->to_ifindex &&
		    have->mirred == TCA_EGRESS_MIRROR && have->control == TC_ACT_UNSPEC)
			continue;
		op = plan_op(w, OP_ACTION_PUT, (int)i, 0, &scrap);
		op->action = st->action;
		op->replace = have != NULL;
		op->to_ifindex = st->to_ifindex;
		memcpy(op->to, to->name, sizeof(op->to));
		ours_cookie(w->in->house, st->session->name, op->cookie);
	}
	for (size_t i = 0; i < host->actions.count; i++) {
		const struct tc_action *a = &host->actions.items[i];
		int owner = plan_owner(w, a->index);

		if (!ours_action(a, w->in->house) || keeps_action(w, a) ||
		    (owner >= 0 && wants_action(&w->plan->states[owner])))
			continue;
		plan_op(w, OP_ACTION_DEL, owner, 0, &scrap)->action = a->index;
	}
}

static void note_flags(struct work *w, const struct nl_link *link, unsigned flags)
{
	struct note note = {.kind = NOTE_ISOLATE, .ifindex = link->index, .flags = flags};

	memcpy(note.port, link->name, sizeof(note.port));
	if (notes_add(&w->plan->notes, &note) < 0)
		w->failed = true;
}

static void isolate(struct work *w, int state, const struct nl_link *link)
{
	const struct note *before = notes_isolate(w->in->notes, link->index);
	struct op scrap, *op;

	if (notes_isolate(&w->plan->notes, link->index))
		return; /* another session's destination too */
	note_flags(w, link, before ? before->flags : link->brport & ISOLATE_MASK);
	if ((link->brport & ISOLATE_MASK) == ISOLATE_FLAGS)
		return;
	op = plan_op(w, OP_ISOLATE, state, link->index, &scrap);
	op->mask = ISOLATE_MASK;
	op->flags = ISOLATE_FLAGS;
}

/* Puts back what nobody has changed since. */
static void restore(struct work *w, const struct note *before, const struct nl_link *link)
{
	unsigned ours = ~(link->brport ^ ISOLATE_FLAGS) & ISOLATE_MASK;
	unsigned differ = (before->flags ^ ISOLATE_FLAGS) & ours;
	struct op scrap, *op;

	if (!differ)
		return;
	note_flags(w, link, before->flags);
	op = plan_op(w, OP_RESTORE, -1, link->index, &scrap);
	op->mask = differ;
	op->flags = before->flags & differ;
}

static bool bridge_port(const struct nl_link *link)
{
	return link && strcmp(link->port_kind, "bridge") == 0;
}

static void plan_isolation(struct work *w)
{
	const struct nl_links *links = &w->in->host->links;

	for (size_t i = 0; i < w->plan->nstates; i++) {
		const struct session_state *st = &w->plan->states[i];
		size_t nto =
			st->state != STATE_FAILED && st->session->isolate ? st->session->nto : 0;

		for (size_t j = 0; j < nto; j++) {
			const struct nl_link *link = nl_link_by_index(links, st->to[j]);

			if (bridge_port(link))
				isolate(w, (int)i, link);
		}
	}
	for (size_t i = 0; i < w->in->notes->count; i++) {
		const struct note *n = &w->in->notes->items[i];
		const struct nl_link *link = nl_link_by_index(links, n->ifindex);

		if (n->kind == NOTE_ISOLATE && bridge_port(link) &&
		    !notes_isolate(&w->plan->notes, n->ifindex))
			restore(w, n, link);
	}
}

static bool concerns_us(const struct work *w, int ifindex)
{
	const struct tc_filter *filters;
	size_t count = host_filters(w->in->host, ifindex, &filters);

	for (size_t i = 0; i < count; i++)
		if (ours_filter(&filters[i], w->in->house) ||
		    direct_does(&filters[i], w->in->house) != DIRECT_NONE)
			return true;
	for (size_t i = 0; i < w->in->notes->count; i++)
		if (w->in->notes->items[i].ifindex == ifindex &&
		    w->in->notes->items[i].kind == NOTE_QDISC)
			return true;
	return false;
}

static void plan_ports(struct work *w)
{
	size_t at = 0;

	for (size_t i = 0; i < w->in->host->links.count; i++) {
		const struct nl_link *link = &w->in->host->links.items[i];
		size_t first = at;

		/* Both in the order of their indices, and what is wanted is wanted of a link. */
		while (at < w->nwants && w->wants[at].ifindex <= link->index)
			at++;
		if (at > first || concerns_us(w, link->index))
			plan_port(w, link, w->wants + first, at - first);
	}
}

/* By kind; but no copy is to go whole because what shortens it comes later than what copies, or
 * goes earlier. */
static int place_of(const struct op *op)
{
	if (op->kind == OP_FILTER_PUT)
		return 2 * (int)op->kind + !op->cuts;
	return 2 * (int)(op->kind == OP_FILTER_DEL && op->cuts ? OP_QDISC_DEL : op->kind) +
	       op->cuts;
}

/* Otherwise in the order in which they were planned (which qsort() would not keep). */
static void sort_ops(struct work *w)
{
	struct plan *plan = w->plan;
	struct op *sorted = calloc(plan->nops + 1, sizeof(*sorted));
	size_t count = 0;

	if (!sorted) {
		w->failed = true;
		return;
	}
	for (int place = 0; place < 2 * (OP_UNPIN + 1); place++)
		for (size_t i = 0; i < plan->nops; i++)
			if (place_of(&plan->ops[i]) == place)
				sorted[count++] = plan->ops[i];
	free(plan->ops);
	plan->ops = sorted;
	plan->ops_room = count + 1;
}

static void count_pending(struct plan *plan)
{
	for (size_t i = 0; i < plan->nops; i++)
		if (plan->ops[i].session >= 0)
			plan->states[plan->ops[i].session].pending++;
}

struct lacks lacks_shown(const struct host *host, const struct notes *notes, uint32_t house)
{
	struct lacks lacks = {0};

	for (size_t i = 0; i < notes->count; i++)
		lacks.prio |= notes->items[i].kind == NOTE_QDISC &&
			      strcmp(notes->items[i].qdisc, "htb") == 0;
	for (size_t i = 0; i < host->filters.count; i++) {
		const struct tc_filter *f = &host->filters.items[i];

		if (!ours_filter(f, house) || strcmp(f->kind, "bpf") == 0)
			continue;
		lacks.bpf = true;
		lacks.matchall |= strcmp(f->kind, "u32") == 0;
	}
	return lacks;
}

int plan_make(const struct plan_input *in, struct plan *plan, struct err *e)
{
	size_t count = in->sessions->count;
	struct plan made = {.nstates = count};
	struct work w = {.in = in, .plan = &made};

	made.states = calloc(count + 1, sizeof(*made.states));
	w.program_of = calloc(2 * count + 1, sizeof(*w.program_of));
	w.loads = calloc(count + 1, sizeof(*w.loads));
	w.failed = !made.states || !w.program_of || !w.loads;
	if (!w.failed) {
		plan_resolve(&w);
		choose_indexes(&w);
		plan_once(&w);
		plan_split(&w);
		check_wants(&w);
		plan_check_directs(&w);
		drop_wants(&w);
		plan_copies(&w);
		drop_wants(&w);
		plan_actions(&w);
		plan_isolation(&w);
		plan_ports(&w);
		sort_ops(&w);
		count_pending(&made);
	}
	free(w.wants);
	free(w.copies);
	free(w.program_of);
	free(w.loads);
	if (w.failed) {
		plan_free(&made);
		return err_set(e, -ENOMEM, "out of memory");
	}
	*plan = made;
	return 0;
}

void plan_free(struct plan *plan)
{
	for (size_t i = 0; plan->states && i < plan->nstates; i++) {
		free(plan->states[i].reasons);
		ifindexes_free(&plan->states[i].from);
		ifindexes_free(&plan->states[i].barred);
	}
	for (size_t i = 0; i < plan->nprograms; i++)
		once_free(&plan->programs[i].program);
	free(plan->states);
	free(plan->programs);
	free(plan->ops);
	notes_free(&plan->notes);
	*plan = (struct plan){0};
}

struct session_state *plan_state(const struct plan *plan, const char *name)
{
	for (size_t i = 0; i < plan->nstates; i++)
		if (strcmp(plan->states[i].session->name, name) == 0)
			return &plan->states[i];
	return NULL;
}
