/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "mail/clean.h"
#include "mail/date.h"
#include "mail/dkim.h"
#include "mail/emlx.h"
#include "mail/find.h"
#include "mail/flags.h"
#include "mail/header.h"
#include "mail/labels.h"
#include "memory/memory.h"

/* Cleans text, its body in pieces that grow by step bytes. */
static struct mail_facts clean(const char *text, size_t len, unsigned repair, enum mbox_quote quote,
			       size_t step, struct buf *out)
{
	struct mail_names remove = {0};
	struct mail_clean c = {.remove = &remove, .quote = quote, .repair = repair};
	size_t at, have = step;

	assert_int_equal(mail_names_add(&remove, "x-mozilla-status, FCC", NULL), 0);
	at = mail_clean_head(&c, text, len, out);
	while (at + have < len) {
		size_t used = mail_clean_body(&c, text + at, have, false, out);

		at += used;
		have = have - used + step;
	}
	at += mail_clean_body(&c, text + at, len - at, true, out);
	assert_int_equal(at, len);
	mail_names_free(&remove);
	return c.facts;
}

static struct mail_facts expect(const char *text, size_t len, unsigned repair,
				enum mbox_quote quote, const char *want, size_t want_len)
{
	static const size_t steps[] = {1, 5, 70, 100000};
	struct mail_facts facts = {0};

	for (size_t i = 0; i < COUNT(steps); i++) {
		struct buf out cleanup(buf_free) = {0};

		facts = clean(text, len, repair, quote, steps[i], &out);
		assert_int_equal(out.len, want_len);
		assert_memory_equal(out.data, want, want_len);
	}
	return facts;
}

#define EXPECT(text, repair, quote, want)                                                          \
	expect(text, sizeof(text) - 1, repair, quote, want, sizeof(want) - 1)

static void test_verbatim(void **state)
{
	(void)state;
	EXPECT("A: 1\nX-Mozilla-Status: 0001\n folded\nB:  2 \n\t3\n\nx\n.\n", 0, MBOX_QUOTE_ANY,
	       "A: 1\r\nB:  2 \r\n\t3\r\n\r\nx\r\n.\r\n");
	EXPECT("A: 1\r\nfcc: 3\r\n\r\nx\r\nmixed\ny", 0, MBOX_QUOTE_ANY,
	       "A: 1\r\n\r\nx\r\nmixed\r\ny\r\n");
	EXPECT("A: 1\nno field\n>From leak\nFrom leak\n\n", 0, MBOX_QUOTE_ANY,
	       "A: 1\r\nno field\r\n\r\n");
	EXPECT("A: 1\n", 0, MBOX_QUOTE_ANY, "A: 1\r\n");
}

static void test_unquote(void **state)
{
	static const char text[] = "\n>From a\n>>From b\n> From c\nx >From d\n>Fromage\n>From ";

	(void)state;
	EXPECT(text, 0, MBOX_QUOTE_ANY,
	       "\r\nFrom a\r\n>From b\r\n> From c\r\nx >From d\r\n>Fromage\r\nFrom \r\n");
	EXPECT(text, 0, MBOX_QUOTE_ONE,
	       "\r\nFrom a\r\n>>From b\r\n> From c\r\nx >From d\r\n>Fromage\r\nFrom \r\n");
	EXPECT(text, 0, MBOX_QUOTE_NONE,
	       "\r\n>From a\r\n>>From b\r\n> From c\r\nx >From d\r\n>Fromage\r\n>From \r\n");
}

static void test_repairs(void **state)
{
	static const char text[] = "A: \0b\n\nc\rd\0\n From e\n\r";
	struct mail_facts facts;

	(void)state;
	facts = EXPECT(text, 0, MBOX_QUOTE_ANY, "A: \0b\r\n\r\nc\rd\0\r\n From e\r\n\r\n");
	assert_int_equal(facts.nuls, 2);
	assert_int_equal(facts.crs, 1);
	assert_int_equal(facts.repaired, 0);
	facts = EXPECT(text, MAIL_REPAIR_NUL | MAIL_REPAIR_CR | MAIL_REPAIR_SPACE, MBOX_QUOTE_ANY,
		       "A: b\r\n\r\nc\r\nd\r\nFrom e\r\n\r\n");
	assert_int_equal(facts.repaired, 4);
}

