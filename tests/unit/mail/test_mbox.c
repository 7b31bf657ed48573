/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "mail/flags.h"
#include "mail/mbox.h"

struct text {
	const char *at;
	size_t len;
};

static size_t peek(uint64_t at, char *bytes, size_t len, void *data)
{
	const struct text *t = data;

	if (at >= t->len)
		return 0;
	if (len > t->len - at)
		len = t->len - (size_t)at;
	memcpy(bytes, t->at + at, len);
	return len;
}

/* Scans with windows that grow by step bytes; joins the messages with '|'. */
static void scan(const char *text, enum mbox_format format, size_t step, struct mbox_seen *seen,
		 char *joined)
{
	struct text t = {text, strlen(text)};
	struct mbox_scan s = {.format = format, .peek = peek, .data = &t};
	struct mbox_window w = {.bytes = text};
	struct mbox_message m;
	enum mbox_event event;

	*joined = 0;
	do {
		event = mbox_scan_next(&s, &w, &m);
		if (event == MBOX_MESSAGE) {
			sprintf(joined + strlen(joined), "%.*s|", (int)m.len, text + m.at);
		} else if (event == MBOX_MORE) {
			size_t end = (size_t)(w.at + w.len) + step;

			assert_false(w.last);
			if (end > t.len)
				end = t.len;
			w = (struct mbox_window){text + s.keep, end - s.keep, s.keep, end == t.len};
		}
	} while (event != MBOX_END);
	*seen = s.seen;
}

static void expect(const char *text, enum mbox_format asked, const char *want,
		   enum mbox_format format)
{
	static const size_t steps[] = {1, 7, 64, 100000};
	struct mbox_seen seen;
	char joined[4096], why[200];

	for (size_t i = 0; i < COUNT(steps); i++) {
		scan(text, asked, steps[i], &seen, joined);
		assert_string_equal(joined, want);
		assert_string_equal(mbox_format_name(mbox_decide(&seen, why, sizeof(why))),
				    mbox_format_name(format));
	}
}

#define FROM "From joe Sat Aug 23 10:00:00 2008\n"

#define LABELS "X-GM-THRID: 1\nX-Gmail-Labels: Work\n"

static void test_separators(void **state)
{
	(void)state;
	expect("", MBOX_AUTO, "", MBOX_RD);
	expect(FROM "A: 1\n\nx\n\n" FROM "A: 2\n\ny\n", MBOX_AUTO, "A: 1\n\nx\n|A: 2\n\ny\n|",
	       MBOX_RD);
	/* no empty line between, as Thunderbird writes it */
	expect(FROM "A: 1\nB: 1\n\nx\n" FROM "A: 2\nB: 2\n\ny", MBOX_AUTO,
	       "A: 1\nB: 1\n\nx\n|A: 2\nB: 2\n\ny|", MBOX_RD);
	/* a body's own line, not quoted: neither a time nor a header */
	expect(FROM "A: 1\n\nx\n\nFrom here on\nall is well\n", MBOX_AUTO,
	       "A: 1\n\nx\n\nFrom here on\nall is well\n|", MBOX_RD);
	expect(FROM "A: 1\n\nx\n\nFrom here on\nall is well\n", MBOX_RD,
	       "A: 1\n\nx\n|all is well\n|", MBOX_RD);
	expect(FROM "A: 1\n\nx\n\nFrom here on\nall: is well\n", MBOX_THUNDERBIRD,
	       "A: 1\n\nx\n|all: is well\n|", MBOX_RD);
	expect("From - Sat Aug 23 10:00:00 2008\r\nX-Mozilla-Status: 0001\r\nA: 1\r\n\r\nx\r\n\r\n"
	       "From - Sat Aug 23 10:00:00 2008\r\nA: 2\r\nB: 2\r\n\r\ny\r\n",
	       MBOX_AUTO, "X-Mozilla-Status: 0001\r\nA: 1\r\n\r\nx\r\n|A: 2\r\nB: 2\r\n\r\ny\r\n|",
	       MBOX_THUNDERBIRD);
	/* a leaked separator in a header, an empty message */
	expect(FROM ">From someone\nA: 1\n\n\n" FROM "\n\n" FROM "A: 3\n\n", MBOX_AUTO,
	       ">From someone\nA: 1\n\n|\n|A: 3\n\n|", MBOX_RD);
}

static void test_quotes(void **state)
{
	(void)state;
	expect(FROM "A: 1\n\n>From x\n\n", MBOX_AUTO, "A: 1\n\n>From x\n|", MBOX_O);
	expect(FROM "A: 1\n\n>From x\n>>From y\n", MBOX_AUTO, "A: 1\n\n>From x\n>>From y\n|",
	       MBOX_RD);
}

