/* SPDX-License-Identifier: MIT */
/* The keeper and its API, in a network namespace of the test's own, by a clock that stands still.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/pkt_sched.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/loop.h"
#include "base/mem.h"
#include "data/json.h"
#include "memory/memory.h"
#include "netlink/nl.h"
#include "portmirror/events.h"
#include "portmirrord/api.h"
#include "portmirrord/front.h"
#include "portmirrord/keeper.h"
#include "portmirrord/keeper_private.h"
#include "portmirrord/metrics.h"
#include "portmirrord/web.h"
#include "rest/api.h"
#include "root.h"

#define SESSION "from: port:v0\nto: port:s0\nengine: tc\n"

struct world {
	char root[32], group[32];
	struct loop *loop;
	struct keeper *keeper;
	struct api *api;
	struct front *front;
	uint64_t ticket;
};

static int64_t now_ms = 1000; /* by CLOCK_MONOTONIC */

int __real_clock_gettime(clockid_t clock, struct timespec *t);
int __wrap_clock_gettime(clockid_t clock, struct timespec *t);

int __wrap_clock_gettime(clockid_t clock, struct timespec *t)
{
	if (clock != CLOCK_MONOTONIC)
		return __real_clock_gettime(clock, t);
	*t = (struct timespec){now_ms / 1000, now_ms % 1000 * 1000000};
	return 0;
}

static void log_nothing(int priority, const char *sentence, void *data)
{
	(void)priority;
	(void)sentence;
	(void)data;
}

static int world_new(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	struct err e = {0};

	assert_non_null(w);
	strcpy(w->root, "/tmp/keeper-XXXXXX");
	assert_non_null(mkdtemp(w->root));
	assert_int_equal(loop_new(&w->loop, &e), 0);
	*state = w;
	return 0;
}

static int world_end(void **state)
{
	struct world *w = *state;

	front_free(w->front);
	api_free(w->api);
	keeper_free(w->keeper);
	loop_free(w->loop);
	remove_root(w->root);
	free(w);
	return 0;
}

static int open_keeper(struct world *w, struct err *e)
{
	const struct keeper_config config = {
		.loop = w->loop, .root = w->root, .preferred = ENGINE_TC, .log = log_nothing};
	int r;

	*e = (struct err){0};
	r = keeper_new(&config, &w->keeper, e);
	if (r < 0)
		assert_string_not_equal(e->text, "");
	return r;
}

static void start(struct world *w)
{
	struct err e = {0};

	assert_int_equal(open_keeper(w, &e), 0);
	keeper_start(w->keeper);
}

static char *path_of(const struct world *w, const char *rest)
{
	static char path[128];

	snprintf(path, sizeof(path), "%s/%s", w->root, rest);
	return path;
}

static void write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
}

/* All that comes within so much time. */
static void pass_time(const struct world *w, int64_t milliseconds)
{
	struct err e = {0};

	now_ms += milliseconds;
	for (int i = 0; i < 4; i++)
		assert_int_equal(loop_once(w->loop, 0, &e), 0);
}

static void run(const char *command)
{
	assert_int_equal(system(command), 0); /* NOLINT(cert-env33-c): its words are ours */
}

static const char *state_of(const struct world *w, const char *session)
{
	const struct session_state *st = plan_state(&keeper_view(w->keeper)->plan, session);

	return st ? state_name(st->state) : "";
}

static size_t told(const struct world *w, const char *kind)
{
	const struct events *events = keeper_events(w->keeper);
	size_t count = 0;

	for (size_t i = 0; i < events_count(events); i++)
		count += strcmp(events_nth(events, i)->kind, kind) == 0;
	return count;
}

/* The folders are there: where one can't be made, that is left to a later look. */
static void opened_without_memory(void **state)
{
	struct world *w = *state;
	struct err e = {0};

	assert_int_equal(open_keeper(w, &e), 0);
	keeper_free(take(w->keeper));
	assert_int_equal(scarce(open_keeper(w, &e)), 0);
}

static int free_descriptor(void)
{
	int fd = dup(STDERR_FILENO);

	close(fd);
	return fd;
}

static struct rlimit limit_descriptors(rlim_t most)
{
	struct rlimit before, few;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	few = (struct rlimit){most, before.rlim_max};
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
	return before;
}

