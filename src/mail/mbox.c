/* SPDX-License-Identifier: MIT */
#include "mail/mbox.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "mail/date.h"
#include "mail/find.h"
#include "mail/flags.h"
#include "mail/header.h"
#include "mail/labels.h"

/* As far as a header block is read for its facts; a longer one is cut, its message is not. */
#define HEAD_MAX ((size_t)256 * 1024)
/* How far back of "From " the search looks for its '>' and the empty line before. */
#define BEHIND ((size_t)64)

static const char *const names[] = {"auto", "mboxo", "mboxrd", "mboxcl", "mboxcl2", "thunderbird"};

const char *mbox_format_name(enum mbox_format format)
{
	return names[format];
}

int mbox_format_parse(const char *text, enum mbox_format *format, struct err *e)
{
	for (size_t i = 0; i < COUNT(names); i++) {
		if (strcmp(text, names[i]) == 0) {
			*format = (enum mbox_format)i;
			return 0;
		}
	}
	return err_set(e, -EINVAL,
		       "\"%s\" is no format; there are auto, mboxo, mboxrd, mboxcl, mboxcl2 and "
		       "thunderbird",
		       text);
}

enum mbox_quote mbox_quote_of(enum mbox_format format)
{
	switch (format) {
	case MBOX_O:
	case MBOX_CL:
		return MBOX_QUOTE_ONE;
	case MBOX_CL2:
		return MBOX_QUOTE_NONE;
	case MBOX_AUTO:
	case MBOX_RD:
	case MBOX_THUNDERBIRD:
		break;
	}
	return MBOX_QUOTE_ANY;
}

/* A line that starts with "From ", and what stands around it. */
struct candidate {
	const char *line;
	const char *next; /* the line behind it */
	bool blank;	  /* an empty line, or nothing, before it */
	bool header;	  /* a header line follows */
	bool headers;	  /* and another one, or the end of the header */
};

/* Whether it ends in a time: looked at only where that matters, as it takes longer than the rest.
 */
static bool is_stamped(const struct candidate *c, struct mail_date *date)
{
	return mail_date_separator(c->line, (size_t)(c->next - c->line), date);
}

static const char *next_line(const char *at, const char *end)
{
	const char *newline = memchr(at, '\n', (size_t)(end - at));

	return newline ? newline + 1 : end;
}

static bool header_line(const char *at, const char *end)
{
	if (end - at > 5 && (memcmp(at, "From ", 5) == 0 || memcmp(at, ">From ", 6) == 0))
		at = next_line(at, end); /* a leaked separator */
	return mail_field_starts(at, end);
}

static bool header_goes_on(const char *at, const char *end)
{
	return at == end || *at == '\n' || *at == '\r' || *at == ' ' || *at == '\t' ||
	       header_line(at, end);
}

static bool blank_before(const char *start, const char *line)
{
	if (line == start)
		return true;
	line--; /* the newline of the line before */
	if (line > start && line[-1] == '\r')
		line--;
	return line == start || line[-1] == '\n';
}

static void examine(struct candidate *c, const char *start, const char *line, const char *end)
{
	c->line = line;
	c->next = next_line(line, end);
	c->blank = blank_before(start, line);
	c->header = header_line(c->next, end);
	c->headers = c->header && header_goes_on(next_line(c->next, end), end);
}

static bool is_separator(enum mbox_format format, const struct candidate *c)
{
	struct mail_date date;

	switch (format) {
	case MBOX_THUNDERBIRD:
		return c->headers;
	case MBOX_O:
	case MBOX_RD:
	case MBOX_CL:
		return c->blank || (c->headers && is_stamped(c, &date));
	case MBOX_AUTO:
	case MBOX_CL2:
		break;
	}
	return (c->blank && c->header) || ((c->blank || c->headers) && is_stamped(c, &date));
}

static uint64_t decimal(const struct mail_field *f)
{
	uint64_t n = 0;

	if (f->value_len == 0 || f->value_len > 15)
		return UINT64_MAX;
	for (size_t i = 0; i < f->value_len; i++) {
		if (f->value[i] < '0' || f->value[i] > '9')
			return UINT64_MAX;
		n = n * 10 + (uint64_t)(f->value[i] - '0');
	}
	return n;
}

/* What a header tells of the file that it stands in. */
struct traces {
	uint64_t length; /* UINT64_MAX: none */
	bool mozilla;
	bool kept; /* Dovecot, mutt and the like had it */
};

static void read_trace(const struct mail_field *f, struct traces *traces)
{
	static const char *const notes[] = {"Status", "X-Status", "X-UID", "X-Keywords"};

	if (mail_field_is(f, "Content-Length"))
		traces->length = decimal(f);
	traces->mozilla |= mail_field_is(f, "X-Mozilla-Status");
	for (size_t i = 0; i < COUNT(notes); i++)
		traces->kept |= mail_field_is(f, notes[i]);
}

/* Reads the header at [at, end) for its facts; returns the body's place. */
static const char *read_head(const char *at, const char *end, struct mbox_message *m,
			     struct traces *traces)
{
	struct cursor c = cursor_of(at, (size_t)(end - at));
	struct mail_field f;
	struct mail_date date;
	enum mail_head what;

