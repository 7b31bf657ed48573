/* SPDX-License-Identifier: MIT */
/* Which representation, and the ones that are made of the value alone. */
#include "rest/represent.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "data/xml.h"
#include "data/yaml.h"
#include "rest/html.h"

#define SHAPES 3 /* of enum rest_shape */

/* The formats that are written, in our order; the last column is the short name. */
static const char *const content_types[][SHAPES + 1] = {
	[REST_JSON] = {"application/x-resource+json", "application/x-collection+json",
		       "application/x-form+json", "application/json"},
	[REST_YAML] = {"application/x-resource+yaml", "application/x-collection+yaml",
		       "application/x-form+yaml", "application/yaml"},
	[REST_XML] = {"application/x-resource+xml", "application/x-collection+xml",
		      "application/x-form+xml", "application/xml"},
	[REST_HTML] = {"text/html", "text/html", "text/html", "text/html"},
};
static const char form_type[] = "application/x-www-form-urlencoded";

const char *rest_content_type(enum rest_format format, enum rest_shape shape)
{
	if (format == REST_HTML)
		return "text/html; charset=utf-8";
	return format == REST_FORM_BODY ? form_type : content_types[format][shape];
}

/* A part of a header, not ended by a NUL. */
struct part {
	const char *text;
	size_t len;
};

static bool part_is(const struct part *part, const char *text)
{
	return strlen(text) == part->len && strncasecmp(text, part->text, part->len) == 0;
}

/* Takes what stands before any of the delimiters, without the blanks around it. */
static struct part take_part(const char **at, const char *delimiters)
{
	struct part part;

	*at += strspn(*at, " \t");
	part = (struct part){*at, strcspn(*at, delimiters)};
	*at += part.len;
	while (part.len > 0 && strchr(" \t", part.text[part.len - 1]))
		part.len--;
	return part;
}

/* A quoted string (RFC 9110, 5.6.4), without its quotes; escapes stay. */
static struct part take_quoted(const char **at)
{
	struct part part = {++*at, 0};

	while (**at && **at != '"') {
		*at += **at == '\\' && (*at)[1];
		++*at;
	}
	part.len = (size_t)(*at - part.text);
	*at += **at == '"';
	return part;
}

/* Takes the next ";NAME=VALUE" (RFC 9110, 5.6.6). False: there is none. */
static bool take_parameter(const char **at, struct part *name, struct part *value)
{
	*at += strspn(*at, " \t");
	if (**at != ';')
		return false;
	++*at;
	*name = take_part(at, "=;,");
	*value = (struct part){*at, 0};
	if (**at != '=')
		return true;
	++*at;
	*value = **at == '"' ? take_quoted(at) : take_part(at, ";,");
	return true;
}

int rest_format_of(const char *content_type, enum rest_format *format)
{
	struct part type, name, value;
	bool found = false;

	if (!content_type)
		return -EPROTONOSUPPORT;
	type = take_part(&content_type, ";,");
	while (take_parameter(&content_type, &name, &value))
		if (part_is(&name, "charset") && !part_is(&value, "utf-8") &&
		    !part_is(&value, "us-ascii"))
			return -EPROTONOSUPPORT;
	if (part_is(&type, form_type)) {
		*format = REST_FORM_BODY;
		return 0;
	}
	for (enum rest_format f = REST_JSON; f < REST_HTML && !found; f++) {
		for (size_t i = 0; i < COUNT(content_types[f]) && !found; i++)
			found = part_is(&type, content_types[f][i]);
		if (found)
			*format = f;
	}
	return found ? 0 : -EPROTONOSUPPORT;
}

/* A weight in thousandths (RFC 9110, 12.4.2); negative: it is none. */
static int weight_of(const struct part *value)
{
	int weight = 0;

	if (value->len == 0 || value->len > 5 || (value->text[0] != '0' && value->text[0] != '1') ||
	    (value->len > 1 && value->text[1] != '.'))
		return -1;
	for (size_t i = 0; i < 5; i++) {
		int digit = i < value->len ? value->text[i] - '0' : 0;

		if (i == 1)
			continue;
		if (digit < 0 || digit > 9)
			return -1;
		weight = weight * 10 + digit;
	}
	return weight > 1000 ? -1 : weight;
}

