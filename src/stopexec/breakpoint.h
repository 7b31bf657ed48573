/* SPDX-License-Identifier: MIT */
/*
 * The one breakpoint, in the one process that is being led to a stop point. It is the processor's
 * (ptrace(2), of the first thread alone) where the processor has one that works: the program's text
 * is left alone then. Some hypervisors take the registers and never stop at them; there an
 * instruction takes its place in the text, which is the process's own copy of that page.
 */
#ifndef STOPEXEC_BREAKPOINT_H
#define STOPEXEC_BREAKPOINT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* From now on the processes that this one forks, which are to take the breakpoint out when this
 * one can't any more, know of it too. -errno. */
int breakpoint_share(void);

/* The processor has none that works, so that it is in the text. Tried out once. */
bool breakpoint_is_in_text(void);

/* The process is stopped by ptrace in all of these. 0; -ESRCH: it is not, or is gone; -errno. */
int breakpoint_set(pid_t pid, uint64_t address);
int breakpoint_clear(pid_t pid);

/* After a trap: whether it was the breakpoint's. The process is then at its address, as if it had
 * not come there yet. */
bool breakpoint_met(pid_t pid);

/* The process has forked (PTRACE_EVENT_FORK, which is asked for while an instruction is in its
 * text): its child goes on untraced, and without the breakpoint. */
void breakpoint_spare_child(pid_t pid);

/* The process has executed another program, in which there is none; or it has ended. */
void breakpoint_forget(void);

#endif
