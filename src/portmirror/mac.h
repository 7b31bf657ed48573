/* SPDX-License-Identifier: MIT */
#ifndef PORTMIRROR_MAC_H
#define PORTMIRROR_MAC_H

#include <ctype.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* Reads XX:XX:XX:XX:XX:XX; false, and possibly some of mac written, where text is anything else. */
static inline bool mac_parse(const char *text, uint8_t mac[6])
{
	if (strlen(text) != 17)
		return false;
	for (size_t i = 0; i < 6; i++) {
		const char *byte = text + 3 * i;
		const char pair[] = {byte[0], byte[1], '\0'};

		if (!isxdigit((unsigned char)pair[0]) || !isxdigit((unsigned char)pair[1]) ||
		    (i < 5 && byte[2] != ':'))
			return false;
		mac[i] = (uint8_t)strtoul(pair, NULL, 16);
	}
	return true;
}

#endif
