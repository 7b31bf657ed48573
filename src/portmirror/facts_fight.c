/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/err.h"
#include "base/mem.h"
#include "portmirror/events.h"
#include "portmirror/facts.h"

/* Longer than the daemon's longest pause: as long as the fight goes on there is a later event. */
#define RECENT_MS 600000

static void events_close_at(struct events **events)
{
	events_close(*events);
}

static bool known(const struct facts *facts, const char *port, size_t len)
{
	for (size_t i = 0; i < facts->nfights; i++)
		if (strncmp(facts->fights[i].port, port, len) == 0 &&
		    facts->fights[i].port[len] == '\0')
			return true;
	return false;
}

/* The sentence begins with the device. */
static int add(struct facts *facts, const struct event *event)
{
	size_t len = strcspn(event->text, ":");
	struct fact_fight fight = {0};

	if (known(facts, event->text, len))
		return 0;
	if (array_room(&facts->fights, &facts->fights_room, facts->nfights,
		       sizeof(*facts->fights)) < 0)
		return -ENOMEM;
	fight.session = strdup(event->session);
	fight.port = strndup(event->text, len);
	facts->fights[facts->nfights++] = fight;
	return fight.session && fight.port ? 0 : -ENOMEM;
}

int facts_gather_fights(const char *root, struct facts *facts, struct err *e)
{
	struct events *events cleanup(events_close_at) = NULL;
	char *path cleanup(free_at) = string_fmt("%s/run/portmirror/events", root);
	int64_t since = ((int64_t)time(NULL)) * 1000 - RECENT_MS;
	int r;

	if (!path)
		return err_set(e, -ENOMEM, "out of memory");
	r = events_open(path, &events, e);
	for (size_t i = 0; r == 0 && i < events_count(events); i++) {
		const struct event *event = events_nth(events, i);

		if (strcmp(event->kind, "fight") == 0 && event->time > since &&
		    add(facts, event) < 0)
			r = err_set(e, -ENOMEM, "out of memory");
	}
	return r;
}
