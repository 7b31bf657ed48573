/* SPDX-License-Identifier: MIT */
/* What there is on this host: bridges with their ports, ports, virtual machines with their NICs. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "portmirror/show.h"
#include "portmirrord/api_private.h"

static const struct host *host_of(const struct rest_call *call)
{
	return &keeper_view(api_of(call)->keeper)->host;
}

static json_t *mac_of(const struct nl_link *link)
{
	char text[18];

	return link->has_mac ? json_string(show_mac(text, link->mac)) : json_null();
}

static bool is_bridge(const struct nl_link *link)
{
	return strcmp(link->kind, "bridge") == 0;
}

const char *api_device_id(const struct nl_link *link, char id[API_DEVICE])
{
	if (strcmp(link->name, "_") == 0)
		snprintf(id, API_DEVICE, "_:%d", link->index);
	else
		snprintf(id, API_DEVICE, "%s", link->name);
	return id;
}

const struct nl_link *api_device(const struct rest_call *call, const char *id)
{
	const struct nl_links *links = &host_of(call)->links;
	char text[API_DEVICE];

	for (size_t i = 0; i < links->count; i++)
		if (strcmp(api_device_id(&links->items[i], text), id) == 0)
			return &links->items[i];
	return NULL;
}

/* The device of that id, if it is of the kind wanted; NULL: the fault is filled in. */
static const struct nl_link *find_link(const struct rest_call *call, const char *id,
				       bool (*wanted)(const struct nl_link *link), const char *what,
				       struct rest_fault *fault)
{
	const struct nl_link *link = api_device(call, id);

	if (link && wanted(link))
		return link;
	(void)api_unknown(what, id, fault);
	return NULL;
}

/* Bridges */

static json_t *bridge_object(const struct rest_call *call, const struct nl_link *bridge)
{
	const struct host *host = host_of(call);
	char id[API_DEVICE];
	json_int_t ports = 0;

	for (size_t i = 0; i < host->links.count; i++)
		ports += host->links.items[i].master == bridge->index;
	return json_pack("{s:s, s:s, s:s, s:o, s:i, s:I}", "id", api_device_id(bridge, id), "name",
			 bridge->name, "state", show_link_state(bridge), "mac", mac_of(bridge),
			 "mtu", (int)bridge->mtu, "ports", ports);
}

static int list_bridges(const struct rest_call *call, struct rest_list *list,
			struct rest_fault *fault)
{
	const struct nl_links *links = &host_of(call)->links;
	int r = 0;

	for (size_t i = 0; r == 0 && i < links->count; i++)
		if (is_bridge(&links->items[i]))
			r = api_append(list, bridge_object(call, &links->items[i]), fault);
	return r;
}

static int get_bridge(const struct rest_call *call, json_t **resource, struct rest_fault *fault)
{
	const struct nl_link *link = find_link(call, call->id, is_bridge, "bridge", fault);

	return link ? api_give(resource, bridge_object(call, link), fault) : -1;
}

/* The ports of a bridge: the link of the two, and its flags. */

static json_t *member_object(const struct rest_call *call, const struct nl_link *link)
{
	char id[API_DEVICE];

	return json_pack("{s:s, s:s, s:o, s:b, s:b, s:b, s:b}", "id", api_device_id(link, id),
			 "name", link->name, "port", api_port_link(call, link), "isolated",
			 (link->brport & BRPORT_ISOLATED) != 0, "learning",
			 (link->brport & BRPORT_LEARNING) != 0, "flood",
			 (link->brport & BRPORT_FLOOD) != 0, "hairpin", link->hairpin);
}

static int list_members(const struct rest_call *call, struct rest_list *list,
			struct rest_fault *fault)
{
	const struct nl_link *bridge = find_link(call, call->parent, is_bridge, "bridge", fault);
	const struct nl_links *links = &host_of(call)->links;
	int r = bridge ? 0 : -1;

	for (size_t i = 0; r == 0 && i < links->count; i++)
		if (links->items[i].master == bridge->index)
			r = api_append(list, member_object(call, &links->items[i]), fault);
	return r;
}

