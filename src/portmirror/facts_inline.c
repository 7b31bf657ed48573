/* SPDX-License-Identifier: MIT */
/* The appliances of in-line sessions, tried with probes. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "portmirror/facts.h"
#include "portmirror/host.h"
#include "portmirror/inliner.h"
#include "portmirror/plan.h"

/* Enough to tell, and over in a third of a second. */
enum { PROBES = 5, INTERVAL_MS = 10, WAIT_MS = 250 };

static int try_one(const char *house, const struct session *s, struct facts *facts, struct err *e)
{
	struct fact_appliance fact = {0};
	int r = inliner_try(house, s->name, PROBES, INTERVAL_MS, WAIT_MS, NULL, &fact.trial, e);

	if (r < 0)
		return r;
	memcpy(fact.session, s->name, sizeof(fact.session));
	if (array_room(&facts->appliances, &facts->appliances_room, facts->nappliances,
		       sizeof(fact)) < 0)
		return err_set(e, -ENOMEM, "out of memory");
	facts->appliances[facts->nappliances++] = fact;
	return 0;
}

int facts_gather_appliances(const char *house, const struct plan *plan, const struct host *host,
			    struct facts *facts, struct err *e)
{
	int r = 0;

	for (size_t i = 0; i < plan->nstates && r == 0; i++) {
		const struct session_state *st = &plan->states[i];

		if (st->session->mode == MODE_INLINE && st->through[SIDE_INSIDE] != 0 &&
		    st->through[SIDE_OUTSIDE] != 0 && host_inliner(host, st->session->name))
			r = try_one(house, st->session, facts, e);
	}
	return r;
}

const struct fact_appliance *facts_appliance(const struct facts *facts, const char *session)
{
	for (size_t i = 0; i < facts->nappliances; i++)
		if (strcmp(facts->appliances[i].session, session) == 0)
			return &facts->appliances[i];
	return NULL;
}
