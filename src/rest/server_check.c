/* SPDX-License-Identifier: MIT */
#include "rest/server_check.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "rest/server_private.h"

static const char *const names[HEADERS] = {
	[HEADER_HOST] = "Host",
	[HEADER_ORIGIN] = "Origin",
	[HEADER_AUTHORIZATION] = "Authorization",
	[HEADER_CONTENT_LENGTH] = "Content-Length",
	[HEADER_TRANSFER_ENCODING] = "Transfer-Encoding",
	[HEADER_CONTENT_TYPE] = "Content-Type",
	[HEADER_RANGE] = "Range",
	[HEADER_IF_RANGE] = "If-Range",
	[HEADER_ACCEPT] = "Accept",
	[HEADER_EXPECT] = "Expect",
	[HEADER_IF_MATCH] = "If-Match",
	[HEADER_IF_NONE_MATCH] = "If-None-Match",
};

/* Appends a further value of a list. Out of memory: the first value stays alone. */
static void join(struct check *check, enum header h, const char *value)
{
	char *joined;

	if (asprintf(&joined, "%s, %s", check->headers[h], value) < 0)
		return;
	free(check->joined[h]);
	check->headers[h] = check->joined[h] = joined;
}

/* RFC 9112, 2.2, 5.1, 5.2: libmicrohttpd 0.9.75 takes a blank before the colon, a CR alone, and a
 * value of several lines, of which it appends the second to the name: "Transfer-Encodin: chunked"
 * can become what nobody in front of us has seen. Such a name then stands behind its value. */
static bool is_clear(const char *name, const char *value)
{
	static const char token[] = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz"
				    "ABCDEFGHIJKLMNOPQRSTUVWXYZ";

	return name[strspn(name, token)] == '\0' &&
	       (!value || ((uintptr_t)value > (uintptr_t)name && !strchr(value, '\r')));
}

static enum MHD_Result on_header(void *data, enum MHD_ValueKind kind, const char *name,
				 const char *value)
{
	struct check *check = data;

	(void)kind;
	check->unclear |= !is_clear(name, value);
	for (enum header h = 0; h < HEADERS; h++) {
		if (strcasecmp(name, names[h]) != 0)
			continue;
		if (!check->headers[h])
			check->headers[h] = value ? value : "";
		else if (h >= HEADER_ACCEPT)
			join(check, h, value ? value : "");
		else
			check->twice = h;
	}
	return MHD_YES;
}

/* Fills in what a refusal is. Returns false: the request isn't let in. */
#define refuse(check, what, ...)                                                                   \
	((check)->refused = true, (check)->kind = (what),                                          \
	 (void)rest_refuse(&(check)->fault, __VA_ARGS__), false)

/* A Content-Length in digits; a larger one than fits is as large as can be. */
static bool read_length(const char *text, unsigned long long *len)
{
	size_t digits = strspn(text, "0123456789");

	*len = strtoull(text, NULL, 10);
	return digits > 0 && text[digits] == '\0';
}

/* What libmicrohttpd and others might understand differently isn't understood at all. */
static bool check_body(const struct client *client, struct check *check)
{
	const char *length = check->headers[HEADER_CONTENT_LENGTH];
	const char *encoding = check->headers[HEADER_TRANSFER_ENCODING];

	if (encoding && strcasecmp(encoding, "chunked") != 0)
		return refuse(check, REST_REFUSED_HTTP, 501, "transfer-encoding", NULL,
			      "a body may be sent whole or chunked only");
	if (length && (encoding || !read_length(length, &check->body_len)))
		return refuse(check, REST_REFUSED_HTTP, 400, "content-length", NULL,
			      "Content-Length must be a number, and isn't sent with "
			      "Transfer-Encoding");
	if (check->body_len > REST_BODY_MAX || client->drained + client->body.len > REST_BODY_MAX)
		return refuse(check, REST_REFUSED_LIMIT, 413, "body-too-large", NULL,
			      "a body has at most %d bytes", REST_BODY_MAX);
	return true;
}

static bool check_head(const struct client *client, struct check *check)
{
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(
		client->connection, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);

	if (info && info->header_size > HEAD_MAX)
		return refuse(check, REST_REFUSED_LIMIT, 431, "headers-too-large", NULL,
			      "the request line and the headers have at most %d bytes", HEAD_MAX);
	if (check->unclear)
		return refuse(check, REST_REFUSED_HTTP, 400, "bad-header", NULL,
			      "a header is NAME: VALUE in one line, with no blank in the name");
	if (check->twice != HEADERS)
		return refuse(check, REST_REFUSED_HTTP, 400, "header-twice", NULL,
			      "there may be only one %s header", names[check->twice]);
	return true;
}

/* RFC 9112, 3.2.2: a target may be a whole URL, whose authority is the host then. */
static bool check_target(const struct client *client, struct check *check)
{
	const char *target = client->target, *scheme = strstr(target, "://"), *path;
	size_t len;

	check->request.target = target;
	if (target[0] == '/' || !scheme)
		return true;
	path = scheme + 3 + strcspn(scheme + 3, "/?");
	len = (size_t)(path - (scheme + 3));
	if (!check->headers[HEADER_HOST] || strlen(check->headers[HEADER_HOST]) != len ||
	    strncasecmp(check->headers[HEADER_HOST], scheme + 3, len) != 0)
		return refuse(check, REST_REFUSED_HOST, 400, "bad-host", NULL,
			      "the host of the URL is another one than in the Host header");
	check->request.target = *path ? path : "/";
	return true;
}

/* A browser can be made to believe that any name is this machine's (DNS rebinding); only those are
 * taken that we know. It reaches a Unix socket as well, through ssh -L, socat or nginx, and needs
 * no token there. But what is no browser calls that anything ("http://x/api"), and a name without a
 * dot is in nobody's domain. */
