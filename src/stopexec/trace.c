/* SPDX-License-Identifier: MIT */
#include "stopexec/trace.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <time.h>

#include "base/err.h"
#include "base/file.h"
#include "base/mem.h"
#include "stopexec/proc.h"

int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Yama (ptrace(2), ptrace_scope) can forbid it to everybody, root as well. */
static bool yama_forbids(void)
{
	char *text cleanup(free_at) = NULL;
	size_t len;

	return file_read("/proc/sys/kernel/yama/ptrace_scope", 16, &text, &len, NULL) == 0 &&
	       text[0] == '3';
}

int trace_seize(struct trace *t, struct err *e)
{
	long options = PTRACE_O_TRACEEXEC;
	int result;

	if (t->family)
		options |= PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE;
	if (ptrace(PTRACE_SEIZE, t->pid, 0, options) == 0)
		return 0;
	result = -errno; /* looking for Yama may change it */
	if (result == -EPERM && yama_forbids())
		return err_set(
			e, -EPERM,
			"Nothing can be traced on this system: kernel.yama.ptrace_scope is 3, "
			"until the next boot. \"stopexec next\" and stop.so do without");
	if (result == -EPERM)
		return err_set(e, -EPERM,
			       "Process %d can't be traced: somebody else traces it, or root is "
			       "needed (see also kernel.yama.ptrace_scope)",
			       t->pid);
	return err_sys(e, result, "Process %d can't be traced", t->pid);
}

static enum trace_event event_of(struct trace *t, int status)
{
	int what = status >> 16;
	int signal = WSTOPSIG(status);

	t->signal = 0;
	if (!WIFSTOPPED(status)) {
		t->ended = status;
		return TRACE_GONE;
	}
	if (what == PTRACE_EVENT_EXEC)
		return TRACE_EXEC;
	if (what == PTRACE_EVENT_STOP)
		return signal == SIGTRAP ? TRACE_NOTE : TRACE_HELD;
	if (what != 0) /* no other is asked for */
		return TRACE_FORK;
	t->signal = signal;
	return signal == SIGTRAP ? TRACE_TRAP : TRACE_SIGNAL;
}

/* Waits for SIGCHLD, for one of t->end, or for the deadline. */
static int wait_signal(struct trace *t)
{
	int64_t left = t->deadline - now_ms();
	struct timespec most;
	siginfo_t info;
	sigset_t set;
	int got;

	if (left <= 0)
		return -ETIME;
	most = (struct timespec){left / 1000, left % 1000 * 1000000};
	sigemptyset(&set);
	if (t->end != NULL)
		set = *t->end;
	sigaddset(&set, SIGCHLD);
	got = sigtimedwait(&set, &info, &most);
	if (got < 0)
		return errno == EAGAIN ? -ETIME : 0;
	if (got == SIGCHLD)
		return 0;
	t->broken_off = got;
	t->by_user = info.si_code <= 0;
	return -EINTR;
}

static int wait_for(struct trace *t, pid_t which)
{
	for (;;) {
		int status, result;
		pid_t got = waitpid(which, &status, __WALL | WNOHANG);

		if (got > 0) {
			t->pid = got;
			return (int)event_of(t, status);
		}
		if (got < 0)
			return -errno; /* never EINTR, as it does not wait */
		result = wait_signal(t);
		if (result < 0)
			return result;
	}
}

int trace_wait(struct trace *t)
{
	return wait_for(t, t->pid);
}

int trace_wait_any(struct trace *t)
{
	return wait_for(t, -1);
}

static int resume(struct trace *t, enum __ptrace_request how)
{
	long signal = t->signal;

	t->signal = 0;
	return ptrace(how, t->pid, 0, signal) < 0 ? -errno : 0;
}

int trace_go(struct trace *t)
{
	return resume(t, PTRACE_CONT);
}

int trace_step(struct trace *t)
{
	return resume(t, PTRACE_SINGLESTEP);
}

int trace_listen(struct trace *t)
{
	t->signal = 0;
	return ptrace(PTRACE_LISTEN, t->pid, 0, 0) < 0 ? -errno : 0;
}

/* 1; 0; -errno */
static int blocks_continue(pid_t pid)
{
	uint64_t blocked;

	if (ptrace(PTRACE_GETSIGMASK, pid, sizeof(blocked), &blocked) < 0)
		return -errno;
	return (blocked >> (SIGCONT - 1) & 1) != 0;
}

/* After SIGCONT come a note that the stop ended and, unless it is blocked (by whoever has executed
 * the program), the signal itself; the counter stays. */
static int swallow_continue(struct trace *t)
{
	if (kill(t->pid, SIGCONT) < 0)
		return -errno;
	for (;;) {
		int result = trace_go(t);

		if (result < 0)
			return result;
		result = trace_wait(t);
		if (result < 0)
			return result;
		if (result == TRACE_GONE)
			return -ESRCH;
		if (result == TRACE_SIGNAL && t->signal == SIGCONT) {
			t->signal = 0;
			return 0;
		}
		if (result == TRACE_NOTE) {
			result = blocks_continue(t->pid);
			if (result != 0)
				return result < 0 ? result : 0;
		}
	}
}

int trace_seize_stopped(struct trace *t, struct err *e)
{
	int result = trace_seize(t, e);

	if (result < 0)
		return result;
	do {
		result = trace_wait(t);
		if (result == TRACE_NOTE || result == TRACE_SIGNAL)
			trace_go(t);
	} while (result == TRACE_NOTE || result == TRACE_SIGNAL);
	if (result == TRACE_HELD)
		result = swallow_continue(t);
	else if (result >= 0)
		result = -ESRCH;
	if (result < 0)
		return err_sys(e, result, "Process %d could not be traced any further", t->pid);
	return 0;
}

int trace_leave_stopped(struct trace *t, struct err *e)
{
	/* For this thread: what is for it alone comes before what is for the whole process, and a
	 * signal that has a handler (Go's own, that preempts) would move the counter there. */
	if (tgkill(t->pid, t->pid, SIGSTOP) < 0 || ptrace(PTRACE_DETACH, t->pid, 0, 0) < 0)
		return err_sys(e, -errno, "Process %d could not be left stopped", t->pid);
	return 0;
}

static bool is_pending(const sigset_t *signals)
{
	sigset_t pending;

	return signals != NULL && sigpending(&pending) == 0 &&
	       sigandset(&pending, &pending, signals) == 0 && sigisemptyset(&pending) == 0;
}

/* Its state alone does not tell that it ended: where a thread executes, the leader is a zombie for
 * a moment, and the pidfd is not readable. */
int trace_wait_stopped(pid_t pid, int pidfd, int64_t deadline, const sigset_t *end)
{
	struct pollfd ended = {.fd = pidfd, .events = POLLIN};
	struct timespec nap = {.tv_nsec = 100000};
	struct proc_status status;

	for (;;) {
		int result = proc_status(pid, &status);

		if (result < 0 || poll(&ended, 1, 0) > 0)
			return result < 0 ? result : -ESRCH;
		if (status.state == 'T' || status.state == 't')
			return 0;
		if (now_ms() >= deadline)
			return -ETIME;
		if (is_pending(end))
			return -EINTR;
		nanosleep(&nap, NULL);
		if (nap.tv_nsec < 10000000)
			nap.tv_nsec += nap.tv_nsec / 4;
	}
}
