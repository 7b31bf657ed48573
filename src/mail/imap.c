/* SPDX-License-Identifier: MIT */
#include "mail/imap.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/err.h"
#include "base/mem.h"
#include "mail/imap_line.h"
#include "mail/imap_name.h"
#include "mail/imap_private.h"
#include "mail/sasl.h"

int imap_new(struct imap **i, const struct imap_setup *setup, struct err *e)
{
	struct imap *new = calloc(1, sizeof(*new));

	if (!new)
		return err_set(e, -ENOMEM, "out of memory");
	new->setup = *setup;
	new->encrypted = setup->encrypted;
	new->delimiter = '/';
	buf_str(&new->known, "\nINBOX\n");
	if (buf_status(&new->known) < 0) {
		imap_free(new);
		return err_set(e, -ENOMEM, "out of memory");
	}
	*i = new;
	return 0;
}

void imap_free(struct imap *i)
{
	if (!i)
		return;
	buf_free(&i->in);
	buf_free(&i->out);
	buf_free(&i->capabilities);
	buf_free(&i->known);
	buf_free(&i->prefix);
	buf_free(&i->fetch.names);
	buf_free(&i->fetch.places);
	buf_free(&i->fetch.below);
	free(i);
}

int imap_input(struct imap *i, const char *bytes, size_t len)
{
	buf_shift(&i->in, &i->in_at);
	buf_add(&i->in, bytes, len);
	return buf_status(&i->in);
}

void imap_gone(struct imap *i)
{
	i->gone = true;
}

const char *imap_output(const struct imap *i, size_t *len)
{
	*len = i->out.len - i->out_at;
	return buf_text(&i->out) + i->out_at;
}

void imap_left(struct imap *i, size_t len)
{
	i->out_at += len;
	i->left += len;
	buf_shift(&i->out, &i->out_at);
}

size_t imap_open_count(const struct imap *i)
{
	return i->mail_count;
}

bool imap_is_busy(const struct imap *i)
{
	return i->mail_count > 0 || i->question_count > 0;
}

uint64_t imap_size_max(const struct imap *i)
{
	return i->size_max;
}

void imap_ask(struct imap *i, enum asked asked)
{
	imap_flush(i);
	i->tag++;
	i->questions[i->question_count++] = (struct question){asked, i->tag};
	buf_fmt(&i->out, "A%u ", i->tag);
}

void imap_say(struct imap *i, enum asked asked, const char *command)
{
	imap_ask(i, asked);
	buf_fmt(&i->out, "%s\r\n", command);
}

/* A capability; *value: what follows a '=' in it. */
static bool has(const struct imap *i, const char *name, const char **value)
{
	size_t len = strlen(name);

	for (const char *at = buf_text(&i->capabilities); (at = strcasestr(at, name)); at += len) {
		if (at[-1] == ' ' && strchr(" =", at[len])) {
			if (value)
				*value = at + len;
			return true;
		}
	}
	return false;
}

static void learn(struct imap *i, const char *words, size_t len)
{
	const char *limit;

	buf_clear(&i->capabilities);
	buf_char(&i->capabilities, ' ');
	if (!memchr(words, 0, len))
		buf_add(&i->capabilities, words, len);
	buf_char(&i->capabilities, ' ');
	i->literal_plus = has(i, "LITERAL+", NULL);
	i->literal_minus = has(i, "LITERAL-", NULL);
	i->labels = has(i, "X-GM-EXT-1", NULL);
	i->multiappend = has(i, "MULTIAPPEND", NULL);
	i->size_max =
		has(i, "APPENDLIMIT", &limit) && *limit == '=' ? strtoull(limit + 1, NULL, 10) : 0;
}

/* The mechanisms of the AUTH= capabilities, as sasl_start() wants them. */
static void offered(const struct imap *i, struct buf *list)
{
	for (const char *at = buf_text(&i->capabilities); (at = strcasestr(at, " AUTH=")); at++)
		buf_fmt(list, "%s%.*s", list->len > 0 ? " " : "", (int)strcspn(at + 6, " "),
			at + 6);
}

