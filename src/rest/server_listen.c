/* SPDX-License-Identifier: MIT */
/*
 * Where the server listens, and who comes in. Connections are accepted here, not by libmicrohttpd:
 * it could neither look at a peer's credentials, nor refuse one with an answer.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <syslog.h>

#include "base/err.h"
#include "base/mem.h"
#include "rest/server_private.h"

enum { ACCEPT_AT_ONCE = 64, PAUSE = 1000 };

/* Where another server is alive behind the path, it is left alone. */
static int remove_stale(const struct where *where, struct err *e)
{
	const char *path = where->address.local.sun_path;
	int fd cleanup(fd_close_at) = -1;
	struct stat st;

	if (lstat(path, &st) < 0)
		return errno == ENOENT ? 0 : err_sys(e, -errno, "%s", path);
	if (!S_ISSOCK(st.st_mode))
		return err_set(e, -EEXIST, "%s is there already, and is no socket", path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_sys(e, -errno, "%s", path);
	if (connect(fd, &where->address.any, where->len) == 0 || errno == EAGAIN)
		return err_set(e, -EADDRINUSE,
			       "%s: somebody serves there already; stop that first, or listen at "
			       "another path",
			       path);
	if (errno != ECONNREFUSED)
		return err_sys(e, -errno, "%s", path);
	return unlink(path) < 0 && errno != ENOENT ? err_sys(e, -errno, "%s", path) : 0;
}

/* Nobody can connect before listen(), when the mode is right already. */
static int bind_unix(struct listener *listener, struct err *e)
{
	const char *path = listener->where.address.local.sun_path;
	gid_t group = listener->server->config.group;
	struct stat st;
	int r = remove_stale(&listener->where, e);

	if (r < 0)
		return r;
	if (bind(listener->fd, &listener->where.address.any, listener->where.len) < 0 ||
	    stat(path, &st) < 0)
		return err_sys(e, -errno, "%s", path);
	listener->unlink = true;
	listener->device = st.st_dev;
	listener->inode = st.st_ino;
	if (chmod(path, 0660) < 0 || chown(path, (uid_t)-1, group) < 0)
		return err_sys(e, -errno, "%s", path);
	return 0;
}

static int bind_tcp(struct listener *listener, struct err *e)
{
	char text[WHERE_TEXT];
	int on = 1;

	(void)setsockopt(listener->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (listener->where.address.any.sa_family == AF_INET6 &&
	    setsockopt(listener->fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)) < 0)
		return err_sys(e, -errno, "IPV6_V6ONLY");
	if (bind(listener->fd, &listener->where.address.any, listener->where.len) < 0)
		return err_sys(e, -errno, "%s", where_text(&listener->where, text));
	return 0;
}

static bool is_local(const struct listener *listener)
{
	return listener->where.address.any.sa_family == AF_UNIX;
}

static struct engine *engine_of(const struct listener *listener)
{
	struct rest_server *server = listener->server;

	return !is_local(listener) && server->certificate ? &server->tls : &server->plain;
}

/* Whether the configuration lets the server listen there. */
static int check_where(const struct rest_server *server, const struct where *where, struct err *e)
{
	char text[WHERE_TEXT];

	if (where->address.any.sa_family == AF_UNIX)
		return 0;
	if (!server->config.token_file)
		return err_set(e, -EPERM, "%s: TCP needs a token file", where_text(where, text));
	if (!where_is_here(where) && !server->certificate)
		return err_set(e, -EPERM,
			       "%s is not a loopback address: that needs TLS, with a certificate "
			       "and a key",
			       where_text(where, text));
	return 0;
}

/* Whether the peer of a Unix socket is root, this server's own user, or in the group. */
static bool peer_may(const struct rest_server *server, int fd, const struct ucred *peer)
{
	gid_t group = server->config.group, *groups cleanup(free_at) = NULL;
	socklen_t len = 0;

	if (peer->uid == 0 || peer->uid == geteuid())
		return true;
	if (group == (gid_t)-1)
		return false;
	if (peer->gid == group)
		return true;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, NULL, &len) == 0 || errno != ERANGE)
		return false; /* no further groups */
	groups = malloc(len);
	if (!groups || getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &len) < 0)
		return false;
	for (size_t i = 0; i < len / sizeof(*groups); i++)
		if (groups[i] == group)
			return true;
	return false;
}

/* An answer to somebody who gets no further than this: as good as it can be sent without waiting.
 */
