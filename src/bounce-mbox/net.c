/* SPDX-License-Identifier: MIT */
#include "bounce-mbox/net.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

#include "base/err.h"
#include "base/mem.h"
#include "bounce-mbox/target.h"

struct net {
	struct net_setup setup;
	int fd;
	SSL_CTX *context;
	SSL *tls;
	bool read_wants_out, write_wants_in; /* TLS between the two */
};

static long long now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000LL + t.tv_nsec / 1000000;
}

/* Waits until the socket is ready for events: 0, -ETIMEDOUT, -EINTR. */
static int wait_for(const struct net *n, short events, long long until)
{
	for (;;) {
		struct pollfd fds[2] = {{n->fd, events, 0}, {n->setup.stop_fd, POLLIN, 0}};
		long long left = until - now_ms();
		int r;

		if (left <= 0)
			return -ETIMEDOUT;
		r = poll(fds, n->setup.stop_fd >= 0 ? 2 : 1, left > INT_MAX ? INT_MAX : (int)left);
		if (r < 0 && errno != EINTR)
			return -errno;
		if (r > 0 && fds[1].revents)
			return -EINTR;
		if (r > 0)
			return 0;
	}
}

/* Finishes connect(): 0 or -errno. */
static int connect_socket(struct net *n, const struct sockaddr *address, socklen_t len)
{
	int r, code = 0;
	socklen_t size = sizeof(code);

	if (connect(n->fd, address, len) == 0)
		return 0;
	if (errno != EINPROGRESS)
		return -errno;
	r = wait_for(n, POLLOUT, now_ms() + n->setup.seconds * 1000LL);
	if (r < 0)
		return r;
	if (getsockopt(n->fd, SOL_SOCKET, SO_ERROR, &code, &size) < 0)
		return -errno;
	return -code;
}

static int try_address(struct net *n, int family, const struct sockaddr *address, socklen_t len)
{
	int one = 1, r;

	n->fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (n->fd < 0)
		return -errno;
	r = connect_socket(n, address, len);
	if (r < 0) {
		close(n->fd);
		n->fd = -1;
		return r;
	}
	if (family != AF_UNIX) {
		(void)setsockopt(n->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		(void)setsockopt(n->fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
	}
	return 0;
}

static int connect_host(struct net *n, struct err *e)
{
	const struct target *t = n->setup.target;
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG};
	struct addrinfo *list = NULL;
	int r = getaddrinfo(t->host, t->port, &hints, &list);

	if (r != 0)
		return err_set(e, r == EAI_AGAIN ? -EAGAIN : -ENXIO, "cannot find %s: %s", t->host,
			       gai_strerror(r));
	r = -ENXIO;
	for (const struct addrinfo *a = list; a && r < 0 && r != -EINTR; a = a->ai_next)
		r = try_address(n, a->ai_family, a->ai_addr, a->ai_addrlen);
	freeaddrinfo(list);
	return r < 0 ? err_sys(e, r, "cannot connect to %s", t->shown) : 0;
}

static int connect_path(struct net *n, struct err *e)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int r;

	memcpy(address.sun_path, n->setup.target->path, sizeof(address.sun_path));
	r = try_address(n, AF_UNIX, (const struct sockaddr *)&address, sizeof(address));
	return r < 0 ? err_sys(e, r, "cannot connect to %s", n->setup.target->path) : 0;
}

int net_open(struct net **n, const struct net_setup *setup, struct err *e)
{
	struct net *new = calloc(1, sizeof(*new));
	int r;

	if (!new)
		return err_set(e, -ENOMEM, "out of memory");
	new->setup = *setup;
	new->fd = -1;
	r = *setup->target->path ? connect_path(new, e) : connect_host(new, e);
	if (r == 0 && setup->target->encrypted)
		r = net_encrypt(new, e);
	if (r < 0) {
		net_close(new);
		return r;
	}
	*n = new;
	return 0;
}

void net_close(struct net *n)
{
	if (!n)
		return;
	if (n->tls)
		(void)SSL_shutdown(n->tls);
	SSL_free(n->tls);
	SSL_CTX_free(n->context);
	fd_close_at(&n->fd);
	free(n);
}

static int tls_trouble(const struct net *n, const char *what, struct err *e)
{
	unsigned long code = ERR_get_error();
	long verified = n->tls ? SSL_get_verify_result(n->tls) : X509_V_OK;
	const char *reason = code ? ERR_reason_error_string(code) : NULL;

	ERR_clear_error();
	if (verified != X509_V_OK)
		return err_set(e, -EKEYREJECTED,
			       "the certificate of %s is not to be trusted: %s (--tls-ca FILE "
			       "names who is)",
			       n->setup.target->shown, X509_verify_cert_error_string(verified));
	return err_set(e, -EPROTO, "%s with %s failed: %s", what, n->setup.target->shown,
		       reason ? reason : "the connection broke");
}

static int make_context(struct net *n, struct err *e)
{
	n->context = SSL_CTX_new(TLS_client_method());
	if (!n->context || !SSL_CTX_set_min_proto_version(n->context, TLS1_2_VERSION) ||
	    (!n->setup.ca_file && !SSL_CTX_set_default_verify_paths(n->context)))
		return err_set(e, -ENOMEM, "cannot start TLS");
	SSL_CTX_set_verify(n->context, SSL_VERIFY_PEER, NULL);
	SSL_CTX_set_mode(n->context,
			 SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	if (n->setup.ca_file && !SSL_CTX_load_verify_file(n->context, n->setup.ca_file))
		return tls_trouble(n, "reading the file of --tls-ca, for TLS", e);
	return 0;
}

static bool is_address(const char *host)
{
	ASN1_OCTET_STRING *address = a2i_IPADDRESS(host);

	ASN1_OCTET_STRING_free(address);
	return address != NULL;
}

static int name_server(struct net *n, struct err *e)
{
	char host[sizeof(n->setup.target->host)];
	bool good;

	memcpy(host, n->setup.target->host, sizeof(host));
	if (is_address(host))
		good = X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(n->tls), host) == 1;
	else
		good = SSL_set1_host(n->tls, host) == 1 &&
		       SSL_ctrl(n->tls, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name,
				host) == 1;
	return good ? 0 : tls_trouble(n, "TLS", e);
}

