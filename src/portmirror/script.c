/* SPDX-License-Identifier: MIT */
#include "portmirror/script.h"

#include <errno.h>
#include <linux/pkt_sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "netlink/link.h"
#include "portmirror/engine.h"
#include "portmirror/host.h"
#include "portmirror/object.h"
#include "portmirror/ours.h"
#include "portmirror/store.h"

#define COLUMNS 76 /* of base64, as base64(1) has it */
#define PLAIN	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-"

/* Where one operation takes filters away: a hook's preference, or all hooks of a qdisc. */
static bool in_place(const struct tc_filter *f, const struct op *op)
{
	if (f->ifindex != op->ifindex)
		return false;
	if (op->kind == OP_QDISC_DEL)
		return TC_H_MAJ(f->parent) == TC_H_MAJ(op->handle);
	return f->parent == op->parent && f->pref == op->rule.pref;
}

static void forget_filters(struct tc_filters *filters, const struct op *op)
{
	bool whole = op->kind == OP_QDISC_DEL || op->rule.handle == 0;
	bool others = false;
	size_t kept = 0;

	for (size_t i = 0; !whole && i < filters->count; i++) {
		const struct tc_filter *f = &filters->items[i];

		others |= in_place(f, op) && f->handle != 0 && f->handle != op->rule.handle;
	}
	/* The bare row of a preference goes with its last filter. */
	for (size_t i = 0; i < filters->count; i++) {
		const struct tc_filter *f = &filters->items[i];

		if (!in_place(f, op) || (others && f->handle != op->rule.handle))
			filters->items[kept++] = *f;
	}
	filters->count = kept;
}

static void forget_qdisc(struct tc_qdiscs *qdiscs, const struct op *op)
{
	size_t kept = 0;

	for (size_t i = 0; i < qdiscs->count; i++) {
		const struct tc_qdisc *q = &qdiscs->items[i];

		if (q->ifindex != op->ifindex || q->parent != op->parent)
			qdiscs->items[kept++] = *q;
	}
	qdiscs->count = kept;
}

static void forget_action(struct tc_actions *actions, uint32_t index)
{
	size_t kept = 0;

	for (size_t i = 0; i < actions->count; i++)
		if (actions->items[i].index != index)
			actions->items[kept++] = actions->items[i];
	actions->count = kept;
}

static void restore_port(struct nl_links *links, const struct op *op)
{
	for (size_t i = 0; i < links->count; i++)
		if (links->items[i].index == op->ifindex)
			links->items[i].brport =
				(links->items[i].brport & ~op->mask) | (op->flags & op->mask);
}

/* The picture as it is when the operation, one that removes, has been carried out. */
static void carry_out(struct host *host, const struct op *op)
{
	switch (op->kind) {
	case OP_QDISC_DEL:
		forget_filters(&host->filters, op);
		forget_qdisc(&host->qdiscs, op);
		break;
	case OP_FILTER_DEL:
		forget_filters(&host->filters, op);
		break;
	case OP_RESTORE:
		restore_port(&host->links, op);
		break;
	case OP_ACTION_DEL:
		forget_action(&host->actions, op->action);
		break;
	case OP_ACTION_PUT:
	case OP_ISOLATE:
	case OP_QDISC_CLEAR:
	case OP_QDISC_ADD:
	case OP_FILTER_PUT:
	case OP_INLINE_MAPS:
	case OP_INLINE_PROGRAMS:
	case OP_INLINE_STATE:
	case OP_INLINE_LINK:
	case OP_INLINE_FORGET:
	case OP_COPY_MAPS:
	case OP_COPY_PROGRAMS:
	case OP_CUT_PROGRAM:
	case OP_CUT_LINK:
	case OP_COPY_CONFIG:
	case OP_COPY_LINK:
	case OP_UNLINK:
	case OP_UNPIN:
	default:
		break; /* not where nothing is wanted */
	}
}

int host_without_ours(struct host *host, const struct notes *notes, uint32_t house, struct err *e)
{
	const struct sessions nothing = {0};
	struct plan_input in = {.sessions = &nothing, .host = host, .notes = notes, .house = house};
	struct plan removal cleanup(plan_free) = {0};
	int r = plan_make(&in, &removal, e);

	for (size_t i = 0; r == 0 && i < removal.nops; i++)
		carry_out(host, &removal.ops[i]);
	host_free_copiers(host);
	return r;
}

