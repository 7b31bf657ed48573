/* SPDX-License-Identifier: MIT */
/* One connection to a server of our own, which says each word when it is told to. */
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <netinet/in.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/file.h"
#include "base/mem.h"
#include "bounce-mbox/link.h"
#include "bounce-mbox/run.h"
#include "bounce-mbox/store.h"
#include "mail/header.h"
#include "memory/memory.h"

#define LARGE ((size_t)20 * 1024 * 1024)

static const struct mail_names nothing;
static struct options options = {.sender = "a@x",
				 .recipient = "b@y",
				 .hello = "me",
				 .timeout = 30,
				 .timeout_end = 600,
				 .cleaning.remove = &nothing};
static struct run run = {.options = &options, .stop_fd = -1};
static struct smtp_told fate; /* of the last message */
static unsigned fates;

static void note_fate(struct link_owner *owner, struct job *job, const struct smtp_told *told,
		      bool blame)
{
	(void)owner;
	(void)job;
	(void)blame;
	fate = *told;
	fates++;
}

static int listen_at(void **state)
{
	static int listener;
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
	socklen_t len = sizeof(address);
	char url[60];

	*state = &listener;
	listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (bind(listener, (struct sockaddr *)&address, len) < 0 || listen(listener, 5) < 0 ||
	    getsockname(listener, (struct sockaddr *)&address, &len) < 0)
		return -1;
	snprintf(url, sizeof(url), "smtp://127.0.0.1:%u", ntohs(address.sin_port));
	return target_parse(url, NULL, &options.target, NULL);
}

static void await(int fd, short events)
{
	struct pollfd poller = {fd, events, 0};

	assert_int_equal(poll(&poller, 1, 20000), 1);
}

static int say(int peer, struct link *l, const char *words, struct err *e)
{
	assert_int_equal(send(peer, words, strlen(words), 0), strlen(words));
	await(link_fd(l), POLLIN);
	return link_hear(l, e);
}

/* What the client says next. */
static void expect(int peer, const char *words)
{
	char bytes[100] = "";

	await(peer, POLLIN);
	assert_true(recv(peer, bytes, sizeof(bytes) - 1, 0) > 0);
	assert_string_equal(bytes, words);
}

/* Throws away what it says: how many bytes. */
static size_t swallow(int peer)
{
	static char bytes[65536];
	size_t all = 0;
	ssize_t n;

	while ((n = recv(peer, bytes, sizeof(bytes), MSG_DONTWAIT)) > 0)
		all += (size_t)n;
	return all;
}

/* The other end of it; ends of others, which were given up, are passed over. */
static int accept_it(int listener, const struct link *l)
{
	struct sockaddr_in ours = {0}, its = {0};
	socklen_t len = sizeof(ours);

	assert_int_equal(getsockname(link_fd(l), (struct sockaddr *)&ours, &len), 0);
	for (;;) {
		int peer = accept4(listener, (struct sockaddr *)&its, &len, SOCK_CLOEXEC);

		assert_true(peer >= 0);
		if (its.sin_port == ours.sin_port)
			return peer;
		close(peer);
	}
}

/* Opens it, and greets up to the end of EHLO's answer. */
static int greet(int listener, struct link *l, int *peer, const char *offers, struct err *e)
{
	char reply[100];
	int r = link_open(l, e);

	*peer = -1;
	if (r < 0)
		return r;
	*peer = accept_it(listener, l);
	r = say(*peer, l, "220 hi\r\n", e);
	if (r == 0)
		r = link_flush(l, e);
	if (r < 0)
		return r;
	expect(*peer, "EHLO me\r\n");
	snprintf(reply, sizeof(reply), "250-me\r\n%s", offers);
	return say(*peer, l, reply, e);
}

