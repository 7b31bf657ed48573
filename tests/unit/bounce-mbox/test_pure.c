/* SPDX-License-Identifier: MIT */
/* The pure parts of the program: where mail goes, how fast, and what the journal makes of its
 * lines. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/file.h"
#include "base/mem.h"
#include "bounce-mbox/journal.h"
#include "bounce-mbox/journal_private.h"
#include "bounce-mbox/journal_table.h"
#include "bounce-mbox/pace.h"
#include "bounce-mbox/secret.h"
#include "bounce-mbox/store.h"
#include "bounce-mbox/target.h"
#include "calls/calls.h"
#include "mail/imap_name.h"
#include "mail/reply.h"
#include "memory/memory.h"

static void test_targets(void **state)
{
	static const struct {
		const char *text, *port, *host, *wanted, *user, *shown;
	} good[] = {
		{"mx.test", NULL, "mx.test", "25", "", "smtp://mx.test:25"},
		{"mx.test:26", NULL, "mx.test", "26", "", "smtp://mx.test:26"},
		{"mx.test", "587", "mx.test", "587", "", "smtp://mx.test:587"},
		{"::1", NULL, "::1", "25", "", "smtp://[::1]:25"},
		{"smtps://joe@[::1]:466/", NULL, "::1", "466", "joe", "smtps://[::1]:466"},
		{"imap://a@b@c.test", NULL, "c.test", "143", "a@b", "imap://c.test:143"},
		{"imaps://c", NULL, "c", "993", "", "imaps://c:993"},
	};
	static const char *const bad[] = {
		"",	"smtp://",     "ftp://x",  "smtp://u:pw@x",   "x:0",	   "x:65536",
		"x:1x", "smtp://[::1", "smtp://@", "imap://a@b/Work", "smtp://b//"};
	struct target t;
	struct err e;

	(void)state;
	for (size_t i = 0; i < COUNT(good); i++) {
		assert_int_equal(target_parse(good[i].text, good[i].port, &t, &e), 0);
		assert_string_equal(t.host, good[i].host);
		assert_string_equal(t.port, good[i].wanted);
		assert_string_equal(t.user, good[i].user);
		assert_string_equal(t.shown, good[i].shown);
	}
	assert_int_equal(target_parse("lmtp:///run/lmtp", NULL, &t, &e), 0);
	assert_string_equal(t.path, "/run/lmtp");
	for (size_t i = 0; i < COUNT(bad); i++)
		if (strcmp(bad[i], "smtp://[::1") != 0)
			assert_true(target_parse(bad[i], NULL, &t, &e) < 0);
}

static void test_rates(void **state)
{
	int64_t interval = 0;

	(void)state;
	assert_int_equal(pace_rate_parse("60/min", &interval, NULL), 0);
	assert_int_equal(interval, SECOND);
	assert_int_equal(pace_rate_parse("4/s", &interval, NULL), 0);
	assert_int_equal(interval, SECOND / 4);
	assert_true(pace_rate_parse("0/s", &interval, NULL) < 0);
	assert_true(pace_rate_parse("6/fortnight", &interval, NULL) < 0);
}

static void test_pace(void **state)
{
	struct pace p = {.interval = 1000, .per_day = 2, .backoff = SECOND};
	const int64_t day = 86400 * SECOND;
	struct smtp_reply later = {.code = 451, .text = "not now"};
	struct smtp_reply told = {.code = 421,
				  .text = "4.3.2 Suggested Backoff Time: 1500 milliseconds"};
	struct smtp_reply gmail = {
		.code = 554,
		.text = "NO [OVERQUOTA] Account exceeded command or bandwidth limits."};
	struct smtp_reply quota = {.code = 550, .enhanced = "5.4.5", .text = "Daily limit"};

	(void)state;
	assert_int_equal(pace_wait(&p, 10), 0);
	pace_took(&p, 10);
	assert_int_equal(pace_wait(&p, 10), 1000);
	assert_int_equal(pace_wait(&p, 1010), 0);
	pace_took(&p, 1010); /* the day's second */
	/* counted by quarters of an hour, the last one to its end */
	assert_int_equal(pace_wait(&p, 2010), day + day / DAY_PARTS - 2010);
	assert_true(pace_is_used_up(&p, 2010));
	assert_int_equal(pace_wait(&p, day + day / DAY_PARTS), 0);
	p.per_day = 0;
	assert_int_equal(pace_setback(&p, 0, &later), SECOND);
	assert_int_equal(pace_setback(&p, 0, &later), 2 * SECOND);
	pace_good(&p);
	assert_int_equal(pace_setback(&p, 0, &later), SECOND);
	assert_int_equal(pace_setback(&p, 0, &told), 1500000);
	assert_true(pace_is_quota(&quota) && pace_is_quota(&gmail));
	assert_false(pace_is_quota(&later));
	assert_int_equal(pace_setback(&p, 0, &quota), 3600 * SECOND);
	for (int i = 0; i < 40; i++)
		assert_true(pace_setback(&p, 0, &later) <= 900 * SECOND);
}

