/* SPDX-License-Identifier: MIT */
/* Folders of folders: Maildir, Thunderbird's trees and profiles, Apple Mail's, .eml files. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/cursor.h"
#include "base/err.h"
#include "base/file.h"
#include "base/mem.h"
#include "bounce-mbox/journal_table.h"
#include "bounce-mbox/store.h"
#include "mail/flags.h"
#include "mail/imap_name.h"

#define DEPTH_MAX    32
#define KMAIL	     ".directory"
#define PREFS_MAX    ((size_t)16 * 1024 * 1024)
#define KEYWORDS_MAX ((size_t)64 * 1024)
/* A Maildir in which something is renamed each time that it is listed is given up then. */
#define LISTS_MAX 10

struct walk {
	struct store *store;
	const struct store_wishes *wishes;
	unsigned depth;
};

/* A directory that is being read. */
struct place {
	const char *path;
	const char *name; /* of the mail folder that it is */
	bool maildir;
	bool apple;	/* "X.mbox", or a directory below it */
	size_t letters; /* the folder of its .eml files; SIZE_MAX: none yet */
};

static int walk(struct walk *w, const char *path, const char *name, bool apple, struct err *e);

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

/* What stands there; IS_NOTHING too where a link leads to nothing. */
enum what { IS_NOTHING, IS_FOLDER, IS_OTHER };

static int look(const char *path, const char *name, enum what *what, struct err *e)
{
	char *full cleanup(free_at) = store_path(path, name);
	struct stat st;

	if (!full)
		return store_no_memory(e);
	if (stat(full, &st) == 0)
		*what = S_ISDIR(st.st_mode) ? IS_FOLDER : IS_OTHER;
	else if (errno == ENOENT || errno == ENOTDIR || errno == ELOOP)
		*what = IS_NOTHING;
	else
		return err_sys(e, -errno, "cannot look at %s", full);
	return 0;
}

/* What a directory is, by what is in it. */
struct kind {
	bool maildir, has_new;
	bool profile, has_mail, has_imap;
};

static int is_flagged(const struct dirent *entry)
{
	return mail_info_of_name(entry->d_name) != NULL;
}

/* Whether "cur" has a file with flags in its name: a copy or backup that leaves out empty folders
 * has neither "new" nor "tmp". */
static int has_flagged(const char *path, bool *found, struct err *e)
{
	char *cur cleanup(free_at) = store_path(path, "cur");
	struct dirent **entries = NULL;
	int count = cur ? scandir(cur, &entries, is_flagged, NULL) : 0;

	if (!cur)
		return store_no_memory(e);
	if (count < 0)
		return err_sys(e, -errno, "cannot read the folder %s", cur);
	free_entries(entries, count);
	*found = count > 0;
	return 0;
}

static int kind_of(const char *path, struct kind *kind, struct err *e)
{
	static const char *const names[] = {"cur", "new", "tmp", "prefs.js", "Mail", "ImapMail"};
	enum what there[COUNT(names)];

	for (size_t i = 0; i < COUNT(names); i++) {
		int r = look(path, names[i], &there[i], e);

		if (r < 0)
			return r;
	}
	kind->has_new = there[1] == IS_FOLDER;
	/* Thunderbird's have no "new" */
	kind->maildir = there[0] == IS_FOLDER && (kind->has_new || there[2] == IS_FOLDER);
	kind->has_mail = there[4] == IS_FOLDER;
	kind->has_imap = there[5] == IS_FOLDER;
	kind->profile = there[3] != IS_NOTHING && (kind->has_mail || kind->has_imap);
	return there[0] == IS_FOLDER && !kind->maildir ? has_flagged(path, &kind->maildir, e) : 0;
}

/* What the walk leaves out is told. */
static int pass_over(struct walk *w, const char *path, struct err *e)
{
	struct store *a = w->store;

	if (a->passed_over_count++ == 0)
		a->passed_over = strdup(path);
	return a->passed_over ? 0 : store_no_memory(e);
}

static int add_damage(struct store *a, size_t folder, const char *why, struct err *e)
{
	struct damage *d;

	if (array_room(&a->damages, &a->damage_room, a->damage_count, sizeof(*d)) < 0)
		return store_no_memory(e);
	d = &a->damages[a->damage_count];
	*d = (struct damage){strdup(why), folder};
	if (!d->why)
		return store_no_memory(e);
	a->damage_count++;
	return 0;
}

