/* SPDX-License-Identifier: MIT */
#include "bounce-mbox/store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "base/err.h"
#include "base/mem.h"
#include "mail/date.h"
#include "mail/flags.h"
#include "mail/header.h"

/* Reads at least this much at once: it stays in the processor's cache. */
#define READ_STEP ((size_t)256 * 1024)
/* As far back of a message as its separator line is looked for. */
#define FROM_LINE_MAX 4096
/* So many messages are found before their index is given back to the disk. */
#define REST_ITEMS ((size_t)128 * 1024)

int store_no_memory(struct err *e)
{
	return err_set(e, -ENOMEM, "out of memory");
}

void store_tell(const struct store_wishes *wishes, const char *what, const char *name,
		uint64_t bytes)
{
	if (wishes->reading)
		wishes->reading(wishes->data, what, name, bytes);
}

bool store_ends_with(const char *name, const char *end)
{
	size_t n = strlen(name), k = strlen(end);

	return n > k && strcasecmp(name + n - k, end) == 0;
}

enum store_looks store_look_at(const char *bytes, size_t len)
{
	const char *at = bytes, *end = bytes + len;

	if (len == 0)
		return STORE_EMPTY;
	if (len >= 3 && memcmp(at, "\xef\xbb\xbf", 3) == 0) /* a byte order mark */
		at += 3;
	while (at < end && (*at == '\n' || *at == '\r'))
		at++;
	if (end - at >= 5 && memcmp(at, "From ", 5) == 0)
		return memchr(at, '\r', (size_t)(end - at)) && !memchr(at, '\n', (size_t)(end - at))
			       ? STORE_OLD_MAC
			       : STORE_MBOX;
	return mail_field_starts(at, end) ? STORE_LETTER : STORE_OTHER;
}

int store_look(int fd, const char *name, enum store_looks *looks, struct err *e)
{
	char start[512];
	ssize_t n = pread(fd, start, sizeof(start), 0);

	if (n < 0)
		return err_sys(e, -errno, "cannot read %s", name);
	*looks = store_look_at(start, (size_t)n);
	return 0;
}

