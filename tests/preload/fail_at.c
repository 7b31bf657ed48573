/* SPDX-License-Identifier: MIT */
/*
 * For LD_PRELOAD: a call of one function, or of two, fails in one of the program's processes, which
 * are named by how they were forked: "0" is the first, "0.2" its second child, "0.2.1" the first
 * one of that.
 *
 *   FAIL_AT="PROCESS FUNCTION N ERROR"   that process's N-th call of the function, "alloc" for
 *                                        all that allocate, fails with this errno ("N+": and all
 *                                        behind it); with a negative ERROR it is late by so many
 *                                        milliseconds; "begin" is the process's own begin, which
 *                                        can only be late
 *   FAIL_LOG=PATH                        a line "PROCESS FUNCTION" for each call so far; with
 *                                        FAIL_AT for each that has failed
 *
 * What the program itself executes does not get this library.
 */
#undef _FORTIFY_SOURCE /* whose inline functions have the same names */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/eventfd.h>
#include <sys/fanotify.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static char process[64] = "0", log_path[256];
static unsigned forks;
static bool over; /* the process ends, and what is called is no longer its own */

static struct wanted {
	char process[64], function[32];
	unsigned long n, count;
	char all[2];
	int error;
} one, other;

static void want(struct wanted *w, const char *at)
{
	if (at && sscanf(at, "%63s %31s %lu %d", w->process, w->function, &w->n, &w->error) != 4 &&
	    sscanf(at, "%63s %31s %lu%1[+] %d", w->process, w->function, &w->n, w->all,
		   &w->error) != 5)
		abort();
}

__attribute__((constructor)) static void start(void)
{
	const char *log = getenv("FAIL_LOG");

	want(&one, getenv("FAIL_AT"));
	want(&other, getenv("FAIL_TOO"));
	snprintf(log_path, sizeof(log_path), "%s", log ? log : "");
	unsetenv("LD_PRELOAD");
}

/* By system calls: the program may have closed everything, and what is called here may be the
 * function that fails. */
static void record(const char *function)
{
	char line[128];
	int fd = (int)syscall(SYS_openat, AT_FDCWD, log_path, O_WRONLY | O_CREAT | O_APPEND, 0600);
	int len = snprintf(line, sizeof(line), "%s %s\n", process, function);

	if (fd < 0 || syscall(SYS_write, fd, line, len) != len)
		abort();
	syscall(SYS_close, fd);
}

static bool is_wanted(struct wanted *w, const char *function)
{
	return w->n != 0 && strcmp(process, w->process) == 0 &&
	       strcmp(function, w->function) == 0 && ++w->count >= w->n &&
	       (w->count == w->n || w->all[0] != '\0');
}

/* True: it is to fail, with errno. It may have been late before. */
static bool fulfils(const struct wanted *w, const char *function)
{
	struct timespec nap = {-w->error / 1000, -w->error % 1000 * 1000000L};
	int before = errno;

	record(function);
	errno = w->error;
	if (w->error > 0)
		return true;
	syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, &nap, NULL);
	errno = before;
	return false;
}

static bool fails(const char *function)
{
	int before = errno;
	bool failed;

	if (log_path[0] == '\0' || over)
		return false;
	if (one.n == 0)
		record(function);
	errno = before;
	failed = is_wanted(&one, function) && fulfils(&one, function);
	return (is_wanted(&other, function) && fulfils(&other, function)) || failed;
}

