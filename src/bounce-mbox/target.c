/* SPDX-License-Identifier: MIT */
#include "bounce-mbox/target.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"

static const struct scheme {
	char prefix[10];
	enum target_kind kind;
	bool encrypted;
	char port[8];
} schemes[] = {
	{"smtp://", TARGET_SMTP, false, "25"},	{"smtps://", TARGET_SMTP, true, "465"},
	{"lmtp://", TARGET_LMTP, false, "24"},	{"imap://", TARGET_IMAP, false, "143"},
	{"imaps://", TARGET_IMAP, true, "993"},
};

static int copy(char *to, size_t room, const char *from, size_t len, const char *what,
		struct err *e)
{
	if (len >= room)
		return err_set(e, -EINVAL, "the %s of the server is too long", what);
	memcpy(to, from, len);
	to[len] = 0;
	return 0;
}

static int set_port(struct target *t, const char *port, struct err *e)
{
	char *end;
	long n = strtol(port, &end, 10);

	if (*port < '0' || *port > '9' || *end || n < 1 || n > 65535)
		return err_set(e, -EINVAL, "\"%s\" is no port", port);
	snprintf(t->port, sizeof(t->port), "%ld", n);
	return 0;
}

/* HOST, HOST:PORT, [ADDRESS]:PORT, or an address with colons of its own */
static int set_host(struct target *t, const char *text, size_t len, struct err *e)
{
	char host[300] = "";
	char *colon, *close;
	int r = copy(host, sizeof(host), text, len, "name", e);

	if (r < 0)
		return r;
	close = *host == '[' ? strchr(host, ']') : NULL;
	colon = close ? (close[1] == ':' ? close + 1 : NULL) : strchr(host, ':');
	if (!close && colon && strchr(colon + 1, ':'))
		colon = NULL;
	if (colon) {
		*colon = 0;
		r = set_port(t, colon + 1, e);
		if (r < 0)
			return r;
	}
	if (close)
		*close = 0;
	if (!host[close ? 1 : 0])
		return err_set(e, -EINVAL, "the server has no name");
	return copy(t->host, sizeof(t->host), host + (close ? 1 : 0),
		    strlen(host + (close ? 1 : 0)), "name", e);
}

static void show(struct target *t, const struct scheme *scheme)
{
	const char *open = strchr(t->host, ':') ? "[" : "", *close = *open ? "]" : "";

	if (*t->path)
		snprintf(t->shown, sizeof(t->shown), "%s%s", scheme->prefix, t->path);
	else
		snprintf(t->shown, sizeof(t->shown), "%s%s%s%s:%s", scheme->prefix, open, t->host,
			 close, t->port);
}

int target_parse(const char *text, const char *port, struct target *target, struct err *e)
{
	const struct scheme *scheme = &schemes[0];
	struct target t = {0};
	const char *at = text, *user;
	size_t len;
	int r = 0;

	for (size_t i = 0; i < COUNT(schemes); i++) {
		if (strncmp(text, schemes[i].prefix, strlen(schemes[i].prefix)) == 0) {
			scheme = &schemes[i];
			at = text + strlen(scheme->prefix);
		}
	}
	if (at == text && strstr(text, "://"))
		return err_set(e, -EINVAL,
			       "\"%s\" is no server: there are smtp://, smtps://, lmtp://, "
			       "imap:// and imaps://",
			       text);
	t.kind = scheme->kind;
	t.encrypted = scheme->encrypted;
	if (t.kind == TARGET_LMTP && *at == '/') {
		r = copy(t.path, sizeof(t.path), at, strlen(at), "path", e);
	} else {
		snprintf(t.port, sizeof(t.port), "%s", scheme->port);
		len = strcspn(at, "/");
		if (at[len] && at[len + 1])
			return err_set(e, -EINVAL, "\"%s\" names more than a server%s", text,
				       t.kind == TARGET_IMAP ? "; --folder names a mailbox" : "");
		user = memrchr(at, '@', len);
		if (user && memchr(at, ':', (size_t)(user - at)))
			return err_set(e, -EINVAL,
				       "no passwords in the server's URL: everybody can read it; "
				       "use --password-file or --password-command");
		if (user) {
			r = copy(t.user, sizeof(t.user), at, (size_t)(user - at), "user", e);
			len -= (size_t)(user + 1 - at);
			at = user + 1;
		}
		if (r == 0)
			r = set_host(&t, at, len, e);
		if (r == 0 && port)
			r = set_port(&t, port, e);
	}
	if (r < 0)
		return r;
	show(&t, scheme);
	*target = t;
	return 0;
}
