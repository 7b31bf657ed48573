/* SPDX-License-Identifier: MIT */
/* Mirrors: as they are saved, and as the kernel has them. */
#include <linux/pkt_sched.h>
#include <string.h>

#include "base/mem.h"
#include "data/json.h"
#include "portmirror/op.h"
#include "portmirror/ours.h"
#include "portmirror/show.h"
#include "portmirror/stats.h"
#include "portmirrord/api_private.h"

static const struct view *view_of(const struct rest_call *call)
{
	return keeper_view(api_of(call)->keeper);
}

const struct session_state *api_mirror(const struct rest_call *call, const char *id,
				       struct rest_fault *fault)
{
	const struct session_state *st = plan_state(&view_of(call)->plan, id);

	if (!st)
		(void)api_unknown("mirror", id, fault);
	return st;
}

static bool is_broken(const struct view *view, const struct session_state *st)
{
	return view->sessions->items[st - view->plan.states].broken != NULL;
}

/* What is saved; of a file that can't be read, only its name. */
static json_t *saved_object(const struct view *view, const struct session_state *st)
{
	json_t *object = is_broken(view, st) ? json_pack("{s:s, s:b}", "name", st->session->name,
							 "runtime", st->session->runtime)
					     : session_object(st->session, true);

	if (object && json_object_set_new(object, "id", json_string(st->session->name)) < 0) {
		json_decref(object);
		return NULL;
	}
	return object;
}

/* What the kernel has of a session, from the filters that copy for it. */
struct found {
	json_t *from; /* selectors of the ports that have one */
	bool sent, received, clsact;
};

static void find(const struct host *host, uint32_t house, const struct session_state *st,
		 struct found *found)
{
	int last = 0;

	for (size_t i = 0; i < host->filters.count; i++) {
		const struct tc_filter *f = &host->filters.items[i];
		const struct nl_link *link = nl_link_by_index(&host->links, f->ifindex);
		const struct tc_qdisc *q = host_qdisc_at(host, f->ifindex, TC_H_INGRESS);
		bool received;

		if (!ours_copies(f, house, st->session->name, st->action) || !link)
			continue;
		received = TC_H_MAJ(f->parent) != TC_H_MAJ(TC_H_INGRESS) ||
			   TC_H_MIN(f->parent) == TC_H_MIN_EGRESS;
		found->sent |= !received;
		found->received |= received;
		found->clsact |= q && strcmp(q->kind, "clsact") == 0;
		if (f->ifindex != last)
			json_array_append_new(found->from, json_sprintf("port:%s", link->name));
		last = f->ifindex;
	}
}

/* The same from the links of the engine bpf. */
static void find_links(const struct host *host, const char *session, struct found *found)
{
	int last = 0;

	for (size_t i = 0; i < host->pins.count; i++) {
		const struct pin *pin = &host->pins.items[i];
		const struct nl_link *link = nl_link_by_index(&host->links, pin->ifindex);

		if (pin->kind != PIN_LINK || strcmp(pin->session, session) != 0 || !link)
			continue;
		found->sent |= !pin->egress;
		found->received |= pin->egress;
		if (pin->ifindex != last) /* IFINDEX-received, IFINDEX-sent: neighbours */
			json_array_append_new(found->from, json_sprintf("port:%s", link->name));
		last = pin->ifindex;
	}
}

/* Where its copies go, as its programs have been told; one destination stands without the array. */
static json_t *to_found(const struct host *host, const struct copier *copier)
{
	json_t *list = json_array(), *only;

	for (uint32_t i = 0; list && i < copier->config.to_count && i < COPY_TO_MAX; i++) {
		const struct nl_link *link =
			nl_link_by_index(&host->links, (int)copier->config.to[i].ifindex);

		if (link)
			json_array_append_new(list, json_sprintf("port:%s", link->name));
	}
	if (json_array_size(list) != 1)
		return list;
	only = json_incref(json_array_get(list, 0));
	json_decref(list);
	return only;
}

static bool isolates(const struct view *view, const struct copier *copier)
{
	for (uint32_t i = 0; i < copier->config.to_count && i < COPY_TO_MAX; i++)
		if (notes_isolate(&view->notes, (int)copier->config.to[i].ifindex))
			return true;
	return false;
}

static const char *direction_found(const struct found *found)
{
	if (found->sent == found->received)
		return found->sent ? "both" : NULL;
	return found->sent ? "sent" : "received";
}

static const struct tc_action *action_of(const struct host *host, const struct session_state *st)
{
	for (size_t i = 0; st->in_kernel && i < host->actions.count; i++)
		if (host->actions.items[i].index == st->action)
			return &host->actions.items[i];
	return NULL;
}

