/* SPDX-License-Identifier: MIT */
/* Bodies that somebody else wrote, of every format, made values. */
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "base/buf.h"
#include "base/cursor.h"
#include "base/err.h"
#include "base/mem.h"
#include "data/json.h"
#include "data/text.h"
#include "data/xml.h"
#include "data/yaml.h"
#include "rest/represent.h"

static const char name[] = "body"; /* "body:3: …" */

static int read_yaml(const char *body, size_t len, json_t **value, struct err *e)
{
	struct yaml_docs docs cleanup(yaml_docs_free) = {0};
	int ret = yaml_read(body, len, name, &docs, e);

	if (ret < 0)
		return ret;
	if (docs.count != 1)
		return err_set(e, -EBADMSG, "%s: one YAML document is wanted, not %zu", name,
			       docs.count);
	*value = json_incref(docs.items[0].value);
	return 0;
}

/* Percent-decodes a name or value of a form body into out. */
static int decode(const char *text, size_t len, struct buf *out, struct err *e)
{
	static const char digits[] = "0123456789abcdef0123456789ABCDEF";

	for (size_t i = 0; i < len; i++) {
		const char *high, *low;

		if (text[i] != '%') {
			buf_char(out, (char)(text[i] == '+' ? ' ' : text[i]));
			continue;
		}
		high = i + 2 < len && text[i + 1] ? strchr(digits, text[i + 1]) : NULL;
		low = high && text[i + 2] ? strchr(digits, text[i + 2]) : NULL;
		if (!low)
			return err_set(e, -EBADMSG,
				       "%s: behind '%%' two hexadecimal digits are wanted", name);
		buf_char(out, (char)((high - digits) % 16 * 16 + (low - digits) % 16));
		i += 2;
	}
	if (buf_status(out) < 0)
		return err_set(e, -ENOMEM, "out of memory");
	return 0;
}

static int check_text(const struct buf *text, struct err *e)
{
	const char *at = buf_text(text);
	size_t left = text->len;
	uint32_t code = 0;

	while (left > 0) {
		size_t bytes = text_char(at, left, &code);

		if (bytes == 0 || code == 0)
			return err_set(e, -EBADMSG, "%s: UTF-8 without NUL is wanted", name);
		at += bytes;
		left -= bytes;
	}
	return 0;
}

/* Puts the string where there may be others of that name: the second makes it an array. */
static int put_string(json_t *object, const char *key, const struct buf *text, struct err *e)
{
	json_t *string = json_stringn(buf_text(text), text->len);
	json_t *there = json_object_get(object, key);
	char shown[TEXT_SHOWN];
	int ret;

	if (json_is_object(there)) {
		json_decref(string);
		return err_set(e, -EBADMSG, "%s: %s has both a value and parts", name,
			       text_shown(shown, key));
	}
	if (!there) {
		ret = json_object_set_new(object, key, string);
	} else if (json_is_array(there)) {
		ret = json_array_append_new(there, string);
	} else {
		json_t *array = json_array();

		ret = json_array_append(array, there) < 0 ? -1 : 0;
		if (json_array_append_new(array, string) < 0)
			ret = -1;
		if (json_object_set_new(object, key, array) < 0)
			ret = -1;
	}
	return ret < 0 ? err_set(e, -ENOMEM, "out of memory") : 0;
}

/* The object under the key, made where there is none. NULL: something else is there. */
static json_t *object_in(json_t *object, const char *key, struct err *e)
{
	json_t *there = json_object_get(object, key);
	char shown[TEXT_SHOWN];

	if (!there) {
		there = json_object();
		if (json_object_set_new(object, key, there) == 0)
			return there;
		(void)err_set(e, -ENOMEM, "out of memory");
		return NULL;
	}
	if (json_is_object(there))
		return there;
	(void)err_set(e, -EBADMSG, "%s: %s has both a value and parts", name,
		      text_shown(shown, key));
	return NULL;
}

