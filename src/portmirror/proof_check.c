/* SPDX-License-Identifier: MIT */
#include "portmirror/proof_check.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "portmirror/engine.h"
#include "portmirror/show.h"

enum {
	PROBES = 100, /* out of each source */
	FEW = 10,     /* frames that prove little */
};

const char *proof_grouped(char text[32], uint64_t n)
{
	char digits[24];
	size_t len = (size_t)snprintf(digits, sizeof(digits), "%" PRIu64, n), at = 0;

	for (size_t i = 0; i < len; i++) {
		if (i > 0 && (len - i) % 3 == 0)
			text[at++] = ',';
		text[at++] = digits[i];
	}
	text[at] = '\0';
	return text;
}

const char *proof_check_port(const struct proof_check *c, size_t number)
{
	const struct nl_link *link =
		nl_link_by_index(&c->view->host.links, c->st->from.items[number]);

	return link ? link->name : "?";
}

/* The option by which it leaves something out, on purpose; NULL: none. */
static const char *partial(const struct session *s)
{
	return s->snap	    ? "snap"
	       : s->sample  ? "sample"
	       : s->rate    ? "rate"
	       : s->balance ? "balance"
			    : NULL;
}

/* Why the session can't be checked as it stands; empty: it can. */
static void objection(const struct session_state *st, struct buf *why)
{
	enum state state = show_state(st);
	const char *reasons = st->reasons ? st->reasons : "";
	const char *partly = partial(st->session);

	if (partly) {
		buf_fmt(why,
			"%s is not meant to copy every frame to one place, and whole (%s): there "
			"is nothing to prove",
			st->session->name, partly);
		return;
	}
	if (state == STATE_WHOLE)
		return;
	buf_fmt(why, "%s is %s", st->session->name, state_name(state));
	if (*reasons)
		buf_fmt(why, ": %.*s", (int)strcspn(reasons, "\n"), reasons);
	else
		buf_str(why, ": the kernel differs from what is saved; portmirror apply mends it");
	buf_str(why, "; only a session that is whole can be checked");
}

int proof_check_find(struct proof_check *c, const char *name, struct err *e)
{
	struct buf why cleanup(buf_free) = {0};

	c->st = plan_state(&c->view->plan, name);
	if (!c->st)
		return err_set(e, -ENOENT, "there is no session named %s", name);
	objection(c->st, &why);
	if (why.len > 0)
		return err_set(e, -EAGAIN, "%s", buf_text(&why));
	c->to = nl_link_by_index(&c->view->host.links, c->st->to_ifindex);
	if (!c->to)
		return err_set(e, -EAGAIN, "the destination %s is not there",
			       c->st->session->to[0].text);
	return 0;
}

int proof_check_run(struct proof_check *c,
		    bool (*progress)(double share, const struct proof_counts *settled, void *data),
		    void *data, struct err *e)
{
	const struct ifindexes *from = &c->st->from;
	const struct bytecode *filter = &c->view->filters[c->st - c->view->plan.states];
	struct proof_source *sources cleanup(free_at) = calloc(from->count + 1, sizeof(*sources));
	struct proof_request request = {
		.sources = sources,
		.nsources = from->count,
		.to_ifindex = c->to->index,
		.code = filter->code,
		.ncode = filter->count,
		.seconds = c->seconds,
		.probes = c->probe ? PROBES : 0,
		.progress = progress,
		.data = data,
	};

	if (!sources)
		return err_set(e, -ENOMEM, "out of memory");
	for (size_t i = 0; i < from->count; i++)
		sources[i] = (struct proof_source){from->items[i], c->st->session->direction};
	return proof_run(&request, &c->result, e);
}

void proof_check_free(struct proof_check *c)
{
	proof_result_free(&c->result);
	c->result = (struct proof_result){0};
}

/* The direction asked for that showed no frame; 0: none. */
static unsigned missing(const struct proof_check *c)
{
	unsigned seen = 0;

	for (size_t i = 0; i < c->result.nsources; i++) {
		seen |= c->result.sources[i].sent > 0 ? DIRECTION_SENT : 0;
		seen |= c->result.sources[i].received > 0 ? DIRECTION_RECEIVED : 0;
	}
	return c->st->session->direction & ~seen;
}