/* How long a server wants to be left alone: what makes no sense, or is more than a day, it does not
 * say. */
static void test_suggested_pauses(void **state)
{
	static const struct {
		const char *said;
		int64_t pause;
	} cases[] = {{"20 seconds", 20 * SECOND},
		     {"86400 sec", 86400 * SECOND},
		     {"86401 seconds", SECOND},
		     {"86400001 milliseconds", SECOND},
		     {"99999999999999999999", SECOND},
		     {"0 milliseconds", SECOND},
		     {"-5", SECOND},
		     {"a while", SECOND}};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct pace p = {.backoff = SECOND};
		struct smtp_reply reply = {.code = 421};

		snprintf(reply.text, sizeof(reply.text), "Suggested Backoff Time: %s",
			 cases[i].said);
		assert_int_equal(pace_setback(&p, 0, &reply), cases[i].pause);
	}
}

/* What an earlier run sent leaves the day as it would have there. */
static void test_recall(void **state)
{
	const int64_t part = 86400 * SECOND / DAY_PARTS;
	const uint32_t parts[DAY_PARTS] = {[0] = 1, [2] = 3, [DAY_PARTS - 1] = 2};
	struct pace p = {.per_day = 5};

	(void)state;
	pace_recall(&p, 7 * part, parts);
	assert_true(pace_is_used_up(&p, 7 * part));
	/* with the oldest two gone four are left: room for one more … */
	assert_int_equal(pace_wait(&p, 7 * part), 2 * part);
	pace_took(&p, 9 * part);
	/* … and for the next one when the three are a day old */
	assert_int_equal(pace_wait(&p, 9 * part), (DAY_PARTS - 3) * part);
	assert_int_equal(pace_wait(&p, (7 - 2 + 1 + DAY_PARTS) * part), 0);
	pace_took(&p, 1000 * part);
	assert_int_equal(pace_wait(&p, 1000 * part), 0);
}

static void test_providers(void **state)
{
	(void)state;
	assert_true(provider_find("gmail")->interval >= SECOND);
	assert_null(provider_find("Gmail"));
	for (unsigned i = 0; provider_nth(i); i++)
		assert_true(strlen(provider_nth(i)->source) > 0);
}

/* Runs through the journal at path with one message; returns what it was found to be. */
static enum journal_state meet(const char *path, const char *boot, struct prepared *p)
{
	struct journal *j = NULL;
	enum journal_state found;

	assert_int_equal(journal_open(&j, path, boot, NULL), 0);
	found = journal_meet(j, p);
	journal_close(j);
	return found;
}

/* Another process has the journal's open file, as a child has before it executes a program. */
static void test_lock_ends_with_the_journal(void **state)
{
	char path[] = "/tmp/test-journal-XXXXXX";
	struct journal *j = NULL;
	pid_t child;

	(void)state;
	close(mkstemp(path));
	assert_int_equal(journal_open(&j, path, "boot", NULL), 0);
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		pause();
		_exit(0);
	}
	journal_close(j);

	int r = journal_open(&j, path, "boot", NULL);

	assert_int_equal(kill(child, SIGKILL), 0);
	assert_int_equal(waitpid(child, NULL, 0), child);
	unlink(path);
	assert_int_equal(r, 0);
	journal_close(j);
}

static void test_journal(void **state)
{
	char path[] = "/tmp/test-journal-XXXXXX";
	int fd = mkstemp(path);
	char id[] = "<1@test>";
	struct prepared p = {.id = id, .key = {1, 2, 3}};
	struct journal_sums sums;
	struct journal *j = NULL;

	(void)state;
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(meet(path, "boot", &p), JOURNAL_NEW);
	assert_int_equal(journal_open(&j, path, "boot", NULL), 0);
	journal_run(j, 1, "imap://x");
	journal_intent(j, &p, false);
	assert_int_equal(journal_sync(j, NULL), 0);
	/* it never left, as far as this boot knows; after another boot nobody does */
	assert_true(journal_open(&j, path, "boot", NULL) < 0); /* locked */
	journal_close(j);
	assert_int_equal(meet(path, "boot", &p), JOURNAL_NEW);
	assert_int_equal(meet(path, "another", &p), JOURNAL_DOUBT);

	assert_int_equal(journal_open(&j, path, "boot", NULL), 0);
	journal_run(j, 1, "imap://x");
	journal_intent(j, &p, false);
	journal_go(j, &p);
	assert_int_equal(journal_write(j, NULL), 0);
	journal_close(j);
	assert_int_equal(meet(path, "boot", &p), JOURNAL_DOUBT);

	assert_int_equal(journal_open(&j, path, "boot", NULL), 0);
	journal_run(j, 1, "imap://x");
	journal_intent(j, &p, true);
	journal_go(j, &p);
	journal_done(j, &p, "250 [APPENDUID 7 12] ok\r\nforged line");
	assert_int_equal(journal_write(j, NULL), 0);
	journal_close(j);
	assert_int_equal(meet(path, "boot", &p), JOURNAL_SENT);

	assert_int_equal(journal_look(&j, path, "boot", NULL), 0);
	journal_sums(j, &sums);
	assert_int_equal(sums.sent, 1);
	uint32_t parts[DAY_PARTS];

	journal_recent(j, parts); /* two have left, now and now */
	assert_int_equal(parts[0], 2);
	assert_int_equal(journal_whose(j, id, 7, 12), IMAP_ANOTHERS);
	assert_int_equal(journal_whose(j, id, 7, 1), IMAP_NOBODYS);
	assert_int_equal(journal_whose(j, "<2@test>", 7, 12), IMAP_NOBODYS);
	assert_int_equal(sums.doubt, 0);
	assert_string_equal(sums.target, "imap://x");
	/* a second copy in the archive is another message */
	assert_int_equal(journal_meet(j, &p), JOURNAL_SENT);
	assert_int_equal(journal_meet(j, &p), JOURNAL_NEW);
	journal_close(j);
	unlink(path);
}

