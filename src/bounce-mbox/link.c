/* SPDX-License-Identifier: MIT */
#include "bounce-mbox/link.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "bounce-mbox/journal.h"
#include "bounce-mbox/link_private.h"
#include "bounce-mbox/net.h"
#include "bounce-mbox/run.h"

#define READ_MAX 16384

struct link *link_new(struct link_owner *owner)
{
	struct link *l = calloc(1, sizeof(*l));

	if (l)
		l->owner = owner;
	return l;
}

static void close_all(struct link *l)
{
	talk_free(&l->talk);
	sasl_free(l->sasl);
	net_close(l->net);
	link_give_no_more(l);
	l->sasl = NULL;
	l->net = NULL;
	l->ready = l->quitting = l->fetching = l->put_off = l->dropped = false;
	l->carried = 0;
}

void link_free(struct link *l)
{
	if (l)
		close_all(l);
	free(l);
}

/* The next try comes later with every failure in a row. */
static void count_failure(struct link *l)
{
	int64_t wait = l->owner->run->pace.backoff;

	for (unsigned i = 1; i < l->failures && wait < 600 * SECOND; i++)
		wait *= 2;
	l->retry_at = l->owner->now + (l->failures > 0 ? wait : 0);
	l->failures++;
}

static int prepare_login(struct link *l, struct err *e)
{
	const struct options *o = l->owner->run->options;

	if (!o->user)
		return 0;
	if (!l->owner->secret) {
		int r = secret_get(&o->secret, l->owner->run->stop_fd, &l->owner->secret, e);

		if (r < 0)
			return r;
	}
	l->login = (struct sasl_login){
		.user = o->user,
		.secret = l->owner->secret,
		.token = o->token,
		.service = o->target.kind == TARGET_IMAP   ? "imap"
			   : o->target.kind == TARGET_LMTP ? "lmtp"
							   : "smtp",
		.host = o->target.host,
		.port = (unsigned)strtoul(o->target.port, NULL, 10),
		.mechanism = o->mechanism,
		.safe_line = net_is_local(l->net),
	};
	return sasl_new(&l->sasl, &l->login, e);
}

/* What the journal, or else this run, knows of the UIDs that the server gave. */
static enum imap_whose whose(void *data, const char *message_id, uint32_t validity, uint32_t uid)
{
	struct run *run = data;

	return run->journal ? journal_whose(run->journal, message_id, validity, uid)
			    : taken_whose(&run->taken, message_id, validity, uid);
}

static int open_all(struct link *l, struct err *e)
{
	const struct options *o = l->owner->run->options;
	const struct net_setup net = {&o->target, o->ca_file, o->timeout, l->owner->run->stop_fd};
	int r = net_open(&l->net, &net, e);

	if (r == 0)
		r = prepare_login(l, e);
	if (r < 0)
		return r;

	if (o->nameless)
		net_literal(l->net, l->literal);

	/* a server that had TLS a moment ago has it still; on a Unix socket nobody listens */
	enum smtp_tls tls = *o->target.path	 ? SMTP_TLS_OFF
			    : l->owner->tls_seen ? SMTP_TLS_REQUIRED
						 : o->tls;
	struct imap_setup imap = {tls, o->target.encrypted, l->sasl, whose, l->owner->run};
	struct smtp_setup smtp = {
		.lmtp = o->target.kind == TARGET_LMTP,
		.hello = *l->literal ? l->literal : o->hello,
		.sender = o->sender,
		.recipient = o->recipient,
		.tls = tls,
		.encrypted = o->target.encrypted,
		.sasl = l->sasl,
	};

	return o->target.kind == TARGET_IMAP ? imap_new(&l->talk.imap, &imap, e)
					     : smtp_new(&l->talk.smtp, &smtp, e);
}

int link_open(struct link *l, struct err *e)
{
	int r = open_all(l, e);

	l->heard = l->owner->now;
	if (r < 0) {
		close_all(l);
		count_failure(l);
	}
	return r;
}

bool link_is_open(const struct link *l)
{
	return talk_is_open(&l->talk);
}

int64_t link_retry_at(const struct link *l)
{
	return l->retry_at;
}

unsigned link_failures(const struct link *l)
{
	return l->failures;
}

size_t link_load(const struct link *l)
{
	return talk_is_open(&l->talk) ? talk_open_count(&l->talk) : 0;
}

uint64_t link_size_max(const struct link *l)
{
	return talk_is_open(&l->talk) ? talk_size_max(&l->talk) : 0;
}

bool link_is_eight_bit(const struct link *l)
{
	return l->talk.imap || smtp_knows(l->talk.smtp, "8BITMIME");
}

bool link_takes(const struct link *l)
{
	unsigned most = l->owner->run->options->per_connection;

	return l->ready && !l->quitting && (most == 0 || l->carried < most) &&
	       talk_may_send(&l->talk) && link_backlog(l) < LINK_BACKLOG;
}

bool link_used_up(const struct link *l)
{
	unsigned most = l->owner->run->options->per_connection;

	return most > 0 && l->carried >= most;
}

static void tell_done(struct link *l, const struct smtp_told *told, bool blame)
{
	struct job *job = &l->owner->jobs[told->id];

	if (l->giving == job)
		link_give_no_more(l);
	l->owner->done(l->owner, job, told, blame);
}

/* A server may say goodbye (421, BYE) with messages on the way: the first one is the possible
 * cause, unless it was told so. */
static void hear_fate(struct link *l, const struct smtp_told *told)
{
	bool dropped = told->result == SMTP_UNSENT && told->reply.code == 0 && !l->put_off;
	bool blame = dropped && !l->dropped;

	if (told->result == SMTP_SENT)
		l->failures = 0;
	l->put_off = l->put_off || (told->result == SMTP_REFUSED && told->reply.code == 421);
	l->dropped = l->dropped || dropped;
	tell_done(l, told, blame);
}

