/* SPDX-License-Identifier: MIT */
#include "rest/range.h"

#include <string.h>
#include <strings.h>

/* Digits; a number too large for 64 bits is the largest one: there is nothing that far. */
static bool number(const char **text, uint64_t *value)
{
	const char *at = *text;

	*value = 0;
	for (; *at >= '0' && *at <= '9'; at++) {
		uint64_t digit = (uint64_t)(*at - '0');

		*value = *value > (UINT64_MAX - digit) / 10 ? UINT64_MAX : *value * 10 + digit;
	}
	if (at == *text)
		return false;
	*text = at;
	return true;
}

static bool read_range(const char *at, struct range *range)
{
	range->suffix = *at == '-';
	if (!range->suffix && !number(&at, &range->from))
		return false;
	if (*at++ != '-')
		return false;
	range->last = UINT64_MAX;
	if (!number(&at, &range->last)) {
		range->last = UINT64_MAX;
		if (range->suffix)
			return false;
	}
	return at[strspn(at, " \t")] == '\0' && (range->suffix || range->from <= range->last);
}

int range_read(const char *header, struct range *range, struct rest_fault *fault)
{
	static const char unit[] = "resources";
	size_t len;

	if (!header)
		return 0;
	header += strspn(header, " \t");
	len = strcspn(header, "=");
	if (header[len] == '=' && (len != strlen(unit) || strncasecmp(header, unit, len) != 0))
		return 0;
	range->given = true;
	if (header[len] == '=' && read_range(header + len + 1, range))
		return 0;
	return rest_refuse(fault, 400, "bad-range", NULL,
			   "a range is one of resources=FIRST-LAST, resources=FIRST- and "
			   "resources=-HOWMANY, and only one");
}

/* The first of them that is in the range, and the one behind the last. */
static void find_ends(const struct range *range, uint64_t first, size_t count, size_t *at,
		      size_t *end)
{
	*at = 0;
	*end = count;
	if (!range->given)
		return;
	if (range->suffix) {
		*at = range->last < count ? count - (size_t)range->last : 0;
		return;
	}
	if (range->from > first)
		*at = range->from - first < count ? (size_t)(range->from - first) : count;
	if (range->last < first)
		*end = 0;
	else if (range->last - first < count)
		*end = (size_t)(range->last - first) + 1;
}

bool range_cut(const struct range *range, uint64_t first, size_t count, size_t *at, size_t *many)
{
	size_t end;

	find_ends(range, first, count, at, &end);
	*many = end > *at ? end - *at : 0;
	return *many > 0;
}
