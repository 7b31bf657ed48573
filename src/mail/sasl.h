/* SPDX-License-Identifier: MIT */
/*
 * Logging in: PLAIN, LOGIN, CRAM-MD5, SCRAM-SHA-1, SCRAM-SHA-256 with a password, XOAUTH2 and
 * OAUTHBEARER with a token. Only the arithmetic: the dialogues carry the words.
 */
#ifndef MAIL_SASL_H
#define MAIL_SASL_H

#include <stdbool.h>
#include <stddef.h>

struct buf;
struct err;
struct sasl;

struct sasl_login {
	const char *user;
	const char *secret; /* the password, or the token */
	bool token;
	const char *service; /* "smtp", "imap" */
	const char *host;
	unsigned port;
	const char *mechanism; /* to use no other; NULL: the best one offered */
	bool safe_line;	       /* nobody can listen in: even without TLS the secret may be shown */
};

/* Those that there are, the best one first. */
enum { SASL_NAMES = 7 };
const char *sasl_name(size_t i);

/* All strings of login stay borrowed until sasl_free(). */
int sasl_new(struct sasl **s, const struct sasl_login *login, struct err *e);
void sasl_free(struct sasl *s);

/* Once: picks one of the mechanisms that the server offers, words separated by blanks, and starts
 * it. first: the client speaks first. -ENOTSUP with a sentence where none fits. */
int sasl_start(struct sasl *s, const char *offered, bool encrypted, const char **mechanism,
	       bool *first, struct err *e);

/* For a server whose LOGIN command takes both as they are: what to say there,
 * borrowed as login is; -ENOTSUP with a sentence where that would show them, or can't be. */
int sasl_plain_words(const struct sasl *s, bool encrypted, const char **user, const char **secret,
		     struct err *e);

/* Whether one of these mechanisms could be used, on a safe line at least. */
bool sasl_fits(const struct sasl *s, const char *offered);

/* Whether it is a password, and no other mechanism than LOGIN is wanted. */
bool sasl_takes_login(const struct sasl *s);

/* Answers a challenge; both are base64. The first of a mechanism where the client speaks first
 * has the challenge "". */
int sasl_step(struct sasl *s, const char *challenge, struct buf *answer, struct err *e);

/* 0 where the server has proved that it knows the password, or the mechanism knows no such proof;
 * -EPROTO where a proof is missing. */
int sasl_finish(const struct sasl *s, struct err *e);

#endif
