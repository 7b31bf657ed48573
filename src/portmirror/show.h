/* SPDX-License-Identifier: MIT */
/* What the command line and the API tell of devices and sessions, in the same words. Pure. */
#ifndef PORTMIRROR_SHOW_H
#define PORTMIRROR_SHOW_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "portmirror/plan.h"

struct host;
struct inliner;
struct nl_link;
struct view;
struct vm;
struct vm_nic;

/* A device that may be a source or a destination. */
bool show_port(const struct nl_link *link);
const char *show_link_kind(const struct nl_link *link);
const char *show_link_state(const struct nl_link *link); /* "up", "down", "no carrier" */
const char *show_mac(char text[18], const uint8_t mac[6]);
/* "2026-11-25T04:47:36.123Z", from milliseconds since 1970. */
#define SHOW_TIME 40
const char *show_time(char text[SHOW_TIME], int64_t milliseconds);
/* The machine that a device belongs to; *nic is its NIC there. NULL: none. */
const struct vm *show_owner(const struct host *host, const char *port, const struct vm_nic **nic);

/* The state that a person should see: one that is whole but for pending operations is partial. */
enum state show_state(const struct session_state *st);
/* Add a value, whose reference they take, and return the list or object; NULL where memory lacks
 * for any of them, so that nothing is told in part. */
json_t *show_append(json_t *list, json_t *value);
json_t *show_put(json_t *object, const char *key, json_t *value);

/* Why it isn't whole: an array of sentences. NULL: out of memory. */
json_t *show_reasons(const struct session_state *st);

/* How an in-line session's appliance is, and what its programs have counted. have: NULL where the
 * kernel has none. NULL: out of memory. */
json_t *show_appliance(const struct session_state *st, const struct inliner *have);
/* {"led_out": {"frames": …, "bytes": …}, …}. NULL: out of memory. */
json_t *show_inline_counts(const struct inliner *have);
/* A count's name: "led_out", … */
const char *show_inline_count(unsigned what);

#endif
