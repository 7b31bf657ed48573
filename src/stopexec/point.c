/* SPDX-License-Identifier: MIT */
#include "stopexec/point.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/err.h"
#include "base/mem.h"
#include "stopexec/arch.h"
#include "stopexec/breakpoint.h"
#include "stopexec/elffile.h"
#include "stopexec/proc.h"
#include "stopexec/program.h"
#include "stopexec/trace.h"

enum {
	STEPS = 400,   /* _start needs about 15 instructions until it has main's address at hand */
	LONGEST = 15,  /* bytes of an x86-64 instruction; larger jumps of the counter are calls */
	LET_GO = 2000, /* ms that a process may take to be stopped */
};

/* The image that is being run. */
struct image {
	int fd;
	struct elf_file elf;
	struct elf_bytes bytes;
	uint64_t entry; /* where it was loaded */
	uint64_t bias;	/* what is added to the file's addresses */
};

struct point point_of(const char *word)
{
	if (strcmp(word, "first") == 0)
		return (struct point){POINT_FIRST, NULL};
	if (strcmp(word, "entry") == 0)
		return (struct point){POINT_ENTRY, NULL};
	if (strcmp(word, "main") == 0)
		return (struct point){POINT_MAIN, NULL};
	return (struct point){POINT_SYMBOL, word};
}

static int image_open(pid_t pid, struct image *image, struct err *e)
{
	int result;

	image->fd = proc_open_program(pid);
	if (image->fd < 0)
		return err_sys(e, image->fd, "The program of process %d can't be read", pid);
	image->bytes = program_bytes(&image->fd);
	result = elf_read(&image->bytes, &image->elf);
	if (result < 0)
		return err_set(e, result, "The program of process %d is no ELF file of this kind",
			       pid);
	result = proc_auxv(pid, image->elf.wide, AT_ENTRY, &image->entry);
	if (result < 0)
		return err_sys(e, result, "The entry of process %d can't be found", pid);
	image->bias = image->entry - image->elf.entry;
	return 0;
}

/* Goes on after an event that was not the one waited for. 0, -ESRCH, -ESTALE, -errno */
static int pass(struct trace *t, int event)
{
	switch (event) {
	case TRACE_GONE:
		return -ESRCH;
	case TRACE_EXEC:
		return -ESTALE;
	case TRACE_HELD:
		return trace_listen(t);
	default:
		return trace_go(t);
	}
}

static int told(struct trace *t, int result, struct err *e)
{
	if (result == -ESRCH)
		return err_set(e, result, "Process %d ended before it came to the stop point",
			       t->pid);
	if (result == -ESTALE)
		return err_set(e, result,
			       "Process %d executed another program before it came to the stop "
			       "point",
			       t->pid);
	if (result == -ETIME)
		return err_set(e, result, "Process %d did not come to the stop point in time",
			       t->pid);
	if (result == -EINTR)
		return err_set(e, result,
			       "stopexec was ended before process %d came to the stop point",
			       t->pid);
	return err_sys(e, result, "Process %d could not be followed to the stop point", t->pid);
}

static int run_to(struct trace *t, uint64_t address, struct err *e)
{
	uint64_t counter;
	int result = arch_counter(t->pid, &counter);

	if (result == 0 && counter == address)
		return 0;
	result = breakpoint_set(t->pid, address);
	if (result < 0 && result != -ESRCH)
		return err_sys(e, result, "Process %d can't be given a breakpoint", t->pid);
	if (result == 0)
		result = trace_go(t);
	while (result >= 0) {
		int event = trace_wait(t);

		if (event == TRACE_TRAP && breakpoint_met(t->pid)) {
			t->signal = 0;
			result = breakpoint_clear(t->pid);
			break;
		}
		if (event == TRACE_EXEC || event == TRACE_GONE)
			breakpoint_forget();
		if (event == TRACE_FORK)
			breakpoint_spare_child(t->pid);
		result = event < 0 ? event : pass(t, event);
	}
	return result < 0 ? told(t, result, e) : 0;
}

