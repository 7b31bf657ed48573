/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cli.h"
#include "base/cursor.h"
#include "base/err.h"
#include "base/file.h"
#include "base/mem.h"
#include "stopexec/caller.h"
#include "stopexec/follow.h"
#include "stopexec/launch.h"
#include "stopexec/proc.h"
#include "stopexec/program.h"
#include "stopexec/session.h"
#include "stopexec/trace.h"
#include "stopexec/verbs.h"

const struct cli_option run_options[] = {
	{.name = "user",
	 .value = "USER[:GROUP]",
	 .help = "start it as this user (through sudo: the one who called)",
	 .letter = 'u'},
	{.name = "at",
	 .value = "POINT",
	 .help = "first (default), entry, main, or the name of a function"},
	{.name = "exec",
	 .value = "N",
	 .help = "stop at the N-th exec, its own or of what it starts: for wrappers (1)",
	 .letter = 'N'},
	{.name = "env",
	 .value = "NAME=VALUE",
	 .help = "set this in its environment",
	 .letter = 'e',
	 .repeat = true},
	{.name = "timeout",
	 .value = "S",
	 .help = "let it go on after S seconds, unless it is traced (60)",
	 .letter = 't'},
	{.name = "leave", .help = "return at once, and leave it stopped"},
	{.name = "gdb", .help = "open gdb on it"},
	{.name = "strace", .help = "run strace on it"},
	{.name = "tmux", .help = "open the debugger in a new window of tmux"},
	{0},
};

/* The environment of the program: text, and pointers into it. */
struct environment {
	char *inherited; /* the text of a /proc/PID/environ, or NULL */
	char **list;	 /* NULL-terminated */
	char **owned;	 /* the strings that we made */
	size_t count, room, nowned, owned_room;
};

static void environment_free(struct environment *env)
{
	for (size_t i = 0; i < env->nowned; i++)
		free(env->owned[i]);
	free(env->owned);
	free(env->list);
	free(env->inherited);
}

static bool same_name(const char *one, const char *other)
{
	size_t len = strcspn(one, "=");

	return strncmp(one, other, len) == 0 && other[len] == '=';
}

/* Adds the setting, or replaces the one of its name. */
static int set(struct environment *env, char *setting)
{
	for (size_t i = 0; i < env->count; i++) {
		if (same_name(setting, env->list[i])) {
			env->list[i] = setting;
			return 0;
		}
	}
	if (array_room(&env->list, &env->room, env->count + 1, sizeof(*env->list)) < 0)
		return -ENOMEM;
	env->list[env->count++] = setting;
	env->list[env->count] = NULL;
	return 0;
}

static int set_owned(struct environment *env, const char *name, const char *value)
{
	char *setting;

	if (array_room(&env->owned, &env->owned_room, env->nowned, sizeof(*env->owned)) < 0 ||
	    asprintf(&setting, "%s=%s", name, value) < 0)
		return -ENOMEM;
	env->owned[env->nowned++] = setting;
	return set(env, setting);
}

/*
 * sudo starts us with an environment of its own; the user's is the one that sudo itself was
 * started with. The program gets it as the user, so this gives nobody more than they have.
 */
static int take_from(pid_t sudo, struct environment *env)
{
	char path[64];
	size_t len;
	int result;

	snprintf(path, sizeof(path), "/proc/%d/environ", sudo);
	result = file_read(path, ENVIRONMENT_MOST, &env->inherited, &len, NULL);
	for (size_t at = 0; result == 0 && at < len; at += strlen(env->inherited + at) + 1)
		if (strchr(env->inherited + at, '=') != NULL)
			result = set(env, env->inherited + at);
	return result == 0 && env->count == 0 ? -ENOENT : result;
}

/* sudo: the process of that name whose environment it is to be; 0: ours. */
static int make_environment(const struct cli_call *call, const struct user *user, pid_t sudo,
			    struct environment *env)
{
	int result = sudo != 0 ? take_from(sudo, env) : -ENOENT;

	if (result < 0 && result != -ENOMEM) {
		result = 0;
		for (char **at = environ; *at != NULL && result == 0; at++)
			result = set(env, *at);
		if (result == 0 && user != NULL && user->name[0] != '\0')
			result = set_owned(env, "USER", user->name) |
				 set_owned(env, "LOGNAME", user->name) |
				 set_owned(env, "HOME", user->home) |
				 set_owned(env, "SHELL", user->shell);
	}
	for (size_t i = 0; i < cli_count(call, "env") && result == 0; i++) {
		const char *setting = cli_nth(call, "env", i);
		char *copy;

		if (strchr(setting, '=') == NULL || *setting == '=')
			return cli_misused(call, "--env wants NAME=VALUE, not \"%s\"", setting);
		if (array_room(&env->owned, &env->owned_room, env->nowned, sizeof(*env->owned)) <
			    0 ||
		    (copy = strdup(setting)) == NULL)
			result = -ENOMEM;
		else
			result = set(env, env->owned[env->nowned++] = copy);
	}
	if (result < 0)
		cli_complain(call, "There is no memory for the environment");
	return result < 0 ? EXIT_FAILED : EXIT_OK;
}

