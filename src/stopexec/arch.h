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

/* A hardware breakpoint, so that the program's text is left alone. -ENOSPC, -EIO, …: the
 * processor, or the hypervisor, gives none. */
int arch_break_set(pid_t pid, uint64_t address);
int arch_break_clear(pid_t pid);

#endif