/* RFC 3501 6.2.3, for servers without SASL, or with mechanisms only that are not ours. */
static int log_in_plainly(struct imap *i, struct err *e)
{
	const char *user, *secret;
	int r = sasl_plain_words(i->setup.sasl, i->encrypted, &user, &secret, e);

	if (r < 0)
		return r;
	imap_ask(i, ASKED_LOGIN);
	buf_str(&i->out, "LOGIN ");
	imap_quoted(&i->out, user);
	buf_char(&i->out, ' ');
	imap_quoted(&i->out, secret);
	buf_str(&i->out, "\r\n");
	return 0;
}

static int log_in(struct imap *i, struct err *e)
{
	struct buf list cleanup(buf_free) = {0};
	struct buf answer cleanup(buf_free) = {0};
	const char *mechanism;
	bool first;
	int r;

	offered(i, &list);
	if (buf_status(&list) < 0)
		return -ENOMEM;
	if (!has(i, "LOGINDISABLED", NULL) && !sasl_fits(i->setup.sasl, buf_text(&list)) &&
	    (list.len == 0 || sasl_takes_login(i->setup.sasl)))
		return log_in_plainly(i, e);
	r = sasl_start(i->setup.sasl, buf_text(&list), i->encrypted, &mechanism, &first, e);
	if (r < 0)
		return r;
	imap_ask(i, ASKED_AUTH);
	buf_fmt(&i->out, "AUTHENTICATE %s", mechanism);
	if (first && has(i, "SASL-IR", NULL)) {
		r = sasl_step(i->setup.sasl, "", &answer, e);
		if (r < 0)
			return r;
		buf_fmt(&i->out, " %s", answer.len > 0 ? buf_text(&answer) : "=");
	}
	buf_str(&i->out, "\r\n");
	return 0;
}

/* After each CAPABILITY: what is missing before mail can be put. */
static int go_on(struct imap *i, struct err *e)
{
	bool tls = has(i, "STARTTLS", NULL);

	if (!i->encrypted && i->setup.tls == SMTP_TLS_REQUIRED && !tls)
		return err_set(e, -ENOTSUP, "the server does not offer STARTTLS");
	if (!i->encrypted && i->setup.tls != SMTP_TLS_OFF && tls && !i->authenticated) {
		imap_say(i, ASKED_STARTTLS, "STARTTLS");
		return 0;
	}
	if (i->setup.sasl && !i->authenticated)
		return log_in(i, e);
	if (has(i, "NAMESPACE", NULL))
		imap_say(i, ASKED_NAMESPACE, "NAMESPACE");
	else
		imap_say(i, ASKED_LIST, "LIST \"\" \"\"");
	return 0;
}

int imap_encrypted(struct imap *i)
{
	i->encrypted = true;
	buf_clear(&i->prefix);
	imap_say(i, ASKED_CAPABILITY,
		 "CAPABILITY"); /* RFC 3501 6.2.1: nothing said before counts */
	return buf_status(&i->out);
}

static int refused(const char *what, int code, const char *words, size_t len, struct err *e)
{
	struct smtp_reply r;

	imap_set_reply(&r, 0, words, len);
	return err_set(e, code, "the server refused %s: %s", what, r.text);
}

