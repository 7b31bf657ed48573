/* SPDX-License-Identifier: MIT */
#include "base/near.h"

#include <string.h>

#define WORD_MAX     40
#define DISTANCE_MAX 2

static size_t least(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* Levenshtein's distance, by its usual table, of which only one row is kept. b_len is at most
 * WORD_MAX. */
static size_t distance(const char *a, size_t a_len, const char *b, size_t b_len)
{
	size_t row[WORD_MAX + 1];

	for (size_t j = 0; j <= b_len; j++)
		row[j] = j;
	for (size_t i = 1; i <= a_len; i++) {
		size_t diagonal = row[0];

		row[0] = i;
		for (size_t j = 1; j <= b_len; j++) {
			size_t changed = diagonal + (a[i - 1] != b[j - 1]);

			diagonal = row[j];
			row[j] = least(changed, least(row[j], row[j - 1]) + 1);
		}
	}
	return row[b_len];
}

void near_try(struct near *near, const char *right)
{
	size_t len = strlen(near->word), right_len = strlen(right), found;

	if (len > WORD_MAX || right_len > WORD_MAX)
		return;
	found = distance(near->word, len, right, right_len);
	/* Words that share nothing aren't near, however short they are. */
	if (found > DISTANCE_MAX || (found >= len && found >= right_len))
		return;
	if (near->best && found >= near->distance)
		return;
	near->best = right;
	near->distance = found;
}
