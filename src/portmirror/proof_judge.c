/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <stdio.h>

#include "portmirror/proof.h"

static const char *missing_direction(const struct proof_request *request,
				     const struct proof_result *result)
{
	uint64_t sent = 0, received = 0;
	unsigned asked = 0;

	for (size_t i = 0; i < request->nsources; i++) {
		asked |= request->sources[i].direction;
		sent += result->sources[i].sent;
		received += result->sources[i].received;
	}
	if (asked & DIRECTION_SENT && sent == 0)
		return "sent";
	if (asked & DIRECTION_RECEIVED && received == 0)
		return "received";
	return NULL;
}

static void compare_destinations(struct proof_result *result)
{
	uint64_t most = 0;

	for (size_t i = 0; i < result->ndestinations; i++) {
		const struct proof_counts *c = &result->destinations[i].counts;

		if (c->copied + c->altered > most)
			most = c->copied + c->altered;
	}
	for (size_t i = 0; i < result->ndestinations; i++) {
		struct proof_counts *c = &result->destinations[i].counts;
		uint64_t lost = most - c->copied - c->altered;

		if (lost > c->left_out) /* it has not even seen so many: its book was full */
			lost = c->left_out;
		c->left_out -= lost;
		c->lost += lost;
		result->counts.left_out -= lost;
		result->counts.lost += lost;
	}
}

static uint64_t wrong(const struct proof_counts *c)
{
	return c->lost + c->doubled + c->altered + c->split;
}

static uint64_t unseen_at_sources(const struct proof_result *result)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < result->nsources; i++)
		sum += result->sources[i].unseen;
	return sum;
}

/* The destination where most is wrong, if that is more than the unseen frames explain. What is
 * unseen at one explains nothing at another. With balance they are looked at together. NULL: all is
 * well, as far as could be seen. */
static const struct proof_counts *find_fault(struct proof_result *result)
{
	uint64_t unseen = unseen_at_sources(result);
	const struct proof_counts *worst = NULL;

	result->blamed = result->ndestinations;
	if (result->promise.balance)
		return wrong(&result->counts) > result->counts.unseen ? &result->counts : NULL;
	for (size_t i = 0; i < result->ndestinations; i++) {
		const struct proof_destination_result *d = &result->destinations[i];

		if (wrong(&d->counts) <= unseen + d->unseen ||
		    (worst && wrong(&d->counts) <= wrong(worst)))
			continue;
		worst = &d->counts;
		result->blamed = i;
	}
	return worst;
}

static void say_fault(const struct proof_counts *c, struct proof_result *result)
{
	char *why = result->why;
	size_t room = sizeof(result->why);
	int len;

	if (result->promise.partial)
		len = snprintf(why, room,
			       "of the copies of a part of %" PRIu64 " frames %" PRIu64
			       " were lost, %" PRIu64 " doubled and %" PRIu64 " altered",
			       c->expected, c->lost, c->doubled, c->altered);
	else
		len = snprintf(why, room,
			       "of %" PRIu64 " frames %" PRIu64 " were lost, %" PRIu64
			       " doubled and %" PRIu64 " altered",
			       c->expected, c->lost, c->doubled, c->altered);
	if (c->split > 0)
		snprintf(why + len, room - (size_t)len,
			 ", and %" PRIu64 " of %" PRIu64 " flows were torn apart", c->split,
			 c->flows);
}

static bool find_dropped(struct proof_result *result)
{
	uint64_t most = 0;

	for (size_t i = 0; i < result->ndestinations; i++) {
		if (result->destinations[i].dropped <= most)
			continue;
		most = result->destinations[i].dropped;
		result->blamed = i;
	}
	snprintf(result->why, sizeof(result->why),
		 "the destination took %" PRIu64 " frames and dropped them", most);
	return most > 0;
}

/* Of what is copied in part only, or with nothing seen. */
static bool find_idle(struct proof_result *result)
{
	const struct proof_counts *idle = result->counts.copied == 0 ? &result->counts : NULL;

	for (size_t i = 0; i < result->ndestinations && !idle && !result->promise.balance; i++) {
		if (result->destinations[i].counts.copied > 0)
			continue;
		idle = &result->destinations[i].counts;
		result->blamed = i;
	}
	if (idle)
		snprintf(result->why, sizeof(result->why), "none of %" PRIu64 " frames was copied",
			 idle->expected);
	return idle != NULL;
}

void proof_judge(const struct proof_request *request, struct proof_result *result)
{
	const struct proof_counts *c = &result->counts;
	const struct proof_counts *fault;
	const char *missing = missing_direction(request, result);
	char *why = result->why;
	size_t room = sizeof(result->why);

	if (result->promise.same_part && !result->promise.balance)
		compare_destinations(result);
	fault = find_fault(result);
	if (fault) {
		result->verdict = PROOF_BROKEN;
		say_fault(fault, result);
	} else if (find_dropped(result)) {
		result->verdict = PROOF_BROKEN;
	} else if (c->unseen > 0) {
		result->verdict = PROOF_BLIND;
		snprintf(why, room,
			 "%" PRIu64 " frames could not be compared: the rings had no room for "
			 "them, or they can't be cut as the kernel does",
			 c->unseen);
	} else if (missing) {
		result->verdict = PROOF_NOTHING;
		snprintf(why, room, "no frame was %s at any source in that time", missing);
	} else if (find_idle(result)) {
		result->verdict = PROOF_NOTHING;
	} else {
		result->verdict = PROOF_WHOLE;
		snprintf(why, room, "of %" PRIu64 " frames %" PRIu64 " were copied as they should",
			 c->expected, c->copied);
	}
}

const char *proof_verdict_name(enum proof_verdict verdict)
{
	static const char *const names[] = {[PROOF_WHOLE] = "whole",
					    [PROOF_BROKEN] = "broken",
					    [PROOF_BLIND] = "blind",
					    [PROOF_NOTHING] = "nothing"};

	return names[verdict];
}
