/* SPDX-License-Identifier: MIT */
/* A connection whose other end is slow, says what TLS wants in the midst of it, or goes away. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "base/err.h"
#include "base/mem.h"
#include "bounce-mbox/net.h"
#include "bounce-mbox/target.h"

/* More than the kernel keeps of it on the way. */
#define TOTAL ((size_t)16 * 1024 * 1024)
#define PIECE ((size_t)100000)

/* By the linker, instead of OpenSSL's. */
static const char *lacking;

#define LACKABLE(type, none, name, parameter, argument)                                            \
	type __real_##name parameter;                                                              \
	type __wrap_##name parameter;                                                              \
	type __wrap_##name parameter                                                               \
	{                                                                                          \
		return lacking && strcmp(lacking, #name) == 0 ? (none) : __real_##name argument;   \
	}

LACKABLE(SSL_CTX *, NULL, SSL_CTX_new, (const SSL_METHOD *method), (method))
LACKABLE(SSL *, NULL, SSL_new, (SSL_CTX * context), (context))
LACKABLE(int, 0, SSL_CTX_set_default_verify_paths, (SSL_CTX * context), (context))
LACKABLE(int, (ERR_raise(ERR_LIB_X509, ERR_R_MALLOC_FAILURE), 0), X509_VERIFY_PARAM_set1_ip_asc,
	 (X509_VERIFY_PARAM * param, const char *address), (param, address))

struct peer {
	int listener, fd, stop;
	struct target target;
	SSL_CTX *context;
	SSL *tls;
	pthread_t thread;
	size_t got;
	bool heard; /* by the client: its "x" */
};

static char byte_at(size_t i)
{
	return (char)(i % 251);
}

static void *greet(void *data)
{
	struct peer *p = data;

	p->fd = accept4(p->listener, NULL, NULL, SOCK_CLOEXEC);
	p->tls = SSL_new(p->context);
	if (p->tls && SSL_set_fd(p->tls, p->fd) == 1)
		(void)SSL_accept(p->tls);
	return NULL;
}

static void listen_at(struct peer *p)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
	socklen_t len = sizeof(address);
	int small = 4096;
	char url[60];

	*p = (struct peer){.listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), .fd = -1};
	assert_int_equal(setsockopt(p->listener, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small)), 0);
	assert_int_equal(bind(p->listener, (struct sockaddr *)&address, len), 0);
	assert_int_equal(listen(p->listener, 5), 0);
	assert_int_equal(getsockname(p->listener, (struct sockaddr *)&address, &len), 0);
	snprintf(url, sizeof(url), "smtps://127.0.0.1:%u", ntohs(address.sin_port));
	assert_int_equal(target_parse(url, NULL, &p->target, NULL), 0);
}

/* Connects; the peer speaks this version of TLS only. */
static struct net *begin(struct peer *p, int version)
{
	struct net_setup setup = {&p->target, "pem", 30, -1};
	struct net *n = NULL;
	struct err e = {0};
	int r;

	listen_at(p);
	p->context = SSL_CTX_new(TLS_server_method());
	assert_non_null(p->context);
	assert_int_equal(SSL_CTX_use_certificate_file(p->context, "pem", SSL_FILETYPE_PEM), 1);
	assert_int_equal(SSL_CTX_use_PrivateKey_file(p->context, "key", SSL_FILETYPE_PEM), 1);
	assert_int_equal(SSL_CTX_set_min_proto_version(p->context, version), 1);
	assert_int_equal(SSL_CTX_set_max_proto_version(p->context, version), 1);
	assert_int_equal(pthread_create(&p->thread, NULL, greet, p), 0);
	r = net_open(&n, &setup, &e);
	pthread_join(p->thread, NULL);
	if (r < 0)
		fail_msg("%s", e.text);
	assert_int_equal(fcntl(p->fd, F_SETFL, O_NONBLOCK), 0);
	return n;
}

static void end(struct peer *p, struct net *n)
{
	net_close(n);
	SSL_free(p->tls);
	SSL_CTX_free(p->context);
	if (p->fd >= 0)
		close(p->fd);
	close(p->listener);
}

/* One call to net_write(), of bytes that lie elsewhere than the last ones. */
static ssize_t write_some(struct net *n, size_t at, struct err *e)
{
	size_t len = TOTAL - at < PIECE ? TOTAL - at : PIECE;
	static char places[2][PIECE];
	static unsigned turn;
	char *bytes = places[turn++ % COUNT(places)];

	for (size_t i = 0; i < len; i++)
		bytes[i] = byte_at(at + i);
	return net_write(n, bytes, len, e);
}

