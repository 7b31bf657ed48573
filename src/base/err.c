/* SPDX-License-Identifier: MIT */
#include "base/err.h"

#include <stdio.h>
#include <string.h>

/* Sentences are put together aside, as an argument may well point into e->text. */
struct sentence {
	char text[sizeof(((struct err *)0)->text)];
};

static void add(struct sentence *s, const char *text)
{
	size_t len = strlen(s->text);
	size_t more = strnlen(text, sizeof(s->text) - 1 - len);

	memcpy(s->text + len, text, more);
	s->text[len + more] = '\0';
}

static int store(struct err *e, int code, const struct sentence *s)
{
	e->code = code;
	memcpy(e->text, s->text, sizeof(e->text));
	return code;
}

int err_setv(struct err *e, int code, const char *format, va_list args)
{
	struct sentence s;

	if (!e)
		return code;
	(void)vsnprintf(s.text, sizeof(s.text), format, args);
	return store(e, code, &s);
}

int err_set(struct err *e, int code, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	(void)err_setv(e, code, format, args);
	va_end(args);
	return code;
}

int err_sys(struct err *e, int code, const char *format, ...)
{
	char words[128];
	struct sentence s;
	va_list args;

	if (!e)
		return code;
	va_start(args, format);
	(void)vsnprintf(s.text, sizeof(s.text), format, args);
	va_end(args);
	add(&s, ": ");
	add(&s, strerror_r(-code, words, sizeof(words)));
	return store(e, code, &s);
}

int err_where(struct err *e, const char *format, ...)
{
	struct sentence s;
	va_list args;

	if (!e)
		return 0;
	va_start(args, format);
	(void)vsnprintf(s.text, sizeof(s.text), format, args);
	va_end(args);
	add(&s, ": ");
	add(&s, e->text);
	return store(e, e->code, &s);
}