struct within {
	uint64_t address;
	ino_t inode;
};

static bool own_code(const struct mapping *mapping, void *data)
{
	const struct within *w = data;

	return mapping->executable && mapping->inode == w->inode && w->address >= mapping->start &&
	       w->address < mapping->end;
}

/* Is it an address in the program's own code? */
static bool in_program(pid_t pid, const struct image *image, uint64_t address)
{
	struct mapping found;
	struct within within = {.address = address};
	struct stat st;

	if (fstat(image->fd, &st) < 0)
		return false;
	within.inode = st.st_ino;
	return proc_mapping(pid, own_code, &within, &found) == 0;
}

static bool was_killed(int status)
{
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
}

/*
 * A stripped program: its first code calls into the C library with main as the first argument
 * (glibc and musl: __libc_start_main). So step until the first call whose first argument is an
 * address in the program's code.
 */
static int step_to_main(struct trace *t, const struct image *image, uint64_t *address)
{
	uint64_t before, counter, argument;
	int result = arch_counter(t->pid, &before);

	for (int i = 0; result >= 0 && i < STEPS; i++) {
		int event;

		result = trace_step(t);
		event = result < 0 ? result : trace_wait(t);
		if (event < 0)
			return event;
		if (event == TRACE_GONE) /* by itself, it would have come to main if it had one */
			return was_killed(t->ended) ? -ESRCH : -ENOENT;
		if (event != TRACE_TRAP) {
			result = event == TRACE_SIGNAL || event == TRACE_NOTE ? 0 : -ENOENT;
			continue;
		}
		t->signal = 0;
		result = arch_counter(t->pid, &counter);
		if (result == 0 && counter - before > LONGEST &&
		    arch_first_argument(t->pid, image->elf.wide, &argument) == 0 &&
		    argument != image->entry && in_program(t->pid, image, argument)) {
			*address = argument;
			return 0;
		}
		before = counter;
	}
	return result < 0 ? result : -ENOENT;
}

static int reach_main(struct trace *t, const struct image *image, struct err *e)
{
	uint64_t address;
	int result = elf_symbol(&image->bytes, &image->elf, "main", &address);

	if (result < 0) /* Go's own name for it */
		result = elf_symbol(&image->bytes, &image->elf, "main.main", &address);
	if (result == 0)
		return run_to(t, image->bias + address, e);
	result = run_to(t, image->entry, e);
	if (result < 0)
		return result;
	result = step_to_main(t, image, &address);
	if (result == -ENOENT)
		return err_set(e, result,
			       "The main of process %d can't be found: the program is stripped, "
			       "and does not start as C programs do",
			       t->pid);
	return result < 0 ? told(t, result, e) : run_to(t, address, e);
}

struct library_search {
	pid_t pid;
	const char *symbol;
	uint64_t address;
	char last[4096]; /* a library has several mappings, one after the other */
};

/* The mapped file itself, whatever its path now leads to, also in another mount namespace. */
static int open_mapped(pid_t pid, const struct mapping *mapping)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/map_files/%" PRIx64 "-%" PRIx64, pid, mapping->start,
		 mapping->end);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 && errno == EPERM) /* before Linux 5.9, and without privilege */
		fd = open(mapping->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	return fd;
}

static bool library_has(const struct mapping *mapping, void *data)
{
	struct library_search *search = data;
	struct elf_file elf;
	uint64_t value, lowest;
	bool found;
	int fd;
	struct elf_bytes bytes;

	if (mapping->path[0] != '/' || mapping->offset != 0 ||
	    strcmp(mapping->path, search->last) == 0)
		return false;
	memcpy(search->last, mapping->path, sizeof(search->last));
	fd = open_mapped(search->pid, mapping);
	if (fd < 0)
		return false;
	bytes = program_bytes(&fd);
	found = elf_read(&bytes, &elf) == 0 &&
		elf_symbol(&bytes, &elf, search->symbol, &value) == 0 &&
		elf_lowest(&bytes, &elf, &lowest) == 0;
	if (found)
		search->address = mapping->start + (value - lowest);
	close(fd);
	return found;
}

