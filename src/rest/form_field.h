/* SPDX-License-Identifier: MIT */
/* The declared attributes as the forms see them. Private to the forms. */
#ifndef REST_FORM_FIELD_H
#define REST_FORM_FIELD_H

#include "rest/form.h"

/* Whether the attribute is a field of the form. */
bool form_has(const struct rest_field *field, enum rest_form_kind kind);

/* The attribute of that name; NULL: there is none. */
const struct rest_field *form_declared(const struct rest_type *type, const char *name);

/* What the attribute is called in forms: an object link is given by its "href". Returns name. */
#define FORM_NAME_MAX 128
const char *form_field_name(const struct rest_field *field, char name[FORM_NAME_MAX]);

/* A new number, an integer where it is whole. */
json_t *form_number(double value);

/* A new value, null where none is declared. */
json_t *form_default(const struct rest_field *field);

#endif
