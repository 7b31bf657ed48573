/* SPDX-License-Identifier: MIT */
#include "bounce-mbox/setup.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/buf.h"
#include "base/cli.h"
#include "base/err.h"
#include "base/mem.h"
#include "bounce-mbox/rejects.h"
#include "mail/sasl.h"

#define PROVIDERS_MAX 20

static bool seconds_of(const struct cli_call *call, const char *name, int64_t *microseconds)
{
	const char *text = cli_get(call, name);
	char *end;
	double n;

	if (!text)
		return true;
	n = strtod(text, &end);
	if (end == text || *end || !(n >= 0) || n > 1e6) {
		cli_misused(call, "--%s: \"%s\" is no number of seconds", name, text);
		return false;
	}
	*microseconds = (int64_t)(n * 1e6);
	return true;
}

/* "--order: "x" is none of oldest, archive" */
static void complain_of_choice(const struct cli_call *call, const char *name,
			       const char *const *words)
{
	struct buf list cleanup(buf_free) = {0};

	for (size_t i = 0; words[i]; i++)
		buf_fmt(&list, "%s%s", i > 0 ? ", " : "", words[i]);
	cli_misused(call, "--%s: \"%s\" is none of %s", name, cli_get(call, name), buf_text(&list));
}

/* What the words of an option may be: the index of its value; -1 and a complaint. */
static int choice(const struct cli_call *call, const char *name, const char *const *words,
		  int otherwise)
{
	const char *text = cli_get(call, name);

	if (!text)
		return otherwise;
	for (int i = 0; words[i]; i++)
		if (strcmp(words[i], text) == 0)
			return i;
	complain_of_choice(call, name, words);
	return -1;
}

static bool read_pace(const struct cli_call *call, struct setup *s)
{
	const char *name = cli_get(call, "provider"), *rate = cli_get(call, "rate");
	const struct provider *provider = name ? provider_find(name) : NULL;
	int64_t by_rate = 0;
	struct err e = {0};

	if (name && !provider) {
		const char *words[PROVIDERS_MAX + 1] = {NULL};

		for (unsigned i = 0; i < PROVIDERS_MAX && provider_nth(i); i++)
			words[i] = provider_nth(i)->name;
		complain_of_choice(call, "provider", words);
		return false;
	}
	/* the post's half second spares SMTP servers; an IMAP account is the user's own */
	s->interval = rate || s->options.target.kind == TARGET_IMAP ? 0 : SECOND / 2;
	s->backoff = 5 * SECOND;
	if (provider) {
		s->interval = provider->interval;
		s->per_day = provider->per_day;
		s->options.per_connection = provider->per_connection;
	}
	if (!seconds_of(call, "delay", &s->interval) || !seconds_of(call, "backoff", &s->backoff))
		return false;
	if (rate && pace_rate_parse(rate, &by_rate, &e) < 0) {
		cli_misused(call, "--rate: %s", e.text);
		return false;
	}
	if (by_rate > s->interval)
		s->interval = by_rate;
	return true;
}

static bool read_mechanism(const struct cli_call *call, struct options *o)
{
	const char *words[SASL_NAMES + 1] = {NULL};

	o->mechanism = cli_get(call, "auth");
	for (size_t i = 0; i < SASL_NAMES; i++) {
		words[i] = sasl_name(i);
		if (!o->mechanism || strcasecmp(o->mechanism, words[i]) == 0)
			return true;
	}
	complain_of_choice(call, "auth", words);
	return false;
}

static bool read_login(const struct cli_call *call, struct setup *s)
{
	struct options *o = &s->options;
	static const char *const sources[] = {"password-file", "password-command", "token-file",
					      "token-command"};
	unsigned given = 0;

	o->user = cli_get(call, "user");
	if (!o->user && *o->target.user)
		o->user = o->target.user;
	if (!o->user && o->target.kind == TARGET_IMAP)
		o->user = o->recipient; /* whose mailboxes they are */
	for (size_t i = 0; i < COUNT(sources); i++) {
		const char *value = cli_get(call, sources[i]);

		if (!value)
			continue;
		given++;
		o->token = i >= 2;
		*(i % 2 ? &o->secret.command : &o->secret.file) = value;
	}
	if (given > 1) {
		cli_misused(call, "one password is enough: give --password-file, "
				  "--password-command, --token-file or --token-command");
		return false;
	}
	if (given > 0 && !o->user) {
		cli_misused(call, "whose password is it? give --user");
		return false;
	}
	snprintf(s->prompt, sizeof(s->prompt), "Password of %s at %s", o->user ? o->user : "",
		 o->target.shown);
	o->secret.prompt = s->prompt;
	return read_mechanism(call, o);
}

