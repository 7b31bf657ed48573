/* SPDX-License-Identifier: MIT */
/* The run: messages are prepared some way ahead, their intents made durable together, and handed
 * to whichever connection takes them. One thread, nothing blocks but opening a connection. */
#include "bounce-mbox/sender.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/sig.h"
#include "bounce-mbox/journal.h"
#include "bounce-mbox/report.h"
#include "bounce-mbox/store.h"

/* Over a longer pause the connections are not kept. */
#define IDLE_MAX (20 * SECOND)

int64_t sender_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * SECOND + t.tv_nsec / 1000;
}

void sender_fail(struct sender *s, const struct err *e)
{
	if (s->failure == 0) {
		s->failure = e->code ? e->code : -EIO;
		s->why = *e;
	}
	s->stopping = true;
}

/* --- connections --- */

static bool too_large(struct sender *s, struct link *l, struct job *job)
{
	uint64_t most = link_size_max(l);
	char words[120];

	if (most == 0 || job->p.size <= most)
		return false;
	snprintf(words, sizeof(words), "it has %llu bytes, and the server takes at most %llu",
		 (unsigned long long)job->p.size, (unsigned long long)most);
	sender_not(s, job, false, words);
	sender_set_aside(s, job, words);
	return true;
}

/* A refused login: the token may have ended, so its command is asked once more. */
static bool refresh(struct sender *s)
{
	if (!s->run->options->secret.command || s->refreshed)
		return false;
	secret_free(take(s->owner.secret));
	s->refreshed = true;
	return true;
}

/* A server may take fewer connections than are wanted. */
static bool others_open(const struct sender *s, const struct link *l)
{
	for (unsigned i = 0; i < s->nlinks; i++)
		if (s->links[i] != l && link_is_open(s->links[i]))
			return true;
	return false;
}

/* Whether it is worth trying again. */
static void trouble(struct sender *s, const struct link *l, const struct err *e)
{
	if (e->code == -EACCES && refresh(s))
		return;
	if (e->code == -EINTR) {
		(void)sig_wait(s->run->stop_fd, 0);
		s->stopping = true;
		return;
	}
	if (e->code == -EACCES || e->code == -ENOTSUP || e->code == -EKEYREJECTED ||
	    e->code == -ENOMEM || e->code == -ESTALE ||
	    ((!s->taken || link_failures(l) >= FAILURES_MAX) && !others_open(s, l)))
		sender_fail(s, e);
}

static void feed(struct sender *s, struct link *l)
{
	struct err e = {0};

	while (!s->stopping && link_takes(l) && pace_wait(&s->run->pace, s->owner.now) == 0) {
		struct job *job = sender_pop(&s->ready);

		if (!job)
			return;
		s->waiting--;
		if (too_large(s, l, job))
			continue;
		pace_took(&s->run->pace, s->owner.now);
		s->folder = sender_folder(s, job);
		if (link_send(l, job, &e) < 0) {
			sender_fail(s, &e);
			link_drop(l, false); /* half of a command may be in it */
		} else if (link_go_on(l, &e) < 0) {
			trouble(s, l, &e);
		}
	}
}

static void open_link(struct sender *s, struct link *l)
{
	struct err e = {0};

	if (s->stopping || link_is_open(l) || link_retry_at(l) > s->owner.now || s->waiting == 0 ||
	    pace_wait(&s->run->pace, s->owner.now) > 0)
		return;
	if (link_open(l, &e) < 0)
		trouble(s, l, &e);
}

static void hear_link(struct sender *s, struct link *l)
{
	struct err e = {0};

	if (!link_is_open(l))
		return;
	if (link_hear(l, &e) < 0)
		trouble(s, l, &e);
	if (link_is_open(l) && link_takes(l)) {
		s->taken = true;
		s->refreshed = false;
	}
	if (link_is_open(l) && s->owner.now >= link_deadline(l)) {
		err_set(&e, -ETIMEDOUT, "%s has not said a word for %d s",
			s->run->options->target.shown, link_patience(l));
		link_drop(l, true);
		trouble(s, l, &e);
	}
}

