/* SPDX-License-Identifier: MIT */
#include "base/term.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <wchar.h>

#include "base/buf.h"
#include "base/mem.h"

bool term_colour(FILE *stream)
{
	const char *term = getenv("TERM");
	const char *no_colour = getenv("NO_COLOR"); /* https://no-color.org */

	if (!term || strcmp(term, "dumb") == 0 || (no_colour && no_colour[0]))
		return false;
	return isatty(fileno(stream)) == 1;
}

unsigned term_width(FILE *stream)
{
	struct winsize size;

	if (ioctl(fileno(stream), TIOCGWINSZ, &size) < 0 || size.ws_col == 0)
		return 80;
	return size.ws_col;
}

const char *term_on(enum paint paint, bool colour)
{
	static const char *const sequences[] = {
		[PAINT_NONE] = "",	   [PAINT_BOLD] = "\033[1m",   [PAINT_DIM] = "\033[2m",
		[PAINT_RED] = "\033[31m",  [PAINT_GREEN] = "\033[32m", [PAINT_YELLOW] = "\033[33m",
		[PAINT_BLUE] = "\033[34m",
	};

	return colour ? sequences[paint] : "";
}

const char *term_off(bool colour)
{
	return colour ? "\033[0m" : "";
}

/* The length of the UTF-8 character at text (RFC 3629: shortest form, no surrogates), and its
 * code; 0 where there is none. */
static size_t utf8_at(const char *text, uint32_t *code)
{
	static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
	const unsigned char *at = (const unsigned char *)text;
	size_t len = 1;
	uint32_t value = at[0];

	if (value >= 0xf0 && value < 0xf8)
		len = 4;
	else if (value >= 0xe0)
		len = 3;
	else if (value >= 0xc0)
		len = 2;
	else if (value >= 0x80)
		return 0;
	if (value >= 0xf8)
		return 0;
	if (len > 1)
		value &= 0x7fU >> len;
	for (size_t i = 1; i < len; i++) {
		if ((at[i] & 0xc0) != 0x80)
			return 0;
		value = value << 6 | (at[i] & 0x3f);
	}
	if (value < smallest[len] || value > 0x10ffff || (value >= 0xd800 && value <= 0xdfff))
		return 0;
	*code = value;
	return len;
}

bool term_is_utf8(const char *text)
{
	uint32_t code;
	size_t len;

	while (*text && (len = utf8_at(text, &code)) > 0)
		text += len;
	return *text == '\0';
}

/* Controls move the cursor or worse; those of the bidirectional algorithm reorder what stands
 * around them (Unicode TR 36). */
static bool is_harmful(uint32_t code)
{
	return code < 0x20 || (code >= 0x7f && code < 0xa0) || (code >= 0x202a && code <= 0x202e) ||
	       (code >= 0x2066 && code <= 0x2069);
}

void term_make_safe(char *text)
{
	char *to = text;

	while (*text) {
		uint32_t code;
		size_t len = utf8_at(text, &code);

		if (len == 0 || is_harmful(code))
			*to++ = '?';
		else
			to = (char *)memmove(to, text, len) + len;
		text += len ? len : 1;
	}
	*to = '\0';
}

void term_safe(struct buf *b, const char *text)
{
	size_t before = b->len;

	buf_str(b, text);
	if (b->len == before || buf_status(b) < 0)
		return;
	term_make_safe(b->data + before);
	b->len = before + strlen(b->data + before);
}

/* The columns of the character at text, and its length. What the locale doesn't know takes one. */
static unsigned columns_at(const char *text, size_t *len)
{
	uint32_t code;
	int columns;

	*len = utf8_at(text, &code);
	if (*len == 0) {
		*len = 1;
		return 1;
	}
	columns = wcwidth((wchar_t)code);
	return columns < 0 ? 1 : (unsigned)columns;
}

/* The bytes at the start of text that fit into so many columns; *columns is what they take. */
static size_t fitting(const char *text, unsigned most, unsigned *columns)
{
	const char *at = text;

	*columns = 0;
	while (*at) {
		size_t len;
		unsigned more = columns_at(at, &len);

		if (more > most - *columns)
			break;
		*columns += more;
		at += len;
	}
	return (size_t)(at - text);
}

unsigned term_columns(const char *text)
{
	unsigned columns;

	(void)fitting(text, UINT32_MAX, &columns);
	return columns;
}

size_t term_fit(const char *text, unsigned columns)
{
	unsigned taken;

	return fitting(text, columns, &taken);
}

struct cell {
	char *text;
	unsigned columns;
	enum paint paint;
};

struct column {
	unsigned width;
	bool right;
};

