/* SPDX-License-Identifier: MIT */
/*
 * For LD_PRELOAD: one allocation of a program under test fails, as on a machine that is out of
 * memory. Counted from main() to the program's end, whoever asks: the program, a library of its, or
 * libc for asprintf() and others. (Not what writes a coverage build's counts then.)
 *
 *   FAIL_AT=N         the Nth is refused; 0 or unset: none. N+: and all behind it
 *   EXEMPT=NAME:NAME  libraries whose own allocations are neither refused nor counted
 *   PATHS_FILE=PATH   at the end, a line for each in turn: a number that those have in common which
 *                     were called for from the same place by the same callers, and those callers
 *                     that are of the program, as addresses in its file; of the last of them also
 *                     with the address that it called in a library
 */
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static atomic_ulong count;
static unsigned long fail_at;
static bool counting, for_good;
static const char *exempt, *paths_file;
/* Of each allocation; the pages that are not needed cost nothing. */
static struct path {
	uint64_t hash;
	uint64_t places[32];
} paths[1U << 20];
static int (*program)(int argc, char **argv, char **envp);
static _Thread_local bool within; /* who unwinds may allocate */

static void *next(const char *name)
{
	void *found = dlsym(RTLD_NEXT, name);

	if (!found)
		abort();
	return found;
}

static bool is_of(void *caller, const char *library, size_t len)
{
	Dl_info info;

	return dladdr(caller, &info) && info.dli_fname &&
	       memmem(info.dli_fname, strlen(info.dli_fname), library, len);
}

/* Whom libc asks for: the caller of its asprintf(), say. */
static void *behind_libc(void *caller)
{
	void *callers[32];
	int i = 0, n;

	if (within || !is_of(caller, "/libc.so", 8))
		return caller;
	within = true;
	n = backtrace(callers, sizeof(callers) / sizeof(callers[0]));
	within = false;
	while (i < n && callers[i] != caller)
		i++;
	while (i < n && is_of(callers[i], "/libc.so", 8))
		i++;
	return i < n ? callers[i] : caller;
}

static bool is_exempt(void *caller)
{
	size_t len;

	if (!exempt)
		return false;
	caller = behind_libc(caller);
	for (const char *name = exempt; *name; name += len + (name[len] == ':')) {
		len = strcspn(name, ":");
		if (is_of(caller, name, len))
			return true;
	}
	return false;
}

/* An address in its file. */
static uint64_t offset_of(void *address, Dl_info *info)
{
	*info = (Dl_info){0};
	return dladdr(address, info) ? (uintptr_t)address - (uintptr_t)info->dli_fbase : 0;
}

/* FNV-1a over the addresses of the callers. */
static void note_path(struct path *path)
{
	void *callers[64];
	Dl_info ours;
	size_t places = 0;
	int n;

	if (within || !dladdr(*(void **)&program, &ours))
		return;
	within = true;
	n = backtrace(callers, sizeof(callers) / sizeof(callers[0]));
	within = false;
	path->hash = 0xcbf29ce484222325U;
	for (int i = 0; i < n; i++) {
		Dl_info info;
		uint64_t place = offset_of(callers[i], &info);

		path->hash = (path->hash ^ (uintptr_t)callers[i]) * 0x100000001b3U;
		if (places > sizeof(path->places) / sizeof(path->places[0]) - 2 ||
		    info.dli_fbase != ours.dli_fbase)
			continue;
		if (places == 0)
			path->places[places++] = offset_of(callers[i - 1], &info) << 32 | place;
		path->places[places++] = place;
	}
}

static bool refused(void *caller)
{
	unsigned long n;

	if (!counting || is_exempt(caller))
		return false;
	n = ++count;
	if (paths_file && n <= sizeof(paths) / sizeof(paths[0]))
		note_path(&paths[n - 1]);
	if (fail_at == 0 || (for_good ? n < fail_at : n != fail_at))
		return false;
	errno = ENOMEM;
	return true;
}

void *malloc(size_t size)
{
	static void *(*real)(size_t);

	if (!real)
		*(void **)&real = next("malloc");
	return refused(__builtin_return_address(0)) ? NULL : real(size);
}

void *calloc(size_t n, size_t size)
{
	static void *(*real)(size_t, size_t);

	if (!real)
		*(void **)&real = next("calloc");
	return refused(__builtin_return_address(0)) ? NULL : real(n, size);
}

void *realloc(void *old, size_t size)
{
	static void *(*real)(void *, size_t);

	if (!real)
		*(void **)&real = next("realloc");
	return refused(__builtin_return_address(0)) ? NULL : real(old, size);
}

void *reallocarray(void *old, size_t n, size_t size)
{
	static void *(*real)(void *, size_t, size_t);

	if (!real)
		*(void **)&real = next("reallocarray");
	return refused(__builtin_return_address(0)) ? NULL : real(old, n, size);
}

static void ended(void)
{
	FILE *file;

	counting = false;
	if (!paths_file)
		return;
	file = fopen(paths_file, "we");
	if (!file)
		return;
	if (count > sizeof(paths) / sizeof(paths[0]))
		abort();
	for (unsigned long i = 0; i < count; i++) {
		fprintf(file, "%" PRIx64, paths[i].hash);
		for (size_t k = 0; k < sizeof(paths->places) / sizeof(paths->places[0]); k++)
			if (paths[i].places[k])
				fprintf(file, " %#" PRIx64, paths[i].places[k]);
		fputc('\n', file);
	}
	if (fclose(file) != 0)
		abort();
}

static int counted_main(int argc, char **argv, char **envp)
{
	const char *at = getenv("FAIL_AT");
	char *end = NULL;
	void *caller;

	if (at)
		fail_at = strtoul(at, &end, 10);
	for_good = end && *end == '+';
	exempt = getenv("EXEMPT");
	paths_file = getenv("PATHS_FILE");
	(void)backtrace(&caller, 1); /* which loads a library the first time */
	if (atexit(ended) != 0)
		abort();
	(void)munmap(NULL, 0); /* which fails, and shows who traces where main() begins */
	counting = true;
	return program(argc, argv, envp);
}

/* libc's, which calls main(); no header has it. */
int __libc_start_main(int (*start)(int, char **, char **), int argc, char **argv,
		      void (*init)(void), void (*fini)(void), void (*rtld_fini)(void),
		      void *stack_end);

int __libc_start_main(int (*start)(int, char **, char **), int argc, char **argv,
		      void (*init)(void), void (*fini)(void), void (*rtld_fini)(void),
		      void *stack_end)
{
	int (*real)(int (*)(int, char **, char **), int, char **, void (*)(void), void (*)(void),
		    void (*)(void), void *);

	*(void **)&real = next("__libc_start_main");
	program = start;
	return real(counted_main, argc, argv, init, fini, rtld_fini, stack_end);
}
