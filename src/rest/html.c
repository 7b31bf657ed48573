/* SPDX-License-Identifier: MIT */
/*
 * The frame of every page: where one is, what it is, and the forms below it. What is written is
 * HTML that is well-formed XML too, so that a strict parser can check it.
 */
#include "rest/html.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "data/text.h"
#include "rest/work.h"

/* The characters that a page must not hold are shown as a message would show them. */
static void put_control(struct buf *out, const char *text, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++)
		buf_fmt(out, "\\x%02x", (unsigned char)text[i]);
}

static bool is_control(uint32_t code)
{
	return (code < 0x20 && code != '\n' && code != '\t') || (code >= 0x7f && code < 0xa0) ||
	       code == 0xfffe || code == 0xffff;
}

void html_text(struct buf *out, const char *text)
{
	size_t left = strlen(text);

	while (left > 0) {
		uint32_t code = 0;
		size_t bytes = text_char(text, left, &code);

		if (bytes == 1 && strncmp(text, "\r\n", 2) == 0)
			; /* as a form sends the ends of lines; a parser would drop it, too */
		else if (bytes == 0 || is_control(code))
			put_control(out, text, bytes ? bytes : (bytes = 1));
		else if (code == '&')
			buf_str(out, "&amp;");
		else if (code == '<')
			buf_str(out, "&lt;");
		else if (code == '>')
			buf_str(out, "&gt;");
		else if (code == '"')
			buf_str(out, "&quot;");
		else if (code == '\'')
			buf_str(out, "&#39;");
		else
			buf_add(out, text, bytes);
		text += bytes;
		left -= bytes;
	}
}

static int hex(char c)
{
	static const char digits[] = "0123456789abcdef0123456789ABCDEF";
	const char *at = c ? strchr(digits, c) : NULL;

	return at ? (int)((at - digits) % 16) : -1;
}

/* The last segment of a URL, decoded where that gives text. */
static char *last_segment(const char *url)
{
	const char *slash = strrchr(url, '/');
	char *segment = strdup(slash ? slash + 1 : url), *to = segment;
	uint32_t code;

	if (!segment)
		return NULL;
	for (const char *at = segment; *at; at++) {
		int high = *at == '%' ? hex(at[1]) : -1, low = high < 0 ? -1 : hex(at[2]);

		if (low < 0) {
			*to++ = *at;
			continue;
		}
		*to++ = (char)(high * 16 + low);
		at += 2;
	}
	*to = '\0';
	for (size_t left = (size_t)(to - segment), at = 0, bytes; left > 0; left -= bytes) {
		bytes = text_char(segment + at, left, &code);
		if (bytes == 0) {
			free(segment);
			return strdup(slash ? slash + 1 : url);
		}
		at += bytes;
	}
	return segment;
}

static void put_segment(struct buf *out, const char *url)
{
	char *segment cleanup(free_at) = last_segment(url);

	if (segment)
		html_text(out, segment);
	else
		out->failed = true;
}

void html_link(struct buf *out, const char *href, const char *label)
{
	buf_str(out, "<a href=\"");
	html_text(out, href);
	buf_str(out, "\">");
	if (label)
		html_text(out, label);
	else
		put_segment(out, href);
	buf_str(out, "</a>");
}

static const char *string_of(const json_t *value, const char *key)
{
	return json_string_value(json_object_get(value, key));
}

/* "mirrors", "mirror ids", "404 Not Found". */
static void put_heading(struct buf *out, const struct rest_page *page)
{
	const char *type = string_of(page->value, "_type"), *id = string_of(page->value, "id");
	json_int_t status = json_integer_value(json_object_get(page->value, "status"));

	if (page->shape == REST_COLLECTION) {
		buf_str(out, page->type && page->type->plural ? page->type->plural : "list");
		return;
	}
	if (!page->type && status > 0) {
		buf_fmt(out, "%u %s", (unsigned)status, say_phrase((unsigned)status));
		return;
	}
	if (page->shape == REST_FORM)
		type = string_of(page->value, "type");
	else if (page->type)
		type = page->type->name;
	buf_str(out, type ? type : "resource");
	if (id) {
		buf_char(out, ' ');
		buf_str(out, id);
	}
}

