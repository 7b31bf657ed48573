/* SPDX-License-Identifier: MIT */
#include "bounce-mbox/store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/err.h"
#include "base/mem.h"
#include "mail/date.h"
#include "mail/flags.h"
#include "mail/header.h"

/* Reads at least this much at once: it stays in the processor's cache. */
#define READ_STEP ((size_t)256 * 1024)
/* So many messages are found before their index is given back to the disk. */
#define REST_ITEMS ((size_t)128 * 1024)
/* As much of a single message's file is read for its facts. */
#define HEAD_LOOK ((size_t)64 * 1024)

int store_no_memory(struct err *e)
{
	return err_set(e, -ENOMEM, "out of memory");
}

int store_add_folder(struct store *a, const char *name, const char *path, enum folder_kind kind,
		     size_t *index, struct err *e)
{
	struct folder *f;

	if (array_room(&a->folders, &a->folder_room, a->folder_count, sizeof(*f)) < 0)
		return store_no_memory(e);
	f = &a->folders[a->folder_count];
	*f = (struct folder){.kind = kind, .fd = -1};
	f->name = strdup(name);
	f->path = strdup(path);
	*index = a->folder_count++;
	return f->name && f->path ? 0 : store_no_memory(e);
}

static uint32_t date_of(const struct store *a, uint32_t folder, int64_t date)
{
	if (date != MBOX_NO_DATE)
		return date < 0 ? 0 : date > UINT32_MAX ? UINT32_MAX : (uint32_t)date;
	const struct item *items = a->index.bytes;

	return a->count > 0 && items[a->count - 1].folder == folder ? items[a->count - 1].date : 0;
}

static int add_item(struct store *a, size_t folder, const struct mbox_message *m, uint64_t at,
		    const struct store_wishes *wishes, struct err *e)
{
	struct item *items;
	int r;

	if (m->flags & MAIL_INTERNAL) {
		a->internal++;
		return 0;
	}
	if ((m->flags & MAIL_EXPUNGED) && !(wishes && wishes->with_expunged)) {
		a->expunged++;
		return 0;
	}
	if (m->len >> 44)
		return err_set(e, -EFBIG, "a message is longer than 16 TB");
	if (a->count % REST_ITEMS == 0)
		spill_rest(&a->index);
	r = spill_grow(&a->index, (a->count + 1) * sizeof(*items), a->temporary, e);
	if (r < 0)
		return r;
	items = a->index.bytes;
	a->partial += (m->flags & MAIL_PARTIAL) != 0;
	a->bytes += m->len;
	a->folders[folder].messages++;
	items[a->count] = (struct item){
		.at = at,
		.len = m->len & ((UINT64_C(1) << 44) - 1),
		.flags = m->flags & ((1U << MAIL_FLAGS_BITS) - 1),
		.date = date_of(a, (uint32_t)folder, m->date),
		.folder = (uint32_t)folder,
	};
	a->count++;
	return 0;
}

static size_t peek(uint64_t at, char *bytes, size_t len, void *data)
{
	ssize_t n = pread(*(const int *)data, bytes, len, (off_t)at);

	return n < 0 ? 0 : (size_t)n;
}

/* Moves the window on: what the scan still needs goes to its front, more is read behind it. */
static int move_window(struct mbox_window *w, char *bytes, uint64_t keep, int fd, const char *path,
		       struct err *e)
{
	size_t gone = (size_t)(keep - w->at);
	size_t room;
	ssize_t n;

	memmove(bytes, bytes + gone, w->len - gone);
	w->len -= gone;
	w->at = keep;
	room = MBOX_WINDOW - w->len;
	n = read(fd, bytes + w->len, room < READ_STEP ? room : READ_STEP);
	if (n < 0)
		return err_sys(e, -errno, "cannot read %s", path);
	w->last = n == 0;
	w->len += (size_t)n;
	return 0;
}

static int scan_mbox(struct store *a, size_t folder, int fd, const struct store_wishes *wishes,
		     struct err *e)
{
	char *bytes cleanup(free_at) = malloc(MBOX_WINDOW);
	struct mbox_scan scan = {.format = wishes->format, .peek = peek, .data = &fd};
	struct mbox_window w = {.bytes = bytes};
	struct folder *f = &a->folders[folder];
	struct mbox_message m;
	int r = 0;

