/* SPDX-License-Identifier: MIT */
#include "data/json.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "data/text.h"

static _Thread_local bool lacked, reads;

/* Who reads a text is refused all that it asks for behind the first refusal: jansson 2.14 goes on
 * without the bytes that it found no room for, be it a string's end (lex_save() in its load.c), and
 * would look for that in the memory behind (lex_scan_string()). */
static void *allocate(size_t size)
{
	void *memory = reads && lacked ? NULL : malloc(size);

	lacked |= !memory;
	return memory;
}

__attribute__((constructor)) static void note_lacks(void)
{
	json_set_alloc_funcs(allocate, free);
}

bool json_lacked(void)
{
	return lacked;
}

void json_forget_lack(void)
{
	lacked = false;
}

int json_load(const char *text, size_t len, size_t flags, json_t **value, json_error_t *error)
{
	bool before = lacked, lacks;
	json_t *read;

	lacked = false;
	reads = true;
	read = json_loadb(text, len, flags, error);
	reads = false;
	lacks = lacked;
	lacked |= before;
	if (lacks) {
		json_decref(read);
		return -ENOMEM;
	}
	if (!read)
		return -EBADMSG;
	*value = read;
	return 0;
}

int json_read(const char *text, size_t len, const char *name, json_t **value, struct err *e)
{
	char shown[TEXT_SHOWN];
	json_error_t error;
	int r = json_load(text, len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, value, &error);

	if (r == -ENOMEM)
		return err_set(e, r, "%s: out of memory", name);
	if (r < 0)
		return err_set(e, r, "%s:%d: %s", name, error.line > 0 ? error.line : 1,
			       text_shown(shown, error.text));
	return 0;
}

int json_text(const char *text, size_t len, json_t **value)
{
	json_t *made = json_stringn(text, len);

	if (!made)
		return text_is_utf8(text, len) ? -ENOMEM : -EILSEQ;
	*value = made;
	return 0;
}

char *json_real_text(const json_t *value)
{
	char *text cleanup(free_at) = json_dumps(value, JSON_ENCODE_ANY | JSON_REAL_PRECISION(15));
	json_t *back cleanup(json_free_at) = NULL;

	if (!text || json_load(text, strlen(text), JSON_DECODE_ANY, &back, NULL) < 0)
		return NULL;
	return json_equal(back, value)
		       ? take(text)
		       : json_dumps(value, JSON_ENCODE_ANY | JSON_REAL_PRECISION(17));
}

char *json_line(const json_t *value)
{
	bool before = lacked;
	char *text cleanup(free_at) = NULL;

	lacked = false;
	text = json_dumps(value, JSON_COMPACT);
	if (lacked)
		return NULL;
	lacked = before;
	return take(text);
}

int json_print(const json_t *value, FILE *stream, struct err *e)
{
	/* 15 digits are what a double holds of any decimal; more would print 0.1 as
	 * 0.10000000000000001. */
	size_t flags = JSON_INDENT(2) | JSON_ENCODE_ANY | JSON_REAL_PRECISION(15);

	if (lacked)
		return err_set(e, -ENOMEM, "out of memory");
	errno = 0;
	if (json_dumpf(value, stream, flags) < 0 || fputc('\n', stream) == EOF)
		return err_sys(e, errno ? -errno : -EIO, "can't write JSON");
	return 0;
}
