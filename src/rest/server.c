/* SPDX-License-Identifier: MIT */
/* Making and ending the server; libmicrohttpd's epoll in our loop. */
#include "rest/server.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/file.h"
#include "base/mem.h"
#include "rest/server_private.h"

/* SPARE: descriptors that the rest of the program may need. ROUNDS: libmicrohttpd is run so often
 * before others have their turn. */
enum { CONNECTIONS = 4096, HEADER_SECONDS = 10, SPARE = 64, ROUNDS = 16, SECRET_MAX = 1 << 16 };

static const char *const tls_priorities = "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2";

/* Reads a file that holds a secret. Others who can read it could call as well. */
static int read_secret(const struct rest_server_config *config, const char *path, char **text,
		       struct err *e)
{
	int fd cleanup(fd_close_at) = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	char opened[32];
	struct stat st;
	size_t len;
	int r;

	if (fd < 0 || fstat(fd, &st) < 0)
		return err_sys(e, -errno, "%s", path);
	if (st.st_mode & 0027 ||
	    (st.st_mode & 0040 && st.st_gid != 0 && st.st_gid != config->group))
		return err_set(e, -EACCES,
			       "%s can be read or changed by others: chmod 600 %s, and make a new "
			       "secret if somebody may have read it",
			       path, path);
	if (st.st_uid != 0 && st.st_uid != geteuid())
		return err_set(e, -EACCES,
			       "%s belongs to another user, who can read and change it: chown root "
			       "%s, and make a new secret",
			       path, path);
	(void)snprintf(opened, sizeof(opened), "/proc/self/fd/%d", fd);
	r = file_read(opened, SECRET_MAX, text, &len, e);
	return r < 0 ? err_where(e, "%s", path) : r;
}

static void free_secret(char **text)
{
	if (*text)
		explicit_bzero(*text, strlen(*text));
	free(take(*text));
}

static int load_token(struct rest_server *server, struct err *e)
{
	char *text cleanup(free_secret) = NULL;
	int r;

	if (!server->config.token_file)
		return 0;
	r = read_secret(&server->config, server->config.token_file, &text, e);
	if (r < 0)
		return r;
	r = token_read(text, server->token, e);
	return r < 0 ? err_where(e, "%s", server->config.token_file) : r;
}

static int load_certificate(struct rest_server *server, struct err *e)
{
	const struct rest_server_config *config = &server->config;
	size_t len;
	int r;

	if (!config->certificate && !config->key)
		return 0;
	if (!config->certificate || !config->key)
		return err_set(e, -EINVAL, "TLS needs both a certificate and its key");
	r = file_read(config->certificate, SECRET_MAX, &server->certificate, &len, e);
	return r < 0 ? r : read_secret(config, config->key, &server->key, e);
}

/* Random, for the life of the process. It need not tell callers apart: who can read another's may
 * do all that the other may. */
static int make_form_token(struct rest_server *server, struct err *e)
{
	unsigned char bytes[(sizeof(server->form_token) - 1) / 2];

	if (getrandom(bytes, sizeof(bytes), 0) != sizeof(bytes))
		return err_sys(e, -errno, "getrandom");
	for (size_t i = 0; i < sizeof(bytes); i++)
		(void)snprintf(server->form_token + 2 * i, 3, "%02x", bytes[i]);
	return 0;
}

/* As many as asked for, as far as the limit of descriptors goes. */
static unsigned room_for_connections(unsigned wanted)
{
	struct rlimit limit;

	if (!wanted)
		wanted = CONNECTIONS;
	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur >= wanted + SPARE)
		return wanted;
	return limit.rlim_cur > SPARE + SPARE ? (unsigned)limit.rlim_cur - SPARE : SPARE;
}

int rest_server_new(const struct rest_server_config *config, struct rest_server **server,
		    struct err *e)
{
	struct rest_server *made = calloc(1, sizeof(*made));
	int r;

	if (!made)
		return err_set(e, -ENOMEM, "out of memory");
	made->config = *config;
	made->config.connections = room_for_connections(config->connections);
	if (!made->config.header_seconds)
		made->config.header_seconds = HEADER_SECONDS;
	made->plain.server = made->tls.server = made;
	MHD_set_panic_func(server_panic, made);
	r = load_token(made, e);
	if (r == 0)
		r = load_certificate(made, e);
	if (r == 0)
		r = make_form_token(made, e);
	if (r < 0) {
		rest_server_free(made);
		return r;
	}
	rest_api_listen(config->api, client_changed, made);
	*server = made;
	return 0;
}

