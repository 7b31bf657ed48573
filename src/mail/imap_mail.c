/* SPDX-License-Identifier: MIT */
/* The mails within an IMAP session: asked for where they may be there, their mailbox made, APPEND.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <strings.h>

#include "base/err.h"
#include "base/mem.h"
#include "mail/imap_line.h"
#include "mail/imap_private.h"

static struct mail *youngest(struct imap *i)
{
	return i->step == STEP_NONE || i->mail_count == 0 ? NULL : &i->mails[i->mail_count - 1];
}

bool imap_may_send(const struct imap *i)
{
	if (!i->ready || i->gone || i->quit || i->step != STEP_NONE)
		return false;
	return i->mail_count == 0 ||
	       ((i->literal_plus || i->literal_minus) && i->mail_count < MAILS_MAX);
}

static bool is_known(const struct imap *i, const char *mailbox)
{
	size_t len = strlen(mailbox);

	if (strcasecmp(mailbox, "INBOX") == 0)
		return true;
	for (const char *at = buf_text(&i->known); (at = strstr(at, mailbox)); at++)
		if (at[-1] == '\n' && at[len] == '\n')
			return true;
	return false;
}

int imap_send(struct imap *i, const struct smtp_message *message)
{
	i->mails[i->mail_count++] = (struct mail){.message = *message};
	i->step = STEP_ASK;
	i->found = false;
	return 0;
}

static void say_append(struct imap *i, struct mail *m)
{
	const struct smtp_message *s = &m->message;
	bool plus = i->literal_plus || (i->literal_minus && s->size <= 4096);

	imap_ask(i, ASKED_APPEND);
	m->tag = i->tag;
	buf_str(&i->out, "APPEND ");
	imap_mailbox(&i->out, s->mailbox, i->delimiter);
	buf_fmt(&i->out, " (%s) \"%s\" {%" PRIu64 "%s}\r\n", s->flags, s->date, s->size,
		plus ? "+" : "");
	i->step = plus ? STEP_BODY : STEP_GO_AHEAD;
}

static void say_search(struct imap *i, const struct mail *m)
{
	imap_ask(i, ASKED_EXAMINE);
	buf_str(&i->out, "EXAMINE ");
	imap_mailbox(&i->out, m->message.mailbox, i->delimiter);
	buf_str(&i->out, "\r\n");
}

/* Says for the youngest mail what can be said now. */
void imap_mail_go_on(struct imap *i)
{
	struct mail *m = youngest(i);

	if (!m || i->gone)
		return;
	if (i->step == STEP_ASK && !m->message.message_id)
		i->step = STEP_MAKE;
	if (i->step == STEP_ASK && i->question_count == 0)
		say_search(i, m);
	if (i->step == STEP_MAKE && is_known(i, m->message.mailbox))
		i->step = STEP_APPEND;
	if (i->step == STEP_MAKE && i->question_count == 0) {
		imap_ask(i, ASKED_CREATE);
		buf_str(&i->out, "CREATE ");
		imap_mailbox(&i->out, m->message.mailbox, i->delimiter);
		buf_str(&i->out, "\r\n");
	}
	if (i->step == STEP_APPEND)
		say_append(i, m);
}

int imap_body(struct imap *i, const char *bytes, size_t len, bool last)
{
	struct mail *m = youngest(i);

	if (!m || i->step != STEP_BODY)
		return -EINVAL;
	m->told_body = false;
	buf_add(&i->out, bytes, len);
	if (last) {
		buf_str(&i->out, "\r\n");
		m->whole = true;
		m->end = i->left + i->out.len - i->out_at - 2;
		i->step = STEP_NONE;
	}
	return buf_status(&i->out);
}

void imap_set_reply(struct smtp_reply *r, int code, const char *words, size_t len)
{
	*r = (struct smtp_reply){.code = code};
	if (len >= sizeof(r->text))
		len = sizeof(r->text) - 1;
	for (size_t k = 0; k < len; k++)
		r->text[k] = (char)((unsigned char)words[k] < ' ' ? '?' : words[k]);
}

