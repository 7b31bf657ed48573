/* SPDX-License-Identifier: MIT */
#include "stopexec/guardian.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "stopexec/breakpoint.h"
#include "stopexec/catch_maps.h"
#include "stopexec/point.h"
#include "stopexec/proc.h"
#include "stopexec/record.h"
#include "stopexec/trace.h"

enum order { ORDER_HOLD, ORDER_TRACED, ORDER_TRACES, ORDER_RELEASE, ORDER_LEAVE, ORDER_DRAIN };

enum { TRIES = 1000 }; /* of what fails: an order stays there, and a lack of memory may pass */

enum { SOCKETS = 2, MANY_FDS = 2 }; /* MANY_FDS: with an order go a pidfd, or two maps */

struct message {
	enum order order;
	struct stop stop;
	int64_t deadline; /* now_ms() */
	bool recorded;	  /* of ORDER_LEAVE: with that deadline */
};

struct held {
	struct message is;
	int pidfd;
	bool traces;   /* stopexec traces it, and may leave a breakpoint in it */
	bool left;     /* stays stopped when stopexec ends */
	bool recorded; /* and whoever makes it go on removes the record */
};

/* What a guardian knows. */
struct watch {
	int socket;  /* -1 once stopexec has ended */
	int other;   /* readable when the other guardian has ended; -1: seen */
	pid_t owner; /* stopexec: its own tracing does not count */
	int owner_pidfd;
	const char *records;
	int folder;   /* the same one, once something is recorded there; -1 */
	int failures; /* since the last order */
	struct catch_maps maps;
	struct held *held;
	size_t count, room;
	struct pollfd *polls; /* the sockets, then one for each */
	size_t polls_room;
};

static bool in_other_hands(const struct watch *w, const struct held *held)
{
	struct proc_status status;

	return held->is.stop.tracer != TRACER_UNKNOWN &&
	       proc_status(held->is.stop.pid, &status) == 0 && status.tracer != 0 &&
	       status.tracer != w->owner && status.tracer != held->is.stop.tracer;
}

/* A user's goes when the user logs out, and with it the records of what is stopped all the same. */
static bool is_folder_there(const struct watch *w)
{
	struct stat left, now;

	return fstat(w->folder, &left) == 0 && stat(w->records, &now) == 0 &&
	       left.st_dev == now.st_dev && left.st_ino == now.st_ino;
}

/* Since it was left, somebody has made it go on. */
static bool has_gone_on(const struct watch *w, const struct held *held)
{
	return held->recorded &&
	       !record_is_there(w->records, held->is.stop.pid, held->is.deadline) &&
	       is_folder_there(w);
}

static void drop(struct watch *w, size_t n)
{
	fd_close_at(&w->held[n].pidfd);
	w->held[n] = w->held[--w->count];
}

static void forget(struct watch *w, size_t n)
{
	if (w->records != NULL)
		record_remove(w->records, w->held[n].is.stop.pid, w->held[n].is.deadline);
	drop(w, n);
}

/* The other guardian may be about to do the same; a stopexec that still traces it does it itself.
 */
static void take_breakpoint(pid_t pid)
{
	struct trace t = {.pid = pid};

	if (trace_seize(&t, NULL) == 0)
		point_abandon(&t);
}

/* The pidfd names the process for sure, where its number may have become another's; but where no
 * descriptor was left for it, rather that than a process that stays stopped. */
static void send_continue(const struct held *held)
{
	if (held->pidfd >= 0)
		pidfd_send_signal(held->pidfd, SIGCONT, NULL, 0);
	else
		kill(held->is.stop.pid, SIGCONT);
}

static void go_on(struct watch *w, size_t n)
{
	bool done = has_gone_on(w, &w->held[n]);

	if (!done && w->held[n].traces)
		take_breakpoint(w->held[n].is.stop.pid);
	if (!done && !in_other_hands(w, &w->held[n]))
		send_continue(&w->held[n]);
	forget(w, n);
}

static bool is_of(const struct held *held, const struct stop *stop)
{
	return held->is.stop.pid == stop->pid && held->is.stop.number == stop->number;
}

/* Perhaps anew. */
static int hold(struct watch *w, const struct message *message, int pidfd)
{
	for (size_t n = w->count; n-- > 0;)
		if (is_of(&w->held[n], &message->stop))
			drop(w, n);
	if (array_room(&w->held, &w->room, w->count, sizeof(*w->held)) < 0)
		return -ENOMEM;
	w->held[w->count++] = (struct held){.is = *message, .pidfd = pidfd};
	return 0;
}

