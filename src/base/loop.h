/* SPDX-License-Identifier: MIT */
/*
 * The event loop of a program that runs until it is told to end: descriptors (epoll) and timers,
 * one thread. Callbacks may add and remove anything, also what they were called for.
 */
#ifndef BASE_LOOP_H
#define BASE_LOOP_H

#include <stdbool.h>
#include <stdint.h>

struct err;
struct loop;
struct loop_watch;

/* Embedded in the caller's own struct; zero-initialise it. Private but for being there. */
struct loop_timer {
	void (*call)(void *data);
	void *data;
	int64_t at; /* milliseconds of loop_now() */
	bool set;
	struct loop_timer *next, *previous;
};

int loop_new(struct loop **loop, struct err *e);
void loop_free(struct loop *loop); /* what is watched isn't closed */

/* Calls call(events, data) whenever fd has one of events (EPOLLIN, …; errors always). The
 * descriptor stays the caller's, who unwatches it before closing it. */
int loop_watch(struct loop *loop, int fd, uint32_t events,
	       void (*call)(uint32_t events, void *data), void *data, struct loop_watch **watch,
	       struct err *e);
int loop_rewatch(struct loop *loop, struct loop_watch *watch, uint32_t events);
void loop_unwatch(struct loop *loop, struct loop_watch *watch); /* NULL: nothing */

/* Calls once, in so many milliseconds (at the earliest); replaces what the timer was set to. */
void loop_timer_set(struct loop *loop, struct loop_timer *timer, int64_t milliseconds,
		    void (*call)(void *data), void *data);
void loop_timer_clear(struct loop *loop, struct loop_timer *timer);
/* Calls it now if its time has come: for whoever keeps the loop waiting. */
void loop_timer_call_due(struct loop *loop, struct loop_timer *timer);

/* Milliseconds of CLOCK_MONOTONIC. */
int64_t loop_now(void);

/* Runs until loop_end(): waits without a time limit where no timer is set. */
int loop_run(struct loop *loop, struct err *e);
/* Waits for at most so many milliseconds (-1: until something comes), calls what is due, once. */
int loop_once(struct loop *loop, int milliseconds, struct err *e);
void loop_end(struct loop *loop);

#endif
