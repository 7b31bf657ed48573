/* SPDX-License-Identifier: MIT */
/*
 * ETags and the conditions on them (RFC 9110, 8.8.3 and 13.1). A tag is "HASH-F": a hash over what
 * the resource is, and a letter for the format that it is shown in. It leaves out what changes by
 * itself (REST_LIVE): who edits a mirror must not lose against its frame counter. So If-Match
 * compares the hash alone, in any format. A cache, though, is only told "304 Not Modified" of what
 * has no such attributes.
 */
#ifndef REST_CONDITION_H
#define REST_CONDITION_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "rest/model.h"
#include "rest/represent.h"

/* base: what absolute URLs begin with; it is no part of the hash. */
uint64_t condition_hash(const struct rest_type *type, const json_t *resource, const char *base);
uint64_t condition_hash_all(const struct rest_type *type, const json_t *items, const char *base);
uint64_t condition_hash_form(const json_t *form, const char *base);

#define CONDITION_TAG 24
const char *condition_tag(char tag[CONDITION_TAG], uint64_t hash, enum rest_format format);

/* Whether the header names the hash ("*" names any): strongly, in any format. */
bool condition_match(const char *header, uint64_t hash);
/* The same, weakly, for this format only. */
bool condition_fresh(const char *header, uint64_t hash, enum rest_format format);
/* Whether the header is this tag, as If-Range wants it: a date never is. */
bool condition_same(const char *header, uint64_t hash, enum rest_format format);

#endif
