/* SPDX-License-Identifier: MIT */
/*
 * Whatever JSON can say is written so that xml_read() gets it back: a string with characters that
 * no XML document may hold as xs:hexBinary, an empty object as xs:anyType, and a key that can't be
 * an element's name in the attribute "name" of an element called "entry".
 */
#include "data/xml.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "data/json.h"
#include "data/text.h"

static const char namespaces[] = " xmlns:xs=\"http://www.w3.org/2001/XMLSchema\""
				 " xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\"";

/* Less than XML lets a name be (any letter, a colon), and the same in every reader. */
static bool is_name(const char *text)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_";
	size_t start = strspn(text, letters), len = start;

	while (text[len] && (strchr(letters, text[len]) || strchr("0123456789-.", text[len])))
		len++;
	return start > 0 && text[len] == '\0';
}

/* XML 1.0, section 2.2. */
static bool is_xml(const char *text, size_t len)
{
	while (len > 0) {
		uint32_t code;
		size_t bytes = text_char(text, len, &code);

		if (bytes == 0 || (code < 0x20 && !strchr("\t\n\r", (int)code)) || code == 0 ||
		    code == 0xfffe || code == 0xffff)
			return false;
		text += bytes;
		len -= bytes;
	}
	return true;
}

/* What a parser would normalise is written as a reference: "\r" in text, all blanks in an
 * attribute. */
static void put_text(struct buf *out, const char *text, size_t len, bool attribute)
{
	for (size_t i = 0; i < len; i++) {
		switch (text[i]) {
		case '&':
			buf_str(out, "&amp;");
			break;
		case '<':
			buf_str(out, "&lt;");
			break;
		case '>':
			buf_str(out, "&gt;");
			break;
		case '"':
			buf_str(out, "&quot;");
			break;
		case '\t':
		case '\n':
		case '\r':
			if (attribute || text[i] == '\r')
				buf_fmt(out, "&#%d;", text[i]);
			else
				buf_char(out, text[i]);
			break;
		default:
			buf_char(out, text[i]);
		}
	}
}

static int put_real(struct buf *out, const json_t *value)
{
	char *text cleanup(free_at) = json_real_text(value);

	if (!text)
		return -ENOMEM;
	/* xs:decimal knows no exponent. */
	buf_fmt(out, " type=\"%s\">%s", strchr(text, 'e') ? "xs:double" : "xs:decimal", text);
	return 0;
}

static void put_string(struct buf *out, const char *text, size_t len)
{
	if (is_xml(text, len)) {
		buf_str(out, " type=\"xs:string\">");
		put_text(out, text, len, false);
		return;
	}
	buf_str(out, " type=\"xs:hexBinary\">");
	for (size_t i = 0; i < len; i++)
		buf_fmt(out, "%02X", (unsigned char)text[i]);
}

/* From the attributes on, up to the closing tag. */
static int put_scalar(struct buf *out, const json_t *value)
{
	if (json_is_string(value))
		put_string(out, json_string_value(value), json_string_length(value));
	else if (json_is_integer(value))
		buf_fmt(out, " type=\"xs:integer\">%" JSON_INTEGER_FORMAT,
			json_integer_value(value));
	else if (json_is_real(value))
		return put_real(out, value);
	else if (json_is_boolean(value))
		buf_fmt(out, " type=\"xs:boolean\">%s", json_is_true(value) ? "true" : "false");
	else
		buf_str(out, " xsi:nil=\"true\">");
	return 0;
}

static void put_indent(struct buf *out, unsigned depth)
{
	for (unsigned i = 0; i < depth; i++)
		buf_str(out, "  ");
}

struct element {
	const char *key;
	bool typed; /* the name is the value's _type, which is not written again */
	unsigned depth;
};

static int put_element(struct buf *out, json_t *value, const struct element *at, struct err *e);

/* The _type of an object, which is its element's name; NULL: there is none. */
static int find_type(const json_t *value, const char **type, struct err *e)
{
	const json_t *member = json_object_get(value, "_type");

	*type = json_string_value(member);
	if (member && (!*type || !**type))
		return err_set(e, -EINVAL, "a _type must be a string that isn't empty");
	return 0;
}

static int put_items(struct buf *out, const json_t *array, const struct element *at, struct err *e)
{
	char singular[XML_NAME_MAX];
	json_t *item;
	size_t i;

	xml_singular(singular, at->key);
	json_array_foreach(array, i, item)
	{
		const char *type = NULL;
		int ret = at->depth == 0 ? find_type(item, &type, e) : 0;
		struct element child = {type ? type : singular, type, at->depth + 1};

		if (ret == 0)
			ret = put_element(out, item, &child, e);
		if (ret < 0)
			return ret;
	}
	return 0;
}