static void obey_for(struct watch *w, size_t n, const struct message *message)
{
	struct held *held = &w->held[n];

	if (message->order == ORDER_TRACED)
		held->is.stop.tracer = message->stop.tracer;
	if (message->order == ORDER_TRACES) {
		held->traces = true;
		held->is.deadline = INT64_MAX;
	}
	if (message->order == ORDER_LEAVE) {
		held->left = true;
		if (message->recorded && w->folder < 0)
			w->folder = open(w->records, O_PATH | O_CLOEXEC);
		/* Behind that: the folder may have been exchanged since it was written. */
		held->recorded = message->recorded &&
				 record_is_there(w->records, held->is.stop.pid, held->is.deadline);
	}
	if (message->order == ORDER_RELEASE)
		drop(w, n);
}

/* Takes the descriptors. */
static int obey(struct watch *w, const struct message *message, const int fds[MANY_FDS])
{
	if (message->order == ORDER_HOLD)
		return hold(w, message, fds[0]);
	if (message->order == ORDER_DRAIN) {
		w->maps = (struct catch_maps){fds[0], fds[1]};
		return 0;
	}
	for (size_t n = w->count; n-- > 0;)
		if (is_of(&w->held[n], &message->stop))
			obey_for(w, n, message);
	return 0;
}

/* 0: what has failed so is worth another try. */
static int try_again(struct watch *w, int code)
{
	static const struct timespec nap = {.tv_nsec = 1000000};

	if (++w->failures >= TRIES)
		return code;
	nanosleep(&nap, NULL);
	return 0;
}

/* 0; -EPIPE: stopexec has ended; -errno: it can't be taken, or not obeyed. */
static int take_order(struct watch *w)
{
	struct message message;
	union {
		char bytes[CMSG_SPACE(MANY_FDS * sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec io = {&message, sizeof(message)};
	struct msghdr header = {
		.msg_iov = &io,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes),
	};
	const struct cmsghdr *part;
	int fds[MANY_FDS] = {-1, -1};
	ssize_t len = recvmsg(w->socket, &header, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);

	if (len < 0 && errno != ECONNRESET)
		return try_again(w, -errno);
	w->failures = 0;
	if (len != sizeof(message))
		return -EPIPE;
	part = CMSG_FIRSTHDR(&header);
	if (part != NULL && part->cmsg_type == SCM_RIGHTS)
		memcpy(fds, CMSG_DATA(part), part->cmsg_len - CMSG_LEN(0));
	return obey(w, &message, fds);
}

/*
 * stopexec's files are closed before it lets go of what it traces (do_exit() in kernel/exit.c), and
 * a signal sent before that could be overtaken by the stop that it held: so wait for its very end.
 */
static void owner_ended(struct watch *w)
{
	struct pollfd end = {.fd = w->owner_pidfd, .events = POLLIN};

	while (poll(&end, 1, -1) < 0 && try_again(w, -errno) == 0)
		continue;
	close(w->socket);
	w->socket = -1;
	if (w->maps.ring >= 0)
		catch_maps_drain(&w->maps);
	for (size_t n = w->count; n-- > 0;)
		if (!w->held[n].left)
			go_on(w, n);
}

/* Somebody kills the guardians: what was left to them goes on before both are dead. As long as
 * stopexec lives, it sees to that (guardian_lost()). Where the other has ended because it holds
 * nothing any more, nor does this one. */
static void let_go_if_alone(struct watch *w)
{
	while (w->socket < 0 && w->other < 0 && w->count > 0)
		go_on(w, w->count - 1);
}

static int fill_polls(struct watch *w, int *wait)
{
	int64_t first = INT64_MAX;
	struct pollfd *polls = w->polls;

	if (w->polls_room < w->count + SOCKETS) {
		polls = reallocarray(w->polls, (w->count + SOCKETS) * 2, sizeof(*polls));
		if (polls == NULL)
			return -ENOMEM;
		w->polls = polls;
		w->polls_room = (w->count + SOCKETS) * 2;
	}
	polls[0] = (struct pollfd){.fd = w->socket, .events = POLLIN};
	polls[1] = (struct pollfd){.fd = w->other, .events = POLLIN};
	for (size_t n = 0; n < w->count; n++) {
		polls[n + SOCKETS] = (struct pollfd){.fd = w->held[n].pidfd, .events = POLLIN};
		if (w->held[n].is.deadline < first)
			first = w->held[n].is.deadline;
	}
	first -= now_ms();
	*wait = w->count == 0 || first > INT_MAX ? -1 : first < 0 ? 0 : (int)first;
	return 0;
}

static int wait_for_news(struct watch *w)
{
	int wait, result = fill_polls(w, &wait);

	if (result < 0 || poll(w->polls, w->count + SOCKETS, wait) >= 0)
		return result;
	return errno == EINVAL ? -EINVAL /* more than RLIMIT_NOFILE */ : try_again(w, -errno);
}

/* Tells stopexec whether it watches. */
static bool tell(int socket, int result)
{
	return send(socket, &result, sizeof(result), MSG_NOSIGNAL) >= 0 && result == 0;
}

/* Until all has been told that can be: a guardian that can't watch says so, lets go, and ends. */
static void serve(struct watch *w)
{
	int result = 0;

	while (w->socket >= 0 || w->count > 0) {
		result = wait_for_news(w);
		if (result < 0)
			break;
		for (size_t n = w->count; n-- > 0;) {
			if (w->polls[n + SOCKETS].revents != 0)
				forget(w, n);
			else if (w->held[n].is.deadline <= now_ms())
				go_on(w, n);
		}
		result = w->socket >= 0 && w->polls[0].revents != 0 ? take_order(w) : 0;
		if (result == -EPIPE)
			owner_ended(w);
		else if (result < 0)
			break;
		if (w->other >= 0 && w->polls[1].revents != 0) {
			close(w->other);
			w->other = -1;
		}
		let_go_if_alone(w);
	}
	if (w->socket >= 0)
		(void)tell(w->socket, result);
	while (w->count > 0)
		go_on(w, w->count - 1);
}

static int by_number(const void *one, const void *other)
{
	int a = *(const int *)one, b = *(const int *)other;

	return (a > b) - (a < b);
}

/* Keeps these; the standard streams lead nowhere, so that nobody waits for their end. */
static void close_others(int *keep, size_t count)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	unsigned next = STDERR_FILENO + 1;

	qsort(keep, count, sizeof(*keep), by_number);
	for (int fd = 0; fd < (int)next; fd++)
		if (dup2(null, fd) < 0) /* main() sees to it that none of ours is there */
			close(fd);
	for (size_t i = 0; i < count; i++) {
		if ((unsigned)keep[i] > next) /* an empty range is an error */
			close_range(next, (unsigned)keep[i] - 1, 0);
		next = (unsigned)keep[i] + 1;
	}
	close_range(next, UINT_MAX, 0);
}

/* Each held process takes a descriptor. More than root gives itself, or the user has, it can't
 * have. */
static void raise_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &limit);
	}
}

