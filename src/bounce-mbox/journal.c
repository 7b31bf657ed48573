/* SPDX-License-Identifier: MIT */
#include "bounce-mbox/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>

#include "base/err.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/mem.h"
#include "bounce-mbox/journal_private.h"
#include "bounce-mbox/syncer.h"

uint32_t journal_line_sum(const char *line, size_t len)
{
	uint64_t hash = hash_bytes(HASH_START, line, len);

	return (uint32_t)(hash ^ hash >> 32);
}

/* What is lacking is kept, and said once what could be written is. */
static void lack(struct journal *j, const struct err *e)
{
	if (j->lack.code == 0)
		j->lack = *e;
}

/* Adds a line, whose words may hold anything but a newline. */
static void put_line(struct journal *j, const char *what, const unsigned char *key,
		     const char *words)
{
	static const char digits[] = "0123456789abcdef";
	size_t sum = j->lines.len + 1, start = sum + 9;
	char hex[2 * KEY_BYTES], text[12];

	buf_str(&j->lines, "@00000000 ");
	buf_str(&j->lines, what);
	buf_char(&j->lines, ' ');
	for (size_t i = 0; key && i < KEY_BYTES; i++) {
		hex[2 * i] = digits[key[i] >> 4];
		hex[2 * i + 1] = digits[key[i] & 15];
	}
	if (key)
		buf_add(&j->lines, hex, sizeof(hex));
	if (key && *words)
		buf_char(&j->lines, ' ');
	buf_str(&j->lines, words);
	if (buf_status(&j->lines) < 0)
		return;
	for (size_t i = start; i < j->lines.len; i++)
		if (j->lines.data[i] == '\n' || j->lines.data[i] == '\r')
			j->lines.data[i] = ' ';
	snprintf(text, sizeof(text), "%08" PRIx32,
		 journal_line_sum(j->lines.data + start, j->lines.len - start));
	memcpy(j->lines.data + sum, text, 8);
	buf_char(&j->lines, '\n');
}

/* A line is there as a whole or not at all: the others make sense without it. */
static bool add_line(struct journal *j, const char *what, const unsigned char *key,
		     const char *words)
{
	size_t before = j->lines.len;
	struct err e;

	put_line(j, what, key, words);
	if (buf_status(&j->lines) == 0)
		return true;
	j->lines.len = before;
	j->lines.failed = false;
	err_set(&e, -ENOMEM, "out of memory");
	lack(j, &e);
	return false;
}

void journal_run(struct journal *j, uint64_t total, const char *target)
{
	char words[600];

	snprintf(words, sizeof(words), "%s %lld %" PRIu64 " %s", j->boot, (long long)time(NULL),
		 total, target);
	j->imap = journal_is_imap(target);
	add_line(j, "run", NULL, words);
}

void journal_intent(struct journal *j, struct prepared *p, bool again)
{
	bool noted = add_line(j, again ? "retry" : "intent", p->key, p->id);

	p->in_doubt = again;
	/* the next run does not look for what is owed of a message that it does not know */
	if (noted && p->placed && !p->owed)
		p->owed = add_line(j, "owed", p->place, "");
}

void journal_go(struct journal *j, struct prepared *p)
{
	int64_t now = time(NULL);
	char text[24];

	if (now < j->marked || now - j->marked >= MARK_EVERY) {
		snprintf(text, sizeof(text), "%lld", (long long)now);
		add_line(j, "at", NULL, text);
		j->marked = now;
	}
	add_line(j, "go", p->key, p->in_doubt ? "again" : "");
	p->in_doubt = true;
}

void journal_recent(const struct journal *j, uint32_t parts[DAY_PARTS])
{
	memcpy(parts, j->recent, sizeof(j->recent));
}

bool journal_is_imap(const char *target)
{
	const char *server = strrchr(target, ' '); /* version 0.1.0 noted it alone */

	return strncmp(server ? server + 1 : target, "imap", 4) == 0;
}

enum imap_whose journal_whose(struct journal *j, const char *id, uint32_t validity, uint32_t uid)
{
	return taken_whose(&j->taken, id, validity, uid);
}

