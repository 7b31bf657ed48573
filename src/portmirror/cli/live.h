/* SPDX-License-Identifier: MIT */
/*
 * A view that is drawn again and again until somebody ends it: on a terminal in place, on its
 * alternate screen, which is put back as it was; elsewhere only the waiting is of use.
 */
#ifndef PORTMIRROR_CLI_LIVE_H
#define PORTMIRROR_CLI_LIVE_H

#include <stdbool.h>
#include <stdint.h>
#include <termios.h>

struct buf;

struct live {
	bool screen;	       /* stdout is a terminal that can be drawn on */
	bool keys;	       /* stdin is a terminal too */
	int ending, others;    /* signals: those that end it; the window's size, and Ctrl-Z */
	struct termios before; /* where keys is set */
};

/* screen: draw, if stdout is a terminal. Returns 0 or a negative errno. The signals that end a
 * program are blocked from here on. */
int live_open(struct live *live, bool screen);
void live_close(struct live *live);

enum live_event {
	LIVE_TIME,   /* the time has come: look anew */
	LIVE_REDRAW, /* the window has changed: draw the same again */
	LIVE_END,    /* q, Ctrl-C or another signal: end */
	LIVE_FAILED, /* it can't wait; errno says why */
};

/* Milliseconds of a clock that only goes forward. */
int64_t live_now(void);
enum live_event live_wait(struct live *live, int64_t until);

/* On a screen: draws the lines of text in one write, as many as the window has. Returns 0 or a
 * negative errno: -EIO where the terminal is gone. */
int live_draw(const struct buf *text);

#endif
