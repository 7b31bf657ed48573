/* SPDX-License-Identifier: MIT */
/* A model is checked once, when the api is made, so that no request can meet a wrong one. */
#include <errno.h>
#include <regex.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "data/json.h"
#include "rest/field.h"
#include "rest/work.h"

/* A name that can stand in a URL and be an XML element: a letter, then letters, digits, - and _.
 * dots: also in dotted notation. */
static bool is_name(const char *name, bool dots)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
	static const char more[] = "0123456789-_";
	const char *dot = dots ? strchr(name, '.') : NULL;
	size_t len = dot ? (size_t)(dot - name) : strlen(name);

	if (!*name || !strchr(letters, *name))
		return false;
	for (size_t i = 0; i < len; i++) {
		if (!strchr(letters, name[i]) && !strchr(more, name[i]))
			return false;
	}
	return !dot || is_name(dot + 1, true);
}

static bool is_kind(const json_t *value, enum rest_kind kind)
{
	switch (kind) {
	case REST_STRING:
		return json_is_string(value);
	case REST_NUMBER:
		return json_is_number(value);
	case REST_BOOLEAN:
		return json_is_boolean(value);
	case REST_LINK:
		return json_is_string(json_object_get(value, "href"));
	case REST_OBJECT:
		break;
	}
	return true;
}

/* A default or a sample: JSON of the field's kind, or null. */
static int check_json(const struct rest_field *field, const char *text, const char *what,
		      struct err *e)
{
	json_t *value cleanup(json_free_at) = NULL;
	json_t *item;
	size_t i;

	if (!text)
		return 0;
	if (json_read(text, strlen(text), what, &value, e) < 0)
		return err_where(e, "the attribute %s", field->name);
	if (json_is_null(value))
		return 0;
	if (field->multiple != json_is_array(value) && field->kind != REST_OBJECT)
		return err_set(e, -EINVAL, "the attribute %s: its %s must %sbe an array",
			       field->name, what, field->multiple ? "" : "not ");
	json_array_foreach(value, i, item)
	{
		if (!is_kind(item, field->kind))
			return err_set(e, -EINVAL, "the attribute %s: its %s is of another kind",
				       field->name, what);
	}
	if (!field->multiple && !is_kind(value, field->kind))
		return err_set(e, -EINVAL, "the attribute %s: its %s is of another kind",
			       field->name, what);
	return 0;
}

static int check_regex(const struct rest_field *field, struct err *e)
{
	char why[128];
	regex_t compiled;
	int r;

	if (!field->regex)
		return 0;
	r = regcomp(&compiled, field->regex, REG_EXTENDED | REG_NOSUB);
	if (r != 0) {
		(void)regerror(r, &compiled, why, sizeof(why));
		return err_set(e, -EINVAL, "the attribute %s: its regular expression: %s",
			       field->name, why);
	}
	regfree(&compiled);
	return 0;
}

static bool is_reserved(const char *name)
{
	return strcmp(name, "href") == 0 || strcmp(name, "link") == 0;
}

static int check_field(const struct rest_field *field, struct err *e)
{
	if (!is_name(field->name, true) || is_reserved(field->name))
		return err_set(e, -EINVAL, "\"%s\" can't be an attribute's name", field->name);
	if ((field->has_limits && field->min > field->max) ||
	    (field->maxlen && field->minlen > field->maxlen))
		return err_set(e, -EINVAL, "the attribute %s: its limits exclude every value",
			       field->name);
	if (check_json(field, field->fallback, "default", e) < 0 ||
	    check_json(field, field->sample, "sample", e) < 0)
		return e->code;
	return check_regex(field, e);
}

static bool has_field(const struct rest_type *type, const char *name)
{
	for (const struct rest_field *field = type->fields; field->name; field++) {
		if (strcmp(field->name, name) == 0)
			return true;
	}
	return false;
}

static int check_constraints(const struct rest_type *type, const struct rest_constraint *constraint,
			     size_t count, struct err *e)
{
	for (; count > 0; count--, constraint++) {
		if (constraint->field && !has_field(type, constraint->field))
			return err_set(e, -EINVAL,
				       "a constraint names the attribute %s, "
				       "which is not declared",
				       constraint->field);
		if (!constraint->field &&
		    check_constraints(type, constraint->group, constraint->ngroup, e) < 0)
			return e->code;
	}
	return 0;
}

