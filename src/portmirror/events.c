/* SPDX-License-Identifier: MIT */
#include "portmirror/events.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/file.h"
#include "base/mem.h"
#include "data/json.h"

/* The file is written anew when it holds twice as many as are kept. */
#define FILE_LINES ((size_t)2 * EVENTS_MAX)
#define FILE_MAX   ((size_t)16 << 20)

struct events {
	char *path;
	struct event *ring[EVENTS_MAX]; /* number n is at n % EVENTS_MAX */
	size_t count;
	uint64_t last; /* number of the newest; 0: none ever */
	size_t taken;  /* how many came in, of this process and others */
	/* What of the file has been read. */
	dev_t device;
	ino_t inode;
	off_t at;
	size_t lines;
	bool torn; /* its last line has no end */
};

static const char *const kinds[] = {
	"started",	   "stopped",	      "session-added",
	"session-changed", "session-removed", "session-whole",
	"session-partial", "session-waiting", "session-suspended",
	"session-failed",  "port-joined",     "port-left",
	"repaired",	   "fight",	      "refused",
	"overrun",	   "error",	      "appliance-failed",
	"appliance-back",
};

/* The one copy of a kind's name: a word of another version's is "other". */
static const char *kind_of(const char *word)
{
	for (size_t i = 0; i < COUNT(kinds); i++)
		if (strcmp(kinds[i], word) == 0)
			return kinds[i];
	return "other";
}

static void event_free(struct event *event)
{
	if (event)
		free(event->text);
	free(event);
}

static void event_free_at(struct event **event)
{
	event_free(*event);
}

static void forget(struct events *events)
{
	for (size_t i = 0; i < EVENTS_MAX; i++) {
		event_free(events->ring[i]);
		events->ring[i] = NULL;
	}
	events->count = 0;
	events->last = 0;
}

/* Numbers rise, but begin anew where the file was removed: then that number was another event's, or
 * is lower than that of one before it. */
static bool begins_anew(const struct events *events, const struct event *event)
{
	const struct event *had = events->ring[event->number % EVENTS_MAX];

	if (event->number > events->last || events->count == 0)
		return false;
	if (had && had->number == event->number)
		return had->time != event->time;
	return event->time > events->ring[events->last % EVENTS_MAX]->time;
}

/* Takes the event over; one that is in the ring already is left out. */
static void keep(struct events *events, struct event *event)
{
	struct event **place = &events->ring[event->number % EVENTS_MAX];

	if (begins_anew(events, event))
		forget(events);
	if (event->number <= events->last) {
		event_free(event);
		return;
	}
	/* A gap (lines were lost) makes those before it unreachable by number: drop them. */
	if (events->last != 0 && event->number != events->last + 1)
		forget(events);
	event_free(*place);
	*place = event;
	events->last = event->number;
	events->taken++;
	if (events->count < EVENTS_MAX)
		events->count++;
}

/* -EBADMSG: it is no event's. */
static int event_of(const json_t *object, struct event **made)
{
	struct event *event cleanup(event_free_at) = calloc(1, sizeof(*event));
	const char *kind, *session = "", *text;
	json_int_t number, time;

	if (!event)
		return -ENOMEM;
	errno = 0;
	if (json_unpack((json_t *)(uintptr_t)object, "{s:I, s:I, s:s, s?s, s:s}", "number", &number,
			"time", &time, "kind", &kind, "session", &session, "text", &text) < 0)
		return errno == ENOMEM ? -ENOMEM : -EBADMSG;
	if (number < 1 || strlen(session) > SESSION_NAME_MAX)
		return -EBADMSG;
	event->number = (uint64_t)number;
	event->time = time;
	event->kind = kind_of(kind);
	snprintf(event->session, sizeof(event->session), "%s", session);
	event->text = strdup(text);
	if (!event->text)
		return -ENOMEM;
	*made = take(event);
	return 0;
}

/* A damaged line is left out. */
static int read_line(struct events *events, const char *line, size_t len)
{
	json_t *object cleanup(json_free_at) = NULL;
	struct event *event;
	int r = json_load(line, len, JSON_REJECT_DUPLICATES, &object, NULL);

	if (r == 0)
		r = event_of(object, &event);
	if (r == 0)
		keep(events, event);
	return r == -ENOMEM ? r : 0;
}

static int read_more(struct events *events, int fd, struct err *e)
{
	struct buf b cleanup(buf_free) = {0};
	char part[65536];
	const char *line, *end;
	ssize_t got = 0;
	int r = 0;

	while (buf_status(&b) == 0 &&
	       (got = pread(fd, part, sizeof(part), events->at + (off_t)b.len)) > 0) {
		buf_add(&b, part, (size_t)got);
		if (b.len > FILE_MAX)
			return err_set(e, -EFBIG, "%s: more than %zu bytes", events->path,
				       FILE_MAX);
	}
	if (got < 0)
		return err_sys(e, -errno, "%s", events->path);
	if (buf_status(&b) < 0)
		return err_set(e, -ENOMEM, "out of memory");
	line = buf_text(&b);
	for (; (end = memchr(line, '\n', b.len - (size_t)(line - buf_text(&b)))); line = end + 1) {
		r = read_line(events, line, (size_t)(end - line));
		if (r < 0)
			break;
		events->lines++;
	}
	events->at += line - buf_text(&b);
	events->torn = line != buf_text(&b) + b.len;
	return r < 0 ? err_set(e, r, "out of memory") : 0;
}

