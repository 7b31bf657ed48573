/* SPDX-License-Identifier: MIT */
#include "stopexec/arch.h"

#include <errno.h>
#include <stddef.h>
#include <sys/ptrace.h>
#include <sys/user.h>

/* Intel SDM 3B 18.2: DR7 bit 0 enables breakpoint 0 for this thread; its length and kind, both 0,
 * mean one byte, on execution. */
enum { DR7_FIRST = 1 };

/* A 64-bit tracer sees a 32-bit program's registers by their 64-bit names. */
static int peek(pid_t pid, size_t offset, uint64_t *value)
{
	long got;

	errno = 0;
	got = ptrace(PTRACE_PEEKUSER, pid, offset, NULL);
	if (errno != 0)
		return -errno;
	*value = (uint64_t)got;
	return 0;
}

int arch_counter(pid_t pid, uint64_t *counter)
{
	return peek(pid, offsetof(struct user_regs_struct, rip), counter);
}

int arch_set_counter(pid_t pid, uint64_t counter)
{
	size_t offset = offsetof(struct user_regs_struct, rip);

	return ptrace(PTRACE_POKEUSER, pid, offset, counter) < 0 ? -errno : 0;
}

int arch_first_argument(pid_t pid, bool wide, uint64_t *argument)
{
	uint64_t stack = 0;
	long word;
	int result;

	if (wide)
		return peek(pid, offsetof(struct user_regs_struct, rdi), argument);
	/* i386: on the stack, above the return address. */
	result = peek(pid, offsetof(struct user_regs_struct, rsp), &stack);
	if (result < 0)
		return result;
	errno = 0;
	word = ptrace(PTRACE_PEEKDATA, pid, (uint32_t)stack + UINT64_C(4), NULL);
	if (errno != 0)
		return -errno;
	*argument = (uint32_t)word;
	return 0;
}

int arch_break_set(pid_t pid, uint64_t address)
{
	if (ptrace(PTRACE_POKEUSER, pid, offsetof(struct user, u_debugreg[0]), address) < 0 ||
	    ptrace(PTRACE_POKEUSER, pid, offsetof(struct user, u_debugreg[7]), DR7_FIRST) < 0)
		return -errno;
	return 0;
}

int arch_break_clear(pid_t pid)
{
	if (ptrace(PTRACE_POKEUSER, pid, offsetof(struct user, u_debugreg[7]), 0) < 0)
		return -errno;
	return 0;
}

/* INT3 (Intel SDM 2A), of one byte. */
uint64_t arch_trap(uint64_t word, unsigned at, unsigned *behind)
{
	*behind = 1;
	return (word & ~(UINT64_C(0xff) << 8 * at)) | UINT64_C(0xcc) << 8 * at;
}
