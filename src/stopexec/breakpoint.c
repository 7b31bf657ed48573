/* SPDX-License-Identifier: MIT */
#include "stopexec/breakpoint.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include "stopexec/arch.h"

/* What a process must know that is to take it out. */
struct breakpoint {
	_Atomic pid_t pid; /* written before the process is changed; 0: there is none */
	uint64_t address;
	bool in_text;
	unsigned behind; /* the address is the counter after its trap */
	uint64_t was;	 /* the word of the text in which it is */
	uint64_t is;
};

static struct breakpoint alone, *there = &alone;

int breakpoint_share(void)
{
	struct breakpoint *shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
					 MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (shared == MAP_FAILED)
		return -errno;
	there = shared;
	return 0;
}

static __attribute__((noinline)) void landmark(void)
{
	__asm__ volatile("" ::: "memory");
}

static _Noreturn void come_to_the_landmark(pid_t parent)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	/* Where stopexec was gone before that, whoever reaps orphans would trace this for ever. */
	if (getppid() == parent && ptrace(PTRACE_TRACEME, 0, 0, 0) == 0 && raise(SIGSTOP) == 0)
		landmark();
	_exit(EXIT_SUCCESS);
}

/* The signal that stops the child; 0: it has ended. */
static int stop_of(pid_t pid)
{
	int status;

	return waitpid(pid, &status, __WALL) == pid && WIFSTOPPED(status) ? WSTOPSIG(status) : 0;
}

/* Whether a child of ours is stopped at one. That the registers can be written says nothing: PVM, a
 * hypervisor without help from the processor, keeps what is written there, and that is all. */
static bool processor_has_one(void)
{
	bool has = true;
	pid_t self = getpid(), pid = fork();
	int signal;

	if (pid == 0)
		come_to_the_landmark(self);
	if (pid < 0)
		return true;
	signal = stop_of(pid);
	if (signal == SIGSTOP) {
		has = arch_break_set(pid, (uintptr_t)landmark) == 0;
		if (has && ptrace(PTRACE_CONT, pid, 0, 0) == 0)
			has = (signal = stop_of(pid)) == SIGTRAP;
	}
	if (signal != 0) {
		kill(pid, SIGKILL);
		(void)stop_of(pid);
	}
	return has;
}

bool breakpoint_is_in_text(void)
{
	static enum { UNKNOWN, HAS, LACKS } processor;

	if (processor == UNKNOWN)
		processor = processor_has_one() ? HAS : LACKS;
	return processor == LACKS;
}

/* Words are aligned here: none reaches into a page that isn't there. */
static uint64_t word_of(uint64_t address)
{
	return address & ~(uint64_t)(sizeof(long) - 1);
}

static int peek(pid_t pid, uint64_t address, uint64_t *word)
{
	long got;

	errno = 0;
	got = ptrace(PTRACE_PEEKDATA, pid, word_of(address), NULL);
	if (errno != 0)
		return -errno;
	*word = (uint64_t)got;
	return 0;
}

static int poke(pid_t pid, uint64_t address, uint64_t word)
{
	return ptrace(PTRACE_POKEDATA, pid, word_of(address), word) < 0 ? -errno : 0;
}

static int follow_forks(pid_t pid, bool on)
{
	long options = PTRACE_O_TRACEEXEC | (on ? PTRACE_O_TRACEFORK : 0);

	return ptrace(PTRACE_SETOPTIONS, pid, 0, options) < 0 ? -errno : 0;
}

static int put_into_text(pid_t pid)
{
	int result = follow_forks(pid, true);

	return result < 0 ? result : poke(pid, there->address, there->is);
}

int breakpoint_set(pid_t pid, uint64_t address)
{
	int result = 0;

	breakpoint_forget();
	there->address = address;
	there->in_text = breakpoint_is_in_text();
	there->behind = 0;
	if (there->in_text) {
		result = peek(pid, address, &there->was);
		there->is = arch_trap(there->was, (unsigned)(address - word_of(address)),
				      &there->behind);
	}
	if (result < 0)
		return result;
	atomic_store(&there->pid, pid);
	return there->in_text ? put_into_text(pid) : arch_break_set(pid, address);
}

static bool is_of(pid_t pid)
{
	return atomic_load(&there->pid) == pid;
}

/* Two may do so, one after the other; and what is there may be another program by now. */
static int take_out_of_text(pid_t pid)
{
	uint64_t word = 0;
	int result = peek(pid, there->address, &word);

	if (result == -EIO || (result == 0 && word != there->is))
		return 0;
	return result < 0 ? result : poke(pid, there->address, there->was);
}

int breakpoint_clear(pid_t pid)
{
	int result;

	if (!is_of(pid) || !there->in_text)
		result = arch_break_clear(pid);
	else if ((result = take_out_of_text(pid)) == 0)
		result = follow_forks(pid, false);
	if (result == 0 && is_of(pid))
		breakpoint_forget();
	return result;
}

bool breakpoint_met(pid_t pid)
{
	uint64_t counter;

	if (!is_of(pid) || arch_counter(pid, &counter) < 0 ||
	    counter != there->address + there->behind)
		return false;
	return there->behind == 0 || arch_set_counter(pid, there->address) == 0;
}

void breakpoint_spare_child(pid_t pid)
{
	unsigned long child;

	if (is_of(pid) && ptrace(PTRACE_GETEVENTMSG, pid, 0, &child) == 0 &&
	    stop_of((pid_t)child) != 0) {
		(void)take_out_of_text((pid_t)child);
		(void)ptrace(PTRACE_DETACH, (pid_t)child, 0, 0);
	}
}

void breakpoint_forget(void)
{
	atomic_store(&there->pid, 0);
}
