/* SPDX-License-Identifier: MIT */
/* What the server does when time goes by, on a socket of its own and by a clock that is put
 * forward; and where the kernel, or memory, refuses it something. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/loop.h"
#include "base/mem.h"
#include "calls/calls.h"
#include "clock/clock.h"
#include "memory/memory.h"
#include "rest/server.h"
#include "rest/server_private.h"
#include "shelves.h"

static unsigned left;	    /* of libmicrohttpd's calls, until one finds no memory */
static const char *lacking; /* the one that found none */

static bool lacks(const char *call)
{
	if (left == 0 || --left > 0)
		return false;
	lacking = call;
	return true;
}

struct MHD_Response *__real_MHD_create_response_from_buffer(size_t size, void *buffer,
							    enum MHD_ResponseMemoryMode mode);
struct MHD_Response *__wrap_MHD_create_response_from_buffer(size_t size, void *buffer,
							    enum MHD_ResponseMemoryMode mode);

struct MHD_Response *__wrap_MHD_create_response_from_buffer(size_t size, void *buffer,
							    enum MHD_ResponseMemoryMode mode)
{
	return lacks("response") ? NULL
				 : __real_MHD_create_response_from_buffer(size, buffer, mode);
}

enum MHD_Result __real_MHD_add_response_header(struct MHD_Response *response, const char *name,
					       const char *value);
enum MHD_Result __wrap_MHD_add_response_header(struct MHD_Response *response, const char *name,
					       const char *value);

enum MHD_Result __wrap_MHD_add_response_header(struct MHD_Response *response, const char *name,
					       const char *value)
{
	return lacks(name) ? MHD_NO : __real_MHD_add_response_header(response, name, value);
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
static const char *first_line(struct world *w, int fd)
{
	static char text[2000];
	ssize_t n = -1;

	for (int i = 0; i < 200 && n < 0; i++) {
		assert_int_equal(loop_once(w->loop, 20, NULL), 0);
		n = recv(fd, text, sizeof(text) - 1, MSG_DONTWAIT);
	}
	assert_true(n >= 0 || errno == ECONNRESET);
	text[n > 0 ? n : 0] = '\0';
	text[strcspn(text, "\r")] = '\0';
	return text;
}

static void hears(struct world *w, int fd, const char *wanted)
{
	assert_string_equal(first_line(w, fd), wanted);
}

static void who_waits_gets_an_answer_in_the_end(void **state)
{
	static const char wait[] = "Expect: nonempty-response\r\n";
	struct world *w = *state;
	int first = asks(w, "/api/events?text=one", wait), second;

	until_held(w, 1);
	clock_put_forward(30);
	second = asks(w, "/api/events?text=two", wait);
	until_held(w, 2);
	clock_put_forward(31);
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
	clock_put_forward(SEND_SECONDS + 1);
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
	clock_put_forward(10);
	server_log(w->server, LOG_WARNING, LOG_ERROR, "another");
	assert_non_null(strstr(buf_text(&w->said), "another (3 like it were left out)\n"));
}

static void log_to_pipe(int priority, const char *sentence, void *data)
{
	const int *pipe_end = data;

	if (priority != LOG_CRIT || write(*pipe_end, sentence, strlen(sentence)) < 0)
		_exit(1);
}

enum { ABORTED = 3 };

static void on_abort(int number)
{
	(void)number;
	_exit(ABORTED);
}

static void what_ends_libmicrohttpd_is_told(void **state)
{
	struct world *w = *state;
	char told[200] = "";
	int ends[2], status;
	pid_t pid;

	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		signal(SIGABRT, on_abort);
		w->server->config.log = log_to_pipe;
		w->server->config.data = &ends[1];
		server_panic(w->server, "daemon.c", 7, "it can't go on");
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == ABORTED);
	assert_true(read(ends[0], told, sizeof(told) - 1) > 0);
	assert_string_equal(told, "libmicrohttpd gives up at daemon.c:7: it can't go on");
	close(ends[0]);
	close(ends[1]);
}

/* What fails leaves no descriptor, and no listener that nobody asked for. */
static int free_descriptor(void)
{
	int fd = dup(STDERR_FILENO);

	close(fd);
	return fd;
}