static int greet_once(int listener, struct err *e)
{
	struct link_owner owner = {.run = &run, .done = note_fate};
	struct link *l = link_new(&owner);
	int peer = -1, r = l ? greet(listener, l, &peer, "250 PIPELINING\r\n", e) : -ENOMEM;

	assert_int_equal(r == 0, l && link_takes(l));
	assert_int_equal(r == 0, l && link_is_open(l));
	link_free(l);
	if (peer >= 0)
		close(peer);
	return r;
}

static void test_greets_without_memory(void **state)
{
	struct err e = {0};

	assert_int_equal(scarce(greet_once(*(int *)*state, &e)), 0);
}

/* Its end comes to light by what is to be sent: that it closed is what is told. */
static void test_closes_before_it_is_told(void **state)
{
	struct link_owner owner = {.run = &run, .done = note_fate};
	struct link *l = link_new(&owner);
	struct linger at_once = {1, 0};
	char wanted[500];
	struct err e = {0};
	int peer;

	assert_non_null(l);
	assert_int_equal(link_open(l, &e), 0);
	peer = accept_it(*(int *)*state, l);
	assert_int_equal(say(peer, l, "220 hi\r\n", &e), 0);
	assert_int_equal(setsockopt(peer, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once)), 0);
	close(peer);
	await(link_fd(l), POLLIN);
	assert_int_equal(link_flush(l, &e), -ECONNRESET);
	snprintf(wanted, sizeof(wanted), "%s closed the connection", options.target.shown);
	assert_string_equal(e.text, wanted);
	assert_false(link_is_open(l));
	assert_int_equal(link_failures(l), 1);
	link_free(l);
}

/* A server that hangs up on QUIT, instead of saying goodbye: nothing is lost by that. */
static void test_hangs_up_on_quit(void **state)
{
	struct link_owner owner = {.run = &run, .done = note_fate};
	struct link *l = link_new(&owner);
	struct linger at_once = {1, 0};
	struct err e = {0};
	int peer;

	assert_non_null(l);
	assert_int_equal(greet(*(int *)*state, l, &peer, "250 PIPELINING\r\n", &e), 0);
	link_quit(l);
	assert_int_equal(link_flush(l, &e), 0);
	expect(peer, "QUIT\r\n");
	assert_int_equal(setsockopt(peer, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once)), 0);
	close(peer);
	await(link_fd(l), POLLIN);
	assert_int_equal(link_hear(l, &e), 0);
	assert_false(link_is_open(l));
	assert_int_equal(link_failures(l), 0);
	link_drop(l, false); /* as when all are told to end at once: it is closed already */
	assert_false(link_is_open(l));
	link_free(l);
}

/* A message that is too large to be kept, in an archive of its own, and a link to send it. */
struct large {
	char path[30];
	struct store store;
	struct job job;
	struct link_owner owner;
	struct link *l;
	int peer;
};

static void large_begin(struct large *t, int listener, const char *offers, struct err *e)
{
	const struct store_wishes wishes = {.temporary = "/tmp"};
	char *text = malloc(LARGE);
	int fd;

	*t = (struct large){.path = "/tmp/test-link-XXXXXX", .job.state = JOB_READY};
	t->owner = (struct link_owner){.run = &run, .jobs = &t->job, .done = note_fate};
	t->l = link_new(&t->owner);
	fd = mkstemp(t->path);
	assert_true(t->l && text && fd >= 0);
	close(fd);
	memset(text, 'x', LARGE);
	for (size_t i = 99; i < LARGE; i += 100)
		text[i] = '\n';
	memcpy(text, "From - Sat Aug 23 10:00:00 2008\n\n", 33);
	assert_int_equal(file_write(t->path, text, LARGE, 0600, e), 0);
	free(text);
	assert_int_equal(store_open(&t->store, t->path, &wishes, e), 0);
	run.store = &t->store;
	assert_int_equal(
		prepare(&t->job.p, &t->store, store_item(&t->store, 0), &options.cleaning, e), 0);
	assert_int_equal(greet(listener, t->l, &t->peer, offers, e), 0);
	fates = 0;
	assert_int_equal(link_send(t->l, &t->job, e), 0);
	assert_int_equal(link_go_on(t->l, e), 0);
	assert_int_equal(link_flush(t->l, e), 0);
}

