/* SPDX-License-Identifier: MIT */
/* Repairs, and what to do where others undo them again and again. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "portmirrord/follow.h"
#include "portmirrord/keeper_private.h"

/*
 * Who has removed a qdisc of ours may be about to add one of their own in a message of its own, as
 * libvirt does for <bandwidth>: one of ours put back in between would make that fail ("Exclusivity
 * flag on"). So long a time is left to them after each of their steps, and for all together.
 */
enum { SETTLE_MS = 800, SETTLE_MOST_MS = 5000 };

static bool puts_qdisc(const struct op *op)
{
	return op->kind == OP_QDISC_CLEAR || op->kind == OP_QDISC_ADD;
}

/* It copies, or leads, or cuts, as soon as it is there. */
static bool puts_in_place(const struct op *op)
{
	return op->kind == OP_FILTER_PUT || op->kind == OP_COPY_LINK || op->kind == OP_CUT_LINK ||
	       op->kind == OP_INLINE_LINK;
}

static bool mends(const struct op *op)
{
	return puts_qdisc(op) || puts_in_place(op);
}

static struct device_fight *find_fight(const struct keeper *k, int ifindex)
{
	for (size_t i = 0; i < k->nfights; i++)
		if (k->fights[i].ifindex == ifindex)
			return &k->fights[i];
	return NULL;
}

/* The fight about a device that was wiped, or about which there was one already; else NULL. */
static struct device_fight *fight_about(struct keeper *k, int ifindex)
{
	struct device_fight *fight = find_fight(k, ifindex);

	if (fight)
		return ifindexes_have(follow_wiped(k->follow), ifindex) ||
				       fight->fight.pauses > 0 || fight->settled != 0
			       ? fight
			       : NULL;
	if (!ifindexes_have(follow_wiped(k->follow), ifindex) ||
	    array_room(&k->fights, &k->fights_room, k->nfights, sizeof(*k->fights)) < 0)
		return NULL;
	fight = &k->fights[k->nfights++];
	*fight = (struct device_fight){.ifindex = ifindex};
	return fight;
}

static void pass_in_peace(void *data)
{
	keeper_look_again(data);
}

static void tell_fight(struct keeper *k, const struct op *op, int64_t milliseconds)
{
	char sentence[300];

	snprintf(sentence, sizeof(sentence),
		 "%s: something else keeps removing the mirror; it is left alone for %lld seconds",
		 op->port, (long long)(milliseconds + 999) / 1000);
	keeper_tell(k, "fight", k->view.plan.states[op->session].session->name, sentence);
}

/* The filter is there, and is as it should be, but this process can't open its program (one that
 * root's command line loaded): it is exchanged for one of its own. That mends nothing. */
static bool takes_over(const struct keeper *k, const struct op *op)
{
	const struct tc_filter *filters;
	size_t count = host_filters(&k->view.host, op->ifindex, &filters);

	for (size_t i = 0; op->kind == OP_FILTER_PUT && op->program >= 0 && i < count; i++)
		if (filters[i].parent == op->rule.parent && filters[i].handle == op->rule.handle &&
		    strcmp(filters[i].bpf_name, k->view.plan.programs[op->program].name) == 0)
			return true;
	return false;
}

/* Links, and filters on qdiscs that are there, are put back at once: they are in nobody's way. */
static bool unsettled(struct keeper *k, struct device_fight *fight, const struct op *op,
		      int64_t now)
{
	if (ifindexes_have(follow_wiped(k->follow), op->ifindex)) {
		fight->settled = now + SETTLE_MS;
		fight->at_most = now + SETTLE_MOST_MS;
	} else if (fight->settled != 0 && ifindexes_have(follow_touched(k->follow), op->ifindex)) {
		fight->settled =
			now + SETTLE_MS < fight->at_most ? now + SETTLE_MS : fight->at_most;
	}
	if (puts_qdisc(op) && now < fight->settled)
		return true;
	fight->settled = 0;
	return false;
}

/* One decision a device and pass: fights that are decided carry its verdict until the next. (The
 * first operation is about a qdisc, if any is.) */
static enum fight_verdict decide(struct keeper *k, const struct op *op, int64_t now)
{
	struct device_fight *fight = fight_about(k, op->ifindex);

	if (!fight)
		return FIGHT_REPAIR;
	if (fight->decided)
		return fight->verdict;
	fight->decided = true;
	if (unsettled(k, fight, op, now))
		return fight->verdict = FIGHT_WAIT;
	fight->verdict = fight_decide(&fight->fight, now);
	if (fight->verdict == FIGHT_PAUSE)
		tell_fight(k, op, fight->fight.until - now);
	return fight->verdict;
}