	if (!bytes)
		return store_no_memory(e);
	for (;;) {
		switch (mbox_scan_next(&scan, &w, &m)) {
		case MBOX_MESSAGE:
			r = add_item(a, folder, &m, m.at, wishes, e);
			break;
		case MBOX_MORE:
			r = move_window(&w, bytes, scan.keep, fd, f->path, e);
			break;
		case MBOX_END:
			f->format = mbox_decide(&scan.seen, f->why, sizeof(f->why));
			if (wishes->format != MBOX_AUTO) {
				f->format = wishes->format;
				snprintf(f->why, sizeof(f->why), "as told by --format");
			}
			f->before = scan.seen.messages > 0 ? scan.seen.before : w.at + w.len;
			return 0;
		}
		if (r < 0)
			return r;
	}
}

static void remember(struct folder *f, const struct stat *st)
{
	f->device = st->st_dev;
	f->inode = st->st_ino;
	f->size = st->st_size;
	f->changed = st->st_mtim;
}

/* copy: an unlinked file to read instead of path, which the archive then owns; or -1. */
int store_add_mbox(struct store *a, const char *name, const char *path, int copy,
		   const struct store_wishes *wishes, struct err *e)
{
	int opened cleanup(fd_close_at) = -1;
	int fd = copy;
	struct stat st;
	size_t folder = 0;
	int r = store_add_folder(a, name, path, FOLDER_MBOX, &folder, e);

	if (r < 0) {
		fd_close_at(&copy);
		return r;
	}
	a->folders[folder].fd = copy;
	if (fd < 0) {
		opened = open(path, O_RDONLY | O_CLOEXEC);
		fd = opened;
		if (opened < 0)
			return err_sys(e, -errno, "cannot open %s", path);
	}
	if (fstat(fd, &st) < 0)
		return err_sys(e, -errno, "cannot look at %s", path);
	remember(&a->folders[folder], &st);
	(void)posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
	return scan_mbox(a, folder, fd, wishes, e);
}

static void read_facts(const char *bytes, size_t len, struct mbox_message *m)
{
	struct cursor c = cursor_of(bytes, len);
	struct mail_field f;
	struct mail_date date;
	enum mail_head what;

	while ((what = mail_head_next(&c, &f)) != MAIL_HEAD_END) {
		if (what == MAIL_HEAD_FIELD && mail_field_is(&f, "Date") &&
		    mail_date_parse(f.value, f.value_len, &date))
			m->date = date.seconds;
	}
}

/* name: relative to the folder's path, or "" where the path is the file. */
int store_add_file(struct store *a, size_t folder, const char *name, struct err *e)
{
	char *path cleanup(free_at) = NULL;
	char *bytes cleanup(free_at) = malloc(HEAD_LOOK);
	int fd cleanup(fd_close_at) = -1;
	struct mbox_message m = {.date = MBOX_NO_DATE, .flags = mail_flags_of_name(name)};
	size_t len = strlen(name) + 1;
	struct stat st;
	ssize_t n;

	if (!bytes || asprintf(&path, *name ? "%s/%s" : "%s%s", a->folders[folder].path, name) < 0)
		return store_no_memory(e);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_sys(e, -errno, "cannot open %s", path);
	n = pread(fd, bytes, HEAD_LOOK, 0);
	if (n < 0)
		return err_sys(e, -errno, "cannot read %s", path);
	read_facts(bytes, (size_t)n, &m);
	m.len = (uint64_t)st.st_size;
	if (m.date == MBOX_NO_DATE)
		m.date = st.st_mtim.tv_sec;
	while (a->names_len + len > a->names_room) {
		size_t room = a->names_room ? a->names_room * 2 : 4096;
		char *names = realloc(a->names, room);

		if (!names)
			return store_no_memory(e);
		a->names = names;
		a->names_room = room;
	}
	memcpy(a->names + a->names_len, name, len);
	a->names_len += len;
	return add_item(a, folder, &m, a->names_len - len, NULL, e);
}

/* The first bytes tell: an mbox, or a single message. */
static int add_single(struct store *a, const char *path, const struct store_wishes *wishes,
		      struct err *e)
{
	bool standard = strcmp(path, "-") == 0;
	const char *shown = standard ? "standard input" : path;
	int fd cleanup(fd_close_at) =
		standard ? fcntl(0, F_DUPFD_CLOEXEC, 3) : open(path, O_RDONLY | O_CLOEXEC);
	int copy = -1, r;
	char start[512];
	size_t folder = 0;

	if (fd < 0)
		return err_sys(e, -errno, "cannot open %s", shown);
	r = store_unpack(fd, shown, standard, wishes->temporary, &copy, e);
	if (r < 0)
		return r;

