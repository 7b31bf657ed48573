/* SPDX-License-Identifier: MIT */
#include "base/mem.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

char *string_fmt(const char *format, ...)
{
	char *text;
	va_list args;
	int len;

	va_start(args, format);
	len = vasprintf(&text, format, args);
	va_end(args);
	return len < 0 ? NULL : text;
}

int array_room(void *array, size_t *room, size_t count, size_t size)
{
	size_t more, bytes;
	void *items;

	if (count < *room)
		return 0;
	if (count > SIZE_MAX / 2)
		return -ENOMEM;
	more = count < 8 ? 8 : count * 2;
	if (__builtin_mul_overflow(more, size, &bytes))
		return -ENOMEM;
	/* The pointer is copied, as its type is not known here. */
	memcpy(&items, array, sizeof(items));
	items = realloc(items, bytes);
	if (!items)
		return -ENOMEM;
	memcpy(array, &items, sizeof(items));
	*room = more;
	return 0;
}
