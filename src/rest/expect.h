/* SPDX-License-Identifier: MIT */
/* The Expect header: whether an answer may wait, or must. */
#ifndef REST_EXPECT_H
#define REST_EXPECT_H

#include <stdbool.h>

#include "rest/model.h"

struct expect {
	bool sync;     /* 200-ok, 201-created, 204-no-content: an answer when the work is done */
	bool async;    /* 202-accepted: an answer at once, the work's end from a status monitor */
	bool nonempty; /* nonempty-response: an answer when there is something in the range */
};

/* header: NULL: nothing is expected. 100-continue is the server's, and left out. -1 and the fault
 * (417): one that we don't know, or two that exclude each other. */
int expect_read(const char *header, struct expect *expect, struct rest_fault *fault);

#endif
