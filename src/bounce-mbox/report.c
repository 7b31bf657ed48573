/* SPDX-License-Identifier: MIT */
#include "bounce-mbox/report.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/term.h"
#include "bounce-mbox/run.h"
#include "bounce-mbox/store.h"

#define LINE_EVERY (SECOND / 5) /* on a terminal */
#define LOG_EVERY  (30 * SECOND)
#define BAR	   20 /* columns */

struct report {
	bool json, quiet, terminal, colour;
	bool line; /* a progress line stands on the terminal */
	bool lost; /* out of memory: something was not told */
	bool checked;
	double expected; /* seconds, where checked */
	int64_t started, shown;
	struct buf messages; /* JSON objects */
	struct buf folders;
};

int report_new(struct report **r, bool json, bool quiet, struct err *e)
{
	struct report *new = calloc(1, sizeof(*new));

	if (!new)
		return err_set(e, -ENOMEM, "out of memory");
	new->json = json;
	new->quiet = quiet;
	new->terminal = isatty(2) == 1;
	new->colour = term_colour(stderr);
	*r = new;
	return 0;
}

void report_free(struct report *r)
{
	if (!r)
		return;
	buf_free(&r->messages);
	buf_free(&r->folders);
	free(r);
}

/* RFC 8259 string; bytes that are no UTF-8 are left to term_safe(). */
static void put_string(struct buf *b, const char *text)
{
	struct buf safe = {0};

	term_safe(&safe, text);
	buf_char(b, '"');
	for (const char *c = buf_text(&safe); *c; c++) {
		if (*c == '"' || *c == '\\')
			buf_char(b, '\\');
		buf_char(b, *c);
	}
	buf_char(b, '"');
	b->failed |= safe.failed;
	buf_free(&safe);
}

static void clear_line(struct report *r)
{
	if (r->line)
		fputs("\r\033[K", stderr);
	r->line = false;
}

void report_make_room(struct report *r)
{
	clear_line(r);
}

/* The text is freed. */
static void say(struct report *r, enum paint paint, const char *head, struct buf *text)
{
	struct buf safe = {0};
	bool failed;

	term_safe(&safe, buf_text(text));
	failed = buf_status(text) < 0 || buf_status(&safe) < 0;
	r->lost |= failed;
	clear_line(r);
	fprintf(stderr, "%s%s%s%s\n", term_on(paint, r->colour), head, term_off(r->colour),
		failed ? "out of memory" : buf_text(&safe));
	buf_free(&safe);
	buf_free(text);
}

void report_note(struct report *r, const char *format, ...)
{
	struct buf text = {0};
	char words[1000];
	va_list args;

	va_start(args, format);
	vsnprintf(words, sizeof(words), format, args);
	va_end(args);
	buf_str(&text, words);
	say(r, PAINT_YELLOW, "bounce-mbox: ", &text);
}

static void note_folder(struct report *r, const struct folder *f)
{
	if (r->folders.len > 0)
		buf_str(&r->folders, ", ");
	buf_str(&r->folders, "{\"name\": ");
	put_string(&r->folders, f->name);
	buf_str(&r->folders, ", \"path\": ");
	put_string(&r->folders, f->path);
	buf_fmt(&r->folders,
		", \"messages\": %" PRIu64 ", \"format\": \"%s\", \"reason\": ", f->messages,
		f->kind == FOLDER_MBOX	    ? mbox_format_name(f->format)
		: f->kind == FOLDER_MAILDIR ? "maildir"
					    : "eml");
	put_string(&r->folders, f->why);
	buf_char(&r->folders, '}');
}

/* "1 message", "2 messages" */
static const char *messages(char text[40], uint64_t n)
{
	snprintf(text, 40, "%" PRIu64 " message%s", n, n == 1 ? "" : "s");
	return text;
}

static const char *kind_name(const struct folder *f)
{
	return f->kind == FOLDER_MBOX	   ? mbox_format_name(f->format)
	       : f->kind == FOLDER_MAILDIR ? "Maildir"
					   : ".eml";
}

static void say_folder(struct report *r, const struct folder *f)
{
	struct buf text = {0};
	char count[40];

	buf_fmt(&text, "%s: %s, %s (%s)", *f->name ? f->name : f->path,
		messages(count, f->messages), kind_name(f), *f->why ? f->why : "a single message");
	say(r, PAINT_NONE, "", &text);
}

static void note_passed_over(struct report *r, const struct store *store)
{
	if (store->passed_over_count == 1)
		report_note(r, "passed over, as it does not look like mail: %s",
			    store->passed_over);
	else if (store->passed_over_count > 1)
		report_note(r,
			    "passed over, as it does not look like mail: %s, and %" PRIu64 " more",
			    store->passed_over, store->passed_over_count - 1);
}

void report_damages(struct report *r, const struct store *store)
{
	for (size_t i = 0; i < store->damage_count; i++) {
		const struct damage *d = &store->damages[i];

		report_message(r, REPORT_FAILED, "", store->folders[d->folder].name, d->why);
	}
}