/* However few there are, it says so in a sentence, and has closed those that it had. */
static void opened_without_descriptors(void **state)
{
	struct world *w = *state;
	int first = free_descriptor(), r = -1;

	for (int more = 0; r < 0; more++) {
		struct rlimit before = limit_descriptors((rlim_t)(first + more));
		struct err e = {0};

		r = open_keeper(w, &e);
		assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
		if (r == 0)
			break;
		assert_true(more < 20);
		assert_int_equal(r, -EMFILE);
		assert_non_null(strstr(e.text, ": Too many open files"));
		assert_int_equal(free_descriptor(), first);
	}
}

static void it_looks_at_the_files_by_itself(void **state)
{
	struct world *w = *state;
	char path[128];

	start(w);
	snprintf(path, sizeof(path), "%s", path_of(w, "there"));
	write_file(path, SESSION);
	assert_int_equal(link(path, path_of(w, "etc/portmirror/sessions.d/ids.yaml")), 0);
	pass_time(w, 29000);
	assert_string_equal(state_of(w, "ids"), "");
	pass_time(w, 1000);
	assert_string_equal(state_of(w, "ids"), "whole");
	assert_int_equal(unlink(path_of(w, "etc/portmirror/sessions.d/ids.yaml")), 0);
	pass_time(w, 1000);
	assert_string_equal(state_of(w, "ids"), "");
}

/* Nothing about the file changes when it can be read again. */
static void what_could_not_be_read_is_read_later(void **state)
{
	struct world *w = *state;
	struct rlimit before;

	start(w);
	write_file(path_of(w, "etc/portmirror/sessions.d/ids.yaml"), SESSION);
	before = limit_descriptors((rlim_t)free_descriptor() + 1); /* the folder's */
	pass_time(w, 1000);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	assert_string_equal(state_of(w, "ids"), "failed");
	pass_time(w, 30000);
	assert_string_equal(state_of(w, "ids"), "whole");
	assert_int_equal(unlink(path_of(w, "etc/portmirror/sessions.d/ids.yaml")), 0);
	pass_time(w, 1000);
}

/* What the kernel refused it may take now. */
static void what_could_not_be_had_is_tried_later(void **state)
{
	struct world *w = *state;
	struct lacks *lacks;

	start(w);
	lacks = &w->keeper->engine.lacks;
	strcpy(lacks->copy, "the kernel refuses the programs that copy");
	strcpy(lacks->lead, "the kernel refuses the programs that lead");
	pass_time(w, 29000);
	assert_string_equal(lacks->lead, "the kernel refuses the programs that lead");
	pass_time(w, 1000);
	assert_string_equal(lacks->copy, "");
	assert_string_equal(lacks->lead, "");
}

/* It is told once, and tried again for ever, at least once a minute. */
static void a_failure_is_tried_again(void **state)
{
	struct world *w = *state;
	struct keeper_counts before, after = {0};

	start(w);
	assert_int_equal(mkdir(path_of(w, "run/portmirror/undo.json"), 0755), 0);
	for (int i = 0; i < 80; i++) {
		keeper_counts(w->keeper, &before);
		pass_time(w, 60000);
		keeper_counts(w->keeper, &after);
		assert_true(after.failed > before.failed);
	}
	assert_int_equal(told(w, "error"), 1);
	assert_int_equal(rmdir(path_of(w, "run/portmirror/undo.json")), 0);
	pass_time(w, 60000);
	keeper_counts(w->keeper, &before);
	pass_time(w, 60000);
	keeper_counts(w->keeper, &after);
	assert_int_equal(after.failed, before.failed);
}

/* As on a /run that somebody has cleaned up: what must be there is made again. */
static void its_folder_may_vanish(void **state)
{
	const struct world *w = *state;

	start(*state);
	nftw(path_of(w, "run"), remove_one, 8, FTW_DEPTH | FTW_PHYS);
	write_file(path_of(w, "etc/portmirror/sessions.d/ids.yaml"), SESSION);
	pass_time(w, 1000);
	assert_string_equal(state_of(w, "ids"), "whole");
	assert_int_equal(access(path_of(w, "run/portmirror/lock"), F_OK), 0);
	assert_int_equal(unlink(path_of(w, "etc/portmirror/sessions.d/ids.yaml")), 0);
	pass_time(w, 1000);
	assert_string_equal(state_of(w, "ids"), "");
}

