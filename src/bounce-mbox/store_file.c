/* SPDX-License-Identifier: MIT */
/* Files that are one message each: of a Maildir, .eml, Apple Mail's .emlx; each may be packed. */
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
#include "mail/date.h"
#include "mail/emlx.h"
#include "mail/flags.h"
#include "mail/header.h"

/* As much of a message is read for its facts. */
#define HEAD_LOOK ((size_t)64 * 1024)

/* A file, open, and where its message lies in it. */
struct letter {
	int fd;
	uint64_t start, len;
	bool emlx;
	time_t changed;
};

static int find_emlx(struct letter *l, const char *path, struct err *e)
{
	char line[EMLX_LINE_MAX];
	ssize_t n = pread(l->fd, line, sizeof(line), 0);
	uint64_t start, len;

	if (n < 0)
		return err_sys(e, -errno, "cannot read %s", path);
	l->emlx = n > 0 && emlx_read(line, (size_t)n, &start, &len);
	if (!l->emlx || start + len > l->len)
		return err_set(e, -EINVAL, "%s is no whole .emlx file", path);
	l->start = start;
	l->len = len;
	return 0;
}

/* A byte order mark, which Windows programs put there, is no part of the message. */
static int skip_mark(struct letter *l, const char *path, struct err *e)
{
	char start[3];
	ssize_t n = pread(l->fd, start, sizeof(start), (off_t)l->start);

	if (n < 0)
		return err_sys(e, -errno, "cannot read %s", path);
	if (n == 3 && l->len >= 3 && memcmp(start, "\xef\xbb\xbf", 3) == 0) {
		l->start += 3;
		l->len -= 3;
	}
	return 0;
}

/* Takes over fd, also where it fails. */
static int look_into(struct letter *l, int fd, const char *path, struct err *e)
{
	struct stat st;
	int r = 0;

	*l = (struct letter){.fd = fd};
	if (fstat(fd, &st) < 0)
		r = err_sys(e, -errno, "cannot look at %s", path);
	l->len = (uint64_t)st.st_size;
	l->changed = st.st_mtim.tv_sec;
	if (r == 0 && store_ends_with(path, ".emlx"))
		r = find_emlx(l, path, e);
	if (r == 0)
		r = skip_mark(l, path, e);
	if (r == 0 && l->len == 0)
		r = err_set(e, -EINVAL, "%s is empty", path);
	if (r < 0)
		fd_close_at(&l->fd);
	return r;
}

static int open_letter(struct letter *l, const char *path, const struct store_wishes *wishes,
		       struct err *e)
{
	int fd cleanup(fd_close_at) = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat st;
	int copy = -1, r;

	if (fd < 0 && errno == ENOENT)
		return err_set(e, -ESTALE,
			       "%s was moved or deleted while the archive was being read (is the "
			       "mail program running?); start again",
			       path);
	if (fd < 0)
		return err_sys(e, -errno, "cannot open %s", path);
	if (fstat(fd, &st) < 0)
		return err_sys(e, -errno, "cannot look at %s", path);
	if (!S_ISREG(st.st_mode))
		return err_set(e, -EISDIR, "%s is no file", path);
	r = store_unpack(fd, path, UNPACK_PACKED, wishes, &copy, e);
	return r < 0 ? r : look_into(l, copy >= 0 ? copy : fd_take(&fd), path, e);
}

static void read_facts(const char *bytes, size_t len, struct mbox_message *m, unsigned *flags)
{
	struct cursor c = cursor_of(bytes, len);
	struct mail_field f;
	struct mail_date date;
	enum mail_head what;

	while ((what = mail_head_next(&c, &f)) != MAIL_HEAD_END) {
		if (what != MAIL_HEAD_FIELD)
			continue;
		*flags |= mail_flags_of(&f);
		if (mail_field_is(&f, "Date") && mail_date_parse(f.value, f.value_len, &date))
			m->date = date.seconds;
	}
}

/* A Maildir's flags stand in the name, an .emlx file's in its property list; only where there are
 * none of these does what the header says count. */
static int facts_of(const struct letter *l, const char *name, bool maildir, struct mbox_message *m,
		    struct err *e)
{
	char *bytes cleanup(free_at) = malloc(HEAD_LOOK);
	size_t len = l->len < HEAD_LOOK ? (size_t)l->len : HEAD_LOOK;
	unsigned by_header = 0;
	ssize_t n;

	if (!bytes)
		return store_no_memory(e);
	n = pread(l->fd, bytes, len, (off_t)l->start);
	if (n < 0)
		return err_sys(e, -errno, "cannot read %s", name);
	*m = (struct mbox_message){.len = l->len, .date = MBOX_NO_DATE};
	read_facts(bytes, (size_t)n, m, &by_header);
	m->flags = by_header & (MAIL_INTERNAL | MAIL_PARTIAL | MAIL_EXPUNGED);
	if (m->date == MBOX_NO_DATE)
		m->date = l->changed;
	if (maildir && mail_info_of_name(name)) {
		m->flags |= mail_flags_of_name(name);
	} else if (l->emlx) {
		n = pread(l->fd, bytes, HEAD_LOOK, (off_t)(l->start + l->len));
		if (n < 0)
			return err_sys(e, -errno, "cannot read %s", name);
		m->flags |= emlx_flags(bytes, (size_t)n);
		m->flags |= store_ends_with(name, ".partial.emlx") ? MAIL_PARTIAL : 0;
	} else {
		m->flags |= by_header;
	}
	return 0;
}

