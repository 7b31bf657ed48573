/* SPDX-License-Identifier: MIT */
/*
 * XML to and from the JSON data model, whose values are jansson's json_t. An object is an element
 * with a child for each attribute; the outermost element's name is the object's _type. A scalar
 * bears type="xs:string", "xs:integer", "xs:decimal" or "xs:boolean", null xsi:nil="true", and an
 * array type="xs:list" with one child an item, named by the singular of the array's name.
 */
#ifndef DATA_XML_H
#define DATA_XML_H

#include <jansson.h>
#include <stddef.h>

struct buf;
struct err;

#define XML_DEPTH_MAX  16
#define XML_VALUES_MAX 100000

/*
 * Reads one document (UTF-8). Strict and bounded: a document type declaration, and with it every
 * entity but the five of XML itself, is refused; so are processing instructions, a name that is
 * there twice in an object, and what exceeds the limits. An element without a type is an object
 * where it has children, else a string. The sentence of an error starts with "NAME:LINE: ".
 */
int xml_read(const char *text, size_t len, const char *name, json_t **value, struct err *e);

/* Writes a document. root: the outermost element's name where the value has no _type (an array's
 * too; its items are then named by their _type, or by the singular). */
int xml_write(const json_t *value, const char *root, struct buf *out, struct err *e);

/* The English singular of a name ("sources": "source", "entries": "entry", "from": "from"). */
#define XML_NAME_MAX 64
const char *xml_singular(char singular[XML_NAME_MAX], const char *plural);

#endif
