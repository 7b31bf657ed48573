/* SPDX-License-Identifier: MIT */
/* What is told of a proof: sentences, and the JSON object. */
#include <inttypes.h>
#include <stdio.h>

#include "base/buf.h"
#include "base/mem.h"
#include "portmirror/engine.h"
#include "portmirror/proof_check.h"
#include "portmirror/show.h"

enum { FEW = 10 }; /* frames that prove little */

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

/* Another session that copies to the same destination; NULL: none. */
static const char *neighbour(const struct proof_check *c, int ifindex)
{
	const struct plan *plan = &c->view->plan;

	for (size_t i = 0; i < plan->nstates; i++) {
		const struct session_state *st = &plan->states[i];

		if (st == c->st || st->state == STATE_FAILED || st->state == STATE_SUSPENDED)
			continue;
		for (size_t j = 0; j < SESSION_TO_MAX; j++)
			if (st->to[j] == ifindex)
				return st->session->name;
	}
	return NULL;
}

static void advise_doubled(const struct proof_check *c, struct buf *b)
{
	for (size_t i = 0; i < c->nto; i++) {
		const char *other = neighbour(c, c->to[i]->index);

		if (!other)
			continue;
		buf_fmt(b,
			"%s copies to %s too: what both sessions copy is there twice, where one "
			"of them leaves something out; ",
			other, c->to[i]->name);
		return;
	}
}

static void advise_broken(const struct proof_check *c, struct buf *b)
{
	const struct proof_result *r = &c->result;
	const struct nl_link *to = c->to[r->blamed < c->nto ? r->blamed : 0];

	if (r->blamed < c->nto && r->destinations[r->blamed].dropped > 0) {
		buf_fmt(b,
			"its reader is too slow, or its queue too short: ip link set dev %s "
			"txqueuelen %u",
			to->name, to->tx_queue_len < 1000 ? 1000 : to->tx_queue_len * 10);
		return;
	}
	if (r->counts.doubled > 0)
		advise_doubled(c, b);
	buf_str(b, "what on this host may be the cause: portmirror doctor");
}

void proof_check_advise(const struct proof_check *c, struct buf *b)
{
	const struct proof_result *r = &c->result;

	switch (r->verdict) {
	case PROOF_WHOLE:
		if (r->counts.copied < FEW)
			buf_fmt(b, "that is little traffic to prove anything; --seconds N looks "
				   "longer, --probe sends frames of its own");
		break;
	case PROOF_BROKEN:
		advise_broken(c, b);
		break;
	case PROOF_BLIND:
		buf_str(b, "look again when there is less traffic, or at fewer sources at a time");
		break;
	case PROOF_NOTHING:
		if (r->counts.expected > 0 && missing(c) == 0)
			buf_str(b, "--seconds N looks longer; portmirror stats counts what was "
				   "copied, shed and lost");
		else
			advise_traffic(c, b);
		break;
	}
}

static void say_flows(const struct proof_check *c, struct buf *b)
{
	char text[32];

	if (c->result.promise.balance || c->result.promise.whole_flows)
		buf_fmt(b, ", and none of %s flows was torn apart",
			proof_grouped(text, c->result.counts.flows));
}

/* How many frames there were: expected counts them once for each destination. */
static uint64_t frames_of(const struct proof_check *c)
{
	return c->result.counts.expected / (c->result.promise.balance ? 1 : c->nto);
}

static void say_all_copied(const struct proof_check *c, struct buf *b)
{
	const struct proof_promise *promise = &c->result.promise;
	uint64_t frames = frames_of(c);
	char text[32];

	if (frames == 1)
		buf_str(b, "the one frame was copied once");
	else
		buf_fmt(b, "every one of %s frames was copied once", proof_grouped(text, frames));
	if (c->nto > 1)
		buf_fmt(b, " to %s of %zu destinations", promise->balance ? "one" : "each", c->nto);
	if (promise->snap)
		buf_fmt(b, ", its first %u bytes", promise->snap);
	say_flows(c, b);
}

/* What is left out nobody can prove to be rightly so. */
static void say_part_copied(const struct proof_check *c, struct buf *b)
{
	const struct proof_counts *n = &c->result.counts;
	const struct session *session = c->st->session;
	char text[32];

	buf_fmt(b, "of %s copies", proof_grouped(text, n->copied));
	if (c->nto > 1)
		buf_fmt(b, " to %zu destinations", c->nto);
	if (c->result.promise.snap)
		buf_fmt(b, " of the first %u bytes", c->result.promise.snap);
	buf_str(b, " none was doubled or altered");
	say_flows(c, b);
	buf_fmt(b, "; they are one in %.3g of the frames", (double)n->expected / (double)n->copied);
	if (session->sample)
		buf_fmt(b, " (asked for: one %s in %u)", session->sample_flows ? "flow" : "frame",
			session->sample);
	buf_str(b, "; that the others were left out on purpose, and not lost, can't be proven");
}