	while ((what = mail_head_next(&c, &f)) != MAIL_HEAD_END) {
		if (what != MAIL_HEAD_FIELD)
			continue;
		m->flags |= mail_flags_of(&f);
		switch (f.bytes[0]) {
		case 'D':
		case 'd':
			if (mail_field_is(&f, "Date") &&
			    mail_date_parse(f.value, f.value_len, &date))
				m->date = date.seconds;
			break;
		case 'C':
		case 'c':
		case 'S':
		case 's':
		case 'X':
		case 'x':
			read_trace(&f, traces);
			break;
		default:
			break;
		}
	}
	return (const char *)c.at;
}

/* Whether a separator, with or without an empty line before it, or the end stands at the place. */
static bool lands(struct mbox_scan *s, uint64_t at)
{
	char bytes[16];
	size_t len = s->peek(at, bytes, sizeof(bytes), s->data);
	size_t i = 0;
	char before;

	if (len == 0) /* the end, or beyond it */
		return at > 0 && s->peek(at - 1, &before, 1, s->data) == 1;
	while (i < len && i < 2 && (bytes[i] == '\r' || bytes[i] == '\n'))
		i++;
	if (i == len)
		return true;
	return len - i > 5 && memcmp(bytes + i, "From ", 5) == 0;
}

/* The separator's message starts. */
static void open_message(struct mbox_scan *s, const struct mbox_window *w,
			 const struct candidate *c)
{
	const char *end = w->bytes + w->len;
	struct traces traces = {
		.length = UINT64_MAX,
		.mozilla = c->next - c->line >= 7 && memcmp(c->line, "From - ", 7) == 0,
	};
	struct mail_field labels;
	struct mail_date date;

	if ((size_t)(end - c->next) > HEAD_MAX)
		end = c->next + HEAD_MAX;
	s->current = (struct mbox_message){
		.from = w->at + (uint64_t)(c->line - w->bytes),
		.at = w->at + (uint64_t)(c->next - w->bytes),
		.date = MBOX_NO_DATE,
	};
	uint64_t body =
		w->at + (uint64_t)(read_head(c->next, end, &s->current, &traces) - w->bytes);

	if (s->current.date == MBOX_NO_DATE && is_stamped(c, &date))
		s->current.date = date.seconds;

	s->open = true;
	s->trusted = false;
	s->body = body;
	s->pos = body - 1; /* a separator may stand right behind the header's empty line */
	s->seen.messages++;
	s->seen.mozilla += traces.mozilla;
	s->seen.kept += traces.mozilla || traces.kept;
	s->seen.takeout += mail_labels_find(c->next, (size_t)(end - c->next), &labels);
	if (traces.length == UINT64_MAX)
		return;
	s->seen.lengths++;
	if (s->format != MBOX_AUTO && s->format != MBOX_CL && s->format != MBOX_CL2)
		return;
	if (lands(s, body + traces.length)) {
		s->seen.landed++;
		s->trusted = true;
		s->measured = body + traces.length;
	}
}

/* The current message ends before the separator at end (an absolute offset). */
static void close_message(struct mbox_scan *s, const struct mbox_window *w, uint64_t end,
			  struct mbox_message *message)
{
	struct mbox_message *m = &s->current;

	if (s->trusted) {
		m->len = s->measured - m->at;
	} else {
		/* the empty line between two messages is no part of either */
		const char *body = w->bytes + (s->body > w->at ? s->body - w->at : 0);
		const char *at = w->bytes + (end - w->at);
		const char *stop = at;

		if (stop > body && stop[-1] == '\n')
			stop--;
		if (stop > body && stop[-1] == '\r')
			stop--;
		if (stop < at && (stop > body ? stop[-1] == '\n' : w->at <= s->body))
			at = stop;
		m->len = w->at + (uint64_t)(at - w->bytes) - m->at;
	}
	s->open = false;
	*message = *m;
}

/* Where the window's first line starts: behind the byte order mark that a file may begin with. */
static const char *first_line(const struct mbox_window *w)
{
	bool marked = w->at == 0 && w->len >= 3 && memcmp(w->bytes, "\xef\xbb\xbf", 3) == 0;

	return w->bytes + (marked ? 3 : 0);
}

/* The next line that is "From ", or that may be one with '>' before it; NULL: none in sight. */
static const char *find_from(const struct mbox_window *w, const char *at, const char *end,
			     size_t *quotes)
{
	while ((at = find_pair(at, end, 'F', 'r')) != NULL && end - at >= 5) {
		const char *line = at;

		if (memcmp(at, "From ", 5) == 0) {
			while (line > w->bytes && line[-1] == '>' && at - line < (int)BEHIND / 2)
				line--;
			*quotes = (size_t)(at - line);
			if (line == first_line(w) ? w->at == 0 : line[-1] == '\n')
				return line;
		}
		at++;
	}
	return NULL;
}

