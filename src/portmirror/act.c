/* SPDX-License-Identifier: MIT */
#include "portmirror/act.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "netlink/nl.h"
#include "portmirror/copier.h"
#include "portmirror/engine.h"
#include "portmirror/inliner.h"
#include "portmirror/op.h"

/* A pinned program, opened once for all filters that have it: there may be more of those than a
 * process may have descriptors. */
struct pinned {
	const struct op *op; /* one of theirs */
	int fd;
};

/* The programs of a plan, as descriptors, which are the engine's (once_hold.h). */
struct programs {
	struct once_hold *hold;
	int *fds;  /* of each program; -1: not opened */
	int *maps; /* of each program: its destination's map; -1: none yet */
	size_t count;
	struct pinned *pinned; /* those of direct-action filters: open until all is sent */
	size_t npinned, pinned_room;
};

static void programs_free(struct programs *p)
{
	for (size_t i = 0; i < p->npinned; i++)
		fd_close_at(&p->pinned[i].fd);
	free(p->pinned);
	free(p->fds);
	free(p->maps);
}

static int programs_init(struct programs *p, struct once_hold *hold, size_t count)
{
	p->hold = hold;
	p->fds = calloc(count + 1, sizeof(*p->fds));
	p->maps = calloc(count + 1, sizeof(*p->maps));
	if (!p->fds || !p->maps)
		return -ENOMEM;
	p->count = count;
	for (size_t i = 0; i < count; i++)
		p->fds[i] = p->maps[i] = -1;
	return 0;
}

static int open_map(const struct plan *plan, struct programs *p, size_t i, struct err *e)
{
	uint32_t id = plan->programs[i].map_id;
	int r;

	for (size_t j = 0; j < p->count; j++)
		if (plan->programs[j].to_ifindex == plan->programs[i].to_ifindex && p->maps[j] >= 0)
			return p->maps[i] = p->maps[j];
	r = id ? once_hold_map(p->hold, id) : once_hold_new_map(p->hold, e);
	if (r < 0)
		return id ? err_sys(e, r, "can't open the map in use") : r;
	return p->maps[i] = r;
}

static int open_program(const struct plan *plan, struct programs *p, size_t i, struct err *e)
{
	int r;

	if (p->fds[i] >= 0)
		return p->fds[i];
	if (plan->programs[i].loaded) {
		r = once_hold_program(p->hold, plan->programs[i].loaded);
		if (r >= 0)
			return p->fds[i] = r;
	}
	r = open_map(plan, p, i, e);
	if (r < 0)
		return r;
	r = once_hold_load(p->hold, &plan->programs[i].program, r, e);
	return r < 0 ? r : (p->fds[i] = r);
}

static int open_pinned(const struct engine *engine, const struct op *op, struct programs *programs,
		       struct err *e)
{
	char path[PIN_PATH];
	int fd;

	for (size_t i = 0; i < programs->npinned; i++) {
		const struct op *had = programs->pinned[i].op;

		if (strcmp(had->pin, op->pin) == 0 && strcmp(had->owner, op->owner) == 0)
			return programs->pinned[i].fd;
	}
	if (array_room(&programs->pinned, &programs->pinned_room, programs->npinned,
		       sizeof(*programs->pinned)) < 0)
		return err_set(e, -ENOMEM, "out of memory");
	pin_path(engine->house, op->owner, op->pin, path);
	fd = pin_open(path, e);
	if (fd == -ENOENT)
		return err_sys(e, fd, "%s", path);
	if (fd >= 0)
		programs->pinned[programs->npinned++] = (struct pinned){op, fd};
	return fd;
}

static int put_filter(struct nl_batch *batch, const struct engine *engine, const struct plan *plan,
		      const struct op *op, struct programs *programs, struct err *e)
{
	struct tc_rule rule = op->rule;

	if (op->direct != DIRECT_NONE) {
		rule.program_fd = open_pinned(engine, op, programs, e);
		if (rule.program_fd < 0)
			return rule.program_fd;
		rule.name = op->direct_name;
	} else if (op->program >= 0) {
		rule.program_fd = open_program(plan, programs, (size_t)op->program, e);
		if (rule.program_fd < 0)
			return rule.program_fd;
		rule.name = plan->programs[op->program].name;
	}
	tc_put_filter(batch, &rule, op->replace);
	return 0;
}