static void flush_links(struct sender *s)
{
	struct err e = {0};

	if (s->run->journal && journal_write(s->run->journal, &e) < 0) {
		sender_fail(s, &e); /* without a journal not one byte more */
		for (unsigned i = 0; i < s->nlinks; i++)
			link_drop(s->links[i], false);
		return;
	}
	for (unsigned i = 0; i < s->nlinks; i++)
		if (link_is_open(s->links[i]) && link_flush(s->links[i], &e) < 0)
			trouble(s, s->links[i], &e);
}

static size_t load(const struct sender *s)
{
	size_t n = 0;

	for (unsigned i = 0; i < s->nlinks; i++)
		n += link_load(s->links[i]);
	return n;
}

static bool finished(const struct sender *s)
{
	if (load(s) > 0)
		return false;
	return s->stopping || (s->next >= s->run->store->count && s->waiting == 0);
}

/* --- waiting --- */

static int64_t until(const struct sender *s)
{
	int64_t now = s->owner.now, wait = SECOND, pause = pace_wait(&s->run->pace, now);
	bool work = s->ready.first != NULL;

	bool more = s->next < s->run->store->count && s->bytes < AHEAD_BYTES &&
		    s->waiting < (s->run->pace.interval > 0 ? 1 : READY_LOW);

	if ((work || more) && pause < wait)
		wait = work && pause == 0 ? wait : pause;
	for (unsigned i = 0; i < s->nlinks; i++) {
		const struct link *l = s->links[i];
		int64_t left = link_is_open(l) ? link_deadline(l) - now : link_retry_at(l) - now;

		if (pause == 0 && work && (link_is_open(l) ? link_takes(l) : left <= 0))
			return 0;
		if (left > 0 && left < wait)
			wait = left;
	}
	return wait;
}

static void stop(struct sender *s)
{
	(void)sig_wait(s->run->stop_fd, 0);
	if (!s->stopping) {
		s->stopping = true;
		report_note(s->run->report, "stopping after what is under way; again: at once");
		return;
	}
	for (unsigned i = 0; i < s->nlinks; i++)
		link_drop(s->links[i], false);
}

static void wait_for_news(struct sender *s)
{
	struct pollfd fds[LINKS_MAX + 2];
	nfds_t n = 0;
	int64_t wait = until(s);

	if (s->run->stop_fd >= 0)
		fds[n++] = (struct pollfd){s->run->stop_fd, POLLIN, 0};
	for (unsigned i = 0; i < s->nlinks; i++)
		if (link_is_open(s->links[i]))
			fds[n++] =
				(struct pollfd){link_fd(s->links[i]), link_events(s->links[i]), 0};
	if (s->syncing)
		fds[n++] = (struct pollfd){journal_sync_fd(s->run->journal), POLLIN, 0};
	(void)poll(fds, n, (int)((wait + 999) / 1000));
	s->owner.now = sender_now();
	if (n > 0 && fds[0].fd == s->run->stop_fd && fds[0].revents)
		stop(s);
}

static void tell_used_up(struct sender *s)
{
	struct pace *pace = &s->run->pace;
	bool used_up = pace_is_used_up(pace, s->owner.now);

	if (used_up && !s->told_used_up)
		report_note(s->run->report,
			    "the %u messages of a day are sent; going on in %.1f hours",
			    pace->per_day,
			    (double)pace_wait(pace, s->owner.now) / (3600.0 * SECOND));
	s->told_used_up = used_up;
}

static void rest_links(struct sender *s)
{
	tell_used_up(s);
	if (pace_wait(&s->run->pace, s->owner.now) < IDLE_MAX)
		return;
	for (unsigned i = 0; i < s->nlinks; i++)
		if (link_is_open(s->links[i]) && link_load(s->links[i]) == 0)
			link_quit(s->links[i]);
}

static void worn_out(struct sender *s)
{
	for (unsigned i = 0; i < s->nlinks; i++)
		if (link_is_open(s->links[i]) && link_load(s->links[i]) == 0 &&
		    link_used_up(s->links[i]))
			link_quit(s->links[i]);
}

