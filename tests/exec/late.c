/* SPDX-License-Identifier: MIT */
/* Comes to its stop point, the function late(), only at SIGUSR1: says "waits" before and "ends"
 * behind, and ends with 7. With an argument, a child of its comes there first, and has to end with
 * that. */
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

__attribute__((noinline)) int late(int status)
{
	return status;
}

static int by_child(void)
{
	int status = 0;
	pid_t pid = fork();

	if (pid == 0)
		_exit(late(7));
	return waitpid(pid, &status, 0) == pid && WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

int main(int argc, char **argv)
{
	sigset_t go;
	int signal, status;

	(void)argv;
	sigemptyset(&go);
	sigaddset(&go, SIGUSR1);
	sigprocmask(SIG_BLOCK, &go, NULL);
	puts("waits");
	fflush(stdout);
	sigwait(&go, &signal);
	status = late(argc > 1 ? by_child() : 7);
	puts("ends");
	return status;
}
