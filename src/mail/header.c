/* SPDX-License-Identifier: MIT */
#include "mail/header.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"

const char mail_thunderbird_names[] =
	"X-Mozilla-Status,X-Mozilla-Status2,X-Mozilla-Keys,X-Mozilla-Draft-Info,"
	"X-Mozilla-News-Host,X-Mozilla-External-Attachment-URL,X-Account-Key,X-Identity-Key,"
	"X-UIDL,FCC,Content-Length,Lines";

static const char *line_end(const char *at, const char *end)
{
	const char *newline = memchr(at, '\n', (size_t)(end - at));

	return newline ? newline + 1 : end;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

/* RFC 5322 2.2: any printable ASCII but the colon. Old mails have blanks before the colon. */
static size_t name_length(const char *at, const char *end)
{
	const char *p = at;

	while (p<end && * p> ' ' && *p < 127 && *p != ':')
		p++;
	size_t len = (size_t)(p - at);

	while (p < end && is_blank(*p))
		p++;
	return p < end && *p == ':' ? len : 0;
}

bool mail_field_starts(const char *at, const char *end)
{
	return name_length(at, end) > 0;
}

static bool leaked(const char *at, const char *end)
{
	if (at < end && *at == '>')
		at++;
	return end - at >= 5 && memcmp(at, "From ", 5) == 0;
}

static bool empty_line(const char *at, const char *next)
{
	return *at == '\n' || (*at == '\r' && next - at == 2 && at[1] == '\n');
}

static void set_value(struct mail_field *f, const char *end)
{
	const char *value = memchr(f->bytes + f->name_len, ':', f->len - f->name_len);

	value = value ? value + 1 : end;
	if (end > value && end[-1] == '\n')
		end--;
	if (end > value && end[-1] == '\r')
		end--;
	while (value < end && is_blank(*value))
		value++;
	f->value = value;
	f->value_len = (size_t)(end - value);
}

enum mail_head mail_head_next(struct cursor *c, struct mail_field *field)
{
	const char *at = (const char *)c->at;
	const char *end = (const char *)c->end;
	const char *next;

	*field = (struct mail_field){.bytes = at, .value = at};
	if (at == end)
		return MAIL_HEAD_END;
	next = line_end(at, end);
	if (empty_line(at, next)) {
		field->len = (size_t)(next - at);
		cursor_skip(c, field->len);
		return MAIL_HEAD_END;
	}

	bool leak = leaked(at, next);
	size_t name_len = leak ? 0 : name_length(at, next);

	if (name_len > 0)
		while (next < end && is_blank(*next))
			next = line_end(next, end);
	field->len = (size_t)(next - at);
	field->name_len = name_len;
	cursor_skip(c, field->len);
	if (name_len == 0)
		return leak ? MAIL_HEAD_LEAK : MAIL_HEAD_STRAY;
	set_value(field, next);
	return MAIL_HEAD_FIELD;
}

bool mail_field_is(const struct mail_field *field, const char *name)
{
	return strlen(name) == field->name_len &&
	       strncasecmp(field->bytes, name, field->name_len) == 0;
}

bool mail_head_find(const char *head, size_t len, const char *name, struct mail_field *field)
{
	struct cursor c = cursor_of(head, len);
	struct mail_field f;
	enum mail_head what;

	while ((what = mail_head_next(&c, &f)) != MAIL_HEAD_END) {
		if (what != MAIL_HEAD_FIELD || !mail_field_is(&f, name))
			continue;
		*field = f;
		return true;
	}
	return false;
}

void mail_field_text(const struct mail_field *field, struct buf *b)
{
	const char *at = field->value;
	const char *end = at + field->value_len;

	while (end > at && is_blank(end[-1]))
		end--;
	while (at < end) {
		const char *stop = at;

		while (stop < end && *stop != '\r' && *stop != '\n')
			stop++;
		buf_add(b, at, (size_t)(stop - at));
		while (stop < end && (*stop == '\r' || *stop == '\n'))
			stop++;
		at = stop;
	}
}

static int add_name(struct mail_names *names, const char *name, size_t len, struct err *e)
{
	char colon[2] = ":";
	char *copy;

	while (len > 0 && is_blank(*name)) {
		name++;
		len--;
	}
	while (len > 0 && is_blank(name[len - 1]))
		len--;
	if (len > 0 && name[len - 1] == ':')
		len--;
	if (len == 0)
		return 0;
	copy = malloc(len + 2);
	if (!copy)
		return err_set(e, -ENOMEM, "out of memory");
	memcpy(copy, name, len);
	memcpy(copy + len, colon, 2);
	if (name_length(copy, copy + len + 1) != len) {
		copy[len] = 0;
		err_set(e, -EINVAL, "\"%s\" is not the name of a header", copy);
		free(copy);
		return -EINVAL;
	}
	copy[len] = 0;
	if (array_room(&names->items, &names->room, names->count, sizeof(*names->items)) < 0) {
		free(copy);
		return err_set(e, -ENOMEM, "out of memory");
	}
	names->items[names->count++] = copy;
	return 0;
}

int mail_names_add(struct mail_names *names, const char *list, struct err *e)
{
	struct cursor c = cursor_of(list, strlen(list));
	const char *part;
	size_t len;

	while (cursor_part(&c, ',', &part, &len)) {
		int r = add_name(names, part, len, e);

		if (r < 0)
			return r;
	}
	return 0;
}

bool mail_names_have(const struct mail_names *names, const char *name, size_t len)
{
	for (size_t i = 0; i < names->count; i++)
		if (strncasecmp(names->items[i], name, len) == 0 && names->items[i][len] == 0)
			return true;
	return false;
}

void mail_names_free(struct mail_names *names)
{
	for (size_t i = 0; i < names->count; i++)
		free(names->items[i]);
	free(names->items);
	*names = (struct mail_names){0};
}
