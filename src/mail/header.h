/* SPDX-License-Identifier: MIT */
/* A message's header block, field by field, as it stands: nothing is copied or decoded. */
#ifndef MAIL_HEADER_H
#define MAIL_HEADER_H

#include <stdbool.h>
#include <stddef.h>

#include "base/cursor.h"

struct buf;
struct err;

struct mail_field {
	const char *bytes; /* from its first byte up to and with its last line end; borrowed */
	size_t len;
	size_t name_len;   /* the name stands at bytes */
	const char *value; /* behind the colon and blanks, before the last line end; still folded */
	size_t value_len;
};

enum mail_head {
	MAIL_HEAD_FIELD, /* a field, with its folded lines */
	MAIL_HEAD_LEAK,	 /* a "From " or ">From " line that got into the block: drop it */
	MAIL_HEAD_STRAY, /* another line that is no field: keep it as it is */
	MAIL_HEAD_END	 /* the empty line (*field has it), or the end of the bytes (len 0) */
};

/* Takes the next line or field. What follows END is the body. */
enum mail_head mail_head_next(struct cursor *c, struct mail_field *field);

/* True where the line at [at, end) starts as a field does: printable name, colon. */
bool mail_field_starts(const char *at, const char *end);

/* Names are compared without regard to case. */
bool mail_field_is(const struct mail_field *field, const char *name);

/* The first field of that name. */
bool mail_head_find(const char *head, size_t len, const char *name, struct mail_field *field);

/* The value on one line: folds become what they stand for, blanks at the ends go. Appended. */
void mail_field_text(const struct mail_field *field, struct buf *b);

/* A set of field names. Zero-initialise it. */
struct mail_names {
	char **items;
	size_t count, room;
};

/* Adds the names of a comma-separated list. -EINVAL with a sentence where one is no field name. */
int mail_names_add(struct mail_names *names, const char *list, struct err *e);
bool mail_names_have(const struct mail_names *names, const char *name, size_t len);
void mail_names_free(struct mail_names *names);

/* What Thunderbird keeps in its folders for itself, as a list for mail_names_add(). */
extern const char mail_thunderbird_names[];

#endif