static void put_journal_line(int fd, const char *line)
{
	dprintf(fd, "@%08x %s\n", journal_line_sum(line, strlen(line)), line);
}

/* What is in doubt stays so, whatever becomes of the attempts, until the server has been asked or
 * has it. Of two copies that are under way each has its own fate. */
static void test_doubt_stays(void **state)
{
	static const struct {
		const char *lines[6];
		enum journal_state first, second; /* of two copies */
	} cases[] = {
		{{"intent", "go"}, JOURNAL_DOUBT, JOURNAL_NEW},
		{{"intent", "go", "retry"}, JOURNAL_DOUBT, JOURNAL_NEW},
		{{"intent", "go", "run", "retry"}, JOURNAL_DOUBT, JOURNAL_NEW},
		{{"intent", "go", "run", "retry", "retry", "go again"}, JOURNAL_DOUBT, JOURNAL_NEW},
		{{"intent", "go", "run", "retry", "not"}, JOURNAL_NEW, JOURNAL_NEW},
		{{"intent", "go", "retry", "go again", "not"}, JOURNAL_NEW, JOURNAL_NEW},
		{{"intent", "go", "run", "retry", "done"}, JOURNAL_SENT, JOURNAL_NEW},
		{{"retry"}, JOURNAL_DOUBT, JOURNAL_NEW}, /* by the key of version 0.1.0 */
		{{"intent", "intent", "go", "back"}, JOURNAL_DOUBT, JOURNAL_NEW},
		{{"intent", "go", "intent", "go", "run", "retry"}, JOURNAL_DOUBT, JOURNAL_DOUBT},
		{{"intent", "lost"}, JOURNAL_DOUBT, JOURNAL_NEW},
		{{"intent", "intent", "lost", "back", "run"}, JOURNAL_DOUBT, JOURNAL_NEW},
		{{"lost", "run", "intent"}, JOURNAL_NEW, JOURNAL_NEW},
		/* as version 0.1.0 wrote them */
		{{"intent", "go", "again", "go", "done"}, JOURNAL_SENT, JOURNAL_NEW},
		{{"intent", "not"}, JOURNAL_NEW, JOURNAL_NEW},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		char path[] = "/tmp/test-journal-XXXXXX", line[120], id[] = "<1@test>";
		int fd = mkstemp(path);
		struct prepared p = {.id = id};
		struct journal *j = NULL;

		put_journal_line(fd, "run boot 1 1 x");
		for (size_t k = 0; k < COUNT(cases[i].lines) && cases[i].lines[k]; k++) {
			const char *what = cases[i].lines[k];
			size_t len = strcspn(what, " ");

			snprintf(line, sizeof(line), "%.*s %064d%s", (int)len, what, 0, what + len);
			put_journal_line(fd,
					 *what == 'r' && what[1] == 'u' ? "run boot 1 1 x" : line);
		}
		close(fd);
		assert_int_equal(journal_open(&j, path, "boot", NULL), 0);
		assert_int_equal(journal_meet(j, &p), cases[i].first);
		assert_int_equal(journal_meet(j, &p), cases[i].second);
		journal_close(j);
		unlink(path);
	}
}

/* Where an IMAP server told no UID, any may be that message's; what went by SMTP is in no account.
 */
