/* SPDX-License-Identifier: MIT */
/*
 * The representations: JSON, YAML and XML both ways, HTML and form bodies one way each. Pure.
 */
#ifndef REST_REPRESENT_H
#define REST_REPRESENT_H

#include <jansson.h>
#include <stddef.h>

#include "rest/model.h"

struct buf;
struct err;

enum rest_format {
	REST_JSON,
	REST_YAML,
	REST_XML,
	REST_HTML,
	REST_FORM_BODY, /* application/x-www-form-urlencoded: only read */
};
enum rest_shape { REST_RESOURCE, REST_COLLECTION, REST_FORM };

/* "application/x-resource+json", …; faults are resources. Static. */
const char *rest_content_type(enum rest_format format, enum rest_shape shape);

/*
 * The format of a Content-Type header (parameters are ignored but for a charset other than UTF-8
 * or US-ASCII, which is not taken). -EPROTONOSUPPORT: none of ours (415).
 */
int rest_format_of(const char *content_type, enum rest_format *format);

/*
 * The format that an Accept header asks for, by q-values, then by how exact it is, then by our
 * order (JSON first, also where everything is acceptable). RFC 9110, 12.5.1. -EPROTONOSUPPORT: none
 * of ours (406). The short names (application/json, …) are as good as the long ones.
 */
int rest_negotiate(const char *accept, enum rest_shape shape, enum rest_format *format);

/* A thing to be shown, with all that the HTML needs around it. Borrowed. */
struct rest_page {
	enum rest_shape shape;
	const json_t *value;		/* an array for a collection */
	const struct rest_type *type;	/* whose attributes it has; NULL: not declared (a fault) */
	const struct rest_model *model; /* of the application; NULL: none */
	const char *base;		/* "http://localhost" */
	const char *const *crumbs;	/* URL paths from /api to here, ncrumbs of them */
	size_t ncrumbs;
	const json_t *forms; /* form resources to be shown as real forms below; NULL: none */
	const char *form_token;
};

/* The Content-Security-Policy that the pages work under: nothing is fetched, no script runs, and no
 * style but the one that they bring. */
extern const char rest_html_policy[];

int rest_represent(const struct rest_page *page, enum rest_format format, struct buf *out,
		   struct err *e);

/*
 * Reads a body. The result is what JSON would have had: a form body's dotted names become objects,
 * repeated ones arrays; what they hold is made numbers and booleans by rest_form_check(). A body
 * that is no UTF-8, too deep, too large, or wrong in its syntax is refused with a sentence that
 * says where.
 */
#define REST_DEPTH_MAX	16
#define REST_VALUES_MAX 10000
int rest_read(const char *body, size_t len, enum rest_format format, json_t **value, struct err *e);

#endif
