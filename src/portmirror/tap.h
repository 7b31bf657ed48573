/* SPDX-License-Identifier: MIT */
/*
 * The taps that a process holds open: /proc/PID/fdinfo shows the device of a descriptor (iff:).
 */
#ifndef PORTMIRROR_TAP_H
#define PORTMIRROR_TAP_H

#include <dirent.h>
#include <net/if.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

struct vm_hints;

/* A descriptor of a tap; a tap with several queues has several. */
struct tap {
	int fd; /* the process's */
	char port[IFNAMSIZ];
	uint8_t mac[6]; /* the tap's own, where it ends with the machine; zeros where not known */
	size_t hint;	/* which of the command line's hints is about it; SIZE_MAX: none */
};

struct taps {
	struct tap *items;
	size_t count, room;
};

/* Where they are looked for. */
struct tap_search {
	DIR *proc;
	struct stat net; /* the network namespace whose taps count */
	unsigned steps;	 /* processes and descriptors so far */
};

/* Those of the process are added. 0; -ENOENT, -ESRCH, -EACCES, -EPERM: it ended, or isn't ours to
 * look at; -errno. */
int taps_find(struct tap_search *search, pid_t pid, struct taps *taps);

/* One tap for each device, tied to the hint about it, in the machine's order. */
void taps_settle(struct taps *taps, const struct vm_hints *hints);

void taps_free(struct taps *taps);

/* A number as /proc names its folders and links; -1 for "self" and the like. */
int proc_number(const char *name);

#endif
