/* SPDX-License-Identifier: MIT */
/*
 * For tests: the kernel refuses something. A program that has `calls` among its dependencies can
 * let any system call fail that our own code makes by way of libc (the linker's --wrap; what
 * libraries do is left alone, and which calls there are calls.c tells). Include it behind cmocka.h.
 */
#ifndef TESTS_CALLS_H
#define TESTS_CALLS_H

#include <stdbool.h>

/*
 *	for (unsigned nth = 1; call_refuse(&nth, EIO);)
 *
 * The nth system call from now on fails with that errno, once, and *nth is counted on; false: the
 * one before was not made any more, so all are done. The last turn is one in which all goes well.
 */
bool call_refuse(unsigned *nth, int error);
/* Which one failed; NULL: none did. From now on all go through again. */
const char *call_refused(void);
/* The next call of that name fails, the ones before it don't: "socket", "bind". */
void call_refuse_next(const char *name, int error);

/* A call that returns 0 or a negative errno: done again and again, so that each of its system calls
 * fails once; each time it must fail too. The value is that of the last time, when none fails. */
#define faulty(call)                                                                               \
	({                                                                                         \
		int result_ = 0;                                                                   \
                                                                                                   \
		for (unsigned nth_ = 1; call_refuse(&nth_, EIO);) {                                \
			result_ = (call);                                                          \
			if (call_refused())                                                        \
				assert_true(result_ < 0);                                          \
		}                                                                                  \
		result_;                                                                           \
	})

#endif
