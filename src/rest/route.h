/* SPDX-License-Identifier: MIT */
/* What a URL names, and the URLs of what there is. Private to the api. */
#ifndef REST_ROUTE_H
#define REST_ROUTE_H

#include <stdbool.h>

#include "rest/form.h"
#include "rest/model.h"

struct buf;

/* Appends a path segment: what RFC 3986 (3.3) lets stand, but for ';', which starts a variant. */
void route_segment(struct buf *b, const char *text);
/* Whether the segment of a URL, decoded, is the text. */
bool route_is_segment(const char *segment, const char *text);

/* The id of the fake resource that every collection has, so that a client can learn the shape. */
#define ROUTE_PLACEHOLDER "_"

#define ROUTE_MAX 1024 /* bytes of a path */

/*
 * /api, /api/COLLECTION/ID and /api/COLLECTION/ID/SUB/SUBID, or only the collection. Behind ';' in
 * the last segment: a variant of the type, or a form, which is a resource with a URL of its own.
 */
struct route {
	const struct rest_type *type;  /* of the resource, or of those of the collection */
	const struct rest_type *above; /* of what the collection belongs to; NULL: the entry */
	const char *parent, *id;       /* NULL: none */
	const char *variant;	       /* NULL: none, or a form */
	bool is_form;
	enum rest_form_kind form;
	const char *query;    /* as sent; NULL: none. Borrowed from the target */
	char text[ROUTE_MAX]; /* what the others point into */
};

/* types: those at the top, ends with NULL. -1 and the fault: 400, 404 or 414. */
int route_parse(const char *target, const struct rest_type *entry,
		const struct rest_type *const *types, struct route *route,
		struct rest_fault *fault);

/* Whether the type has an attribute to search by. */
bool route_searchable(const struct rest_type *type);

bool route_is_collection(const struct route *route);
/* True where the resource, or the one that the collection belongs to, is a placeholder. */
bool route_is_placeholder(const struct route *route);

/* Appends the URL of the collection (of the entry, where the type is it), or of the resource that
 * the route names; without the variant. */
void route_collection_url(struct buf *b, const char *base, const struct route *route);
void route_resource_url(struct buf *b, const char *base, const struct route *route, const char *id);

#endif