/* What the engine bpf has been told. */
static void add_found(const struct view *view, const struct copier *copier, json_t *object)
{
	const struct copy_config *c = &copier->config;
	bool flows = c->flags & COPY_SAMPLE_FLOWS, balance = c->flags & COPY_BALANCE;

	json_object_set_new(object, "to", to_found(&view->host, copier));
	json_object_set_new(object, "isolate", json_boolean(isolates(view, copier)));
	json_object_set_new(object, "engine", json_string("bpf"));
	json_object_set_new(object, "snap", c->snap ? json_integer(c->snap) : json_null());
	json_object_set_new(object, "sample",
			    c->sample ? json_integer(UINT32_MAX / c->sample + 1) : json_null());
	json_object_set_new(object, "sample-flows", json_boolean(flows));
	json_object_set_new(object, "rate", c->rate ? json_integer(c->rate) : json_null());
	json_object_set_new(object, "balance", json_boolean(balance));
}

/*
 * The kernel has no expression, but a program: the saved expression is told only where all is as it
 * would be made from that.
 */
static json_t *current_mirror(const struct view *view, const struct session_state *st,
			      uint32_t house)
{
	const struct host *host = &view->host;
	const struct copier *copier = host_copier(host, st->session->name);
	const struct tc_action *action = action_of(host, st);
	const struct nl_link *to =
		action ? nl_link_by_index(&host->links, action->to_ifindex) : NULL;
	bool same = (action || copier) && st->pending == 0;
	struct found found = {.from = json_array()};
	json_t *object;

	if (!found.from)
		return NULL;
	if (action || copier)
		find(host, house, st, &found);
	if (!action && copier)
		find_links(host, st->session->name, &found);
	object = json_pack("{s:s, s:s, s:s?, s:o, s:o, s:s?, s:s?, s:s?, s:s?, s:b, s:b, s:b}",
			   "id", st->session->name, "name", st->session->name, "mode",
			   action || copier ? "mirror" : NULL, "from", found.from, "to",
			   to ? json_sprintf("port:%s", to->name) : json_null(), "direction",
			   direction_found(&found), "filter", same ? st->session->filter : NULL,
			   "attach",
			   !action || !direction_found(&found) ? NULL
			   : found.clsact		       ? "clsact"
							       : "classic",
			   "engine", action ? "tc" : NULL, "isolate",
			   to && notes_isolate(&view->notes, to->index) != NULL, "suspended",
			   st->session->suspended, "runtime", st->session->runtime);
	if (object && !action && copier)
		add_found(view, copier, object);
	return object;
}

/* What the programs of an in-line session have been told. */
static json_t *current_inline(const struct view *view, const struct session_state *st,
			      const struct inliner *have)
{
	json_t *guard = json_array(), *through = json_array();

	for (size_t i = 0; guard && have && i < have->nports; i++) {
		const struct nl_link *link = nl_link_by_index(&view->host.links, have->ports[i]);

		if (link)
			json_array_append_new(guard, json_sprintf("port:%s", link->name));
	}
	for (int side = 0; through && have && side < SIDES; side++) {
		uint32_t port = side == SIDE_INSIDE ? have->state.inside : have->state.outside;
		const struct nl_link *link = nl_link_by_index(&view->host.links, (int)port);

		if (link)
			json_array_append_new(through, json_sprintf("port:%s", link->name));
	}
	return json_pack("{s:s, s:s, s:s?, s:o, s:o, s:s?, s:s?, s:s?, s:i, s:b, s:b}", "id",
			 st->session->name, "name", st->session->name, "mode",
			 have ? "inline" : NULL, "guard", guard, "through", through, "on-failure",
			 !have		    ? NULL
			 : have->state.open ? "open"
					    : "closed",
			 "appliance",
			 !have		      ? NULL
			 : have->state.direct ? "bridge"
					      : "wire",
			 "filter", have && st->pending == 0 ? st->session->filter : NULL,
			 "probe-interval", (int)st->session->probe_interval, "suspended",
			 st->session->suspended, "runtime", st->session->runtime);
}

static json_t *current_object(const struct rest_call *call, const struct view *view,
			      const struct session_state *st)
{
	if (st->session->mode == MODE_INLINE)
		return current_inline(view, st, host_inliner(&view->host, st->session->name));
	return current_mirror(view, st, keeper_store(api_of(call)->keeper)->house);
}

