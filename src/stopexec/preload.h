/* SPDX-License-Identifier: MIT */
/* Puts stop.so where the dynamic loader takes it for SUID programs, and takes it away. */
#ifndef STOPEXEC_PRELOAD_H
#define STOPEXEC_PRELOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct err;

enum { PRELOAD_MODE = 04750, PRELOAD_KINDS = 2 };

/* A library folder, and the stop.so that belongs there. */
struct preload_place {
	char folder[256]; /* "" where this system has none of the kind */
	const char *kind; /* "64-bit" */
};

struct preload_state {
	bool there;
	bool hidden; /* only root and its group can read it: whether it is ours is not known */
	bool ours;   /* a stop.so of this program */
	bool active; /* the loader takes it for SUID programs */
	mode_t mode;
	uid_t owner;
	gid_t group;
};

/* The folders that hold the C library: the machine's own, then the 32-bit one. -ENOENT. */
int preload_places(struct preload_place places[PRELOAD_KINDS], struct err *e);

/* What stands as FOLDER/stop.so. */
int preload_state(const char *folder, struct preload_state *state, struct err *e);

/* May it be installed there? -EPERM: others than root can change the folder or one above it, or
 * a file of that name is there that is not ours. */
int preload_check_folder(const char *folder, struct err *e);

/* -EINVAL: the file is not our stop.so. */
int preload_check_source(const char *source, struct err *e);

/* -EPERM for groups that are no restriction: root's, nogroup, users, somebody's primary one. */
int preload_check_group(gid_t group, struct err *e);

/* Copies source to FOLDER/stop.so, root's and the group's, mode 4750. -EPERM: see the checks. */
int preload_install(const char *source, const char *folder, gid_t group, struct err *e);

/* Removes FOLDER/stop.so. -ENOENT: it is not there; -EPERM: it is not ours. */
int preload_remove(const char *folder, struct err *e);

#endif