static void large_end(struct large *t)
{
	link_free(t->l);
	close(t->peer);
	prepared_free(&t->job.p);
	store_free(&t->store);
	unlink(t->path);
}

/* The archive is cut while a message of it is on its way, which is not sent then. */
static void test_archive_that_shrinks(void **state)
{
	struct large t;
	struct err e = {0};
	int r = 0;

	large_begin(&t, *(int *)*state, "250 PIPELINING\r\n", &e);
	expect(t.peer, "MAIL FROM:<a@x>\r\nRCPT TO:<b@y>\r\nDATA\r\n");
	assert_int_equal(say(t.peer, t.l, "250 ok\r\n250 ok\r\n354 go\r\n", &e), 0);
	assert_int_equal(truncate(t.path, 2000000), 0);
	while (r == 0) {
		await(link_fd(t.l), POLLOUT);
		r = link_flush(t.l, &e);
		(void)swallow(t.peer);
	}
	assert_int_equal(r, -ESTALE);
	assert_non_null(strstr(e.text, "became shorter while it was being read; start again"));
	assert_false(link_is_open(t.l));
	assert_int_equal(fates, 1);
	assert_int_equal(fate.result, SMTP_UNSENT);
	large_end(&t);
}

/* A mail program writes the archive anew, in place, while a message of it is on its way: what would
 * arrive is neither the old one nor the new one. It is the end of the connection, not of the
 * message. */
static void test_archive_that_changes(void **state)
{
	struct large t;
	struct err e = {0};
	int r = 0, fd;
	size_t all = 0;

	large_begin(&t, *(int *)*state, "250 PIPELINING\r\n", &e);
	expect(t.peer, "MAIL FROM:<a@x>\r\nRCPT TO:<b@y>\r\nDATA\r\n");
	assert_int_equal(say(t.peer, t.l, "250 ok\r\n250 ok\r\n354 go\r\n", &e), 0);
	fd = open(t.path, O_WRONLY | O_CLOEXEC);
	assert_int_equal(pwrite(fd, "y", 1, LARGE / 2), 1);
	close(fd);
	while (r == 0 && all < LARGE) {
		await(link_fd(t.l), POLLOUT);
		r = link_flush(t.l, &e);
		all += swallow(t.peer);
	}
	assert_int_equal(r, -ESTALE);
	assert_non_null(strstr(e.text, " was changed while it was being read"));
	assert_false(link_is_open(t.l));
	assert_true(all > LARGE / 2);
	assert_int_equal(fates, 1);
	assert_int_equal(fate.result, SMTP_UNSENT);
	large_end(&t);
}

/* All that the link has to say now: how many bytes. */
static size_t drain(struct large *t, struct err *e)
{
	size_t all = 0, n = 1;

	while (n > 0) {
		assert_int_equal(link_flush(t->l, e), 0);
		n = swallow(t->peer);
		all += n;
	}
	return all;
}

/* One of its chunks is refused while the next ones are on their way: they are waited for, nothing
 * more is given, and the connection stays. */
static void test_chunk_refused(void **state)
{
	struct large t;
	struct err e = {0};

	large_begin(&t, *(int *)*state, "250-CHUNKING\r\n250 PIPELINING\r\n", &e);
	assert_int_equal(link_flush(t.l, &e), 0); /* two chunks are said now */
	assert_int_equal(say(t.peer, t.l, "250 ok\r\n250 ok\r\n", &e), 0);
	assert_int_equal(say(t.peer, t.l, "552 5.3.4 too much\r\n", &e), 0);
	assert_true(link_is_open(t.l));
	assert_int_equal(fates, 0);
	(void)drain(&t, &e);
	for (unsigned chunks = 0; fates == 0 && chunks < 20; chunks++)
		assert_int_equal(say(t.peer, t.l, "503 none\r\n", &e), 0);
	assert_int_equal(fates, 1);
	assert_int_equal(fate.result, SMTP_REFUSED);
	assert_int_equal(fate.reply.code, 552);
	assert_int_equal(link_flush(t.l, &e), 0);
	expect(t.peer, "RSET\r\n");
	assert_int_equal(say(t.peer, t.l, "250 ok\r\n", &e), 0);
	assert_true(link_takes(t.l));
	large_end(&t);
}

