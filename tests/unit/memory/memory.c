/* SPDX-License-Identifier: MIT */
#include "memory/memory.h"

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>

static unsigned left; /* until it is refused; 0: it was, or nobody asked for that */
static bool spared;   /* in the last turn nothing was */

bool memory_refuse(unsigned *nth)
{
	bool on = *nth == 1 || !spared;

	left = on ? (*nth)++ : 0;
	spared = true;
	return on;
}

bool memory_refused(void)
{
	left = 0;
	return !spared;
}

static bool refused(void)
{
	if (left == 0 || --left > 0)
		return false;
	spared = false;
	errno = ENOMEM;
	return true;
}

/* By the linker: __wrap_x is called for x, and what x was is __real_x. */
#define REFUSABLE(type, name, parameters, arguments)                                               \
	type __real_##name parameters;                                                             \
	type __wrap_##name parameters;                                                             \
	type __wrap_##name parameters                                                              \
	{                                                                                          \
		return refused() ? 0 : __real_##name arguments;                                    \
	}

REFUSABLE(void *, malloc, (size_t size), (size))
REFUSABLE(void *, calloc, (size_t count, size_t size), (count, size))
REFUSABLE(void *, realloc, (void *old, size_t size), (old, size))
REFUSABLE(char *, strdup, (const char *string), (string))
REFUSABLE(char *, strndup, (const char *string, size_t len), (string, len))

/* Where there is no memory asprintf() leaves the pointer undefined: nobody may use it. */
static int nothing_printed(char **text)
{
	*text = (char *)&left;
	return -1;
}

int __real_vasprintf(char **text, const char *format, va_list args)
	__attribute__((format(printf, 2, 0)));
int __wrap_vasprintf(char **text, const char *format, va_list args)
	__attribute__((format(printf, 2, 0)));
int __wrap_asprintf(char **text, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* What _FORTIFY_SOURCE makes of them. */
int __wrap___vasprintf_chk(char **text, int flag, const char *format, va_list args)
	__attribute__((format(printf, 3, 0)));
int __wrap___asprintf_chk(char **text, int flag, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

int __wrap_vasprintf(char **text, const char *format, va_list args)
{
	return refused() ? nothing_printed(text) : __real_vasprintf(text, format, args);
}

int __wrap_asprintf(char **text, const char *format, ...)
{
	va_list args;
	int r;

	va_start(args, format);
	r = __wrap_vasprintf(text, format, args);
	va_end(args);
	return r;
}

int __wrap___vasprintf_chk(char **text, int flag, const char *format, va_list args)
{
	(void)flag;
	return __wrap_vasprintf(text, format, args);
}

int __wrap___asprintf_chk(char **text, int flag, const char *format, ...)
{
	va_list args;
	int r;

	(void)flag;
	va_start(args, format);
	r = __wrap_vasprintf(text, format, args);
	va_end(args);
	return r;
}
