/* SPDX-License-Identifier: MIT */
/*
 * Forms: what a client may send. The form that is shown and the check of what comes in are made
 * from the same definition. Pure.
 */
#ifndef REST_FORM_H
#define REST_FORM_H

#include <jansson.h>
#include <stdbool.h>

#include "rest/model.h"

enum rest_form_kind { REST_FORM_CREATE, REST_FORM_UPDATE, REST_FORM_DELETE, REST_FORM_SEARCH };
const char *rest_form_name(enum rest_form_kind kind); /* "create", … */

/*
 * The form resource: _type "form", method, action, type, fields (name, type, multiple, min, max,
 * minlen, maxlen, regex, choices, value, help) and constraints. current: what it shows as values,
 * the resource that is to be changed or what was typed; NULL: the defaults. NULL: out of memory.
 */
json_t *rest_form(const struct rest_type *type, enum rest_form_kind kind, const char *href,
		  const char *action, const json_t *current);

/*
 * Checks the input against the form, in the order of the essay: values, then presence, constraint
 * by constraint, then whether a constraint named every field that is there. Reserved attributes
 * (_type, id, href, link) and those that are only shown may be there and are left out, if they are
 * right: _type must be the type's name. In a search only that may: the rest would find all. text:
 * the values are strings (a form body, a query), to be read as what the field is; "" is null.
 * *checked: a new object with every field of the form, defaults filled in for those absent.
 */
int rest_form_check(const struct rest_type *type, enum rest_form_kind kind, const json_t *input,
		    bool text, json_t **checked, struct rest_fault *fault);

/*
 * Both forms of PATCH: a partial object (null resets to the default), or a list of changes, made
 * one after the other:
 *	{"path": "from", "change": "add", "value": V}	    appends; a single value is set
 *	{"path": "from[1]", "change": "add", "value": V}    inserts before the second
 *	{"path": "from", "change": "remove", "value": V}    the one that equals V
 *	{"path": "from[1]", "change": "remove"}
 *	{"path": "filter", "change": "remove"}		    resets to the default
 *	{"path": "filter", "change": "change", "value": V}  also of "from[1]" and of "from"
 * A path is written as faults name fields. *whole: the resource with the changes, to be checked by
 * the update form. What that form hasn't can't be changed: refused, unless it is as it was.
 */
int rest_patch(const struct rest_type *type, const json_t *resource, const json_t *patch,
	       json_t **whole, struct rest_fault *fault);

/* PUT of a resource: refuses input that has another value than the resource for something that
 * can't be changed. What changes by itself (REST_LIVE), links and objects are not compared. */
int rest_form_fixed(const struct rest_type *type, const json_t *resource, const json_t *input,
		    struct rest_fault *fault);

#endif