static void test_long_lines(void **state)
{
	static char text[200001], want[200600];
	size_t len = 0;

	(void)state;
	memset(text, 'x', sizeof(text));
	text[0] = '\n';
	assert_int_equal(expect(text, 2001, 0, MBOX_QUOTE_ANY,
				(memset(want, 'x', 2002), memcpy(want, "\r\n", 2),
				 memcpy(want + 2002, "\r\n", 2), want),
				2004)
				 .longest,
			 2000);
	want[len++] = '\r';
	want[len++] = '\n';
	for (size_t left = 200000; left > 0;) {
		size_t part = left > MAIL_LINE_MAX ? MAIL_LINE_MAX : left;

		memset(want + len, 'x', part);
		len += part;
		want[len++] = '\r';
		want[len++] = '\n';
		left -= part;
	}
	expect(text, sizeof(text), MAIL_REPAIR_LONG, MBOX_QUOTE_ANY, want, len);
}

static void test_names(void **state)
{
	struct mail_names names = {0};
	struct err e = {0};

	(void)state;
	assert_int_equal(mail_names_add(&names, mail_thunderbird_names, &e), 0);
	assert_true(mail_names_have(&names, "X-MOZILLA-status", 16));
	assert_false(mail_names_have(&names, "X-Mozilla", 9));
	assert_int_equal(scarce(mail_names_add(&names, " Fcc: , Bcc:", &e)), 0);
	assert_true(mail_names_have(&names, "bcc", 3));
	assert_int_equal(mail_names_add(&names, "X-Empty,, : ,", &e),
			 0); /* none between the commas */
	assert_true(mail_names_have(&names, "x-empty", 7));
	assert_false(mail_names_have(&names, "", 0));
	assert_true(mail_names_add(&names, "a b", &e) < 0);
	assert_string_equal(e.text, "\"a b\" is not the name of a header");
	mail_names_free(&names);
}

static void test_fields(void **state)
{
	static const char head[] = "A: 1\nMessage-ID:\n <a@b>\n \nB : 2\n\n";
	struct buf text cleanup(buf_free) = {0};
	struct mail_field f;

	(void)state;
	assert_true(mail_head_find(head, sizeof(head) - 1, "message-id", &f));
	mail_field_text(&f, &text);
	assert_string_equal(text.data, " <a@b>");
	assert_true(mail_head_find(head, sizeof(head) - 1, "b", &f));
	assert_memory_equal(f.value, "2", f.value_len);
	assert_false(mail_head_find(head, sizeof(head) - 1, "c", &f));
}

static int64_t date(const char *text)
{
	struct mail_date d;

	return mail_date_parse(text, strlen(text), &d) ? d.seconds : -1;
}

static void test_domains(void **state)
{
	static const char head[] = "DKIM-Signature: a=x; d = EX.test ; h= From : Subject\n"
				   "From: a@mail.ex.test\nBcc: x\n\n";
	struct mail_domain signer, author;
	struct mail_names names = {0};
	struct mail_field f;

	(void)state;
	assert_true(mail_head_find(head, sizeof(head) - 1, "DKIM-Signature", &f));
	mail_dkim_domain(&f, &signer);
	assert_string_equal(signer.name, "ex.test");
	mail_domain_of("a@mail.ex.test", 14, &author);
	assert_true(mail_domains_align(&signer, &author));
	assert_true(mail_dkim_covers(&f, "from", 4));
	assert_true(mail_dkim_covers(&f, "subject", 7));
	assert_false(mail_dkim_covers(&f, "bcc", 3));
	assert_int_equal(mail_names_add(&names, "Bcc", NULL), 0);
	assert_false(mail_dkim_broken_by(head, sizeof(head) - 1, &names, &f));
	assert_int_equal(mail_names_add(&names, "From", NULL), 0);
	assert_true(mail_dkim_broken_by(head, sizeof(head) - 1, &names, &f));
	mail_names_free(&names);
}

/* A signature without what it has to tell covers nothing, and no domain signed. */
static void test_half_a_signature(void **state)
{
	static const char head[] = "DKIM-Signature: v=1; nothing; x=1\nFrom: a@ex.test\n\n";
	struct mail_domain signer = {"old"}, author;
	struct mail_names names = {0};
	struct mail_field f;

	(void)state;
	assert_true(mail_head_find(head, sizeof(head) - 1, "DKIM-Signature", &f));
	mail_dkim_domain(&f, &signer);
	assert_string_equal(signer.name, "");
	mail_domain_of("a@ex.test", 9, &author);
	assert_false(mail_domains_align(&signer, &author));
	assert_false(mail_domains_align(&author, &signer));
	assert_false(mail_domains_align(&signer, &signer));
	assert_false(mail_dkim_covers(&f, "from", 4));
	assert_int_equal(mail_names_add(&names, "From", NULL), 0);
	assert_false(mail_dkim_broken_by(head, sizeof(head) - 1, &names, &f));
	mail_names_free(&names);
}

