/* SPDX-License-Identifier: MIT */
/* One call of stopexec: its terminal, its guardians, and what it does with a stopped process. */
#ifndef STOPEXEC_SESSION_H
#define STOPEXEC_SESSION_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "stopexec/guardian.h"
#include "stopexec/point.h"

struct catcher;
struct cli_call;
struct err;
struct program;
struct trace;

enum after { AFTER_WAIT, AFTER_LEAVE, AFTER_GDB, AFTER_STRACE, AFTER_COMMAND };

struct session {
	const struct cli_call *call;
	struct guardian guardian;
	char records[256]; /* folder; "" where there is none */
	struct point point;
	long seconds; /* --timeout */
	enum after after;
	bool tmux;
	bool json;		       /* the report goes to stdout, as JSON */
	const char *command;	       /* of AFTER_COMMAND */
	int terminal;		       /* -1: none */
	sigset_t end;		       /* the signals that end stopexec: blocked */
	int ended_by;		       /* one that came */
	bool ended_by_user;	       /* by kill(2), not from the terminal */
	pid_t waits;		       /* as in struct record */
	const struct catcher *catcher; /* is told of our helpers; may be NULL */
	bool unprivileged;	       /* we traced without CAP_SYS_PTRACE */
	bool failed;		       /* what was asked could not be done, and that was said */
};

/* What became of a process that was presented. */
enum outcome {
	OUTCOME_TRACED,	   /* somebody traces it */
	OUTCOME_CONTINUED, /* we let it go on */
	OUTCOME_RUNS,	   /* somebody let it go on */
	OUTCOME_GONE,	   /* it ended */
	OUTCOME_LEFT,	   /* it stays stopped */
};

/* Reads the options that run, next, watch and attach share. EXIT_OK, or the exit code. */
int session_options(struct session *s, const struct cli_call *call);

/* Blocks the signals, opens the terminal, starts the guardians. EXIT_OK, or the exit code. */
int session_open(struct session *s);
void session_close(struct session *s);

/* The folder of the records: of root, or of the user. */
void session_records(char records[256]);

/* Text for the person: on stderr where that is a terminal, else on the controlling terminal, else
 * on stderr all the same. Never on stdout, which may be the program's. False: nobody has it. */
bool session_say(const struct session *s, const char *text, size_t len);
void session_note(const struct session *s, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* When what is stopped now goes on. */
int64_t session_deadline(const struct session *s);

/* As trace_leave_stopped(): of a process that stopexec has traced, and that the guardians hold. */
int session_leave_stopped(const struct session *s, struct trace *t, const struct stop *stop,
			  struct err *e);

/*
 * The process is stopped, and held by the guardians: reports it, and does with it what the options
 * say. where: words for the place.
 */
enum outcome session_present(struct session *s, const struct stop *stop, const char *where);

/* Words for the session's stop point. */
const char *session_where(const struct session *s, char words[128]);

/* True where a signal that ends stopexec came; takes it. */
bool session_ended(struct session *s);

/*
 * Finds a program with the rights of the caller, and, where stopexec is installed set-user-ID,
 * whether the caller may stop it. -EPERM: not; the program is found all the same.
 */
int session_find(const char *name, const char *search, struct program *program, struct err *e);

/* stopexec runs set-user-ID: it can what its caller can't. */
bool session_lent(void);

/* sudo(8) has started us, as root. */
bool session_through_sudo(void);

/* Says what went wrong. Returns EXIT_FAILED. */
int session_failed(const struct session *s, const struct err *e);

#endif