static int check_variants(const struct rest_type *type, struct err *e)
{
	static const enum rest_form_kind forms[] = {REST_FORM_CREATE, REST_FORM_UPDATE,
						    REST_FORM_DELETE, REST_FORM_SEARCH};

	for (const char *const *v = type->variants; v && *v; v++) {
		bool wrong = !is_name(*v, false);

		for (size_t i = 0; i < COUNT(forms); i++)
			wrong |= strcmp(*v, rest_form_name(forms[i])) == 0;
		if (wrong)
			return err_set(e, -EINVAL, "\"%s\" can't be a variant's name", *v);
	}
	return 0;
}

static int check_type(const struct rest_type *type, struct err *e)
{
	if (!is_name(type->name, false) || (type->plural && !is_name(type->plural, false)))
		return err_set(e, -EINVAL,
			       "a type's name must be a letter, then letters, digits, "
			       "- and _");
	if (!type->ops || !type->fields)
		return err_set(e, -EINVAL, "it has no operations or no attributes");
	if ((type->ops->replace || type->ops->remove) && !type->ops->get)
		return err_set(e, -EINVAL, "what can be changed must be there to be looked at");
	for (const struct rest_field *field = type->fields; field->name; field++) {
		if (check_field(field, e) < 0)
			return e->code;
	}
	if (check_constraints(type, type->constraints, type->nconstraints, e) < 0)
		return e->code;
	return check_variants(type, e);
}

/* Those of one level: each right, and no two with one name. */
static int check_types(const struct rest_type *const *types, bool top, struct err *e)
{
	for (const struct rest_type *const *at = types; at && *at; at++) {
		if (!(*at)->plural || (top && strcmp((*at)->plural, job_type.plural) == 0))
			return err_set(e, -EINVAL, "the type %s: its plural is missing, or taken",
				       (*at)->name);
		for (const struct rest_type *const *other = types; other != at; other++) {
			if (strcmp((*at)->plural, (*other)->plural) == 0)
				return err_set(e, -EINVAL, "the type %s: its plural is taken",
					       (*at)->name);
		}
		if (check_type(*at, e) < 0)
			return err_where(e, "the type %s", (*at)->name);
		if (!top && (*at)->subs)
			return err_set(e, -EINVAL,
				       "the type %s: a sub-collection can't have any "
				       "of its own",
				       (*at)->name);
		if (top && check_types((*at)->subs, false, e) < 0)
			return e->code;
	}
	return 0;
}

int model_check(const struct rest_model *model, struct err *e)
{
	if (!model->entry || model->entry->plural || !model->types)
		return err_set(e, -EINVAL, "a model needs an entry, without a plural, and types");
	if (check_type(model->entry, e) < 0)
		return err_where(e, "the type %s", model->entry->name);
	return check_types(model->types, true, e);
}

/* The placeholder of a type: each attribute's sample. */
static int make_sample(const struct rest_type *type, json_t **sample, struct err *e)
{
	json_t *made cleanup(json_free_at) = json_object();

	if (json_object_set_new(made, "id", json_string(ROUTE_PLACEHOLDER)) < 0)
		return err_set(e, -ENOMEM, "out of memory");
	for (const struct rest_field *field = type->fields; field->name; field++) {
		const char *text = field->sample ? field->sample : "null";
		json_t *value = NULL;

		if (strcmp(field->name, "id") == 0)
			continue;
		if (json_read(text, strlen(text), "sample", &value, e) < 0)
			return e->code;
		errno = 0;
		if (field_set(made, field->name, value) < 0)
			return errno == ENOMEM
				       ? err_set(e, -ENOMEM, "out of memory")
				       : err_set(e, -EINVAL,
						 "the attribute %s: its name goes through another "
						 "one that is no object",
						 field->name);
	}
	*sample = take(made);
	return 0;
}

int model_facts(struct rest_api *api, const struct rest_type *type, void *context, struct err *e)
{
	struct facts facts = {.type = type, .context = context};

	for (size_t i = 0; i < api->nfacts; i++) {
		if (api->facts[i].type == type)
			return 0;
	}
	facts.searchable = type->ops->list && route_searchable(type);
	for (const struct rest_field *field = type->fields; field->name; field++)
		facts.live |= (field->use & REST_LIVE) != 0;
	if (make_sample(type, &facts.sample, e) < 0)
		return err_where(e, "the type %s", type->name);
	if (array_room(&api->facts, &api->facts_room, api->nfacts, sizeof(facts)) < 0) {
		json_decref(facts.sample);
		return err_set(e, -ENOMEM, "out of memory");
	}
	api->facts[api->nfacts++] = facts;
	for (const struct rest_type *const *sub = type->subs; sub && *sub; sub++) {
		if (model_facts(api, *sub, context, e) < 0)
			return e->code;
	}
	return 0;
}