/* The symbol: with 64-bit offsets some functions have another one. */
#define FUNCTION_OF(type, function, symbol, failure, parameters, arguments)                        \
	type function parameters                                                                   \
	{                                                                                          \
		type(*next) parameters;                                                            \
                                                                                                   \
		if (fails(#function))                                                              \
			return failure;                                                            \
		*(void **)&next = dlsym(RTLD_NEXT, symbol);                                        \
		return next arguments;                                                             \
	}
#define FUNCTION(type, function, parameters, arguments)                                            \
	FUNCTION_OF(type, function, #function, (type)-1, parameters, arguments)

FUNCTION(int, access, (const char *path, int mode), (path, mode))
FUNCTION(int, chdir, (const char *path), (path))
FUNCTION(int, dup2, (int fd, int number), (fd, number))
FUNCTION(int, eventfd, (unsigned count, int flags), (count, flags))
FUNCTION(int, eventfd_read, (int fd, eventfd_t *value), (fd, value))
FUNCTION(int, eventfd_write, (int fd, eventfd_t value), (fd, value))
FUNCTION(int, fanotify_init, (unsigned flags, unsigned event_flags), (flags, event_flags))
FUNCTION(int, fanotify_mark,
	 (int fanotify, unsigned flags, uint64_t mask, int folder, const char *path),
	 (fanotify, flags, mask, folder, path))
FUNCTION_OF(int, fstat, "fstat64", -1, (int fd, struct stat *st), (fd, st))
FUNCTION(int, kill, (pid_t pid, int signal), (pid, signal))
FUNCTION_OF(int, lstat, "lstat64", -1, (const char *path, struct stat *st), (path, st))
FUNCTION(int, mkdir, (const char *path, mode_t mode), (path, mode))
FUNCTION_OF(void *, mmap, "mmap64", MAP_FAILED,
	    (void *where, size_t len, int rights, int flags, int fd, off_t offset),
	    (where, len, rights, flags, fd, offset))
FUNCTION(int, pidfd_open, (pid_t pid, unsigned flags), (pid, flags))
FUNCTION(int, pidfd_send_signal, (int fd, int signal, siginfo_t *info, unsigned flags),
	 (fd, signal, info, flags))
FUNCTION(int, poll, (struct pollfd * polls, nfds_t count, int wait), (polls, count, wait))
FUNCTION_OF(ssize_t, pread, "pread64", -1, (int fd, void *to, size_t len, off_t offset),
	    (fd, to, len, offset))
FUNCTION(ssize_t, read, (int fd, void *to, size_t len), (fd, to, len))
FUNCTION(ssize_t, readlink, (const char *path, char *to, size_t len), (path, to, len))
FUNCTION(ssize_t, recv, (int fd, void *to, size_t len, int flags), (fd, to, len, flags))
FUNCTION(ssize_t, recvmsg, (int fd, struct msghdr *message, int flags), (fd, message, flags))
FUNCTION(ssize_t, send, (int fd, const void *data, size_t len, int flags), (fd, data, len, flags))
FUNCTION(ssize_t, sendmsg, (int fd, const struct msghdr *message, int flags), (fd, message, flags))
FUNCTION(int, setgroups, (size_t count, const gid_t *groups), (count, groups))
FUNCTION(int, setresgid, (gid_t real, gid_t effective, gid_t saved), (real, effective, saved))
FUNCTION(int, setresuid, (uid_t real, uid_t effective, uid_t saved), (real, effective, saved))
FUNCTION(pid_t, setsid, (void), ())
FUNCTION(int, sigtimedwait, (const sigset_t *set, siginfo_t *info, const struct timespec *most),
	 (set, info, most))
FUNCTION(int, socketpair, (int domain, int type, int protocol, int ends[2]),
	 (domain, type, protocol, ends))
FUNCTION(int, tgkill, (pid_t pid, pid_t thread, int signal), (pid, thread, signal))
FUNCTION(int, unlink, (const char *path), (path))
FUNCTION(pid_t, waitpid, (pid_t pid, int *status, int options), (pid, status, options))
FUNCTION(ssize_t, write, (int fd, const void *data, size_t len), (fd, data, len))

/* What _FORTIFY_SOURCE makes of read() where it knows the room. */
ssize_t __read_chk(int fd, void *to, size_t len, size_t room);

ssize_t __read_chk(int fd, void *to, size_t len, size_t room)
{
	if (len > room)
		abort();
	return read(fd, to, len);
}

/* With this libgcov begins to write what was counted, and does not survive that a call fails. */
char *getenv(const char *name)
{
	char *(*next)(const char *);

	over = over || strncmp(name, "GCOV_", 5) == 0;
	*(void **)&next = dlsym(RTLD_NEXT, "getenv");
	return next(name);
}

int open(const char *path, int flags, ...)
{
	va_list more;
	mode_t mode;

	va_start(more, flags);
	mode = va_arg(more, mode_t);
	va_end(more);
	return fails("open") ? -1 : (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

int openat(int folder, const char *path, int flags, ...)
{
	va_list more;
	mode_t mode;

	va_start(more, flags);
	mode = va_arg(more, mode_t);
	va_end(more);
	return fails("openat") ? -1 : (int)syscall(SYS_openat, folder, path, flags, mode);
}

/* What only peeks is not used with it, so that the result is the system call's. */
long ptrace(enum __ptrace_request request, ...)
{
	va_list more;
	long pid, address, data;

	va_start(more, request);
	pid = va_arg(more, pid_t);
	address = va_arg(more, long);
	data = va_arg(more, long);
	va_end(more);
	if (fails("ptrace"))
		return -1;
	if (request == PTRACE_PEEKUSER || request == PTRACE_PEEKDATA) {
		long value;

		errno = 0;
		return syscall(SYS_ptrace, request, pid, address, &value) < 0 ? -1 : value;
	}
	return syscall(SYS_ptrace, request, pid, address, data);
}

pid_t fork(void)
{
	pid_t (*next)(void), pid;
	size_t len = strlen(process);

	if (fails("fork"))
		return -1;
	*(void **)&next = dlsym(RTLD_NEXT, "fork");
	forks++;
	pid = next();
	if (pid == 0) {
		snprintf(process + len, sizeof(process) - len, ".%u", forks);
		forks = 0;
		one.count = other.count = 0;
		if (is_wanted(&one, "begin"))
			(void)fulfils(&one, "begin");
	}
	return pid;
}

/* The program's own allocations: the C library's NSS does not survive that one fails. */
static bool allocation_fails(void *caller)
{
	Dl_info program, info;
	union {
		unsigned long number;
		void *address;
	} entry = {getauxval(AT_ENTRY)};

	return dladdr(entry.address, &program) != 0 && dladdr(caller, &info) != 0 &&
	       info.dli_fbase == program.dli_fbase && fails("alloc");
}

#define ALLOCATION_FAILS() allocation_fails(__builtin_return_address(0))

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *old, size_t size);

void *malloc(size_t size)
{
	return ALLOCATION_FAILS() ? NULL : __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
	return ALLOCATION_FAILS() ? NULL : __libc_calloc(count, size);
}

void *realloc(void *old, size_t size)
{
	return ALLOCATION_FAILS() ? NULL : __libc_realloc(old, size);
}

void *reallocarray(void *old, size_t count, size_t size)
{
	size_t bytes;

	if (!__builtin_mul_overflow(count, size, &bytes))
		return ALLOCATION_FAILS() ? NULL : __libc_realloc(old, bytes);
	errno = ENOMEM;
	return NULL;
}

char *strndup(const char *text, size_t most)
{
	size_t len = strnlen(text, most);
	char *copy = ALLOCATION_FAILS() ? NULL : __libc_malloc(len + 1);

	if (copy) {
		memcpy(copy, text, len);
		copy[len] = '\0';
	}
	return copy;
}

char *strdup(const char *text)
{
	size_t size = strlen(text) + 1;
	char *copy = ALLOCATION_FAILS() ? NULL : __libc_malloc(size);

	return copy ? memcpy(copy, text, size) : NULL;
}
