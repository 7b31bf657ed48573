/* SPDX-License-Identifier: MIT */
/*
 * A host that is made up, for tests of the planner: what is wanted of it, what it has, and what it
 * would have after a plan was carried out.
 *
 *     br0: v1 v2 v3    br1: w1    on no bridge: s0 s1 (sensors), a0 b0 (an appliance's ports)
 */
#ifndef PLAN_WORLD_H
#define PLAN_WORLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "portmirror/host.h"
#include "portmirror/inliner.h"
#include "portmirror/plan.h"
#include "portmirror/store.h"

enum { BR0 = 2, V1, V2, V3, S0, S1, A0, B0, BR1, W1, NEXT_PORT };
#define WORLD_ROOM     32
#define WORLD_LINKS    300
#define WORLD_SESSIONS 4

struct world {
	struct nl_link links[WORLD_LINKS];
	struct tc_qdisc qdiscs[WORLD_ROOM];
	struct tc_filter filters[WORLD_ROOM];
	struct tc_action actions[WORLD_ROOM];
	struct pin pins[2 * WORLD_ROOM];
	struct inliner inliners[WORLD_SESSIONS];
	struct copier copiers[WORLD_SESSIONS];
	uint32_t newest_id; /* of a map, program or link */
	struct host host;
	struct sessions sessions;
	struct bytecode codes[WORLD_SESSIONS]; /* by session */
	struct notes notes;
	struct lacks lacks;
	enum engine_kind preferred;
	const char *newest;
	struct plan plan;
};

/* For cmocka_unit_test_setup_teardown(). */
int world_new(void **state);
int world_end(void **state);

/* The session is saved, in place of one of the same name. */
void world_want(struct world *w, const char *yaml);
void world_forget(struct world *w, const char *session);
/* Its file can't be read any more. */
void world_break(struct world *w, const char *session);

/* A device goes, with the tcx links on it; or comes. master: 0, or a bridge. */
void world_port_goes(struct world *w, int ifindex);
void world_port_comes(struct world *w, int ifindex, const char *name, int master);

void world_plan(struct world *w);
/* As if the kernel had carried the plan out. Fails where an operation needs what isn't there (yet),
 * or takes away what is still in use. */
void world_carry_out(struct world *w);
/* Both. Then there must be nothing left to do. */
void world_settle(struct world *w);

/* What is planned, by the names of op_object(): "maps.add, 2 link.add". */
#define assert_plan(w, wanted) world_assert_plan(w, wanted, __FILE__, __LINE__)
void world_assert_plan(const struct world *w, const char *wanted, const char *file, int line);
/* The state of a session; what it has to say holds these words (NULL: nothing is said). */
#define assert_state(w, session, wanted, words)                                                    \
	world_assert_state(w, session, wanted, words, __FILE__, __LINE__)
void world_assert_state(const struct world *w, const char *session, enum state wanted,
			const char *words, const char *file, int line);

size_t world_count(const struct world *w, enum op_kind kind);
/* The nth of that kind, from 0. It must be there. */
const struct op *world_op(const struct world *w, enum op_kind kind, size_t nth);

/* A pin whose name begins like that; it must be there. The number of a session's pins. */
struct pin *world_pin(struct world *w, const char *session, const char *beginning);
size_t world_pins(const struct world *w, const char *session);
/* What has an id is another object from now on, as after a restart of somebody who made it. */
void world_rename_pin(struct world *w, struct pin *pin, const char *name);
void world_drop_pin(struct world *w, const struct pin *pin);

#endif
