/* SPDX-License-Identifier: MIT */
/*
 * library WHERE…: a small API that has nothing to do with mirrors, served by src/rest as it is: a
 * library with shelves, on which books stand, and which can be counted. It prints the port of its
 * last TCP listener ("0" without one) once it listens, and its log on stderr.
 */
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>

#include "base/buf.h"
#include "base/cli.h"
#include "base/err.h"
#include "base/loop.h"
#include "base/mem.h"
#include "base/sig.h"
#include "rest/api.h"
#include "rest/server.h"

enum { TICK = 20 }; /* milliseconds that one quarter of a count takes */

/* The model's whole state: {"novels": {"room": …, "books": {"1": {…}}}}. */
struct library {
	json_t *shelves;
	struct loop *loop;
	struct rest_api *api;
	struct rest_server *server;
	unsigned long last_book;
	struct rest_job *count; /* the one under way */
	struct loop_timer tick;
	int ticks;
	struct loop_watch *signals;
};

static const struct rest_type entry_type, shelf_type, book_type, count_type;

static int not_found(const struct rest_call *call, struct rest_fault *fault)
{
	return rest_refuse(fault, 404, "not-found", NULL, "there is no such %s", call->type->name);
}

static int no_memory(struct rest_fault *fault)
{
	return rest_refuse(fault, 500, "no-memory", NULL, "out of memory");
}

/* Entry */

static int entry_get(const struct rest_call *call, json_t **resource, struct rest_fault *fault)
{
	(void)call;
	*resource = json_pack("{s:s}", "name", "city library");
	return *resource ? 0 : no_memory(fault);
}

/* Shelves */

static json_t *shelf_of(const struct rest_call *call, const char *id)
{
	const struct library *library = call->context;

	return id ? json_object_get(library->shelves, id) : NULL;
}

static json_t *show_shelf(const char *id, const json_t *shelf)
{
	return json_pack("{s:s, s:s, s:O, s:i}", "id", id, "name", id, "room",
			 json_object_get(shelf, "room"), "books",
			 (int)json_object_size(json_object_get(shelf, "books")));
}

static int shelf_list(const struct rest_call *call, struct rest_list *list,
		      struct rest_fault *fault)
{
	const struct library *library = call->context;
	const char *id;
	json_t *shelf;

	json_object_foreach(library->shelves, id,
			    shelf) if (json_array_append_new(list->items, show_shelf(id, shelf)) <
				       0) return no_memory(fault);
	return 0;
}

static int shelf_get(const struct rest_call *call, json_t **resource, struct rest_fault *fault)
{
	json_t *shelf = shelf_of(call, call->id);

	if (!shelf)
		return not_found(call, fault);
	*resource = show_shelf(call->id, shelf);
	return *resource ? 0 : no_memory(fault);
}

static int shelf_create(const struct rest_call *call, const json_t *input, struct rest_made *made,
			struct rest_fault *fault)
{
	const struct library *library = call->context;
	const char *name = json_string_value(json_object_get(input, "name"));

	if (json_object_get(library->shelves, name))
		return rest_refuse(fault, 409, "shelf-exists", "name",
				   "there is a shelf of this name already");
	made->id = strdup(name);
	if (!made->id ||
	    json_object_set_new(library->shelves, name,
				json_pack("{s:O, s:{}}", "room", json_object_get(input, "room"),
					  "books")) < 0)
		return no_memory(fault);
	rest_api_changed(call->api, &shelf_type);
	return 0;
}

static int shelf_replace(const struct rest_call *call, const json_t *input,
			 struct rest_fault *fault)
{
	json_t *shelf = shelf_of(call, call->id);

	if (!shelf)
		return not_found(call, fault);
	if (json_object_set(shelf, "room", json_object_get(input, "room")) < 0)
		return no_memory(fault);
	rest_api_changed(call->api, &shelf_type);
	return 0;
}

static int shelf_remove(const struct rest_call *call, struct rest_fault *fault)
{
	const struct library *library = call->context;

	if (json_object_del(library->shelves, call->id) < 0)
		return not_found(call, fault);
	rest_api_changed(call->api, &shelf_type);
	return 0;
}

/* Books */

static int book_list(const struct rest_call *call, struct rest_list *list, struct rest_fault *fault)
{
	json_t *shelf = shelf_of(call, call->parent), *book;
	const char *id;

	if (!shelf)
		return rest_refuse(fault, 404, "not-found", NULL, "there is no such shelf");
	json_object_foreach(json_object_get(shelf, "books"), id,
			    book) if (json_array_append(list->items, book) <
				      0) return no_memory(fault);
	return 0;
}

static int book_get(const struct rest_call *call, json_t **resource, struct rest_fault *fault)
{
	json_t *books = json_object_get(shelf_of(call, call->parent), "books");

	*resource = json_incref(json_object_get(books, call->id));
	return *resource ? 0 : not_found(call, fault);
}

static int book_create(const struct rest_call *call, const json_t *input, struct rest_made *made,
		       struct rest_fault *fault)
{
	struct library *library = call->context;
	json_t *shelf = shelf_of(call, call->parent), *book;

	if (!shelf)
		return rest_refuse(fault, 404, "not-found", NULL, "there is no such shelf");
	book = json_deep_copy(input);
	if (asprintf(&made->id, "%lu", ++library->last_book) < 0)
		made->id = NULL;
	if (!made->id || json_object_set_new(book, "id", json_string(made->id)) < 0 ||
	    json_object_set_new(json_object_get(shelf, "books"), made->id, book) < 0)
		return no_memory(fault);
	rest_api_changed(call->api, &book_type);
	return 0;
}

/* Counting: work that takes its time */