static void drop_listener(struct world *w)
{
	struct listener *last = w->server->listeners;

	w->server->listeners = last->next;
	listener_free(last);
}

/* As a server that was killed leaves it. */
static void leave_socket(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)unlink(path);
	strcpy(address.sun_path, path);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	close(fd);
}

/* It says which call failed for which place; but a port can do without SO_REUSEADDR. */
static void listens(struct world *w, const char *where, const char *stale)
{
	const struct listener *before = w->server->listeners;
	const char *failed = "";
	int first = free_descriptor();

	for (unsigned nth = 1; failed;) {
		struct err e = {0};
		int r;

		if (stale)
			leave_socket(stale);
		(void)call_refuse(&nth, EIO);
		r = rest_server_listen(w->server, where, &e);
		failed = call_refused();
		if (r == 0) {
			assert_true(!failed || strcmp(failed, "setsockopt") == 0);
			drop_listener(w);
		} else {
			assert_non_null(failed);
			assert_int_equal(r, -EIO);
			assert_non_null(strstr(e.text, ": Input/output error"));
		}
		assert_ptr_equal(w->server->listeners, before);
		assert_int_equal(free_descriptor(), first);
	}
	if (stale)
		assert_int_equal(access(stale, F_OK), -1);
}

static int listen_once(struct world *w, const char *where, struct err *e)
{
	int r = rest_server_listen(w->server, where, e);

	if (r == 0)
		drop_listener(w);
	return r;
}

static void a_place_that_can_not_be_had(void **state)
{
	struct world *w = *state;
	struct err e = {0};
	char stale[60], where[70];

	snprintf(stale, sizeof(stale), "%s/stale", w->folder);
	snprintf(where, sizeof(where), "unix:%s", stale);
	w->server->config.token_file = "/dev/null"; /* TCP needs one */
	listens(w, where, stale);
	listens(w, "tcp:127.0.0.1:0", NULL);
	if (listen_once(w, "tcp:[::1]:0", &e) == 0) /* there are computers without IPv6 */
		listens(w, "tcp:[::1]:0", NULL);
	assert_int_equal(scarce(listen_once(w, where, &e)), 0);
}

/* A socket of systemd's stays the caller's unless all went well. */
static int adopt(struct world *w, int fd, struct err *e)
{
	int own = dup(fd), r = rest_server_adopt(w->server, own, e);

	(void)call_refused(); /* the rest is the test's */
	if (r == 0)
		drop_listener(w);
	else
		assert_int_equal(close(own), 0);
	return r;
}

static void a_socket_that_can_not_be_adopted(void **state)
{
	struct world *w = *state;
	struct sockaddr_un address = {.sun_family = AF_UNIX}; /* any name that is free */
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct err e = {0};

	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(sa_family_t)), 0);
	assert_int_equal(listen(fd, 1), 0);
	assert_int_equal(adopt(w, null, &e), -ENOTSOCK);
	assert_non_null(strstr(e.text, "Socket operation on non-socket"));
	assert_int_equal(faulty(adopt(w, fd, &e)), 0);
	assert_int_equal(scarce(adopt(w, fd, &e)), 0);
	close(null);
	close(fd);
}

