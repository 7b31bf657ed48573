/* SPDX-License-Identifier: MIT */
#include "base/loop.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"

/* A watch that was removed while its events are being called is freed afterwards: a later event
 * of the same epoll_wait() may still point to it. */
struct loop_watch {
	int fd;
	void (*call)(uint32_t events, void *data); /* NULL: removed */
	void *data;
	struct loop_watch *next_removed;
};

struct loop {
	int epoll;
	bool ended;
	bool calling;
	struct loop_timer *timers; /* by time */
	int64_t due;		   /* while timers are called: those up to here are */
	struct loop_watch *removed;
};

int64_t loop_now(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

int loop_new(struct loop **loop, struct err *e)
{
	struct loop *made = calloc(1, sizeof(*made));

	if (!made)
		return err_set(e, -ENOMEM, "out of memory");
	made->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (made->epoll < 0) {
		int code = -errno;

		free(made);
		return err_sys(e, code, "epoll_create");
	}
	*loop = made;
	return 0;
}

static void free_removed(struct loop *loop)
{
	while (loop->removed) {
		struct loop_watch *next = loop->removed->next_removed;

		free(loop->removed);
		loop->removed = next;
	}
}

void loop_free(struct loop *loop)
{
	if (!loop)
		return;
	free_removed(loop);
	close(loop->epoll);
	free(loop);
}

int loop_watch(struct loop *loop, int fd, uint32_t events,
	       void (*call)(uint32_t events, void *data), void *data, struct loop_watch **watch,
	       struct err *e)
{
	struct loop_watch *made = calloc(1, sizeof(*made));
	struct epoll_event event = {.events = events, .data.ptr = made};

	if (!made)
		return err_set(e, -ENOMEM, "out of memory");
	*made = (struct loop_watch){.fd = fd, .call = call, .data = data};
	if (epoll_ctl(loop->epoll, EPOLL_CTL_ADD, fd, &event) < 0) {
		int code = -errno;

		free(made);
		return err_sys(e, code, "epoll_ctl");
	}
	*watch = made;
	return 0;
}

int loop_rewatch(struct loop *loop, struct loop_watch *watch, uint32_t events)
{
	struct epoll_event event = {.events = events, .data.ptr = watch};

	return epoll_ctl(loop->epoll, EPOLL_CTL_MOD, watch->fd, &event) < 0 ? -errno : 0;
}

void loop_unwatch(struct loop *loop, struct loop_watch *watch)
{
	if (!watch)
		return;
	(void)epoll_ctl(loop->epoll, EPOLL_CTL_DEL, watch->fd, NULL);
	watch->call = NULL;
	watch->next_removed = loop->removed;
	loop->removed = watch;
	if (!loop->calling)
		free_removed(loop);
}

void loop_timer_clear(struct loop *loop, struct loop_timer *timer)
{
	if (!timer->set)
		return;
	if (timer->previous)
		timer->previous->next = timer->next;
	else
		loop->timers = timer->next;
	if (timer->next)
		timer->next->previous = timer->previous;
	timer->set = false;
	timer->next = timer->previous = NULL;
}

void loop_timer_set(struct loop *loop, struct loop_timer *timer, int64_t milliseconds,
		    void (*call)(void *data), void *data)
{
	struct loop_timer *before = NULL, *after = loop->timers;

	if (timer->set) {
		loop_timer_clear(loop, timer);
		after = loop->timers;
	}
	timer->at = loop_now() + milliseconds;
	if (timer->at <= loop->due)
		timer->at = loop->due + 1; /* or it would be called again at once, for ever */
	timer->call = call;
	timer->data = data;
	for (; after && after->at <= timer->at; after = after->next)
		before = after;
	timer->previous = before;
	timer->next = after;
	if (before)
		before->next = timer;
	else
		loop->timers = timer;
	if (after)
		after->previous = timer;
	timer->set = true;
}

static void call_timer(struct loop *loop, struct loop_timer *timer)
{
	loop_timer_clear(loop, timer);
	timer->call(timer->data);
}

void loop_timer_call_due(struct loop *loop, struct loop_timer *timer)
{
	if (timer->set && timer->at <= loop_now())
		call_timer(loop, timer);
}

static void call_timers(struct loop *loop)
{
	loop->due = loop_now();
	while (loop->timers && loop->timers->at <= loop->due && !loop->ended)
		call_timer(loop, loop->timers);
	loop->due = 0;
}

/* How long to wait: no longer than the caller says, nor beyond the first timer. */
static int wait_for(const struct loop *loop, int milliseconds)
{
	int64_t left;

	if (!loop->timers)
		return milliseconds;
	left = loop->timers->at - loop_now();
	if (left < 0)
		left = 0;
	if (left > INT_MAX)
		left = INT_MAX;
	return milliseconds >= 0 && milliseconds < left ? milliseconds : (int)left;
}

int loop_once(struct loop *loop, int milliseconds, struct err *e)
{
	struct epoll_event events[64];
	int n = epoll_wait(loop->epoll, events, COUNT(events), wait_for(loop, milliseconds));

	if (n < 0 && errno != EINTR)
		return err_sys(e, -errno, "epoll_wait");
	loop->calling = true;
	for (int i = 0; i < n && !loop->ended; i++) {
		struct loop_watch *watch = events[i].data.ptr;

		if (watch->call)
			watch->call(events[i].events, watch->data);
	}
	loop->calling = false;
	free_removed(loop);
	call_timers(loop);
	return 0;
}

int loop_run(struct loop *loop, struct err *e)
{
	int r = 0;

	loop->ended = false;
	while (r == 0 && !loop->ended)
		r = loop_once(loop, -1, e);
	return r;
}

void loop_end(struct loop *loop)
{
	loop->ended = true;
}
