/* SPDX-License-Identifier: MIT */
/* Its child comes to the stop point, the function late(), before it does; ends with 7 where that
 * did the child no harm. */
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

__attribute__((noinline)) int late(int status)
{
	return status;
}

int main(void)
{
	int status = 0;
	pid_t pid = fork();

	if (pid == 0)
		_exit(late(3));
	if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		return EXIT_FAILURE;
	return late(WEXITSTATUS(status) + 4);
}
