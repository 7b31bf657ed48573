/* SPDX-License-Identifier: MIT */
#include "mail/emlx.h"

#include <string.h>

#include "base/mem.h"
#include "mail/flags.h"

bool emlx_read(const char *bytes, size_t len, uint64_t *start, uint64_t *size)
{
	uint64_t n = 0;
	size_t at = 0;

	for (; at < len && at < 15 && bytes[at] >= '0' && bytes[at] <= '9'; at++)
		n = n * 10 + (uint64_t)(bytes[at] - '0');
	if (at == 0)
		return false;
	while (at < len && (bytes[at] == ' ' || bytes[at] == '\r')) /* padded to ten columns */
		at++;
	if (at == len || bytes[at] != '\n')
		return false;
	*start = at + 1;
	*size = n;
	return true;
}

/* The number in "<key>flags</key> <integer>N</integer>". */
static uint64_t number_of(const char *plist, size_t len)
{
	static const char key[] = "<key>flags</key>", open[] = "<integer>";
	const char *end = plist + len, *at = memmem(plist, len, key, sizeof(key) - 1);
	uint64_t n = 0;

	if (at)
		at = memmem(at, (size_t)(end - at), open, sizeof(open) - 1);
	if (!at)
		return 0;
	for (at += sizeof(open) - 1; at < end && *at >= '0' && *at <= '9'; at++)
		n = n * 10 + (uint64_t)(*at - '0');
	return n;
}

unsigned emlx_flags(const char *plist, size_t len)
{
	/* www.jwz.org/blog/2005/07/emlx-flags */
	static const struct {
		unsigned bit, flag;
	} bits[] = {{0, MAIL_SEEN},    {1, MAIL_DELETED}, {2, MAIL_ANSWERED},
		    {4, MAIL_FLAGGED}, {6, MAIL_DRAFT},	  {8, MAIL_FORWARDED}};
	uint64_t number = number_of(plist, len);
	unsigned flags = 0;

	for (size_t i = 0; i < COUNT(bits); i++)
		if (number >> bits[i].bit & 1)
			flags |= bits[i].flag;
	return flags;
}
