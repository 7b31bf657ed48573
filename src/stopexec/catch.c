/* SPDX-License-Identifier: MIT */
#include "stopexec/catch.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fanotify.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "stopexec/guardian.h"
#include "stopexec/proc.h"
#include "stopexec/program.h"
#include "stopexec/trace.h"

enum {
	ANCESTORS = 64,
	LOOK_AGAIN = 1000, /* ms between looks whether a program's file was replaced */
	EVENTS = 4096,	   /* bytes of events taken at once */
};

struct order {
	long more;
	pid_t helper;
};

/* The marked file of a program: a package's upgrade puts another in its place. */
struct marked {
	dev_t device;
	ino_t inode;
};

/* What the catching process knows. */
struct loop {
	const struct catch_rule *rule;
	const struct guardian *guardian;
	struct marked *marked; /* for each program */
	int fanotify, socket;
	long wanted;  /* negative: all */
	int64_t last; /* number of the last stop */
	pid_t helper;
	pid_t spared[ANCESTORS]; /* stopexec and those who started it */
	size_t nspared;
};

static int mark_program(int fanotify, const struct program *program, int fd, struct err *e)
{
	if (fanotify_mark(fanotify, FAN_MARK_ADD, FAN_OPEN_EXEC_PERM, fd, NULL) == 0)
		return 0;
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
			       "(CONFIG_FANOTIFY_ACCESS_PERMISSIONS, Linux 5.0)");
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

static void find_spared(struct loop *l)
{
	struct proc_status status;
	pid_t pid = getppid();

	while (pid > 0 && l->nspared < ANCESTORS) {
		l->spared[l->nspared++] = pid;
		if (proc_status(pid, &status) < 0)
			break;
		pid = status.parent;
	}
}

static bool is_spared(const struct loop *l, pid_t pid)
{
	if (pid <= 1) /* also: of a PID namespace that we can't see */
		return true;
	for (size_t i = 0; i < l->nspared; i++)
		if (l->spared[i] == pid)
			return true;
	return l->helper > 0 && proc_descends(pid, l->helper);
}

static bool which(const struct loop *l, int fd, size_t *program)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return false;
	for (size_t i = 0; i < l->rule->nprograms; i++) {
		if (l->marked[i].device == st.st_dev && l->marked[i].inode == st.st_ino) {
			*program = i;
			return true;
		}
	}
	return false;
}

static bool wanted(const struct loop *l, pid_t thread, int fd, struct caught *caught)
{
	const struct catch_rule *rule = l->rule;
	struct proc_status status;

	if (l->wanted == 0 || !which(l, fd, &caught->program) || proc_status(thread, &status) < 0)
		return false;
	if (is_spared(l, status.tgid) || (!rule->any_user && status.uid.real != rule->uid) ||
	    (rule->parent != 0 && !proc_descends(status.parent, rule->parent)))
		return false;
	caught->stop.pid = status.tgid;
	caught->stop.tracer = status.tracer;
	return true;
}

static void look_at_old_image(const struct loop *l, struct caught *caught)
{
	const struct program *program = &l->rule->programs[caught->program];
	int old cleanup(fd_close_at) = proc_open_program(caught->stop.pid);
	struct stat st;

	caught->again = old >= 0 && fstat(old, &st) == 0 && st.st_dev == program->image_device &&
			st.st_ino == program->image_inode &&
			proc_random(caught->stop.pid, &caught->random) == 0;
}

