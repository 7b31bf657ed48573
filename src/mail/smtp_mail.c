/* SPDX-License-Identifier: MIT */
/* The mails within a session: MAIL, RCPT, then DATA (RFC 5321) or BDAT (RFC 3030), as far ahead of
 * the replies as PIPELINING (RFC 2920) allows. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "mail/find.h"
#include "mail/smtp_private.h"

/* Mails on the way at once. Only with CHUNKING is there more than one whose reply is missing. */
#define MAILS_MAX 32

static struct mail *youngest(const struct smtp *s)
{
	return s->step == STEP_NONE ? NULL : &s->mails[s->mail_count - 1];
}

static size_t mails_open(const struct smtp *s)
{
	return s->mail_count - s->mail_first;
}

static bool waiting(const struct smtp *s)
{
	return s->question_first < s->question_count;
}

size_t smtp_open_count(const struct smtp *s)
{
	return mails_open(s);
}

bool smtp_is_busy(const struct smtp *s)
{
	return mails_open(s) > 0 || waiting(s);
}

bool smtp_is_judged(const struct smtp *s)
{
	for (size_t i = s->mail_first; i < s->mail_count; i++)
		if (s->mails[i].open > 0 && s->mails[i].ended && s->mails[i].end <= s->left)
			return true;
	return false;
}

bool smtp_may_send(const struct smtp *s)
{
	if (!s->ready || s->gone || s->quit || s->step != STEP_NONE || s->reset)
		return false;
	return mails_open(s) == 0 || (s->pipelining && mails_open(s) < MAILS_MAX);
}

int smtp_send(struct smtp *s, const struct smtp_message *message)
{
	if (s->mail_first > 0 && (s->mail_first == s->mail_count || s->mail_first >= MAILS_MAX)) {
		s->mail_count -= s->mail_first;
		s->mail_replied -= s->mail_first;
		memmove(s->mails, s->mails + s->mail_first, s->mail_count * sizeof(*s->mails));
		s->mail_first = 0;
	}
	if (array_room(&s->mails, &s->mail_room, s->mail_count, sizeof(*s->mails)) < 0)
		return -ENOMEM;
	s->mails[s->mail_count++] = (struct mail){.message = *message};
	s->step = STEP_MAIL;
	return smtp_mail_go_on(s);
}

static int ask_mail(struct smtp *s, struct mail *m, enum asked asked)
{
	m->open++;
	return smtp_ask(s, asked);
}

/*
 * RFC 6531 3.4 wants it for headers that are UTF-8 too. But Postfix, told so, can't give the
 * message to a server that does not know it (Dovecot 2.3's LMTP, most of all): it takes the
 * message, and bounces it later. Untold, it passes such headers on as they are, as servers always
 * did. So it is said for headers only after a refusal.
 */
static bool says_utf8(const struct smtp *s, const struct mail *m)
{
	return s->utf8_address || m->message.utf8;
}

static int say_mail(struct smtp *s, struct mail *m)
{
	buf_fmt(&s->out, "MAIL FROM:<%s>", s->setup.sender);
	if (smtp_knows(s, "SIZE"))
		buf_fmt(&s->out, " SIZE=%" PRIu64, m->message.size);
	if (m->message.eight_bit && smtp_knows(s, "8BITMIME"))
		buf_str(&s->out, " BODY=8BITMIME");
	if (says_utf8(s, m) && smtp_knows(s, "SMTPUTF8"))
		buf_str(&s->out, " SMTPUTF8");
	buf_str(&s->out, "\r\n");
	return ask_mail(s, m, ASKED_MAIL);
}

static void complete(struct smtp *s, struct mail *m)
{
	m->whole = true;
	s->step = STEP_NONE;
}

