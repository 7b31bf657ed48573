/* SPDX-License-Identifier: MIT */
#include "portmirror/cli/live.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/sig.h"

/* xterm's control sequences, which all terminals of today know: alternate screen, no cursor, no
 * wrapping of long lines; and back. */
#define ENTER "\033[?1049h\033[?25l\033[?7l"
#define LEAVE "\033[?7h\033[?25h\033[?1049l"

static int write_all(const char *text, size_t len)
{
	while (len > 0) {
		ssize_t n = write(STDOUT_FILENO, text, len);

		if (n < 0)
			return -errno;
		text += n;
		len -= (size_t)n;
	}
	return 0;
}

static void enter(struct live *live)
{
	live->keys = tcgetattr(STDIN_FILENO, &live->before) == 0;
	if (live->keys) {
		struct termios raw = live->before;

		raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
		raw.c_cc[VMIN] = 1;
		raw.c_cc[VTIME] = 0;
		tcsetattr(STDIN_FILENO, TCSADRAIN, &raw);
	}
	(void)write_all(ENTER, strlen(ENTER));
}

static void leave(const struct live *live)
{
	(void)write_all(LEAVE, strlen(LEAVE));
	if (live->keys)
		tcsetattr(STDIN_FILENO, TCSADRAIN, &live->before);
}

int live_open(struct live *live, bool screen)
{
	struct live made = {.screen = screen, .others = -1};
	sigset_t set;
	int r;

	made.ending = sig_watch();
	if (made.ending < 0)
		return made.ending;
	if (made.screen) {
		(void)sigemptyset(&set);
		(void)sigaddset(&set, SIGWINCH);
		(void)sigaddset(&set, SIGTSTP);
		(void)sigprocmask(SIG_BLOCK, &set, NULL);
		made.others = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
		if (made.others < 0) {
			r = -errno;
			fd_close_at(&made.ending);
			return r;
		}
		enter(&made);
	}
	*live = made;
	return 0;
}

void live_close(struct live *live)
{
	if (live->screen)
		leave(live);
	fd_close_at(&live->ending);
	fd_close_at(&live->others);
	*live = (struct live){0};
}

int64_t live_now(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Ctrl-Z: the shell gets its terminal as it was, until we go on. */
static void other_signal(struct live *live)
{
	struct signalfd_siginfo info;

	while (read(live->others, &info, sizeof(info)) == sizeof(info)) {
		if (info.ssi_signo != SIGTSTP)
			continue;
		leave(live);
		(void)raise(SIGSTOP);
		enter(live);
	}
}

static bool quit_key(struct live *live)
{
	char keys[64];
	ssize_t n = read(STDIN_FILENO, keys, sizeof(keys));

	if (n == 0 || (n < 0 && errno != EAGAIN))
		live->keys = false; /* the terminal is gone; SIGHUP will tell */
	return n > 0 && (memchr(keys, 'q', (size_t)n) || memchr(keys, 'Q', (size_t)n));
}

enum live_event live_wait(struct live *live, int64_t until)
{
	for (;;) {
		struct pollfd fds[] = {
			{.fd = live->ending, .events = POLLIN},
			{.fd = live->others, .events = POLLIN},
			{.fd = live->screen && live->keys ? STDIN_FILENO : -1, .events = POLLIN},
		};
		int64_t left = until - live_now();
		int ready = poll(fds, COUNT(fds), left > 0 ? (int)left : 0);

		if (ready == 0)
			return LIVE_TIME;
		if (ready < 0)
			return LIVE_FAILED;
		if (fds[0].revents || (fds[2].revents && quit_key(live)))
			return LIVE_END;
		if (fds[1].revents) {
			other_signal(live);
			return LIVE_REDRAW;
		}
	}
}

static size_t window_rows(void)
{
	struct winsize size;

	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) < 0 || size.ws_row == 0)
		return 24;
	return size.ws_row;
}

static size_t count_lines(const char *text)
{
	size_t lines = 0;

	for (; *text; text++)
		lines += *text == '\n';
	return lines;
}

int live_draw(const struct buf *text)
{
	struct buf out cleanup(buf_free) = {0};
	const char *at = buf_text(text);
	size_t rows = window_rows(), lines = count_lines(at);

	buf_str(&out, "\033[H");
	for (size_t i = 0; i < rows && i < lines; i++) {
		size_t len = strcspn(at, "\n");

		if (i > 0)
			buf_str(&out, "\r\n");
		if (i + 1 == rows && lines > rows)
			buf_fmt(&out, "… and %zu more lines; a larger window shows them",
				lines - i);
		else
			buf_add(&out, at, len);
		buf_str(&out, "\033[K"); /* what an earlier, longer line left */
		at += len + 1;
	}
	buf_str(&out, "\033[J");
	return buf_status(&out) < 0 ? -ENOMEM : write_all(buf_text(&out), out.len);
}
