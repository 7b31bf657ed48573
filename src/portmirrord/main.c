/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <locale.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <syslog.h>
#include <unistd.h>

#include "base/cli.h"
#include "base/err.h"
#include "base/loop.h"
#include "base/mem.h"
#include "base/sig.h"
#include "portmirrord/alone.h"
#include "portmirrord/confine.h"
#include "portmirrord/front.h"
#include "portmirrord/keeper.h"
#include "portmirrord/notify.h"

#define FIRST_HANDED 3	  /* SD_LISTEN_FDS_START */
#define HANDED_MAX   4096 /* far more than a host's sessions need */

struct program {
	const struct cli_call *call;
	int lock; /* nobody else's while it is open */
	struct loop *loop;
	struct loop_watch *signal_watch;
	int signals;
	struct keeper *keeper;
	struct front *front;   /* NULL: not yet */
	struct notify *notify; /* NULL: no systemd waits for us */
	struct keeper_kept *kept;
	size_t nkept;
	bool journal; /* stderr goes there: each line begins with its priority */
	struct loop_timer watchdog;
	int64_t watchdog_ms; /* 0: nobody watches */
};

static void say(int priority, const char *sentence, void *data)
{
	const struct program *p = data;

	if (p->journal)
		fprintf(stderr, "<%d>%s\n", priority, sentence);
	else
		cli_complain(p->call, "%s", sentence);
}

static void changed(unsigned changes, void *data)
{
	const struct program *p = data;

	front_changed(p->front, changes);
}

static void name_of(bool program, const struct once_held *it, char name[32])
{
	snprintf(name, 32, "%s-%u", program ? "program" : "map", it->id);
}

static void held(bool is_held, bool program, const struct once_held *it, void *data)
{
	const struct program *p = data;
	char name[32];

	name_of(program, it, name);
	if (is_held)
		notify_keep(p->notify, name, it->fd);
	else
		notify_forget(p->notify, name);
}

/* A number in the environment; -1 where there is none. The variable is ours alone: it is taken out.
 */
static long take_number(const char *variable)
{
	const char *text = getenv(variable);
	char *end = NULL;
	long number = text ? strtol(text, &end, 10) : -1;

	if (text && (end == text || *end || number < 0))
		number = -1;
	unsetenv(variable);
	return number;
}

/* What an earlier process let systemd keep (sd_listen_fds_with_names(3)). */
static int take_handed(struct program *p)
{
	bool ours = take_number("LISTEN_PID") == (long)getpid();
	long count = take_number("LISTEN_FDS");
	const char *names = getenv("LISTEN_FDNAMES");

	if (!ours || count <= 0 || count > HANDED_MAX)
		return 0;
	p->kept = calloc((size_t)count, sizeof(*p->kept));
	if (!p->kept)
		return -ENOMEM;
	for (int fd = FIRST_HANDED; fd < FIRST_HANDED + count; fd++) {
		size_t len = names ? strcspn(names, ":") : 0;
		bool program = len > 8 && strncmp(names, "program-", 8) == 0;

		if (program || (len > 4 && strncmp(names, "map-", 4) == 0))
			p->kept[p->nkept++] = (struct keeper_kept){fd, program};
		if (names)
			names += len + (names[len] == ':');
	}
	unsetenv("LISTEN_FDNAMES");
	return 0;
}

static void feed_watchdog(void *data)
{
	struct program *p = data;

	notify_say(p->notify, "WATCHDOG=1");
	loop_timer_set(p->loop, &p->watchdog, p->watchdog_ms, feed_watchdog, p);
}

/* Amid an edit, which may be a long one. */
static void busy(void *data)
{
	struct program *p = data;

	if (p->watchdog.set && p->watchdog.at <= loop_now())
		feed_watchdog(p);
}

static int meet_systemd(struct program *p, struct err *e)
{
	const char *socket = getenv("NOTIFY_SOCKET");
	long pid = take_number("WATCHDOG_PID"), period = take_number("WATCHDOG_USEC");
	int r = socket ? notify_open(socket, &p->notify, e) : 0;

	unsetenv("NOTIFY_SOCKET");
	p->journal = getenv("JOURNAL_STREAM") != NULL;
	if (r == 0 && p->notify && period > 0 && (pid < 0 || pid == (long)getpid()))
		p->watchdog_ms = period / 1000 / 2;
	return r;
}

