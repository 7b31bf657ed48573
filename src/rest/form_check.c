/* SPDX-License-Identifier: MIT */
/*
 * The check walks the form resource itself, as a client would that has read it: so the form that
 * is served can't say anything else than what is checked.
 */
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/near.h"
#include "data/json.h"
#include "data/text.h"
#include "rest/field.h"
#include "rest/form_field.h"
#include "rest/form_value.h"

struct check {
	const struct rest_type *type;
	json_t *form;
	bool text;
	json_t *given;	    /* the values that are there, by the names of the form's fields */
	json_t *referenced; /* an array: the names that constraints have matched */
	struct rest_fault *fault;
};

static void check_free(struct check *c)
{
	json_decref(c->form);
	json_decref(c->given);
	json_decref(c->referenced);
}

static int check_type(const struct check *c, const json_t *input)
{
	const json_t *value = json_object_get(input, "_type");
	char shown[TEXT_SHOWN];

	if (!value || json_is_null(value))
		return 0;
	if (json_is_string(value) && strcmp(json_string_value(value), c->type->name) == 0)
		return 0;
	if (!json_is_string(value))
		return rest_refuse(c->fault, 400, "wrong-type", "_type", "_type must be \"%s\"",
				   c->type->name);
	return rest_refuse(c->fault, 400, "wrong-type", "_type", "_type must be \"%s\", not \"%s\"",
			   c->type->name, text_shown(shown, json_string_value(value)));
}

static int check_values(const struct check *c, const json_t *input)
{
	const json_t *field;
	size_t i;

	json_array_foreach(json_object_get(c->form, "fields"), i, field)
	{
		const char *name = json_string_value(json_object_get(field, "name"));
		const json_t *given = field_get(input, name);
		json_t *made = NULL;

		if (!given)
			continue;
		if (form_check_value(field, given, c->text, &made, c->fault) < 0)
			return -1;
		if (made && json_object_set_new(c->given, name, made) < 0)
			return rest_no_memory(c->fault);
	}
	return 0;
}

static bool is_mandatory(const json_t *constraint)
{
	return strcmp(json_string_value(json_object_get(constraint, "sense")), "mandatory") == 0;
}

/* An empty array is there as a value, but gives nothing that a constraint could ask for. */
static bool is_given(const struct check *c, const char *name)
{
	const json_t *value = json_object_get(c->given, name);

	return value && (!json_is_array(value) || json_array_size(value) > 0);
}

static bool matches(struct check *c, const json_t *constraint);

/* Up to its first match. */
static bool exclusive_matches(struct check *c, const json_t *group)
{
	const json_t *constraint;
	size_t i;

	json_array_foreach(group, i, constraint)
	{
		if (matches(c, constraint))
			return true;
	}
	return false;
}

/* All of it, but for what is optional, and something of it. */
static bool ordinary_matches(struct check *c, const json_t *group)
{
	size_t before = json_array_size(c->referenced), i;
	const json_t *constraint;

	json_array_foreach(group, i, constraint)
	{
		if (matches(c, constraint) || !is_mandatory(constraint))
			continue;
		while (json_array_size(c->referenced) > before)
			(void)json_array_remove(c->referenced, json_array_size(c->referenced) - 1);
		return false;
	}
	return json_array_size(c->referenced) > before;
}

static bool matches(struct check *c, const json_t *constraint)
{
	json_t *field = json_object_get(constraint, "field");
	const json_t *group = json_object_get(constraint, "constraints");

	if (!field)
		return json_is_true(json_object_get(constraint, "exclusive"))
			       ? exclusive_matches(c, group)
			       : ordinary_matches(c, group);
	if (!is_given(c, json_string_value(field)))
		return false;
	return json_array_append(c->referenced, field) == 0;
}

static void list_fields(const json_t *constraint, struct buf *list)
{
	const json_t *group = json_object_get(constraint, "constraints"), *child;
	const char *field = json_string_value(json_object_get(constraint, "field"));
	size_t i;

	if (field)
		buf_fmt(list, "%s%s", list->len > 0 ? ", " : "", field);
	json_array_foreach(group, i, child)
	{
		list_fields(child, list);
	}
}

static int refuse_missing(const struct check *c, const json_t *constraint)
{
	const char *field = json_string_value(json_object_get(constraint, "field"));
	struct buf list cleanup(buf_free) = {0};

	if (field)
		return rest_refuse(c->fault, 400, "missing-field", field, "%s is missing", field);
	list_fields(constraint, &list);
	return rest_refuse(c->fault, 400, "missing-field", NULL, "%s is missing of %s",
			   json_is_true(json_object_get(constraint, "exclusive")) ? "one"
										  : "something",
			   buf_text(&list));
}

static int check_presence(struct check *c)
{
	const json_t *constraint;
	size_t i;

	json_array_foreach(json_object_get(c->form, "constraints"), i, constraint)
	{
		if (!matches(c, constraint) && is_mandatory(constraint))
			return refuse_missing(c, constraint);
	}
	return 0;
}

/* What a resource has anyway; a search for it would find all of them. */
static bool is_reserved(const struct check *c, enum rest_form_kind kind, const char *name)
{
	static const char *const names[] = {"_type", "id", "href", "link", "_method", "_token"};
	size_t count = kind == REST_FORM_SEARCH ? 1 : c->text ? COUNT(names) : COUNT(names) - 2;

	for (size_t i = 0; i < count; i++)
		if (strcmp(names[i], name) == 0)
			return true;
	return false;
}

