/* SPDX-License-Identifier: MIT */
/* What the parts of the IMAP machine share: the session, the mails that it puts, those it reads. */
#ifndef MAIL_IMAP_PRIVATE_H
#define MAIL_IMAP_PRIVATE_H

#include "base/buf.h"
#include "mail/imap.h"

struct imap_line;

/* Messages on the way at once, where literals need no waiting. */
#define MAILS_MAX 32
/* So many, of so many bytes together, share a command. */
#define GROUP_MAX 16
/* So often in a session a mailbox that was there is made again. */
#define LOST_MAX    10
#define GROUP_BYTES ((uint64_t)1024 * 1024)

enum asked {
	ASKED_CAPABILITY,
	ASKED_STARTTLS,
	ASKED_AUTH,
	ASKED_LOGIN,
	ASKED_NAMESPACE,
	ASKED_LIST,
	ASKED_EXAMINE,
	ASKED_WHETHER, /* LIST of the mailbox that EXAMINE was refused for */
	ASKED_SEARCH,
	ASKED_UNSELECT,
	ASKED_CREATE,
	ASKED_SUBSCRIBE,
	ASKED_APPEND,
	ASKED_NAMES,
	ASKED_LOOK,
	ASKED_FETCH,
	ASKED_LOGOUT
};

enum step { STEP_NONE, STEP_ASK, STEP_MAKE, STEP_APPEND, STEP_GO_AHEAD, STEP_BODY };

struct mail {
	struct smtp_message message;
	unsigned tag; /* of its APPEND, which others may share; 0: not said yet */
	bool whole;   /* its last byte is in the output */
	uint64_t end; /* … and has left when so many bytes have */
	bool told_body;
	bool absent; /* the server was asked for it, and has it not */
	enum smtp_result result;
	bool decided;
	struct smtp_reply reply;
};

struct question {
	enum asked asked;
	unsigned tag;
};

/* An APPEND that may get more messages. */
struct group {
	bool open;
	unsigned tag, count;
	uint64_t bytes;
};

/* Reading what the account holds. */
struct fetch {
	bool on, tell_end;
	struct buf names;  /* of mailboxes, as the server writes them, each with a NUL */
	struct buf places; /* where there are labels, those that hold each message once … */
	bool all;	   /* … if \All is among them */
	size_t next;	   /* of the ones that are read */
	struct buf below;  /* the server's name of the mailbox that is wanted; empty: all */
	bool exists;	   /* the mailbox that is open holds a message */
	bool in_body, in_tail;
	uint64_t left; /* bytes of the message under way */
};

struct imap {
	struct imap_setup setup;
	struct buf in, out;
	size_t in_at, out_at;
	uint64_t left;
	unsigned tag;
	struct question questions[MAILS_MAX + 8];
	size_t question_count;
	bool greeted, ready, tell_ready, start_tls, encrypted, authenticated, gone, quit;
	struct buf capabilities; /* " IMAP4rev1 AUTH=PLAIN … " */
	struct buf prefix; /* of the person's own mailboxes, as the server writes it (RFC 2342) */
	char delimiter;
	bool no_dots; /* the server allows none in names (a Dovecot with Maildir and "/") */
	bool labels;  /* in place of mailboxes (Gmail) */
	bool literal_plus, literal_minus, multiappend;
	uint64_t size_max;
	struct smtp_reply farewell;
	struct mail mails[MAILS_MAX];
	size_t mail_count;
	enum step step;		  /* of the youngest */
	uint32_t validity;	  /* of the mailbox that is searched */
	uint32_t found;		  /* what the search found, by its UID; 0: nothing */
	bool unsure;		  /* … whether it is this one */
	struct smtp_reply unseen; /* why the mailbox could not be looked into */
	bool exists;		  /* … though LIST has told it */
	struct buf known;	  /* mailboxes that are there: "\nINBOX\nWork\n" */
	unsigned lost;		  /* mailboxes that were there, and then not */
	struct smtp_reply unmade; /* why the one that was to be made last was not; "": it was */
	struct group group;
	unsigned alone; /* so many messages more get commands of their own */
	struct fetch fetch;
};

/* Starts a command: its tag, and the expectation of its answer. */
void imap_ask(struct imap *i, enum asked asked);
void imap_say(struct imap *i, enum asked asked, const char *command);
void imap_set_reply(struct smtp_reply *r, int code, const char *words, size_t len);
/* True where the server's refusal is only for now (RFC 5530, Gmail). */
bool imap_for_now(const char *words, size_t len);

/* Appends the server's name of a mailbox. */
void imap_put_name(const struct imap *i, const char *name, struct buf *b);

/* Says for the youngest mail what can be said now. */
void imap_mail_go_on(struct imap *i);
void imap_mail_untagged(struct imap *i, const struct imap_line *line);
int imap_mail_reply(struct imap *i, const struct question *q, bool ok, const char *words,
		    size_t len, struct err *e);
/* What became of the oldest mail, where that is known. */
bool imap_mail_tell(struct imap *i, struct smtp_told *told);
bool imap_mail_wants_body(struct imap *i, struct smtp_told *told);

void imap_fetch_untagged(struct imap *i, const struct imap_line *line);
void imap_fetch_reply(struct imap *i, const struct question *q, bool ok);
/* Takes the input that belongs to a message: SMTP_MAIL or SMTP_NO_MORE and what it tells;
 * SMTP_WAIT: the input goes on with a line, unless it is not complete. */
int imap_fetch_input(struct imap *i, struct smtp_told *told, struct err *e);

#endif