/* Leaves the planner an action of the session's that has no device: it keeps the number. */
static int keep_number(struct host *host, const struct session_state *st, uint32_t house)
{
	struct tc_actions *actions = &host->actions;
	struct tc_action action = {.kind = "mirred", .index = st->action, .cookie_len = TC_COOKIE};

	if (st->action == 0)
		return 0;
	if (array_room(&actions->items, &actions->room, actions->count, sizeof(action)) < 0)
		return -ENOMEM;
	ours_cookie(house, st->session->name, action.cookie);
	actions->items[actions->count++] = action;
	return 0;
}

int script_possible(const struct session *session, struct err *e)
{
	if (session->mode != MODE_INLINE)
		return 0;
	return err_set(
		e, -EOPNOTSUPP,
		"%s is an in-line session: programs and maps of eBPF, which can't be said in "
		"commands of tc; what portmirror export prints, portmirror apply - carries out "
		"elsewhere",
		session->name);
}

int script_plan(struct view *view, const char *name, uint32_t house, struct plan *plan,
		struct err *e)
{
	const struct session_state *st = plan_state(&view->plan, name);
	const struct notes none = {0};
	struct sessions one = {.count = 1};
	struct plan_input in = {
		.sessions = &one, .host = &view->host, .notes = &none, .house = house};
	size_t number;
	int r;

	if (!st)
		return err_set(e, -ENOENT, "there is no session named %s", name);
	if (session_needs_bpf(st->session))
		return err_set(
			e, -ENOTSUP,
			"%s asks for what no command of tc can do (%s); see portmirror show %s",
			name, session_needs_bpf(st->session), name);
	number = (size_t)(st - view->plan.states);
	one.items = &view->sessions->items[number];
	in.filters = &view->filters[number];
	in.lacks = lacks_shown(&view->host, &view->notes, house);
	in.tc_only = true; /* whatever copies them: this is how tc would */
	r = host_without_ours(&view->host, &view->notes, house, e);
	if (r < 0)
		return r;
	if (keep_number(&view->host, st, house) < 0)
		return err_set(e, -ENOMEM, "out of memory");
	return plan_make(&in, plan, e);
}

void script_word(struct buf *out, const char *word)
{
	bool printable = true;

	for (const char *c = word; *c; c++)
		printable &= *c >= ' ' && *c <= '~';
	if (*word && word[strspn(word, PLAIN)] == '\0') {
		buf_str(out, word);
		return;
	}
	buf_str(out, printable ? "'" : "\"$(printf %b '");
	for (const char *c = word; *c; c++) {
		if (!printable && !strchr(PLAIN, *c))
			buf_fmt(out, "\\0%03o", (unsigned char)*c);
		else if (*c == '\'')
			buf_str(out, "'\\''");
		else
			buf_char(out, *c);
	}
	buf_str(out, printable ? "'" : "')\"");
}

static void put_device(struct buf *out, const char *name)
{
	const char *number = nl_link_number(name);

	if (number)
		buf_fmt(out, "if%s", number);
	else
		script_word(out, name);
}

struct writer {
	const struct plan *plan;
	struct script script;
	char pins[sizeof("/sys/fs/bpf/portmirror-") + SESSION_NAME_MAX];
	bool pinned; /* the programs are there */
	bool failed; /* out of memory */
};

/* Takes the text. */
static void add_line(struct writer *w, struct buf *text, bool comment)
{
	struct script *s = &w->script;
	char *line = buf_take(text);

	if (!line || array_room(&s->lines, &s->room, s->count, sizeof(*s->lines)) < 0) {
		free(line);
		w->failed = true;
		return;
	}
	s->lines[s->count++] = (struct script_line){.text = line, .comment = comment};
}

static void comment(struct writer *w, const char *text)
{
	struct buf b = {0};

	buf_str(&b, text);
	add_line(w, &b, true);
}

