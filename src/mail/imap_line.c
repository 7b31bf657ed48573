/* SPDX-License-Identifier: MIT */
#include "mail/imap_line.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

#include "base/buf.h"

/* The literal that a line ends in ("{12}"): its length, -1 for none, -2 for too much. */
static long literal_of(const char *line, size_t len)
{
	long n = 0;
	size_t at;

	if (len < 3 || line[len - 1] != '}')
		return -1;
	at = len - 1;
	for (len = at; at > 0 && line[at - 1] >= '0' && line[at - 1] <= '9';)
		at--;
	if (at == len || at == 0 || line[at - 1] != '{')
		return -1;
	for (; at < len; at++) {
		n = n * 10 + (line[at] - '0');
		if (n > IMAP_LITERAL_MAX)
			return -2;
	}
	return n;
}

static int read_head(struct imap_line *line, const char *at, size_t len)
{
	size_t word = 0;

	while (word < len && at[word] != ' ')
		word++;
	if (word == 0)
		return -EPROTO;
	line->words = at + (word < len ? word + 1 : word);
	line->len = len - (size_t)(line->words - at);
	if (word == 1 && (*at == '*' || *at == '+')) {
		line->kind = *at == '*' ? IMAP_UNTAGGED : IMAP_CONTINUE;
		return 0;
	}
	if (*at != 'A' || word == 1 || word > 9)
		return -EPROTO;
	line->kind = IMAP_TAGGED;
	line->tag = 0;
	for (size_t i = 1; i < word; i++) {
		if (at[i] < '0' || at[i] > '9')
			return -EPROTO;
		line->tag = line->tag * 10 + (unsigned)(at[i] - '0');
	}
	return 0;
}

long imap_line_read(const char *bytes, size_t len, struct imap_line *line)
{
	struct imap_line l = {0};
	size_t at = 0;

	for (bool first = true;; first = false) {
		const char *newline = at < len ? memchr(bytes + at, '\n', len - at) : NULL;
		size_t n = newline ? (size_t)(newline - bytes) - at : len - at;
		long literal;

		if (n > IMAP_LINE_MAX || at > IMAP_LITERAL_MAX + IMAP_LINE_MAX)
			return -EPROTO;
		if (!newline)
			return 0;
		if (n > 0 && bytes[at + n - 1] == '\r')
			n--;
		if (first && read_head(&l, bytes + at, n) < 0)
			return -EPROTO;
		literal = literal_of(bytes + at, n);
		if (literal == -2)
			return -EPROTO;
		at = (size_t)(newline - bytes) + 1;
		if (literal < 0)
			break;
		if (len - at < (size_t)literal)
			return 0;
		if (!l.literal) {
			l.literal = bytes + at;
			l.literal_len = (size_t)literal;
		}
		at += (size_t)literal;
	}
	*line = l;
	return (long)at;
}

bool imap_word(const char *words, size_t len, const char *word, const char **rest)
{
	size_t n = strlen(word);

	if (len < n || strncasecmp(words, word, n) != 0 || (len > n && words[n] != ' '))
		return false;
	*rest = words + (len > n ? n + 1 : n);
	return true;
}

uint32_t imap_number(const char **at, const char *end)
{
	uint64_t n = 0;

	for (; *at < end && **at >= '0' && **at <= '9'; ++*at)
		if (n <= UINT32_MAX)
			n = n * 10 + (uint64_t)(**at - '0');
	return n <= UINT32_MAX ? (uint32_t)n : 0;
}

/* What is between quotes; NULL where the last one is missing. */
static const char *read_quoted(const char *at, const char *end, struct buf *b)
{
	for (; at < end && *at != '"'; at++) {
		if (*at == '\\' && end - at > 1)
			at++;
		buf_char(b, *at);
	}
	return at < end ? at + 1 : NULL;
}

bool imap_string(const struct imap_line *line, const char *at, struct buf *b, const char **rest)
{
	const char *end = line->words + line->len, *start = at;
	size_t had = b->len;

	while (at < end && *at != ' ')
		at++;
	if (start < end && *start == '"') {
		at = read_quoted(start + 1, end, b);
	} else if (start < end && *start == '{' && line->literal) {
		buf_add(b, line->literal, line->literal_len);
		at = end;
	} else {
		buf_add(b, start, (size_t)(at - start));
	}
	if (!at || b->len == had || memchr(b->data + had, 0, b->len - had))
		return false;
	*rest = at;
	return true;
}

bool imap_append_uid(const char *words, size_t len, size_t nth, uint32_t *validity, uint32_t *uid)
{
	static const char code[] = "[APPENDUID ";
	const char *at = words, *end = words + len;

	while ((at = memchr(at, '[', (size_t)(end - at))) != NULL &&
	       ((size_t)(end - at) < sizeof(code) || strncasecmp(at, code, sizeof(code) - 1) != 0))
		at++;
	if (!at)
		return false;
	at += sizeof(code) - 1;
	*validity = imap_number(&at, end);
	while (*validity && at < end && (*at == ' ' || *at == ',')) {
		at++;

		uint32_t first = imap_number(&at, end), last = first;

		if (at < end && *at == ':') {
			at++;
			last = imap_number(&at, end);
		}
		if (first == 0 || last < first)
			return false;
		if (nth <= last - first) {
			*uid = first + (uint32_t)nth;
			return true;
		}
		nth -= (size_t)(last - first) + 1;
	}
	return false;
}

void imap_quoted(struct buf *b, const char *text)
{
	buf_char(b, '"');
	for (; *text; text++) {
		if (*text == '"' || *text == '\\')
			buf_char(b, '\\');
		if (*text != '\r' && *text != '\n')
			buf_char(b, *text);
	}
	buf_char(b, '"');
}