/* One message for the operation. 1: it needs none, see by_bpf(). */
static int put(struct nl_batch *batch, const struct engine *engine, const struct plan *plan,
	       const struct op *op, struct programs *programs, struct err *e)
{
	switch (op->kind) {
	case OP_ACTION_PUT:
		tc_put_mirred(batch, op->action, op->to_ifindex, op->cookie, op->replace);
		return 0;
	case OP_ISOLATE:
	case OP_RESTORE:
		nl_put_brport(batch, op->ifindex, op->mask, op->flags);
		return 0;
	case OP_QDISC_ADD:
		tc_put_qdisc_add(batch, op->ifindex, op->parent, op->handle, op->qdisc);
		return 0;
	case OP_QDISC_CLEAR:
	case OP_QDISC_DEL:
		tc_put_qdisc_del(batch, op->ifindex, op->parent, op->handle, op->qdisc);
		return 0;
	case OP_FILTER_PUT:
		return put_filter(batch, engine, plan, op, programs, e);
	case OP_FILTER_DEL:
		tc_put_filter_del(batch, op->ifindex, op->parent, op->rule.pref, op->protocol,
				  op->rule.handle, op->filter_kind);
		return 0;
	case OP_ACTION_DEL:
		tc_put_mirred_del(batch, op->action);
		return 0;
	case OP_COPY_MAPS:
	case OP_COPY_PROGRAMS:
	case OP_CUT_PROGRAM:
	case OP_CUT_LINK:
	case OP_COPY_CONFIG:
	case OP_COPY_LINK:
	case OP_UNLINK:
	case OP_UNPIN:
	case OP_INLINE_MAPS:
	case OP_INLINE_PROGRAMS:
	case OP_INLINE_STATE:
	case OP_INLINE_LINK:
	case OP_INLINE_FORGET:
	default:
		return 1;
	}
}

/* No message to the kernel, but a deed of the engine bpf, or for an in-line session. */
static bool by_bpf(const struct op *op)
{
	return copier_does(op) || inliner_does(op);
}

static int act_by_bpf(const struct engine *engine, const struct view *view, const struct op *op,
		      struct err *e)
{
	return inliner_does(op) ? inliner_act(engine, view, op, e)
				: copier_act(engine, view, op, e);
}

/* What refused() below works with. */
struct answers {
	struct engine *engine;
	const struct plan *plan;
	struct outcome *outcome;
	size_t first;  /* the operation that the first message of a batch is for */
	bool *refused; /* for each operation: it was not done */
	bool failed;   /* out of memory */
};

static bool gone(int code)
{
	return code == -ENODEV || code == -ENXIO || code == -ENOENT || code == -EINVAL;
}

/* What says nothing about the kernel, and may go well the next time. */
static bool temporary(int code)
{
	return code == -ENOMEM || code == -EMFILE || code == -ENFILE || code == -EIO ||
	       code == -EAGAIN;
}

/* The kernel lacks a part that it could have: remember it, and plan without. */
static bool learn(struct lacks *lacks, const struct op *op, int code, const char *words)
{
	bool *lack = NULL;

	if ((op->kind == OP_COPY_MAPS || op->kind == OP_COPY_PROGRAMS) && !temporary(code)) {
		snprintf(lacks->copy, sizeof(lacks->copy), "%s", words);
		return true;
	}
	if ((op->kind == OP_INLINE_MAPS || op->kind == OP_INLINE_PROGRAMS) && !temporary(code)) {
		snprintf(lacks->lead, sizeof(lacks->lead), "%s", words);
		return true;
	}
	if (op->kind == OP_QDISC_ADD && strcmp(op->qdisc, "prio") == 0)
		lack = &lacks->prio;
	else if (op->kind == OP_FILTER_PUT && op->rule.match == TC_MATCH_ALL)
		lack = &lacks->matchall;
	else if (op->kind == OP_FILTER_PUT && op->rule.match != TC_MATCH_U32)
		lack = &lacks->bpf;
	if (!lack || (code != -ENOENT && code != -EOPNOTSUPP))
		return false;
	*lack = true;
	return true;
}

