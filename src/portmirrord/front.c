/* SPDX-License-Identifier: MIT */
#include "portmirrord/front.h"

#include <errno.h>
#include <grp.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "portmirrord/api.h"
#include "portmirrord/metrics.h"
#include "portmirrord/web.h"
#include "rest/access.h"
#include "rest/api.h"
#include "rest/server.h"

#define SOCKET_NAME "/run/portmirror/api.sock"

struct front {
	struct front_config config;
	struct api *api;
	struct rest_server *server;
	struct rest_route routes[5];
};

static int get_page(const char *base, struct buf *out, void *data)
{
	const struct front *front = data;

	return web_write(front->api, base, out);
}

static int get_metrics(const char *base, struct buf *out, void *data)
{
	const struct front *front = data;

	(void)base;
	return metrics_write(front->config.keeper, front->server, out);
}

static int get_documentation(const char *base, struct buf *out, void *data)
{
	const struct front *front = data;

	return rest_document(api_rest(front->api), base, out);
}

/* That it answers is the answer. */
static int get_health(const char *base, struct buf *out, void *data)
{
	(void)base;
	(void)data;
	buf_str(out, "ok\n");
	return buf_status(out);
}

/* A group that isn't there is no reason not to run: then it is root alone. */
static gid_t find_group(const struct front_config *config)
{
	const struct group *group = getgrnam(config->group);
	struct err e = {0};

	if (group)
		return group->gr_gid;
	err_set(&e, -ENOENT,
		"there is no group %s: only root may use the API's Unix sockets (groupadd --system "
		"%s makes it)",
		config->group, config->group);
	config->log(LOG_NOTICE, e.text, config->data);
	return (gid_t)-1;
}

static int start(struct front *front, struct err *e)
{
	const struct front_config *config = &front->config;
	struct api_config api = {config->loop, config->keeper, config->root};
	struct rest_server_config server = {
		.loop = config->loop,
		.routes = front->routes,
		.hosts = config->hosts,
		.group = find_group(config),
		.token_file = config->token_file,
		.certificate = config->certificate,
		.key = config->key,
		.log = config->log,
		.data = config->data,
	};
	int r = api_new(&api, &front->api, e);

	if (r < 0)
		return r;
	server.api = api_rest(front->api);
	return rest_server_new(&server, &front->server, e);
}

static int listen_all(struct front *front, struct err *e)
{
	const struct front_config *config = &front->config;
	struct buf usual cleanup(buf_free) = {0};
	int r = 0;

	for (size_t i = 0; r == 0 && i < config->nlisten; i++)
		r = rest_server_listen(front->server, config->listen[i], e);
	if (config->nlisten > 0)
		return r;
	buf_fmt(&usual, "unix:%s%s", config->root, SOCKET_NAME);
	if (buf_status(&usual) < 0)
		return err_set(e, -ENOMEM, "out of memory");
	return rest_server_listen(front->server, buf_text(&usual), e);
}

static int check_listen(const struct front_config *config, const char *text, struct err *e)
{
	struct where where;
	int r = where_read(text, &where, e);

	if (r == 0 && where.address.any.sa_family != AF_UNIX && !config->token_file)
		r = err_set(e, -EINVAL,
			    "%s: TCP needs --token-file, a secret that clients must send", text);
	if (r == 0 && !where_is_here(&where) && !config->certificate)
		r = err_set(e, -EINVAL,
			    "%s is not a loopback address: that needs --certificate and --key, "
			    "for TLS",
			    text);
	return r;
}

int front_check(const struct front_config *config, struct err *e)
{
	int r = 0;

	if (!config->certificate != !config->key)
		return err_set(e, -EINVAL, "--certificate and --key need each other");
	for (const char *const *host = config->hosts; host && *host; host++) {
		char name[HOST_NAME];

		if (!host_read(*host, name) || strcmp(name, *host) != 0)
			return err_set(e, -EINVAL,
				       "--host %s: the name alone is wanted, as it stands in a URL",
				       *host);
	}
	for (size_t i = 0; i < config->nlisten && r == 0; i++)
		r = check_listen(config, config->listen[i], e);
	return r;
}

int front_new(const struct front_config *config, struct front **front, struct err *e)
{
	struct front *made = calloc(1, sizeof(*made));
	int r;

	if (!made)
		return err_set(e, -ENOMEM, "out of memory");
	*made = (struct front){
		.config = *config,
		.routes =
			{
				{API_HOME, "text/html; charset=utf-8", false, get_page, made},
				{API_DOCUMENTATION, "text/html; charset=utf-8", false,
				 get_documentation, made},
				{"/metrics", METRICS_TYPE, false, get_metrics, made},
				{"/healthz", "text/plain; charset=utf-8", true, get_health, made},
			},
	};
	r = start(made, e);
	if (r == 0)
		r = listen_all(made, e);
	if (r < 0) {
		front_free(made);
		return r;
	}
	*front = made;
	return 0;
}

void front_free(struct front *front)
{
	if (!front)
		return;
	rest_server_free(front->server);
	api_free(front->api);
	free(front);
}

void front_changed(struct front *front, unsigned changes)
{
	if (front)
		api_changed(front->api, changes);
}
