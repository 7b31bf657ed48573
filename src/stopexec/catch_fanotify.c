/* SPDX-License-Identifier: MIT */
/*
 * By fanotify(7): the exec of a marked file waits until it is permitted; until then the catcher
 * sends SIGSTOP to the thread that executes, where it stays pending and stops the new image at its
 * first instruction.
 *
 * While an exec is not answered, its thread hangs: so nothing here waits for anything else.
 * Killing the catcher permits all of them.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/fanotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "stopexec/catch_loop.h"
#include "stopexec/guardian.h"
#include "stopexec/proc.h"
#include "stopexec/program.h"

/* The marked file of a program: a package's upgrade puts another in its place. */
struct marked {
	dev_t device;
	ino_t inode;
};

struct fanotify {
	int fd;
	long wanted; /* negative: all */
	pid_t helper;
	struct marked marked[]; /* for each program */
};

static int mark_program(int fanotify, const struct program *program, int fd, struct err *e)
{
	if (fanotify_mark(fanotify, FAN_MARK_ADD, FAN_OPEN_EXEC_PERM, fd, NULL) == 0)
		return 0;
	if (errno == EINVAL) /* FAN_OPEN_EXEC_PERM */
		return err_set(e, -EOPNOTSUPP,
			       "This kernel has no fanotify permission events "
			       "(CONFIG_FANOTIFY_ACCESS_PERMISSIONS, Linux 5.0); try --by bpf");
	return err_sys(e, -errno, "The start of %s can't be watched", program->real);
}

static int open_fanotify(const struct catch_rule *rule, int *fanotify, struct err *e)
{
	int fd cleanup(fd_close_at) =
		fanotify_init(FAN_CLASS_CONTENT | FAN_REPORT_TID | FAN_UNLIMITED_QUEUE |
				      FAN_CLOEXEC | FAN_NONBLOCK,
			      O_RDONLY | O_CLOEXEC);

	if (fd < 0 && errno == EPERM)
		return err_set(e, -EPERM,
			       "Catching programs that others start needs root (CAP_SYS_ADMIN)");
	if (fd < 0 && (errno == EINVAL || errno == ENOSYS))
		return err_set(e, -EOPNOTSUPP,
			       "This kernel has no fanotify permission events "
			       "(CONFIG_FANOTIFY_ACCESS_PERMISSIONS, Linux 5.0); try --by bpf");
	if (fd < 0)
		return err_sys(e, -errno, "fanotify can't be used");
	for (size_t i = 0; i < rule->nprograms; i++) {
		int result = mark_program(fd, &rule->programs[i], rule->programs[i].fd, e);

		if (result < 0)
			return result;
	}
	*fanotify = fd_take(&fd);
	return 0;
}

static int way_open(struct catch_loop *l, long count, int *fd, struct err *e)
{
	const struct catch_rule *rule = l->rule;
	struct fanotify *f cleanup(free_at) =
		calloc(1, sizeof(*f) + rule->nprograms * sizeof(f->marked[0]));
	int result;

	if (f == NULL)
		return err_sys(e, -ENOMEM, "Nothing can be watched");
	for (size_t i = 0; i < rule->nprograms; i++)
		f->marked[i] = (struct marked){rule->programs[i].device, rule->programs[i].inode};
	f->wanted = count;
	result = open_fanotify(rule, &f->fd, e);
	if (result < 0)
		return result;
	*fd = f->fd;
	l->data = take(f);
	return 0;
}

static void way_close(struct catch_loop *l)
{
	struct fanotify *f = l->data;

	close(f->fd);
	free(f);
}

/* Of the programs; where it is none, as many as there are. */
static size_t which(const struct catch_loop *l, int fd)
{
	const struct fanotify *f = l->data;
	struct stat st = {0};
	size_t i = 0;

	(void)fstat(fd, &st); /* where that fails, it is none */
	while (i < l->rule->nprograms &&
	       (f->marked[i].device != st.st_dev || f->marked[i].inode != st.st_ino))
		i++;
	return i;
}

/* 0: it is gone. Nearly always it is the first thread, which needs no look into /proc. */
static pid_t process_of(pid_t thread)
{
	struct proc_status status;

	if (tgkill(thread, thread, 0) == 0)
		return thread;
	return proc_status(thread, &status) == 0 ? status.tgid : 0;
}

