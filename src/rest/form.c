/* SPDX-License-Identifier: MIT */
/* The form resource, made of a type's declaration. */
#include "rest/form.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "base/mem.h"
#include "data/json.h"
#include "rest/field.h"
#include "rest/form_field.h"

static const struct {
	const char *name, *method;
	unsigned use;
} kinds[] = {
	[REST_FORM_CREATE] = {"create", "POST", REST_CREATE},
	[REST_FORM_UPDATE] = {"update", "PUT", REST_UPDATE},
	[REST_FORM_DELETE] = {"delete", "DELETE", 0},
	[REST_FORM_SEARCH] = {"search", "GET", REST_SEARCH},
};

const char *rest_form_name(enum rest_form_kind kind)
{
	return kinds[kind].name;
}

bool form_has(const struct rest_field *field, enum rest_form_kind kind)
{
	return field->kind != REST_OBJECT && (field->use & kinds[kind].use) != 0;
}

const char *form_field_name(const struct rest_field *field, char name[FORM_NAME_MAX])
{
	(void)snprintf(name, FORM_NAME_MAX, "%s%s", field->name,
		       field->kind == REST_LINK ? ".href" : "");
	return name;
}

const struct rest_field *form_declared(const struct rest_type *type, const char *name)
{
	for (const struct rest_field *field = type->fields; field && field->name; field++)
		if (strcmp(field->name, name) == 0)
			return field;
	return NULL;
}

/* Sets a member; a value of NULL, for want of memory, marks the object as failed. */
static void set(json_t *object, const char *key, json_t *value, bool *failed)
{
	if (json_object_set_new(object, key, value) < 0)
		*failed = true;
}

json_t *form_number(double value)
{
	return fabs(value) < 9e15 && trunc(value) == value ? json_integer((json_int_t)value)
							   : json_real(value);
}

static json_t *strings(const char *const *list)
{
	json_t *array = json_array();

	for (; *list; list++) {
		if (json_array_append_new(array, json_string(*list)) < 0) {
			json_decref(array);
			return NULL;
		}
	}
	return array;
}

json_t *form_default(const struct rest_field *field)
{
	const char *text = field->fallback ? field->fallback : "null";
	json_t *value = NULL;

	(void)json_load(text, strlen(text), JSON_DECODE_ANY, &value, NULL);
	return value ? value : json_null();
}

/* What the field shows before anybody has typed anything; NULL or null: nothing. */
static json_t *shown_value(const struct rest_field *field, enum rest_form_kind kind,
			   const json_t *current, const char *name)
{
	if (kind == REST_FORM_SEARCH)
		return NULL;
	if (current)
		return json_incref(field_get(current, name));
	return form_default(field);
}

static void add_limits(json_t *object, const struct rest_field *field, bool *failed)
{
	if (field->whole)
		set(object, "integer", json_true(), failed);
	if (field->has_limits) {
		set(object, "min", form_number(field->min), failed);
		set(object, "max", form_number(field->max), failed);
	}
	if (field->minlen > 0)
		set(object, "minlen", json_integer((json_int_t)field->minlen), failed);
	if (field->maxlen > 0)
		set(object, "maxlen", json_integer((json_int_t)field->maxlen), failed);
	if (field->regex)
		set(object, "regex", json_string(field->regex), failed);
	if (field->choices)
		set(object, "choices", strings(field->choices), failed);
}

static json_t *field_json(const struct rest_field *field, enum rest_form_kind kind,
			  const json_t *current)
{
	static const char *const types[] = {[REST_STRING] = "string",
					    [REST_NUMBER] = "number",
					    [REST_BOOLEAN] = "boolean",
					    [REST_LINK] = "string"};
	json_t *object cleanup(json_free_at) = json_object();
	char name[FORM_NAME_MAX];
	bool failed = false;
	json_t *value;

	set(object, "name", json_string(form_field_name(field, name)), &failed);
	set(object, "type", json_string(types[field->kind]), &failed);
	/* A search is for one value that is among them. */
	if (field->multiple && kind != REST_FORM_SEARCH) {
		set(object, "multiple", json_true(), &failed);
		if (field->most > 0)
			set(object, "most", json_integer((json_int_t)field->most), &failed);
	}
	add_limits(object, field, &failed);
	value = shown_value(field, kind, current, name);
	if (value && !json_is_null(value))
		set(object, "value", value, &failed);
	else
		json_decref(value);
	if (field->help)
		set(object, "help", json_string(field->help), &failed);
	return failed ? NULL : take(object);
}

