/* SPDX-License-Identifier: MIT */
/* NetworkManager's part of the facts; for facts.c and tests. */
#ifndef PORTMIRROR_FACTS_NM_H
#define PORTMIRROR_FACTS_NM_H

#include <stdbool.h>

struct err;
struct facts;
struct host;

/* Fills in the connections of facts->devices. Files that can't be read say nothing. */
int facts_gather_nm(const struct host *host, const char *root, struct facts *facts, struct err *e);

/*
 * What a connection file says (a keyfile, see nm-settings-keyfile(5)). Pure. False: it has no tc
 * setting. Texts are cut to what fits; "" where it doesn't say.
 */
struct nm_connection {
	char id[64], uuid[40], interface[16];
};
bool nm_connection_read(const char *text, struct nm_connection *connection);

#endif