static void test_whose(void **state)
{
	static const struct {
		const char *run, *words;
		enum imap_whose whose;
	} cases[] = {
		{"run boot 1 1 me at imap://x", "250 [APPENDUID 7 1] ok", IMAP_ANOTHERS},
		{"run boot 1 1 me at imaps://x", "250 [APPENDUID 7 2] ok", IMAP_NOBODYS},
		{"run boot 1 1 imap://x", "250 ok", IMAP_ANYBODYS},
		{"run boot 1 1 me at smtp://x", "250 ok", IMAP_NOBODYS},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		char path[] = "/tmp/test-journal-XXXXXX", line[150];
		int fd = mkstemp(path);
		struct journal *j = NULL;

		put_journal_line(fd, cases[i].run);
		snprintf(line, sizeof(line), "intent %064d <1@test>", 0);
		put_journal_line(fd, line);
		snprintf(line, sizeof(line), "done %064d %s", 0, cases[i].words);
		put_journal_line(fd, line);
		close(fd);
		assert_int_equal(journal_open(&j, path, "boot", NULL), 0);
		assert_int_equal(journal_whose(j, "<1@test>", 7, 1), cases[i].whose);
		assert_int_equal(journal_whose(j, "<2@test>", 7, 1), IMAP_NOBODYS);
		journal_close(j);
		unlink(path);
	}
}

/* Where /proc is missing, two boots are never known to be one. */
static void test_unknown_boots(void **state)
{
	char path[] = "/tmp/test-journal-XXXXXX";
	int fd = mkstemp(path);
	char id[] = "<1@test>";
	struct prepared p = {.id = id, .key = {1, 2, 3}};
	struct journal *j = NULL;

	(void)state;
	close(fd);
	assert_int_equal(journal_open(&j, path, "unknown", NULL), 0);
	journal_run(j, 1, "smtp://x");
	journal_intent(j, &p, false);
	assert_int_equal(journal_sync(j, NULL), 0);
	journal_close(j);
	assert_int_equal(meet(path, "unknown", &p), JOURNAL_DOUBT);
	unlink(path);
}

/* Of what left, only what is less than a day old counts. */
static void test_old_lines(void **state)
{
	char path[] = "/tmp/test-journal-XXXXXX", line[100];
	char key[2 * KEY_BYTES + 1];
	int fd = mkstemp(path);
	uint32_t parts[DAY_PARTS], sum = 0;
	struct journal *j = NULL;

	(void)state;
	memset(key, 'a', sizeof(key) - 1);
	key[sizeof(key) - 1] = 0;
	put_journal_line(fd, "at 1000");
	snprintf(line, sizeof(line), "go %s", key);
	put_journal_line(fd, line);
	snprintf(line, sizeof(line), "at %lld", (long long)time(NULL));
	put_journal_line(fd, line);
	snprintf(line, sizeof(line), "go %s", key);
	put_journal_line(fd, line);
	close(fd);
	assert_int_equal(journal_open(&j, path, "boot", NULL), 0);
	journal_recent(j, parts);
	for (size_t i = 0; i < DAY_PARTS; i++)
		sum += parts[i];
	assert_int_equal(sum, 1);
	journal_close(j);
	unlink(path);
}

/* A torn end that can't be cut off, lines that can't be had on the disk. */
static void test_what_the_kernel_refuses(void **state)
{
	char path[] = "/tmp/test-journal-XXXXXX", sealed[40], said[200] = "";
	int fd = memfd_create("journal", MFD_CLOEXEC | MFD_ALLOW_SEALING), ends[2];
	struct journal *j = NULL;
	struct err e = {0};

	(void)state;
	assert_int_equal(write(fd, "@0000", 5), 5);
	assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK), 0);
	snprintf(sealed, sizeof(sealed), "/proc/self/fd/%d", fd);
	assert_int_equal(journal_open(&j, sealed, "boot", &e), -EPERM);
	assert_non_null(strstr(e.text, "cannot heal the journal /proc/self/fd/"));
	close(fd);

	fd = mkstemp(path);
	close(fd);
	assert_int_equal(journal_open(&j, path, "boot", &e), 0);
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	assert_int_equal(dup2(ends[1], j->fd), j->fd); /* a pipe has no disk */
	journal_run(j, 1, "smtp://x");
	assert_int_equal(journal_sync(j, &e), -EINVAL);
	assert_non_null(strstr(e.text, "to the disk: Invalid argument"));
	assert_true(read(ends[0], said, sizeof(said) - 1) > 0);
	assert_non_null(strstr(said, " lost \n"));
	journal_close(j);
	close(ends[0]);
	close(ends[1]);
	unlink(path);
}

/* Lines that are whole, and make no sense, hide nothing. */
static void test_odd_lines(void **state)
{
	static const struct {
		const char *line;
		int code;
	} cases[] = {{"nothing", -EBADMSG}, {"go 12", -EBADMSG}, {"go XYZ", -EBADMSG},
		     {"done 0g", -EBADMSG}, {"run boot", 0},	 {"run boot 12", 0}};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		char path[] = "/tmp/test-journal-XXXXXX";
		int fd = mkstemp(path);
		const char *line = cases[i].line;
		struct journal *j = NULL;
		struct err e = {0};

		put_journal_line(fd, line);
		close(fd);
		assert_int_equal(journal_open(&j, path, "boot", &e), cases[i].code);
		assert_true(cases[i].code == 0 || strstr(e.text, "line 1 of the journal"));
		journal_close(j);
		unlink(path);
	}
}

