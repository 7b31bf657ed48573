/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <gsasl.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "mail/sasl.h"
#include "mail/smtp.h"
#include "memory/memory.h"

#define GREETING "220 hi\r\n"
#define EHLO	 "EHLO me\r\n"
#define MAIL(n)	 "MAIL FROM:<a@x> SIZE=" #n "\r\n"
#define RCPT	 "RCPT TO:<b@y>\r\n"
#define OK	 "250 2.0.0 ok\r\n"

struct talk {
	struct smtp *s;
	struct buf said;   /* by us */
	struct buf events; /* "ready body 0 sent 0 250 …" */
	const char *body;  /* of each message */
	size_t count, next;
	size_t piece; /* bytes of a body given at once; 0: all */
	struct err e;
	int code;
};

static void pull_output(struct talk *t)
{
	size_t len;
	const char *out = smtp_output(t->s, &len);

	buf_add(&t->said, out, len);
	smtp_left(t->s, len);
}

/* Whether all is well so far; these can fail only for lack of memory. */
static bool well(struct talk *t, int r)
{
	if (r < 0 && t->code == 0)
		t->code = r;
	return t->code == 0;
}

static void give_body(struct talk *t)
{
	size_t len = strlen(t->body), at = 0;

	while (t->piece > 0 && len - at > t->piece &&
	       well(t, smtp_body(t->s, t->body + at, t->piece, false)))
		at += t->piece;
	if (t->code == 0)
		(void)well(t, smtp_body(t->s, t->body + at, len - at, true));
}

static void give_messages(struct talk *t)
{
	while (t->code == 0 && t->next < t->count && smtp_may_send(t->s)) {
		struct smtp_message m = {.id = t->next++, .size = strlen(t->body)};

		(void)well(t, smtp_send(t->s, &m));
	}
}

static bool pump_once(struct talk *t)
{
	static const char *const results[] = {"sent", "refused", "unsent", "doubt"};
	struct smtp_told told = {0};
	int event = t->code == 0 ? smtp_next(t->s, &told, &t->e) : t->code;

	if (!well(t, event))
		return false;
	switch ((enum smtp_event)event) {
	case SMTP_WAIT:
		return false;
	case SMTP_START_TLS:
		buf_str(&t->events, "tls ");
		return well(t, smtp_encrypted(t->s));
	case SMTP_READY:
		buf_str(&t->events, "ready ");
		break;
	case SMTP_BODY:
		give_body(t);
		break;
	case SMTP_DONE:
		buf_fmt(&t->events, "%s%d:%d ", results[told.result], (int)told.id,
			told.reply.code);
		break;
	case SMTP_CLOSED:
		buf_fmt(&t->events, "closed:%d ", told.reply.code);
		return false;
	case SMTP_MAIL:
	case SMTP_NO_MORE:
		fail();
	}
	return true;
}

static void pump(struct talk *t)
{
	do
		give_messages(t);
	while (pump_once(t));
	give_messages(t);
	pull_output(t);
}

static void begin(struct talk *t, const struct smtp_setup *base)
{
	struct smtp_setup setup = *base;

	setup.hello = "me";
	setup.sender = "a@x";
	if (!setup.recipient)
		setup.recipient = "b@y";
	if (!t->body)
		t->body = "A: 1\r\n\r\n.x\r\n";
	(void)well(t, smtp_new(&t->s, &setup, &t->e));
}

static void end(struct talk *t)
{
	smtp_free(t->s);
	buf_free(&t->said);
	buf_free(&t->events);
}

/* script: what the server says, one turn each; each turn is given byte by byte too. */
static void hear(struct talk *t, const char *turn, bool by_byte)
{
	size_t len = strlen(turn);

	for (size_t i = 0; i < len && t->code == 0; i += by_byte ? 1 : len)
		if (well(t, smtp_input(t->s, turn + i, by_byte ? 1 : len)))
			pump(t);
}