static void test_emlx(void **state)
{
	static const char *const bad[] = {
		"", "x\n", "\n12\n", "12", "12   ", "12 x\n", "1234567890123456\n"};
	uint64_t start = 7, size = 7;

	(void)state;
	for (size_t i = 0; i < COUNT(bad); i++)
		assert_false(emlx_read(bad[i], strlen(bad[i]), &start, &size));
	assert_int_equal(start, 7);
	assert_int_equal(size, 7);
	assert_true(emlx_read("12      \r\nA: 1\n", 15, &start, &size));
	assert_int_equal(start, 10);
	assert_int_equal(size, 12);
}

static void test_which_repairs(void **state)
{
	struct err e = {0};
	unsigned repair = 0;

	(void)state;
	assert_int_equal(mail_repair_parse("cr,space", &repair, &e), 0);
	assert_int_equal(repair, MAIL_REPAIR_CR | MAIL_REPAIR_SPACE);
	assert_int_equal(mail_repair_parse("nul,tab", &repair, &e), -EINVAL);
	assert_string_equal(e.text, "\"tab\" is no repair; there are nul, cr, long, space, all");
	assert_int_equal(repair, MAIL_REPAIR_CR | MAIL_REPAIR_SPACE);
}

static void test_dates(void **state)
{
	struct mail_date d;
	char text[40];

	(void)state;
	assert_int_equal(date("Sat, 23 Aug 2008 10:00:00 +0200"), 1219478400);
	assert_int_equal(date("23 Aug 08 08:00 GMT (summer)"), 1219478400);
	assert_int_equal(date("Sat,23 Aug 2008 04:00:00 EDT"), 1219478400);
	assert_int_equal(date("Thu, 29 Feb 2024 23:59:60 -0000"), 1709251200);
	assert_int_equal(date("23 Aug 108 10:00:00 CEST"), 1219478400);
	assert_int_equal(date("23 Aug 2008 08:00:00 +9900"), 1219478400); /* no zone */
	assert_int_equal(date("23 Aug 2008 08:001 GMT"), -1);
	assert_int_equal(date("23 Aug x 08:00 GMT"), -1);
	assert_int_equal(date("23 Foo 2008 08:00 GMT"), -1);
	assert_int_equal(date("23 Au 2008 08:00 GMT"), -1);
	assert_int_equal(date("1: Aug 2008 08:00 GMT"), -1);
	assert_int_equal(date("00023 Aug 2008 08:00 GMT"), -1);
	assert_int_equal(date("23 Aug 2008 :00 GMT"), -1);
	assert_int_equal(date("23 Aug 2008 08 GMT"), -1);
	assert_int_equal(date("23 Aug 2008 24:00 GMT"), -1);
	assert_int_equal(date("23 Aug 2008 08:60 GMT"), -1);
	assert_int_equal(date("23 Aug 2008 08:00:61 GMT"), -1);
	assert_int_equal(date("yesterday"), -1);
	assert_int_equal(date("99 Aug 2008 10:00:00"), -1);
	assert_true(mail_date_separator("From - Sat Aug 23 10:00:00 2008", 31, &d));
	assert_int_equal(d.seconds, 1219485600);
	assert_true(mail_date_separator("From 1@xxx Sat Aug 23 10:00:00 +0200 2008", 41, &d));
	assert_string_equal(mail_date_imap(&d, text), "23-Aug-2008 10:00:00 +0200");
	assert_string_equal(mail_date_field(&d, text), "Sat, 23 Aug 2008 10:00:00 +0200");
	assert_string_equal(mail_date_ctime(&d, text), "Sat Aug 23 08:00:00 2008");
	d = (struct mail_date){.seconds = -1};
	assert_string_equal(mail_date_imap(&d, text), "31-Dec-1969 23:59:59 +0000");
	assert_false(mail_date_separator("From here on it went well for us 2008", 37, &d));
}

