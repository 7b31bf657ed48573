/* SPDX-License-Identifier: MIT */
/* A request, from libmicrohttpd's callbacks to its answer. Whether it may come in: server_check.c.
 */
#include <string.h>
#include <sys/epoll.h>
#include <syslog.h>

#include "base/mem.h"
#include "rest/represent.h"
#include "rest/server_check.h"
#include "rest/server_private.h"
#include "rest/work.h"

/* The first that libmicrohttpd tells of a request, before it decodes the target. */
void *client_target(void *data, const char *target, struct MHD_Connection *connection)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
	struct client *client = info->socket_context;

	(void)data;
	client->connection = connection;
	client->target = strdup(target ? target : "");
	return client->target ? client : NULL;
}

/* Of a request that it has no memory to refuse libmicrohttpd 0.9.75 does not tell the end. */
static void client_free(struct client *client)
{
	buf_free(&client->body);
	free(client->target);
	free(client);
}

/* The connection begins or ends. */
void client_connection(void *data, struct MHD_Connection *connection, void **context,
		       enum MHD_ConnectionNotificationCode what)
{
	struct rest_server *server = data;
	struct client *client;

	(void)connection;
	if (what == MHD_CONNECTION_NOTIFY_STARTED) {
		client = *context = take(server->starting);
		server->counts.connections++;
		client_receives(client);
		return;
	}
	client = *context;
	client_leave(client);
	client_free(client);
	server->counts.connections--;
	if (server->paused)
		listeners_pause(server, false);
}

void client_completed(void *data, struct MHD_Connection *connection, void **context,
		      enum MHD_RequestTerminationCode how)
{
	struct client *client = *context;

	(void)data;
	(void)connection;
	(void)how;
	if (!client)
		return;
	buf_free(&client->body);
	free(take(client->target));
	client->connection = NULL;
	client->begun = client->discard = client->expired = client->ends = false;
	client->drained = 0;
	client->asked = 0;
	client->ticket = 0;
	client->served++;
	if (client->state != CLIENT_CUT)
		client_receives(client);
}

/* What is sent with every answer. */
static const struct {
	const char *name, *value;
	bool page; /* only with HTML */
} fixed_headers[] = {
	{"X-Content-Type-Options", "nosniff", false},
	{"Cache-Control", "no-store", false},
	/* Not no-referrer: a browser would send "Origin: null" with our own forms too. */
	{"Referrer-Policy", "same-origin", true},
	{"Content-Security-Policy", rest_html_policy, true},
};

static bool add_header(struct MHD_Response *out, const char *name, const char *value)
{
	return value && MHD_add_response_header(out, name, value) == MHD_YES;
}

static bool add_headers(struct MHD_Response *out, const struct rest_response *response)
{
	const char *type = response->content_type;
	bool page = type && strncmp(type, "text/html", 9) == 0;

	if (type && !add_header(out, "Content-Type", type))
		return false;
	for (size_t i = 0; i < response->nheaders; i++)
		if (!add_header(out, response->headers[i].name, response->headers[i].value))
			return false;
	for (size_t i = 0; i < COUNT(fixed_headers); i++)
		if ((page || !fixed_headers[i].page) &&
		    !add_header(out, fixed_headers[i].name, fixed_headers[i].value))
			return false;
	return response->status != 401 ||
	       (add_header(out, "WWW-Authenticate", "Bearer realm=\"api\"") &&
		add_header(out, "WWW-Authenticate", "Basic realm=\"api\", charset=\"UTF-8\""));
}

/* Hands the answer over to libmicrohttpd; MHD_NO closes the connection. */
static enum MHD_Result send_answer(struct client *client, struct rest_response *response)
{
	struct rest_server *server = client->server;
	unsigned status = response->status;
	size_t len = response->body.len;
	struct MHD_Response *out =
		MHD_create_response_from_buffer(len, response->body.data, MHD_RESPMEM_MUST_FREE);
	enum MHD_Result r;

	if (!out)
		return MHD_NO; /* the body is still ours */
	response->body = (struct buf){0};
	r = MHD_NO;
	if (add_headers(out, response) && (!client->ends || add_header(out, "Connection", "close")))
		r = MHD_queue_response(client->connection, status, out);
	MHD_destroy_response(out);
	if (r == MHD_YES && status / 100 < COUNT(server->counts.answers))
		server->counts.answers[status / 100]++;
	client_sends(client);
	return r;
}

static enum MHD_Result send_fault(struct client *client, const struct rest_request *request,
				  const struct rest_fault *fault, struct rest_response *response)
{
	rest_answer_fault(client->server->config.api, request, fault, response);
	return send_answer(client, response);
}

/* An answer outside the api. */
static enum MHD_Result answer_route(struct client *client, const struct rest_route *route,
				    const struct rest_request *request,
				    struct rest_response *response)
{
	struct rest_fault fault;