/* A file of a folder of files. One that is damaged ends nothing, but is told as a message that
 * failed. */
static int add_message(struct walk *w, size_t folder, const char *name, struct err *e)
{
	struct err why = {0};
	int r = store_add_file(w->store, folder, name, w->wishes, &why);

	if (r == -EISDIR) {
		char *path cleanup(free_at) = store_path(w->store->folders[folder].path, name);

		return path ? pass_over(w, path, e) : store_no_memory(e);
	}
	if (store_is_damage(r))
		return add_damage(w->store, folder, why.text, e);
	return r < 0 ? err_set(e, r, "%s", why.text) : 0;
}

/* What mail programs keep beside the mail. */
static bool is_beside(const struct place *p, const char *path)
{
	return p->maildir || store_ends_with(path, ".msf") || store_ends_with(path, ".dat");
}

static void say_why(struct store *store, size_t folder, const char *why)
{
	snprintf(store->folders[folder].why, sizeof(store->folders[folder].why), "%s", why);
}

/* --- names --- */

/* How much of a file's name stands before the suffix of what it is packed by. */
static size_t unpacked_len(const char *name)
{
	static const char *const suffixes[] = {".gz", ".xz", ".zst", ".bz2"};
	size_t len = strlen(name);

	for (size_t i = 0; i < COUNT(suffixes); i++)
		if (store_ends_with(name, suffixes[i]))
			return len - strlen(suffixes[i]);
	return len;
}

static void put_parent(struct buf *b, const struct place *p)
{
	buf_fmt(b, "%s%s", p->name, *p->name ? "/" : "");
}

/* ".Work.W&APY-rk" in a Maildir is Work/Wörk (Maildir++, as Courier and Dovecot have it). */
static void put_maildir_name(struct buf *b, const char *entry)
{
	for (const char *level = entry + 1; *level;) {
		size_t len = strcspn(level, ".");

		imap_name_read(level, len, b);
		level += len;
		if (*level == '.' && level[1])
			buf_char(b, '/');
		level += *level == '.';
	}
}

/* The mail folder's name for what lies in a place: "Inbox.sbd" holds the children of "Inbox";
 * Apple's "X.mbox/mbox" and "X.mbox/UUID/Data/Messages" are X. */
static char *name_in(const struct place *p, const char *entry)
{
	struct buf b = {0};
	size_t len = unpacked_len(entry);

	if (p->apple && !store_ends_with(entry, ".mbox"))
		return strdup(p->name);
	if (len > 4 && strncasecmp(entry + len - 4, ".sbd", 4) == 0)
		len -= 4;
	else if (len > 5 && strncasecmp(entry + len - 5, ".mbox", 5) == 0)
		len -= 5;
	put_parent(&b, p);
	buf_add(&b, entry, len);
	return buf_take(&b);
}

/* --- what a directory holds --- */

/* The entries of "new" or "cur". */
struct listing {
	const char *part;
	struct dirent **entries;
	int count;
};

static int list_files(const struct folder *f, struct listing *l, struct err *e)
{
	char *path cleanup(free_at) = store_path(f->path, l->part);
	int count = path ? scandir(path, &l->entries, visible, alphasort) : 0;

	if (!path)
		return store_no_memory(e);
	if (count < 0)
		return err_sys(e, -errno, "cannot read the folder %s", path);
	l->count = count;
	return 0;
}

/* What a list had. */
struct news {
	bool moved; /* one that is not there any more */
	bool added; /* one that was not known */
};

/* Adds those that are not known yet, by what stands before the flags. */
static int add_listed(struct walk *w, size_t folder, const struct listing *l,
		      struct journal_ids *known, struct news *news, struct err *e)
{
	int r = 0;

