/* SPDX-License-Identifier: MIT */
/* The pages for a browser. Private to the representations. */
#ifndef REST_HTML_H
#define REST_HTML_H

#include <jansson.h>
#include <stdbool.h>

#include "rest/represent.h"

/* The only style sheet, whose hash is in rest_html_policy. */
extern const char rest_html_style[];

/* The whole page. */
int rest_html(const struct rest_page *page, struct buf *out, struct err *e);

/* Escaped for text and for attributes in double quotes. */
void html_text(struct buf *out, const char *text);

/* A link; label: NULL: the last segment of the URL. */
void html_link(struct buf *out, const char *href, const char *label);

/* The beginning of every page, up to its <main>: title goes behind the application's name. */
void html_begin(struct buf *out, const struct rest_model *model, const char *base,
		const char *title, const char *current);
void html_end(struct buf *out);

/* A value in a cell: links become links, if they lead to the api. */
void html_value(struct buf *out, const struct rest_page *page, json_t *value);
void html_collection(struct buf *out, const struct rest_page *page);
void html_resource(struct buf *out, const struct rest_page *page, json_t *resource);

/* A form resource as a real form. */
void html_form(struct buf *out, const struct rest_page *page, const json_t *form);

#endif
