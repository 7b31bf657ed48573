/* SPDX-License-Identifier: MIT */
/* What has happened, and what is wrong with this host: events and findings. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "portmirror/doctor.h"
#include "portmirror/events.h"
#include "portmirror/facts.h"
#include "portmirror/show.h"
#include "portmirrord/api_private.h"

static json_t *mirror_link(const struct rest_call *call, const char *name)
{
	const struct plan *plan = &keeper_view(api_of(call)->keeper)->plan;

	return name && *name && plan_state(plan, name)
		       ? rest_link(call, "mirrors", name, NULL, NULL)
		       : json_null();
}

/* Events */

static json_t *event_object(const struct rest_call *call, const struct event *event)
{
	char id[24], time[SHOW_TIME];

	snprintf(id, sizeof(id), "%" PRIu64, event->number);
	return json_pack("{s:s, s:I, s:s, s:s, s:s?, s:o, s:s}", "id", id, "number",
			 (json_int_t)event->number, "time", show_time(time, event->time), "kind",
			 event->kind, "session", *event->session ? event->session : NULL, "mirror",
			 mirror_link(call, event->session), "text", event->text);
}

static int list_events(const struct rest_call *call, struct rest_list *list,
		       struct rest_fault *fault)
{
	const struct events *events = keeper_events(api_of(call)->keeper);
	size_t count = events_count(events);
	int r = 0;

	/* Where there is none yet, the first will be number 1. */
	list->first = count > 0 ? events_nth(events, 0)->number : 1;
	for (size_t i = 0; r == 0 && i < count; i++)
		r = api_append(list, event_object(call, events_nth(events, i)), fault);
	return r;
}

static int get_event(const struct rest_call *call, json_t **resource, struct rest_fault *fault)
{
	const struct events *events = keeper_events(api_of(call)->keeper);
	char number[24];

	for (size_t i = 0; i < events_count(events); i++) {
		const struct event *event = events_nth(events, i);

		snprintf(number, sizeof(number), "%" PRIu64, event->number);
		if (strcmp(number, call->id) == 0)
			return api_give(resource, event_object(call, event), fault);
	}
	return api_unknown("event", call->id, fault);
}

static const struct rest_field event_fields[] = {
	{.name = "number",
	 .kind = REST_NUMBER,
	 .sample = "1",
	 .help = "Counts up, also over a restart of portmirrord; from 1 on again when the host is "
		 "booted. A range of this collection is of numbers."},
	{.name = "time",
	 .use = REST_BRIEF,
	 .sample = "\"2026-01-31T12:00:00.000Z\"",
	 .help = "When it was, in UTC."},
	{.name = "kind",
	 .use = REST_BRIEF | REST_SEARCH,
	 .sample = "\"session-whole\"",
	 .help = "For programs: session-added, session-changed, session-removed, session-whole, "
		 "session-partial, session-waiting, session-failed, repaired, fight, overrun, …"},
	{.name = "session",
	 .use = REST_BRIEF | REST_SEARCH,
	 .sample = "\"ids\"",
	 .help = "The mirror that it happened to; none where it is no one's in particular."},
	{.name = "mirror", .kind = REST_LINK, .use = REST_LIVE, .help = "If it is there still."},
	{.name = "text",
	 .use = REST_BRIEF,
	 .sample = "\"all that it names is mirrored\"",
	 .help = "What happened, and why."},
	{0},
};

static const struct rest_ops event_ops = {.list = list_events, .get = get_event};

const struct rest_type api_events = {
	.name = "event",
	.plural = "events",
	.summary = "What portmirrord has seen and done; the last 1,024.",
	.fields = event_fields,
	.ops = &event_ops,
};

/* Findings: what "portmirror doctor" tells. They are looked for when they are asked for. */

static int look(const struct rest_call *call, struct findings *findings, struct rest_fault *fault)
{
	const struct api *api = api_of(call);
	const struct view *view = keeper_view(api->keeper);
	struct facts facts cleanup(facts_free) = {0};
	struct doctor_input in = {
		.sessions = keeper_sessions(api->keeper),
		.plan = &view->plan,
		.host = &view->host,
		.facts = &facts,
		.house = keeper_store(api->keeper)->house,
	};
	struct err e = {0};

	if (facts_gather(&view->plan, &view->host, api->root, &facts, &e) < 0 ||
	    doctor_look(&in, findings, &e) < 0)
		return api_refuse(&e, NULL, fault);
	return 0;
}

static json_t *finding_object(const struct rest_call *call, const struct finding *f, size_t number)
{
	char id[24];

	snprintf(id, sizeof(id), "%zu", number);
	return json_pack("{s:s, s:s, s:s, s:s?, s:o, s:s?, s:s, s:s?}", "id", id, "severity",
			 severity_name(f->severity), "name", f->name, "session", f->session,
			 "mirror", mirror_link(call, f->session), "subject", f->subject, "sentence",
			 f->sentence, "cure", f->cure);
}

static int list_findings(const struct rest_call *call, struct rest_list *list,
			 struct rest_fault *fault)
{
	struct findings findings cleanup(findings_free) = {0};
	int r = look(call, &findings, fault);

	for (size_t i = 0; r == 0 && i < findings.count; i++)
		r = api_append(list, finding_object(call, &findings.items[i], i + 1), fault);
	return r;
}

static int get_finding(const struct rest_call *call, json_t **resource, struct rest_fault *fault)
{
	struct findings findings cleanup(findings_free) = {0};
	char *end;
	unsigned long number = strtoul(call->id, &end, 10);

	if (look(call, &findings, fault) < 0)
		return -1;
	if (*call->id < '0' || *call->id > '9' || *end || number < 1 || number > findings.count)
		return api_unknown("finding", call->id, fault);
	return api_give(resource, finding_object(call, &findings.items[number - 1], number), fault);
}

static const char *const severities[] = {"hint", "warning", "error", NULL};

static const struct rest_field finding_fields[] = {
	{.name = "severity",
	 .use = REST_BRIEF | REST_SEARCH | REST_LIVE,
	 .choices = severities,
	 .sample = "\"warning\"",
	 .help = "error: copies don't arrive; warning: they can get lost, doubled or altered; "
		 "hint: the appliance may see what it doesn't expect."},
	{.name = "name",
	 .use = REST_BRIEF | REST_SEARCH | REST_LIVE,
	 .sample = "\"destination-down\"",
	 .help = "For programs."},
	{.name = "session",
	 .use = REST_BRIEF | REST_SEARCH | REST_LIVE,
	 .sample = "\"ids\"",
	 .help = "The mirror that it is about."},
	{.name = "mirror", .kind = REST_LINK, .use = REST_LIVE, .help = "The same, as a link."},
	{.name = "subject",
	 .use = REST_BRIEF | REST_LIVE,
	 .sample = "\"ids0\"",
	 .help = "The device or file that it is about."},
	{.name = "sentence",
	 .use = REST_BRIEF | REST_LIVE,
	 .sample = "\"ids0 is down\"",
	 .help = "What is wrong."},
	{.name = "cure",
	 .use = REST_BRIEF | REST_LIVE,
	 .sample = "\"ip link set dev ids0 up\"",
	 .help = "A command to type, or what to do."},
	{0},
};

static const struct rest_ops finding_ops = {.list = list_findings, .get = get_finding};

const struct rest_type api_findings = {
	.name = "finding",
	.plural = "findings",
	.summary = "What on this host spoils a mirror, or will; numbered anew each time.",
	.fields = finding_fields,
	.ops = &finding_ops,
	.fresh = true,
};