static void turn_away(struct rest_server *server, int fd, const char *user, unsigned status,
		      const char *code, const char *why)
{
	struct rest_response response cleanup(rest_response_free) = {0};
	struct rest_request request = {.method = "GET", .target = "/", .user = user};
	struct buf b cleanup(buf_free) = {0};
	struct rest_fault fault;

	request.base = "http://localhost";
	request.form_token = "";
	(void)rest_refuse(&fault, status, code, NULL, "%s", why);
	rest_answer_fault(server->config.api, &request, &fault, &response);
	buf_fmt(&b, "HTTP/1.1 %u %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n", status,
		MHD_get_reason_phrase_for(status),
		response.content_type ? response.content_type : "text/plain", response.body.len);
	buf_str(&b, "Connection: close\r\n\r\n");
	buf_add(&b, response.body.data, response.body.len);
	if (buf_status(&b) == 0)
		(void)send(fd, b.data, b.len, MSG_DONTWAIT | MSG_NOSIGNAL);
	(void)shutdown(fd, SHUT_WR);
}

/* Somebody came to a Unix socket. False: turned away. */
static bool admit_local(struct rest_server *server, int fd, struct client *client)
{
	struct ucred peer = {.uid = (uid_t)-1, .gid = (gid_t)-1};
	socklen_t len = sizeof(peer);
	bool known = getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0;

	client->local = true;
	(void)snprintf(client->user, sizeof(client->user), "uid %u", peer.uid);
	if (known && peer_may(server, fd, &peer))
		return true;
	server_refused(server, REST_REFUSED_PEER,
		       "%s (process %d) is refused: not root, and not in "
		       "the group",
		       client->user, (int)peer.pid);
	turn_away(server, fd, client->user, 403, "not-allowed",
		  "only root and the members of the server's group may call");
	return false;
}

/* Over TCP strangers may connect, so a part of the places is kept for Unix sockets. */
static bool has_room(const struct rest_server *server, bool local)
{
	unsigned kept = local ? 0 : server->config.connections / 8;

	return server->counts.connections < server->config.connections - kept;
}

/* fd is taken over. */
static void admit(struct listener *listener, int accepted, const struct where *from)
{
	struct rest_server *server = listener->server;
	struct client *client cleanup(free_at) = calloc(1, sizeof(*client));
	int fd cleanup(fd_close_at) = accepted;
	bool tls = engine_of(listener) == &server->tls;

	if (!client)
		return;
	*client = (struct client){
		.server = server, .engine = engine_of(listener), .fd = fd, .state = CLIENT_CUT};
	where_text(from, client->user);
	if (is_local(listener) && !admit_local(server, fd, client))
		return;
	if (!has_room(server, is_local(listener))) {
		server_refused(server, REST_REFUSED_LIMIT,
			       "%s is refused: there are %llu connections already", client->user,
			       (unsigned long long)server->counts.connections);
		if (!tls)
			turn_away(server, fd, client->user, 503, "too-many-connections",
				  "there are too many connections: try again later");
		return;
	}
	/* it closes the socket also where it fails */
	server->starting = take(client);
	(void)MHD_add_connection(server->starting->engine->mhd, fd_take(&fd), &from->address.any,
				 from->len);
	free(take(server->starting));
}

static void on_accept(uint32_t events, void *data)
{
	struct listener *listener = data;

	(void)events;
	if (listener->server->paused)
		return; /* another listener, ready at the same time, has told why */
	for (int i = 0; i < ACCEPT_AT_ONCE; i++) {
		struct where from = {.len = sizeof(from.address)};
		int fd = accept4(listener->fd, &from.address.any, &from.len,
				 SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (fd >= 0) {
			admit(listener, fd, &from);
		} else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS ||
			   errno == ENOMEM) {
			server_log(listener->server, LOG_ERR, LOG_ERROR,
				   "no connection can be accepted for now: %s", strerror(errno));
			listeners_pause(listener->server, true);
			break;
		} else if (errno != EINTR && errno != ECONNABORTED) {
			break;
		}
	}
	engine_run(engine_of(listener));
}

static void on_unpause(void *data)
{
	listeners_pause(data, false);
}

/* Out of descriptors, a listener would be ready again and again. */
void listeners_pause(struct rest_server *server, bool pause)
{
	for (struct listener *listener = server->listeners; listener; listener = listener->next)
		(void)loop_rewatch(server->config.loop, listener->watch, pause ? 0 : EPOLLIN);
	server->paused = pause;
	if (pause)
		loop_timer_set(server->config.loop, &server->unpause, PAUSE, on_unpause, server);
	else
		loop_timer_clear(server->config.loop, &server->unpause);
}

