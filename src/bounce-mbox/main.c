/* SPDX-License-Identifier: MIT */
/* The command line of bounce-mbox. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/buf.h"
#include "base/cli.h"
#include "base/err.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/sig.h"
#include "bounce-mbox/account.h"
#include "bounce-mbox/journal.h"
#include "bounce-mbox/rejects.h"
#include "bounce-mbox/report.h"
#include "bounce-mbox/setup.h"
#include "bounce-mbox/store.h"
#include "bounce-mbox/verify.h"

static const struct cli_option options[] = {
	{.name = "port", .value = "PORT", .help = "use PORT of the server (25)", .letter = 'p'},
	{.name = "remove",
	 .value = "LIST",
	 .help = "remove the headers in LIST too (commas between them)",
	 .letter = 'r',
	 .repeat = true},
	{.name = "delay",
	 .value = "SECS",
	 .help = "wait SECS between messages (0.5; with IMAP 0)",
	 .letter = 'd'},
	{.name = "journal",
	 .value = "JOURNAL",
	 .help = "keep track of sent messages in JOURNAL",
	 .letter = 'j'},
	{.name = "dry-run", .help = "read everything, send nothing"},
	{.name = "check", .help = "tell what the server would refuse, and how long it will take"},
	{.name = "status", .help = "tell what a journal, the only argument, says"},
	{.name = "verify",
	 .value = "EXPORT|URL",
	 .help = "compare the archive with what was exported again, or with an imap:// account"},
	{.name = "resend-doubtful", .help = "send again what an earlier run may have sent"},
	{.name = "rejects", .value = "FILE", .help = "append what is refused to FILE, an mbox"},
	{.name = "format",
	 .value = "FORMAT",
	 .help = "mboxo, mboxrd, mboxcl, mboxcl2, thunderbird (auto)"},
	{.name = "order",
	 .value = "ORDER",
	 .help = "oldest (first), or archive: as it stands there (oldest)"},
	{.name = "with-expunged", .help = "send deleted, not yet compacted messages too"},
	{.name = "repair",
	 .value = "LIST",
	 .help = "repair what SMTP does not allow: nul, cr, long, space, all"},
	{.name = "sender",
	 .value = "ADDRESS",
	 .help = "of the envelope, for bounces (the recipient)"},
	{.name = "folder", .value = "NAME", .help = "put mail into or below NAME (IMAP only)"},
	{.name = "resent", .help = "add Resent- headers"},
	{.name = "hello", .value = "NAME", .help = "this machine's name for the server"},
	{.name = "tls",
	 .value = "MODE",
	 .help = "optional (where it is offered), required, off (optional)"},
	{.name = "tls-ca",
	 .value = "FILE",
	 .help = "trust the certificates in FILE, not the system's"},
	{.name = "user", .value = "NAME", .help = "log in as NAME"},
	{.name = "password-file",
	 .value = "FILE",
	 .help = "the password is the first line of FILE"},
	{.name = "password-command",
	 .value = "COMMAND",
	 .help = "the password is what COMMAND prints"},
	{.name = "token-file", .value = "FILE", .help = "the same for an OAuth token"},
	{.name = "token-command",
	 .value = "COMMAND",
	 .help = "it is run again when the token has ended"},
	{.name = "auth",
	 .value = "MECHANISM",
	 .help = "log in by this one only: PLAIN, SCRAM-SHA-256, …"},
	{.name = "rate", .value = "RATE", .help = "at most RATE messages: 60/min, 2/s, 500/day"},
	{.name = "provider",
	 .value = "NAME",
	 .help = "keep to its limits: gmail, office365, yahoo, fastmail"},
	{.name = "connections", .value = "N", .help = "use N connections at once (1)"},
	{.name = "backoff", .value = "SECS", .help = "first pause when the server says: later (5)"},
	{.name = "timeout",
	 .value = "SECS",
	 .help = "without a word from the server (300; behind a message 600)"},
	{.name = "json", .help = "print the result as JSON"},
	{.name = "quiet", .help = "no progress, only what went wrong, and the sums", .letter = 'q'},
	{0},
};

static int64_t now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * SECOND + t.tv_nsec / 1000;
}

/* The kernel's boot id; "unknown" is never the same as another. */
static void boot_id(char boot[40])
{
	char *text = NULL;
	size_t len;

	snprintf(boot, 40, "unknown");
	if (file_read("/proc/sys/kernel/random/boot_id", 100, &text, &len, NULL) < 0)
		return;
	text[strcspn(text, "\n")] = 0;
	if (len > 30)
		snprintf(boot, 40, "%s", text);
	free(text);
}

