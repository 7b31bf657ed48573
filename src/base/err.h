/* SPDX-License-Identifier: MIT */
/*
 * The one way to report a failure: a function returns a negative errno and, where it takes a
 * struct err, leaves one sentence in it for the person who will read it. What it would have
 * returned through pointers stays untouched. A NULL struct err * is allowed everywhere.
 */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#include <stdarg.h>

struct err {
	int code;	/* negative errno; 0 while nothing failed */
	char text[600]; /* the sentence, without a newline; cut, never overrun */
};

/* Stores code (a negative errno) and the formatted sentence. Returns code. */
int err_set(struct err *e, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));
int err_setv(struct err *e, int code, const char *format, va_list args)
	__attribute__((format(printf, 3, 0)));

/* Like err_set(), and appends ": " and the system's words for code. */
int err_sys(struct err *e, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Puts "WHERE: " in front of the sentence that is there. Returns e->code (0 for a NULL e). */
int err_where(struct err *e, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
