/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/cli.h"

/* What the verb saw. */
struct seen {
	int runs;
	char args[100]; /* "a,b," */
	char to[20];
	size_t froms;
	char second_from[20];
	bool json;
	long watch;
};

static int run(const struct cli_call *call)
{
	struct seen *seen = call->context;
	const char *to = cli_get(call, "to"), *from = cli_nth(call, "from", 1);

	seen->runs++;
	seen->watch = -1;
	if (!cli_number(call, "watch", 1, 60, &seen->watch))
		return EXIT_USAGE;
	for (size_t i = 0; i < call->nargs; i++) {
		strncat(seen->args, call->args[i], 20);
		strncat(seen->args, ",", 2);
	}
	strncat(seen->to, to ? to : "(none)", sizeof(seen->to) - 1);
	strncat(seen->second_from, from ? from : "(none)", sizeof(seen->second_from) - 1);
	seen->froms = cli_count(call, "from");
	seen->json = cli_has(call, "json");
	(void)printf("done\n");
	return 7;
}

static const struct cli_option common[] = {
	{.name = "json", .letter = 'j', .help = "print JSON"},
	{.name = NULL},
};

static const struct cli_option add_options[] = {
	{.name = "to", .letter = 't', .value = "SEL", .help = "where the frames go"},
	{.name = "from", .value = "SEL", .repeat = true, .help = "whose frames"},
	{.name = "watch", .letter = 'w', .value = "SECONDS", .optional = true, .help = "go on"},
	{.name = NULL},
};

static const struct cli_verb verbs[] = {
	{.name = "add",
	 .arguments = "NAME…",
	 .least = 1,
	 .most = 2,
	 .summary = "copy frames",
	 .text = "Example:\n  tool add x\n\n",
	 .options = add_options,
	 .run = run},
	{.name = "list", .arguments = "", .summary = "show them", .run = run},
	{.name = "exec",
	 .arguments = "COMMAND…",
	 .least = 1,
	 .most = SIZE_MAX,
	 .summary = "run a command",
	 .options = add_options,
	 .run = run,
	 .command = true},
	{.name = NULL},
};

static const struct cli_program tool = {
	.name = "tool",
	.version = "1.2",
	.summary = "Copies frames.",
	.text = "See tool(8).",
	.options = common,
	.verbs = verbs,
};

static const struct cli_verb only[] = {
	{.name = "",
	 .arguments = "FILE",
	 .least = 1,
	 .most = 1,
	 .text = "More.",
	 .options = add_options,
	 .run = run},
	{.name = NULL},
};

static const struct cli_program plain = {
	.name = "plain",
	.version = "1.2",
	.summary = "Sends mail.",
	.text = "See plain(1).",
	.options = common,
	.verbs = only,
};

static struct seen seen;
static char out[4000], err[4000];

static int redirect(FILE *stream, int to)
{
	int kept;

	(void)fflush(stream);
	kept = fcntl(fileno(stream), F_DUPFD_CLOEXEC, 3);
	assert_true(kept >= 0 && dup2(to, fileno(stream)) >= 0);
	return kept;
}

static void undo(FILE *stream, int kept)
{
	(void)fflush(stream);
	clearerr(stream);
	assert_true(dup2(kept, fileno(stream)) >= 0);
	close(kept);
}

static void read_back(int fd, char *text, size_t size)
{
	ssize_t len = pread(fd, text, size - 1, 0);

	assert_true(len >= 0);
	text[len] = '\0';
	close(fd);
}

/* Calls the program with stdout led to a descriptor (-1: into out), and stderr into err. */
static int call_to(int stdout_fd, const struct cli_program *program, const char *const *words)
{
	char name[] = "program";
	char *argv[16] = {name};
	int argc = 1, code, kept_out, kept_err;
	int out_fd = memfd_create("out", MFD_CLOEXEC), err_fd = memfd_create("err", MFD_CLOEXEC);

	while (words[argc - 1])
		argc++;
	/* Copied, as argv isn't const, and string literals are. */
	memcpy(argv + 1, words, (size_t)argc * sizeof(*words));
	seen = (struct seen){0};
	kept_out = redirect(stdout, stdout_fd >= 0 ? stdout_fd : out_fd);
	kept_err = redirect(stderr, err_fd);
	code = cli_main(program, argc, argv, &seen);
	undo(stdout, kept_out);
	undo(stderr, kept_err);
	read_back(out_fd, out, sizeof(out));
	read_back(err_fd, err, sizeof(err));
	return code;
}

