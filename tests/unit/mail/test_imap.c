/* SPDX-License-Identifier: MIT */
/* The IMAP dialogue without a socket: what the server says is a script, what we say is compared. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "mail/imap.h"
#include "mail/imap_line.h"
#include "mail/imap_name.h"
#include "mail/sasl.h"
#include "memory/memory.h"

#define BODY "A: 1\r\n\r\nx\r\n"
#define DATE "23-Aug-2008 10:00:00 +0200"
#define HEAD " (\\Seen) \"" DATE "\" "
#define LEN  "{11}"
#define PLUS "{11+}"

struct talk {
	struct imap *i;
	struct buf said;   /* by us */
	struct buf events; /* "ready sent0 unsent1 …" */
	struct err e;
	int code;
	char words[100]; /* of what was told last */
	int reply_code;	 /* … and its code */
	uint64_t next;
	struct sasl *sasl;
};

static void pull_output(struct talk *t)
{
	size_t len;
	const char *out = imap_output(t->i, &len);

	buf_add(&t->said, out, len);
	imap_left(t->i, len);
}

static bool pump_once(struct talk *t)
{
	static const char *const results[] = {"sent", "refused", "unsent", "doubt"};
	struct smtp_told told = {0};

	t->code = imap_next(t->i, &told, &t->e);
	switch (t->code) {
	case SMTP_READY:
		buf_str(&t->events, "ready ");
		return true;
	case SMTP_BODY:
		assert_int_equal(imap_body(t->i, BODY, sizeof(BODY) - 1, true), 0);
		return true;
	case SMTP_DONE:
		buf_fmt(&t->events, "%s%d", results[told.result], (int)told.id);
		snprintf(t->words, sizeof(t->words), "%.99s", told.reply.text);
		t->reply_code = told.reply.code;
		if (strncmp(told.reply.text, "[APPENDUID", 10) == 0)
			buf_fmt(&t->events, "%.*s", (int)strcspn(told.reply.text, "]") + 1,
				told.reply.text);
		buf_char(&t->events, ' ');
		return true;
	case SMTP_MAIL:
		buf_fmt(&t->events, "<%.*s>%s", (int)told.len, told.piece, told.last ? "| " : "");
		return true;
	case SMTP_NO_MORE:
		buf_str(&t->events, "end ");
		return true;
	case SMTP_CLOSED:
		buf_str(&t->events, "closed ");
		return false;
	default:
		return false;
	}
}

/* The server says this, byte by byte; what we say to it is all of the answer. */
static void says(struct talk *t, const char *text, const char *answer)
{
	buf_clear(&t->said);
	for (; *text; text++) {
		assert_int_equal(imap_input(t->i, text, 1), 0);
		while (pump_once(t))
			;
	}
	imap_flush(t->i);
	pull_output(t);
	assert_string_equal(buf_text(&t->said), answer);
}

static void give(struct talk *t, const char *mailbox, const char *id)
{
	struct smtp_message m = {.id = t->next++,
				 .size = sizeof(BODY) - 1,
				 .mailbox = mailbox,
				 .flags = "\\Seen",
				 .date = DATE,
				 .message_id = id};

	assert_true(imap_may_send(t->i));
	assert_int_equal(imap_send(t->i, &m), 0);
	while (pump_once(t))
		;
}

/* What was given is said now. */
static void flush(struct talk *t, const char *wanted)
{
	buf_clear(&t->said);
	imap_flush(t->i);
	pull_output(t);
	assert_string_equal(buf_text(&t->said), wanted);
}

static void happened(struct talk *t, const char *events)
{
	assert_string_equal(buf_text(&t->events), events);
	buf_clear(&t->events);
}

/* UID 5 of mailbox 9 belongs to another message, 8 perhaps. */
static enum imap_whose whose(void *data, const char *message_id, uint32_t validity, uint32_t uid)
{
	(void)data;
	if (strcmp(message_id, "<1@x>") != 0 || validity != 9)
		return IMAP_NOBODYS;
	return uid == 5 ? IMAP_ANOTHERS : uid == 8 ? IMAP_ANYBODYS : IMAP_NOBODYS;
}

static void start(struct talk *t)
{
	struct imap_setup setup = {.sasl = t->sasl, .encrypted = true, .whose = whose};

	assert_int_equal(imap_new(&t->i, &setup, &t->e), 0);
}

/* A session that is open: the last tag was A2. */
static void begin(struct talk *t, const char *capabilities)
{
	char line[200];

	start(t);
	says(t, "* PREAUTH hi\r\n", "A1 CAPABILITY\r\n");
	snprintf(line, sizeof(line), "* CAPABILITY IMAP4rev1 %s\r\nA1 OK done\r\n", capabilities);
	says(t, line, "A2 LIST \"\" \"\"\r\n");
	says(t, "* LIST (\\Noselect) \".\" \"\"\r\nA2 OK done\r\n", "");
	happened(t, "ready ");
}

static void end(struct talk *t)
{
	imap_free(t->i);
	buf_free(&t->said);
	buf_free(&t->events);
	sasl_free(t->sasl);
	*t = (struct talk){0};
}

