/* SPDX-License-Identifier: MIT */
#include "mail/reply.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>

static bool digit(char c)
{
	return c >= '0' && c <= '9';
}

/* The code at the front of a line: three digits, then '-', ' ' or nothing. */
static int code_of(const char *line, size_t len)
{
	if (len < 3 || line[0] < '2' || line[0] > '5' || !digit(line[1]) || !digit(line[2]))
		return -1;
	if (len > 3 && line[3] != '-' && line[3] != ' ')
		return -1;
	return (line[0] - '0') * 100 + (line[1] - '0') * 10 + (line[2] - '0');
}

/* Takes class.subject.detail off the front of text, where it is there. */
static size_t enhanced_of(const char *text, size_t len, char enhanced[12])
{
	size_t i = 0, dots = 0;

	if (len < 5 || (text[0] != '2' && text[0] != '4' && text[0] != '5') || text[1] != '.')
		return 0;
	while (i < len && i < 11 && (digit(text[i]) || text[i] == '.'))
		dots += text[i++] == '.';
	if (dots != 2 || text[i - 1] == '.' || (i < len && text[i] != ' '))
		return 0;
	memcpy(enhanced, text, i);
	enhanced[i] = 0;
	return i < len ? i + 1 : i;
}

static void append(struct smtp_reply *r, const char *text, size_t len)
{
	size_t have = strlen(r->text);

	if (have > 0 && len > 0 && have + 1 < sizeof(r->text))
		r->text[have++] = ' ';
	for (size_t i = 0; i < len && have + 1 < sizeof(r->text); i++) {
		unsigned char c = (unsigned char)text[i];

		r->text[have++] = (char)(c < ' ' || c == 127 ? '?' : c);
	}
	r->text[have] = 0;
}

long smtp_reply_read(const char *bytes, size_t len, struct smtp_reply *reply)
{
	struct smtp_reply r = {0};
	size_t at = 0;

	for (;;) {
		const char *line = bytes + at;
		const char *newline = at < len ? memchr(line, '\n', len - at) : NULL;
		size_t n = newline ? (size_t)(newline - line) : len - at;

		if (n > SMTP_REPLY_LINE || at > SMTP_REPLY_MAX)
			return -EPROTO;
		if (!newline)
			return 0;
		at += n + 1;
		if (n > 0 && line[n - 1] == '\r')
			n--;

		int code = code_of(line, n);

		if (code < 0 || (r.code != 0 && code != r.code))
			return -EPROTO;
		r.code = code;

		size_t text = n > 3 ? 4 : 3;
		char enhanced[12];
		size_t skip = enhanced_of(line + text, n - text, enhanced);

		if (skip > 0 && !*r.enhanced)
			memcpy(r.enhanced, enhanced, sizeof(enhanced));
		append(&r, line + text + skip, n - text - skip);
		if (n > 3 && line[3] == '-')
			continue;
		*reply = r;
		return (long)at;
	}
}
