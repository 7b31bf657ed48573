/* SPDX-License-Identifier: MIT */
/*
 * A form resource as a form that works in any browser, without a script: what is chosen from a few
 * is a <select> (also true and false: a checkbox that is off would send nothing, and so could not
 * say false), several values are lines of a <textarea>, or checkboxes where they are chosen.
 */
#include <stdint.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "data/json.h"
#include "rest/html.h"

/* A longer text gets a <textarea>. */
#define LINE_MAX_BYTES 1024

struct control {
	const char *form, *of; /* "create", "mirror": several forms may stand on a page */
	const char *name, *type;
	const json_t *field, *value;
	bool required;
};

static const char *string_of(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

static void put_attribute(struct buf *out, const char *name, const char *value)
{
	buf_fmt(out, " %s=\"", name);
	html_text(out, value);
	buf_char(out, '"');
}

static void put_hidden(struct buf *out, const char *name, const char *value)
{
	buf_str(out, "<input type=\"hidden\"");
	put_attribute(out, "name", name);
	put_attribute(out, "value", value);
	buf_str(out, "/>\n");
}

static void put_id(struct buf *out, const struct control *c, const char *suffix)
{
	html_text(out, c->form);
	buf_char(out, '-');
	html_text(out, c->of);
	buf_char(out, '-');
	html_text(out, c->name);
	buf_str(out, suffix);
}

/* What every control says of itself. */
static void put_common(struct buf *out, const struct control *c)
{
	buf_str(out, " id=\"");
	put_id(out, c, "\"");
	put_attribute(out, "name", c->name);
	if (string_of(c->field, "help")) {
		buf_str(out, " aria-describedby=\"");
		put_id(out, c, "-help\"");
	}
	if (c->required)
		buf_str(out, " required=\"\"");
	if (json_object_get(c->field, "wrong"))
		buf_str(out, " aria-invalid=\"true\" autofocus=\"\"");
}

/* A scalar as the text that somebody would type. */
static char *typed_text(const json_t *value)
{
	if (json_is_string(value))
		return strdup(json_string_value(value));
	if (json_is_real(value))
		return json_real_text(value);
	if (!value || json_is_null(value))
		return strdup("");
	return json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
}

static void put_typed(struct buf *out, const json_t *value)
{
	char *text cleanup(free_at) = typed_text(value);

	if (text)
		html_text(out, text);
	else
		out->failed = true;
}

static void put_option(struct buf *out, const char *text, const char *current)
{
	buf_str(out, "<option");
	put_attribute(out, "value", text);
	if (strcmp(text, current) == 0)
		buf_str(out, " selected=\"\"");
	buf_char(out, '>');
	html_text(out, *text ? text : "–");
	buf_str(out, "</option>");
}

static void put_select(struct buf *out, const struct control *c, const json_t *choices)
{
	char *current cleanup(free_at) = typed_text(c->value);
	const json_t *choice;
	size_t i;

	if (!current) {
		out->failed = true;
		return;
	}
	buf_str(out, "<select");
	put_common(out, c);
	buf_char(out, '>');
	if (!c->required || *current == '\0')
		put_option(out, "", current);
	if (!choices) {
		put_option(out, "true", current);
		put_option(out, "false", current);
	}
	json_array_foreach(choices, i, choice)
	{
		put_option(out, json_string_value(choice), current);
	}
	buf_str(out, "</select>");
}

static void put_textarea(struct buf *out, const struct control *c, bool several)
{
	const json_t *item;
	size_t i;

	buf_fmt(out, "<textarea rows=\"%d\"", several ? 4 : 2);
	put_common(out, c);
	buf_str(out, ">\n"); /* a parser drops the first newline */
	if (!json_is_array(c->value))
		put_typed(out, c->value);
	json_array_foreach(c->value, i, item)
	{
		put_typed(out, item);
		buf_char(out, '\n');
	}
	buf_str(out, "</textarea>");
}

static bool has(const json_t *array, const json_t *value)
{
	const json_t *item;
	size_t i;

	json_array_foreach(array, i, item)
	{
		if (json_equal(item, value))
			return true;
	}
	return json_equal(array, value); /* one alone, as it was typed */
}

static void put_checkboxes(struct buf *out, const struct control *c, const json_t *choices)
{
	const json_t *choice;
	size_t i;

	json_array_foreach(choices, i, choice)
	{
		buf_str(out, "<label class=\"check\"><input type=\"checkbox\"");
		put_attribute(out, "name", c->name);
		put_attribute(out, "value", json_string_value(choice));
		buf_str(out, has(c->value, choice) ? " checked=\"\"/> " : "/> ");
		html_text(out, json_string_value(choice));
		buf_str(out, "</label>\n");
	}
}

/* A class as browsers read one in a pattern (ECMAScript's flag v): what has a meaning there is
 * escaped, which POSIX does not know. Returns its end. */
static const char *put_class(struct buf *out, const char *at)
{
	const char *first = at + (at[1] == '^' ? 2 : 1);

	buf_add(out, at, (size_t)(first - at));
	for (at = first; *at && (*at != ']' || at == first); at++) {
		if (strchr("()[]{}/\\|", *at) || (*at == '-' && (at == first || at[1] == ']')))
			buf_char(out, '\\');
		buf_char(out, *at);
	}
	return at;
}

static void put_pattern(struct buf *out, const char *regex)
{
	struct buf b cleanup(buf_free) = {0};

	for (const char *at = regex; *at; at++) {
		if (*at == '[')
			at = put_class(&b, at);
		else if (*at == '\\')
			buf_char(&b, *at++);
		buf_char(&b, *at);
	}
	put_attribute(out, "pattern", buf_text(&b));
	out->failed |= b.failed;
}

static void put_input(struct buf *out, const struct control *c)
{
	const json_t *min = json_object_get(c->field, "min");
	const json_t *max = json_object_get(c->field, "max");
	const json_t *maxlen = json_object_get(c->field, "maxlen");
	const char *regex = string_of(c->field, "regex");
	const char *step = json_object_get(c->field, "integer") ? "1" : "any";

	if (strcmp(c->type, "number") == 0)
		buf_fmt(out, "<input type=\"number\" step=\"%s\"", step);
	else
		buf_str(out, "<input type=\"text\"");
	put_common(out, c);
	if (min) {
		buf_str(out, " min=\"");
		put_typed(out, min);
		buf_str(out, "\" max=\"");
		put_typed(out, max);
		buf_char(out, '"');
	}
	/* A browser counts characters, the form bytes: at most as many. */
	if (maxlen)
		buf_fmt(out, " maxlength=\"%" JSON_INTEGER_FORMAT "\"", json_integer_value(maxlen));
	/* Browsers know no classes like [:alpha:]. */
	if (regex && !strstr(regex, "[:"))
		put_pattern(out, regex);
	buf_str(out, " value=\"");
	put_typed(out, c->value);
	buf_str(out, "\" autocomplete=\"off\"/>");
}

static bool is_long(const struct control *c)
{
	const char *value = json_string_value(c->value);
	json_int_t maxlen = json_integer_value(json_object_get(c->field, "maxlen"));

	return strcmp(c->type, "string") == 0 &&
	       (maxlen > LINE_MAX_BYTES || (value && strchr(value, '\n')));
}

static void put_control(struct buf *out, const struct control *c, bool several)
{
	const json_t *choices = json_object_get(c->field, "choices");

	if (several && choices)
		put_checkboxes(out, c, choices);
	else if (several)
		put_textarea(out, c, true);
	else if (choices || strcmp(c->type, "boolean") == 0)
		put_select(out, c, choices);
	else if (is_long(c))
		put_textarea(out, c, false);
	else
		put_input(out, c);
}

static void put_label(struct buf *out, const struct control *c, bool group)
{
	if (group) {
		buf_str(out, "<legend>");
	} else {
		buf_str(out, "<label for=\"");
		put_id(out, c, "\">");
	}
	html_text(out, c->name);
	if (c->required)
		buf_str(out, " <span class=\"required\">required</span>");
	buf_str(out, group ? "</legend>\n" : "</label>\n");
}

static void put_field(struct buf *out, const struct control *c)
{
	bool several = json_is_true(json_object_get(c->field, "multiple"));
	bool group = several && json_object_get(c->field, "choices");
	const char *help = string_of(c->field, "help");

	buf_fmt(out, "<%s class=\"field\">\n", group ? "fieldset" : "div");
	put_label(out, c, group);
	put_control(out, c, several);
	if (help || (several && !group)) {
		buf_str(out, "\n<small id=\"");
		put_id(out, c, "-help\">");
		html_text(out, help ? help : "");
		buf_str(out, several && !group ? " One a line.</small>" : "</small>");
	}
	buf_fmt(out, "\n</%s>\n", group ? "fieldset" : "div");
}

/* A browser can ask for single fields only; groups are left to the server. */
static bool is_required(const json_t *form, const char *name)
{
	const json_t *constraint;
	size_t i;

	json_array_foreach(json_object_get(form, "constraints"), i, constraint)
	{
		const char *field = string_of(constraint, "field");

		if (field && strcmp(field, name) == 0)
			return strcmp(string_of(constraint, "sense"), "mandatory") == 0;
	}
	return false;
}

static void put_fields(struct buf *out, const char *id, const char *type, const json_t *form)
{
	const json_t *field;
	size_t i;

	json_array_foreach(json_object_get(form, "fields"), i, field)
	{
		struct control c = {.form = id,
				    .of = type,
				    .name = string_of(field, "name"),
				    .type = string_of(field, "type"),
				    .field = field,
				    .value = json_object_get(field, "value")};

		c.required = is_required(form, c.name);
		put_field(out, &c);
	}
}

static const struct {
	const char *method, *title, *button;
} words[] = {
	{"POST", "Create", "Create"},
	{"PUT", "Change", "Save"},
	{"DELETE", "Delete", "Delete"},
	{"GET", "Search", "Search"},
};

/* On a page of its own, and on that of a fault, it is open; below something else it is folded away.
 */
static void put_title(struct buf *out, const struct rest_page *page, const char *title,
		      const char *type)
{
	if (page->shape == REST_FORM)
		buf_str(out, "<section class=\"form\">\n<h2>");
	else
		buf_fmt(out, "<details class=\"form\"%s>\n<summary><h2>",
			page->type ? "" : " open=\"\"");
	buf_fmt(out, "%s ", title);
	html_text(out, type);
	buf_str(out, page->shape == REST_FORM ? "</h2>\n" : "</h2></summary>\n");
}

void html_form(struct buf *out, const struct rest_page *page, const json_t *form)
{
	const char *method = string_of(form, "method"), *type = string_of(form, "type");
	const char *id = string_of(form, "id");
	bool get = strcmp(method, "GET") == 0;
	size_t w = 0;

	while (w < COUNT(words) - 1 && strcmp(words[w].method, method) != 0)
		w++;
	put_title(out, page, words[w].title, type);
	buf_fmt(out, "<form method=\"%s\" accept-charset=\"utf-8\" id=\"", get ? "get" : "post");
	html_text(out, id);
	buf_char(out, '-');
	html_text(out, type);
	buf_char(out, '"');
	put_attribute(out, "action", string_of(form, "action"));
	buf_str(out, ">\n");
	if (!get && strcmp(method, "POST") != 0)
		put_hidden(out, "_method", method);
	if (!get)
		put_hidden(out, "_type", type);
	if (!get && page->form_token)
		put_hidden(out, "_token", page->form_token);
	if (!get && string_of(form, "etag"))
		put_hidden(out, "_etag", string_of(form, "etag"));
	put_fields(out, id, type, form);
	buf_fmt(out, "<button type=\"submit\" class=\"%s\">%s</button>\n</form>\n</%s>\n",
		strcmp(method, "DELETE") == 0 ? "danger" : "plain", words[w].button,
		page->shape == REST_FORM ? "section" : "details");
}