struct play {
	struct smtp_setup setup;
	const struct sasl_login *login;
	const char *body;
	size_t count, piece;
	const char *turns[16];
	bool gone;
	const char *said, *events; /* said: NULL: whatever it may be */
	int code;
};

static void perform(const struct play *p, struct talk *t, bool by_byte)
{
	struct smtp_setup setup = p->setup;

	*t = (struct talk){.count = p->count, .body = p->body, .piece = p->piece};
	if (p->login && !well(t, sasl_new(&setup.sasl, p->login, &t->e)))
		return;
	begin(t, &setup);
	if (t->code == 0)
		pump(t);
	for (size_t i = 0; i < COUNT(p->turns) && p->turns[i] && t->code == 0; i++)
		hear(t, p->turns[i], by_byte);
	if (p->gone && t->code == 0) {
		smtp_gone(t->s);
		pump(t);
	}
	sasl_free(setup.sasl);
	if (buf_status(&t->said) < 0 || buf_status(&t->events) < 0)
		t->code = err_set(&t->e, -ENOMEM, "out of memory");
}

static void compare(const struct play *p, const struct talk *t)
{
	if (p->said)
		assert_string_equal(buf_text(&t->said), p->said);
	assert_string_equal(buf_text(&t->events), p->events);
	assert_int_equal(t->code, p->code);
}

/* By whole turns, each of its allocations being refused once; and byte by byte. */
static void play(const struct play *p)
{
	struct talk t;

	for (unsigned nth = 1; memory_refuse(&nth);) {
		perform(p, &t, false);
		if (!memory_refused())
			compare(p, &t);
		else if (t.code != -ENOMEM || (*t.e.text && strcmp(t.e.text, "out of memory") != 0))
			fail_msg("%u: %d %s", nth - 1, t.code, t.e.text);
		end(&t);
	}
	perform(p, &t, true);
	compare(p, &t);
	end(&t);
}

static void test_data(void **state)
{
	const struct play p = {
		.count = 2,
		.turns = {GREETING, "250-me\r\n250-SIZE 1000\r\n250 PIPELINING\r\n",
			  OK OK "354 go\r\n", OK OK OK "354 go\r\n", OK},
		.said = EHLO MAIL(12) RCPT "DATA\r\n"
					   "A: 1\r\n\r\n..x\r\n.\r\n" MAIL(12) RCPT
		"DATA\r\n"
		"A: 1\r\n\r\n..x\r\n.\r\n",
		.events = "ready sent0:250 sent1:250 ",
	};

	(void)state;
	play(&p);
}

static void test_lockstep(void **state)
{
	const struct play p = {
		.count = 2,
		.body = ".\r\n.\r\n",
		.piece = 2,
		.turns = {GREETING, "250-me\r\n250 SIZE\r\n", OK, OK, "354 go\r\n", OK,
			  "550 5.1.1 no\r\n", OK},
		.said = EHLO MAIL(6) RCPT "DATA\r\n..\r\n..\r\n.\r\n" MAIL(6),
		.events = "ready sent0:250 refused1:550 ",
		.code = -EPROTO,
	};

	(void)state;
	play(&p);
}

/* Each command goes out when the one before was answered. */
/* Before a byte of the message has left: that is no answer to it. */
static void test_refused_before_it_has_left(void **state)
{
	const struct smtp_setup setup = {0};
	struct talk t = {.count = 0};

	(void)state;
	begin(&t, &setup);
	hear(&t, GREETING, false);
	hear(&t, "250-x\r\n250 PIPELINING\r\n", false);
	assert_string_equal(buf_text(&t.events), "ready ");
	t.count = 1;
	give_messages(&t);
	assert_int_equal(smtp_input(t.s, "452 4.3.1 full\r\n", 16), 0);
	assert_false(pump_once(&t));
	assert_int_equal(t.code, -EPROTO);
	assert_non_null(strstr(t.e.text, "answers what it was not asked: 452"));
	end(&t);
}