static bool known_host(const struct client *client, const char *name)
{
	const char *const *hosts = client->server->config.hosts;
	struct sockaddr_storage ours = {0};
	socklen_t len = sizeof(ours);

	if (host_is_loopback(name) || (client->local && !strpbrk(name, ".:")))
		return true;
	for (; hosts && *hosts; hosts++)
		if (strcasecmp(*hosts, name) == 0)
			return true;
	return getsockname(client->fd, (struct sockaddr *)&ours, &len) == 0 &&
	       host_is_address(name, (const struct sockaddr *)&ours);
}

/* RFC 9112, 3.2: whoever has no host to call sends an empty one, or by HTTP/1.0 none. */
static bool calls_no_host(const char *host, const char *version)
{
	return host ? *host == '\0' : strcmp(version, "HTTP/1.0") == 0;
}

static bool check_host(const struct client *client, const char *version, struct check *check)
{
	const char *host = check->headers[HEADER_HOST];

	if (client->local && calls_no_host(host, version))
		host = "localhost";
	if (!host || !host_read(host, check->host))
		return refuse(check, REST_REFUSED_HOST, 400, "bad-host", NULL,
			      "a Host header is needed, with a name or an address");
	if (!known_host(client, check->host))
		return refuse(check, REST_REFUSED_HOST, 421, "unknown-host", NULL,
			      "'%s' is not known as a name of this server: use its address, "
			      "or have the name configured there",
			      check->host);
	(void)snprintf(check->base, sizeof(check->base), "%s://%s",
		       client->engine == &client->server->tls ? "https" : "http", host);
	return true;
}

static bool is_safe(const char *method)
{
	return strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0 ||
	       strcmp(method, "OPTIONS") == 0;
}

/* A browser tells where a page comes from that wants to change something; "null" is a page that
 * hides it. Other programs send no Origin. */
static bool check_origin(struct check *check)
{
	const char *origin = check->headers[HEADER_ORIGIN];

	if (!origin || is_safe(check->request.method) || strcasecmp(origin, check->base) == 0)
		return true;
	return refuse(check, REST_REFUSED_HOST, 403, "foreign-origin", NULL,
		      "a page of another site may change nothing here");
}

static bool check_token(const struct client *client, struct check *check)
{
	const char *authorization = check->headers[HEADER_AUTHORIZATION];
	char token[TOKEN_MAX + 1];
	bool right;

	if (client->local || (check->route && check->route->open))
		return true;
	if (!authorization || !token_of(authorization, token))
		return refuse(check, REST_REFUSED_TOKEN, 401, "token-needed", NULL,
			      "a token is needed: send Authorization: Bearer TOKEN, or the token "
			      "as the password");
	right = token_equal(token, client->server->token);
	explicit_bzero(token, sizeof(token));
	return right ? true
		     : refuse(check, REST_REFUSED_TOKEN, 401, "token-wrong", NULL,
			      "this is not the token");
}

static const struct rest_route *find_route(const struct rest_server *server, const char *target)
{
	const struct rest_route *route = server->config.routes;
	size_t len = strcspn(target, "?");

	for (; route && route->path; route++)
		if (strlen(route->path) == len && memcmp(route->path, target, len) == 0)
			return route;
	return NULL;
}

void check_request(struct client *client, const char *method, const char *version,
		   struct check *check)
{
	*check = (struct check){.twice = HEADERS};
	(void)MHD_get_connection_values(client->connection, MHD_HEADER_KIND, on_header, check);
	check->asks_first = check->headers[HEADER_EXPECT] &&
			    strcasecmp(check->headers[HEADER_EXPECT], "100-continue") == 0;
	(void)strcpy(check->base, "http://localhost"); /* until the host is known */
	check->request = (struct rest_request){
		.method = method,
		.target = client->target,
		.base = check->base,
		.user = client->user,
		.accept = check->headers[HEADER_ACCEPT],
		.content_type = check->headers[HEADER_CONTENT_TYPE],
		.expect = check->headers[HEADER_EXPECT],
		.range = check->headers[HEADER_RANGE],
		.if_range = check->headers[HEADER_IF_RANGE],
		.if_match = check->headers[HEADER_IF_MATCH],
		.if_none_match = check->headers[HEADER_IF_NONE_MATCH],
		.form_token = client->server->form_token,
		.body = buf_text(&client->body),
		.len = client->body.len,
		.ticket = &client->ticket,
	};
	if (!check_head(client, check) || !check_target(client, check) ||
	    !check_host(client, version, check))
		return;
	check->route = find_route(client->server, check->request.target);
	(void)(check_token(client, check) && check_origin(check) && check_body(client, check));
}

void check_free(struct check *check)
{
	for (int h = 0; h < HEADERS; h++)
		free(check->joined[h]);
}

bool check_has_body(struct MHD_Connection *connection)
{
	const char *length =
		MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Content-Length");

	return (length && strcmp(length, "0") != 0) ||
	       MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Transfer-Encoding");
}

void check_log(struct client *client, const struct check *check)
{
	server_refused(client->server, check->kind, "%s is refused (%u %s): %s", client->user,
		       check->fault.status, check->fault.code, check->fault.why.text);
}

void check_form_refusal(struct client *client, const struct rest_request *request,
			const struct rest_response *response)
{
	static const char form[] = "application/x-www-form-urlencoded";

	if (response->status == 403 && request->content_type &&
	    strncasecmp(request->content_type, form, sizeof(form) - 1) == 0 &&
	    !memmem(request->body, request->len, request->form_token, strlen(request->form_token)))
		server_refused(client->server, REST_REFUSED_FORM,
			       "%s is refused (403): a form without its anti-forgery token",
			       client->user);
}
