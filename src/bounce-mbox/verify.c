/* SPDX-License-Identifier: MIT */
#include "bounce-mbox/verify.h"

#include <errno.h>
#include <openssl/evp.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "bounce-mbox/journal_table.h"
#include "bounce-mbox/prepare.h"
#include "bounce-mbox/report.h"
#include "bounce-mbox/sender.h"
#include "bounce-mbox/store.h"
#include "mail/header.h"

/* In an entry of a table "sent" counts the archive's copies, "met" the export's. */
struct comparison {
	struct journal_table messages; /* by content */
	bool keeps_one;		       /* of copies, there */
	struct journal_table ids;      /* the export's that the archive has not, by Message-ID */
};

static void digest_free_at(EVP_MD_CTX **digest)
{
	EVP_MD_CTX_free(*digest);
}

/* Servers add fields in front, and may fold others anew: these say what message it is. */
static int add_fields(EVP_MD_CTX *digest, const char *head, size_t len)
{
	static const char *const names[] = {"Message-ID", "Date", "From", "Subject"};

	for (size_t i = 0; i < COUNT(names); i++) {
		struct buf text cleanup(buf_free) = {0};
		struct mail_field f;

		if (mail_head_find(head, len, names[i], &f))
			mail_field_text(&f, &text);
		if (buf_status(&text) < 0)
			return -ENOMEM;
		EVP_DigestUpdate(digest, buf_text(&text), text.len + 1);
	}
	return 0;
}

static int content_key(struct store *store, const struct item *item,
		       const struct cleaning *cleaning, unsigned char key[KEY_BYTES], struct err *e)
{
	EVP_MD_CTX *digest cleanup(digest_free_at) = EVP_MD_CTX_new();
	struct stream s cleanup(stream_free) = {0};
	struct buf piece cleanup(buf_free) = {0};
	bool last = false, head = true;

	if (!digest || !EVP_DigestInit_ex(digest, EVP_sha256(), NULL))
		return err_set(e, -ENOMEM, "cannot compute SHA-256");
	stream_start(&s, store, item, cleaning);
	while (!last) {
		const char *body;
		int r;

		buf_clear(&piece);
		r = stream_next(&s, &piece, &last, e);
		if (r < 0)
			return r;
		body = buf_text(&piece);
		if (head) {
			const char *end = memmem(body, piece.len, "\r\n\r\n", 4);
			bool bare = piece.len >= 2 && memcmp(body, "\r\n", 2) == 0; /* no header */

			if (add_fields(digest, body, piece.len) < 0)
				return store_no_memory(e);
			body = bare ? body + 2 : end ? end + 4 : body + piece.len;
			head = false;
		}
		EVP_DigestUpdate(digest, body, piece.len - (size_t)(body - buf_text(&piece)));
	}
	EVP_DigestFinal_ex(digest, key, NULL);
	return 0;
}

static int id_key(const char *id, unsigned char key[KEY_BYTES], struct err *e)
{
	return EVP_Digest(id, strlen(id), key, NULL, EVP_sha256(), NULL)
		       ? 0
		       : err_set(e, -ENOMEM, "cannot compute SHA-256");
}

static int add_archive(struct comparison *c, const unsigned char *key, const char *id,
		       struct err *e)
{
	struct journal_entry *entry = journal_table_make(&c->messages, key, id, e);

	if (!entry)
		return -ENOMEM;
	entry->sent++;
	return 0;
}

static int add_export(struct comparison *c, const unsigned char *key, const char *id, struct err *e)
{
	struct journal_entry *entry = journal_table_make(&c->messages, key, id, e);
	unsigned char by_id[KEY_BYTES];

	if (!entry)
		return -ENOMEM;
	entry->met++;
	if (entry->sent > 0 || !*id)
		return 0;
	if (id_key(id, by_id, e) < 0)
		return -ENOMEM;
	entry = journal_table_make(&c->ids, by_id, "", e);
	if (!entry)
		return -ENOMEM;
	entry->met++;
	return 0;
}

/* Where the messages that are looked at go. */
struct side {
	struct comparison *c;
	struct report *report;
	uint64_t bytes; /* so many were */
	const struct cleaning *cleaning;
	struct prepared p;
	int (*add)(struct comparison *c, const unsigned char *key, const char *id, struct err *e);
};

static int add_one(void *data, struct store *store, const struct item *item, struct err *e)
{
	struct side *side = data;
	unsigned char key[KEY_BYTES];
	int r = prepare(&side->p, store, item, side->cleaning, e);

	if (r == 0)
		r = content_key(store, item, side->cleaning, key, e);
	side->bytes += item->len;
	report_reading(side->report, "comparing", store_shown(store, item), side->bytes,
		       sender_now());
	return r < 0 ? r : side->add(side->c, key, side->p.id, e);
}

int verify_store(void *store, verify_visit *visit, void *data, struct err *e)
{
	struct store *a = store;
	int r = 0;

	for (size_t i = 0; i < a->count && r == 0; i++)
		r = visit(data, a, store_item(a, i), e);
	return r;
}

/* Whether the export has another message of that id: 0, 1, or an error. */
static int changed(struct comparison *c, const struct journal_entry *lost, struct err *e)
{
	unsigned char key[KEY_BYTES];
	struct journal_entry *entry;

	if (!lost->id)
		return 0;
	if (id_key(lost->id, key, e) < 0)
		return -ENOMEM;
	entry = journal_table_find(&c->ids, key);
	if (!entry || entry->met == 0)
		return 0;
	entry->met--;
	return 1;
}

/* sums: of the missing, the changed and the doubled ones. */
static int tell(struct comparison *c, const struct journal_entry *entry, struct report *report,
		uint64_t sums[3], struct err *e)
{
	const char *id = entry->id ? entry->id : "";
	uint32_t wanted = c->keeps_one && entry->sent > 0 ? 1 : entry->sent;

	for (uint32_t n = entry->met; n < wanted; n++) {
		int other = changed(c, entry, e);

		if (other < 0)
			return other;
		sums[other]++;
		report_message(report, other ? REPORT_CHANGED : REPORT_MISSING, id, "",
			       other ? "it has another content there" : "it is not there");
	}
	if (entry->sent > 0 && entry->met > entry->sent) {
		sums[2] += entry->met - entry->sent;
		report_message(report, REPORT_DOUBLED, id, "",
			       "it is there more often than in the archive");
	}
	return 0;
}

int verify(struct store *archive, verify_walk *walk, void *export, const struct cleaning *cleaning,
	   struct report *report, struct err *e)
{
	struct comparison c = {.messages = {.folder = archive->temporary},
			       .ids = {.folder = archive->temporary}};
	struct side side = {.c = &c, .report = report, .cleaning = cleaning, .add = add_archive};
	uint64_t sums[3] = {0};
	int r = verify_store(archive, add_one, &side, e);

	side.add = add_export;
	if (r == 0)
		r = walk(export, add_one, &side, e);
	c.keeps_one = r > 0;
	prepared_free(&side.p);
	for (size_t i = 0; i < c.messages.count && r >= 0; i++)
		r = tell(&c, journal_table_nth(&c.messages, i), report, sums, e);
	if (r >= 0)
		report_verified(report, archive->count, sums[0], sums[1], sums[2]);
	journal_table_free(&c.messages);
	journal_table_free(&c.ids);
	report_make_room(report);
	return r < 0 ? r : (sums[0] > 0) + (sums[1] > 0) + (sums[2] > 0);
}
