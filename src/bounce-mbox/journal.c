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
#include "base/hash.h"
#include "base/mem.h"
#include "bounce-mbox/journal_table.h"
#include "bounce-mbox/syncer.h"
#include "mail/imap_line.h"

/* Message-IDs are cut at 1,000 bytes. */
#define ID_TEXT_MAX 1100
/* The time is noted so often, in seconds. */
#define MARK_EVERY  60
#define DAY_SECONDS 86400

struct journal {
	int fd;
	char *path;
	char *folder; /* of it; NULL: it is only looked at */
	char boot[40];
	bool same_boot; /* as the run whose lines are being read */
	struct buf lines;
	struct journal_table table;
	struct journal_ids old;
	struct journal_ids uids; /* "VALIDITY UID\nID" of what IMAP servers took */
	struct journal_sums sums;
	int64_t opened, marked; /* seconds since 1970: when it was, when a line last said */
	uint32_t recent[DAY_PARTS];
	struct syncer *syncer;
};

static uint32_t sum_of(const char *line, size_t len)
{
	uint64_t hash = hash_bytes(HASH_START, line, len);

	return (uint32_t)(hash ^ hash >> 32);
}

/* Adds a line, whose words may hold anything but a newline. */
static void add_line(struct journal *j, const char *what, const unsigned char *key,
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
		 sum_of(j->lines.data + start, j->lines.len - start));
	memcpy(j->lines.data + sum, text, 8);
	buf_char(&j->lines, '\n');
}

void journal_run(struct journal *j, uint64_t total, const char *target)
{
	struct buf words cleanup(buf_free) = {0};

	buf_fmt(&words, "%s %lld %" PRIu64 " %s", j->boot, (long long)time(NULL), total, target);
	add_line(j, "run", NULL, buf_text(&words));
}

void journal_intent(struct journal *j, const struct prepared *p, bool again)
{
	add_line(j, again ? "again" : "intent", p->key, p->id);
}

void journal_go(struct journal *j, const struct prepared *p)
{
	int64_t now = time(NULL);
	char text[24];

	if (now < j->marked || now - j->marked >= MARK_EVERY) {
		snprintf(text, sizeof(text), "%lld", (long long)now);
		add_line(j, "at", NULL, text);
		j->marked = now;
	}
	add_line(j, "go", p->key, "");
}

void journal_recent(const struct journal *j, uint32_t parts[DAY_PARTS])
{
	memcpy(parts, j->recent, sizeof(j->recent));
}

/* Notes the UID that a server gave. */
static int add_uid(struct journal *j, const char *id, const char *words)
{
	char text[ID_TEXT_MAX];
	uint32_t validity, uid;

	if (!*id || !imap_append_uid(words, strlen(words), 0, &validity, &uid))
		return 0;
	snprintf(text, sizeof(text), "%" PRIu32 " %" PRIu32 "\n%s", validity, uid, id);
	return journal_ids_add(&j->uids, text, strlen(text));
}

bool journal_has_uid(struct journal *j, const char *id, uint32_t validity, uint32_t uid)
{
	char text[ID_TEXT_MAX];

	snprintf(text, sizeof(text), "%" PRIu32 " %" PRIu32 "\n%s", validity, uid, id);
	return journal_ids_have(&j->uids, text);
}

void journal_done(struct journal *j, const struct prepared *p, const char *words)
{
	j->lines.failed = j->lines.failed || add_uid(j, p->id, words) < 0;
	add_line(j, "done", p->key, words);
}

void journal_not(struct journal *j, const struct prepared *p, const char *words)
{
	add_line(j, "not", p->key, words);
}

int journal_write(struct journal *j, struct err *e)
{
	const char *at = buf_text(&j->lines);
	size_t left = j->lines.len;

	if (buf_status(&j->lines) < 0)
		return err_set(e, -ENOMEM, "out of memory");
	while (left > 0) {
		ssize_t n = write(j->fd, at, left);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(e, -errno, "cannot write the journal %s", j->path);
		at += n;
		left -= (size_t)n;
	}
	buf_clear(&j->lines);
	return 0;
}

