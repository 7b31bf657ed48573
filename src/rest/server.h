/* SPDX-License-Identifier: MIT */
/*
 * The HTTP server around an api: libmicrohttpd's epoll inside our loop, no thread a connection.
 * It keeps the limits, knows who may call, holds long polls, and logs through a callback.
 */
#ifndef REST_SERVER_H
#define REST_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct buf;
struct err;
struct loop;
struct rest_api;
struct rest_server;

/* What else the server answers, outside the api: "/", "/metrics". GET and HEAD only. */
struct rest_route {
	const char *path;
	const char *content_type;
	bool open; /* also without a token, over TCP */
	int (*get)(const char *base, struct buf *out, void *data);
	void *data;
};

/* Why somebody was turned away, for counters. */
enum rest_refusal {
	REST_REFUSED_PEER,  /* a local user who may not */
	REST_REFUSED_TOKEN, /* no or a wrong bearer token */
	REST_REFUSED_HOST,  /* Host or Origin of another site */
	REST_REFUSED_FORM,  /* a form without its anti-forgery token */
	REST_REFUSED_LIMIT, /* too many connections, too large, too slow */
	REST_REFUSED_HTTP,  /* no HTTP, or what two readers might take for two things */
	REST_REFUSED_KINDS
};

struct rest_server_config {
	struct loop *loop;
	struct rest_api *api;
	const struct rest_route *routes; /* ends with a NULL path */
	gid_t group;			 /* may use Unix sockets, beside root; (gid_t)-1: none */
	const char *token_file;		 /* for TCP; NULL: no TCP. Must not be readable by others */
	/* PEM files, for TLS on every TCP listener; needed off loopback; NULL: none. Others must
	 * not be able to read the key. */
	const char *certificate, *key;
	const char *const *hosts; /* further names that Host may have; ends with NULL */
	/* At most; 0: 4096. Fewer where the limit of descriptors (RLIMIT_NOFILE) is lower. */
	unsigned connections;
	/* A request must be whole in this time, from the connection or the last answer on; 0: 10.
	 */
	unsigned header_seconds;
	/* Every refusal, and errors; in one sentence, safe to print. May be NULL. */
	void (*log)(int priority, const char *sentence, void *data);
	void *data;
};

int rest_server_new(const struct rest_server_config *config, struct rest_server **server,
		    struct err *e);
/* "unix:PATH", "tcp:ADDRESS:PORT" ("tcp:127.0.0.1:8640", "tcp:[::1]:0"). Unix sockets: made 0660,
 * owned by root and the group; one that nobody listens at is replaced, a live one refused. TCP
 * without a token, or off loopback without TLS: refused with the reason. */
int rest_server_listen(struct rest_server *server, const char *where, struct err *e);
/* The same for a socket that listens already (systemd's). It is the server's from now on, unless
 * this fails. */
int rest_server_adopt(struct rest_server *server, int fd, struct err *e);
uint16_t rest_server_port(const struct rest_server *server); /* of the last TCP listener */
void rest_server_free(struct rest_server *server);	     /* unlinks the sockets it made */

struct rest_server_counts {
	uint64_t requests, refused[REST_REFUSED_KINDS], answers[6]; /* [2]: 2xx, … */
	uint64_t connections, held;				    /* now */
};
void rest_server_counts(const struct rest_server *server, struct rest_server_counts *counts);

#endif
