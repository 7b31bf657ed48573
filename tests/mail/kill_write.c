/* SPDX-License-Identifier: MIT */
/*
 * For LD_PRELOAD: bounce-mbox dies at one of its steps. Each write to the journal, each sync of it
 * and each send to the server is a step.
 *
 *   KILL_AT=N         SIGKILL at step N; 0 or unset: never
 *   KILL_WHEN=before  instead of the step (else right after it); half: a write is cut in two
 *   COUNT_FILE=PATH   how many steps there were, in decimal
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static atomic_ulong count;

static int is_file(int fd)
{
	struct stat st;

	return fd > 2 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
}

static int due(void)
{
	const char *at = getenv("KILL_AT"), *path = getenv("COUNT_FILE");
	unsigned long n = ++count;
	FILE *file = path ? fopen(path, "w") : NULL;

	if (file) {
		fprintf(file, "%lu\n", n);
		fclose(file);
	}
	return at && strtoul(at, NULL, 10) == n;
}

static int when(const char *word)
{
	const char *set = getenv("KILL_WHEN");

	return set && strcmp(set, word) == 0;
}

static void *real(const char *name)
{
	return dlsym(RTLD_NEXT, name);
}

ssize_t write(int fd, const void *data, size_t len)
{
	ssize_t (*next)(int, const void *, size_t);
	int last = is_file(fd) && due();
	ssize_t n;

	*(void **)&next = real("write");
	if (last && when("before"))
		raise(SIGKILL);
	n = next(fd, data, last && when("half") ? len / 2 : len);
	if (last)
		raise(SIGKILL);
	return n;
}

int fdatasync(int fd)
{
	int (*next)(int);
	int last = due();
	int r;

	*(void **)&next = real("fdatasync");
	if (last && when("before"))
		raise(SIGKILL);
	r = next(fd);
	if (last)
		raise(SIGKILL);
	return r;
}

ssize_t send(int fd, const void *data, size_t len, int flags)
{
	ssize_t (*next)(int, const void *, size_t, int);
	int last = due();
	ssize_t n;

	*(void **)&next = real("send");
	if (last && when("before"))
		raise(SIGKILL);
	n = next(fd, data, last && when("half") ? len / 2 : len, flags);
	if (last)
		raise(SIGKILL);
	return n;
}
