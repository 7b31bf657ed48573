/* SPDX-License-Identifier: MIT */
#include "bounce-mbox/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "base/err.h"
#include "base/file.h"
#include "base/mem.h"

#define SECRET_MAX 16384
#define CTRL_C	   3

static int first_line(char *text, const char *where, char **secret, struct err *e)
{
	text[strcspn(text, "\r\n")] = 0;
	if (!*text)
		return err_set(e, -ENODATA, "%s gave no password", where);
	*secret = strdup(text);
	explicit_bzero(text, strlen(text));
	return *secret ? 0 : err_set(e, -ENOMEM, "out of memory");
}

static int from_file(const char *path, char **secret, struct err *e)
{
	char *text = NULL;
	size_t len;
	int r = file_read(path, SECRET_MAX, &text, &len, e);

	if (r < 0)
		return r;
	r = first_line(text, path, secret, e);
	free(text);
	return r;
}

/* The signals that stop this program are blocked in it; the command is to end by them. */
static pid_t start(const char *command, int out)
{
	pid_t pid = fork();
	sigset_t none;

	if (pid != 0)
		return pid;
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	if (dup2(out, STDOUT_FILENO) < 0 || fcntl(STDOUT_FILENO, F_SETFD, 0) < 0)
		_exit(127);
	execl("/bin/sh", "sh", "-c", command, (char *)NULL);
	_exit(127);
}

/* Waits for something to read, for so many milliseconds (-1: without end): 0, also where there is
 * nothing, or -EINTR. */
static int wait_for(int fd, int stop_fd, int milliseconds)
{
	struct pollfd fds[] = {{fd, POLLIN, 0}, {stop_fd, POLLIN, 0}};

	while (poll(fds, COUNT(fds), milliseconds) < 0)
		if (errno != EINTR)
			return -errno;
	return fds[1].revents ? -EINTR : 0;
}

/* All that it says, up to the room for it. */
static int read_all(int fd, int stop_fd, char *text, size_t room)
{
	ssize_t n = 1;

	for (size_t len = 0; n > 0; len += (size_t)n) {
		int r = wait_for(fd, stop_fd, -1);

		if (r < 0)
			return r;
		n = read(fd, text + len, room - len);
		if (n < 0)
			return -errno;
	}
	return 0;
}

/* It may have closed its output, and go on. */
static int await_end(pid_t pid, int stop_fd, int *status)
{
	pid_t ended = 0;
	int r = 0;

	while (r == 0 && (ended = waitpid(pid, status, WNOHANG)) == 0)
		r = wait_for(-1, stop_fd, 10);
	return ended < 0 ? -errno : r;
}

static int run(const char *command, int stop_fd, char *text, size_t room, int *status)
{
	int ends[2], r;
	pid_t pid;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	pid = start(command, ends[1]);
	r = pid < 0 ? -errno : 0;
	close(ends[1]);
	if (r == 0)
		r = read_all(ends[0], stop_fd, text, room);
	close(ends[0]);
	if (r == 0)
		r = await_end(pid, stop_fd, status);
	if (r == -EINTR)
		(void)kill(pid, SIGTERM); /* whoever stops us need not wait for it */
	else if (r == 0)		  /* Ctrl-C ends it too, perhaps before that is seen here */
		r = wait_for(-1, stop_fd, 0);
	return r;
}

static int from_command(const char *command, int stop_fd, char **secret, struct err *e)
{
	char text[SECRET_MAX] = "";
	int status = 0, r = run(command, stop_fd, text, sizeof(text) - 1, &status);

	if (r == 0 && status == 0)
		return first_line(text, command, secret, e);
	explicit_bzero(text, sizeof(text));
	if (r == -EINTR)
		return err_set(e, r, "stopped");
	return r < 0 ? err_sys(e, r, "cannot run \"%s\"", command)
		     : err_set(e, -ENODATA, "the command \"%s\" failed", command);
}

static int from_terminal(const char *prompt, char **secret, struct err *e)
{
	int fd cleanup(fd_close_at) = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
	struct termios old, quiet;
	char text[1024];
	ssize_t n;

	if (fd < 0 || tcgetattr(fd, &old) < 0)
		return err_set(e, -ENODATA,
			       "no password: give --password-file or --password-command, or run "
			       "it on a terminal");
	quiet = old;
	quiet.c_lflag &= ~(tcflag_t)(ECHO | ISIG);
	quiet.c_lflag |= ECHONL;
	quiet.c_cc[VEOL] = CTRL_C; /* ends the line, as the signal is watched elsewhere */
	(void)tcsetattr(fd, TCSAFLUSH, &quiet);
	dprintf(fd, "%s: ", prompt);
	n = read(fd, text, sizeof(text) - 1);
	(void)tcsetattr(fd, TCSAFLUSH, &old);
	text[n > 0 ? n : 0] = 0;
	if (n > 0 && text[n - 1] == CTRL_C) {
		explicit_bzero(text, sizeof(text));
		return err_set(e, -EINTR, "stopped");
	}
	return first_line(text, "the terminal", secret, e);
}

int secret_get(const struct secret_source *source, int stop_fd, char **secret, struct err *e)
{
	if (source->file)
		return from_file(source->file, secret, e);
	if (source->command)
		return from_command(source->command, stop_fd, secret, e);
	return from_terminal(source->prompt, secret, e);
}

void secret_free(char *secret)
{
	if (secret)
		explicit_bzero(secret, strlen(secret));
	free(secret);
}