/* What can fail, before anybody relies on it. */
static int prepare(struct watch *w)
{
	int keep[] = {w->socket, w->other, w->owner_pidfd};
	int wait;
	sigset_t all;

	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	/* Else the caller of a set-user-ID stopexec could end it. */
	if (geteuid() == 0 && setresuid(0, 0, 0) < 0)
		return -errno;
	setsid();
	prctl(PR_SET_NAME, "stopexec-guard");
	if (chdir("/") < 0)
		return -errno;
	raise_limit();
	close_others(keep, COUNT(keep));
	if (array_room(&w->held, &w->room, 0, sizeof(*w->held)) < 0)
		return -ENOMEM;
	return fill_polls(w, &wait);
}

static _Noreturn void guard(struct watch *w)
{
	if (!tell(w->socket, prepare(w)))
		_exit(EXIT_FAILURE);
	serve(w);
	_exit(EXIT_SUCCESS);
}

/* Its parent ends at once, so that nobody has to wait for it and it counts as nobody's child. */
static _Noreturn void start_grandchild(struct watch *w)
{
	pid_t pid = fork();

	if (pid == 0)
		guard(w);
	if (pid < 0)
		(void)tell(w->socket, -errno);
	_exit(EXIT_SUCCESS);
}

static int start_one(const char *records, int other, int *socket, struct err *e)
{
	int owner cleanup(fd_close_at) = pidfd_open(getpid(), 0);
	struct watch w = {.folder = -1, .other = other, .owner = getpid(), .owner_pidfd = owner};
	int ends[2], result = -EPIPE;
	pid_t pid;

	w.records = records;
	w.maps = (struct catch_maps){-1, -1};

	if (owner < 0)
		return err_sys(e, -errno, "No pidfd could be had (Linux 5.3 is needed)");
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
		return err_sys(e, -errno, "No pipe to a guardian could be made");
	pid = fork();
	if (pid == 0) {
		w.socket = ends[1];
		start_grandchild(&w);
	}
	if (pid < 0)
		result = -errno;
	close(ends[1]);
	if (pid > 0) {
		waitpid(pid, NULL, 0);
		if (recv(ends[0], &result, sizeof(result), 0) < 0)
			result = -errno;
	}
	if (result < 0) {
		close(ends[0]);
		return err_sys(e, result, "No guardian could be started");
	}
	*socket = ends[0];
	return 0;
}

