/* SPDX-License-Identifier: MIT */
#include "base/sig.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"

int sig_watch(void)
{
	static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
	sigset_t set, before;
	int fd;

	(void)sigemptyset(&set);
	for (size_t i = 0; i < COUNT(signals); i++) {
		struct sigaction action;

		/* An ignored signal would still reach a signalfd once it is blocked. */
		if (sigaction(signals[i], NULL, &action) == 0 && action.sa_handler != SIG_IGN)
			(void)sigaddset(&set, signals[i]);
	}
	(void)sigprocmask(SIG_BLOCK, &set, &before);
	fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (fd < 0) {
		int code = -errno;

		(void)sigprocmask(SIG_SETMASK, &before, NULL);
		return code;
	}
	return fd;
}

static int64_t now(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

int sig_wait(int fd, int milliseconds)
{
	int64_t until = now() + milliseconds;
	struct signalfd_siginfo info;

	for (;;) {
		struct pollfd poller = {.fd = fd, .events = POLLIN};
		int64_t left = milliseconds < 0 ? -1 : until - now();
		ssize_t n;
		int ready = poll(&poller, 1, milliseconds >= 0 && left < 0 ? 0 : (int)left);

		if (ready == 0)
			return 0;
		if (ready < 0 && errno == EINTR)
			continue;
		if (ready < 0)
			return -errno;
		n = read(fd, &info, sizeof(info));
		if (n == sizeof(info))
			return (int)info.ssi_signo;
		if (n >= 0)
			return -EINVAL; /* no signalfd */
		/* Another reader may have been faster. */
		if (errno != EAGAIN && errno != EINTR)
			return -errno;
	}
}
