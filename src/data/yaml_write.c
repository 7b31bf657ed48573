/* SPDX-License-Identifier: MIT */
/*
 * The plain (unquoted) style is used only where every reader, of YAML 1.1 or 1.2, finds the same
 * string in it; all else is double-quoted. A little too much is quoted rather than too little:
 * whatever starts like a number, for one.
 */
#include "data/yaml.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "data/json.h"
#include "data/text.h"

#define KEY_SIMPLE_MAX 128 /* a longer one is written with "? "; the format's limit is 1024 */

static bool is_letter(uint32_t code)
{
	return (code >= 'a' && code <= 'z') || (code >= 'A' && code <= 'Z');
}

/* Characters beyond ASCII that every reader takes as they are. */
static bool is_safe_beyond_ascii(uint32_t code)
{
	return code > 0xa0 && code != 0x2028 && code != 0x2029 && code != 0xfeff &&
	       (code & 0xfffe) != 0xfffe;
}

/* YAML 1.1's booleans and nulls, https://yaml.org/type/, in any case. */
static bool is_word(const char *text)
{
	static const char *const words[] = {"y",    "n",     "yes", "no",  "on",
					    "true", "false", "off", "null"};

	for (size_t i = 0; i < COUNT(words); i++)
		if (strcasecmp(text, words[i]) == 0)
			return true;
	return false;
}

static bool is_plain_char(uint32_t code, char next)
{
	if (code == ' ' || code == ':')
		return next != '\0' && next != ' ';
	if (code < 0x80)
		return is_letter(code) ||
		       strchr("0123456789_./@%+-*?=,;()[]{}<>&|$^~!'", (int)code);
	return is_safe_beyond_ascii(code);
}

static bool is_plain(const char *text, size_t len)
{
	uint32_t code;
	size_t bytes = text_char(text, len, &code);

	if (bytes == 0 || is_word(text) ||
	    !(is_letter(code) || code == '/' || code == '_' ||
	      (code >= 0x80 && is_safe_beyond_ascii(code))))
		return false;
	while (len > 0) {
		bytes = text_char(text, len, &code);
		if (bytes == 0 || !is_plain_char(code, text[bytes]))
			return false;
		text += bytes;
		len -= bytes;
	}
	return true;
}

static void put_quoted(struct buf *out, const char *text, size_t len)
{
	uint32_t code = 0;
	size_t bytes;

	buf_char(out, '"');
	/* to what is no UTF-8, which jansson keeps out of its strings */
	while (len > 0 && (bytes = text_char(text, len, &code)) > 0) {
		if (code == '"' || code == '\\')
			buf_fmt(out, "\\%c", (char)code);
		else if (code == '\n')
			buf_str(out, "\\n");
		else if (code == '\t')
			buf_str(out, "\\t");
		else if (code < 0x20 || (code >= 0x7f && code <= 0xa0))
			buf_fmt(out, "\\x%02X", code);
		else if (code < 0x80 || is_safe_beyond_ascii(code))
			buf_add(out, text, bytes);
		else
			buf_fmt(out, code > 0xffff ? "\\U%08X" : "\\u%04X", code);
		text += bytes;
		len -= bytes;
	}
	buf_char(out, '"');
}

static void put_text(struct buf *out, const char *text, size_t len)
{
	if (is_plain(text, len))
		buf_add(out, text, len);
	else
		put_quoted(out, text, len);
}

static int put_string(struct buf *out, const json_t *value, struct err *e)
{
	const char *text = json_string_value(value);
	size_t len = json_string_length(value);

	if (memchr(text, '\0', len))
		return err_set(e, -EINVAL, "a string with a NUL can't be written as YAML");
	put_text(out, text, len);
	return 0;
}

/* YAML 1.1 wants a dot in a float and a sign in its exponent. */
static int put_real(struct buf *out, const json_t *value, struct err *e)
{
	char *text cleanup(free_at) = json_real_text(value);
	size_t whole;

	if (!text)
		return err_set(e, -ENOMEM, "out of memory");
	whole = strcspn(text, "e");
	buf_add(out, text, whole);
	if (!memchr(text, '.', whole))
		buf_str(out, ".0");
	if (text[whole] == 'e')
		buf_fmt(out, "e%s%s", text[whole + 1] == '-' ? "" : "+", text + whole + 1);
	return 0;
}

