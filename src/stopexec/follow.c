/* SPDX-License-Identifier: MIT */
#include "stopexec/follow.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "stopexec/proc.h"
#include "stopexec/trace.h"

enum { LOOK = 50 }; /* ms between looks whether there is news to come */

/* The threads that are traced. */
struct family {
	pid_t *members;
	size_t count, room;
};

static void family_free(struct family *family)
{
	free(family->members);
}

static int join(struct family *family, pid_t pid)
{
	for (size_t i = 0; i < family->count; i++)
		if (family->members[i] == pid)
			return 0;
	if (array_room(&family->members, &family->room, family->count, sizeof(pid_t)) < 0)
		return -ENOMEM;
	family->members[family->count++] = pid;
	return 0;
}

static void part(struct family *family, pid_t pid)
{
	for (size_t i = family->count; i-- > 0;)
		if (family->members[i] == pid)
			family->members[i] = family->members[--family->count];
}

static int message_of(pid_t pid, pid_t *message)
{
	unsigned long value;

	if (ptrace(PTRACE_GETEVENTMSG, pid, 0, &value) < 0)
		return -errno;
	*message = (pid_t)value;
	return 0;
}

/* A new thread or process of the member's, which is traced from its start. */
static int take_offspring(struct family *family, pid_t pid)
{
	pid_t born = 0;

	return message_of(pid, &born) == 0 ? join(family, born) : 0;
}

/* Where another thread than the first executes, it takes the first's number. */
static void take_number(struct family *family, pid_t pid)
{
	pid_t former = 0;

	if (message_of(pid, &former) == 0 && former != pid)
		part(family, former);
}

static void gone(const struct trace *t, struct family *family, struct follow *f)
{
	part(family, t->pid);
	if (t->pid == f->child) {
		f->ended = true;
		f->status = t->ended;
	}
}

static int go_on(struct trace *t, int event)
{
	int result = event == TRACE_HELD ? trace_listen(t) : trace_go(t);

	return result == -ESRCH ? 0 : result; /* killed meanwhile: that is told next */
}

/* One event of anybody's. 1: the exec that was wanted; 0; -ECHILD: nobody is left. */
static int step(struct trace *t, unsigned exec, struct family *family, struct follow *f)
{
	int event = trace_wait_any(t), result;

	if (event < 0)
		return event;
	if (event == TRACE_GONE) {
		gone(t, family, f);
		return family->count > 0 ? 0 : -ECHILD;
	}
	result = event == TRACE_FORK ? take_offspring(family, t->pid) : join(family, t->pid);
	if (result < 0)
		return result;
	if (event == TRACE_EXEC) {
		take_number(family, t->pid);
		if (++f->execs == exec)
			return 1;
	}
	return go_on(t, event);
}

/* Has one stop, so that it can be let go; or it is traced no longer. */
static int interrupt(struct family *family, pid_t pid)
{
	if (ptrace(PTRACE_INTERRUPT, pid, 0, 0) == 0)
		return 0;
	if (errno != ESRCH && errno != EIO)
		return -errno;
	part(family, pid);
	return 0;
}

/* Lets go of one that has news. */
static int release(struct trace *t, int event, pid_t found, struct family *family, struct follow *f)
{
	pid_t born = 0;
	int result;

	if (event == TRACE_GONE) {
		gone(t, family, f);
		return t->pid == found ? -ESRCH : 0;
	}
	result = join(family, t->pid);
	if (event == TRACE_EXEC)
		take_number(family, t->pid);
	/* Told perhaps behind its child's own news, even the exec that was wanted. */
	if (result == 0 && event == TRACE_FORK && message_of(t->pid, &born) == 0 && born != found) {
		result = join(family, born);
		if (result == 0)
			result = interrupt(family, born);
	}
	if (result < 0)
		return result;
	if (ptrace(PTRACE_DETACH, t->pid, 0, (long)t->signal) == 0)
		part(family, t->pid);
	else if (errno != ESRCH) /* else it is being killed, and its end is ours to take */
		result = -errno;
	return result;
}

/* A process's first thread: where it has ended before the others, that is told behind their ends;
 * where one of them that is let go executes, that takes its place, and nothing is told. */
static bool is_silent(pid_t pid)
{
	struct proc_status status;
	int result = proc_status(pid, &status);

	if (result < 0)
		return result == -ESRCH;
	return status.tgid == pid && (status.state == 'Z' || status.tracer != getpid());
}

static void part_from_silent(struct family *family)
{
	for (size_t i = family->count; i-- > 0;)
		if (is_silent(family->members[i]))
			part(family, family->members[i]);
}

/* In the order of their news: who waits in vfork(2) stops only when its child has been let go. */
static int release_others(struct trace *t, pid_t found, struct family *family, struct follow *f)
{
	struct trace other = *t;
	int result = 0;

	part(family, found);
	for (size_t i = family->count; i-- > 0 && result == 0;)
		result = interrupt(family, family->members[i]);
	while (result == 0 && family->count > 0) {
		int64_t soon = now_ms() + LOOK;
		int event;

		other.deadline = soon < t->deadline ? soon : t->deadline;
		event = trace_wait_any(&other);
		if (event == -ETIME && now_ms() < t->deadline)
			part_from_silent(family);
		else
			result = event < 0 ? event : release(&other, event, found, family, f);
	}
	return result;
}

int follow_execs(struct trace *t, unsigned exec, struct follow *f)
{
	struct family family cleanup(family_free) = {0};
	pid_t found;
	int result = join(&family, t->pid);

	*f = (struct follow){.child = t->pid};
	while (result == 0)
		result = step(t, exec, &family, f);
	if (result < 0)
		return result;
	found = t->pid;
	result = release_others(t, found, &family, f);
	t->pid = found;
	t->signal = 0;
	t->family = false;
	if (result == 0 && ptrace(PTRACE_SETOPTIONS, found, 0, PTRACE_O_TRACEEXEC) < 0)
		result = -errno;
	return result;
}

/* Its end is told behind those of its threads, which are traced too; and of the others, who has
 * just stopped for us would lose a signal if we ended so. */
void follow_end(const struct follow *f)
{
	struct trace t = {.deadline = INT64_MAX};
	int event;

	kill(f->child, SIGKILL);
	do {
		event = trace_wait_any(&t);
		if (event >= 0 && event != TRACE_GONE)
			ptrace(PTRACE_DETACH, t.pid, 0, (long)t.signal);
	} while (event >= 0 && (event != TRACE_GONE || t.pid != f->child));
}