int smtp_mail_go_on(struct smtp *s)
{
	struct mail *m = youngest(s);
	int r = 0;

	if (s->reset && !s->gone && mails_open(s) == 0 && !waiting(s)) {
		buf_str(&s->out, "RSET\r\n");
		return smtp_ask(s, ASKED_RSET);
	}
	while (m && r == 0 && !s->gone && (s->pipelining || !waiting(s))) {
		switch (s->step) {
		case STEP_MAIL:
			r = say_mail(s, m);
			s->step = STEP_RCPT;
			break;
		case STEP_RCPT:
			if (m->bad.code != 0) {
				complete(s, m);
				return 0;
			}
			buf_fmt(&s->out, "RCPT TO:<%s>\r\n", s->setup.recipient);
			r = ask_mail(s, m, ASKED_RCPT);
			s->step = s->chunking ? STEP_BODY : STEP_DATA;
			break;
		case STEP_DATA:
			if (m->bad.code != 0) {
				complete(s, m);
				return 0;
			}
			buf_str(&s->out, "DATA\r\n");
			r = ask_mail(s, m, ASKED_DATA);
			s->step = STEP_GO_AHEAD;
			break;
		case STEP_BODY:
			if (m->bad.code != 0)
				complete(s, m);
			return 0;
		case STEP_GO_AHEAD:
		case STEP_NONE:
			return 0;
		}
	}
	return r;
}

static void stuff_dots(struct smtp *s, const char *at, size_t len)
{
	const char *end = at + len;

	if (len > 0 && s->line_start && *at == '.')
		buf_char(&s->out, '.');
	while (at < end) {
		const char *dot = find_pair(at, end, '\n', '.');

		if (!dot)
			break;
		buf_add(&s->out, at, (size_t)(dot + 1 - at));
		buf_char(&s->out, '.');
		at = dot + 1;
	}
	buf_add(&s->out, at, (size_t)(end - at));
	if (len > 0)
		s->line_start = end[-1] == '\n';
}

static void end_mail(struct smtp *s, struct mail *m)
{
	m->ended = true;
	m->end = s->left + s->out.len - s->out_at;
	complete(s, m);
}

bool smtp_takes_body(const struct smtp *s)
{
	const struct mail *m = youngest(s);

	return m && !s->gone && s->step == STEP_BODY && m->bad.code == 0 &&
	       (!s->chunking || s->pipelining || !waiting(s));
}

int smtp_body(struct smtp *s, const char *bytes, size_t len, bool last)
{
	struct mail *m = youngest(s);
	int r = 0;

	if (!smtp_takes_body(s))
		return -EINVAL;
	m->told_body = false;
	if (s->chunking) {
		buf_fmt(&s->out, "BDAT %zu%s\r\n", len, last ? " LAST" : "");
		buf_add(&s->out, bytes, len);
		r = ask_mail(s, m, last ? ASKED_BDAT_LAST : ASKED_BDAT);
	} else {
		stuff_dots(s, bytes, len);
		if (last) {
			buf_str(&s->out, ".\r\n");
			r = ask_mail(s, m, ASKED_DOT);
		}
	}
	if (last)
		end_mail(s, m);
	return r < 0 ? r : buf_status(&s->out);
}

static const char *command_name(enum asked asked)
{
	switch (asked) {
	case ASKED_MAIL:
		return "MAIL FROM";
	case ASKED_RCPT:
		return "RCPT TO";
	case ASKED_DATA:
		return "DATA";
	case ASKED_BDAT:
	case ASKED_BDAT_LAST:
		return "BDAT";
	case ASKED_GREETING:
	case ASKED_EHLO:
	case ASKED_HELO:
	case ASKED_STARTTLS:
	case ASKED_AUTH:
	case ASKED_DOT:
	case ASKED_RSET:
	case ASKED_QUIT:
		break;
	}
	return "the message";
}

/* DATA was answered by 354: the body may come, or, where the recipient was refused, only its end
 * (RFC 2920 3.1). */
static int go_ahead(struct smtp *s, struct mail *m)
{
	if (m->bad.code == 0) {
		s->step = STEP_BODY;
		s->line_start = true;
		return 0;
	}
	buf_str(&s->out, ".\r\n");
	complete(s, m);
	return ask_mail(s, m, ASKED_DOT);
}

