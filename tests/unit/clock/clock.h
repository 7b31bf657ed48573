/* SPDX-License-Identifier: MIT */
/* For tests: time that need not be waited for. A program that has `clock` among its dependencies
 * asks a clock that can be put forward (the linker's --wrap; libraries see the real one). */
#ifndef TESTS_CLOCK_H
#define TESTS_CLOCK_H

/* CLOCK_MONOTONIC is so many seconds ahead from now on, besides what it was before. */
void clock_put_forward(int seconds);

#endif
