/* SPDX-License-Identifier: MIT */
/* Reading ahead: messages are prepared, and their intents made durable many at a time. */
#include "bounce-mbox/sender.h"

#include <errno.h>
#include <stdio.h>

#include "base/mem.h"
#include "bounce-mbox/journal.h"
#include "bounce-mbox/report.h"
#include "bounce-mbox/store.h"

/* Prepared in one go, before the connections get their turn. */
#define FILL_STEP 32
#define FILL_TIME (SECOND / 50)
/* A finished job keeps so much of its memory. */
#define KEEP_BYTES ((size_t)16 * 1024)

static void push(struct queue *q, struct job *job)
{
	struct job **at = &q->first;

	if (q->last && q->last->index < job->index)
		at = &q->last->next;
	while (*at && (*at)->index < job->index)
		at = &(*at)->next;
	job->next = *at;
	*at = job;
	q->count++;
	if (!job->next)
		q->last = job;
}

struct job *sender_pop(struct queue *q)
{
	struct job *job = q->first;

	if (job) {
		q->first = job->next;
		if (!q->first)
			q->last = NULL;
		job->next = NULL;
		q->count--;
	}
	return job;
}

void sender_free_job(struct sender *s, struct job *job)
{
	s->bytes -= job->p.text.len;
	buf_clear(&job->p.text);
	if (job->p.text.room > KEEP_BYTES)
		buf_free(&job->p.text);
	job->state = JOB_FREE;
	job->next = s->free.first; /* the one used last: its memory is in the cache */
	s->free.first = job;
	s->free.count++;
}

void sender_again(struct sender *s, struct job *job)
{
	job->state = JOB_NEW;
	push(&s->new, job);
	s->waiting++;
}

static bool clean_enough(struct sender *s, struct job *job)
{
	const struct mail_facts *f = &job->p.facts;
	unsigned repair = s->run->options->cleaning.repair;
	char words[200] = "";

	if (f->nuls > 0 && !(repair & MAIL_REPAIR_NUL))
		snprintf(words, sizeof(words),
			 "it holds %llu NUL bytes, which SMTP does not allow (--repair nul)",
			 (unsigned long long)f->nuls);
	else if (f->crs > 0 && !(repair & MAIL_REPAIR_CR))
		snprintf(words, sizeof(words),
			 "it holds %llu CR without LF, which SMTP does not allow (--repair cr)",
			 (unsigned long long)f->crs);
	if (!*words)
		return true;
	sender_set_aside(s, job, words);
	return false;
}

/* The journal knows messages by their content; where copies go to several mailboxes, it is to know
 * which of these lack one, as they may be on the way together. */
static int place(struct sender *s, struct job *job, struct err *e)
{
	const struct run *run = s->run;

	if (!run->journal || run->options->target.kind != TARGET_IMAP)
		return 0;
	if (prepared_mailbox(&job->p, run->store, run->options->folder, &job->mailbox) < 0)
		return store_no_memory(e);
	return prepared_place(&job->p, buf_text(&job->mailbox), e);
}

/* Whether an earlier run has dealt with it. */
static bool known(struct sender *s, struct job *job)
{
	struct run *run = s->run;
	enum journal_state state = run->journal ? journal_meet(run->journal, &job->p) : JOURNAL_NEW;

	if (state == JOURNAL_SENT) {
		run->tally.already++;
		sender_free_job(s, job);
		return true;
	}
	job->again = state == JOURNAL_DOUBT;
	if (job->again && !run->options->resend_doubtful && !sender_can_ask(s, job)) {
		sender_doubt(s, job,
			     "an earlier run may have sent it (--resend-doubtful sends it again)");
		return true;
	}
	return false;
}

/* Of an archive of files one that was deleted or changed meanwhile is no reason to end. */
static bool is_one_file(const struct sender *s, const struct job *job, int code)
{
	return code == -ESTALE && s->run->store->folders[job->p.item->folder].kind != FOLDER_MBOX;
}