void report_store(struct report *r, const struct store *store)
{
	char size[16], count[40];

	for (size_t i = 0; i < store->folder_count; i++) {
		const struct folder *f = &store->folders[i];

		note_folder(r, f);
		if (f->before > 0 && f->kind == FOLDER_MBOX)
			report_note(r, "%s: %" PRIu64 " bytes before the first message are no mail",
				    f->path, f->before);
		if (f->inside > 0)
			report_note(r,
				    "%s is taken for one message, though %" PRIu64
				    " lines in it look as if others began there: if it is an mbox "
				    "that has lost its first \"From \" line, put one there",
				    f->path, f->inside);
		if (!r->quiet && !r->json)
			say_folder(r, f);
	}
	note_passed_over(r, store);
	if (store->partial > 0)
		report_note(r, "there only in part, as the mail program never fetched the rest: %s",
			    messages(count, store->partial));
	if (store->expunged > 0)
		report_note(r, "left out, as deleted (--with-expunged sends them too): %s",
			    messages(count, store->expunged));
	if (!r->quiet && !r->json)
		fprintf(stderr, "%s, %s in all\n", messages(count, store->count),
			human_count(size, (double)store->bytes, "B"));
}

void report_message(struct report *r, enum report_kind kind, const char *id, const char *folder,
		    const char *words)
{
	static const char *const kinds[] = {"set aside", "in doubt", "failed", "might be refused",
					    "missing",	 "changed",  "doubled"};
	struct buf text = {0};
	char head[32];

	if (r->messages.len > 0)
		buf_str(&r->messages, ",\n    ");
	buf_fmt(&r->messages, "{\"fate\": \"%s\", \"message-id\": ", kinds[kind]);
	put_string(&r->messages, id);
	buf_str(&r->messages, ", \"folder\": ");
	put_string(&r->messages, folder);
	buf_str(&r->messages, ", \"reason\": ");
	put_string(&r->messages, words);
	buf_char(&r->messages, '}');

	buf_fmt(&text, "%s%s%s%s: %s", *id ? id : "a message without Message-ID",
		*folder ? " (" : "", folder, *folder ? ")" : "", words);
	snprintf(head, sizeof(head), "%s: ", kinds[kind]);
	say(r, PAINT_RED, head, &text);
}

void report_checked(struct report *r, uint64_t risky, double seconds)
{
	char count[40];

	if (risky > 0)
		report_note(r, "might be refused: %s", messages(count, risky));
	if (seconds < 5400)
		report_note(r, "at this pace sending takes %.0f min at least", seconds / 60);
	else if (seconds < 172800)
		report_note(r, "at this pace sending takes %.1f hours at least", seconds / 3600);
	else
		report_note(r, "at this pace sending takes %.1f days at least", seconds / 86400);
	r->checked = true;
	r->expected = seconds;
}

static void put_eta(struct buf *b, double seconds)
{
	long s = seconds > 1e9 ? 1000000000 : (long)seconds;

	if (s >= 3600)
		buf_fmt(b, ", %ld:%02ld h left", s / 3600, s / 60 % 60);
	else
		buf_fmt(b, ", %ld:%02ld min left", s / 60, s % 60);
}

/* "[#####-----] " */
static void put_bar(struct buf *b, uint64_t done, uint64_t all)
{
	uint64_t full = all > 0 ? done * BAR / all : 0;

	buf_char(b, '[');
	for (uint64_t i = 0; i < BAR; i++)
		buf_char(b, i < full ? '#' : '-');
	buf_str(b, "] ");
}

static void put_progress(const struct report *r, const struct tally *t, const char *folder,
			 double seconds, struct buf *b)
{
	uint64_t dealt = t->sent + t->already + t->aside + t->failed;
	uint64_t all = t->total - t->skipped, acted = dealt - t->already;
	char size[16];

	if (r->terminal)
		put_bar(b, dealt, all);
	buf_fmt(b, "%" PRIu64 " of %" PRIu64 " messages, %s, %.1f/s", dealt, all,
		human_count(size, (double)t->sent_bytes, "B"),
		seconds > 0 ? (double)t->sent / seconds : 0);
	if (acted > 0) /* what earlier runs have sent takes no time */
		put_eta(b, seconds / (double)acted * (double)(all - dealt));
	if (folder && *folder) {
		buf_str(b, " (");
		term_safe(b, folder);
		buf_char(b, ')');
	}
}

/* A line that the next one replaces on a terminal. */
static void show_line(struct report *r, const char *text)
{
	size_t len = r->terminal ? term_fit(text, term_width(stderr) - 1) : strlen(text);

	clear_line(r);
	fwrite(text, 1, len, stderr);
	if (!r->terminal)
		putc('\n', stderr);
	r->line = r->terminal;
	fflush(stderr);
}

void report_reading(struct report *r, const char *what, const char *name, uint64_t bytes,
		    int64_t now)
{
	struct buf b = {0};
	char size[16];

	if (r->quiet || !r->terminal || now - r->shown < LINE_EVERY)
		return;
	if (r->shown > 0) { /* the first call only starts the clock */
		buf_fmt(&b, "%s: %s (", what, human_count(size, (double)bytes, "B"));
		term_safe(&b, name);
		buf_char(&b, ')');
		show_line(r, buf_text(&b));
	}
	r->shown = now;
	buf_free(&b);
}

