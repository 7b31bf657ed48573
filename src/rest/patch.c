/* SPDX-License-Identifier: MIT */
/* The two forms of PATCH. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "data/json.h"
#include "data/text.h"
#include "rest/field.h"
#include "rest/form_field.h"

static bool is_fixed(const struct rest_field *field)
{
	return !form_has(field, REST_FORM_UPDATE);
}

static int refuse_fixed(struct rest_fault *fault, const char *name)
{
	return rest_refuse(fault, 400, "fixed-field", name, "%s can't be changed", name);
}

/* The same, whether somebody wrote 1 or 1.0. */
static bool is_equal(const json_t *a, const json_t *b)
{
	if (json_is_number(a) && json_is_number(b))
		return json_number_value(a) == json_number_value(b);
	return json_equal(a, b) != 0;
}

int rest_form_fixed(const struct rest_type *type, const json_t *resource, const json_t *input,
		    struct rest_fault *fault)
{
	const json_t *id = json_object_get(input, "id");

	if (id && !json_is_null(id) && !is_equal(id, json_object_get(resource, "id")))
		return refuse_fixed(fault, "id");
	for (const struct rest_field *field = type->fields; field && field->name; field++) {
		const json_t *given = field_get(input, field->name);

		if (!given || json_is_null(given) || !is_fixed(field) || field->use & REST_LIVE ||
		    field->kind == REST_LINK || field->kind == REST_OBJECT)
			continue;
		if (!is_equal(given, field_get(resource, field->name)))
			return refuse_fixed(fault, field->name);
	}
	return 0;
}

/* Refuses a partial object that gives what can't be changed another value, live or not. */
static int check_given(const struct rest_type *type, const json_t *resource, const json_t *patch,
		       struct rest_fault *fault)
{
	for (const struct rest_field *field = type->fields; field && field->name; field++) {
		const json_t *given = field_get(patch, field->name);

		if (given && is_fixed(field) && !is_equal(given, field_get(resource, field->name)))
			return refuse_fixed(fault, field->name);
	}
	return rest_form_fixed(type, resource, patch, fault);
}

/* Members that are objects on both sides are merged, others replaced. An object link is one value.
 */
static int merge(json_t *whole, json_t *patch)
{
	const char *key;
	json_t *value;

	json_object_foreach(patch, key, value)
	{
		json_t *there = json_object_get(whole, key);
		int ret = json_is_object(there) && json_is_object(value)
				  ? merge(there, value)
				  : json_object_set(whole, key, value);

		if (ret < 0)
			return ret;
	}
	return 0;
}

/* What a path leads to: a member of an object, or an item of an array. */
struct place {
	json_t *parent;
	const char *key; /* NULL: an item */
	size_t index;
	bool several; /* the attribute can have several values */
};

struct change {
	const char *path, *what; /* "add", … */
	const json_t *value;	 /* NULL: none */
};

static int refuse_path(const char *path, struct rest_fault *fault)
{
	char shown[TEXT_SHOWN];

	text_shown(shown, path);
	return rest_refuse(fault, 400, "bad-path", shown,
			   "the path %s leads nowhere; paths look like \"name\", \"cpu.cores\" or "
			   "\"from[1]\"",
			   shown);
}

/* The attribute that the path begins with, if it can be changed. NULL: refused. */
static const struct rest_field *find_field(const struct rest_type *type, const char *path,
					   struct rest_fault *fault)
{
	for (const struct rest_field *field = type->fields; field && field->name; field++) {
		size_t len = strlen(field->name);

		if (strncmp(field->name, path, len) != 0 || !strchr("[.", path[len]))
			continue;
		if (!is_fixed(field))
			return field;
		(void)refuse_fixed(fault, field->name);
		return NULL;
	}
	(void)refuse_path(path, fault);
	return NULL;
}

/* "[1]" and nothing behind it. */
static bool read_index(const char *text, size_t *index)
{
	size_t digits = strspn(text + 1, "0123456789");

	if (text[0] != '[' || digits == 0 || digits > 6 || strcmp(text + 1 + digits, "]") != 0)
		return false;
	*index = strtoul(text + 1, NULL, 10);
	return true;
}