/* Postfix's local(8), or its other agents with the flag D, and qmail-local bounce such mail after
 * it was taken. The first one is told at once, while there is time to stop. */
static void tell_delivered(struct sender *s, const struct job *job)
{
	struct run *run = s->run;

	if (!job->p.delivered || s->told_delivered)
		return;
	s->told_delivered = true;
	report_note(run->report,
		    "%s has a Delivered-To of %s: a server that takes that for a loop bounces it "
		    "after it has taken it (--remove Delivered-To)",
		    *job->p.id ? job->p.id : "a message without Message-ID",
		    run->options->recipient);
}

/* The next message of the archive: a new job, or none where there is nothing to send. */
static int prepare_next(struct sender *s)
{
	struct run *run = s->run;
	struct job *job = sender_pop(&s->free);
	struct err e = {0};
	int r;

	job->index = s->next++;
	job->tries = 0;
	job->again = job->utf8 = job->bare = false;
	r = prepare(&job->p, run->store, store_item(run->store, job->index),
		    &run->options->cleaning, &e);
	s->bytes += job->p.text.len;
	if (r == 0)
		r = place(s, job, &e);
	if (r < 0 && !is_one_file(s, job, r)) {
		sender_fail(s, &e);
		sender_free_job(s, job);
		return r;
	}
	run->tally.read++;
	if (r < 0) {
		run->tally.failed++;
		report_message(run->report, REPORT_FAILED, "", sender_folder(s, job), e.text);
		sender_free_job(s, job);
		return 0;
	}
	if (known(s, job) || !clean_enough(s, job))
		return 0;
	tell_delivered(s, job);
	job->state = JOB_NEW;
	push(&s->new, job);
	s->waiting++;
	return 0;
}

/* With no pause between messages many are prepared together, so that one wait for the disk is
 * enough for all of them. With a pause the next one is prepared when its time has come. */
void sender_fill(struct sender *s)
{
	bool paced = s->run->pace.interval > 0;
	unsigned low = paced ? 1 : READY_LOW, high = paced ? 1 : READY_HIGH;
	int64_t started = s->owner.now;

	if (s->stopping || s->waiting >= low || pace_wait(&s->run->pace, started) > 0)
		return;
	for (unsigned n = 0; n < FILL_STEP && s->next < s->run->store->count && s->free.first;
	     n++) {
		if (s->waiting >= high || s->bytes >= AHEAD_BYTES || prepare_next(s) < 0)
			return;
		if (sender_now() - started > FILL_TIME)
			return;
	}
}

static void move(struct queue *from, struct queue *to, enum job_state state)
{
	struct job *job;

	while ((job = sender_pop(from)) != NULL) {
		job->state = state;
		push(to, job);
	}
}

/* While some may be sent, the next ones wait for more of their kind. */
static bool is_gathering(const struct sender *s)
{
	return s->ready.first && s->new.count < READY_ENOUGH && s->waiting < READY_LOW &&
	       s->bytes < AHEAD_BYTES && s->next < s->run->store->count;
}

/* New messages become ready once their intents are on the disk. */
void sender_commit(struct sender *s)
{
	struct journal *journal = s->run->journal;
	struct err e = {0};
	int r;

	if (!journal) {
		move(&s->new, &s->ready, JOB_READY);
		return;
	}
	if (s->syncing) {
		r = journal_sync_done(journal, &e);
		if (r < 0)
			sender_fail(s, &e);
		if (r <= 0)
			return;
		s->syncing = false;
		move(&s->intent, &s->ready, JOB_READY);
	}
	if (!s->new.first || s->stopping || s->ready.count > READY_ENOUGH || is_gathering(s))
		return;
	for (struct job *job = s->new.first; job; job = job->next)
		journal_intent(journal, &job->p, job->again);
	if (journal_sync_start(journal, &e) < 0) {
		sender_fail(s, &e);
		return;
	}
	s->syncing = true;
	move(&s->new, &s->intent, JOB_INTENT);
}