#define WORDS(...)	   ((const char *const[]){__VA_ARGS__ __VA_OPT__(, ) NULL})
#define CALL(program, ...) call_to(-1, program, WORDS(__VA_ARGS__))

/* A misuse: nothing ran, nothing on stdout, and exactly this on stderr. */
#define MISUSED(text, program, ...)                                                                \
	do {                                                                                       \
		assert_int_equal(CALL(program, __VA_ARGS__), EXIT_USAGE);                          \
		assert_string_equal(err, text);                                                    \
		assert_string_equal(out, "");                                                      \
	} while (0)

static void test_options_and_arguments(void **state)
{
	(void)state;
	assert_int_equal(CALL(&tool, "add", "a", "--to", "x", "b", "--from=1", "--from", "2"), 7);
	assert_string_equal(seen.args, "a,b,");
	assert_string_equal(seen.to, "x");
	assert_int_equal(seen.froms, 2);
	assert_string_equal(seen.second_from, "2");
	assert_false(seen.json);
	assert_string_equal(out, "done\n");
	assert_string_equal(err, "");
	assert_int_equal(CALL(&tool, "--json", "list"), 7);
	assert_true(seen.json);
	assert_string_equal(seen.to, "(none)");
	assert_int_equal(CALL(&tool, "add", "a", "--to="), 7);
	assert_string_equal(seen.to, "");
	assert_int_equal(CALL(&tool, "add", "a", "--to=--x"), 7);
	assert_string_equal(seen.to, "--x");
	assert_int_equal(CALL(&tool, "add", "--", "--to", "-"), 7);
	assert_string_equal(seen.args, "--to,-,");
	assert_int_equal(CALL(&tool, "add", "-"), 7);
	assert_string_equal(seen.args, "-,");
}

static void test_letters(void **state)
{
	(void)state;
	assert_int_equal(CALL(&tool, "add", "a", "-jtx"), 7);
	assert_true(seen.json);
	assert_string_equal(seen.to, "x");
	assert_int_equal(CALL(&tool, "add", "a", "-t", "y", "-j"), 7);
	assert_string_equal(seen.to, "y");
}

static void test_optional_value(void **state)
{
	(void)state;
	assert_int_equal(CALL(&tool, "add", "-w", "a"), 7);
	assert_int_equal(seen.watch, -1);
	assert_string_equal(seen.args, "a,");
	assert_int_equal(CALL(&tool, "add", "-w", "5", "a"), 7);
	assert_int_equal(seen.watch, 5);
	assert_int_equal(CALL(&tool, "add", "-w6", "a"), 7);
	assert_int_equal(seen.watch, 6);
	assert_int_equal(CALL(&tool, "add", "--watch=60", "a"), 7);
	assert_int_equal(seen.watch, 60);
	assert_int_equal(CALL(&tool, "add", "a", "--watch"), 7);
	assert_int_equal(seen.watch, -1);
}

static void test_bad_number(void **state)
{
#define RANGE(value)                                                                               \
	"tool: '--watch' takes a whole number from 1 to 60, not '" value                           \
	"'\nTry 'tool add --help'.\n"
	(void)state;
	MISUSED(RANGE("61"), &tool, "add", "a", "--watch=61");
	MISUSED(RANGE("-1"), &tool, "add", "a", "--watch=-1");
	MISUSED(RANGE("5x"), &tool, "add", "a", "--watch=5x");
	MISUSED(RANGE(" 5"), &tool, "add", "a", "--watch= 5");
	MISUSED(RANGE("1.5"), &tool, "add", "a", "-w", "1.5");
	MISUSED(RANGE("99999999999999999999"), &tool, "add", "a", "-w99999999999999999999");
}

static void test_command(void **state)
{
	(void)state;
	assert_int_equal(CALL(&tool, "exec", "--to", "x", "ls", "--to", "-l", "--"), 7);
	assert_string_equal(seen.to, "x");
	assert_string_equal(seen.args, "ls,--to,-l,--,");
}

