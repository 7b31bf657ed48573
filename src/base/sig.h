/* SPDX-License-Identifier: MIT */
/* For programs that work until they are told to stop, and then clean up. */
#ifndef BASE_SIG_H
#define BASE_SIG_H

/*
 * Blocks SIGINT, SIGTERM and SIGHUP and returns a descriptor (a signalfd, close-on-exec,
 * non-blocking) that is readable once one of them came. Those that were ignored before, as
 * nohup(1) does, stay ignored. To be closed by the caller; a child inherits the blocked signals.
 */
int sig_watch(void);

/* Waits for such a signal, for so many milliseconds (negative: without end). Returns the signal's
 * number, 0 when the time has passed, or a negative errno. */
int sig_wait(int fd, int milliseconds);

#endif