static void on_tick(void *data)
{
	struct library *library = data;

	if (++library->ticks < 4) {
		rest_job_progress(library->count, library->ticks / 4.0);
		loop_timer_set(library->loop, &library->tick, TICK, on_tick, library);
		return;
	}
	rest_job_done(take(library->count), 201,
		      json_pack("{s:s, s:s, s:i}", "_type", "count", "id", "1", "shelves",
				(int)json_object_size(library->shelves)));
}

static void on_cancel(void *data)
{
	struct library *library = data;

	library->count = NULL;
	loop_timer_clear(library->loop, &library->tick);
}

static int count_create(const struct rest_call *call, const json_t *input, struct rest_made *made,
			struct rest_fault *fault)
{
	struct library *library = call->context;

	(void)input;
	if (library->count)
		return rest_refuse(fault, 409, "counting", NULL, "the shelves are being counted");
	library->count = rest_job_new(call->api, on_cancel, library);
	if (!library->count)
		return rest_refuse(fault, 503, "busy", NULL, "too much work is under way");
	library->ticks = 0;
	made->job = library->count;
	loop_timer_set(library->loop, &library->tick, TICK, on_tick, library);
	return 0;
}

/* A count is told to whoever asked for it, and not kept. */
static int count_list(const struct rest_call *call, struct rest_list *list,
		      struct rest_fault *fault)
{
	(void)call;
	(void)list;
	(void)fault;
	return 0;
}

static int count_get(const struct rest_call *call, json_t **resource, struct rest_fault *fault)
{
	(void)resource;
	return not_found(call, fault);
}

/* The declarations */

static const struct rest_field entry_fields[] = {
	{.name = "name",
	 .kind = REST_STRING,
	 .sample = "\"a library\"",
	 .help = "What it is called."},
	{0},
};
static const struct rest_field shelf_fields[] = {
	{.name = "name",
	 .kind = REST_STRING,
	 .use = REST_CREATE | REST_BRIEF,
	 .mandatory = true,
	 .regex = "[a-z]+",
	 .maxlen = 20,
	 .sample = "\"novels\"",
	 .help = "Its name, which is its id."},
	{.name = "room",
	 .kind = REST_NUMBER,
	 .use = REST_CREATE | REST_UPDATE | REST_SEARCH | REST_BRIEF,
	 .has_limits = true,
	 .min = 1,
	 .max = 99,
	 .fallback = "1",
	 .sample = "7",
	 .help = "The room where it stands."},
	{.name = "books",
	 .kind = REST_NUMBER,
	 .use = REST_LIVE,
	 .sample = "3",
	 .help = "How many books stand on it."},
	{0},
};
static const struct rest_field book_fields[] = {
	{.name = "title",
	 .kind = REST_STRING,
	 .use = REST_CREATE | REST_BRIEF,
	 .mandatory = true,
	 .minlen = 1,
	 .maxlen = 200,
	 .sample = "\"The Castle\"",
	 .help = "Its title."},
	{.name = "authors",
	 .kind = REST_STRING,
	 .multiple = true,
	 .use = REST_CREATE,
	 .maxlen = 100,
	 .most = 9,
	 .fallback = "[]",
	 .sample = "[\"Kafka\"]",
	 .help = "Who wrote it."},
	{0},
};
static const struct rest_field count_fields[] = {
	{.name = "shelves", .kind = REST_NUMBER, .sample = "2", .help = "How many there are."},
	{0},
};

static const struct rest_ops entry_ops = {.get = entry_get};
static const struct rest_ops shelf_ops = {.list = shelf_list,
					  .get = shelf_get,
					  .create = shelf_create,
					  .replace = shelf_replace,
					  .remove = shelf_remove};
static const struct rest_ops book_ops = {.list = book_list, .get = book_get, .create = book_create};
static const struct rest_ops count_ops = {
	.list = count_list, .get = count_get, .create = count_create};

static const struct rest_type *const shelf_subs[] = {&book_type, NULL};
static const struct rest_type entry_type = {
	.name = "api", .summary = "A library.", .fields = entry_fields, .ops = &entry_ops};
static const struct rest_type shelf_type = {.name = "shelf",
					    .plural = "shelves",
					    .summary = "Where books stand.",
					    .fields = shelf_fields,
					    .subs = shelf_subs,
					    .ops = &shelf_ops};
static const struct rest_type book_type = {.name = "book",
					   .plural = "books",
					   .summary = "What people read.",
					   .fields = book_fields,
					   .ops = &book_ops};
static const struct rest_type count_type = {.name = "count",
					    .plural = "counts",
					    .summary = "Walks along all shelves.",
					    .fields = count_fields,
					    .ops = &count_ops};
static const struct rest_type *const types[] = {&shelf_type, &count_type, NULL};
static const struct rest_model model = {.title = "library", .entry = &entry_type, .types = types};

/* The program */

static int get_page(const char *base, struct buf *out, void *data)
{
	(void)data;
	buf_fmt(out, "<!DOCTYPE html><title>library</title><a href=\"%s/api\">the shelves</a>\n",
		base);
	return 0;
}

static int get_metrics(const char *base, struct buf *out, void *data)
{
	static const char *const kinds[REST_REFUSED_KINDS] = {"peer", "token", "host", "form",
							      "limit"};
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
	struct library library = {
		.shelves = json_pack("{s:{s:i, s:{}}}", "novels", "room", 1, "books")};
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
		r = rest_api_new(&model, &library, &library.api, &e);
	if (r == 0) {
		config.loop = library.loop;
		config.api = library.api;
		r = serve(call, &library, &config, &e);
	}
	rest_server_free(library.server);
	rest_api_free(library.api);
	loop_unwatch(library.loop, library.signals);
	loop_free(library.loop);
	close(signals);
	json_decref(library.shelves);
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