static void test_misuse(void **state)
{
#define TRY	"\nTry 'tool --help'.\n"
#define TRY_ADD "\nTry 'tool add --help'.\n"
	(void)state;
	MISUSED("tool: unknown verb 'lsit', did you mean 'list'?" TRY, &tool, "lsit");
	MISUSED("tool: unknown verb 'li'"
		", did you mean 'list'?" TRY,
		&tool, "li");
	MISUSED("tool: unknown verb 'frobnicate'" TRY, &tool, "frobnicate");
	MISUSED("tool: unknown option '--form', did you mean '--from'?" TRY_ADD, &tool, "add",
		"--form=1");
	MISUSED("tool: unknown option '--js', did you mean '--json'?" TRY, &tool, "--js");
	MISUSED("tool: unknown option '--frobnicate'" TRY_ADD, &tool, "add", "--frobnicate");
	MISUSED("tool: unknown option '--\?[31m'" TRY_ADD, &tool, "add", "--\033[31m");
	MISUSED("tool: unknown option '-x'" TRY_ADD, &tool, "add", "-jx");
	MISUSED("tool: option '--to' needs a value: SEL" TRY_ADD, &tool, "add", "a", "--to");
	MISUSED("tool: option '--to' needs a value: SEL" TRY_ADD, &tool, "add", "--to", "--json");
	MISUSED("tool: option '--json' takes no value" TRY_ADD, &tool, "add", "--json=1");
	MISUSED("tool: option '--to' was given twice" TRY_ADD, &tool, "add", "--to=1", "-t1");
	MISUSED("tool: an argument is missing; expected: NAME…" TRY_ADD, &tool, "add");
	MISUSED("tool: unexpected argument 'c'" TRY_ADD, &tool, "add", "a", "b", "c");
	MISUSED("tool: a verb is missing" TRY, &tool, "--json");
	assert_int_equal(seen.runs, 0);
}

static void test_no_words(void **state)
{
	(void)state;
	MISUSED("Usage: tool [OPTION…] VERB [ARGUMENT…]\n"
		"\n"
		"Copies frames.\n"
		"\n"
		"Verbs:\n"
		"  add          copy frames\n"
		"  list         show them\n"
		"  exec         run a command\n"
		"  help [VERB]  print the help of a verb\n" TRY,
		&tool);
	MISUSED("Usage: plain [OPTION…] FILE\n"
		"\n"
		"Sends mail.\n"
		"\n"
		"Options:\n"
		"  -t, --to SEL           where the frames go\n"
		"  -w, --watch[=SECONDS]  go on\n"
		"  -j, --json             print JSON\n"
		"  -h, --help             print this help\n"
		"\n"
		"Try 'plain --help'.\n",
		&plain);
}

static void test_program_help(void **state)
{
	static const char expected[] = "Usage: tool [OPTION…] VERB [ARGUMENT…]\n"
				       "\n"
				       "Copies frames.\n"
				       "\n"
				       "Verbs:\n"
				       "  add          copy frames\n"
				       "  list         show them\n"
				       "  exec         run a command\n"
				       "  help [VERB]  print the help of a verb\n"
				       "\n"
				       "Options:\n"
				       "  -j, --json     print JSON\n"
				       "  -h, --help     print this help\n"
				       "      --version  print the version\n"
				       "\n"
				       "See tool(8).\n";

	(void)state;
	assert_int_equal(CALL(&tool, "--help"), EXIT_OK);
	assert_string_equal(out, expected);
	assert_string_equal(err, "");
	assert_int_equal(CALL(&tool, "help"), EXIT_OK);
	assert_string_equal(out, expected);
	assert_int_equal(CALL(&tool, "-h"), EXIT_OK);
	assert_string_equal(out, expected);
}

