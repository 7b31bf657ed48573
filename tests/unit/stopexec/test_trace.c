/* SPDX-License-Identifier: MIT */
/* Processes that are traced: what is asked of the kernel when something else has just happened. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "calls/calls.h"
#include "memory/memory.h"
#include "stopexec/arch.h"
#include "stopexec/breakpoint.h"
#include "stopexec/follow.h"
#include "stopexec/launch.h"
#include "stopexec/point.h"
#include "stopexec/proc.h"
#include "stopexec/trace.h"

enum { LONG = 10000, MOMENT = 50 }; /* ms */

/* What is to happen at the nth request of a kind, by the linker's --wrap: before it, behind it, or
 * in its place. */
static struct {
	enum __ptrace_request request;
	int nth;
	void (*before)(pid_t pid), (*behind)(pid_t pid);
	bool instead;
} at;

long __real_ptrace(enum __ptrace_request request, ...);
long __wrap_ptrace(enum __ptrace_request request, ...);
long __wrap_ptrace(enum __ptrace_request request, ...)
{
	bool now = at.nth > 0 && request == at.request && --at.nth == 0;
	long result = 0, address, data;
	va_list args;
	pid_t pid;

	va_start(args, request);
	pid = va_arg(args, pid_t);
	address = va_arg(args, long);
	data = va_arg(args, long);
	va_end(args);
	if (now && at.before != NULL)
		at.before(pid);
	if (!now || !at.instead)
		result = __real_ptrace(request, pid, address, data);
	if (now && at.behind != NULL)
		at.behind(pid);
	return result;
}

static void await_state(pid_t pid, char state)
{
	struct proc_status status = {0};

	for (int64_t end = now_ms() + LONG; status.state != state; usleep(100)) {
		assert_int_equal(proc_status(pid, &status), 0);
		assert_true(now_ms() < end);
	}
}

static void killed(pid_t pid)
{
	assert_int_equal(kill(pid, SIGKILL), 0);
	await_state(pid, 'Z');
}

static int gate[2]; /* what a child waits for */

/* Ends with 7: a function that is a stop point here, and a child that comes to it. */
int stop_point_of_a_child(void);
__attribute__((noinline)) int stop_point_of_a_child(void)
{
	return 7;
}

static pid_t child_behind_gate(void)
{
	pid_t pid;
	char go;

	assert_int_equal(pipe(gate), 0);
	pid = fork();
	if (pid == 0) {
		close(gate[1]);
		_exit(read(gate[0], &go, 1) == 1 ? stop_point_of_a_child() : 1);
	}
	close(gate[0]);
	return pid;
}

static void open_gate(void)
{
	assert_int_equal(write(gate[1], "\n", 1), 1);
}