void listener_free(struct listener *listener)
{
	const char *path = listener->where.address.local.sun_path;
	struct stat st;

	loop_unwatch(listener->server->config.loop, listener->watch);
	if (listener->unlink && stat(path, &st) == 0 && st.st_dev == listener->device &&
	    st.st_ino == listener->inode)
		(void)unlink(path);
	fd_close_at(&listener->fd);
	free(listener);
}

/* The socket listens: from now on connections are accepted, and the listener is the server's. */
static int start(struct listener *listener, struct err *e)
{
	struct rest_server *server = listener->server;
	int r = engine_start(engine_of(listener), e);

	if (r < 0)
		return r;
	r = loop_watch(server->config.loop, listener->fd, EPOLLIN, on_accept, listener,
		       &listener->watch, e);
	if (r < 0)
		return r;
	if (!is_local(listener))
		server->port = ntohs(listener->where.address.ipv4.sin_port);
	listener->next = server->listeners;
	server->listeners = listener;
	return 0;
}

static int open_listener(struct listener *listener, struct err *e)
{
	struct where *where = &listener->where;
	char text[WHERE_TEXT];
	int r = check_where(listener->server, where, e);

	if (r < 0)
		return r;
	listener->fd =
		socket(where->address.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (listener->fd < 0)
		return err_sys(e, -errno, "%s", where_text(where, text));
	r = is_local(listener) ? bind_unix(listener, e) : bind_tcp(listener, e);
	if (r < 0)
		return r;
	if (listen(listener->fd, SOMAXCONN) < 0)
		return err_sys(e, -errno, "%s", where_text(where, text));
	if (!is_local(listener) && getsockname(listener->fd, &where->address.any, &where->len) < 0)
		return err_sys(e, -errno, "getsockname");
	return start(listener, e);
}

int rest_server_listen(struct rest_server *server, const char *where, struct err *e)
{
	struct listener *listener = calloc(1, sizeof(*listener));
	int r;

	if (!listener)
		return err_set(e, -ENOMEM, "out of memory");
	*listener = (struct listener){.server = server, .fd = -1};
	r = where_read(where, &listener->where, e);
	if (r == 0)
		r = open_listener(listener, e);
	if (r < 0)
		listener_free(listener);
	return r;
}

/* What a descriptor that came from elsewhere is. */
static int read_adopted(struct listener *listener, struct err *e)
{
	struct where *where = &listener->where;
	int listens = 0, type = 0, flags = fcntl(listener->fd, F_GETFL);
	socklen_t len = sizeof(int);

	where->len = sizeof(where->address);
	if (getsockopt(listener->fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &len) < 0 ||
	    getsockopt(listener->fd, SOL_SOCKET, SO_TYPE, &type, &len) < 0 ||
	    getsockname(listener->fd, &where->address.any, &where->len) < 0 || flags < 0)
		return err_sys(e, -errno, "descriptor %d", listener->fd);
	if (!listens || type != SOCK_STREAM ||
	    (where->address.any.sa_family != AF_UNIX && where->address.any.sa_family != AF_INET &&
	     where->address.any.sa_family != AF_INET6))
		return err_set(e, -EINVAL,
			       "descriptor %d is no socket that listens for a stream over a Unix "
			       "socket or TCP",
			       listener->fd);
	if (fcntl(listener->fd, F_SETFL, flags | O_NONBLOCK) < 0 ||
	    fcntl(listener->fd, F_SETFD, FD_CLOEXEC) < 0)
		return err_sys(e, -errno, "descriptor %d", listener->fd);
	return 0;
}

static int adopt_listener(struct listener *listener, struct err *e)
{
	int r = read_adopted(listener, e);

	if (r == 0)
		r = check_where(listener->server, &listener->where, e);
	return r < 0 ? r : start(listener, e);
}

int rest_server_adopt(struct rest_server *server, int fd, struct err *e)
{
	struct listener *listener = calloc(1, sizeof(*listener));
	int r;

	if (!listener)
		return err_set(e, -ENOMEM, "out of memory");
	*listener = (struct listener){.server = server, .fd = fd};
	r = adopt_listener(listener, e);
	if (r < 0) {
		listener->fd = -1; /* it stays the caller's */
		listener_free(listener);
	}
	return r;
}
