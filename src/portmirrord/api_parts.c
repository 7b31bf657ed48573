/* SPDX-License-Identifier: MIT */
/* The parts of a mirror: its sources (selectors), and its taps (the ports that they mean now). */
#include <errno.h>
#include <string.h>

#include "base/mem.h"
#include "portmirrord/api_private.h"

static const struct host *host_of(const struct rest_call *call)
{
	return &keeper_view(api_of(call)->keeper)->host;
}

/* Sources: what they are called is what they are. */

static json_t *source_object(const struct rest_call *call, const struct selector *source)
{
	const struct host *host = host_of(call);
	struct ifindexes found = {0};
	/* What else can't be resolved matches nothing; the mirror's reasons tell why. */
	bool lacked = selector_resolve(source, &host->links, &host->vms, &found, NULL) == -ENOMEM;
	json_t *ports = lacked ? NULL : json_array();

	for (size_t i = 0; ports && i < found.count; i++) {
		const struct nl_link *link = nl_link_by_index(&host->links, found.items[i]);

		if (link && json_array_append_new(ports, api_port_link(call, link)) < 0) {
			json_decref(ports);
			ports = NULL;
		}
	}
	ifindexes_free(&found);
	return json_pack("{s:s, s:s, s:o}", "id", source->text, "selector", source->text, "ports",
			 ports);
}

static int list_sources(const struct rest_call *call, struct rest_list *list,
			struct rest_fault *fault)
{
	const struct session_state *st = api_mirror(call, call->parent, fault);
	int r = st ? 0 : -1;

	for (size_t i = 0; r == 0 && i < st->session->nfrom; i++)
		r = api_append(list, source_object(call, &st->session->from[i]), fault);
	return r;
}

static int get_source(const struct rest_call *call, json_t **resource, struct rest_fault *fault)
{
	const struct session_state *st = api_mirror(call, call->parent, fault);

	for (size_t i = 0; st && i < st->session->nfrom; i++)
		if (strcmp(st->session->from[i].text, call->id) == 0)
			return api_give(resource, source_object(call, &st->session->from[i]),
					fault);
	return st ? api_unknown("source of this mirror", call->id, fault) : -1;
}

/* Taps */

static json_t *tap_object(const struct rest_call *call, const struct session_state *st,
			  const struct nl_link *link)
{
	bool sent = st->session->direction & DIRECTION_SENT;
	bool received = st->session->direction & DIRECTION_RECEIVED;
	char id[API_DEVICE];

	/* What the machine sends, its port on the host receives. */
	return json_pack("{s:s, s:s, s:o, s:o, s:o, s:o, s:o}", "id", api_device_id(link, id),
			 "name", link->name, "port", api_port_link(call, link), "sent_frames",
			 sent ? json_integer((json_int_t)link->rx_frames) : json_null(),
			 "sent_bytes",
			 sent ? json_integer((json_int_t)link->rx_bytes) : json_null(),
			 "received_frames",
			 received ? json_integer((json_int_t)link->tx_frames) : json_null(),
			 "received_bytes",
			 received ? json_integer((json_int_t)link->tx_bytes) : json_null());
}

static int list_taps(const struct rest_call *call, struct rest_list *list, struct rest_fault *fault)
{
	const struct session_state *st;
	int r;

	api_refresh(call);
	st = api_mirror(call, call->parent, fault);
	r = st ? 0 : -1;
	for (size_t i = 0; r == 0 && i < st->from.count; i++) {
		const struct nl_link *link =
			nl_link_by_index(&host_of(call)->links, st->from.items[i]);

		if (link)
			r = api_append(list, tap_object(call, st, link), fault);
	}
	return r;
}

static int get_tap(const struct rest_call *call, json_t **resource, struct rest_fault *fault)
{
	const struct session_state *st;
	const struct nl_link *link;

	api_refresh(call);
	st = api_mirror(call, call->parent, fault);
	if (!st)
		return -1;
	link = api_device(call, call->id);
	if (!link || !ifindexes_have(&st->from, link->index))
		return api_unknown("port that this mirror mirrors", call->id, fault);
	return api_give(resource, tap_object(call, st, link), fault);
}

/* The declarations */

static const struct rest_field source_fields[] = {
	{.name = "selector",
	 .use = REST_CREATE,
	 .mandatory = true,
	 .minlen = 1,
	 .maxlen = SELECTOR_MAX,
	 .sample = "\"vm:web1\"",
	 .help = "vm:NAME, vm:NAME/N, port:DEVICE (globs select many), bridge:BRIDGE, or "
		 "mac:ADDRESS."},
	{.name = "ports",
	 .kind = REST_LINK,
	 .multiple = true,
	 .use = REST_LIVE | REST_BRIEF,
	 .sample = "[]",
	 .help = "What it means now."},
	{0},
};

static const struct rest_ops source_ops = {
	.list = list_sources,
	.get = get_source,
	.create = api_source_create,
	.remove = api_source_remove,
};

const struct rest_type api_sources = {
	.name = "source",
	.plural = "sources",
	.summary = "A selector that says what the mirror mirrors.",
	.fields = source_fields,
	.ops = &source_ops,
};

static const struct rest_field tap_fields[] = {
	{.name = "name", .sample = "\"vnet1\"", .help = "The device."},
	{.name = "port", .kind = REST_LINK, .use = REST_BRIEF, .help = "The port itself."},
	API_COUNTER("sent_frames", REST_BRIEF,
		    "Frames that the machine behind it sent, since the device is up, "
		    "before any filter; none where the mirror doesn't have them."),
	API_COUNTER("sent_bytes", REST_BRIEF, "Their bytes."),
	API_COUNTER("received_frames", REST_BRIEF,
		    "Frames that the machine behind it got; likewise."),
	API_COUNTER("received_bytes", REST_BRIEF, "Their bytes."),
	{0},
};

static const struct rest_ops tap_ops = {.list = list_taps, .get = get_tap};

const struct rest_type api_taps = {
	.name = "tap",
	.plural = "ports",
	.summary = "A port that is mirrored now.",
	.fields = tap_fields,
	.ops = &tap_ops,
};