/* RFC 2342: the person's own mailboxes have a prefix, INBOX and what is below it has it already. */
static void test_namespace(void **state)
{
	struct talk t = {0};

	(void)state;
	start(&t);
	says(&t, "* PREAUTH hi\r\n", "A1 CAPABILITY\r\n");
	says(&t, "* CAPABILITY IMAP4rev1 NAMESPACE LITERAL+\r\nA1 OK done\r\n", "A2 NAMESPACE\r\n");
	says(&t, "* NAMESPACE ((\"INBOX.\" \".\")(\"x/\" \"/\")) NIL NIL\r\nA2 OK done\r\n",
	     "A3 LIST \"\" \"\"\r\n");
	says(&t, "* LIST (\\Noselect) \"/\" \"\"\r\nA3 OK done\r\n", "");
	happened(&t, "ready ");
	give(&t, "Work/Deep", NULL);
	flush(&t, "A4 CREATE \"INBOX.Work.Deep\"\r\n");
	end(&t);

	start(&t);
	says(&t, "* PREAUTH hi\r\n", "A1 CAPABILITY\r\n");
	says(&t, "* CAPABILITY IMAP4rev1 NAMESPACE LITERAL+\r\nA1 OK done\r\n", "A2 NAMESPACE\r\n");
	says(&t, "* NAMESPACE ((\"INBOX.\" \".\")) NIL NIL\r\nA2 OK done\r\n",
	     "A3 LIST \"\" \"\"\r\n");
	says(&t, "* LIST (\\Noselect) \".\" \"\"\r\nA3 OK done\r\n", "");
	happened(&t, "ready ");
	give(&t, "Inbox/Work", NULL);
	flush(&t, "A4 CREATE \"Inbox.Work\"\r\n");
	end(&t);

	start(&t); /* Domino's delimiter */
	says(&t, "* PREAUTH hi\r\n", "A1 CAPABILITY\r\n");
	says(&t, "* CAPABILITY IMAP4rev1\r\nA1 OK done\r\n", "A2 LIST \"\" \"\"\r\n");
	says(&t, "* LIST (\\Noselect) \"\\\\\" \"\"\r\nA2 OK done\r\n", "");
	happened(&t, "ready ");
	give(&t, "Work/Deep", NULL);
	flush(&t, "A3 CREATE \"Work\\\\Deep\"\r\n");
	end(&t);
}

/* A server that allows no dots in names: neither a mailbox is made with them nor one sought. */
static void test_no_dots(void **state)
{
	struct talk t = {0};

	(void)state;
	start(&t);
	says(&t, "* PREAUTH hi\r\n", "A1 CAPABILITY\r\n");
	says(&t, "* CAPABILITY IMAP4rev1\r\nA1 OK done\r\n", "A2 LIST \"\" \"\"\r\n");
	says(&t, "* LIST (\\Noselect) \"/\" \"\"\r\nA2 OK done\r\n", "");
	give(&t, "pop.x/In", NULL);
	flush(&t, "A3 CREATE \"pop.x/In\"\r\n");
	says(&t, "A3 NO [CANNOT] no dots\r\n", "A4 CREATE \"pop_x/In\"\r\n");
	says(&t, "A4 NO [CANNOT] not at all\r\n", "A5 APPEND \"pop_x/In\"" HEAD LEN "\r\n");
	end(&t);

	start(&t);
	says(&t, "* PREAUTH hi\r\n", "A1 CAPABILITY\r\n");
	says(&t, "* CAPABILITY IMAP4rev1\r\nA1 OK done\r\n", "A2 LIST \"\" \"\"\r\n");
	says(&t, "* LIST (\\Noselect) \"/\" \"\"\r\nA2 OK done\r\n", "");
	give(&t, "pop.x", "<2@x>");
	flush(&t, "A3 EXAMINE \"pop.x\"\r\n");
	says(&t, "A3 NO [CANNOT] no dots\r\n", "A4 EXAMINE \"pop_x\"\r\n");
	says(&t, "A4 OK done\r\n", "A5 UID SEARCH HEADER Message-ID \"<2@x>\"\r\n");
	end(&t);
}

static void test_one_by_one(void **state)
{
	struct talk t = {0};

	(void)state;
	begin(&t, "UIDPLUS");
	give(&t, "INBOX", NULL);
	assert_false(imap_may_send(t.i));
	flush(&t, "A3 APPEND \"INBOX\"" HEAD LEN "\r\n");
	says(&t, "+ go\r\n", BODY "\r\n");
	says(&t, "A3 OK [APPENDUID 9 4] done\r\n", "");
	happened(&t, "sent0[APPENDUID 9 4] ");
	give(&t, "a/b", NULL);
	flush(&t, "A4 CREATE \"a.b\"\r\n");
	says(&t, "A4 OK done\r\n", "A5 SUBSCRIBE \"a.b\"\r\n");
	says(&t, "A5 OK done\r\n", "A6 APPEND \"a.b\"" HEAD LEN "\r\n");
	says(&t, "+ go\r\n", BODY "\r\n");
	says(&t, "A6 OK done\r\n", "");
	happened(&t, "sent1 ");
	give(&t, "a/b", NULL);
	flush(&t, "A7 APPEND \"a.b\"" HEAD LEN "\r\n");
	says(&t, "+ go\r\n", BODY "\r\n");
	imap_gone(t.i);
	assert_false(pump_once(&t) && pump_once(&t));
	happened(&t, "doubt2 closed ");
	end(&t);

	begin(&t, "UIDPLUS");
	give(&t, "a/b", NULL);
	flush(&t, "A3 CREATE \"a.b\"\r\n");
	says(&t, "A3 NO too long\r\n", "A4 APPEND \"a.b\"" HEAD LEN "\r\n");
	says(&t, "A4 NO [TRYCREATE] no\r\n", "");
	happened(&t, "refused0 ");
	assert_string_equal(t.words, "NO too long"); /* why it can't be made */
	end(&t);
}

