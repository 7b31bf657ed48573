/* SPDX-License-Identifier: MIT */
/* fdatasync() in a thread of its own, so that the mail goes on while the disk works. */
#ifndef BOUNCE_MBOX_SYNCER_H
#define BOUNCE_MBOX_SYNCER_H

struct err;
struct syncer;

/* fd stays the caller's, and open until syncer_free(). */
int syncer_new(struct syncer **s, int fd, struct err *e);
void syncer_free(struct syncer *s);

/* Starts to bring what was written to fd so far to the disk. Only where none is under way. */
void syncer_start(struct syncer *s);
/* 1: it is done (told once); 0: not yet, or nothing was started; or the error. */
int syncer_done(struct syncer *s);
/* To poll for: readable when it is done. */
int syncer_fd(const struct syncer *s);

#endif
