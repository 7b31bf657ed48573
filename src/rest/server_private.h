/* SPDX-License-Identifier: MIT */
/* What the files of the server share: server.c, server_listen.c, server_client.c, server_log.c. */
#ifndef REST_SERVER_PRIVATE_H
#define REST_SERVER_PRIVATE_H

#include <microhttpd.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/loop.h"
#include "rest/access.h"
#include "rest/api.h"
#include "rest/server.h"

/* What libmicrohttpd takes for a request's head; what is in it may be half of that. */
#define POOL_BYTES (16 << 10)
#define HEAD_MAX   (8 << 10)
/* Of a body that is refused, so much is read to its end, so that the client reads the answer. */
#define DRAIN_MAX (1 << 20)
/* An answer must be taken in this time, however slowly. */
#define SEND_SECONDS 60

/* A connection is in the list of its state, which is sorted by deadline. */
enum client_state {
	CLIENT_RECEIVING, /* also between two requests */
	CLIENT_HELD,
	CLIENT_SENDING,
	CLIENT_STATES,
	CLIENT_CUT = CLIENT_STATES, /* shut down, in no list: libmicrohttpd will close it */
};

/* A connection, and its request: there is but one at a time. */
struct client {
	struct rest_server *server;
	struct engine *engine;
	int fd;			 /* libmicrohttpd's */
	bool local;		 /* through a Unix socket, by somebody who may */
	char user[WHERE_TEXT];	 /* "uid 0", "tcp:192.0.2.1:40000" */
	unsigned long served;	 /* requests that were answered */
	enum client_state state; /* the rest: of the list */
	int64_t deadline;
	struct client *next, *previous;

	/* of the request */
	struct MHD_Connection *connection;
	char *target;	/* NULL: none has begun */
	bool begun;	/* its head is whole */
	bool discard;	/* its body is refused */
	bool ends;	/* the connection does, after its answer */
	size_t drained; /* bytes of that */
	struct buf body;
	int64_t asked; /* when the api was asked first; 0: not yet */
	uint64_t ticket;
	struct rest_wait wait;
	bool expired;
	struct loop_watch *watch; /* while it is held: whether the client goes away */
};

struct client_list {
	struct client *first, *last;
};

/* libmicrohttpd, once for what comes in plain and once for TLS. */
struct engine {
	struct rest_server *server;
	struct MHD_Daemon *mhd; /* NULL: not started */
	struct loop_watch *watch;
	struct loop_timer again;
};

struct listener {
	struct rest_server *server;
	struct listener *next;
	struct where where;
	int fd;
	struct loop_watch *watch;
	bool unlink; /* the socket is ours: this one */
	dev_t device;
	ino_t inode;
};

/* How often one kind of sentence may be logged. */
struct log_limit {
	int64_t since;
	unsigned said, dropped;
};
enum { LOG_MHD = REST_REFUSED_KINDS, LOG_ERROR, LOG_KINDS };

struct rest_server {
	struct rest_server_config config;
	char token[TOKEN_MAX + 1]; /* "": none */
	char form_token[33];
	char *certificate, *key; /* NULL: no TLS */
	struct engine plain, tls;
	struct listener *listeners;
	uint16_t port;
	bool paused; /* out of descriptors: nothing is accepted */
	struct loop_timer unpause;
	struct client *starting; /* its connection is being made */
	struct client_list clients[CLIENT_STATES];
	struct loop_timer deadline;
	struct rest_server_counts counts;
	struct log_limit logs[LOG_KINDS];
	char mhd_said[200]; /* its last words */
	bool starts;	    /* what libmicrohttpd says belongs into the error */
};

/* server.c */
int engine_start(struct engine *engine, struct err *e);
void engine_run(struct engine *engine);
void engine_run_soon(struct engine *engine); /* from anywhere, also from within its callbacks */

/* server_listen.c */
void listener_free(struct listener *listener);
void listeners_pause(struct rest_server *server, bool pause);

/* server_client.c: callbacks of libmicrohttpd, and what goes with them */
void *client_target(void *data, const char *target, struct MHD_Connection *connection);
enum MHD_Result client_request(void *data, struct MHD_Connection *connection, const char *url,
			       const char *method, const char *version, const char *upload,
			       size_t *upload_len, void **context);
void client_completed(void *data, struct MHD_Connection *connection, void **context,
		      enum MHD_RequestTerminationCode how);
void client_connection(void *data, struct MHD_Connection *connection, void **context,
		       enum MHD_ConnectionNotificationCode what);
void client_changed(const struct rest_type *type, uint64_t job, void *data);
void client_wake(struct client *client);

/* server_time.c: who waits until when */
void client_receives(struct client *client);
void client_sends(struct client *client);
void client_waits(struct client *client, int64_t deadline);
void client_leave(struct client *client);

/* server_log.c */
void server_log(struct rest_server *server, int priority, int kind, const char *format, ...)
	__attribute__((format(printf, 4, 5)));
void server_refused(struct rest_server *server, enum rest_refusal kind, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
void server_mhd_says(void *data, const char *format, va_list args)
	__attribute__((format(printf, 2, 0)));
_Noreturn void server_panic(void *data, const char *file, unsigned line, const char *reason);

#endif
