/* SPDX-License-Identifier: MIT */
/*
 * library WHERE…: the model of src/rest's unit tests, which has nothing to do with mirrors, served.
 * It prints the port of its last TCP listener ("0" without one) once it listens, and its log on
 * stderr.
 */
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/resource.h>

#include "../unit/rest/shelves.h"
#include "base/buf.h"
#include "base/cli.h"
#include "base/err.h"
#include "base/loop.h"
#include "base/mem.h"
#include "base/sig.h"
#include "rest/server.h"

enum { TICK = 20 }; /* milliseconds; an order that takes its time takes four */

struct library {
	struct shelves app;
	struct loop *loop;
	struct rest_server *server;
	struct loop_timer tick;
	int ticks; /* of the order under way */
	struct loop_watch *signals;
};

static void on_tick(void *data)
{
	struct library *library = data;

	loop_timer_set(library->loop, &library->tick, TICK, on_tick, library);
	if (!library->app.job) {
		library->ticks = 0;
	} else if (++library->ticks < 4) {
		rest_job_progress(library->app.job, library->ticks / 4.0);
	} else {
		library->ticks = 0;
		rest_job_done(take(library->app.job), 201, json_pack("{s:s}", "_type", "order"));
	}
}

static int get_page(const char *base, struct buf *out, void *data)
{
	(void)data;
	buf_fmt(out, "<!DOCTYPE html><title>library</title><a href=\"%s/api\">the shelves</a>\n",
		base);
	return 0;
}

static int get_metrics(const char *base, struct buf *out, void *data)
{
	static const char *const kinds[REST_REFUSED_KINDS] = {"peer", "token", "host",
							      "form", "limit", "http"};
	const struct library *library = data;
	struct rest_server_counts counts;

	(void)base;
	rest_server_counts(library->server, &counts);
	buf_fmt(out, "requests %llu\nconnections %llu\nheld %llu\n",
		(unsigned long long)counts.requests, (unsigned long long)counts.connections,
		(unsigned long long)counts.held);
	for (int i = 0; i < REST_REFUSED_KINDS; i++)
		buf_fmt(out, "refused_%s %llu\n", kinds[i], (unsigned long long)counts.refused[i]);
	for (int i = 2; i < 6; i++)
		buf_fmt(out, "answers_%dxx %llu\n", i, (unsigned long long)counts.answers[i]);
	return 0;
}

static int get_nothing(const char *base, struct buf *out, void *data)
{
	(void)base;
	(void)data;
	buf_str(out, "half");
	return -1;
}

static void log_line(int priority, const char *sentence, void *data)
{
	(void)data;
	fprintf(stderr, "<%d>%s\n", priority, sentence);
}

static void on_signal(uint32_t events, void *data)
{
	(void)events;
	loop_end(data);
}

static int serve(const struct cli_call *call, struct library *library,
		 const struct rest_server_config *config, struct err *e)
{
	long fd = -1;
	int r = rest_server_new(config, &library->server, e);

	if (!cli_number(call, "adopt", 0, 1000, &fd))
		return -EINVAL;
	if (r == 0 && fd >= 0)
		r = rest_server_adopt(library->server, (int)fd, e);
	for (size_t i = 0; r == 0 && i < call->nargs; i++)
		r = rest_server_listen(library->server, call->args[i], e);
	if (r < 0)
		return r;
	printf("%u\n", rest_server_port(library->server));
	fflush(stdout);
	return loop_run(library->loop, e);
}

static int run(const struct cli_call *call)
{
	struct library library = {0};
	const struct rest_route routes[] = {
		{"/", "text/html; charset=utf-8", false, get_page, NULL},
		{"/metrics", "text/plain; version=0.0.4", true, get_metrics, &library},
		{"/broken", "text/plain", true, get_nothing, NULL},
		{0},
	};
	const char *hosts[] = {cli_get(call, "host"), NULL};
	struct rest_server_config config = {
		.routes = routes,
		.group = (gid_t)-1,
		.token_file = cli_get(call, "token"),
		.certificate = cli_get(call, "certificate"),
		.key = cli_get(call, "key"),
		.hosts = hosts,
		.log = log_line,
	};
	long group = -1, connections = 0, seconds = 0;
	struct rlimit limit;
	struct err e = {0};
	int r, signals;

	if (!cli_number(call, "group", 0, UINT32_MAX - 1L, &group) ||
	    !cli_number(call, "connections", 1, 100000, &connections) ||
	    !cli_number(call, "seconds", 1, 3600, &seconds))
		return EXIT_USAGE;
	if (group >= 0)
		config.group = (gid_t)group;
	config.connections = (unsigned)connections;
	config.header_seconds = (unsigned)seconds;
	if (!cli_has(call, "few-files") && getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &limit);
	}
	signals = sig_watch();
	r = loop_new(&library.loop, &e);
	if (r == 0)
		r = loop_watch(library.loop, signals, EPOLLIN, on_signal, library.loop,
			       &library.signals, &e);
	if (r == 0)
		r = shelves_new(&library.app);
	if (r == 0) {
		on_tick(&library);
		config.loop = library.loop;
		config.api = library.app.api;
		r = serve(call, &library, &config, &e);
	}
	rest_server_free(library.server);
	shelves_free(&library.app);
	loop_timer_clear(library.loop, &library.tick);
	loop_unwatch(library.loop, library.signals);
	loop_free(library.loop);
	close(signals);
	if (r < 0)
		cli_complain(call, "%s", e.text);
	return r < 0 ? EXIT_FAILED : EXIT_OK;
}

static const struct cli_option options[] = {
	{.name = "token", .value = "FILE", .help = "the token for TCP"},
	{.name = "certificate", .value = "FILE", .help = "for TLS"},
	{.name = "key", .value = "FILE", .help = "its key"},
	{.name = "host", .value = "NAME", .help = "a further name of this server"},
	{.name = "group", .value = "GID", .help = "who may use Unix sockets, beside root"},
	{.name = "connections", .value = "N", .help = "at most"},
	{.name = "seconds", .value = "N", .help = "for a request to be whole"},
	{.name = "adopt", .value = "FD", .help = "a socket that listens already"},
	{.name = "few-files", .help = "leave the limit of descriptors as it is"},
	{0},
};
static const struct cli_verb verbs[] = {
	{.name = "", .arguments = "WHERE…", .most = 9, .options = options, .run = run}, {0}};
static const struct cli_program program = {
	.name = "library", .version = VERSION, .summary = "an API for tests", .verbs = verbs};

int main(int argc, char **argv)
{
	return cli_main(&program, argc, argv, NULL);
}
