/* SPDX-License-Identifier: MIT */
/* A collection is a table with a column an attribute, a resource one with a row an attribute. */
#include <stdint.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "data/json.h"
#include "rest/field.h"
#include "rest/html.h"

/* A link is followed only within the api: what an attribute says may be somebody else's words. */
static bool is_ours(const struct rest_page *page, const char *href)
{
	size_t len = page->base ? strlen(page->base) : 0;

	return len > 0 && strncmp(href, page->base, len) == 0 && href[len] == '/';
}

static void put_href(struct buf *out, const struct rest_page *page, const char *href,
		     const char *label)
{
	if (is_ours(page, href))
		html_link(out, href, label);
	else
		html_text(out, href);
}

static void put_column(struct buf *out, const char *name, bool number)
{
	buf_fmt(out, "<th scope=\"col\"%s>", number ? " class=\"number\"" : "");
	html_text(out, name);
	buf_str(out, "</th>");
}

/* A name or a time, which is not to be broken where it has a dash. */
static bool is_word(const json_t *value)
{
	const char *text = json_string_value(value);

	return text && strlen(text) < 40 && !strchr(text, ' ');
}

static void put_cell(struct buf *out, const struct rest_page *page, json_t *value, bool number)
{
	buf_str(out, number	      ? "<td class=\"number\">"
		     : is_word(value) ? "<td class=\"word\">"
				      : "<td>");
	html_value(out, page, value);
	buf_str(out, "</td>");
}

static void put_none(struct buf *out, const char *what)
{
	buf_fmt(out, "<span class=\"none\" title=\"%s\">–</span>", what);
}

static void put_list(struct buf *out, const struct rest_page *page, const json_t *array)
{
	const json_t *item;
	size_t i;

	if (json_array_size(array) == 0) {
		put_none(out, "none");
		return;
	}
	buf_str(out, "<ul>");
	json_array_foreach(array, i, item)
	{
		buf_str(out, "<li>");
		html_value(out, page, (json_t *)(uintptr_t)item);
		buf_str(out, "</li>");
	}
	buf_str(out, "</ul>");
}

/* Whether the object is nothing but a link: an object link, or one with a "rel" and maybe the type
 * that a form of it is for. */
static bool is_link(const json_t *object)
{
	bool rel = json_is_string(json_object_get(object, "rel"));
	bool type = rel && json_is_string(json_object_get(object, "type"));

	return json_object_size(object) == 1U + rel + type &&
	       json_is_string(json_object_get(object, "href"));
}

/* Whether it is a list of things with attributes, which is a table of its own. */
static bool is_records(const json_t *array)
{
	const json_t *item;
	size_t i;

	json_array_foreach(array, i, item)
	{
		if (!json_is_object(item) || is_link(item))
			return false;
	}
	return json_array_size(array) > 0;
}

/* A column for whatever any of them has. */
static void put_records(struct buf *out, const struct rest_page *page, const json_t *array)
{
	json_t *columns cleanup(json_free_at) = json_object(), *item, *value;
	const char *key;
	size_t i;

	json_array_foreach(array, i, item)
	{
		if (json_object_update_missing(columns, item) < 0)
			out->failed = true;
	}
	buf_str(out, "<div class=\"wide\"><table class=\"inner\">\n<thead><tr>");
	json_object_foreach(columns, key, value)
	{
		put_column(out, key, json_is_number(value));
	}
	buf_str(out, "</tr></thead>\n<tbody>\n");
	json_array_foreach(array, i, item)
	{
		buf_str(out, "<tr>");
		json_object_foreach(columns, key, value)
		{
			put_cell(out, page, json_object_get(item, key), json_is_number(value));
		}
		buf_str(out, "</tr>\n");
	}
	buf_str(out, "</tbody>\n</table></div>");
}

static void put_members(struct buf *out, const struct rest_page *page, json_t *object)
{
	const char *key;
	json_t *value;

	buf_str(out, "<dl>");
	json_object_foreach(object, key, value)
	{
		buf_str(out, "<dt>");
		html_text(out, key);
		buf_str(out, "</dt><dd>");
		html_value(out, page, value);
		buf_str(out, "</dd>");
	}
	buf_str(out, "</dl>");
}

static void put_number(struct buf *out, const json_t *value)
{
	char *text cleanup(free_at) = json_is_real(value) ? json_real_text(value) : NULL;

	if (json_is_integer(value))
		buf_fmt(out, "<span class=\"number\">%" JSON_INTEGER_FORMAT "</span>",
			json_integer_value(value));
	else if (text)
		buf_fmt(out, "<span class=\"number\">%s</span>", text);
	else
		out->failed = true;
}

/* "sources", "create source", "saved": the relation without its kind, and what it is for. */
static void put_link(struct buf *out, const struct rest_page *page, const json_t *link)
{
	const char *type = json_string_value(json_object_get(link, "type"));
	const char *rel = json_string_value(json_object_get(link, "rel"));
	const char *slash = rel ? strchr(rel, '/') : NULL;
	struct buf label cleanup(buf_free) = {0};

	if (rel)
		buf_fmt(&label, "%s%s%s", slash ? slash + 1 : rel, type ? " " : "",
			type ? type : "");
	put_href(out, page, json_string_value(json_object_get(link, "href")),
		 rel ? buf_text(&label) : NULL);
	out->failed |= buf_status(&label) < 0;
}

