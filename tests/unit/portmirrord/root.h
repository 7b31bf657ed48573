/* SPDX-License-Identifier: MIT */
/* The folder that a test has for a root is removed with all that is in it. */
#ifndef TESTS_PORTMIRRORD_ROOT_H
#define TESTS_PORTMIRRORD_ROOT_H

#include <ftw.h>
#include <stdio.h>

static inline int remove_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
	(void)st;
	(void)kind;
	(void)at;
	return remove(path);
}

static inline void remove_root(const char *root)
{
	nftw(root, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

#endif