void proof_check_judge(const struct proof_check *c, struct buf *b)
{
	const struct proof_result *r = &c->result;

	if (r->verdict == PROOF_WHOLE && r->promise.partial) {
		say_part_copied(c, b);
	} else if (r->verdict == PROOF_WHOLE) {
		say_all_copied(c, b);
	} else {
		if (c->nto > 1 && r->blamed < c->nto)
			buf_fmt(b, "at %s: ", c->to[r->blamed]->name);
		buf_str(b, r->why);
	}
}

double proof_check_left_out(const struct proof_check *c)
{
	const struct proof_counts *n = &c->result.counts;

	return n->expected > 0 ? (double)n->left_out / (double)n->expected : 0;
}

static json_t *sources_array(const struct proof_check *c)
{
	json_t *list = json_array();

	for (size_t i = 0; list && i < c->result.nsources; i++) {
		const struct proof_source_result *s = &c->result.sources[i];

		list = show_append(
			list,
			json_pack("{s:s, s:I, s:I, s:I, s:I}", "port", proof_check_port(c, i),
				  "sent", (json_int_t)s->sent, "received", (json_int_t)s->received,
				  "bytes", (json_int_t)s->bytes, "unseen", (json_int_t)s->unseen));
	}
	return list;
}

static json_t *counts_object(const struct proof_counts *n)
{
	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "expected",
			 (json_int_t)n->expected, "copied", (json_int_t)n->copied, "lost",
			 (json_int_t)n->lost, "left_out", (json_int_t)n->left_out, "doubled",
			 (json_int_t)n->doubled, "altered", (json_int_t)n->altered, "unseen",
			 (json_int_t)n->unseen, "other", (json_int_t)n->other);
}

static json_t *destination_object(const struct proof_check *c, size_t i)
{
	const struct proof_destination_result *d = &c->result.destinations[i];
	json_t *object = json_pack("{s:s, s:I, s:I, s:I}", "port", c->to[i]->name, "seen",
				   (json_int_t)d->seen, "dropped", (json_int_t)d->dropped, "unseen",
				   (json_int_t)d->unseen);

	return c->result.promise.balance ? object
					 : show_put(object, "frames", counts_object(&d->counts));
}

static json_t *destinations_array(const struct proof_check *c)
{
	json_t *list = json_array();

	for (size_t i = 0; list && i < c->nto; i++)
		list = show_append(list, destination_object(c, i));
	return list;
}

/* What is told only of sessions that promise less than everything, or more than one thing. */
static json_t *add_promised(const struct proof_check *c, json_t *object)
{
	const struct proof_result *r = &c->result;

	if (r->promise.partial)
		object = show_put(object, "left_out_share", json_real(proof_check_left_out(c)));
	if (r->promise.balance || r->promise.whole_flows)
		object = show_put(object, "flows",
				  json_pack("{s:I, s:I}", "seen", (json_int_t)r->counts.flows,
					    "split", (json_int_t)r->counts.split));
	if (c->nto > 1)
		object = show_put(object, "destinations", destinations_array(c));
	return object;
}

json_t *proof_check_object(const struct proof_check *c)
{
	const struct proof_result *r = &c->result;
	struct buf sentence cleanup(buf_free) = {0};
	struct buf advice cleanup(buf_free) = {0};

	proof_check_judge(c, &sentence);
	proof_check_advise(c, &advice);
	if (buf_status(&sentence) < 0 || buf_status(&advice) < 0)
		return NULL;
	return add_promised(
		c,
		json_pack("{s:s, s:s, s:s, s:s?, s:b, s:f, s:f, s:f, s:I, s:b, s:o, s:o, s:{s:s, "
			  "s:I, s:I}, s:o}",
			  "session", c->st->session->name, "verdict",
			  proof_verdict_name(r->verdict), "reason", buf_text(&sentence), "advice",
			  advice.len ? buf_text(&advice) : NULL, "ended_early", c->ended, "seconds",
			  r->seconds, "frames_per_second", r->frames_per_second, "bits_per_second",
			  r->bits_per_second, "probes", (json_int_t)r->probes, "as_segments",
			  r->as_segments, "frames", counts_object(&r->counts), "sources",
			  sources_array(c), "destination", "port", c->to[0]->name, "dropped",
			  (json_int_t)r->destinations[0].dropped, "unseen",
			  (json_int_t)r->destinations[0].unseen, "reasons", show_reasons(c->st)));
}
