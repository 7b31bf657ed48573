/* SPDX-License-Identifier: MIT */
/* What a server would say, before it is sent anything. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/err.h"
#include "base/mem.h"
#include "bounce-mbox/dial.h"
#include "bounce-mbox/link.h"
#include "bounce-mbox/report.h"
#include "bounce-mbox/run.h"
#include "bounce-mbox/sender.h"
#include "bounce-mbox/store.h"
#include "mail/header.h"

#define HEAD_LOOK ((size_t)64 * 1024)

/* What the server said of itself. */
struct limits {
	uint64_t size; /* 0: none */
	bool eight_bit;
};

static void no_job(struct link_owner *owner, struct job *job, const struct smtp_told *told,
		   bool blame)
{
	(void)owner;
	(void)job;
	(void)told;
	(void)blame;
}

static int greet(struct link *l, struct link_owner *owner, struct limits *limits, struct err *e)
{
	int r = dial(l, owner, e);

	if (r == 0) {
		limits->size = link_size_max(l);
		limits->eight_bit = link_is_eight_bit(l);
	}
	return r;
}

static void ask_server(struct run *run, struct limits *limits)
{
	struct link_owner owner = {.run = run, .done = no_job, .now = sender_now()};
	struct link *l = link_new(&owner);
	struct err e = {0};

	if (!l || greet(l, &owner, limits, &e) < 0)
		report_note(run->report, "the server cannot be asked for its limits: %s",
			    l ? e.text : "out of memory");
	link_free(l);
	secret_free(owner.secret);
}

/* RFC 5322 3.6: fields that may stand there only once. */
static const char *const single[] = {"Date", "From",	   "Sender",	  "Reply-To",	"To",
				     "Cc",   "Message-ID", "In-Reply-To", "References", "Subject"};

/* True where the list of a DKIM signature's h= has the name. */
static bool signs(const struct mail_field *signature, const char *name, size_t len)
{
	const char *at = signature->value, *end = at + signature->value_len;

	while (at + 2 < end && !(strncasecmp(at, "h=", 2) == 0 &&
				 (at == signature->value || strchr("; \t\r\n", at[-1]))))
		at++;
	for (at += 2; at < end && *at != ';'; at++) {
		size_t n = 0;

		while (at + n < end && !strchr(":; \t\r\n", at[n]))
			n++;
		if (n == len && strncasecmp(at, name, len) == 0)
			return true;
		at += n;
		if (at == end || *at == ';')
			break;
	}
	return false;
}

static void check_removed(const struct run *run, const char *head, size_t len,
			  const struct mail_field *signature, struct buf *words)
{
	struct cursor c = cursor_of(head, len);
	struct mail_field f;
	enum mail_head what;

	while ((what = mail_head_next(&c, &f)) != MAIL_HEAD_END) {
		if (what != MAIL_HEAD_FIELD ||
		    !mail_names_have(run->options->cleaning.remove, f.bytes, f.name_len) ||
		    !signs(signature, f.bytes, f.name_len))
			continue;
		buf_fmt(words, "%sremoving %.*s breaks its DKIM signature",
			words->len > 0 ? "; " : "", (int)f.name_len, f.bytes);
		return;
	}
}

static void check_head(const struct run *run, const char *head, size_t len, struct buf *words)
{
	struct cursor c = cursor_of(head, len);
	unsigned counts[COUNT(single)] = {0};
	struct mail_field f;
	enum mail_head what;

	while ((what = mail_head_next(&c, &f)) != MAIL_HEAD_END) {
		if (what != MAIL_HEAD_FIELD)
			continue;
		for (size_t i = 0; i < COUNT(single); i++)
			counts[i] += mail_field_is(&f, single[i]);
		if (mail_field_is(&f, "DKIM-Signature"))
			check_removed(run, head, len, &f, words);
	}
	for (size_t i = 0; i < COUNT(single); i++)
		if (counts[i] > 1)
			buf_fmt(words, "%sit has %u %s fields", words->len > 0 ? "; " : "",
				counts[i], single[i]);
}

/* What certainly keeps it from being sent. */
static void check_hard(const struct run *run, const struct prepared *p, const struct limits *limits,
		       struct buf *words)
{
	unsigned repair = run->options->cleaning.repair;

	if (p->facts.nuls > 0 && !(repair & MAIL_REPAIR_NUL))
		buf_fmt(words, "it holds %" PRIu64 " NUL bytes (--repair nul)", p->facts.nuls);
	if (p->facts.crs > 0 && !(repair & MAIL_REPAIR_CR))
		buf_fmt(words, "%sit holds %" PRIu64 " CR without LF (--repair cr)",
			words->len > 0 ? "; " : "", p->facts.crs);
	if (limits->size > 0 && p->size > limits->size)
		buf_fmt(words, "%sit has %" PRIu64 " bytes, and the server takes at most %" PRIu64,
			words->len > 0 ? "; " : "", p->size, limits->size);
}

static void check_soft(const struct run *run, const struct prepared *p, const struct limits *limits,
		       struct buf *words)
{
	if (p->facts.longest > MAIL_LINE_MAX && !(run->options->cleaning.repair & MAIL_REPAIR_LONG))
		buf_fmt(words, "it has a line of %zu bytes (--repair long)", p->facts.longest);
	if (p->facts.eight_bit && !limits->eight_bit)
		buf_fmt(words, "%sit has bytes over 127, and the server does not know 8BITMIME",
			words->len > 0 ? "; " : "");
}

static int check_one(struct run *run, const struct item *item, const struct limits *limits,
		     struct prepared *p, char *head, uint64_t *risky, struct err *e)
{
	struct buf hard cleanup(buf_free) = {0};
	struct buf soft cleanup(buf_free) = {0};
	size_t len = item->len < HEAD_LOOK ? (size_t)item->len : HEAD_LOOK;
	const char *folder = run->store->folders[item->folder].name;
	int r = prepare(p, run->store, item, &run->options->cleaning, e);

	if (r == 0)
		r = store_read(run->store, item, 0, head, len, e);
	if (r < 0)
		return r;
	run->tally.read++;
	check_hard(run, p, limits, &hard);
	check_soft(run, p, limits, &soft);
	check_head(run, head, len, &soft);
	if (buf_status(&hard) < 0 || buf_status(&soft) < 0)
		return err_set(e, -ENOMEM, "out of memory");
	if (hard.len > 0) {
		run->tally.aside++;
		report_message(run->report, REPORT_ASIDE, p->id, folder, buf_text(&hard));
		return 0;
	}
	run->tally.skipped++;
	if (soft.len > 0) {
		++*risky;
		report_message(run->report, REPORT_RISK, p->id, folder, buf_text(&soft));
	}
	return 0;
}

int run_check(struct run *run, uint64_t *risky, struct err *e)
{
	char *head cleanup(free_at) = malloc(HEAD_LOOK);
	struct limits limits = {.eight_bit = true};
	struct prepared p = {0};
	int r = 0;

	if (!head)
		return err_set(e, -ENOMEM, "out of memory");
	ask_server(run, &limits);
	for (size_t i = 0; i < run->store->count && r == 0; i++)
		r = check_one(run, &run->store->items[i], &limits, &p, head, risky, e);
	prepared_free(&p);
	return r;
}
