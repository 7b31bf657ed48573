/* SPDX-License-Identifier: MIT */
/*
 * "Did you mean": the word that was probably meant, among those that would have been right.
 *	struct near near = {.word = given};
 *	for each right word: near_try(&near, right);
 *	near.best is the nearest one, or NULL where none is near.
 */
#ifndef BASE_NEAR_H
#define BASE_NEAR_H

#include <stddef.h>

struct near {
	const char *word;
	const char *best; /* borrowed from near_try(); the first of several that are equally near */
	size_t distance;  /* how many bytes of best must be added, removed or changed: 0 to 2 */
};

void near_try(struct near *near, const char *right);

#endif
