/* SPDX-License-Identifier: MIT */
#include "rest/field.h"

#include <string.h>

json_t *field_get(const json_t *resource, const char *name)
{
	const char *dot;

	while ((dot = strchr(name, '.'))) {
		resource = json_object_getn(resource, name, (size_t)(dot - name));
		name = dot + 1;
	}
	return json_object_get(resource, name);
}

int field_set(json_t *resource, const char *name, json_t *value)
{
	const char *dot;

	while ((dot = strchr(name, '.'))) {
		json_t *inner = json_object_getn(resource, name, (size_t)(dot - name));

		if (!inner && json_object_setn_new(resource, name, (size_t)(dot - name),
						   inner = json_object()) < 0)
			inner = NULL;
		resource = inner;
		name = dot + 1;
	}
	return json_object_set_new(resource, name, value);
}