static void put_item(struct buf *out, const char *base, const char *path, const char *label,
		     bool current)
{
	buf_fmt(out, "<li><a%s href=\"", current ? " aria-current=\"true\"" : "");
	html_text(out, base);
	html_text(out, path);
	buf_str(out, "\">");
	html_text(out, label);
	buf_str(out, "</a></li>");
}

/* The way to everything, on every page. current: the path of the collection that it is in. */
static void put_navigation(struct buf *out, const struct rest_model *model, const char *base,
			   const char *current)
{
	buf_str(out, "<header>\n<nav aria-label=\"Main\"><ul>");
	put_item(out, base, model->home ? model->home : "/api", model->title, false);
	for (const struct rest_type *const *type = model->types; type && *type; type++) {
		char path[128];

		(void)snprintf(path, sizeof(path), "/api/%s", (*type)->plural);
		put_item(out, base, path, (*type)->plural, current && strcmp(current, path) == 0);
	}
	if (model->documentation)
		put_item(out, base, model->documentation, "documentation",
			 current && strcmp(current, model->documentation) == 0);
	buf_str(out, "</ul></nav>\n</header>\n");
}

void html_begin(struct buf *out, const struct rest_model *model, const char *base,
		const char *title, const char *current)
{
	buf_str(out, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n"
		     "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n"
		     "<meta name=\"color-scheme\" content=\"light dark\"/>\n<title>");
	html_text(out, title);
	if (model) {
		buf_str(out, " – ");
		html_text(out, model->title);
	}
	buf_str(out, "</title>\n<style>");
	buf_str(out, rest_html_style);
	buf_str(out, "</style>\n</head>\n<body>\n"
		     "<a class=\"skip\" href=\"#main\">Skip to the content</a>\n");
	if (model)
		put_navigation(out, model, base ? base : "", current);
	buf_str(out, "<main id=\"main\">\n");
}

void html_end(struct buf *out)
{
	buf_str(out, "</main>\n</body>\n</html>\n");
}

static void put_crumbs(struct buf *out, const struct rest_page *page)
{
	if (page->ncrumbs == 0)
		return;
	buf_str(out, "<nav aria-label=\"Breadcrumb\"><ol>");
	for (size_t i = 0; i < page->ncrumbs; i++) {
		bool last = i + 1 == page->ncrumbs;

		buf_fmt(out, "<li><a%s href=\"", last ? " aria-current=\"page\"" : "");
		html_text(out, page->base ? page->base : "");
		html_text(out, page->crumbs[i]);
		buf_str(out, "\">");
		put_segment(out, page->crumbs[i]);
		buf_str(out, "</a></li>");
	}
	buf_str(out, "</ol></nav>\n");
}

static void put_body(struct buf *out, const struct rest_page *page)
{
	/* Jansson iterates over objects through a pointer to non-const only. */
	json_t *value = (json_t *)(uintptr_t)page->value;
	const json_t *form;
	size_t i;

	if (page->shape == REST_COLLECTION)
		html_collection(out, page);
	else if (page->shape == REST_FORM)
		html_form(out, page, value);
	else
		html_resource(out, page, value);
	json_array_foreach(page->forms, i, form)
	{
		html_form(out, page, form);
	}
}

int rest_html(const struct rest_page *page, struct buf *out, struct err *e)
{
	struct buf heading cleanup(buf_free) = {0};

	put_heading(&heading, page);
	html_begin(out, page->model, page->base, buf_text(&heading),
		   page->ncrumbs > 1 ? page->crumbs[1] : NULL);
	put_crumbs(out, page);
	buf_str(out, "<h1>");
	html_text(out, buf_text(&heading));
	buf_str(out, "</h1>\n");
	if (page->type && page->type->summary) {
		buf_str(out, "<p class=\"lead\">");
		html_text(out, page->type->summary);
		buf_str(out, "</p>\n");
	}
	put_body(out, page);
	html_end(out);
	return buf_status(out) < 0 || buf_status(&heading) < 0
		       ? err_set(e, -ENOMEM, "out of memory")
		       : 0;
}