/* RFC 3502: one command for what goes into one mailbox, at most 16 messages. */
/* Somebody deletes the mailbox again and again: at last that is an answer. */
static void test_a_mailbox_that_goes(void **state)
{
	struct talk t = {0};
	struct buf text cleanup(buf_free) = {0};

	(void)state;
	begin(&t, "LITERAL+");
	for (unsigned n = 3; n < 36; n += 3) {
		give(&t, "Work", NULL);
		pull_output(&t);
		buf_clear(&text);
		buf_fmt(&text, "A%u OK done\r\nA%u OK done\r\n", n, n + 1);
		assert_int_equal(imap_input(t.i, text.data, text.len), 0);
		while (pump_once(&t))
			;
		buf_clear(&text);
		buf_fmt(&text, "A%u NO [TRYCREATE] no\r\n", n + 2);
		imap_flush(t.i);
		pull_output(&t);
		says(&t, buf_text(&text), "");
		buf_clear(&text);
		buf_fmt(&text, "%s%u ", n < 33 ? "unsent" : "refused", n / 3 - 1);
		happened(&t, buf_text(&text));
	}
	assert_string_equal(t.words, "NO [TRYCREATE] no");
	give(&t, "INBOX", NULL);
	pull_output(&t);
	says(&t, "A36 NO [TRYCREATE] no\r\n", "");
	happened(&t, "refused11 ");
	end(&t);
}

static void test_multiappend(void **state)
{
	struct talk t = {0};
	struct buf wanted cleanup(buf_free) = {0};

	(void)state;
	begin(&t, "LITERAL+ MULTIAPPEND UIDPLUS");
	give(&t, "INBOX", NULL);
	give(&t, "INBOX", NULL);
	give(&t, "INBOX", NULL);
	flush(&t, "A3 APPEND \"INBOX\"" HEAD PLUS "\r\n" BODY HEAD PLUS "\r\n" BODY HEAD PLUS
		  "\r\n" BODY "\r\n");
	flush(&t, "");
	give(&t, "INBOX", NULL); /* the command is over */
	flush(&t, "A4 APPEND \"INBOX\"" HEAD PLUS "\r\n" BODY "\r\n");
	says(&t, "A3 OK [APPENDUID 9 3,7:8] done\r\nA4 OK done\r\n", "");
	happened(&t, "sent0[APPENDUID 9 3] sent1[APPENDUID 9 7] sent2[APPENDUID 9 8] sent3 ");

	for (int n = 0; n < 17; n++)
		give(&t, "INBOX", NULL);
	buf_str(&wanted, "A5 APPEND \"INBOX\"");
	for (int n = 0; n < 16; n++)
		buf_str(&wanted, HEAD PLUS "\r\n" BODY);
	buf_str(&wanted, "\r\nA6 APPEND \"INBOX\"" HEAD PLUS "\r\n" BODY "\r\n");
	flush(&t, buf_text(&wanted));
	imap_gone(t.i);
	while (pump_once(&t))
		;
	assert_non_null(strstr(buf_text(&t.events), "doubt4 doubt5"));
	end(&t);
}

/* Without LITERAL+ each body waits for its "+", but not for the answer of the one before. */
static void test_multiappend_that_waits(void **state)
{
	struct talk t = {0};

	(void)state;
	begin(&t, "MULTIAPPEND");
	give(&t, "INBOX", NULL);
	flush(&t, "A3 APPEND \"INBOX\"" HEAD LEN "\r\n");
	assert_int_equal(imap_input(t.i, "+ go\r\n", 6), 0);
	while (pump_once(&t))
		;
	give(&t, "INBOX", NULL);
	flush(&t, BODY HEAD LEN "\r\n");
	says(&t, "+ go\r\n", BODY "\r\n");
	says(&t, "A3 OK done\r\n", "");
	happened(&t, "sent0 sent1 ");
	end(&t);
}

/* None of a refused command's messages was put there: each one is tried by itself. */
static void test_multiappend_refused(void **state)
{
	struct talk t = {0};

	(void)state;
	begin(&t, "LITERAL+ MULTIAPPEND");
	give(&t, "INBOX", NULL);
	give(&t, "INBOX", NULL);
	pull_output(&t);
	says(&t, "A3 NO there is one too many\r\n", "\r\n");
	happened(&t, "unsent0 unsent1 ");
	give(&t, "INBOX", NULL);
	give(&t, "INBOX", NULL);
	flush(&t, "A4 APPEND \"INBOX\"" HEAD PLUS "\r\n" BODY "\r\n"
		  "A5 APPEND \"INBOX\"" HEAD PLUS "\r\n" BODY "\r\n");
	says(&t, "A4 NO it is this one\r\nA5 OK done\r\n", "");
	happened(&t, "refused2 sent3 ");
	give(&t, "INBOX", NULL);
	give(&t, "INBOX", NULL);
	flush(&t, "A6 APPEND \"INBOX\"" HEAD PLUS "\r\n" BODY HEAD PLUS "\r\n" BODY "\r\n");
	end(&t);
}

/* A command that the server may not understand waits, so that no body is taken for commands. */
static void test_odd_ones_wait(void **state)
{
	struct smtp_message odd = {.size = sizeof(BODY) - 1,
				   .mailbox = "INBOX",
				   .flags = "\\Seen",
				   .date = DATE,
				   .odd = true};
	struct talk t = {0};

	(void)state;
	begin(&t, "LITERAL+ MULTIAPPEND");
	give(&t, "INBOX", NULL);
	assert_int_equal(imap_send(t.i, &odd), 0);
	while (pump_once(&t))
		;
	assert_false(imap_may_send(t.i));
	flush(&t, "A3 APPEND \"INBOX\"" HEAD PLUS "\r\n" BODY "\r\n"
		  "A4 APPEND \"INBOX\"" HEAD LEN "\r\n");
	says(&t, "A3 OK done\r\nA4 BAD what date?\r\n", "");
	happened(&t, "sent0 refused0 ");
	give(&t, "INBOX", NULL);
	flush(&t, "A5 APPEND \"INBOX\"" HEAD PLUS "\r\n" BODY "\r\n");
	end(&t);
}

