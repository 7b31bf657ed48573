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
#include "bounce-mbox/journal.h"
#include "bounce-mbox/rejects.h"
#include "bounce-mbox/report.h"
#include "bounce-mbox/run.h"
#include "bounce-mbox/store.h"
#include "bounce-mbox/verify.h"
#include "mail/header.h"

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
	 .value = "EXPORT",
	 .help = "compare the archive, the only argument, with what was exported again"},
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
	{.name = "timeout", .value = "SECS", .help = "without a word from the server (300)"},
	{.name = "json", .help = "print the result as JSON"},
	{.name = "quiet", .help = "no progress, only what went wrong, and the sums", .letter = 'q'},
	{0},
};

struct setup {
	struct options options;
	struct store_wishes wishes;
	struct mail_names remove;
	int64_t interval, backoff;
	unsigned per_day;
	char hello[256];
};

static int64_t now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * SECOND + t.tv_nsec / 1000;
}

static bool seconds_of(const struct cli_call *call, const char *name, int64_t *microseconds)
{
	const char *text = cli_get(call, name);
	char *end;
	double n;

	if (!text)
		return true;
	n = strtod(text, &end);
	if (end == text || *end || !(n >= 0) || n > 1e6) {
		cli_misused(call, "--%s: \"%s\" is no number of seconds", name, text);
		return false;
	}
	*microseconds = (int64_t)(n * 1e6);
	return true;
}

/* What the words of an option may be: the index of its value; -1 and a complaint. */
static int choice(const struct cli_call *call, const char *name, const char *const *words,
		  int otherwise)
{
	const char *text = cli_get(call, name);

	if (!text)
		return otherwise;
	for (int i = 0; words[i]; i++)
		if (strcmp(words[i], text) == 0)
			return i;
	cli_misused(call, "--%s: \"%s\" is none of those there are", name, text);
	return -1;
}

static bool read_pace(const struct cli_call *call, struct setup *s)
{
	const char *name = cli_get(call, "provider"), *rate = cli_get(call, "rate");
	const struct provider *provider = name ? provider_find(name) : NULL;
	int64_t by_rate = 0;
	struct err e = {0};

	if (name && !provider) {
		cli_misused(call, "--provider: \"%s\" is not known", name);
		return false;
	}
	/* the post's half second spares SMTP servers; an IMAP account is the user's own */
	s->interval = rate || s->options.target.kind == TARGET_IMAP ? 0 : SECOND / 2;
	s->backoff = 5 * SECOND;
	if (provider) {
		s->interval = provider->interval;
		s->per_day = provider->per_day;
		s->options.per_connection = provider->per_connection;
	}
	if (!seconds_of(call, "delay", &s->interval) || !seconds_of(call, "backoff", &s->backoff))
		return false;
	if (rate && pace_rate_parse(rate, &by_rate, &e) < 0) {
		cli_misused(call, "--rate: %s", e.text);
		return false;
	}
	if (by_rate > s->interval)
		s->interval = by_rate;
	return true;
}

static bool read_login(const struct cli_call *call, struct options *o)
{
	static const char *const sources[] = {"password-file", "password-command", "token-file",
					      "token-command"};
	unsigned given = 0;

	o->user = cli_get(call, "user");
	if (!o->user && *o->target.user)
		o->user = o->target.user;
	if (!o->user && o->target.kind == TARGET_IMAP)
		o->user = o->recipient; /* whose mailboxes they are */
	for (size_t i = 0; i < COUNT(sources); i++) {
		const char *value = cli_get(call, sources[i]);

		if (!value)
			continue;
		given++;
		o->token = i >= 2;
		*(i % 2 ? &o->secret.command : &o->secret.file) = value;
	}
	if (given > 1) {
		cli_misused(call, "one password is enough");
		return false;
	}
	if (given > 0 && !o->user) {
		cli_misused(call, "whose password is it? give --user");
		return false;
	}
	o->secret.prompt = "Password";
	o->mechanism = cli_get(call, "auth");
	return true;
}