static void test_lengths(void **state)
{
	static const char *const none[] = {"", " ", " 4x", " -4", " 1234567890123456"};

	(void)state;
	expect(FROM "Content-Length: 4\n\nabc\n\n" FROM "Content-Length: 4\n\ndef\n", MBOX_AUTO,
	       "Content-Length: 4\n\nabc\n|Content-Length: 4\n\ndef\n|", MBOX_CL);
	/* a separator within the body that the length covers */
	expect(FROM "Content-Length: 44\n\nabc\n\n" FROM "A: 1\n\n" FROM
		    "Content-Length: 4\n\ndef\n",
	       MBOX_AUTO, "Content-Length: 44\n\nabc\n\n" FROM "A: 1\n|Content-Length: 4\n\ndef\n|",
	       MBOX_CL2);
	/* … or a line that would be none */
	expect(FROM "Content-Length: 22\n\nFrom here on\n>From x\n\n", MBOX_AUTO,
	       "Content-Length: 22\n\nFrom here on\n>From x\n\n|", MBOX_CL2);
	/* a length that lies */
	expect(FROM "Content-Length: 9\n\nabc\n\n" FROM "Content-Length: 99\n\ndef\n", MBOX_AUTO,
	       "Content-Length: 9\n\nabc\n|Content-Length: 99\n\ndef\n|", MBOX_RD);
	/* … that leads to the end of the file */
	expect(FROM "Content-Length: 5\n\nabc\n\n", MBOX_AUTO, "Content-Length: 5\n\nabc\n\n|",
	       MBOX_CL);
	/* … that is no number, or one of no file */
	for (size_t i = 0; i < COUNT(none); i++) {
		char text[200], want[200];

		snprintf(want, sizeof(want), "Content-Length:%s\n\nabc\n|A: 1\n\ndef\n|", none[i]);
		snprintf(text, sizeof(text),
			 FROM "Content-Length:%s\n\nabc\n\n" FROM "A: 1\n\ndef\n", none[i]);
		expect(text, MBOX_AUTO, want, MBOX_RD);
	}
	/* … in a format that has none: the separators count */
	expect(FROM "Content-Length: 47\n\nabc\n\n" FROM "A: 1\n\nx\n\n" FROM "A: 2\n\ndef\n",
	       MBOX_RD, "Content-Length: 47\n\nabc\n|A: 1\n\nx\n|A: 2\n\ndef\n|", MBOX_RD);
}

static void test_facts(void **state)
{
	static const char text[] = FROM "Date: Sat, 23 Aug 2008 12:00:00 +0200\n"
					"X-Mozilla-Status: 0009\n\nx\n";
	struct text t = {text, sizeof(text) - 1};
	struct mbox_scan s = {.peek = peek, .data = &t};
	struct mbox_window w = {.bytes = text, .len = t.len, .last = true};
	struct mbox_message m;

	(void)state;
	assert_int_equal(mbox_scan_next(&s, &w, &m), MBOX_MESSAGE);
	assert_int_equal(m.date, 1219485600);
	assert_int_equal(m.flags, MAIL_SEEN | MAIL_EXPUNGED);
	assert_int_equal(m.from, 0);
	assert_int_equal(m.at, strlen(FROM));
	assert_int_equal(mbox_scan_next(&s, &w, &m), MBOX_END);
}

static void test_takeout(void **state)
{
	static const struct {
		const char *text;
		bool wanted;
	} cases[] = {
		{"", false},
		{FROM "A: 1\n\nx\n\n", false},
		{FROM LABELS "A: 1\n\nx\n\n" FROM LABELS "\n", true},
		{FROM "X-Bounce-Mbox-Refused: full\n" LABELS "\n\n", true},
		{FROM "X-Bounce-Mbox-Refused: full\n\n" LABELS, false},
		{FROM LABELS "\nx\n\n" FROM "A: 1\n\n", false},
		{FROM "A: 1\n" LABELS "\n\n", false},
		{FROM "X-GM-THRID: 1\nA: 1\nX-Gmail-Labels: Work\n\n\n", false},
		{FROM "X-GM-THRID: 1\n\nX-Gmail-Labels: Work\n\n", false},
		{"From - Sat Aug 23 10:00:00 2008\n" LABELS "\n\n", false},
		{FROM LABELS "Status: RO\n\n\n", false},
		/* somebody sent it so */
		{FROM LABELS "X-Mozilla-Status: 0001\n\n\n" FROM LABELS "\n\n" FROM LABELS "\n\n",
		 true},
	};
	struct mbox_seen seen;
	char joined[1000];

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		scan(cases[i].text, MBOX_AUTO, 100000, &seen, joined);
		assert_int_equal(mbox_is_takeout(&seen), cases[i].wanted);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_separators), cmocka_unit_test(test_quotes),
		cmocka_unit_test(test_lengths),	   cmocka_unit_test(test_facts),
		cmocka_unit_test(test_takeout),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
