/* SPDX-License-Identifier: MIT */
/*
 * What there is to send: the folders and messages behind one path, found in one pass. Nothing is
 * changed or locked. Standard input and compressed files go through an unlinked temporary file.
 */
#ifndef BOUNCE_MBOX_STORE_H
#define BOUNCE_MBOX_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#include "bounce-mbox/spill.h"
#include "mail/mbox.h"

struct err;
struct mail_letters;

enum folder_kind { FOLDER_MBOX, FOLDER_MAILDIR, FOLDER_EML };

struct folder {
	char *name; /* "Local Folders/Inbox/Work"; "" for a single file */
	char *path;
	enum folder_kind kind;
	enum mbox_format format;
	bool takeout;		      /* its X-Gmail-Labels count */
	char why[120];		      /* of the format */
	struct mail_letters *letters; /* a Maildir's keywords; NULL: none */
	uint64_t messages;
	uint64_t before; /* bytes in front of the first message, which belong to none */
	uint64_t inside; /* of a single message: lines that look like an mbox's separators */
	int fd;		 /* of an unlinked copy; -1: path is opened when needed */
	dev_t device;
	ino_t inode;
	off_t size;
	struct timespec changed;
};

struct item {
	uint64_t at; /* mbox: offset in the file; else: of the file's name in names */
	uint64_t len : 44;
	uint64_t flags : 20; /* MAIL_* */
	uint32_t date;	     /* seconds since 1970; undated: that of the one before */
	uint32_t folder;
};

/* A file that should be a message, and can't be read as one. */
struct damage {
	char *why;
	size_t folder;
};

struct store {
	struct folder *folders;
	size_t folder_count, folder_room;
	struct spill index; /* of struct item: store_item() */
	size_t count;
	char *names; /* files of Maildir and .eml folders, each with a NUL */
	size_t names_len, names_room;
	struct damage *damages;
	size_t damage_count, damage_room;
	const char *temporary; /* folder for what outgrows memory; borrowed */
	uint64_t bytes;
	uint64_t expunged; /* left out */
	uint64_t internal; /* servers' notes to themselves, left out */
	uint64_t partial;  /* cut by the mail program, not left out */
	uint64_t scanned;  /* bytes of files */
	char *passed_over; /* the first file in a tree that is none of ours; NULL: none */
	uint64_t passed_over_count;

	dev_t device; /* of a single file, also where it is standard input … */
	ino_t inode;  /* … 0: folders */

	int fd; /* of the folder or file read last */
	size_t fd_folder;
	uint64_t fd_file;  /* in a folder of files: item.at */
	uint64_t fd_start; /* … and where the message starts in it */
};

struct store_wishes {
	enum mbox_format format;
	bool with_expunged;
	bool as_it_stands;     /* not sorted by date */
	const char *temporary; /* folder for unpacked copies */
	/* Told now and then what is being done ("reading", "unpacking") to what, and to how much of
	 * it so far; may be NULL. */
	void (*reading)(void *data, const char *what, const char *name, uint64_t bytes);
	void *data;
};

/* path: a file, a folder, "-" for standard input. To be freed with store_free(), also after an
 * error. */
int store_open(struct store *a, const char *path, const struct store_wishes *wishes, struct err *e);
void store_free(struct store *a);

/* The ith message, in the order that was wished for; walk from 0 on. Valid until store_free(). */
const struct item *store_item(const struct store *a, size_t i);

/* What the folder of an item is called: the file, where there is but one. */
const char *store_shown(const struct store *a, const struct item *item);

/* Reads bytes [offset, offset+len) of the item; a short file is -ESTALE. */
int store_read(struct store *a, const struct item *item, uint64_t offset, char *bytes, size_t len,
	       struct err *e);

/* What became of the folder's file since: 0, 1 (it grew; what came is not in the archive), or
 * -ESTALE with a sentence. */
int store_changed(const struct store *a, size_t folder, struct err *e);

/* Private: shared by the source files of the archive. */
void store_tell(const struct store_wishes *wishes, const char *what, const char *name,
		uint64_t bytes);
int store_sort(struct store *a, struct err *e);
int store_no_memory(struct err *e);
/* "FOLDER/NAME", FOLDER alone where the name is empty; to be freed. NULL: no memory. */
char *store_path(const char *folder, const char *name);
int store_add_folder(struct store *a, const char *name, const char *path, enum folder_kind kind,
		     size_t *index, struct err *e);
int store_add_mbox(struct store *a, const char *name, const char *path, int copy,
		   const struct store_wishes *wishes, struct err *e);
int store_add_item(struct store *a, size_t folder, const struct mbox_message *m, uint64_t at,
		   const struct store_wishes *wishes, struct err *e);
/* A file of a Maildir or .eml folder; name: relative to the folder's path. -EISDIR: it is no file
 * at all. */
int store_add_file(struct store *a, size_t folder, const char *name,
		   const struct store_wishes *wishes, struct err *e);
/* A file that is one message; copy: an unlinked file to read instead, which the store then owns; or
 * -1. */
int store_add_letter(struct store *a, const char *path, int copy, const struct store_wishes *wishes,
		     struct err *e);
/* Whether what went wrong is the fault of that file, and others may be well. */
bool store_is_damage(int code);
int store_open_file(struct store *a, const struct item *item, struct err *e);
int store_add_tree(struct store *a, const char *path, const struct store_wishes *wishes,
		   struct err *e);

bool store_ends_with(const char *name, const char *end);

enum store_looks { STORE_EMPTY, STORE_MBOX, STORE_LETTER, STORE_OLD_MAC, STORE_OTHER };
/* What a file looks like by its first bytes. */
enum store_looks store_look_at(const char *bytes, size_t len);
int store_look(int fd, const char *name, enum store_looks *looks, struct err *e);

/* A descriptor of an unlinked file in the folder. */
int store_temporary(const char *folder, int *fd, struct err *e);

enum unpack {
	UNPACK_PACKED, /* what is packed */
	UNPACK_ALL,    /* the rest too: it can be read only once */
	UNPACK_MBOX    /* what is packed, and an mbox */
};
/* A descriptor of an unlinked file with the unpacked bytes of fd; -1 where there is nothing to
 * unpack. */
int store_unpack(int fd, const char *name, enum unpack what, const struct store_wishes *wishes,
		 int *copy, struct err *e);

#endif
