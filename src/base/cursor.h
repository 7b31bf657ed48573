/* SPDX-License-Identifier: MIT */
/*
 * A bounded reader over bytes that somebody else wrote. Every call either takes what it says and
 * returns true, or returns false and moves nothing. Nothing is copied unless it says so.
 */
#ifndef BASE_CURSOR_H
#define BASE_CURSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cursor {
	const uint8_t *at;
	const uint8_t *end;
};

struct cursor cursor_of(const void *bytes, size_t len);
size_t cursor_left(const struct cursor *c);
bool cursor_skip(struct cursor *c, size_t len);
bool cursor_bytes(struct cursor *c, size_t len, const uint8_t **bytes); /* borrowed */
bool cursor_copy(struct cursor *c, void *to, size_t len);
bool cursor_u8(struct cursor *c, uint8_t *value);
bool cursor_be16(struct cursor *c, uint16_t *value);
bool cursor_be32(struct cursor *c, uint32_t *value);

/*
 * Takes the bytes up to the next separator, or up to the end, and steps over the separator.
 * False only at the end of the input. The part is borrowed, and has no NUL behind it.
 */
bool cursor_part(struct cursor *c, char separator, const char **part, size_t *len);

#endif
