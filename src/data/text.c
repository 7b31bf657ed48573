/* SPDX-License-Identifier: MIT */
#include "data/text.h"

#include <stdio.h>
#include <string.h>

size_t text_char(const char *text, size_t len, uint32_t *code)
{
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	const unsigned char *at = (const unsigned char *)text;
	size_t bytes;
	uint32_t value;

	if (len == 0)
		return 0;
	if (at[0] < 0x80)
		bytes = 1;
	else if (at[0] >= 0xc2 && at[0] < 0xe0)
		bytes = 2;
	else if ((at[0] & 0xf0) == 0xe0)
		bytes = 3;
	else if (at[0] >= 0xf0 && at[0] < 0xf5)
		bytes = 4;
	else
		return 0;
	if (bytes > len)
		return 0;
	value = bytes == 1 ? at[0] : at[0] & (0x7fU >> bytes);
	for (size_t i = 1; i < bytes; i++) {
		if ((at[i] & 0xc0) != 0x80)
			return 0;
		value = value << 6 | (at[i] & 0x3f);
	}
	if (value < least[bytes] || value > 0x10ffff || (value >= 0xd800 && value < 0xe000))
		return 0;
	*code = value;
	return bytes;
}

bool text_is_utf8(const char *text, size_t len)
{
	while (len > 0) {
		uint32_t code;
		size_t bytes = text_char(text, len, &code);

		if (bytes == 0)
			return false;
		text += bytes;
		len -= bytes;
	}
	return true;
}

static bool is_control(uint32_t code)
{
	return code < 0x20 || (code >= 0x7f && code < 0xa0);
}

bool text_printable(const char *text)
{
	size_t left = strlen(text);

	while (left > 0) {
		uint32_t code;
		size_t bytes = text_char(text, left, &code);

		if (bytes == 0 || is_control(code))
			return false;
		text += bytes;
		left -= bytes;
	}
	return true;
}

const char *text_shown(char shown[TEXT_SHOWN], const char *text)
{
	static const char cut[] = "…";
	size_t left = strlen(text), len = 0;

	while (left > 0) {
		char piece[4 * 4 + 1];
		size_t wide = 0;
		uint32_t code;
		size_t bytes = text_char(text, left, &code);

		if (bytes > 0 && !is_control(code)) {
			memcpy(piece, text, bytes);
			wide = bytes;
		} else {
			if (bytes == 0)
				bytes = 1;
			for (size_t i = 0; i < bytes; i++)
				wide += (size_t)snprintf(piece + wide, sizeof(piece) - wide,
							 "\\x%02x", (unsigned char)text[i]);
		}
		if (len + wide + sizeof(cut) > TEXT_SHOWN) {
			memcpy(shown + len, cut, sizeof(cut));
			return shown;
		}
		memcpy(shown + len, piece, wide);
		len += wide;
		text += bytes;
		left -= bytes;
	}
	shown[len] = '\0';
	return shown;
}
