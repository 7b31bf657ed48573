/* SPDX-License-Identifier: MIT */
/* Passwords and tokens: from a file, from a command, or from the terminal. */
#ifndef BOUNCE_MBOX_SECRET_H
#define BOUNCE_MBOX_SECRET_H

#include <stdbool.h>

struct err;

struct secret_source {
	const char *file;    /* its first line */
	const char *command; /* for sh(1): the first line it prints */
	const char *prompt;  /* what to ask for on the terminal, where the two are NULL */
};

/* The secret, to be freed with secret_free(). stop_fd: readable: the command is ended (-EINTR); -1:
 * there is none. */
int secret_get(const struct secret_source *source, int stop_fd, char **secret, struct err *e);
/* Overwrites it first. */
void secret_free(char *secret);

#endif
