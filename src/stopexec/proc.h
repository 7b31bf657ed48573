/* SPDX-License-Identifier: MIT */
/* What /proc tells of a process; the texts are read by pure functions. */
#ifndef STOPEXEC_PROC_H
#define STOPEXEC_PROC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

struct err;

struct ids {
	uid_t real, effective, saved, file;
};

/* /proc/PID/status (proc(5)) */
struct proc_status {
	char state; /* 'R', 'S', 'D', 'T' (stopped), 't' (by a tracer), 'Z', … */
	pid_t tgid, parent, tracer;
	struct ids uid, gid;			 /* in our user namespace */
	uint64_t permitted, effective, bounding; /* capabilities, bit by bit */
	bool no_new_privs;
};

/* Reads the text of a status file. False: something that every kernel since 4.10 writes is not
 * there. */
bool proc_status_parse(const char *text, size_t len, struct proc_status *status);

/* The process's (or thread's) status. -ESRCH: there is none. */
int proc_status(pid_t pid, struct proc_status *status);

/*
 * The rest of that file: what it hands on to what it starts. The caller frees *groups. -ESRCH, or
 * -EPROTO before Linux 4.7.
 */
int proc_inherited(pid_t pid, gid_t **groups, size_t *count, mode_t *mask);
int proc_inherited_parse(const char *text, size_t len, gid_t **groups, size_t *count, mode_t *mask);

/* Its resource limits, by their numbers. From the file, as prlimit(2) of another user's process
 * needs CAP_SYS_RESOURCE, which root in a container may lack. -ESRCH, -EPROTO */
int proc_limits(pid_t pid, struct rlimit limits[RLIM_NLIMITS]);
bool proc_limits_parse(const char *text, size_t len, struct rlimit limits[RLIM_NLIMITS]);

/* Since when it lives, in clock ticks since boot: pid and this together name a process for good. */
int proc_start(pid_t pid, uint64_t *ticks);
bool proc_start_parse(const char *text, size_t len, uint64_t *ticks);

/* Has it a controlling terminal? */
bool proc_has_terminal(pid_t pid);
bool proc_terminal_parse(const char *text, size_t len);

/* The program counter of a process that does not run now; -EBUSY where it does. */
int proc_counter(pid_t pid, uint64_t *counter);
bool proc_counter_parse(const char *text, size_t len, uint64_t *counter);

/* One line of /proc/PID/maps. */
struct mapping {
	uint64_t start, end, offset;
	bool executable;
	uint64_t inode;
	char path[4096]; /* "" where it has none */
};

/* Reads one line, without its newline. */
bool proc_mapping_parse(const char *line, size_t len, struct mapping *mapping);

/* The first mapping for which fits() says yes. -ENOENT: none; -ESRCH. */
int proc_mapping(pid_t pid, bool (*fits)(const struct mapping *mapping, void *data), void *data,
		 struct mapping *found);

/* The value of an entry of its auxiliary vector; wide: it is a 64-bit program. -ENOENT, -ESRCH */
int proc_auxv(pid_t pid, bool wide, uint64_t type, uint64_t *value);

/* Where the kernel put the random bytes of its image (AT_RANDOM): every exec has another place, so
 * that this tells a new image from the old one, also of the same program. */
int proc_random(pid_t pid, uint64_t *random);

/* Opens the file that it executes (for reading, close-on-exec). */
int proc_open_program(pid_t pid);

/* The path of that file, as /proc/PID/exe says. */
int proc_program(pid_t pid, char path[4096]);

/* True where above is pid itself or one of the processes that started it. */
bool proc_descends(pid_t pid, pid_t above);

#endif
