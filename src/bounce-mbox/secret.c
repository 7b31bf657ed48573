/* SPDX-License-Identifier: MIT */
#include "bounce-mbox/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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

static int from_command(const char *command, char **secret, struct err *e)
{
	char text[SECRET_MAX] = "";
	FILE *pipe = popen(command, "re");
	size_t len;
	int status;

	if (!pipe)
		return err_sys(e, -errno, "cannot run \"%s\"", command);
	len = fread(text, 1, sizeof(text) - 1, pipe);
	text[len] = 0;
	status = pclose(pipe);
	if (status != 0) {
		explicit_bzero(text, sizeof(text));
		return err_set(e, -ENODATA, "the command \"%s\" failed", command);
	}
	return first_line(text, command, secret, e);
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

int secret_get(const struct secret_source *source, char **secret, struct err *e)
{
	if (source->file)
		return from_file(source->file, secret, e);
	if (source->command)
		return from_command(source->command, secret, e);
	return from_terminal(source->prompt, secret, e);
}

void secret_free(char *secret)
{
	if (secret)
		explicit_bzero(secret, strlen(secret));
	free(secret);
}
