/* SPDX-License-Identifier: MIT */
/* portmirror events: what portmirrord has done, and why. */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <string.h>
#include <sys/inotify.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/sig.h"
#include "base/term.h"
#include "data/json.h"
#include "portmirror/cli/app.h"
#include "portmirror/events.h"
#include "portmirror/show.h"

static json_t *object_of(const struct event *event)
{
	char time[SHOW_TIME];

	return json_pack("{s:I, s:s, s:s, s:s?, s:s}", "number", (json_int_t)event->number, "time",
			 show_time(time, event->time), "kind", event->kind, "session",
			 *event->session ? event->session : NULL, "text", event->text);
}

/* Of a stream: an object a line. */
static int print_line(const struct cli_call *call, const struct event *event)
{
	struct buf text cleanup(buf_free) = {0};
	char time[SHOW_TIME];

	if (app_json(call)) {
		json_t *object cleanup(json_free_at) = object_of(event);
		char *line cleanup(free_at) = object ? json_line(object) : NULL;

		if (!line)
			return -ENOMEM;
		printf("%s\n", line);
		return 0;
	}
	term_safe(&text, event->text);
	if (buf_status(&text) < 0)
		return -ENOMEM;
	printf("%-8" PRIu64 " %s  %-17s %s%s%s\n", event->number, show_time(time, event->time),
	       event->kind, event->session, *event->session ? ": " : "", buf_text(&text));
	return 0;
}

static int print_array(const struct cli_call *call, const struct events *events)
{
	json_t *list = json_array();

	for (size_t i = 0; list && i < events_count(events); i++) {
		if (json_array_append_new(list, object_of(events_nth(events, i))) < 0) {
			json_decref(list);
			list = NULL;
		}
	}
	return app_print_json(call, list);
}

/* The last count of them. */
static int print_last(const struct cli_call *call, const struct events *events, size_t count)
{
	size_t all = events_count(events);
	int r = 0;

	for (size_t i = all - (count < all ? count : all); r == 0 && i < all; i++)
		r = print_line(call, events_nth(events, i));
	if (r < 0) {
		cli_complain(call, "out of memory");
		return r;
	}
	r = app_flush();
	if (r < 0)
		cli_complain(call, "can't write the output: %s", strerror(-r));
	return r;
}

/* Until a signal comes, or the output is closed. folder: where the file is, or will be. */
static int follow(const struct cli_call *call, struct events *events, const char *folder)
{
	int signals cleanup(fd_close_at) = sig_watch();
	int fd cleanup(fd_close_at) = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	struct pollfd polled[] = {{.fd = fd, .events = POLLIN}, {.fd = signals, .events = POLLIN}};
	char buffer[4096];
	struct err e = {0};
	int r;

	if (signals < 0 || fd < 0 ||
	    inotify_add_watch(fd, folder, IN_MODIFY | IN_MOVED_TO | IN_CREATE | IN_DELETE) < 0) {
		err_sys(&e, -errno, "can't watch %s", folder);
		return app_fail(call, &e);
	}
	for (;;) {
		/* Also before the first wait: what came before the watch was there. */
		r = events_follow(events, &e);
		if (r < 0)
			return app_fail(call, &e);
		r = print_last(call, events, (size_t)r);
		if (r < 0)
			return EXIT_FAILED;
		if (poll(polled, COUNT(polled), -1) < 0) {
			err_sys(&e, -errno, "can't wait");
			return app_fail(call, &e);
		}
		if (polled[1].revents)
			return EXIT_OK;
		while (read(fd, buffer, sizeof(buffer)) > 0)
			;
	}
}

static void close_at(struct events **events)
{
	events_close(*events);
}

int verb_events(const struct cli_call *call)
{
	struct events *events cleanup(close_at) = NULL;
	char *folder cleanup(free_at) = string_fmt("%s/run/portmirror", app_root(call));
	char *path cleanup(free_at) = string_fmt("%s/run/portmirror/events", app_root(call));
	struct err e = {0};
	int r = folder && path ? events_open(path, &events, &e)
			       : err_set(&e, -ENOMEM, "out of memory");

	if (r < 0)
		return app_fail(call, &e);
	if (app_json(call) && !cli_has(call, "watch"))
		return print_array(call, events);
	if (events_count(events) == 0 && !cli_has(call, "watch"))
		printf("no event since the last boot: portmirrord has not run\n");
	if (print_last(call, events, EVENTS_MAX) < 0)
		return EXIT_FAILED;
	return cli_has(call, "watch") ? follow(call, events, folder) : EXIT_OK;
}
