/* SPDX-License-Identifier: MIT */
/*
 * Programs and maps of the kernel by their ids, and the descriptors that this process holds of
 * them. Opening one by its id takes CAP_SYS_ADMIN, which a daemon had better not have; one that it
 * holds, because it loaded it or was handed it, it needs not open.
 */
#ifndef PORTMIRROR_ONCE_HOLD_H
#define PORTMIRROR_ONCE_HOLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;
struct once_program;

struct once_held {
	uint32_t id;
	uint32_t map_id; /* a program's; 0 for a map */
	int fd;
};

struct once_hold {
	bool lasting; /* what is looked up by its id stays open, until once_hold_keep() */
	struct once_held *programs, *maps;
	size_t nprograms, nmaps, programs_room, maps_room;
	/* What is held from now on (held true), or no longer. May be NULL. */
	void (*told)(bool held, bool program, const struct once_held *it, void *data);
	void *data;
};

void once_hold_free(struct once_hold *hold); /* closes all; also for cleanup() */

/* The id of the map behind a loaded program; a negative errno where this process may not have
 * both. */
int once_hold_map_of(struct once_hold *hold, uint32_t program_id, uint32_t *map_id);

/* Descriptors, which stay the hold's; or a negative errno. */
int once_hold_program(struct once_hold *hold, uint32_t id);
int once_hold_map(struct once_hold *hold, uint32_t id);
int once_hold_load(struct once_hold *hold, const struct once_program *program, int map_fd,
		   struct err *e);
int once_hold_new_map(struct once_hold *hold, struct err *e);

/* Takes over a descriptor that somebody kept for us (also where it fails). */
int once_hold_take(struct once_hold *hold, bool program, int fd);

/* Lets go of all programs but those that needed() names, and of the maps that none of them uses. */
void once_hold_keep(struct once_hold *hold, bool (*needed)(uint32_t id, const void *data),
		    const void *data);

#endif