static json_t *planned(const struct view *view, const struct session_state *st)
{
	json_t *list = json_array();
	char text[200];

	for (size_t i = 0; list && st->pending > 0 && i < view->plan.nops; i++) {
		const struct op *op = &view->plan.ops[i];

		if (op->session != st - view->plan.states)
			continue;
		op_text(op, text, sizeof(text));
		json_array_append_new(list, json_string(text));
	}
	return list;
}

/* How it stands, and what it has done. */
static json_t *state_object(const struct rest_call *call, const struct view *view,
			    const struct session_state *st)
{
	const struct tc_action *action = action_of(&view->host, st);
	const struct nl_link *to = nl_link_by_index(&view->host.links, st->to_ifindex);
	struct stats stats cleanup(stats_free) = {0};
	struct stats_session none = {0}, *s = &none;

	if (stats_take(&view->plan, &view->host, st->session->name, &stats, NULL) < 0)
		return NULL;
	if (stats.count > 0)
		s = &stats.items[0];
	return json_pack("{s:s, s:o, s:o, s:I, s:o, s:s?, s:o, s:I, s:I, s:I, s:I, s:I}", "state",
			 state_name(show_state(st)), "reasons", show_reasons(st), "planned",
			 planned(view, st), "ports", (json_int_t)st->from.count, "destination",
			 api_port_link(call, to), "by",
			 st->engine == ENGINE_AUTO ? NULL : engine_kind_name(st->engine), "action",
			 action ? json_integer(action->index) : json_null(), "copied_frames",
			 (json_int_t)s->copied.frames, "copied_bytes", (json_int_t)s->copied.bytes,
			 "lost_before", (json_int_t)s->lost_before, "lost_at",
			 (json_int_t)s->lost_at, "shed", (json_int_t)s->shed);
}

static json_t *mirror_object(const struct rest_call *call, const struct session_state *st)
{
	const struct view *view = view_of(call);
	bool current = call->variant && strcmp(call->variant, "current") == 0;
	json_t *object cleanup(json_free_at) =
		current ? current_object(call, view, st) : saved_object(view, st);
	json_t *state cleanup(json_free_at) = NULL;

	if (!object || (call->variant && !current))
		return take(object);
	state = state_object(call, view, st);
	if (state && st->session->mode == MODE_INLINE) {
		json_t *more cleanup(json_free_at) =
			show_appliance(st, host_inliner(&view->host, st->session->name));

		(void)json_object_update(state, more);
	}
	if (!state || json_object_update(object, state) < 0)
		return NULL;
	return take(object);
}

static int list_mirrors(const struct rest_call *call, struct rest_list *list,
			struct rest_fault *fault)
{
	const struct plan *plan;
	int r = 0;

	api_refresh(call);
	plan = &view_of(call)->plan;
	for (size_t i = 0; r == 0 && i < plan->nstates; i++)
		r = api_append(list, mirror_object(call, &plan->states[i]), fault);
	return r;
}

static int get_mirror(const struct rest_call *call, json_t **resource, struct rest_fault *fault)
{
	const struct session_state *st;

	api_refresh(call);
	st = api_mirror(call, call->id, fault);
	return st ? api_give(resource, mirror_object(call, st), fault) : -1;
}

#define GIVEN (REST_CREATE | REST_UPDATE)
static const char *const modes[] = {"mirror", "inline", NULL};
static const char *const failures[] = {"open", "closed", NULL};
static const char *const appliances[] = {"wire", "bridge", NULL};
static const char *const directions[] = {"both", "sent", "received", NULL};
static const char *const attaches[] = {"auto", "clsact", "classic", NULL};
static const char *const engines[] = {"auto", "tc", "bpf", NULL};