static int session_reply(struct imap *i, const struct question *q, bool ok, const char *words,
			 size_t len, struct err *e)
{
	int r;

	switch (q->asked) {
	case ASKED_CAPABILITY:
		return ok ? go_on(i, e) : refused("CAPABILITY", -EPROTO, words, len, e);
	case ASKED_STARTTLS:
		if (!ok)
			return refused("STARTTLS", -ENOTSUP, words, len, e);
		if (i->in_at < i->in.len)
			return err_set(
				e, -EPROTO,
				"there is text behind the answer to STARTTLS that the server "
				"cannot have sent: somebody is on the line");
		i->start_tls = true;
		return 0;
	case ASKED_AUTH:
	case ASKED_LOGIN:
		if (!ok)
			return refused("the login", imap_for_now(words, len) ? -EAGAIN : -EACCES,
				       words, len, e);
		r = q->asked == ASKED_AUTH ? sasl_finish(i->setup.sasl, e) : 0;
		i->authenticated = true;
		if (r == 0)
			imap_say(i, ASKED_CAPABILITY, "CAPABILITY");
		return r;
	case ASKED_NAMESPACE:
		imap_say(i, ASKED_LIST, "LIST \"\" \"\"");
		return 0;
	case ASKED_LIST:
		i->ready = i->tell_ready = true;
		return 0;
	case ASKED_LOGOUT:
		i->gone = true;
		return 0;
	case ASKED_LOOK:
	case ASKED_FETCH:
		/* what it holds back only now, or a part of it, is not missing */
		if (!ok && (q->asked == ASKED_FETCH || imap_for_now(words, len)))
			return refused("to show its mail", -EPROTO, words, len, e);
		imap_fetch_reply(i, q, ok);
		return 0;
	case ASKED_NAMES:
		imap_fetch_reply(i, q, ok);
		return 0;
	case ASKED_EXAMINE:
	case ASKED_WHETHER:
	case ASKED_SEARCH:
	case ASKED_UNSELECT:
	case ASKED_CREATE:
	case ASKED_SUBSCRIBE:
	case ASKED_APPEND:
		break;
	}
	return imap_mail_reply(i, q, ok, words, len, e);
}

static int tagged(struct imap *i, const struct imap_line *line, struct err *e)
{
	const char *rest;
	bool ok = imap_word(line->words, line->len, "OK", &rest);

	if (!ok && !imap_word(line->words, line->len, "NO", &rest) &&
	    !imap_word(line->words, line->len, "BAD", &rest))
		return err_set(e, -EPROTO, "the server answers neither OK nor NO nor BAD");
	for (size_t k = 0; k < i->question_count; k++) {
		struct question q = i->questions[k];

		if (q.tag != line->tag)
			continue;
		memmove(&i->questions[k], &i->questions[k + 1],
			(i->question_count - k - 1) * sizeof(q));
		i->question_count--;
		return session_reply(i, &q, ok, line->words, line->len, e);
	}
	return err_set(e, -EPROTO, "the server answers a command that was not given");
}

static int continued(struct imap *i, const struct imap_line *line, struct err *e)
{
	struct buf challenge cleanup(buf_free) = {0};
	struct buf answer cleanup(buf_free) = {0};
	int r;

	if (i->step == STEP_GO_AHEAD) {
		i->step = STEP_BODY;
		return 0;
	}
	if (i->question_count != 1 || i->questions[0].asked != ASKED_AUTH)
		return err_set(e, -EPROTO, "the server asks for more where there is no more");
	buf_add(&challenge, line->words, line->len);
	r = buf_status(&challenge);
	if (r == 0)
		r = sasl_step(i->setup.sasl, buf_text(&challenge), &answer, e);
	if (r < 0)
		return r;
	buf_fmt(&i->out, "%s\r\n", buf_text(&answer));
	return 0;
}

static int greeting(struct imap *i, const struct imap_line *line, struct err *e)
{
	const char *rest;

	i->greeted = true;
	if (imap_word(line->words, line->len, "PREAUTH", &rest))
		i->authenticated = true;
	else if (!imap_word(line->words, line->len, "OK", &rest))
		return refused("the connection", -ECONNREFUSED, line->words, line->len, e);
	if (i->authenticated && !i->encrypted && i->setup.tls == SMTP_TLS_REQUIRED)
		return err_set(e, -EPROTO, "the server skips TLS by PREAUTH");
	imap_say(i, ASKED_CAPABILITY, "CAPABILITY");
	return 0;
}

/* (FLAGS) "/" "", or "\\" */
static void read_delimiter(struct imap *i, const char *at, const char *end)
{
	const char *quote = memchr(at, '"', (size_t)(end - at));

	if (quote && end - quote >= 4 && quote[1] == '\\')
		quote++;
	if (quote && end - quote >= 3 && quote[2] == '"')
		i->delimiter = quote[1];
}