static int end_of(pid_t pid)
{
	int status;

	assert_int_equal(waitpid(pid, &status, __WALL), pid);
	close(gate[1]);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static void stop(pid_t pid)
{
	assert_int_equal(kill(pid, SIGSTOP), 0);
}

static void expect_nobody_left(void)
{
	assert_int_equal(waitpid(-1, NULL, __WALL), -1);
	assert_int_equal(errno, ECHILD);
}

static void test_nobody_to_wait_for(void **state)
{
	struct trace t = {.pid = getpid(), .deadline = now_ms() + LONG};

	(void)state;
	assert_int_equal(trace_wait(&t), -ECHILD);
	assert_int_equal(trace_wait_any(&t), -ECHILD);
}

static void test_one_that_has_ended(void **state)
{
	struct trace t = {.pid = child_behind_gate(), .deadline = now_ms() + LONG};
	struct err e = {0};

	(void)state;
	open_gate();
	assert_int_equal(end_of(t.pid), 7);
	assert_int_equal(trace_seize(&t, &e), -ESRCH);
	assert_non_null(strstr(e.text, "can't be traced: No such process"));
}

static void test_one_that_is_traced_already(void **state)
{
	struct trace t = {.pid = child_behind_gate(), .deadline = now_ms() + LONG};
	struct err e = {0};
	uint64_t value = 42;

	(void)state;
	assert_true(arch_first_argument(t.pid, false, &value) < 0); /* by nobody so far */
	assert_true(arch_first_argument(t.pid, true, &value) < 0);
	assert_int_equal(value, 42);
	assert_int_equal(trace_seize(&t, &e), 0);
	assert_int_equal(trace_seize(&t, &e), -EPERM);
	assert_non_null(strstr(e.text, "somebody else traces it, or root is needed"));
	t.deadline = now_ms();
	assert_int_equal(trace_wait(&t), -ETIME);
	open_gate();
	assert_int_equal(end_of(t.pid), 7);
}

/* Its stop signal has come, but it has not stopped yet. */
static void test_one_that_is_about_to_stop(void **state)
{
	struct trace t = {.pid = child_behind_gate(), .deadline = now_ms() + LONG};
	struct err e = {0};

	(void)state;
	at = (typeof(at)){.request = PTRACE_SEIZE, .nth = 1, .behind = stop};
	assert_int_equal(trace_seize_stopped(&t, &e), 0);
	await_state(t.pid, 't');
	assert_int_equal(ptrace(PTRACE_DETACH, t.pid, 0, 0), 0);
	open_gate();
	assert_int_equal(end_of(t.pid), 7);
}

static void test_one_that_is_killed_when_it_is_taken_over(void **state)
{
	struct trace t = {.pid = child_behind_gate(), .deadline = now_ms() + LONG};
	struct err e = {0};

	(void)state;
	at = (typeof(at)){.request = PTRACE_SEIZE, .nth = 1, .behind = killed};
	assert_int_equal(trace_seize_stopped(&t, &e), -ESRCH);
	assert_non_null(strstr(e.text, "could not be traced any further: No such process"));
	close(gate[1]);
	expect_nobody_left();
}

static void test_one_that_is_killed_when_it_goes_on(void **state)
{
	struct trace t = {.pid = child_behind_gate(), .deadline = now_ms() + LONG};
	struct err e = {0};

	(void)state;
	stop(t.pid);
	await_state(t.pid, 'T');
	at = (typeof(at)){.request = PTRACE_CONT, .nth = 1, .behind = killed};
	assert_int_equal(trace_seize_stopped(&t, &e), -ESRCH);
	assert_non_null(strstr(e.text, "could not be traced any further: No such process"));
	close(gate[1]);
	expect_nobody_left();
}

/* It does not come back from its stop. */
static void test_one_that_stays_away(void **state)
{
	struct trace t = {.pid = child_behind_gate(), .deadline = now_ms() + MOMENT};
	struct err e = {0};

	(void)state;
	stop(t.pid);
	await_state(t.pid, 'T');
	at = (typeof(at)){.request = PTRACE_CONT, .nth = 1, .instead = true};
	assert_int_equal(trace_seize_stopped(&t, &e), -ETIME);
	assert_non_null(strstr(e.text, "could not be traced any further: Timer expired"));
	killed(t.pid);
	assert_int_equal(end_of(t.pid), -SIGKILL);
}

static int64_t time_to_launch = LONG;

static int launched(const char *const *words, const struct heritage *heritage, unsigned exec,
		    struct trace *t, struct follow *f, struct err *e)
{
	union {
		const char *const *in;
		char *const *out;
	} argv = {.in = words};
	struct launch l = {.path = words[0],
			   .argv = argv.out,
			   .env = environ,
			   .heritage = heritage,
			   .exec = exec};

	*t = (struct trace){.deadline = now_ms() + time_to_launch};
	return launch(&l, t, f, e);
}

static void test_limits_that_the_kernel_refuses(void **state)
{
	static const char *const words[] = {"/bin/true", NULL};
	static const struct heritage heritage = {.limits = {{.rlim_cur = 2, .rlim_max = 1}}};
	struct follow f;
	struct trace t;
	struct err e = {0};

	(void)state;
	assert_int_equal(launched(words, &heritage, 1, &t, &f, &e), -EINVAL);
	assert_string_equal(e.text, "Could not take the limits for /bin/true: Invalid argument");
	expect_nobody_left();
}

/* The program itself is killed just when something that it has started executes. */
static void test_the_program_ends_at_the_wanted_exec(void **state)
{
	static const char *const words[] = {"/bin/sh", "-c", "/bin/true & wait", NULL};
	struct follow f;
	struct trace t;
	struct err e = {0};

	(void)state;
	at = (typeof(at)){.request = PTRACE_INTERRUPT, .nth = 1, .before = killed};
	assert_int_equal(launched(words, NULL, 2, &t, &f, &e), 0);
	assert_int_not_equal(t.pid, f.child);
	assert_true(f.ended);
	assert_true(WIFSIGNALED(f.status) && WTERMSIG(f.status) == SIGKILL);
	assert_int_equal(ptrace(PTRACE_DETACH, t.pid, 0, 0), 0);
	expect_nobody_left();
}

static void let_it_fork(pid_t pid)
{
	open_gate();
	await_state(pid, 't');
}

/* Who started it starts another one just when it is let go of: that one is let go of too. */
static void test_one_that_forks_when_it_is_let_go_of(void **state)
{
	char script[64];
	const char *words[] = {"/bin/sh", "-c", script, NULL};
	struct follow f;
	struct trace t;
	struct err e = {0};

	(void)state;
	assert_int_equal(pipe(gate), 0);
	snprintf(script, sizeof(script), "/bin/true & read go <&%d; (exit 7) & wait $!", gate[0]);
	at = (typeof(at)){.request = PTRACE_INTERRUPT, .nth = 1, .before = let_it_fork};
	assert_int_equal(launched(words, NULL, 2, &t, &f, &e), 0);
	assert_int_equal(ptrace(PTRACE_DETACH, t.pid, 0, 0), 0);
	close(gate[0]);
	assert_int_equal(end_of(f.child), 7);
	assert_int_equal(waitpid(-1, NULL, __WALL), -1);
}

/* Who started it can't be let go of, as it does not stop for that. */
static void test_one_that_does_not_let_go_of_the_program(void **state)
{
	static const char *const words[] = {"/bin/sh", "-c", "/bin/true & wait", NULL};
	struct follow f;
	struct trace t;
	struct err e = {0};

	(void)state;
	time_to_launch = 500;
	at = (typeof(at)){.request = PTRACE_INTERRUPT, .nth = 1, .instead = true};
	assert_int_equal(launched(words, NULL, 2, &t, &f, &e), -ETIME);
	time_to_launch = LONG;
	assert_non_null(strstr(e.text, "/bin/sh could not be followed to its start"));
	killed(t.pid);
	assert_true(waitpid(t.pid, NULL, __WALL) == t.pid);
	expect_nobody_left();
}

static void kill_all_traced(pid_t pid)
{
	int status;

	do
		kill(pid, SIGKILL);
	while ((pid = waitpid(-1, &status, __WALL)) > 0);
}

static void lack_memory(pid_t pid)
{
	unsigned next = 1;

	(void)pid;
	(void)memory_refuse(&next);
}

/* There is room for eight at first; they end with the one that starts them. */
static void test_followed_without_memory_for_more(void **state)
{
	static const char script[] = "exec 2>/dev/null\n"
				     "for i in 1 2 3 4 5 6 7 8 9; do\n"
				     "	while kill -0 $$; do :; done &\n"
				     "done";
	static const char *const words[] = {"/bin/sh", "-c", script, NULL};
	struct follow f;
	struct trace t;
	struct err e = {0};

	(void)state;
	assert_int_equal(launched(words, NULL, 2, &t, &f, &e), -ECHILD);
	assert_string_equal(e.text, "/bin/sh ended after 1 of 2 execs");
	/* what follows the exec, and eight forks */
	at = (typeof(at)){.request = PTRACE_GETEVENTMSG, .nth = 9, .before = lack_memory};
	assert_int_equal(launched(words, NULL, 2, &t, &f, &e), -ENOMEM);
	assert_true(memory_refused());
	assert_non_null(strstr(e.text, "/bin/sh could not be followed to its start"));
	kill_all_traced(t.pid);
	expect_nobody_left();
}

static void expect_end_before_main(bool behind)
{
	static const char *const words[] = {"/bin/true", NULL}; /* which is stripped */
	static const struct point point = {.kind = POINT_MAIN};
	struct follow f;
	struct trace t;
	struct err e = {0};

	assert_int_equal(launched(words, NULL, 1, &t, &f, &e), 0);
	at = (typeof(at)){.request = PTRACE_SINGLESTEP,
			  .nth = 3,
			  .before = behind ? NULL : killed,
			  .behind = behind ? killed : NULL};
	assert_int_equal(point_reach(&t, &point, &e), -ESRCH);
	assert_int_equal(at.nth, 0);
	assert_non_null(strstr(e.text, "ended before it came to the stop point"));
}

static void test_one_that_is_killed_on_the_way_to_main(void **state)
{
	(void)state;
	expect_end_before_main(true);
	expect_nobody_left();
	expect_end_before_main(false);
	assert_true(wait(NULL) > 0);
}

/* Neither where main is looked for, nor a function of a library. */
static void test_one_that_is_killed_on_the_way_to_its_entry(void **state)
{
	static const char *const words[] = {"/bin/true", NULL};
	const struct point points[] = {point_of("main"), point_of("no_such_function")};
	struct follow f;
	struct trace t;
	struct err e = {0};

	(void)state;
	for (size_t i = 0; i < COUNT(points); i++) {
		assert_int_equal(launched(words, NULL, 1, &t, &f, &e), 0);
		at = (typeof(at)){.request = PTRACE_CONT, .nth = 1, .behind = killed};
		assert_int_equal(point_reach(&t, &points[i], &e), -ESRCH);
		assert_non_null(strstr(e.text, "ended before it came to the stop point"));
		expect_nobody_left();
	}
}

static void lack_descriptors(pid_t pid)
{
	(void)pid;
	call_refuse_next("open64", EMFILE);
}

/* A function is looked for in the libraries that can be looked at; main only in the program. */
static void test_a_program_that_cannot_be_looked_at(void **state)
{
	static const char *const words[] = {"/bin/true", NULL};
	const struct point points[] = {point_of("exit"), point_of("main")};
	struct follow f;
	struct trace t;
	struct err e = {0};

	(void)state;
	assert_int_equal(launched(words, NULL, 1, &t, &f, &e), 0);
	at = (typeof(at)){.request = PTRACE_CONT, .nth = 1, .behind = lack_descriptors};
	assert_int_equal(point_reach(&t, &points[0], &e), 0);
	assert_string_equal(call_refused(), "open64");
	killed(t.pid);
	assert_int_equal(waitpid(t.pid, NULL, __WALL), t.pid);
	assert_int_equal(launched(words, NULL, 1, &t, &f, &e), 0);
	call_refuse_next("fstat64", EIO);
	assert_int_equal(point_reach(&t, &points[1], &e), -ENOENT);
	assert_string_equal(call_refused(), "fstat64");
	assert_non_null(strstr(e.text, "can't be found: the program is stripped"));
	(void)kill(t.pid, SIGKILL);
	(void)waitpid(t.pid, NULL, __WALL);
}

static void come_to_the_point(pid_t pid)
{
	open_gate();
	await_state(pid, 't');
}

/* It comes to its breakpoint just when it is given up, and goes on as if there had been none. */
static void test_given_up_at_the_stop_point(void **state)
{
	struct point point = point_of("stop_point_of_a_child");
	struct trace t = {.pid = child_behind_gate(), .deadline = now_ms() + LONG};
	struct err e = {0};

	(void)state;
	assert_int_equal(trace_seize(&t, &e), 0);
	assert_int_equal(ptrace(PTRACE_INTERRUPT, t.pid, 0, 0), 0);
	assert_int_equal(trace_wait(&t), TRACE_NOTE);
	t.deadline = now_ms() + MOMENT;
	assert_int_equal(point_reach(&t, &point, &e), -ETIME);
	at = (typeof(at)){.request = PTRACE_INTERRUPT, .nth = 1, .before = come_to_the_point};
	point_abandon(&t);
	assert_int_equal(at.nth, 0);
	assert_int_equal(end_of(t.pid), 7);
}

/* It takes requests of its own to find that out, once. */
static int learn_of_breakpoints(void **state)
{
	(void)state;
	(void)breakpoint_is_in_text();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nobody_to_wait_for),
		cmocka_unit_test(test_one_that_has_ended),
		cmocka_unit_test(test_one_that_is_traced_already),
		cmocka_unit_test(test_one_that_is_about_to_stop),
		cmocka_unit_test(test_one_that_is_killed_when_it_is_taken_over),
		cmocka_unit_test(test_one_that_is_killed_when_it_goes_on),
		cmocka_unit_test(test_one_that_stays_away),
		cmocka_unit_test(test_limits_that_the_kernel_refuses),
		cmocka_unit_test(test_the_program_ends_at_the_wanted_exec),
		cmocka_unit_test(test_one_that_forks_when_it_is_let_go_of),
		cmocka_unit_test(test_one_that_does_not_let_go_of_the_program),
		cmocka_unit_test(test_followed_without_memory_for_more),
		cmocka_unit_test(test_one_that_is_killed_on_the_way_to_its_entry),
		cmocka_unit_test(test_one_that_is_killed_on_the_way_to_main),
		cmocka_unit_test(test_a_program_that_cannot_be_looked_at),
		cmocka_unit_test(test_given_up_at_the_stop_point),
	};
	sigset_t child;

	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	sigprocmask(SIG_BLOCK, &child, NULL);
	return cmocka_run_group_tests(tests, learn_of_breakpoints, NULL);
}
