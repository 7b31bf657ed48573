/* SPDX-License-Identifier: MIT */
/* Who may call: what the server reads in headers, and where it listens. Pure. */
#ifndef REST_ACCESS_H
#define REST_ACCESS_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>

struct err;

/* "unix:PATH", "tcp:ADDRESS:PORT", "tcp:[ADDRESS]:PORT". */
struct where {
	socklen_t len;
	union {
		struct sockaddr any;
		struct sockaddr_un local;
		struct sockaddr_in ipv4;
		struct sockaddr_in6 ipv6;
	} address;
};
int where_read(const char *text, struct where *where, struct err *e);
/* Whether only this machine can reach it: a Unix socket, or a loopback address. */
bool where_is_here(const struct where *where);
/* "unix:/run/x.sock", "tcp:[::1]:80"; into text, which it returns. */
#define WHERE_TEXT 128
const char *where_text(const struct where *where, char text[WHERE_TEXT]);

/*
 * A Host header (RFC 9110, 7.2): a name, an IPv4 address or an IPv6 address in brackets, then a
 * port or none. name gets it without port and brackets. False where it is none of that.
 */
#define HOST_NAME 256
bool host_read(const char *host, char name[HOST_NAME]);
/* Whether a name is one that only this machine answers to: localhost, 127.0.0.0/8, ::1. */
bool host_is_loopback(const char *name);
/* Whether a name is this address in digits. */
bool host_is_address(const char *name, const struct sockaddr *address);

/*
 * The token that an Authorization header brings: as a bearer's, or as the password of Basic, which
 * a browser can ask for. False where there is none.
 */
#define TOKEN_MIN 16
#define TOKEN_MAX 255
bool token_of(const char *authorization, char token[TOKEN_MAX + 1]);
/* Takes the same time wherever they differ. Both are NUL-padded to their end. */
bool token_equal(const char a[TOKEN_MAX + 1], const char b[TOKEN_MAX + 1]);
/* A token file's content: one line of printable characters without a blank. */
int token_read(const char *text, char token[TOKEN_MAX + 1], struct err *e);

#endif