/* Counters of a device that is gone, of which nobody has heard yet. */
static void the_counters_while_a_device_goes(void **state)
{
	const struct world *w = *state;
	struct err e = {0};

	run("ip link add gone0 type veth peer name gone1");
	start(*state);
	assert_non_null(nl_link_by_name(&keeper_view(w->keeper)->host.links, "gone0"));
	run("ip link del gone0");
	assert_int_equal(keeper_refresh(w->keeper, 0, &e), 0);
	assert_non_null(nl_link_by_name(&keeper_view(w->keeper)->host.links, "gone0"));
	pass_time(w, 0);
	assert_null(nl_link_by_name(&keeper_view(w->keeper)->host.links, "gone0"));
}

/* Then they are read with the next look, however young they are. */
static void the_counters_without_memory(void **state)
{
	const struct world *w = *state;
	struct err e = {0};

	start(*state);
	now_ms += 1000;
	assert_int_equal(scarce(keeper_refresh(w->keeper, 500, &e)), 0);
}

/* Each lack lasts for a moment: a minute later all is as it should be, and told. */
static void a_lack_of_memory_is_got_over(void **state)
{
	static const char *const texts[] = {SESSION, SESSION "filter: arp\n"};
	const struct world *w = *state;
	struct keeper_counts counts = {0};
	uint64_t reconciled;

	start(*state);
	for (unsigned nth = 1; memory_refuse(&nth);) {
		write_file(path_of(w, "etc/portmirror/sessions.d/ids.yaml"), texts[0]);
		keeper_counts(w->keeper, &counts);
		reconciled = counts.reconciled;
		keeper_renew(w->keeper);
		(void)memory_refused();
		pass_time(w, 60000);
		keeper_counts(w->keeper, &counts);
		assert_true(counts.reconciled > reconciled);
		assert_string_equal(state_of(w, "ids"), "whole");
		/* What could not be written of the events is, with the next one: each turn has as
		 * few to write. */
		write_file(path_of(w, "etc/portmirror/sessions.d/ids.yaml"), texts[1]);
		keeper_renew(w->keeper);
	}
	assert_int_equal(unlink(path_of(w, "etc/portmirror/sessions.d/ids.yaml")), 0);
	pass_time(w, 1000);
	assert_int_equal(told(w, "session-added"), 1);
}

/* The API */

static int open_api(struct world *w, struct err *e)
{
	const struct api_config config = {.loop = w->loop, .keeper = w->keeper, .root = w->root};

	return api_new(&config, &w->api, e);
}

static int open_front(struct world *w, struct err *e)
{
	const struct front_config config = {.loop = w->loop,
					    .keeper = w->keeper,
					    .root = w->root,
					    .group = "root",
					    .log = log_nothing};

	return front_new(&config, &w->front, e);
}

static void the_front_without_memory(void **state)
{
	struct world *w = *state;
	struct err e = {0};

	start(w);
	assert_int_equal(scarce(open_front(w, &e)), 0);
}

static int metrics(const struct world *w, struct buf *out)
{
	buf_free(out);
	return metrics_write(w->keeper, NULL, out);
}

static void the_metrics_without_memory(void **state)
{
	struct world *w = *state;
	struct buf out cleanup(buf_free) = {0};

	start(w);
	assert_int_equal(metrics(w, &out), 0); /* the counters are as young as they must be */
	assert_int_equal(scarce(metrics(w, &out)), 0);
	assert_non_null(strstr(buf_text(&out), "\nportmirrord_reconciled_total "));
}

static int first_page(const struct world *w, struct buf *out)
{
	buf_free(out);
	return web_write(w->api, "http://localhost", out);
}

/* It is whole, or there is none: nobody is told that there are no mirrors. */
static void the_first_page_without_memory(void **state)
{
	struct world *w = *state;
	struct buf out cleanup(buf_free) = {0}, whole cleanup(buf_free) = {0};
	struct err e = {0};

	start(w);
	assert_int_equal(open_api(w, &e), 0);
	assert_int_equal(first_page(w, &whole), 0);
	assert_int_equal(
		scarce_or(strcmp(buf_text(&out), buf_text(&whole)) == 0, first_page(w, &out)), 0);
}