static int get_member(const struct rest_call *call, json_t **resource, struct rest_fault *fault)
{
	const struct nl_link *bridge = find_link(call, call->parent, is_bridge, "bridge", fault);
	const struct nl_link *link = api_device(call, call->id);

	if (!bridge)
		return -1;
	if (!link || link->master != bridge->index)
		return api_unknown("port of this bridge", call->id, fault);
	return api_give(resource, member_object(call, link), fault);
}

/* Machines. Their names need not be unique: then the process tells them apart. */

static const char *vm_id(const struct host *host, const struct vm *vm, char text[256])
{
	bool unique = strcmp(vm->name, "_") != 0; /* the placeholder's */

	for (size_t i = 0; i < host->vms.count; i++)
		unique &=
			&host->vms.items[i] == vm || strcmp(host->vms.items[i].name, vm->name) != 0;
	if (unique)
		snprintf(text, 256, "%s", vm->name);
	else
		snprintf(text, 256, "pid-%d", (int)vm->pid);
	return text;
}

static const struct vm *find_vm(const struct rest_call *call, const char *id,
				struct rest_fault *fault)
{
	const struct host *host = host_of(call);
	char text[256];

	for (size_t i = 0; i < host->vms.count; i++)
		if (strcmp(vm_id(host, &host->vms.items[i], text), id) == 0)
			return &host->vms.items[i];
	(void)api_unknown("virtual machine", id, fault);
	return NULL;
}

static json_t *vm_object(const struct rest_call *call, const struct vm *vm)
{
	char id[256];

	return json_pack("{s:s, s:s, s:s, s:s?, s:s?, s:i, s:I}", "id",
			 vm_id(host_of(call), vm, id), "name", vm->name, "monitor", vm->monitor,
			 "uuid", *vm->uuid ? vm->uuid : NULL, "vmid", *vm->id ? vm->id : NULL,
			 "pid", (int)vm->pid, "nics", (json_int_t)vm->nnics);
}

static int list_vms(const struct rest_call *call, struct rest_list *list, struct rest_fault *fault)
{
	const struct vms *vms = &host_of(call)->vms;
	int r = 0;

	for (size_t i = 0; r == 0 && i < vms->count; i++)
		r = api_append(list, vm_object(call, &vms->items[i]), fault);
	return r;
}

static int get_vm(const struct rest_call *call, json_t **resource, struct rest_fault *fault)
{
	const struct vm *vm = find_vm(call, call->id, fault);

	return vm ? api_give(resource, vm_object(call, vm), fault) : -1;
}

static json_t *nic_object(const struct rest_call *call, const struct vm *vm, size_t number)
{
	const struct vm_nic *nic = &vm->nics[number];
	const struct nl_link *link = nl_link_by_name(&host_of(call)->links, nic->port);
	char id[24], mac[18];

	snprintf(id, sizeof(id), "%zu", number);
	return json_pack("{s:s, s:I, s:s?, s:o, s:o}", "id", id, "number", (json_int_t)number,
			 "mac", nic->has_mac ? show_mac(mac, nic->mac) : NULL, "port",
			 api_port_link(call, link), "selector",
			 json_sprintf("vm:%s/%zu", vm->name, number));
}

static int list_nics(const struct rest_call *call, struct rest_list *list, struct rest_fault *fault)
{
	const struct vm *vm = find_vm(call, call->parent, fault);
	int r = vm ? 0 : -1;

	for (size_t i = 0; r == 0 && i < vm->nnics; i++)
		r = api_append(list, nic_object(call, vm, i), fault);
	return r;
}

static int get_nic(const struct rest_call *call, json_t **resource, struct rest_fault *fault)
{
	const struct vm *vm = find_vm(call, call->parent, fault);
	char *end;
	unsigned long number = strtoul(call->id, &end, 10);

	if (!vm)
		return -1;
	if (*call->id < '0' || *call->id > '9' || *end || number >= vm->nnics)
		return api_unknown("NIC of this machine", call->id, fault);
	return api_give(resource, nic_object(call, vm, number), fault);
}

/* Ports */

json_t *api_port_link(const struct rest_call *call, const struct nl_link *link)
{
	char id[API_DEVICE];

	return link && show_port(link)
		       ? rest_link(call, "ports", api_device_id(link, id), NULL, NULL)
		       : json_null();
}