/* A list of ids as earlier programs kept it, with line ends of any kind; and lines that only start
 * as ours do, of which the last one may be torn. */
static void test_lines_of_others(void **state)
{
	static const char *const damaged[] = {"@\n\n<1@x>\n", "@00000000\n\n<1@x>\n",
					      "@0000000000 x\n\n<1@x>\n"};
	char path[] = "/tmp/test-journal-XXXXXX";
	int fd = mkstemp(path);
	char id[] = "<1@x>";
	struct prepared p = {.id = id};
	struct journal *j = NULL;
	struct err e = {0};

	(void)state;
	close(fd);
	assert_int_equal(file_write(path, "# sent\r\n\r\n<1@x>  \r\n@torn\n", 24, 0600, &e), 0);
	assert_int_equal(journal_open(&j, path, "boot", &e), 0);
	assert_int_equal(journal_meet(j, &p), JOURNAL_SENT);
	journal_close(j);
	for (size_t i = 0; i < COUNT(damaged); i++) {
		assert_int_equal(file_write(path, damaged[i], strlen(damaged[i]), 0600, &e), 0);
		assert_int_equal(journal_open(&j, path, "boot", &e), -EBADMSG);
		assert_non_null(strstr(e.text, "line 1 of the journal"));
	}
	unlink(path);
}

/* The disk is full in the middle of a line, and later it is not: the lines go on where they ended.
 */
/* Of copies for two mailboxes the second one's is there; the first one's has left, or has not, when
 * the run dies: the next one knows which is which. */
static void test_copies_in_two_mailboxes(void **state)
{
	static const struct {
		bool left;
		size_t cut; /* off the journal's end */
		enum journal_state first, second;
	} cases[] = {
		{true, 0, JOURNAL_DOUBT, JOURNAL_SENT},
		{false, 0, JOURNAL_NEW, JOURNAL_SENT},
		/* within the second one's "done", its "paid" being there */
		{false, 10, JOURNAL_DOUBT, JOURNAL_DOUBT},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		char path[] = "/tmp/test-journal-XXXXXX";
		int fd = mkstemp(path);
		char id[] = "<1@test>";
		struct prepared a = {.id = id, .key = {1}, .place = {2}, .placed = true};
		struct prepared b = {.id = id, .key = {1}, .place = {3}, .placed = true};
		struct journal *j = NULL;

		assert_int_equal(journal_open(&j, path, "boot", NULL), 0);
		journal_run(j, 2, "imap://x");
		journal_intent(j, &a, false);
		journal_intent(j, &b, false);
		if (cases[i].left)
			journal_go(j, &a);
		journal_go(j, &b);
		journal_done(j, &b, "250 ok");
		assert_int_equal(journal_sync(j, NULL), 0);
		journal_close(j);
		assert_int_equal(ftruncate(fd, lseek(fd, 0, SEEK_END) - (off_t)cases[i].cut), 0);

		assert_int_equal(journal_open(&j, path, "boot", NULL), 0);
		assert_int_equal(journal_meet(j, &a), cases[i].first);
		assert_int_equal(journal_meet(j, &b), cases[i].second);
		journal_close(j);
		close(fd);
		unlink(path);
	}
}

static void test_full_disk(void **state)
{
	char path[] = "/tmp/test-journal-XXXXXX";
	int fd = mkstemp(path);
	char id[] = "<1@test>";
	struct prepared p = {.id = id, .key = {1, 2, 3}};
	struct journal *j = NULL;
	struct rlimit old, small;

	(void)state;
	close(fd);
	(void)signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	small = old;
	small.rlim_cur = 50;
	assert_int_equal(journal_open(&j, path, "boot", NULL), 0);
	journal_intent(j, &p, false);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	assert_true(journal_write(j, NULL) < 0);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	journal_go(j, &p);
	assert_int_equal(journal_write(j, NULL), 0);
	journal_close(j);
	assert_int_equal(meet(path, "boot", &p), JOURNAL_DOUBT);
	unlink(path);
}

/* A run of one message that a server takes, with its UID. */
static int run_once(const char *path, struct prepared *p, struct err *e)
{
	struct journal *j = NULL;
	int r = journal_open(&j, path, "boot", e), synced;

	if (r < 0)
		return r;
	journal_run(j, 1, "imap://x");
	journal_intent(j, p, false);
	journal_go(j, p);
	r = journal_write(j, e);
	journal_done(j, p, "250 [APPENDUID 7 12] ok");
	synced = journal_sync(j, e);
	journal_close(j);
	return r < 0 ? r : synced;
}

