/* SPDX-License-Identifier: MIT */
/* Programs that stopexec starts beside the stopped one: debuggers, and the user's commands. */
#ifndef STOPEXEC_HELPER_H
#define STOPEXEC_HELPER_H

#include <stdbool.h>
#include <sys/types.h>

struct err;
struct session;

/* A child that is to become the words (NULL behind them), as the real user, with ordinary signals:
 * once helper_go() says so. Its pid. */
pid_t helper_start(const char *const *words, int *gate, struct err *e);
void helper_go(int *gate); /* closes it */

/*
 * Waits for its end. go_on: a process that is continued as soon as somebody other than before
 * traces it (strace waits for that); 0: none. The helper's exit status as of waitpid(), or -EINTR
 * where stopexec is to end.
 */
int helper_wait(struct session *s, pid_t helper, pid_t go_on, pid_t before);

#endif
