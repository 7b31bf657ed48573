/* SPDX-License-Identifier: MIT */
/* Header fields, dates, flags, keywords and labels. */
#include <stdint.h>
#include <stdlib.h>

#include "base/buf.h"
#include "mail/date.h"
#include "mail/flags.h"
#include "mail/header.h"
#include "mail/labels.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct cursor c = cursor_of(data, len);
	struct mail_field f;
	enum mail_head what;
	size_t taken = 0;

	do {
		struct mail_date date;
		struct buf text = {0}, place = {0}, words = {0};
		char shown[40];

		what = mail_head_next(&c, &f);
		taken += f.len;
		if (taken != len - cursor_left(&c))
			abort();
		if (what != MAIL_HEAD_FIELD)
			continue;
		(void)mail_flags_of(&f);
		mail_keywords_of(&f, &text);
		mail_field_text(&f, &text);
		mail_decode_words(f.value, f.value_len, &text);
		if (buf_status(&text) == 0)
			(void)mail_labels_read(buf_text(&text), &place, &words);
		if (mail_date_parse(f.value, f.value_len, &date)) {
			(void)mail_date_imap(&date, shown);
			(void)mail_date_field(&date, shown);
			(void)mail_date_ctime(&date, shown);
		}
		(void)mail_date_separator(f.value, f.value_len, &date);
		buf_free(&text);
		buf_free(&place);
		buf_free(&words);
	} while (what != MAIL_HEAD_END);
	return 0;
}