static void test_multiappend_answered_early(void **state)
{
	struct talk t = {0};

	(void)state;
	begin(&t, "LITERAL+ MULTIAPPEND");
	give(&t, "INBOX", NULL);
	pull_output(&t);
	buf_clear(&t.said);
	assert_int_equal(imap_input(t.i, "A3 OK done\r\n", 12), 0);
	while (pump_once(&t))
		;
	assert_int_equal(t.code, -EPROTO); /* the command was not at its end */
	end(&t);

	begin(&t, "MULTIAPPEND");
	give(&t, "INBOX", NULL);
	flush(&t, "A3 APPEND \"INBOX\"" HEAD LEN "\r\n");
	says(&t, "A3 NO no\r\n", ""); /* instead of the "+": nothing to end */
	happened(&t, "refused0 ");
	give(&t, "INBOX", NULL);
	flush(&t, "A4 APPEND \"INBOX\"" HEAD LEN "\r\n");
	end(&t);
}

static void ask(struct talk *t, const char *found, const char *then)
{
	char line[100];

	begin(t, "LITERAL+ MULTIAPPEND UIDPLUS");
	give(t, "INBOX", NULL);
	give(t, "INBOX", "<1@x>"); /* ends the command before it */
	flush(t, "A3 APPEND \"INBOX\"" HEAD PLUS "\r\n" BODY "\r\n");
	says(t, "A3 OK done\r\n", "A4 EXAMINE \"INBOX\"\r\n");
	says(t, "* 3 EXISTS\r\n* OK [UIDVALIDITY 9] ok\r\nA4 OK [READ-ONLY] done\r\n",
	     "A5 UID SEARCH HEADER Message-ID \"<1@x>\"\r\n");
	snprintf(line, sizeof(line), "* SEARCH%s\r\nA5 OK done\r\n", found);
	says(t, line, then);
}

#define APPENDED "A6 CLOSE\r\nA7 APPEND \"INBOX\"" HEAD PLUS "\r\n" BODY "\r\n"

static void test_doubt_is_asked(void **state)
{
	struct talk t = {0};

	(void)state;
	ask(&t, " 4", "A6 CLOSE\r\n");
	happened(&t, "sent0 sent1[APPENDUID 9 4] ");
	end(&t);
	ask(&t, " 5 8 6", "A6 CLOSE\r\n"); /* 6 is nobody else's */
	happened(&t, "sent0 sent1[APPENDUID 9 6] ");
	end(&t);
	ask(&t, " 5 8", "A6 CLOSE\r\n");
	happened(&t, "sent0 doubt1 ");
	assert_non_null(strstr(t.words, "may be another message"));
	end(&t);
	ask(&t, " 5", APPENDED);
	happened(&t, "sent0 ");
	end(&t);
	ask(&t, "", APPENDED);
	end(&t);
}

static void test_login_command(void **state)
{
	struct sasl_login login = {.user = "j\"oe", .secret = "se\\cret", .service = "imap"};
	static const struct {
		const char *capabilities, *answer;
		bool token;
		int code;
	} cases[] = {
		{"", "A2 LOGIN \"j\\\"oe\" \"se\\\\cret\"\r\n", false, SMTP_WAIT},
		{"LOGINDISABLED", "", false, -ENOTSUP},
		{"", "", true, -ENOTSUP},
		{"AUTH=PLAIN", "A2 AUTHENTICATE PLAIN\r\n", false, SMTP_WAIT},
		{"AUTH=NTLM AUTH=GSSAPI", "A2 LOGIN \"j\\\"oe\" \"se\\\\cret\"\r\n", false,
		 SMTP_WAIT},
		{"AUTH=NTLM LOGINDISABLED", "", false, -ENOTSUP},
		{"AUTH=NTLM", "", true, -ENOTSUP},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct talk t = {0};
		char line[100];

		login.token = cases[i].token;
		assert_int_equal(sasl_new(&t.sasl, &login, NULL), 0);
		start(&t);
		says(&t, "* OK hi\r\n", "A1 CAPABILITY\r\n");
		snprintf(line, sizeof(line), "* CAPABILITY IMAP4 %s\r\nA1 OK done\r\n",
			 cases[i].capabilities);
		says(&t, line, cases[i].answer);
		assert_int_equal(t.code, cases[i].code);
		if (i == 0)
			says(&t, "A2 OK welcome\r\n", "A3 CAPABILITY\r\n");
		end(&t);
	}
}

static void test_login_needs_a_safe_line(void **state)
{
	struct sasl_login login = {.user = "joe", .secret = "secret", .service = "imap"};
	struct talk t = {0};
	struct imap_setup setup = {0};

	(void)state;
	assert_int_equal(sasl_new(&t.sasl, &login, NULL), 0);
	setup.sasl = t.sasl;
	assert_int_equal(imap_new(&t.i, &setup, &t.e), 0);
	says(&t, "* OK hi\r\n", "A1 CAPABILITY\r\n");
	says(&t, "* CAPABILITY IMAP4\r\nA1 OK done\r\n", "");
	assert_int_equal(t.code, -ENOTSUP);
	assert_non_null(strstr(t.e.text, "password"));
	end(&t);
}

