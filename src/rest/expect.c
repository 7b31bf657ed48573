/* SPDX-License-Identifier: MIT */
#include "rest/expect.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "data/text.h"

static const struct {
	const char *name;
	struct expect expect;
} known[] = {
	{"200-ok", {.sync = true}},
	{"201-created", {.sync = true}},
	{"204-no-content", {.sync = true}},
	{"202-accepted", {.async = true}},
	{"nonempty-response", {.nonempty = true}},
	{"100-continue", {0}},
};

static int read_one(const char *word, size_t len, struct expect *expect, struct rest_fault *fault)
{
	char given[64], shown[TEXT_SHOWN];

	for (size_t i = 0; i < COUNT(known); i++) {
		if (strlen(known[i].name) == len && strncasecmp(known[i].name, word, len) == 0) {
			expect->sync |= known[i].expect.sync;
			expect->async |= known[i].expect.async;
			expect->nonempty |= known[i].expect.nonempty;
			return 0;
		}
	}
	(void)snprintf(given, sizeof(given), "%.*s", len < 60 ? (int)len : 60, word);
	return rest_refuse(fault, 417, "unknown-expectation", NULL,
			   "the expectation \"%s\" is not known: there are 200-ok, 201-created, "
			   "204-no-content, 202-accepted and nonempty-response",
			   text_shown(shown, given));
}

int expect_read(const char *header, struct expect *expect, struct rest_fault *fault)
{
	static const char between[] = ", \t";

	while (header && *(header += strspn(header, between))) {
		size_t len = strcspn(header, between);

		if (read_one(header, len, expect, fault) < 0)
			return -1;
		header += len;
	}
	if (expect->sync && expect->async)
		return rest_refuse(fault, 417, "contradicting-expectations", NULL,
				   "202-accepted and an expectation of the final answer exclude "
				   "each other: send one of them");
	return 0;
}