int guardian_start(struct guardian *g, const char *records, struct err *e)
{
	struct guardian got = {{-1, -1}};
	int others[GUARDIANS], result = breakpoint_share();

	if (result < 0)
		return err_sys(e, result, "No memory could be shared with the guardians");
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, others) < 0)
		return err_sys(e, -errno, "No pipe between the guardians could be made");
	for (size_t i = 0; i < GUARDIANS && result == 0; i++)
		result = start_one(records, others[i], &got.sockets[i], e);
	for (size_t i = 0; i < GUARDIANS; i++)
		close(others[i]);
	if (result < 0) {
		guardian_close(&got);
		return result;
	}
	*g = got;
	return 0;
}

static int send_one(int socket, const struct message *message, const int *fds, size_t count)
{
	union {
		char bytes[CMSG_SPACE(MANY_FDS * sizeof(int))];
		struct cmsghdr align;
	} control = {.bytes = {0}};
	struct message copy = *message;
	struct iovec io = {&copy, sizeof(copy)};
	struct msghdr header = {.msg_iov = &io, .msg_iovlen = 1};
	struct cmsghdr *part;

	if (count > 0) {
		header.msg_control = control.bytes;
		header.msg_controllen = CMSG_SPACE(count * sizeof(int));
		part = CMSG_FIRSTHDR(&header);
		part->cmsg_level = SOL_SOCKET;
		part->cmsg_type = SCM_RIGHTS;
		part->cmsg_len = CMSG_LEN(count * sizeof(int));
		memcpy(CMSG_DATA(part), fds, count * sizeof(int));
	}
	return sendmsg(socket, &header, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

/* 0 where each of them has it. */
static int send_all(const struct guardian *g, const struct message *message, const int *fds,
		    size_t count)
{
	int result = 0;

	for (size_t i = 0; i < GUARDIANS; i++) {
		int one = send_one(g->sockets[i], message, fds, count);

		if (one < 0)
			result = one;
	}
	return result;
}

int guardian_hold_anew(const struct guardian *g, const struct stop *stop, int64_t deadline)
{
	int pidfd cleanup(fd_close_at) = pidfd_open(stop->pid, 0);
	struct message message = {.order = ORDER_HOLD, .stop = *stop, .deadline = deadline};

	return pidfd < 0 ? -errno : send_all(g, &message, &pidfd, 1);
}

int guardian_hold(const struct guardian *g, const struct stop *stop, int64_t deadline)
{
	int result = guardian_hold_anew(g, stop, deadline);

	if (result < 0)
		guardian_release(g, stop);
	return result;
}

void guardian_traced(const struct guardian *g, const struct stop *stop)
{
	struct message message = {.order = ORDER_TRACED, .stop = *stop};

	(void)send_all(g, &message, NULL, 0);
}

void guardian_traces(const struct guardian *g, const struct stop *stop)
{
	struct message message = {.order = ORDER_TRACES, .stop = *stop};

	(void)send_all(g, &message, NULL, 0);
}

int guardian_drains(const struct guardian *g, const struct catch_maps *maps)
{
	struct message message = {.order = ORDER_DRAIN};
	int fds[MANY_FDS] = {maps->control, maps->ring};

	return send_all(g, &message, fds, MANY_FDS);
}

void guardian_release(const struct guardian *g, const struct stop *stop)
{
	struct message message = {.order = ORDER_RELEASE, .stop = *stop};

	(void)send_all(g, &message, NULL, 0);
}

int guardian_leave(const struct guardian *g, const struct stop *stop, bool recorded)
{
	struct message message = {.order = ORDER_LEAVE, .stop = *stop, .recorded = recorded};

	return send_all(g, &message, NULL, 0);
}

/* What a guardian says once it watches is why it ends. */
static int state_of(int socket)
{
	ssize_t len;
	int why;

	do
		len = recv(socket, &why, sizeof(why), MSG_PEEK | MSG_DONTWAIT);
	while (len < 0 && errno == ECONNRESET); /* said once: it has left orders unread */
	if (len < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	return len == sizeof(why) ? why : -EPIPE;
}

int guardian_lost(const struct guardian *g)
{
	int result = 0;

	for (size_t i = 0; i < GUARDIANS && result == 0; i++)
		result = state_of(g->sockets[i]);
	return result;
}

void guardian_close(struct guardian *g)
{
	for (size_t i = 0; i < GUARDIANS; i++) {
		if (g->sockets[i] >= 0)
			close(g->sockets[i]);
		g->sockets[i] = -1;
	}
}