static void test_long_recipient(void **state)
{
	char recipient[300] = "";
	struct buf said cleanup(buf_free) = {0};
	struct play p = {
		.setup = {.recipient = recipient},
		.count = 1,
		.turns = {GREETING, "250 me\r\n", OK, OK, "354 go\r\n", OK},
		.events = "ready sent0:250 ",
	};

	(void)state;
	memset(recipient, 'b', sizeof(recipient) - 3);
	strcat(recipient, "@y");
	buf_fmt(&said, EHLO "MAIL FROM:<a@x>\r\nRCPT TO:<%s>\r\nDATA\r\nA: 1\r\n\r\n..x\r\n.\r\n",
		recipient);
	p.said = buf_text(&said);
	play(&p);
}

static void test_bdat(void **state)
{
	const struct play p = {
		.count = 3,
		.turns = {GREETING, "250-me\r\n250-SIZE\r\n250-CHUNKING\r\n250 PIPELINING\r\n",
			  OK OK OK, OK "451 4.3.0 later\r\n" OK, "503 5.5.1 nested\r\n" OK OK, OK},
		.body = ".\r\n",
		.said = EHLO MAIL(3) RCPT "BDAT 3 LAST\r\n.\r\n" MAIL(3) RCPT
		"BDAT 3 LAST\r\n.\r\n" MAIL(3) RCPT "BDAT 3 LAST\r\n.\r\nRSET\r\n",
		/* the second one's last reply decides, and so does the third one's */
		.events = "ready sent0:250 sent1:250 sent2:250 ",
	};
	const struct play refused = {
		.count = 2,
		.turns = {GREETING, "250-me\r\n250-SIZE\r\n250-CHUNKING\r\n250 PIPELINING\r\n",
			  OK "550 5.1.1 no\r\n554 5.5.1 none\r\n",
			  "503 5.5.1 nested\r\n550 5.1.1 no\r\n554 5.5.1 none\r\n", OK},
		.body = ".\r\n",
		.said = EHLO MAIL(3) RCPT "BDAT 3 LAST\r\n.\r\n" MAIL(3) RCPT
		"BDAT 3 LAST\r\n.\r\nRSET\r\n",
		.events = "ready refused0:550 unsent1:503 ",
	};

	/* without PIPELINING the body waits until the recipient is taken */
	const struct play lockstep = {
		.count = 1,
		.turns = {GREETING, "250-me\r\n250-SIZE\r\n250 CHUNKING\r\n", OK,
			  "550 5.1.1 no\r\n", OK},
		.body = ".\r\n",
		.said = EHLO MAIL(3) RCPT "RSET\r\n",
		.events = "ready refused0:550 ",
	};

	/* behind a 421 nothing was looked at; a 503 that no mail before it explains stays */
	const struct play put_off = {
		.count = 2,
		.turns = {GREETING, "250-me\r\n250-SIZE\r\n250-CHUNKING\r\n250 PIPELINING\r\n",
			  "421 4.7.0 later\r\n"},
		.body = ".\r\n",
		.events = "ready refused0:421 unsent1:0 closed:421 ",
	};
	const struct play no_login = {
		.count = 2,
		.turns = {GREETING, "250-me\r\n250-SIZE\r\n250-CHUNKING\r\n250 PIPELINING\r\n",
			  "503 first\r\n503 first\r\n503 first\r\n503 first\r\n"},
		.body = ".\r\n",
		.events = "ready refused0:503 ",
	};

	(void)state;
	play(&p);
	play(&refused);
	play(&lockstep);
	play(&put_off);
	play(&no_login);
}

static void test_refusals(void **state)
{
	const struct play p = {
		/* DATA is answered by 354 though there is no recipient */
		.count = 1,
		.turns = {GREETING, "250-me\r\n250-SIZE\r\n250 PIPELINING\r\n",
			  OK "450 4.2.1 later\r\n354 go\r\n", "554 none\r\n", OK},
		.said = EHLO MAIL(12) RCPT "DATA\r\n.\r\nRSET\r\n",
		.events = "ready refused0:450 ",
	};

	(void)state;
	play(&p);
}

