/* SPDX-License-Identifier: MIT */
/* The command lines that take over a stopped process. Pure, but for debugger_has_main(). */
#ifndef STOPEXEC_DEBUGGER_H
#define STOPEXEC_DEBUGGER_H

#include <stdbool.h>
#include <sys/types.h>

struct buf;

enum debugger { DEBUGGER_GDB, DEBUGGER_STRACE, DEBUGGER_PERF };

struct handover {
	pid_t pid;
	bool to_main;	/* gdb: go on to main (its symbols are there, and it is still ahead) */
	bool with_sudo; /* the reader is not root */
};

/* Whether the process's program has a symbol called main. */
bool debugger_has_main(pid_t pid);

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