static enum mbox_event want_more(struct mbox_scan *s, uint64_t pos)
{
	s->pos = pos;
	s->keep = pos > BEHIND ? pos - BEHIND : 0;
	return MBOX_MORE;
}

static enum mbox_event finish(struct mbox_scan *s, const struct mbox_window *w,
			      struct mbox_message *message)
{
	s->pos = w->at + w->len;
	if (!s->open)
		return MBOX_END;
	close_message(s, w, w->at + w->len, message);
	return MBOX_MESSAGE;
}

/* True where the two lines behind a separator are in sight. */
static bool lines_in_sight(const char *line, const char *end)
{
	const char *third = next_line(next_line(line, end), end);

	return (size_t)(end - line) > HEAD_MAX || next_line(third, end) < end;
}

/* True where the header of the separator at line is in sight, as far as it is read at all. */
static bool head_in_sight(const char *line, const char *end)
{
	return (size_t)(end - line) > HEAD_MAX || find_pair(line, end, '\n', '\n') ||
	       memmem(line, (size_t)(end - line), "\n\r\n", 3);
}

static void count_text(struct mbox_scan *s, size_t quotes)
{
	if (quotes == 1)
		s->seen.quoted++;
	else
		s->seen.quoted_deeper++;
}

/* What a "From " line turns out to be. */
enum verdict { VERDICT_TEXT, VERDICT_SEPARATOR, VERDICT_MORE };

static enum verdict judge(struct mbox_scan *s, const struct mbox_window *w, const char *line,
			  uint64_t at, struct candidate *c)
{
	const char *end = w->bytes + w->len;
	bool separator;

	if (s->open && s->trusted && at < s->measured) {
		s->seen.inside++;
		return VERDICT_TEXT;
	}
	if (!w->last && !lines_in_sight(line, end))
		return VERDICT_MORE;
	examine(c, first_line(w), line, end);
	separator = is_separator(s->format, c);
	if (!separator && !(s->open && s->trusted)) {
		s->seen.bare += s->open;
		return VERDICT_TEXT;
	}
	return w->last || s->open || head_in_sight(line, end) ? VERDICT_SEPARATOR : VERDICT_MORE;
}

enum mbox_event mbox_scan_next(struct mbox_scan *s, const struct mbox_window *w,
			       struct mbox_message *message)
{
	const char *end = w->bytes + w->len;
	uint64_t stop = w->at + w->len;

	while (s->pos < stop) {
		size_t quotes;
		const char *line = find_from(w, w->bytes + (s->pos - w->at), end, &quotes);
		uint64_t at = line ? w->at + (uint64_t)(line - w->bytes) : stop;
		struct candidate c;

		if (!line)
			break;
		if (quotes > 0) {
			s->pos = at + quotes + 5;
			if (s->open)
				count_text(s, quotes);
			continue;
		}
		switch (judge(s, w, line, at, &c)) {
		case VERDICT_MORE:
			return want_more(s, at);
		case VERDICT_TEXT:
			s->pos = at + 5;
			continue;
		case VERDICT_SEPARATOR:
			break;
		}
		if (s->open) {
			s->pos = at; /* found again at the next call */
			close_message(s, w, at, message);
			return MBOX_MESSAGE;
		}
		if (s->seen.messages == 0)
			s->seen.before = line == first_line(w) ? 0 : at;
		open_message(s, w, &c);
	}
	if (w->last)
		return finish(s, w, message);
	/* "From" may be cut by the window's end */
	return want_more(s, stop - s->pos > 5 && s->pos < stop ? stop - 5 : s->pos);
}

enum mbox_format mbox_decide(const struct mbox_seen *seen, char *why, size_t size)
{
	if (seen->landed > 0 && seen->landed * 10 >= seen->lengths * 9 &&
	    seen->landed * 2 >= seen->messages) {
		bool cl2 = seen->inside > 0 || seen->bare > 0;

		snprintf(why, size,
			 "%" PRIu64 " of %" PRIu64 " Content-Length lead to the next message%s",
			 seen->landed, seen->lengths,
			 cl2 ? ", and bodies have \"From \" lines that are not quoted" : "");
		return cl2 ? MBOX_CL2 : MBOX_CL;
	}
	if (seen->mozilla > 0) {
		snprintf(why, size,
			 "%" PRIu64 " of %" PRIu64 " messages have the marks of Thunderbird",
			 seen->mozilla, seen->messages);
		return MBOX_THUNDERBIRD;
	}
	if (seen->quoted_deeper > 0) {
		snprintf(why, size, "%" PRIu64 " lines start with \">>From \"",
			 seen->quoted_deeper);
		return MBOX_RD;
	}
	if (seen->quoted > 0) {
		snprintf(why, size, "%" PRIu64 " lines start with \">From \", none with more '>'",
			 seen->quoted);
		return MBOX_O;
	}
	snprintf(why, size, "no quoted \"From \" lines and no usable Content-Length");
	return MBOX_RD;
}

bool mbox_is_takeout(const struct mbox_seen *seen)
{
	return seen->takeout > 0 && seen->takeout * 10 >= seen->messages * 9 &&
	       seen->kept * 2 < seen->messages;
}
