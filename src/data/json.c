/* SPDX-License-Identifier: MIT */
#include "data/json.h"

#include <errno.h>

#include "base/err.h"
#include "base/mem.h"
#include "data/text.h"

int json_read(const char *text, size_t len, const char *name, json_t **value, struct err *e)
{
	char shown[TEXT_SHOWN];
	json_error_t error;
	json_t *read = json_loadb(text, len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);

	if (!read && json_error_code(&error) == json_error_out_of_memory)
		return err_set(e, -ENOMEM, "%s: out of memory", name);
	if (!read)
		return err_set(e, -EBADMSG, "%s:%d: %s", name, error.line > 0 ? error.line : 1,
			       text_shown(shown, error.text));
	*value = read;
	return 0;
}

char *json_real_text(const json_t *value)
{
	char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_REAL_PRECISION(15));
	json_t *back cleanup(json_free_at) = text ? json_loads(text, JSON_DECODE_ANY, NULL) : NULL;

	if (json_equal(back, value))
		return text;
	free(text);
	return json_dumps(value, JSON_ENCODE_ANY | JSON_REAL_PRECISION(17));
}

int json_print(const json_t *value, FILE *stream, struct err *e)
{
	/* 15 digits are what a double holds of any decimal; more would print 0.1 as
	 * 0.10000000000000001. */
	size_t flags = JSON_INDENT(2) | JSON_ENCODE_ANY | JSON_REAL_PRECISION(15);

	errno = 0;
	if (json_dumpf(value, stream, flags) < 0 || fputc('\n', stream) == EOF ||
	    fflush(stream) == EOF)
		return err_sys(e, errno ? -errno : -EIO, "can't write JSON");
	return 0;
}