static void test_status(void **state)
{
	static const struct {
		const char *head;
		unsigned flags;
	} cases[] = {
		{"X-Status: AF\n", MAIL_ANSWERED | MAIL_FLAGGED},
		{"X-Status: DT  \n", MAIL_DELETED | MAIL_DRAFT},
		{"X-Status:\n", 0},
		{"X-Status: Delivered\n", 0},
		{"X-Status: DONE\n", 0},
		/* KMail's */
		{"X-Status: RAFT\n", MAIL_SEEN | MAIL_ANSWERED | MAIL_FORWARDED},
		{"X-Status: UG\n", MAIL_FLAGGED},
		{"X-Status: RAPID\n", 0},
		{"Status: RO\n", MAIL_SEEN},
		{"Status: O\n", 0},
		{"Status: Read it\n", 0},
	};
	struct mail_field f;

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct cursor c = cursor_of(cases[i].head, strlen(cases[i].head));

		assert_int_equal(mail_head_next(&c, &f), MAIL_HEAD_FIELD);
		assert_int_equal(mail_flags_of(&f), cases[i].flags);
	}
}

static void test_flags(void **state)
{
	static const char keys[] = "X-Mozilla-Keys: $label1 work(x) nonjunk   \n";
	struct buf words cleanup(buf_free) = {0};
	struct mail_field f;

	(void)state;
	assert_int_equal(mail_flags_of_name("1.x:2,FS"), MAIL_FLAGGED | MAIL_SEEN);
	assert_int_equal(mail_flags_of_name("FRS"), 0);
	for (const char *at = "!;"; *at; at++) {
		char name[] = "1.2,x?2,RS";

		name[5] = *at;
		assert_int_equal(mail_flags_of_name(name), MAIL_ANSWERED | MAIL_SEEN);
		assert_int_equal(mail_base_of_name(name), 5);
	}
	assert_null(mail_info_of_name("2,S"));
	assert_null(mail_info_of_name("1!2,S=7"));
	assert_int_equal(mail_base_of_name("1!2,S=7:2,S"), 7);
	assert_int_equal(mail_base_of_name("1:1,x"), 1);
	assert_int_equal(mail_base_of_name("1.x"), 3);
	assert_true(mail_head_find(keys, sizeof(keys) - 1, "X-Mozilla-Keys", &f));
	mail_keywords_of(&f, &words);
	assert_string_equal(words.data, " $label1 nonjunk");
}

static void test_old_labels(void **state)
{
	static const struct {
		const char *text, *wanted;
	} cases[] = {
		{"X-Mozilla-Status2: 02000000\r\n", " $label1"},
		{"X-Mozilla-Status2: 0a800000\r\n", " $label5"},
		{"X-Mozilla-Status2: 0e000000\r\n", ""},
		{"X-Mozilla-Status2: 10000000\r\n", ""},
		{"X-Mozilla-Status2: 06000000\r\nX-Mozilla-Keys: $label3 a $label31 a\r\n",
		 " $label3 a $label31"},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct cursor c = cursor_of(cases[i].text, strlen(cases[i].text));
		struct buf words cleanup(buf_free) = {0};
		struct mail_field f;

		while (mail_head_next(&c, &f) == MAIL_HEAD_FIELD)
			mail_keywords_of(&f, &words);
		assert_string_equal(buf_text(&words), cases[i].wanted);
	}
}

static void test_gmail_labels(void **state)
{
	static const struct {
		const char *labels, *mailbox;
		unsigned flags;
		const char *keywords;
	} cases[] = {
		{"Opened,Inbox,Category Updates", "INBOX", MAIL_SEEN, ""},
		{"Unread, Category Updates ,Work/Deep,Other", "Work/Deep", 0, " Other"},
		{"Archived,Starred", "Archive", MAIL_SEEN | MAIL_FLAGGED, ""},
		{"Important,IMAP_$Forwarded,Sent", "Sent", MAIL_SEEN | MAIL_FORWARDED, ""},
		{"Geöffnet,Wichtig,Posteingang,Kategorie: Werbung", "INBOX", MAIL_SEEN, ""},
		{"Ungelesen,Markiert,Archiviert,Über", "Über", MAIL_FLAGGED, ""},
		{"Non lus,Messages archivés,Catégorie Promotions", "Archive", 0, ""},
		{"Ouvert,Favoris,Boîte de réception", "INBOX", MAIL_SEEN | MAIL_FLAGGED, ""},
		{"No leídos,Importante,Categoría: x,Recibidos", "INBOX", 0, ""},
		{"No llegits,Safata d'entrada", "INBOX", 0, ""},
		{"Categories", "Categories", MAIL_SEEN, ""},
		{"", "Archive", MAIL_SEEN, ""},
		/* the person's own go first, and none is lost */
		{"Inbox,Opened,Work,Taxes 2019", "Work", MAIL_SEEN, " Inbox Taxes_2019"},
		{"Sent,Inbox", "Sent", MAIL_SEEN, " Inbox"},
		{"A,Straße & \"(x)\",B]/c", "A", MAIL_SEEN, " Stra&AN8-e_&-___x__ B_/c"},
		/* … but what was thrown away stays so */
		{"Inbox,Work,Papierkorb", "Papierkorb", MAIL_SEEN, " Inbox Work"},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct buf mailbox cleanup(buf_free) = {0};
		struct buf words cleanup(buf_free) = {0};

		assert_int_equal(mail_labels_read(cases[i].labels, &mailbox, &words),
				 cases[i].flags);
		assert_string_equal(buf_text(&mailbox), cases[i].mailbox);
		assert_string_equal(buf_text(&words), cases[i].keywords);
	}
}