char *store_path(const char *folder, const char *name)
{
	return string_fmt("%s%s%s", folder, *name ? "/" : "", name);
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

int store_add_item(struct store *a, size_t folder, const struct mbox_message *m, uint64_t at,
		   const struct store_wishes *wishes, struct err *e)
{
	struct item *items;
	int r;

	if (m->flags & MAIL_INTERNAL) {
		a->internal++;
		return 0;
	}
	if ((m->flags & MAIL_EXPUNGED) && !wishes->with_expunged) {
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

struct peeking {
	int fd;
	int code; /* why it went wrong: a negative errno */
};

static size_t peek(uint64_t at, char *bytes, size_t len, void *data)
{
	struct peeking *p = data;
	ssize_t n = pread(p->fd, bytes, len, (off_t)at);

	if (n < 0)
		p->code = -errno;
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
	struct peeking peeking = {.fd = fd};
	struct mbox_scan scan = {.format = wishes->format, .peek = peek, .data = &peeking};
	struct mbox_window w = {.bytes = bytes};
	struct folder *f = &a->folders[folder];
	struct mbox_message m;
	int r = 0;

	if (!bytes)
		return store_no_memory(e);
	for (;;) {
		enum mbox_event event = mbox_scan_next(&scan, &w, &m);

		if (peeking.code < 0)
			return err_sys(e, peeking.code, "cannot read %s", f->path);
		switch (event) {
		case MBOX_MESSAGE:
			r = store_add_item(a, folder, &m, m.at, wishes, e);
			break;
		case MBOX_MORE:
			a->scanned += READ_STEP;
			store_tell(wishes, "reading", f->path, a->scanned);
			r = move_window(&w, bytes, scan.keep, fd, f->path, e);
			break;
		case MBOX_END:
			f->format = mbox_decide(&scan.seen, f->why, sizeof(f->why));
			if (wishes->format != MBOX_AUTO) {
				f->format = wishes->format;
				snprintf(f->why, sizeof(f->why), "as told by --format");
			}
			f->takeout = mbox_is_takeout(&scan.seen);
			f->before = scan.seen.messages > 0 ? scan.seen.before : w.at + w.len;
			return 0;
		}
		if (r < 0)
			return r;
	}
}

/* Whether the message of an mbox starts behind an empty line, and its separator ends in a time. */
static bool is_plain(const struct mbox_message *m, struct peeking *peeking)
{
	char bytes[200];
	size_t len = (size_t)(m->at - m->from) + 3;
	struct mail_date date;

	if (m->from < 3 || len > sizeof(bytes) || peek(m->from - 3, bytes, len, peeking) != len)
		return false;
	return bytes[2] == '\n' && (bytes[1] == '\n' || memcmp(bytes, "\n\r", 2) == 0) &&
	       mail_date_separator(bytes + 3, len - 3, &date);
}

/* An mbox whose first line is lost looks like a single message, and so does one that quotes an
 * mbox. */
static int count_inside(int fd, const char *path, uint64_t *count, struct err *e)
{
	char *bytes cleanup(free_at) = malloc(MBOX_WINDOW);
	struct peeking peeking = {.fd = fd};
	struct mbox_scan scan = {.format = MBOX_THUNDERBIRD, .peek = peek, .data = &peeking};
	struct mbox_window w = {.bytes = bytes};
	enum mbox_event event;
	struct mbox_message m;

	if (!bytes)
		return store_no_memory(e);
	while ((event = mbox_scan_next(&scan, &w, &m)) != MBOX_END) {
		int r = event == MBOX_MORE ? move_window(&w, bytes, scan.keep, fd, path, e) : 0;

		if (r < 0)
			return r;
		*count += event == MBOX_MESSAGE && is_plain(&m, &peeking);
	}
	return peeking.code < 0 ? err_sys(e, peeking.code, "cannot read %s", path) : 0;
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

static int add_lone_letter(struct store *a, const char *path, int fd, int copy,
			   const struct store_wishes *wishes, struct err *e)
{
	uint64_t inside = 0;
	int r = count_inside(copy >= 0 ? copy : fd, path, &inside, e);

	if (r < 0) {
		fd_close_at(&copy);
		return r;
	}
	r = store_add_letter(a, path, copy, wishes, e);
	if (r == 0)
		a->folders[0].inside = inside;
	return r;
}

/* The first bytes tell: an mbox, or a single message. */
static int add_single(struct store *a, const char *path, const struct store_wishes *wishes,
		      struct err *e)
{
	bool standard = strcmp(path, "-") == 0;
	const char *shown = standard ? "standard input" : path;
	int fd cleanup(fd_close_at) =
		standard ? fcntl(0, F_DUPFD_CLOEXEC, 3) : open(path, O_RDONLY | O_CLOEXEC);
	enum store_looks looks = STORE_OTHER;
	struct stat st;
	int copy = -1, r;
	bool once; /* a pipe, as <(COMMAND) of a shell is */

	if (fd < 0)
		return err_sys(e, -errno, "cannot open %s", shown);
	if (fstat(fd, &st) < 0)
		return err_sys(e, -errno, "cannot look at %s", shown);
	a->device = st.st_dev;
	a->inode = st.st_ino;
	once = standard || lseek(fd, 0, SEEK_CUR) < 0;
	r = store_unpack(fd, shown, once ? UNPACK_ALL : UNPACK_PACKED, wishes, &copy, e);
	if (r == 0)
		r = store_look(copy >= 0 ? copy : fd, shown, &looks, e);
	if (r < 0) {
		fd_close_at(&copy);
		return r;
	}
	if (wishes->format == MBOX_AUTO &&
	    (looks == STORE_LETTER || store_ends_with(path, ".emlx")))
		return add_lone_letter(a, shown, fd, copy, wishes, e);
	if (looks == STORE_OLD_MAC) {
		fd_close_at(&copy);
		return err_set(
			e, -EINVAL,
			"the lines of %s end in CR alone, as on old Macs; make it an mbox by tr "
			"'\\r' '\\n'",
			shown);
	}
	r = store_add_mbox(a, "", shown, copy, wishes, e);
	if (r == 0 && a->count == 0 && a->expunged + a->internal == 0 && looks != STORE_EMPTY)
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
		mail_letters_free(a->folders[i].letters);
		free(a->folders[i].letters);
		fd_close_at(&a->folders[i].fd);
	}
	fd_close_at(&a->fd);
	for (size_t i = 0; i < a->damage_count; i++)
		free(a->damages[i].why);
	free(a->damages);
	free(a->folders);
	spill_free(&a->index);
	free(a->names);
	free(a->passed_over);
	*a = (struct store){.fd = -1};
}

const char *store_shown(const struct store *a, const struct item *item)
{
	const struct folder *f = &a->folders[item->folder];

	return *f->name ? f->name : f->path;
}

static int replaced(const struct folder *f, const char *what, struct err *e)
{
	return err_set(e, -ESTALE,
		       "%s was %s while it was being read (is the mail program running?); start "
		       "again",
		       f->path, what);
}

static int became_shorter(const struct folder *f, struct err *e)
{
	return err_set(e, -ESTALE, "%s became shorter while it was being read; start again",
		       f->path);
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
		return replaced(f, "replaced", e);
	return 0;
}

/* Whether a separator stands right before the message, and another one, or the end, behind it. */
static bool is_in_place(int fd, const struct item *item)
{
	char before[FROM_LINE_MAX], behind[8];
	size_t room = item->at < sizeof(before) ? (size_t)item->at : sizeof(before);
	ssize_t n = pread(fd, before, room, (off_t)(item->at - room));
	const char *line, *at = behind;

	if (n != (ssize_t)room || room == 0 || before[room - 1] != '\n')
		return false;
	line = memrchr(before, '\n', room - 1);
	line = line ? line + 1 : before;
	if (!memmem(line, (size_t)(before + room - line), "From ", 5))
		return false;
	n = pread(fd, behind, sizeof(behind), (off_t)(item->at + item->len));
	for (; n > 0 && at < behind + 2 && (*at == '\r' || *at == '\n'); at++)
		n--;
	return n == 0 || (n >= 5 && memcmp(at, "From ", 5) == 0);
}

/* A file may grow at its end while it is read. Where a mail program writes it anew in place, its
 * messages lie elsewhere: what was found does not count any more. */
static int check_place(const struct store *a, const struct item *item, struct err *e)
{
	const struct folder *f = &a->folders[item->folder];
	struct stat st;

	if (f->fd >= 0)
		return 0;
	if (fstat(a->fd, &st) < 0)
		return err_sys(e, -errno, "cannot look at %s", f->path);
	if (st.st_size == f->size && st.st_mtim.tv_sec == f->changed.tv_sec &&
	    st.st_mtim.tv_nsec == f->changed.tv_nsec)
		return 0;
	if (st.st_size < f->size)
		return became_shorter(f, e);
	return is_in_place(a->fd, item) ? 0 : replaced(f, "changed", e);
}

int store_read(struct store *a, const struct item *item, uint64_t offset, char *bytes, size_t len,
	       struct err *e)
{
	const struct folder *f = &a->folders[item->folder];
	bool mbox = f->kind == FOLDER_MBOX;
	int r = mbox ? open_mbox(a, item->folder, e) : store_open_file(a, item, e);
	uint64_t at = offset + (mbox ? item->at : a->fd_start);

	if (r == 0 && mbox && offset == 0)
		r = check_place(a, item, e);
	if (r < 0)
		return r;
	while (len > 0) {
		ssize_t n = pread(f->fd >= 0 ? f->fd : a->fd, bytes, len, (off_t)at);

		if (n < 0)
			return err_sys(e, -errno, "cannot read %s", f->path);
		if (n == 0)
			return became_shorter(f, e);
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
