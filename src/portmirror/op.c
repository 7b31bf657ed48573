/* SPDX-License-Identifier: MIT */
#include "portmirror/op.h"

#include <linux/pkt_sched.h>
#include <stdbool.h>
#include <stdio.h>

#include "portmirror/plan.h"

/* Which direction the hook is for: the root's and clsact's egress see what the machine gets. */
static bool received(uint32_t parent)
{
	return parent == TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_EGRESS) ||
	       TC_H_MAJ(parent) != TC_H_MAJ(TC_H_INGRESS);
}

static const char *hook_name(uint32_t parent)
{
	return received(parent) ? "what it receives" : "what it sends";
}

static const char *match_name(const struct op *op)
{
	switch (op->rule.match) {
	case TC_MATCH_PROGRAM:
		return "each frame once";
	case TC_MATCH_BYTECODE:
		return op->rule.ncode > 1 ? "the filter's frames" : "all frames";
	case TC_MATCH_ALL:
	case TC_MATCH_U32:
	default:
		return "all frames";
	}
}

static const char *inline_place(enum inline_program which)
{
	static const char *const places[] = {
		[INLINE_FROM_MACHINE] = "what it sends",
		[INLINE_TO_MACHINE] = "what it receives",
		[INLINE_FROM_INSIDE] = "what leaves the appliance inside",
		[INLINE_FROM_OUTSIDE] = "what leaves the appliance outside",
	};

	return places[which];
}

static void direct_text(const struct op *op, char *text, size_t size)
{
	const char *verb = op->replace ? "replace" : "add";

	if (op->direct == DIRECT_CUTS)
		snprintf(text, size, "%s a filter on %s that shortens copies", verb, op->port);
	else
		snprintf(text, size, "%s a filter on %s that %s %s", verb, op->port,
			 op->direct == DIRECT_LEADS ? "leads on" : "copies",
			 op->direct == DIRECT_LEADS ? inline_place(op->inline_program)
						    : hook_name(op->rule.parent));
}

void op_text(const struct op *op, char *text, size_t size)
{
	switch (op->kind) {
	case OP_ACTION_PUT:
		snprintf(text, size, "%s action %u, which mirrors to %s",
			 op->replace ? "move" : "make", op->action, op->to);
		break;
	case OP_ISOLATE:
		snprintf(text, size, "isolate the bridge port %s", op->port);
		break;
	case OP_QDISC_CLEAR:
	case OP_QDISC_DEL:
		snprintf(text, size, "remove the qdisc %s from %s", op->qdisc, op->port);
		break;
	case OP_QDISC_ADD:
		snprintf(text, size, "add the qdisc %s to %s", op->qdisc, op->port);
		break;
	case OP_FILTER_PUT:
		if (op->direct != DIRECT_NONE) {
			direct_text(op, text, size);
			break;
		}
		snprintf(text, size, "%s the filter on %s for %s (%s, action %u)",
			 op->replace ? "replace" : "add", op->port, hook_name(op->rule.parent),
			 match_name(op), op->rule.mirred);
		break;
	case OP_FILTER_DEL:
		snprintf(text, size, "remove the filter on %s for %s", op->port,
			 hook_name(op->parent));
		break;
	case OP_RESTORE:
		snprintf(text, size, "put back the bridge-port flags of %s", op->port);
		break;
	case OP_ACTION_DEL:
		snprintf(text, size, "remove action %u", op->action);
		break;
	case OP_COPY_MAPS:
		snprintf(text, size, "make the maps of its programs");
		break;
	case OP_COPY_PROGRAMS:
		snprintf(text, size, "load the programs that copy frames");
		break;
	case OP_COPY_CONFIG:
		snprintf(text, size, "tell its programs what to copy, and where to");
		break;
	case OP_COPY_LINK:
		snprintf(text, size, "%s program on %s for %s",
			 op->replace ? "exchange the" : "attach a", op->port,
			 op->received ? "what it receives" : "what it sends");
		break;
	case OP_CUT_PROGRAM:
		snprintf(text, size, "load the program that shortens copies");
		break;
	case OP_CUT_LINK:
		snprintf(text, size, "%s program on %s that shortens copies",
			 op->replace ? "exchange the" : "attach a", op->port);
		break;
	case OP_INLINE_MAPS:
		snprintf(text, size, "make the maps of its programs");
		break;
	case OP_INLINE_PROGRAMS:
		snprintf(text, size, "load the programs that lead frames through the appliance");
		break;
	case OP_INLINE_STATE:
		snprintf(text, size, "tell its programs of the appliance and the guarded ports");
		break;
	case OP_INLINE_FORGET:
		snprintf(text, size, "tell its programs of ports that are guarded no longer");
		break;
	case OP_INLINE_LINK:
		snprintf(text, size, "%s program on %s for %s",
			 op->replace ? "exchange the" : "attach a", op->port,
			 inline_place(op->inline_program));
		break;
	case OP_UNLINK:
		snprintf(text, size, "detach %s", op->pin);
		break;
	case OP_UNPIN:
		snprintf(text, size, "remove %s", op->pin[0] ? op->pin : "an empty folder");
		break;
	}
}