static void test_fetch(void **state)
{
	struct talk t = {0};

	(void)state;
	begin(&t, "");
	assert_int_equal(imap_fetch(t.i, NULL), 0);
	flush(&t, "A3 LIST \"\" \"*\"\r\n");
	says(&t,
	     "* LIST (\\HasChildren) \".\" INBOX\r\n* LIST (\\Noselect) \".\" none\r\n"
	     "* LIST (\\All) \".\" \"All\"\r\n* LIST () \".\" \"a \\\"b\"\r\n"
	     "* LIST () NIL {3}\r\nlit\r\nA3 OK done\r\n",
	     "A4 EXAMINE \"INBOX\"\r\n");
	says(&t, "* 2 EXISTS\r\n* 0 RECENT\r\nA4 OK done\r\n",
	     "A5 UID FETCH 1:* (BODY.PEEK[])\r\n");
	says(&t,
	     "* 1 FETCH (UID 4 BODY[] {2}\r\nxy)\r\n* 2 EXISTS\r\n"
	     "* 1 FETCH (FLAGS (\\Seen) UID 4)\r\n" /* what another client did */
	     "* 2 FETCH (BODY[] {0}\r\n UID 5)\r\nA5 OK done\r\n",
	     "A6 EXAMINE \"a \\\"b\"\r\n");
	happened(&t, "<x><y>| <>| ");
	says(&t, "* 0 EXISTS\r\nA6 OK done\r\n", "A7 EXAMINE \"lit\"\r\n");
	says(&t, "A7 NO not this one\r\n", "");
	happened(&t, "end ");
	end(&t);
}

static void test_fetch_below(void **state)
{
	struct talk t = {0};

	(void)state;
	begin(&t, "");
	assert_int_equal(imap_fetch(t.i, "a/b"), 0);
	flush(&t, "A3 LIST \"\" \"*\"\r\n");
	says(&t,
	     "* LIST () \".\" a\r\n* LIST () \".\" a.bc\r\n* LIST (\\All) \".\" a.b.c\r\n"
	     "A3 OK done\r\n",
	     "A4 EXAMINE \"a.b.c\"\r\n");
	says(&t, "* 1 EXISTS\r\nA4 OK done\r\n", "A5 UID FETCH 1:* (BODY.PEEK[])\r\n");
	says(&t, "* 1 FETCH (BODY[] {3}\r\nx", "");
	imap_gone(t.i);
	assert_false(pump_once(&t));
	happened(&t, "<x>closed ");
	end(&t);
}

/* Mail that a server does not show for now is not missing. */
static void test_fetch_refused(void **state)
{
	static const char *const answers[][2] = {{"A4 NO [UNAVAILABLE] later\r\n", ""},
						 {"* 1 EXISTS\r\nA4 OK done\r\n",
						  "A5 UID FETCH 1:* (BODY.PEEK[])\r\n"}};
	struct talk t = {0};

	(void)state;
	for (size_t k = 0; k < COUNT(answers); k++) {
		begin(&t, "");
		assert_int_equal(imap_fetch(t.i, NULL), 0);
		flush(&t, "A3 LIST \"\" \"*\"\r\n");
		says(&t, "* LIST () \".\" a\r\nA3 OK done\r\n", "A4 EXAMINE \"a\"\r\n");
		says(&t, answers[k][0], answers[k][1]);
		if (k == 1)
			says(&t, "A5 NO some were not to be had\r\n", "");
		assert_int_equal(t.code, -EPROTO);
		assert_non_null(strstr(t.e.text, "refused to show its mail: NO "));
		end(&t);
	}
}

/* The server says this; said: what we say then. */
static int hear(struct imap *i, const char *text, char said[200], struct err *e)
{
	struct smtp_told told = {0};
	const char *out;
	size_t len;
	int r = imap_input(i, text, strlen(text));

	for (int turn = 0; turn < 2 && r >= 0; turn++) {
		do
			r = imap_next(i, &told, e);
		while (r == SMTP_READY);
		imap_flush(i);
	}
	out = imap_output(i, &len);
	snprintf(said, 200, "%.*s", (int)len, len > 0 ? out : "");
	imap_left(i, len);
	return r;
}

static int talk_without_memory(struct imap *i, bool fetch, char said[200])
{
	static const char *const lines[] = {
		"* PREAUTH hi\r\n", "* CAPABILITY IMAP4rev1 NAMESPACE X-GM-EXT-1\r\nA1 OK done\r\n",
		"* NAMESPACE ((\"In.\" \".\")) NIL NIL\r\nA2 OK done\r\n",
		"* LIST (\\Noselect) \".\" \"\"\r\nA3 OK done\r\n"};
	static const struct smtp_message message = {
		.size = sizeof(BODY) - 1, .mailbox = "Work", .flags = "\\Seen", .date = DATE};
	int r = 0;

	for (size_t k = 0; k < sizeof(lines) / sizeof(lines[0]) && r >= 0; k++)
		r = hear(i, lines[k], said, NULL);
	if (r < 0)
		return r;
	r = fetch ? imap_fetch(i, NULL) : imap_send(i, &message);
	if (r == 0)
		r = hear(i, "", said, NULL);
	if (r >= 0)
		r = hear(i,
			 fetch ? "* LIST () \".\" b\r\n* LIST (\\All) \".\" a\r\n"
			       : "A4 OK made\r\n",
			 said, NULL);
	if (r >= 0)
		r = hear(i, fetch ? "A4 OK done\r\n" : "A5 OK subscribed\r\n", said, NULL);
	return r;
}

