/* SPDX-License-Identifier: MIT */
/*
 * stopped stamp FILE PROGRAM: writes its number and the time to the file, and executes the program
 *	(with LD_PRELOAD=$STAMP_PRELOAD, where that is set).
 * stopped observe FILE COMMAND…: runs the command, which runs "stamp"; prints the microseconds from
 *	there until the program is stopped, or "missed"; then ends both.
 * stopped spawn COUNT PROGRAM: prints the microseconds that each start of the program takes, from
 *	fork to its end.
 */
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { GIVE_UP = 5 }; /* seconds */

struct stamp {
	volatile pid_t pid;
	int64_t time;
};

static int64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

static struct stamp *map(const char *path)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
	void *at;

	if (fd < 0 || ftruncate(fd, sizeof(struct stamp)) < 0)
		return NULL;
	at = mmap(NULL, sizeof(struct stamp), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	return at == MAP_FAILED ? NULL : at;
}

static int stamp(struct stamp *s, char **program)
{
	const char *preload = getenv("STAMP_PRELOAD");

	if (preload != NULL)
		setenv("LD_PRELOAD", preload, 1);
	s->time = now();
	__sync_synchronize();
	s->pid = getpid();
	execv(program[0], program);
	return 127;
}

/* Its state, and whether it still is what put the stamp there. */
static int state_of(int stat, char *state)
{
	char text[256];
	ssize_t len = pread(stat, text, sizeof(text) - 1, 0);
	const char *behind;

	if (len <= 0)
		return -1;
	text[len] = '\0';
	behind = strrchr(text, ')');
	if (behind == NULL || strlen(behind) < 3)
		return -1;
	*state = behind[2];
	return strstr(text, "(stopped)") == NULL;
}

static int observe(struct stamp *s, char **command)
{
	struct sched_param first = {.sched_priority = 1};
	posix_spawn_file_actions_t quiet;
	char path[64], state = '?';
	int64_t start = now(), seen = 0;
	pid_t pid;
	int stat, is;

	/* Both go before the machine's other work, which would be measured otherwise. */
	(void)sched_setscheduler(0, SCHED_RR, &first);
	s->pid = 0;
	posix_spawn_file_actions_init(&quiet);
	posix_spawn_file_actions_addopen(&quiet, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
	if (posix_spawnp(&pid, command[0], &quiet, NULL, command, environ) != 0)
		return 1;
	while (s->pid == 0 && now() - start < GIVE_UP * INT64_C(1000000000))
		continue;
	snprintf(path, sizeof(path), "/proc/%d/stat", s->pid);
	stat = open(path, O_RDONLY | O_CLOEXEC);
	while (now() - start < GIVE_UP * INT64_C(1000000000)) {
		is = state_of(stat, &state);
		if (is < 0 || state == 'Z')
			break;
		if (is > 0 && (state == 'T' || state == 't')) {
			seen = now();
			break;
		}
	}
	if (seen != 0)
		printf("%.1f\n", (double)(seen - s->time) / 1000);
	else
		puts("missed");
	if (s->pid > 0)
		kill(s->pid, SIGKILL);
	kill(pid, SIGTERM);
	waitpid(pid, NULL, 0);
	return 0;
}

static int spawn(long count, char **program)
{
	for (; count > 0; count--) {
		int64_t start = now();
		pid_t pid;

		if (posix_spawn(&pid, program[0], NULL, NULL, program, environ) != 0)
			return 1;
		waitpid(pid, NULL, 0);
		printf("%.1f\n", (double)(now() - start) / 1000);
	}
	return 0;
}

int main(int argc, char **argv)
{
	struct stamp *s;

	if (argc < 4)
		return 2;
	if (strcmp(argv[1], "spawn") == 0)
		return spawn(atol(argv[2]), argv + 3);
	s = map(argv[2]);
	if (s == NULL)
		return 1;
	return strcmp(argv[1], "stamp") == 0 ? stamp(s, argv + 3) : observe(s, argv + 3);
}
