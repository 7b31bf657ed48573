/* SPDX-License-Identifier: MIT */
/*
 * YAML to and from the JSON data model, whose values are jansson's json_t. Reading is strict and
 * bounded: no aliases or anchors, no duplicate keys, limits on depth and size; scalars by the
 * JSON schema of YAML 1.2 (true/false/null/numbers; anything else is a string; quoted scalars are
 * always strings). "_type": a mapping's tag !type becomes the attribute _type, as REST.md has it.
 */
#ifndef DATA_YAML_H
#define DATA_YAML_H

#include <jansson.h>
#include <stddef.h>

struct buf;
struct err;

struct yaml_doc {
	json_t *value;		 /* owned */
	struct yaml_mark *marks; /* where each value stood; private */
	size_t nmarks, marks_room;
};

struct yaml_docs {
	struct yaml_doc *items;
	size_t count, room;
};

#define YAML_DEPTH_MAX	16
#define YAML_VALUES_MAX 100000

/* Reads all documents of the text (an empty one has none). The sentence of an error starts with
 * "NAME:LINE: ". */
int yaml_read(const char *text, size_t len, const char *name, struct yaml_docs *docs,
	      struct err *e);
void yaml_docs_free(struct yaml_docs *docs);

/* The line (from 1) at which the value of path ("from[1]", "to", "" for the whole) stands; the
 * line of the nearest enclosing value where there is none at that path. The document's value must
 * be as it was read. */
unsigned yaml_line(const struct yaml_doc *doc, const char *path);

/* Writes one document in block style, keys in their order, strings quoted where they would
 * otherwise be read as something else. */
int yaml_write(const json_t *value, struct buf *out, struct err *e);

#endif
