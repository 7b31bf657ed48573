/* SPDX-License-Identifier: MIT */
/*
 * A session by the engine bpf: what its pins (bpf/pin.h) are called. In its folder: the maps
 * config, budget and ports; the programs sent-VERSION and received-VERSION, of the build that
 * loaded them; IFINDEX-sent and IFINDEX-received, the links of its ports. Where it has a filter,
 * programs in front of those: filter-HASH-sent and filter-HASH-received, and the map chain-HASH
 * by which they call them. Shared by all sessions of the house: the maps once and cut, the program
 * cut-VERSION, and IFINDEX-cut, the links of the destinations where copies are shortened. Where the
 * kernel has no tcx, direct-action filters take the place of links: see direct.h.
 */
#ifndef PORTMIRROR_COPIER_H
#define PORTMIRROR_COPIER_H

#include <stdbool.h>
#include <stdint.h>

#include "bpf/copy_load.h"
#include "bpf/pin.h"

struct bytecode;
struct engine;
struct err;
struct host;
struct op;
struct view;

bool copier_map_shared(enum copy_map which);
void copier_program_name(bool received, char name[PIN_NAME]);
void copier_chain_name(const struct bytecode *filter, char name[PIN_NAME]);
void copier_filter_name(const struct bytecode *filter, bool received, char name[PIN_NAME]);
/* Of the two above: what hangs on ports. */
void copier_front_name(const struct bytecode *filter, bool received, char name[PIN_NAME]);
void copier_link_name(int ifindex, bool received, char name[PIN_NAME]);
void copier_cut_name(char name[PIN_NAME]);
void copier_cut_link_name(int ifindex, char name[PIN_NAME]);

/* A number that tells a session, or a destination, from others; never 0. */
uint32_t copier_number(const char *text);

/* False for a filter that takes all frames: there is nothing in front then. */
bool copier_filters(const struct bytecode *filter);

/* Carries out one operation of the engine bpf (OP_COPY_…, OP_CUT_…, OP_UNLINK, OP_UNPIN), if it
 * does that one. */
int copier_act(const struct engine *engine, const struct view *view, const struct op *op,
	       struct err *e);
bool copier_does(const struct op *op);

/* Counters of ports that are gone become part of one, of port 0, so that the table of each session
 * has room for those that come. */
void copier_forget_ports(const struct engine *engine, const struct host *host);

#endif