int smtp_mail_reply(struct smtp *s, enum asked asked, const struct smtp_reply *r, struct err *e)
{
	struct mail *m = &s->mails[s->mail_replied];
	bool good = r->code < 300;

	m->open--;
	m->nested = m->nested || (asked == ASKED_MAIL && r->code == 503 && s->reset);
	if (asked == ASKED_DATA && r->code == 354)
		return go_ahead(s, m);
	if (asked == ASKED_DATA && good)
		return err_set(e, -EPROTO, "the server answers DATA with %d %s", r->code, r->text);
	if (!good && r->code < 400)
		return err_set(e, -EPROTO, "the server answers %s with %d %s", command_name(asked),
			       r->code, r->text);
	if (!good && m->bad.code == 0) {
		m->bad = *r;
		m->command = command_name(asked);
	}
	if (asked == ASKED_DATA)
		complete(s, m);
	m->last = *r;
	/* With BDAT and nested MAIL refused, the last reply still decides. */
	if (asked == ASKED_BDAT_LAST && good)
		m->sent = true;
	if (asked == ASKED_DOT && good && m->bad.code == 0)
		m->sent = true;
	if (!m->sent && asked != ASKED_MAIL && asked != ASKED_DOT && m->bad.code != 0)
		s->reset = true;
	if (m->whole && m->open == 0)
		s->mail_replied++;
	return 0;
}

bool smtp_mail_early(struct smtp *s, const struct smtp_reply *r)
{
	struct mail *m;

	if (s->mail_replied == s->mail_count || r->code < 400)
		return false;
	if (waiting(s) && s->questions[s->question_first].asked == ASKED_MAIL)
		return false; /* nothing of it has left */
	m = &s->mails[s->mail_replied];
	if (m->bad.code == 0) {
		m->bad = *r;
		m->command = "the message";
	}
	return true;
}

static enum smtp_result result_of(const struct smtp *s, const struct mail *m)
{
	if (m->sent)
		return SMTP_SENT;
	if (m->bad.code == 421)
		return SMTP_REFUSED;
	if (m->open > 0 && m->ended && m->end <= s->left)
		/* what came behind a 421 was not looked at any more */
		return s->farewell.code == 421 ? SMTP_UNSENT : SMTP_DOUBT;
	if (m->nested)
		return SMTP_UNSENT;
	return m->bad.code != 0 ? SMTP_REFUSED : SMTP_UNSENT;
}

/* RFC 6531 3.5 has the code for addresses; of a header that nothing announced it is said too. */
static bool wants_utf8(const struct smtp *s, const struct mail *m)
{
	return strcmp(m->bad.enhanced, "5.6.7") == 0 && !says_utf8(s, m) &&
	       smtp_knows(s, "SMTPUTF8");
}

static void tell(struct smtp *s, struct smtp_told *told)
{
	struct mail *m = &s->mails[s->mail_first];

	*told = (struct smtp_told){
		.id = m->message.id,
		.result = result_of(s, m),
		.reply = m->sent ? m->last : m->bad,
		.command = m->command,
		.wants_utf8 = wants_utf8(s, m),
	};
	if (s->mail_first + 1 == s->mail_count)
		s->step = STEP_NONE;
	s->mail_first++;
	if (s->mail_replied < s->mail_first)
		s->mail_replied = s->mail_first;
}

bool smtp_mail_event(struct smtp *s, struct smtp_told *told, enum smtp_event *event)
{
	struct mail *m = youngest(s);

	if (mails_open(s) > 0) {
		const struct mail *oldest = &s->mails[s->mail_first];

		if (s->gone || (oldest->whole && oldest->open == 0)) {
			tell(s, told);
			*event = SMTP_DONE;
			return true;
		}
	}
	if (!smtp_takes_body(s) || m->told_body)
		return false;
	m->told_body = true;
	told->id = m->message.id;
	*event = SMTP_BODY;
	return true;
}