static void command(struct writer *w, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

static void command(struct writer *w, const char *format, ...)
{
	struct buf b = {0};
	char *text = NULL;
	va_list args;
	int r;

	va_start(args, format);
	r = vasprintf(&text, format, args);
	va_end(args);
	if (r < 0) {
		w->failed = true;
		return;
	}
	buf_str(&b, text);
	free(text);
	add_line(w, &b, false);
}

static void put_action(struct writer *w, const struct op *op)
{
	struct buf b = {0};

	buf_str(&b, "tc actions add action mirred egress mirror dev ");
	put_device(&b, op->to);
	buf_fmt(&b, " continue index %u cookie ", op->action);
	for (size_t i = 0; i < sizeof(op->cookie); i++)
		buf_fmt(&b, "%02x", op->cookie[i]);
	add_line(w, &b, false);
}

static void put_flags(struct writer *w, const struct op *op)
{
	static const struct {
		unsigned flag;
		const char *name;
	} flags[] = {
		{BRPORT_FLOOD, "flood"},
		{BRPORT_MCAST_FLOOD, "mcast_flood"},
		{BRPORT_BCAST_FLOOD, "bcast_flood"},
		{BRPORT_LEARNING, "learning"},
		{BRPORT_ISOLATED, "isolated"},
	};
	struct buf b = {0};

	buf_str(&b, "bridge link set dev ");
	put_device(&b, op->port);
	for (size_t i = 0; i < COUNT(flags); i++)
		if (op->mask & flags[i].flag)
			buf_fmt(&b, " %s %s", flags[i].name,
				op->flags & flags[i].flag ? "on" : "off");
	add_line(w, &b, false);
}

static void put_qdisc(struct writer *w, const struct op *op)
{
	struct buf port cleanup(buf_free) = {0};
	uint32_t major = TC_H_MAJ(op->handle) >> 16;
	const char *dev;

	put_device(&port, op->port);
	w->failed |= port.failed;
	dev = buf_text(&port);
	if (op->parent != TC_H_ROOT)
		command(w, "tc qdisc add dev %s %s", dev, op->qdisc);
	else if (strcmp(op->qdisc, "prio") == 0)
		command(w,
			"tc qdisc add dev %s root handle %x: prio 2>/dev/null ||\n"
			"\ttc qdisc add dev %s root handle %x: htb",
			dev, major, dev, major);
	else
		command(w, "tc qdisc add dev %s root handle %x: %s", dev, major, op->qdisc);
}

static void add_match(struct writer *w, const struct op *op, struct buf *b)
{
	const struct plan_program *program;

	switch (op->rule.match) {
	case TC_MATCH_PROGRAM:
		program = &w->plan->programs[op->program];
		buf_fmt(b, "bpf object-pinned %s/%s", w->pins, program->program.name);
		break;
	case TC_MATCH_BYTECODE:
		buf_str(b, "bpf bytecode '");
		bytecode_text(op->rule.code, op->rule.ncode, b);
		buf_char(b, '\'');
		break;
	case TC_MATCH_ALL:
		buf_str(b, "matchall");
		break;
	case TC_MATCH_U32:
		buf_str(b, "u32 match u32 0 0");
		break;
	}
}

static void put_filter(struct writer *w, const struct op *op)
{
	const struct tc_rule *rule = &op->rule;
	struct buf b = {0};

	buf_str(&b, "tc filter add dev ");
	put_device(&b, op->port);
	if (rule->parent == TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS))
		buf_str(&b, " ingress");
	else if (rule->parent == TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_EGRESS))
		buf_str(&b, " egress");
	else
		buf_fmt(&b, " parent %x:", TC_H_MAJ(rule->parent) >> 16);
	buf_fmt(&b, " protocol all pref %u ", rule->pref);
	if (rule->handle)
		buf_fmt(&b, "handle 0x%x ", rule->handle);
	add_match(w, op, &b);
	buf_fmt(&b, " action mirred index %u", rule->mirred);
	add_line(w, &b, false);
}

static char *base64(const struct buf *bytes)
{
	static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
				       "0123456789+/";
	struct buf out = {0};

	for (size_t i = 0; i < bytes->len; i += 3) {
		uint32_t three = 0;

		for (size_t j = i; j < i + 3; j++)
			three = three << 8 | (j < bytes->len ? (unsigned char)bytes->data[j] : 0);
		for (size_t j = 0; j < 4; j++)
			buf_add(&out,
				i + j > bytes->len ? "=" : &alphabet[three >> (18 - 6 * j) & 63],
				1);
	}
	return buf_take(&out);
}