static void test_verb_help(void **state)
{
	static const char expected[] = "Usage: tool add [OPTION…] NAME…\n"
				       "\n"
				       "copy frames\n"
				       "\n"
				       "Options:\n"
				       "  -t, --to SEL           where the frames go\n"
				       "      --from SEL         whose frames\n"
				       "  -w, --watch[=SECONDS]  go on\n"
				       "  -j, --json             print JSON\n"
				       "  -h, --help             print this help\n"
				       "\n"
				       "Example:\n"
				       "  tool add x\n";

	(void)state;
	assert_int_equal(CALL(&tool, "add", "--help"), EXIT_OK);
	assert_string_equal(out, expected);
	assert_int_equal(CALL(&tool, "help", "add"), EXIT_OK);
	assert_string_equal(out, expected);
	assert_int_equal(seen.runs, 0);
	assert_int_equal(CALL(&tool, "help", "--help"), EXIT_OK);
	assert_non_null(strstr(out, "  help [VERB]  print the help of a verb\n"));
	MISUSED("tool: unknown verb 'ad', did you mean 'add'?" TRY, &tool, "help", "ad");
	MISUSED("tool: unexpected argument 'x'" TRY, &tool, "help", "add", "x");
}

/* The column is as wide as the longest verb. */
static void test_long_verb(void **state)
{
	static const struct cli_verb long_verbs[] = {
		{.name = "ls", .arguments = "", .summary = "show", .run = run},
		{.name = "show-all-of-it", .arguments = "", .summary = "show it", .run = run},
		{.name = NULL},
	};
	struct cli_program program = tool;

	(void)state;
	program.verbs = long_verbs;
	assert_int_equal(CALL(&program, "--help"), EXIT_OK);
	assert_non_null(strstr(out, "  ls              show\n"
				    "  show-all-of-it  show it\n"
				    "  help [VERB]     print the help of a verb\n"));
}

static void test_program_without_verbs(void **state)
{
	(void)state;
	assert_int_equal(CALL(&plain, "--to", "x", "help"), 7);
	assert_string_equal(seen.args, "help,");
	MISUSED("plain: unexpected argument 'b'\nTry 'plain --help'.\n", &plain, "a", "b");
	assert_int_equal(CALL(&plain, "--help"), EXIT_OK);
	assert_string_equal(out, "Usage: plain [OPTION…] FILE\n"
				 "\n"
				 "Sends mail.\n"
				 "\n"
				 "Options:\n"
				 "  -t, --to SEL           where the frames go\n"
				 "      --from SEL         whose frames\n"
				 "  -w, --watch[=SECONDS]  go on\n"
				 "  -j, --json             print JSON\n"
				 "  -h, --help             print this help\n"
				 "      --version          print the version\n"
				 "\n"
				 "More.\n"
				 "\n"
				 "See plain(1).\n");
}

static void test_version(void **state)
{
	(void)state;
	assert_int_equal(CALL(&tool, "--version"), EXIT_OK);
	assert_string_equal(out, "tool 1.2\n");
}

static void test_full_disk(void **state)
{
	int full = open("/dev/full", O_WRONLY | O_CLOEXEC);

	(void)state;
	assert_true(full >= 0);
	assert_int_equal(call_to(full, &tool, WORDS("list")), EXIT_FAILED);
	assert_string_equal(err, "tool: can't write the output: No space left on device\n");
	assert_int_equal(call_to(full, &tool, WORDS("--help")), EXIT_FAILED);
	close(full);
}

static void test_closed_pipe_is_silent(void **state)
{
	void (*old)(int) = signal(SIGPIPE, SIG_IGN);
	int ends[2];

	(void)state;
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	close(ends[0]);
	assert_int_equal(call_to(ends[1], &tool, WORDS("list")), EXIT_FAILED);
	assert_string_equal(err, "");
	close(ends[1]);
	assert_true(signal(SIGPIPE, old) == SIG_IGN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_options_and_arguments),
		cmocka_unit_test(test_letters),
		cmocka_unit_test(test_optional_value),
		cmocka_unit_test(test_bad_number),
		cmocka_unit_test(test_command),
		cmocka_unit_test(test_misuse),
		cmocka_unit_test(test_no_words),
		cmocka_unit_test(test_program_help),
		cmocka_unit_test(test_verb_help),
		cmocka_unit_test(test_long_verb),
		cmocka_unit_test(test_program_without_verbs),
		cmocka_unit_test(test_version),
		cmocka_unit_test(test_full_disk),
		cmocka_unit_test(test_closed_pipe_is_silent),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