static int put_scalar(struct buf *out, const json_t *value, struct err *e)
{
	if (json_is_string(value))
		return put_string(out, value, e);
	if (json_is_integer(value))
		buf_fmt(out, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
	else if (json_is_real(value))
		return put_real(out, value, e);
	else if (json_is_boolean(value))
		buf_str(out, json_is_true(value) ? "true" : "false");
	else
		buf_str(out, "null");
	return 0;
}

/* The type that is written as the tag !type: a plain word; NULL: there is none. */
static const char *type_tag(const json_t *value)
{
	const json_t *member = json_object_get(value, "_type");
	const char *type = json_string_value(member);

	if (!type || *type == '\0' || strlen(type) != json_string_length(member))
		return NULL;
	for (const char *c = type; *c; c++)
		if (!is_letter((unsigned char)*c) && !strchr("0123456789-", *c))
			return NULL;
	return type;
}

static int put_value(struct buf *out, json_t *value, unsigned depth, unsigned indent, char before,
		     struct err *e);

static void put_indent(struct buf *out, unsigned indent)
{
	for (unsigned i = 0; i < indent; i++)
		buf_char(out, ' ');
}

/* One "key: value", where the line is already indented. */
static int put_member(struct buf *out, const char *key, json_t *value, unsigned depth,
		      unsigned indent, struct err *e)
{
	bool simple = strlen(key) <= KEY_SIMPLE_MAX;

	if (!simple)
		buf_str(out, "? ");
	put_text(out, key, strlen(key));
	if (!simple) {
		buf_char(out, '\n');
		put_indent(out, indent);
	}
	buf_char(out, ':');
	return put_value(out, value, depth, indent, ':', e);
}

static int put_object(struct buf *out, json_t *object, const char *tag, unsigned depth,
		      unsigned indent, bool inline_first, struct err *e)
{
	const char *key;
	json_t *value;
	int ret = 0;

	json_object_foreach(object, key, value)
	{
		if (tag && strcmp(key, "_type") == 0)
			continue;
		if (!inline_first)
			put_indent(out, indent);
		inline_first = false;
		ret = put_member(out, key, value, depth, indent, e);
		if (ret < 0)
			break;
	}
	return ret;
}

static int put_array(struct buf *out, const json_t *array, unsigned depth, unsigned indent,
		     bool inline_first, struct err *e)
{
	size_t i;
	json_t *value;
	int ret = 0;

	json_array_foreach(array, i, value)
	{
		if (!inline_first)
			put_indent(out, indent);
		inline_first = false;
		buf_char(out, '-');
		ret = put_value(out, value, depth, indent, '-', e);
		if (ret < 0)
			break;
	}
	return ret;
}

/* What a collection holds, in block style; see put_value(). */
static int put_members(struct buf *out, json_t *value, const char *tag, unsigned depth,
		       unsigned indent, char before, struct err *e)
{
	unsigned inner = before ? indent + 2 : indent;
	bool inline_first = !tag && before != ':';

	if (!inline_first)
		buf_char(out, '\n');
	else if (before)
		buf_char(out, ' ');
	return json_is_object(value) ? put_object(out, value, tag, depth, inner, inline_first, e)
				     : put_array(out, value, depth, inner, inline_first, e);
}

/* The value behind what stands before it on the line: ':' or '-', with indent spaces to the left
 * of it, or nothing ('\0'). Ends the line. */
static int put_value(struct buf *out, json_t *value, unsigned depth, unsigned indent, char before,
		     struct err *e)
{
	const char *tag = type_tag(value);
	size_t members = json_object_size(value) - (tag ? 1 : 0) + json_array_size(value);
	int ret = 0;

	if (depth == YAML_DEPTH_MAX && (json_is_object(value) || json_is_array(value)))
		return err_set(e, -EINVAL, "a value of more than %d levels can't be written",
			       YAML_DEPTH_MAX);
	if (tag)
		buf_fmt(out, "%s!%s", before ? " " : "", tag);
	if (members > 0)
		return put_members(out, value, tag, depth + 1, indent, before, e);
	if (before || tag)
		buf_char(out, ' ');
	if (json_is_object(value))
		buf_str(out, "{}");
	else if (json_is_array(value))
		buf_str(out, "[]");
	else
		ret = put_scalar(out, value, e);
	buf_char(out, '\n');
	return ret;
}

int yaml_write(const json_t *value, struct buf *out, struct err *e)
{
	struct buf text cleanup(buf_free) = {0};
	/* Jansson iterates over objects through a pointer to non-const only. */
	int ret = put_value(&text, (json_t *)(uintptr_t)value, 0, 0, '\0', e);

	if (ret < 0)
		return ret;
	buf_add(out, text.data, text.len);
	if (buf_status(&text) < 0 || buf_status(out) < 0)
		return err_set(e, -ENOMEM, "out of memory");
	return 0;
}
