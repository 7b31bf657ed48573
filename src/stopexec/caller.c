/* SPDX-License-Identifier: MIT */
#include "stopexec/caller.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "stopexec/proc.h"

void caller_free(struct caller *caller)
{
	free(caller->groups);
	caller->groups = NULL;
	caller->ngroups = 0;
}

static bool is_sudo(pid_t pid)
{
	char path[64];
	char *comm cleanup(free_at) = NULL;
	size_t len;

	snprintf(path, sizeof(path), "/proc/%d/comm", pid);
	return file_read_at(AT_FDCWD, path, 64, &comm, &len, NULL) == 0 &&
	       strcmp(comm, "sudo\n") == 0;
}

static bool is_of(pid_t pid, uid_t uid, gid_t *gid)
{
	struct proc_status status;

	if (proc_status(pid, &status) < 0 || status.uid.real != uid || status.uid.effective != uid)
		return false;
	*gid = status.gid.real;
	return true;
}

/* sudo's own groups and limits are no longer those that it was called with. */
static void look_at(pid_t pid, uid_t uid, struct caller *caller)
{
	caller->seen = is_of(pid, uid, &caller->gid) &&
		       proc_inherited(pid, &caller->groups, &caller->ngroups,
				      &caller->heritage.mask) == 0 &&
		       proc_limits(pid, caller->heritage.limits) == 0;
}

bool caller_find(uid_t uid, struct caller *caller)
{
	pid_t pid = getppid(), sudo = 0;
	struct proc_status status;

	*caller = (struct caller){.sudo = pid};
	/* With a terminal of its own for the command, sudo is two processes. */
	while (is_sudo(pid) && proc_status(pid, &status) == 0) {
		sudo = pid;
		pid = status.parent;
	}
	if (sudo == 0)
		return false;
	look_at(pid, uid, caller);
	/* Where the caller has ended meanwhile, its number may be another's. */
	if (proc_status(sudo, &status) < 0 || status.parent != pid)
		caller->seen = false;
	return true;
}

char *caller_variable(const struct caller *caller, const char *name)
{
	char path[64];
	char *text cleanup(free_at) = NULL;
	size_t len, name_len = strlen(name);

	snprintf(path, sizeof(path), "/proc/%d/environ", caller->sudo);
	if (file_read_at(AT_FDCWD, path, ENVIRONMENT_MOST, &text, &len, NULL) < 0)
		return NULL;
	for (const char *at = text; at < text + len; at += strlen(at) + 1)
		if (strncmp(at, name, name_len) == 0 && at[name_len] == '=')
			return strdup(at + name_len + 1);
	return NULL;
}