/* (("INBOX." ".")) NIL NIL: the first of the person's own. */
static void read_namespace(struct imap *i, const struct imap_line *line, const char *at)
{
	const char *end = line->words + line->len;
	struct buf prefix cleanup(buf_free) = {0};

	if (end - at < 3 || memcmp(at, "((\"", 3) != 0 || at[3] == '"')
		return;
	if (imap_string(line, at + 2, &prefix, &at)) {
		buf_clear(&i->prefix);
		buf_str(&i->prefix, buf_text(&prefix));
		read_delimiter(i, at, end);
	}
	i->out.failed = i->out.failed || buf_status(&prefix) < 0 || buf_status(&i->prefix) < 0;
}

static bool below_inbox(const char *name)
{
	return strncasecmp(name, "INBOX", 5) == 0 && (name[5] == 0 || name[5] == '/');
}

void imap_put_name(const struct imap *i, const char *name, struct buf *b)
{
	size_t start;

	if (!below_inbox(name))
		buf_str(b, buf_text(&i->prefix));
	start = b->len;
	imap_name_put(b, name, i->delimiter);
	for (size_t k = start; k < b->len && i->no_dots && i->delimiter != '.'; k++)
		if (b->data[k] == '.')
			b->data[k] = '_';
}

static int untagged(struct imap *i, const struct imap_line *line, struct err *e)
{
	const char *rest, *end = line->words + line->len;

	if (!i->greeted)
		return greeting(i, line, e);
	if (imap_word(line->words, line->len, "CAPABILITY", &rest)) {
		learn(i, rest, (size_t)(end - rest));
	} else if (imap_word(line->words, line->len, "BYE", &rest)) {
		imap_set_reply(&i->farewell, 421, line->words, line->len);
		i->gone = true;
	} else if (i->fetch.on) {
		imap_fetch_untagged(i, line);
	} else if (imap_word(line->words, line->len, "NAMESPACE", &rest)) {
		read_namespace(i, line, rest);
	} else if (!i->ready && imap_word(line->words, line->len, "LIST", &rest)) {
		if (i->prefix.len == 0)
			read_delimiter(i, rest, end);
	} else {
		imap_mail_untagged(i, line);
	}
	return 0;
}

static int take_line(struct imap *i, struct err *e)
{
	struct imap_line line;
	long len = imap_line_read(buf_text(&i->in) + i->in_at, i->in.len - i->in_at, &line);
	int r = 0;

	if (len < 0)
		return err_set(e, -EPROTO, "what the server says is not IMAP");
	if (len == 0)
		return 0;
	i->in_at += (size_t)len;
	switch (line.kind) {
	case IMAP_TAGGED:
		r = tagged(i, &line, e);
		break;
	case IMAP_UNTAGGED:
		r = untagged(i, &line, e);
		break;
	case IMAP_CONTINUE:
		r = continued(i, &line, e);
		break;
	}
	if (r == -ENOMEM)
		return err_set(e, r, "out of memory");
	return r < 0 ? r : 1;
}

int imap_next(struct imap *i, struct smtp_told *told, struct err *e)
{
	for (;;) {
		int r;

		if (imap_mail_tell(i, told))
			return SMTP_DONE;
		if (i->gone) {
			told->reply = i->farewell;
			return SMTP_CLOSED;
		}
		imap_mail_go_on(i);
		if (imap_mail_wants_body(i, told))
			return SMTP_BODY;
		if (i->start_tls && i->out_at == i->out.len) {
			i->start_tls = false;
			return SMTP_START_TLS;
		}
		if (i->tell_ready) {
			i->tell_ready = false;
			return SMTP_READY;
		}
		if (buf_status(&i->out) < 0 || buf_status(&i->capabilities) < 0 ||
		    buf_status(&i->known) < 0)
			return err_set(e, -ENOMEM, "out of memory");
		r = i->fetch.on ? imap_fetch_input(i, told, e) : SMTP_WAIT;
		if (r != SMTP_WAIT)
			return r;
		r = take_line(i, e);
		if (r < 0)
			return r;
		if (r == 0)
			return SMTP_WAIT;
	}
}

int imap_quit(struct imap *i)
{
	if (i->quit || i->gone)
		return 0;
	i->quit = true;
	imap_say(i, ASKED_LOGOUT, "LOGOUT");
	return buf_status(&i->out);
}