/* It says so: no mailbox is passed over, nor made elsewhere or again and again. */
static void without_memory(bool fetch, const char *wanted)
{
	struct imap_setup setup = {.encrypted = true, .whose = whose};
	unsigned nth = 1;

	while (memory_refuse(&nth)) {
		struct imap *i = NULL;
		char said[200];
		int r = imap_new(&i, &setup, NULL);

		if (r == 0)
			r = talk_without_memory(i, fetch, said);
		assert_int_equal(r, memory_refused() ? -ENOMEM : SMTP_WAIT);
		if (r == SMTP_WAIT)
			assert_string_equal(said, wanted);
		imap_free(i);
	}
	assert_true(nth > 5);
}

static void test_without_memory(void **state)
{
	(void)state;
	without_memory(true, "A5 EXAMINE \"a\"\r\n");
	without_memory(false, "A6 APPEND \"In.Work\"" HEAD LEN "\r\n");
}

/* The answers may come in another order, one without what it is about; what else is told is passed
 * over. */
static void test_answers(void **state)
{
	struct talk t = {0};
	uint32_t validity, uid;
	static const char words[] = "[COPYUID 1 2 3] [APPENDUID 9 4] ok";

	(void)state;
	begin(&t, "LITERAL+ APPENDLIMIT=1000");
	assert_int_equal(imap_size_max(t.i), 1000);
	give(&t, "INBOX", NULL);
	give(&t, "INBOX", NULL);
	flush(&t, "A3 APPEND \"INBOX\"" HEAD PLUS "\r\n" BODY "\r\n"
		  "A4 APPEND \"INBOX\"" HEAD PLUS "\r\n" BODY "\r\n");
	says(&t, "* 1 EXISTS\r\nA4 NO no\r\nA3 OK done\r\n", "");
	happened(&t, "sent0 refused1 ");
	assert_true(imap_append_uid(words, sizeof(words) - 1, 0, &validity, &uid));
	assert_int_equal(validity, 9);
	assert_int_equal(uid, 4);
	assert_int_equal(imap_quit(t.i), 0);
	flush(&t, "A5 LOGOUT\r\n");
	says(&t, "A5 OK without a BYE\r\n", "");
	happened(&t, "closed ");
	end(&t);
}

/* Where a mailbox can't be looked into, it may have to be made, or the server won't tell for now:
 * what is in doubt is put there again only in the first case. */
static void test_doubt_about_no_mailbox(void **state)
{
	static const struct {
		const char *examined, *listed; /* NULL: it is not asked */
		const char *then, *events;
	} cases[] = {
		{"[NONEXISTENT] none", NULL, "A4 CREATE \"a\"\r\n", ""},
		{"[TRYCREATE] none", NULL, "A4 CREATE \"a\"\r\n", ""},
		{"there is none", "A4 OK none", "A5 CREATE \"a\"\r\n", ""},
		{"no", "* LIST (\\HasChildren \\noselect) \"/\" a\r\nA4 OK done",
		 "A5 CREATE \"a\"\r\n", ""},
		{"no", "* LIST (\\NonExistent) \"/\" a\r\nA4 OK done", "A5 CREATE \"a\"\r\n", ""},
		{"Server Unavailable. 15", "* LIST () NIL \"a\"\r\nA4 OK done", "", "refused0 "},
		{"no", "A4 NO not that either", "", "refused0 "},
		{"no", "A4 BAD what", "", "refused0 "},
		{"[INUSE] busy", NULL, "", "refused0 "},
	};

	(void)state;
	for (size_t k = 0; k < COUNT(cases); k++) {
		struct talk t = {0};
		char line[100];

		begin(&t, "LITERAL+");
		give(&t, "a", "<1@x>");
		flush(&t, "A3 EXAMINE \"a\"\r\n");
		snprintf(line, sizeof(line), "A3 NO %s\r\n", cases[k].examined);
		says(&t, line, cases[k].listed ? "A4 LIST \"\" \"a\"\r\n" : cases[k].then);
		if (cases[k].listed) {
			snprintf(line, sizeof(line), "%s\r\n", cases[k].listed);
			says(&t, line, cases[k].then);
		}
		happened(&t, cases[k].events);
		if (*cases[k].events) {
			assert_non_null(strstr(t.words, cases[k].examined));
			assert_int_equal(t.reply_code, 451);
		}
		end(&t);
	}
}

/* A search that is refused has found nothing out. */
static void test_doubt_is_not_told(void **state)
{
	static const char *const answers[] = {"A4 NO [SERVERBUG] oh", "A4 BAD no such key"};

	(void)state;
	for (size_t k = 0; k < COUNT(answers); k++) {
		struct talk t = {0};
		char line[100];

		begin(&t, "LITERAL+");
		give(&t, "INBOX", "<1@x>");
		flush(&t, "A3 EXAMINE \"INBOX\"\r\n");
		says(&t, "A3 OK done\r\n", "A4 UID SEARCH HEADER Message-ID \"<1@x>\"\r\n");
		snprintf(line, sizeof(line), "%s\r\n", answers[k]);
		says(&t, line, "A5 CLOSE\r\n");
		happened(&t, "refused0 ");
		assert_int_equal(t.reply_code, 451);
		end(&t);
	}
}

/* "OK" to what has not left yet. */
static void test_answer_before_the_body(void **state)
{
	struct talk t = {0};

	(void)state;
	begin(&t, "LITERAL+");
	give(&t, "INBOX", NULL);
	assert_int_equal(imap_input(t.i, "A3 OK done\r\n", 12), 0);
	while (pump_once(&t))
		;
	assert_int_equal(t.code, -EPROTO);
	end(&t);
}