static void signalled(uint32_t events, void *data)
{
	struct program *p = data;
	int number = sig_wait(p->signals, 0);

	(void)events;
	if (number == SIGHUP) {
		notify_say(p->notify, "RELOADING=1");
		keeper_renew(p->keeper);
		notify_say(p->notify, "READY=1");
	} else if (number != 0) {
		loop_end(p->loop);
	}
}

/* A descriptor for each machine and each program: as many as the system lets us have. */
static void raise_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
		limit.rlim_cur = limit.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &limit);
	}
}

/* All that an option was given; ends with NULL. To be freed; NULL: out of memory. */
static const char **values_of(const struct cli_call *call, const char *option)
{
	size_t count = cli_count(call, option);
	const char **values = calloc(count + 1, sizeof(*values));

	for (size_t i = 0; values && i < count; i++)
		values[i] = cli_nth(call, option, i);
	return values;
}

/* What the options say of it. */
static struct front_config front_options(const struct cli_call *call, const char *const *listen,
					 const char *const *hosts)
{
	return (struct front_config){
		.listen = listen,
		.nlisten = cli_count(call, "listen"),
		.hosts = hosts,
		.group = cli_has(call, "group") ? cli_get(call, "group") : "portmirror",
		.token_file = cli_get(call, "token-file"),
		.certificate = cli_get(call, "certificate"),
		.key = cli_get(call, "key"),
	};
}

/* What auto means on this host, if somebody has said so. */
static int preferred(enum engine_kind *engine, struct err *e)
{
	const char *text = getenv("PORTMIRROR_ENGINE");

	if (!text || !*text || engine_kind_parse(text, engine, e) == 0)
		return 0;
	return err_where(e, "PORTMIRROR_ENGINE");
}

/* All that takes privileges, before anything is changed. */
static int open_all(struct program *p, const char *root, struct front_config *front, struct err *e)
{
	struct keeper_config config = {.root = root,
				       .changed = changed,
				       .busy = busy,
				       .log = say,
				       .data = p,
				       .held = held};
	int r = preferred(&config.preferred, e);

	if (r == 0)
		r = meet_systemd(p, e);
	if (r == 0)
		r = p->lock = alone_stay(root, e);
	if (r >= 0 && take_handed(p) < 0)
		r = err_set(e, -ENOMEM, "out of memory");
	if (r >= 0)
		r = loop_new(&p->loop, e);
	if (r < 0)
		return r;
	p->signals = sig_watch();
	if (p->signals < 0)
		return err_sys(e, p->signals, "can't watch for signals");
	r = loop_watch(p->loop, p->signals, EPOLLIN, signalled, p, &p->signal_watch, e);
	config.loop = p->loop;
	config.kept = p->kept;
	config.nkept = p->nkept;
	if (r == 0)
		r = keeper_new(&config, &p->keeper, e);
	if (r < 0)
		return r;
	front->loop = p->loop;
	front->keeper = p->keeper;
	front->root = root;
	front->log = say;
	front->data = p;
	return front_new(front, &p->front, e);
}

/* Opened with all privileges, run with few. A kernel without filters for system calls is no reason
 * not to mirror. */
static int confine(struct program *p, struct err *e)
{
	struct err why = {0};
	int r = confine_capabilities(e);

	if (r == 0 && confine_calls(&why) < 0)
		say(LOG_WARNING, why.text, p);
	return r;
}

static void close_all(struct program *p)
{
	notify_say(p->notify, "STOPPING=1");
	front_free(p->front);
	p->front = NULL;
	keeper_free(p->keeper);
	if (p->loop) {
		loop_timer_clear(p->loop, &p->watchdog);
		loop_unwatch(p->loop, p->signal_watch);
	}
	fd_close_at(&p->signals);
	loop_free(p->loop);
	notify_close(p->notify);
	free(p->kept);
	fd_close_at(&p->lock);
}

static int run(struct program *p, const char *root, struct front_config *front, struct err *e)
{
	int r = open_all(p, root, front, e);

	if (r < 0)
		return r;
	keeper_start(p->keeper); /* root's command line may have loaded what only root can open */
	r = confine(p, e);
	if (r < 0)
		return r;
	if (p->watchdog_ms > 0)
		feed_watchdog(p);
	notify_say(p->notify, "READY=1");
	return loop_run(p->loop, e);
}