/* RFC 5530: what is only for now. */
bool imap_for_now(const char *words, size_t len)
{
	static const char *const codes[] = {"[UNAVAILABLE]", "[INUSE]", "[LIMIT]", "[SERVERBUG]",
					    "[THROTTLED]"};
	char text[64] = "";

	memcpy(text, words, len < sizeof(text) - 1 ? len : sizeof(text) - 1);
	for (size_t k = 0; k < COUNT(codes); k++)
		if (strcasestr(text, codes[k]))
			return true;
	return false;
}

static void decide(struct imap *i, struct mail *m, bool ok, const char *words, size_t len)
{
	m->decided = true;
	m->result = ok ? SMTP_SENT : SMTP_REFUSED;
	imap_set_reply(&m->reply, ok ? 250 : imap_for_now(words, len) ? 451 : 554, words, len);
	if (m == youngest(i))
		i->step = STEP_NONE;
}

static int append_reply(struct imap *i, unsigned tag, bool ok, const char *words, size_t len,
			struct err *e)
{
	for (size_t k = 0; k < i->mail_count; k++) {
		struct mail *m = &i->mails[k];

		if (m->tag != tag)
			continue;
		if (ok && (!m->whole || m->end > i->left))
			return err_set(e, -EPROTO,
				       "the server takes a message that it has not got yet");
		/* what is missing of its literal would be taken for commands */
		i->gone = i->gone || (m == youngest(i) && i->step == STEP_BODY);
		decide(i, m, ok, words, len);
		return 0;
	}
	return 0;
}

int imap_mail_reply(struct imap *i, const struct question *q, bool ok, const char *words,
		    size_t len, struct err *e)
{
	struct mail *m = youngest(i);

	switch (q->asked) {
	case ASKED_EXAMINE:
		if (!ok) {
			i->step = STEP_MAKE;
			return 0;
		}
		imap_ask(i, ASKED_SEARCH);
		buf_str(&i->out, "UID SEARCH HEADER Message-ID ");
		imap_quoted(&i->out, m ? m->message.message_id : "");
		buf_str(&i->out, "\r\n");
		return 0;
	case ASKED_SEARCH:
		/* CLOSE of a mailbox that was opened to be read only removes nothing */
		imap_say(i, ASKED_UNSELECT, "CLOSE");
		if (m && ok && i->found)
			decide(i, m, true, "it is there", 11);
		else
			i->step = STEP_MAKE;
		return 0;
	case ASKED_CREATE: /* refused where it is there already; APPEND will tell */
		if (m)
			buf_fmt(&i->known, "%s\n", m->message.mailbox);
		if (ok && m) {
			imap_ask(i, ASKED_SUBSCRIBE);
			buf_str(&i->out, "SUBSCRIBE ");
			imap_mailbox(&i->out, m->message.mailbox, i->delimiter);
			buf_str(&i->out, "\r\n");
		}
		return 0;
	case ASKED_APPEND:
		return append_reply(i, q->tag, ok, words, len, e);
	case ASKED_UNSELECT:
	case ASKED_SUBSCRIBE:
	case ASKED_CAPABILITY:
	case ASKED_STARTTLS:
	case ASKED_AUTH:
	case ASKED_LIST:
	case ASKED_LOGOUT:
		break;
	}
	return 0;
}

bool imap_mail_tell(struct imap *i, struct smtp_told *told)
{
	struct mail m;

	if (i->mail_count == 0)
		return false;
	m = i->mails[0];
	if (!m.decided && !i->gone)
		return false;
	if (!m.decided)
		m.result = m.whole && m.end <= i->left ? SMTP_DOUBT : SMTP_UNSENT;
	if (i->mail_count == 1)
		i->step = STEP_NONE;
	memmove(&i->mails[0], &i->mails[1], (i->mail_count - 1) * sizeof(m));
	i->mail_count--;
	*told = (struct smtp_told){
		.id = m.message.id, .result = m.result, .reply = m.reply, .command = NULL};
	return true;
}

bool imap_mail_wants_body(struct imap *i, struct smtp_told *told)
{
	struct mail *m = youngest(i);

	if (!m || i->step != STEP_BODY || m->told_body || i->gone)
		return false;
	m->told_body = true;
	told->id = m->message.id;
	return true;
}
