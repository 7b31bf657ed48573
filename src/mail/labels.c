/* SPDX-License-Identifier: MIT */
#include "mail/labels.h"

#include <string.h>
#include <strings.h>

#include "base/buf.h"
#include "base/cursor.h"
#include "base/mem.h"
#include "mail/flags.h"
#include "mail/header.h"

static int hex_of(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
		return (c | 0x20) - 'a' + 10;
	return -1;
}

static void decode_q(const char *at, size_t len, struct buf *b)
{
	for (size_t i = 0; i < len; i++) {
		int high = at[i] == '=' && i + 2 < len ? hex_of(at[i + 1]) : -1;
		int low = high >= 0 ? hex_of(at[i + 2]) : -1;

		if (low >= 0) {
			buf_char(b, (char)(high << 4 | low));
			i += 2;
		} else {
			buf_char(b, (char)(at[i] == '_' ? ' ' : at[i]));
		}
	}
}

static void decode_b(const char *at, size_t len, struct buf *b)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	unsigned bits = 0, count = 0;

	for (size_t i = 0; i < len && at[i] != '='; i++) {
		const char *digit = at[i] ? strchr(digits, at[i]) : NULL;

		if (!digit)
			continue;
		bits = bits << 6 | (unsigned)(digit - digits);
		count += 6;
		if (count < 8)
			continue;
		count -= 8;
		buf_char(b, (char)(bits >> count & 0xff));
	}
}

static void put_latin1(const struct buf *from, struct buf *to)
{
	for (size_t i = 0; i < from->len; i++) {
		unsigned char c = (unsigned char)from->data[i];

		if (c < 128) {
			buf_char(to, (char)c);
		} else {
			buf_char(to, (char)(0xc0 | c >> 6));
			buf_char(to, (char)(0x80 | (c & 63)));
		}
	}
}

static bool charset_is(const char *charset, size_t len, const char *name)
{
	return strlen(name) == len && strncasecmp(charset, name, len) == 0;
}

/* Decodes =?CHARSET?B?TEXT?= at the front of text; returns its length, 0 where there is none. */
static size_t decode_word(const char *text, size_t len, struct buf *b)
{
	struct cursor c = cursor_of(text, len);
	struct buf bytes cleanup(buf_free) = {0};
	const char *start, *charset, *how, *word;
	size_t n, charset_len, how_len, word_len;

	if (len < 8 || memcmp(text, "=?", 2) != 0)
		return 0;
	if (!cursor_part(&c, '?', &start, &n) || !cursor_part(&c, '?', &charset, &charset_len) ||
	    !cursor_part(&c, '?', &how, &how_len) || !cursor_part(&c, '?', &word, &word_len) ||
	    how_len != 1 || cursor_left(&c) == 0 || *c.at != '=')
		return 0;
	if ((*how | 0x20) == 'b')
		decode_b(word, word_len, &bytes);
	else if ((*how | 0x20) == 'q')
		decode_q(word, word_len, &bytes);
	else
		return 0;
	if (charset_is(charset, charset_len, "ISO-8859-1"))
		put_latin1(&bytes, b);
	else if (charset_is(charset, charset_len, "UTF-8") ||
		 charset_is(charset, charset_len, "US-ASCII"))
		buf_add(b, buf_text(&bytes), bytes.len);
	else
		return 0;
	b->failed = b->failed || buf_status(&bytes) < 0;
	return (size_t)((const char *)c.at + 1 - text);
}

void mail_decode_words(const char *text, size_t len, struct buf *b)
{
	bool after_word = false;
	size_t i = 0;

	while (i < len) {
		size_t blanks = 0, word;

		while (i + blanks < len && strchr(" \t\r\n", text[i + blanks]) && text[i + blanks])
			blanks++;
		if (after_word && i + blanks < len) { /* blanks between two words mean nothing */
			word = decode_word(text + i + blanks, len - i - blanks, b);
			i += word > 0 ? blanks + word : 0;
			after_word = word > 0;
			if (word > 0)
				continue;
		}
		buf_add(b, text + i, blanks);
		i += blanks;
		if (i == len)
			break;
		word = decode_word(text + i, len - i, b);
		after_word = word > 0;
		if (word == 0)
			buf_char(b, text[i]);
		i += word > 0 ? word : 1;
	}
}

bool mail_labels_find(const char *head, size_t len, struct mail_field *labels)
{
	struct cursor c = cursor_of(head, len);
	struct mail_field f;

	if (mail_head_next(&c, &f) != MAIL_HEAD_FIELD)
		return false;
	if (mail_field_is(&f, "X-Bounce-Mbox-Refused") && mail_head_next(&c, &f) != MAIL_HEAD_FIELD)
		return false;
	return mail_field_is(&f, "X-GM-THRID") && mail_head_next(&c, labels) == MAIL_HEAD_FIELD &&
	       mail_field_is(labels, "X-Gmail-Labels");
}