/* Writes as much as fits. */
static void fill(struct net *n, size_t *sent)
{
	ssize_t r = 1;

	while (*sent < TOTAL && (r = write_some(n, *sent, NULL)) > 0)
		*sent += (size_t)r;
	if (*sent < TOTAL)
		assert_int_equal(r, -EAGAIN);
}

static void hear(struct peer *p, struct net *n)
{
	char bytes[100];
	ssize_t r;

	while ((r = net_read(n, bytes, sizeof(bytes), NULL)) > 0) {
		assert_true(r == 1 && *bytes == 'x');
		p->heard = true;
	}
	assert_int_equal(r, -EAGAIN);
}

static void peer_hears(struct peer *p)
{
	static char bytes[PIECE];
	int r;

	while ((r = SSL_read(p->tls, bytes, sizeof(bytes))) > 0)
		for (int i = 0; i < r; i++)
			if (bytes[i] != byte_at(p->got++))
				fail_msg("byte %zu is another", p->got - 1);
	assert_int_equal(SSL_get_error(p->tls, r), SSL_ERROR_WANT_READ);
}

/* Waits for nothing but what net_events() says, until all has arrived, and the peer's word. */
static void carry(struct peer *p, struct net *n, size_t sent)
{
	while (p->got < TOTAL || !p->heard) {
		struct pollfd fds[] = {{net_fd(n), net_events(n, sent < TOTAL), 0},
				       {p->fd, POLLIN, 0}};

		if (poll(fds, 2, 20000) <= 0)
			fail_msg("%zu of %zu arrived, and no more", p->got, sent);
		hear(p, n);
		fill(n, &sent);
		peer_hears(p);
	}
}

static void await(int fd)
{
	struct pollfd in = {fd, POLLIN, 0};

	assert_int_equal(poll(&in, 1, 20000), 1);
}

static void test_slow(void **state)
{
	struct peer p;
	struct net *n = begin(&p, TLS1_3_VERSION);
	size_t sent = 0;

	(void)state;
	fill(n, &sent);
	assert_true(sent < TOTAL);
	assert_int_equal(net_events(n, true), POLLIN | POLLOUT);
	assert_int_equal(net_events(n, false), POLLIN);
	assert_int_equal(SSL_write(p.tls, "x", 1), 1);
	carry(&p, n, sent);
	end(&p, n);
}

/* The peer wants other keys, while the client has more to write than fits. */
static void test_new_keys(void **state)
{
	struct peer p;
	struct net *n = begin(&p, TLS1_3_VERSION);
	size_t sent = 0;

	(void)state;
	fill(n, &sent);
	assert_int_equal(SSL_key_update(p.tls, SSL_KEY_UPDATE_REQUESTED), 1);
	assert_int_equal(SSL_write(p.tls, "x", 1), 1);
	await(net_fd(n));
	hear(&p, n);
	carry(&p, n, sent);
	end(&p, n);
}

/* TLS 1.2 makes a new handshake of that. */
static void ask_for_a_handshake(struct peer *p, struct net *n)
{
	assert_int_equal(SSL_renegotiate(p->tls), 1);
	assert_int_equal(SSL_do_handshake(p->tls), 1);
	assert_int_equal(SSL_write(p->tls, "x", 1), 1);
	await(net_fd(n));
	hear(p, n);
}

/* Reading has to write for it, and there is no room: but in the last segment of what waits, so that
 * it takes some tries until that is too little. */
static void test_handshake_when_full(void **state)
{
	struct peer p;
	struct net *n = NULL;
	size_t sent;
	int least = 1;

	(void)state;
	for (size_t tries = 0; !n || net_events(n, false) == POLLIN; tries++) {
		assert_true(tries < 100);
		if (n)
			end(&p, n);
		n = begin(&p, TLS1_2_VERSION);
		for (sent = 0; sent < 3 * PIECE;)
			sent += (size_t)write_some(n, sent, NULL);
		for (size_t i = 0; i < tries; i++) {
			char byte = byte_at(sent++);

			assert_int_equal(net_write(n, &byte, 1, NULL), 1);
		}
		assert_int_equal(
			setsockopt(net_fd(n), SOL_SOCKET, SO_SNDBUF, &least, sizeof(least)), 0);
		ask_for_a_handshake(&p, n);
	}
	assert_int_equal(net_events(n, false), POLLIN | POLLOUT);
	carry(&p, n, sent);
	end(&p, n);
}

/* In the middle of it, writing has to wait for what is to be read. */
static void test_write_within_a_handshake(void **state)
{
	struct peer p;
	struct net *n = begin(&p, TLS1_2_VERSION);

	(void)state;
	ask_for_a_handshake(&p, n);
	assert_int_equal(write_some(n, 0, NULL), -EAGAIN);
	assert_int_equal(net_events(n, true), POLLIN);
	carry(&p, n, 0);
	end(&p, n);
}

