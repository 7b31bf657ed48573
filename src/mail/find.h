/* SPDX-License-Identifier: MIT */
/* Searching text faster than byte by byte: everything that walks over gigabytes goes through it. */
#ifndef MAIL_FIND_H
#define MAIL_FIND_H

#include <stdbool.h>
#include <stddef.h>

/* The first place in [at, end) where first is followed by second; NULL where there is none. */
const char *find_pair(const char *at, const char *end, char first, char second);

/* True where any byte of [at, at+len) has its eighth bit set. */
bool find_8bit(const char *at, size_t len);

/* True where the bytes are UTF-8. */
bool is_utf8(const char *at, size_t len);

#endif