/* Of TCP, too, in both versions of IP; but nothing that isn't listened on. */
static void a_socket_of_tcp_is_adopted(void **state)
{
	static const int families[] = {AF_INET, AF_INET6};
	struct world *w = *state;

	w->server->config.token_file = "/dev/null"; /* TCP needs one */
	for (size_t i = 0; i < COUNT(families); i++) {
		union {
			struct sockaddr any;
			struct sockaddr_in ipv4;
			struct sockaddr_in6 ipv6;
		} address = {.ipv6 = {.sin6_addr = IN6ADDR_LOOPBACK_INIT}};
		int fd = socket(families[i], SOCK_STREAM | SOCK_CLOEXEC, 0);
		struct err e = {0};

		if (families[i] == AF_INET)
			address.ipv4 =
				(struct sockaddr_in){.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
		address.any.sa_family = (sa_family_t)families[i];
		if (bind(fd, &address.any, sizeof(address)) < 0) {
			close(fd); /* there are computers without IPv6 */
			continue;
		}
		assert_int_equal(adopt(w, fd, &e), -EINVAL);
		assert_non_null(strstr(e.text, "is no socket that listens for a stream"));
		assert_int_equal(listen(fd, 1), 0);
		if (adopt(w, fd, &e) < 0)
			fail_msg("%s", e.text);
		close(fd);
	}
}

/* No form could be told from a foreign one. */
static void no_server_without_random_numbers(void **state)
{
	const struct world *w = *state;
	const struct rest_server_config config = {.loop = w->loop, .api = w->app.api};
	struct rest_server *server = NULL;
	struct err e = {0};

	call_refuse_next("getrandom", ENOSYS);
	assert_int_equal(rest_server_new(&config, &server, &e), -ENOSYS);
	assert_string_equal(call_refused(), "getrandom");
	assert_string_equal(e.text, "getrandom: Function not implemented");
	assert_null(server);
}

#define MEMBERS 4711

/* As somebody who has the group among others. */
static int asks_as_member(const struct world *w, const char *target, const char *more)
{
	gid_t before[64], members = MEMBERS;
	int n = getgroups(COUNT(before), before), fd;

	assert_true(n >= 0);
	assert_int_equal(setgroups(1, &members), 0);
	assert_int_equal(setegid(65534), 0);
	assert_int_equal(seteuid(65534), 0);
	fd = asks(w, target, more);
	assert_int_equal(seteuid(0), 0);
	assert_int_equal(setegid(0), 0);
	assert_int_equal(setgroups((size_t)n, before), 0);
	return fd;
}

/* Turned away, cut off, or told that there is no memory: the next one is served again. */
static void a_member_asks_without_memory(void **state)
{
	static const char more[] = "Accept: application/xml;q=0.1\r\nAccept: application/json\r\n";
	struct world *w = *state;
	bool lacked = true;

	if (geteuid() != 0)
		skip();
	w->server->config.group = MEMBERS;
	assert_int_equal(chmod(w->folder, 0755), 0);
	assert_int_equal(chown(w->path, (uid_t)-1, MEMBERS), 0);
	for (unsigned nth = 1; lacked;) {
		int fd = asks_as_member(w, "/api/shelves", more);
		const char *told;

		(void)memory_refuse(&nth);
		told = first_line(w, fd);
		lacked = memory_refused();
		if (strcmp(told, "HTTP/1.1 200 OK") != 0)
			assert_true(lacked && (*told == '\0' || strstr(told, " 500 ") ||
					       strstr(told, " 403 ")));
		close(fd);
	}
}

/* No answer is better than one without what protects whoever reads it. */
static void an_answer_that_libmicrohttpd_has_no_memory_for(void **state)
{
	static const char *const wanted[] = {"response",
					     "Content-Type",
					     "Vary",
					     "X-Content-Type-Options",
					     "Cache-Control",
					     "Referrer-Policy",
					     "Content-Security-Policy"};
	struct world *w = *state;
	struct rest_server_counts counts;
	size_t found = 0;

	for (unsigned nth = 1; nth == 1 || lacking; nth++) {
		int fd = asks(w, "/api/shelves", "Accept: text/html\r\n");
		const char *told;

		left = nth;
		lacking = NULL;
		told = first_line(w, fd);
		assert_string_equal(told, lacking ? "" : "HTTP/1.1 200 OK");
		for (size_t i = 0; lacking && i < COUNT(wanted); i++)
			found += strcmp(lacking, wanted[i]) == 0;
		close(fd);
	}
	left = 0;
	assert_int_equal(found, COUNT(wanted));
	rest_server_counts(w->server, &counts);
	assert_int_equal(counts.answers[2], 1);
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
		TEST(a_place_that_can_not_be_had),
		TEST(a_socket_that_can_not_be_adopted),
		TEST(a_socket_of_tcp_is_adopted),
		TEST(no_server_without_random_numbers),
		TEST(a_member_asks_without_memory),
		TEST(an_answer_that_libmicrohttpd_has_no_memory_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
