/* SPDX-License-Identifier: MIT */
/* What the catching process and its two ways to see an exec share. */
#ifndef STOPEXEC_CATCH_LOOP_H
#define STOPEXEC_CATCH_LOOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "stopexec/catch.h"

enum { CATCH_ANCESTORS = 64 };

/* An order of stopexec's. */
struct catch_order {
	enum { CATCH_MORE, CATCH_PASS } kind;
	long more;    /* starts to be caught */
	pid_t helper; /* what descends from it passes; 0: none */
};

/* What the catching process knows. Where it can't go on, it ends with the errno as its status. */
struct catch_loop {
	const struct catch_rule *rule;
	const struct guardian *guardian;
	const struct catch_way *way;
	void *data; /* the way's */
	int socket;
	int obeyed;   /* eventfd(2): counts the orders to let pass that are in force */
	int64_t last; /* number of the last stop */
	pid_t spared[CATCH_ANCESTORS]; /* stopexec and those who started it */
	size_t nspared;
};

/* A way to see an exec. open() runs in stopexec, the others in the catching process. */
struct catch_way {
	/* Makes l->data, and fd readable where something is to be taken. On failure nothing is
	 * left. */
	int (*open)(struct catch_loop *l, long count, int *fd, struct err *e);
	void (*serve)(struct catch_loop *l);
	void (*look)(struct catch_loop *l); /* now and then */
	void (*more)(struct catch_loop *l, long count);
	void (*pass)(struct catch_loop *l, pid_t helper);
	void (*let_go)(struct catch_loop *l, pid_t pid); /* what it stops, and nobody can have */
	void (*end)(struct catch_loop *l);		 /* before the process ends by itself */
	void (*close)(struct catch_loop *l);		 /* stopexec's own part, and l->data */
};

extern const struct catch_way catch_fanotify, catch_bpf;

/* The process is about to be stopped, or is: numbers the stop, and tells the guardians. False:
 * nobody holds it. */
bool catch_hold(struct catch_loop *l, struct caught *caught);

/* Tells stopexec of what is stopped. Where that can't take it, it goes on. */
void catch_tell(struct catch_loop *l, const struct caught *caught);

/* It was stopped, and counted, for nobody: it goes on, and another one may be. */
void catch_let_go(struct catch_loop *l, const struct caught *caught);

/* A dynamic loader, stopped or about to be, that runs nothing that is wanted. (Where somebody
 * traces it, stopexec looks: a tracer may hand the stop on behind a SIGCONT.) */
bool catch_is_other(const struct catch_loop *l, const struct caught *caught);

/* True for stopexec and those who started it. */
bool catch_spares(const struct catch_loop *l, pid_t pid);

#endif
