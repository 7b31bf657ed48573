/* SPDX-License-Identifier: MIT */
/* What an IMAP account holds, for a comparison. */
#ifndef BOUNCE_MBOX_ACCOUNT_H
#define BOUNCE_MBOX_ACCOUNT_H

#include "bounce-mbox/verify.h"

struct run;

struct account {
	struct run *run;       /* of which the options, the report and stop_fd count */
	const char *temporary; /* folder for the message under way */
};

/* The walk over a struct account: every message of it, or of the mailbox --folder and those below.
 */
verify_walk account_walk;

#endif
