/* SPDX-License-Identifier: MIT */
#include "bounce-mbox/taken.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "mail/imap_line.h"

/* Message-IDs are cut at 1,000 bytes. */
#define ID_TEXT_MAX 1100

int taken_add(struct taken *t, const char *id, const char *words, struct err *e)
{
	char text[ID_TEXT_MAX];
	uint32_t validity, uid;

	if (!*id)
		return 0;
	if (!imap_append_uid(words, strlen(words), 0, &validity, &uid))
		return journal_ids_add(&t->ids, id, strlen(id), e);
	snprintf(text, sizeof(text), "%" PRIu32 " %" PRIu32 "\n%s", validity, uid, id);
	return journal_ids_add(&t->uids, text, strlen(text), e);
}

enum imap_whose taken_whose(struct taken *t, const char *id, uint32_t validity, uint32_t uid)
{
	char text[ID_TEXT_MAX];

	snprintf(text, sizeof(text), "%" PRIu32 " %" PRIu32 "\n%s", validity, uid, id);
	if (journal_ids_have(&t->uids, text))
		return IMAP_ANOTHERS;
	return journal_ids_have(&t->ids, id) ? IMAP_ANYBODYS : IMAP_NOBODYS;
}

void taken_free(struct taken *t)
{
	journal_ids_free(&t->uids);
	journal_ids_free(&t->ids);
}
