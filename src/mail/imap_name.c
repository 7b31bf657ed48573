/* SPDX-License-Identifier: MIT */
#include "mail/imap_name.h"

#include <stdint.h>
#include <string.h>

#include "base/buf.h"

/* Base64, but for the ',' in place of '/'. */
static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,";

/* One character off the front of UTF-8. */
static uint32_t take_char(const unsigned char **at)
{
	const unsigned char *p = *at;
	unsigned more = *p >= 0xf0 ? 3 : *p >= 0xe0 ? 2 : *p >= 0xc2 ? 1 : 0;
	uint32_t c = more == 3 ? *p & 7 : more == 2 ? *p & 15 : more == 1 ? *p & 31 : *p;

	*at = p + 1;
	for (unsigned i = 1; i <= more; i++)
		if ((p[i] & 0xc0) != 0x80)
			return *p;
	for (unsigned i = 1; i <= more; i++)
		c = c << 6 | (p[i] & 63);
	if (c > 0x10ffff)
		return *p;
	*at = p + 1 + more;
	return c;
}

struct base64 {
	uint32_t bits;
	unsigned count;
};

static void put_bits(struct buf *b, struct base64 *s, uint32_t value, unsigned count)
{
	s->bits = s->bits << count | value;
	s->count += count;
	while (s->count >= 6) {
		s->count -= 6;
		buf_char(b, digits[s->bits >> s->count & 63]);
	}
}

static void put_utf16(struct buf *b, struct base64 *s, uint32_t c)
{
	if (c >= 0x10000) {
		put_bits(b, s, 0xd800 + ((c - 0x10000) >> 10), 16);
		c = 0xdc00 + ((c - 0x10000) & 0x3ff);
	}
	put_bits(b, s, c, 16);
}

void imap_name_put(struct buf *b, const char *name, char delimiter)
{
	const unsigned char *at = (const unsigned char *)name;
	struct base64 state = {0};
	bool shifted = false;

	while (*at) {
		uint32_t next = take_char(&at);
		uint32_t c = next < ' ' || next == 127 ? '_' : next; /* no server takes those */
		bool plain = c < 127;

		if (shifted && plain) {
			if (state.count > 0)
				put_bits(b, &state, 0, 6 - state.count);
			buf_char(b, '-');
			state = (struct base64){0};
			shifted = false;
		}
		if (!plain && !shifted) {
			buf_char(b, '&');
			shifted = true;
		}
		if (!plain)
			put_utf16(b, &state, c);
		else if (c == '&')
			buf_str(b, "&-");
		else if (c == '/')
			buf_char(b, delimiter);
		else if (c == (unsigned char)delimiter) /* it is no level here */
			buf_char(b, '_');
		else
			buf_char(b, (char)c);
	}
	if (shifted) {
		if (state.count > 0)
			put_bits(b, &state, 0, 6 - state.count);
		buf_char(b, '-');
	}
}

/* The value of a digit; -1: none. */
static int digit_of(char c)
{
	const char *at = c ? strchr(digits, c) : NULL;

	return at ? (int)(at - digits) : -1;
}

static void put_utf8(struct buf *b, uint32_t c)
{
	unsigned more = c >= 0x10000 ? 3 : c >= 0x800 ? 2 : c >= 0x80 ? 1 : 0;
	static const unsigned char lead[] = {0, 0xc0, 0xe0, 0xf0};

	buf_char(b, (char)(lead[more] | c >> 6 * more));
	while (more-- > 0)
		buf_char(b, (char)(0x80 | (c >> 6 * more & 63)));
}

/* What stands between '&' and '-': false where it is no base64 of UTF-16. */
static bool read_shifted(const char *at, size_t len, struct buf *b)
{
	struct base64 state = {0};
	uint32_t high = 0;

	for (size_t i = 0; i < len; i++) {
		int digit = digit_of(at[i]);
		uint32_t unit;

		if (digit < 0)
			return false;
		state.bits = state.bits << 6 | (uint32_t)digit;
		state.count += 6;
		if (state.count < 16)
			continue;
		state.count -= 16;
		unit = state.bits >> state.count & 0xffff;
		if (high == 0 && unit >= 0xd800 && unit < 0xdc00) {
			high = unit;
			continue;
		}
		if ((high != 0) != (unit >= 0xdc00 && unit < 0xe000) || unit == 0 || unit == '/')
			return false;
		put_utf8(b, high ? 0x10000 + ((high & 0x3ff) << 10) + (unit & 0x3ff) : unit);
		high = 0;
	}
	return high == 0 && state.count < 6 && (state.bits & ((1U << state.count) - 1)) == 0;
}

static bool read_level(const char *at, const char *end, struct buf *b)
{
	while (at < end) {
		const char *close;

		if (*at != '&') {
			buf_char(b, *at++);
			continue;
		}
		close = memchr(at, '-', (size_t)(end - at));
		if (!close || !read_shifted(at + 1, (size_t)(close - at) - 1, b))
			return false;
		if (close == at + 1)
			buf_char(b, '&');
		at = close + 1;
	}
	return true;
}

void imap_name_read(const char *level, size_t len, struct buf *b)
{
	struct buf text = {0};

	if (read_level(level, level + len, &text))
		buf_add(b, buf_text(&text), text.len);
	else
		buf_add(b, level, len);
	b->failed = b->failed || buf_status(&text) < 0;
	buf_free(&text);
}
