/* SPDX-License-Identifier: MIT */
/* Reading what an account holds: the mailboxes one after the other, their messages as they come. */
#include <errno.h>
#include <string.h>
#include <strings.h>

#include "base/err.h"
#include "base/mem.h"
#include "mail/imap_line.h"
#include "mail/imap_private.h"

#define LIST_ALL "LIST \"\" \"*\""

bool imap_has_labels(const struct imap *i)
{
	return i->labels;
}

int imap_fetch(struct imap *i, const char *below)
{
	i->fetch.on = true;
	if (below)
		imap_put_name(i, below, &i->fetch.below);
	imap_say(i, ASKED_NAMES, LIST_ALL);
	return buf_status(&i->fetch.below) < 0 ? -ENOMEM : buf_status(&i->out);
}

static bool has_flag(const char *flags, size_t len, const char *flag)
{
	for (size_t at = 0, n = strlen(flag); at + n <= len; at++)
		if (strncasecmp(flags + at, flag, n) == 0)
			return true;
	return false;
}

/* Whether it is the mailbox that is wanted, or below that. INBOX has no case (RFC 3501 5.1). */
static bool is_below(const struct imap *i, const char *name)
{
	const char *below = buf_text(&i->fetch.below);
	size_t n = i->fetch.below.len;
	bool inbox = strncasecmp(below, "INBOX", 5) == 0 && (n == 5 || below[5] == i->delimiter);
	size_t caseless = inbox ? 5 : 0;

	return strncasecmp(name, below, caseless) == 0 &&
	       strncmp(name + caseless, below + caseless, n - caseless) == 0 &&
	       (n == 0 || name[n] == 0 || name[n] == i->delimiter);
}

/* RFC 3501 7.2.2, RFC 6154, RFC 8457: no mailbox at all, or one that shows what the others hold. */
static bool is_wanted(const struct imap *i, const char *flags, size_t len, const char *name)
{
	static const char *const unwanted[] = {"\\Noselect", "\\NonExistent", "\\All", "\\Flagged",
					       "\\Important"};
	/* by its name such a mailbox is wanted */
	size_t count = i->fetch.below.len > 0 ? 2 : COUNT(unwanted);

	for (size_t k = 0; k < count; k++)
		if (has_flag(flags, len, unwanted[k]))
			return false;
	return is_below(i, name);
}

/* Where labels are, mail without one lies in \All only, and what has several is shown by each; \All
 * has it once, but for what is in \Junk and \Trash. It may be hidden. */
static void read_place(struct imap *i, const char *flags, size_t len, const struct buf *name)
{
	struct fetch *f = &i->fetch;
	bool all = has_flag(flags, len, "\\All");

	if (is_wanted(i, flags, len, buf_text(name)))
		buf_add(&f->names, buf_text(name), name->len + 1);
	if (!i->labels || f->below.len > 0)
		return;
	if (all || has_flag(flags, len, "\\Junk") || has_flag(flags, len, "\\Trash"))
		buf_add(&f->places, buf_text(name), name->len + 1);
	f->all = f->all || all;
}

/* (FLAGS) "/" NAME */
static void read_name(struct imap *i, const struct imap_line *line, const char *at)
{
	const char *end = line->words + line->len, *flags = at;
	struct buf delimiter cleanup(buf_free) = {0};
	struct buf name cleanup(buf_free) = {0};
	const char *close = memchr(at, ')', (size_t)(end - at));

	if (close && end - close >= 3 && close[1] == ' ' &&
	    imap_string(line, close + 2, &delimiter, &at) && end - at >= 2 &&
	    imap_string(line, at + 1, &name, &at))
		read_place(i, flags, (size_t)(close - flags), &name);
	/* a mailbox that is passed over would make its mail missing */
	i->out.failed = i->out.failed || buf_status(&delimiter) < 0 || buf_status(&name) < 0;
}

void imap_fetch_untagged(struct imap *i, const struct imap_line *line)
{
	const char *rest, *end = line->words + line->len;

	if (imap_word(line->words, line->len, "LIST", &rest)) {
		read_name(i, line, rest);
		return;
	}
	rest = line->words;
	if (imap_number(&rest, end) > 0 && end - rest == 7 && strncasecmp(rest, " EXISTS", 7) == 0)
		i->fetch.exists = true;
}

