/* SPDX-License-Identifier: MIT */
/* A group of the unified hierarchy (cgroups(7), version 2), as BPF names it. */
#ifndef STOPEXEC_CGROUP_H
#define STOPEXEC_CGROUP_H

#include <stdbool.h>
#include <stdint.h>

struct err;

struct cgroup {
	uint64_t id; /* 0: none */
	int level;   /* below the root, which has 0 */
};

/* From a folder of the mounted hierarchy, or a path as /proc/PID/cgroup has it. -ENOENT;
 * -EOPNOTSUPP where only a part of the hierarchy is mounted. */
int cgroup_find(const char *path, struct cgroup *cgroup, struct err *e);

/* True where this process is in it, or below. */
bool cgroup_holds_self(const struct cgroup *cgroup);

#endif
