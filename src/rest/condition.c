/* SPDX-License-Identifier: MIT */
#include "rest/condition.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "rest/field.h"

static uint64_t hash_text(uint64_t hash, const char *text, const char *base)
{
	size_t len = strlen(base);

	if (strncmp(text, base, len) == 0)
		text += len;
	return hash_bytes(hash, text, strlen(text) + 1);
}

static uint64_t hash_value(uint64_t hash, const json_t *value, const char *base)
{
	json_type kind = value ? json_typeof(value) : JSON_NULL;
	json_int_t integer;
	double real;
	const char *key;
	json_t *part;
	size_t i;

	hash = hash_bytes(hash, &kind, sizeof(kind));
	switch (kind) {
	case JSON_OBJECT:
		for (void *at = json_object_iter((json_t *)(uintptr_t)value); at;
		     at = json_object_iter_next((json_t *)(uintptr_t)value, at)) {
			key = json_object_iter_key(at);
			hash = hash_bytes(hash, key, strlen(key) + 1);
			hash = hash_value(hash, json_object_iter_value(at), base);
		}
		break;
	case JSON_ARRAY:
		json_array_foreach(value, i, part)
		{
			hash = hash_value(hash, part, base);
		}
		break;
	case JSON_STRING:
		return hash_text(hash, json_string_value(value), base);
	case JSON_INTEGER:
		integer = json_integer_value(value);
		return hash_bytes(hash, &integer, sizeof(integer));
	case JSON_REAL:
		real = json_real_value(value);
		return hash_bytes(hash, &real, sizeof(real));
	case JSON_TRUE:
	case JSON_FALSE:
	case JSON_NULL:
		break;
	}
	return hash_bytes(hash, "", 1); /* the end of an object or array */
}

static uint64_t hash_resource(uint64_t hash, const struct rest_type *type, const json_t *resource,
			      const char *base)
{
	hash = hash_value(hash, json_object_get(resource, "id"), base);
	for (const struct rest_field *field = type->fields; field->name; field++) {
		if (!(field->use & REST_LIVE))
			hash = hash_value(hash, field_get(resource, field->name), base);
	}
	return hash;
}

uint64_t condition_hash(const struct rest_type *type, const json_t *resource, const char *base)
{
	return hash_resource(HASH_START, type, resource, base);
}

uint64_t condition_hash_all(const struct rest_type *type, const json_t *items, const char *base)
{
	uint64_t hash = hash_bytes(HASH_START, "[]", 2);
	json_t *item;
	size_t i;

	json_array_foreach(items, i, item)
	{
		hash = hash_resource(hash, type, item, base);
	}
	return hash;
}

uint64_t condition_hash_form(const json_t *form, const char *base)
{
	return hash_value(HASH_START, form, base);
}

static char letter(enum rest_format format)
{
	return "jyxhf"[format];
}

const char *condition_tag(char tag[CONDITION_TAG], uint64_t hash, enum rest_format format)
{
	(void)snprintf(tag, CONDITION_TAG, "\"%016" PRIx64 "-%c\"", hash, letter(format));
	return tag;
}

/* Takes the next entity tag out of the list: what stands between the quotes. False: there is none,
 * or the rest is no list of tags. */
static bool next_tag(const char **list, bool *weak, const char **tag, size_t *len)
{
	const char *at = *list + strspn(*list, " \t,"), *end;

	*weak = strncmp(at, "W/", 2) == 0;
	if (*weak)
		at += 2;
	if (*at != '"')
		return false;
	end = strchr(++at, '"');
	if (!end)
		return false;
	*tag = at;
	*len = (size_t)(end - at);
	*list = end + 1;
	return true;
}

static bool is_any(const char *header)
{
	header += strspn(header, " \t");
	return *header == '*' && header[1 + strspn(header + 1, " \t")] == '\0';
}

bool condition_match(const char *header, uint64_t hash)
{
	char ours[CONDITION_TAG];
	size_t digits = strlen(condition_tag(ours, hash, REST_JSON)) - strlen("\"j\"");
	const char *tag;
	size_t len;
	bool weak;

	if (is_any(header))
		return true;
	while (next_tag(&header, &weak, &tag, &len)) {
		if (!weak && len == digits + 1 && memcmp(tag, ours + 1, digits) == 0)
			return true;
	}
	return false;
}

bool condition_fresh(const char *header, uint64_t hash, enum rest_format format)
{
	char ours[CONDITION_TAG];
	size_t whole = strlen(condition_tag(ours, hash, format)) - 2;
	const char *tag;
	size_t len;
	bool weak;

	if (is_any(header))
		return true;
	while (next_tag(&header, &weak, &tag, &len)) {
		if (len == whole && memcmp(tag, ours + 1, whole) == 0)
			return true;
	}
	return false;
}

bool condition_same(const char *header, uint64_t hash, enum rest_format format)
{
	char ours[CONDITION_TAG];

	return strcmp(header, condition_tag(ours, hash, format)) == 0;
}
