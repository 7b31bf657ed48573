/* SPDX-License-Identifier: MIT */
/* deny CALL ERROR PROGRAM…: runs the program where this system call fails, as on a kernel without
 * it; bpf_load and bpf_attach are commands of bpf(2). */
#include <errno.h>
#include <linux/bpf.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

struct call {
	const char *name;
	unsigned call;
	int argument; /* its number; -1: all such calls */
	unsigned is;
};

static const struct call calls[] = {{"bpf", SYS_bpf, -1, 0},
				    {"bpf_attach", SYS_bpf, 0, BPF_RAW_TRACEPOINT_OPEN},
				    {"become_user", SYS_setresuid, 0, 61001},
				    {"bpf_load", SYS_bpf, 0, BPF_PROG_LOAD},
				    {"fanotify_init", SYS_fanotify_init, -1, 0},
				    {"fanotify_mark", SYS_fanotify_mark, -1, 0},
				    {"getgroups", SYS_getgroups, -1, 0},
				    {"membarrier", SYS_membarrier, -1, 0},
				    {"ptrace", SYS_ptrace, -1, 0},
				    {"seteuid", SYS_setresuid, 0, (unsigned)-1},
				    {"seteuid_root", SYS_setresuid, 1, 0}};

static const struct {
	const char *name;
	unsigned error;
} errors[] = {{"EINVAL", EINVAL}, {"ENOSYS", ENOSYS}, {"EPERM", EPERM}};

int main(int argc, char **argv)
{
	const struct call *call = NULL;
	unsigned error = 0;

	for (size_t i = 0; argc > 3 && i < sizeof(calls) / sizeof(calls[0]); i++)
		if (strcmp(argv[1], calls[i].name) == 0)
			call = &calls[i];
	for (size_t i = 0; argc > 3 && i < sizeof(errors) / sizeof(errors[0]); i++)
		if (strcmp(argv[2], errors[i].name) == 0)
			error = errors[i].error;
	if (call == NULL || error == 0)
		return 2;

	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call->call, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
			 offsetof(struct seccomp_data, args[0]) +
				 (call->argument > 0 ? 8 * (unsigned)call->argument : 0)),
		BPF_JUMP(BPF_JMP | (call->argument < 0 ? BPF_JGE : BPF_JEQ) | BPF_K, call->is, 0,
			 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {sizeof(filter) / sizeof(filter[0]), filter};

	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0) {
		perror("deny");
		return 2;
	}
	execv(argv[3], argv + 3);
	return 127;
}
