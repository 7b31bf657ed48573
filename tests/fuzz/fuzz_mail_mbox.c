/* SPDX-License-Identifier: MIT */
/* The mbox scan, with windows of any size, and the cleaning of what it finds. The first byte
 * chooses the format, the window and the repairs. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "mail/clean.h"
#include "mail/header.h"
#include "mail/mbox.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

struct text {
	const char *at;
	size_t len;
};

static size_t peek(uint64_t at, char *bytes, size_t len, void *data)
{
	const struct text *t = data;

	if (at >= t->len)
		return 0;
	if (len > t->len - at)
		len = t->len - (size_t)at;
	memcpy(bytes, t->at + at, len);
	return len;
}

static void clean(const struct text *t, const struct mbox_message *m, unsigned repair,
		  enum mbox_quote quote, size_t step)
{
	struct mail_names none = {0};
	struct mail_clean c = {.remove = &none, .repair = repair, .quote = quote};
	struct buf out = {0};
	const char *bytes = t->at + m->at;
	size_t len = (size_t)m->len, have = step;
	size_t at = mail_clean_head(&c, bytes, len, &out);

	while (at + have < len) {
		size_t used = mail_clean_body(&c, bytes + at, have, false, &out);

		at += used;
		have = have - used + step;
	}
	at += mail_clean_body(&c, bytes + at, len - at, true, &out);
	if (at != len)
		abort();
	for (size_t i = 0; i < out.len; i++) /* no line end but CR LF */
		if (out.data[i] == '\n' && (i == 0 || out.data[i - 1] != '\r'))
			abort();
	buf_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static const size_t steps[] = {1, 9, 100, 4096};
	struct mbox_scan scan = {0};
	struct mbox_window w = {0};
	struct mbox_message m;
	struct text t;
	uint64_t end = 0;
	enum mbox_event event;
	char why[200];

	if (len == 0)
		return 0;
	t = (struct text){(const char *)data + 1, len - 1};
	scan.format = (enum mbox_format)(data[0] % 6);
	scan.peek = peek;
	scan.data = &t;
	size_t step = steps[data[0] / 6 % 4];

	w.bytes = t.at;
	while ((event = mbox_scan_next(&scan, &w, &m)) != MBOX_END) {
		if (event == MBOX_MESSAGE) {
			if (m.from < end || m.at < m.from || m.at + m.len > t.len)
				abort();
			end = m.at + m.len;
			clean(&t, &m, data[0] >> 4, mbox_quote_of(scan.format), step);
			continue;
		}
		size_t to = (size_t)(w.at + w.len) + step;

		if (w.last || scan.keep < w.at)
			abort();
		if (to > t.len)
			to = t.len;
		w = (struct mbox_window){t.at + scan.keep, to - (size_t)scan.keep, scan.keep,
					 to == t.len};
	}
	(void)mbox_decide(&scan.seen, why, sizeof(why));
	return 0;
}
