/* SPDX-License-Identifier: MIT */
/*
 * A table that may outgrow memory: small ones lie on the heap, larger ones in an unlinked file that
 * is mapped, whose pages the kernel may write out and spill_rest() gives back. Zero-initialise it.
 */
#ifndef BOUNCE_MBOX_SPILL_H
#define BOUNCE_MBOX_SPILL_H

#include <stdbool.h>
#include <stddef.h>

struct err;

struct spill {
	void *bytes;
	size_t room; /* in bytes; what is new is zero where the table is mapped */
	int fd;	     /* where it is mapped */
	bool mapped;
};

/* Makes room for so many bytes; they may move. folder: for the file; NULL: only on the heap. */
int spill_grow(struct spill *s, size_t room, const char *folder, struct err *e);

/* What was touched so far needs no memory any more; pointers stay valid. */
void spill_rest(const struct spill *s);
/* Copies some of its bytes, without a look through the mapping. */
int spill_read(const struct spill *s, size_t at, void *bytes, size_t len, struct err *e);

void spill_free(struct spill *s);

#endif