static int reach_symbol(struct trace *t, const struct image *image, const char *symbol,
			struct err *e)
{
	struct library_search search = {.pid = t->pid, .symbol = symbol};
	struct mapping found;
	uint64_t address;
	int result = elf_symbol(&image->bytes, &image->elf, symbol, &address);

	if (result == 0)
		return run_to(t, image->bias + address, e);
	if (result == -ENOTSUP)
		return err_set(e, result,
			       "%s is chosen when the program runs (an IFUNC): it has no one "
			       "address to stop at",
			       symbol);
	result = run_to(t, image->entry, e);
	if (result < 0)
		return result;
	if (proc_mapping(t->pid, library_has, &search, &found) < 0)
		return err_set(e, -ENOENT,
			       "Neither the program of process %d nor the libraries that it "
			       "starts with have a function called %s",
			       t->pid, symbol);
	return run_to(t, search.address, e);
}

int point_reach(struct trace *t, const struct point *point, struct err *e)
{
	struct image image = {.fd = -1};
	int result;

	if (point->kind == POINT_FIRST)
		return 0;
	result = image_open(t->pid, &image, e);
	if (result < 0) {
		fd_close_at(&image.fd);
		return result;
	}
	switch (point->kind) {
	case POINT_FIRST:
	case POINT_ENTRY:
		result = run_to(t, image.entry, e);
		break;
	case POINT_MAIN:
		result = reach_main(t, &image, e);
		break;
	case POINT_SYMBOL:
		result = reach_symbol(t, &image, point->symbol, e);
		break;
	}
	fd_close_at(&image.fd);
	return result;
}

/* After a stop behind which the process is let go for good. */
static void settle(struct trace *t, int event)
{
	if (event == TRACE_TRAP) {
		(void)breakpoint_met(t->pid);
		t->signal = 0;
	}
	if (event == TRACE_FORK)
		breakpoint_spare_child(t->pid);
}

void point_abandon(struct trace *t)
{
	t->end = NULL;
	t->deadline = now_ms(); /* it may have stopped since it was waited for, and just there */
	settle(t, trace_wait(t));
	if (breakpoint_clear(t->pid) == -ESRCH) { /* it runs */
		if (ptrace(PTRACE_INTERRUPT, t->pid, 0, 0) < 0)
			return;
		t->deadline = now_ms() + LET_GO;
		settle(t, trace_wait(t));
		(void)breakpoint_clear(t->pid);
	}
	ptrace(PTRACE_DETACH, t->pid, 0, (long)t->signal);
}

static bool begins_there(const struct mapping *mapping, void *data)
{
	return mapping->start == *(const uint64_t *)data;
}

/* The first instruction of the dynamic loader. -ENOENT: a static program has none. */
static int loader_entry(pid_t pid, bool wide, uint64_t *entry)
{
	int fd cleanup(fd_close_at) = -1;
	struct elf_bytes bytes = program_bytes(&fd);
	struct elf_file elf;
	struct mapping found;
	uint64_t base = 0, lowest;

	if (proc_auxv(pid, wide, AT_BASE, &base) < 0 || base == 0 ||
	    proc_mapping(pid, begins_there, &base, &found) < 0)
		return -ENOENT;
	fd = open_mapped(pid, &found);
	if (fd < 0 || elf_read(&bytes, &elf) < 0 || elf_lowest(&bytes, &elf, &lowest) < 0)
		return -ENOENT;
	*entry = base + (elf.entry - lowest);
	return 0;
}

bool point_main_ahead(pid_t pid)
{
	struct image image = {.fd = -1};
	uint64_t counter, loader, main;
	bool ahead = image_open(pid, &image, NULL) == 0 &&
		     elf_symbol(&image.bytes, &image.elf, "main", &main) == 0 &&
		     proc_counter(pid, &counter) == 0 &&
		     (counter == image.entry ||
		      (loader_entry(pid, image.elf.wide, &loader) == 0 && counter == loader));

	fd_close_at(&image.fd);
	return ahead;
}
