/* SPDX-License-Identifier: MIT */
#include "bounce-mbox/prepare.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/err.h"
#include "base/mem.h"
#include "bounce-mbox/store.h"
#include "mail/flags.h"
#include "mail/header.h"
#include "mail/labels.h"

#define PIECE  MAIL_HEAD_ROOM
#define ID_MAX 1000

static void digest_free_at(EVP_MD_CTX **digest)
{
	EVP_MD_CTX_free(*digest);
}

static int digest_start(EVP_MD_CTX **digest, struct err *e)
{
	*digest = EVP_MD_CTX_new();
	return *digest && EVP_DigestInit_ex(*digest, EVP_sha256(), NULL)
		       ? 0
		       : err_set(e, -ENOMEM, "cannot compute SHA-256");
}

void stream_start(struct stream *s, struct store *store, const struct item *item,
		  const struct cleaning *cleaning)
{
	s->store = store;
	s->item = item;
	s->at = 0;
	s->body = false;
	s->about = NULL;
	s->same = NULL;
	s->given = 0;
	s->clean = (struct mail_clean){
		.remove = cleaning->remove,
		.repair = cleaning->repair,
		.quote = store->folders[item->folder].kind == FOLDER_MBOX
				 ? mbox_quote_of(store->folders[item->folder].format)
				 : MBOX_QUOTE_NONE,
	};
	buf_clear(&s->raw);
}

void stream_again(struct stream *s, struct store *store, const struct prepared *p,
		  const struct cleaning *cleaning)
{
	stream_start(s, store, p->item, cleaning);
	s->same = p;
}

void stream_free(struct stream *s)
{
	buf_free(&s->raw);
	digest_free_at(&s->digest);
	s->digest = NULL;
}

/* Appends up to PIECE bytes of the item to raw. */
static int read_raw(struct stream *s, struct err *e)
{
	uint64_t left = s->item->len - s->at;
	size_t want = left < PIECE ? (size_t)left : PIECE;
	size_t had = s->raw.len;

	if (had + want + 1 > s->raw.room) {
		char *data = realloc(s->raw.data, had + want + 1);

		if (!data)
			return err_set(e, -ENOMEM, "out of memory");
		s->raw.data = data;
		s->raw.room = had + want + 1;
	}
	int r = store_read(s->store, s->item, s->at, s->raw.data + had, want, e);

	if (r < 0)
		return r;
	s->raw.len = had + want;
	s->raw.data[s->raw.len] = 0;
	s->at += want;
	return 0;
}

/* The first Received is the last stop: its date stands behind the last semicolon. */
static bool received(const struct mail_field *f, struct mail_date *date)
{
	const char *at = memrchr(f->value, ';', f->value_len);

	return at && mail_date_parse(at + 1, (size_t)(f->value + f->value_len - at - 1), date);
}

static void read_labels(struct prepared *p, const struct mail_field *f)
{
	struct buf line cleanup(buf_free) = {0};
	struct buf labels cleanup(buf_free) = {0};

	mail_field_text(f, &line);
	mail_decode_words(buf_text(&line), line.len, &labels);
	p->flags |= mail_labels_read(buf_text(&labels), &p->mailbox, &p->keywords);
	p->mailbox.failed |= buf_status(&line) < 0 || buf_status(&labels) < 0;
}

static int read_about(struct prepared *p, const struct store *store, const char *head, size_t len)
{
	const struct folder *folder = &store->folders[p->item->folder];
	struct cursor c = cursor_of(head, len);
	struct mail_field f;
	bool arrived = false, written = false;
	enum mail_head what;

	buf_clear(&p->keywords);
	buf_clear(&p->mailbox);
	p->flags = p->item->flags;
	if (folder->letters)
		mail_keywords_of_name(store->names + p->item->at, folder->letters, &p->keywords);
	p->date = (struct mail_date){.seconds = p->item->date};
	if (folder->takeout && mail_labels_find(head, len, &f))
		read_labels(p, &f);
	while ((what = mail_head_next(&c, &f)) != MAIL_HEAD_END) {
		if (what != MAIL_HEAD_FIELD)
			continue;
		mail_keywords_of(&f, &p->keywords);
		if (!arrived && mail_field_is(&f, "Received"))
			arrived = received(&f, &p->date);
		else if (!arrived && !written && mail_field_is(&f, "Date"))
			written = mail_date_parse(f.value, f.value_len, &p->date);
	}
	return buf_status(&p->keywords) < 0 ? -ENOMEM : buf_status(&p->mailbox);
}

