/* SPDX-License-Identifier: MIT */
#include "mail/sasl.h"

#include <errno.h>
#include <gsasl.h>
#include <string.h>
#include <strings.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"

enum kind { BY_LIBRARY, BY_XOAUTH2, BY_BEARER };

struct mechanism {
	const char *name;
	enum kind kind;
	bool token;
	bool first; /* the client speaks first */
	bool shows; /* the secret can be read off the line */
	bool proof; /* the server proves itself at the end */
};

/* The best one first. */
static const struct mechanism known[] = {
	{"SCRAM-SHA-256", BY_LIBRARY, false, true, false, true},
	{"SCRAM-SHA-1", BY_LIBRARY, false, true, false, true},
	{"PLAIN", BY_LIBRARY, false, true, true, false},
	{"LOGIN", BY_LIBRARY, false, false, true, false},
	{"CRAM-MD5", BY_LIBRARY, false, false, false, false},
	{"OAUTHBEARER", BY_BEARER, true, true, true, false},
	{"XOAUTH2", BY_XOAUTH2, true, true, true, false},
};

_Static_assert(COUNT(known) == SASL_NAMES, "sasl_name() has them all");

struct sasl {
	struct sasl_login login;
	const struct mechanism *mechanism;
	Gsasl *library;
	Gsasl_session *session;
	bool complete;
	bool spoken;
};

const char *sasl_name(size_t i)
{
	return known[i].name;
}

int sasl_new(struct sasl **s, const struct sasl_login *login, struct err *e)
{
	struct sasl *new = calloc(1, sizeof(*new));

	if (!new || gsasl_init(&new->library) != GSASL_OK) {
		free(new);
		return err_set(e, -ENOMEM, "out of memory");
	}
	new->login = *login;
	*s = new;
	return 0;
}

void sasl_free(struct sasl *s)
{
	if (!s)
		return;
	if (s->session)
		gsasl_finish(s->session);
	gsasl_done(s->library);
	free(s);
}

static bool offers(const char *offered, const char *name)
{
	size_t len = strlen(name);

	for (const char *at = offered; (at = strcasestr(at, name)) != NULL; at += len)
		if ((at == offered || at[-1] == ' ') && (at[len] == ' ' || at[len] == 0))
			return true;
	return false;
}

static const struct mechanism *choose(const struct sasl_login *login, const char *offered,
				      bool encrypted, bool *hidden)
{
	for (size_t i = 0; i < COUNT(known); i++) {
		const struct mechanism *m = &known[i];

		if (m->token != login->token || !offers(offered, m->name))
			continue;
		if (login->mechanism && strcasecmp(login->mechanism, m->name) != 0)
			continue;
		if (!m->shows || login->safe_line || encrypted)
			return m;
		*hidden = true;
	}
	return NULL;
}

bool sasl_fits(const struct sasl *s, const char *offered)
{
	bool hidden = false;

	return choose(&s->login, offered, false, &hidden) || hidden;
}

static int start_library(struct sasl *s, struct err *e)
{
	const struct sasl_login *l = &s->login;
	int r = gsasl_client_start(s->library, s->mechanism->name, &s->session);

	if (r == GSASL_OK)
		r = gsasl_property_set(s->session, GSASL_AUTHID, l->user);
	if (r == GSASL_OK)
		r = gsasl_property_set(s->session, GSASL_PASSWORD, l->secret);
	if (r == GSASL_OK)
		r = gsasl_property_set(s->session, GSASL_SERVICE, l->service);
	if (r == GSASL_OK)
		r = gsasl_property_set(s->session, GSASL_HOSTNAME, l->host);
	if (r != GSASL_OK)
		return err_set(e, -ENOTSUP, "cannot log in with %s: %s", s->mechanism->name,
			       gsasl_strerror(r));
	return 0;
}

static int would_show(const struct sasl *s, struct err *e)
{
	return err_set(e, -ENOTSUP,
		       "the server offers only logins that would show the %s to anybody on the "
		       "way, as the connection is not encrypted",
		       s->login.token ? "token" : "password");
}

int sasl_start(struct sasl *s, const char *offered, bool encrypted, const char **mechanism,
	       bool *first, struct err *e)
{
	bool hidden = false;
	const struct mechanism *m = choose(&s->login, offered, encrypted, &hidden);

	if (!m && hidden)
		return would_show(s, e);
	if (!m)
		return err_set(e, -ENOTSUP,
			       "the server offers no login that would fit (it has: %s)",
			       *offered ? offered : "none");
	s->mechanism = m;
	if (m->kind == BY_LIBRARY) {
		int r = start_library(s, e);

		if (r < 0)
			return r;
	}
	*mechanism = m->name;
	*first = m->first;
	return 0;
}

/* RFC 7628 for OAUTHBEARER; XOAUTH2 as Google and Microsoft describe it. */
static int say_token(struct sasl *s, struct buf *answer)
{
	const struct sasl_login *l = &s->login;
	struct buf words cleanup(buf_free) = {0};
	char *text;
	size_t len;

	if (s->spoken) { /* the server explains a refusal: an empty word makes it say the code */
		if (s->mechanism->kind == BY_BEARER)
			buf_str(&words, "\1");
	} else if (s->mechanism->kind == BY_BEARER) {
		buf_fmt(&words, "n,a=%s,\1host=%s\1port=%u\1auth=Bearer %s\1\1", l->user, l->host,
			l->port, l->secret);
	} else {
		buf_fmt(&words, "user=%s\1auth=Bearer %s\1\1", l->user, l->secret);
	}
	s->spoken = true;
	if (buf_status(&words) < 0 ||
	    gsasl_base64_to(buf_text(&words), words.len, &text, &len) != GSASL_OK)
		return -ENOMEM;
	buf_add(answer, text, len);
	gsasl_free(text);
	return buf_status(answer);
}

static int say_by_library(struct sasl *s, const char *challenge, struct buf *answer, struct err *e)
{
	char *text = NULL;
	int r;

	if (s->complete && !*challenge)
		return 0;
	r = gsasl_step64(s->session, challenge, &text);
	if (r != GSASL_OK && r != GSASL_NEEDS_MORE)
		return err_set(e, -EPROTO, "the login by %s failed: %s", s->mechanism->name,
			       gsasl_strerror(r));
	s->complete = r == GSASL_OK;
	buf_str(answer, text);
	gsasl_free(text);
	return buf_status(answer);
}

int sasl_step(struct sasl *s, const char *challenge, struct buf *answer, struct err *e)
{
	int r = s->mechanism->kind == BY_LIBRARY ? say_by_library(s, challenge, answer, e)
						 : say_token(s, answer);

	return r == -ENOMEM ? err_set(e, r, "out of memory") : r;
}

bool sasl_takes_login(const struct sasl *s)
{
	const struct sasl_login *l = &s->login;

	return !l->token && (!l->mechanism || strcasecmp(l->mechanism, "LOGIN") == 0);
}

int sasl_plain_words(const struct sasl *s, bool encrypted, const char **user, const char **secret,
		     struct err *e)
{
	const struct sasl_login *l = &s->login;

	if (!sasl_takes_login(s))
		return err_set(e, -ENOTSUP,
			       "the server knows only logins by name and password, without a "
			       "mechanism");
	if (!encrypted && !l->safe_line)
		return would_show(s, e);
	*user = l->user;
	*secret = l->secret;
	return 0;
}

int sasl_finish(const struct sasl *s, struct err *e)
{
	if (s->mechanism && s->mechanism->proof && !s->complete)
		return err_set(e, -EPROTO, "the server did not prove that it knows the password");
	return 0;
}