bool setup_messages(const struct cli_call *call, struct setup *s)
{
	static const char *const orders[] = {"oldest", "archive", NULL};
	const char *format = cli_get(call, "format"), *repair = cli_get(call, "repair");
	const char *temporary = getenv("TMPDIR");
	struct err e = {0};
	int order = choice(call, "order", orders, 0);
	int r = mail_names_add(&s->remove, mail_thunderbird_names, &e);

	if (order < 0)
		return false;
	if (r == 0)
		r = mail_names_add(&s->remove, REJECTS_FIELD, &e);
	s->options.cleaning.always = s->remove.count;
	for (size_t i = 0; i < cli_count(call, "remove") && r == 0; i++)
		r = mail_names_add(&s->remove, cli_nth(call, "remove", i), &e);
	if (r == 0 && format)
		r = mbox_format_parse(format, &s->wishes.format, &e);
	if (r == 0 && repair)
		r = mail_repair_parse(repair, &s->options.cleaning.repair, &e);
	if (r == -ENOMEM) {
		cli_complain(call, "%s", e.text);
		s->no_memory = true;
		return false;
	}
	if (r < 0) {
		cli_misused(call, "%s", e.text);
		return false;
	}
	s->options.cleaning.remove = &s->remove;
	s->wishes.as_it_stands = order == 1;
	s->wishes.with_expunged = cli_has(call, "with-expunged");
	s->wishes.temporary = temporary && *temporary ? temporary : "/var/tmp";
	return true;
}

static bool read_address(const struct cli_call *call, const char *what, const char *address)
{
	const char *at = strrchr(address, '@');

	if (at && at > address && at[1] && !strpbrk(address, "<> \t\r\n"))
		return true;
	cli_misused(call, "\"%s\" is no address for the %s", address, what);
	return false;
}

/* The levels have '/' between them. */
static bool read_folder(const struct cli_call *call, const char *folder, const struct target *t)
{
	size_t len = folder ? strlen(folder) : 0;

	if (folder && t->kind != TARGET_IMAP) {
		cli_misused(call,
			    "--folder: there are no mailboxes at %s; they are an IMAP server's",
			    t->shown);
		return false;
	}
	if (!folder ||
	    (len > 0 && *folder != '/' && folder[len - 1] != '/' && !strstr(folder, "//")))
		return true;
	cli_misused(call, "--folder: \"%s\" is no mailbox", folder);
	return false;
}

bool setup_target(const struct cli_call *call, struct setup *s, const char *recipient,
		  const char *server)
{
	static const char *const modes[] = {"off", "optional", "required", NULL};
	struct options *o = &s->options;
	long connections = 1, timeout = 300;
	struct err e = {0};
	int tls = choice(call, "tls", modes, SMTP_TLS_OPTIONAL);

	if (tls < 0)
		return false;
	if (target_parse(server, cli_get(call, "port"), &o->target, &e) < 0) {
		cli_misused(call, "%s", e.text);
		return false;
	}
	o->recipient = recipient ? recipient : o->target.user;
	o->sender = cli_get(call, "sender") ? cli_get(call, "sender") : o->recipient;
	/* an account's name is enough for IMAP */
	if (o->target.kind != TARGET_IMAP &&
	    (!read_address(call, "recipient", o->recipient) ||
	     (*o->sender && !read_address(call, "sender", o->sender))))
		return false;
	if (o->target.kind == TARGET_IMAP && !*o->recipient) {
		cli_misused(call, "give the account's name, or a URL with it: imaps://NAME@HOST");
		return false;
	}
	if (!cli_number(call, "connections", 1, 64, &connections) ||
	    !cli_number(call, "timeout", 1, 86400, &timeout) ||
	    !read_folder(call, cli_get(call, "folder"), &o->target))
		return false;
	(void)gethostname(s->hello, sizeof(s->hello) - 1); /* there is room for any */
	o->hello = cli_get(call, "hello") ? cli_get(call, "hello") : s->hello;
	o->nameless = !cli_has(call, "hello") && !strchr(s->hello, '.');
	o->folder = cli_get(call, "folder");
	o->tls = (enum smtp_tls)tls;
	o->ca_file = cli_get(call, "tls-ca");
	o->resent = cli_has(call, "resent");
	o->resend_doubtful = cli_has(call, "resend-doubtful");
	o->connections = (unsigned)connections;
	o->timeout = (int)timeout;
	o->timeout_end = cli_has(call, "timeout") ? o->timeout : 600; /* RFC 5321 4.5.3.2.6 */
	/* LMTP's servers are the last stop, IMAP's no stop at all */
	o->cleaning.recipient = o->target.kind == TARGET_SMTP ? o->recipient : NULL;
	return read_pace(call, s) && read_login(call, s) && setup_messages(call, s);
}

void setup_free(struct setup *s)
{
	mail_names_free(&s->remove);
}
