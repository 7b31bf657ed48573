/* SPDX-License-Identifier: MIT */
/* Apple Mail's .emlx files: a line with the message's length, the message, a property list. */
#ifndef MAIL_EMLX_H
#define MAIL_EMLX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* As much of a file's start holds the first line. */
#define EMLX_LINE_MAX 64

/* Where the message starts and how long it is; false where the first line does not say it. */
bool emlx_read(const char *bytes, size_t len, uint64_t *start, uint64_t *size);

/* The flags (MAIL_*) in the property list. */
unsigned emlx_flags(const char *plist, size_t len);

#endif