int journal_sync(struct journal *j, struct err *e)
{
	int r = journal_write(j, e);

	if (r == 0 && fdatasync(j->fd) < 0)
		r = err_sys(e, -errno, "cannot write the journal %s to the disk", j->path);
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

	return r < 0 ? err_sys(e, r, "cannot write the journal %s to the disk", j->path) : r;
}

int journal_sync_fd(const struct journal *j)
{
	return syncer_fd(j->syncer);
}

enum journal_state journal_meet(struct journal *j, const struct prepared *p)
{
	struct journal_entry *entry = journal_table_at(&j->table, p->key, NULL);

	if (*p->id && journal_ids_have(&j->old, p->id))
		return JOURNAL_SENT;
	if (!entry)
		return JOURNAL_NEW;
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

/* --- reading --- */

/* What is open of the run that has ended becomes doubt, or nothing. */
static void settle(struct journal *j)
{
	for (size_t i = 0; i < j->table.count; i++) {
		struct journal_entry *entry = journal_table_nth(&j->table, i);

		entry->doubt += entry->gone;
		if (!j->same_boot)
			entry->doubt += entry->intended;
		entry->gone = entry->intended = 0;
	}
}

/* "BOOT TIME TOTAL TARGET" */
static void start_run(struct journal *j, const char *words)
{
	const char *rest = strchr(words, ' ');
	size_t len = rest ? (size_t)(rest - words) : 0;
	char *end;

	settle(j);
	if (!rest)
		return;
	j->same_boot = strlen(j->boot) == len && memcmp(words, j->boot, len) == 0;
	j->marked = strtoll(rest, &end, 10);
	j->sums.total = strtoull(end, &end, 10);
	snprintf(j->sums.target, sizeof(j->sums.target), "%s", *end == ' ' ? end + 1 : end);
}

static int digit_of(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool key_of(const char *hex, unsigned char key[KEY_BYTES])
{
	for (size_t i = 0; i < KEY_BYTES; i++, hex += 2) {
		int high = digit_of(hex[0]);
		int low = high < 0 ? -1 : digit_of(hex[1]);

		if (low < 0)
			return false;
		key[i] = (unsigned char)(high << 4 | low);
	}
	return *hex == ' ' || *hex == 0;
}

static void take_one(uint32_t *first, uint32_t *second)
{
	if (*first > 0)
		--*first;
	else if (second && *second > 0)
		--*second;
}

static void apply(struct journal_entry *entry, const char *what, const char *words)
{
	if (strcmp(what, "intent") == 0 || strcmp(what, "again") == 0) {
		if (*what == 'a')
			take_one(&entry->doubt, &entry->gone);
		entry->intended++;
		entry->refused = 0;
	} else if (strcmp(what, "go") == 0) {
		take_one(&entry->intended, NULL);
		entry->gone++;
	} else if (strcmp(what, "done") == 0) {
		take_one(&entry->gone, &entry->intended);
		entry->sent++;
	} else if (strcmp(what, "not") == 0) {
		take_one(&entry->gone, &entry->intended);
		entry->refused += *words != 0;
	}
}

/* A message left within MARK_EVERY of the last mark. */
static void count_recent(struct journal *j)
{
	int64_t age = j->opened - j->marked - MARK_EVERY;

	if (age < 0)
		age = 0;
	if (age < DAY_SECONDS)
		j->recent[age / (DAY_SECONDS / DAY_PARTS)]++;
}

/* A line of ours, without checksum and newline: -EBADMSG where it makes no sense. */
static int read_line(struct journal *j, char *line)
{
	char *words = strchr(line, ' ');
	unsigned char key[KEY_BYTES];
	struct journal_entry *entry;

	if (!words)
		return -EBADMSG;
	*words++ = 0;
	if (strcmp(line, "run") == 0) {
		start_run(j, words);
		return 0;
	}
	if (strcmp(line, "at") == 0) {
		j->marked = strtoll(words, NULL, 10);
		return 0;
	}
	if (!key_of(words, key))
		return -EBADMSG;
	words += (size_t)2 * KEY_BYTES;
	words += *words == ' ';
	entry = journal_table_at(&j->table, key, *line == 'i' || *line == 'a' ? words : "");
	if (!entry)
		return -ENOMEM;
	if (strcmp(line, "done") == 0 && entry->id && add_uid(j, entry->id, words) < 0)
		return -ENOMEM;
	if (strcmp(line, "go") == 0)
		count_recent(j);
	apply(entry, line, words);
	if (entry->intended + entry->gone + entry->doubt == 0) { /* nobody will ask for it */
		free(entry->id);
		entry->id = NULL;
	}
	return 0;
}

static bool whole(const char *line, size_t len)
{
	char sum[12];

	if (len < 11 || *line != '@' || line[9] != ' ')
		return false;
	snprintf(sum, sizeof(sum), "%08" PRIx32, sum_of(line + 10, len - 10));
	return memcmp(line + 1, sum, 8) == 0;
}

static bool binary(const char *line, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)line[i] < ' ' && line[i] != '\t' && line[i] != '\r')
			return true;
	return false;
}

