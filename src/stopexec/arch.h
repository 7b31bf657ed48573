/* SPDX-License-Identifier: MIT */
/* What differs between processors. The process is stopped by ptrace; all return 0 or -errno. */
#ifndef STOPEXEC_ARCH_H
#define STOPEXEC_ARCH_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

int arch_counter(pid_t pid, uint64_t *counter);

/* The first argument of the function whose first instruction is next; wide: 64-bit program. */
int arch_first_argument(pid_t pid, bool wide, uint64_t *argument);

int arch_set_counter(pid_t pid, uint64_t counter);

/* The processor's own breakpoint. -ENOSPC, -EIO, …: it, or the hypervisor, gives none. */
int arch_break_set(pid_t pid, uint64_t address);
int arch_break_clear(pid_t pid);

/* A word of a program's text with the instruction that traps at this byte of it. *behind: how far
 * from there the counter is after the trap. */
uint64_t arch_trap(uint64_t word, unsigned at, unsigned *behind);

#endif