static void put_file(struct writer *w, const char *text)
{
	size_t len = strlen(text);
	struct buf b = {0};

	buf_str(&b, "base64 -d > \"$object\" <<'END'\n");
	for (size_t i = 0; i < len; i += COLUMNS)
		buf_fmt(&b, "%.*s\n", COLUMNS, text + i);
	buf_str(&b, "END");
	add_line(w, &b, false);
}

static void load_programs(struct writer *w)
{
	struct buf object cleanup(buf_free) = {0};

	w->pinned = true;
	if (object_build(w->plan->programs, w->plan->nprograms, &object) == 0)
		w->script.object = base64(&object);
	if (!w->script.object) {
		w->failed = true;
		return;
	}
	comment(w, "A frame can pass several of the ports, but is copied at one:\n"
		   "these programs remember what they saw. tc takes programs from\n"
		   "files; bpftool(8) loads these, so that they share their memory,\n"
		   "and pins them for tc.");
	command(w, "object=$(mktemp)");
	put_file(w, w->script.object);
	command(w, "bpftool prog loadall \"$object\" %s type classifier", w->pins);
	command(w, "rm \"$object\"");
}

/* What is said in front of the first operation of a kind, and how each is done. */
static const struct deed {
	enum op_kind kind;
	const char *about;
	void (*put)(struct writer *w, const struct op *op);
} deeds[] = {
	{OP_ACTION_PUT,
	 "One action copies what the filters tell it to, and counts.\n"
	 "It ends in \"continue\": other filters see the frame too.\n"
	 "portmirror knows it by its cookie.",
	 put_action},
	{OP_ISOLATE, "The destination takes part in nothing of its bridge but the mirror.",
	 put_flags},
	{OP_QDISC_ADD, "What the filters hang on, where a port has nothing yet.", put_qdisc},
	{OP_FILTER_PUT,
	 "The filters. What a machine sends passes its port's ingress\n"
	 "(ffff:), what it receives the egress, or the root qdisc.",
	 put_filter},
};

/* NULL: nothing that a script does. */
static const struct deed *deed_of(const struct op *op)
{
	for (size_t i = 0; i < COUNT(deeds); i++)
		if (deeds[i].kind == op->kind)
			return &deeds[i];
	return NULL;
}

static void start(struct writer *w)
{
	const char *name = w->plan->states[0].session->name;
	struct buf b = {0};
	size_t len;

	buf_fmt(&b, "The mirror session %s: paste this into a shell of root.", name);
	add_line(w, &b, true);
	snprintf(w->pins, sizeof(w->pins), "/sys/fs/bpf/portmirror-%s", name);
	len = strlen(w->pins);
	for (size_t i = 0; i < len; i++)
		if (w->pins[i] == '.')
			w->pins[i] =
				'_'; /* bpffs takes no dots (bpf_lookup(), kernel/bpf/inode.c) */
}

int script_make(const struct plan *plan, struct script *script, struct err *e)
{
	struct writer w = {.plan = plan};

	start(&w);
	for (size_t i = 0; i < plan->nops; i++) {
		const struct op *op = &plan->ops[i];
		const struct deed *deed = deed_of(op);

		if (!deed) {
			script_free(&w.script);
			return err_set(e, -EINVAL, "a plan that removes something is no script");
		}
		if (op->kind == OP_FILTER_PUT && op->program >= 0 && !w.pinned)
			load_programs(&w);
		if (i == 0 || plan->ops[i - 1].kind != op->kind)
			comment(&w, deed->about);
		deed->put(&w, op);
	}
	if (w.pinned) {
		comment(&w, "The filters hold their programs now.");
		command(&w, "rm -r %s", w.pins);
	}
	if (w.failed) {
		script_free(&w.script);
		return err_set(e, -ENOMEM, "out of memory");
	}
	*script = w.script;
	return 0;
}

void script_free(struct script *script)
{
	for (size_t i = 0; i < script->count; i++)
		free(script->lines[i].text);
	free(script->lines);
	free(script->object);
	*script = (struct script){0};
}