static int read_old(struct journal *j, const char *line, size_t len)
{
	while (len > 0 && (line[len - 1] == '\r' || line[len - 1] == ' '))
		len--;
	return len == 0 || *line == '#' ? 0 : journal_ids_add(&j->old, line, len);
}

/* Reads all lines; *good is how far the file makes sense. */
static int read_lines(struct journal *j, FILE *file, off_t *good, struct err *e)
{
	char *line cleanup(free_at) = NULL;
	size_t room = 0, number = 0, bad = 0;
	off_t at = 0;
	ssize_t n;

	while ((n = getline(&line, &room, file)) > 0) {
		size_t len = (size_t)n;
		bool ended = line[len - 1] == '\n';
		int r = 0;

		number++;
		at += n;
		len -= ended;
		line[len] = 0;
		if (!binary(line, len) && *line != '@') {
			r = read_old(j, line, len);
		} else if (ended && whole(line, len)) {
			r = read_line(j, line + 10);
		} else if (bad == 0) {
			bad = number;
			continue;
		}
		if (r == -ENOMEM || ferror(file))
			return err_set(e, r ? r : -EIO, "cannot read the journal %s", j->path);
		if (r < 0 || (bad > 0 && len > 0))
			return err_set(e, -EBADMSG,
				       "line %zu of the journal %s is damaged; as it may hide what "
				       "was sent, restore it or remove that line",
				       bad > 0 ? bad : number, j->path);
		if (bad == 0) /* an empty line behind a torn one does not make it whole */
			*good = at;
	}
	return 0;
}

static int read_all(struct journal *j, off_t *good, struct err *e)
{
	int fd = open(j->path, O_RDONLY | O_CLOEXEC);
	FILE *file = fd >= 0 ? fdopen(fd, "r") : NULL;
	int r;

	if (!file) {
		r = err_sys(e, -errno, "cannot open the journal %s", j->path);
		if (fd >= 0)
			close(fd);
		return r;
	}
	r = read_lines(j, file, good, e);
	fclose(file);
	settle(j);
	return r;
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
	return 0;
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
	j->table.folder = j->old.folder = j->uids.folder = j->folder;
	return j->folder ? 0 : err_set(e, -ENOMEM, "out of memory");
}

static int open_locked(struct journal *j, struct err *e)
{
	j->fd = open(j->path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (j->fd < 0)
		return err_sys(e, -errno, "cannot open the journal %s", j->path);
	if (flock(j->fd, LOCK_EX | LOCK_NB) < 0)
		return err_set(e, -EBUSY, "the journal %s is in use by another bounce-mbox",
			       j->path);
	return 0;
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
		r = read_all(new, &good, e);
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
	r = read_all(new, &good, e);
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
	fd_close_at(&j->fd);
	free(j->path);
	free(j->folder);
	buf_free(&j->lines);
	journal_table_free(&j->table);
	journal_ids_free(&j->old);
	journal_ids_free(&j->uids);
	free(j);
}
