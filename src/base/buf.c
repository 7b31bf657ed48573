/* SPDX-License-Identifier: MIT */
#include "base/buf.h"

#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Makes room for more bytes and the NUL. Once it failed, nothing is added any more: a text with a
 * hole in it is of no use. */
static bool make_room(struct buf *b, size_t more)
{
	size_t room = b->room ? b->room : 64;
	char *data;

	if (b->failed)
		return false;
	if (more >= SIZE_MAX / 2 - b->len) {
		b->failed = true;
		return false;
	}
	if (b->len + more < b->room)
		return true;
	while (room <= b->len + more)
		room *= 2;
	data = realloc(b->data, room);
	if (!data) {
		b->failed = true;
		return false;
	}
	b->data = data;
	b->room = room;
	return true;
}

void buf_add(struct buf *b, const void *bytes, size_t len)
{
	if (len == 0 || !make_room(b, len))
		return;
	memcpy(b->data + b->len, bytes, len);
	b->len += len;
	b->data[b->len] = '\0';
}

void buf_str(struct buf *b, const char *text)
{
	buf_add(b, text, strlen(text));
}

void buf_char(struct buf *b, char c)
{
	buf_add(b, &c, 1);
}

void buf_fmt(struct buf *b, const char *format, ...)
{
	size_t room = b->failed ? 0 : b->room - b->len; /* where it fits in already, once will do */
	va_list args;
	int len;

	va_start(args, format);
	len = vsnprintf(room > 0 ? b->data + b->len : NULL, room, format, args);
	va_end(args);
	if (len < 0)
		b->failed = true;
	if (room > 0 && (len < 0 || (size_t)len >= room))
		b->data[b->len] = '\0'; /* it did not */
	if (len <= 0 || !make_room(b, (size_t)len))
		return;
	if ((size_t)len >= room) {
		va_start(args, format);
		(void)vsnprintf(b->data + b->len, (size_t)len + 1, format, args);
		va_end(args);
	}
	b->len += (size_t)len;
}

const char *buf_text(const struct buf *b)
{
	return b->data ? b->data : "";
}

int buf_status(const struct buf *b)
{
	return b->failed ? -ENOMEM : 0;
}

char *buf_take(struct buf *b)
{
	char *text = NULL;

	if (!b->failed && b->data) {
		text = b->data;
		b->data = NULL;
	} else if (!b->failed) {
		text = calloc(1, 1);
	}
	buf_free(b);
	return text;
}

void buf_shift(struct buf *b, size_t *used)
{
	if (*used == 0 || *used < b->len - *used)
		return;
	b->len -= *used;
	memmove(b->data, b->data + *used, b->len + 1);
	*used = 0;
}

void buf_clear(struct buf *b)
{
	b->len = 0;
	b->failed = false;
	if (b->data)
		b->data[0] = '\0';
}

void buf_free(struct buf *b)
{
	free(b->data);
	*b = (struct buf){0};
}
