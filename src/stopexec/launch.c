/* SPDX-License-Identifier: MIT */
#include "stopexec/launch.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "stopexec/follow.h"
#include "stopexec/trace.h"

void user_free(struct user *user)
{
	free(user->groups);
	user->groups = NULL;
	user->ngroups = 0;
}

static bool whole_number(const char *text, unsigned long *number)
{
	char *behind;

	errno = 0;
	*number = strtoul(text, &behind, 10);
	return *text >= '0' && *text <= '9' && *behind == '\0' && errno == 0 && *number < UINT_MAX;
}

static int find_groups(struct user *user, struct err *e)
{
	int count = NGROUPS_MAX;
	gid_t *groups cleanup(free_at) = NULL;

	if (user->name[0] == '\0')
		return 0; /* of a bare number: none */
	groups = calloc(NGROUPS_MAX, sizeof(*groups));
	if (groups == NULL || getgrouplist(user->name, user->gid, groups, &count) < 0)
		return err_sys(e, -ENOMEM, "The groups of %s can't be found", user->name);
	user->groups = take(groups);
	user->ngroups = (size_t)count;
	return 0;
}

static int find_group(const char *word, gid_t *gid, struct err *e)
{
	const struct group *entry = getgrnam(word);
	unsigned long number;

	if (entry != NULL)
		*gid = entry->gr_gid;
	else if (whole_number(word, &number))
		*gid = (gid_t)number;
	else
		return err_set(e, -ENOENT, "There is no group called \"%s\"", word);
	return 0;
}

int user_find(const char *word, struct user *user, struct err *e)
{
	const char *colon = strchr(word, ':');
	size_t len = colon != NULL ? (size_t)(colon - word) : strlen(word);
	const struct passwd *entry;
	struct user got = {0};
	unsigned long number;
	char name[64];
	int result;

	snprintf(name, sizeof(name), "%.*s", (int)(len < sizeof(name) ? len : sizeof(name)), word);
	entry = getpwnam(name);
	if (entry == NULL && whole_number(name, &number)) {
		got.uid = (uid_t)number;
		got.gid = (gid_t)number;
		entry = getpwuid(got.uid);
	} else if (entry == NULL) {
		return err_set(e, -ENOENT, "There is no user called \"%s\"", name);
	}
	if (entry != NULL) {
		got.uid = entry->pw_uid;
		got.gid = entry->pw_gid;
		snprintf(got.name, sizeof(got.name), "%s", entry->pw_name);
		snprintf(got.home, sizeof(got.home), "%s", entry->pw_dir);
		snprintf(got.shell, sizeof(got.shell), "%s", entry->pw_shell);
	}
	if (colon != NULL) {
		result = find_group(colon + 1, &got.gid, e);
		if (result < 0)
			return result;
	}
	result = find_groups(&got, e);
	if (result < 0)
		return result;
	*user = got;
	return 0;
}

/* What the child says where it can't go on. */
struct complaint {
	int code;
	char doing[32];
};

static _Noreturn void fail(int socket, const char *doing)
{
	struct complaint complaint = {.code = errno};

	snprintf(complaint.doing, sizeof(complaint.doing), "%s", doing);
	/* Where it fails, launch() tells no reason. */
	(void)send(socket, &complaint, sizeof(complaint), MSG_NOSIGNAL);
	_exit(127);
}

static void inherit(const struct heritage *heritage, int socket)
{
	umask(heritage->mask);
	/* EPERM: root in a container may not raise what somebody has lowered; then ours stay. */
	for (int i = 0; i < RLIM_NLIMITS; i++)
		if (setrlimit((enum __rlimit_resource)i, &heritage->limits[i]) < 0 &&
		    errno != EPERM)
			fail(socket, "take the limits for");
}

static _Noreturn void child(const struct launch *l, int socket)
{
	const struct user *user = l->user;
	sigset_t none;
	char go;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGINT, SIG_DFL);
	signal(SIGQUIT, SIG_DFL);
	if (read(socket, &go, 1) != 1)
		_exit(127); /* stopexec is gone */
	if (l->own_session)
		(void)setsid(); /* just forked, it leads no group yet */
	if (l->heritage != NULL)
		inherit(l->heritage, socket);
	if (user != NULL) {
		if (setgroups(user->ngroups, user->groups) < 0)
			fail(socket, "take the groups of");
		if (setresgid(user->gid, user->gid, user->gid) < 0)
			fail(socket, "take the group of");
		if (setresuid(user->uid, user->uid, user->uid) < 0)
			fail(socket, "become the user of");
	}
	execve(l->path, l->argv, l->env);
	fail(socket, "execute");
}

static int told(int socket, const struct launch *l, struct err *e)
{
	struct complaint complaint;

	if (recv(socket, &complaint, sizeof(complaint), MSG_DONTWAIT) != sizeof(complaint))
		return 0;
	complaint.doing[sizeof(complaint.doing) - 1] = '\0';
	if (complaint.code == ENOEXEC)
		return err_set(
			e, -ENOEXEC,
			"The kernel can't execute %s: it is of no format that "
			"it knows (a script without \"#!\", or another processor's program?)",
			l->path);
	return err_sys(e, -complaint.code, "Could not %s %s", complaint.doing, l->path);
}

static int explain(const struct launch *l, int result, const struct follow *f, int socket,
		   struct err *e)
{
	int said = f->execs == 0 ? told(socket, l, e) : 0;

	if (said < 0)
		return said;
	if (result == -ECHILD)
		return err_set(e, result, "%s ended after %u of %u execs", l->path, f->execs,
			       l->exec);
	return err_sys(e, result, "%s could not be followed to its start", l->path);
}

int launch(const struct launch *l, struct trace *t, struct follow *f, struct err *e)
{
	int ends[2], result;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
		return err_sys(e, -errno, "No pipe to the new process could be made");
	t->pid = fork();
	if (t->pid < 0) {
		result = err_sys(e, -errno, "No new process could be made");
		close(ends[0]);
		close(ends[1]);
		return result;
	}
	if (t->pid == 0) {
		close(ends[0]);
		child(l, ends[1]);
	}
	close(ends[1]);
	*f = (struct follow){.child = t->pid};
	t->family = l->exec > 1;
	result = trace_seize(t, e);
	if (result == 0 && send(ends[0], "", 1, MSG_NOSIGNAL) != 1)
		result = err_sys(e, -errno, "The new process could not be told to start");
	if (result == 0) {
		result = follow_execs(t, l->exec, f);
		if (result < 0)
			result = explain(l, result, f, ends[0], e);
	}
	if (result < 0 && !f->ended)
		follow_end(f);
	close(ends[0]);
	return result;
}
