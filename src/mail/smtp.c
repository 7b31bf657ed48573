/* SPDX-License-Identifier: MIT */
#include "mail/smtp.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/cursor.h"
#include "base/err.h"
#include "base/mem.h"
#include "mail/find.h"
#include "mail/sasl.h"
#include "mail/smtp_private.h"

int smtp_new(struct smtp **s, const struct smtp_setup *setup, struct err *e)
{
	struct smtp *new;

	if (strpbrk(setup->sender, "<>\r\n") || strpbrk(setup->recipient, "<>\r\n"))
		return err_set(e, -EINVAL, "an address may not hold '<', '>' or a line end");
	new = calloc(1, sizeof(*new));
	if (!new)
		return err_set(e, -ENOMEM, "out of memory");
	new->setup = *setup;
	new->encrypted = setup->encrypted;
	new->utf8_address = find_8bit(setup->sender, strlen(setup->sender)) ||
			    find_8bit(setup->recipient, strlen(setup->recipient));
	if (smtp_ask(new, ASKED_GREETING) < 0) {
		smtp_free(new);
		return err_set(e, -ENOMEM, "out of memory");
	}
	*s = new;
	return 0;
}

void smtp_free(struct smtp *s)
{
	if (!s)
		return;
	buf_free(&s->in);
	buf_free(&s->out);
	buf_free(&s->keywords);
	free(s->questions);
	free(s->mails);
	free(s);
}

int smtp_input(struct smtp *s, const char *bytes, size_t len)
{
	buf_shift(&s->in, &s->in_at);
	buf_add(&s->in, bytes, len);
	return buf_status(&s->in);
}

void smtp_gone(struct smtp *s)
{
	s->gone = true;
}

const char *smtp_output(const struct smtp *s, size_t *len)
{
	*len = s->out.len - s->out_at;
	return buf_text(&s->out) + s->out_at;
}

void smtp_left(struct smtp *s, size_t len)
{
	s->out_at += len;
	s->left += len;
	buf_shift(&s->out, &s->out_at);
}

/* Expects a reply to what has just been put into the output. */
int smtp_ask(struct smtp *s, enum asked asked)
{
	if (s->question_first > 0 &&
	    (s->question_first == s->question_count || s->question_first >= 256)) {
		s->question_count -= s->question_first;
		memmove(s->questions, s->questions + s->question_first,
			s->question_count * sizeof(*s->questions));
		s->question_first = 0;
	}
	if (array_room(&s->questions, &s->question_room, s->question_count, sizeof(*s->questions)) <
	    0)
		return -ENOMEM;
	s->questions[s->question_count++] =
		(struct question){asked, s->left + s->out.len - s->out_at};
	return buf_status(&s->out);
}

static int hello(struct smtp *s, bool extended)
{
	s->extended = extended;
	buf_fmt(&s->out, "%s %s\r\n",
		s->setup.lmtp ? "LHLO"
		: extended    ? "EHLO"
			      : "HELO",
		s->setup.hello);
	return smtp_ask(s, extended ? ASKED_EHLO : ASKED_HELO);
}

/* The keyword's line in what the server knows; NULL where it isn't there. */
static const char *keyword_line(const struct smtp *s, const char *keyword)
{
	size_t len = strlen(keyword);

	for (const char *at = buf_text(&s->keywords); (at = strchr(at, '\n')) != NULL;) {
		at++;
		if (strncasecmp(at, keyword, len) == 0 && strchr(" =\n", at[len]))
			return at + len;
	}
	return NULL;
}

bool smtp_knows(const struct smtp *s, const char *keyword)
{
	return keyword_line(s, keyword) != NULL;
}

uint64_t smtp_size_max(const struct smtp *s)
{
	return s->size_max;
}

/* Takes the keywords from the lines of an EHLO reply, behind its first. */
static int learn(struct smtp *s, const char *bytes, size_t len)
{
	struct cursor c = cursor_of(bytes, len);
	const char *line, *size;
	size_t n;

	buf_clear(&s->keywords);
	(void)cursor_part(&c, '\n', &line, &n);
	buf_char(&s->keywords, '\n');
	while (cursor_part(&c, '\n', &line, &n)) {
		while (n > 0 && (line[n - 1] == '\r' || line[n - 1] == ' '))
			n--;
		if (n <= 4 || memchr(line, 0, n))
			continue;
		buf_add(&s->keywords, line + 4, n - 4);
		buf_char(&s->keywords, '\n');
	}
	size = keyword_line(s, "SIZE");
	s->size_max = size ? strtoull(size, NULL, 10) : 0;
	s->pipelining = smtp_knows(s, "PIPELINING");
	s->chunking = smtp_knows(s, "CHUNKING");
	return buf_status(&s->keywords);
}

