/* SPDX-License-Identifier: MIT */
/* What became of a message: counted, noted in the journal, tried again, set aside. */
#include "bounce-mbox/sender.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "bounce-mbox/journal.h"
#include "bounce-mbox/rejects.h"
#include "bounce-mbox/report.h"
#include "bounce-mbox/store.h"
#include "mail/flags.h"

const char *sender_folder(const struct sender *s, const struct job *job)
{
	return s->run->store->folders[job->p.item->folder].name;
}

void sender_set_aside(struct sender *s, struct job *job, const char *words)
{
	struct run *run = s->run;
	struct err e = {0};

	if (run->rejects && rejects_add(run->rejects, run->store, &job->p, &run->options->cleaning,
					words, &e) < 0) {
		sender_fail(s, &e);
		run->tally.failed++;
		sender_free_job(s, job);
		return;
	}
	run->tally.aside++;
	report_message(run->report, REPORT_ASIDE, job->p.id, sender_folder(s, job), words);
	sender_free_job(s, job);
}

static void reply_words(const struct smtp_told *told, char *words, size_t size)
{
	if (!told->command && told->result != SMTP_SENT) { /* IMAP has no codes */
		snprintf(words, size, "%s", told->reply.text);
		return;
	}
	snprintf(words, size, "%d %s%s%s%s%s", told->reply.code, told->reply.enhanced,
		 *told->reply.enhanced ? " " : "", told->reply.text,
		 told->command && told->result != SMTP_SENT ? ", to " : "",
		 told->command && told->result != SMTP_SENT ? told->command : "");
}

static void job_sent(struct sender *s, struct job *job, const char *words)
{
	struct run *run = s->run;
	struct err e;

	if (run->journal)
		journal_done(run->journal, &job->p, words);
	else if (run->options->target.kind == TARGET_IMAP &&
		 taken_add(&run->taken, job->p.id, words, &e) < 0)
		sender_fail(s, &e);
	run->tally.sent++;
	run->tally.sent_bytes += job->p.size;
	run->tally.repaired += job->p.facts.repaired > 0;
	run->tally.leaks += job->p.facts.leaks > 0;
	run->tally.delivered += job->p.delivered;
	run->tally.raw += job->raw;
	run->tally.bare += job->bare;
	run->tally.long_lines += job->p.facts.longest > MAIL_LINE_MAX;
	pace_good(&run->pace);
	s->refused_in_a_row = 0;
	sender_free_job(s, job);
}

static bool of_envelope(const struct smtp_told *told)
{
	return told->command && strcmp(told->command, "the message") != 0 &&
	       strcmp(told->command, "BDAT") != 0;
}

/* The server has no room for so large a message: RFC 1870 6.1, RFC 3463 3.3 and 3.4. */
static bool of_size(const struct smtp_told *told)
{
	const char *enhanced = told->reply.enhanced;
	int code = told->reply.code;

	if (told->command && strcmp(told->command, "MAIL FROM") == 0 &&
	    (code == 552 || (code == 452 && (!*enhanced || strcmp(enhanced, "4.3.1") == 0))))
		return true;
	return strcmp(enhanced, "5.3.4") == 0 || strcmp(enhanced, "5.2.3") == 0;
}

/* The recipient's mailbox is full: RFC 3463 3.3, RFC 5530. */
static bool is_full(const struct smtp_told *told)
{
	return strcmp(told->reply.enhanced, "5.2.2") == 0 ||
	       (!told->command && strcasestr(told->reply.text, "[OVERQUOTA]"));
}

void sender_not(struct sender *s, struct job *job, bool absent, const char *words)
{
	if (job->again && !absent)
		return;
	job->again = false;
	if (s->run->journal)
		journal_not(s->run->journal, &job->p, words);
}

/* It was tried often enough. */
static void give_up(struct sender *s, struct job *job, const char *words)
{
	if (job->again)
		sender_doubt(s, job, words);
	else
		sender_set_aside(s, job, words);
}

