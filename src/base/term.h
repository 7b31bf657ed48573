/* SPDX-License-Identifier: MIT */
/* Output for people: colour only on a terminal, tables with aligned columns, human units. */
#ifndef BASE_TERM_H
#define BASE_TERM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct buf;

enum paint { PAINT_NONE, PAINT_BOLD, PAINT_DIM, PAINT_RED, PAINT_GREEN, PAINT_YELLOW, PAINT_BLUE };

/* True where stream is a terminal, TERM is not "dumb" and NO_COLOR is unset or empty. */
bool term_colour(FILE *stream);
/* Columns of the terminal behind stream; 80 where it is none. */
unsigned term_width(FILE *stream);
/* The escape sequences around a painted text; "" where colour is false. */
const char *term_on(enum paint paint, bool colour);
const char *term_off(bool colour);

/* True for UTF-8 (RFC 3629). */
bool term_is_utf8(const char *text);
/* For a terminal: control characters and invalid UTF-8 become '?'. In place; and a copy of text,
 * appended to b. */
void term_make_safe(char *text);
void term_safe(struct buf *b, const char *text);
/* Columns that UTF-8 text takes (wcwidth). */
unsigned term_columns(const char *text);
/* How many bytes at its start fit into so many columns. */
size_t term_fit(const char *text, unsigned columns);

struct table;

/* titles: at least one, then NULL. A title that starts with '>' makes its column right-aligned. */
struct table *table_new(const char *const *titles);
/* One cell after the other, left to right, then the next row. The text is copied, made safe. */
void table_cell(struct table *t, enum paint paint, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* Prints it; on a terminal, the last column is cut to its width. -ENOMEM (also for what went
 * before, and a NULL t) or -errno. */
int table_print(struct table *t, FILE *stream);
/* The same, appended to b: the last column cut to width columns (0: whole), painted where colour is
 * true. -ENOMEM also for what failed in b before. */
int table_text(const struct table *t, unsigned width, bool colour, struct buf *b);
void table_free(struct table *t);
void table_free_at(struct table **t); /* for cleanup() */

/* "1.5 M", "900", "12.3 G" with three digits; into text, which it returns. unit: "" or "B". */
const char *human_count(char text[16], double value, const char *unit);

#endif
