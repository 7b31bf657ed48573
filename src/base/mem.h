/* SPDX-License-Identifier: MIT */
/* Ownership: release at the end of a scope, hand over, grow an array. */
#ifndef BASE_MEM_H
#define BASE_MEM_H

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Releases a local when its scope ends: int fd cleanup(fd_close_at) = -1; */
#define cleanup(function) __attribute__((cleanup(function)))

/* Hands the pointer over: the value is the old pointer, the variable becomes NULL. */
#define take(pointer)                                                                              \
	({                                                                                         \
		__typeof__(pointer) taken_ = (pointer);                                            \
		(pointer) = NULL;                                                                  \
		taken_;                                                                            \
	})

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* For cleanup(): frees the pointer whose address it gets. */
static inline void free_at(void *address)
{
	free(*(void **)address);
}

/* For cleanup(): closes the descriptor, unless it is negative; errno stays as it was. */
static inline void fd_close_at(const int *fd)
{
	if (*fd >= 0) {
		int saved = errno;

		close(*fd);
		errno = saved;
	}
}

/* The descriptor is the caller's from now on: the variable becomes -1. */
static inline int fd_take(int *fd)
{
	int taken = *fd;

	*fd = -1;
	return taken;
}

/* The bytes as a string, the caller's; NULL: out of memory. strndup() wants a string to begin with
 * (and the sanitizers hold it to that): this is for bytes that have no end of their own. */
static inline char *string_from(const char *bytes, size_t len)
{
	char *string = malloc(len + 1);

	if (!string)
		return NULL;
	memcpy(string, bytes, len);
	string[len] = '\0';
	return string;
}

/* What printf() would print, as a string, the caller's; NULL: out of memory. (asprintf() leaves its
 * pointer undefined then, and cleanup() would free that.) */
char *string_fmt(const char *format, ...) __attribute__((format(printf, 1, 2)));

/*
 * Makes room for one more element behind the count that *array holds: *array is a pointer to
 * elements of size bytes, *room how many it can hold. Returns 0, or -ENOMEM with nothing changed.
 *	if (array_room(&a->items, &a->room, a->count, sizeof(*a->items)) < 0) ...
 *	a->items[a->count++] = item;
 */
int array_room(void *array, size_t *room, size_t count, size_t size)
	__attribute__((warn_unused_result));

#endif