static bool is_referenced(const struct check *c, const char *name)
{
	const json_t *value;
	size_t i;

	json_array_foreach(c->referenced, i, value)
	{
		if (strcmp(json_string_value(value), name) == 0)
			return true;
	}
	return false;
}

static int refuse_unknown(const struct check *c, const char *path)
{
	struct near near = {.word = path};
	char shown[TEXT_SHOWN];
	const json_t *field;
	size_t i;

	json_array_foreach(json_object_get(c->form, "fields"), i, field)
	{
		near_try(&near, json_string_value(json_object_get(field, "name")));
	}
	text_shown(shown, path);
	if (near.best)
		return rest_refuse(c->fault, 400, "unknown-field", shown,
				   "%s is not known; did you mean %s?", shown, near.best);
	return rest_refuse(c->fault, 400, "unknown-field", shown, "%s is not known", shown);
}

/* What is left out of a search would be found in everything. */
static int refuse_search(const struct check *c, const char *name)
{
	struct buf list cleanup(buf_free) = {0};
	const json_t *field;
	size_t i;

	json_array_foreach(json_object_get(c->form, "fields"), i, field)
	{
		buf_fmt(&list, "%s%s", i > 0 ? ", " : "",
			json_string_value(json_object_get(field, "name")));
	}
	return rest_refuse(c->fault, 400, "unknown-field", name,
			   "nothing can be searched for by %s%s%s", name,
			   list.len > 0 ? ": there is " : " here", buf_text(&list));
}

/* Whether the path leads to attributes with dotted names ("cpu" to "cpu.cores"). */
static bool leads_on(const struct rest_type *type, const char *path)
{
	size_t len = strlen(path);

	for (const struct rest_field *field = type->fields; field && field->name; field++)
		if (strncmp(field->name, path, len) == 0 && field->name[len] == '.')
			return true;
	return false;
}

/* An attribute that is declared, and has a value. */
static int check_declared(const struct check *c, const struct rest_field *field,
			  enum rest_form_kind kind, const json_t *value)
{
	char name[FORM_NAME_MAX];

	if (!form_has(field, kind)) /* only shown */
		return kind == REST_FORM_SEARCH ? refuse_search(c, field->name) : 0;
	form_field_name(field, name);
	if (field->kind == REST_LINK && !json_is_object(value))
		return rest_refuse(c->fault, 400, "bad-value", field->name,
				   "%s must be an object with \"href\"", field->name);
	if (json_object_get(c->given, name) && is_given(c, name) && !is_referenced(c, name))
		return rest_refuse(c->fault, 400, "unwanted-field", name,
				   "%s can't be given together with the others", name);
	return 0;
}

/* A field of a form body that nobody has filled in is sent as "". */
static bool is_null(const struct check *c, const json_t *value)
{
	return json_is_null(value) ||
	       (c->text && json_is_string(value) && json_string_length(value) == 0);
}

static int check_strays(const struct check *c, enum rest_form_kind kind, json_t *object,
			const char *prefix)
{
	const char *key;
	json_t *value;

	json_object_foreach(object, key, value)
	{
		struct buf path cleanup(buf_free) = {0};
		const struct rest_field *field;
		int ret;

		if (is_null(c, value) || (!*prefix && is_reserved(c, kind, key)))
			continue;
		buf_fmt(&path, "%s%s%s", prefix, *prefix ? "." : "", key);
		if (buf_status(&path) < 0)
			return rest_no_memory(c->fault);
		field = form_declared(c->type, buf_text(&path));
		if (field)
			ret = check_declared(c, field, kind, value);
		else if (json_is_object(value) && leads_on(c->type, buf_text(&path)))
			ret = check_strays(c, kind, value, buf_text(&path));
		else
			ret = refuse_unknown(c, buf_text(&path));
		if (ret < 0)
			return ret;
	}
	return 0;
}

/* Every field of the form, by the attributes' own names. */
static json_t *checked_object(const struct check *c, enum rest_form_kind kind)
{
	json_t *object cleanup(json_free_at) = json_object();

	for (const struct rest_field *field = c->type->fields; field && field->name; field++) {
		char name[FORM_NAME_MAX];
		json_t *value;
		int ret;

		if (!form_has(field, kind))
			continue;
		value = json_incref(json_object_get(c->given, form_field_name(field, name)));
		if (value)
			ret = field_set(object, name, value);
		else
			ret = field_set(object, field->name,
					kind == REST_FORM_SEARCH ? json_null()
								 : form_default(field));
		if (ret < 0)
			return NULL;
	}
	return take(object);
}

int rest_form_check(const struct rest_type *type, enum rest_form_kind kind, const json_t *input,
		    bool text, json_t **checked, struct rest_fault *fault)
{
	struct check c cleanup(check_free) = {.type = type,
					      .form = rest_form(type, kind, "", "", NULL),
					      .text = text,
					      .given = json_object(),
					      .referenced = json_array(),
					      .fault = fault};
	json_t *object;

	if (!c.form || !c.given || !c.referenced)
		return rest_no_memory(fault);
	if (!json_is_object(input))
		return rest_refuse(fault, 400, "not-an-object", NULL,
				   "an object of type \"%s\" is wanted", type->name);
	if (check_type(&c, input) < 0 || check_values(&c, input) < 0 || check_presence(&c) < 0 ||
	    check_strays(&c, kind, (json_t *)(uintptr_t)input, "") < 0)
		return -1;
	object = checked_object(&c, kind);
	if (!object)
		return rest_no_memory(fault);
	*checked = object;
	return 0;
}
