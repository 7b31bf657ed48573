/* SPDX-License-Identifier: MIT */
#include "bounce-mbox/pace.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "mail/reply.h"

#define DAY  (86400 * SECOND)
#define PART (DAY / DAY_PARTS)
/* The day, and what is left of the part that it starts in. */
#define RING	    (DAY_PARTS + 1)
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

static size_t place_of(int64_t part)
{
	int64_t at = part % RING;

	return (size_t)(at < 0 ? at + RING : at); /* before the clock's start */
}

/* How long until fewer than per_day of them lie in the last 24 hours. */
static int64_t quota_wait(const struct pace *p, int64_t now)
{
	uint64_t sum = 0;

	/* the newest ones fill the allowance: it is free again when the last of these leaves */
	for (int64_t age = 0; age < RING; age++) {
		sum += p->parts[place_of(p->part - age)];
		if (sum >= p->per_day)
			return (p->part - age + 1) * PART + DAY - now;
	}
	return 0;
}

bool pace_is_used_up(const struct pace *p, int64_t now)
{
	return p->per_day > 0 && quota_wait(p, now) > 0;
}

int64_t pace_wait(const struct pace *p, int64_t now)
{
	int64_t wait = p->next > now ? p->next - now : 0;
	int64_t quota = p->per_day > 0 ? quota_wait(p, now) : 0;

	return quota > wait ? quota : wait;
}

/* Forgets what is a day old. */
static void move_on(struct pace *p, int64_t now)
{
	int64_t part = now / PART;

	if (part - p->part >= RING)
		memset(p->parts, 0, sizeof(p->parts));
	else
		while (p->part < part)
			p->parts[place_of(++p->part)] = 0;
	p->part = part;
}

void pace_recall(struct pace *p, int64_t now, const uint32_t parts[DAY_PARTS])
{
	move_on(p, now);
	for (int64_t age = 0; age < DAY_PARTS; age++)
		p->parts[place_of(p->part - age)] += parts[age];
}

void pace_took(struct pace *p, int64_t now)
{
	move_on(p, now);
	p->parts[place_of(p->part)]++;
	p->next = now + p->interval;
}

void pace_good(struct pace *p)
{
	p->setbacks = 0;
}

/* "Suggested Backoff Time: 5000 milliseconds", as Exchange Online says it; 0 where it makes no
 * sense, as more than a day. */
static int64_t suggested(const char *text)
{
	static const char words[] = "Suggested Backoff Time:";
	const char *at = strcasestr(text, words);
	int64_t unit;
	char *end;
	long n;

	if (!at)
		return 0;
	n = strtol(at + sizeof(words) - 1, &end, 10);
	while (*end == ' ')
		end++;
	unit = strncasecmp(end, "sec", 3) == 0 ? SECOND : SECOND / 1000;
	return n <= 0 || n > 86400 * SECOND / unit ? 0 : n * unit;
}

bool pace_is_quota(const struct smtp_reply *reply)
{
	/* RFC 3463 has no code for it: these are Google's and Microsoft's */
	if (strcmp(reply->enhanced, "5.4.5") == 0 || strcmp(reply->enhanced, "5.1.90") == 0)
		return true;
	if (strcasestr(reply->text, REPLY_BANDWIDTH))
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
