/* SPDX-License-Identifier: MIT */
/* The value constraints of a form's fields. Private to the forms. */
#ifndef REST_FORM_VALUE_H
#define REST_FORM_VALUE_H

#include <jansson.h>
#include <stdbool.h>

#include "rest/model.h"

/*
 * Checks the value given for a field of a form resource, and makes of it what the field is: *made
 * is a new value, or NULL where the given one is as good as null. text: see rest_form_check().
 */
int form_check_value(const json_t *field, const json_t *given, bool text, json_t **made,
		     struct rest_fault *fault);

#endif
