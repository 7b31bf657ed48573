/* SPDX-License-Identifier: MIT */
/* X-Gmail-Labels, as Google Takeout writes it: where a message lay, and its flags. */
#ifndef MAIL_LABELS_H
#define MAIL_LABELS_H

#include <stdbool.h>
#include <stddef.h>

struct buf;
struct mail_field;

/* True where a header begins as Takeout writes it: *labels gets X-Gmail-Labels, which stands behind
 * X-GM-THRID. Nobody who sends mail gets his fields in front of these; and a mail program that has
 * taken the message over has put its own there, or what it notes is known to mbox.h. */
bool mail_labels_find(const char *head, size_t len, struct mail_field *labels);

/* Appends text with its RFC 2047 words decoded to UTF-8; words in other character sets than UTF-8,
 * ASCII and Latin 1 stay as they are. */
void mail_decode_words(const char *text, size_t len, struct buf *b);

/*
 * Reads a list of labels (decoded, commas between them): appends the mailbox, which is trash or
 * spam, else the first label of the person's own, else the inbox or the like (in the languages that
 * are known), else "Archive", to mailbox; the other labels that are places to keywords. Returns
 * MAIL_* flags.
 */
unsigned mail_labels_read(const char *labels, struct buf *mailbox, struct buf *keywords);

#endif
