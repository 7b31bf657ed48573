/* SPDX-License-Identifier: MIT */
#include "rest/form_value.h"

#include <errno.h>
#include <math.h>
#include <regex.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "data/json.h"
#include "data/text.h"
#include "rest/form_field.h"

/* One value of a field. */
struct checked {
	const json_t *field;
	const char *path; /* "from[1]" */
	bool text;
	struct rest_fault *fault;
};

static int refuse(const struct checked *c, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

static int refuse(const struct checked *c, const char *format, ...)
{
	struct err why = {0};
	va_list args;

	va_start(args, format);
	(void)err_setv(&why, -1, format, args);
	va_end(args);
	return rest_refuse(c->fault, 400, "bad-value", c->path, "%s %s", c->path, why.text);
}

static const char *member(const json_t *field, const char *name)
{
	return json_string_value(json_object_get(field, name));
}

static int check_choices(const struct checked *c, const char *value)
{
	const json_t *choices = json_object_get(c->field, "choices");
	struct buf list cleanup(buf_free) = {0};
	size_t count = json_array_size(choices);
	char shown[TEXT_SHOWN];

	for (size_t i = 0; i < count; i++) {
		const char *choice = json_string_value(json_array_get(choices, i));

		if (strcmp(choice, value) == 0)
			return 0;
		buf_fmt(&list, "%s%s", i == 0 ? "" : i + 1 < count ? ", " : " or ", choice);
	}
	return count == 0 ? 0
			  : refuse(c, "must be %s, not \"%s\"", buf_text(&list),
				   text_shown(shown, value));
}

static int check_regex(const struct checked *c, const char *value)
{
	const char *pattern = member(c->field, "regex");
	struct buf whole cleanup(buf_free) = {0};
	char shown[TEXT_SHOWN];
	regex_t regex;
	int ret;

	if (!pattern)
		return 0;
	buf_fmt(&whole, "^(%s)$", pattern);
	if (buf_status(&whole) < 0 ||
	    regcomp(&regex, buf_text(&whole), REG_EXTENDED | REG_NOSUB) != 0)
		return rest_no_memory(c->fault); /* the model was checked for it */
	ret = regexec(&regex, value, 0, NULL, 0);
	regfree(&regex);
	return ret == 0 ? 0
			: refuse(c, "must match the regular expression %s, unlike \"%s\"", pattern,
				 text_shown(shown, value));
}

static int check_string(const struct checked *c, const json_t *given, json_t **made)
{
	const json_t *min = json_object_get(c->field, "minlen");
	const json_t *max = json_object_get(c->field, "maxlen");
	const char *value = json_string_value(given);
	size_t len = json_string_length(given);

	if (!value)
		return refuse(c, "must be a string");
	if (min && len < (size_t)json_integer_value(min))
		return refuse(c, "must have at least %lld bytes, not %zu", json_integer_value(min),
			      len);
	if (max && len > (size_t)json_integer_value(max))
		return refuse(c, "must have at most %lld bytes, not %zu", json_integer_value(max),
			      len);
	if (check_choices(c, value) < 0 || check_regex(c, value) < 0)
		return -1;
	*made = json_string(value);
	return *made ? 0 : rest_no_memory(c->fault);
}

/* As HTML has numbers: JSON's, but zeros may stand in front of one, and nothing before its dot. */
static int load_number(const char *text, json_t **number)
{
	struct buf b cleanup(buf_free) = {0};
	const char *digits = text + (*text == '-');

	while (digits[0] == '0' && digits[1] >= '0' && digits[1] <= '9')
		digits++;
	buf_fmt(&b, "%s%s%s", *text == '-' ? "-" : "", *digits == '.' ? "0" : "", digits);
	if (buf_status(&b) < 0)
		return -ENOMEM;
	return json_load(buf_text(&b), b.len, JSON_DECODE_ANY, number, NULL);
}

static int given_number(const struct checked *c, const json_t *given, json_t **number)
{
	const char *text = c->text ? json_string_value(given) : NULL;
	int ret = 0;

	if (text)
		ret = load_number(text, number);
	else if (!(*number = json_copy((json_t *)(uintptr_t)given)))
		ret = -ENOMEM;
	if (ret == -ENOMEM)
		return rest_no_memory(c->fault);
	return json_is_number(*number) ? 0 : refuse(c, "must be a number");
}

/* A whole number may be written as a real one (128.0, 1e3). */
static int check_number(const struct checked *c, const json_t *given, json_t **made)
{
	bool whole = json_is_true(json_object_get(c->field, "integer"));
	const json_t *min = json_object_get(c->field, "min");
	const json_t *max = json_object_get(c->field, "max");
	json_t *number cleanup(json_free_at) = NULL;
	double value;

	if (given_number(c, given, &number) < 0)
		return -1;
	value = json_number_value(number);
	if (min && value < json_number_value(min))
		return refuse(c, "must be at least %g", json_number_value(min));
	if (max && value > json_number_value(max))
		return refuse(c, "must be at most %g", json_number_value(max));
	if (whole && trunc(value) != value)
		return refuse(c, "must be a whole number");
	*made = whole ? form_number(value) : take(number);
	return *made ? 0 : rest_no_memory(c->fault);
}

static int check_boolean(const struct checked *c, const json_t *given, json_t **made)
{
	const char *text = c->text ? json_string_value(given) : NULL;

	if (json_is_true(given) || (text && strcmp(text, "true") == 0))
		*made = json_true();
	else if (json_is_false(given) || (text && strcmp(text, "false") == 0))
		*made = json_false();
	else
		return refuse(c, "must be true or false");
	return 0;
}

static int check_one(const struct checked *c, const json_t *given, json_t **made)
{
	const char *type = member(c->field, "type");

	if (strcmp(type, "number") == 0)
		return check_number(c, given, made);
	if (strcmp(type, "boolean") == 0)
		return check_boolean(c, given, made);
	return check_string(c, given, made);
}

/* Appends the lines that say something; the others are what a person leaves behind in a form. */
static int add_lines(json_t *values, const char *text)
{
	static const char blanks[] = " \t\r";

	while (*text) {
		const char *end = strchrnul(text, '\n');
		size_t len;

		text += strspn(text, blanks);
		len = end > text ? (size_t)(end - text) : 0;
		while (len > 0 && strchr(blanks, text[len - 1]))
			len--;
		if (len > 0 && json_array_append_new(values, json_stringn(text, len)) < 0)
			return -1;
		text = *end ? end + 1 : end;
	}
	return 0;
}

/* Several values: an array; one alone; in a form body one a line, and the name repeated. */
static json_t *values_of(const json_t *given, bool text)
{
	json_t *values cleanup(json_free_at) = json_array();
	size_t count = json_is_array(given) ? json_array_size(given) : 1;

	for (size_t i = 0; i < count; i++) {
		const json_t *one = json_is_array(given) ? json_array_get(given, i) : given;
		int ret = text && json_is_string(one)
				  ? add_lines(values, json_string_value(one))
				  : json_array_append(values, (json_t *)(uintptr_t)one);

		if (ret < 0)
			return NULL;
	}
	return take(values);
}

static int check_several(const struct checked *c, const json_t *given, json_t **made)
{
	json_t *values cleanup(json_free_at) = values_of(given, c->text);
	json_t *right cleanup(json_free_at) = json_array();
	const json_t *most = json_object_get(c->field, "most"), *value;
	size_t i;

	if (!values || !right)
		return rest_no_memory(c->fault);
	if (most && json_array_size(values) > (size_t)json_integer_value(most))
		return refuse(c, "must have at most %lld values, not %zu", json_integer_value(most),
			      json_array_size(values));
	json_array_foreach(values, i, value)
	{
		char path[sizeof(c->fault->field)];
		struct checked item = {c->field, path, c->text, c->fault};
		json_t *one = NULL;

		(void)snprintf(path, sizeof(path), "%s[%zu]", c->path, i);
		if (check_one(&item, value, &one) < 0)
			return -1;
		if (json_array_append_new(right, one) < 0)
			return rest_no_memory(c->fault);
	}
	/* Nothing typed into a form asks for the default; an empty array is a value. */
	if (json_array_size(right) > 0 || !c->text)
		*made = take(right);
	return 0;
}

int form_check_value(const json_t *field, const json_t *given, bool text, json_t **made,
		     struct rest_fault *fault)
{
	struct checked c = {field, member(field, "name"), text, fault};

	*made = NULL;
	if (json_is_null(given) ||
	    (text && json_is_string(given) && json_string_length(given) == 0))
		return 0;
	if (json_is_true(json_object_get(field, "multiple")))
		return check_several(&c, given, made);
	if (json_is_array(given))
		return refuse(&c, "must be one value, not several");
	return check_one(&c, given, made);
}