static void on_again(void *data)
{
	engine_run(data);
}

void engine_run_soon(struct engine *engine)
{
	if (!engine->again.set)
		loop_timer_set(engine->server->config.loop, &engine->again, 0, on_again, engine);
}

/* Until it has nothing more to do, or has had its share. Without time-outs of its own,
 * libmicrohttpd has a timeout only where something is ready: 0. */
void engine_run(struct engine *engine)
{
	MHD_UNSIGNED_LONG_LONG timeout;

	for (int i = 0; i < ROUNDS; i++)
		if (!engine->mhd || MHD_run(engine->mhd) != MHD_YES ||
		    MHD_get_timeout(engine->mhd, &timeout) != MHD_YES)
			return;
	engine_run_soon(engine);
}

static void on_ready(uint32_t events, void *data)
{
	(void)events;
	engine_run(data);
}

int engine_start(struct engine *engine, struct err *e)
{
	struct rest_server *server = engine->server;
	bool tls = engine == &server->tls;
	const struct MHD_OptionItem tls_options[] = {
		{MHD_OPTION_HTTPS_MEM_CERT, 0, server->certificate},
		{MHD_OPTION_HTTPS_MEM_KEY, 0, server->key},
		{MHD_OPTION_HTTPS_PRIORITIES, 0, (void *)(uintptr_t)tls_priorities},
		{MHD_OPTION_END, 0, NULL},
	};
	const struct MHD_OptionItem none[] = {{MHD_OPTION_END, 0, NULL}};
	const union MHD_DaemonInfo *info;

	if (engine->mhd)
		return 0;
	server->starts = true;
	engine->mhd = MHD_start_daemon(
		MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_NO_LISTEN_SOCKET |
			MHD_USE_ERROR_LOG | (tls ? MHD_USE_TLS : 0),
		0, NULL, NULL, client_request, server, MHD_OPTION_EXTERNAL_LOGGER, server_mhd_says,
		server, MHD_OPTION_URI_LOG_CALLBACK, client_target, server,
		MHD_OPTION_NOTIFY_COMPLETED, client_completed, server, MHD_OPTION_NOTIFY_CONNECTION,
		client_connection, server, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)POOL_BYTES,
		MHD_OPTION_CONNECTION_LIMIT, server->config.connections, MHD_OPTION_ARRAY,
		tls ? tls_options : none, MHD_OPTION_END);
	server->starts = false;
	if (!engine->mhd)
		return err_set(e, -EINVAL, "libmicrohttpd can't start%s%s%s",
			       tls ? " with this certificate and key" : "",
			       *server->mhd_said ? ": " : "", server->mhd_said);
	info = MHD_get_daemon_info(engine->mhd, MHD_DAEMON_INFO_EPOLL_FD);
	return loop_watch(server->config.loop, info->epoll_fd, EPOLLIN, on_ready, engine,
			  &engine->watch, e);
}

static void engine_stop(struct engine *engine)
{
	loop_unwatch(engine->server->config.loop, engine->watch);
	loop_timer_clear(engine->server->config.loop, &engine->again);
	if (engine->mhd)
		MHD_stop_daemon(engine->mhd);
}

void rest_server_free(struct rest_server *server)
{
	struct listener *listener;

	if (!server)
		return;
	rest_api_listen(server->config.api, NULL, NULL);
	while ((listener = server->listeners)) {
		server->listeners = listener->next;
		listener_free(listener);
	}
	/* libmicrohttpd doesn't end with connections that are suspended */
	while (server->clients[CLIENT_HELD].first)
		client_wake(server->clients[CLIENT_HELD].first);
	engine_stop(&server->plain);
	engine_stop(&server->tls);
	loop_timer_clear(server->config.loop, &server->deadline);
	loop_timer_clear(server->config.loop, &server->unpause);
	MHD_set_panic_func(NULL, NULL); /* it would tell this server */
	free(server->certificate);
	free_secret(&server->key);
	explicit_bzero(server->token, sizeof(server->token));
	free(server);
}

uint16_t rest_server_port(const struct rest_server *server)
{
	return server->port;
}

void rest_server_counts(const struct rest_server *server, struct rest_server_counts *counts)
{
	*counts = server->counts;
}
