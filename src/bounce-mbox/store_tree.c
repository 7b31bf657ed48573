/* SPDX-License-Identifier: MIT */
/* Folders of folders: Maildir, Thunderbird's trees and profiles, .eml files. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/err.h"
#include "base/mem.h"
#include "bounce-mbox/store.h"

#define DEPTH_MAX 32

struct walk {
	struct store *store;
	const struct store_wishes *wishes;
	unsigned depth;
};

static int visible(const struct dirent *entry)
{
	return strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
}

static void free_entries(struct dirent **entries, int count)
{
	for (int i = 0; i < count; i++)
		free(entries[i]);
	free(entries);
}

static bool ends_with(const char *name, const char *end)
{
	size_t n = strlen(name), k = strlen(end);

	return n > k && strcasecmp(name + n - k, end) == 0;
}

static bool has(const char *path, const char *name)
{
	char *full cleanup(free_at) = NULL;
	struct stat st;

	return asprintf(&full, "%s/%s", path, name) >= 0 && lstat(full, &st) == 0;
}

static bool has_folder(const char *path, const char *name)
{
	char *full cleanup(free_at) = NULL;
	struct stat st;

	return asprintf(&full, "%s/%s", path, name) >= 0 && stat(full, &st) == 0 &&
	       S_ISDIR(st.st_mode);
}

static bool is_maildir(const char *path)
{
	return has_folder(path, "cur") && has_folder(path, "new");
}

static int add_files(struct store *a, size_t folder, const char *under, struct err *e)
{
	char *path cleanup(free_at) = NULL;
	struct dirent **entries;
	int count, r = 0;

	if (asprintf(&path, "%s/%s", a->folders[folder].path, under) < 0)
		return err_set(e, -ENOMEM, "out of memory");
	count = scandir(path, &entries, visible, alphasort);
	if (count < 0)
		return err_sys(e, -errno, "cannot read the folder %s", path);
	for (int i = 0; i < count && r == 0; i++) {
		char *name cleanup(free_at) = NULL;

		if (entries[i]->d_name[0] == '.')
			continue;
		if (asprintf(&name, "%s/%s", under, entries[i]->d_name) < 0)
			r = err_set(e, -ENOMEM, "out of memory");
		else
			r = store_add_file(a, folder, name, e);
	}
	free_entries(entries, count);
	return r;
}

static void say_why(struct store *store, size_t folder, const char *why)
{
	snprintf(store->folders[folder].why, sizeof(store->folders[folder].why), "%s", why);
}

static int add_maildir(struct walk *w, const char *path, const char *name, struct err *e)
{
	size_t folder = 0;
	int r = store_add_folder(w->store, name, path, FOLDER_MAILDIR, &folder, e);

	if (r == 0)
		r = add_files(w->store, folder, "cur", e);
	if (r == 0)
		r = add_files(w->store, folder, "new", e);
	if (r == 0)
		say_why(w->store, folder, "it has cur and new");
	return r;
}

/* A file that Thunderbird keeps mail in has no suffix that says otherwise, and starts with From. */
static bool is_mbox(const char *path)
{
	int fd cleanup(fd_close_at) = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	char start[5];

	return fd >= 0 && read(fd, start, 5) == 5 && memcmp(start, "From ", 5) == 0;
}

static int walk(struct walk *w, const char *path, const char *name, struct err *e);

/* The name that a folder's child has: "Inbox.sbd" holds the children of "Inbox"; Apple's
 * "X.mbox/mbox" is X. */
static char *child_name(const char *parent, const char *entry)
{
	size_t len = strlen(entry);
	char *name = NULL;

	if (strcmp(entry, "mbox") == 0 && *parent)
		return strdup(parent);
	if (ends_with(entry, ".sbd"))
		len -= 4;
	else if (ends_with(entry, ".mbox"))
		len -= 5;
	if (asprintf(&name, "%s%s%.*s", parent, *parent ? "/" : "", (int)len, entry) < 0)
		return NULL;
	return name;
}

static int add_entry(struct walk *w, const char *path, const char *parent, const char *entry,
		     size_t *letters, struct err *e)
{
	char *full cleanup(free_at) = NULL, *name cleanup(free_at) = child_name(parent, entry);
	struct stat st;

	if (!name || asprintf(&full, "%s/%s", path, entry) < 0)
		return err_set(e, -ENOMEM, "out of memory");
	if (lstat(full, &st) < 0)
		return err_sys(e, -errno, "cannot look at %s", full);
	if (S_ISDIR(st.st_mode))
		return walk(w, full, name, e);
	if (!S_ISREG(st.st_mode))
		return 0;
	if (ends_with(entry, ".eml")) {
		int r = 0;

		if (*letters == SIZE_MAX)
			r = store_add_folder(w->store, parent, path, FOLDER_EML, letters, e);
		if (r == 0)
			r = store_add_file(w->store, *letters, entry, e);
		if (r == 0)
			say_why(w->store, *letters, "it has .eml files");
		return r;
	}
	return is_mbox(full) ? store_add_mbox(w->store, name, full, -1, w->wishes, e) : 0;
}

static int walk(struct walk *w, const char *path, const char *name, struct err *e)
{
	bool maildir = is_maildir(path);
	size_t letters = SIZE_MAX;
	struct dirent **entries;
	int count, r = 0;

	if (w->depth >= DEPTH_MAX)
		return err_set(e, -ELOOP, "the folders in %s are nested too deeply", path);
	if (maildir)
		r = add_maildir(w, path, name, e);
	if (r < 0)
		return r;
	count = scandir(path, &entries, visible, alphasort);
	if (count < 0)
		return err_sys(e, -errno, "cannot read the folder %s", path);
	w->depth++;
	for (int i = 0; i < count && r == 0; i++) {
		const char *entry = entries[i]->d_name;

		if (maildir && (strcmp(entry, "cur") == 0 || strcmp(entry, "new") == 0 ||
				strcmp(entry, "tmp") == 0))
			continue;
		if (*entry == '.' && !maildir)
			continue;
		r = add_entry(w, path, name, entry, &letters, e);
	}
	w->depth--;
	free_entries(entries, count);
	return r;
}

int store_add_tree(struct store *a, const char *path, const struct store_wishes *wishes,
		   struct err *e)
{
	static const char *const stores[] = {"Mail", "ImapMail"};
	struct walk w = {.store = a, .wishes = wishes};
	bool profile = has(path, "prefs.js") || has_folder(path, "ImapMail");
	int r = 0;

	if (!profile) {
		r = walk(&w, path, "", e);
	} else {
		for (size_t i = 0; i < COUNT(stores) && r == 0; i++) {
			char *full cleanup(free_at) = NULL;

			if (!has_folder(path, stores[i]))
				continue;
			if (asprintf(&full, "%s/%s", path, stores[i]) < 0)
				return err_set(e, -ENOMEM, "out of memory");
			r = walk(&w, full, "", e);
		}
	}
	if (r == 0 && a->folder_count == 0)
		return err_set(e, -ENOENT, "there is no mail in %s", path);
	return r;
}