/* What is kept of them is as old as the counters. */
static void forget_answers(const struct world *w)
{
	struct err e = {0};

	assert_int_equal(keeper_refresh(w->keeper, 0, &e), 0);
}

static unsigned ask(struct world *w, const char *method, const char *target, const char *sent,
		    struct buf *body)
{
	const struct rest_request request = {.method = method,
					     .target = target,
					     .base = "http://localhost",
					     .accept = "application/json",
					     .content_type = sent ? "application/json" : NULL,
					     .body = sent,
					     .len = sent ? strlen(sent) : 0,
					     .ticket = &w->ticket};
	struct rest_response response cleanup(rest_response_free) = {0};
	struct rest_wait wait = {0};

	assert_int_equal(rest_answer(api_rest(w->api), &request, &response, &wait), REST_ANSWER);
	buf_free(body);
	*body = response.body;
	response.body = (struct buf){0};
	return response.status;
}

/* sent: what is to be changed; NULL: it is a GET. */
static unsigned answer(struct world *w, const char *target, const char *sent, struct buf *body)
{
	return ask(w, sent ? "POST" : "GET", target, sent, body);
}

/* Without memory it is said that there is none, or nothing is missing: what can't be kept for the
 * next who asks is answered all the same; and of a change, that it is done is told in any case. */
static void asked(struct world *w, const char *target, const char *sent, unsigned wanted)
{
	struct buf whole cleanup(buf_free) = {0};
	struct buf body cleanup(buf_free) = {0};
	bool lacked = true;

	forget_answers(w);
	if (answer(w, target, sent, &whole) != wanted)
		fail_msg("%s: not %u: %s", target, wanted, buf_text(&whole));
	for (unsigned nth = 1; memory_refuse(&nth);) {
		unsigned status = answer(w, target, sent, &body);

		lacked = memory_refused();
		if (!(lacked && status == 500) &&
		    (status != wanted || (!sent && strcmp(buf_text(&body), buf_text(&whole)) != 0)))
			fail_msg("%s: %u: %s", target, status, buf_text(&body));
		if (status == wanted)
			forget_answers(w);
	}
	assert_false(lacked);
}

static void every_resource_without_memory(void **state)
{
	static const char *const there[] = {
		"",
		"/mirrors",
		"/mirrors/ids",
		"/mirrors/ids;current",
		"/mirrors/ids;saved",
		"/mirrors/ids/sources/port:v0",
		"/mirrors/ids/ports/v0",
		"/mirrors/ids/actions",
		"/ports/v0",
		"/bridges/br0",
		"/bridges/br0/ports/v0",
		"/vms",
		"/events/1",
		"/findings",
	};
	static const char *const unknown[] = {
		"/mirrors/nobody",
		"/mirrors/ids/sources/port:v1",
		"/mirrors/ids/ports/s0",
		"/mirrors/nobody/ports/v0",
		"/mirrors/ids/actions/1",
		"/ports/nobody",
		"/bridges/v0",
		"/bridges/br0/ports/s0",
		"/bridges/br0/ports/nobody",
		"/bridges/nobody/ports/v0",
		"/vms/nobody",
		"/vms/nobody/nics/0",
		"/events/1000000",
		"/findings/1000",
	};
	struct world *w = *state;
	struct err e = {0};
	char target[64];

	assert_int_equal(open_keeper(w, &e), 0);
	write_file(path_of(w, "etc/portmirror/sessions.d/ids.yaml"), SESSION);
	keeper_start(w->keeper);
	assert_string_equal(state_of(w, "ids"), "whole");
	assert_int_equal(scarce(open_api(w, &e)), 0);
	assert_int_equal(keeper_refresh(w->keeper, 0, &e), 0);
	for (size_t i = 0; i < COUNT(there); i++) {
		snprintf(target, sizeof(target), "/api%s", there[i]);
		asked(w, target, NULL, 200);
	}
	for (size_t i = 0; i < COUNT(unknown); i++) {
		snprintf(target, sizeof(target), "/api%s", unknown[i]);
		asked(w, target, NULL, 404);
	}
	asked(w, "/api/mirrors",
	      "{\"name\": \"two\", \"from\": [\"port:v0\"], \"to\": \"port:s1\", \"engine\": "
	      "\"tc\", "
	      "\"dry-run\": true}",
	      200);
	assert_int_equal(unlink(path_of(w, "etc/portmirror/sessions.d/ids.yaml")), 0);
	pass_time(w, 1000);
}