/* The last ones say places. Trash and spam hold what no label is to bring back. */
enum meaning {
	MEANS_NOTHING,
	MEANS_UNREAD,
	MEANS_STARRED,
	MEANS_FORWARDED,
	MEANS_INBOX,
	MEANS_USUAL, /* where mail lies that nobody has sorted */
	MEANS_OWN,
	MEANS_BIN
};

/* Takeout writes the names of the account's language. Those of other languages than English,
 * German, French, Spanish and Catalan are taken for folders of the person's own. */
static const struct {
	enum meaning meaning;
	const char *names[16]; /* NULL behind the last one */
} known[] = {
	{MEANS_NOTHING,
	 {"Opened", "Important", "Archived", "Geöffnet", "Wichtig", "Archiviert", "Ouvert",
	  "Messages archivés", "Abierto", "Importante", "Oberts", "Importants"}},
	{MEANS_UNREAD, {"Unread", "Ungelesen", "Non lus", "No leídos", "No llegits"}},
	{MEANS_STARRED, {"Starred", "Markiert", "Favoris"}},
	{MEANS_INBOX,
	 {"Inbox", "Posteingang", "Boîte de réception", "Recibidos", "Safata d'entrada"}},
	{MEANS_USUAL,
	 {"Sent", "Drafts", "Chat", "Gesendet", "Entwürfe", "Messages envoyés", "Brouillons",
	  "Enviados", "Borradores", "Enviats", "Esborranys"}},
	{MEANS_BIN, {"Trash", "Spam", "Papierkorb", "Corbeille", "Papelera", "Paperera"}},
};

static enum meaning look_up(const char *label, size_t len)
{
	for (size_t i = 0; i < COUNT(known); i++)
		for (const char *const *name = known[i].names; *name; name++)
			if (strlen(*name) == len && strncasecmp(*name, label, len) == 0)
				return known[i].meaning;
	return MEANS_OWN;
}

static bool starts(const char *label, size_t len, const char *prefix)
{
	size_t n = strlen(prefix);

	return len > n && strncasecmp(label, prefix, n) == 0 &&
	       (label[n] == ' ' || label[n] == ':' || prefix[n - 1] == '_');
}

static enum meaning meaning_of(const char *label, size_t len)
{
	static const char *const prefixes[] = {"Category",  "Kategorie", "Catégorie",
					       "Categoría", "Categoria", "IMAP_"};

	if (starts(label, len, "IMAP_") && memmem(label, len, "Forwarded", 9))
		return MEANS_FORWARDED;
	for (size_t i = 0; i < COUNT(prefixes); i++)
		if (starts(label, len, prefixes[i]))
			return MEANS_NOTHING;
	return len > 0 ? look_up(label, len) : MEANS_NOTHING;
}

struct label {
	const char *text;
	size_t len;
	enum meaning meaning;
};

static bool next_label(struct cursor *c, struct label *label)
{
	if (!cursor_part(c, ',', &label->text, &label->len))
		return false;
	while (label->len > 0 && *label->text == ' ') {
		label->text++;
		label->len--;
	}
	label->meaning = meaning_of(label->text, label->len);
	return true;
}

/* Of two labels the one with the higher rank says the mailbox, else the first one; 0: none does. */
static int rank(enum meaning meaning)
{
	if (meaning < MEANS_INBOX)
		return 0;
	return meaning <= MEANS_USUAL ? 1 : (int)meaning;
}

static void put_place(const struct label *place, struct buf *mailbox)
{
	if (place->meaning == MEANS_NOTHING)
		buf_str(mailbox, "Archive");
	else if (place->meaning == MEANS_INBOX)
		buf_str(mailbox, "INBOX");
	else
		buf_add(mailbox, place->text, place->len);
}

unsigned mail_labels_read(const char *labels, struct buf *mailbox, struct buf *keywords)
{
	struct cursor c = cursor_of(labels, strlen(labels)), again = c;
	struct label label, place = {.meaning = MEANS_NOTHING};
	unsigned flags = MAIL_SEEN;

	while (next_label(&c, &label)) {
		if (label.meaning == MEANS_UNREAD)
			flags &= ~(unsigned)MAIL_SEEN;
		if (label.meaning == MEANS_STARRED)
			flags |= MAIL_FLAGGED;
		if (label.meaning == MEANS_FORWARDED)
			flags |= MAIL_FORWARDED;
		if (rank(label.meaning) > rank(place.meaning))
			place = label;
	}
	while (next_label(&again, &label))
		if (rank(label.meaning) > 0 && label.text != place.text)
			mail_keyword_add(keywords, label.text, label.len);
	put_place(&place, mailbox);
	return flags;
}
