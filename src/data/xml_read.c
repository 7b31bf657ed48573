/* SPDX-License-Identifier: MIT */
/*
 * Expat tells of elements and text; a frame an open element holds what became of it so far. What
 * could make a parser fetch or expand anything starts with a document type declaration, so that is
 * where it ends.
 */
#include "data/xml.h"

#include <errno.h>
#include <expat.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <string.h>
#include <strings.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "data/json.h"
#include "data/text.h"

enum type { UNTYPED, STRING, HEX, INTEGER, DECIMAL, BOOLEAN, LIST, OBJECT, NIL };

static const struct {
	const char *name;
	enum type type;
} types[] = {
	{"xs:string", STRING},	     {"xs:hexBinary", HEX},	   {"xs:integer", INTEGER},
	{"xs:int", INTEGER},	     {"xs:long", INTEGER},	   {"xs:short", INTEGER},
	{"xs:unsignedInt", INTEGER}, {"xs:unsignedLong", INTEGER}, {"xs:decimal", DECIMAL},
	{"xs:double", DECIMAL},	     {"xs:float", DECIMAL},	   {"xs:boolean", BOOLEAN},
	{"xs:list", LIST},	     {"xs:anyType", OBJECT},
};

struct frame {
	char *key; /* what the value is called in the object around it */
	enum type type;
	json_t *value;	 /* of a LIST or OBJECT */
	struct buf text; /* of anything else */
};

struct reader {
	XML_Parser parser;
	const char *name;
	struct err *e;
	int failed; /* expat may call once more after it was stopped */
	size_t values;
	struct frame frames[XML_DEPTH_MAX + 1]; /* the innermost can be a scalar only */
	size_t depth;
	json_t *value; /* of the whole */
};