/* Whatever of it is lacking: it is said, what the journal holds is whole, and has no message that
 * has left as new where its "go" was to be had. */
static void test_lines_without_memory(void **state)
{
	char path[] = "/tmp/test-journal-XXXXXX";
	int fd = mkstemp(path);
	char id[] = "<1@test>";
	struct prepared p = {.id = id, .key = {1, 2, 3}};
	struct journal_sums sums;
	struct journal *j = NULL;
	struct err e = {0};
	unsigned sent = 0, doubt = 0;

	(void)state;
	for (unsigned nth = 1; memory_refuse(&nth);) {
		int r;

		assert_int_equal(ftruncate(fd, 0), 0);
		r = run_once(path, &p, &e);
		if (memory_refused()) {
			assert_int_equal(r, -ENOMEM);
			assert_true(strstr(e.text, "out of memory") ||
				    strstr(e.text, "Cannot allocate memory"));
		} else {
			assert_int_equal(r, 0);
		}
		assert_int_equal(journal_look(&j, path, "boot", NULL), 0);
		journal_sums(j, &sums);
		sent += (unsigned)sums.sent;
		doubt += (unsigned)sums.doubt;
		journal_close(j);
	}
	assert_int_equal(doubt, 0); /* "done" has its place where "go" had one */
	assert_true(sent > 3);
	/* there is something to read, and a newline to add */
	assert_int_equal(ftruncate(fd, lseek(fd, 0, SEEK_END) - 1), 0);
	assert_int_equal(scarce(run_once(path, &p, &e)), 0);
	assert_int_equal(scarce(journal_look(&j, path, "boot", &e)), 0);
	journal_close(j);
	close(fd);
	unlink(path);
}

/* A run that could not note all of what it was about to send. The next one sends it, and that is
 * all: what is owed without an intent would stand for one more copy. */
static void test_intents_without_memory(void **state)
{
	char path[] = "/tmp/test-journal-XXXXXX";
	int fd = mkstemp(path);
	char id[] = "<1@test>";
	struct prepared p = {.id = id, .key = {1, 2, 3}, .place = {4, 5}, .placed = true};
	struct journal *j = NULL;
	struct err e = {0};
	unsigned sent = 0;

	(void)state;
	for (unsigned nth = 1; memory_refuse(&nth);) {
		assert_int_equal(ftruncate(fd, 0), 0);
		p.owed = false;
		if (journal_open(&j, path, "boot", NULL) == 0) {
			journal_intent(j, &p, false);
			(void)journal_write(j, NULL);
			journal_close(j);
		}
		(void)memory_refused();
		p.owed = false;
		if (meet(path, "boot", &p) == JOURNAL_DOUBT) /* it says that lines are lost */
			continue;
		sent++;
		assert_int_equal(run_once(path, &p, &e), 0);
		assert_int_equal(meet(path, "boot", &p), JOURNAL_SENT);
	}
	assert_true(sent > 3);
	close(fd);
	unlink(path);
}

/* What an IMAP server gave a message can't be noted: the journal says why, and that it was sent. */
static void test_no_room_for_a_uid(void **state)
{
	char path[] = "/tmp/test-journal-XXXXXX";
	int fd = mkstemp(path), r = 0;
	char id[] = "<1@test>";
	struct prepared p = {.id = id, .key = {1, 2, 3}};
	struct journal *j = NULL;
	struct err e = {0};

	(void)state;
	close(fd);
	assert_int_equal(journal_open(&j, path, "boot", NULL), 0);
	j->taken.uids.folder = "/proc/nowhere";
	for (uint64_t i = 0; i < 1000000 && r == 0; i++)
		r = journal_ids_add(&j->taken.uids, (const char *)&i, sizeof(i), &e);
	assert_int_equal(r, -ENOENT);
	journal_run(j, 1, "imap://x");
	journal_intent(j, &p, false);
	journal_go(j, &p);
	assert_int_equal(journal_write(j, NULL), 0);
	e = (struct err){0};
	journal_done(j, &p, "250 [APPENDUID 7 12] ok");
	for (int times = 0; times < 2; times++) {
		assert_int_equal(journal_write(j, &e), -ENOENT);
		assert_non_null(strstr(e.text, "/proc/nowhere: No such file or directory"));
	}
	journal_close(j);
	assert_int_equal(meet(path, "boot", &p), JOURNAL_SENT);
	unlink(path);
}

