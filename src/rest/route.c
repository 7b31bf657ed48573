/* SPDX-License-Identifier: MIT */
#include "rest/route.h"

#include <stdint.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "data/text.h"

void route_segment(struct buf *b, const char *text)
{
	for (const unsigned char *at = (const unsigned char *)text; *at; at++) {
		if ((*at >= '0' && *at <= '9') || (*at >= 'A' && *at <= 'Z') ||
		    (*at >= 'a' && *at <= 'z') || strchr("-._~!$&'()*+,=:@", *at))
			buf_char(b, (char)*at);
		else
			buf_fmt(b, "%%%02X", *at);
	}
}

static int hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)(c | 0x20);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool route_is_segment(const char *segment, const char *text)
{
	for (; *segment && *text; segment++, text++) {
		int c = (unsigned char)*segment;
		int high = c == '%' ? hex(segment[1]) : -1, low = high < 0 ? -1 : hex(segment[2]);

		if (low >= 0) {
			c = high << 4 | low;
			segment += 2;
		}
		if (c != (unsigned char)*text)
			return false;
	}
	return *segment == *text;
}

static bool is_utf8(const char *text, size_t left)
{
	while (left > 0) {
		uint32_t code;
		size_t bytes = text_char(text, left, &code);

		if (bytes == 0)
			return false;
		text += bytes;
		left -= bytes;
	}
	return true;
}

/* Decodes percent-encoding in place. False: it is wrong, or hides a NUL, or what comes out is no
 * UTF-8. */
static bool decode(char *text)
{
	char *to = text;

	for (const char *at = text; *at; at++) {
		if (*at == '%') {
			int high = hex(at[1]), low = high < 0 ? -1 : hex(at[2]);

			if (low < 0 || high + low == 0)
				return false;
			*to++ = (char)(high << 4 | low);
			at += 2;
		} else {
			*to++ = *at;
		}
	}
	*to = '\0';
	return is_utf8(text, (size_t)(to - text));
}

static const struct rest_type *find_type(const struct rest_type *const *types, const char *plural)
{
	for (; types && *types; types++) {
		if (strcmp((*types)->plural, plural) == 0)
			return *types;
	}
	return NULL;
}

bool route_searchable(const struct rest_type *type)
{
	for (const struct rest_field *field = type->fields; field->name; field++) {
		if (field->use & REST_SEARCH)
			return true;
	}
	return false;
}

/* Only those that the operations of the type make useful: a form never leads to a 405. */
static bool find_form(struct route *route, const char *name)
{
	const struct rest_ops *ops = route->type->ops;
	bool collection = route_is_collection(route);

	if (strcmp(name, rest_form_name(REST_FORM_CREATE)) == 0 && collection && ops->create)
		route->form = REST_FORM_CREATE;
	else if (strcmp(name, rest_form_name(REST_FORM_SEARCH)) == 0 && collection && ops->list &&
		 route_searchable(route->type))
		route->form = REST_FORM_SEARCH;
	else if (strcmp(name, rest_form_name(REST_FORM_UPDATE)) == 0 && !collection && ops->replace)
		route->form = REST_FORM_UPDATE;
	else if (strcmp(name, rest_form_name(REST_FORM_DELETE)) == 0 && !collection && ops->remove)
		route->form = REST_FORM_DELETE;
	else
		return false;
	route->is_form = true;
	return true;
}

static int no_such(struct rest_fault *fault, const char *what, const char *name)
{
	char shown[TEXT_SHOWN];

	return rest_refuse(fault, 404, "not-found", NULL,
			   "there is no %s \"%s\" here: follow the links from /api", what,
			   text_shown(shown, name));
}

static int set_variant(struct route *route, const char *name, struct rest_fault *fault)
{
	if (find_form(route, name))
		return 0;
	for (const char *const *v = route->type->variants; route->id && v && *v; v++) {
		if (strcmp(*v, name) == 0) {
			route->variant = name;
			return 0;
		}
	}
	return no_such(fault, "variant or form", name);
}

/* The path's segments behind /api, decoded, and what stands behind the ';' of the last one. */
struct segments {
	const char *at[4];
	size_t count;
	const char *variant;
};