static void test_gone(void **state)
{
	struct linger at_once = {1, 0};
	struct peer p;
	struct net *n = begin(&p, TLS1_3_VERSION);
	char wanted[500];
	struct err e = {0};

	(void)state;
	assert_int_equal(setsockopt(p.fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once)), 0);
	close(p.fd);
	p.fd = -1;
	await(net_fd(n));
	assert_int_equal(write_some(n, 0, &e), -ECONNRESET);
	snprintf(wanted, sizeof(wanted), "the connection to %s broke: Connection reset by peer",
		 p.target.shown);
	assert_string_equal(e.text, wanted);
	end(&p, n);
}

static void test_lacks(void **state)
{
	static const char *const names[] = {"SSL_CTX_new", "SSL_new",
					    "SSL_CTX_set_default_verify_paths"};
	struct peer p;

	(void)state;
	for (size_t i = 0; i < COUNT(names); i++) {
		struct net_setup setup = {&p.target, NULL, 30, -1};
		struct net *n = NULL;
		struct err e = {0};

		listen_at(&p);
		lacking = names[i];
		assert_int_equal(net_open(&n, &setup, &e), -ENOMEM);
		lacking = NULL;
		assert_string_equal(e.text, "cannot start TLS");
		assert_null(n);
		end(&p, NULL);
	}
}

/* Without memory for its name a server's certificate would be taken for any name's. */
static void test_no_name(void **state)
{
	struct peer p;
	struct net_setup setup = {&p.target, "pem", 30, -1};
	struct net *n = NULL;
	char wanted[500];
	struct err e = {0};

	(void)state;
	listen_at(&p);
	lacking = "X509_VERIFY_PARAM_set1_ip_asc";
	assert_int_equal(net_open(&n, &setup, &e), -EPROTO);
	lacking = NULL;
	snprintf(wanted, sizeof(wanted), "TLS with %s failed: malloc failure", p.target.shown);
	assert_string_equal(e.text, wanted);
	assert_null(n);
	end(&p, NULL);
}

/* The server says nothing to the client's first word; somebody stops the client. */
static void *stop(void *data)
{
	struct peer *p = data;
	char byte;

	p->fd = accept4(p->listener, NULL, NULL, SOCK_CLOEXEC);
	if (recv(p->fd, &byte, 1, 0) == 1)
		(void)eventfd_write(p->stop, 1);
	return NULL;
}

/* Who stops it need not wait for that server. */
static void test_stopped(void **state)
{
	struct peer p;
	struct net_setup setup = {&p.target, "pem", 30, -1};
	struct net *n = NULL;
	char wanted[500];
	struct err e = {0};

	(void)state;
	listen_at(&p);
	setup.stop_fd = p.stop = eventfd(0, EFD_CLOEXEC);
	assert_int_equal(pthread_create(&p.thread, NULL, stop, &p), 0);
	assert_int_equal(net_open(&n, &setup, &e), -EINTR);
	pthread_join(p.thread, NULL);
	snprintf(wanted, sizeof(wanted), "the TLS handshake with %s: Interrupted system call",
		 p.target.shown);
	assert_string_equal(e.text, wanted);
	assert_null(n);
	end(&p, NULL);
	close(p.stop);
}

/* It ends TLS as it should: that is the end of what it says, and no error. */
static void test_ends_well(void **state)
{
	struct peer p;
	struct net *n = begin(&p, TLS1_3_VERSION);
	struct err e = {0};
	ssize_t r;
	char byte;

	(void)state;
	assert_int_equal(SSL_write(p.tls, "x", 1), 1);
	assert_int_equal(SSL_shutdown(p.tls), 0);
	while ((r = net_read(n, &byte, 1, &e)) == -EAGAIN)
		await(net_fd(n));
	assert_int_equal(r, 1);
	while ((r = net_read(n, &byte, 1, &e)) == -EAGAIN)
		await(net_fd(n));
	assert_int_equal(r, 0);
	assert_string_equal(e.text, "");
	end(&p, n);
}

static void *hang_up(void *data)
{
	struct peer *p = data;

	close(accept4(p->listener, NULL, NULL, SOCK_CLOEXEC));
	return NULL;
}

static void expect_silence(struct net *n)
{
	struct err e = {0};
	char byte;

	if (net_read(n, &byte, 1, &e) != -EAGAIN)
		fail_msg("%s", e.text);
}

/* What becomes of one connection is nothing to another: neither that its end came unannounced, nor
 * that there was no handshake. */
