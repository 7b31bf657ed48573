/* SPDX-License-Identifier: MIT */
/* execer HOW PROGRAM: starts the program in one of the ways that there are. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static char *words[] = {NULL, NULL};
static pthread_t first;

static void *in_thread(void *nothing)
{
	execv(words[0], words);
	return nothing;
}

static int wait_for(pid_t pid)
{
	int status;

	waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

static int by_vfork(void)
{
	pid_t pid = vfork();

	if (pid == 0) {
		execv(words[0], words);
		_exit(126);
	}
	return wait_for(pid);
}

static int by_spawn(void)
{
	pid_t pid;

	if (posix_spawn(&pid, words[0], NULL, NULL, words, environ) != 0)
		return 126;
	return wait_for(pid);
}

static int by_fd(void)
{
	int fd = open(words[0], O_PATH | O_CLOEXEC);

	fexecve(fd, words, environ);
	return 126;
}

static int by_thread(void)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, in_thread, NULL) == 0)
		pthread_join(thread, NULL);
	return 126;
}

static void *in_thread_alone(void *nothing)
{
	pthread_join(first, NULL);
	exit(by_spawn());
}

/* By a thread that outlives the first one. */
static _Noreturn void by_thread_alone(void)
{
	pthread_t thread;

	first = pthread_self();
	pthread_create(&thread, NULL, in_thread_alone, NULL);
	pthread_exit(NULL);
}

static bool is_traced(void)
{
	char status[4096] = "";
	int fd = open("/proc/thread-self/status", O_RDONLY | O_CLOEXEC);

	if (fd < 0 || read(fd, status, sizeof(status) - 1) < 0)
		abort();
	close(fd);
	return strstr(status, "TracerPid:\t0\n") == NULL;
}

static void *in_thread_let_go(void *begun)
{
	pthread_join(first, NULL);
	if (write(*(int *)begun, "", 1) != 1)
		abort();
	while (is_traced())
		;
	execl("/bin/true", "true", NULL);
	abort();
}

/* Beside a process whose first thread has ended, and whose other one, let go by its tracer,
 * executes what ends at once. */
static int by_other(void)
{
	int begun[2];
	pid_t other, pid;
	pthread_t thread;
	char byte;

	if (pipe(begun) < 0)
		return 126;
	other = fork();
	if (other == 0) {
		first = pthread_self();
		pthread_create(&thread, NULL, in_thread_let_go, &begun[1]);
		pthread_exit(NULL);
	}
	if (read(begun[0], &byte, 1) != 1)
		return 126;
	pid = fork();
	if (pid == 0) {
		execv(words[0], words);
		_exit(126);
	}
	return wait_for(other) == 0 ? wait_for(pid) : 126;
}

/* Executes itself so many times, then the program. */
static int again(const char *self, char *times)
{
	char *more[] = {strdup(self), strdup("again"), words[0], times, NULL};
	int left = atoi(times);

	if (left == 0)
		execv(words[0], words);
	snprintf(times, strlen(times) + 1, "%d", left - 1);
	execv("/proc/self/exe", more);
	return 126;
}

int main(int argc, char **argv)
{
	int status;

	if (argc < 3)
		return 2;
	words[0] = argv[2];
	if (strcmp(argv[1], "vfork") == 0)
		return by_vfork();
	if (strcmp(argv[1], "spawn") == 0)
		return by_spawn();
	if (strcmp(argv[1], "fexecve") == 0)
		return by_fd();
	if (strcmp(argv[1], "thread") == 0)
		return by_thread();
	if (strcmp(argv[1], "thread-alone") == 0)
		by_thread_alone();
	if (strcmp(argv[1], "other") == 0)
		return by_other();
	if (strcmp(argv[1], "again") == 0)
		return again(argv[0], argv[3]);
	status = execv(words[0], words);
	printf("execer: %s, and still %d\n", strerror(errno), status);
	return 42;
}
