/* SPDX-License-Identifier: MIT */
#include "bounce-mbox/pace.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "mail/reply.h"

#define DAY	    (86400 * SECOND)
#define PAUSE_MAX   (900 * SECOND)
#define QUOTA_PAUSE (3600 * SECOND)

static const struct provider providers[] = {
	{"gmail", 1100000, 86400, 0,
	 "support.google.com/a/answer/1366776: 60 messages a minute, 3,600 an hour, 86,400 a day"},
	{"office365", 3000000, 28800, 0,
	 "learn.microsoft.com, Exchange Online limits: 3,600 messages an hour, a third of them "
	 "from one sender"},
	{"yahoo", 1000000, 0, 20,
	 "help.yahoo.com/kb/SLN3433.html: 20 messages a connection, then it is closed"},
	{"fastmail", 1000000, 0, 0,
	 "fastmail.com/help/account/limits.html: a full mailbox is a 4xx for a week, then a 5xx"},
};

const struct provider *provider_find(const char *name)
{
	for (size_t i = 0; i < COUNT(providers); i++)
		if (strcmp(providers[i].name, name) == 0)
			return &providers[i];
	return NULL;
}

const struct provider *provider_nth(unsigned n)
{
	return n < COUNT(providers) ? &providers[n] : NULL;
}

int pace_rate_parse(const char *text, int64_t *interval, struct err *e)
{
	static const struct {
		char name[6];
		int64_t time;
	} units[] = {{"", 60 * SECOND},	       {"/min", 60 * SECOND}, {"/m", 60 * SECOND},
		     {"/s", SECOND},	       {"/sec", SECOND},      {"/h", 3600 * SECOND},
		     {"/hour", 3600 * SECOND}, {"/day", DAY}};
	char *end;
	double n = strtod(text, &end);

	for (size_t i = 0; i < COUNT(units) && end != text && n > 0; i++) {
		if (strcmp(end, units[i].name) == 0) {
			*interval = (int64_t)((double)units[i].time / n);
			return 0;
		}
	}
	return err_set(e, -EINVAL, "\"%s\" is no rate; write 60/min, 2/s, 3600/hour or 500/day",
		       text);
}

int64_t pace_wait(const struct pace *p, int64_t now)
{
	int64_t until = p->next;

	if (p->per_day > 0 && p->today >= p->per_day && p->day + DAY > until)
		until = p->day + DAY;
	return until > now ? until - now : 0;
}

void pace_took(struct pace *p, int64_t now)
{
	if (now >= p->day + DAY || p->today == 0) {
		p->day = now;
		p->today = 0;
	}
	p->today++;
	p->next = now + p->interval;
}

void pace_good(struct pace *p)
{
	p->setbacks = 0;
}

/* "Suggested Backoff Time: 5000 milliseconds", as Exchange Online says it. */
static int64_t suggested(const char *text)
{
	static const char words[] = "Suggested Backoff Time:";
	const char *at = strcasestr(text, words);
	char *end;
	long n;

	if (!at)
		return 0;
	n = strtol(at + sizeof(words) - 1, &end, 10);
	if (n <= 0 || n > 86400000)
		return 0;
	while (*end == ' ')
		end++;
	return n * (strncasecmp(end, "sec", 3) == 0 ? SECOND : SECOND / 1000);
}

bool pace_is_quota(const struct smtp_reply *reply)
{
	/* RFC 3463 has no code for it: these are Google's and Microsoft's */
	if (strcmp(reply->enhanced, "5.4.5") == 0 || strcmp(reply->enhanced, "5.1.90") == 0)
		return true;
	return reply->code >= 400 && strcasestr(reply->text, "daily") &&
	       (strcasestr(reply->text, "limit") || strcasestr(reply->text, "quota"));
}

int64_t pace_setback(struct pace *p, int64_t now, const struct smtp_reply *reply)
{
	int64_t pause = suggested(reply->text);

	if (pause == 0 && pace_is_quota(reply))
		pause = QUOTA_PAUSE;
	if (pause == 0) {
		pause = p->backoff;
		for (unsigned i = 0; i < p->setbacks && pause < PAUSE_MAX; i++)
			pause *= 2;
		if (pause > PAUSE_MAX)
			pause = PAUSE_MAX;
	}
	p->setbacks++;
	if (p->next < now + pause)
		p->next = now + pause;
	return pause;
}
