/* SPDX-License-Identifier: MIT */
#include "bounce-mbox/dial.h"

#include <errno.h>
#include <poll.h>

#include "base/err.h"
#include "bounce-mbox/link.h"
#include "bounce-mbox/run.h"
#include "bounce-mbox/sender.h"

/* Ctrl-C ends the program at once: nothing is under way. */
static int turn(struct link *l, struct link_owner *owner, struct err *e)
{
	const struct options *options = owner->run->options;
	struct pollfd poller;
	int r = link_flush(l, e);

	if (r < 0 || !link_is_open(l))
		return r;
	poller = (struct pollfd){link_fd(l), link_events(l), 0};
	(void)poll(&poller, 1, 100);
	owner->now = sender_now();
	r = link_hear(l, e);
	if (r == 0 && owner->now > link_deadline(l))
		r = err_set(e, -ETIMEDOUT, "%s has not said a word for %d s", options->target.shown,
			    options->timeout);
	return r;
}

int dial_until(struct link *l, struct link_owner *owner,
	       bool (*there)(const struct link *l, const struct link_owner *owner), struct err *e)
{
	int r = 0;

	while (r == 0 && link_is_open(l) && !there(l, owner))
		r = turn(l, owner, e);
	if (r == 0 && !link_is_open(l))
		r = err_set(e, -ECONNRESET, "%s closed the connection",
			    owner->run->options->target.shown);
	return r;
}

static bool is_ready(const struct link *l, const struct link_owner *owner)
{
	(void)owner;
	return link_takes(l);
}

int dial(struct link *l, struct link_owner *owner, struct err *e)
{
	int r = link_open(l, e);

	return r < 0 ? r : dial_until(l, owner, is_ready, e);
}