static void test_words(void **state)
{
	static const struct {
		const char *text, *wanted;
	} cases[] = {
		{"plain text", "plain text"},
		{"a =?UTF-8?B?w7w=?= =?utf-8?q?=C3=A4_x?= b", "a \xc3\xbc\xc3\xa4 x b"},
		{"=?ISO-8859-1?Q?=FC?=", "\xc3\xbc"},
		{"=?KOI8-R?Q?=FC?= x", "=?KOI8-R?Q?=FC?= x"},
		{"=?UTF-8?Q?=C", "=?UTF-8?Q?=C"},
		{"=?UTF-8?Q?=C?=", "=C"},
		{"=?UTF-8?Q?1=2x=x2=C3=A4?=", "1=2x=x2\xc3\xa4"}, /* no hex: as it stands */
		{"=?UTF-8?X?w7w=?= x", "=?UTF-8?X?w7w=?= x"},
		{"=?ISO-8859-1?Q?f=FCr?=", "f\xc3\xbcr"},
		{"=?UTF-8?B?w 7-w=?=", "\xc3\xbc"}, /* what is none of its letters is passed over */
		{"=?UTF-8?B?w7w=?=  x ", "\xc3\xbc  x "},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct buf b cleanup(buf_free) = {0};

		mail_decode_words(cases[i].text, strlen(cases[i].text), &b);
		assert_string_equal(buf_text(&b), cases[i].wanted);
	}
}

static void test_utf8(void **state)
{
	static const char *const good[] = {"",
					   "a",
					   "\xc2\x80",
					   "\xdf\xbf",
					   "\xe0\xa0\x80",
					   "\xed\x9f\xbf",
					   "\xee\x80\x80",
					   "\xf0\x90\x80\x80",
					   "\xf4\x8f\xbf\xbf"};
	static const char *const bad[] = {"\x80",
					  "\xc0\x80",
					  "\xc1\xbf",
					  "\xc2",
					  "\xc2z",
					  "\xe0\x9f\xbf",
					  "\xed\xa0\x80",
					  "\xe2\x82",
					  "\xf0\x8f\xbf\xbf",
					  "\xf4\x90\x80\x80",
					  "\xf5\x80\x80\x80",
					  "\xff",
					  "a\xe4"};

	(void)state;
	for (size_t i = 0; i < COUNT(good); i++)
		assert_true(is_utf8(good[i], strlen(good[i])));
	for (size_t i = 0; i < COUNT(bad); i++)
		assert_false(is_utf8(bad[i], strlen(bad[i])));
}

static void test_find(void **state)
{
	char text[200];

	(void)state;
	for (size_t len = 2; len < 150; len++) {
		for (size_t at = 0; at + 2 <= len; at++) {
			memset(text, 'F', sizeof(text));
			text[at + 1] = 'r';
			text[len] = 'F';
			text[len + 1] = 'r';
			assert_ptr_equal(find_pair(text, text + len, 'F', 'r'), text + at);
			text[at + 1] = 'F';
			assert_null(find_pair(text, text + len, 'F', 'r'));
			text[at] = (char)0x80;
			assert_true(find_8bit(text, len));
			text[at] = 'F';
			assert_false(find_8bit(text, len));
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_verbatim),
		cmocka_unit_test(test_unquote),
		cmocka_unit_test(test_repairs),
		cmocka_unit_test(test_long_lines),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_fields),
		cmocka_unit_test(test_dates),
		cmocka_unit_test(test_flags),
		cmocka_unit_test(test_status),
		cmocka_unit_test(test_utf8),
		cmocka_unit_test(test_find),
		cmocka_unit_test(test_old_labels),
		cmocka_unit_test(test_gmail_labels),
		cmocka_unit_test(test_words),
		cmocka_unit_test(test_domains),
		cmocka_unit_test(test_which_repairs),
		cmocka_unit_test(test_half_a_signature),
		cmocka_unit_test(test_emlx),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
