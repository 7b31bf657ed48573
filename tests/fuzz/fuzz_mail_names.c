/* SPDX-License-Identifier: MIT */
/* Smaller texts of other people: names of mailboxes, addresses, signatures, and .emlx files. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "mail/dkim.h"
#include "mail/emlx.h"
#include "mail/find.h"
#include "mail/header.h"
#include "mail/imap_name.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* A name that has been sent to a server in modified UTF-7 is the same when it comes back. */
static void names(const char *text, size_t len)
{
	struct buf there = {0}, back = {0}, read = {0};
	char *name = malloc(len + 1);

	if (!name)
		return;
	memcpy(name, text, len);
	name[len] = '\0';
	imap_name_put(&there, name, '/');
	if (buf_status(&there) == 0) {
		if (find_8bit(buf_text(&there), there.len))
			abort();
		imap_name_read(buf_text(&there), there.len, &back);
		if (is_utf8(name, strlen(name)) &&
		    (back.len != strlen(name) || memcmp(buf_text(&back), name, back.len) != 0))
			abort();
	}
	imap_name_read(text, len, &read);
	buf_free(&there);
	buf_free(&back);
	buf_free(&read);
	free(name);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	const char *text = (const char *)data;
	struct mail_domain from, signer;
	struct cursor c = cursor_of(data, len);
	struct mail_field f;
	uint64_t start, size;

	names(text, len);
	if (emlx_read(text, len, &start, &size) && start > len)
		abort();
	(void)emlx_flags(text, len);
	mail_domain_of(text, len, &from);
	while (mail_head_next(&c, &f) == MAIL_HEAD_FIELD) {
		mail_dkim_domain(&f, &signer);
		(void)mail_dkim_covers(&f, "subject", 7);
		(void)mail_domains_align(&from, &signer);
	}
	return 0;
}