static void print_doubt(const char *id, void *data)
{
	(void)data;
	printf("in doubt: %s\n", *id ? id : "a message without Message-ID");
}

static int status(const struct cli_call *call)
{
	struct journal *journal = NULL;
	struct journal_sums sums;
	struct err e = {0};
	char boot[40];
	uint64_t dealt, left;

	if (call->nargs != 1)
		return cli_misused(call, "--status takes one argument, the journal");
	boot_id(boot);
	if (journal_look(&journal, call->args[0], boot, &e) < 0) {
		cli_complain(call, "%s", e.text);
		return EXIT_FAILED;
	}
	journal_sums(journal, &sums);
	dealt = sums.sent + sums.old + sums.doubt + sums.refused;
	left = sums.total > dealt ? sums.total - dealt : 0;
	if (cli_has(call, "json")) {
		printf("{\"sent\": %llu, \"in_doubt\": %llu, \"refused\": %llu, \"left\": %llu}\n",
		       (unsigned long long)sums.sent + sums.old, (unsigned long long)sums.doubt,
		       (unsigned long long)sums.refused, (unsigned long long)left);
	} else {
		journal_doubts(journal, print_doubt, NULL);
		printf("sent %llu, in doubt %llu, refused %llu, left %llu%s%s\n",
		       (unsigned long long)sums.sent + sums.old, (unsigned long long)sums.doubt,
		       (unsigned long long)sums.refused, (unsigned long long)left,
		       *sums.target ? "; the last run went to " : "", sums.target);
	}
	journal_close(journal);
	return EXIT_OK;
}

/* What earlier runs sent today counts too. */
static void recall(struct run *run)
{
	uint32_t parts[DAY_PARTS];

	journal_recent(run->journal, parts);
	pace_recall(&run->pace, now_us(), parts);
}

static int open_journal(const struct cli_call *call, struct run *run, bool dry, struct err *e)
{
	const char *path = cli_get(call, "journal"), *server = run->options->target.shown;
	struct journal_sums sums;
	char target[sizeof(sums.target)];
	struct stat st;
	char boot[40];
	int r;

	if (!path)
		return 0;
	boot_id(boot);
	if (dry) /* nothing is to change */
		return stat(path, &st) < 0 && errno == ENOENT
			       ? 0
			       : journal_look(&run->journal, path, boot, e);
	r = journal_open(&run->journal, path, boot, e);
	if (r < 0)
		return r;
	recall(run);
	journal_sums(run->journal, &sums);
	if (sums.healed)
		report_note(run->report, "the journal's end was torn and has been healed");
	snprintf(target, sizeof(target), "%s at %s", run->options->recipient, server);
	/* version 0.1.0 noted the server alone */
	if (*sums.target && strcmp(sums.target, target) != 0 && strcmp(sums.target, server) != 0)
		report_note(
			run->report,
			"the journal is of mail to %s: what it says was sent there is not sent to "
			"%s again",
			sums.target, target);
	journal_run(run->journal, run->store->count, target);
	return journal_write(run->journal, e); /* on the disk with the first intents */
}

static void count_known(struct tally *tally, enum journal_state state)
{
	tally->already += state == JOURNAL_SENT;
	tally->doubt += state == JOURNAL_DOUBT;
	tally->failed += state == JOURNAL_DOUBT;
}