	for (int i = 0; i < l->count && r == 0; i++) {
		char *base = l->entries[i]->d_name;
		char *name cleanup(free_at) = NULL;

		if (*base == '.')
			continue;
		name = store_path(l->part, base);
		if (!name)
			return store_no_memory(e);
		base[mail_base_of_name(base)] = 0;
		if (journal_ids_have(known, base))
			continue;
		r = add_message(w, folder, name, e);
		news->moved = news->moved || r == -ESTALE;
		news->added = news->added || r == 0;
		r = r == -ESTALE ? 0 : r < 0 ? r : journal_ids_add(known, base, strlen(base), e);
	}
	return r;
}

/* A Maildir may be in use: its files are renamed when their flags change. "new" is listed first, so
 * that what goes from there to "cur" meanwhile is in both lists, not in neither. But POSIX leaves
 * it open whether what is renamed within "cur" meanwhile is listed at all: lists are made until one
 * has nothing new. */
static int add_files(struct walk *w, size_t folder, bool new, struct err *e)
{
	struct journal_ids known = {.folder = w->wishes->temporary};
	struct news news = {.added = true};
	int r = 0;

	for (unsigned lists = 0; r == 0 && (news.moved || news.added) && lists < LISTS_MAX;
	     lists++) {
		struct listing in_new = {.part = "new"}, in_cur = {.part = "cur"};

		news = (struct news){0};
		if (new)
			r = list_files(&w->store->folders[folder], &in_new, e);
		if (r == 0)
			r = list_files(&w->store->folders[folder], &in_cur, e);
		if (r == 0)
			r = add_listed(w, folder, &in_cur, &known, &news, e);
		if (r == 0)
			r = add_listed(w, folder, &in_new, &known, &news, e);
		free_entries(in_new.entries, in_new.count);
		free_entries(in_cur.entries, in_cur.count);
	}
	journal_ids_free(&known);
	return r == 0 && news.moved ? -ESTALE : r; /* of which e tells */
}

static int read_letters(struct walk *w, size_t folder, const char *path, struct err *e)
{
	char *file cleanup(free_at) = store_path(path, "dovecot-keywords");
	char *text cleanup(free_at) = NULL;
	struct mail_letters *letters;
	size_t len = 0;
	int r;

	if (!file)
		return store_no_memory(e);
	r = file_read(file, KEYWORDS_MAX, &text, &len, e);
	if (r < 0)
		return r == -ENOENT ? 0 : r; /* most have none */
	letters = calloc(1, sizeof(*letters));
	if (!letters)
		return store_no_memory(e);
	w->store->folders[folder].letters = letters;
	return mail_letters_read(letters, text, len) < 0 ? store_no_memory(e) : 0;
}

static int add_maildir(struct walk *w, const struct place *p, bool new, struct err *e)
{
	size_t folder = 0;
	int r = store_add_folder(w->store, p->name, p->path, FOLDER_MAILDIR, &folder, e);

	if (r == 0)
		r = read_letters(w, folder, p->path, e);
	if (r == 0)
		r = add_files(w, folder, new, e);
	if (r == 0)
		say_why(w->store, folder, new ? "it has cur and new" : "it has cur");
	return r;
}

static int add_letter(struct walk *w, struct place *p, const char *entry, struct err *e)
{
	int r = 0;

	if (p->letters == SIZE_MAX) {
		r = store_add_folder(w->store, p->name, p->path, FOLDER_EML, &p->letters, e);
		if (r == 0)
			say_why(w->store, p->letters, "it has .eml files");
	}
	return r < 0 ? r : add_message(w, p->letters, entry, e);
}

/* A file of any name, which may be an mbox. */
static int add_file(struct walk *w, const struct place *p, const char *path, const char *name,
		    struct err *e)
{
	int fd cleanup(fd_close_at) = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	enum store_looks looks;
	int copy = -1, r;

	if (fd < 0)
		return err_sys(e, -errno, "cannot open %s", path);
	r = store_look(fd, path, &looks, e);
	if (r < 0 || looks == STORE_EMPTY)
		return r;
	if (looks == STORE_MBOX)
		return store_add_mbox(w->store, name, path, -1, w->wishes, e);
	r = store_unpack(fd, path, UNPACK_MBOX, w->wishes, &copy, e);
	if (r < 0)
		return r;
	if (copy >= 0)
		return store_add_mbox(w->store, name, path, copy, w->wishes, e);
	return is_beside(p, path) ? 0 : pass_over(w, path, e);
}

