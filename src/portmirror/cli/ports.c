/* SPDX-License-Identifier: MIT */
/* portmirror ports and vms: what there is to mirror. */
#include <net/if.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/term.h"
#include "netlink/nl.h"
#include "portmirror/cli/app.h"
#include "portmirror/show.h"

static bool look(const struct cli_call *call, struct engine *engine, struct host *host)
{
	struct err e = {0};

	if (!app_open(call, engine))
		return false;
	if (host_look(engine->nl, &engine->hold, engine->house, true, host, &e) < 0) {
		app_fail(call, &e);
		return false;
	}
	return true;
}

static json_t *port_object(const struct host *host, const struct nl_link *link)
{
	const struct nl_link *master = nl_link_by_index(&host->links, link->master);
	const struct vm_nic *nic = NULL;
	const struct vm *vm = show_owner(host, link->name, &nic);
	char mac[18];

	return json_pack("{s:s, s:i, s:s, s:s, s:s?, s:s, s:i, s:s?, s:I, s:I, s:I, s:I}", "name",
			 link->name, "ifindex", link->index, "kind", show_link_kind(link), "state",
			 show_link_state(link), "bridge", master ? master->name : NULL, "mac",
			 link->has_mac ? show_mac(mac, link->mac) : "", "mtu", (int)link->mtu, "vm",
			 vm ? vm->name : NULL, "rx_frames", (json_int_t)link->rx_frames, "rx_bytes",
			 (json_int_t)link->rx_bytes, "tx_frames", (json_int_t)link->tx_frames,
			 "tx_bytes", (json_int_t)link->tx_bytes);
}

static int ports_json(const struct cli_call *call, const struct host *host)
{
	json_t *list = json_array();

	for (size_t i = 0; list && i < host->links.count; i++)
		if (show_port(&host->links.items[i]))
			json_array_append_new(list, port_object(host, &host->links.items[i]));
	return app_print_json(call, list);
}

int verb_ports(const struct cli_call *call)
{
	static const char *const titles[] = {"PORT", "KIND", "STATE", "BRIDGE", "VM",
					     "MAC",  ">MTU", ">RX",   ">TX",	NULL};
	struct engine engine cleanup(engine_close) = {0};
	struct host host cleanup(host_free) = {0};
	struct table *t cleanup(table_free_at) = NULL;

	if (!look(call, &engine, &host))
		return EXIT_FAILED;
	if (app_json(call))
		return ports_json(call, &host);
	t = table_new(titles);
	for (size_t i = 0; i < host.links.count; i++) {
		const struct nl_link *link = &host.links.items[i];
		const struct nl_link *master = nl_link_by_index(&host.links, link->master);
		const struct vm_nic *nic = NULL;
		const struct vm *vm = show_owner(&host, link->name, &nic);
		bool up = (link->flags & IFF_UP) && link->carrier;
		char mac[18], rx[16], tx[16];

		if (!show_port(link))
			continue;
		table_cell(t, PAINT_BOLD, "%s", link->name);
		table_cell(t, PAINT_NONE, "%s", show_link_kind(link));
		table_cell(t, up ? PAINT_GREEN : PAINT_YELLOW, "%s", show_link_state(link));
		table_cell(t, PAINT_NONE, "%s", master ? master->name : "");
		table_cell(t, PAINT_NONE, "%s", vm ? vm->name : "");
		table_cell(t, PAINT_NONE, "%s", show_mac(mac, link->mac));
		table_cell(t, PAINT_NONE, "%u", link->mtu);
		table_cell(t, PAINT_NONE, "%s", human_count(rx, (double)link->rx_bytes, "B"));
		table_cell(t, PAINT_NONE, "%s", human_count(tx, (double)link->tx_bytes, "B"));
	}
	if (table_print(t, stdout) < 0) {
		cli_complain(call, "out of memory");
		return EXIT_FAILED;
	}
	return EXIT_OK;
}

static json_t *vm_object(const struct vm *vm)
{
	json_t *nics = json_array();
	char mac[18];

	for (size_t i = 0; nics && i < vm->nnics; i++)
		json_array_append_new(nics,
				      json_pack("{s:s, s:s?}", "port", vm->nics[i].port, "mac",
						vm->nics[i].has_mac ? show_mac(mac, vm->nics[i].mac)
								    : NULL));
	return json_pack("{s:s, s:i, s:s, s:s?, s:s?, s:o}", "name", vm->name, "pid", (int)vm->pid,
			 "monitor", vm->monitor, "uuid", *vm->uuid ? vm->uuid : NULL, "vmid",
			 *vm->id ? vm->id : NULL, "nics", nics);
}

static int vms_json(const struct cli_call *call, const struct host *host)
{
	json_t *list = json_array();

	for (size_t i = 0; list && i < host->vms.count; i++)
		json_array_append_new(list, vm_object(&host->vms.items[i]));
	return app_print_json(call, list);
}

int verb_vms(const struct cli_call *call)
{
	static const char *const titles[] = {"VM", ">NIC", "PORT", "MAC", "MONITOR", ">PID", NULL};
	struct engine engine cleanup(engine_close) = {0};
	struct host host cleanup(host_free) = {0};
	struct table *t cleanup(table_free_at) = NULL;

	if (!look(call, &engine, &host))
		return EXIT_FAILED;
	if (app_json(call))
		return vms_json(call, &host);
	if (host.vms.count == 0) {
		printf("no process holds a tap device open: no virtual machine runs here\n");
		return EXIT_OK;
	}
	t = table_new(titles);
	for (size_t i = 0; i < host.vms.count; i++) {
		const struct vm *vm = &host.vms.items[i];

		for (size_t j = 0; j < vm->nnics; j++) {
			char mac[18];

			table_cell(t, PAINT_BOLD, "%s", vm->name);
			table_cell(t, PAINT_NONE, "%zu", j);
			table_cell(t, PAINT_NONE, "%s", vm->nics[j].port);
			table_cell(t, PAINT_NONE, "%s",
				   vm->nics[j].has_mac ? show_mac(mac, vm->nics[j].mac) : "");
			table_cell(t, PAINT_NONE, "%s", vm->monitor);
			table_cell(t, PAINT_NONE, "%d", (int)vm->pid);
		}
	}
	if (table_print(t, stdout) < 0) {
		cli_complain(call, "out of memory");
		return EXIT_FAILED;
	}
	return EXIT_OK;
}