static void advise_traffic(const struct proof_check *c, struct buf *b)
{
	if (!c->probe && (missing(c) & DIRECTION_RECEIVED))
		buf_fmt(b, "let there be traffic, or: portmirror check %s --probe",
			c->st->session->name);
	else if (c->probe && (missing(c) & DIRECTION_RECEIVED))
		buf_fmt(b,
			"the session's filter lets no probe through (EtherType 0x88b5): let there "
			"be traffic that it takes");
	else
		buf_fmt(b, "let the mirrored machines send something meanwhile%s",
			c->probe ? ": probes only show what machines receive" : "");
}

void proof_check_advise(const struct proof_check *c, struct buf *b)
{
	const struct proof_result *r = &c->result;

	switch (r->verdict) {
	case PROOF_WHOLE:
		if (r->counts.expected < FEW)
			buf_fmt(b, "that is little traffic to prove anything; --seconds N looks "
				   "longer, --probe sends frames of its own");
		break;
	case PROOF_BROKEN:
		if (r->dropped > 0)
			buf_fmt(b,
				"its reader is too slow, or its queue too short: ip link set dev "
				"%s txqueuelen %u",
				c->to->name,
				c->to->tx_queue_len < 1000 ? 1000 : c->to->tx_queue_len * 10);
		else
			buf_str(b, "what on this host may be the cause: portmirror doctor");
		break;
	case PROOF_BLIND:
		buf_str(b, "look again when there is less traffic, or at fewer sources at a time");
		break;
	case PROOF_NOTHING:
		advise_traffic(c, b);
		break;
	}
}

void proof_check_judge(const struct proof_check *c, struct buf *b)
{
	const struct proof_result *r = &c->result;
	char frames[32];

	if (r->verdict == PROOF_WHOLE && r->counts.expected == 1)
		buf_str(b, "the one frame was copied once");
	else if (r->verdict == PROOF_WHOLE)
		buf_fmt(b, "every one of %s frames was copied once",
			proof_grouped(frames, r->counts.expected));
	else
		buf_str(b, r->why);
}

static json_t *sources_array(const struct proof_check *c)
{
	json_t *list = json_array();

	for (size_t i = 0; list && i < c->result.nsources; i++) {
		const struct proof_source_result *s = &c->result.sources[i];

		json_array_append_new(
			list,
			json_pack("{s:s, s:I, s:I, s:I, s:I}", "port", proof_check_port(c, i),
				  "sent", (json_int_t)s->sent, "received", (json_int_t)s->received,
				  "bytes", (json_int_t)s->bytes, "unseen", (json_int_t)s->unseen));
	}
	return list;
}

static json_t *counts_object(const struct proof_counts *n)
{
	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "expected", (json_int_t)n->expected,
			 "copied", (json_int_t)n->copied, "lost", (json_int_t)n->lost, "doubled",
			 (json_int_t)n->doubled, "altered", (json_int_t)n->altered, "unseen",
			 (json_int_t)n->unseen, "other", (json_int_t)n->other);
}

json_t *proof_check_object(const struct proof_check *c)
{
	const struct proof_result *r = &c->result;
	struct buf sentence cleanup(buf_free) = {0};
	struct buf advice cleanup(buf_free) = {0};

	proof_check_judge(c, &sentence);
	proof_check_advise(c, &advice);
	return json_pack("{s:s, s:s, s:s, s:s?, s:b, s:f, s:f, s:f, s:I, s:b, s:o, s:o, s:{s:s, "
			 "s:I, s:I}}",
			 "session", c->st->session->name, "verdict", proof_verdict_name(r->verdict),
			 "reason", buf_text(&sentence), "advice",
			 advice.len ? buf_text(&advice) : NULL, "ended_early", c->ended, "seconds",
			 r->seconds, "frames_per_second", r->frames_per_second, "bits_per_second",
			 r->bits_per_second, "probes", (json_int_t)r->probes, "as_segments",
			 r->as_segments, "frames", counts_object(&r->counts), "sources",
			 sources_array(c), "destination", "port", c->to->name, "dropped",
			 (json_int_t)r->dropped, "unseen", (json_int_t)r->unseen_at_destination);
}
