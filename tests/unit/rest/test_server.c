/* SPDX-License-Identifier: MIT */
/* What the server does when time goes by, on a socket of its own and by a clock that is put
 * forward. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/loop.h"
#include "base/mem.h"
#include "rest/server.h"
#include "rest/server_private.h"
#include "shelves.h"

static int64_t put_forward; /* milliseconds */

int __real_clock_gettime(clockid_t clock, struct timespec *t);
int __wrap_clock_gettime(clockid_t clock, struct timespec *t);

int __wrap_clock_gettime(clockid_t clock, struct timespec *t)
{
	int r = __real_clock_gettime(clock, t);

	if (clock == CLOCK_MONOTONIC)
		t->tv_sec += put_forward / 1000;
	return r;
}

struct world {
	struct shelves app;
	struct loop *loop;
	struct rest_server *server;
	struct buf said;
	char folder[32], path[48];
};

static void log_it(int priority, const char *sentence, void *data)
{
	buf_fmt(data, "%d %s\n", priority, sentence);
}

static int world_new(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	struct rest_server_config config = {.group = (gid_t)-1, .log = log_it};
	char where[60];
	struct err e = {0};

	assert_non_null(w);
	*state = w;
	strcpy(w->folder, "/tmp/server-XXXXXX");
	assert_non_null(mkdtemp(w->folder));
	snprintf(w->path, sizeof(w->path), "%s/socket", w->folder);
	snprintf(where, sizeof(where), "unix:%s", w->path);
	assert_int_equal(shelves_new(&w->app), 0);
	assert_int_equal(loop_new(&w->loop, NULL), 0);
	config.loop = w->loop;
	config.api = w->app.api;
	config.data = &w->said;
	if (rest_server_new(&config, &w->server, &e) < 0 ||
	    rest_server_listen(w->server, where, &e) < 0)
		fail_msg("%s", e.text);
	return 0;
}

static int world_end(void **state)
{
	struct world *w = *state;

	rest_server_free(w->server);
	loop_free(w->loop);
	shelves_free(&w->app);
	buf_free(&w->said);
	rmdir(w->folder);
	free(w);
	return 0;
}

static int asks(const struct world *w, const char *target, const char *more)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char text[400];

	assert_true(fd >= 0);
	strcpy(address.sun_path, w->path);
	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\nHost: localhost\r\n%s\r\n", target, more);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	return fd;
}

static void until_held(struct world *w, uint64_t wanted)
{
	struct rest_server_counts counts = {0};

	for (int i = 0; i < 200 && counts.held != wanted; i++) {
		assert_int_equal(loop_once(w->loop, 20, NULL), 0);
		rest_server_counts(w->server, &counts);
	}
	assert_int_equal(counts.held, wanted);
}

static void until_sending(struct world *w)
{
	for (int i = 0; i < 200 && !w->server->clients[CLIENT_SENDING].first; i++)
		assert_int_equal(loop_once(w->loop, 20, NULL), 0);
	assert_non_null(w->server->clients[CLIENT_SENDING].first);
}

/* The first line that comes; "" where the connection ends. */
static void hears(struct world *w, int fd, const char *wanted)
{
	char text[2000] = "";
	ssize_t n = -1;

	for (int i = 0; i < 200 && n < 0; i++) {
		assert_int_equal(loop_once(w->loop, 20, NULL), 0);
		n = recv(fd, text, sizeof(text) - 1, MSG_DONTWAIT);
	}
	text[n > 0 ? n : 0] = '\0';
	text[strcspn(text, "\r")] = '\0';
	assert_string_equal(text, wanted);
}

static void who_waits_gets_an_answer_in_the_end(void **state)
{
	static const char wait[] = "Expect: nonempty-response\r\n";
	struct world *w = *state;
	int first = asks(w, "/api/events?text=one", wait), second;

	until_held(w, 1);
	put_forward += 30000;
	second = asks(w, "/api/events?text=two", wait);
	until_held(w, 2);
	put_forward += 31000;
	hears(w, first, "HTTP/1.1 200 OK");
	shelves_happen(&w->app, "two");
	hears(w, second, "HTTP/1.1 200 OK");
	close(first);
	close(second);
}

static void who_does_not_take_an_answer_is_cut_off(void **state)
{
	struct world *w = *state;
	char text[4096], what[200];
	int fd;
	ssize_t n;

	memset(what, 'x', sizeof(what) - 1);
	what[sizeof(what) - 1] = '\0';
	for (int i = 0; i < 4000; i++)
		shelves_happen(&w->app, what);
	fd = asks(w, "/api/events", "");
	until_sending(w);
	put_forward += INT64_C(1000) * (SEND_SECONDS + 1);
	assert_int_equal(loop_once(w->loop, 1000, NULL), 0);
	assert_non_null(
		strstr(buf_text(&w->said), "is cut off: it did not take its answer in 60 s"));
	while ((n = recv(fd, text, sizeof(text), 0)) > 0)
		continue;
	assert_true(n == 0 || errno == ECONNRESET);
	close(fd);
}

static void the_shorter_deadline_comes_first(void **state)
{
	struct world *w = *state;
	struct client early = {.server = w->server, .fd = -1, .state = CLIENT_CUT}, late = early;
	int64_t now = loop_now();

	client_waits(&late, now + 9000);
	client_waits(&early, now + 5000);
	assert_ptr_equal(w->server->clients[CLIENT_HELD].first, &early);
	assert_ptr_equal(w->server->clients[CLIENT_HELD].last, &late);
	assert_in_range(w->server->deadline.at, now + 5000, now + 8000);
	client_leave(&late);
	client_leave(&early);
	assert_null(w->server->clients[CLIENT_HELD].first);
}

static void too_many_sentences_are_counted(void **state)
{
	struct world *w = *state;

	for (int i = 0; i < 13; i++)
		server_log(w->server, LOG_WARNING, LOG_ERROR, "number %d", i);
	assert_non_null(strstr(buf_text(&w->said), "number 9\n"));
	assert_null(strstr(buf_text(&w->said), "number 10"));
	put_forward += 10000;
	server_log(w->server, LOG_WARNING, LOG_ERROR, "another");
	assert_non_null(strstr(buf_text(&w->said), "another (3 like it were left out)\n"));
}

static void log_to_pipe(int priority, const char *sentence, void *data)
{
	const int *pipe_end = data;

	if (priority != LOG_CRIT || write(*pipe_end, sentence, strlen(sentence)) < 0)
		_exit(1);
}

static void what_ends_libmicrohttpd_is_told(void **state)
{
	const struct rlimit no_core = {0};
	struct world *w = *state;
	char told[200] = "";
	int ends[2], status;
	pid_t pid;

	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		signal(SIGABRT, SIG_DFL); /* cmocka has it */
		setrlimit(RLIMIT_CORE, &no_core);
		w->server->config.log = log_to_pipe;
		w->server->config.data = &ends[1];
		server_panic(w->server, "daemon.c", 7, "it can't go on");
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
	assert_true(read(ends[0], told, sizeof(told) - 1) > 0);
	assert_string_equal(told, "libmicrohttpd gives up at daemon.c:7: it can't go on");
	close(ends[0]);
	close(ends[1]);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, world_new, world_end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(who_waits_gets_an_answer_in_the_end),
		TEST(who_does_not_take_an_answer_is_cut_off),
		TEST(the_shorter_deadline_comes_first),
		TEST(too_many_sentences_are_counted),
		TEST(what_ends_libmicrohttpd_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
