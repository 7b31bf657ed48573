/* SPDX-License-Identifier: MIT */
#include "base/cursor.h"

#include <string.h>

struct cursor cursor_of(const void *bytes, size_t len)
{
	static const uint8_t nothing;
	const uint8_t *at = bytes ? bytes : &nothing;

	return (struct cursor){at, at + (bytes ? len : 0)};
}

size_t cursor_left(const struct cursor *c)
{
	return (size_t)(c->end - c->at);
}

bool cursor_bytes(struct cursor *c, size_t len, const uint8_t **bytes)
{
	if (len > cursor_left(c))
		return false;
	*bytes = c->at;
	c->at += len;
	return true;
}

bool cursor_skip(struct cursor *c, size_t len)
{
	const uint8_t *bytes;

	return cursor_bytes(c, len, &bytes);
}

bool cursor_copy(struct cursor *c, void *to, size_t len)
{
	const uint8_t *bytes;

	if (!cursor_bytes(c, len, &bytes))
		return false;
	if (len > 0)
		memcpy(to, bytes, len);
	return true;
}

bool cursor_u8(struct cursor *c, uint8_t *value)
{
	return cursor_copy(c, value, sizeof(*value));
}

bool cursor_be16(struct cursor *c, uint16_t *value)
{
	const uint8_t *b;

	if (!cursor_bytes(c, sizeof(*value), &b))
		return false;
	*value = (uint16_t)(b[0] << 8 | b[1]);
	return true;
}

bool cursor_be32(struct cursor *c, uint32_t *value)
{
	const uint8_t *b;

	if (!cursor_bytes(c, sizeof(*value), &b))
		return false;
	*value = (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
	return true;
}

bool cursor_part(struct cursor *c, char separator, const char **part, size_t *len)
{
	const uint8_t *end;

	if (c->at == c->end)
		return false;
	end = memchr(c->at, separator, cursor_left(c));
	*part = (const char *)c->at;
	*len = (size_t)((end ? end : c->end) - c->at);
	c->at = end ? end + 1 : c->end;
	return true;
}