static json_t *fields_json(const struct rest_type *type, enum rest_form_kind kind,
			   const json_t *current)
{
	json_t *array cleanup(json_free_at) = json_array();

	for (const struct rest_field *field = type->fields; field && field->name; field++)
		if (form_has(field, kind) &&
		    json_array_append_new(array, field_json(field, kind, current)) < 0)
			return NULL;
	return take(array);
}

static json_t *simple_json(const struct rest_field *field, bool mandatory)
{
	char name[FORM_NAME_MAX];

	return json_pack("{s:s, s:s}", "sense", mandatory ? "mandatory" : "optional", "field",
			 form_field_name(field, name));
}

/* Appends the declared constraints, without those of fields that the form hasn't. Returns how many
 * were left out; negative: out of memory. */
static int add_constraints(const struct rest_type *type, enum rest_form_kind kind,
			   const struct rest_constraint *constraints, size_t count, json_t *array);

/* A group that lost a member is no longer mandatory: the resource may have what was left out. */
static int add_group(const struct rest_type *type, enum rest_form_kind kind,
		     const struct rest_constraint *c, json_t *array)
{
	json_t *group = json_array(), *object;
	int lost = add_constraints(type, kind, c->group, c->ngroup, group);
	bool mandatory = c->mandatory && lost == 0;

	if (lost < 0 || json_array_size(group) == 0) {
		json_decref(group);
		return lost < 0 ? lost : 1;
	}
	object = json_pack("{s:s, s:b, s:o}", "sense", mandatory ? "mandatory" : "optional",
			   "exclusive", c->exclusive, "constraints", group);
	if (json_array_append_new(array, object) < 0)
		return -ENOMEM;
	return lost > 0;
}

static int add_constraints(const struct rest_type *type, enum rest_form_kind kind,
			   const struct rest_constraint *constraints, size_t count, json_t *array)
{
	int lost = 0;

	for (size_t i = 0; i < count; i++) {
		const struct rest_constraint *c = &constraints[i];
		const struct rest_field *field = c->field ? form_declared(type, c->field) : NULL;
		int ret = 0;

		if (!c->field)
			ret = add_group(type, kind, c, array);
		else if (!field || !form_has(field, kind))
			ret = 1;
		else if (json_array_append_new(array, simple_json(field, c->mandatory)) < 0)
			ret = -ENOMEM;
		if (ret < 0)
			return ret;
		lost += ret;
	}
	return lost;
}

static bool is_constrained(const struct rest_constraint *constraints, size_t count,
			   const char *name)
{
	for (size_t i = 0; i < count; i++) {
		const struct rest_constraint *c = &constraints[i];

		if (c->field ? strcmp(c->field, name) == 0
			     : is_constrained(c->group, c->ngroup, name))
			return true;
	}
	return false;
}

/* Those that are declared; then every field that none of them names. */
static json_t *constraints_json(const struct rest_type *type, enum rest_form_kind kind)
{
	json_t *array cleanup(json_free_at) = json_array();
	bool all_optional = kind == REST_FORM_SEARCH;
	size_t count = all_optional ? 0 : type->nconstraints;

	if (!array || add_constraints(type, kind, type->constraints, count, array) < 0)
		return NULL;
	for (const struct rest_field *field = type->fields; field && field->name; field++) {
		if (!form_has(field, kind) || is_constrained(type->constraints, count, field->name))
			continue;
		if (json_array_append_new(array, simple_json(field, field->mandatory &&
									    !all_optional)) < 0)
			return NULL;
	}
	return take(array);
}

json_t *rest_form(const struct rest_type *type, enum rest_form_kind kind, const char *href,
		  const char *action, const json_t *current)
{
	json_t *fields = fields_json(type, kind, current);
	json_t *constraints = constraints_json(type, kind);

	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:o, s:o}", "_type", "form", "id",
			 kinds[kind].name, "href", href, "method", kinds[kind].method, "action",
			 action, "type", type->name, "fields", fields, "constraints", constraints);
}
