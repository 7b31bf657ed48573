/* SPDX-License-Identifier: MIT */
/*
 * A check in a process of its own: its rings and its book take more memory than the daemon ever
 * should have, and it reads them without a pause.
 */
#ifndef PORTMIRRORD_CHECKER_H
#define PORTMIRRORD_CHECKER_H

#include <jansson.h>

struct checker;
struct err;
struct loop;
struct proof_check;

/*
 * Starts the check (found already; not needed any more when this returns). progressed() is called
 * now and then with what is done of it (0 to 1); finished() once, with the proof (borrowed), or
 * NULL and the reason; the checker is then to be freed. NULL: it could not be started.
 */
struct checker *checker_new(struct loop *loop, const struct proof_check *proof,
			    void (*progressed)(double share, void *data),
			    void (*finished)(json_t *proof, const struct err *e, void *data),
			    void *data, struct err *e);

/* Ends the process, if it still runs. */
void checker_free(struct checker *checker);

#endif
