/* SPDX-License-Identifier: MIT */
/* Session files: what is read as a session, written and read again is the same session. */
#include <stdint.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/err.h"
#include "data/yaml.h"
#include "portmirror/session.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* The session of the text's first document. 0, or negative. */
static int read_session(const char *text, size_t len, struct session *session)
{
	struct yaml_docs docs = {0};
	char field[SESSION_FIELD] = "";
	struct err e = {0};
	int r = yaml_read(text, len, "fuzz", &docs, &e);

	if (r == 0 && docs.count == 0)
		return -1;
	if (r == 0)
		r = session_read(docs.items[0].value, "fuzz", session, field, &e);
	if (r < 0 && docs.count > 0)
		yaml_line(&docs.items[0], field);
	for (const char *at = e.text; *at; at++) /* a sentence shows nothing raw */
		if ((unsigned char)*at < ' ')
			abort();
	yaml_docs_free(&docs);
	return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct session first = {0}, second = {0};
	struct buf text = {0};
	json_t *object;

	if (read_session((const char *)data, len, &first) < 0)
		return 0;
	object = session_object(&first, false);
	if (!object || yaml_write(object, &text, NULL) < 0)
		abort();
	second.runtime = first.runtime;
	if (read_session(buf_text(&text), text.len, &second) < 0)
		abort();
	second.runtime = first.runtime; /* told by the place, not by the file */
	if (!session_equal(&first, &second))
		abort();
	json_decref(object);
	buf_free(&text);
	session_free(&first);
	session_free(&second);
	return 0;
}
