/* SPDX-License-Identifier: MIT */
/* The command lines that take over a stopped process. Pure. */
#ifndef STOPEXEC_DEBUGGER_H
#define STOPEXEC_DEBUGGER_H

#include <stdbool.h>
#include <sys/types.h>

struct buf;

enum debugger { DEBUGGER_GDB, DEBUGGER_STRACE, DEBUGGER_PERF };

struct handover {
	pid_t pid;
	bool to_main;	/* gdb: go on to main, which is still ahead */
	bool with_sudo; /* the reader is not root */
};

/*
 * The words of the command, to be executed: at most most of them, NULL behind; the memory is of
 * strings, which the caller keeps and frees. -ENOMEM
 */
int debugger_words(enum debugger debugger, const struct handover *h, struct buf *strings,
		   const char **words, size_t most);

/* The command as one line for a shell. */
void debugger_line(enum debugger debugger, const struct handover *h, struct buf *line);

/* Appends the word, quoted for a POSIX shell where it must be. */
void shell_quote(struct buf *b, const char *word);

#endif