static void next_mailbox(struct imap *i)
{
	struct fetch *f = &i->fetch;
	const struct buf *names = f->all ? &f->places : &f->names;

	if (f->next >= names->len) {
		f->tell_end = true;
		return;
	}
	f->exists = false;
	imap_ask(i, ASKED_LOOK);
	buf_str(&i->out, "EXAMINE ");
	imap_quoted(&i->out, names->data + f->next);
	buf_str(&i->out, "\r\n");
	f->next += strlen(names->data + f->next) + 1;
}

/* Where a server allows no dots, mail was put below a name without them. */
static bool has_dots(struct imap *i)
{
	struct fetch *f = &i->fetch;
	size_t start = f->below.len > i->prefix.len ? i->prefix.len : 0;

	if (i->no_dots || i->delimiter == '.' || f->below.len == 0 ||
	    !memchr(f->below.data + start, '.', f->below.len - start))
		return false;
	i->no_dots = true;
	for (size_t k = start; k < f->below.len; k++)
		if (f->below.data[k] == '.')
			f->below.data[k] = '_';
	return true;
}

void imap_fetch_reply(struct imap *i, const struct question *q, bool ok)
{
	if (q->asked == ASKED_NAMES && i->fetch.names.len == 0 && has_dots(i))
		imap_say(i, ASKED_NAMES, LIST_ALL);
	else if (q->asked == ASKED_LOOK && ok && i->fetch.exists)
		imap_say(i, ASKED_FETCH, "UID FETCH 1:* (BODY.PEEK[])");
	else
		next_mailbox(i);
}

/* The length of the literal in "* 12 FETCH (UID 7 BODY[] {3456}"; false: another line. */
static bool starts_mail(const char *line, size_t len, uint64_t *length)
{
	static const char body[] = "BODY[] {";
	const char *at = line + 2, *end = line + len, *rest;

	if (len < 3 || memcmp(line, "* ", 2) != 0 || imap_number(&at, end) == 0 || at == end ||
	    !imap_word(at + 1, (size_t)(end - at) - 1, "FETCH", &rest))
		return false;
	for (at = rest; end - at > (int)sizeof(body); at++) {
		if (strncasecmp(at, body, sizeof(body) - 1) != 0)
			continue;
		at += sizeof(body) - 1;
		*length = imap_number(&at, end);
		return end - at >= 1 && *at == '}';
	}
	return false;
}

/* Consumes the line that a message starts with, where that is what comes. */
static void begin_mail(struct imap *i)
{
	const char *line = buf_text(&i->in) + i->in_at;
	size_t len = i->in.len - i->in_at;
	const char *newline = memchr(line, '\n', len < IMAP_LINE_MAX ? len : IMAP_LINE_MAX);

	if (!newline || !starts_mail(line, (size_t)(newline - line), &i->fetch.left))
		return;
	i->in_at += (size_t)(newline - line) + 1;
	i->fetch.in_body = true;
}

/* What closes a message's answer: ")", perhaps with more items before it. True: it is over. */
static bool skip_tail(struct imap *i)
{
	const char *at = buf_text(&i->in) + i->in_at;
	const char *newline = memchr(at, '\n', i->in.len - i->in_at);

	i->in_at = newline ? i->in_at + (size_t)(newline - at) + 1 : i->in.len;
	i->fetch.in_tail = !newline;
	return newline;
}

static int give_piece(struct imap *i, struct smtp_told *told)
{
	struct fetch *f = &i->fetch;
	size_t have = i->in.len - i->in_at;

	if (have == 0 && f->left > 0)
		return SMTP_WAIT;
	told->piece = buf_text(&i->in) + i->in_at;
	told->len = f->left < have ? (size_t)f->left : have;
	i->in_at += told->len;
	f->left -= told->len;
	told->last = f->left == 0;
	f->in_body = !told->last;
	f->in_tail = told->last;
	return SMTP_MAIL;
}

int imap_fetch_input(struct imap *i, struct smtp_told *told, struct err *e)
{
	struct fetch *f = &i->fetch;

	if (f->tell_end) {
		f->tell_end = false;
		return f->below.len == 0 || f->names.len > 0
			       ? SMTP_NO_MORE
			       : err_set(e, -ENOENT,
					 "the account has no mailbox of that name, nor any below "
					 "it");
	}
	if (buf_status(&f->names) < 0 || buf_status(&f->places) < 0)
		return err_set(e, -ENOMEM, "out of memory");
	if (f->in_tail && !skip_tail(i))
		return SMTP_WAIT;
	if (!f->in_body)
		begin_mail(i);
	return f->in_body ? give_piece(i, told) : SMTP_WAIT;
}