/* The object under the key, made where there is none. */
static json_t *object_at(json_t *parent, const char *key, size_t len)
{
	json_t *object = json_object_getn(parent, key, len);

	if (json_is_object(object))
		return object;
	object = json_object();
	return json_object_setn_new(parent, key, len, object) == 0 ? object : NULL;
}

/* Steps from the whole through the objects of a dotted name. NULL: out of memory. */
static json_t *parent_of(json_t *whole, const char *name, const char **key)
{
	const char *dot;

	while (whole && (dot = strchr(name, '.'))) {
		whole = object_at(whole, name, (size_t)(dot - name));
		name = dot + 1;
	}
	*key = name;
	return whole;
}

static bool is_set(const json_t *value)
{
	return value && !json_is_null(value);
}

/* An attribute that can have several values may be told as one of them, without an array. Negative:
 * out of memory. */
static int as_array(json_t *parent, const char *key)
{
	json_t *value = json_object_get(parent, key);

	if (!is_set(value) || json_is_array(value))
		return 0;
	return json_object_set_new(parent, key, json_pack("[O]", value));
}

/* A path is the name of an attribute, and behind it nothing, an index, or what an object link is
 * given by. */
static int find_place(const struct rest_type *type, json_t *whole, const char *path,
		      struct place *place, struct rest_fault *fault)
{
	const struct rest_field *field = find_field(type, path, fault);
	const char *key, *rest;

	if (!field)
		return -1;
	rest = path + strlen(field->name);
	*place = (struct place){.several = field->multiple};
	place->parent = parent_of(whole, field->name, &key);
	if (!place->parent || (field->multiple && as_array(place->parent, key) < 0))
		return rest_no_memory(fault);
	if (*rest == '\0') {
		place->key = key;
		return 0;
	}
	if (field->kind == REST_LINK && strcmp(rest, ".href") == 0) {
		place->key = "href";
		place->parent = object_at(place->parent, key, strlen(key));
		return place->parent ? 0 : rest_no_memory(fault);
	}
	place->parent = json_object_get(place->parent, key);
	return read_index(rest, &place->index) && json_is_array(place->parent)
		       ? 0
		       : refuse_path(path, fault);
}

/* The array of an attribute that can have several values, made where it has none yet. */
static json_t *array_at(const struct place *at)
{
	json_t *array = json_object_get(at->parent, at->key);

	if (is_set(array))
		return array;
	array = json_array();
	return json_object_set_new(at->parent, at->key, array) == 0 ? array : NULL;
}

static int add(const struct place *at, const struct change *change, struct rest_fault *fault)
{
	json_t *value = json_deep_copy(change->value);
	int ret;

	if (!value)
		return rest_no_memory(fault);
	if (!at->key) {
		if (at->index > json_array_size(at->parent)) {
			json_decref(value);
			return refuse_path(change->path, fault);
		}
		ret = json_array_insert_new(at->parent, at->index, value);
	} else if (at->several) {
		ret = json_array_append_new(array_at(at), value);
	} else if (is_set(json_object_get(at->parent, at->key))) {
		json_decref(value);
		return rest_refuse(fault, 400, "bad-change", change->path,
				   "%s has a value; \"change\" it", change->path);
	} else {
		ret = json_object_set_new(at->parent, at->key, value);
	}
	return ret < 0 ? rest_no_memory(fault) : 0;
}

/* Removes the one that equals the value. */
static int remove_value(const struct place *at, const struct change *change,
			struct rest_fault *fault)
{
	json_t *array = at->key ? json_object_get(at->parent, at->key) : NULL;

	for (size_t i = 0; i < json_array_size(array); i++) {
		if (!is_equal(json_array_get(array, i), change->value))
			continue;
		(void)json_array_remove(array, i);
		return 0;
	}
	return rest_refuse(fault, 400, "bad-change", change->path, "%s has no such value to remove",
			   change->path);
}