static const char *kind_name(const struct op *op)
{
	switch (op->kind) {
	case OP_ACTION_PUT:
		return op->replace ? "action.replace" : "action.add";
	case OP_ISOLATE:
		return "bridge-port.isolate";
	case OP_QDISC_ADD:
		return "qdisc.add";
	case OP_FILTER_PUT:
		return op->replace ? "filter.replace" : "filter.add";
	case OP_FILTER_DEL:
		return "filter.remove";
	case OP_RESTORE:
		return "bridge-port.restore";
	case OP_INLINE_MAPS:
	case OP_COPY_MAPS:
		return "maps.add";
	case OP_INLINE_PROGRAMS:
	case OP_COPY_PROGRAMS:
	case OP_CUT_PROGRAM:
		return "programs.load";
	case OP_INLINE_STATE:
	case OP_INLINE_FORGET:
	case OP_COPY_CONFIG:
		return "config.replace";
	case OP_COPY_LINK:
	case OP_CUT_LINK:
	case OP_INLINE_LINK:
		return op->replace ? "link.replace" : "link.add";
	case OP_UNLINK:
		return "link.remove";
	case OP_UNPIN:
		return "pin.remove";
	case OP_QDISC_CLEAR:
	case OP_QDISC_DEL:
		return "qdisc.remove";
	case OP_ACTION_DEL:
	default:
		return "action.remove";
	}
}

/* What the engine bpf's operations have. */
static int add_pin(const struct op *op, json_t *o)
{
	bool directed =
		op->kind == OP_COPY_LINK || op->kind == OP_INLINE_LINK || op->kind == OP_UNLINK;

	if (op->pin[0] && json_object_set_new(o, "pin", json_string(op->pin)) < 0)
		return -1;
	if (!directed)
		return 0;
	return json_object_set_new(o, "direction", json_string(op->received ? "received" : "sent"));
}

json_t *op_object(const struct op *op, const char *session)
{
	json_t *o = json_pack("{s:s, s:s?}", "op", kind_name(op), "session", session);
	char text[200];
	int r = o ? 0 : -1;

	op_text(op, text, sizeof(text));
	if (r == 0 && op->port[0])
		r |= json_object_set_new(o, "port", json_string(op->port));
	if (r == 0 && op->qdisc[0])
		r |= json_object_set_new(o, "qdisc", json_string(op->qdisc));
	if (r == 0 && (op->kind == OP_FILTER_PUT || op->kind == OP_FILTER_DEL)) {
		uint32_t parent = op->kind == OP_FILTER_PUT ? op->rule.parent : op->parent;

		r |= json_object_set_new(o, "direction",
					 json_string(received(parent) ? "received" : "sent"));
		r |= json_object_set_new(o, "pref", json_integer(op->rule.pref));
	}
	if (r == 0 && op->kind == OP_FILTER_PUT && op->direct == DIRECT_NONE)
		r |= json_object_set_new(o, "action", json_integer(op->rule.mirred));
	if (r == 0 && op->action)
		r |= json_object_set_new(o, "action", json_integer(op->action));
	if (r == 0)
		r = add_pin(op, o);
	if (r == 0 && op->to[0])
		r |= json_object_set_new(o, "to", json_string(op->to));
	if (r == 0)
		r |= json_object_set_new(o, "text", json_string(text));
	if (r != 0) {
		json_decref(o);
		return NULL;
	}
	return o;
}