static bool read_message(const struct cli_call *call, struct setup *s)
{
	static const char *const orders[] = {"oldest", "archive", NULL};
	const char *format = cli_get(call, "format"), *repair = cli_get(call, "repair");
	const char *temporary = getenv("TMPDIR");
	struct err e = {0};
	int order = choice(call, "order", orders, 0);
	int r = mail_names_add(&s->remove, mail_thunderbird_names, &e);

	if (order < 0)
		return false;
	if (r == 0)
		r = mail_names_add(&s->remove, REJECTS_FIELD, &e);
	for (size_t i = 0; i < cli_count(call, "remove") && r == 0; i++)
		r = mail_names_add(&s->remove, cli_nth(call, "remove", i), &e);
	if (r == 0 && format)
		r = mbox_format_parse(format, &s->wishes.format, &e);
	if (r == 0 && repair)
		r = mail_repair_parse(repair, &s->options.cleaning.repair, &e);
	if (r < 0) {
		cli_misused(call, "%s", e.text);
		return false;
	}
	s->options.cleaning.remove = &s->remove;
	s->wishes.as_it_stands = order == 1;
	s->wishes.with_expunged = cli_has(call, "with-expunged");
	s->wishes.temporary = temporary && *temporary ? temporary : "/var/tmp";
	return true;
}

static bool read_address(const struct cli_call *call, const char *what, const char *address)
{
	const char *at = strrchr(address, '@');

	if (at && at > address && at[1] && !strpbrk(address, "<> \t\r\n"))
		return true;
	cli_misused(call, "\"%s\" is no address for the %s", address, what);
	return false;
}

