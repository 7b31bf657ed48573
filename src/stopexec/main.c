/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cli.h"
#include "base/mem.h"
#include "stopexec/verbs.h"

const struct cli_option attach_options[] = {
	{.name = "gdb", .help = "open gdb on it (this is the default)"},
	{.name = "strace", .help = "run strace on it"},
	{.name = "tmux", .help = "open the debugger in a new window of tmux"},
	{.name = "timeout",
	 .value = "S",
	 .help = "let it go on after S seconds, unless it is traced (60)",
	 .letter = 't'},
	{0},
};

static const struct cli_verb verbs[] = {
	{
		.name = "run",
		.arguments = "PROGRAM [ARGUMENT…]",
		.least = 1,
		.most = SIZE_MAX,
		.summary = "start a program and stop it at its first instruction",
		.text = "SUID programs and programs with file capabilities keep their privileges\n"
			"(for this stopexec must be root). Returns the program's own exit "
			"status.\n\n"
			"    sudo stopexec run --at main --gdb -- passwd\n"
			"    sudo stopexec run -u alice --exec 2 -- ./script-with-usr-bin-env.py\n",
		.options = run_options,
		.run = verb_run,
		.command = true,
	},
	{
		.name = "next",
		.arguments = "[PATH|NAME]",
		.least = 0,
		.most = 1,
		.summary = "wait until somebody starts the program, and stop that",
		.text = "Waits for a start by anybody: a daemon, a desktop session, another user, "
			"a\n"
			"container (its path is /proc/PID/root/…). Stays until a debugger has\n"
			"attached, you press Enter, or the time is up.\n\n"
			"    sudo stopexec next --gdb pulseaudio\n"
			"    sudo stopexec next --by bpf --cgroup /system.slice/docker.service "
			"nginx\n",
		.options = next_options,
		.run = verb_next,
	},
	{
		.name = "watch",
		.arguments = "[PATH|NAME…]",
		.least = 0,
		.most = 64,
		.summary = "stop every start, and open a debugger on each",
		.text = "    sudo stopexec watch --exec 'cat /proc/{pid}/status' ping\n",
		.options = watch_options,
		.run = verb_watch,
	},
	{
		.name = "list",
		.arguments = "",
		.summary = "what is stopped now",
		.text = "    sudo stopexec list --json\n",
		.options = list_options,
		.run = verb_list,
	},
	{
		.name = "cont",
		.arguments = "PID…",
		.least = 1,
		.most = SIZE_MAX,
		.summary = "let stopped processes go on",
		.text = "Those that stopexec has stopped; see \"stopexec list\".\n\n"
			"    sudo stopexec cont 4711\n",
		.run = verb_cont,
	},
	{
		.name = "attach",
		.arguments = "PID",
		.least = 1,
		.most = 1,
		.summary = "open a debugger on a stopped process",
		.text = "Whoever has stopped it: stopexec, stop.so, or Ctrl-Z. It goes on when "
			"the\n"
			"debugger ends.\n\n"
			"    sudo stopexec attach --strace 4711\n",
		.options = attach_options,
		.run = verb_attach,
	},
	{
		.name = "preload",
		.arguments = "install|remove|status",
		.least = 1,
		.most = 1,
		.summary = "the library stop.so for SUID programs",
		.text = "LD_PRELOAD=stop.so PROGRAM stops the program before its main. For SUID\n"
			"programs the library must be installed set-user-ID, which this does: for\n"
			"the members of one group.\n\n"
			"    sudo stopexec preload install && sudo adduser alice stopexec\n",
		.options = preload_options,
		.run = verb_preload,
	},
	{0},
};

static const struct cli_program program = {
	.name = "stopexec",
	.version = VERSION,
	.summary = "stop any program at its first instruction, with its privileges intact",
	.text = "Nothing is left stopped by accident: what nobody traces goes on after 60 seconds\n"
		"(--timeout), and when stopexec ends, however it ends. See stopexec(1).\n",
	.verbs = verbs,
};

/* Where it is installed set-user-ID, these may make use of it: each asks the allow file, or takes
 * only what its caller has stopped. */
static bool may_be_lent(int argc, char *const *argv)
{
	static const char *const lent[] = {"run", "next", "watch", "list", "cont"};

	for (size_t i = 0; argc > 1 && i < COUNT(lent); i++)
		if (strcmp(argv[1], lent[i]) == 0)
			return true;
	return false;
}

/* No socket of ours may become number 0, 1 or 2; a program that we start has them as they were. */
static void fill_standard_streams(void)
{
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	while (fd >= 0 && fd <= STDERR_FILENO)
		fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (fd >= 0)
		close(fd);
}

int main(int argc, char **argv)
{
	uid_t uid = getuid();

	fill_standard_streams();
	if (uid != geteuid() && !may_be_lent(argc, argv) && setresuid(uid, uid, uid) < 0) {
		fprintf(stderr, "stopexec: The rights of the caller can't be taken: %s\n",
			strerror(errno));
		return EXIT_FAILED;
	}
	return cli_main(&program, argc, argv, NULL);
}
