/* SPDX-License-Identifier: MIT */
/*
 * The documentation of a model, made of its declaration. It is for people who want to read before
 * they try: a client needs none of it, since links and forms tell it the same.
 */
#include <math.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/mem.h"
#include "data/json.h"
#include "data/yaml.h"
#include "rest/html.h"
#include "rest/work.h"

static const char rules[] =
	"<h2 id=\"rules\">For all of them</h2>\n<dl>\n"
	"<dt>Start</dt><dd>at <code>/api</code>, and follow links. What a link leads to is told by "
	"its <code>rel</code>: <code>collection/NAME</code>, <code>resource/NAME</code> or "
	"<code>form/NAME</code>, with <code>type</code> where a form is for a collection's "
	"resources.</dd>\n"
	"<dt>Formats</dt><dd>JSON, YAML, XML and HTML, by <code>Accept</code>; JSON, YAML and XML "
	"are "
	"read, by <code>Content-Type</code>. <code>application/json</code> is enough.</dd>\n"
	"<dt>Changes</dt><dd>POST to a collection creates; PUT replaces, what is left out is reset "
	"to "
	"its default; PATCH changes what is given, or makes a list of changes "
	"(<code>path</code>, <code>change</code>: add, remove or change, <code>value</code>); "
	"DELETE "
	"removes.</dd>\n"
	"<dt>Two at once</dt><dd>Send the <code>ETag</code> of what you have seen as "
	"<code>If-Match</code>: where somebody was faster, nothing is changed (412).</dd>\n"
	"<dt>Forms</dt><dd>describe what may be sent: <code>;create</code> and "
	"<code>;search</code> "
	"behind a collection's URL, <code>;update</code> and <code>;delete</code> behind a "
	"resource's. What is sent is checked by these very forms.</dd>\n"
	"<dt>Parts</dt><dd><code>Range: resources=100-199</code> on a collection.</dd>\n"
	"<dt>Waiting</dt><dd><code>Expect: nonempty-response</code> on a collection waits for up "
	"to a "
	"minute until there is something in the range. Where that begins beyond the next number, "
	"it "
	"is answered with 416 at once: the numbers have begun anew, as those of events do at a "
	"boot, "
	"and <code>Range: resources=0-</code> tells what has come since.</dd>\n"
	"<dt>Long work</dt><dd>is answered with 202 and a link <code>resource/monitor</code>; or, "
	"with "
	"<code>Expect: 200-ok</code> (201-created, 204-no-content), when it is done. "
	"<code>Expect: 202-accepted</code> never waits.</dd>\n"
	"<dt>Placeholders</dt><dd>Every collection has a resource <code>_</code>, with data that "
	"is "
	"made up.</dd>\n"
	"<dt>Refusals</dt><dd>are resources of type <code>fault</code>: <code>status</code>, "
	"<code>code</code> (for programs), <code>reason</code> (for people), and in "
	"<code>detail</code> the <code>field</code>.</dd>\n</dl>\n";

static const char *const kinds[] = {
	[REST_STRING] = "string", [REST_NUMBER] = "number", [REST_BOOLEAN] = "boolean",
	[REST_LINK] = "link",	  [REST_OBJECT] = "object",
};

static void put_code(struct buf *out, const char *before, const char *text, const char *after)
{
	buf_fmt(out, "%s<code>", before);
	html_text(out, text);
	buf_fmt(out, "</code>%s", after);
}

/* "string, of novel, science; at most 4" */
static void put_kind(struct buf *out, const struct rest_field *field)
{
	buf_fmt(out, "%s%s", field->whole ? "whole " : "", kinds[field->kind]);
	if (field->multiple)
		buf_str(out, ", several");
	if (field->most > 0)
		buf_fmt(out, " (at most %zu)", field->most);
	if (field->has_limits && isfinite(field->min))
		buf_fmt(out, ", from %.15g", field->min);
	if (field->has_limits && isfinite(field->max))
		buf_fmt(out, ", up to %.15g", field->max);
	if (field->minlen > 0)
		buf_fmt(out, ", at least %zu bytes", field->minlen);
	if (field->maxlen > 0)
		buf_fmt(out, ", at most %zu bytes", field->maxlen);
	if (field->regex)
		put_code(out, ", like ", field->regex, "");
	for (const char *const *choice = field->choices; choice && *choice; choice++)
		put_code(out, choice == field->choices ? ": " : " | ", *choice, "");
}

static void put_use(struct buf *out, const struct rest_field *field)
{
	static const struct {
		unsigned use;
		const char *word;
	} uses[] = {
		{REST_CREATE, "create"},
		{REST_UPDATE, "update"},
		{REST_SEARCH, "search"},
		{REST_LIVE, "changes by itself"},
	};
	const char *between = "";

	for (size_t i = 0; i < COUNT(uses); i++) {
		if (field->use & uses[i].use) {
			buf_fmt(out, "%s%s", between, uses[i].word);
			between = ", ";
		}
	}
	if (field->mandatory)
		buf_str(out, "; mandatory");
}

