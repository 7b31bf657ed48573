/* SPDX-License-Identifier: MIT */
#include "stopexec/arch.h"

#include <asm/ptrace.h>
#include <elf.h>
#include <errno.h>
#include <stddef.h>
#include <sys/ptrace.h>
#include <sys/uio.h>

/* Arm ARM D13, DBGBCR<n>_EL1: enabled, for EL0 (PMC 0b10), all four bytes of the instruction. */
enum { BREAK_ON = 0x1e5, BREAK_OFF = 0 };

static int registers(pid_t pid, struct user_pt_regs *regs)
{
	struct iovec io = {.iov_base = regs, .iov_len = sizeof(*regs)};

	if (ptrace(PTRACE_GETREGSET, pid, NT_PRSTATUS, &io) < 0)
		return -errno;
	/* a 32-bit program has a smaller set */
	return io.iov_len == sizeof(*regs) ? 0 : -EOPNOTSUPP;
}

int arch_counter(pid_t pid, uint64_t *counter)
{
	struct user_pt_regs regs;
	int result = registers(pid, &regs);

	if (result == 0)
		*counter = regs.pc;
	return result;
}

int arch_set_counter(pid_t pid, uint64_t counter)
{
	struct user_pt_regs regs;
	struct iovec io = {.iov_base = &regs, .iov_len = sizeof(regs)};
	int result = registers(pid, &regs);

	if (result < 0)
		return result;
	regs.pc = counter;
	return ptrace(PTRACE_SETREGSET, pid, NT_PRSTATUS, &io) < 0 ? -errno : 0;
}

int arch_first_argument(pid_t pid, bool wide, uint64_t *argument)
{
	struct user_pt_regs regs;
	int result = registers(pid, &regs);

	(void)wide;
	if (result == 0)
		*argument = regs.regs[0];
	return result;
}

static int set_first(pid_t pid, uint64_t address, uint32_t control)
{
	struct user_hwdebug_state state = {0};
	struct iovec io = {.iov_base = &state,
			   .iov_len = offsetof(struct user_hwdebug_state, dbg_regs[1])};

	state.dbg_regs[0].addr = address;
	state.dbg_regs[0].ctrl = control;
	return ptrace(PTRACE_SETREGSET, pid, NT_ARM_HW_BREAK, &io) < 0 ? -errno : 0;
}

int arch_break_set(pid_t pid, uint64_t address)
{
	return set_first(pid, address, BREAK_ON);
}

int arch_break_clear(pid_t pid)
{
	return set_first(pid, 0, BREAK_OFF);
}

/* BRK #0 (Arm ARM C6.2), of four bytes; the counter stays at it. */
uint64_t arch_trap(uint64_t word, unsigned at, unsigned *behind)
{
	*behind = 0;
	return (word & ~(UINT64_C(0xffffffff) << 8 * at)) | UINT64_C(0xd4200000) << 8 * at;
}