	if (strcmp(request->method, "GET") != 0 && strcmp(request->method, "HEAD") != 0) {
		bool known = method_of(request->method) != 0;

		(void)rest_refuse(&fault, known ? 405 : 501,
				  known ? "method-not-allowed" : "unknown-method", NULL,
				  "%s takes GET and HEAD only", route->path);
		rest_answer_fault(client->server->config.api, request, &fault, response);
		if (response->nheaders < REST_HEADERS_MAX)
			response->headers[response->nheaders++] =
				(struct rest_header){"Allow", strdup("GET, HEAD")};
		return send_answer(client, response);
	}
	if (route->get(request->base, &response->body, route->data) < 0 ||
	    buf_status(&response->body) < 0) {
		buf_free(&response->body);
		(void)rest_refuse(&fault, 500, "internal", NULL, "%s could not be made",
				  route->path);
		server_log(client->server, LOG_ERR, LOG_ERROR, "%s could not be made", route->path);
		return send_fault(client, request, &fault, response);
	}
	response->status = 200;
	response->content_type = route->content_type;
	return send_answer(client, response);
}

/* The client went away, or says that it will send no more: it gets its answer now, as far as it
 * still takes it. */
static void on_gone(uint32_t events, void *data)
{
	struct client *client = data;

	(void)events;
	client->expired = true;
	client_wake(client);
}

/* No more than this share of the connections may be held: others must get through. */
static bool may_hold(const struct rest_server *server)
{
	return server->counts.held < server->config.connections - server->config.connections / 4;
}

/* Libmicrohttpd takes its hands off the connection until client_wake(). */
static enum MHD_Result hold(struct client *client, const struct rest_request *request,
			    struct rest_response *response)
{
	struct rest_server *server = client->server;
	struct rest_fault fault;

	if (!may_hold(server) || loop_watch(server->config.loop, client->fd, EPOLLRDHUP, on_gone,
					    client, &client->watch, NULL) < 0) {
		server_refused(server, REST_REFUSED_LIMIT,
			       "%s may not wait: %llu requests wait already", client->user,
			       (unsigned long long)server->counts.held);
		(void)rest_refuse(&fault, 503, "too-many-waiting", NULL,
				  "too many requests wait already: ask again later");
		return send_fault(client, request, &fault, response);
	}
	MHD_suspend_connection(client->connection);
	client_waits(client, client->asked + client->wait.milliseconds);
	return MHD_YES;
}

void client_wake(struct client *client)
{
	loop_unwatch(client->server->config.loop, take(client->watch));
	client_sends(client);
	MHD_resume_connection(client->connection);
	engine_run_soon(client->engine); /* it doesn't tell that it has something to do */
}

void client_changed(const struct rest_type *type, uint64_t job, void *data)
{
	struct rest_server *server = data;
	struct client *client, *next;

	for (client = server->clients[CLIENT_HELD].first; client; client = next) {
		next = client->next;
		if (client->wait.type == type && (type || client->wait.job == job))
			client_wake(client);
	}
}

/* The api's answer, or no answer yet. */
static enum MHD_Result ask(struct client *client, struct rest_request *request,
			   struct rest_response *response)
{
	if (!client->asked)
		client->asked = loop_now();
	request->expired = client->expired;
	if (rest_answer(client->server->config.api, request, response, &client->wait) == REST_HOLD)
		return hold(client, request, response);
	check_form_refusal(client, request, response);
	return send_answer(client, response);
}

static enum MHD_Result answer(struct client *client, const char *method, const char *version)
{
	struct rest_response response cleanup(rest_response_free) = {0};
	struct check check cleanup(check_free) = {0};
	const struct rest_route *route;

	check_request(client, method, version, &check);
	if (check.refused) {
		check_log(client, &check);
		client->ends = check.kind == REST_REFUSED_HTTP; /* where does the next begin? */
		return send_fault(client, &check.request, &check.fault, &response);
	}
	route = check.route;
	return route ? answer_route(client, route, &check.request, &response)
		     : ask(client, &check.request, &response);
}

/* A body that is refused is read to its end, so that the client comes to read the answer; but for a
 * large one, one that the client hasn't sent yet, and one whose end can't be told. */
static bool is_drained(const struct check *check)
{
	return check->body_len <= DRAIN_MAX && !check->asks_first &&
	       check->kind != REST_REFUSED_HTTP;
}

/* The head is whole. */
static enum MHD_Result begin(struct client *client, const char *method, const char *version)
{
	struct check check cleanup(check_free) = {0};

	client->begun = true;
	client->server->counts.requests++;
	if (!check_has_body(client->connection))
		return MHD_YES;
	check_request(client, method, version, &check);
	client->discard = check.refused;
	return !check.refused || is_drained(&check) ? MHD_YES : answer(client, method, version);
}

static enum MHD_Result take_body(struct client *client, const char *upload, size_t *upload_len)
{
	size_t len = *upload_len;

	*upload_len = 0;
	if (!client->discard && len > REST_BODY_MAX - client->body.len) {
		client->discard = true; /* chunked, and longer than it may be */
		client->drained = client->body.len;
		buf_free(&client->body);
	}
	if (client->discard) {
		client->drained += len;
		return client->drained <= DRAIN_MAX ? MHD_YES : MHD_NO;
	}
	buf_add(&client->body, upload, len);
	return buf_status(&client->body) == 0 ? MHD_YES : MHD_NO;
}

enum MHD_Result client_request(void *data, struct MHD_Connection *connection, const char *url,
			       const char *method, const char *version, const char *upload,
			       size_t *upload_len, void **context)
{
	struct client *client = *context;

	(void)data;
	(void)connection;
	(void)url;
	if (!client) /* no memory for its target */
		return MHD_NO;
	if (!client->begun)
		return begin(client, method, version);
	if (*upload_len > 0)
		return take_body(client, upload, upload_len);
	return answer(client, method, version);
}