void html_value(struct buf *out, const struct rest_page *page, json_t *value)
{
	switch (value ? json_typeof(value) : JSON_NULL) {
	case JSON_NULL:
		put_none(out, "null");
		break;
	case JSON_STRING:
		html_text(out, json_string_value(value));
		break;
	case JSON_TRUE:
		buf_str(out, "<span class=\"yes\">true</span>");
		break;
	case JSON_FALSE:
		buf_str(out, "<span class=\"no\">false</span>");
		break;
	case JSON_INTEGER:
	case JSON_REAL:
		put_number(out, value);
		break;
	case JSON_ARRAY:
		if (is_records(value))
			put_records(out, page, value);
		else
			put_list(out, page, value);
		break;
	case JSON_OBJECT:
		if (is_link(value))
			put_link(out, page, value);
		else
			put_members(out, page, value);
		break;
	}
}

/* The attributes that a table of many has columns for: the brief ones, where any is. */
static bool is_column(const struct rest_type *type, const struct rest_field *field)
{
	if (strcmp(field->name, "id") == 0)
		return false;
	if (field->use & REST_BRIEF)
		return true;
	for (field = type->fields; field->name; field++)
		if (field->use & REST_BRIEF)
			return false;
	return true;
}

static void put_row(struct buf *out, const struct rest_page *page, const json_t *item)
{
	const char *href = json_string_value(json_object_get(item, "href"));
	json_t *id = json_object_get(item, "id");

	buf_str(out, "<tr><th scope=\"row\">");
	if (href && json_is_string(id))
		put_href(out, page, href, json_string_value(id));
	else
		html_value(out, page, id);
	buf_str(out, "</th>");
	for (const struct rest_field *f = page->type ? page->type->fields : NULL; f && f->name;
	     f++) {
		if (!is_column(page->type, f))
			continue;
		put_cell(out, page, field_get(item, f->name), f->kind == REST_NUMBER);
	}
	buf_str(out, "</tr>\n");
}

void html_collection(struct buf *out, const struct rest_page *page)
{
	const json_t *item;
	size_t i;

	if (json_array_size(page->value) == 0) {
		buf_str(out, "<p class=\"empty\">There are none.</p>\n");
		return;
	}
	buf_str(out, "<div class=\"wide\" tabindex=\"0\" role=\"region\" aria-label=\"Table\">"
		     "<table class=\"collection\">\n<thead><tr><th scope=\"col\">id</th>");
	for (const struct rest_field *f = page->type ? page->type->fields : NULL; f && f->name;
	     f++) {
		if (!is_column(page->type, f))
			continue;
		put_column(out, f->name, f->kind == REST_NUMBER);
	}
	buf_str(out, "</tr></thead>\n<tbody>\n");
	json_array_foreach(page->value, i, item)
	{
		put_row(out, page, item);
	}
	buf_str(out, "</tbody>\n</table></div>\n");
}

static const struct rest_field *field_of(const struct rest_type *type, const char *name)
{
	for (const struct rest_field *f = type ? type->fields : NULL; f && f->name; f++)
		if (strcmp(f->name, name) == 0)
			return f;
	return NULL;
}

static void put_attribute(struct buf *out, const struct rest_page *page, const char *key,
			  json_t *value)
{
	const struct rest_field *field = field_of(page->type, key);
	const char *help = field ? field->help : NULL;

	buf_str(out, "<tr><th scope=\"row\">");
	html_text(out, key);
	if (help) {
		buf_str(out, "<small>");
		html_text(out, help);
		buf_str(out, "</small>");
	}
	buf_str(out, "</th><td>");
	if (strcmp(key, "href") == 0 && json_is_string(value))
		put_href(out, page, json_string_value(value), json_string_value(value));
	else
		html_value(out, page, value);
	buf_str(out, "</td></tr>\n");
}

/* Why a request was refused comes first; the rest is for programs. */
static void put_alert(struct buf *out, const json_t *resource)
{
	const char *type = json_string_value(json_object_get(resource, "_type"));
	const char *reason = json_string_value(json_object_get(resource, "reason"));

	if (!type || strcmp(type, "fault") != 0 || !reason)
		return;
	buf_str(out, "<p class=\"alert\" role=\"alert\">");
	html_text(out, reason);
	buf_str(out, "</p>\n");
}

/* What can be done from here. */
static void put_links(struct buf *out, const struct rest_page *page, json_t *links)
{
	if (json_is_object(links) || json_array_size(links) == 0)
		return;
	buf_str(out, "<nav class=\"links\" aria-label=\"Links\">");
	put_list(out, page, links);
	buf_str(out, "</nav>\n");
}

/* What matters most comes first, in the declared order; then the others, as they come. */
static void put_attributes(struct buf *out, const struct rest_page *page, json_t *resource)
{
	const struct rest_field *field = page->type ? page->type->fields : NULL;
	const char *key;
	json_t *value;

	for (; field && field->name; field++)
		if ((field->use & REST_BRIEF) && (value = field_get(resource, field->name)))
			put_attribute(out, page, field->name, value);
	json_object_foreach(resource, key, value)
	{
		field = field_of(page->type, key);
		if (!(field && (field->use & REST_BRIEF)) && strcmp(key, "_type") != 0 &&
		    strcmp(key, "link") != 0)
			put_attribute(out, page, key, value);
	}
}

void html_resource(struct buf *out, const struct rest_page *page, json_t *resource)
{
	put_alert(out, resource);
	put_links(out, page, json_object_get(resource, "link"));
	buf_str(out, "<table class=\"resource\">\n<tbody>\n");
	put_attributes(out, page, resource);
	buf_str(out, "</tbody>\n</table>\n");
}
