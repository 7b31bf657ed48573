/* SPDX-License-Identifier: MIT */
#include "stopexec/helper.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "stopexec/proc.h"
#include "stopexec/session.h"

enum {
	LOOK = 10,	 /* ms between looks for the tracer */
	STOPS_MOST = 50, /* of a helper that is to end */
};

static _Noreturn void become(const char *const *words, int gate)
{
	union {
		const char *const *in;
		char *const *out;
	} argv = {.in = words}; /* execvp(3) changes nothing */
	uid_t uid = getuid();
	gid_t gid = getgid();
	sigset_t none;
	char go;

	if (read(gate, &go, 1) != 1)
		_exit(EXIT_FAILURE); /* stopexec is gone */
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (setresgid(gid, gid, gid) == 0 && setresuid(uid, uid, uid) == 0)
		execvp(words[0], argv.out);
	_exit(127);
}

pid_t helper_start(const char *const *words, int *gate, struct err *e)
{
	int ends[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
		return err_sys(e, -errno, "%s could not be started", words[0]);
	pid = fork();
	if (pid == 0) {
		close(ends[1]); /* else it would not see the end of stopexec */
		become(words, ends[0]);
	}
	close(ends[0]);
	if (pid < 0) {
		close(ends[1]);
		return err_sys(e, -errno, "%s could not be started", words[0]);
	}
	*gate = ends[1];
	return pid;
}

void helper_go(int *gate)
{
	/* Where it fails it has been killed, which helper_wait() tells. */
	(void)send(*gate, "", 1, MSG_NOSIGNAL);
	fd_close_at(gate);
}

static bool traced(pid_t pid, pid_t before)
{
	struct proc_status status;

	return proc_status(pid, &status) == 0 && status.tracer != 0 && status.tracer != before;
}

/* In the background the terminal stops it, on its way to its end too (gdb), and us with it. */
static void end(pid_t helper, const sigset_t *child, const struct timespec *nap)
{
	struct proc_status status;
	int stops = 0;

	signal(SIGTTIN, SIG_IGN);
	signal(SIGTTOU, SIG_IGN);
	kill(helper, SIGTERM);
	while (waitpid(helper, NULL, WNOHANG) == 0) {
		if (proc_status(helper, &status) == 0 && status.state == 'T')
			kill(helper, ++stops < STOPS_MOST ? SIGCONT : SIGKILL);
		(void)sigtimedwait(child, NULL, nap);
	}
}

int helper_wait(struct session *s, pid_t helper, pid_t go_on, pid_t before)
{
	struct timespec nap = {.tv_nsec = LOOK * 1000000L};
	sigset_t child;
	int status;

	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	for (;;) {
		if (waitpid(helper, &status, WNOHANG) > 0)
			return status;
		if (go_on != 0 && traced(go_on, before) && kill(go_on, SIGCONT) == 0)
			go_on = 0;
		(void)sigtimedwait(&child, NULL, &nap);
		if (!session_ended(s))
			continue;
		if (s->ended_by == SIGINT) {
			s->ended_by = 0; /* the terminal's: the helper has its own */
			continue;
		}
		end(helper, &child, &nap);
		return -EINTR;
	}
}
