/* SPDX-License-Identifier: MIT */
/* One of the two dialogues, as a connection drives it: see mail/smtp.h. */
#ifndef BOUNCE_MBOX_TALK_H
#define BOUNCE_MBOX_TALK_H

#include "mail/imap.h"
#include "mail/smtp.h"

struct talk {
	struct smtp *smtp; /* SMTP or LMTP, or … */
	struct imap *imap; /* … IMAP; both NULL: none */
};

static inline bool talk_is_open(const struct talk *t)
{
	return t->smtp || t->imap;
}

static inline void talk_free(struct talk *t)
{
	smtp_free(t->smtp);
	imap_free(t->imap);
	*t = (struct talk){0};
}

static inline int talk_input(struct talk *t, const char *bytes, size_t len)
{
	return t->imap ? imap_input(t->imap, bytes, len) : smtp_input(t->smtp, bytes, len);
}

static inline void talk_gone(struct talk *t)
{
	t->imap ? imap_gone(t->imap) : smtp_gone(t->smtp);
}

static inline const char *talk_output(const struct talk *t, size_t *len)
{
	return t->imap ? imap_output(t->imap, len) : smtp_output(t->smtp, len);
}

static inline void talk_left(struct talk *t, size_t len)
{
	t->imap ? imap_left(t->imap, len) : smtp_left(t->smtp, len);
}

static inline int talk_next(struct talk *t, struct smtp_told *told, struct err *e)
{
	return t->imap ? imap_next(t->imap, told, e) : smtp_next(t->smtp, told, e);
}

static inline int talk_encrypted(struct talk *t)
{
	return t->imap ? imap_encrypted(t->imap) : smtp_encrypted(t->smtp);
}

static inline bool talk_may_send(const struct talk *t)
{
	return t->imap ? imap_may_send(t->imap) : smtp_may_send(t->smtp);
}

static inline int talk_send(struct talk *t, const struct smtp_message *message)
{
	return t->imap ? imap_send(t->imap, message) : smtp_send(t->smtp, message);
}

static inline bool talk_takes_body(const struct talk *t)
{
	return t->imap ? imap_takes_body(t->imap) : smtp_takes_body(t->smtp);
}

static inline int talk_body(struct talk *t, const char *bytes, size_t len, bool last)
{
	return t->imap ? imap_body(t->imap, bytes, len, last)
		       : smtp_body(t->smtp, bytes, len, last);
}

static inline size_t talk_open_count(const struct talk *t)
{
	return t->imap ? imap_open_count(t->imap) : smtp_open_count(t->smtp);
}

static inline bool talk_is_busy(const struct talk *t)
{
	return t->imap ? imap_is_busy(t->imap) : smtp_is_busy(t->smtp);
}

static inline bool talk_is_judged(const struct talk *t)
{
	return t->imap ? imap_is_judged(t->imap) : smtp_is_judged(t->smtp);
}

static inline uint64_t talk_size_max(const struct talk *t)
{
	return t->imap ? imap_size_max(t->imap) : smtp_size_max(t->smtp);
}

/* No more messages for now. */
static inline void talk_flush(struct talk *t)
{
	if (t->imap)
		imap_flush(t->imap);
}

static inline int talk_quit(struct talk *t)
{
	return t->imap ? imap_quit(t->imap) : smtp_quit(t->smtp);
}

#endif
