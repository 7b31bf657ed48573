/* SPDX-License-Identifier: MIT */
/*
 * measure RESULT COMMAND…: runs the command and writes "SECONDS KILOBYTES STATUS" to the file
 * RESULT: how long it took, its peak resident memory, its exit status (128 and more: a signal).
 *
 * Small and apart from the benchmarks, because a process inherits the peak of whoever started it
 * (fs/exec.c, exec_mmap): below an interpreter's own size, nothing could be told.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
	struct rusage usage;
	double start = now(), seconds;
	int status;
	pid_t pid;
	FILE *result;

	if (argc < 3)
		return 2;
	pid = fork();
	if (pid == 0) {
		execvp(argv[2], argv + 2);
		_exit(127);
	}
	if (pid < 0 || wait4(pid, &status, 0, &usage) != pid)
		return 1;
	seconds = now() - start;
	result = fopen(argv[1], "we");
	if (!result)
		return 1;
	fprintf(result, "%.6f %ld %d\n", seconds, usage.ru_maxrss,
		WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
	return fclose(result) == 0 ? 0 : 1;
}