static int split(char *path, struct segments *segments, struct rest_fault *fault)
{
	char *rest = path, *segment;

	while ((segment = strsep(&rest, "/"))) {
		char *semicolon = strchr(segment, ';');

		if (semicolon) {
			*semicolon = '\0';
			if (rest)
				return rest_refuse(fault, 404, "not-found", NULL,
						   "only the last part of a URL has variants");
			segments->variant = semicolon + 1;
			if (!decode(semicolon + 1))
				goto undecodable;
		}
		if (!decode(segment))
			goto undecodable;
		if (*segment == '\0' || segments->count == COUNT(segments->at))
			return rest_refuse(fault, 404, "not-found", NULL,
					   "a URL is /api/COLLECTION/ID/COLLECTION/ID at the most, "
					   "with no part empty");
		segments->at[segments->count++] = segment;
	}
	return 0;
undecodable:
	return rest_refuse(fault, 400, "bad-target", NULL,
			   "the path must be UTF-8, percent-encoded: %%XX with two hexadecimal "
			   "digits, and no %%00");
}

static int find(const struct segments *s, const struct rest_type *entry,
		const struct rest_type *const *types, struct route *route, struct rest_fault *fault)
{
	route->type = entry;
	if (s->count > 0) {
		route->type = find_type(types, s->at[0]);
		if (!route->type)
			return no_such(fault, "collection", s->at[0]);
	}
	if (s->count > 1)
		route->id = s->at[1];
	if (s->count > 2) {
		route->above = route->type;
		route->parent = take(route->id);
		route->type = find_type(route->above->subs, s->at[2]);
		if (!route->type)
			return no_such(fault, "collection", s->at[2]);
	}
	if (s->count > 3)
		route->id = s->at[3];
	return s->variant ? set_variant(route, s->variant, fault) : 0;
}

int route_parse(const char *target, const struct rest_type *entry,
		const struct rest_type *const *types, struct route *route, struct rest_fault *fault)
{
	static const char top[] = "/api";
	struct segments segments = {0};
	size_t len = strcspn(target, "?");
	char *path = route->text;

	if (len >= sizeof(route->text))
		return rest_refuse(fault, 414, "target-too-long", NULL,
				   "a path has at most %zu bytes", sizeof(route->text) - 1);
	memcpy(path, target, len);
	path[len] = '\0';
	if (target[len] == '?')
		route->query = target + len + 1;
	if (*path != '/')
		return rest_refuse(fault, 400, "bad-target", NULL,
				   "the target of a request must be a path that starts with /");
	if (strncmp(path, top, strlen(top)) != 0 || !strchr("/;", path[strlen(top)]))
		return no_such(fault, "path", path);
	path += strlen(top);
	if (*path == ';') /* of the entry itself */
		segments.variant = path + 1;
	/* One slash too many at the end is what people type. */
	if (len > strlen(top) && route->text[len - 1] == '/')
		route->text[len - 1] = '\0';
	if (*path == '/' && split(path + 1, &segments, fault) < 0)
		return -1;
	return find(&segments, entry, types, route, fault);
}

bool route_is_collection(const struct route *route)
{
	return route->type->plural && !route->id;
}

bool route_is_placeholder(const struct route *route)
{
	return (route->id && strcmp(route->id, ROUTE_PLACEHOLDER) == 0) ||
	       (route->parent && strcmp(route->parent, ROUTE_PLACEHOLDER) == 0);
}

void route_collection_url(struct buf *b, const char *base, const struct route *route)
{
	buf_str(b, base);
	buf_str(b, "/api");
	if (route->above) {
		buf_char(b, '/');
		buf_str(b, route->above->plural);
		buf_char(b, '/');
		route_segment(b, route->parent);
	}
	if (route->type->plural) {
		buf_char(b, '/');
		buf_str(b, route->type->plural);
	}
}

void route_resource_url(struct buf *b, const char *base, const struct route *route, const char *id)
{
	route_collection_url(b, base, route);
	if (id) {
		buf_char(b, '/');
		route_segment(b, id);
	}
}
