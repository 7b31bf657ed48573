/* SPDX-License-Identifier: MIT */
/* A journal that holds anything. The first byte chooses whether checksums are put right, so that
 * the lines' words are reached, and whether the boot is the one that the seeds have. */
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/err.h"
#include "base/hash.h"
#include "base/mem.h"
#include "bounce-mbox/journal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void put_right(char *text, size_t len)
{
	for (size_t at = 0; at < len;) {
		char *newline = memchr(text + at, '\n', len - at), sum[12];
		size_t end = newline ? (size_t)(newline - text) : len;

		if (end - at > 10 && text[at] == '@') {
			uint64_t hash = hash_bytes(HASH_START, text + at + 10, end - at - 10);

			snprintf(sum, sizeof(sum), "%08" PRIx32 " ", (uint32_t)(hash ^ hash >> 32));
			memcpy(text + at + 1, sum, 9);
		}
		at = end + 1;
	}
}

static void count(const char *id, void *data)
{
	if (!id)
		abort();
	++*(uint64_t *)data;
}

/* What a reader makes of it must be the same before and after the end was healed. */
static void compare(const char *path, const char *boot, const struct journal_sums *first)
{
	struct journal *j = NULL;
	struct journal_sums sums;
	uint64_t doubts = 0;

	if (journal_look(&j, path, boot, NULL) < 0)
		abort();
	journal_sums(j, &sums);
	journal_doubts(j, count, &doubts);
	if (sums.sent != first->sent || sums.doubt != first->doubt || sums.old != first->old ||
	    doubts != sums.doubt || sums.healed)
		abort();
	journal_close(j);
}

/* What could be opened once can be again. */
static struct journal *reopen(const char *path, const char *boot)
{
	struct journal *j = NULL;
	struct err e = {0};

	if (journal_open(&j, path, boot, &e) == 0)
		return j;
	fprintf(stderr, "%s\n", e.text);
	abort();
}

/* A message that is sent now is known afterwards. */
static void go_on(struct journal *j, struct prepared *p)
{
	if (journal_meet(j, p) == JOURNAL_SENT)
		return;
	journal_run(j, 1, "smtp://x");
	journal_intent(j, p, false);
	journal_go(j, p);
	journal_done(j, p, "250 ok");
	if (journal_write(j, NULL) < 0)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	char path[40], id[] = "<fuzz@test>";
	struct prepared p = {.id = id, .key = {0xab}};
	struct journal_sums sums;
	struct journal *j = NULL;
	char *text;
	int fd = memfd_create("journal", MFD_CLOEXEC);

	if (len == 0 || fd < 0)
		return 0;

	const char *boot = data[0] & 2 ? "boot" : "another";

	text = malloc(len);
	memcpy(text, data + 1, len - 1);
	if (data[0] & 1)
		put_right(text, len - 1);
	if (write(fd, text, len - 1) != (ssize_t)len - 1)
		abort();
	free(text);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (journal_open(&j, path, boot, NULL) == 0) {
		journal_sums(j, &sums);
		journal_close(j);
		compare(path, boot, &sums);
		j = reopen(path, boot);
		go_on(j, &p);
		journal_close(j);
		j = reopen(path, boot);
		if (journal_meet(j, &p) != JOURNAL_SENT)
			abort();
		journal_close(j);
	}
	close(fd);
	return 0;
}