/* A mail program may write the archive anew between two pieces: what comes of that is nobody's
 * message. Its last piece is not given, nor more than was announced, so that no server takes it for
 * a whole one. */
static int compare(struct stream *s, const char *bytes, size_t len, bool last, struct err *e)
{
	unsigned char sum[KEY_BYTES] = {0};
	int r = s->digest ? 0 : digest_start(&s->digest, e);

	if (r < 0)
		return r;
	EVP_DigestUpdate(s->digest, bytes, len);
	s->given += len;
	if (last)
		EVP_DigestFinal_ex(s->digest, sum, NULL);
	if (s->given > s->same->size || (last && memcmp(sum, s->same->as_sent, KEY_BYTES) != 0))
		return err_set(e, -ESTALE,
			       "a message of %s was changed while it was being read (is the mail "
			       "program running?); start again",
			       store_shown(s->store, s->item));
	return 0;
}

int stream_next(struct stream *s, struct buf *out, bool *last, struct err *e)
{
	size_t used = 0, had = out->len;
	int r = read_raw(s, e);

	if (r < 0)
		return r;
	*last = s->at == s->item->len;
	if (!s->body) {
		if (s->about && read_about(s->about, s->store, s->raw.data, s->raw.len) < 0)
			return store_no_memory(e);
		used = mail_clean_head(&s->clean, s->raw.data, s->raw.len, out);
		s->body = true;
	}
	used += mail_clean_body(&s->clean, s->raw.data + used, s->raw.len - used, *last, out);
	memmove(s->raw.data, s->raw.data + used, s->raw.len - used);
	s->raw.len -= used;
	if (buf_status(out) < 0)
		return store_no_memory(e);
	return s->same ? compare(s, buf_text(out) + had, out->len - had, *last, e) : 0;
}

/* The Message-ID in a cleaned message's first piece. */
static int find_id(struct prepared *p, const struct buf *text)
{
	struct buf id cleanup(buf_free) = {0};
	struct mail_field f;

	if (mail_head_find(buf_text(text), text->len, "Message-ID", &f) && f.value_len <= ID_MAX)
		mail_field_text(&f, &id);

	const char *start = buf_text(&id);

	while (*start == ' ' || *start == '\t')
		start++;
	free(p->id);
	p->id = strdup(start);
	for (char *c = p->id; c && *c; c++) /* it goes into lines of text */
		if ((unsigned char)*c < ' ')
			*c = '?';
	return p->id && buf_status(&id) == 0 ? 0 : -ENOMEM;
}

/* Whether the head says that the address got it once. */
static bool was_delivered(const struct buf *text, const char *address)
{
	struct cursor c = cursor_of(buf_text(text), text->len);
	size_t len = strlen(address);
	struct mail_field f;
	enum mail_head what;

	while ((what = mail_head_next(&c, &f)) != MAIL_HEAD_END) {
		if (what != MAIL_HEAD_FIELD || !mail_field_is(&f, "Delivered-To"))
			continue;
		while (f.value_len > 0 && strchr(" \t", f.value[f.value_len - 1]))
			f.value_len--;
		if (f.value_len == len && strncasecmp(f.value, address, len) == 0)
			return true;
	}
	return false;
}