/* In this order: whoever is stopped is known to a guardian first, and reported at once. */
static void stop(struct loop *l, pid_t thread, int fd)
{
	struct caught caught = {0};

	if (!wanted(l, thread, fd, &caught))
		return;
	look_at_old_image(l, &caught);
	caught.stop.number = ++l->last;
	if (guardian_hold(l->guardian, &caught.stop, l->rule->milliseconds) < 0)
		return;
	if (send(l->socket, &caught, sizeof(caught), MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ||
	    tgkill(caught.stop.pid, thread, SIGSTOP) < 0) {
		guardian_release(l->guardian, &caught.stop);
		return;
	}
	if (l->wanted > 0)
		l->wanted--;
}

static void take_events(struct loop *l)
{
	union {
		char bytes[EVENTS];
		struct fanotify_event_metadata align;
	} events;
	ssize_t len = read(l->fanotify, events.bytes, sizeof(events.bytes));
	struct fanotify_event_metadata *event = &events.align;

	for (; len > 0 && FAN_EVENT_OK(event, len); event = FAN_EVENT_NEXT(event, len)) {
		struct fanotify_response response = {.fd = event->fd, .response = FAN_ALLOW};

		if (event->fd < 0)
			continue;
		if ((event->mask & FAN_OPEN_EXEC_PERM) != 0)
			stop(l, event->pid, event->fd);
		if (write(l->fanotify, &response, sizeof(response)) < 0 && errno != ENOENT)
			_exit(EXIT_FAILURE); /* which permits it */
		close(event->fd);
	}
}

static void follow_files(struct loop *l)
{
	for (size_t i = 0; i < l->rule->nprograms; i++) {
		const struct program *p = &l->rule->programs[i];
		int fd cleanup(fd_close_at) = open(p->real, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
		struct stat st;

		if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) ||
		    (st.st_dev == l->marked[i].device && st.st_ino == l->marked[i].inode))
			continue;
		if (mark_program(l->fanotify, p, fd, NULL) == 0)
			l->marked[i] = (struct marked){st.st_dev, st.st_ino};
	}
}

static void obey(struct loop *l)
{
	struct order order;

	if (recv(l->socket, &order, sizeof(order), MSG_DONTWAIT) != sizeof(order))
		_exit(EXIT_SUCCESS); /* stopexec has ended, or wants no more */
	if (l->wanted >= 0)
		l->wanted += order.more;
	l->helper = order.helper;
}

static _Noreturn void catch_all(struct loop *l, pid_t parent)
{
	struct pollfd polls[2] = {{.fd = l->fanotify, .events = POLLIN},
				  {.fd = l->socket, .events = POLLIN}};
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	struct sched_param urgent = {.sched_priority = 2};
	sigset_t all;

	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	/* Else the caller of a set-user-ID stopexec could end it; before the line below, for
	 * changed ids clear that. */
	if (setresuid(0, 0, 0) < 0)
		_exit(EXIT_FAILURE);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	prctl(PR_SET_NAME, "stopexec-catch");
	if (getppid() != parent)
		_exit(EXIT_SUCCESS);
	/* Others wait for its answers, on a busy machine too. Where that is not permitted, it
	 * answers all the same. */
	(void)sched_setscheduler(0, SCHED_RR | SCHED_RESET_ON_FORK, &urgent);
	for (int fd = 0; fd <= 2; fd++)
		dup2(null, fd);
	find_spared(l);
	for (;;) {
		int ready = poll(polls, COUNT(polls), LOOK_AGAIN);

		if (ready == 0)
			follow_files(l);
		if (polls[0].revents != 0)
			take_events(l);
		if (polls[1].revents != 0)
			obey(l);
	}
}

static struct marked *marks_of(const struct catch_rule *rule)
{
	struct marked *marked = calloc(rule->nprograms, sizeof(*marked));

	for (size_t i = 0; marked != NULL && i < rule->nprograms; i++)
		marked[i] = (struct marked){rule->programs[i].device, rule->programs[i].inode};
	return marked;
}

int catch_start(const struct catch_rule *rule, const struct guardian *g, long count,
		struct catcher *catcher, struct err *e)
{
	struct loop l = {.rule = rule, .guardian = g, .fanotify = -1, .wanted = count};
	struct marked *marked cleanup(free_at) = marks_of(rule);
	pid_t pid, self = getpid();
	int ends[2], result;

