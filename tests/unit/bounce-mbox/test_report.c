/* SPDX-License-Identifier: MIT */
/* What the person sees while it runs: on a terminal, and in a log. */
#include <errno.h>
#include <fcntl.h>
#include <pty.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/mem.h"
#include "bounce-mbox/report.h"
#include "bounce-mbox/run.h"

/* Of four messages one is sent, in two hours. */
static const struct tally tally = {.total = 4, .read = 1, .sent = 1, .sent_bytes = 1500};

/* Calls tell() with a report to the descriptor, in place of stderr. */
static void with_stderr(int fd, void (*tell)(struct report *r))
{
	struct report *r = NULL;
	int kept = fcntl(2, F_DUPFD_CLOEXEC, 3), made;

	assert_true(kept >= 0);
	(void)fflush(stderr);
	assert_int_equal(dup2(fd, 2), 2);
	made = report_new(&r, false, false, NULL);
	if (made == 0)
		tell(r);
	report_free(r);
	(void)fflush(stderr);
	assert_int_equal(dup2(kept, 2), 2);
	close(kept);
	assert_int_equal(made, 0);
}

static void tell_reading(struct report *r)
{
	report_reading(r, "reading", "In\033box", 2000000, SECOND); /* starts the clock */
	report_reading(r, "reading", "In\033box", 3000000, SECOND + 1);
	report_reading(r, "reading", "In\033box", 4500000, 2 * SECOND);
}

static void tell_progress(struct report *r)
{
	report_progress(r, &tally, "Wo\033rk", 1);
	report_progress(r, &tally, "Wo\033rk", 1 + SECOND / 10);
	report_progress(r, &tally, "Wo\033rk", 1 + 7200 * SECOND);
}

static void on_terminal(void (*tell)(struct report *r), const char *wanted)
{
	const struct winsize size = {.ws_row = 24, .ws_col = 120};
	char shown[400] = "";
	int master, slave;

	assert_int_equal(openpty(&master, &slave, NULL, NULL, &size), 0);
	with_stderr(slave, tell);
	close(slave); /* what was written is there to be read, and then an end */
	for (size_t len = 0; len < sizeof(shown) - 1;) {
		ssize_t n = read(master, shown + len, sizeof(shown) - 1 - len);

		if (n <= 0)
			break;
		len += (size_t)n;
	}
	close(master);
	assert_string_equal(shown, wanted);
}

static void test_terminal(void **state)
{
	(void)state;
	on_terminal(tell_reading, "reading: 4.5 MB (In?box)");
	on_terminal(tell_progress,
		    "[#####---------------] 1 of 4 messages, 1.5 kB, 0.0/s, 6:00 h left (Wo?rk)");
}

static void assert_logged(void (*tell)(struct report *r), const char *wanted)
{
	int fd = memfd_create("log", MFD_CLOEXEC);
	char text[400] = "";

	with_stderr(fd, tell);
	assert_true(pread(fd, text, sizeof(text) - 1, 0) >= 0);
	assert_string_equal(text, wanted);
	close(fd);
}

static void test_log(void **state)
{
	(void)state;
	assert_logged(tell_reading, "");
	assert_logged(tell_progress, "1 of 4 messages, 1.5 kB, 0.0/s, 6:00 h left (Wo?rk)\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_terminal),
		cmocka_unit_test(test_log),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
