/* SPDX-License-Identifier: MIT */
/* What the tests stop: says who it is, and ends with the status 7. */
#define _GNU_SOURCE
#include <stdio.h>
#include <sys/auxv.h>
#include <unistd.h>

static int constructed;

__attribute__((constructor)) static void construct(void)
{
	constructed = 1;
}

int main(int argc, char **argv)
{
	uid_t real, effective, saved;
	gid_t group, effective_group, saved_group;

	if (getresuid(&real, &effective, &saved) < 0 ||
	    getresgid(&group, &effective_group, &saved_group) < 0)
		return 1;
	printf("uid %u %u %u gid %u %u %u secure %lu constructed %d arguments %d %s\n",
	       (unsigned)real, (unsigned)effective, (unsigned)saved, (unsigned)group,
	       (unsigned)effective_group, (unsigned)saved_group, getauxval(AT_SECURE), constructed,
	       argc, argv[argc - 1]);
	return 7;
}