/* What somebody on the line has put behind the answer in clear is not taken for the server's. */
static void test_starttls(void **state)
{
	struct imap_setup setup = {.tls = SMTP_TLS_REQUIRED};
	static const char injected[] = "A2 OK go\r\n* PREAUTH hi\r\n";
	struct talk t = {0};

	(void)state;
	assert_int_equal(imap_new(&t.i, &setup, &t.e), 0);
	says(&t, "* OK hi\r\n", "A1 CAPABILITY\r\n");
	says(&t, "* CAPABILITY IMAP4 STARTTLS\r\nA1 OK done\r\n", "A2 STARTTLS\r\n");
	assert_int_equal(imap_input(t.i, injected, sizeof(injected) - 1), 0);
	while (pump_once(&t))
		;
	assert_int_equal(t.code, -EPROTO);
	assert_non_null(strstr(t.e.text, "somebody is on the line"));
	end(&t);

	/* a prefix that was said in clear does not count */
	assert_int_equal(imap_new(&t.i, &setup, &t.e), 0);
	says(&t, "* OK hi\r\n", "A1 CAPABILITY\r\n");
	says(&t, "* CAPABILITY IMAP4 STARTTLS\r\nA1 OK done\r\n", "A2 STARTTLS\r\n");
	says(&t, "* NAMESPACE ((\"Users/mallory/\" \"/\")) NIL NIL\r\nA2 OK go\r\n", "");
	assert_int_equal(t.code, SMTP_START_TLS);
	assert_int_equal(imap_encrypted(t.i), 0);
	says(&t, "* CAPABILITY IMAP4\r\nA3 OK done\r\n", "A3 CAPABILITY\r\nA4 LIST \"\" \"\"\r\n");
	says(&t, "* LIST () \"/\" \"\"\r\nA4 OK done\r\n", "");
	give(&t, "Work", NULL);
	flush(&t, "A5 CREATE \"Work\"\r\n");
	end(&t);
}

/* Nothing that it says then is taken for an answer. */
static void test_no_imap(void **state)
{
	static const char *const lines[] = {"\r\n",	  " OK done\r\n",	"A OK done\r\n",
					    "A3x OK\r\n", "A1234567890 OK\r\n", "B3 OK done\r\n"};

	(void)state;
	for (size_t k = 0; k < COUNT(lines); k++) {
		struct talk t = {0};

		begin(&t, "LITERAL+");
		give(&t, "INBOX", NULL);
		pull_output(&t);
		assert_int_equal(imap_input(t.i, lines[k], strlen(lines[k])), 0);
		while (pump_once(&t))
			;
		assert_int_equal(t.code, -EPROTO);
		assert_string_equal(t.e.text, "what the server says is not IMAP");
		happened(&t, "");
		end(&t);
	}
}

/* Only digits between the braces at its end make it a literal. */
static void test_braces_that_are_none(void **state)
{
	static const char *const lines[] = {"* OK {}\r\n", "* OK 12}\r\n", "* OK {x2}\r\n",
					    "* OK {12+}\r\n"};
	struct imap_line line;

	(void)state;
	for (size_t k = 0; k < COUNT(lines); k++) {
		assert_int_equal(imap_line_read(lines[k], strlen(lines[k]), &line),
				 strlen(lines[k]));
		assert_null(line.literal);
	}
	assert_int_equal(imap_line_read("* OK {2}\r\nxy\r\n", 14, &line), 14);
	assert_memory_equal(line.literal, "xy", 2);
}

/* Sets that say no UID for a message: none is made up. */
static void test_no_uid(void **state)
{
	static const struct {
		const char *words;
		size_t nth;
	} cases[] = {{"[APPENDUID 9 8:7] ok", 0}, {"[APPENDUID 9 0] ok", 0},
		     {"[APPENDUID 9 3,x] ok", 1}, {"[APPENDUID 9 3:4,7] ok", 3},
		     {"[APPENDUID x 3] ok", 0},	  {"[APPENDUID 9] ok", 0}};
	uint32_t validity, uid = 77;

	(void)state;
	for (size_t k = 0; k < COUNT(cases); k++)
		assert_false(imap_append_uid(cases[k].words, strlen(cases[k].words), cases[k].nth,
					     &validity, &uid));
	assert_int_equal(uid, 77);
}

/* What is no modified UTF-7 stays as it is. */
static void test_names_that_are_not_coded(void **state)
{
	static const char *const cases[][2] = {{"&AOQ-", "\xc3\xa4"},	     {"&A,Q-", "\xcf\xb4"},
					       {"&A Q-", "&A Q-"},	     {"&A/Q-", "&A/Q-"},
					       {"&\xc3\xa4-", "&\xc3\xa4-"}, {"&2AA-", "&2AA-"}};

	(void)state;
	for (size_t k = 0; k < COUNT(cases); k++) {
		struct buf b cleanup(buf_free) = {0};

		imap_name_read(cases[k][0], strlen(cases[k][0]), &b);
		assert_string_equal(buf_text(&b), cases[k][1]);
	}
}