void report_progress(struct report *r, const struct tally *t, const char *folder, int64_t now)
{
	struct buf b = {0};

	if (r->started == 0)
		r->started = r->shown = now;
	if (r->quiet || now - r->shown < (r->terminal ? LINE_EVERY : LOG_EVERY))
		return;
	r->shown = now;
	put_progress(r, t, folder, (double)(now - r->started) / 1e6, &b);
	show_line(r, buf_text(&b));
	buf_free(&b);
}

/* Half an object would be none. */
static bool lists_whole(struct report *r)
{
	r->lost |= buf_status(&r->folders) < 0 || buf_status(&r->messages) < 0;
	return !r->lost;
}

static void print_json(struct report *r, const struct tally *t, double seconds, const char *trouble)
{
	struct buf b = {0};

	buf_fmt(&b,
		"{\n  \"total\": %" PRIu64 ",\n  \"read\": %" PRIu64 ",\n  \"sent\": %" PRIu64
		",\n  \"already_sent\": %" PRIu64 ",\n  \"skipped\": %" PRIu64
		",\n  \"set_aside\": %" PRIu64 ",\n  \"failed\": %" PRIu64
		",\n  \"in_doubt\": %" PRIu64 ",\n  \"sent_bytes\": %" PRIu64
		",\n  \"repaired\": %" PRIu64 ",\n  \"delivered_before\": %" PRIu64
		",\n  \"seconds\": %.3f,\n  \"trouble\": ",
		t->total, t->read, t->sent, t->already, t->skipped, t->aside, t->failed, t->doubt,
		t->sent_bytes, t->repaired, t->delivered, seconds);
	if (trouble)
		put_string(&b, trouble);
	else
		buf_str(&b, "null");
	if (r->checked)
		buf_fmt(&b, ",\n  \"expected_seconds\": %.0f", r->expected);
	buf_fmt(&b, ",\n  \"folders\": [%s],\n  \"messages\": [%s]\n}\n", buf_text(&r->folders),
		buf_text(&r->messages));
	r->lost |= buf_status(&b) < 0;
	if (lists_whole(r))
		fputs(buf_text(&b), stdout);
	buf_free(&b);
}

/* What was sent otherwise than it may be expected. */
static void note_sent(struct report *r, const struct tally *t)
{
	char count[40];

	if (t->repaired > 0)
		report_note(r, "repaired (--repair): %s", messages(count, t->repaired));
	if (t->leaks > 0)
		report_note(r, "sent without a \"From \" line that was in their header: %s",
			    messages(count, t->leaks));
	if (t->long_lines > 0)
		report_note(r, "sent with lines over 998 bytes (--repair long breaks them): %s",
			    messages(count, t->long_lines));
	if (t->bare > 0)
		report_note(r, "sent without their keywords, which the server refuses: %s",
			    messages(count, t->bare));
	if (t->delivered > 0)
		report_note(r, "sent with a Delivered-To of the recipient, and may come back: %s",
			    messages(count, t->delivered));
	if (t->raw > 0)
		report_note(r,
			    "sent with bytes over 127 to a server that does not offer 8BITMIME: %s",
			    messages(count, t->raw));
}

void report_end(struct report *r, const struct tally *t, int64_t microseconds, const char *trouble)
{
	double seconds = (double)microseconds / 1e6;

	clear_line(r);
	note_sent(r, t);
	if (r->json) {
		print_json(r, t, seconds, trouble);
		return;
	}
	printf("read %" PRIu64 " = sent %" PRIu64 " + skipped %" PRIu64 " + already sent %" PRIu64
	       " + set aside %" PRIu64 " + failed %" PRIu64,
	       t->read, t->sent, t->skipped, t->already, t->aside, t->failed);
	if (t->doubt > 0)
		printf(" (%" PRIu64 " in doubt)", t->doubt);
	if (t->total > t->read)
		printf("; left: %" PRIu64, t->total - t->read);
	printf("; %.1f s\n", seconds);
}

void report_verified(struct report *r, uint64_t compared, uint64_t missing, uint64_t changed,
		     uint64_t doubled)
{
	clear_line(r);
	if (r->json && !lists_whole(r))
		return;
	if (r->json)
		printf("{\n  \"compared\": %" PRIu64 ",\n  \"missing\": %" PRIu64
		       ",\n  \"changed\": %" PRIu64 ",\n  \"doubled\": %" PRIu64
		       ",\n  \"messages\": [%s]\n}\n",
		       compared, missing, changed, doubled, buf_text(&r->messages));
	else
		printf("compared %" PRIu64 ": missing %" PRIu64 ", changed %" PRIu64
		       ", doubled %" PRIu64 "\n",
		       compared, missing, changed, doubled);
}

bool report_is_whole(const struct report *r)
{
	return !r->lost;
}
