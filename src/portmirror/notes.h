/* SPDX-License-Identifier: MIT */
/*
 * What we changed on this host that the kernel can't tell us back: which qdiscs are ours (a qdisc
 * takes no cookie), and how a destination's bridge-port flags stood before --isolate. Written
 * before the change it tells of, so that a crash leaves a note too many, never one too few; a
 * note whose change isn't there means nothing. Kept under /run: it lives as long as what it
 * describes.
 */
#ifndef PORTMIRROR_NOTES_H
#define PORTMIRROR_NOTES_H

#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;

enum note_kind { NOTE_QDISC, NOTE_ISOLATE };

struct note {
	enum note_kind kind;
	int ifindex;
	char port[IFNAMSIZ]; /* for people; the index is what counts */
	/* NOTE_QDISC */
	char qdisc[16];
	uint32_t parent;
	uint32_t handle;
	/* NOTE_ISOLATE */
	unsigned flags; /* enum brport, as they were */
};

struct notes {
	struct note *items; /* by ifindex */
	size_t count, room;
};

/* Notes of an earlier boot or of another network namespace are not told: they describe another
 * kernel's devices. A file that is damaged is an error, not an empty list. */
int notes_read(const char *path, struct notes *notes, struct err *e);
/* What the file tells of other network namespaces stays. Nothing to tell: it is removed. */
int notes_write(const char *path, const struct notes *notes, struct err *e);
void notes_free(struct notes *notes); /* also for cleanup() */

struct note *notes_qdisc(const struct notes *notes, int ifindex, uint32_t parent, const char *kind);
struct note *notes_isolate(const struct notes *notes, int ifindex);
int notes_add(struct notes *notes, const struct note *note);
void notes_drop(struct notes *notes, const struct note *note); /* one of *notes */
int notes_copy(struct notes *to, const struct notes *from);    /* replaces what is in *to */
bool notes_equal(const struct notes *a, const struct notes *b);

#endif