static json_t *port_object(const struct rest_call *call, const struct nl_link *link)
{
	const struct host *host = host_of(call);
	const struct nl_link *master = nl_link_by_index(&host->links, link->master);
	const struct vm_nic *nic = NULL;
	const struct vm *vm = show_owner(host, link->name, &nic);
	char id[API_DEVICE], master_id[API_DEVICE], machine[256];

	return json_pack(
		"{s:s, s:s, s:s, s:s, s:o, s:i, s:o, s:o, s:I, s:I, s:I, s:I, s:I, s:I}", "id",
		api_device_id(link, id), "name", link->name, "kind", show_link_kind(link), "state",
		show_link_state(link), "mac", mac_of(link), "mtu", (int)link->mtu, "bridge",
		master && is_bridge(master)
			? rest_link(call, "bridges", api_device_id(master, master_id), NULL, NULL)
			: json_null(),
		"vm",
		vm ? rest_link(call, "vms", vm_id(host, vm, machine), NULL, NULL) : json_null(),
		"rx_frames", (json_int_t)link->rx_frames, "rx_bytes", (json_int_t)link->rx_bytes,
		"rx_dropped", (json_int_t)link->rx_dropped, "tx_frames",
		(json_int_t)link->tx_frames, "tx_bytes", (json_int_t)link->tx_bytes, "tx_dropped",
		(json_int_t)link->tx_dropped);
}

static int list_ports(const struct rest_call *call, struct rest_list *list,
		      struct rest_fault *fault)
{
	const struct nl_links *links;
	int r = 0;

	api_refresh(call);
	links = &host_of(call)->links;
	for (size_t i = 0; r == 0 && i < links->count; i++)
		if (show_port(&links->items[i]))
			r = api_append(list, port_object(call, &links->items[i]), fault);
	return r;
}

static int get_port(const struct rest_call *call, json_t **resource, struct rest_fault *fault)
{
	const struct nl_link *link;

	api_refresh(call);
	link = find_link(call, call->id, show_port, "port", fault);
	return link ? api_give(resource, port_object(call, link), fault) : -1;
}

/* The declarations */

#define BRIEF REST_BRIEF
#define STATE                                                                                      \
	{                                                                                          \
		.name = "state", .use = REST_LIVE | BRIEF, .sample = "\"up\"",                     \
		.help = "up, down, or no carrier"                                                  \
	}

static const struct rest_field member_fields[] = {
	{.name = "name", .sample = "\"vnet1\"", .help = "The device."},
	{.name = "port", .kind = REST_LINK, .use = BRIEF, .help = "The port itself."},
	{.name = "isolated",
	 .kind = REST_BOOLEAN,
	 .use = BRIEF,
	 .sample = "false",
	 .help = "It can't reach other isolated ports of the bridge."},
	{.name = "learning",
	 .kind = REST_BOOLEAN,
	 .use = BRIEF,
	 .sample = "true",
	 .help = "The bridge learns addresses from it."},
	{.name = "flood",
	 .kind = REST_BOOLEAN,
	 .use = BRIEF,
	 .sample = "true",
	 .help = "Frames to unknown addresses are sent to it."},
	{.name = "hairpin",
	 .kind = REST_BOOLEAN,
	 .sample = "false",
	 .help = "A frame may leave by the port by which it came."},
	{0},
};

static const struct rest_ops member_ops = {.list = list_members, .get = get_member};
const struct rest_type api_members = {
	.name = "member",
	.plural = "ports",
	.summary = "A port of the bridge, and how it takes part.",
	.fields = member_fields,
	.ops = &member_ops,
};

static const struct rest_field bridge_fields[] = {
	{.name = "name", .use = REST_SEARCH, .sample = "\"br0\"", .help = "The device."},
	STATE,
	{.name = "mac", .use = BRIEF, .sample = "\"52:54:00:00:00:01\"", .help = "Its address."},
	{.name = "mtu", .kind = REST_NUMBER, .sample = "1500", .help = "The largest packet."},
	{.name = "ports",
	 .kind = REST_NUMBER,
	 .use = BRIEF,
	 .sample = "3",
	 .help = "How many ports it has now."},
	{0},
};