	ssize_t n = pread(copy >= 0 ? copy : fd, start, sizeof(start), 0);
	bool single = n > 0 && wishes->format == MBOX_AUTO && memcmp(start, "From ", 5) != 0 &&
		      mail_field_starts(start, start + n) && copy < 0;

	if (single) {
		r = store_add_folder(a, "", path, FOLDER_EML, &folder, e);
		return r < 0 ? r : store_add_file(a, folder, "", e);
	}
	r = store_add_mbox(a, "", shown, copy, wishes, e);
	if (r == 0 && a->count == 0 && a->expunged + a->internal == 0 && n > 0)
		return err_set(e, -EINVAL, "%s holds no mail that starts with a \"From \" line",
			       shown);
	return r;
}

int store_open(struct store *a, const char *path, const struct store_wishes *wishes, struct err *e)
{
	struct stat st;
	int r;

	*a = (struct store){.fd = -1, .temporary = wishes->temporary};
	if (strcmp(path, "-") != 0) {
		if (stat(path, &st) < 0)
			return err_sys(e, -errno, "cannot open %s", path);
		if (S_ISDIR(st.st_mode)) {
			r = store_add_tree(a, path, wishes, e);
			goto sort;
		}
	}
	r = add_single(a, path, wishes, e);
sort:
	return r == 0 && !wishes->as_it_stands ? store_sort(a, e) : r;
}

void store_free(struct store *a)
{
	for (size_t i = 0; i < a->folder_count; i++) {
		free(a->folders[i].name);
		free(a->folders[i].path);
		fd_close_at(&a->folders[i].fd);
	}
	fd_close_at(&a->fd);
	free(a->folders);
	spill_free(&a->index);
	free(a->names);
	*a = (struct store){.fd = -1};
}

static int open_mbox(struct store *a, size_t folder, struct err *e)
{
	const struct folder *f = &a->folders[folder];
	struct stat st;

	if (f->fd >= 0 || (a->fd >= 0 && a->fd_folder == folder))
		return 0;
	fd_close_at(&a->fd);
	a->fd = open(f->path, O_RDONLY | O_CLOEXEC);
	if (a->fd < 0 || fstat(a->fd, &st) < 0)
		return err_sys(e, -errno, "cannot open %s", f->path);
	a->fd_folder = folder;
	if (st.st_dev != f->device || st.st_ino != f->inode || st.st_size < f->size)
		return err_set(e, -ESTALE,
			       "%s was replaced while it was being read (is the mail program "
			       "running?); start again",
			       f->path);
	return 0;
}

static int open_file(struct store *a, const struct item *item, struct err *e)
{
	const struct folder *f = &a->folders[item->folder];
	const char *name = a->names + item->at;
	char *path cleanup(free_at) = NULL;

	fd_close_at(&a->fd);
	a->fd = -1;
	a->fd_folder = item->folder;
	if (asprintf(&path, *name ? "%s/%s" : "%s%s", f->path, name) < 0)
		return store_no_memory(e);
	a->fd = open(path, O_RDONLY | O_CLOEXEC);
	return a->fd < 0 ? err_sys(e, -errno, "cannot open %s", path) : 0;
}

int store_read(struct store *a, const struct item *item, uint64_t offset, char *bytes, size_t len,
	       struct err *e)
{
	const struct folder *f = &a->folders[item->folder];
	bool mbox = f->kind == FOLDER_MBOX;
	uint64_t at = offset + (mbox ? item->at : 0);
	int r = mbox ? open_mbox(a, item->folder, e) : open_file(a, item, e);

	if (r < 0)
		return r;
	while (len > 0) {
		ssize_t n = pread(f->fd >= 0 ? f->fd : a->fd, bytes, len, (off_t)at);

		if (n < 0)
			return err_sys(e, -errno, "cannot read %s", f->path);
		if (n == 0)
			return err_set(e, -ESTALE,
				       "%s became shorter while it was being read; start again",
				       f->path);
		bytes += n;
		len -= (size_t)n;
		at += (uint64_t)n;
	}
	return 0;
}

int store_changed(const struct store *a, size_t folder, struct err *e)
{
	const struct folder *f = &a->folders[folder];
	struct stat st;

	if (f->kind != FOLDER_MBOX || f->fd >= 0)
		return 0;
	if (stat(f->path, &st) < 0)
		return err_sys(e, -ESTALE, "%s is not there any more", f->path);
	if (st.st_dev != f->device || st.st_ino != f->inode || st.st_size < f->size)
		return err_set(e, -ESTALE, "%s was replaced while it was being read", f->path);
	return st.st_size > f->size;
}
