/* SPDX-License-Identifier: MIT */
#include "bounce-mbox/rejects.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdio_ext.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/file.h"
#include "base/mem.h"
#include "bounce-mbox/journal_table.h"
#include "bounce-mbox/prepare.h"
#include "bounce-mbox/store.h"
#include "mail/date.h"

struct rejects {
	FILE *file;
	char *path;
	struct journal_table there; /* "sent": copies in the file; "met": those come again */
};

/* A run that died may have left half a message: the next one starts on a line of its own. */
static int end_last(int fd, const char *path, struct err *e)
{
	char end[2] = "";
	struct stat st;
	ssize_t n = fstat(fd, &st);

	if (n == 0 && st.st_size == 0)
		return 0;
	if (n == 0)
		n = pread(fd, end, 2, st.st_size > 2 ? st.st_size - 2 : 0);
	if (n >= 0 && memcmp(end, "\n\n", 2) != 0)
		n = write(fd, "\n\n", 2);
	return n < 0 ? err_sys(e, -errno, "cannot write %s", path) : 0;
}

/* What earlier runs have set aside. */
static int read_all(struct rejects *r, const struct cleaning *cleaning, const char *temporary,
		    struct err *e)
{
	const struct store_wishes wishes = {.format = MBOX_RD,
					    .as_it_stands = true,
					    .with_expunged = true,
					    .temporary = temporary};
	struct prepared p = {0};
	struct store store = {.fd = -1};
	int code = store_open(&store, r->path, &wishes, e);

	if (code == -EINVAL) /* no mail */
		code = 0;
	r->there.folder = temporary;
	for (size_t i = 0; i < store.count && code == 0; i++) {
		struct journal_entry *entry;

		code = prepare(&p, &store, store_item(&store, i), cleaning, e);
		entry = code == 0 ? journal_table_make(&r->there, p.as_sent, "", e) : NULL;
		if (entry)
			entry->sent++;
		else if (code == 0)
			code = -ENOMEM;
	}
	prepared_free(&p);
	store_free(&store);
	return code;
}

int rejects_open(struct rejects **r, const char *path, const struct cleaning *cleaning,
		 const char *temporary, struct err *e)
{
	int fd cleanup(fd_close_at) = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	struct rejects *new;
	int code;

	if (fd < 0)
		return err_sys(e, -errno, "cannot open %s", path);
	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		return err_set(e, -EBUSY, "%s is in use by another bounce-mbox", path);
	code = file_sync_folder(path, e); /* where it is new */
	if (code == 0)
		code = end_last(fd, path, e);
	if (code < 0)
		return code;
	new = calloc(1, sizeof(*new));
	if (!new)
		return err_set(e, -ENOMEM, "out of memory");
	new->path = strdup(path);
	new->file = fdopen(fd, "a");
	if (!new->path || !new->file) {
		rejects_close(new);
		return err_set(e, -ENOMEM, "out of memory");
	}
	fd_take(&fd);
	code = read_all(new, cleaning, temporary, e);
	if (code < 0) {
		rejects_close(new);
		return code;
	}
	*r = new;
	return 0;
}

void rejects_close(struct rejects *r)
{
	if (!r)
		return;
	if (r->file)
		fclose(r->file);
	free(r->path);
	journal_table_free(&r->there);
	free(r);
}

static bool needs_quote(const char *line, size_t len)
{
	size_t n = 0;

	while (n < len && line[n] == '>')
		n++;
	return len - n >= 5 && memcmp(line + n, "From ", 5) == 0;
}

/* Lines of a cleaned message, quoted, with bare LF, but where a CR stands before the line's end and
 * is to stay. *start: at the start of a line. */
static void put_lines(FILE *file, const char *at, size_t len, bool *start)
{
	const char *end = at + len;

	while (at < end) {
		const char *newline = memchr(at, '\n', (size_t)(end - at));
		const char *stop = newline ? newline : end;

		if (*start && needs_quote(at, (size_t)(stop - at)))
			putc('>', file);
		if (newline && stop > at && stop[-1] == '\r' &&
		    (stop - at == 1 || stop[-2] != '\r'))
			stop--;
		fwrite(at, 1, (size_t)(stop - at), file);
		if (newline)
			putc('\n', file);
		*start = newline != NULL;
		at = newline ? newline + 1 : end;
	}
}

static int put_message(struct rejects *r, struct stream *s, const struct prepared *p, struct err *e)
{
	struct buf piece cleanup(buf_free) = {0};
	bool last = false, start = true;
	int code = 0;

	if (p->text.len > 0) {
		put_lines(r->file, p->text.data, p->text.len, &start);
		return 0;
	}
	while (!last && code == 0) {
		code = stream_next(s, &piece, &last, e);
		put_lines(r->file, buf_text(&piece), piece.len, &start);
		buf_clear(&piece);
	}
	return code;
}

static int add(struct rejects *r, struct store *store, const struct prepared *p,
	       const struct cleaning *cleaning, const char *words, struct err *e)
{
	struct mail_date date = {.seconds = p->item->date};
	struct stream s = {0};
	char when[32];
	int code;

	fprintf(r->file, "From MAILER-DAEMON %s\n" REJECTS_FIELD ": ",
		mail_date_ctime(&date, when));
	for (; *words; words++)
		putc(*words == '\n' || *words == '\r' ? ' ' : *words, r->file);
	putc('\n', r->file);
	stream_again(&s, store, p, cleaning);
	code = put_message(r, &s, p, e);
	stream_free(&s);
	putc('\n', r->file);
	if (code == 0 &&
	    (fflush(r->file) != 0 || ferror(r->file) || fdatasync(fileno(r->file)) < 0))
		code = err_sys(e, errno ? -errno : -EIO, "cannot write %s", r->path);
	return code;
}

int rejects_add(struct rejects *r, struct store *store, const struct prepared *p,
		const struct cleaning *cleaning, const char *words, struct err *e)
{
	struct journal_entry *entry = journal_table_find(&r->there, p->as_sent);
	struct stat st;
	int code;

	if (entry && entry->met < entry->sent) {
		entry->met++;
		return 0;
	}
	if (fstat(fileno(r->file), &st) < 0)
		return err_sys(e, -errno, "cannot look at %s", r->path);
	code = add(r, store, p, cleaning, words, e);
	if (code < 0) { /* the next run adds it again: no half of it stays */
		__fpurge(r->file);
		(void)!ftruncate(fileno(r->file), st.st_size);
	}
	return code;
}
