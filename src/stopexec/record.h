/* SPDX-License-Identifier: MIT */
/* What stopexec holds stopped, for "stopexec list": a small file for each process. */
#ifndef STOPEXEC_RECORD_H
#define STOPEXEC_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct err;

struct record {
	pid_t pid;
	uint64_t start;	  /* proc_start(): the number alone may be another's by now */
	uid_t by;	  /* who stopped it */
	int64_t deadline; /* now_ms() */
	pid_t waits;	  /* one above it that stops and goes on with it; 0: none */
};

/* Writes folder/PID.DEADLINE, by which it is known for sure: of the process's next stop there is
 * another one. Those of its former stops go. */
int record_write(const char *folder, const struct record *record, struct err *e);

/* Reads what record_write() wrote. Pure. -EPROTO */
int record_parse(const char *text, size_t len, struct record *record);

/* The record of a process that still lives. -ENOENT: stopexec holds no such process;
 * -errno. */
int record_read(const char *folder, pid_t pid, struct record *record);

/* Whoever makes the process go on removes the record. */
bool record_is_there(const char *folder, pid_t pid, int64_t deadline);
void record_remove(const char *folder, pid_t pid, int64_t deadline);

/* All of them, sorted by pid; the caller frees *records. A missing folder has none. */
int record_all(const char *folder, struct record **records, size_t *count, struct err *e);

#endif
