/* SPDX-License-Identifier: MIT */
/* What others see of the daemon: the API and the pages, and where it listens. */
#ifndef PORTMIRRORD_FRONT_H
#define PORTMIRRORD_FRONT_H

#include <stddef.h>

struct err;
struct front;
struct keeper;
struct loop;

struct front_config {
	struct loop *loop;
	struct keeper *keeper;
	const char *root; /* "": the system's own places */
	/* "unix:PATH", "tcp:ADDRESS:PORT"; none: ROOT/run/portmirror/api.sock */
	const char *const *listen;
	size_t nlisten;
	const char *const *hosts;      /* names that clients call it by, over TCP; ends with NULL */
	const char *group;	       /* who may use Unix sockets beside root */
	const char *token_file;	       /* NULL: no TCP */
	const char *certificate, *key; /* NULL: no TLS */
	void (*log)(int priority, const char *sentence, void *data);
	void *data;
};

/* Whether what it says can be: a sentence about the option that it can't be with. */
int front_check(const struct front_config *config, struct err *e);

int front_new(const struct front_config *config, struct front **front, struct err *e);
void front_free(struct front *front);

/* For the keeper's changed(). */
void front_changed(struct front *front, unsigned changes);

#endif