struct table {
	struct cell *cells; /* row by row; the first row holds the titles */
	size_t ncells, room;
	struct column *columns;
	size_t ncolumns;
	bool failed; /* out of memory; told by table_print() */
};

static void add_cell(struct table *t, enum paint paint, const char *text)
{
	struct buf safe cleanup(buf_free) = {0};
	struct column *column = &t->columns[t->ncells % t->ncolumns];
	struct cell cell = {.paint = paint};

	term_safe(&safe, text);
	cell.text = buf_take(&safe);
	if (!cell.text || array_room(&t->cells, &t->room, t->ncells, sizeof(*t->cells)) < 0) {
		free(cell.text);
		t->failed = true;
		return;
	}
	cell.columns = term_columns(cell.text);
	if (cell.columns > column->width)
		column->width = cell.columns;
	t->cells[t->ncells++] = cell;
}

struct table *table_new(const char *const *titles)
{
	struct table *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	do
		t->ncolumns++;
	while (titles[t->ncolumns]);
	t->columns = calloc(t->ncolumns, sizeof(*t->columns));
	if (!t->columns) {
		table_free(t);
		return NULL;
	}
	for (size_t i = 0; titles[i]; i++) {
		t->columns[i].right = titles[i][0] == '>';
		add_cell(t, PAINT_BOLD, titles[i] + t->columns[i].right);
	}
	return t;
}

void table_cell(struct table *t, enum paint paint, const char *format, ...)
{
	char *text cleanup(free_at) = NULL;
	va_list args;
	int len;

	if (!t || t->failed)
		return;
	va_start(args, format);
	len = vasprintf(&text, format, args);
	va_end(args);
	if (len < 0) {
		text = NULL;
		t->failed = true;
		return;
	}
	add_cell(t, paint, text);
}

/* The last column gets no padding behind it, so that no line ends in blanks. */
static void put_cell(struct buf *b, const struct cell *cell, const struct column *column, bool last,
		     unsigned most, bool colour)
{
	unsigned columns = cell->columns;
	size_t len = strlen(cell->text);
	int padding;
	bool cut = columns > most;

	if (cut)
		len = fitting(cell->text, most - 1, &columns);
	padding = (int)(column->width - cell->columns);
	if (column->right && !cut)
		buf_fmt(b, "%*s", padding, "");
	colour = colour && cell->paint != PAINT_NONE;
	buf_str(b, term_on(cell->paint, colour));
	buf_add(b, cell->text, len);
	if (cut)
		buf_str(b, "…");
	buf_str(b, term_off(colour));
	if (!column->right && !last)
		buf_fmt(b, "%*s", padding, "");
	buf_str(b, last ? "\n" : "  ");
}

int table_text(const struct table *t, unsigned width, bool colour, struct buf *b)
{
	unsigned left = width ? width : UINT32_MAX;

	if (!t || t->failed)
		return -ENOMEM;
	for (size_t i = 0; i + 1 < t->ncolumns && left != UINT32_MAX; i++)
		left = left > t->columns[i].width + 2 ? left - t->columns[i].width - 2 : 1;
	for (size_t i = 0; i < t->ncells; i++) {
		bool last = (i + 1) % t->ncolumns == 0;

		put_cell(b, &t->cells[i], &t->columns[i % t->ncolumns], last,
			 last ? left : UINT32_MAX, colour);
	}
	return buf_status(b);
}

int table_print(struct table *t, FILE *stream)
{
	struct buf b cleanup(buf_free) = {0};
	unsigned width = isatty(fileno(stream)) == 1 ? term_width(stream) : 0;

	if (table_text(t, width, term_colour(stream), &b) < 0)
		return -ENOMEM;
	errno = 0;
	if (fwrite(buf_text(&b), 1, b.len, stream) != b.len)
		return errno ? -errno : -EIO;
	return 0;
}

void table_free(struct table *t)
{
	if (!t)
		return;
	for (size_t i = 0; i < t->ncells; i++)
		free(t->cells[i].text);
	free(t->cells);
	free(t->columns);
	free(t);
}

void table_free_at(struct table **t)
{
	table_free(*t);
}

const char *human_count(char text[16], double value, const char *unit)
{
	static const char prefixes[] = {0, 'k', 'M', 'G', 'T', 'P', 'E'};
	size_t i = 0;

	/* From here on, three digits would round to 1000. */
	while ((value >= 999.5 || value <= -999.5) && i + 1 < sizeof(prefixes)) {
		value /= 1000;
		i++;
	}
	(void)snprintf(text, 16, "%.3g%s%.1s%s", value, prefixes[i] || unit[0] ? " " : "",
		       &prefixes[i], unit);
	return text;
}