#define GREET GREETING, "250-me\r\n250-SIZE\r\n250 PIPELINING\r\n"

static void test_losses(void **state)
{
	static const struct {
		const char *turns[4];
		const char *events;
	} cases[] = {
		{{NULL}, "ready unsent0:0 closed:0 "},
		{{OK OK}, "ready unsent0:0 closed:0 "},
		{{OK OK "354 go\r\n"}, "ready doubt0:0 unsent1:0 closed:0 "},
		{{OK OK "354 go\r\n", OK}, "ready sent0:250 unsent1:0 closed:0 "},
		{{"421 4.3.2 bye\r\n"}, "ready refused0:421 closed:421 "},
		{{OK OK "354 go\r\n", "421 bye\r\n"}, "ready refused0:421 unsent1:0 closed:421 "},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct play p = {
			.count = 2,
			.turns = {GREET},
			.events = cases[i].events,
			.gone = !strstr(cases[i].events, "closed:421"),
		};

		for (size_t k = 0; k < COUNT(cases[i].turns); k++)
			p.turns[2 + k] = cases[i].turns[k];
		play(&p);
	}
}

static void test_never_left(void **state)
{
	struct talk t = {.count = 1};
	struct smtp_setup setup = {0};
	struct smtp_told told;
	size_t len;

	(void)state;
	begin(&t, &setup);
	hear(&t, GREETING, false);
	hear(&t, "250 PIPELINING\r\n", false);
	assert_int_equal(smtp_input(t.s, OK OK "354 go\r\n", strlen(OK OK "354 go\r\n")), 0);
	while (pump_once(&t))
		;
	(void)smtp_output(t.s, &len);
	smtp_left(t.s, len - 1); /* all but the last byte */
	smtp_gone(t.s);
	assert_int_equal(smtp_next(t.s, &told, &t.e), SMTP_DONE);
	assert_int_equal(told.result, SMTP_UNSENT);
	end(&t);
}

static void test_hostile(void **state)
{
	static const struct {
		const char *turn;
		int code;
	} cases[] = {
		{"hello\r\n", -EPROTO},
		{"220-a\r\n250 b\r\n", -EPROTO},
		{GREETING "250 early\r\n", -EPROTO},
		{"554 go away\r\n", -ECONNREFUSED},
		{"421 later\r\n", -EAGAIN},
		{"999 what\r\n", -EPROTO},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct talk t = {0};
		struct smtp_setup setup = {0};

		begin(&t, &setup);
		assert_int_equal(smtp_input(t.s, cases[i].turn, strlen(cases[i].turn)), 0);
		while (pump_once(&t))
			;
		assert_int_equal(t.code, cases[i].code);
		end(&t);
	}

	struct smtp_reply r;
	char *endless = malloc(SMTP_REPLY_LINE + 2);

	assert_non_null(endless);
	memset(endless, '2', SMTP_REPLY_LINE + 2);
	assert_int_equal(smtp_reply_read(endless, SMTP_REPLY_LINE + 2, &r), -EPROTO);
	assert_int_equal(smtp_reply_read(endless, 100, &r), 0);
	free(endless);
}

/* What it says unasked, or not as it should. */
static void test_early_and_late(void **state)
{
	const struct play idle = {
		/* it closes after a while */
		.count = 1,
		.turns = {GREET, OK OK "354 go\r\n", OK, "421 4.4.2 idle\r\n"},
		.events = "ready sent0:250 closed:421 ",
	};
	const struct play no_reset = {
		.count = 1,
		.turns = {GREET, "550 5.1.1 no\r\n503 none\r\n503 none\r\n", "500 what\r\n"},
		.events = "ready refused0:550 ",
		.code = -ECONNREFUSED,
	};

	(void)state;
	play(&idle);
	play(&no_reset);
}

