/* SPDX-License-Identifier: MIT */
/*
 * What a client sends, in every format: read, written in every format and read again, checked by
 * forms, patched, shown on a page. The first byte says what the rest is: a body of JSON, YAML, XML
 * or a form (j, y, x, f), or a header (a).
 */
#include <expat.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "data/json.h"
#include "data/text.h"
#include "data/xml.h"
#include "rest/form.h"
#include "rest/represent.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static const char *const bindings[] = {"hard", "soft", NULL};

static const struct rest_field fields[] = {
	{.name = "title",
	 .kind = REST_STRING,
	 .use = REST_CREATE | REST_SEARCH | REST_BRIEF,
	 .mandatory = true,
	 .minlen = 1,
	 .maxlen = 20,
	 .regex = "[A-Z][a-z ]*"},
	{.name = "authors",
	 .kind = REST_STRING,
	 .multiple = true,
	 .use = REST_CREATE | REST_UPDATE | REST_SEARCH,
	 .maxlen = 10,
	 .most = 3,
	 .fallback = "[\"anon\"]"},
	{.name = "pages",
	 .kind = REST_NUMBER,
	 .use = REST_CREATE | REST_UPDATE | REST_BRIEF,
	 .has_limits = true,
	 .min = -1.5,
	 .max = 1e6},
	{.name = "lent",
	 .kind = REST_BOOLEAN,
	 .use = REST_CREATE | REST_UPDATE,
	 .fallback = "false"},
	{.name = "binding",
	 .kind = REST_STRING,
	 .use = REST_CREATE | REST_UPDATE,
	 .choices = bindings,
	 .fallback = "\"soft\""},
	{.name = "size.cm", .kind = REST_NUMBER, .use = REST_CREATE | REST_UPDATE},
	{.name = "note", .kind = REST_STRING, .use = REST_CREATE | REST_UPDATE | REST_SEARCH},
	{.name = "isbn", .kind = REST_STRING, .use = REST_CREATE | REST_UPDATE},
	{.name = "shelf", .kind = REST_LINK, .use = REST_CREATE | REST_UPDATE},
	{.name = "reads", .kind = REST_NUMBER, .use = REST_LIVE},
	{.name = "history", .kind = REST_OBJECT},
	{.name = NULL},
};
static const struct rest_constraint both[] = {
	{.mandatory = true, .field = "note"},
	{.field = "pages"},
};
static const struct rest_constraint either[] = {
	{.field = "isbn"},
	{.group = both, .ngroup = COUNT(both)},
};
static const struct rest_constraint constraints[] = {
	{.exclusive = true, .group = either, .ngroup = COUNT(either)},
};
static const struct rest_type book = {
	.name = "book",
	.plural = "books",
	.summary = "A book.",
	.fields = fields,
	.constraints = constraints,
	.nconstraints = COUNT(constraints),
};
static const char there[] =
	"{\"id\":\"1\",\"title\":\"Ab\",\"authors\":[\"a\",\"b\"],\"pages\":7,\"lent\":false,"
	"\"size\":{\"cm\":1},\"shelf\":null,\"reads\":5,\"history\":{\"x\":[1]}}";

static void must(bool right)
{
	if (!right)
		abort();
}

static void must_be_printable(const char *text)
{
	/* A sentence that is cut may end within a character. */
	for (; *text; text++)
		must((unsigned char)*text >= ' ' && *text != '\x7f');
}

/* What XML calls by a name although JSON doesn't: the outermost value, and the items of a list. */
static void drop_type(json_t *read, const json_t *written)
{
	json_t *item;
	size_t i;

	if (json_is_object(written) && !json_object_get(written, "_type"))
		(void)json_object_del(read, "_type");
	json_array_foreach(read, i, item)
	{
		const json_t *was = json_array_get(written, i);

		if (json_is_object(was) && !json_object_get(was, "_type"))
			(void)json_object_del(item, "_type");
	}
}

/* Writes the value and reads it again; NULL: it can't be said in this format. */
static json_t *again(const json_t *value, enum rest_format format)
{
	struct rest_page page = {.value = value};
	struct buf out cleanup(buf_free) = {0};
	json_t *read = NULL;
	struct err e = {0};

	if (rest_represent(&page, format, &out, &e) < 0) {
		must(format == REST_XML); /* keys with control characters, a strange _type */
		return NULL;
	}
	must(rest_read(out.data, out.len, format, &read, &e) == 0);
	if (format == REST_XML)
		drop_type(read, value);
	return read;
}