/* Each plan makes large arrays and frees the last one's: they come from the system and go back
 * there. glibc would otherwise keep them from the second time on (M_MMAP_THRESHOLD in mallopt(3)).
 */
static void keep_memory_small(void)
{
	(void)mallopt(M_MMAP_THRESHOLD, 64 * 1024);
	(void)mallopt(M_TRIM_THRESHOLD, 64 * 1024);
}

static int follow_host(const struct cli_call *call)
{
	const char **listen cleanup(free_at) = values_of(call, "listen");
	const char **hosts cleanup(free_at) = values_of(call, "host");
	struct program p = {.call = call, .lock = -1, .signals = -1};
	const char *root = cli_get(call, "root");
	struct front_config front;
	struct err e = {0};
	int r;

	if (!listen || !hosts) {
		cli_complain(call, "out of memory");
		return EXIT_FAILED;
	}
	front = front_options(call, listen, hosts);
	if (front_check(&front, &e) < 0)
		return cli_misused(call, "%s", e.text);
	if (!confine_may_administer()) {
		cli_complain(call, "needs root (CAP_NET_ADMIN): it changes the traffic control of "
				   "network devices; try: sudo portmirrord");
		return EXIT_FAILED;
	}
	if (!root)
		root = getenv("PORTMIRROR_ROOT");
	raise_limit();
	keep_memory_small();
	r = run(&p, root ? root : "", &front, &e);
	if (r < 0)
		say(LOG_ERR, e.text, &p);
	close_all(&p);
	return r < 0 ? EXIT_FAILED : EXIT_OK;
}

static const struct cli_option options[] = {
	{.name = "listen",
	 .value = "WHERE",
	 .repeat = true,
	 .help = "unix:PATH or tcp:ADDRESS:PORT (default: unix:DIR/run/portmirror/api.sock)"},
	{.name = "group",
	 .value = "NAME",
	 .help = "who may use it besides root (default: portmirror)"},
	{.name = "host",
	 .value = "NAME",
	 .repeat = true,
	 .help = "a name by which clients call it (an address needs none)"},
	{.name = "token-file",
	 .value = "FILE",
	 .help = "the bearer token that TCP needs, in a file"},
	{.name = "certificate",
	 .value = "FILE",
	 .help = "for TLS, which TCP off loopback needs (PEM)"},
	{.name = "key", .value = "FILE", .help = "its private key (PEM)"},
	{.name = "root",
	 .value = "DIR",
	 .help = "use DIR/etc and DIR/run instead of /etc and /run"},
	{0},
};

static const struct cli_verb verbs[] = {
	{
		.name = "",
		.arguments = "",
		.run = follow_host,
		.options = options,
	},
	{0},
};

static const struct cli_program program = {
	.name = "portmirrord",
	.version = VERSION,
	.summary = "keep the mirror sessions of portmirror going, whatever happens on the host",
	.text = "Carries the saved sessions out, and again whenever something calls for it: "
		"machines that\nstart and stop, devices that come and go, session files that "
		"change, tools that remove what copies\nthe frames. Runs until it gets SIGTERM or "
		"SIGINT; the kernel goes on copying without it. SIGHUP\nmakes it read all "
		"sessions and the kernel's state anew; the token and the certificate are read\nat "
		"the start only.\n\n"
		"Examples:\n"
		"  systemctl enable --now portmirrord    as a service\n"
		"  portmirrord                           by hand, in the foreground\n"
		"  curl --unix-socket /run/portmirror/api.sock http://localhost/api\n\n"
		"Files:\n"
		"  /etc/portmirror/sessions.d/NAME.yaml   what is wanted, see portmirror(8)\n"
		"  /run/portmirror/events                 what has happened, see portmirror "
		"events\n\n"
		"Environment:\n"
		"  PORTMIRROR_ROOT   the same as --root\n"
		"  PORTMIRROR_ENGINE tc or bpf: what the engine auto means on this host\n",
	.verbs = verbs,
};

int main(int argc, char **argv)
{
	setlocale(LC_ALL, "");
	return cli_main(&program, argc, argv, NULL);
}