/* SSL_get_error() looks at the errors that OpenSSL keeps for the whole thread. What another
 * connection left there, as by SSL_shutdown() when it broke, is not to be taken for this one's:
 * they are cleared before each step that is judged by it. */
int net_encrypt(struct net *n, struct err *e)
{
	long long until = now_ms() + n->setup.seconds * 1000LL;
	int r;

	ERR_clear_error();
	r = make_context(n, e);
	if (r < 0)
		return r;
	n->tls = SSL_new(n->context);
	if (!n->tls || SSL_set_fd(n->tls, n->fd) != 1)
		return err_set(e, -ENOMEM, "cannot start TLS");
	r = name_server(n, e);
	if (r < 0)
		return r;
	for (;;) {
		int done = SSL_connect(n->tls);
		int why = SSL_get_error(n->tls, done);

		if (done == 1)
			return 0;
		if (why != SSL_ERROR_WANT_READ && why != SSL_ERROR_WANT_WRITE)
			return tls_trouble(n, "the TLS handshake", e);
		r = wait_for(n, why == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT, until);
		if (r < 0)
			return err_sys(e, r, "the TLS handshake with %s", n->setup.target->shown);
	}
}

static ssize_t broken(const struct net *n, int code, struct err *e)
{
	return err_sys(e, code, "the connection to %s broke", n->setup.target->shown);
}

/* A server that sends each reply by itself, with Nagle's algorithm on, waits for our ACK before the
 * next one: do not delay it (tcp(7): this has to be said again and again). */
static void ack_at_once(const struct net *n)
{
	int one = 1;

	(void)setsockopt(n->fd, IPPROTO_TCP, TCP_QUICKACK, &one, sizeof(one));
}

ssize_t net_read(struct net *n, char *bytes, size_t len, struct err *e)
{
	if (!n->tls) {
		ssize_t got = recv(n->fd, bytes, len, 0);

		if (got < 0 && (errno == EAGAIN || errno == EINTR))
			return -EAGAIN;
		if (got < 0)
			return broken(n, -errno, e);
		ack_at_once(n);
		return got;
	}
	n->read_wants_out = false;
	ERR_clear_error();
	int got = SSL_read(n->tls, bytes, len > INT_MAX ? INT_MAX : (int)len);

	if (got > 0) {
		ack_at_once(n);
		return got;
	}
	switch (SSL_get_error(n->tls, got)) {
	case SSL_ERROR_WANT_WRITE:
		n->read_wants_out = true;
		return -EAGAIN;
	case SSL_ERROR_WANT_READ:
		return -EAGAIN;
	case SSL_ERROR_ZERO_RETURN:
		return 0;
	default:
		return broken(n, -ECONNRESET, e);
	}
}

ssize_t net_write(struct net *n, const char *bytes, size_t len, struct err *e)
{
	if (!n->tls) {
		ssize_t sent = send(n->fd, bytes, len, MSG_NOSIGNAL);

		if (sent < 0 && (errno == EAGAIN || errno == EINTR))
			return -EAGAIN;
		return sent < 0 ? broken(n, -errno, e) : sent;
	}
	n->write_wants_in = false;
	ERR_clear_error();
	int sent = SSL_write(n->tls, bytes, len > INT_MAX ? INT_MAX : (int)len);

	if (sent > 0)
		return sent;
	switch (SSL_get_error(n->tls, sent)) {
	case SSL_ERROR_WANT_READ:
		n->write_wants_in = true;
		return -EAGAIN;
	case SSL_ERROR_WANT_WRITE:
		return -EAGAIN;
	default:
		return broken(n, -ECONNRESET, e);
	}
}

int net_fd(const struct net *n)
{
	return n->fd;
}

bool net_is_local(const struct net *n)
{
	struct sockaddr_storage peer = {0};
	socklen_t len = sizeof(peer);
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;

	if (getpeername(n->fd, (struct sockaddr *)&peer, &len) < 0)
		return false;
	memcpy(&v4, &peer, sizeof(v4));
	memcpy(&v6, &peer, sizeof(v6));
	if (peer.ss_family == AF_INET)
		return ntohl(v4.sin_addr.s_addr) >> 24 == 127;
	return peer.ss_family == AF_UNIX ||
	       (peer.ss_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&v6.sin6_addr));
}

void net_literal(const struct net *n, char text[64])
{
	struct sockaddr_storage own = {0};
	socklen_t len = sizeof(own);
	char address[INET6_ADDRSTRLEN + 20]; /* and an interface */

	*text = 0;
	if (getsockname(n->fd, (struct sockaddr *)&own, &len) < 0 ||
	    (own.ss_family != AF_INET && own.ss_family != AF_INET6) ||
	    getnameinfo((struct sockaddr *)&own, len, address, sizeof(address), NULL, 0,
			NI_NUMERICHOST) != 0)
		return;
	address[strcspn(address, "%")] = 0;
	snprintf(text, 64, "[%s%.46s]", own.ss_family == AF_INET6 ? "IPv6:" : "", address);
}

short net_events(const struct net *n, bool out)
{
	short events = POLLIN;

	if ((out && !n->write_wants_in) || n->read_wants_out)
		events |= POLLOUT;
	return events;
}
