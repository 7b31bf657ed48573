/* SPDX-License-Identifier: MIT */
/* One portmirrord for each root and network namespace: two would each take what the other does for
 * somebody's meddling, and number the same events. */
#ifndef PORTMIRRORD_ALONE_H
#define PORTMIRRORD_ALONE_H

struct err;

/* A descriptor: until it is closed, or the process ends in whatever way, no other one gets one.
 * -EBUSY where another runs already. */
int alone_stay(const char *root, struct err *e);

#endif