/* A large body: the server may answer before it is all there, a chunk or the whole. */
static void test_refused_midway(void **state)
{
	static const struct {
		const char *ehlo, *ask, *refusal, *events;
	} cases[] = {
		{"250-me\r\n250 PIPELINING\r\n", OK OK "354 go\r\n", "552 5.3.4 too much\r\n",
		 "ready refused0:552 closed:552 "},
		{"250-me\r\n250-PIPELINING\r\n250 CHUNKING\r\n", OK OK, "552 5.3.4 too much\r\n",
		 "ready refused0:552 "},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct talk t = {.count = 1};
		struct smtp_setup setup = {0};
		struct smtp_told told = {0};
		char talked[200] = "";

		begin(&t, &setup);
		hear(&t, GREETING, false);
		assert_int_equal(smtp_input(t.s, cases[i].ehlo, strlen(cases[i].ehlo)), 0);
		assert_int_equal(smtp_next(t.s, &told, &t.e), SMTP_READY);
		give_messages(&t);
		pull_output(&t);
		assert_int_equal(smtp_input(t.s, cases[i].ask, strlen(cases[i].ask)), 0);
		assert_int_equal(smtp_next(t.s, &told, &t.e), SMTP_BODY);
		assert_int_equal(smtp_body(t.s, "A: 1\r\n", 6, false), 0);
		pull_output(&t);
		assert_int_equal(smtp_input(t.s, cases[i].refusal, strlen(cases[i].refusal)), 0);
		snprintf(talked, sizeof(talked), "ready ");
		for (int event = SMTP_BODY; event != SMTP_WAIT && event != SMTP_CLOSED;) {
			size_t len = strlen(talked);

			event = smtp_next(t.s, &told, &t.e);
			if (event == SMTP_DONE)
				assert_string_equal(told.command, i == 0 ? "the message" : "BDAT");
			if (event == SMTP_DONE || event == SMTP_CLOSED)
				snprintf(talked + len, sizeof(talked) - len, "%s:%d ",
					 event == SMTP_CLOSED	       ? "closed"
					 : told.result == SMTP_REFUSED ? "refused0"
								       : "other",
					 told.reply.code);
		}
		assert_string_equal(talked, cases[i].events);
		end(&t);
	}
}

/* Words that look like an enhanced code, and are none, belong to the text. */
static void test_enhanced_codes(void **state)
{
	static const struct {
		const char *line, *enhanced, *text;
	} cases[] = {
		{"550 5.1.1 no\r\n", "5.1.1", "no"},
		{"550 5.1.1\r\n", "5.1.1", ""},
		{"550 5.1 no\r\n", "", "5.1 no"},
		{"550 5.1.1x no\r\n", "", "5.1.1x no"},
		{"550 5.1. no\r\n", "", "5.1. no"},
		{"550 5.1.2.3 no\r\n", "", "5.1.2.3 no"},
		{"550 5.100.1000 no\r\n", "5.100.1000", "no"},
		{"550 5.1000.1000 no\r\n", "5.1000.1000", "no"},
		{"550 5.1000.10000 no\r\n", "", "5.1000.10000 no"},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct smtp_reply r;

		assert_int_equal(smtp_reply_read(cases[i].line, strlen(cases[i].line), &r),
				 strlen(cases[i].line));
		assert_string_equal(r.enhanced, cases[i].enhanced);
		assert_string_equal(r.text, cases[i].text);
	}
}