/* RFC 3030: without PIPELINING each chunk waits for the answer to the one before. RFC 5321
 * 4.5.3.2.6: for the last one there is more time. */
static void test_chunk_by_chunk(void **state)
{
	struct large t;
	struct err e = {0};
	size_t all = 0;
	unsigned chunks = 0;
	int64_t deadline = 0;

	large_begin(&t, *(int *)*state, "250 CHUNKING\r\n", &e);
	expect(t.peer, "MAIL FROM:<a@x>\r\n");
	assert_int_equal(say(t.peer, t.l, "250 ok\r\n", &e), 0);
	assert_int_equal(link_flush(t.l, &e), 0);
	expect(t.peer, "RCPT TO:<b@y>\r\n");
	for (; fates == 0 && chunks < 1000; chunks++) {
		size_t n;

		assert_int_equal(deadline, chunks > 0 ? 30 * SECOND : 0);
		deadline = link_deadline(t.l);
		assert_int_equal(say(t.peer, t.l, "250 ok\r\n", &e), 0);
		n = drain(&t, &e);
		all += n;
		assert_true(n < LARGE / 4);
	}
	assert_true(all > LARGE && chunks > 4);
	assert_int_equal(deadline, 600 * SECOND);
	assert_int_equal(fates, 1);
	assert_int_equal(fate.result, SMTP_SENT);
	large_end(&t);
}

/* What has left takes no room, even where the line is so slow that there is always more to send. */
static void test_slow_line(void **state)
{
	struct large t;
	struct err e = {0};
	int little = 65536;
	size_t all = 0, most = 0;

	large_begin(&t, *(int *)*state, "250 PIPELINING\r\n", &e);
	expect(t.peer, "MAIL FROM:<a@x>\r\nRCPT TO:<b@y>\r\nDATA\r\n");
	assert_int_equal(setsockopt(link_fd(t.l), SOL_SOCKET, SO_SNDBUF, &little, sizeof(little)),
			 0);
	assert_int_equal(setsockopt(t.peer, SOL_SOCKET, SO_RCVBUF, &little, sizeof(little)), 0);
	assert_int_equal(say(t.peer, t.l, "250 ok\r\n250 ok\r\n354 go\r\n", &e), 0);
	while (all < LARGE) {
		static char bytes[10000];
		struct mallinfo2 memory;
		ssize_t n;

		assert_int_equal(link_flush(t.l, &e), 0);
		memory = mallinfo2();
		if (memory.uordblks + memory.hblkhd > most)
			most = memory.uordblks + memory.hblkhd;
		n = recv(t.peer, bytes, sizeof(bytes), MSG_DONTWAIT);
		all += n > 0 ? (size_t)n : 0;
	}
	if (most >= LARGE / 2)
		fail_msg("%zu bytes", most);
	large_end(&t);
}

static int close_listener(void **state)
{
	return close(*(int *)*state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_greets_without_memory),
		cmocka_unit_test(test_closes_before_it_is_told),
		cmocka_unit_test(test_hangs_up_on_quit),
		cmocka_unit_test(test_archive_that_shrinks),
		cmocka_unit_test(test_archive_that_changes),
		cmocka_unit_test(test_chunk_refused),
		cmocka_unit_test(test_chunk_by_chunk),
		cmocka_unit_test(test_slow_line),
	};

	return cmocka_run_group_tests(tests, listen_at, close_listener);
}
