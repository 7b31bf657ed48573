/* SPDX-License-Identifier: MIT */
/*
 * A growing byte buffer for building text. Running out of memory is remembered, so that a
 * builder checks once, at its end, with buf_status(). Zero-initialise it: struct buf b = {0};
 */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>

struct buf {
	char *data; /* always followed by a NUL that len does not count; NULL at first */
	size_t len;
	size_t room;
	bool failed;
};

void buf_add(struct buf *b, const void *bytes, size_t len);
void buf_str(struct buf *b, const char *text);
void buf_char(struct buf *b, char c);
void buf_fmt(struct buf *b, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The text so far; "" while empty. Valid until the next call that adds. */
const char *buf_text(const struct buf *b);

/* 0, or -ENOMEM where any addition failed. */
int buf_status(const struct buf *b) __attribute__((warn_unused_result));

/* Hands the text over (to be freed by the caller) and empties b. NULL where an addition failed. */
char *buf_take(struct buf *b) __attribute__((warn_unused_result));

/* For a queue: *used bytes at its front are not needed any more. Where they are no fewer than the
 * rest, it takes their place, and *used is 0: no more bytes are ever moved than were used. */
void buf_shift(struct buf *b, size_t *used);

void buf_clear(struct buf *b); /* keeps the memory, forgets a failure */
void buf_free(struct buf *b);  /* also for cleanup() */

#endif
