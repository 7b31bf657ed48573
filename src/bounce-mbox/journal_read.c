/* SPDX-License-Identifier: MIT */
/* What a journal's lines say. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "bounce-mbox/journal_private.h"

#define DAY_SECONDS 86400

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

/* Since 1970; what a broken line has before that is 1970. */
static int64_t seconds_of(const char *text, char **end)
{
	int64_t seconds = strtoll(text, end, 10);

	return seconds < 0 ? 0 : seconds;
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
	j->same_boot = strcmp(j->boot, "unknown") != 0 && strlen(j->boot) == len &&
		       memcmp(words, j->boot, len) == 0;
	j->marked = seconds_of(rest, &end);
	j->sums.total = strtoull(end, &end, 10);
	snprintf(j->sums.target, sizeof(j->sums.target), "%s", *end == ' ' ? end + 1 : end);
	j->imap = journal_is_imap(j->sums.target);
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
	} else if (strcmp(what, "retry") == 0) {
		/* as if it had gone in this run; its doubt may stand by the key of version 0.1.0 */
		entry->gone += entry->doubt > 0 || entry->gone == 0;
		take_one(&entry->doubt, NULL);
		entry->refused = 0;
	} else if (strcmp(what, "go") == 0 && !*words) {
		take_one(&entry->intended, NULL);
		entry->gone++;
	} else if (strcmp(what, "back") == 0) {
		take_one(&entry->intended, NULL);
		entry->refused += *words != 0;
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
	int64_t age = j->marked < j->opened ? j->opened - j->marked - MARK_EVERY : 0;

	if (age < 0)
		age = 0;
	if (age < DAY_SECONDS)
		j->recent[age / (DAY_SECONDS / DAY_PARTS)]++;
}

/* "owed PLACE": a mailbox lacks a copy; "paid PLACE": not any more. */
static int count_owed(struct journal *j, const unsigned char *place, bool paid, struct err *e)
{
	struct journal_entry *entry = journal_table_make(&j->owed, place, "", e);

	if (entry && paid)
		take_one(&entry->sent, NULL);
	else if (entry)
		entry->sent++;
	return entry ? 0 : -ENOMEM;
}

/* A line of ours, without checksum and newline: -EBADMSG where it makes no sense, for which the
 * caller has words. */
static int read_line(struct journal *j, char *line, struct err *e)
{
	char *words = strchr(line, ' ');
	unsigned char key[KEY_BYTES];
	struct journal_entry *entry;
	int r = 0;

	if (!words)
		return -EBADMSG;
	*words++ = 0;
	if (strcmp(line, "run") == 0) {
		start_run(j, words);
		return 0;
	}
	if (strcmp(line, "at") == 0) {
		j->marked = seconds_of(words, NULL);
		return 0;
	}
	if (strcmp(line, "lost") == 0) {
		j->same_boot = false;
		return 0;
	}
	if (!key_of(words, key))
		return -EBADMSG;
	if (strcmp(line, "owed") == 0 || strcmp(line, "paid") == 0)
		return count_owed(j, key, *line == 'p', e);
	words += (size_t)2 * KEY_BYTES;
	words += *words == ' ';
	entry = journal_table_make(&j->table, key, strchr("iar", *line) ? words : "", e);
	if (!entry)
		return -ENOMEM;
	if (strcmp(line, "done") == 0 && entry->id && j->imap)
		r = taken_add(&j->taken, entry->id, words, e);
	if (r < 0)
		return r;
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
	snprintf(sum, sizeof(sum), "%08" PRIx32, journal_line_sum(line + 10, len - 10));
	return memcmp(line + 1, sum, 8) == 0;
}

static bool binary(const char *line, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)line[i] < ' ' && line[i] != '\t' && line[i] != '\r')
			return true;
	return false;
}

static int read_old(struct journal *j, const char *line, size_t len, struct err *e)
{
	while (len > 0 && (line[len - 1] == '\r' || line[len - 1] == ' '))
		len--;
	return len == 0 || *line == '#' ? 0 : journal_ids_add(&j->old, line, len, e);
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
		if (number == 1 && strncmp(line, "From ", 5) == 0)
			return err_set(e, -EINVAL, "%s is mail, an mbox, and no journal", j->path);
		if (!binary(line, len) && *line != '@') {
			r = read_old(j, line, len, e);
		} else if (ended && whole(line, len)) {
			r = read_line(j, line + 10, e);
		} else if (bad == 0) {
			bad = number;
			continue;
		}
		if (r < 0 && r != -EBADMSG) {
			err_where(e, "cannot read the journal %s", j->path);
			return r;
		}
		if (r < 0 || (bad > 0 && len > 0))
			return err_set(e, -EBADMSG,
				       "line %zu of the journal %s is damaged; as it may hide what "
				       "was sent, restore it or remove that line",
				       bad > 0 ? bad : number, j->path);
		if (bad == 0) /* an empty line behind a torn one does not make it whole */
			*good = at;
	}
	/* what was not read must not be taken for a torn end */
	return feof(file) ? 0 : err_sys(e, -errno, "cannot read the journal %s", j->path);
}

int journal_read(struct journal *j, off_t *good, struct err *e)
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