/* One round: prepare, hand over, send, wait, hear. */
static void turn(struct sender *s)
{
	sender_fill(s);
	sender_commit(s);
	rest_links(s);
	worn_out(s);
	for (unsigned i = 0; i < s->nlinks; i++) {
		open_link(s, s->links[i]);
		feed(s, s->links[i]);
	}
	flush_links(s);
	if (finished(s))
		return;
	wait_for_news(s);
	for (unsigned i = 0; i < s->nlinks; i++)
		hear_link(s, s->links[i]);
	report_progress(s->run->report, &s->run->tally, s->folder, s->owner.now);
}

/* Says goodbye, and waits for the answers for a moment. */
static void part(struct sender *s)
{
	bool open = true;

	for (unsigned i = 0; i < s->nlinks; i++)
		link_quit(s->links[i]);
	s->owner.now = sender_now();
	while (open) {
		flush_links(s);
		open = false;
		for (unsigned i = 0; i < s->nlinks; i++)
			open = open || link_is_open(s->links[i]);
		if (!open)
			break;
		wait_for_news(s);
		for (unsigned i = 0; i < s->nlinks; i++)
			hear_link(s, s->links[i]);
	}
}

/* What was prepared and not sent stays for the next run. */
static void put_back(struct sender *s)
{
	for (size_t i = 0; i < JOBS; i++) {
		if (s->jobs[i].state == JOB_FREE)
			continue;
		if (s->jobs[i].state != JOB_NEW)
			sender_not(s, &s->jobs[i], false, "");
		s->run->tally.read--;
		sender_free_job(s, &s->jobs[i]);
	}
}

/* An IMAP server may be busy with what a dead run or connection said last: asked at once, it would
 * not know yet. */
void sender_let_settle(struct sender *s)
{
	struct pace *pace = &s->run->pace;

	if (pace->next < s->owner.now + pace->backoff)
		pace->next = s->owner.now + pace->backoff;
}

static void settle_doubts(struct sender *s)
{
	struct journal_sums sums;

	if (!s->run->journal || s->run->options->target.kind != TARGET_IMAP)
		return;
	journal_sums(s->run->journal, &sums);
	if (sums.doubt > 0)
		sender_let_settle(s);
}

int run_send(struct run *run, struct err *e)
{
	struct sender *s = calloc(1, sizeof(*s));
	struct err last = {0};
	int r;

	if (!s)
		return store_no_memory(e);
	s->run = run;
	run->taken.uids.folder = run->taken.ids.folder = run->store->temporary;
	s->owner = (struct link_owner){
		.run = run, .jobs = s->jobs, .done = sender_done, .now = sender_now()};
	for (size_t i = JOBS; i > 0; i--)
		sender_free_job(s, &s->jobs[i - 1]);
	if (run->journal && journal_sync_apart(run->journal, e) < 0) {
		r = e ? e->code : -EIO;
		free(s);
		return r;
	}
	while (s->nlinks < run->options->connections && s->nlinks < LINKS_MAX) {
		s->links[s->nlinks] = link_new(&s->owner);
		if (!s->links[s->nlinks])
			break;
		s->nlinks++;
	}
	if (s->nlinks == 0) {
		store_no_memory(&last);
		sender_fail(s, &last);
	}
	settle_doubts(s);
	while (!finished(s))
		turn(s);
	part(s);
	put_back(s);
	if (run->journal && journal_sync(run->journal, &last) < 0)
		sender_fail(s, &last);
	r = s->failure ? err_set(e, s->failure, "%s", s->why.text) : s->stopping;
	for (unsigned i = 0; i < s->nlinks; i++)
		link_free(s->links[i]);
	for (size_t i = 0; i < JOBS; i++) {
		prepared_free(&s->jobs[i].p);
		buf_free(&s->jobs[i].resent);
		buf_free(&s->jobs[i].mailbox);
		buf_free(&s->jobs[i].flags);
	}
	secret_free(s->owner.secret);
	taken_free(&run->taken);
	free(s);
	return r;
}
