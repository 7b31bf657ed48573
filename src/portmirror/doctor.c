/* SPDX-License-Identifier: MIT */
#include "portmirror/doctor.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "portmirror/doctor_work.h"
#include "portmirror/facts.h"
#include "portmirror/host.h"
#include "portmirror/op.h"
#include "portmirror/ours.h"
#include "portmirror/plan.h"
#include "portmirror/store.h"

const char *severity_name(enum severity severity)
{
	static const char *const names[] = {"hint", "warning", "error"};

	return names[severity];
}

char *doctor_text(struct work *w, const char *format, ...)
{
	char *text = NULL;
	va_list args;
	int r;

	va_start(args, format);
	r = vasprintf(&text, format, args);
	va_end(args);
	if (r >= 0)
		return text;
	w->failed = true;
	return NULL;
}

static bool known(const struct findings *findings, const char *name, const char *sentence)
{
	for (size_t i = 0; i < findings->count; i++)
		if (strcmp(findings->items[i].name, name) == 0 &&
		    strcmp(findings->items[i].sentence, sentence) == 0)
			return true;
	return false;
}

static void finding_free(struct finding *f)
{
	free(f->session);
	free(f->subject);
	free(f->sentence);
	free(f->cure);
}

void doctor_add(struct work *w, enum severity severity, const char *name,
		const struct session_state *st, const char *subject, char *sentence, char *cure)
{
	struct findings *all = &w->findings;
	struct finding f = {.severity = severity, .name = name, .sentence = sentence, .cure = cure};

	if (sentence && known(all, name, sentence)) {
		finding_free(&f);
		return;
	}
	if (st)
		f.session = doctor_text(w, "%s", st->session->name);
	if (subject)
		f.subject = doctor_text(w, "%s", subject);
	if (!sentence || !cure || w->failed ||
	    array_room(&all->items, &all->room, all->count, sizeof(*all->items)) < 0) {
		w->failed = true;
		finding_free(&f);
		return;
	}
	all->items[all->count++] = f;
}