/* Puts the string under its dotted name, which is cut up for it. */
static int put_dotted(json_t *object, char *dotted, const struct buf *text, struct err *e)
{
	struct err why = {0};

	for (unsigned depth = 1;; depth++) {
		char *dot = strchr(dotted, '.');

		if (*dotted == '\0' || *dotted == '.')
			return err_set(e, -EBADMSG, "%s: a field has an empty name", name);
		if (depth > REST_DEPTH_MAX)
			return err_set(e, -EBADMSG, "%s: more than %d levels deep", name,
				       REST_DEPTH_MAX);
		if (!dot)
			return put_string(object, dotted, text, e);
		*dot = '\0';
		object = object_in(object, dotted, &why);
		if (!object)
			return err_set(e, why.code, "%s", why.text);
		dotted = dot + 1;
	}
}

static int read_pair(const char *pair, size_t len, json_t *object, struct err *e)
{
	struct buf key cleanup(buf_free) = {0};
	struct buf text cleanup(buf_free) = {0};
	const char *equals = memchr(pair, '=', len);
	size_t split = equals ? (size_t)(equals - pair) : len;
	int ret = decode(pair, split, &key, e);

	if (ret == 0 && equals)
		ret = decode(equals + 1, len - split - 1, &text, e);
	if (ret == 0)
		ret = check_text(&key, e);
	if (ret == 0)
		ret = check_text(&text, e);
	if (ret < 0)
		return ret;
	if (!key.data)
		return err_set(e, -EBADMSG, "%s: a field has an empty name", name);
	return put_dotted(object, key.data, &text, e);
}

static int read_form(const char *body, size_t len, json_t **value, struct err *e)
{
	json_t *object cleanup(json_free_at) = json_object();
	struct cursor c = cursor_of(body, len);
	const char *pair;

	if (!object)
		return err_set(e, -ENOMEM, "out of memory");
	while (cursor_part(&c, '&', &pair, &len)) {
		int ret = len > 0 ? read_pair(pair, len, object, e) : 0;

		if (ret < 0)
			return ret;
	}
	*value = take(object);
	return 0;
}

static int check_size(json_t *value, unsigned depth, size_t *values, struct err *e)
{
	const char *key;
	json_t *child;
	size_t i;
	int ret = 0;

	if (++*values > REST_VALUES_MAX)
		return err_set(e, -EBADMSG, "%s: more than %d values", name, REST_VALUES_MAX);
	if (!json_is_object(value) && !json_is_array(value))
		return 0;
	if (depth == REST_DEPTH_MAX)
		return err_set(e, -EBADMSG, "%s: more than %d levels deep", name, REST_DEPTH_MAX);
	json_object_foreach(value, key, child)
	{
		ret = check_size(child, depth + 1, values, e);
		if (ret < 0)
			return ret;
	}
	json_array_foreach(value, i, child)
	{
		ret = check_size(child, depth + 1, values, e);
		if (ret < 0)
			return ret;
	}
	return 0;
}

static int read_any(const char *body, size_t len, enum rest_format format, json_t **value,
		    struct err *e)
{
	switch (format) {
	case REST_JSON:
		return json_read(body, len, name, value, e);
	case REST_YAML:
		return read_yaml(body, len, value, e);
	case REST_XML:
		return xml_read(body, len, name, value, e);
	case REST_FORM_BODY:
		return read_form(body, len, value, e);
	case REST_HTML:
		break;
	}
	return err_set(e, -EINVAL, "HTML is only written");
}

int rest_read(const char *body, size_t len, enum rest_format format, json_t **value, struct err *e)
{
	json_t *read cleanup(json_free_at) = NULL;
	size_t values = 0;
	int ret = read_any(body ? body : "", len, format, &read, e);

	if (ret == 0)
		ret = check_size(read, 0, &values, e);
	if (ret == 0)
		*value = take(read);
	return ret;
}
