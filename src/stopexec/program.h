/* SPDX-License-Identifier: MIT */
/* The program that is to be stopped: found, looked at, and refused where stopping it is unwise. */
#ifndef STOPEXEC_PROGRAM_H
#define STOPEXEC_PROGRAM_H

#include <stdbool.h>
#include <sys/types.h>

#include "stopexec/elffile.h"

struct err;

struct program {
	char path[4096]; /* as found: what execve() gets */
	char real[4096]; /* without symbolic links; /proc/PID/root/... as it is */
	int fd;		 /* of the file, for reading; the owner closes it */
	dev_t device;
	ino_t inode;
	/* what /proc/PID/exe will be: the file itself, or a script's interpreter */
	bool script;
	dev_t image_device;
	ino_t image_inode;
};

/*
 * Finds the program: a path as it is, a name in the folders of search (a PATH). It must be a
 * regular file that somebody may execute, ELF or a script with an interpreter. On success the
 * caller calls program_close().
 */
int program_find(const char *name, const char *search, struct program *program, struct err *e);

/* Opens it by program.real, now: no symbolic link is followed that was put there meanwhile, and
 * within /proc/PID/root they lead where that process sees them lead. -errno */
int program_open(const char *real);

/* -EPERM where stopping whoever starts it would stop the machine, or the user: the dynamic
 * loader, shared libraries, stopexec itself, the shell of the user or of those who started us. */
int program_refuse(const struct program *program, uid_t user, struct err *e);

/* The same for whatever is executed by that name, or path. */
int program_refuse_name(const char *name, uid_t user, struct err *e);

/* True for sudo and su, by name or path, without which one may find oneself without root. */
bool program_gives_root(const char *name);

/* Is a shell of root's open on a terminal, other than those that have started us? */
bool program_root_shell_open(void);

void program_close(struct program *program); /* also for cleanup() */

/* The bytes of an open file, for elf_read() and elf_symbol(); *fd lives as long. */
struct elf_bytes program_bytes(const int *fd);

#endif