static int run(struct prepared *p, struct stream *s, const char *recipient, struct err *e)
{
	EVP_MD_CTX *digest cleanup(digest_free_at) = NULL;
	bool last = false, first = true;
	int r = digest_start(&digest, e);

	if (r < 0)
		return r;
	p->size = 0;
	while (!last) {
		buf_clear(&p->text);
		r = stream_next(s, &p->text, &last, e);
		if (r < 0)
			return r;
		if (first && find_id(p, &p->text) < 0)
			return err_set(e, -ENOMEM, "out of memory");
		if (first)
			p->delivered = recipient && was_delivered(&p->text, recipient);
		EVP_DigestUpdate(digest, buf_text(&p->text), p->text.len);
		p->size += p->text.len;
		if (!last)
			first = false;
	}
	EVP_DigestFinal_ex(digest, p->as_sent, NULL);
	memcpy(p->key, p->as_sent, KEY_BYTES);
	p->facts = s->clean.facts;
	if (!first) /* more than one piece: too much to keep */
		buf_free(&p->text);
	return 0;
}

/* A message stays the same one for the journal when it is repaired, or loses another field, only
 * this time; and when the format that its file is taken for, and with it the quotes that it loses,
 * is another one, as the file has grown. */
static int plain_key(struct prepared *p, struct store *store, const struct cleaning *cleaning,
		     struct err *e)
{
	EVP_MD_CTX *digest cleanup(digest_free_at) = NULL;
	struct mail_names always = *cleaning->remove;
	const struct cleaning plain = {.remove = &always};
	struct stream s cleanup(stream_free) = {0};
	struct buf piece cleanup(buf_free) = {0};
	bool last = false;
	int r = digest_start(&digest, e);

	always.count = cleaning->always;
	stream_start(&s, store, p->item, &plain);
	s.clean.quote = MBOX_QUOTE_ALL;
	while (r == 0 && !last) {
		buf_clear(&piece);
		r = stream_next(&s, &piece, &last, e);
		if (r == 0)
			EVP_DigestUpdate(digest, buf_text(&piece), piece.len);
	}
	if (r == 0)
		EVP_DigestFinal_ex(digest, p->key, NULL);
	return r;
}

int prepare(struct prepared *p, struct store *store, const struct item *item,
	    const struct cleaning *cleaning, struct err *e)
{
	struct stream s = {0};
	int r;

	p->item = item;
	p->placed = p->owed = p->in_doubt = false;
	stream_start(&s, store, item, cleaning);
	s.about = p;
	r = run(p, &s, cleaning->recipient, e);
	stream_free(&s);
	if (r == 0 && (p->facts.repaired > 0 || p->facts.quotes > 0 ||
		       (p->facts.removed > 0 && cleaning->remove->count > cleaning->always)))
		r = plain_key(p, store, cleaning, e);
	return r;
}

/* A search for bytes over 127 is no IMAP, and '?' may stand for a control character: such an id is
 * not found though it is there. Without its <> it is found within others. */
bool prepared_is_searchable(const struct prepared *p)
{
	const char *c = p->id;

	while (*c >= ' ' && *c < 127 && *c != '?')
		c++;
	return *p->id == '<' && !*c && c[-1] == '>';
}

int prepared_mailbox(const struct prepared *p, const struct store *store, const char *into,
		     struct buf *name)
{
	const char *folder =
		p->mailbox.len > 0 ? buf_text(&p->mailbox) : store->folders[p->item->folder].name;

	buf_clear(name);
	if (into && *folder)
		buf_fmt(name, "%s/%s", into, folder);
	else
		buf_str(name, into ? into : *folder ? folder : "INBOX");
	return buf_status(name);
}

int prepared_place(struct prepared *p, const char *mailbox, struct err *e)
{
	EVP_MD_CTX *digest cleanup(digest_free_at) = NULL;
	int r = digest_start(&digest, e);

	if (r == 0) {
		EVP_DigestUpdate(digest, p->key, KEY_BYTES);
		EVP_DigestUpdate(digest, mailbox, strlen(mailbox));
		EVP_DigestFinal_ex(digest, p->place, NULL);
		p->placed = true;
	}
	return r;
}

void prepared_free(struct prepared *p)
{
	free(p->id);
	buf_free(&p->text);
	buf_free(&p->keywords);
	buf_free(&p->mailbox);
	*p = (struct prepared){0};
}
