/* SPDX-License-Identifier: MIT */
/* The mails within an IMAP session: asked for where they may be there, their mailbox made, APPEND.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
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
	if (!i->ready || i->gone || i->quit || i->fetch.on || i->step != STEP_NONE)
		return false;
	return i->mail_count == 0 || ((i->literal_plus || i->literal_minus || i->group.open) &&
				      i->mail_count < MAILS_MAX);
}

bool imap_is_judged(const struct imap *i)
{
	for (size_t k = 0; k < i->mail_count; k++)
		if (!i->mails[k].decided && i->mails[k].whole && i->mails[k].end <= i->left)
			return true;
	return false;
}

void imap_flush(struct imap *i)
{
	if (!i->group.open || i->step == STEP_GO_AHEAD || i->step == STEP_BODY)
		return;
	buf_str(&i->out, "\r\n");
	i->group.open = false;
}

/* Whether a message may share the command of the one before it. */
static bool joins(const struct imap *i, const struct smtp_message *message)
{
	if (!i->group.open || i->mail_count == 0 || i->alone > 0 || message->message_id ||
	    message->odd)
		return false;
	return i->group.count < GROUP_MAX && i->group.bytes + message->size <= GROUP_BYTES &&
	       strcmp(message->mailbox, i->mails[i->mail_count - 1].message.mailbox) == 0;
}

/* Where its name stands among those that are known; NULL: nowhere. */
static const char *find_known(const struct imap *i, const char *mailbox)
{
	size_t len = strlen(mailbox);

	for (const char *at = buf_text(&i->known); (at = strstr(at, mailbox)); at++)
		if (at[-1] == '\n' && at[len] == '\n')
			return at;
	return NULL;
}

static bool is_known(const struct imap *i, const char *mailbox)
{
	return strcasecmp(mailbox, "INBOX") == 0 || find_known(i, mailbox);
}

/* The mailbox was there, and is not any more: somebody has renamed or deleted it. What goes there
 * is to be sent again, and has it made again. */
static bool is_lost(struct imap *i, const char *mailbox)
{
	const char *at = find_known(i, mailbox);
	size_t before = at ? (size_t)(at - i->known.data) : 0, len = strlen(mailbox) + 1;

	if (strcasecmp(mailbox, "INBOX") == 0 || (at && i->lost++ >= LOST_MAX))
		return false;
	if (at) {
		memmove(i->known.data + before, at + len, i->known.len - before - len + 1);
		i->known.len -= len;
	}
	return true;
}

int imap_send(struct imap *i, const struct smtp_message *message)
{
	if (!joins(i, message))
		imap_flush(i);
	i->mails[i->mail_count++] = (struct mail){.message = *message};
	i->step = STEP_ASK;
	i->found = 0;
	i->unsure = false;
	return 0;
}

static void put_mailbox(struct imap *i, const char *name)
{
	struct buf text cleanup(buf_free) = {0};

	imap_put_name(i, name, &text);
	imap_quoted(&i->out, buf_text(&text));
	i->out.failed = i->out.failed || buf_status(&text) < 0;
}

/* A server that makes no sense of a command (BAD) takes the body that follows unasked for commands
 * of ours, though anybody may have written it (RFC 7888 4 lets it close the connection; Dovecot
 * 2.3 does not). */
static void say_append(struct imap *i, struct mail *m)
{
	const struct smtp_message *s = &m->message;
	bool plus = !s->odd && (i->literal_plus || (i->literal_minus && s->size <= 4096));

	if (!i->group.open) {
		imap_ask(i, ASKED_APPEND);
		buf_str(&i->out, "APPEND ");
		put_mailbox(i, s->mailbox);
		i->group = (struct group){.open = true, .tag = i->tag};
	}
	i->group.count++;
	i->group.bytes += s->size;
	m->tag = i->group.tag;
	buf_fmt(&i->out, " (%s) \"%s\" {%" PRIu64 "%s}\r\n", s->flags, s->date, s->size,
		plus ? "+" : "");
	i->step = plus ? STEP_BODY : STEP_GO_AHEAD;
}

