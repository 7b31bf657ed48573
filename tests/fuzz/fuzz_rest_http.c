/* SPDX-License-Identifier: MIT */
/*
 * Bytes that come to the API's server, through libmicrohttpd, on a socket. The first byte of the
 * input says how: so many of the others at once (its lower half; 0: all), and through TCP, where a
 * token is needed, or a Unix socket (its highest bit).
 *
 * Whatever comes: answers are HTTP, and no connection stays behind.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "../unit/rest/shelves.h"
#include "base/loop.h"
#include "base/mem.h"
#include "rest/server.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

enum {
	ROUNDS = 200,  /* of the loop, after which a connection must have ended */
	MANY_FDS = 256 /* more than are open at any time */
};

struct fuzz {
	struct shelves app;
	struct loop *loop;
	struct rest_server *server;
	struct sockaddr_storage where[2]; /* a Unix socket, TCP */
	socklen_t len[2];
};

static void must(bool is, const char *what)
{
	if (is)
		return;
	perror(what);
	abort();
}

/* The file's name of a token, which is in memory only. */
static const char *token_file(void)
{
	static const char token[] = "sixteen-letters!";
	static char path[64];
	int fd;

	if (*path)
		return path;
	fd = memfd_create("token", MFD_CLOEXEC);
	must(fd >= 0 && fchmod(fd, 0600) == 0 && write(fd, token, strlen(token)) > 0, "memfd");
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return path;
}

/* A listener at an address that the kernel chooses. */
static void listen_at(struct fuzz *fuzz, int which)
{
	struct sockaddr_in tcp = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct sockaddr_un local = {.sun_family = AF_UNIX};
	const struct sockaddr *address =
		which ? (const struct sockaddr *)&tcp : (const struct sockaddr *)&local;
	socklen_t len = which ? sizeof(tcp) : sizeof(local.sun_family);
	int fd = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	fuzz->len[which] = sizeof(fuzz->where[which]);
	must(fd >= 0 && bind(fd, address, len) == 0 && listen(fd, 5) == 0 &&
		     getsockname(fd, (struct sockaddr *)&fuzz->where[which], &fuzz->len[which]) ==
			     0,
	     "listen");
	must(rest_server_adopt(fuzz->server, fd, NULL) == 0, "adopt");
}

static void check_log(int priority, const char *sentence, void *data)
{
	(void)priority;
	(void)data;
	for (const char *at = sentence; *at; at++)
		must((unsigned char)*at >= ' ', "a sentence shows something raw");
}

static void set_up(struct fuzz *fuzz)
{
	struct rest_server_config config = {
		.group = (gid_t)-1, .token_file = token_file(), .log = check_log};

	must(shelves_new(&fuzz->app) == 0 && loop_new(&fuzz->loop, NULL) == 0, "set-up");
	config.loop = fuzz->loop;
	config.api = fuzz->app.api;
	must(rest_server_new(&config, &fuzz->server, NULL) == 0, "server");
	for (int i = 0; i < 2; i++)
		listen_at(fuzz, i);
}

static void turn(struct fuzz *fuzz)
{
	must(loop_once(fuzz->loop, 0, NULL) == 0, "loop");
}

/* Reads what came, so that the server can go on. start: where the first bytes of all go. */
static void drain(int fd, char start[8], size_t *have)
{
	char buffer[65536];
	ssize_t n;

	while ((n = recv(fd, buffer, sizeof(buffer), MSG_DONTWAIT)) > 0)
		for (ssize_t i = 0; i < n && *have < 8; i++)
			start[(*have)++] = buffer[i];
}

static void talk(struct fuzz *fuzz, int fd, const uint8_t *data, size_t len, size_t piece)
{
	char start[8];
	size_t have = 0;

	while (len > 0) {
		ssize_t n = send(fd, data, len < piece ? len : piece, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n > 0) {
			data += n;
			len -= (size_t)n;
		} else if (errno != EAGAIN) {
			break; /* the server has closed it */
		}
		turn(fuzz);
		drain(fd, start, &have);
	}
	for (int i = 0; i < 3; i++) {
		turn(fuzz);
		drain(fd, start, &have);
	}
	must(have == 0 || (have == 8 && memcmp(start, "HTTP/1.1", 8) == 0), "no HTTP");
}

static bool ends(struct fuzz *fuzz)
{
	struct rest_server_counts counts;

	for (int i = 0; i < ROUNDS; i++) {
		turn(fuzz);
		rest_server_counts(fuzz->server, &counts);
		if (counts.connections == 0) {
			must(counts.held == 0, "held without a connection");
			return true;
		}
	}
	return false;
}

/* Whether the server's end of the client's TCP connection is still open: the reset is then on its
 * way, or the kernel has dropped it, as it does where others fill the processor's queue
 * (enqueue_to_backlog() in net/core/dev.c), and nobody sends a reset again. */
static bool is_open(const struct sockaddr_storage *client, socklen_t client_len)
{
	for (int fd = 0; fd < MANY_FDS; fd++) {
		struct sockaddr_storage peer;
		struct tcp_info info;
		socklen_t len = sizeof(peer), info_len = sizeof(info);

		if (getpeername(fd, (struct sockaddr *)&peer, &len) == 0 && len == client_len &&
		    memcmp(&peer, client, len) == 0 &&
		    getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &info_len) == 0)
			return info.tcpi_state != TCP_CLOSE;
	}
	return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	const struct linger reset = {.l_onoff = 1};
	struct sockaddr_storage client = {0};
	socklen_t client_len = sizeof(client);
	struct fuzz fuzz = {0};
	size_t piece;
	int which, fd;

	if (len == 0)
		return 0;
	which = data[0] >> 7;
	piece = data[0] & 15 ? data[0] & 15 : len;
	set_up(&fuzz);
	fd = socket(fuzz.where[which].ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	must(fd >= 0 &&
		     connect(fd, (const struct sockaddr *)&fuzz.where[which], fuzz.len[which]) ==
			     0 &&
		     getsockname(fd, (struct sockaddr *)&client, &client_len) == 0,
	     "connect");
	talk(&fuzz, fd, data + 1, len - 1, piece);
	(void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	close(fd);
	/* what arrived after the last turn has as many turns again */
	must(ends(&fuzz) || (which && is_open(&client, client_len)) || ends(&fuzz),
	     "a connection stays");
	rest_server_free(fuzz.server);
	shelves_free(&fuzz.app);
	loop_free(fuzz.loop);
	return 0;
}