/* What a POSIX shell leaves as it is. */
static bool plain(const char *text)
{
	static const char safe[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
				   "0123456789-_./:@%+,=";

	return *text && text[strspn(text, safe)] == '\0';
}

static void quote(struct buf *b, const char *text)
{
	if (plain(text)) {
		buf_str(b, text);
		return;
	}
	buf_char(b, '\'');
	for (; *text; text++) {
		if (*text == '\'')
			buf_str(b, "'\\''");
		else
			buf_char(b, *text);
	}
	buf_char(b, '\'');
}

const char *doctor_quote(struct work *w, struct quoted *quoted, const char *device)
{
	struct buf b cleanup(buf_free) = {0};
	const char *number = nl_link_number(device);

	if (number)
		buf_fmt(&b, "if%s", number);
	else
		quote(&b, device);
	w->failed |= buf_status(&b) < 0;
	snprintf(quoted->text, sizeof(quoted->text), "%s", buf_text(&b));
	return quoted->text;
}

/* (In words that keep whatever else the session has.) */
char *doctor_isolate(struct work *w, const struct session *s)
{
	return doctor_text(w, "(portmirror export %s; echo 'isolate: true') | portmirror apply -",
			   s->name);
}

char *doctor_one_direction(struct work *w, const struct session *s)
{
	return doctor_text(w, "(portmirror export %s; echo 'direction: sent') | portmirror apply -",
			   s->name);
}

/* A command that ends in the session's name, and more; or that doesn't need it. */
struct cure {
	const char *before;
	const char *after; /* NULL: no name either */
};

static const char *next_line(const char *at)
{
	size_t len = strcspn(at, "\n");

	return at + len + (at[len] == '\n');
}

static void add_reason(struct work *w, const struct session_state *st, const char *line,
		       enum severity severity, const char *name, const struct cure *cure)
{
	doctor_add(w, severity, name, st, NULL,
		   doctor_text(w, "%.*s", (int)strcspn(line, "\n"), line),
		   doctor_text(w, "%s%s%s", cure->before, cure->after ? st->session->name : "",
			       cure->after ? cure->after : ""));
}

/* What the planner had to say of a session, line by line. That a source is absent is no fault: the
 * same file may be on each host of a fleet. */
static void each_reason(struct work *w, const struct session_state *st, enum severity severity,
			const struct cure *cure)
{
	static const struct cure none = {
		"none is needed where it is on another host; else start the machine or make the "
		"device, then: portmirror apply",
		NULL};
	const char *name = severity == SEVERITY_ERROR  ? "session-failed"
			   : severity == SEVERITY_HINT ? "session-suspended"
						       : "session-not-whole";
	const char *absences = plan_absences(st);
	const char *at = st->reasons;

	for (; at && *at && at != absences; at = next_line(at))
		add_reason(w, st, at, severity, name, cure);
	for (; at && *at; at = next_line(at))
		add_reason(w, st, at, SEVERITY_HINT, "source-absent", &none);
}

static void look_at_session(struct work *w, const struct session_state *st, bool broken)
{
	static const struct cure mend = {"mend the file, then: portmirror apply", NULL};
	static const struct cure again = {"portmirror rm ", ", and add it as it should be"};
	static const struct cure mend_it = {"mend that, then: portmirror apply", NULL};
	static const struct cure look = {"portmirror show ", ""};
	static const struct cure restore = {"portmirror restore ", ""};
	static const struct cure wait = {
		"start the machine or make the device, then: portmirror apply", NULL};

	if (broken) {
		each_reason(w, st, SEVERITY_ERROR, &mend);
	} else if (st->state == STATE_FAILED) {
		each_reason(w, st, SEVERITY_ERROR, st->held || st->rests ? &mend_it : &again);
	} else if (st->state == STATE_SUSPENDED) {
		each_reason(w, st, SEVERITY_HINT, &restore);
	} else {
		each_reason(w, st, SEVERITY_WARNING, st->stuck ? &look : &wait);
		if (st->pending > 0)
			doctor_add(w, SEVERITY_WARNING, "session-not-applied", st, NULL,
				   doctor_text(w, "the kernel differs from what is saved"),
				   doctor_text(w, "portmirror apply"));
		if (st->session->mode == MODE_INLINE) {
			doctor_inline(w, st);
			return;
		}
		doctor_destinations(w, st);
		doctor_sources(w, st);
	}
}

/* A session that is saved has filters on the device: what goes there is its own affair. */
static bool claimed(const struct work *w, int ifindex)
{
	const struct tc_filter *filters;
	size_t count = host_filters(w->in->host, ifindex, &filters);

	for (size_t i = 0; i < count; i++)
		for (size_t j = 0; j < w->in->plan->nstates; j++)
			if (ours_copies(&filters[i], w->in->house,
					w->in->plan->states[j].session->name,
					w->in->plan->states[j].action))
				return true;
	return false;
}

static bool is_leftover(const struct work *w, const struct op *op)
{
	if (op->session >= 0)
		return false;
	return op->kind == OP_ACTION_DEL || op->kind == OP_FILTER_DEL || op->kind == OP_RESTORE ||
	       op->kind == OP_UNLINK || op->kind == OP_UNPIN ||
	       (op->kind == OP_QDISC_DEL && !claimed(w, op->ifindex));
}

/* What the next apply would take away, because no session is there for it. */
static void look_at_leftovers(struct work *w)
{
	const struct plan *plan = w->in->plan;
	size_t count = 0;
	char first[200];

	for (size_t i = 0; i < plan->nops; i++)
		if (is_leftover(w, &plan->ops[i]) && count++ == 0)
			op_text(&plan->ops[i], first, sizeof(first));
	if (count == 0)
		return;
	doctor_add(w, SEVERITY_WARNING, "leftovers", NULL, NULL,
		   doctor_text(w,
			       "sessions that are no longer saved have left %zu thing%s in the "
			       "kernel; apply would %s%s",
			       count, count == 1 ? "" : "s", first,
			       count == 1 ? "" : ", and so on"),
		   doctor_text(w, "portmirror apply"));
}

static void look_at_other_houses(struct work *w)
{
	const struct tc_actions *actions = &w->in->host->actions;

	for (size_t i = 0; i < actions->count; i++) {
		const struct tc_action *a = &actions->items[i];

		if (ours_somewhere(a) && !ours_action(a, w->in->house))
			doctor_add(w, SEVERITY_HINT, "another-root", NULL, NULL,
				   doctor_text(w,
					       "the mirror action %u belongs to a session that is "
					       "saved under another --root",
					       a->index),
				   doctor_text(w, "portmirror --root DIR list, with its folder"));
	}
}

static void look_at_kernel(struct work *w)
{
	const struct facts *facts = w->in->facts;
	const struct {
		bool lacks;
		enum severity severity;
		const char *name, *sentence, *cure;
	} parts[] = {
		{facts->lacks_mirred, SEVERITY_ERROR, "no-mirred",
		 "this kernel has no act_mirred, without which nothing can be mirrored",
		 "modprobe act_mirred, or a kernel with CONFIG_NET_ACT_MIRRED"},
		{facts->lacks_clsact, SEVERITY_ERROR, "no-clsact",
		 "this kernel has no clsact and no ingress qdisc, without which nothing that "
		 "machines send can be mirrored",
		 "modprobe sch_ingress, or a kernel with CONFIG_NET_SCH_INGRESS"},
		{facts->lacks_bpf, SEVERITY_WARNING, "no-bpf",
		 "this kernel has no cls_bpf, without which it can't run a --filter, nor keep a "
		 "frame that passes two mirrored ports from being copied twice",
		 "modprobe cls_bpf, or a kernel with CONFIG_NET_CLS_BPF"},
	};

	for (size_t i = 0; facts->probed && i < COUNT(parts); i++)
		if (parts[i].lacks)
			doctor_add(w, parts[i].severity, parts[i].name, NULL, NULL,
				   doctor_text(w, "%s", parts[i].sentence),
				   doctor_text(w, "%s", parts[i].cure));
}

/* Otherwise in the order in which they were found, which qsort() would not keep. */
static int sort(struct work *w)
{
	struct findings *all = &w->findings;
	struct finding *sorted = calloc(all->count + 1, sizeof(*sorted));
	size_t count = 0;

	if (!sorted)
		return -ENOMEM;
	for (int severity = SEVERITY_ERROR; severity >= SEVERITY_HINT; severity--)
		for (size_t i = 0; i < all->count; i++)
			if ((int)all->items[i].severity == severity)
				sorted[count++] = all->items[i];
	free(all->items);
	all->items = sorted;
	all->room = count + 1;
	return 0;
}

static void look_at_fights(struct work *w)
{
	for (size_t i = 0; i < w->in->facts->nfights; i++) {
		const struct fact_fight *fight = &w->in->facts->fights[i];

		doctor_add(w, SEVERITY_WARNING, "fight", plan_state(w->in->plan, fight->session),
			   fight->port,
			   doctor_text(w,
				       "something else keeps removing the mirror from %s, and "
				       "portmirrord leaves it alone for longer each time",
				       fight->port),
			   doctor_text(w,
				       "find out what sets up traffic control on %s (a network "
				       "manager, libvirt's bandwidth, a script), and keep it "
				       "away from there",
				       fight->port));
	}
}

static void look_at_files(struct work *w)
{
	for (size_t i = 0; i < w->in->facts->nmisnamed; i++) {
		const char *path = w->in->facts->misnamed[i];
		char name[SESSION_NAME_MAX + 1];
		struct err why = {0};

		(void)store_name_of(strrchr(path, '/') + 1, name, &why);
		doctor_add(w, SEVERITY_HINT, "file-not-read", NULL, path,
			   doctor_text(w, "%s is not read: %s", path, why.text),
			   doctor_text(w, "rename it, then: portmirror apply"));
	}
}

int doctor_look(const struct doctor_input *in, struct findings *findings, struct err *e)
{
	struct work w = {.in = in};

	look_at_kernel(&w);
	for (size_t i = 0; i < in->plan->nstates; i++)
		look_at_session(&w, &in->plan->states[i], in->sessions->items[i].broken != NULL);
	look_at_leftovers(&w);
	look_at_other_houses(&w);
	look_at_fights(&w);
	look_at_files(&w);
	if (w.failed || sort(&w) < 0) {
		findings_free(&w.findings);
		return err_set(e, -ENOMEM, "out of memory");
	}
	*findings = w.findings;
	return 0;
}

void findings_free(struct findings *findings)
{
	for (size_t i = 0; i < findings->count; i++)
		finding_free(&findings->items[i]);
	free(findings->items);
	*findings = (struct findings){0};
}
