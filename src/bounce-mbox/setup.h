/* SPDX-License-Identifier: MIT */
/* From the words of the command line to what a run needs. */
#ifndef BOUNCE_MBOX_SETUP_H
#define BOUNCE_MBOX_SETUP_H

#include "bounce-mbox/run.h"
#include "bounce-mbox/store.h"
#include "mail/header.h"

struct cli_call;

struct setup {
	struct options options;
	struct store_wishes wishes;
	struct mail_names remove;
	int64_t interval, backoff;
	unsigned per_day;
	char hello[256];
	char prompt[700];
	bool no_memory; /* why it could not be read: the words may be right */
};

/* Each complains, and returns false, where the words make no sense, or memory is lacking. What
 * concerns messages only: */
bool setup_messages(const struct cli_call *call, struct setup *s);
/* … and where they go, how, and how fast; recipient NULL: the user in the server's URL. */
bool setup_target(const struct cli_call *call, struct setup *s, const char *recipient,
		  const char *server);
void setup_free(struct setup *s);

#endif