void journal_done(struct journal *j, const struct prepared *p, const char *words)
{
	struct err e;

	if (j->imap && taken_add(&j->taken, p->id, words, &e) < 0)
		lack(j, &e);
	/* without "paid" it is in doubt, and not sent once more */
	if (!p->owed || add_line(j, "paid", p->place, ""))
		add_line(j, "done", p->key, words);
}

void journal_not(struct journal *j, struct prepared *p, const char *words)
{
	/* of two copies that are under way one may have left */
	add_line(j, p->in_doubt ? "not" : "back", p->key, words);
	p->in_doubt = false;
}

int journal_write(struct journal *j, struct err *e)
{
	size_t done = 0;
	int r = 0;

	while (done < j->lines.len && r == 0) {
		ssize_t n = write(j->fd, j->lines.data + done, j->lines.len - done);

		if (n < 0 && errno != EINTR)
			r = err_sys(e, -errno, "cannot write the journal %s", j->path);
		done += n > 0 ? (size_t)n : 0;
	}
	if (done < j->lines.len) /* a later try goes on where this one ended */
		memmove(j->lines.data, j->lines.data + done, j->lines.len - done);
	j->lines.len -= done;
	return r == 0 && j->lack.code < 0 ? err_set(e, j->lack.code, "%s", j->lack.text) : r;
}

static int sync_failed(struct journal *j, int code, struct err *e)
{
	add_line(j, "lost", NULL, "");
	return err_sys(e, code, "cannot write the journal %s to the disk", j->path);
}

int journal_sync(struct journal *j, struct err *e)
{
	int r = journal_write(j, e);

	if (r == 0 && fdatasync(j->fd) < 0) {
		r = sync_failed(j, -errno, e);
		(void)journal_write(j, NULL);
	}
	return r;
}

int journal_sync_apart(struct journal *j, struct err *e)
{
	return syncer_new(&j->syncer, j->fd, e);
}

int journal_sync_start(struct journal *j, struct err *e)
{
	int r = journal_write(j, e);

	if (r == 0)
		syncer_start(j->syncer);
	return r;
}

int journal_sync_done(struct journal *j, struct err *e)
{
	int r = syncer_done(j->syncer);

	return r < 0 ? sync_failed(j, r, e) : r;
}

int journal_sync_fd(const struct journal *j)
{
	return syncer_fd(j->syncer);
}

/* Whether it is a copy that its mailbox lacks. */
static bool is_owed(struct journal *j, const struct prepared *p)
{
	struct journal_entry *entry = p->placed ? journal_table_find(&j->owed, p->place) : NULL;

	if (!entry || entry->met >= entry->sent)
		return false;
	entry->met++;
	return true;
}

enum journal_state journal_meet(struct journal *j, struct prepared *p)
{
	struct journal_entry *entry = journal_table_find(&j->table, p->key);

	if (!entry)
		entry = journal_table_find(&j->table, p->as_sent);
	if (*p->id && journal_ids_have(&j->old, p->id))
		return JOURNAL_SENT;
	if (!entry)
		return JOURNAL_NEW;
	p->owed = is_owed(j, p);
	if (p->owed)
		return entry->doubt > 0 ? JOURNAL_DOUBT : JOURNAL_NEW;
	if (entry->met < UINT32_MAX)
		entry->met++;
	if (entry->met <= entry->sent)
		return JOURNAL_SENT;
	return entry->met - entry->sent <= entry->doubt ? JOURNAL_DOUBT : JOURNAL_NEW;
}

void journal_sums(const struct journal *j, struct journal_sums *sums)
{
	*sums = j->sums;
	sums->old = j->old.count;
	sums->sent = sums->doubt = sums->refused = 0;
	for (size_t i = 0; i < j->table.count; i++) {
		const struct journal_entry *entry = journal_table_nth(&j->table, i);

		sums->sent += entry->sent;
		sums->doubt += entry->doubt;
		sums->refused += entry->refused;
	}
}

