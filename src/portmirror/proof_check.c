/* SPDX-License-Identifier: MIT */
#include "portmirror/proof_check.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "portmirror/engine.h"
#include "portmirror/show.h"

enum { PROBES = 100 }; /* out of each source */

/* Why the session can't be checked as it stands; empty: it can. Sources that are absent have
 * nothing to copy. */
static void objection(const struct session_state *st, struct buf *why)
{
	const char *reasons = st->reasons ? st->reasons : "";
	bool fault = reasons != plan_absences(st);

	if (show_state(st) == STATE_WHOLE || (plan_only_absences(st) && st->from.count > 0))
		return;
	buf_fmt(why, "%s: ", st->session->name);
	if (fault || (*reasons && st->pending == 0))
		buf_fmt(why, "%.*s", (int)strcspn(reasons, "\n"), reasons);
	else
		buf_str(why, "the kernel differs from what is saved; portmirror apply mends it");
	buf_str(why, fault || st->pending > 0 ? "; only a session that is whole can be checked"
					      : "; there is nothing to check yet");
}

static bool is_found(const struct proof_check *c, const struct nl_link *link)
{
	for (size_t i = 0; i < c->nto; i++)
		if (c->to[i] == link)
			return true;
	return false;
}

/* All are there: only sources may be absent. */
static void find_destinations(struct proof_check *c)
{
	c->nto = 0;
	for (size_t i = 0; i < c->st->session->nto; i++) {
		const struct nl_link *link = nl_link_by_index(&c->view->host.links, c->st->to[i]);

		if (link && !is_found(c, link)) /* it may go by two names */
			c->to[c->nto++] = link;
	}
}

int proof_check_find(struct proof_check *c, const char *name, struct err *e)
{
	struct buf why cleanup(buf_free) = {0};

	c->st = plan_state(&c->view->plan, name);
	if (!c->st)
		return err_set(e, -ENOENT, "there is no session named %s", name);
	objection(c->st, &why);
	if (buf_status(&why) < 0)
		return err_set(e, -ENOMEM, "out of memory");
	if (why.len > 0)
		return err_set(e, -EAGAIN, "%s", buf_text(&why));
	find_destinations(c);
	return 0;
}

static struct proof_promise promise_of(const struct session *s)
{
	return (struct proof_promise){
		.balance = s->balance,
		.partial = s->sample || s->rate,
		.same_part = s->sample && !s->rate, /* a rate sheds copy by copy */
		.whole_flows = s->sample_flows && !s->rate,
		.snap = s->snap,
	};
}

int proof_check_run(struct proof_check *c,
		    bool (*progress)(double share, const struct proof_counts *settled, void *data),
		    void *data, struct err *e)
{
	const struct ifindexes *from = &c->st->from;
	const struct bytecode *filter = &c->view->filters[c->st - c->view->plan.states];
	struct proof_source *sources cleanup(free_at) = calloc(from->count + 1, sizeof(*sources));
	int to[SESSION_TO_MAX];
	struct proof_request request = {
		.sources = sources,
		.nsources = from->count,
		.to = to,
		.nto = c->nto,
		.promise = promise_of(c->st->session),
		.code = filter->code,
		.ncode = filter->count,
		.seconds = c->seconds,
		.probes = c->probe ? PROBES : 0,
		.progress = progress,
		.data = data,
	};

	if (!sources)
		return err_set(e, -ENOMEM, "out of memory");
	for (size_t i = 0; i < from->count; i++)
		sources[i] = (struct proof_source){from->items[i], c->st->session->direction};
	for (size_t i = 0; i < c->nto; i++)
		to[i] = c->to[i]->index;
	return proof_run(&request, &c->result, e);
}

void proof_check_free(struct proof_check *c)
{
	proof_result_free(&c->result);
	c->result = (struct proof_result){0};
}