static int exit_code(int status)
{
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

/* What the terminal sends reaches the program by itself; what somebody sends to us is for it, but
 * with no more rights than the caller of a set-user-ID stopexec has: from here on it needs none. */
static void relay(pid_t pid, int signal, bool by_user)
{
	bool may = !session_lent() || setresuid(getuid(), getuid(), getuid()) == 0;

	if (may && signal != 0 && by_user)
		kill(pid, signal);
}

/* The program has the terminal. Others may be traced (follow_execs()). */
static int wait_for_end(struct session *s, pid_t pid)
{
	struct trace t = {.end = &s->end, .deadline = INT64_MAX};
	struct err e = {0};
	int result;

	do {
		result = trace_wait_any(&t);
		if (result == -EINTR)
			relay(pid, t.broken_off, t.by_user);
		if (result == TRACE_GONE && t.pid == pid)
			return exit_code(t.ended);
	} while (result >= 0 || result == -EINTR);
	err_sys(&e, result, "How process %d ended can't be told", pid);
	return session_failed(s, &e);
}

/* From the first instruction of the image that was wanted to where the user wants it, stopped. */
static int go_to_point(struct session *s, struct trace *t, const struct stop *stop,
		       const char **where, struct err *e)
{
	int pidfd cleanup(fd_close_at) = pidfd_open(t->pid, 0);
	int result = pidfd < 0 ? -errno : 0;

	if (result < 0)
		return err_sys(e, result, "Process %d can't be looked at", t->pid);
	result = guardian_hold(&s->guardian, stop, session_deadline(s));
	if (result < 0)
		return err_sys(e, result, "No guardian is there, so nothing is stopped");
	guardian_traces(&s->guardian, stop);
	result = point_reach(t, &s->point, e);
	if (result == -ESTALE && !session_lent()) { /* the new image waits at its start */
		session_note(s, "%s", e->text);
		*where = "its first instruction";
		result = 0;
	}
	if (result == 0)
		result = session_leave_stopped(s, t, stop, e);
	if (result < 0)
		return result;
	result = trace_wait_stopped(t->pid, pidfd, t->deadline, NULL);
	if (result == -ETIME)
		return err_set(e, -ETIME, "Process %d was not stopped in time", t->pid);
	if (result < 0 && result != -ESRCH) /* that it ended is seen when it is presented */
		return err_sys(e, result, "Process %d can't be looked at", t->pid);
	return 0;
}

/* ended: it has, and somebody else may have got its number. */
static int end_all(struct trace *t, bool ended, struct follow *f)
{
	if (!ended)
		kill(t->pid, SIGKILL);
	if (!f->ended) {
		kill(f->child, SIGKILL);
		waitpid(f->child, NULL, __WALL);
	}
	return EXIT_FAILED;
}

/* sudo stops itself while its command is stopped, and is to go on with it. */
static void wake(pid_t waits)
{
	struct proc_status status;

	if (waits != 0 && proc_status(waits, &status) == 0 && status.state == 'T')
		kill(waits, SIGCONT);
}

/* The process is traced by us, stopped at the first instruction of the image that was wanted. */
static int stop_there(struct session *s, struct trace *t, struct follow *f)
{
	char words[128];
	const char *where = session_where(s, words);
	struct err e = {0};
	struct stop stop = {.pid = t->pid};
	int result = go_to_point(s, t, &stop, &where, &e);

	if (result < 0) {
		cli_complain(s->call, "%s", e.text);
		guardian_release(&s->guardian, &stop);
		if (result != -ESRCH || t->pid != f->child)
			return end_all(t, result == -ESRCH, f);
		/* Where it was another call than waitpid(2) that has told so, its end is not taken
		 * yet; else there is nobody to wait for. */
		(void)waitpid(t->pid, &t->ended, __WALL);
		return exit_code(t->ended);
	}
	if (t->pid != f->child && !f->ended)
		s->waits = f->child;
	if (session_present(s, &stop, where) == OUTCOME_LEFT)
		return EXIT_OK;
	if (f->ended)
		return exit_code(f->status);
	wake(s->waits);
	relay(f->child, s->ended_by, s->ended_by_user);
	return wait_for_end(s, f->child);
}

static int start(struct session *s, const struct cli_call *call, struct launch *l)
{
	const char *search = getenv("PATH");
	struct trace t = {.end = &s->end};
	struct follow f;
	struct program program;
	struct err e = {0};
	int result;

	for (size_t i = 0; l->env[i] != NULL; i++)
		if (strncmp(l->env[i], "PATH=", 5) == 0)
			search = l->env[i] + 5;
	program.fd = -1;
	result = session_find(call->args[0], search, &program, &e);
	if (result == -EPERM && program.fd >= 0 && session_lent()) {
		/* Then it is started as if stopexec were an ordinary program. */
		session_note(s, "%s", e.text);
		result = setresuid(getuid(), getuid(), getuid());
		prctl(PR_SET_DUMPABLE, 1); /* else nothing that it forks could be traced */
	}
	if (result < 0) {
		program_close(&program);
		return session_failed(s, &e);
	}
	result = session_open(s);
	if (result != EXIT_OK) {
		program_close(&program);
		return result;
	}
	if (geteuid() != 0)
		l->user = NULL;
	/* What is lent is for one file: a link to it could lead to another by now. */
	l->path = session_lent() ? program.real : program.path;
	t.deadline = session_deadline(s);
	s->unprivileged = geteuid() != 0;
	result = launch(l, &t, &f, &e);
	if (result == 0)
		result = stop_there(s, &t, &f);
	else
		result = session_failed(s, &e);
	session_close(s);
	l->path = NULL;
	program_close(&program);
	return result;
}

/* Set-user-ID: as the caller, with the groups that the caller has. */
static int find_caller(const struct cli_call *call, const char *word, struct user *user,
		       bool *change)
{
	int count = getgroups(0, NULL);

	if (word != NULL) {
		cli_complain(call, "Only root can start a program as another user");
		return EXIT_FAILED;
	}
	*user = (struct user){.uid = getuid(), .gid = getgid()};
	user->groups = calloc((size_t)count + 1, sizeof(*user->groups));
	if (count < 0 || user->groups == NULL || getgroups(count, user->groups) != count) {
		cli_complain(call, "Your groups can't be found");
		user_free(user);
		return EXIT_FAILED;
	}
	user->ngroups = (size_t)count;
	*change = true;
	return EXIT_OK;
}

/* By --user, or as sudo says; change: another than we are. */
static int find_user(const struct cli_call *call, struct user *user, bool *change)
{
	const char *word = cli_get(call, "user");
	struct err e = {0};

	if (word == NULL && getuid() == 0)
		word = getenv("SUDO_UID");
	if (session_lent())
		return find_caller(call, word, user, change);
	*change = word != NULL;
	if (word == NULL)
		return EXIT_OK;
	if (geteuid() != 0) {
		cli_complain(call, "Only root can start a program as another user");
		return EXIT_FAILED;
	}
	if (user_find(word, user, &e) == 0)
		return EXIT_OK;
	cli_complain(call, "%s", e.text);
	return EXIT_FAILED;
}

/* Of whoever called sudo we know more than who it is. */
static bool find_sudo(const struct cli_call *call, struct user *user, struct caller *caller)
{
	if (cli_has(call, "user") || !session_through_sudo() || !caller_find(user->uid, caller))
		return false;
	if (caller->seen) {
		user->gid = caller->gid;
		free(user->groups);
		user->groups = take(caller->groups);
		user->ngroups = caller->ngroups;
	}
	return true;
}

/* The program's words with a NULL behind, as execve(2) wants them. */
static char **words_of(const struct cli_call *call)
{
	char **words = calloc(call->nargs + 1, sizeof(*words));

	if (words != NULL)
		memcpy(words, call->args, call->nargs * sizeof(*words));
	return words;
}

int verb_run(const struct cli_call *call)
{
	struct session s = {.terminal = -1};
	struct environment env = {0};
	struct launch l = {0};
	struct user user = {0};
	struct caller caller = {0};
	char **argv cleanup(free_at) = words_of(call);
	bool change;
	long exec = 1;
	int result = session_options(&s, call);

	if (result == EXIT_OK && !cli_number(call, "exec", 1, 1000, &exec))
		result = EXIT_USAGE;
	if (result == EXIT_OK && exec > 1 && session_lent()) {
		cli_complain(call, "Only root can stop at a later exec: the allow file is about "
				   "the first one's file");
		result = EXIT_FAILED;
	}
	if (result == EXIT_OK)
		result = find_user(call, &user, &change);
	if (result != EXIT_OK)
		return result;
	if (!find_sudo(call, &user, &caller))
		caller = (struct caller){0};
	result = make_environment(call, change ? &user : NULL, caller.sudo, &env);
	if (result == EXIT_OK && argv == NULL) {
		cli_complain(call, "There is no memory for the arguments");
		result = EXIT_FAILED;
	}
	if (result == EXIT_OK) {
		l = (struct launch){.argv = argv,
				    .env = env.list,
				    .user = change ? &user : NULL,
				    .heritage = caller.seen ? &caller.heritage : NULL,
				    .exec = (unsigned)exec,
				    .own_session = s.after == AFTER_LEAVE};
		result = start(&s, call, &l);
	}
	environment_free(&env);
	caller_free(&caller);
	user_free(&user);
	return result;
}