static int hold(struct keeper *k, const struct op *op)
{
	if (array_room(&k->held_back, &k->held_back_room, k->nheld_back, sizeof(*op)) < 0)
		return -ENOMEM;
	k->held_back[k->nheld_back++] = *op;
	return 0;
}

static bool is_held_back(const struct keeper *k, int ifindex)
{
	for (size_t i = 0; i < k->nheld_back; i++)
		if (k->held_back[i].ifindex == ifindex)
			return true;
	return false;
}

/* Wakes up at the end of the first pause. */
static void set_timer(struct keeper *k, int64_t now)
{
	int64_t first = 0;

	for (size_t i = 0; i < k->nfights; i++) {
		const struct device_fight *f = &k->fights[i];
		int64_t until = f->settled > f->fight.until ? f->settled : f->fight.until;

		if (until > now && (first == 0 || until < first))
			first = until;
	}
	if (first != 0)
		loop_timer_set(k->config.loop, &k->peace, first - now, pass_in_peace, k);
}

/* Forgets devices that are gone, or at peace. What goes on keeps its verdicts: a device whose turn
 * has not come was not mended in vain. */
static void forget(struct keeper *k, int64_t now)
{
	size_t kept = 0;

	for (size_t i = 0; i < k->nfights; i++) {
		struct device_fight *f = &k->fights[i];

		f->decided = f->decided && k->goes_on;
		f->told = f->told && k->goes_on;
		if (nl_link_by_index(&k->view.host.links, f->ifindex) &&
		    (now - f->fight.last < FIGHT_PEACE_MS || now - f->settled < FIGHT_PEACE_MS))
			k->fights[kept++] = *f;
	}
	k->nfights = kept;
}

/* Nor is anything removed where something is held back: a rule may be about to move to the place of
 * another, which goes then. */
static void leave_alone(struct keeper *k)
{
	struct plan *plan = &k->view.plan;
	size_t kept = 0;

	for (size_t i = 0; i < plan->nops; i++)
		if (plan->ops[i].kind != OP_FILTER_DEL || !is_held_back(k, plan->ops[i].ifindex))
			plan->ops[kept++] = plan->ops[i];
	plan->nops = kept;
}

void keeper_hold_back(struct keeper *k)
{
	struct plan *plan = &k->view.plan;
	int64_t now = loop_now();
	size_t kept = 0;

	k->nheld_back = 0;
	forget(k, now);
	k->goes_on = false;
	for (size_t i = 0; i < plan->nops; i++) {
		const struct op *op = &plan->ops[i];

		if (mends(op) && op->session >= 0 && !takes_over(k, op) &&
		    decide(k, op, now) != FIGHT_REPAIR && hold(k, op) == 0)
			continue;
		plan->ops[kept++] = *op;
	}
	plan->nops = kept;
	leave_alone(k);
	set_timer(k, now);
}

void keeper_say_held_back(struct keeper *k)
{
	for (size_t i = 0; i < k->nheld_back; i++) {
		const struct op *op = &k->held_back[i];
		const struct device_fight *fight = find_fight(k, op->ifindex);
		char sentence[128];

		snprintf(sentence, sizeof(sentence),
			 "%s is not mirrored for now: something else %s", op->port,
			 fight && fight->settled != 0 ? "has just changed its qdiscs"
						      : "keeps removing what does it");
		keeper_add_reason(k, op->session, sentence);
	}
}

void keeper_tell_repairs(struct keeper *k, const struct outcome *outcome)
{
	for (size_t i = 0; i < outcome->ndone; i++) {
		const struct op *op = &outcome->done[i];
		struct device_fight *fight = find_fight(k, op->ifindex);
		char sentence[160];

		if (!puts_in_place(op) || op->session < 0 || !fight || !fight->decided ||
		    fight->told)
			continue;
		fight->told = true;
		k->counts.repaired++;
		snprintf(
			sentence, sizeof(sentence),
			"%s: something else had removed the mirror, or changed it; it was put back",
			op->port);
		keeper_tell(k, "repaired", k->view.plan.states[op->session].session->name,
			    sentence);
	}
}

void keeper_free_fights(struct keeper *k)
{
	loop_timer_clear(k->config.loop, &k->peace);
	free(k->fights);
	free(k->held_back);
}
