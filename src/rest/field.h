/* SPDX-License-Identifier: MIT */
/* An attribute of a resource by its name in dotted notation ("cpu.cores"). Private to the api. */
#ifndef REST_FIELD_H
#define REST_FIELD_H

#include <jansson.h>

/* NULL where there is none. Borrowed. */
json_t *field_get(const json_t *resource, const char *name);

/* Sets it, making the objects that the name goes through. value is taken over. 0, or -1: out of
 * memory, or something else is in the way. */
int field_set(json_t *resource, const char *name, json_t *value);

#endif