/* QUIT is said once, and not to a server that is gone; no body to one that has not asked. */
static void test_out_of_turn(void **state)
{
	static const struct smtp_setup setup = {0};
	struct talk t = {0};

	(void)state;
	begin(&t, &setup);
	hear(&t, GREETING, false);
	hear(&t, "250 me\r\n", false);
	assert_int_equal(smtp_body(t.s, "x\r\n", 3, true), -EINVAL);
	assert_int_equal(smtp_quit(t.s), 0);
	assert_int_equal(smtp_quit(t.s), 0);
	pump(&t);
	assert_string_equal(buf_text(&t.said), EHLO "QUIT\r\n");
	end(&t);

	t = (struct talk){0};
	begin(&t, &setup);
	hear(&t, GREETING, false);
	smtp_gone(t.s);
	assert_int_equal(smtp_quit(t.s), 0);
	pump(&t);
	assert_string_equal(buf_text(&t.said), EHLO);
	end(&t);
}

static void test_addresses(void **state)
{
	static const char *const bad[] = {"a>@x", "<a@x", "a@x\r\nRCPT TO:<c@x>"};
	struct smtp *s = NULL;
	struct err e = {0};

	(void)state;
	for (size_t i = 0; i < COUNT(bad); i++) {
		struct smtp_setup from = {.hello = "me", .sender = bad[i], .recipient = "b@y"};
		struct smtp_setup to = {.hello = "me", .sender = "a@x", .recipient = bad[i]};

		assert_int_equal(smtp_new(&s, &from, &e), -EINVAL);
		assert_int_equal(smtp_new(&s, &to, &e), -EINVAL);
	}
	assert_null(s);
}

static void test_starttls(void **state)
{
	static const char ehlo[] = "250-me\r\n250-STARTTLS\r\n250 PIPELINING\r\n";
	const struct play good = {
		.setup = {.tls = SMTP_TLS_OPTIONAL},
		.turns = {GREETING, ehlo, "220 go\r\n", "250 me\r\n"},
		.said = EHLO "STARTTLS\r\n" EHLO,
		.events = "tls ready ",
	};
	const struct play stripped = {
		.setup = {.tls = SMTP_TLS_REQUIRED},
		.turns = {GREETING, "250 me\r\n"},
		.said = EHLO,
		.events = "",
		.code = -ENOTSUP,
	};
	struct talk t = {0};

	(void)state;
	play(&good);
	play(&stripped);

	begin(&t, &good.setup);
	hear(&t, GREETING, false);
	hear(&t, ehlo, false);
	hear(&t, "220 go\r\n250 injected\r\n", false);
	assert_int_equal(t.code, -EPROTO);
	end(&t);
}

static void login(const char *offered, const char *const *turns, bool token, bool clear,
		  const char *said, int code)
{
	const struct sasl_login l = {.user = "joe",
				     .secret = "secret",
				     .token = token,
				     .service = "smtp",
				     .host = "x",
				     .port = 25,
				     .safe_line = !clear};
	struct buf ehlo cleanup(buf_free) = {0};

	buf_fmt(&ehlo, "250-me\r\n250 AUTH %s\r\n", offered);

	struct play p = {
		.login = &l,
		.turns = {GREETING, buf_text(&ehlo)},
		.said = said,
		.events = code == 0 ? "ready " : "",
		.code = code,
	};

	for (size_t i = 2; *turns; turns++)
		p.turns[i++] = *turns;
	play(&p);
}

