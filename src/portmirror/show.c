/* SPDX-License-Identifier: MIT */
#include "portmirror/show.h"

#include <net/if.h>
#include <net/if_arp.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "portmirror/host.h"
#include "portmirror/inliner.h"

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

json_t *show_append(json_t *list, json_t *value)
{
	if (json_array_append_new(list, value) == 0)
		return list;
	json_decref(list);
	return NULL;
}

json_t *show_put(json_t *object, const char *key, json_t *value)
{
	if (json_object_set_new(object, key, value) == 0)
		return object;
	json_decref(object);
	return NULL;
}

json_t *show_reasons(const struct session_state *st)
{
	json_t *list = json_array();
	const char *at = st->reasons;

	while (list && at && *at) {
		size_t len = strcspn(at, "\n");

		list = show_append(list, json_stringn(at, len));
		at += len + (at[len] == '\n');
	}
	if (list && st->state == STATE_WHOLE && st->pending > 0)
		list = show_append(list, json_string("the kernel differs from what is saved; "
						     "portmirror apply mends it"));
	return list;
}

const char *show_inline_count(unsigned what)
{
	static const char *const names[INLINE_COUNTS] = {
		[INLINE_LED_OUT] = "led_out",	  [INLINE_LED_IN] = "led_in",
		[INLINE_BACK_OUT] = "back_out",	  [INLINE_BACK_IN] = "back_in",
		[INLINE_STRAIGHT] = "straight",	  [INLINE_STOPPED] = "stopped",
		[INLINE_UNMATCHED] = "unmatched", [INLINE_DIRECT] = "direct",
		[INLINE_STRANGERS] = "strangers", [INLINE_ECHOES] = "echoes",
		[INLINE_TOO_LONG] = "too_long",
	};

	return names[what];
}

json_t *show_inline_counts(const struct inliner *have)
{
	json_t *counts = json_object();

	for (unsigned i = 0; counts && i < INLINE_COUNTS; i++)
		counts = show_put(counts, show_inline_count(i),
				  json_pack("{s:I, s:I}", "frames",
					    (json_int_t)have->counts[i].frames, "bytes",
					    (json_int_t)have->counts[i].bytes));
	return counts;
}

json_t *show_appliance(const struct session_state *st, const struct inliner *have)
{
	const struct inline_health *h = have ? &have->health : NULL;

	if (!have)
		return json_pack("{s:b, s:n, s:i, s:n}", "watched", false, "failure", "failures", 0,
				 "counts");
	return json_pack("{s:b, s:s?, s:I, s:o}", "watched",
			 inliner_watched(have, st->session->probe_interval, inliner_now()),
			 "failure", h->failure ? inliner_failure_name(h->failure) : NULL,
			 "failures", (json_int_t)h->failures, "counts", show_inline_counts(have));
}