/* With a journal: what of the archive it knows. Without one reading the archive was all. */
static int rehearse(struct run *run, struct err *e)
{
	struct prepared p = {0};
	int r = 0;

	run->tally.read += run->store->count;
	for (size_t i = 0; i < run->store->count && run->journal && r == 0; i++) {
		report_progress(run->report, &run->tally, NULL, now_us());
		r = prepare(&p, run->store, store_item(run->store, i), &run->options->cleaning, e);
		if (r == 0)
			count_known(&run->tally, journal_meet(run->journal, &p));
	}
	prepared_free(&p);
	run->tally.skipped += run->store->count - run->tally.already - run->tally.doubt;
	return r;
}

static int check(struct run *run, struct err *e)
{
	uint64_t risky = 0;
	int r = run_check(run, &risky, e);
	double count = (double)run->store->count, per_day = run->pace.per_day;
	double by_pauses = (double)run->pace.interval / 1e6 * count;
	double by_days = per_day > 0 ? count / per_day * 86400 : 0;

	if (r == 0)
		report_checked(run->report, risky, by_pauses > by_days ? by_pauses : by_days);
	return r;
}

static void tell_changes(const struct run *run)
{
	for (size_t i = 0; i < run->store->folder_count; i++) {
		struct err e = {0};
		int r = store_changed(run->store, i, &e);

		if (r < 0)
			report_note(run->report, "%s; run it again to send what is new", e.text);
		else if (r > 0)
			report_note(run->report,
				    "%s grew meanwhile; run it again to send what is new",
				    run->store->folders[i].path);
	}
}

/* Nothing of the archive is ever changed: path, which is to be written to, is none of its files. */
static int is_apart(const struct store *store, const char *path, struct err *e)
{
	struct stat st, other;
	bool part;

	if (!path || stat(path, &st) < 0)
		return 0;
	part = st.st_dev == store->device && st.st_ino == store->inode;
	for (size_t i = 0; i < store->folder_count && !part; i++)
		part = stat(store->folders[i].path, &other) == 0 && st.st_dev == other.st_dev &&
		       st.st_ino == other.st_ino;
	return !part ? 0
		     : err_set(e, -EINVAL,
			       "%s is part of the archive, which is never changed: name another "
			       "file",
			       path);
}

/* What is wanted of the archive is done: 0, 1 where it was told to stop, or an error. */
static int act(const struct cli_call *call, struct run *run, struct err *e)
{
	const char *rejects = cli_get(call, "rejects");
	bool checking = cli_has(call, "check");
	bool dry = checking || cli_has(call, "dry-run");
	int stop_fd cleanup(fd_close_at) = -1;
	int r = dry ? 0 : is_apart(run->store, cli_get(call, "journal"), e);

	if (r == 0 && !dry)
		r = is_apart(run->store, rejects, e);
	if (r == 0)
		r = open_journal(call, run, dry, e);
	if (r == 0 && rejects && !dry)
		r = rejects_open(&run->rejects, rejects, &run->options->cleaning,
				 run->store->temporary, e);
	/* Thunderbird's own headers were never signed */
	if (r == 0 && cli_count(call, "remove") > 0 && !checking)
		r = run_warn_removed(run, e);
	if (r < 0)
		return r;
	if (checking)
		return check(run, e);
	if (dry)
		return rehearse(run, e);
	stop_fd = sig_watch(); /* up to here Ctrl-C may end it at once */
	run->stop_fd = stop_fd;
	r = run_send(run, e);
	run->stop_fd = -1;
	return r;
}

/* A file of messages has no room for what IMAP keeps beside them. */
static void tell_aside(const struct run *run)
{
	if (run->rejects && run->tally.aside > 0 && run->options->target.kind == TARGET_IMAP)
		report_note(
			run->report,
			"what was set aside stands in the file without its folders, flags and "
			"keywords: to put it in its place run this again on the archive, with the "
			"journal (and --repair, where that helps)");
}

