/* SPDX-License-Identifier: MIT */
#include "portmirrord/metrics.h"

#include <inttypes.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "portmirror/events.h"
#include "portmirror/inliner.h"
#include "portmirror/show.h"
#include "portmirror/stats.h"
#include "portmirrord/keeper.h"
#include "rest/server.h"

#define COUNTERS_MS 1000 /* as old as counters may be */

static void family(struct buf *out, const char *name, const char *type, const char *help)
{
	buf_fmt(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

/* A device's name may hold anything but white space; these two are not as they are. */
static void label(struct buf *out, const char *name, const char *value)
{
	buf_fmt(out, "%s=\"", name);
	for (; *value; value++) {
		if (*value == '"' || *value == '\\')
			buf_fmt(out, "\\%c", *value);
		else
			buf_char(out, *value);
	}
	buf_char(out, '"');
}

static void sample(struct buf *out, const char *name, const char *key, const char *text,
		   uint64_t value)
{
	buf_str(out, name);
	if (key) {
		buf_char(out, '{');
		label(out, key, text);
		buf_char(out, '}');
	}
	buf_fmt(out, " %" PRIu64 "\n", value);
}

static void alone(struct buf *out, const char *name, const char *type, const char *help,
		  uint64_t value)
{
	family(out, name, type, help);
	sample(out, name, NULL, NULL, value);
}

/* Sessions: how many there are of each state, then each of them. */

static uint64_t is_whole(const struct session_state *st)
{
	return show_state(st) == STATE_WHOLE;
}

static uint64_t is_sound(const struct session_state *st)
{
	return is_whole(st) || plan_only_absences(st);
}

static uint64_t absent(const struct session_state *st)
{
	return st->absent;
}

static uint64_t ports(const struct session_state *st)
{
	return st->from.count;
}

static void write_states(struct buf *out, const struct plan *plan)
{
	static const char name[] = "portmirror_sessions";
	static const struct {
		const char *name, *help;
		uint64_t (*value)(const struct session_state *st);
	} families[] = {
		{"portmirror_session_whole",
		 "1: all that the session names is mirrored, or guarded.", is_whole},
		{"portmirror_session_sound",
		 "1: it is whole, but for sources that match nothing on this host now.", is_sound},
		{"portmirror_session_absent", "Such sources, or guarded machines.", absent},
		{"portmirror_session_ports", "Ports that the session mirrors, or guards, now.",
		 ports},
	};

	family(out, name, "gauge", "Saved sessions, by their state.");
	for (enum state state = STATE_WHOLE; state <= STATE_FAILED; state++) {
		uint64_t count = 0;

		for (size_t i = 0; i < plan->nstates; i++)
			count += show_state(&plan->states[i]) == state;
		sample(out, name, "state", state_name(state), count);
	}
	for (size_t i = 0; i < COUNT(families); i++) {
		family(out, families[i].name, "gauge", families[i].help);
		for (size_t j = 0; j < plan->nstates; j++)
			sample(out, families[i].name, "session", plan->states[j].session->name,
			       families[i].value(&plan->states[j]));
	}
}

static uint64_t copied_frames(const struct stats_session *s)
{
	return s->copied.frames;
}

static uint64_t copied_bytes(const struct stats_session *s)
{
	return s->copied.bytes;
}

static uint64_t lost_before(const struct stats_session *s)
{
	return s->lost_before;
}

static uint64_t lost_at(const struct stats_session *s)
{
	return s->lost_at;
}

static uint64_t shed(const struct stats_session *s)
{
	return s->shed;
}

static void write_sessions(struct buf *out, const struct stats *stats)
{
	static const struct {
		const char *name, *help;
		uint64_t (*value)(const struct stats_session *s);
	} families[] = {
		{"portmirror_session_copied_frames_total",
		 "Copies made; of an in-line session, frames led into its appliance.",
		 copied_frames},
		{"portmirror_session_copied_bytes_total",
		 "Bytes of copies; of frames that machines send, those behind the Ethernet header.",
		 copied_bytes},
		{"portmirror_session_lost_before_total",
		 "Copies that the destination did not take; frames that were stopped for want of "
		 "the appliance.",
		 lost_before},
		{"portmirror_session_lost_at_total",
		 "Frames that the destination's driver dropped, whoever sent them.", lost_at},
		{"portmirror_session_shed_total", "Copies beyond the session's rate.", shed},
	};

	for (size_t i = 0; i < COUNT(families); i++) {
		family(out, families[i].name, "counter", families[i].help);
		for (size_t j = 0; j < stats->count; j++)
			sample(out, families[i].name, "session", stats->items[j].name,
			       families[i].value(&stats->items[j]));
	}
}

static void source(struct buf *out, const char *name, const struct stats_session *s,
		   const struct stats_source *port, const char *direction, uint64_t value)
{
	buf_fmt(out, "%s{", name);
	label(out, "session", s->name);
	buf_char(out, ',');
	label(out, "port", port->port);
	buf_fmt(out, ",direction=\"%s\"} %" PRIu64 "\n", direction, value);
}

static void write_sources(struct buf *out, const struct stats *stats, bool bytes)
{
	const char *name =
		bytes ? "portmirror_source_bytes_total" : "portmirror_source_frames_total";

	family(out, name, "counter",
	       bytes ? "Bytes of the frames of a session's ports."
		     : "Frames of a session's ports, as the machines see their direction; before "
		       "any filter.");
	for (size_t i = 0; i < stats->count; i++) {
		const struct stats_session *s = &stats->items[i];

		for (size_t j = 0; j < s->nsources; j++) {
			const struct stats_source *p = &s->sources[j];

			if (s->direction & DIRECTION_SENT)
				source(out, name, s, p, "sent",
				       bytes ? p->sent.bytes : p->sent.frames);
			if (s->direction & DIRECTION_RECEIVED)
				source(out, name, s, p, "received",
				       bytes ? p->received.bytes : p->received.frames);
		}
	}
}

/* In-line sessions: their appliances, as far as something of the session is in the kernel. */

struct appliances {
	struct buf *out;
	struct keeper *keeper;
	const struct view *view;
};

/* The nth session's; NULL: it is a mirror, or suspended. */
static const struct inliner *appliance(const struct appliances *a, size_t nth)
{
	const struct session *s = a->view->plan.states[nth].session;

	return s->mode == MODE_INLINE ? host_inliner(&a->view->host, s->name) : NULL;
}

static void appliance_family(const struct appliances *a, const char *name, const char *type,
			     const char *help,
			     uint64_t (*value)(const struct appliances *a,
					       const struct inliner *appliance))
{
	family(a->out, name, type, help);
	for (size_t i = 0; i < a->view->plan.nstates; i++)
		if (appliance(a, i))
			sample(a->out, name, "session", appliance(a, i)->session,
			       value(a, appliance(a, i)));
}

static uint64_t answering(const struct appliances *a, const struct inliner *appliance)
{
	(void)a;
	return appliance->health.failure == INLINE_WELL;
}

static uint64_t failures(const struct appliances *a, const struct inliner *appliance)
{
	(void)a;
	return appliance->health.failures;
}

static uint64_t probes_sent(const struct appliances *a, const struct inliner *appliance)
{
	return keeper_probes(a->keeper, appliance->session);
}

static void sample_of(struct buf *out, const char *name, const char *session, const char *key,
		      const char *text, uint64_t value)
{
	buf_fmt(out, "%s{", name);
	label(out, "session", session);
	buf_fmt(out, ",%s=\"%s\"} %" PRIu64 "\n", key, text, value);
}

static void write_probes(const struct appliances *a)
{
	static const char name[] = "portmirror_appliance_probes_received_total";

	family(a->out, name, "counter",
	       "Probes that came out of the appliance, whoever sent them, by their way.");
	for (size_t i = 0; i < a->view->plan.nstates; i++) {
		const struct inliner *of = appliance(a, i);

		if (!of)
			continue;
		sample_of(a->out, name, of->session, "direction", "outward",
			  of->probes[INLINE_OUTWARD].count);
		sample_of(a->out, name, of->session, "direction", "inward",
			  of->probes[INLINE_INWARD].count);
	}
}

static void write_fates(const struct appliances *a, bool bytes)
{
	const char *name =
		bytes ? "portmirror_appliance_bytes_total" : "portmirror_appliance_frames_total";

	family(a->out, name, "counter",
	       bytes ? "Bytes of those frames."
		     : "Frames of guarded machines, and what comes out of their appliance, by what "
		       "became of them.");
	for (size_t i = 0; i < a->view->plan.nstates; i++) {
		const struct inliner *of = appliance(a, i);

		for (unsigned j = 0; of && j < INLINE_COUNTS; j++)
			sample_of(a->out, name, of->session, "fate", show_inline_count(j),
				  bytes ? of->counts[j].bytes : of->counts[j].frames);
	}
}

static void write_appliances(struct buf *out, struct keeper *keeper, const struct view *view)
{
	const struct appliances a = {.out = out, .keeper = keeper, .view = view};

	appliance_family(&a, "portmirror_appliance_answering", "gauge",
			 "1: the appliance's ports are up and it lets probes through; 0: it has "
			 "failed.",
			 answering);
	appliance_family(&a, "portmirror_appliance_failures_total", "counter",
			 "How often the appliance failed, and all frames went straight on, or none "
			 "got through any more.",
			 failures);
	appliance_family(&a, "portmirror_appliance_probes_sent_total", "counter",
			 "Probes that portmirrord has sent through the appliance, each way.",
			 probes_sent);
	write_probes(&a);
	write_fates(&a, false);
	write_fates(&a, true);
}

/* The daemon itself */

static void write_keeper(struct buf *out, struct keeper *keeper)
{
	const struct events *events = keeper_events(keeper);
	size_t count = events_count(events);
	struct keeper_counts counts = {0};

	keeper_counts(keeper, &counts);
	alone(out, "portmirrord_reconciled_total", "counter",
	      "How often portmirrord set out to change the kernel to what is saved.",
	      counts.reconciled);
	alone(out, "portmirrord_failed_total", "counter",
	      "How often portmirrord could not look at the kernel, or not change it.",
	      counts.failed);
	alone(out, "portmirrord_repaired_total", "counter",
	      "How often what others had removed or changed was put back.", counts.repaired);
	alone(out, "portmirrord_overruns_total", "counter",
	      "How often news of the kernel were lost, and all was read anew.", counts.overruns);
	alone(out, "portmirrord_events_total", "counter", "Events, as portmirror events has them.",
	      count > 0 ? events_nth(events, count - 1)->number : 0);
}

static void write_server(struct buf *out, const struct rest_server *server)
{
	static const char *const refusals[REST_REFUSED_KINDS] = {
		[REST_REFUSED_PEER] = "peer",	[REST_REFUSED_TOKEN] = "token",
		[REST_REFUSED_HOST] = "host",	[REST_REFUSED_FORM] = "form",
		[REST_REFUSED_LIMIT] = "limit", [REST_REFUSED_HTTP] = "http",
	};
	struct rest_server_counts counts = {0};
	char status[] = "1xx";

	rest_server_counts(server, &counts);
	alone(out, "portmirrord_requests_total", "counter", "Requests of the API and the pages.",
	      counts.requests);
	family(out, "portmirrord_answers_total", "counter", "Answers, by their status.");
	for (size_t i = 1; i < COUNT(counts.answers); i++) {
		status[0] = (char)('0' + i);
		sample(out, "portmirrord_answers_total", "status", status, counts.answers[i]);
	}
	family(out, "portmirrord_refused_total", "counter",
	       "Requests and connections that were refused, by why.");
	for (size_t i = 0; i < REST_REFUSED_KINDS; i++)
		sample(out, "portmirrord_refused_total", "reason", refusals[i], counts.refused[i]);
	alone(out, "portmirrord_connections", "gauge", "Connections now.", counts.connections);
	alone(out, "portmirrord_held_requests", "gauge", "Requests that wait for something now.",
	      counts.held);
}

int metrics_write(struct keeper *keeper, const struct rest_server *server, struct buf *out)
{
	struct stats stats cleanup(stats_free) = {0};
	const struct view *view;
	int r;

	(void)keeper_refresh(keeper, COUNTERS_MS, NULL);
	view = keeper_view(keeper);
	r = stats_take(&view->plan, &view->host, NULL, &stats, NULL);
	if (r < 0)
		return r;
	family(out, "portmirrord_build_info", "gauge", "Always 1; the version is a label.");
	sample(out, "portmirrord_build_info", "version", VERSION, 1);
	write_states(out, &view->plan);
	write_sessions(out, &stats);
	write_sources(out, &stats, false);
	write_sources(out, &stats, true);
	write_appliances(out, keeper, view);
	write_keeper(out, keeper);
	if (server)
		write_server(out, server);
	return buf_status(out);
}
