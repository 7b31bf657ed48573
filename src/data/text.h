/* SPDX-License-Identifier: MIT */
/* Text that somebody else wrote: UTF-8, and how to show it in a message. */
#ifndef DATA_TEXT_H
#define DATA_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The bytes (1 to 4) of the UTF-8 character at text, of which len bytes are left, and its code
 * point; 0 where there is none: at the end, or where the bytes are no UTF-8 (RFC 3629). */
size_t text_char(const char *text, size_t len, uint32_t *code);

bool text_is_utf8(const char *text, size_t len);

/* True for UTF-8 without control characters (C0, DEL, C1). */
bool text_printable(const char *text);

/*
 * A copy that can stand in a message: control characters and bytes that are no UTF-8 become \xNN,
 * and what doesn't fit becomes "…". Returns shown.
 */
#define TEXT_SHOWN 128
const char *text_shown(char shown[TEXT_SHOWN], const char *text);

#endif