static bool is_letter(const char *entry)
{
	size_t len = unpacked_len(entry);

	return (len > 4 && strncasecmp(entry + len - 4, ".eml", 4) == 0) ||
	       store_ends_with(entry, ".emlx");
}

static int add_entry(struct walk *w, struct place *p, const char *entry, struct err *e)
{
	char *full cleanup(free_at) = store_path(p->path, entry);
	char *name cleanup(free_at) = name_in(p, entry);
	struct stat st;

	if (!full || !name)
		return store_no_memory(e);
	if (lstat(full, &st) < 0)
		return err_sys(e, -errno, "cannot look at %s", full);
	/* beside its messages Apple Mail keeps what was attached to them, .eml files too */
	if (S_ISDIR(st.st_mode) && p->apple && strcmp(entry, "Attachments") == 0)
		return pass_over(w, full, e);
	if (S_ISDIR(st.st_mode))
		return walk(w, full, name, p->apple || store_ends_with(entry, ".mbox"), e);
	if (S_ISLNK(st.st_mode)) /* it may lead to what is read anyway */
		return pass_over(w, full, e);
	if (!S_ISREG(st.st_mode))
		return 0;
	return is_letter(entry) ? add_letter(w, p, entry, e) : add_file(w, p, full, name, e);
}

/* The folder's name for a hidden directory: ".X.directory" holds the children of KMail's folder X;
 * as a Maildir it is one like any other. */
static char *hidden_name(const struct place *p, const char *entry, bool kmail)
{
	struct buf b = {0};

	put_parent(&b, p);
	if (kmail)
		buf_add(&b, entry + 1, strlen(entry + 1) - strlen(KMAIL));
	else
		put_maildir_name(&b, entry);
	return buf_take(&b);
}

/* Hidden files are none of the person's, but hidden directories are folders in a Maildir, or of one
 * that lies elsewhere. */
static int add_hidden(struct walk *w, const struct place *p, const char *entry, struct err *e)
{
	char *full cleanup(free_at) = store_path(p->path, entry);
	char *name cleanup(free_at) = NULL;
	enum what what = IS_NOTHING;
	struct kind kind;
	struct stat st;
	bool kmail;
	int r = full ? look(p->path, entry, &what, e) : store_no_memory(e);

	if (r < 0 || what != IS_FOLDER)
		return r;
	if (lstat(full, &st) < 0)
		return err_sys(e, -errno, "cannot look at %s", full);
	r = kind_of(full, &kind, e);
	if (r < 0)
		return r;
	kmail = !kind.maildir && store_ends_with(entry + 1, KMAIL);
	if (S_ISLNK(st.st_mode) || !(p->maildir || kind.maildir || kmail))
		return pass_over(w, full, e);
	name = hidden_name(p, entry, kmail);
	return name ? walk(w, full, name, false, e) : store_no_memory(e);
}

static bool is_part(const struct place *p, const char *entry)
{
	return p->maildir && (strcmp(entry, "cur") == 0 || strcmp(entry, "new") == 0 ||
			      strcmp(entry, "tmp") == 0);
}

static int walk_entries(struct walk *w, struct place *p, struct err *e)
{
	struct dirent **entries;
	int count = scandir(p->path, &entries, visible, alphasort), r = 0;

	if (count < 0)
		return err_sys(e, -errno, "cannot read the folder %s", p->path);
	for (int i = 0; i < count && r == 0; i++) {
		const char *entry = entries[i]->d_name;

		if (*entry == '.')
			r = add_hidden(w, p, entry, e);
		else if (!is_part(p, entry))
			r = add_entry(w, p, entry, e);
	}
	free_entries(entries, count);
	return r;
}

/* --- Thunderbird's profiles --- */

/* The directory in: user_pref("mail.server.server1.directory", "/home/joe/mail"); false: another
 * line. */
static bool read_directory(const char *line, size_t len, struct buf *path)
{
	static const char start[] = "user_pref(\"mail.server.", middle[] = ".directory\", \"";
	const char *at = memmem(line, len, start, sizeof(start) - 1), *end = line + len;

	if (at)
		at = memmem(at, (size_t)(end - at), middle, sizeof(middle) - 1);
	if (!at)
		return false;
	buf_clear(path);
	for (at += sizeof(middle) - 1; at < end && *at != '"'; at++) {
		if (*at == '\\' && end - at > 1)
			at++;
		buf_char(path, *at);
	}
	return path->failed || (path->len > 0 && *buf_text(path) == '/');
}

