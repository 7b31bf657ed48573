/* SPDX-License-Identifier: MIT */
/*
 * stop.so: LD_PRELOAD it, and the program stops before its main, to wait for a debugger.
 *
 *	gcc -shared -fPIC -Wl,-z,initfirst -o stop.so stop.c
 *	cp stop.so /usr/lib/x86_64-linux-gnu && chmod u+s /usr/lib/x86_64-linux-gnu/stop.so
 *
 * The second line is only for SUID programs (ld.so(8), LD_PRELOAD in secure-execution mode);
 * "stopexec preload install" does it with more care. With -z initfirst it runs before every other
 * constructor, libc's own included: so nothing here may need an initialised libc, and the
 * environment is the one on the stack.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/stat.h>
#include <unistd.h>

#ifndef VERSION
#define VERSION "by hand"
#endif

enum { MANY_GROUPS = 65536 }; /* NGROUPS_MAX of Linux */

/* By this text "stopexec preload" knows the file as ours. */
__attribute__((used, retain)) static const char mark[] = "hostkit stop.so " VERSION;

static void say(const char *text, size_t len)
{
	int terminal = open("/dev/tty", O_WRONLY | O_CLOEXEC | O_NOCTTY);
	int to = terminal >= 0 ? terminal : STDERR_FILENO;

	while (len > 0) {
		ssize_t done = write(to, text, len);

		if (done <= 0)
			break;
		text += done;
		len -= (size_t)done;
	}
	if (terminal >= 0)
		close(terminal);
}

/* pid_namespaces(7): from within its own it is sent no signal that it has no handler for. */
static void say_process_1(void)
{
	static const char text[] = "Process 1 can not stop itself, the kernel ignores that: start "
				   "the program below an init (docker run --init)\n";

	say(text, sizeof(text) - 1);
}

static void say_pid(pid_t pid)
{
	char text[64] = "Sending SIGSTOP to myself (pid = ";
	char digits[16];
	size_t at = strlen(text);
	size_t n = 0;

	do
		digits[n++] = (char)('0' + pid % 10);
	while ((pid /= 10) > 0 && n < sizeof(digits));
	while (n > 0)
		text[at++] = digits[--n];
	text[at++] = ')';
	text[at++] = '\n';
	say(text, at);
}

/*
 * A program with more rights than its user loads this library with those rights, so the file's
 * mode keeps nobody out: members of the file's group are let in here, by their real groups.
 */
static bool permitted(void)
{
	static gid_t groups[MANY_GROUPS];
	struct stat st;
	Dl_info self;
	int count;

	if (getauxval(AT_SECURE) == 0 || getuid() == 0)
		return true;
	if (dladdr(mark, &self) == 0 || stat(self.dli_fname, &st) < 0)
		return false;
	if ((st.st_mode & S_IROTH) != 0 || st.st_gid == getgid())
		return true;
	count = getgroups(MANY_GROUPS, groups);
	while (count-- > 0)
		if (groups[count] == st.st_gid)
			return true;
	return false;
}

static bool is_this(const char *path, size_t len)
{
	static const char name[] = "stop.so";
	const size_t n = sizeof(name) - 1;

	return len >= n && memcmp(path + len - n, name, n) == 0 &&
	       (len == n || path[len - n - 1] == '/');
}

/* Takes this library out of the list (ld.so(8): blanks or colons between), in its place. */
static void forget(char *list)
{
	char *to = list;

	while (*list != '\0') {
		size_t gap = strspn(list, ": ");
		size_t len = strcspn(list + gap, ": ");

		if (!is_this(list + gap, len)) {
			memmove(to, list, gap + len);
			to += gap + len;
		}
		list += gap + len;
	}
	*to = '\0';
}

static char *value_of(char *setting, const char *name)
{
	size_t len = strlen(name);

	return strncmp(setting, name, len) == 0 && setting[len] == '=' ? setting + len + 1 : NULL;
}

static bool wants_children(char **env)
{
	for (; *env != NULL; env++) {
		const char *value = value_of(*env, "STOP_CHILDREN");

		if (value != NULL)
			return strcmp(value, "1") == 0;
	}
	return false;
}

/* glibc calls constructors like main; other C libraries don't load this file. */
__attribute__((constructor)) static void stop(int argc, char **argv, char **env)
{
	(void)argc;
	(void)argv;
	if (!wants_children(env)) {
		for (char **at = env; *at != NULL; at++) {
			char *list = value_of(*at, "LD_PRELOAD");

			if (list != NULL)
				forget(list);
		}
	}
	if (!permitted())
		return;
	if (getpid() == 1) {
		say_process_1();
		return;
	}
	say_pid(getpid());
	kill(getpid(), SIGSTOP);
}