/* nothing: how an empty answer is written. */
static int put_answer(struct smtp *s, const char *challenge, const char *nothing, struct err *e)
{
	struct buf answer cleanup(buf_free) = {0};
	int r = sasl_step(s->setup.sasl, challenge, &answer, e);

	if (r < 0)
		return r;
	buf_fmt(&s->out, "%s\r\n", answer.len > 0 ? buf_text(&answer) : nothing);
	return smtp_ask(s, ASKED_AUTH);
}

static int start_login(struct smtp *s, struct err *e)
{
	struct buf offered cleanup(buf_free) = {0};
	const char *line = keyword_line(s, "AUTH"), *mechanism = NULL;
	bool first = false;
	int r;

	if (line && *line != '\n')
		buf_add(&offered, line + 1, strcspn(line + 1, "\n"));
	r = buf_status(&offered);
	if (r == 0)
		r = sasl_start(s->setup.sasl, buf_text(&offered), s->encrypted, &mechanism, &first,
			       e);
	if (r < 0)
		return r;
	buf_fmt(&s->out, "AUTH %s%s", mechanism, first ? " " : "\r\n");
	return first ? put_answer(s, "", "=", e) : smtp_ask(s, ASKED_AUTH);
}

static int greeted(struct smtp *s, struct err *e)
{
	bool offered = smtp_knows(s, "STARTTLS");

	if (!s->encrypted && s->setup.tls == SMTP_TLS_REQUIRED && !offered)
		return err_set(e, -ENOTSUP, "the server does not offer STARTTLS");
	if (!s->encrypted && s->setup.tls != SMTP_TLS_OFF && offered) {
		buf_str(&s->out, "STARTTLS\r\n");
		return smtp_ask(s, ASKED_STARTTLS);
	}
	if (s->setup.sasl && !s->authenticated)
		return start_login(s, e);
	if (s->utf8_address && !smtp_knows(s, "SMTPUTF8"))
		return err_set(e, -ENOTSUP,
			       "the server takes no addresses with other letters than those of "
			       "ASCII (it does not offer SMTPUTF8)");
	s->ready = s->tell_ready = true;
	return 0;
}

int smtp_encrypted(struct smtp *s)
{
	s->encrypted = true;
	buf_clear(&s->keywords); /* RFC 3207 4.2: nothing said before counts */
	return hello(s, true);
}

static int refused(const struct smtp_reply *r, const char *what, struct err *e)
{
	return err_set(e, r->code < 500 ? -EAGAIN : -ECONNREFUSED,
		       "the server refused %s: %d %s%s%s", what, r->code, r->enhanced,
		       *r->enhanced ? " " : "", r->text);
}

static int login_reply(struct smtp *s, const struct smtp_reply *r, const char *bytes, size_t len,
		       struct err *e)
{
	struct buf challenge cleanup(buf_free) = {0};
	int code;

	if (r->code == 235) {
		s->authenticated = true;
		code = sasl_finish(s->setup.sasl, e);
		return code < 0 ? code : greeted(s, e);
	}
	if (r->code != 334) {
		refused(r, "the login", e);
		if (e && r->code >= 500)
			e->code = -EACCES;
		return r->code < 500 ? -EAGAIN : -EACCES;
	}
	while (len > 0 && (bytes[len - 1] == '\r' || bytes[len - 1] == '\n'))
		len--;
	if (len > 4)
		buf_add(&challenge, bytes + 4, len - 4);
	code = buf_status(&challenge);
	return code < 0 ? code : put_answer(s, buf_text(&challenge), "", e);
}

