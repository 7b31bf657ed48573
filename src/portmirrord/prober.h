/* SPDX-License-Identifier: MIT */
/*
 * Watches the appliances of in-line sessions: sends probes through them, looks whether their ports
 * are up, and tells the programs (map "health") when one has failed or is back: by that one update
 * all guarded ports switch at once.
 */
#ifndef PORTMIRRORD_PROBER_H
#define PORTMIRRORD_PROBER_H

#include <stdint.h>

struct err;
struct loop;
struct prober;
struct view;

struct prober_config {
	struct loop *loop;
	const char *house; /* bpf/pin.h */
	/* Something is to be told of a session. view's picture is told already, and wants to be
	 * planned anew. */
	void (*told)(const char *kind, const char *session, const char *sentence, void *data);
	void *data;
};

int prober_new(const struct prober_config *config, struct prober **prober, struct err *e);
void prober_free(struct prober *prober); /* the health of appliances stays as it is */

/* The sessions and devices are (or may be) others than before: begins and ends to watch, and looks
 * at once whether ports are up. Keeps view, until the next call. */
void prober_update(struct prober *prober, struct view *view);

/* Does what is due, for whoever keeps the loop waiting. */
void prober_go_on(struct prober *prober);

/* How many probes were sent through the session's appliance, each way; 0: nobody watches it. */
uint64_t prober_sent(const struct prober *prober, const char *session);

#endif