/* Starts with a mirror that is whole, and the API. */
static void start_mirroring(struct world *w)
{
	struct err e = {0};

	assert_int_equal(open_keeper(w, &e), 0);
	write_file(path_of(w, "etc/portmirror/sessions.d/ids.yaml"), SESSION);
	keeper_start(w->keeper);
	assert_string_equal(state_of(w, "ids"), "whole");
	assert_int_equal(open_api(w, &e), 0);
}

static void stop_mirroring(const struct world *w)
{
	assert_int_equal(unlink(path_of(w, "etc/portmirror/sessions.d/ids.yaml")), 0);
	pass_time(w, 1000);
}

static size_t count_of(const char *text, const char *word)
{
	size_t count = 0;

	while ((text = strstr(text, word))) {
		text += strlen(word);
		count++;
	}
	return count;
}

/* Nobody gets a script without one of its lines. */
static void the_commands_without_memory(void **state)
{
	static const char target[] = "/api/mirrors/ids/actions", sent[] = "{\"type\": \"tc\"}";
	struct world *w = *state;
	struct buf body cleanup(buf_free) = {0};
	size_t wanted;

	start_mirroring(w);
	assert_int_equal(answer(w, target, sent, &body), 201);
	wanted = count_of(buf_text(&body), "tc ");
	assert_true(wanted > 1);
	for (unsigned nth = 1; memory_refuse(&nth);) {
		unsigned status = answer(w, target, sent, &body);

		if (!memory_refused() || status != 500)
			assert_int_equal(status, 201);
		if (status == 201 && count_of(buf_text(&body), "tc ") != wanted)
			fail_msg("%u %s", nth, buf_text(&body));
	}
	stop_mirroring(w);
}

/* It would be made, or it is said that there is no memory. */
static void a_change_without_memory(void **state)
{
	static const char sent[] = "{\"filter\": \"arp\", \"dry-run\": true}";
	struct world *w = *state;
	struct buf body cleanup(buf_free) = {0};
	bool lacked = true;

	start_mirroring(w);
	for (unsigned nth = 1; memory_refuse(&nth);) {
		unsigned status = ask(w, "PATCH", "/api/mirrors/ids", sent, &body);

		lacked = memory_refused();
		if (status != 200 && !(lacked && status == 500))
			fail_msg("%u: %u %s", nth, status, buf_text(&body));
	}
	assert_false(lacked);
	stop_mirroring(w);
}

static void cancel_all_checks(struct world *w)
{
	struct buf body cleanup(buf_free) = {0};
	json_t *monitors cleanup(json_free_at) = NULL;
	const json_t *monitor;
	size_t i;

	assert_int_equal(answer(w, "/api/monitors", NULL, &body), 200);
	monitors = json_loads(buf_text(&body), 0, NULL);
	json_array_foreach(monitors, i, monitor)
	{
		const char *href = json_string_value(json_object_get(monitor, "href"));

		assert_int_equal(ask(w, "DELETE", href + strlen("http://localhost"), NULL, &body),
				 204);
	}
}

/* It is under way and can be looked at, or there is none; nobody hears of others. */
static void a_check_without_memory(void **state)
{
	static const char target[] = "/api/mirrors/ids/actions";
	struct world *w = *state;
	struct buf body cleanup(buf_free) = {0};

	start_mirroring(w);
	for (unsigned nth = 1; memory_refuse(&nth);) {
		unsigned status = answer(w, target, "{\"type\": \"check\"}", &body);

		if (!memory_refused() || status != 500)
			assert_int_equal(status, 202);
		else
			assert_non_null(strstr(buf_text(&body), "out of memory"));
		cancel_all_checks(w);
	}
	assert_int_equal(answer(w, target, NULL, &body), 200);
	assert_int_equal(count_of(buf_text(&body), "running"), 0);
	stop_mirroring(w);
}

