/* SPDX-License-Identifier: MIT */
#include "stopexec/catch.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "base/file.h"
#include "base/mem.h"
#include "stopexec/catch_loop.h"
#include "stopexec/catch_program.h"
#include "stopexec/guardian.h"
#include "stopexec/proc.h"
#include "stopexec/program.h"
#include "stopexec/trace.h"

enum {
	LOOK_AGAIN = 1000,	/* ms between looks whether the files are the same as before */
	WORDS_MOST = 4 << 20,	/* bytes of a command line that are looked at */
	WAITING_MOST = 4 << 20, /* bytes of the socket: 10,000 starts, while one is handled */
};

static void find_spared(struct catch_loop *l)
{
	struct proc_status status;
	pid_t pid = getpid();

	while (pid > 0 && l->nspared < CATCH_ANCESTORS) {
		l->spared[l->nspared++] = pid;
		if (proc_status(pid, &status) < 0)
			break;
		pid = status.parent;
	}
}

bool catch_spares(const struct catch_loop *l, pid_t pid)
{
	if (pid <= 1) /* also: of a PID namespace that we can't see */
		return true;
	for (size_t i = 0; i < l->nspared; i++)
		if (l->spared[i] == pid)
			return true;
	return false;
}

bool catch_hold(struct catch_loop *l, struct caught *caught)
{
	caught->stop.number = ++l->last;
	caught->deadline = now_ms() + l->rule->milliseconds;
	return guardian_hold(l->guardian, &caught->stop, caught->deadline) == 0;
}