static void test_login(void **state)
{
	const char *const good[] = {"235 ok\r\n", NULL}, *const bad[] = {"535 no\r\n", NULL};
	const char *const names[] = {"334 VXNlcm5hbWU6\r\n", "334 UGFzc3dvcmQ6\r\n", "235 ok\r\n",
				     NULL};
	/* RFC 2195's example challenge */
	const char *const cram[] = {
		"334 PDE4OTYuNjk3MTcwOTUyQHBvc3RvZmZpY2UucmVzdG9uLm1jaS5uZXQ+\r\n", "235 ok\r\n",
		NULL};
	/* it says why as JSON, in base64, and wants a word to that */
	const char *const why[] = {"334 eyJzdGF0dXMiOiI0MDEifQ==\r\n", "535 no\r\n", NULL};
	/* it asks for more where nothing is left to be said */
	const char *const more[] = {"334 \r\n", "235 ok\r\n", NULL};
	const char *const none[] = {NULL};

	(void)state;
	login("PLAIN", good, false, false, EHLO "AUTH PLAIN AGpvZQBzZWNyZXQ=\r\n", 0);
	login("PLAIN", bad, false, false, EHLO "AUTH PLAIN AGpvZQBzZWNyZXQ=\r\n", -EACCES);
	login("PLAIN", more, false, false, EHLO "AUTH PLAIN AGpvZQBzZWNyZXQ=\r\n\r\n", 0);
	login("PLAIN", none, false, true, EHLO, -ENOTSUP);
	login("GSSAPI", none, false, false, EHLO, -ENOTSUP);
	login("LOGIN", names, false, false, EHLO "AUTH LOGIN\r\nam9l\r\nc2VjcmV0\r\n", 0);
	login("CRAM-MD5 PLAIN", cram, false, true,
	      EHLO "AUTH CRAM-MD5\r\nam9lIDczM2JhODdlNjRlZDdlNDQxZjA2MmM0YWM2ZGIwMTAz\r\n", 0);
	login("XOAUTH2", good, true, false,
	      EHLO "AUTH XOAUTH2 dXNlcj1qb2UBYXV0aD1CZWFyZXIgc2VjcmV0AQE=\r\n", 0);
	login("OAUTHBEARER", bad, true, false,
	      EHLO "AUTH OAUTHBEARER "
		   "bixhPWpvZSwBaG9zdD14AXBvcnQ9MjUBYXV0aD1CZWFyZXIgc2VjcmV0AQE=\r\n",
	      -EACCES);
	login("OAUTHBEARER", why, true, false,
	      EHLO "AUTH OAUTHBEARER "
		   "bixhPWpvZSwBaG9zdD14AXBvcnQ9MjUBYXV0aD1CZWFyZXIgc2VjcmV0AQE=\r\n"
		   "AQ==\r\n",
	      -EACCES);
}

/* By the linker, instead of libgsasl's: one that was built without some mechanism. */
static bool lacks;
int __real_gsasl_client_start(Gsasl *library, const char *mechanism, Gsasl_session **session);
int __wrap_gsasl_client_start(Gsasl *library, const char *mechanism, Gsasl_session **session);

int __wrap_gsasl_client_start(Gsasl *library, const char *mechanism, Gsasl_session **session)
{
	return lacks ? GSASL_UNKNOWN_MECHANISM
		     : __real_gsasl_client_start(library, mechanism, session);
}

static void test_login_that_the_library_lacks(void **state)
{
	const struct sasl_login joe = {.user = "joe", .secret = "secret", .host = "x"};
	const char *mechanism = NULL;
	struct sasl *s = NULL;
	struct err e = {0};
	bool first;

	(void)state;
	lacks = true;
	assert_int_equal(sasl_new(&s, &joe, &e), 0);
	assert_int_equal(sasl_start(s, "CRAM-MD5", false, &mechanism, &first, &e), -ENOTSUP);
	assert_string_equal(e.text, "cannot log in with CRAM-MD5: Unknown SASL mechanism");
	assert_null(mechanism);
	sasl_free(s);
	lacks = false;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_data),
		cmocka_unit_test(test_lockstep),
		cmocka_unit_test(test_bdat),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_losses),
		cmocka_unit_test(test_never_left),
		cmocka_unit_test(test_hostile),
		cmocka_unit_test(test_starttls),
		cmocka_unit_test(test_login),
		cmocka_unit_test(test_early_and_late),
		cmocka_unit_test(test_refused_midway),
		cmocka_unit_test(test_addresses),
		cmocka_unit_test(test_enhanced_codes),
		cmocka_unit_test(test_out_of_turn),
		cmocka_unit_test(test_refused_before_it_has_left),
		cmocka_unit_test(test_long_recipient),
		cmocka_unit_test(test_login_that_the_library_lacks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