	if (marked == NULL)
		return err_sys(e, -ENOMEM, "Nothing can be watched");
	l.marked = marked;
	result = open_fanotify(rule, &l.fanotify, e);
	if (result < 0)
		return result;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0) {
		result = err_sys(e, -errno, "No pipe to the catcher could be made");
		close(l.fanotify);
		return result;
	}
	pid = fork();
	if (pid == 0) {
		close(ends[0]);
		l.socket = ends[1];
		catch_all(&l, self);
	}
	result = pid < 0 ? err_sys(e, -errno, "The catcher could not be started") : 0;
	close(l.fanotify); /* as long as anybody has it open, the marks hold */
	close(ends[1]);
	if (result < 0) {
		close(ends[0]);
		return result;
	}
	*catcher = (struct catcher){.pid = pid, .socket = ends[0]};
	return 0;
}

int catch_more(const struct catcher *catcher, long count, pid_t helper)
{
	struct order order = {.more = count, .helper = helper};

	return send(catcher->socket, &order, sizeof(order), MSG_NOSIGNAL) < 0 ? -errno : 0;
}

int catch_take(const struct catcher *catcher, struct caught *caught)
{
	struct caught got;
	ssize_t len = recv(catcher->socket, &got, sizeof(got), MSG_DONTWAIT);

	if (len < 0 && (errno == EAGAIN || errno == EINTR))
		return -EAGAIN;
	if (len != sizeof(got))
		return -EPIPE;
	*caught = got;
	return 0;
}

bool catch_lost(const struct catcher *catcher)
{
	struct pollfd end = {.fd = catcher->socket};

	return poll(&end, 1, 0) > 0 && (end.revents & POLLHUP) != 0;
}

void catch_stop(struct catcher *catcher)
{
	if (catcher->pid <= 0)
		return;
	close(catcher->socket);
	waitpid(catcher->pid, NULL, 0);
	catcher->pid = 0;
}

/* The file may have been replaced since it was found: then its path leads to the one executed. */
static bool is_image(const struct program *program, const struct stat *st)
{
	struct stat now;

	if (st->st_dev == program->image_device && st->st_ino == program->image_inode)
		return true;
	return !program->script && stat(program->real, &now) == 0 && st->st_dev == now.st_dev &&
	       st->st_ino == now.st_ino;
}

static bool in_new_image(const struct caught *caught, const struct program *program)
{
	int fd cleanup(fd_close_at) = proc_open_program(caught->stop.pid);
	uint64_t random;
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0 || !is_image(program, &st))
		return false;
	return !caught->again ||
	       (proc_random(caught->stop.pid, &random) == 0 && random != caught->random);
}

/* Waits until it is stopped. Its state alone does not tell that it ended: where a thread executes,
 * the leader is a zombie for a moment, and the pidfd is not readable. */
static int wait_stopped(pid_t pid, int pidfd, int64_t deadline, struct err *e)
{
	struct pollfd end = {.fd = pidfd, .events = POLLIN};
	struct timespec nap = {.tv_nsec = 100000};
	struct proc_status status;

	for (;;) {
		if (pidfd < 0 || poll(&end, 1, 0) > 0 || proc_status(pid, &status) < 0)
			return err_set(e, -ESRCH, "Process %d ended before it was stopped", pid);
		if (status.state == 'T' || status.state == 't')
			return 0;
		if (now_ms() >= deadline)
			return err_set(e, -ETIME, "Process %d was not stopped in time", pid);
		nanosleep(&nap, NULL);
		if (nap.tv_nsec < 10000000)
			nap.tv_nsec += nap.tv_nsec / 4;
	}
}

int catch_settle(const struct caught *caught, const struct program *program, int64_t deadline,
		 struct err *e)
{
	int pidfd cleanup(fd_close_at) = pidfd_open(caught->stop.pid, 0);
	int result = wait_stopped(caught->stop.pid, pidfd, deadline, e);

	if (result == 0 && !in_new_image(caught, program))
		result = err_set(e, -ENOEXEC,
				 "Process %d could not execute %s; what it was before goes on",
				 caught->stop.pid, program->real);
	if (result < 0 && pidfd >= 0)
		pidfd_send_signal(pidfd, SIGCONT, NULL, 0);
	return result;
}