/* A source more, and one less; where it isn't said to be done, it may be done, or not. */
static void the_sources_without_memory(void **state)
{
	static const char sources[] = "/api/mirrors/ids/sources";
	static const char one[] = "/api/mirrors/ids/sources/port:v1";
	static const char sent[] = "{\"selector\": \"port:v1\"}";
	struct world *w = *state;
	struct buf body cleanup(buf_free) = {0};

	start_mirroring(w);
	for (int more = 1; more >= 0; more--) {
		for (unsigned nth = 1;;) {
			bool over = !memory_refuse(&nth), lacked;
			unsigned status = more ? answer(w, sources, sent, &body)
					       : ask(w, "DELETE", one, NULL, &body);

			lacked = memory_refused();
			if (status != (more ? 201 : 204) && !(lacked && status == 500))
				fail_msg("%u: %s", status, buf_text(&body));
			pass_time(w, 60000);
			assert_string_equal(state_of(w, "ids"), "whole");
			assert_int_equal(answer(w, sources, NULL, &body), 200);
			assert_int_equal(count_of(buf_text(&body), "\"id\": \"port:v0\""), 1);
			if (status < 300)
				assert_int_equal(count_of(buf_text(&body), "\"id\": \"port:v1\""),
						 more);
			if (over)
				break;
			if (more) /* as it was: without it, or with it */
				(void)ask(w, "DELETE", one, NULL, &body);
			else
				(void)answer(w, sources, sent, &body);
		}
	}
	stop_mirroring(w);
}

/* A tap comes, and somebody removes what copies the frames: that is mended. (What there is no
 * memory for behind the news of it is as above.) */
static void news_without_memory(void **state)
{
	enum { OF_THE_NEWS = 40 };
	struct world *w = *state;

	for (unsigned nth = 1; nth < OF_THE_NEWS;) {
		start(w);
		write_file(path_of(w, "etc/portmirror/sessions.d/ids.yaml"), SESSION);
		pass_time(w, 1000);
		run("tc qdisc del dev v0 clsact; test ! -c /dev/net/tun || ip tuntap add t0 mode "
		    "tap");
		assert_true(memory_refuse(&nth));
		pass_time(w, 0);
		assert_true(memory_refused());
		run("test ! -c /dev/net/tun || ip tuntap del t0 mode tap");
		pass_time(w, 60000);
		assert_string_equal(state_of(w, "ids"), "whole");
		stop_mirroring(w);
		keeper_free(take(w->keeper));
	}
}

/* Of a device on which nothing is ours. */
static void the_first_news_without_memory(void **state)
{
	struct world *w = *state;
	unsigned nth = 1;
	bool more;

	do {
		const struct host *host;

		start(w);
		pass_time(w, 0);
		run("tc qdisc add dev v0 clsact");
		more = memory_refuse(&nth);
		pass_time(w, 0);
		(void)memory_refused();
		pass_time(w, 60000);
		host = &keeper_view(w->keeper)->host;
		assert_non_null(host_qdisc_at(host, nl_link_by_name(&host->links, "v0")->index,
					      TC_H_INGRESS));
		run("tc qdisc del dev v0 clsact");
		keeper_free(take(w->keeper));
	} while (more);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, world_new, world_end)
	const struct CMUnitTest tests[] = {
		TEST(opened_without_memory),
		TEST(opened_without_descriptors),
		TEST(it_looks_at_the_files_by_itself),
		TEST(what_could_not_be_read_is_read_later),
		TEST(what_could_not_be_had_is_tried_later),
		TEST(a_failure_is_tried_again),
		TEST(its_folder_may_vanish),
		TEST(the_counters_while_a_device_goes),
		TEST(the_counters_without_memory),
		TEST(a_lack_of_memory_is_got_over),
		TEST(the_front_without_memory),
		TEST(the_metrics_without_memory),
		TEST(the_first_page_without_memory),
		TEST(every_resource_without_memory),
		TEST(the_commands_without_memory),
		TEST(a_change_without_memory),
		TEST(a_check_without_memory),
		TEST(the_sources_without_memory),
		TEST(news_without_memory),
		TEST(the_first_news_without_memory),
	};

	if (unshare(CLONE_NEWNET) < 0)
		return 77; /* no right to a network namespace */
	/* (Counters would count what IPv6 sends by itself.) */
	run("if cd /proc/sys/net/ipv6/conf/default; then echo 1 >disable_ipv6; fi");
	run("ip link add br0 type bridge && ip link set br0 up");
	run("ip link add v0 type veth peer name v1 && ip link set v0 master br0 up");
	run("ip link add s0 type veth peer name s1 && ip link set s0 up");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
