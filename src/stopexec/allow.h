/* SPDX-License-Identifier: MIT */
/*
 * Who may stop the programs of other users, besides root: lines of /etc/hostkit/stopexec.allow,
 *	USER PROGRAM…		alice /usr/bin/pulseaudio
 *	%GROUP PROGRAM…		%audio /usr/bin/pulseaudio
 * A program is an absolute path; "#" starts a comment. It counts where stopexec itself is installed
 * set-user-ID root.
 */
#ifndef STOPEXEC_ALLOW_H
#define STOPEXEC_ALLOW_H

#include <stdbool.h>
#include <stddef.h>

struct err;

#define ALLOW_FILE "/etc/hostkit/stopexec.allow"

/* The user's name, and the names of all groups of the user. */
struct allow_user {
	const char *name;
	const char *const *groups;
	size_t ngroups;
};

/* Does a line of the text name this user for this program (an absolute path)? Pure. */
bool allow_says(const char *text, size_t len, const struct allow_user *user, const char *program);

/* The names of the real user's groups: those that the caller has, not those of the database. */
int allow_groups(char ***names, size_t *count);
void allow_groups_free(char **names, size_t count);

/*
 * May the real user stop this program? 0; -EPERM: no, or the file can't be trusted (it must be
 * root's, and writable by nobody else).
 */
int allow_check(const char *program, struct err *e);

#endif