static void round_trips(const json_t *value)
{
	/* In JSON a real has 15 digits; from then on nothing changes. */
	json_t *json cleanup(json_free_at) = again(value, REST_JSON);
	json_t *same cleanup(json_free_at) = again(json, REST_JSON);
	json_t *yaml cleanup(json_free_at) = again(json, REST_YAML);
	json_t *xml cleanup(json_free_at) = again(json, REST_XML);

	must(json_equal(json, same));
	must(json_equal(json, yaml));
	must(!xml || json_equal(json, xml));
}

static void XMLCALL on_element(void *data, const char *name, const char **attributes)
{
	(void)data;
	must(strcmp(name, "script") != 0);
	for (; *attributes; attributes += 2) {
		must(strncmp(attributes[0], "on", 2) != 0);
		if (strcmp(attributes[0], "href") == 0)
			must(strncmp(attributes[1], "http://h/", 9) == 0 ||
			     strcmp(attributes[1], "#main") == 0); /* past the navigation */
	}
}

/* Shows it on a page, which must be well-formed. */
static void show(const json_t *value, enum rest_shape shape, const json_t *forms)
{
	static const char *const crumbs[] = {"/api", "/api/books"};
	struct rest_page page = {.shape = shape,
				 .value = value,
				 .type = &book,
				 .base = "http://h",
				 .crumbs = crumbs,
				 .ncrumbs = COUNT(crumbs),
				 .forms = forms,
				 .form_token = "t"};
	struct buf out cleanup(buf_free) = {0};
	XML_Parser parser = XML_ParserCreate("UTF-8");

	must(parser && rest_represent(&page, REST_HTML, &out, NULL) == 0);
	XML_SetStartElementHandler(parser, on_element);
	must(XML_Parse(parser, out.data, (int)out.len, XML_TRUE) == XML_STATUS_OK);
	XML_ParserFree(parser);
}

static void must_be_told(const struct rest_fault *fault)
{
	must(fault->status == 400 && fault->code && *fault->why.text);
	must_be_printable(fault->field);
	must_be_printable(fault->why.text);
}

/* What a form has taken, it takes again, and changes nothing more. */
static void check(const json_t *value, enum rest_form_kind kind, bool text)
{
	json_t *checked cleanup(json_free_at) = NULL;
	json_t *twice cleanup(json_free_at) = NULL;
	json_t *forms cleanup(json_free_at) = json_array();
	struct rest_fault fault = {0};

	if (rest_form_check(&book, kind, value, text, &checked, &fault) < 0) {
		must_be_told(&fault);
		return;
	}
	must(rest_form_check(&book, kind, checked, false, &twice, &fault) == 0);
	must(json_equal(checked, twice));
	json_array_append_new(forms, rest_form(&book, kind, "http://h/f", "http://h/a", checked));
	show(checked, REST_RESOURCE, forms);
}

static void patch(const json_t *value)
{
	json_t *resource cleanup(json_free_at) = json_loads(there, 0, NULL);
	json_t *before cleanup(json_free_at) = json_deep_copy(resource);
	json_t *whole cleanup(json_free_at) = NULL;
	struct rest_fault fault = {0};

	if (rest_patch(&book, resource, value, &whole, &fault) < 0)
		must_be_told(&fault);
	else
		check(whole, REST_FORM_UPDATE, false);
	must(json_equal(resource, before));
	if (rest_form_fixed(&book, resource, value, &fault) < 0)
		must_be_told(&fault);
}

static void body(const char *text, size_t len, enum rest_format format)
{
	json_t *value cleanup(json_free_at) = NULL;
	struct err e = {0};

	if (rest_read(text, len, format, &value, &e) < 0) {
		must(e.code < 0);
		must_be_printable(e.text);
		return;
	}
	round_trips(value);
	show(value, REST_RESOURCE, NULL);
	show(value, REST_COLLECTION, NULL);
	check(value, REST_FORM_CREATE, format == REST_FORM_BODY);
	check(value, REST_FORM_UPDATE, format == REST_FORM_BODY);
	check(value, REST_FORM_SEARCH, format == REST_FORM_BODY);
	check(value, REST_FORM_DELETE, format == REST_FORM_BODY);
	patch(value);
}

static void header(const char *text, size_t len)
{
	char *copy cleanup(free_at) = string_from(text, len);
	enum rest_format format = REST_FORM_BODY;

	if (rest_negotiate(copy, REST_RESOURCE, &format) == 0)
		must(format <= REST_HTML);
	if (rest_format_of(copy, &format) == 0)
		must(format != REST_HTML);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	const char *text = (const char *)data + 1;

	if (len == 0)
		return 0;
	len--;
	if (data[0] == 'j')
		body(text, len, REST_JSON);
	else if (data[0] == 'y')
		body(text, len, REST_YAML);
	else if (data[0] == 'x')
		body(text, len, REST_XML);
	else if (data[0] == 'f')
		body(text, len, REST_FORM_BODY);
	else if (data[0] == 'a')
		header(text, len);
	return 0;
}
