/* SPDX-License-Identifier: MIT */
/* Starts a program as a user, under a tracer that keeps its privileges. */
#ifndef STOPEXEC_LAUNCH_H
#define STOPEXEC_LAUNCH_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct err;
struct trace;

/* Who the program is started as. */
struct user {
	uid_t uid;
	gid_t gid;
	gid_t *groups; /* supplementary */
	size_t ngroups;
	char name[64];	/* "" where the system knows none */
	char home[256]; /* likewise */
	char shell[256];
};

/* From a name or a number, "USER" or "USER:GROUP". -ENOENT. Free with user_free(). */
int user_find(const char *word, struct user *user, struct err *e);
void user_free(struct user *user);

struct launch {
	const char *path;
	char *const *argv;
	char *const *env;
	const struct user *user; /* NULL: as we are */
	unsigned exec;		 /* which exec is waited for: 1 is the program's own */
};

/*
 * Starts it. On success t->pid is our child, traced, and stopped before the first instruction of
 * the exec-th image. t->end and t->deadline are the caller's. On failure nothing runs, except
 * that a program which ended before that exec has run: -ECHILD, with t->ended as by waitpid().
 */
int launch(const struct launch *l, struct trace *t, struct err *e);

#endif
