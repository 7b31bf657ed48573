/* SPDX-License-Identifier: MIT */
/* Starts a program as a user, under a tracer that keeps its privileges. */
#ifndef STOPEXEC_LAUNCH_H
#define STOPEXEC_LAUNCH_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/resource.h>
#include <sys/types.h>

struct err;
struct follow;
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

/* What a process hands on to what it starts, besides its ids. */
struct heritage {
	mode_t mask; /* umask(2) */
	struct rlimit limits[RLIM_NLIMITS];
};

struct launch {
	const char *path;
	char *const *argv;
	char *const *env;
	const struct user *user;	 /* NULL: as we are */
	const struct heritage *heritage; /* NULL: ours */
	/* Which exec is waited for: 1 is the program's own; then those of all that it starts. */
	unsigned exec;
	/* It is to outlive us: where its process group loses its last link to a shell with us, the
	 * kernel ends what is stopped in there (SIGHUP). */
	bool own_session;
};

/*
 * Starts it. On success t->pid is traced, and stopped before the first instruction of the exec-th
 * image; f->child is the program that was started, our child. t->end and t->deadline are the
 * caller's. On failure nothing runs, except what the program has left behind where it ended before
 * that exec: -ECHILD, with f->status as by waitpid().
 */
int launch(const struct launch *l, struct trace *t, struct follow *f, struct err *e);

#endif