static int send_all(const struct cli_call *call, struct setup *s, struct store *store,
		    struct report *report)
{
	int64_t started = now_us();
	struct err e = {0};
	struct run run = {
		.options = &s->options,
		.store = store,
		.report = report,
		.stop_fd = -1,
		.pace = {.interval = s->interval, .per_day = s->per_day, .backoff = s->backoff},
	};
	int r;

	run.tally.skipped = store->expunged + store->internal;
	run.tally.failed = store->damage_count;
	run.tally.read = run.tally.skipped + run.tally.failed;
	run.tally.total = store->count + run.tally.read;
	r = act(call, &run, &e);
	tell_changes(&run);
	tell_aside(&run);
	if (r != 0 && !run.journal && run.tally.sent > 0)
		report_note(report, "without --journal, the next run will send all of it again");
	report_end(report, &run.tally, now_us() - started, r < 0 ? e.text : NULL);
	if (r >= 0 && !report_is_whole(report))
		r = err_set(&e, -ENOMEM, "out of memory: not all that happened could be told");
	if (r < 0)
		cli_complain(call, "%s", e.text);
	rejects_close(run.rejects);
	journal_close(run.journal);
	return r == 0 && run.tally.aside + run.tally.failed == 0 ? EXIT_OK : EXIT_FAILED;
}

static bool is_account(const char *text)
{
	return strncmp(text, "imap://", 7) == 0 || strncmp(text, "imaps://", 8) == 0;
}

static void show_reading(void *report, const char *what, const char *name, uint64_t bytes)
{
	report_reading(report, what, name, bytes, now_us());
}

/* Reads the archive, and says what it found. */
static int open_store(struct store *store, const char *path, struct setup *s, struct report *report,
		      struct err *e)
{
	s->wishes.reading = show_reading;
	s->wishes.data = report;

	int r = store_open(store, path, &s->wishes, e);

	report_make_room(report);
	if (r == 0)
		report_damages(report, store);
	return r;
}

static int compare_export(const struct cli_call *call, struct setup *s, struct store *archive,
			  struct report *report, struct err *e)
{
	struct store export = {.fd = -1};
	int r = open_store(&export, cli_get(call, "verify"), s, report, e);

	if (r == 0)
		r = verify(archive, verify_store, &export, &s->options.cleaning, report, e);
	if (r == 0 && export.damage_count > 0)
		r = 1;
	store_free(&export);
	return r;
}

static int compare_account(const struct setup *s, struct store *archive, struct report *report,
			   struct err *e)
{
	struct run run = {.options = &s->options,
			  .report = report,
			  .stop_fd = -1,
			  .pace = {.backoff = s->backoff}};
	struct account account = {&run, s->wishes.temporary};

	return verify(archive, account_walk, &account, &s->options.cleaning, report, e);
}

static int compare(const struct cli_call *call)
{
	const char *with = cli_get(call, "verify");
	bool online = is_account(with);
	struct setup s = {0};
	struct store archive = {.fd = -1};
	struct report *report = NULL;
	struct err e = {0};
	int code = EXIT_FAILED, r;

	if (call->nargs > (online ? 2 : 1))
		return cli_misused(call,
				   "--verify takes the archive, and for IMAP the account's name");
	if (strcmp(with, "-") == 0 && strcmp(call->args[0], "-") == 0)
		return cli_misused(
			call, "--verify: the archive and the export can't both be standard input");
	if (online ? !setup_target(call, &s, call->nargs > 1 ? call->args[1] : NULL, with)
		   : !setup_messages(call, &s)) {
		setup_free(&s);
		return s.no_memory ? EXIT_FAILED : EXIT_USAGE;
	}
	r = report_new(&report, cli_has(call, "json"), cli_has(call, "quiet"), &e);
	if (r == 0)
		r = open_store(&archive, call->args[0], &s, report, &e);
	if (r == 0)
		r = online ? compare_account(&s, &archive, report, &e)
			   : compare_export(call, &s, &archive, report, &e);
	if (r >= 0 && !report_is_whole(report))
		r = err_set(&e, -ENOMEM, "out of memory: not all differences could be told");
	if (r < 0)
		cli_complain(call, "%s", e.text);
	else if (r == 0 && archive.damage_count == 0)
		code = EXIT_OK;
	report_free(report);
	store_free(&archive);
	setup_free(&s);
	return code;
}