static int remove_place(const struct place *at, const struct change *change,
			struct rest_fault *fault)
{
	if (change->value)
		return remove_value(at, change, fault);
	if (!at->key)
		return json_array_remove(at->parent, at->index) == 0
			       ? 0
			       : refuse_path(change->path, fault);
	return json_object_set_new(at->parent, at->key, json_null()) < 0 ? rest_no_memory(fault)
									 : 0;
}

static int replace(const struct place *at, const struct change *change, struct rest_fault *fault)
{
	json_t *value;

	if (!at->key && at->index >= json_array_size(at->parent))
		return refuse_path(change->path, fault);
	value = json_deep_copy(change->value);
	if (at->key ? json_object_set_new(at->parent, at->key, value) < 0
		    : json_array_set_new(at->parent, at->index, value) < 0)
		return rest_no_memory(fault);
	return 0;
}

static int apply(const struct rest_type *type, json_t *whole, const struct change *change,
		 struct rest_fault *fault)
{
	bool is_remove = strcmp(change->what, "remove") == 0;
	struct place at = {0};

	if (find_place(type, whole, change->path, &at, fault) < 0)
		return -1;
	if (!is_remove && !change->value)
		return rest_refuse(fault, 400, "bad-change", change->path,
				   "the change of %s has no \"value\"", change->path);
	if (is_remove)
		return remove_place(&at, change, fault);
	if (strcmp(change->what, "add") == 0)
		return add(&at, change, fault);
	if (strcmp(change->what, "change") == 0)
		return replace(&at, change, fault);
	return rest_refuse(fault, 400, "bad-change", change->path,
			   "the \"change\" of %s must be add, remove or change", change->path);
}

static bool is_change_key(const char *key)
{
	static const char *const keys[] = {"_type", "path", "change", "value"};

	for (size_t i = 0; i < COUNT(keys); i++)
		if (strcmp(keys[i], key) == 0)
			return true;
	return false;
}

static int read_change(const json_t *item, size_t at, struct change *change,
		       struct rest_fault *fault)
{
	const char *key;
	json_t *value;

	change->path = json_string_value(json_object_get(item, "path"));
	change->what = json_string_value(json_object_get(item, "change"));
	change->value = json_object_get(item, "value");
	if (!change->path || !change->what)
		return rest_refuse(fault, 400, "bad-change", NULL,
				   "change %zu must be an object with \"path\" and \"change\"", at);
	json_object_foreach((json_t *)(uintptr_t)item, key, value)
	{
		char shown[TEXT_SHOWN];

		if (!is_change_key(key))
			return rest_refuse(fault, 400, "bad-change", NULL,
					   "change %zu has an unknown \"%s\"", at,
					   text_shown(shown, key));
	}
	return 0;
}

static int apply_list(const struct rest_type *type, json_t *whole, const json_t *list,
		      struct rest_fault *fault)
{
	const json_t *item;
	size_t i;

	json_array_foreach(list, i, item)
	{
		struct change change;

		if (read_change(item, i, &change, fault) < 0 ||
		    apply(type, whole, &change, fault) < 0)
			return -1;
	}
	return 0;
}

int rest_patch(const struct rest_type *type, const json_t *resource, const json_t *patch,
	       json_t **whole, struct rest_fault *fault)
{
	json_t *changed cleanup(json_free_at) = json_deep_copy(resource);

	if (!changed)
		return rest_no_memory(fault);
	if (json_is_array(patch)) {
		if (apply_list(type, changed, patch, fault) < 0)
			return -1;
	} else if (json_is_object(patch)) {
		json_t *copy cleanup(json_free_at) = json_deep_copy(patch);

		if (check_given(type, resource, patch, fault) < 0)
			return -1;
		if (!copy || merge(changed, copy) < 0)
			return rest_no_memory(fault);
	} else {
		return rest_refuse(fault, 400, "bad-patch", NULL,
				   "a partial object or an array of changes is wanted");
	}
	*whole = take(changed);
	return 0;
}
