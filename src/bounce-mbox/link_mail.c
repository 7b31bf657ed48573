/* SPDX-License-Identifier: MIT */
/* The messages on a connection: what goes with them, and their bodies, as the server takes them. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/err.h"
#include "base/mem.h"
#include "bounce-mbox/journal.h"
#include "bounce-mbox/link_private.h"
#include "bounce-mbox/run.h"
#include "bounce-mbox/store.h"
#include "mail/date.h"
#include "mail/flags.h"

/* A mailbox and flags that are no longer stand in no server's way. */
#define USUAL_MAX 500

size_t link_backlog(const struct link *l)
{
	size_t len;

	(void)talk_output(&l->talk, &len);
	return len;
}

/* RFC 5322 3.6.6: who sent it again, when, to whom. */
static void put_resent(const struct options *o, struct job *job)
{
	struct mail_date date = {.seconds = time(NULL)};
	struct buf *b = &job->resent;
	char text[40];

	buf_clear(b);
	if (!o->resent)
		return;
	buf_fmt(b,
		"Resent-Date: %s\r\nResent-From: <%s>\r\nResent-To: <%s>\r\nResent-Message-ID: <",
		mail_date_field(&date, text), o->sender, o->recipient);
	for (size_t i = 0; i < 12; i++)
		buf_fmt(b, "%02x", job->p.key[i]);
	buf_fmt(b, ".%lld@%s>\r\n", (long long)date.seconds, o->hello);
}

/* What each server understands: the years of 32 bits, zones that there are, short lines. */
static bool is_usual(const struct job *job)
{
	const struct mail_date *date = &job->p.date;

	return date->seconds >= 0 && date->seconds <= INT32_MAX && date->zone >= -12 * 60 &&
	       date->zone <= 14 * 60 && job->mailbox.len + job->flags.len <= USUAL_MAX;
}

/* What IMAP keeps beside the message: where it lies, its flags, its date. */
static void put_place(const struct link *l, struct job *job, struct smtp_message *m)
{
	static const struct {
		unsigned flag;
		const char *name;
	} names[] = {{MAIL_SEEN, "\\Seen"},	  {MAIL_ANSWERED, "\\Answered"},
		     {MAIL_FLAGGED, "\\Flagged"}, {MAIL_DELETED, "\\Deleted"},
		     {MAIL_DRAFT, "\\Draft"},	  {MAIL_FORWARDED, "$Forwarded"}};
	const struct run *run = l->owner->run;

	buf_clear(&job->flags);
	(void)prepared_mailbox(&job->p, run->store, run->options->folder, &job->mailbox);
	for (size_t i = 0; i < COUNT(names); i++)
		if (job->p.flags & names[i].flag)
			buf_fmt(&job->flags, " %s", names[i].name);
	buf_str(&job->flags, buf_text(&job->p.keywords));
	m->mailbox = buf_text(&job->mailbox);
	m->flags = buf_text(&job->flags) + (job->flags.len > 0);
	m->date = mail_date_imap(&job->p.date, job->date);
	m->message_id = job->again && prepared_is_searchable(&job->p) ? job->p.id : NULL;
	m->anyway = run->options->resend_doubtful;
	m->odd = !is_usual(job);
}

int link_send(struct link *l, struct job *job, struct err *e)
{
	struct smtp_message m = {
		.id = (uint64_t)(job - l->owner->jobs),
		.eight_bit = job->p.facts.eight_bit,
		.utf8 = job->utf8,
	};

	put_resent(l->owner->run->options, job);
	m.size = job->resent.len + job->p.size;
	if (l->talk.imap)
		put_place(l, job, &m);
	if (buf_status(&job->resent) < 0 || buf_status(&job->mailbox) < 0 ||
	    buf_status(&job->flags) < 0)
		return err_set(e, -ENOMEM, "out of memory");
	job->raw = m.eight_bit && !link_is_eight_bit(l);
	job->state = JOB_ON_WAY;
	l->carried++;
	return talk_send(&l->talk, &m) < 0 ? err_set(e, -ENOMEM, "out of memory") : 0;
}

/* Gives a piece of the body; the last one once the journal knows. */
static int give_piece(struct link *l, const struct buf *piece, bool last, struct err *e)
{
	struct journal *journal = l->owner->run->journal;

	if (last && journal)
		journal_go(journal, &l->giving->p);
	if (talk_body(&l->talk, buf_text(piece), piece->len, last) < 0)
		return err_set(e, -ENOMEM, "out of memory");
	if (last)
		link_give_no_more(l);
	return 0;
}

/* A body that is too large to be kept: piece by piece. */
static int give_stream(struct link *l, struct err *e)
{
	struct job *job = l->giving;
	struct run *run = l->owner->run;
	struct buf piece cleanup(buf_free) = {0};
	bool last = false;
	int r;

	if (!l->streaming) {
		stream_again(&l->stream, run->store, &job->p, &run->options->cleaning);
		l->streaming = true;
		buf_add(&piece, buf_text(&job->resent), job->resent.len);
	}
	r = stream_next(&l->stream, &piece, &last, e);
	return r < 0 ? r : give_piece(l, &piece, last, e);
}

int link_give(struct link *l, struct err *e)
{
	struct job *job = l->giving;
	struct buf whole cleanup(buf_free) = {0};

	if (!job || link_backlog(l) >= LINK_BACKLOG || !talk_takes_body(&l->talk))
		return 0;
	if (job->p.text.len == 0 && job->p.size > 0)
		return give_stream(l, e);
	if (job->resent.len == 0)
		return give_piece(l, &job->p.text, true, e);
	buf_add(&whole, job->resent.data, job->resent.len);
	buf_add(&whole, buf_text(&job->p.text), job->p.text.len);
	return buf_status(&whole) < 0 ? err_set(e, -ENOMEM, "out of memory")
				      : give_piece(l, &whole, true, e);
}

void link_give_no_more(struct link *l)
{
	l->giving = NULL;
	l->streaming = false;
	stream_free(&l->stream);
}