/* mbox-file recipient smtp-server; a URL may name the recipient too, and a dry run needs neither.
 */
static bool read_arguments(const struct cli_call *call, struct setup *s)
{
	const char *const *args = call->args;

	if (call->nargs == 1 && cli_has(call, "dry-run"))
		return setup_messages(call, s);
	if (call->nargs == 2 && is_account(args[1]))
		return setup_target(call, s, NULL, args[1]);
	if (call->nargs == 3)
		return setup_target(call, s, args[1], args[2]);
	cli_misused(call, "give an mbox file, a recipient and a server; or an mbox file and "
			  "imaps://ACCOUNT@SERVER");
	return false;
}

static int bounce(const struct cli_call *call)
{
	struct setup s = {0};
	struct store store = {.fd = -1};
	struct report *report = NULL;
	struct err e = {0};
	int code = EXIT_FAILED;

	if (cli_has(call, "status"))
		return status(call);
	if (cli_has(call, "verify"))
		return compare(call);
	if (!read_arguments(call, &s)) {
		code = s.no_memory ? EXIT_FAILED : EXIT_USAGE;
		goto end;
	}
	if (report_new(&report, cli_has(call, "json"), cli_has(call, "quiet"), &e) < 0 ||
	    open_store(&store, call->args[0], &s, report, &e) < 0) {
		cli_complain(call, "%s", e.text);
		goto end;
	}
	report_store(report, &store);
	code = send_all(call, &s, &store, report);
end:
	report_free(report);
	store_free(&store);
	setup_free(&s);
	return code;
}

static const char text[] =
	"Every message of the archive is sent to the recipient byte for byte, but for the headers\n"
	"that Thunderbird keeps for itself. The archive may be an mbox file of any kind, a\n"
	"Thunderbird folder, tree or profile, a Maildir, a folder of .eml or .emlx files, each "
	"also\n"
	"packed by gzip, xz, zstd or bzip2, or \"-\", standard input. The server is a name, or\n"
	"smtp://, smtps://, lmtp://, imap:// or imaps://; IMAP keeps folders, flags and dates.\n"
	"\n"
	"  bounce-mbox --dry-run Inbox\n"
	"  bounce-mbox -j sent.journal Inbox me@new.example mx.new.example\n"
	"  bounce-mbox -j sent.journal ~/.thunderbird/x.default-release imaps://me@imap.example\n"
	"  bounce-mbox --status sent.journal\n"
	"  bounce-mbox --verify imaps://imap.new.example Inbox me@new.example\n";

int main(int argc, char **argv)
{
	static const struct cli_verb verbs[] = {
		{.name = "",
		 .arguments = "mbox-file recipient smtp-server",
		 .least = 1,
		 .most = 3,
		 .summary = "move a mail archive into a new account, message by message",
		 .text = text,
		 .options = options,
		 .run = bounce},
		{0},
	};
	static const struct cli_program program = {
		.name = "bounce-mbox",
		.version = VERSION,
		.summary = "move a mail archive into a new account, message by message",
		.verbs = verbs,
	};

	(void)signal(SIGPIPE, SIG_IGN); /* OpenSSL writes without MSG_NOSIGNAL */
	(void)signal(SIGXFSZ, SIG_IGN); /* a journal that is too large for ulimit is an error */
	return cli_main(&program, argc, argv, NULL);
}
