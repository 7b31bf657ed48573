/* SPDX-License-Identifier: MIT */
/* The privileges that a program's file asks for, and whether the kernel gave them. */
#ifndef STOPEXEC_RIGHTS_H
#define STOPEXEC_RIGHTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "stopexec/proc.h"

struct buf;

struct rights_asked {
	bool set_uid, set_gid;
	uid_t uid;	       /* where set_uid */
	gid_t gid;	       /* where set_gid */
	uint64_t capabilities; /* permitted ones of the file */
};

struct rights_around {
	bool nosuid;	     /* the file system is mounted so */
	bool user_namespace; /* the process lives in another one than we */
	bool traced;	     /* by a tracer that had not the privilege to keep them */
};

enum rights_verdict {
	RIGHTS_NONE_ASKED,
	RIGHTS_GIVEN,
	RIGHTS_NOSUID,
	RIGHTS_NO_NEW_PRIVS,
	RIGHTS_USER_NAMESPACE,
	RIGHTS_TRACER,
	RIGHTS_BOUNDING,
	RIGHTS_UNCLEAR,
};

/* Reads a security.capability attribute (struct vfs_cap_data, versions 1 to 3). */
bool rights_parse_capabilities(const void *attribute, size_t len, uint64_t *permitted);

/* What the open file asks for. Never fails: what can't be read is not asked. */
void rights_of_file(int fd, struct rights_asked *asked);

/* What surrounds the process whose program is open as fd. */
void rights_around(pid_t pid, int fd, struct rights_around *around);

/* Given, or the reason for which not. Pure. */
enum rights_verdict rights_judge(const struct rights_asked *asked, const struct proc_status *got,
				 const struct rights_around *around);

/* The verdict as words: "given", "not given: the file system is mounted nosuid". */
const char *rights_words(enum rights_verdict verdict);

/* The names of a set of capabilities: "none", "cap_chown,cap_net_raw", or "all" where it holds all
 * that there can be. */
void rights_name(struct buf *b, uint64_t capabilities, uint64_t all);

#endif
