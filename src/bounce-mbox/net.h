/* SPDX-License-Identifier: MIT */
/* A connection to a server: a socket that never blocks, with TLS where it is asked for. */
#ifndef BOUNCE_MBOX_NET_H
#define BOUNCE_MBOX_NET_H

#include <stdbool.h>
#include <sys/types.h>

struct err;
struct net;
struct target;

struct net_setup {
	const struct target *target;
	const char *ca_file; /* PEM, instead of the system's; may be NULL */
	int seconds;	     /* for connecting and for the handshake, each */
	int stop_fd;	     /* readable: give up (-EINTR) */
};

/* Connects, and does the handshake where the target is encrypted. */
int net_open(struct net **n, const struct net_setup *setup, struct err *e);
void net_close(struct net *n);

/* The TLS handshake: TLS 1.2 or newer, the certificate and its name are verified. */
int net_encrypt(struct net *n, struct err *e);

/* How many bytes; 0: the server closed the connection; -EAGAIN: none just now. */
ssize_t net_read(struct net *n, char *bytes, size_t len, struct err *e);
ssize_t net_write(struct net *n, const char *bytes, size_t len, struct err *e);

int net_fd(const struct net *n);
/* True where nobody else can listen: this machine itself. */
bool net_is_local(const struct net *n);
/* RFC 5321 4.1.3: this end's address as a name; "" where it has none. */
void net_literal(const struct net *n, char text[64]);
/* What to poll for; out: there is something to send. */
short net_events(const struct net *n, bool out);

#endif