/* Somebody else was quicker, or a device has gone: the next look sees it. */
static bool passing(const struct op *op, int code)
{
	switch (op->kind) {
	case OP_ACTION_DEL:
		/* Filters let go of their action an RCU grace period after they are deleted. */
		return gone(code) || code == -EPERM;
	case OP_QDISC_CLEAR:
	case OP_QDISC_DEL:
	case OP_FILTER_DEL:
	case OP_RESTORE:
	case OP_COPY_CONFIG: /* its pin is gone */
	case OP_INLINE_STATE:
	case OP_INLINE_FORGET:
		return gone(code);
	case OP_QDISC_ADD:
		return code == -ENODEV || code == -EEXIST || code == -EBUSY;
	case OP_COPY_LINK:
	case OP_CUT_LINK:
	case OP_INLINE_LINK:
		/* -EEXIST: one that a crash has left half pinned goes first. */
		return code == -ENODEV || code == -ENOENT || code == -ENOLINK || code == -EEXIST;
	case OP_UNLINK:
	case OP_UNPIN:
		return false;
	case OP_ACTION_PUT:
	case OP_ISOLATE:
	case OP_FILTER_PUT:
	case OP_COPY_MAPS:
	case OP_COPY_PROGRAMS:
	case OP_CUT_PROGRAM:
	case OP_INLINE_MAPS:
	case OP_INLINE_PROGRAMS:
	default:
		return code == -ENODEV || code == -EEXIST;
	}
}

static int refuse(struct answers *a, const struct op *op, int code, const char *words)
{
	struct outcome *outcome = a->outcome;
	const char *session = op->session >= 0 ? a->plan->states[op->session].session->name : "";
	struct refusal refusal = {0};
	char what[160];

	if (outcome_refusal(outcome, session))
		return 0; /* one sentence a session: the first is the cause */
	if (array_room(&outcome->refusals, &outcome->refusals_room, outcome->nrefusals,
		       sizeof(*outcome->refusals)) < 0)
		return -ENOMEM;
	op_text(op, what, sizeof(what));
	/* (A failure of the engine bpf is a sentence that has the system's words in it.) */
	if (by_bpf(op) ? asprintf(&refusal.text, "can't %s: %s", what, words) < 0
		       : asprintf(&refusal.text, "the kernel refuses to %s: %s%s%s%s", what,
				  *words ? words : strerror(-code), *words ? " (" : "",
				  *words ? strerror(-code) : "", *words ? ")" : "") < 0)
		return -ENOMEM;
	snprintf(refusal.session, sizeof(refusal.session), "%s", session);
	outcome->refusals[outcome->nrefusals++] = refusal;
	return 0;
}

/* A filter without its qdisc, or without its action, is refused for their sake: theirs counts. So
 * it is with a link without its program, and with all that the engine bpf does for a session. */
static bool follows(const struct answers *a, size_t number)
{
	const struct op *op = &a->plan->ops[number];

	for (size_t i = 0; i < number; i++) {
		const struct op *before = &a->plan->ops[i];

		if (!a->refused[i])
			continue;
		if (by_bpf(op) && by_bpf(before) && before->session == op->session)
			return true;
		if (op->kind != OP_FILTER_PUT)
			continue;
		if (before->kind == OP_QDISC_ADD && before->ifindex == op->ifindex)
			return true;
		if (before->kind == OP_ACTION_PUT && before->action == op->rule.mirred)
			return true;
	}
	return false;
}

