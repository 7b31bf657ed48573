/* SPDX-License-Identifier: MIT */
/* What stands beside the messages: .emlx files, Dovecot's keywords, names of mailboxes. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "mail/emlx.h"
#include "mail/find.h"
#include "mail/flags.h"
#include "mail/imap_name.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* A name that was coded is read again as it was, but for control characters. */
static void code_name(char *name)
{
	struct buf coded = {0}, read = {0};
	const char *wrong = strchr(name, 0x2f);

	imap_name_put(&coded, name, '/');
	imap_name_read(buf_text(&coded), coded.len, &read);
	for (char *c = name; *c; c++)
		if ((unsigned char)*c < ' ' || *c == 127)
			*c = '_';
	if (!wrong && is_utf8(name, strlen(name)) && strcmp(buf_text(&read), name) != 0)
		abort();
	buf_free(&coded);
	buf_free(&read);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	const char *bytes = (const char *)data;
	char *text = malloc(len + 1);
	struct mail_letters letters = {0};
	struct buf b = {0};
	uint64_t start, size;

	if (!text)
		return 0;
	memcpy(text, data, len);
	text[len] = 0;
	if (emlx_read(bytes, len, &start, &size) && start > len)
		abort();
	(void)emlx_flags(bytes, len);
	if (mail_letters_read(&letters, bytes, len) == 0)
		mail_keywords_of_name(":2,abcdefghijklmnopqrstuvwxyzS", &letters, &b);
	mail_letters_free(&letters);
	imap_name_read(bytes, len, &b);
	code_name(text);
	buf_free(&b);
	free(text);
	return 0;
}
