/* SPDX-License-Identifier: MIT */
/*
 * What the kernel keeps for us beyond the end of this process: maps, programs and links by name, in
 * the BPF file system, in a folder of our house's own:
 *
 *     /sys/fs/bpf/portmirror/HOUSE-NETNS/NAME            shared by all sessions
 *     /sys/fs/bpf/portmirror/HOUSE-NETNS/SESSION/NAME    one session's
 *
 * HOUSE is store.h's, in hexadecimal; NETNS the number of the network namespace, since a link's
 * device index means nothing in another. All that lies there is ours, and nothing else is. A pin
 * that goes takes its object along where nobody else holds it: an unpinned link is a detached
 * program.
 */
#ifndef BPF_PIN_H
#define BPF_PIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;

#define PIN_FS	 "/sys/fs/bpf"
#define PIN_ROOT PIN_FS "/portmirror"
#define PIN_PATH 224 /* room for any path below */
#define PIN_NAME 64
#define PIN_MAPS 8 /* that a program of ours uses at most */

/* The folder of this house in this network namespace. -E… where /proc tells no namespace. */
int pin_house(uint32_t house, char path[PIN_PATH], struct err *e);

/* HOUSE/SESSION/NAME, or HOUSE/NAME where session is "". bpffs takes no dots (bpf_lookup(),
 * kernel/bpf/inode.c): in session they become '+', which no session's name has. */
void pin_path(const char *house, const char *session, const char *name, char path[PIN_PATH]);

/* -ENODEV, and a sentence that says what to do, where there is no BPF file system at PIN_FS, or
 * what is pinned there isn't safe from others. */
int pin_check(struct err *e);

/*
 * Pins the map, program or link; makes the folders above it. What had the name before is replaced
 * in one step. A crash leaves the old pin, or the new one, or a pin named NAME,new beside it (which
 * pins_look() tells as any other). The descriptor stays the caller's.
 */
int pin_put(int fd, const char *path, struct err *e);

/* A descriptor of what is pinned there; -ENOENT: nothing (and no sentence). */
int pin_open(const char *path, struct err *e);

/* Removes the pin (or, where path ends in '/', the empty folder), and the folders above it
 * (PIN_ROOT included) as far as they are empty now. 0 where it is gone already. */
int pin_drop(const char *path, struct err *e);
/* The same for a link, detached when this returns: the kernel lets go of an unpinned one a moment
 * later (bpf_link_put(), kernel/bpf/syscall.c). */
int pin_drop_link(const char *path, struct err *e);
/* Removes PIN_ROOT if nothing is in it: a crash between the first and the second of the folders
 * that a pin needs leaves it so, and the next of its houses may be long in coming. */
void pin_tidy(void);

/* A folder: one that is empty, which a crash leaves; its name is "". */
enum pin_kind { PIN_MAP, PIN_PROGRAM, PIN_LINK, PIN_FOLDER };

struct pin {
	char session[PIN_NAME]; /* "": the house's; with its dots again */
	char name[PIN_NAME];
	enum pin_kind kind;
	uint32_t id;
	/* a program's, ascending */
	uint32_t maps[PIN_MAPS];
	size_t nmaps;
	/* a tcx link's */
	int ifindex; /* 0: its device is gone, or somebody detached it by force */
	bool egress;
	uint32_t program;
	bool behind; /* other programs of the house run before it */
};

struct pins {
	struct pin *items; /* by session, then name */
	size_t count, room;
};

/* All that is pinned in the house; nothing where there is no BPF file system or no such folder.
 * Takes no privilege but read permission and CAP_BPF. */
int pins_look(const char *house, struct pins *pins, struct err *e);
void pins_free(struct pins *pins); /* also for cleanup() */
const struct pin *pins_find(const struct pins *pins, const char *session, const char *name);

#endif