static void refused(size_t message, int code, const char *words, void *data)
{
	struct answers *a = data;
	size_t number = a->first + message;
	const struct op *op = &a->plan->ops[number];

	a->refused[number] = true;
	if (follows(a, number) || passing(op, code) || learn(&a->engine->lacks, op, code, words))
		return;
	if (refuse(a, op, code, words) < 0)
		a->failed = true;
}

/* A filter whose program could not be loaded; and whatever would copy frames that nothing cuts. */
static bool in_vain(const struct answers *a, size_t number)
{
	const struct op *op = &a->plan->ops[number];
	bool direct = op->kind == OP_FILTER_PUT && op->direct != DIRECT_NONE;
	bool cut = op->session >= 0 && a->plan->states[op->session].session->snap > 0 &&
		   (direct || op->kind == OP_COPY_LINK);

	for (size_t i = 0; (direct || cut) && i < number; i++) {
		const struct op *before = &a->plan->ops[i];

		if (!a->refused[i] || !by_bpf(before))
			continue;
		if ((direct && before->session == op->session) ||
		    (cut && (before->kind == OP_CUT_PROGRAM || before->kind == OP_CUT_LINK)))
			return true;
	}
	return false;
}

/* The messages of neighbours, sent together. Returns the number of the operation behind them. */
static int send_some(struct answers *a, size_t *number, struct programs *programs, struct err *e)
{
	struct nl_batch batch cleanup(nl_batch_free) = {0};
	size_t i = *number;
	int r;

	a->first = i;
	for (; i < a->plan->nops && !in_vain(a, i); i++) {
		r = put(&batch, a->engine, a->plan, &a->plan->ops[i], programs, e);
		if (r < 0)
			return r;
		if (r > 0)
			break;
	}
	*number = i;
	return nl_batch_send(a->engine->nl, &batch, refused, a, e);
}

static int do_all(struct answers *a, const struct view *view, struct programs *programs,
		  struct err *e)
{
	size_t i = 0;
	int r = 0;

	while (r == 0 && i < a->plan->nops) {
		struct err why = {0};

		if (in_vain(a, i)) {
			a->refused[i++] = true;
			continue;
		}
		if (!by_bpf(&a->plan->ops[i])) {
			r = send_some(a, &i, programs, e);
			continue;
		}
		a->first = i++;
		if (act_by_bpf(a->engine, view, &a->plan->ops[a->first], &why) < 0)
			refused(0, why.code, why.text, a);
		if (a->engine->between &&
		    !a->engine->between(i, a->plan->nops, a->engine->between_data))
			break;
	}
	if (r < 0)
		return r;
	while (i < a->plan->nops)
		a->refused[i++] = true;
	return a->failed ? err_set(e, -ENOMEM, "out of memory") : 0;
}

static int remember(const struct answers *a)
{
	struct outcome *o = a->outcome;

	for (size_t i = 0; i < a->plan->nops; i++) {
		if (a->refused[i])
			continue;
		if (array_room(&o->done, &o->done_room, o->ndone, sizeof(*o->done)) < 0)
			return -ENOMEM;
		o->done[o->ndone] = a->plan->ops[i];
		/* What these point to ends with the view. */
		o->done[o->ndone].rule.code = NULL;
		o->done[o->ndone].rule.name = NULL;
		o->ndone++;
	}
	return 0;
}

int act(struct engine *engine, const struct view *view, struct outcome *outcome, struct err *e)
{
	const struct plan *plan = &view->plan;
	struct programs programs cleanup(programs_free) = {0};
	bool *refused_ones cleanup(free_at) = calloc(plan->nops + 1, sizeof(*refused_ones));
	struct answers a = {
		.engine = engine, .plan = plan, .outcome = outcome, .refused = refused_ones};
	int r;

	if (!refused_ones || programs_init(&programs, &engine->hold, plan->nprograms) < 0)
		return err_set(e, -ENOMEM, "out of memory");
	r = do_all(&a, view, &programs, e);
	if (r == 0 && remember(&a) < 0)
		r = err_set(e, -ENOMEM, "out of memory");
	if (!engine->hold.lasting)
		once_hold_free(&engine->hold);
	return r;
}