static int put_members(struct buf *out, json_t *object, const struct element *at, struct err *e)
{
	const char *key;
	json_t *value;

	json_object_foreach(object, key, value)
	{
		struct element child = {.key = key, .depth = at->depth + 1};
		int ret = at->typed && strcmp(key, "_type") == 0
				  ? 0
				  : put_element(out, value, &child, e);

		if (ret < 0)
			return ret;
	}
	return 0;
}

static int put_content(struct buf *out, json_t *value, const struct element *at, struct err *e)
{
	size_t members = json_object_size(value) - (at->typed ? 1 : 0) + json_array_size(value);
	int ret;

	if (!json_is_object(value) && !json_is_array(value))
		return put_scalar(out, value);
	if (at->depth == XML_DEPTH_MAX)
		return err_set(e, -EINVAL, "a value of more than %d levels can't be written",
			       XML_DEPTH_MAX);
	if (json_is_array(value))
		buf_str(out, " type=\"xs:list\"");
	else if (members == 0)
		buf_str(out, " type=\"xs:anyType\"");
	buf_char(out, '>');
	if (members == 0)
		return 0;
	buf_char(out, '\n');
	ret = json_is_array(value) ? put_items(out, value, at, e) : put_members(out, value, at, e);
	put_indent(out, at->depth);
	return ret;
}

static int put_element(struct buf *out, json_t *value, const struct element *at, struct err *e)
{
	bool named = is_name(at->key);
	int ret;

	if (!is_xml(at->key, strlen(at->key)))
		return err_set(e, -EINVAL, "a key with control characters can't be written as XML");
	put_indent(out, at->depth);
	buf_fmt(out, "<%s", named ? at->key : "entry");
	if (!named) {
		buf_str(out, " name=\"");
		put_text(out, at->key, strlen(at->key), true);
		buf_char(out, '"');
	}
	if (at->depth == 0)
		buf_str(out, namespaces);
	ret = put_content(out, value, at, e);
	buf_fmt(out, "</%s>\n", named ? at->key : "entry");
	return ret;
}

int xml_write(const json_t *value, const char *root, struct buf *out, struct err *e)
{
	struct buf text cleanup(buf_free) = {0};
	const char *type;
	int ret = find_type(value, &type, e);
	struct element at = {type ? type : root, type, 0};

	if (ret < 0)
		return ret;
	buf_str(&text, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
	/* Jansson iterates over objects through a pointer to non-const only. */
	ret = put_element(&text, (json_t *)(uintptr_t)value, &at, e);
	if (ret < 0 && ret != -ENOMEM)
		return ret;
	buf_add(out, text.data, text.len);
	if (ret < 0 || buf_status(&text) < 0 || buf_status(out) < 0)
		return err_set(e, -ENOMEM, "out of memory");
	return 0;
}

static const struct {
	const char *plural, *singular;
} irregular[] = {
	{"aliases", "alias"}, {"children", "child"}, {"indices", "index"},
	{"series", "series"}, {"shelves", "shelf"},  {"species", "species"},
};

static bool ends(const char *text, size_t len, const char *end)
{
	size_t wanted = strlen(end);

	return len > wanted && memcmp(text + len - wanted, end, wanted) == 0;
}

/* How many bytes of its end a plural has too many; "ies" becomes "y". */
static size_t surplus(const char *plural, size_t len)
{
	static const char *const es[] = {"sses", "uses", "xes", "ches", "shes"};

	for (size_t i = 0; i < COUNT(es); i++)
		if (ends(plural, len, es[i]))
			return 2;
	if (ends(plural, len, "s") && !ends(plural, len, "ss") && !ends(plural, len, "us") &&
	    !ends(plural, len, "is"))
		return 1;
	return 0;
}

const char *xml_singular(char singular[XML_NAME_MAX], const char *plural)
{
	size_t len = strlen(plural);

	const char *word = NULL, *end = "";

	if (len >= XML_NAME_MAX || !is_name(plural))
		word = "item";
	for (size_t i = 0; i < COUNT(irregular) && !word; i++)
		if (strcmp(plural, irregular[i].plural) == 0)
			word = irregular[i].singular;
	if (word) {
		len = strlen(word);
	} else if (ends(plural, len, "ies")) {
		len -= 3;
		end = "y";
	} else {
		len -= surplus(plural, len);
	}
	(void)snprintf(singular, XML_NAME_MAX, "%.*s%s", (int)len, word ? word : plural, end);
	return singular;
}