/* The connection is gone: what was on the way is told, the first one as the possible cause. */
static void bury(struct link *l, bool blame)
{
	struct smtp_told told;

	if (!talk_is_open(&l->talk))
		return;
	talk_gone(&l->talk);
	while (talk_next(&l->talk, &told, NULL) == SMTP_DONE) {
		tell_done(l, &told, blame);
		blame = false;
	}
	close_all(l);
}

static int lost(struct link *l, int code)
{
	bury(l, true);
	count_failure(l);
	return code;
}

void link_drop(struct link *l, bool failed)
{
	if (failed)
		(void)lost(l, 0);
	else
		bury(l, false);
}

/* 0, 1 where the session is over, or an error. */
static int hear_event(struct link *l, enum smtp_event event, const struct smtp_told *told,
		      struct err *e)
{
	int r;

	switch (event) {
	case SMTP_START_TLS:
		r = net_encrypt(l->net, e);
		if (r < 0)
			return r;
		l->owner->tls_seen = true;
		return talk_encrypted(&l->talk) < 0 ? err_set(e, -ENOMEM, "out of memory") : 0;
	case SMTP_READY:
		l->ready = true;
		break;
	case SMTP_BODY:
		l->giving = &l->owner->jobs[told->id];
		return link_give(l, e);
	case SMTP_WAIT:
		return link_give(l, e);
	case SMTP_DONE:
		hear_fate(l, told);
		break;
	case SMTP_MAIL:
		return l->owner->piece(l->owner, told->piece, told->len, told->last, e);
	case SMTP_NO_MORE:
		l->owner->fetched = true;
		break;
	case SMTP_CLOSED:
		return 1;
	}
	return 0;
}

/* All events that are there. */
static int hear_events(struct link *l, struct err *e)
{
	struct smtp_told told = {0};

	for (;;) {
		int event = talk_next(&l->talk, &told, e);
		int r;

		if (event < 0)
			return event;
		r = hear_event(l, (enum smtp_event)event, &told, e);
		if (r != 0 || event == SMTP_WAIT)
			return r;
	}
}

static int over(struct link *l, struct err *e)
{
	bool idle = talk_open_count(&l->talk) == 0 && !l->fetching && !l->dropped;

	if (l->quitting || (idle && l->ready)) { /* nothing is lost by that */
		close_all(l);
		l->retry_at = l->owner->now;
		return 0;
	}
	return lost(l, err_set(e, -ECONNRESET, "%s closed the connection",
			       l->owner->run->options->target.shown));
}

int link_go_on(struct link *l, struct err *e)
{
	int r = hear_events(l, e);

	if (r < 0)
		return lost(l, r);
	return r > 0 ? over(l, e) : 0;
}

int link_hear(struct link *l, struct err *e)
{
	char bytes[READ_MAX];

	for (;;) {
		ssize_t n = net_read(l->net, bytes, sizeof(bytes), e);
		int r;

		if (n == -EAGAIN)
			return 0;
		if (n < 0 && l->quitting)
			n = 0;
		if (n < 0)
			return lost(l, (int)n);
		if (n == 0)
			return over(l, e);
		l->heard = l->owner->now;
		if (talk_input(&l->talk, bytes, (size_t)n) < 0)
			return lost(l, err_set(e, -ENOMEM, "out of memory"));
		r = link_go_on(l, e);
		if (r < 0 || !talk_is_open(&l->talk))
			return r;
	}
}

int link_fetch(struct link *l, const char *below, struct err *e)
{
	l->fetching = true;
	return imap_fetch(l->talk.imap, below) < 0 ? err_set(e, -ENOMEM, "out of memory") : 0;
}

bool link_keeps_one(const struct link *l)
{
	return imap_has_labels(l->talk.imap);
}

int link_flush(struct link *l, struct err *e)
{
	talk_flush(&l->talk);
	for (;;) {
		size_t len;
		const char *bytes = talk_output(&l->talk, &len);
		ssize_t n;
		int r;

		if (len == 0)
			return 0;
		n = net_write(l->net, bytes, len, e);
		if (n == -EAGAIN)
			return 0;
		if (n < 0) {
			/* the server may have said why before it closed */
			struct err why = {0};
			int heard = link_hear(l, &why);

			if (heard < 0 && e)
				*e = why;
			return heard < 0 || !talk_is_open(&l->talk) ? heard : lost(l, (int)n);
		}
		talk_left(&l->talk, (size_t)n);
		l->heard = l->owner->now;
		if (!l->giving)
			continue;
		r = link_give(l, e);
		if (r < 0)
			return lost(l, r);
		return 0; /* its journal line comes before its bytes */
	}
}

void link_quit(struct link *l)
{
	if (!talk_is_open(&l->talk) || l->quitting)
		return;
	l->quitting = true;
	(void)talk_quit(&l->talk);
}

int link_fd(const struct link *l)
{
	return net_fd(l->net);
}

short link_events(const struct link *l)
{
	return net_events(l->net, link_backlog(l) > 0);
}

int link_patience(const struct link *l)
{
	const struct options *o = l->owner->run->options;

	return talk_is_open(&l->talk) && talk_is_judged(&l->talk) ? o->timeout_end : o->timeout;
}

int64_t link_deadline(const struct link *l)
{
	if (!talk_is_open(&l->talk))
		return INT64_MAX;
	if (l->quitting)
		return l->heard + 2 * SECOND;
	if (l->ready && !talk_is_busy(&l->talk) && !l->fetching)
		return INT64_MAX;
	return l->heard + link_patience(l) * SECOND;
}