/* Reads what has been appended; all, where the file is another one by now. */
static int catch_up(struct events *events, struct err *e)
{
	int fd cleanup(fd_close_at) =
		open(events->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY);
	struct stat st;

	if (fd < 0 && errno == ENOENT) { /* whatever comes there is another file */
		events->at = 0;
		return 0;
	}
	if (fd < 0)
		return err_sys(e, -errno, "%s", events->path);
	if (fstat(fd, &st) < 0)
		return err_sys(e, -errno, "%s", events->path);
	if (st.st_dev != events->device || st.st_ino != events->inode || st.st_size < events->at) {
		events->device = st.st_dev;
		events->inode = st.st_ino;
		events->at = 0;
		events->lines = 0;
	}
	return read_more(events, fd, e);
}

int events_open(const char *path, struct events **events, struct err *e)
{
	struct events *made = calloc(1, sizeof(*made));
	int r;

	if (!made || !(made->path = strdup(path))) {
		free(made);
		return err_set(e, -ENOMEM, "out of memory");
	}
	r = catch_up(made, e);
	if (r < 0) {
		events_close(made);
		return r;
	}
	*events = made;
	return 0;
}

void events_close(struct events *events)
{
	if (!events)
		return;
	for (size_t i = 0; i < EVENTS_MAX; i++)
		event_free(events->ring[i]);
	free(events->path);
	free(events);
}

static int line_of(const struct event *event, struct buf *out)
{
	json_t *object cleanup(json_free_at) =
		json_pack("{s:I, s:I, s:s, s:s, s:s}", "number", (json_int_t)event->number, "time",
			  (json_int_t)event->time, "kind", event->kind, "session", event->session,
			  "text", event->text);
	char *line cleanup(free_at) = object ? json_line(object) : NULL;

	if (!line)
		return -ENOMEM;
	buf_str(out, line);
	buf_char(out, '\n');
	return buf_status(out);
}

/* Writes all that are kept into a new file. */
static int write_all(struct events *events, struct err *e)
{
	struct buf text cleanup(buf_free) = {0};
	int r = 0;

	for (size_t i = 0; i < events->count && r == 0; i++)
		r = line_of(events_nth(events, i), &text);
	if (r < 0)
		return err_set(e, r, "out of memory");
	return file_write(events->path, buf_text(&text), text.len, 0644, e);
}

static int append(struct events *events, const struct event *event, struct err *e)
{
	struct buf line cleanup(buf_free) = {0};
	int fd cleanup(fd_close_at) = -1;
	ssize_t sent;

	if (events->torn)
		buf_char(&line, '\n');
	if (line_of(event, &line) < 0)
		return err_set(e, -ENOMEM, "out of memory");
	fd = open(events->path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY,
		  0644);
	if (fd < 0)
		return err_sys(e, -errno, "%s", events->path);
	sent = write(fd, buf_text(&line), line.len);
	if (sent < 0)
		return err_sys(e, -errno, "%s", events->path);
	events->torn = (size_t)sent != line.len;
	return events->torn ? err_set(e, -ENOSPC, "%s: no room left", events->path) : 0;
}

/* A sentence is one line, whatever went into it. */
static char *sentence(const char *format, va_list args) __attribute__((format(printf, 1, 0)));
static char *sentence(const char *format, va_list args)
{
	char *text;

	if (vasprintf(&text, format, args) < 0)
		return NULL;
	for (char *at = text; *at; at++)
		if (*at == '\n')
			*at = ' ';
	return text;
}

int events_add(struct events *events, const char *kind, const char *session, struct err *e,
	       const char *format, ...)
{
	struct event *event cleanup(event_free_at) = calloc(1, sizeof(*event));
	struct timespec now;
	va_list args;
	int r;

	if (!event)
		return err_set(e, -ENOMEM, "out of memory");
	(void)clock_gettime(CLOCK_REALTIME, &now);
	event->number = events->last + 1;
	event->time = (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
	event->kind = kind_of(kind);
	snprintf(event->session, sizeof(event->session), "%s", session);
	va_start(args, format);
	event->text = sentence(format, args);
	va_end(args);
	if (!event->text)
		return err_set(e, -ENOMEM, "out of memory");
	keep(events, take(event));
	if (++events->lines <= FILE_LINES) {
		r = append(events, events_nth(events, events->count - 1), e);
	} else {
		events->lines = events->count;
		events->torn = false;
		r = write_all(events, e);
	}
	if (r < 0) /* the file lacks it, and is written anew the next time */
		events->lines = FILE_LINES;
	return r;
}

size_t events_count(const struct events *events)
{
	return events->count;
}

const struct event *events_nth(const struct events *events, size_t i)
{
	uint64_t number = events->last - events->count + 1 + i;

	return i < events->count ? events->ring[number % EVENTS_MAX] : NULL;
}

int events_follow(struct events *events, struct err *e)
{
	size_t before = events->taken;
	int r = catch_up(events, e);

	return r < 0 ? r : (int)(events->taken - before);
}
