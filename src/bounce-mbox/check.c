/* SPDX-License-Identifier: MIT */
/* What a server would say, before it is sent anything. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "bounce-mbox/dial.h"
#include "bounce-mbox/link.h"
#include "bounce-mbox/report.h"
#include "bounce-mbox/run.h"
#include "bounce-mbox/sender.h"
#include "bounce-mbox/store.h"
#include "mail/dkim.h"
#include "mail/header.h"

#define HEAD_LOOK ((size_t)64 * 1024)

/* What the server said of itself. */
struct limits {
	uint64_t size; /* 0: none */
	bool eight_bit;
};

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
	struct link_owner owner = {.run = run, .now = sender_now()};
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

static void add_words(struct buf *words, const char *more)
{
	buf_fmt(words, "%s%s", words->len > 0 ? "; " : "", more);
}

static void check_signature(const struct run *run, const struct prepared *p, const char *head,
			    size_t len, bool *stands, struct buf *words)
{
	struct mail_field f;

	*stands = true;
	if (mail_dkim_broken_by(head, len, run->options->cleaning.remove, &f)) {
		buf_fmt(words, "%sremoving %.*s breaks its DKIM signature",
			words->len > 0 ? "; " : "", (int)f.name_len, f.bytes);
		*stands = false;
	} else if (p->facts.repaired > 0 && mail_head_find(head, len, "DKIM-Signature", &f)) {
		add_words(words, "repairing it breaks its DKIM signature");
		*stands = false;
	}
}

static bool has_aligned_signature(const char *head, size_t len, const struct mail_domain *from)
{
	struct cursor c = cursor_of(head, len);
	struct mail_field f;
	enum mail_head what;

	while ((what = mail_head_next(&c, &f)) != MAIL_HEAD_END) {
		struct mail_domain signer;

		if (what != MAIL_HEAD_FIELD || !mail_field_is(&f, "DKIM-Signature"))
			continue;
		mail_dkim_domain(&f, &signer);
		if (mail_domains_align(from, &signer))
			return true;
	}
	return false;
}

/*
 * DMARC wants the domain of From to stand in the envelope (and this machine to be one that may send
 * for it), or in a signature that still holds. Whether the domain asks for that, and whether a
 * signature's key is still published, only its name server knows.
 */
static void check_dmarc(const struct run *run, const char *head, size_t len, bool stands,
			struct buf *words)
{
	const char *address = run->options->sender;
	struct mail_domain from, sender;
	struct mail_field f;

	if (run->options->target.kind != TARGET_SMTP)
		return;
	if (!mail_head_find(head, len, "From", &f)) {
		add_words(words, "it has no From field");
		return;
	}
	mail_domain_of(f.value, f.value_len, &from);
	mail_domain_of(address, strlen(address), &sender);
	if (!*from.name) {
		add_words(words, "its From field has no address");
		return;
	}
	if (mail_domains_align(&from, &sender) ||
	    (stands && has_aligned_signature(head, len, &from)))
		return;
	buf_fmt(words,
		"%sneither the sender nor a signature that holds is of %s: refused if that "
		"domain's "
		"DMARC policy is reject",
		words->len > 0 ? "; " : "", from.name);
}

static void check_head(const struct run *run, const struct prepared *p, const char *head,
		       size_t len, struct buf *words)
{
	bool stands;

	struct cursor c = cursor_of(head, len);
	unsigned counts[COUNT(single)] = {0};
	struct mail_field f;
	enum mail_head what;

	while ((what = mail_head_next(&c, &f)) != MAIL_HEAD_END) {
		if (what != MAIL_HEAD_FIELD)
			continue;
		for (size_t i = 0; i < COUNT(single); i++)
			counts[i] += mail_field_is(&f, single[i]);
	}
	for (size_t i = 0; i < COUNT(single); i++)
		if (counts[i] > 1)
			buf_fmt(words, "%sit has %u %s fields", words->len > 0 ? "; " : "",
				counts[i], single[i]);
	if (p->delivered)
		add_words(words, "it has a Delivered-To of the recipient; a server that takes that "
				 "for a loop bounces it (--remove Delivered-To)");
	check_signature(run, p, head, len, &stands, words);
	check_dmarc(run, head, len, stands, words);
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
	check_head(run, p, head, len, &soft);
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

int run_warn_removed(struct run *run, struct err *e)
{
	const struct mail_names *names = run->options->cleaning.remove;
	char *head cleanup(free_at) = malloc(HEAD_LOOK);
	struct store *store = run->store;
	uint64_t broken = 0;

	if (!head)
		return err_set(e, -ENOMEM, "out of memory");
	for (size_t i = 0; i < store->count; i++) {
		const struct item *item = store_item(store, i);
		size_t len = item->len < HEAD_LOOK ? (size_t)item->len : HEAD_LOOK;
		struct mail_field f;
		int r = store_read(store, item, 0, head, len, e);

		if (r < 0)
			return r;
		broken += mail_dkim_broken_by(head, len, names, &f);
	}
	if (broken > 0)
		report_note(run->report,
			    "removing these headers breaks the DKIM signatures of %" PRIu64
			    " messages, which may be refused for it; --check names them",
			    broken);
	return 0;
}

int run_check(struct run *run, uint64_t *risky, struct err *e)
{
	char *head cleanup(free_at) = malloc(HEAD_LOOK);
	struct limits limits = {.eight_bit = true};
	struct prepared p = {0};
	uint64_t bytes = 0;
	int r = 0;

	if (!head)
		return err_set(e, -ENOMEM, "out of memory");
	ask_server(run, &limits);
	for (size_t i = 0; i < run->store->count && r == 0; i++) {
		const struct item *item = store_item(run->store, i);

		r = check_one(run, item, &limits, &p, head, risky, e);
		bytes += item->len;
		report_reading(run->report, "checking", store_shown(run->store, item), bytes,
			       sender_now());
	}
	prepared_free(&p);
	return r;
}