/* Where a path leads, to be freed; NULL where there is nothing. */
static int follow(const char *path, char **real, struct err *e)
{
	*real = realpath(path, NULL);
	if (*real || errno == ENOENT || errno == ENOTDIR || errno == ELOOP)
		return 0;
	return err_sys(e, -errno, "cannot look at %s", path);
}

/* Whether a folder of the store lies there already: 0, 1, or an error. */
static int is_read(const struct store *a, const char *path, struct err *e)
{
	size_t len = strlen(path);

	for (size_t i = 0; i < a->folder_count; i++) {
		char *real cleanup(free_at) = NULL;
		int r = follow(a->folders[i].path, &real, e);

		if (r < 0)
			return r;
		if (real && strncmp(real, path, len) == 0 && (real[len] == '/' || real[len] == 0))
			return 1;
	}
	return 0;
}

/* An account that was moved out of the profile, unless it is there no more. */
static int walk_account(struct walk *w, const char *path, struct err *e)
{
	char *real cleanup(free_at) = NULL;
	int r = follow(path, &real, e);

	if (r == 0 && real)
		r = is_read(w->store, real, e);
	if (r != 0 || !real)
		return r < 0 ? r : 0;
	return walk(w, real, strrchr(real, '/') + 1, false, e);
}

static int walk_accounts(struct walk *w, const char *profile, struct err *e)
{
	char *path cleanup(free_at) = store_path(profile, "prefs.js");
	char *text cleanup(free_at) = NULL;
	struct buf directory cleanup(buf_free) = {0};
	struct cursor c;
	const char *line;
	size_t len = 0;
	int r;

	if (!path)
		return store_no_memory(e);
	r = file_read(path, PREFS_MAX, &text, &len, e);
	c = cursor_of(text, r < 0 ? 0 : len);
	while (r >= 0 && cursor_part(&c, '\n', &line, &len))
		if (read_directory(line, len, &directory))
			r = buf_status(&directory) < 0 ? store_no_memory(e)
						       : walk_account(w, buf_text(&directory), e);
	return r < 0 ? r : 0;
}

static int walk_profile(struct walk *w, const struct place *p, const struct kind *kind,
			struct err *e)
{
	static const char *const stores[] = {"Mail", "ImapMail"};
	const bool there[] = {kind->has_mail, kind->has_imap};
	int r = 0;

	for (size_t i = 0; i < COUNT(stores) && r == 0; i++) {
		char *full cleanup(free_at) = NULL;

		if (!there[i])
			continue;
		full = store_path(p->path, stores[i]);
		r = full ? walk(w, full, p->name, false, e) : store_no_memory(e);
	}
	return r < 0 ? r : walk_accounts(w, p->path, e);
}

static int walk(struct walk *w, const char *path, const char *name, bool apple, struct err *e)
{
	struct place p = {path, name, false, apple, SIZE_MAX};
	struct kind kind;
	int r = kind_of(path, &kind, e);

	if (r < 0)
		return r;
	if (w->depth >= DEPTH_MAX)
		return err_set(e, -ELOOP, "the folders in %s are nested too deeply", path);
	w->depth++;
	p.maildir = kind.maildir;
	if (p.maildir)
		r = add_maildir(w, &p, kind.has_new, e);
	if (r == 0)
		r = kind.profile ? walk_profile(w, &p, &kind, e) : walk_entries(w, &p, e);
	w->depth--;
	return r;
}

int store_add_tree(struct store *a, const char *path, const struct store_wishes *wishes,
		   struct err *e)
{
	struct walk w = {.store = a, .wishes = wishes};
	bool apple = store_ends_with(path, ".mbox") || store_ends_with(path, ".mbox/");
	int r = walk(&w, path, "", apple, e);

	if (r == 0 && a->folder_count == 0)
		return err_set(e, -ENOENT, "there is no mail in %s", path);
	return r;
}
