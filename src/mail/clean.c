/* SPDX-License-Identifier: MIT */
#include "mail/clean.h"

#include <errno.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "mail/find.h"
#include "mail/header.h"

/* A line longer than this goes out in parts. */
#define LINE_PART ((size_t)64 * 1024)

int mail_repair_parse(const char *list, unsigned *repair, struct err *e)
{
	static const struct {
		char name[8];
		unsigned bits;
	} known[] = {
		{"nul", MAIL_REPAIR_NUL},
		{"cr", MAIL_REPAIR_CR},
		{"long", MAIL_REPAIR_LONG},
		{"space", MAIL_REPAIR_SPACE},
		{"all", MAIL_REPAIR_NUL | MAIL_REPAIR_CR | MAIL_REPAIR_LONG | MAIL_REPAIR_SPACE},
	};
	struct cursor c = cursor_of(list, strlen(list));
	const char *part;
	unsigned bits = 0;
	size_t len;

	while (cursor_part(&c, ',', &part, &len)) {
		size_t i = 0;

		while (i < COUNT(known) &&
		       (strlen(known[i].name) != len || memcmp(known[i].name, part, len) != 0))
			i++;
		if (i == COUNT(known))
			return err_set(e, -EINVAL,
				       "\"%.*s\" is no repair; there are nul, cr, long, space, all",
				       (int)len, part);
		bits |= known[i].bits;
	}
	*repair = bits;
	return 0;
}

/* Appends text that holds no line end, broken where lines may not be longer than SMTP's. */
static void put_text(struct mail_clean *c, const char *at, size_t len, struct buf *out)
{
	while ((c->repair & MAIL_REPAIR_LONG) && c->column + len > MAIL_LINE_MAX) {
		size_t room = MAIL_LINE_MAX - c->column;

		buf_add(out, at, room);
		buf_add(out, "\r\n", 2);
		at += room;
		len -= room;
		c->column = 0;
		c->facts.repaired++;
	}
	buf_add(out, at, len);
	c->column += len;
	if (c->column > c->facts.longest)
		c->facts.longest = c->column;
}

static void put_end(struct mail_clean *c, struct buf *out)
{
	buf_add(out, "\r\n", 2);
	c->column = 0;
}

/* Text with NUL or CR in it: byte by byte, as it is rare. */
static void put_damaged(struct mail_clean *c, const char *at, size_t len, struct buf *out)
{
	size_t start = 0;

	for (size_t i = 0; i < len; i++) {
		bool nul = at[i] == 0, cr = at[i] == '\r';
		bool repair = (nul && (c->repair & MAIL_REPAIR_NUL)) ||
			      (cr && (c->repair & MAIL_REPAIR_CR));

		c->facts.nuls += nul;
		c->facts.crs += cr;
		if (!repair)
			continue;
		put_text(c, at + start, i - start, out);
		start = i + 1;
		c->facts.repaired++;
		if (cr)
			put_end(c, out);
	}
	put_text(c, at + start, len - start, out);
}

static void put_line(struct mail_clean *c, const char *at, size_t len, bool plain, struct buf *out)
{
	if (len > MAIL_LINE_MAX && len > c->facts.longest)
		c->facts.longest = len;
	if (plain || (!memchr(at, '\r', len) && !memchr(at, 0, len)))
		put_text(c, at, len, out);
	else
		put_damaged(c, at, len, out);
}

/* How many bytes at the start of a body's line are quoting. */
static size_t quoting(struct mail_clean *c, const char *at, size_t len)
{
	size_t n = 0;

	if (len < 6)
		return 0;
	if (*at == ' ')
		return (c->repair & MAIL_REPAIR_SPACE) && memcmp(at + 1, "From ", 5) == 0;
	while (n < len && at[n] == '>')
		n++;
	if (n == 0 || len - n < 5 || memcmp(at + n, "From ", 5) != 0)
		return 0;
	c->facts.quotes++;
	switch (c->quote) {
	case MBOX_QUOTE_ONE:
		return n == 1;
	case MBOX_QUOTE_ANY:
		return 1;
	case MBOX_QUOTE_ALL:
		return n;
	case MBOX_QUOTE_NONE:
		break;
	}
	return 0;
}

/* The lines of a header field, each with its own end. */
static void put_field(struct mail_clean *c, const char *at, size_t len, struct buf *out)
{
	const char *end = at + len;

	while (at < end) {
		const char *newline = memchr(at, '\n', (size_t)(end - at));
		const char *stop = newline ? newline : end;
		const char *next = newline ? newline + 1 : end;

		if (stop > at && stop[-1] == '\r')
			stop--;
		put_line(c, at, (size_t)(stop - at), false, out);
		put_end(c, out);
		at = next;
	}
}

size_t mail_clean_head(struct mail_clean *c, const char *bytes, size_t len, struct buf *out)
{
	struct cursor at = cursor_of(bytes, len);
	struct mail_field f;
	enum mail_head what;
	bool utf8 = true;

	c->facts = (struct mail_facts){0};
	c->column = 0;
	while ((what = mail_head_next(&at, &f)) != MAIL_HEAD_END) {
		if (what == MAIL_HEAD_LEAK) {
			c->facts.leaks++;
		} else if (what == MAIL_HEAD_FIELD &&
			   mail_names_have(c->remove, f.bytes, f.name_len)) {
			c->facts.removed++;
		} else {
			if (find_8bit(f.bytes, f.len)) {
				c->facts.eight_bit = true;
				utf8 = utf8 && is_utf8(f.bytes, f.len);
			}
			put_field(c, f.bytes, f.len, out);
		}
	}
	if (f.len > 0)
		put_end(c, out);
	c->facts.utf8_head = c->facts.eight_bit && utf8;
	return (size_t)((const char *)at.at - bytes);
}

size_t mail_clean_body(struct mail_clean *c, const char *bytes, size_t len, bool last,
		       struct buf *out)
{
	const char *at = bytes, *end = bytes + len;
	bool plain = len > 0 && !memchr(bytes, '\r', len) && !memchr(bytes, 0, len);

	c->facts.eight_bit = c->facts.eight_bit || find_8bit(bytes, len);
	while (at < end) {
		const char *newline = memchr(at, '\n', (size_t)(end - at));
		const char *stop = newline ? newline : end;

		if (!newline && !last) {
			if ((size_t)(end - at) < LINE_PART)
				break;
			stop--; /* a CR there may belong to the line's end */
		} else if (stop > at && stop[-1] == '\r') {
			stop--;
		}
		if (c->column == 0) {
			size_t quote = quoting(c, at, (size_t)(stop - at));

			c->facts.repaired += quote > 0 && *at == ' ';
			at += quote;
		}
		put_line(c, at, (size_t)(stop - at), plain, out);
		if (!newline && !last) {
			at = stop;
			break;
		}
		put_end(c, out);
		at = newline ? newline + 1 : end;
	}
	return (size_t)(at - bytes);
}
