/* SPDX-License-Identifier: MIT */
/* A check of one session: from the picture of the host to a proof, and to what is told of it. */
#ifndef PORTMIRROR_PROOF_CHECK_H
#define PORTMIRROR_PROOF_CHECK_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "portmirror/proof.h"

struct buf;
struct err;
struct nl_link;
struct session_state;
struct view;

struct proof_check {
	const struct view *view; /* borrowed */
	const struct session_state *st;
	const struct nl_link *to[SESSION_TO_MAX];
	size_t nto;
	double seconds;
	bool probe; /* send frames of its own too */
	bool ended; /* somebody ended it before its time */
	struct proof_result result;
};
void proof_check_free(struct proof_check *c); /* also for cleanup() */

/* Finds the session in c->view. -ENOENT, -ENOMEM, or -EAGAIN where more than sources is missing. */
int proof_check_find(struct proof_check *c, const char *name, struct err *e);
/* Measures: see proof_run(). */
int proof_check_run(struct proof_check *c,
		    bool (*progress)(double share, const struct proof_counts *settled, void *data),
		    void *data, struct err *e);

/* The verdict in one sentence; what to do about it (nothing is appended where there is nothing). */
void proof_check_judge(const struct proof_check *c, struct buf *b);
void proof_check_advise(const struct proof_check *c, struct buf *b);
/* All of it. NULL: out of memory. */
json_t *proof_check_object(const struct proof_check *c);

/* The name of the number-th source. */
const char *proof_check_port(const struct proof_check *c, size_t number);
/* The share of the frames that were left out. */
double proof_check_left_out(const struct proof_check *c);
/* "1,234,567" */
const char *proof_grouped(char text[32], uint64_t n);

#endif
