/* SPDX-License-Identifier: MIT */
#include "mail/flags.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/cursor.h"
#include "base/mem.h"
#include "mail/header.h"
#include "mail/imap_name.h"

static unsigned hex_of(const struct mail_field *f)
{
	unsigned n = 0;

	for (size_t i = 0; i < f->value_len && i < 8; i++) {
		char c = f->value[i];

		if (c >= '0' && c <= '9')
			n = n << 4 | (unsigned)(c - '0');
		else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
			n = n << 4 | (unsigned)((c | 0x20) - 'a' + 10);
		else
			break;
	}
	return n;
}

/* nsMsgMessageFlags.h: the bits that Thunderbird saves with a message. */
static unsigned mozilla_status(const struct mail_field *f)
{
	static const struct {
		unsigned bit, flag;
	} bits[] = {{0x0001, MAIL_SEEN},     {0x0002, MAIL_ANSWERED}, {0x0004, MAIL_FLAGGED},
		    {0x0008, MAIL_EXPUNGED}, {0x0400, MAIL_PARTIAL},  {0x1000, MAIL_FORWARDED}};
	unsigned status = hex_of(f), flags = 0;

	for (size_t i = 0; i < COUNT(bits); i++)
		if (status & bits[i].bit)
			flags |= bits[i].flag;
	return flags;
}

struct letters {
	const char *silent; /* that say nothing that is known here */
	struct {
		char letter;
		unsigned flag;
	} known[4]; /* unused ones at the end */
};

/* What the letters stand for, where there is nothing else: not everybody who writes a field of that
 * name means the flags ("X-Status: Delivered"). */
static unsigned read_letters(const struct mail_field *f, const struct letters *letters)
{
	size_t len = f->value_len;
	unsigned flags = 0;

	while (len > 0 && f->value[len - 1] == ' ') /* Dovecot's room for more */
		len--;
	for (size_t i = 0; i < len; i++) {
		char c = f->value[i];
		size_t k = 0;

		while (k < COUNT(letters->known) && letters->known[k].letter != c)
			k++;
		if (k < COUNT(letters->known))
			flags |= letters->known[k].flag;
		else if (!memchr(letters->silent, c, strlen(letters->silent)))
			return 0;
	}
	return flags;
}

static unsigned status(const struct mail_field *f)
{
	static const struct letters letters = {"ONUD", {{'R', MAIL_SEEN}}};

	return read_letters(f, &letters);
}

/* KMail writes other letters than all the rest, the one for read or unread first. Its 'D' is left
 * out: it kept no such message, and a word like RAPID is to delete none. */
static unsigned x_status(const struct mail_field *f)
{
	static const struct letters usual = {
		"",
		{{'A', MAIL_ANSWERED}, {'F', MAIL_FLAGGED}, {'D', MAIL_DELETED}, {'T', MAIL_DRAFT}},
	};
	static const struct letters kmail = {
		"UNOQKSWIPHTC",
		{{'R', MAIL_SEEN},
		 {'A', MAIL_ANSWERED},
		 {'F', MAIL_FORWARDED},
		 {'G', MAIL_FLAGGED}},
	};

	return read_letters(f, f->value_len > 0 && strchr("RUNO", *f->value) ? &kmail : &usual);
}

static bool internal_subject(const struct mail_field *f)
{
	/* written by the c-client library (UW, Pine) and Dovecot at the head of a folder */
	static const char words[] = "DON'T DELETE THIS MESSAGE -- FOLDER INTERNAL DATA";

	return f->value_len == sizeof(words) - 1 && memcmp(f->value, words, f->value_len) == 0;
}

unsigned mail_flags_of(const struct mail_field *field)
{
	switch (field->bytes[0] | 0x20) {
	case 'x':
		if (mail_field_is(field, "X-Mozilla-Status"))
			return mozilla_status(field);
		if (mail_field_is(field, "X-Mozilla-Status2"))
			return hex_of(field) & 0x00200000 ? MAIL_DELETED : 0;
		if (mail_field_is(field, "X-Status"))
			return x_status(field);
		return 0;
	case 's':
		if (mail_field_is(field, "Status"))
			return status(field);
		if (mail_field_is(field, "Subject") && internal_subject(field))
			return MAIL_INTERNAL;
		return 0;
	default:
		return 0;
	}
}

static bool is_letters(const char *at)
{
	while ((*at | 0x20) >= 'a' && (*at | 0x20) <= 'z')
		at++;
	return *at == 0;
}

const char *mail_info_of_name(const char *name)
{
	const char *info = strstr(name, ":2,");

	for (const char *at = name; !info && (at = strstr(at, "2,")) != NULL; at++)
		if (at > name && (at[-1] == '!' || at[-1] == ';') && is_letters(at + 2))
			info = at - 1;
	return info ? info + 3 : NULL;
}