void catch_tell(struct catch_loop *l, const struct caught *caught)
{
	if (send(l->socket, caught, sizeof(*caught), MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
		return;
	guardian_release(l->guardian, &caught->stop);
	catch_let_go(l, caught);
}

void catch_let_go(struct catch_loop *l, const struct caught *caught)
{
	l->way->let_go(l, caught->stop.pid);
	if (!caught->loader) /* which was not counted */
		l->way->more(l, 1);
}

static void obey(struct catch_loop *l)
{
	struct catch_order order;
	ssize_t len = recv(l->socket, &order, sizeof(order), MSG_DONTWAIT);

	if (len != sizeof(order)) {
		int why = len < 0 ? errno : EXIT_SUCCESS; /* stopexec has ended, or wants no more */

		l->way->end(l);
		_exit(why);
	}
	if (order.kind == CATCH_MORE) {
		l->way->more(l, order.more);
		return;
	}
	l->way->pass(l, order.helper);
	if (eventfd_write(l->obeyed, 1) < 0)
		_exit(errno);
}

static _Noreturn void catch_all(struct catch_loop *l, int fd, pid_t parent)
{
	struct pollfd polls[2] = {{.fd = fd, .events = POLLIN},
				  {.fd = l->socket, .events = POLLIN}};
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	struct sched_param urgent = {.sched_priority = 2};
	sigset_t all;

	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	/* Else the caller of a set-user-ID stopexec could end it; before the line below, for
	 * changed ids clear that. */
	if (setresuid(0, 0, 0) < 0)
		_exit(errno);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	prctl(PR_SET_NAME, "stopexec-catch");
	if (getppid() != parent)
		_exit(EXIT_SUCCESS);
	for (int stream = 0; stream <= 2; stream++)
		dup2(null, stream);
	/* Others wait for its answers, on a busy machine too, and for no disk. Where that is not
	 * permitted, it answers all the same. */
	(void)mlockall(MCL_CURRENT);
	(void)sched_setscheduler(0, SCHED_RR | SCHED_RESET_ON_FORK, &urgent);
	for (;;) {
		int ready = poll(polls, COUNT(polls), LOOK_AGAIN);

		if (ready < 0 && errno != EINTR)
			_exit(errno); /* which lets all go that it can't answer */
		if (ready == 0)
			l->way->look(l);
		if (polls[0].revents != 0)
			l->way->serve(l);
		if (polls[1].revents != 0)
			obey(l);
	}
}

int catch_start(const struct catch_rule *rule, const struct guardian *g, long count,
		struct catcher *catcher, struct err *e)
{
	struct catch_loop l = {.rule = rule, .guardian = g, .obeyed = eventfd(0, EFD_CLOEXEC)};
	int obeyed cleanup(fd_close_at) = l.obeyed;
	pid_t pid, self = getpid();
	int ends[2], fd, result, waiting = WAITING_MOST;

	if (obeyed < 0)
		return err_sys(e, -errno, "No eventfd can be had");
	l.way = rule->by == CATCH_FANOTIFY ? &catch_fanotify : &catch_bpf;
	find_spared(&l);
	result = l.way->open(&l, count, &fd, e);
	if (result < 0)
		return result;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0) {
		result = err_sys(e, -errno, "No pipe to the catcher could be made");
		l.way->close(&l);
		return result;
	}
	(void)setsockopt(ends[1], SOL_SOCKET, SO_SNDBUFFORCE, &waiting, sizeof(waiting));
	pid = fork();
	if (pid == 0) {
		close(ends[0]);
		l.socket = ends[1];
		catch_all(&l, fd, self);
	}
	result = pid < 0 ? err_sys(e, -errno, "The catcher could not be started") : 0;
	l.way->close(&l); /* as long as anybody has it open, it catches */
	close(ends[1]);
	if (result < 0) {
		close(ends[0]);
		return result;
	}
	*catcher = (struct catcher){.pid = pid, .socket = ends[0], .obeyed = fd_take(&obeyed)};
	(void)catch_pass(catcher, 0); /* so that it is ready; its end is told by catch_take() */
	return 0;
}

int catch_more(const struct catcher *catcher, long count)
{
	struct catch_order order = {.kind = CATCH_MORE, .more = count};

	return send(catcher->socket, &order, sizeof(order), MSG_NOSIGNAL) < 0 ? -errno : 0;
}

int catch_pass(const struct catcher *catcher, pid_t helper)
{
	struct catch_order order = {.kind = CATCH_PASS, .helper = helper};
	struct pollfd polls[2] = {{.fd = catcher->obeyed, .events = POLLIN},
				  {.fd = catcher->socket}};
	eventfd_t count;

	if (send(catcher->socket, &order, sizeof(order), MSG_NOSIGNAL) < 0)
		return -errno;
	while (poll(polls, COUNT(polls), -1) < 0 && errno == EINTR)
		continue;
	if (polls[0].revents == 0) /* the catcher has ended */
		return -EPIPE;
	return eventfd_read(catcher->obeyed, &count) < 0 ? -errno : 0;
}

int catch_take(const struct catcher *catcher, struct caught *caught)
{
	struct caught got;
	ssize_t len = recv(catcher->socket, &got, sizeof(got), MSG_DONTWAIT);

	if (len < 0)
		return errno == EINTR ? -EAGAIN : errno == ECONNRESET ? -EPIPE : -errno;
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

int catch_stop(struct catcher *catcher)
{
	struct caught caught;
	int status = 0;

	if (catcher->pid <= 0)
		return 0;
	shutdown(catcher->socket, SHUT_WR);
	kill(catcher->pid, SIGCONT); /* somebody may have stopped it: it could not end */
	waitpid(catcher->pid, &status, 0);
	/* Told of since we took the last one; the guardians may be gone. */
	while (catch_take(catcher, &caught) == 0)
		kill(caught.stop.pid, SIGCONT);
	close(catcher->socket);
	close(catcher->obeyed);
	catcher->pid = 0;
	return WIFSIGNALED(status) ? -EPIPE : -WEXITSTATUS(status);
}

/* The file may have been replaced since it was found: then its path leads to the one executed. */
static bool is_image(const struct program *program, const struct stat *st)
{
	int fd cleanup(fd_close_at) = -1;
	struct stat now;

	if (st->st_dev == program->image_device && st->st_ino == program->image_inode)
		return true;
	fd = program->script ? -ENOENT : program_open(program->real);
	return fd >= 0 && fstat(fd, &now) == 0 && st->st_dev == now.st_dev &&
	       st->st_ino == now.st_ino;
}

/* The file alone does not tell: a container's overlay shows the image's file as another one.
 * Without address randomisation AT_RANDOM alone does not, either. */
static bool in_new_image(const struct caught *caught, const struct program *program)
{
	int fd cleanup(fd_close_at) = proc_open_program(caught->stop.pid);
	uint64_t random;
	struct stat st;

	if (caught->has_random && proc_random(caught->stop.pid, &random) == 0 &&
	    random != caught->random)
		return true;
	return !caught->same_file && fd >= 0 && fstat(fd, &st) == 0 && is_image(program, &st);
}

static bool loader_runs_it(const struct caught *caught, const struct catch_rule *rule)
{
	char path[64];
	char *words cleanup(free_at) = NULL;
	size_t len;

	snprintf(path, sizeof(path), "/proc/%d/cmdline", caught->stop.pid);
	if (file_read(path, WORDS_MOST, &words, &len, NULL) < 0)
		return false;
	for (size_t i = 0; i < rule->nnames; i++)
		if (catch_loader_runs(words, len, rule->names[i]))
			return true;
	return false;
}

bool catch_is_other(const struct catch_loop *l, const struct caught *caught)
{
	struct proc_status status;

	return caught->loader && !loader_runs_it(caught, l->rule) &&
	       proc_status(caught->stop.pid, &status) == 0 && status.tracer == 0;
}

static int judge(const struct caught *caught, const struct catch_rule *rule, struct err *e)
{
	if (caught->loader)
		return loader_runs_it(caught, rule) ? 0 : -EAGAIN;
	if (rule->by == CATCH_BPF || in_new_image(caught, &rule->programs[caught->program]))
		return 0;
	return err_set(e, -ENOEXEC, "Process %d could not execute %s; what it was before goes on",
		       caught->stop.pid, rule->programs[caught->program].real);
}

/* Whoever has begun to trace it only since it was caught is taken for one who did before: it goes
 * on at the end of its time all the same. */
static void look_for_tracer(struct caught *caught, const struct guardian *g)
{
	struct proc_status status;

	if (caught->stop.tracer != TRACER_UNKNOWN || proc_status(caught->stop.pid, &status) < 0)
		return;
	caught->stop.tracer = status.tracer;
	guardian_traced(g, &caught->stop);
}

int catch_settle(struct caught *caught, const struct catch_rule *rule, const struct guardian *g,
		 int64_t deadline, const sigset_t *end, struct err *e)
{
	pid_t pid = caught->stop.pid;
	int pidfd cleanup(fd_close_at) = pidfd_open(pid, 0);
	int result = pidfd < 0 ? -errno : trace_wait_stopped(pid, pidfd, deadline, end);

	if (result == 0)
		result = judge(caught, rule, e);
	else if (result == -ESRCH)
		err_set(e, result, "Process %d ended before it was stopped", pid);
	else if (result == -ETIME)
		err_set(e, result, "Process %d was not stopped in time", pid);
	else if (result == -EINTR)
		err_set(e, result, "stopexec was ended before process %d was stopped", pid);
	else
		err_sys(e, result, "Process %d can't be looked at", pid);
	if (result == 0)
		look_for_tracer(caught, g);
	else if (pidfd >= 0)
		pidfd_send_signal(pidfd, SIGCONT, NULL, 0);
	else if (result != -ESRCH)
		kill(pid, SIGCONT);
	return result;
}