static bool read_options(const struct cli_call *call, struct setup *s)
{
	static const char *const modes[] = {"off", "optional", "required", NULL};
	struct options *o = &s->options;
	long connections = 1, timeout = 300;
	struct err e = {0};
	int tls = choice(call, "tls", modes, SMTP_TLS_OPTIONAL);

	o->path = call->args[0];
	o->recipient = call->args[1];
	o->sender = cli_get(call, "sender") ? cli_get(call, "sender") : o->recipient;
	if (tls < 0)
		return false;
	if (target_parse(call->args[2], cli_get(call, "port"), &o->target, &e) < 0) {
		cli_misused(call, "%s", e.text);
		return false;
	}
	/* an account's name is enough for IMAP */
	if (o->target.kind != TARGET_IMAP &&
	    (!read_address(call, "recipient", o->recipient) ||
	     (*o->sender && !read_address(call, "sender", o->sender))))
		return false;
	if (!cli_number(call, "connections", 1, 64, &connections) ||
	    !cli_number(call, "timeout", 1, 86400, &timeout))
		return false;
	if (gethostname(s->hello, sizeof(s->hello) - 1) < 0)
		snprintf(s->hello, sizeof(s->hello), "localhost");
	o->hello = cli_get(call, "hello") ? cli_get(call, "hello") : s->hello;
	o->folder = cli_get(call, "folder");
	o->tls = (enum smtp_tls)tls;
	o->ca_file = cli_get(call, "tls-ca");
	o->resent = cli_has(call, "resent");
	o->resend_doubtful = cli_has(call, "resend-doubtful");
	o->connections = (unsigned)connections;
	o->timeout = (int)timeout;
	return read_pace(call, s) && read_login(call, o) && read_message(call, s);
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

static int open_journal(const struct cli_call *call, struct run *run, bool dry, struct err *e)
{
	const char *path = cli_get(call, "journal");
	struct journal_sums sums;
	struct stat st;
	char boot[40];
	int r;

	if (!path)
		return 0;
	boot_id(boot);
	if (dry) /* nothing is to change */
		return stat(path, &st) < 0 ? 0 : journal_look(&run->journal, path, boot, e);
	r = journal_open(&run->journal, path, boot, e);
	if (r < 0)
		return r;
	journal_sums(run->journal, &sums);
	if (sums.healed)
		report_note(run->report, "the journal's end was torn and has been healed");
	journal_run(run->journal, run->store->count, run->options->target.shown);
	return journal_write(run->journal, e); /* on the disk with the first intents */
}

/* With a journal: what of the archive it knows. Without one reading the archive was all. */
static int rehearse(struct run *run, struct err *e)
{
	struct prepared p = {0};
	int r = 0;

	run->tally.read += run->store->count;
	for (size_t i = 0; i < run->store->count && run->journal && r == 0; i++) {
		r = prepare(&p, run->store, &run->store->items[i], &run->options->cleaning, e);
		if (r < 0)
			break;
		switch (journal_meet(run->journal, &p)) {
		case JOURNAL_SENT:
			run->tally.already++;
			break;
		case JOURNAL_DOUBT:
			run->tally.doubt++;
			run->tally.failed++;
			break;
		case JOURNAL_NEW:
			break;
		}
	}
	prepared_free(&p);
	run->tally.skipped += run->store->count - run->tally.already - run->tally.failed;
	return r;
}

static int check(struct run *run, struct err *e)
{
	uint64_t risky = 0;
	int r = run_check(run, &risky, e);
	double seconds = (double)run->pace.interval / 1e6 * (double)run->store->count;

	if (risky > 0)
		report_note(run->report, "%llu messages might be refused",
			    (unsigned long long)risky);
	if (run->pace.per_day > 0 && run->store->count > run->pace.per_day)
		seconds = (double)run->store->count / run->pace.per_day * 86400;
	report_note(run->report, "at this pace sending takes at least %.0f min", seconds / 60);
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

static int send_all(const struct cli_call *call, struct setup *s, struct store *store,
		    struct report *report, int stop_fd)
{
	const char *rejects = cli_get(call, "rejects");
	bool checking = cli_has(call, "check");
	bool dry = checking || cli_has(call, "dry-run");
	int64_t started = now_us();
	struct err e = {0};
	struct run run = {
		.options = &s->options,
		.store = store,
		.report = report,
		.stop_fd = stop_fd,
		.pace = {.interval = s->interval, .per_day = s->per_day, .backoff = s->backoff},
	};
	int r;

	run.tally.skipped = run.tally.read = store->expunged + store->internal;
	run.tally.total = store->count + run.tally.skipped;
	r = open_journal(call, &run, dry, &e);
	if (r == 0 && rejects && !dry)
		r = rejects_open(&run.rejects, rejects, &e);
	if (r == 0 && checking)
		r = check(&run, &e);
	else if (r == 0 && dry)
		r = rehearse(&run, &e);
	else if (r == 0)
		r = run_send(&run, &e);
	tell_changes(&run);
	report_end(report, &run.tally, now_us() - started, r < 0 ? e.text : NULL);
	if (r < 0)
		cli_complain(call, "%s", e.text);
	rejects_close(run.rejects);
	journal_close(run.journal);
	return r == 0 && run.tally.aside + run.tally.failed == 0 ? EXIT_OK : EXIT_FAILED;
}

static int compare(const struct cli_call *call)
{
	struct setup s = {0};
	struct store archive = {.fd = -1}, export = {.fd = -1};
	struct report *report = NULL;
	struct err e = {0};
	int code = EXIT_FAILED, r;

	if (call->nargs != 1)
		return cli_misused(call, "--verify takes one argument, the archive");
	if (!read_message(call, &s)) {
		mail_names_free(&s.remove);
		return EXIT_USAGE;
	}
	r = report_new(&report, cli_has(call, "json"), cli_has(call, "quiet"));
	if (r == 0)
		r = store_open(&archive, call->args[0], &s.wishes, &e);
	if (r == 0)
		r = store_open(&export, cli_get(call, "verify"), &s.wishes, &e);
	if (r == 0)
		r = verify(&archive, &export, &s.options.cleaning, report, &e);
	if (r < 0)
		cli_complain(call, "%s", e.text);
	else
		code = r == 0 ? EXIT_OK : EXIT_FAILED;
	report_free(report);
	store_free(&archive);
	store_free(&export);
	mail_names_free(&s.remove);
	return code;
}

static int bounce(const struct cli_call *call)
{
	struct setup s = {0};
	struct store store = {.fd = -1};
	struct report *report = NULL;
	struct err e = {0};
	int stop_fd cleanup(fd_close_at) = -1;
	int code = EXIT_USAGE;

	if (cli_has(call, "status"))
		return status(call);
	if (cli_has(call, "verify"))
		return compare(call);
	if (call->nargs != 3)
		return cli_misused(call, "give an mbox file, a recipient and an SMTP server");
	if (!read_options(call, &s))
		goto end;
	code = EXIT_FAILED;
	stop_fd = sig_watch();
	if (report_new(&report, cli_has(call, "json"), cli_has(call, "quiet")) < 0)
		goto end;
	if (store_open(&store, s.options.path, &s.wishes, &e) < 0) {
		cli_complain(call, "%s", e.text);
		goto end;
	}
	report_store(report, &store);
	code = send_all(call, &s, &store, report, stop_fd);
end:
	report_free(report);
	store_free(&store);
	mail_names_free(&s.remove);
	return code;
}

static const char text[] =
	"Every message of the archive is sent to the recipient byte for byte, but for the headers\n"
	"that Thunderbird keeps for itself. The archive may be an mbox file of any kind (packed "
	"by\n"
	"gzip, xz, zstd or bzip2 too), a Thunderbird folder tree or profile, a Maildir, a folder "
	"of\n"
	".eml files, or \"-\", standard input. The server is a name, or smtp://, smtps://, "
	"lmtp://.\n"
	"\n"
	"  bounce-mbox -j sent.journal Inbox me@new.example mx.new.example\n"
	"  bounce-mbox --status sent.journal\n";

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
	return cli_main(&program, argc, argv, NULL);
}
