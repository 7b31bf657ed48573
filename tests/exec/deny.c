/* SPDX-License-Identifier: MIT */
/* deny CALL ERROR PROGRAM…: runs the program where this system call fails, as on a kernel without
 * it. */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static const struct {
	const char *name;
	unsigned call;
} calls[] = {{"bpf", SYS_bpf},
	     {"fanotify_init", SYS_fanotify_init},
	     {"fanotify_mark", SYS_fanotify_mark},
	     {"ptrace", SYS_ptrace}};

static const struct {
	const char *name;
	unsigned error;
} errors[] = {{"EINVAL", EINVAL}, {"ENOSYS", ENOSYS}, {"EPERM", EPERM}};

int main(int argc, char **argv)
{
	unsigned call = 0, error = 0;

	for (size_t i = 0; argc > 3 && i < sizeof(calls) / sizeof(calls[0]); i++)
		if (strcmp(argv[1], calls[i].name) == 0)
			call = calls[i].call;
	for (size_t i = 0; argc > 3 && i < sizeof(errors) / sizeof(errors[0]); i++)
		if (strcmp(argv[2], errors[i].name) == 0)
			error = errors[i].error;
	if (call == 0 || error == 0)
		return 2;

	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 0, 1),
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
