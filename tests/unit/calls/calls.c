/* SPDX-License-Identifier: MIT */
#include "calls/calls.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/types.h>

struct epoll_event;
struct itimerspec;
struct sockaddr;
struct stat;

static unsigned left;	   /* until one fails; 0: it did, or nobody asked for that */
static const char *wanted; /* only this one counts; NULL: each does */
static const char *failed; /* in the last turn */
static int why;

bool call_refuse(unsigned *nth, int error)
{
	bool on = *nth == 1 || failed;

	left = on ? (*nth)++ : 0;
	wanted = failed = NULL;
	why = error;
	return on;
}

void call_refuse_next(const char *name, int error)
{
	left = 1;
	wanted = name;
	failed = NULL;
	why = error;
}

const char *call_refused(void)
{
	left = 0;
	return failed;
}

static bool refused(const char *name)
{
	if (left == 0 || (wanted && strcmp(wanted, name) != 0) || --left > 0)
		return false;
	failed = name;
	errno = why;
	return true;
}

/* By the linker: __wrap_x is called for x, and what x was is __real_x. */
#define REFUSABLE(type, name, otherwise, parameters, arguments)                                    \
	type __real_##name parameters;                                                             \
	type __wrap_##name parameters;                                                             \
	type __wrap_##name parameters                                                              \
	{                                                                                          \
		return refused(#name) ? (otherwise) : __real_##name arguments;                     \
	}

REFUSABLE(int, accept4, -1, (int fd, struct sockaddr *address, void *len, int flags),
	  (fd, address, len, flags))
REFUSABLE(int, bind, -1, (int fd, const struct sockaddr *address, unsigned len), (fd, address, len))
REFUSABLE(int, chmod, -1, (const char *path, mode_t mode), (path, mode))
REFUSABLE(int, chown, -1, (const char *path, uid_t uid, gid_t gid), (path, uid, gid))
REFUSABLE(int, connect, -1, (int fd, const struct sockaddr *address, unsigned len),
	  (fd, address, len))
REFUSABLE(int, epoll_create1, -1, (int flags), (flags))
REFUSABLE(int, epoll_ctl, -1, (int epoll, int what, int fd, struct epoll_event *event),
	  (epoll, what, fd, event))
REFUSABLE(int, eventfd, -1, (unsigned count, int flags), (count, flags))
REFUSABLE(int, fchmod, -1, (int fd, mode_t mode), (fd, mode))
REFUSABLE(pid_t, fork, -1, (void), ())
REFUSABLE(int, fstat64, -1, (int fd, struct stat *st), (fd, st))
REFUSABLE(int, fsync, -1, (int fd), (fd))
REFUSABLE(int, ftruncate64, -1, (int fd, off_t len), (fd, len))
REFUSABLE(ssize_t, getrandom, -1, (void *bytes, size_t size, unsigned flags), (bytes, size, flags))
REFUSABLE(int, getsockname, -1, (int fd, struct sockaddr *address, void *len), (fd, address, len))
REFUSABLE(int, getsockopt, -1, (int fd, int level, int name, void *value, void *len),
	  (fd, level, name, value, len))
REFUSABLE(int, inotify_add_watch, -1, (int fd, const char *path, unsigned mask), (fd, path, mask))
REFUSABLE(int, inotify_init1, -1, (int flags), (flags))
REFUSABLE(int, listen, -1, (int fd, int backlog), (fd, backlog))
REFUSABLE(int, lstat64, -1, (const char *path, struct stat *st), (path, st))
REFUSABLE(int, mkdir, -1, (const char *path, mode_t mode), (path, mode))
REFUSABLE(void *, mmap64, MAP_FAILED,
	  (void *at, size_t len, int prot, int flags, int fd, off_t offset),
	  (at, len, prot, flags, fd, offset))
REFUSABLE(void *, mremap, MAP_FAILED, (void *at, size_t old, size_t len, int flags),
	  (at, old, len, flags))
REFUSABLE(int, pipe2, -1, (int fds[2], int flags), (fds, flags))
REFUSABLE(int, posix_fallocate64, why, (int fd, off_t offset, off_t len), (fd, offset, len))
REFUSABLE(ssize_t, pread64, -1, (int fd, void *data, size_t len, off_t offset),
	  (fd, data, len, offset))
REFUSABLE(ssize_t, pwrite64, -1, (int fd, const void *data, size_t len, off_t offset),
	  (fd, data, len, offset))
REFUSABLE(ssize_t, read, -1, (int fd, void *data, size_t len), (fd, data, len))
REFUSABLE(int, renameat, -1, (int from, const char *old, int to, const char *name),
	  (from, old, to, name))
REFUSABLE(int, setsockopt, -1, (int fd, int level, int name, const void *value, unsigned len),
	  (fd, level, name, value, len))
REFUSABLE(int, signalfd, -1, (int fd, const void *set, int flags), (fd, set, flags))
REFUSABLE(int, socket, -1, (int domain, int type, int protocol), (domain, type, protocol))
REFUSABLE(int, socketpair, -1, (int domain, int type, int protocol, int fds[2]),
	  (domain, type, protocol, fds))
REFUSABLE(int, stat64, -1, (const char *path, struct stat *st), (path, st))
REFUSABLE(int, timerfd_create, -1, (int clock, int flags), (clock, flags))
REFUSABLE(int, unlink, -1, (const char *path), (path))
REFUSABLE(ssize_t, write, -1, (int fd, const void *data, size_t len), (fd, data, len))

/* The third argument of these is there or not; passing one on that nobody gave does no harm. */
#define REFUSABLE_AT(name, parameters, arguments, last)                                            \
	int __real_##name parameters;                                                              \
	int __wrap_##name parameters;                                                              \
	int __wrap_##name parameters                                                               \
	{                                                                                          \
		unsigned long more;                                                                \
		va_list args;                                                                      \
                                                                                                   \
		if (refused(#name))                                                                \
			return -1;                                                                 \
		va_start(args, last);                                                              \
		more = va_arg(args, unsigned long);                                                \
		va_end(args);                                                                      \
		return __real_##name arguments;                                                    \
	}

REFUSABLE_AT(fcntl64, (int fd, int what, ...), (fd, what, more), what)
REFUSABLE_AT(ioctl, (int fd, unsigned long what, ...), (fd, what, more), what)
REFUSABLE_AT(open64, (const char *path, int flags, ...), (path, flags, more), flags)
REFUSABLE_AT(openat64, (int folder, const char *path, int flags, ...), (folder, path, flags, more),
	     flags)
