/* SPDX-License-Identifier: MIT */
#include "stopexec/debugger.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"

enum { MANY_WORDS = 24 };

/*
 * "continue" alone stays where the process is: the stop signal is delivered again (gdb 13). So gdb
 * is told to keep these signals to itself, and the stop is undone by SIGCONT.
 */
static void add_gdb(const struct handover *h, struct buf *b)
{
	buf_fmt(b, "gdb%c-q%c-p%c%d%c", 0, 0, 0, h->pid, 0);
	buf_fmt(b, "-ex%chandle SIGSTOP SIGCONT nostop noprint nopass%c", 0, 0);
	buf_fmt(b, "-ex%cshell kill -CONT %d%c", 0, h->pid, 0);
	if (h->to_main)
		buf_fmt(b, "-ex%ctbreak main%c-ex%ccontinue%c", 0, 0, 0, 0);
}

static void add_strace(const struct handover *h, struct buf *b)
{
	buf_fmt(b, "strace%c-f%c-p%c%d%c", 0, 0, 0, h->pid, 0);
}

/* perf(1) starts the command once it records, and ends with it. */
static void add_perf(const struct handover *h, struct buf *b)
{
	buf_fmt(b, "perf%crecord%c-g%c-p%c%d%c", 0, 0, 0, 0, h->pid, 0);
	buf_fmt(b, "sh%c-c%ckill -CONT %d; exec tail --pid=%d -f /dev/null%c", 0, 0, h->pid, h->pid,
		0);
}

int debugger_words(enum debugger debugger, const struct handover *h, struct buf *strings,
		   const char **words, size_t most)
{
	size_t n = 0;

	if (h->with_sudo)
		buf_fmt(strings, "sudo%c", 0);
	switch (debugger) {
	case DEBUGGER_GDB:
		add_gdb(h, strings);
		break;
	case DEBUGGER_STRACE:
		add_strace(h, strings);
		break;
	case DEBUGGER_PERF:
		add_perf(h, strings);
		break;
	}
	if (buf_status(strings) < 0)
		return -ENOMEM;
	for (size_t at = 0; at < strings->len; at += strlen(strings->data + at) + 1) {
		if (n + 1 >= most)
			return -ENOMEM;
		words[n++] = strings->data + at;
	}
	words[n] = NULL;
	return 0;
}

void shell_quote(struct buf *b, const char *word)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				    "0123456789_-+=./:,@%";

	if (*word != '\0' && strspn(word, plain) == strlen(word)) {
		buf_str(b, word);
		return;
	}
	buf_char(b, '\'');
	for (; *word != '\0'; word++) {
		if (*word == '\'')
			buf_str(b, "'\\''");
		else
			buf_char(b, *word);
	}
	buf_char(b, '\'');
}

void debugger_line(enum debugger debugger, const struct handover *h, struct buf *line)
{
	struct buf strings cleanup(buf_free) = {0};
	const char *words[MANY_WORDS];

	/* strace waits until the process goes on, which stopexec sees to. */
	if (debugger == DEBUGGER_STRACE) {
		buf_fmt(line, "%sstopexec attach --strace %d", h->with_sudo ? "sudo " : "", h->pid);
		return;
	}
	if (debugger_words(debugger, h, &strings, words, MANY_WORDS) < 0) {
		line->failed = true;
		return;
	}
	for (size_t n = 0; words[n] != NULL; n++) {
		buf_str(line, n > 0 ? " " : "");
		shell_quote(line, words[n]);
	}
}