/* A refusal that is only for now counts as such; a long one is cut. */
static void test_refusals(void **state)
{
	static const struct {
		const char *words;
		int code;
	} cases[] = {
		{"[UNAVAILABLE] later", 451}, {"[limit] slowly", 451}, {"[OVERQUOTA] full", 554}};
	struct buf line cleanup(buf_free) = {0};
	struct smtp_told told = {0};
	struct talk t = {0};

	(void)state;
	begin(&t, "LITERAL+");
	for (unsigned k = 0; k <= COUNT(cases); k++) {
		give(&t, "INBOX", NULL);
		imap_flush(t.i);
		pull_output(&t);
		buf_clear(&line);
		buf_fmt(&line, "A%u NO ", k + 3);
		if (k < COUNT(cases))
			buf_str(&line, cases[k].words);
		for (size_t n = 0; n < sizeof(told.reply.text) && k == COUNT(cases); n++)
			buf_char(&line, n == 1 ? '\t' : 'x');
		buf_str(&line, "\r\n");
		assert_int_equal(imap_input(t.i, line.data, line.len), 0);
		assert_int_equal(imap_next(t.i, &told, &t.e), SMTP_DONE);
		assert_int_equal(told.result, SMTP_REFUSED);
		assert_int_equal(told.reply.code, k < COUNT(cases) ? cases[k].code : 554);
	}
	assert_int_equal(strlen(told.reply.text), sizeof(told.reply.text) - 1);
	assert_memory_equal(told.reply.text, "NO x?xx", 7);
	end(&t);
}

/* LOGOUT is said once, and not to a server that is gone; no body to one that has not asked. */
static void test_out_of_turn(void **state)
{
	struct talk t = {0};

	(void)state;
	begin(&t, "");
	assert_int_equal(imap_body(t.i, BODY, sizeof(BODY) - 1, true), -EINVAL);
	give(&t, "INBOX", NULL);
	assert_int_equal(imap_body(t.i, BODY, sizeof(BODY) - 1, true), -EINVAL);
	flush(&t, "A3 APPEND \"INBOX\"" HEAD LEN "\r\n");
	says(&t, "A3 NO no\r\n", "");
	assert_int_equal(imap_quit(t.i), 0);
	assert_int_equal(imap_quit(t.i), 0);
	flush(&t, "A4 LOGOUT\r\n");
	end(&t);

	begin(&t, "");
	says(&t, "* BYE for today\r\n", "");
	assert_int_equal(imap_quit(t.i), 0);
	flush(&t, "");
	end(&t);
}

static int log_in_without_memory(const struct sasl_login *login, const char *offer, struct imap **i,
				 struct sasl **sasl, char said[200], struct err *e)
{
	struct imap_setup setup = {.encrypted = true};
	char line[100];
	int r = sasl_new(sasl, login, e);

	setup.sasl = *sasl;
	if (r == 0)
		r = imap_new(i, &setup, e);
	if (r == 0)
		r = hear(*i, "* OK hi\r\n", said, e);
	snprintf(line, sizeof(line), "* CAPABILITY IMAP4 %s\r\nA1 OK done\r\n", offer);
	if (r >= 0)
		r = hear(*i, line, said, e);
	return r;
}

/* It says so: it never logs in in another way, nor by half a word. */
static void test_login_without_memory(void **state)
{
	static const struct {
		const char *offer, *wanted;
		bool token;
	} cases[] = {
		{"", "A2 LOGIN \"joe\" \"secret\"\r\n", false},
		{"AUTH=PLAIN SASL-IR", "A2 AUTHENTICATE PLAIN AGpvZQBzZWNyZXQ=\r\n", false},
		{"AUTH=XOAUTH2 SASL-IR",
		 "A2 AUTHENTICATE XOAUTH2 dXNlcj1qb2UBYXV0aD1CZWFyZXIgc2VjcmV0AQE=\r\n", true},
	};
	struct sasl_login login = {.user = "joe", .secret = "secret", .service = "imap"};

	(void)state;
	for (size_t k = 0; k < COUNT(cases); k++) {
		login.token = cases[k].token;
		for (unsigned nth = 1; memory_refuse(&nth);) {
			struct sasl *sasl = NULL;
			struct imap *i = NULL;
			struct err e = {0};
			char said[200];
			int r = log_in_without_memory(&login, cases[k].offer, &i, &sasl, said, &e);

			if (memory_refused()) {
				assert_int_equal(r, -ENOMEM);
			} else {
				assert_int_equal(r, SMTP_WAIT);
				assert_string_equal(said, cases[k].wanted);
			}
			imap_free(i);
			sasl_free(sasl);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_namespace),
		cmocka_unit_test(test_one_by_one),
		cmocka_unit_test(test_a_mailbox_that_goes),
		cmocka_unit_test(test_multiappend),
		cmocka_unit_test(test_multiappend_that_waits),
		cmocka_unit_test(test_multiappend_refused),
		cmocka_unit_test(test_multiappend_answered_early),
		cmocka_unit_test(test_odd_ones_wait),
		cmocka_unit_test(test_doubt_is_asked),
		cmocka_unit_test(test_login_command),
		cmocka_unit_test(test_login_needs_a_safe_line),
		cmocka_unit_test(test_fetch),
		cmocka_unit_test(test_fetch_below),
		cmocka_unit_test(test_fetch_refused),
		cmocka_unit_test(test_no_dots),
		cmocka_unit_test(test_without_memory),
		cmocka_unit_test(test_login_without_memory),
		cmocka_unit_test(test_answers),
		cmocka_unit_test(test_doubt_about_no_mailbox),
		cmocka_unit_test(test_doubt_is_not_told),
		cmocka_unit_test(test_answer_before_the_body),
		cmocka_unit_test(test_starttls),
		cmocka_unit_test(test_no_imap),
		cmocka_unit_test(test_braces_that_are_none),
		cmocka_unit_test(test_no_uid),
		cmocka_unit_test(test_names_that_are_not_coded),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_out_of_turn),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