/* Keeps the name, for as long as the store lives: its place in names. */
static int keep_name(struct store *a, const char *name, uint64_t *at, struct err *e)
{
	size_t len = strlen(name) + 1;

	while (a->names_len + len > a->names_room) {
		size_t room = a->names_room ? a->names_room * 2 : 4096;
		char *names = realloc(a->names, room);

		if (!names)
			return store_no_memory(e);
		a->names = names;
		a->names_room = room;
	}
	memcpy(a->names + a->names_len, name, len);
	*at = a->names_len;
	a->names_len += len;
	return 0;
}

static int add_letter(struct store *a, size_t folder, const char *name, const struct letter *l,
		      const struct store_wishes *wishes, struct err *e)
{
	const struct folder *f = &a->folders[folder];
	struct mbox_message m;
	uint64_t at = 0;
	int r = facts_of(l, *name ? name : f->path, f->kind == FOLDER_MAILDIR, &m, e);

	if (r == 0)
		r = keep_name(a, name, &at, e);
	return r < 0 ? r : store_add_item(a, folder, &m, at, wishes, e);
}

int store_add_file(struct store *a, size_t folder, const char *name,
		   const struct store_wishes *wishes, struct err *e)
{
	char *path cleanup(free_at) = store_path(a->folders[folder].path, name);
	struct letter l = {.fd = -1};
	int r = path ? open_letter(&l, path, wishes, e) : store_no_memory(e);

	if (r < 0)
		return r;
	r = add_letter(a, folder, name, &l, wishes, e);
	a->scanned += l.len;
	store_tell(wishes, "reading", path, a->scanned);
	fd_close_at(&l.fd);
	return r;
}

int store_add_letter(struct store *a, const char *path, int copy, const struct store_wishes *wishes,
		     struct err *e)
{
	size_t folder = 0;
	struct letter l = {.fd = -1};
	int r = store_add_folder(a, "", path, FOLDER_EML, &folder, e);

	if (r < 0 || copy < 0) {
		fd_close_at(&copy);
		return r < 0 ? r : store_add_file(a, folder, "", wishes, e);
	}
	r = look_into(&l, copy, path, e);
	if (r < 0)
		return r;
	a->folders[folder].fd = l.fd;
	a->fd_start = l.start;
	return add_letter(a, folder, "", &l, wishes, e);
}

bool store_is_damage(int code)
{
	return code == -EINVAL || code == -EACCES || code == -EPERM || code == -EIO;
}

/* Where the file of a Maildir is now: mail programs move it from "new" to "cur", and rename it
 * there as its flags change, but for what stands before these. *path: to be freed; NULL: nowhere.
 */
static int find_renamed(const struct folder *f, const char *name, char **path, struct err *e)
{
	const char *base = strrchr(name, '/') + 1;
	size_t len = mail_base_of_name(base);
	char *cur cleanup(free_at) = store_path(f->path, "cur");
	DIR *dir = cur ? opendir(cur) : NULL;
	const struct dirent *entry;

	*path = NULL;
	if (!dir)
		return cur ? err_sys(e, -errno, "cannot read the folder %s", cur)
			   : store_no_memory(e);
	while ((entry = readdir(dir)) != NULL)
		if (strncmp(entry->d_name, base, len) == 0 &&
		    mail_base_of_name(entry->d_name) == len)
			break;
	if (entry)
		*path = store_path(cur, entry->d_name);
	closedir(dir);
	return !entry || *path ? 0 : store_no_memory(e);
}

static int open_renamed(struct letter *l, const struct folder *f, const char *name,
			const struct store_wishes *wishes, struct err *e)
{
	char *path cleanup(free_at) = NULL;
	int r = find_renamed(f, name, &path, e);

	if (r < 0)
		return r;
	return path ? open_letter(l, path, wishes, e) : -ESTALE; /* of which e tells */
}

int store_open_file(struct store *a, const struct item *item, struct err *e)
{
	const struct folder *f = &a->folders[item->folder];
	const struct store_wishes wishes = {.temporary = a->temporary};
	char *path cleanup(free_at) = store_path(f->path, a->names + item->at);
	struct letter l = {.fd = -1};
	int r;

	if (f->fd >= 0 || (a->fd >= 0 && a->fd_folder == item->folder && a->fd_file == item->at))
		return 0;
	if (!path)
		return store_no_memory(e);
	fd_close_at(&a->fd);
	a->fd = -1;
	a->fd_folder = item->folder;
	a->fd_file = item->at;
	r = open_letter(&l, path, &wishes, e);
	if (store_is_damage(r))
		return -ESTALE; /* it was well before; of what it is now e tells */
	if (r == -ESTALE && f->kind == FOLDER_MAILDIR)
		r = open_renamed(&l, f, a->names + item->at, &wishes, e);
	if (r < 0)
		return r;
	a->fd = l.fd;
	a->fd_start = l.start;
	if (l.len != item->len)
		return err_set(e, -ESTALE, "%s was changed while it was being read; start again",
			       path);
	return 0;
}