static const struct rest_ops bridge_ops = {.list = list_bridges, .get = get_bridge};
const struct rest_type api_bridges = {
	.name = "bridge",
	.plural = "bridges",
	.summary = "A Linux bridge of this host.",
	.fields = bridge_fields,
	.subs = (const struct rest_type *const[]){&api_members, NULL},
	.ops = &bridge_ops,
};

static const struct rest_field port_fields[] = {
	{.name = "name", .use = REST_SEARCH, .sample = "\"vnet1\"", .help = "The device."},
	{.name = "kind",
	 .use = BRIEF | REST_SEARCH,
	 .sample = "\"tun\"",
	 .help = "What the kernel calls it: tun, veth, bridge, …; or physical."},
	STATE,
	{.name = "mac", .use = BRIEF, .sample = "\"52:54:00:00:00:02\"", .help = "Its address."},
	{.name = "mtu", .kind = REST_NUMBER, .sample = "1500", .help = "The largest packet."},
	{.name = "bridge",
	 .kind = REST_LINK,
	 .use = BRIEF | REST_SEARCH,
	 .help = "The bridge that it is on."},
	{.name = "vm",
	 .kind = REST_LINK,
	 .use = BRIEF | REST_SEARCH,
	 .help = "The machine behind it."},
	API_COUNTER("rx_frames", 0, "Frames that came in: those that a machine behind it sent."),
	API_COUNTER("rx_bytes", 0, "Their bytes."),
	API_COUNTER("rx_dropped", 0, "Frames that came in and were dropped."),
	API_COUNTER("tx_frames", 0, "Frames that went out: those that a machine behind it got."),
	API_COUNTER("tx_bytes", 0, "Their bytes."),
	API_COUNTER("tx_dropped", 0, "Frames that its driver dropped on the way out."),
	{0},
};

static const struct rest_ops port_ops = {.list = list_ports, .get = get_port};
const struct rest_type api_ports = {
	.name = "port",
	.plural = "ports",
	.summary = "A network device that can be mirrored, or take copies.",
	.fields = port_fields,
	.ops = &port_ops,
};

static const struct rest_field nic_fields[] = {
	{.name = "number",
	 .kind = REST_NUMBER,
	 .sample = "0",
	 .help = "Which of the machine's cards it is."},
	{.name = "mac",
	 .use = BRIEF,
	 .sample = "\"52:54:00:00:00:03\"",
	 .help = "Its address inside the machine."},
	{.name = "port", .kind = REST_LINK, .use = BRIEF, .help = "The device on this host."},
	{.name = "selector",
	 .use = BRIEF,
	 .sample = "\"vm:web1/0\"",
	 .help = "What names it in a mirror's from or to."},
	{0},
};

static const struct rest_ops nic_ops = {.list = list_nics, .get = get_nic};
const struct rest_type api_nics = {
	.name = "nic",
	.plural = "nics",
	.summary = "A network card of the machine.",
	.fields = nic_fields,
	.ops = &nic_ops,
};

static const struct rest_field vm_fields[] = {
	{.name = "name",
	 .use = BRIEF | REST_SEARCH,
	 .sample = "\"web1\"",
	 .help = "What its monitor was told; pid-N where that told nothing."},
	{.name = "monitor",
	 .use = BRIEF,
	 .sample = "\"qemu\"",
	 .help = "qemu, cloud-hypervisor, firecracker, or another program."},
	{.name = "uuid",
	 .use = REST_SEARCH,
	 .sample = "\"7c8f0a0e-1d9b-4a58-9d53-2f6d2f1f9f5e\"",
	 .help = "Its UUID, where the command line tells one."},
	{.name = "vmid", .sample = "\"100\"", .help = "Its number, under Proxmox."},
	{.name = "pid",
	 .kind = REST_NUMBER,
	 .use = BRIEF,
	 .sample = "4711",
	 .help = "The process that runs it."},
	{.name = "nics",
	 .kind = REST_NUMBER,
	 .use = BRIEF,
	 .sample = "1",
	 .help = "How many network cards it has."},
	{0},
};

static const struct rest_ops vm_ops = {.list = list_vms, .get = get_vm};
const struct rest_type api_vms = {
	.name = "vm",
	.plural = "vms",
	.summary = "A virtual machine that runs on this host.",
	.fields = vm_fields,
	.subs = (const struct rest_type *const[]){&api_nics, NULL},
	.ops = &vm_ops,
};
