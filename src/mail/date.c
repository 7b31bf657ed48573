/* SPDX-License-Identifier: MIT */
#include "mail/date.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"

static const char months[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
				   "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
static const char days[7][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};

struct word {
	const char *at;
	size_t len;
};

#define WORDS_MAX 12

/* Words are separated by blanks, commas, line ends; comments in parentheses are left out. */
static size_t split(const char *text, size_t len, struct word words[WORDS_MAX])
{
	size_t count = 0, i = 0;
	int depth = 0;

	while (i < len && count < WORDS_MAX) {
		char c = text[i];

		if (c == '(') {
			depth++;
		} else if (c == ')' && depth > 0) {
			depth--;
		} else if (depth == 0 && c > ' ' && c != ',') {
			size_t start = i;

			while (i < len && text[i] > ' ' && text[i] != ',' && text[i] != '(')
				i++;
			words[count++] = (struct word){text + start, i - start};
			continue;
		}
		i++;
	}
	return count;
}

static bool number(const char *at, size_t len, int *value)
{
	int n = 0;

	if (len == 0 || len > 4)
		return false;
	for (size_t i = 0; i < len; i++) {
		if (at[i] < '0' || at[i] > '9')
			return false;
		n = n * 10 + (at[i] - '0');
	}
	*value = n;
	return true;
}

/* Three letters as one number, whatever their case: each message's dates are looked at. */
static unsigned three(const char *at)
{
	const unsigned char *p = (const unsigned char *)at;

	return ((unsigned)p[0] << 16 | (unsigned)p[1] << 8 | p[2]) | 0x202020U;
}

/* Which of the names the word starts with; -1: none. */
static int which(const struct word *w, const char names[][4], int count)
{
	unsigned wanted;

	if (w->len < 3)
		return -1;
	wanted = three(w->at);
	for (int i = 0; i < count; i++)
		if (three(names[i]) == wanted)
			return i;
	return -1;
}

static bool month_of(const struct word *w, int *month)
{
	int i = which(w, months, 12);

	if (i < 0)
		return false;
	*month = i;
	return true;
}

static bool is_weekday(const struct word *w)
{
	return which(w, days, 7) >= 0;
}

static bool year_of(const struct word *w, int *year)
{
	int n;

	if (w->len < 2 || !number(w->at, w->len, &n))
		return false;
	if (w->len == 2) /* RFC 5322 4.3 */
		n += n < 50 ? 2000 : 1900;
	else if (w->len == 3)
		n += 1900;
	*year = n;
	return true;
}

/* hh:mm[:ss] */
static bool time_of(const struct word *w, int *seconds)
{
	int part[3] = {0, 0, 0};
	size_t count = 0, start = 0;

	for (size_t i = 0; i <= w->len && count < 3; i++) {
		if (i < w->len && w->at[i] != ':')
			continue;
		if (i - start > 2 || !number(w->at + start, i - start, &part[count]))
			return false;
		count++;
		start = i + 1;
	}
	if (count < 2 || part[0] > 23 || part[1] > 59 || part[2] > 60)
		return false;
	*seconds = part[0] * 3600 + part[1] * 60 + part[2];
	return true;
}

static bool zone_of(const struct word *w, int *minutes)
{
	static const struct {
		char name[4];
		int hours;
	} named[] = {{"EDT", -4}, {"EST", -5}, {"CDT", -5}, {"CST", -6}, {"MDT", -6},
		     {"MST", -7}, {"PDT", -7}, {"PST", -8}, {"CET", 1},	 {"GMT", 0}};
	int n;

	if (w->len == 5 && (*w->at == '+' || *w->at == '-') && number(w->at + 1, 4, &n)) {
		n = n / 100 * 60 + n % 100;
		if (n > 24 * 60)
			return false;
		*minutes = *w->at == '-' ? -n : n;
		return true;
	}
	if (w->len == 4 && strncasecmp(w->at, "CEST", 4) == 0) {
		*minutes = 120;
		return true;
	}
	for (size_t i = 0; i < COUNT(named) && w->len == 3; i++) {
		if (strncasecmp(w->at, named[i].name, 3) == 0) {
			*minutes = named[i].hours * 60;
			return true;
		}
	}
	return false;
}

/* Days since 1970 of a proleptic Gregorian date; month from 0. */
static int64_t day_number(int year, int month, int day)
{
	int64_t y = month < 2 ? year - 1 : year;
	int64_t era = (y >= 0 ? y : y - 399) / 400;
	int64_t of_era = y - era * 400;
	int64_t of_year = (153 * ((month + 10) % 12) + 2) / 5 + day - 1;

	return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static bool combine(int year, int month, int day, int seconds, int zone, struct mail_date *date)
{
	/* the last year might be over in another zone, or a second later */
	if (day < 1 || day > 31 || year < 1900 || year > 9998)
		return false;
	date->seconds = day_number(year, month, day) * 86400 + seconds - (int64_t)zone * 60;
	date->zone = zone;
	return true;
}

bool mail_date_parse(const char *text, size_t len, struct mail_date *date)
{
	struct word w[WORDS_MAX];
	size_t count = split(text, len, w);
	size_t i = count > 0 && is_weekday(&w[0]) ? 1 : 0;
	int day, month, year, seconds, zone = 0;

	if (count < i + 4)
		return false;
	if (!number(w[i].at, w[i].len, &day) || !month_of(&w[i + 1], &month) ||
	    !year_of(&w[i + 2], &year) || !time_of(&w[i + 3], &seconds))
		return false;
	if (count > i + 4)
		(void)zone_of(&w[i + 4], &zone);
	return combine(year, month, day, seconds, zone, date);
}

bool mail_date_separator(const char *line, size_t len, struct mail_date *date)
{
	struct word w[WORDS_MAX];
	size_t count = split(line, len, w);

	for (size_t i = 1; i + 4 < count; i++) {
		int day, month, year = 0, seconds, zone = 0;

		if (!is_weekday(&w[i]) || !month_of(&w[i + 1], &month) ||
		    !number(w[i + 2].at, w[i + 2].len, &day) || !time_of(&w[i + 3], &seconds))
			continue;
		for (size_t k = i + 4; k < count && k < i + 7; k++)
			if (!zone_of(&w[k], &zone) && w[k].len == 4)
				(void)year_of(&w[k], &year);
		return combine(year, month, day, seconds, zone, date);
	}
	return false;
}

struct civil {
	int year, month, day, hour, minute, second, weekday;
};

static struct civil civil_of(int64_t seconds)
{
	int64_t day = seconds / 86400, left = seconds % 86400;

	if (left < 0) {
		left += 86400;
		day--;
	}
	int64_t z = day + 719468;
	int64_t era = (z >= 0 ? z : z - 146096) / 146097;
	int64_t of_era = z - era * 146097;
	int64_t y = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
	int64_t of_year = of_era - (365 * y + y / 4 - y / 100);
	int64_t m = (5 * of_year + 2) / 153;
	int month = (int)(m < 10 ? m + 2 : m - 10);

	return (struct civil){
		.year = (int)(y + era * 400 + (month < 2)),
		.month = month,
		.day = (int)(of_year - (153 * m + 2) / 5 + 1),
		.hour = (int)(left / 3600),
		.minute = (int)(left / 60 % 60),
		.second = (int)(left % 60),
		.weekday = (int)(((day + 4) % 7 + 7) % 7),
	};
}

static int zone_digits(int minutes)
{
	int n = minutes < 0 ? -minutes : minutes;

	return n / 60 * 100 + n % 60;
}

const char *mail_date_imap(const struct mail_date *date, char text[32])
{
	struct civil c = civil_of(date->seconds + (int64_t)date->zone * 60);

	snprintf(text, 32, "%2d-%s-%04d %02d:%02d:%02d %c%04d", c.day, months[c.month], c.year,
		 c.hour, c.minute, c.second, date->zone < 0 ? '-' : '+', zone_digits(date->zone));
	return text;
}

const char *mail_date_field(const struct mail_date *date, char text[40])
{
	struct civil c = civil_of(date->seconds + (int64_t)date->zone * 60);

	snprintf(text, 40, "%s, %d %s %04d %02d:%02d:%02d %c%04d", days[c.weekday], c.day,
		 months[c.month], c.year, c.hour, c.minute, c.second, date->zone < 0 ? '-' : '+',
		 zone_digits(date->zone));
	return text;
}

const char *mail_date_ctime(const struct mail_date *date, char text[32])
{
	struct civil c = civil_of(date->seconds);

	snprintf(text, 32, "%s %s %2d %02d:%02d:%02d %04d", days[c.weekday], months[c.month], c.day,
		 c.hour, c.minute, c.second, c.year);
	return text;
}