static bool fits(const struct catch_loop *l, pid_t pid)
{
	const struct fanotify *f = l->data;
	const struct catch_rule *rule = l->rule;
	struct proc_status status;

	if (rule->any_user && rule->parent == 0 && f->helper == 0)
		return true;
	return proc_status(pid, &status) == 0 && (rule->any_user || status.uid.real == rule->uid) &&
	       (rule->parent == 0 || proc_descends(status.parent, rule->parent)) &&
	       (f->helper == 0 || !proc_descends(pid, f->helper));
}

static bool wanted(const struct catch_loop *l, pid_t thread, int fd, struct caught *caught)
{
	const struct fanotify *f = l->data;
	pid_t pid;

	caught->program = which(l, fd);
	if (f->wanted == 0 || caught->program == l->rule->nprograms)
		return false;
	pid = process_of(thread);
	if (catch_spares(l, pid) || !fits(l, pid))
		return false;
	caught->stop.pid = pid;
	caught->stop.tracer = TRACER_UNKNOWN;
	return true;
}

static void look_at_old_image(const struct catch_loop *l, struct caught *caught)
{
	const struct program *program = &l->rule->programs[caught->program];
	int old cleanup(fd_close_at) = proc_open_program(caught->stop.pid);
	struct stat st;

	caught->same_file = old >= 0 && fstat(old, &st) == 0 &&
			    st.st_dev == program->image_device && st.st_ino == program->image_inode;
	caught->has_random = proc_random(caught->stop.pid, &caught->random) == 0;
}

/* In this order: whoever is stopped is known to a guardian first. */
static bool stop(struct catch_loop *l, pid_t thread, int fd, struct caught *caught)
{
	struct fanotify *f = l->data;

	if (!wanted(l, thread, fd, caught))
		return false;
	look_at_old_image(l, caught);
	if (!catch_hold(l, caught))
		return false;
	if (tgkill(caught->stop.pid, thread, SIGSTOP) < 0) {
		guardian_release(l->guardian, &caught->stop);
		return false;
	}
	if (f->wanted > 0)
		f->wanted--;
	return true;
}

static void answer(struct catch_loop *l, const struct fanotify_event_metadata *event)
{
	const struct fanotify *f = l->data;
	struct fanotify_response response = {.fd = event->fd, .response = FAN_ALLOW};
	struct caught caught = {0};
	bool stopped =
		(event->mask & FAN_OPEN_EXEC_PERM) != 0 && stop(l, event->pid, event->fd, &caught);

	if (write(f->fd, &response, sizeof(response)) < 0 && errno != ENOENT)
		_exit(errno); /* which permits it */
	close(event->fd);
	if (stopped)
		catch_tell(l, &caught);
}

static void way_serve(struct catch_loop *l)
{
	const struct fanotify *f = l->data;
	struct fanotify_event_metadata event;
	/* One at a time: where no descriptor is left for one, the kernel forbids that exec. */
	ssize_t len = read(f->fd, &event, sizeof(event));

	if (len < 0 && errno != EAGAIN && errno != EINTR)
		_exit(errno); /* which permits what waits */
	if (len == sizeof(event) && event.fd >= 0)
		answer(l, &event);
}

/* A program's file may have been replaced. */
static void way_look(struct catch_loop *l)
{
	struct fanotify *f = l->data;

	for (size_t i = 0; i < l->rule->nprograms; i++) {
		const struct program *p = &l->rule->programs[i];
		int fd cleanup(fd_close_at) = program_open(p->real);
		struct stat st;

		if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) ||
		    (st.st_dev == f->marked[i].device && st.st_ino == f->marked[i].inode))
			continue;
		if (mark_program(f->fd, p, fd, NULL) == 0)
			f->marked[i] = (struct marked){st.st_dev, st.st_ino};
	}
}

static void way_more(struct catch_loop *l, long count)
{
	struct fanotify *f = l->data;

	if (f->wanted >= 0)
		f->wanted += count;
}

static void way_pass(struct catch_loop *l, pid_t helper)
{
	struct fanotify *f = l->data;

	f->helper = helper;
}

static void way_let_go(struct catch_loop *l, pid_t pid)
{
	(void)l;
	kill(pid, SIGCONT);
}

static void way_end(struct catch_loop *l)
{
	(void)l; /* its exit removes the marks, and permits what waits */
}

const struct catch_way catch_fanotify = {
	.open = way_open,
	.serve = way_serve,
	.look = way_look,
	.more = way_more,
	.pass = way_pass,
	.let_go = way_let_go,
	.end = way_end,
	.close = way_close,
};