static const struct rest_field fields[] = {
	{.name = "name",
	 .use = REST_CREATE | REST_SEARCH,
	 .mandatory = true,
	 .minlen = 1,
	 .maxlen = SESSION_NAME_MAX,
	 .regex = "[A-Za-z0-9][A-Za-z0-9._-]*",
	 .sample = "\"ids\"",
	 .help = "What the mirror is called: letters, digits, dots, underscores and dashes."},
	{.name = "state",
	 .use = REST_LIVE | REST_BRIEF,
	 .sample = "\"whole\"",
	 .help = "whole: all that is named is mirrored; partial; waiting: for a source or the "
		 "destination; suspended; failed."},
	{.name = "mode",
	 .use = GIVEN,
	 .choices = modes,
	 .fallback = "\"mirror\"",
	 .sample = "\"mirror\"",
	 .help = "mirror: the frames are copied; inline: they are led through an appliance."},
	{.name = "from",
	 .multiple = true,
	 .use = GIVEN | REST_BRIEF,
	 .minlen = 1,
	 .maxlen = SELECTOR_MAX,
	 .most = SESSION_FROM_MAX,
	 .sample = "[\"vm:web1\", \"bridge:br0\"]",
	 .help = "Of mode mirror, and mandatory there: what is mirrored, as selectors: vm:NAME, "
		 "vm:NAME/N, port:DEVICE (globs select "
		 "many), bridge:BRIDGE, mac:ADDRESS."},
	{.name = "to",
	 .multiple = true,
	 .use = GIVEN | REST_BRIEF,
	 .minlen = 1,
	 .maxlen = SELECTOR_MAX,
	 .most = SESSION_TO_MAX,
	 .sample = "[\"port:ids0\"]",
	 .help = "Of mode mirror, and mandatory there: where the copies go: a selector that means "
		 "one device, or several of them."},
	{.name = "direction",
	 .use = GIVEN | REST_BRIEF,
	 .choices = directions,
	 .fallback = "\"both\"",
	 .sample = "\"both\"",
	 .help = "Which frames, as the machine sees it."},
	{.name = "filter",
	 .use = GIVEN | REST_BRIEF,
	 .maxlen = SESSION_FILTER_MAX,
	 .sample = "\"not port 22\"",
	 .help = "Only frames that match this expression of pcap-filter(7). None: all frames; in "
		 ";current also where the kernel's program isn't that of what is saved."},
	{.name = "attach",
	 .use = GIVEN,
	 .choices = attaches,
	 .fallback = "\"auto\"",
	 .sample = "\"auto\"",
	 .help = "Which queueing disciplines its filters hang on."},
	{.name = "engine",
	 .use = GIVEN | REST_BRIEF,
	 .choices = engines,
	 .fallback = "\"auto\"",
	 .sample = "\"auto\"",
	 .help = "What copies: traffic control, or eBPF."},
	{.name = "snap",
	 .kind = REST_NUMBER,
	 .whole = true,
	 .use = GIVEN,
	 .has_limits = true,
	 .min = SESSION_SNAP_MIN,
	 .max = SESSION_SNAP_MAX,
	 .sample = "128",
	 .help = "How many bytes of each frame are copied, at most. Engine bpf."},
	{.name = "sample",
	 .kind = REST_NUMBER,
	 .whole = true,
	 .use = GIVEN,
	 .has_limits = true,
	 .min = 2,
	 .max = SESSION_SAMPLE_MAX,
	 .sample = "100",
	 .help = "One frame in so many is copied. Engine bpf."},
	{.name = "sample-flows",
	 .kind = REST_BOOLEAN,
	 .use = GIVEN,
	 .fallback = "false",
	 .sample = "false",
	 .help = "With sample: one flow in so many, both directions of it."},
	{.name = "rate",
	 .kind = REST_NUMBER,
	 .whole = true,
	 .use = GIVEN,
	 .has_limits = true,
	 .min = 1,
	 .max = SESSION_RATE_MAX,
	 .sample = "1000",
	 .help = "Mbit/s of copies; those beyond it are shed. Engine bpf."},
	{.name = "balance",
	 .kind = REST_BOOLEAN,
	 .use = GIVEN,
	 .fallback = "false",
	 .sample = "false",
	 .help = "Each flow goes to one of the destinations, not all to each. Engine bpf."},
	{.name = "isolate",
	 .kind = REST_BOOLEAN,
	 .use = GIVEN,
	 .fallback = "false",
	 .sample = "false",
	 .help = "The destination, a port of a bridge, gets little but the mirror."},
	{.name = "guard",
	 .multiple = true,
	 .use = GIVEN,
	 .minlen = 1,
	 .maxlen = SELECTOR_MAX,
	 .most = SESSION_FROM_MAX,
	 .sample = "null",
	 .help = "Of mode inline, and mandatory there: whose frames are led through the appliance, "
		 "as selectors."},
	{.name = "through",
	 .multiple = true,
	 .use = GIVEN,
	 .minlen = 1,
	 .maxlen = SELECTOR_MAX,
	 .most = SIDES,
	 .sample = "null",
	 .help = "Of mode inline, and mandatory there: the appliance's two ports, towards the "
		 "machines and towards the "
		 "network."},
	{.name = "on-failure",
	 .use = GIVEN,
	 .choices = failures,
	 .sample = "null",
	 .help = "Of mode inline, and mandatory there: when the appliance fails, frames go "
		 "straight on (open), or stop "
		 "(closed)."},
	{.name = "appliance",
	 .use = GIVEN,
	 .choices = appliances,
	 .fallback = "\"wire\"",
	 .sample = "\"wire\"",
	 .help = "Of mode inline: what goes in at one port leaves at the other (wire), or the "
		 "appliance learns where machines are (bridge); then guarded machines talk to each "
		 "other past it."},
	{.name = "probe-interval",
	 .kind = REST_NUMBER,
	 .whole = true,
	 .use = GIVEN,
	 .has_limits = true,
	 .min = PROBE_INTERVAL_MIN,
	 .max = PROBE_INTERVAL_MAX,
	 .fallback = "100",
	 .sample = "100",
	 .help = "Of mode inline: milliseconds between probes."},
	{.name = "suspended",
	 .kind = REST_BOOLEAN,
	 .use = GIVEN,
	 .fallback = "false",
	 .sample = "false",
	 .help = "It stays saved, and copies (or leads through) nothing."},
	{.name = "runtime",
	 .kind = REST_BOOLEAN,
	 .use = REST_CREATE,
	 .fallback = "false",
	 .sample = "false",
	 .help = "It is forgotten at the next boot."},
	{.name = "strict",
	 .kind = REST_BOOLEAN,
	 .use = GIVEN,
	 .fallback = "false",
	 .sample = "false",
	 .help = "Refuse selectors that match nothing yet. Of this request only: not saved."},
	{.name = "dry-run",
	 .kind = REST_BOOLEAN,
	 .use = GIVEN | REST_TRIAL,
	 .fallback = "false",
	 .sample = "false",
	 .help = "Change nothing, and tell in planned what would be done. Of this request only."},
	{.name = "reasons",
	 .multiple = true,
	 .use = REST_LIVE,
	 .sample = "[]",
	 .help = "Why it isn't whole."},
	{.name = "planned",
	 .multiple = true,
	 .use = REST_LIVE,
	 .sample = "[]",
	 .help = "What is to be done to the kernel, so that it is as saved."},
	{.name = "ports",
	 .kind = REST_NUMBER,
	 .use = REST_LIVE | REST_BRIEF,
	 .sample = "2",
	 .help = "How many ports it mirrors now."},
	{.name = "destination",
	 .kind = REST_LINK,
	 .use = REST_LIVE,
	 .help = "The device that gets the copies now."},
	{.name = "by",
	 .use = REST_LIVE,
	 .sample = "\"tc\"",
	 .help = "The engine that carries it out on this host."},
	{.name = "watched",
	 .kind = REST_BOOLEAN,
	 .use = REST_LIVE,
	 .sample = "null",
	 .help = "Of mode inline: probes are sent through the appliance."},
	{.name = "failure",
	 .use = REST_LIVE,
	 .sample = "null",
	 .help = "Of mode inline: gone, down or silent, if the appliance has failed."},
	{.name = "failures",
	 .kind = REST_NUMBER,
	 .use = REST_LIVE,
	 .sample = "null",
	 .help = "Of mode inline: how often the appliance has failed."},
	{.name = "counts",
	 .kind = REST_OBJECT,
	 .use = REST_LIVE,
	 .help = "Of mode inline: frames and bytes that went into the appliance, came out, or "
		 "didn't, "
		 "and why."},
	{.name = "action",
	 .kind = REST_NUMBER,
	 .use = REST_LIVE,
	 .sample = "9001",
	 .help = "The index of its mirred action in the kernel."},
	API_COUNTER("copied_frames", 0, "Copies made since its action was made."),
	API_COUNTER("copied_bytes", 0,
		    "Their bytes; of frames that machines send, those behind the Ethernet header."),
	API_COUNTER("lost_before", 0, "Copies that the destination didn't take."),
	API_COUNTER("shed", 0, "Copies beyond its rate."),
	API_COUNTER("lost_at", 0,
		    "Frames that the destination's driver dropped, whoever sent them."),
	{0},
};

static const struct rest_ops ops = {
	.list = list_mirrors,
	.get = get_mirror,
	.create = api_mirror_create,
	.replace = api_mirror_replace,
	.remove = api_mirror_remove,
};

const struct rest_type api_mirrors = {
	.name = "mirror",
	.plural = "mirrors",
	.summary =
		"A mirror session: the frames of its sources are copied to its destination; or, in "
		"mode inline, led through an appliance.",
	.fields = fields,
	.subs = (const struct rest_type *const[]){&api_sources, &api_taps, &api_actions, NULL},
	.variants = (const char *const[]){"saved", "current", NULL},
	.ops = &ops,
};
