/* SPDX-License-Identifier: MIT */
/* JSON text to and from jansson's values, with the project's error protocol and ownership. */
#ifndef DATA_JSON_H
#define DATA_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

struct err;

static inline void json_free_at(json_t **value) /* for cleanup() */
{
	json_decref(*value);
}

/* Whether jansson was refused memory in this thread, since the start or since that was forgotten.
 * Not all of its functions say so (json_object_update() and those akin leave out what they have no
 * room for): whoever must have values whole asks here. */
bool json_lacked(void);
void json_forget_lack(void);

/* json_loadb(), but -ENOMEM wherever memory was lacking (else -EBADMSG), where jansson 2.14 may
 * come to a wrong value, or to the end of the program. */
int json_load(const char *text, size_t len, size_t flags, json_t **value, json_error_t *error);

/* Strict: no duplicate keys, nothing behind the value. "NAME:LINE: …" in the error. */
int json_read(const char *text, size_t len, const char *name, json_t **value, struct err *e);

/* The text as a value: jansson takes no other than UTF-8. Returns 0, -EILSEQ or -ENOMEM. */
int json_text(const char *text, size_t len, json_t **value);

/* A real number in the fewest digits, of 15 and 17, that give it back; always with a dot or an
 * exponent. To be freed; NULL: out of memory. */
char *json_real_text(const json_t *value);

/* The value in one line, without its end. To be freed; NULL: out of memory. (json_dumps() of 2.14
 * leaves out a key that it finds no room for, and goes on: do_dump() in its dump.c.) */
char *json_line(const json_t *value);

/* Indented by two spaces and ended by a newline, not flushed. Returns 0 or -errno; -ENOMEM (and
 * nothing printed) where json_lacked(): who puts a value together needn't look at each step, and
 * none is told without a part of it. */
int json_print(const json_t *value, FILE *stream, struct err *e);

#endif
