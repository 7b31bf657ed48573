/* SPDX-License-Identifier: MIT */
#include "portmirror/show.h"

#include <net/if.h>
#include <net/if_arp.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "portmirror/host.h"

bool show_port(const struct nl_link *link)
{
	return link->type == ARPHRD_ETHER && strcmp(link->name, "lo") != 0;
}

const char *show_link_kind(const struct nl_link *link)
{
	return *link->kind ? link->kind : "physical";
}

const char *show_link_state(const struct nl_link *link)
{
	if (!(link->flags & IFF_UP))
		return "down";
	return link->carrier ? "up" : "no carrier";
}

const char *show_mac(char text[18], const uint8_t mac[6])
{
	snprintf(text, 18, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3], mac[4],
		 mac[5]);
	return text;
}

const char *show_time(char text[SHOW_TIME], int64_t milliseconds)
{
	time_t seconds = (time_t)(milliseconds / 1000);
	struct tm tm = {0};
	size_t len;

	gmtime_r(&seconds, &tm);
	len = strftime(text, SHOW_TIME, "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(text + len, SHOW_TIME - len, ".%03dZ", (int)(milliseconds % 1000));
	return text;
}

const struct vm *show_owner(const struct host *host, const char *port, const struct vm_nic **nic)
{
	for (size_t i = 0; i < host->vms.count; i++) {
		const struct vm *vm = &host->vms.items[i];

		for (size_t j = 0; j < vm->nnics; j++) {
			if (strcmp(vm->nics[j].port, port) != 0)
				continue;
			*nic = &vm->nics[j];
			return vm;
		}
	}
	return NULL;
}

enum state show_state(const struct session_state *st)
{
	return st->state == STATE_WHOLE && st->pending > 0 ? STATE_PARTIAL : st->state;
}

json_t *show_reasons(const struct session_state *st)
{
	json_t *list = json_array();
	const char *at = st->reasons;

	while (list && at && *at) {
		size_t len = strcspn(at, "\n");

		json_array_append_new(list, json_stringn(at, len));
		at += len + (at[len] == '\n');
	}
	if (list && st->state == STATE_WHOLE && st->pending > 0)
		json_array_append_new(list, json_string("the kernel differs from what is saved; "
							"portmirror apply mends it"));
	return list;
}
