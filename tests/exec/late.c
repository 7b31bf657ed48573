/* SPDX-License-Identifier: MIT */
/* Comes to its stop point, the function late(), only at SIGUSR1: says "waits" before and "ends"
 * behind, and ends with 7. */
#include <signal.h>
#include <stdio.h>

__attribute__((noinline)) int late(int status)
{
	return status;
}

int main(void)
{
	sigset_t go;
	int signal, status;

	sigemptyset(&go);
	sigaddset(&go, SIGUSR1);
	sigprocmask(SIG_BLOCK, &go, NULL);
	puts("waits");
	fflush(stdout);
	sigwait(&go, &signal);
	status = late(7);
	puts("ends");
	return status;
}