static void say_search(struct imap *i, const struct mail *m)
{
	imap_ask(i, ASKED_EXAMINE);
	buf_str(&i->out, "EXAMINE ");
	put_mailbox(i, m->message.mailbox);
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
		put_mailbox(i, m->message.mailbox);
		buf_str(&i->out, "\r\n");
	}
	if (i->step == STEP_APPEND &&
	    (i->literal_plus || i->literal_minus || i->group.open || i->question_count == 0))
		say_append(i, m);
}

bool imap_takes_body(const struct imap *i)
{
	return i->mail_count > 0 && i->step == STEP_BODY && !i->gone;
}

int imap_body(struct imap *i, const char *bytes, size_t len, bool last)
{
	struct mail *m = youngest(i);

	if (!imap_takes_body(i))
		return -EINVAL;
	m->told_body = false;
	buf_add(&i->out, bytes, len);
	if (last) {
		m->whole = true;
		m->end = i->left + i->out.len - i->out_at;
		i->step = STEP_NONE;
		if (!i->multiappend || i->alone > 0)
			imap_flush(i);
		i->alone -= i->alone > 0;
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

/* RFC 5530, and Gmail: what is only for now. */
bool imap_for_now(const char *words, size_t len)
{
	static const char *const codes[] = {"[UNAVAILABLE]", "[INUSE]",	    "[LIMIT]",
					    "[SERVERBUG]",   "[THROTTLED]", REPLY_BANDWIDTH};
	char text[64] = "";

	memcpy(text, words, len < sizeof(text) - 1 ? len : sizeof(text) - 1);
	for (size_t k = 0; k < COUNT(codes); k++)
		if (strcasestr(text, codes[k]))
			return true;
	return false;
}

static void decide(struct imap *i, struct mail *m, enum smtp_result result, const char *words,
		   size_t len)
{
	bool ok = result == SMTP_SENT;

	m->decided = true;
	m->result = result;
	imap_set_reply(&m->reply, ok ? 250 : imap_for_now(words, len) ? 451 : 554, words, len);
	if (m == youngest(i))
		i->step = STEP_NONE;
}

/* RFC 4315: where the nth message of its command went. */
static void decide_sent(struct imap *i, struct mail *m, size_t nth, const char *words, size_t len)
{
	struct buf text cleanup(buf_free) = {0};
	uint32_t validity, uid;

	if (imap_append_uid(words, len, nth, &validity, &uid)) {
		const char *rest = memchr(words, ']', len);

		buf_fmt(&text, "[APPENDUID %" PRIu32 " %" PRIu32 "]", validity, uid);
		if (rest)
			buf_add(&text, rest + 1, (size_t)(words + len - rest - 1));
		words = buf_text(&text);
		len = text.len;
	}
	decide(i, m, SMTP_SENT, words, len);
}

/* The answer came before the command was ended. */
static int answered_early(struct imap *i, bool ok, struct err *e)
{
	if (ok)
		return err_set(e, -EPROTO, "the server takes a message that it has not got yet");
	/* what is missing of its literal would be taken for commands */
	i->gone = i->gone || i->step == STEP_BODY;
	if (i->step == STEP_GO_AHEAD) /* in place of the "+" */
		i->group.open = false;
	return 0;
}

/* True where the mailbox is not there any more; where it never was, the words become the reason. */
static bool lacks_mailbox(struct imap *i, const struct mail *m, const char **words, size_t *len)
{
	if (!memmem(*words, *len, "[TRYCREATE]", 11))
		return false;
	if (!*i->unmade.text)
		return is_lost(i, m->message.mailbox);
	*words = i->unmade.text;
	*len = strlen(*words);
	return false;
}

static int append_reply(struct imap *i, unsigned tag, bool ok, const char *words, size_t len,
			struct err *e)
{
	size_t first = 0, count = 0;
	bool lost = false;
	int r = 0;

	while (first < i->mail_count && i->mails[first].tag != tag)
		first++;
	while (first + count < i->mail_count && i->mails[first + count].tag == tag)
		count++;
	if (!ok && count > 0)
		lost = lacks_mailbox(i, &i->mails[first], &words, &len);
	for (size_t k = 0; k < count && ok; k++)
		if (!i->mails[first + k].whole || i->mails[first + k].end > i->left)
			return answered_early(i, ok, e);
	if (i->group.open && i->group.tag == tag)
		r = answered_early(i, ok, e);
	for (size_t k = 0; k < count && r == 0; k++) {
		struct mail *m = &i->mails[first + k];

		if (ok)
			decide_sent(i, m, k, words, len);
		else
			decide(i, m, count > 1 || lost ? SMTP_UNSENT : SMTP_REFUSED, words, len);
	}
	if (!ok && count > 1)
		i->alone = (unsigned)count;
	imap_flush(i);
	return r;
}

/* What is nobody's counts for more than what may be another's. */
static void read_found(struct imap *i, const char *at, const char *end)
{
	const struct mail *m = youngest(i);
	uint32_t uid;

	while (m && (uid = imap_number(&at, end)) > 0) {
		enum imap_whose whose =
			i->setup.whose ? i->setup.whose(i->setup.data, m->message.message_id,
							i->validity, uid)
				       : IMAP_NOBODYS;

		if (whose == IMAP_NOBODYS && i->found == 0)
			i->found = uid;
		i->unsure = i->unsure || whose == IMAP_ANYBODYS;
		while (at < end && *at == ' ')
			at++;
	}
}

/* What LIST tells (RFC 3501 7.2.2, RFC 5258 3): "(FLAGS) "/" NAME". */
static bool holds_mail(const char *flags, const char *end)
{
	static const char *const without[] = {"\\Noselect", "\\NonExistent"};
	char text[200] = "";

	memcpy(text, flags,
	       end - flags < (int)sizeof(text) ? (size_t)(end - flags) : sizeof(text) - 1);
	text[strcspn(text, ")")] = 0;
	return !strcasestr(text, without[0]) && !strcasestr(text, without[1]);
}

void imap_mail_untagged(struct imap *i, const struct imap_line *line)
{
	static const char code[] = "[UIDVALIDITY ";
	const char *rest, *end = line->words + line->len;

	if (i->step != STEP_ASK)
		return;
	if (imap_word(line->words, line->len, "SEARCH", &rest)) {
		read_found(i, rest, end);
	} else if (imap_word(line->words, line->len, "LIST", &rest)) {
		i->exists = i->exists || holds_mail(rest, end);
	} else if (imap_word(line->words, line->len, "OK", &rest) &&
		   (size_t)(end - rest) > sizeof(code) &&
		   strncasecmp(rest, code, sizeof(code) - 1) == 0) {
		rest += sizeof(code) - 1;
		i->validity = imap_number(&rest, end);
	}
}

/* The server will never have such a name, but perhaps one without dots: as with a delimiter within
 * a level, they are written as '_' then, from now on. */
static bool is_without_dots(struct imap *i, const struct mail *m, const char *words, size_t len)
{
	if (!m || i->no_dots || !strchr(m->message.mailbox, '.') ||
	    !memmem(words, len, "[CANNOT]", 8))
		return false;
	i->no_dots = true;
	return true;
}

static void miss(struct imap *i, struct mail *m)
{
	if (m)
		m->absent = true;
	i->step = STEP_MAKE;
}

static void searched(struct imap *i, struct mail *m)
{
	static const char unsure[] = "what the server has of its Message-ID may be another message";
	char words[80];
	int len;

	if (m && i->found > 0) {
		len = snprintf(words, sizeof(words),
			       "[APPENDUID %" PRIu32 " %" PRIu32 "] it is there", i->validity,
			       i->found);
		decide(i, m, SMTP_SENT, words, (size_t)len);
	} else if (!m || !i->unsure) {
		miss(i, m);
	} else if (m->message.anyway) {
		i->step = STEP_MAKE;
	} else {
		decide(i, m, SMTP_DOUBT, unsure, sizeof(unsure) - 1);
	}
}

/* The server can't or won't tell now: nothing is known by that. */
static void untold(struct imap *i, struct mail *m, const char *words, size_t len)
{
	if (!m || m->message.anyway) {
		i->step = STEP_MAKE;
		return;
	}
	decide(i, m, SMTP_REFUSED, words, len);
	m->reply.code = 451;
}

/* A mailbox that is not there holds nothing. That EXAMINE is refused may have other reasons; only
 * RFC 5530 has a word for this one, so servers without it are asked for the name. */
static void examine_refused(struct imap *i, struct mail *m, const char *words, size_t len)
{
	if (is_without_dots(i, m, words, len))
		return;
	if (!m || memmem(words, len, "[NONEXISTENT]", 13) ||
	    memmem(words, len, "[TRYCREATE]", 11)) {
		miss(i, m);
	} else if (imap_for_now(words, len)) {
		untold(i, m, words, len);
	} else {
		imap_set_reply(&i->unseen, 451, words, len);
		i->exists = false;
		imap_ask(i, ASKED_WHETHER);
		buf_str(&i->out, "LIST \"\" ");
		put_mailbox(i, m->message.mailbox);
		buf_str(&i->out, "\r\n");
	}
}

int imap_mail_reply(struct imap *i, const struct question *q, bool ok, const char *words,
		    size_t len, struct err *e)
{
	struct mail *m = youngest(i);

	switch (q->asked) {
	case ASKED_EXAMINE:
		if (!ok) {
			examine_refused(i, m, words, len);
			return 0;
		}
		imap_ask(i, ASKED_SEARCH);
		buf_str(&i->out, "UID SEARCH HEADER Message-ID ");
		imap_quoted(&i->out, m ? m->message.message_id : "");
		buf_str(&i->out, "\r\n");
		return 0;
	case ASKED_WHETHER:
		if (ok && !i->exists)
			miss(i, m);
		else
			untold(i, m, i->unseen.text, strlen(i->unseen.text));
		return 0;
	case ASKED_SEARCH:
		/* CLOSE of a mailbox that was opened to be read only removes nothing */
		imap_say(i, ASKED_UNSELECT, "CLOSE");
		if (!ok)
			untold(i, m, words, len);
		else
			searched(i, m);
		return 0;
	case ASKED_CREATE: /* refused where it is there already; APPEND will tell */
		if (!ok && is_without_dots(i, m, words, len))
			return 0;
		imap_set_reply(&i->unmade, 0, words, ok ? 0 : len);
		if (m)
			buf_fmt(&i->known, "%s\n", m->message.mailbox);
		if (ok && m) {
			imap_ask(i, ASKED_SUBSCRIBE);
			buf_str(&i->out, "SUBSCRIBE ");
			put_mailbox(i, m->message.mailbox);
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
	case ASKED_LOGIN:
	case ASKED_NAMESPACE:
	case ASKED_LIST:
	case ASKED_NAMES:
	case ASKED_LOOK:
	case ASKED_FETCH:
	case ASKED_LOGOUT:
		break;
	}
	return 0;
}

/* That the server said goodbye only for now is told of one message, which is enough for a pause. */
static void decide_gone(struct imap *i, struct mail *m)
{
	m->result = m->whole && m->end <= i->left ? SMTP_DOUBT : SMTP_UNSENT;
	if (m->result == SMTP_DOUBT || !imap_for_now(i->farewell.text, strlen(i->farewell.text)))
		return;
	m->result = SMTP_REFUSED;
	m->reply = i->farewell;
	*i->farewell.text = 0;
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
		decide_gone(i, &m);
	if (i->mail_count == 1)
		i->step = STEP_NONE;
	memmove(&i->mails[0], &i->mails[1], (i->mail_count - 1) * sizeof(m));
	i->mail_count--;
	*told = (struct smtp_told){.id = m.message.id,
				   .result = m.result,
				   .reply = m.reply,
				   .absent = m.absent,
				   .command = NULL};
	return true;
}

bool imap_mail_wants_body(struct imap *i, struct smtp_told *told)
{
	struct mail *m = youngest(i);

	if (!imap_takes_body(i) || m->told_body)
		return false;
	m->told_body = true;
	told->id = m->message.id;
	return true;
}