static void test_others_break(void **state)
{
	struct peer p, other;
	struct net *n = begin(&p, TLS1_3_VERSION), *broken = begin(&other, TLS1_3_VERSION);
	struct net_setup setup = {&other.target, "pem", 30, -1};
	ssize_t r;
	char byte;

	(void)state;
	close(other.fd);
	other.fd = -1;
	while ((r = net_read(broken, &byte, 1, NULL)) == -EAGAIN)
		await(net_fd(broken));
	assert_int_equal(r, -ECONNRESET);
	end(&other, broken);
	expect_silence(n);

	listen_at(&other);
	assert_int_equal(pthread_create(&other.thread, NULL, hang_up, &other), 0);
	assert_true(net_open(&broken, &setup, NULL) < 0);
	pthread_join(other.thread, NULL);
	end(&other, NULL);
	expect_silence(n);
	assert_int_equal(SSL_write(p.tls, "x", 1), 1);
	carry(&p, n, 0);
	end(&p, n);
}

/* Where a secret may be shown: to this computer only, and not where nobody knows who is there. */
static void test_local(void **state)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "socket"};
	struct linger at_once = {1, 0};
	struct peer p;
	struct net_setup setup = {&p.target, NULL, 30, -1};
	struct net *n = begin(&p, TLS1_3_VERSION);
	struct pollfd end_of_it = {net_fd(n), 0, 0};

	(void)state;
	assert_true(net_is_local(n));
	assert_int_equal(setsockopt(p.fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once)), 0);
	close(p.fd);
	p.fd = -1;
	assert_int_equal(poll(&end_of_it, 1, 20000), 1);
	assert_false(net_is_local(n));
	end(&p, n);

	p = (struct peer){.listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), .fd = -1};
	assert_int_equal(bind(p.listener, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(p.listener, 5), 0);
	snprintf(p.target.path, sizeof(p.target.path), "socket");
	assert_int_equal(net_open(&n, &setup, NULL), 0);
	assert_true(net_is_local(n));
	end(&p, n);
}

static void test_nobody_there(void **state)
{
	struct target target;
	struct net_setup setup = {&target, NULL, 30, -1};
	struct net *n = NULL;
	struct err e = {0};

	(void)state;
	assert_int_equal(target_parse("lmtp:///tmp/nobody/there", NULL, &target, &e), 0);
	assert_int_equal(net_open(&n, &setup, &e), -ENOENT);
	assert_string_equal(e.text,
			    "cannot connect to /tmp/nobody/there: No such file or directory");
	assert_null(n);
}

/* A certificate of 127.0.0.1, signed by itself. */
static bool certify(EVP_PKEY *key, X509 *certificate)
{
	X509_NAME *name = X509_get_subject_name(certificate);
	X509_EXTENSION *address =
		X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, "IP:127.0.0.1");
	bool made = key && address && X509_set_version(certificate, X509_VERSION_3) &&
		    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
					       (const unsigned char *)"test", -1, -1, 0) &&
		    X509_set_issuer_name(certificate, name) &&
		    X509_gmtime_adj(X509_getm_notBefore(certificate), -60) &&
		    X509_gmtime_adj(X509_getm_notAfter(certificate), 86400) &&
		    X509_set_pubkey(certificate, key) && X509_add_ext(certificate, address, -1) &&
		    X509_sign(certificate, key, EVP_sha256()) > 0;

	X509_EXTENSION_free(address);
	return made;
}

/* All have a folder with that and its key. */
static int enter(void **state)
{
	static char folder[] = "/tmp/test-net-XXXXXX";
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *certificate = X509_new();
	FILE *pem, *secret;
	bool made;

	*state = folder;
	(void)signal(SIGPIPE, SIG_IGN);
	if (!mkdtemp(folder) || chdir(folder) < 0)
		return -1;
	pem = fopen("pem", "we");
	secret = fopen("key", "we");
	made = certify(key, certificate) && pem && PEM_write_X509(pem, certificate) && secret &&
	       PEM_write_PrivateKey(secret, key, NULL, NULL, 0, NULL, NULL);
	made = pem && fclose(pem) == 0 && secret && fclose(secret) == 0 && made;
	X509_free(certificate);
	EVP_PKEY_free(key);
	return made ? 0 : -1;
}

static int leave(void **state)
{
	char command[80];

	snprintf(command, sizeof(command), "rm -rf %s", (char *)*state);
	return chdir("/") == 0 && system(command) == 0 ? 0 : -1;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_slow),
		cmocka_unit_test(test_new_keys),
		cmocka_unit_test(test_handshake_when_full),
		cmocka_unit_test(test_write_within_a_handshake),
		cmocka_unit_test(test_gone),
		cmocka_unit_test(test_lacks),
		cmocka_unit_test(test_nobody_there),
		cmocka_unit_test(test_no_name),
		cmocka_unit_test(test_stopped),
		cmocka_unit_test(test_ends_well),
		cmocka_unit_test(test_others_break),
		cmocka_unit_test(test_local),
	};

	return cmocka_run_group_tests(tests, enter, leave);
}