static void job_later(struct sender *s, struct job *job, const struct smtp_told *told,
		      const char *words)
{
	int64_t pause = pace_setback(&s->run->pace, s->owner.now, &told->reply);

	if (pause >= 10 * SECOND)
		report_note(s->run->report, "the server says: %s; going on in %lld s", words,
			    (long long)(pause / SECOND));
	if ((!of_envelope(told) || of_size(told)) && !pace_is_quota(&told->reply) &&
	    ++job->tries >= TRIES_MAX) {
		give_up(s, job, words);
		return;
	}
	if (s->run->pace.setbacks > FAILURES_MAX && !pace_is_quota(&told->reply)) {
		struct err e = {0};

		err_set(&e, -EAGAIN, "the server keeps putting us off: %s", words);
		sender_fail(s, &e);
	}
	sender_again(s, job);
}

/* Each IMAP server has limits of its own for keywords; the message counts for more than they. */
static bool can_go_bare(const struct sender *s, const struct job *job)
{
	bool some = job->p.keywords.len > 0 || (job->p.flags & MAIL_FORWARDED);

	return s->run->options->target.kind == TARGET_IMAP && some;
}

static void go_bare(struct sender *s, struct job *job)
{
	buf_clear(&job->p.keywords);
	job->p.flags &= ~(unsigned)MAIL_FORWARDED; /* "$Forwarded" is a keyword */
	job->bare = true;
	sender_again(s, job);
}

static void job_refused(struct sender *s, struct job *job, const struct smtp_told *told,
			const char *words)
{
	sender_not(s, job, told->absent, words);
	if (told->reply.code < 500 || pace_is_quota(&told->reply)) {
		job_later(s, job, told, words);
		return;
	}
	if (told->wants_utf8 && job->p.facts.utf8_head) {
		job->utf8 = true;
		sender_again(s, job);
		return;
	}
	if (can_go_bare(s, job) && !is_full(told)) {
		go_bare(s, job);
		return;
	}
	sender_set_aside(s, job, words);
	if (of_size(told) || !(of_envelope(told) || is_full(told))) {
		s->refused_in_a_row = 0;
	} else if (++s->refused_in_a_row >= TRIES_MAX) {
		struct err e = {0};

		err_set(&e, -EACCES, "the server refuses every message: %s", words);
		sender_fail(s, &e);
	}
}

static void job_unsent(struct sender *s, struct job *job, const struct smtp_told *told, bool blame)
{
	sender_not(s, job, told->absent, "");
	if (blame && ++job->tries >= TRIES_MAX)
		give_up(s, job, "the connection broke each time it was sent");
	else
		sender_again(s, job);
}

void sender_doubt(struct sender *s, struct job *job, const char *words)
{
	s->run->tally.doubt++;
	s->run->tally.failed++;
	report_message(s->run->report, REPORT_DOUBT, job->p.id, sender_folder(s, job), words);
	sender_free_job(s, job);
}

bool sender_can_ask(const struct sender *s, const struct job *job)
{
	return s->run->options->target.kind == TARGET_IMAP && prepared_is_searchable(&job->p);
}

/* An IMAP server that was asked for it, and told what leaves it in doubt, has words. */
static void job_doubt(struct sender *s, struct job *job, const struct smtp_told *told)
{
	bool ask = sender_can_ask(s, job), asked = ask && *told->reply.text;

	if (ask && !asked && !s->stopping && ++job->tries < TRIES_MAX) {
		sender_let_settle(s);
		job->again = true;
		sender_again(s, job);
		return;
	}
	sender_doubt(s, job,
		     asked ? told->reply.text
			   : "it left, and the connection broke before the answer came");
}

void sender_done(struct link_owner *owner, struct job *job, const struct smtp_told *told,
		 bool blame)
{
	struct sender *s = (struct sender *)owner;
	char words[700];

	reply_words(told, words, sizeof(words));
	switch (told->result) {
	case SMTP_SENT:
		job_sent(s, job, words);
		break;
	case SMTP_REFUSED:
		job_refused(s, job, told, words);
		break;
	case SMTP_UNSENT:
		job_unsent(s, job, told, blame);
		break;
	case SMTP_DOUBT:
		job_doubt(s, job, told);
		break;
	}
}
