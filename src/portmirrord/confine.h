/* SPDX-License-Identifier: MIT */
/* Gives up what the daemon doesn't need, for good: most of root's privileges, and most of the
 * kernel's system calls. */
#ifndef PORTMIRRORD_CONFINE_H
#define PORTMIRRORD_CONFINE_H

#include <stdbool.h>

struct err;

/* True where this process may administer the network. */
bool confine_may_administer(void);

/* Of the capabilities, keeps CAP_NET_ADMIN, CAP_NET_RAW, CAP_SYS_PTRACE (machines' processes in
 * /proc) and CAP_BPF, as far as they are there; and no program that is executed gets any back. */
int confine_capabilities(struct err *e);

/* The filter of system calls: all others fail with EPERM. */
int confine_calls(struct err *e);

#endif