static void put_field(struct buf *out, const struct rest_field *field)
{
	put_code(out, "<tr><th scope=\"row\">", field->name, "</th><td>");
	put_kind(out, field);
	buf_str(out, "</td><td>");
	put_use(out, field);
	buf_str(out, "</td><td>");
	if (field->fallback)
		put_code(out, "", field->fallback, "");
	buf_str(out, "</td><td>");
	html_text(out, field->help ? field->help : "");
	buf_str(out, "</td></tr>\n");
}

/* Its placeholder, in the format that is read most easily. */
static void put_example(struct buf *out, const struct rest_type *type, const json_t *sample)
{
	json_t *example cleanup(json_free_at) = json_pack("{s:s}", "_type", type->name);
	struct buf yaml cleanup(buf_free) = {0};

	(void)json_object_update(example, (json_t *)(uintptr_t)sample);
	out->failed |= json_lacked() || yaml_write(example, &yaml, NULL) < 0;
	buf_str(out, "<details><summary>For example</summary>\n<pre>");
	html_text(out, buf_text(&yaml));
	buf_str(out, "</pre></details>\n");
}

static void put_fields(struct buf *out, const struct rest_type *type)
{
	buf_str(out, "<div class=\"wide\" tabindex=\"0\" role=\"region\" aria-label=\"Table\">"
		     "<table>\n<thead><tr><th scope=\"col\">attribute</th>"
		     "<th scope=\"col\">kind</th><th scope=\"col\">for</th>"
		     "<th scope=\"col\">default</th><th scope=\"col\">meaning</th></tr></thead>\n"
		     "<tbody>\n");
	for (const struct rest_field *field = type->fields; field->name; field++)
		put_field(out, field);
	buf_str(out, "</tbody>\n</table></div>\n");
}

/* A URL, and what it takes. */
static void put_url(struct buf *out, const struct route *route, const char *variant)
{
	struct buf url cleanup(buf_free) = {0};

	route_resource_url(&url, "", route, route->id);
	if (variant)
		buf_fmt(&url, ";%s", variant);
	out->failed |= buf_status(&url) < 0;
	put_code(out, "<li>", buf_text(&url), ": ");
	methods_text(methods_allowed(route), out);
	buf_str(out, "</li>\n");
}

static void put_urls(struct buf *out, const struct rest_type *type, const struct rest_type *above)
{
	struct route route = {.type = type, .above = above, .parent = above ? "ID" : NULL};

	buf_str(out, "<ul>\n");
	put_url(out, &route, NULL);
	if (type->plural) {
		route.id = "ID";
		put_url(out, &route, NULL);
	}
	for (const char *const *v = type->variants; v && *v; v++) {
		route.variant = *v;
		put_url(out, &route, *v);
	}
	buf_str(out, "</ul>\n");
}

/* The same type may be a part of several others, and so be told of more than once. */
static void put_anchor(struct buf *out, const struct rest_type *type, const struct rest_type *above)
{
	buf_fmt(out, "%s%s%s", above ? above->name : "", above ? "-" : "", type->name);
}

static void put_type(struct buf *out, const struct rest_api *api, const struct rest_type *type,
		     const struct rest_type *above)
{
	buf_fmt(out, "<h%d id=\"", above ? 3 : 2);
	put_anchor(out, type, above);
	buf_str(out, "\">");
	html_text(out, type->name);
	buf_fmt(out, "</h%d>\n<p>", above ? 3 : 2);
	html_text(out, type->summary ? type->summary : "");
	buf_str(out, "</p>\n");
	put_urls(out, type, above);
	put_fields(out, type);
	put_example(out, type, api_facts(api, type)->sample);
	for (const struct rest_type *const *sub = type->subs; sub && *sub; sub++)
		put_type(out, api, *sub, type);
}

static void put_entry(struct buf *out, const struct rest_type *type, const struct rest_type *above)
{
	buf_str(out, "<li><a href=\"#");
	put_anchor(out, type, above);
	buf_str(out, "\">");
	html_text(out, type->name);
	buf_str(out, "</a></li>\n");
}

static void put_contents(struct buf *out, const struct rest_api *api)
{
	buf_str(out, "<nav class=\"links\" aria-label=\"Contents\"><ul>\n");
	put_entry(out, api->model->entry, NULL);
	for (const struct rest_type *const *type = api->types; *type; type++) {
		put_entry(out, *type, NULL);
		for (const struct rest_type *const *sub = (*type)->subs; sub && *sub; sub++)
			put_entry(out, *sub, *type);
	}
	buf_str(out, "</ul></nav>\n");
}

int rest_document(const struct rest_api *api, const char *base, struct buf *out)
{
	const struct rest_model *model = api->model;

	json_forget_lack();
	html_begin(out, model, base, "the API", model->documentation);
	buf_str(out, "<h1>The API</h1>\n");
	put_contents(out, api);
	buf_str(out, rules);
	put_type(out, api, model->entry, NULL);
	for (const struct rest_type *const *type = api->types; *type; type++)
		put_type(out, api, *type, NULL);
	html_end(out);
	return buf_status(out);
}