static void refuse(struct reader *r, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void refuse(struct reader *r, const char *format, ...)
{
	va_list args;

	r->failed = -EBADMSG;
	va_start(args, format);
	(void)err_setv(r->e, -EBADMSG, format, args);
	va_end(args);
	(void)err_where(r->e, "%s:%lu", r->name, XML_GetCurrentLineNumber(r->parser));
	(void)XML_StopParser(r->parser, XML_FALSE);
}

static void no_memory(struct reader *r)
{
	r->failed = err_set(r->e, -ENOMEM, "%s: out of memory", r->name);
	(void)XML_StopParser(r->parser, XML_FALSE);
}

static void frame_free(struct frame *f)
{
	free(f->key);
	json_decref(f->value);
	buf_free(&f->text);
	*f = (struct frame){0};
}

static bool is_blank(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (!strchr(" \t\r\n", text[i]))
			return false;
	return true;
}

static struct frame *innermost(struct reader *r)
{
	return &r->frames[r->depth - 1];
}

/* The name of the outermost element, and of the items of an outermost list, is a type. */
static bool is_named_by_type(const struct reader *r)
{
	return r->depth == 1 || (r->depth == 2 && r->frames[0].type == LIST);
}

/* Makes the innermost element an object or a list. */
static void make_container(struct reader *r, enum type type)
{
	struct frame *f = innermost(r);

	if (r->depth > XML_DEPTH_MAX)
		return refuse(r, "more than %d levels deep", XML_DEPTH_MAX);
	if (!is_blank(buf_text(&f->text), f->text.len))
		return refuse(r, "text beside elements is not taken");
	f->type = type;
	f->value = type == LIST ? json_array() : json_object();
	if (!f->value || (type == OBJECT && is_named_by_type(r) &&
			  json_object_set_new(f->value, "_type", json_string(f->key)) < 0))
		no_memory(r);
}

/* Makes sure that the innermost element can have one with this key in it. */
static void open_parent(struct reader *r, const char *key)
{
	struct frame *f = innermost(r);
	char shown[TEXT_SHOWN];

	if (f->type == UNTYPED)
		make_container(r, OBJECT);
	else if (f->type != LIST && f->type != OBJECT)
		refuse(r, "the element %s stands in a scalar", text_shown(shown, key));
	if (!r->failed && f->type == OBJECT && json_object_get(f->value, key))
		refuse(r, "the element %s is there twice", text_shown(shown, key));
}

static void read_type(struct reader *r, const char *name, enum type *type)
{
	char shown[TEXT_SHOWN];

	for (size_t i = 0; i < COUNT(types); i++) {
		if (strcmp(types[i].name, name) == 0) {
			*type = types[i].type;
			return;
		}
	}
	refuse(r,
	       "the type %s is not known; take xs:string, xs:integer, xs:decimal, xs:boolean or "
	       "xs:list",
	       text_shown(shown, name));
}

/* A key that can be no element's name stands in the attribute "name". */
static void read_attributes(struct reader *r, const char **attributes, const char **key,
			    enum type *type)
{
	char shown[TEXT_SHOWN];
	bool nil = false;

	for (; *attributes && !r->failed; attributes += 2) {
		const char *name = attributes[0], *value = attributes[1];

		if (strcmp(name, "type") == 0)
			read_type(r, value, type);
		else if (strcmp(name, "name") == 0)
			*key = value;
		else if (strcmp(name, "xsi:nil") == 0)
			nil = strcmp(value, "true") == 0 || strcmp(value, "1") == 0;
		else if (strncmp(name, "xmlns", 5) != 0)
			refuse(r, "the XML attribute %s is not taken; write it as an element",
			       text_shown(shown, name));
	}
	if (nil)
		*type = NIL;
}

static void XMLCALL on_start(void *data, const char *element, const char **attributes)
{
	struct reader *r = data;
	struct frame f = {.type = UNTYPED};
	const char *key = element;

	if (r->failed)
		return;
	if (r->values++ == XML_VALUES_MAX)
		return refuse(r, "more than %d values", XML_VALUES_MAX);
	if (r->depth == COUNT(r->frames))
		return refuse(r, "more than %d levels deep", XML_DEPTH_MAX);
	read_attributes(r, attributes, &key, &f.type);
	if (!r->failed && r->depth > 0)
		open_parent(r, key);
	if (r->failed)
		return;
	f.key = strdup(key);
	if (!f.key)
		return no_memory(r);
	r->frames[r->depth++] = f;
	if (f.type == LIST || f.type == OBJECT)
		make_container(r, f.type);
}

static void XMLCALL on_text(void *data, const char *text, int len)
{
	struct reader *r = data;
	struct frame *f = innermost(r);

	if (f->type != LIST && f->type != OBJECT) {
		buf_add(&f->text, text, (size_t)len);
		if (buf_status(&f->text) < 0)
			no_memory(r);
	} else if (!is_blank(text, (size_t)len)) {
		refuse(r, "text beside elements is not taken");
	}
}

static json_t *hex_value(struct reader *r, const char *text)
{
	struct buf bytes cleanup(buf_free) = {0};
	static const char digits[] = "0123456789abcdef0123456789ABCDEF";
	json_t *value = NULL;
	int ret = -EILSEQ;

	for (; *text; text += 2) {
		const char *high = strchr(digits, text[0]);
		const char *low = text[1] ? strchr(digits, text[1]) : NULL;

		if (!high || !low) {
			refuse(r, "an xs:hexBinary is of pairs of hexadecimal digits");
			return NULL;
		}
		buf_char(&bytes, (char)((high - digits) % 16 * 16 + (low - digits) % 16));
	}
	if (buf_status(&bytes) < 0) {
		no_memory(r);
		return NULL;
	}
	if (!memchr(buf_text(&bytes), '\0', bytes.len))
		ret = json_text(buf_text(&bytes), bytes.len, &value);
	if (ret == -ENOMEM)
		no_memory(r);
	else if (ret < 0)
		refuse(r, "an xs:hexBinary must be of UTF-8 without NUL");
	return value;
}

/* XML Schema lets a number start with a plus sign and with zeros, JSON doesn't. */
static const char *skip_zeros(const char *text)
{
	text += *text == '+';
	while (text[0] == '0' && text[1] >= '0' && text[1] <= '9')
		text++;
	return text;
}

static json_t *number_value(struct reader *r, const char *text, bool whole)
{
	const char *digits = skip_zeros(text);
	char shown[TEXT_SHOWN];
	json_error_t error;
	json_t *value = NULL;
	int ret = json_load(digits, strlen(digits), JSON_DECODE_ANY, &value, &error);

	if (ret == -EBADMSG && json_error_code(&error) == json_error_numeric_overflow) {
		refuse(r, "the number %s is too big", text_shown(shown, text));
		return NULL;
	}
	if (json_is_integer(value) && !whole) {
		double real = json_number_value(value);

		json_decref(value);
		value = json_real(real);
		ret = value ? 0 : -ENOMEM;
	}
	if (ret == -ENOMEM) {
		no_memory(r);
		return NULL;
	}
	if (whole ? json_is_integer(value) : json_is_real(value))
		return value;
	json_decref(value);
	refuse(r, "\"%s\" is no %s", text_shown(shown, text), whole ? "xs:integer" : "xs:decimal");
	return NULL;
}

static json_t *boolean_value(struct reader *r, const char *text)
{
	char shown[TEXT_SHOWN];

	if (strcmp(text, "true") == 0 || strcmp(text, "1") == 0)
		return json_true();
	if (strcmp(text, "false") == 0 || strcmp(text, "0") == 0)
		return json_false();
	refuse(r, "\"%s\" is no xs:boolean: true or false", text_shown(shown, text));
	return NULL;
}

/* What XML Schema calls collapsing: the blanks around a value that is no string don't count. */
static const char *trim(struct buf *text)
{
	while (text->len > 0 && is_blank(text->data + text->len - 1, 1))
		text->data[--text->len] = '\0';
	return buf_text(text) + strspn(buf_text(text), " \t\r\n");
}

static json_t *scalar_value(struct reader *r, struct frame *f)
{
	const char *text = buf_text(&f->text);
	json_t *value;

	if (f->type == STRING || f->type == UNTYPED) {
		value = json_stringn(text, f->text.len);
		if (!value)
			no_memory(r);
		return value;
	}
	text = trim(&f->text);
	switch (f->type) {
	case HEX:
		return hex_value(r, text);
	case INTEGER:
		return number_value(r, text, true);
	case DECIMAL:
		return number_value(r, text, false);
	case BOOLEAN:
		return boolean_value(r, text);
	case NIL:
		if (*text != '\0')
			refuse(r, "an element with xsi:nil must be empty");
		return json_null();
	case UNTYPED:
	case STRING:
	case LIST:
	case OBJECT:
		break;
	}
	return NULL;
}

/* The value of the innermost element, which ends here. NULL: refused. */
static json_t *finish(struct reader *r)
{
	struct frame *f = innermost(r);

	if (f->type == UNTYPED && r->depth == 1 && is_blank(buf_text(&f->text), f->text.len))
		make_container(r, OBJECT);
	return f->value ? take(f->value) : scalar_value(r, f);
}

static void XMLCALL on_end(void *data, const char *element)
{
	struct reader *r = data;
	struct frame *parent;
	json_t *value;
	int ret = 0;

	(void)element;
	if (r->failed)
		return;
	value = finish(r);
	if (r->failed) {
		json_decref(value);
		return;
	}
	parent = r->depth > 1 ? &r->frames[r->depth - 2] : NULL;
	if (!parent)
		r->value = value;
	else if (parent->type == LIST)
		ret = json_array_append_new(parent->value, value);
	else
		ret = json_object_set_new(parent->value, innermost(r)->key, value);
	frame_free(innermost(r));
	r->depth--;
	if (ret < 0)
		no_memory(r);
}

static void XMLCALL on_doctype(void *data, const char *name, const char *system, const char *public,
			       int internal)
{
	(void)name;
	(void)system;
	(void)public;
	(void)internal;
	refuse(data, "a document type declaration (<!DOCTYPE) is not taken");
}

static void XMLCALL on_instruction(void *data, const char *target, const char *text)
{
	(void)target;
	(void)text;
	refuse(data, "a processing instruction (<?) is not taken");
}

static void XMLCALL on_declaration(void *data, const char *version, const char *encoding,
				   int standalone)
{
	char shown[TEXT_SHOWN];

	(void)version;
	(void)standalone;
	if (encoding && strcasecmp(encoding, "UTF-8") != 0 && strcasecmp(encoding, "US-ASCII") != 0)
		refuse(data, "the encoding %s is not taken; send UTF-8",
		       text_shown(shown, encoding));
}

static int parse(struct reader *r, const char *text, size_t len)
{
	if (len > INT_MAX)
		return err_set(r->e, -EBADMSG, "%s: the document is too large", r->name);
	XML_SetUserData(r->parser, r);
	XML_SetElementHandler(r->parser, on_start, on_end);
	XML_SetCharacterDataHandler(r->parser, on_text);
	XML_SetStartDoctypeDeclHandler(r->parser, on_doctype);
	XML_SetProcessingInstructionHandler(r->parser, on_instruction);
	XML_SetXmlDeclHandler(r->parser, on_declaration);
	if (XML_Parse(r->parser, text, (int)len, XML_TRUE) == XML_STATUS_OK || r->failed)
		return r->failed;
	if (XML_GetErrorCode(r->parser) == XML_ERROR_NO_MEMORY)
		return err_set(r->e, -ENOMEM, "%s: out of memory", r->name);
	return err_set(r->e, -EBADMSG, "%s:%lu: %s", r->name, XML_GetCurrentLineNumber(r->parser),
		       XML_ErrorString(XML_GetErrorCode(r->parser)));
}

int xml_read(const char *text, size_t len, const char *name, json_t **value, struct err *e)
{
	/* The name given here outdoes what the document says: never UTF-16. */
	struct reader r = {.parser = XML_ParserCreate("UTF-8"), .name = name, .e = e};
	int ret;

	if (!r.parser)
		return err_set(e, -ENOMEM, "%s: out of memory", name);
	ret = parse(&r, text, len);
	XML_ParserFree(r.parser);
	while (r.depth > 0)
		frame_free(&r.frames[--r.depth]);
	if (ret < 0)
		json_decref(r.value);
	else
		*value = r.value;
	return ret;
}
