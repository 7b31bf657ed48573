/* SPDX-License-Identifier: MIT */
#include "data/yaml.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <yaml.h>

#include "base/err.h"
#include "base/mem.h"
#include "data/json.h"
#include "data/text.h"

/* The values of a document in the order in which they begin; a value's children follow it. */
struct yaml_mark {
	unsigned line;
	size_t next; /* the first mark behind the value and all that is in it */
};

struct reader {
	yaml_parser_t parser;
	const char *name;
	const char *text;
	size_t len;
	size_t values; /* of all documents so far */
	struct err *e;
};

static unsigned line_of(const yaml_mark_t *mark)
{
	return (unsigned)mark->line + 1;
}

/* Refuses the event. */
static int refuse(const struct reader *r, const yaml_event_t *event, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static int refuse(const struct reader *r, const yaml_event_t *event, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	err_setv(r->e, -EBADMSG, format, args);
	va_end(args);
	err_where(r->e, "%s:%u", r->name, line_of(&event->start_mark));
	return -EBADMSG;
}

static int no_memory(const struct reader *r)
{
	err_set(r->e, -ENOMEM, "%s: out of memory", r->name);
	return -ENOMEM;
}

/* The reader's errors (encoding, control characters) come with an offset in place of a mark. */
static unsigned line_at(const struct reader *r, size_t offset)
{
	unsigned line = 1;

	for (size_t i = 0; i < offset && i < r->len; i++)
		line += r->text[i] == '\n';
	return line;
}

static int syntax_error(const struct reader *r)
{
	const yaml_parser_t *p = &r->parser;
	const char *problem = p->problem ? p->problem : "no YAML";

	if (p->error == YAML_MEMORY_ERROR)
		return no_memory(r);
	if (p->error == YAML_READER_ERROR)
		return err_set(r->e, -EBADMSG, "%s:%u: %s", r->name, line_at(r, p->problem_offset),
			       problem);
	return err_set(r->e, -EBADMSG, "%s:%u: %s%s%s", r->name, line_of(&p->problem_mark), problem,
		       p->context ? " " : "", p->context ? p->context : "");
}

/* Takes the next event, to be deleted. */
static int next_event(struct reader *r, yaml_event_t *event)
{
	return yaml_parser_parse(&r->parser, event) ? 0 : syntax_error(r);
}

static bool is_tag(const yaml_char_t *tag, const char *wanted)
{
	return strcmp((const char *)tag, wanted) == 0;
}

static size_t digits(const char *text)
{
	return strspn(text, "0123456789");
}

/* RFC 8259, section 6. */
static bool is_number(const char *text)
{
	size_t whole;

	text += *text == '-';
	whole = digits(text);
	if (whole == 0 || (whole > 1 && *text == '0'))
		return false;
	text += whole;
	if (*text == '.') {
		if (digits(++text) == 0)
			return false;
		text += digits(text);
	}
	if (*text == 'e' || *text == 'E') {
		text++;
		text += *text == '+' || *text == '-';
		if (digits(text) == 0)
			return false;
		text += digits(text);
	}
	return *text == '\0';
}

/* An unquoted scalar by the JSON schema (YAML 1.2.2, section 10.2), with ~ and nothing as null. */
static json_t *plain_value(const char *text, size_t len, bool *too_big)
{
	json_error_t error;
	json_t *value = NULL;
	int r;

	if (len == 0 || strcmp(text, "~") == 0 || strcmp(text, "null") == 0)
		return json_null();
	if (strcmp(text, "true") == 0)
		return json_true();
	if (strcmp(text, "false") == 0)
		return json_false();
	if (!is_number(text))
		return json_stringn(text, len);
	r = json_load(text, len, JSON_DECODE_ANY, &value, &error);
	*too_big = r == -EBADMSG && json_error_code(&error) == json_error_numeric_overflow;
	return value;
}

static int read_scalar(const struct reader *r, const yaml_event_t *event, json_t **value)
{
	const char *text = (const char *)event->data.scalar.value;
	const yaml_char_t *tag = event->data.scalar.tag;
	size_t len = event->data.scalar.length;
	bool plain = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE, too_big = false;
	char shown[TEXT_SHOWN];

	if (event->data.scalar.anchor)
		return refuse(r, event, "anchors (&%s) are not taken",
			      text_shown(shown, (const char *)event->data.scalar.anchor));
	if (memchr(text, '\0', len))
		return refuse(r, event, "a string must not hold a NUL");
	if (tag && is_tag(tag, YAML_STR_TAG))
		plain = false;
	else if (tag && !is_tag(tag, "!"))
		return refuse(r, event, "the tag %s is not taken here",
			      text_shown(shown, (const char *)tag));
	*value = plain ? plain_value(text, len, &too_big) : json_stringn(text, len);
	if (too_big)
		return refuse(r, event, "the number %s is too big; quote it if it is text",
			      text_shown(shown, text));
	return *value ? 0 : no_memory(r);
}

static int read_value(struct reader *r, struct yaml_doc *doc, const yaml_event_t *event,
		      unsigned depth, json_t **value);

/* Notes where the value stands; *mark is its place among the marks. */
static int add_mark(struct reader *r, struct yaml_doc *doc, const yaml_event_t *event, size_t *mark)
{
	if (r->values++ == YAML_VALUES_MAX) {
		refuse(r, event, "more than %d values", YAML_VALUES_MAX);
		return -EBADMSG;
	}
	if (array_room(&doc->marks, &doc->marks_room, doc->nmarks, sizeof(*doc->marks)) < 0)
		return no_memory(r);
	*mark = doc->nmarks;
	doc->marks[doc->nmarks++] = (struct yaml_mark){line_of(&event->start_mark), *mark + 1};
	return 0;
}

static int read_items(struct reader *r, struct yaml_doc *doc, unsigned depth, json_t *array)
{
	for (;;) {
		yaml_event_t event cleanup(yaml_event_delete) = {0};
		json_t *item = NULL;
		int ret = next_event(r, &event);

		if (ret < 0 || event.type == YAML_SEQUENCE_END_EVENT)
			return ret;
		ret = read_value(r, doc, &event, depth, &item);
		if (ret < 0)
			return ret;
		if (json_array_append_new(array, item) < 0)
			return no_memory(r);
	}
}

static int read_sequence(struct reader *r, struct yaml_doc *doc, const yaml_event_t *event,
			 unsigned depth, json_t **value)
{
	const yaml_char_t *tag = event->data.sequence_start.tag;
	json_t *array cleanup(json_free_at) = NULL;
	char shown[TEXT_SHOWN];
	int ret;

	if (event->data.sequence_start.anchor)
		return refuse(r, event, "anchors (&%s) are not taken",
			      text_shown(shown, (const char *)event->data.sequence_start.anchor));
	if (tag && !is_tag(tag, "!") && !is_tag(tag, YAML_SEQ_TAG))
		return refuse(r, event, "the tag %s is not taken here",
			      text_shown(shown, (const char *)tag));
	array = json_array();
	if (!array)
		return no_memory(r);
	ret = read_items(r, doc, depth, array);
	if (ret == 0)
		*value = take(array);
	return ret;
}

/* A key that is new in the mapping; the text is the event's. */
static int read_key(const struct reader *r, const yaml_event_t *event, const json_t *object,
		    const char **key)
{
	json_t *value cleanup(json_free_at) = NULL;
	char shown[TEXT_SHOWN];
	const char *text;
	int ret;

	if (event->type == YAML_ALIAS_EVENT)
		return refuse(r, event, "aliases (*%s) are not taken",
			      text_shown(shown, (const char *)event->data.alias.anchor));
	if (event->type != YAML_SCALAR_EVENT)
		return refuse(r, event, "a key must be a string");
	ret = read_scalar(r, event, &value);
	if (ret < 0)
		return ret;
	text = (const char *)event->data.scalar.value;
	if (!json_is_string(value))
		return refuse(r, event, "a key must be a string: \"%s\", with the quotes",
			      text_shown(shown, text));
	if (event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE && strcmp(text, "<<") == 0)
		return refuse(r, event, "merge keys (<<) are not taken");
	if (json_object_get(object, text))
		return refuse(r, event, "the key \"%s\" is there twice", text_shown(shown, text));
	*key = text;
	return 0;
}

static int read_members(struct reader *r, struct yaml_doc *doc, unsigned depth, json_t *object)
{
	for (;;) {
		yaml_event_t name cleanup(yaml_event_delete) = {0};
		yaml_event_t event cleanup(yaml_event_delete) = {0};
		const char *key = NULL;
		json_t *member = NULL;
		int ret = next_event(r, &name);

		if (ret < 0 || name.type == YAML_MAPPING_END_EVENT)
			return ret;
		ret = read_key(r, &name, object, &key);
		if (ret == 0)
			ret = next_event(r, &event);
		if (ret == 0)
			ret = read_value(r, doc, &event, depth, &member);
		if (ret < 0)
			return ret;
		if (json_object_set_new(object, key, member) < 0)
			return no_memory(r);
	}
}

/* A local tag, !mirror, becomes the attribute _type. */
static int read_type(struct reader *r, struct yaml_doc *doc, const yaml_event_t *event,
		     json_t *object)
{
	const yaml_char_t *tag = event->data.mapping_start.tag;
	char shown[TEXT_SHOWN];
	size_t mark;
	int ret;

	if (!tag || is_tag(tag, "!") || is_tag(tag, YAML_MAP_TAG))
		return 0;
	if (tag[0] != '!')
		return refuse(r, event, "the tag %s is not taken here",
			      text_shown(shown, (const char *)tag));
	ret = add_mark(r, doc, event, &mark);
	if (ret < 0)
		return ret;
	return json_object_set_new(object, "_type", json_string((const char *)tag + 1)) < 0
		       ? no_memory(r)
		       : 0;
}

static int read_mapping(struct reader *r, struct yaml_doc *doc, const yaml_event_t *event,
			unsigned depth, json_t **value)
{
	json_t *object cleanup(json_free_at) = NULL;
	char shown[TEXT_SHOWN];
	int ret;

	if (event->data.mapping_start.anchor)
		return refuse(r, event, "anchors (&%s) are not taken",
			      text_shown(shown, (const char *)event->data.mapping_start.anchor));
	object = json_object();
	if (!object)
		return no_memory(r);
	ret = read_type(r, doc, event, object);
	if (ret == 0)
		ret = read_members(r, doc, depth, object);
	if (ret == 0)
		*value = take(object);
	return ret;
}

static int read_value(struct reader *r, struct yaml_doc *doc, const yaml_event_t *event,
		      unsigned depth, json_t **value)
{
	char shown[TEXT_SHOWN];
	size_t mark;
	int ret;

	if (event->type == YAML_ALIAS_EVENT)
		return refuse(r, event, "aliases (*%s) are not taken",
			      text_shown(shown, (const char *)event->data.alias.anchor));
	ret = add_mark(r, doc, event, &mark);
	if (ret < 0)
		return ret;
	if (event->type == YAML_SCALAR_EVENT)
		return read_scalar(r, event, value);
	if (depth == YAML_DEPTH_MAX)
		return refuse(r, event, "more than %d levels deep", YAML_DEPTH_MAX);
	ret = event->type == YAML_MAPPING_START_EVENT
		      ? read_mapping(r, doc, event, depth + 1, value)
		      : read_sequence(r, doc, event, depth + 1, value);
	if (ret == 0)
		doc->marks[mark].next = doc->nmarks;
	return ret;
}

static void doc_free(struct yaml_doc *doc)
{
	json_decref(doc->value);
	free(doc->marks);
}

static int read_doc(struct reader *r, struct yaml_doc *doc)
{
	yaml_event_t event cleanup(yaml_event_delete) = {0};
	yaml_event_t end cleanup(yaml_event_delete) = {0};
	int ret = next_event(r, &event);

	if (ret == 0)
		ret = read_value(r, doc, &event, 0, &doc->value);
	return ret < 0 ? ret : next_event(r, &end);
}

static int read_docs(struct reader *r, struct yaml_docs *docs)
{
	for (;;) {
		yaml_event_t event cleanup(yaml_event_delete) = {0};
		struct yaml_doc doc cleanup(doc_free) = {0};
		int ret = next_event(r, &event);

		if (ret < 0 || event.type == YAML_STREAM_END_EVENT)
			return ret;
		if (event.type != YAML_DOCUMENT_START_EVENT) /* the stream's own start */
			continue;
		ret = read_doc(r, &doc);
		if (ret < 0)
			return ret;
		if (array_room(&docs->items, &docs->room, docs->count, sizeof(*docs->items)) < 0)
			return no_memory(r);
		docs->items[docs->count++] = doc;
		doc = (struct yaml_doc){0};
	}
}

int yaml_read(const char *text, size_t len, const char *name, struct yaml_docs *docs, struct err *e)
{
	static const char bom[] = "\xef\xbb\xbf";
	struct reader r = {.name = name, .e = e};
	struct yaml_docs read = {0};
	int ret;

	if (!yaml_parser_initialize(&r.parser))
		return no_memory(&r);
	/* libyaml would take UTF-16 too, and a BOM for a column of its own. */
	yaml_parser_set_encoding(&r.parser, YAML_UTF8_ENCODING);
	if (len >= strlen(bom) && memcmp(text, bom, strlen(bom)) == 0) {
		text += strlen(bom);
		len -= strlen(bom);
	}
	r.text = text;
	r.len = len;
	yaml_parser_set_input_string(&r.parser, (const unsigned char *)text, len);
	ret = read_docs(&r, &read);
	yaml_parser_delete(&r.parser);
	if (ret < 0)
		yaml_docs_free(&read);
	else
		*docs = read;
	return ret;
}

void yaml_docs_free(struct yaml_docs *docs)
{
	for (size_t i = 0; i < docs->count; i++)
		doc_free(&docs->items[i]);
	free(docs->items);
	*docs = (struct yaml_docs){0};
}

/* Steps to the member of the object at *mark; false where it has no such member. (Each value has
 * its mark, in their order.) */
static bool step_key(const struct yaml_doc *doc, json_t **value, size_t *mark, const char *key,
		     size_t len)
{
	size_t child = *mark + 1;
	const char *name;
	json_t *member;

	json_object_foreach(*value, name, member)
	{
		if (strlen(name) == len && memcmp(name, key, len) == 0) {
			*value = member;
			*mark = child;
			return true;
		}
		child = doc->marks[child].next;
	}
	return false;
}

static bool step_index(const struct yaml_doc *doc, json_t **value, size_t *mark, size_t index)
{
	size_t child = *mark + 1;

	if (index >= json_array_size(*value))
		return false;
	for (size_t i = 0; i < index; i++)
		child = doc->marks[child].next;
	*value = json_array_get(*value, index);
	*mark = child;
	return true;
}

unsigned yaml_line(const struct yaml_doc *doc, const char *path)
{
	json_t *value = doc->value;
	size_t mark = 0;
	bool found = true;

	while (found && *path) {
		if (*path == '[') {
			char *end;
			unsigned long index = strtoul(path + 1, &end, 10);

			found = *end == ']' && step_index(doc, &value, &mark, index);
			path = end + (*end == ']');
		} else {
			size_t len;

			path += *path == '.';
			/* A key may itself hold a dot or a bracket. */
			if (step_key(doc, &value, &mark, path, strlen(path)))
				break;
			len = strcspn(path, ".[");
			found = step_key(doc, &value, &mark, path, len);
			path += len;
		}
	}
	return doc->marks[mark].line;
}