size_t mail_base_of_name(const char *name)
{
	const char *info = mail_info_of_name(name);

	return info && info[-3] != ':' ? (size_t)(info - 3 - name) : strcspn(name, ":");
}

unsigned mail_flags_of_name(const char *name)
{
	static const struct {
		char letter;
		unsigned flag;
	} known[] = {{'S', MAIL_SEEN},	  {'R', MAIL_ANSWERED}, {'F', MAIL_FLAGGED},
		     {'T', MAIL_DELETED}, {'D', MAIL_DRAFT},	{'P', MAIL_FORWARDED}};
	const char *info = mail_info_of_name(name);
	unsigned flags = 0;

	if (!info)
		return 0;
	for (size_t i = 0; i < COUNT(known); i++)
		if (strchr(info, known[i].letter))
			flags |= known[i].flag;
	return flags;
}

/* RFC 3501 atom characters. */
static bool atom_char(char c)
{
	return c > ' ' && c < 127 && !strchr("(){%*\"\\]", c);
}

/* Adds a word that is not there yet. */
static void add_word(struct buf *b, const char *word, size_t len)
{
	const char *at = buf_text(b), *end = at + b->len;

	while ((at = memmem(at, (size_t)(end - at), word, len)) != NULL) {
		if (at[-1] == ' ' && (at + len == end || at[len] == ' '))
			return;
		at++;
	}
	buf_char(b, ' ');
	buf_add(b, word, len);
}

void mail_keyword_add(struct buf *b, const char *text, size_t len)
{
	struct buf name = {0}, word = {0};

	buf_add(&name, text, len);
	imap_name_put(&word, buf_text(&name), '/');
	for (size_t i = 0; i < word.len; i++)
		if (!atom_char(word.data[i]))
			word.data[i] = '_';
	b->failed |= buf_status(&name) < 0 || buf_status(&word) < 0;
	if (word.len > 0)
		add_word(b, word.data, word.len);
	buf_free(&name);
	buf_free(&word);
}

/* The five labels that mail programs before 2004 had, kept in three bits. */
static void add_old_label(const struct mail_field *field, struct buf *b)
{
	unsigned label = hex_of(field) >> 25 & 7;
	char word[] = "$label0";

	if (label < 1 || label > 5)
		return;
	word[6] = (char)('0' + label);
	add_word(b, word, sizeof(word) - 1);
}

void mail_keywords_of(const struct mail_field *field, struct buf *b)
{
	size_t i = 0;

	if (mail_field_is(field, "X-Mozilla-Status2"))
		add_old_label(field, b);
	if (!mail_field_is(field, "X-Mozilla-Keys") && !mail_field_is(field, "X-Keywords"))
		return;
	while (i < field->value_len) {
		size_t start = i;

		while (i < field->value_len && atom_char(field->value[i]))
			i++;
		if (i > start && (i == field->value_len || field->value[i] <= ' '))
			add_word(b, field->value + start, i - start);
		while (i < field->value_len && field->value[i] > ' ')
			i++;
		while (i < field->value_len && field->value[i] <= ' ')
			i++;
	}
}

static bool is_word(const char *at, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (!atom_char(at[i]))
			return false;
	return len > 0;
}

int mail_letters_read(struct mail_letters *letters, const char *text, size_t len)
{
	struct cursor c = cursor_of(text, len);
	const char *line;
	size_t n;

	while (cursor_part(&c, '\n', &line, &n)) {
		const char *blank = memchr(line, ' ', n);
		size_t word = blank ? (size_t)(line + n - blank) - 1 : 0, number = 0;

		for (const char *at = line; blank && at < blank; at++)
			number = *at >= '0' && *at <= '9' && number < MAIL_LETTERS
					 ? number * 10 + (size_t)(*at - '0')
					 : MAIL_LETTERS;
		if (!blank || blank == line || number >= MAIL_LETTERS ||
		    !is_word(blank + 1, word) || letters->words[number])
			continue;
		letters->words[number] = string_from(blank + 1, word);
		if (!letters->words[number])
			return -ENOMEM;
	}
	return 0;
}

void mail_letters_free(struct mail_letters *letters)
{
	for (size_t i = 0; letters && i < MAIL_LETTERS; i++)
		free(letters->words[i]);
}

void mail_keywords_of_name(const char *name, const struct mail_letters *letters, struct buf *b)
{
	const char *info = mail_info_of_name(name);

	for (const char *c = info ? info : ""; *c; c++) {
		const char *word = *c >= 'a' && *c <= 'z' ? letters->words[*c - 'a'] : NULL;

		if (word)
			add_word(b, word, strlen(word));
	}
}
