/* SPDX-License-Identifier: MIT */
#include "portmirrord/checker.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/loop.h"
#include "base/mem.h"
#include "data/json.h"
#include "portmirror/proof_check.h"

/* The child's words: a line is {"share": 0.5}, {"proof": {…}}, or {"failed": "…", "code": -19}. */
#define WORDS_MAX ((size_t)4 << 20) /* some thousand sources */

struct checker {
	struct loop *loop;
	struct loop_watch *watch;
	pid_t pid;
	int fd;
	struct buf words;
	void (*progressed)(double share, void *data);
	void (*finished)(json_t *proof, const struct err *e, void *data);
	void *data;
};

/* The child */

static void say(int fd, json_t *value)
{
	char *line = value ? json_line(value) : NULL;
	size_t len = line ? strlen(line) : 0;

	if (line)
		line[len] = '\n'; /* in place of its NUL */
	/* No signal has a handler here, so that a pipe takes all of it, or SIGPIPE ends us. */
	if (!line || write(fd, line, len + 1) != (ssize_t)len + 1)
		_exit(1);
	free(line);
	json_decref(value);
}

static bool say_progress(double share, const struct proof_counts *settled, void *data)
{
	const int *fd = data;

	(void)settled;
	say(*fd, json_pack("{s:f}", "share", share));
	return true;
}

/* Nothing of the daemon's is left open: its clients' connections must not hang on a check. */
static void alone(int fd)
{
	sigset_t none;

	if (fd > 3)
		(void)close_range(3, (unsigned)fd - 1, 0);
	(void)close_range((unsigned)fd + 1, ~0U, 0);
	for (int number = 1; number < NSIG; number++)
		(void)signal(number, SIG_DFL);
	sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* no check without its daemon */
}

static _Noreturn void child(const struct proof_check *given, pid_t parent, int fd)
{
	struct proof_check proof = *given;
	struct err e = {0};

	alone(fd);
	if (getppid() != parent)
		_exit(1);
	if (proof_check_run(&proof, say_progress, &fd, &e) < 0)
		say(fd, json_pack("{s:s, s:i}", "failed", e.text, "code", e.code));
	else
		say(fd, json_pack("{s:o}", "proof", proof_check_object(&proof)));
	_exit(0);
}

/* The daemon */

/* One line, or nothing for lack of memory. True: it was the last. */
static bool hear(struct checker *c, const char *line, size_t len)
{
	json_t *value cleanup(json_free_at) = NULL, *proof;
	const char *failed;
	struct err e = {0};

	if (json_load(line, len, 0, &value, NULL) < 0)
		return false; /* that there comes no more is told then */
	proof = json_object_get(value, "proof");
	failed = json_string_value(json_object_get(value, "failed"));
	if (!proof && !failed) {
		c->progressed(json_number_value(json_object_get(value, "share")), c->data);
		return false;
	}
	if (failed)
		err_set(&e, (int)json_integer_value(json_object_get(value, "code")), "%s", failed);
	c->finished(proof, &e, c->data);
	return true;
}

/* All whole lines. True: the last one was among them, and the checker may be gone. */
static bool hear_lines(struct checker *c)
{
	size_t at = 0;
	char *end;

	while ((end = memchr(c->words.data + at, '\n', c->words.len - at))) {
		size_t len = (size_t)(end - c->words.data) - at;

		if (hear(c, c->words.data + at, len))
			return true;
		at += len + 1;
	}
	memmove(c->words.data, c->words.data + at, c->words.len - at);
	c->words.len -= at;
	return false;
}

static void ended(struct checker *c)
{
	struct err e = {0};

	err_set(&e, -EIO, "the check ended before its time: was it killed, or is memory short?");
	c->finished(NULL, &e, c->data);
}

static void readable(uint32_t events, void *data)
{
	struct checker *c = data;
	char bytes[16384];
	ssize_t n = read(c->fd, bytes, sizeof(bytes));

	(void)events;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0 || c->words.len > WORDS_MAX) {
		ended(c);
		return;
	}
	buf_add(&c->words, bytes, (size_t)n);
	if (buf_status(&c->words) < 0)
		ended(c);
	else
		(void)hear_lines(c);
}

static int start(struct checker *c, const struct proof_check *proof, struct err *e)
{
	pid_t parent = getpid();
	int fds[2];

	if (pipe2(fds, O_CLOEXEC) < 0)
		return err_sys(e, -errno, "can't make a pipe");
	c->fd = fds[0];
	c->pid = fork();
	if (c->pid == 0)
		child(proof, parent, fds[1]);
	close(fds[1]);
	if (c->pid < 0)
		return err_sys(e, -errno, "can't start the check");
	(void)fcntl(c->fd, F_SETFL, O_NONBLOCK);
	return loop_watch(c->loop, c->fd, EPOLLIN, readable, c, &c->watch, e);
}

struct checker *checker_new(struct loop *loop, const struct proof_check *proof,
			    void (*progressed)(double share, void *data),
			    void (*finished)(json_t *proof, const struct err *e, void *data),
			    void *data, struct err *e)
{
	struct checker *c = calloc(1, sizeof(*c));

	if (!c) {
		err_set(e, -ENOMEM, "out of memory");
		return NULL;
	}
	*c = (struct checker){.loop = loop,
			      .fd = -1,
			      .pid = -1,
			      .progressed = progressed,
			      .finished = finished,
			      .data = data};
	if (start(c, proof, e) < 0) {
		checker_free(c);
		return NULL;
	}
	return c;
}

void checker_free(struct checker *c)
{
	if (!c)
		return;
	loop_unwatch(c->loop, c->watch);
	if (c->pid > 0) {
		kill(c->pid, SIGKILL); /* no matter if it has ended: it is not waited for yet */
		while (waitpid(c->pid, NULL, 0) < 0 && errno == EINTR)
			;
	}
	fd_close_at(&c->fd);
	buf_free(&c->words);
	free(c);
}