/* More messages than are sorted in memory at once, from a table that lies in a file. */
static void test_order(void **state)
{
	const size_t count = 600000;
	struct store store = {.fd = -1, .temporary = "/tmp", .count = count};
	uint64_t sum = 0, random = 1;
	const struct item *last = NULL;

	(void)state;
	assert_int_equal(spill_grow(&store.index, count * sizeof(struct item), "/tmp", NULL), 0);
	assert_true(store.index.mapped);
	for (size_t i = 0; i < count; i++) {
		random = random * 6364136223846793005U + 1442695040888963407U;
		((struct item *)store.index.bytes)[i] =
			(struct item){.at = i, .date = (uint32_t)(random >> 48)};
	}
	spill_rest(&store.index);
	assert_int_equal(scarce(store_sort(&store, NULL)), 0);
	for (size_t i = 0; i < count; i++) {
		const struct item *item = store_item(&store, i);

		assert_true(!last || last->date < item->date ||
			    (last->date == item->date && last->at < item->at));
		sum += item->at;
		last = item;
	}
	assert_int_equal(sum, count * (count - 1) / 2);
	store_free(&store);
}

/* Over the heap, and on within the file: what was there stays, wherever it is read. */
static void test_spill(void **state)
{
	static const size_t rooms[] = {1000, 9000000, 30000000, 60000000};
	struct spill s = {0};
	struct err e = {0};
	char text[5];

	(void)state;
	for (size_t i = 0; i < COUNT(rooms); i++) {
		assert_int_equal(scarce(spill_grow(&s, rooms[i], "/tmp", &e)), 0);
		assert_int_equal(s.mapped, i > 0);
		assert_non_null(s.bytes);
		if (i == 0)
			memcpy((char *)s.bytes + 100, "here", 5);
		((char *)s.bytes)[rooms[i] - 1] = 'x';
		spill_rest(&s);
		assert_int_equal(spill_read(&s, 100, text, sizeof(text), &e), 0);
		assert_string_equal(text, "here");
	}
	/* beyond its end */
	assert_int_equal(spill_read(&s, s.room, text, sizeof(text), &e), -EIO);
	spill_free(&s);
}

/* Likewise, and then says what failed. */
static int grow_over_the_heap(struct err *e)
{
	static const size_t rooms[] = {1000, 9000000, 30000000};
	struct spill s = {0};
	int r = 0;

	for (size_t i = 0; i < COUNT(rooms) && r == 0; i++) {
		r = spill_grow(&s, rooms[i], "/tmp", e);
		if (r == 0 && i == 0)
			memcpy(s.bytes, "here", 5);
		assert_string_equal(s.bytes, "here");
		assert_true(r < 0 || s.room >= rooms[i]);
	}
	spill_free(&s);
	return r;
}

static void test_spill_that_the_kernel_refuses(void **state)
{
	(void)state;
	for (unsigned nth = 1; call_refuse(&nth, ENOSPC);) {
		struct err e = {0};
		int r = grow_over_the_heap(&e);
		const char *failed = call_refused();

		if (!failed || strcmp(failed, "open64") == 0) { /* there is another way to one */
			assert_int_equal(r, 0);
			continue;
		}
		assert_int_equal(r, -ENOSPC);
		assert_string_equal(e.text, strstr(failed, "map")
						    ? "cannot map a temporary file: No space left "
						      "on device"
						    : "cannot make a temporary file in /tmp: No "
						      "space left on device");
	}
}

/* No more files can be opened. */
static void test_password_command_that_can_not_run(void **state)
{
	const struct secret_source source = {.command = "echo secret"};
	struct rlimit old, none;
	char *secret = NULL;
	struct err e = {0};
	int fd = dup(0), r;

	(void)state;
	assert_int_equal(secret_get(&source, -1, &secret, &e), 0);
	assert_string_equal(secret, "secret");
	secret_free(take(secret));
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	none = (struct rlimit){(rlim_t)fd, old.rlim_max};
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	r = secret_get(&source, -1, &secret, &e);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	assert_int_equal(r, -EMFILE);
	assert_string_equal(e.text, "cannot run \"echo secret\": Too many open files");
	assert_null(secret);
}

/* More of them than can be counted. */
static void test_full_table(void **state)
{
	struct journal_table table = {.count = UINT32_MAX - 1};
	const unsigned char key[KEY_BYTES] = {1};
	struct err e = {0};

	(void)state;
	assert_null(journal_table_make(&table, key, "", &e));
	assert_int_equal(e.code, -ENOMEM);
}

/* A journal's tables, grown over the heap: nothing is lost on the way to the file. */
static void test_spilled_tables(void **state)
{
	struct journal_table table = {.folder = "/tmp"};
	struct journal_ids ids = {.folder = "/tmp"};
	const uint32_t count = 300000;

	(void)state;
	for (uint32_t i = 0; i < count; i++) {
		uint64_t key[4] = {i * 0x9e3779b97f4a7c15U, i};
		char id[20];

		snprintf(id, sizeof(id), "<%u@x>", i);
		journal_table_make(&table, (unsigned char *)key, "", NULL)->sent = i;
		assert_int_equal(journal_ids_add(&ids, id, strlen(id), NULL), 0);
	}
	assert_true(table.entries.mapped);
	for (uint32_t i = 0; i < count; i++) {
		uint64_t key[4] = {i * 0x9e3779b97f4a7c15U, i};
		char id[20];

		snprintf(id, sizeof(id), "<%u@x>", i);
		assert_int_equal(journal_table_find(&table, (unsigned char *)key)->sent, i);
		assert_true(journal_ids_have(&ids, id));
	}
	assert_false(journal_ids_have(&ids, "<x@x>"));
	journal_table_free(&table);
	journal_ids_free(&ids);
}