struct range {
	struct part type;
	int weight; /* negative: the range is malformed, and asks for nothing */
};

/* Takes the next media range of an Accept header. False: there is none. */
static bool take_range(const char **at, struct range *range)
{
	struct part name, value;

	*at += strspn(*at, " \t,");
	if (!**at)
		return false;
	*range = (struct range){take_part(at, ";,"), 1000};
	while (take_parameter(at, &name, &value))
		if (part_is(&name, "q"))
			range->weight = weight_of(&value);
	*at += strcspn(*at, ","); /* what stands behind a quoted string */
	return true;
}

/* How exactly the range names the format: 3 as such, 2 "application/ *", 1 everything, 0 not. */
static int exactness(const struct part *range, enum rest_format format, enum rest_shape shape)
{
	if (part_is(range, content_types[format][shape]) ||
	    part_is(range, content_types[format][SHAPES]))
		return 3;
	if (part_is(range, format == REST_HTML ? "text/*" : "application/*"))
		return 2;
	return part_is(range, "*/*");
}

/* Where one format stands: the most exact range that names it has its weight. */
struct rank {
	int weight, exact;
};

static void rank_formats(const char *accept, enum rest_shape shape, struct rank *ranks)
{
	struct range range;

	while (take_range(&accept, &range)) {
		for (enum rest_format f = REST_JSON; f <= REST_HTML; f++) {
			int exact = range.weight < 0 ? 0 : exactness(&range.type, f, shape);
			struct rank *rank = &ranks[f];

			if (exact > 0 && (exact > rank->exact ||
					  (exact == rank->exact && range.weight > rank->weight)))
				*rank = (struct rank){range.weight, exact};
		}
	}
}

int rest_negotiate(const char *accept, enum rest_shape shape, enum rest_format *format)
{
	struct rank ranks[COUNT(content_types)] = {0};
	struct rank best = {0};

	if (!accept || accept[strspn(accept, " \t")] == '\0')
		accept = "*/*";
	rank_formats(accept, shape, ranks);
	for (enum rest_format f = REST_JSON; f <= REST_HTML; f++) {
		const struct rank *rank = &ranks[f];

		if (rank->weight > best.weight ||
		    (rank->weight > 0 && rank->weight == best.weight && rank->exact > best.exact)) {
			best = *rank;
			*format = f;
		}
	}
	return best.weight > 0 ? 0 : -EPROTONOSUPPORT;
}

static int add_json(const char *bytes, size_t len, void *data)
{
	buf_add(data, bytes, len);
	return 0;
}

static int write_json(const json_t *value, struct buf *out, struct err *e)
{
	/* 15 digits are what a double holds of any decimal. */
	size_t flags = JSON_INDENT(2) | JSON_ENCODE_ANY | JSON_REAL_PRECISION(15);
	int ret = json_dump_callback(value, add_json, out, flags);

	buf_char(out, '\n');
	return ret < 0 || buf_status(out) < 0 ? err_set(e, -ENOMEM, "out of memory") : 0;
}

int rest_represent(const struct rest_page *page, enum rest_format format, struct buf *out,
		   struct err *e)
{
	const char *root = page->type ? page->type->name : "value";

	switch (format) {
	case REST_JSON:
		return write_json(page->value, out, e);
	case REST_YAML:
		return yaml_write(page->value, out, e);
	case REST_XML:
		if (page->shape == REST_COLLECTION)
			root = page->type && page->type->plural ? page->type->plural : "values";
		return xml_write(page->value, root, out, e);
	case REST_HTML:
		return rest_html(page, out, e);
	case REST_FORM_BODY:
		break;
	}
	return err_set(e, -EINVAL, "a form body is only read");
}
