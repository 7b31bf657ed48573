/* SPDX-License-Identifier: MIT */
/*
 * What is wanted, on disk: one YAML file a session, under ROOT/etc/portmirror/sessions.d, or under
 * ROOT/run/portmirror/sessions.d for those of --runtime. And the lock that every change takes.
 */
#ifndef PORTMIRROR_STORE_H
#define PORTMIRROR_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "portmirror/session.h"

struct err;
struct yaml_docs;

struct store {
	char *saved;   /* the folder of lasting sessions */
	char *runtime; /* the folder of those that end with the boot */
	char *notes;   /* see notes.h */
	char *lock;
	uint32_t house; /* tells this root's kernel state from that of another root */
};

/* root: "" or NULL for the system's own places. */
int store_open(const char *root, struct store *store, struct err *e);
void store_close(struct store *store); /* also for cleanup() */

/* One saved session: read, or why it can't be. */
struct saved {
	struct session session; /* only the name (and runtime) where broken is set */
	char *broken;		/* the sentence, with file and line; owned */
};
struct sessions {
	struct saved *items; /* by name */
	size_t count, room;
};

/* Reads all; a file that can't be read as a session is there as a broken one, so that nobody
 * takes its kernel state for a leftover. */
int store_load(const struct store *store, struct sessions *sessions, struct err *e);
void sessions_free(struct sessions *sessions); /* also for cleanup() */
struct saved *sessions_find(const struct sessions *sessions, const char *name);
/* Takes the session over (also where it fails); replaces one of the same name; keeps the order. */
int sessions_put(struct sessions *sessions, struct session *session);
void sessions_drop(struct sessions *sessions, const char *name);

/* Sessions of one file (several documents), or of all *.yaml files of a folder, or of "-". One that
 * is alone in a *.yaml file may be called as that. All or nothing: an error names file, line and
 * field. */
int store_read_path(const char *path, struct sessions *sessions, struct err *e);
const char *store_called(const char *path); /* that, in a sentence */

/* Replaces or removes the file durably. Of a file that differs in "suspended" alone all else stays,
 * with the remarks that somebody may have written there. */
int store_save(const struct store *store, const struct session *session, struct err *e);
int store_remove(const struct store *store, const struct session *session, struct err *e);

/* The text of a session's file, to be freed; of a regular file alone. e may be NULL. Written, it
 * stays whose it is, and where a link leads to. */
int store_read_file(const char *path, char **text, size_t *len, struct err *e);
int store_write_file(const char *path, const char *text, size_t len, struct err *e);

/* The name of the session whose file is called so; -EINVAL: it is none's, and why. e may be NULL.
 */
int store_name_of(const char *file, char name[SESSION_NAME_MAX + 1], struct err *e);

/* The file of a session, to be freed; NULL: out of memory. */
char *store_path(const struct store *store, const struct session *session);

#endif