/* bytes hold the reply as it came. */
static int session_reply(struct smtp *s, enum asked asked, const struct smtp_reply *r,
			 const char *bytes, size_t len, struct err *e)
{
	bool good = r->code < 300;
	int code;

	switch (asked) {
	case ASKED_GREETING:
		return good ? hello(s, true) : refused(r, "the connection", e);
	case ASKED_EHLO:
		if (!good && r->code >= 500 && !s->setup.lmtp && !s->encrypted)
			return hello(s, false);
		if (!good)
			return refused(r, "the greeting", e);
		code = learn(s, bytes, len);
		return code < 0 ? code : greeted(s, e);
	case ASKED_HELO:
		return good ? greeted(s, e) : refused(r, "the greeting", e);
	case ASKED_STARTTLS:
		if (!good)
			return refused(r, "STARTTLS", e);
		if (s->in_at < s->in.len)
			return err_set(
				e, -EPROTO,
				"there is text behind the answer to STARTTLS that the server "
				"cannot have sent: somebody is on the line");
		s->start_tls = true;
		return 0;
	case ASKED_AUTH:
		return login_reply(s, r, bytes, len, e);
	case ASKED_RSET:
		if (!good)
			return refused(r, "RSET", e);
		s->reset = false;
		return 0;
	case ASKED_QUIT:
		s->farewell = *r;
		s->gone = true;
		return 0;
	case ASKED_MAIL:
	case ASKED_RCPT:
	case ASKED_DATA:
	case ASKED_DOT:
	case ASKED_BDAT:
	case ASKED_BDAT_LAST:
		break;
	}
	return smtp_mail_reply(s, asked, r, e);
}

static int unasked(struct smtp *s, const struct smtp_reply *r, struct err *e)
{
	if (smtp_mail_early(s, r) || r->code == 421) {
		s->farewell = *r;
		s->gone = true;
		return 0;
	}
	return err_set(e, -EPROTO, "the server answers what it was not asked: %d %s", r->code,
		       r->text);
}

/* Takes one reply from the input: 1, or 0 where there is none yet, or an error. */
static int take_reply(struct smtp *s, struct err *e)
{
	const char *bytes = buf_text(&s->in) + s->in_at;
	struct smtp_reply r;
	struct question q;
	long len = smtp_reply_read(bytes, s->in.len - s->in_at, &r);

	if (len < 0)
		return err_set(e, -EPROTO, "what the server says is not %s",
			       s->setup.lmtp ? "LMTP" : "SMTP");
	if (len == 0)
		return 0;
	s->in_at += (size_t)len;
	if (s->question_first == s->question_count ||
	    s->questions[s->question_first].at > s->left) {
		int code = unasked(s, &r, e);

		return code < 0 ? code : 1;
	}
	q = s->questions[s->question_first];
	s->question_first++;
	if (r.code == 421) { /* RFC 5321 3.8: to any command, and then it closes */
		s->farewell = r;
		s->gone = true;
	}

	int code = session_reply(s, q.asked, &r, bytes, (size_t)len, e);

	if (code == -ENOMEM)
		return err_set(e, code, "out of memory");
	return code < 0 ? code : 1;
}

static bool session_event(struct smtp *s, enum smtp_event *event)
{
	if (s->start_tls && s->out_at == s->out.len) {
		s->start_tls = false;
		*event = SMTP_START_TLS;
		return true;
	}
	if (s->tell_ready) {
		s->tell_ready = false;
		*event = SMTP_READY;
		return true;
	}
	return false;
}

int smtp_next(struct smtp *s, struct smtp_told *told, struct err *e)
{
	enum smtp_event event;
	int r;

	for (;;) {
		if (smtp_mail_event(s, told, &event))
			return (int)event;
		if (s->gone) {
			told->reply = s->farewell;
			s->closed = true;
			return SMTP_CLOSED;
		}
		if (session_event(s, &event))
			return (int)event;
		if (smtp_mail_go_on(s) < 0)
			return err_set(e, -ENOMEM, "out of memory");
		r = take_reply(s, e);
		if (r < 0)
			return r;
		if (r == 0 && !smtp_mail_event(s, told, &event))
			return SMTP_WAIT;
		if (r == 0)
			return (int)event;
	}
}

int smtp_quit(struct smtp *s)
{
	if (s->quit || s->gone)
		return 0;
	s->quit = true;
	buf_str(&s->out, "QUIT\r\n");
	return smtp_ask(s, ASKED_QUIT);
}