void journal_doubts(const struct journal *j, void (*each)(const char *id, void *data), void *data)
{
	for (size_t i = 0; i < j->table.count; i++) {
		const struct journal_entry *entry = journal_table_nth(&j->table, i);

		for (uint32_t k = 0; k < entry->doubt; k++)
			each(entry->id ? entry->id : "", data);
	}
}

/* Cuts a torn end off, ends a last line that has no newline. */
static int heal(struct journal *j, off_t good, struct err *e)
{
	struct stat st;
	char last;

	if (fstat(j->fd, &st) < 0)
		return err_sys(e, -errno, "cannot look at the journal %s", j->path);
	if (st.st_size > good) {
		j->sums.healed = true;
		if (ftruncate(j->fd, good) < 0)
			return err_sys(e, -errno, "cannot heal the journal %s", j->path);
	}
	if (good > 0 && pread(j->fd, &last, 1, good - 1) == 1 && last != '\n')
		buf_char(&j->lines, '\n');
	return buf_status(&j->lines) < 0 ? err_set(e, -ENOMEM, "out of memory") : 0;
}

static struct journal *start(const char *path, const char *boot)
{
	struct journal *j = calloc(1, sizeof(*j));

	if (!j)
		return NULL;
	j->fd = -1;
	j->opened = time(NULL);
	j->path = strdup(path);
	snprintf(j->boot, sizeof(j->boot), "%s", boot);
	if (j->path)
		return j;
	free(j);
	return NULL;
}

/* What is known of many messages lies beside the journal, not in memory. */
static int use_folder(struct journal *j, struct err *e)
{
	const char *slash = strrchr(j->path, '/');

	j->folder = slash ? strndup(j->path, slash == j->path ? 1 : (size_t)(slash - j->path))
			  : strdup(".");
	j->table.folder = j->owed.folder = j->old.folder = j->folder;
	j->taken.uids.folder = j->taken.ids.folder = j->folder;
	return j->folder ? 0 : err_set(e, -ENOMEM, "out of memory");
}

static int open_locked(struct journal *j, struct err *e)
{
	struct stat st;

	j->fd = open(j->path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (j->fd < 0)
		return err_sys(e, -errno, "cannot open the journal %s", j->path);
	if (flock(j->fd, LOCK_EX | LOCK_NB) < 0)
		return err_set(e, -EBUSY, "the journal %s is in use by another bounce-mbox",
			       j->path);
	if (fstat(j->fd, &st) == 0 && st.st_size > 0)
		return 0;
	return file_sync_folder(j->path, e); /* its name is new */
}

int journal_open(struct journal **j, const char *path, const char *boot, struct err *e)
{
	struct journal *new = start(path, boot);
	off_t good = 0;
	int r;

	if (!new)
		return err_set(e, -ENOMEM, "out of memory");
	r = open_locked(new, e);
	if (r == 0)
		r = use_folder(new, e);
	if (r == 0)
		r = journal_read(new, &good, e);
	if (r == 0)
		r = heal(new, good, e);
	if (r < 0) {
		journal_close(new);
		return r;
	}
	*j = new;
	return 0;
}

int journal_look(struct journal **j, const char *path, const char *boot, struct err *e)
{
	struct journal *new = start(path, boot);
	off_t good = 0;
	int r;

	if (!new)
		return err_set(e, -ENOMEM, "out of memory");
	r = journal_read(new, &good, e);
	if (r < 0) {
		journal_close(new);
		return r;
	}
	*j = new;
	return 0;
}

void journal_close(struct journal *j)
{
	if (!j)
		return;
	syncer_free(j->syncer);
	/* closing alone ends the lock when nobody else holds the open file: a child before its exec
	 * does, and for an instant whoever looks into /proc/PID/fd */
	if (j->fd >= 0)
		(void)flock(j->fd, LOCK_UN);
	fd_close_at(&j->fd);
	free(j->path);
	free(j->folder);
	buf_free(&j->lines);
	journal_table_free(&j->table);
	journal_table_free(&j->owed);
	journal_ids_free(&j->old);
	taken_free(&j->taken);
	free(j);
}
