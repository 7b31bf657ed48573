/* SPDX-License-Identifier: MIT */
/*
 * For tests: memory runs out. A program that has `memory` among its dependencies can refuse any
 * allocation that our own code asks for (the linker's --wrap; what libraries ask for is left
 * alone). Include it behind cmocka.h.
 */
#ifndef TESTS_MEMORY_H
#define TESTS_MEMORY_H

#include <errno.h>
#include <stdbool.h>

/*
 *	for (unsigned nth = 1; memory_refuse(&nth);)
 *
 * The nth allocation from now on is refused, once, and *nth counted on; false: the one before was
 * not asked for any more, so all are done. The last turn is one in which all goes well.
 */
bool memory_refuse(unsigned *nth);
/* Whether it was. From now on there is memory again. */
bool memory_refused(void);

/* A call that returns 0 or a negative errno, and as base/err.h has it leaves what it would return
 * through pointers untouched where it fails: done again and again, so that each of its allocations
 * is refused once and it says so each time. The value is that of the last time, with memory. */
#define scarce(call)                                                                               \
	({                                                                                         \
		int result_ = 0;                                                                   \
                                                                                                   \
		for (unsigned nth_ = 1; memory_refuse(&nth_);) {                                   \
			result_ = (call);                                                          \
			if (memory_refused())                                                      \
				assert_int_equal(result_, -ENOMEM);                                \
		}                                                                                  \
		result_;                                                                           \
	})

/* Likewise, but there are allocations that it can do without (of jansson's, in json_unpack()):
 * where it doesn't say -ENOMEM, is_right must be true. */
#define scarce_or(is_right, call)                                                                  \
	({                                                                                         \
		int result_ = 0;                                                                   \
                                                                                                   \
		for (unsigned nth_ = 1; memory_refuse(&nth_);) {                                   \
			result_ = (call);                                                          \
			if (memory_refused() && result_ != -ENOMEM)                                \
				assert_true(is_right);                                             \
		}                                                                                  \
		result_;                                                                           \
	})

/* Likewise of a call that returns what it has made, or NULL. */
#define scarce_made(call)                                                                          \
	({                                                                                         \
		__typeof__(call) made_ = NULL;                                                     \
                                                                                                   \
		for (unsigned nth_ = 1; memory_refuse(&nth_);) {                                   \
			made_ = (call);                                                            \
			if (memory_refused())                                                      \
				assert_null(made_);                                                \
		}                                                                                  \
		made_;                                                                             \
	})

#endif