/* Where they can't grow, who asked for it learns why. */
static void test_tables_without_room(void **state)
{
	struct journal_table table = {.folder = "/proc/nowhere"};
	struct journal_ids ids = {.folder = "/proc/nowhere"};
	uint64_t key[4] = {0};
	struct err e = {0};
	char id[20];
	int r = 0;

	(void)state;
	while (key[0]++ < 1000000 && journal_table_make(&table, (unsigned char *)key, "", &e))
		;
	assert_int_equal(e.code, -ENOENT);
	assert_non_null(strstr(e.text, "/proc/nowhere: No such file or directory"));
	assert_null(journal_table_find(&table, (unsigned char *)key));
	key[0] = 1;
	assert_non_null(journal_table_find(&table, (unsigned char *)key));
	e = (struct err){0};
	for (uint32_t i = 0; i < 1000000 && r == 0; i++) {
		int len = snprintf(id, sizeof(id), "<%u@x>", i);

		r = journal_ids_add(&ids, id, (size_t)len, &e);
	}
	assert_int_equal(r, -ENOENT);
	assert_non_null(strstr(e.text, "/proc/nowhere: No such file or directory"));
	assert_false(journal_ids_have(&ids, id));
	journal_table_free(&table);
	journal_ids_free(&ids);
}

static void test_coded_names(void **state)
{
	static const char *const cases[][2] = {
		{"W&APY-rk", "Wörk"}, {"&U,BTFw-&ZeVnLIqe-", "台北日本語"},
		{"a &- b", "a & b"},  {"&2D3c7A-x", "\xf0\x9f\x93\xacx"},
		{"AT&T", "AT&T"},     {"a&b-", "a&b-"},	  /* none of it is coded */
		{"&2D0-", "&2D0-"},   {"&AAA-", "&AAA-"}, /* half a pair, a NUL */
		{"&APZ-", "&APZ-"},   {"plain", "plain"},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct buf b cleanup(buf_free) = {0};

		imap_name_read(cases[i][0], strlen(cases[i][0]), &b);
		assert_string_equal(buf_text(&b), cases[i][1]);
	}
}

static void test_mailboxes(void **state)
{
	static const struct {
		const char *name;
		char delimiter;
		const char *wanted;
	} cases[] = {
		{"INBOX", '/', "INBOX"},
		{"a/b.c", '.', "a.b_c"},
		{"a & b", '/', "a &- b"},
		{"a\tb\x7f", '/', "a_b_"},
		{"~peter/mail/台北/日本語", '/', "~peter/mail/&U,BTFw-/&ZeVnLIqe-"}, /* RFC 3501 */
		{"\xf0\x9f\x93\xac", '/', "&2D3c7A-"},
		{"W\xf6rk", '/', "W&APY-rk"},		    /* Latin 1 */
		{"\xf4\x90\x80\x80", '/', "&APQAkACAAIA-"}, /* behind the last letter of all */
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct buf b cleanup(buf_free) = {0};

		imap_name_put(&b, cases[i].name, cases[i].delimiter);
		assert_string_equal(buf_text(&b), cases[i].wanted);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_targets),
		cmocka_unit_test(test_rates),
		cmocka_unit_test(test_pace),
		cmocka_unit_test(test_providers),
		cmocka_unit_test(test_recall),
		cmocka_unit_test(test_suggested_pauses),
		cmocka_unit_test(test_journal),
		cmocka_unit_test(test_lock_ends_with_the_journal),
		cmocka_unit_test(test_lines_of_others),
		cmocka_unit_test(test_full_disk),
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_spilled_tables),
		cmocka_unit_test(test_tables_without_room),
		cmocka_unit_test(test_mailboxes),
		cmocka_unit_test(test_coded_names),
		cmocka_unit_test(test_doubt_stays),
		cmocka_unit_test(test_whose),
		cmocka_unit_test(test_unknown_boots),
		cmocka_unit_test(test_copies_in_two_mailboxes),
		cmocka_unit_test(test_odd_lines),
		cmocka_unit_test(test_lines_without_memory),
		cmocka_unit_test(test_intents_without_memory),
		cmocka_unit_test(test_no_room_for_a_uid),
		cmocka_unit_test(test_spill),
		cmocka_unit_test(test_spill_that_the_kernel_refuses),
		cmocka_unit_test(test_password_command_that_can_not_run),
		cmocka_unit_test(test_full_table),
		cmocka_unit_test(test_old_lines),
		cmocka_unit_test(test_what_the_kernel_refuses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
