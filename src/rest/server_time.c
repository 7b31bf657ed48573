/* SPDX-License-Identifier: MIT */
/*
 * Deadlines: of a request that must be whole, of an answer that must be taken, of a request that is
 * held. libmicrohttpd's own time-out begins again with every byte, so a client that sends one now
 * and then would stay for ever. Thousands of clients have but one timer: in each list, the first
 * is due first.
 */
#include <sys/socket.h>

#include "rest/server_private.h"

static void on_deadline(void *data);

/* Sets the timer for the first of all. A timer that comes too early does no harm, and spares
 * setting it anew with each request. */
static void set_timer(struct rest_server *server)
{
	int64_t first = INT64_MAX, now;

	for (int i = 0; i < CLIENT_STATES; i++)
		if (server->clients[i].first && server->clients[i].first->deadline < first)
			first = server->clients[i].first->deadline;
	if (first == INT64_MAX) {
		loop_timer_clear(server->config.loop, &server->deadline);
	} else if (!server->deadline.set || server->deadline.at > first) {
		now = loop_now();
		loop_timer_set(server->config.loop, &server->deadline,
			       first > now ? first - now : 0, on_deadline, server);
	}
}

void client_leave(struct client *client)
{
	struct client_list *list = &client->server->clients[client->state];

	if (client->state == CLIENT_CUT)
		return;
	if (client->state == CLIENT_HELD)
		client->server->counts.held--;
	if (client->previous)
		client->previous->next = client->next;
	else
		list->first = client->next;
	if (client->next)
		client->next->previous = client->previous;
	else
		list->last = client->previous;
	client->next = client->previous = NULL;
	client->state = CLIENT_CUT;
}

/* Deadlines of a state are mostly as far away as each other: so the place is near the end. */
static void enter(struct client *client, enum client_state state, int64_t deadline)
{
	struct rest_server *server = client->server;
	struct client_list *list = &server->clients[state];
	struct client *before;

	client_leave(client);
	before = list->last;
	while (before && before->deadline > deadline)
		before = before->previous;
	client->state = state;
	client->deadline = deadline;
	client->previous = before;
	client->next = before ? before->next : list->first;
	if (client->next)
		client->next->previous = client;
	else
		list->last = client;
	if (before)
		before->next = client;
	else
		list->first = client;
	if (state == CLIENT_HELD)
		server->counts.held++;
	if (list->first == client)
		set_timer(server);
}

void client_receives(struct client *client)
{
	enter(client, CLIENT_RECEIVING,
	      loop_now() + INT64_C(1000) * client->server->config.header_seconds);
}

void client_sends(struct client *client)
{
	enter(client, CLIENT_SENDING, loop_now() + INT64_C(1000) * SEND_SECONDS);
}

void client_waits(struct client *client, int64_t deadline)
{
	enter(client, CLIENT_HELD, deadline);
}

/* libmicrohttpd sees the end of the connection, and closes it. A connection that only waited for
 * its next request has done nothing wrong. */
static void cut(struct client *client)
{
	struct rest_server *server = client->server;

	if (client->state == CLIENT_SENDING)
		server_refused(server, REST_REFUSED_LIMIT,
			       "%s is cut off: it did not take its answer in %d s", client->user,
			       SEND_SECONDS);
	else if (client->target || !client->served)
		server_refused(server, REST_REFUSED_LIMIT,
			       "%s is cut off: its request was not whole in %u s", client->user,
			       server->config.header_seconds);
	client_leave(client);
	(void)shutdown(client->fd, SHUT_RDWR);
}

static void on_deadline(void *data)
{
	struct rest_server *server = data;
	int64_t now = loop_now();

	for (int i = 0; i < CLIENT_STATES; i++) {
		struct client *client;

		while ((client = server->clients[i].first) && client->deadline <= now) {
			if (i == CLIENT_HELD) {
				client->expired = true;
				client_wake(client);
			} else {
				cut(client);
			}
		}
	}
	set_timer(server);
}
