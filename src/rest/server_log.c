/* SPDX-License-Identifier: MIT */
/* What the server tells its owner: refusals and errors, as many as somebody can read. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "base/mem.h"
#include "base/term.h"
#include "rest/server_private.h"

/* Of one kind, so many sentences in so many milliseconds. */
enum { LOG_BURST = 10, LOG_PERIOD = 10000 };

/* False where this kind has said enough for now. *dropped: how many were left out before. */
static bool may_log(struct log_limit *limit, unsigned *dropped)
{
	int64_t now = loop_now();

	if (!limit->since || now - limit->since >= LOG_PERIOD)
		*limit = (struct log_limit){.since = now, .dropped = limit->dropped};
	if (limit->said == LOG_BURST) {
		limit->dropped++;
		return false;
	}
	limit->said++;
	*dropped = limit->dropped;
	limit->dropped = 0;
	return true;
}

static void log_text(struct rest_server *server, int priority, int kind, const char *text)
{
	struct buf b cleanup(buf_free) = {0};
	unsigned dropped = 0;

	if (!server->config.log || !may_log(&server->logs[kind], &dropped))
		return;
	term_safe(&b, text);
	if (dropped)
		buf_fmt(&b, " (%u like it were left out)", dropped);
	if (buf_status(&b) == 0)
		server->config.log(priority, buf_text(&b), server->config.data);
}

void server_log(struct rest_server *server, int priority, int kind, const char *format, ...)
{
	char text[600];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	log_text(server, priority, kind, text);
}

void server_refused(struct rest_server *server, enum rest_refusal kind, const char *format, ...)
{
	char text[600];
	va_list args;

	server->counts.refused[kind]++;
	va_start(args, format);
	(void)vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	log_text(server, LOG_WARNING, (int)kind, text);
}

/* Told with every answer through a Unix socket, which libmicrohttpd takes for TCP where it has not
 * accepted the connection itself. */
static bool is_noise(const char *format)
{
	static const char *const noise[] = {"Setting %s option to %s state failed",
					    "Failed to push the data from buffers"};

	for (size_t i = 0; i < COUNT(noise); i++)
		if (strncmp(format, noise[i], strlen(noise[i])) == 0)
			return true;
	return false;
}

/* What it can't read it answers itself, before anybody else sees the request. */
static bool is_refusal(const char *said)
{
	static const char refusal[] = "Error processing request";

	return strncmp(said, refusal, strlen(refusal)) == 0;
}

void server_mhd_says(void *data, const char *format, va_list args)
{
	struct rest_server *server = data;

	if (!format || is_noise(format))
		return;
	(void)vsnprintf(server->mhd_said, sizeof(server->mhd_said), format, args);
	server->mhd_said[strcspn(server->mhd_said, "\n")] = '\0';
	if (is_refusal(server->mhd_said)) {
		server_refused(server, REST_REFUSED_HTTP, "a request is refused: %s",
			       server->mhd_said);
		/* without memory for its answer it closes the connection, in its next turn */
		engine_run_soon(&server->plain);
		engine_run_soon(&server->tls);
		return;
	}
	if (!server->starts)
		server_log(server, LOG_DEBUG, LOG_MHD, "libmicrohttpd: %s", server->mhd_said);
}

_Noreturn void server_panic(void *data, const char *file, unsigned line, const char *reason)
{
	struct rest_server *server = data;

	if (server->config.log)
		server_log(server, LOG_CRIT, LOG_ERROR, "libmicrohttpd gives up at %s:%u: %s", file,
			   line, reason ? reason : "");
	abort();
}
