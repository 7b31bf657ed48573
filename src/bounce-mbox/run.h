/* SPDX-License-Identifier: MIT */
/* One run: what is wanted, what became of it, and the sending itself. */
#ifndef BOUNCE_MBOX_RUN_H
#define BOUNCE_MBOX_RUN_H

#include <stdbool.h>
#include <stdint.h>

#include "bounce-mbox/pace.h"
#include "bounce-mbox/prepare.h"
#include "bounce-mbox/secret.h"
#include "bounce-mbox/taken.h"
#include "bounce-mbox/target.h"
#include "mail/sasl.h"
#include "mail/smtp.h"

struct err;
struct journal;
struct rejects;
struct report;
struct store;

struct options {
	const char *recipient;
	const char *sender;
	const char *hello;
	bool nameless;	    /* hello is no full name: the address goes before it */
	const char *folder; /* for IMAP: into it, or below it; NULL: as in the archive */
	struct target target;
	enum smtp_tls tls;
	const char *ca_file;
	const char *user; /* NULL: no login */
	bool token;
	const char *mechanism;
	struct secret_source secret;
	bool resent; /* adds the Resent- block */
	bool resend_doubtful;
	unsigned connections;
	unsigned per_connection; /* messages; 0: no limit */
	int timeout;		 /* seconds without a word from the server */
	int timeout_end;	 /* … behind a whole message */
	struct cleaning cleaning;
};

/* read = sent + already + skipped + aside + failed */
struct tally {
	uint64_t total; /* of the archive */
	uint64_t read, sent, already, skipped, aside, failed;
	uint64_t doubt; /* of those that failed */
	uint64_t sent_bytes, repaired, leaks, long_lines;
	uint64_t delivered; /* sent with a Delivered-To of the recipient's */
	uint64_t raw;  /* sent with bytes over 127 to a server that did not offer to take them */
	uint64_t bare; /* sent without the keywords that the server refused */
};

struct run {
	const struct options *options;
	struct store *store;
	struct journal *journal; /* NULL: none */
	struct taken taken;	 /* in this run, without a journal */
	struct rejects *rejects; /* NULL: none */
	struct report *report;
	struct pace pace;
	int stop_fd; /* of sig_watch(); -1: none */
	struct tally tally;
};

/* Sends what the store has. Returns 0 where everything was dealt with, 1 where it was told to
 * stop, or an error that ended it early. The tally is right in any case. */
int run_send(struct run *run, struct err *e);

/*
 * Says message by message what the target would refuse, or might, without sending anything; the
 * server is asked for its limits. In the tally, messages that would be set aside are "aside", all
 * others "skipped". *risky: how many of these might be refused.
 */
int run_check(struct run *run, uint64_t *risky, struct err *e);

/* Notes how many signatures will be broken by the headers that are removed. */
int run_warn_removed(struct run *run, struct err *e);

#endif
