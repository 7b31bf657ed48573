/* SPDX-License-Identifier: MIT */
#include "portmirrord/confine.h"

#include <errno.h>
#include <linux/capability.h>
#include <seccomp.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"

#ifndef CAP_BPF
#define CAP_BPF 39 /* Linux 5.8 */
#endif

static const int kept[] = {CAP_NET_ADMIN, CAP_NET_RAW, CAP_SYS_PTRACE, CAP_BPF};

/* The kernel takes capabilities in two halves of 32. */
static int get(struct __user_cap_data_struct data[2])
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};

	return syscall(SYS_capget, &header, data) < 0 ? -errno : 0;
}

bool confine_may_administer(void)
{
	struct __user_cap_data_struct data[2] = {0};

	return get(data) == 0 && (data[0].effective & (1u << CAP_NET_ADMIN));
}

static bool is_kept(int capability)
{
	for (size_t i = 0; i < COUNT(kept); i++)
		if (kept[i] == capability)
			return true;
	return false;
}

/* Those that an executed program could get, whatever its file says. */
static void drop_bounding(void)
{
	for (int c = 0; prctl(PR_CAPBSET_READ, c, 0, 0, 0) >= 0; c++)
		if (!is_kept(c))
			(void)prctl(PR_CAPBSET_DROP, c, 0, 0, 0); /* needs CAP_SETPCAP */
}

int confine_capabilities(struct err *e)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2] = {0};
	uint32_t mask[2] = {0};
	int r;

	for (size_t i = 0; i < COUNT(kept); i++)
		mask[kept[i] / 32] |= 1u << (kept[i] % 32);
	drop_bounding();
	(void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return err_sys(e, -errno, "can't give up new privileges");
	r = get(data);
	if (r < 0)
		return err_sys(e, r, "can't read the capabilities");
	for (int i = 0; i < 2; i++) {
		data[i].permitted &= mask[i];
		data[i].effective = data[i].permitted;
		data[i].inheritable = 0;
	}
	if (syscall(SYS_capset, &header, data) < 0)
		return err_sys(e, -errno, "can't give up capabilities");
	return 0;
}

/* By what they are for. A name that this computer's kernel lacks is passed over. */
/* clang-format off */
static const char *const calls[] = {
	/* memory, time, the process itself */
	"brk", "munmap", "mremap", "madvise", "membarrier", "clock_gettime", "clock_getres",
	"clock_nanosleep", "nanosleep", "gettimeofday", "time", "getpid", "gettid", "getppid",
	"getuid", "geteuid", "getgid", "getegid", "getgroups", "getrandom", "uname", "sysinfo",
	"prlimit64", "getrlimit", "getrusage", "sched_getaffinity", "sched_yield", "rseq",
	"set_robust_list", "set_tid_address", "prctl", "setpriority", "getpriority", "futex",
	"restart_syscall", "capget", "exit", "exit_group", "arch_prctl",
	/* signals, children (a check runs in one) */
	"rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "rt_sigpending", "rt_sigtimedwait",
	"sigaltstack", "signalfd4", "kill", "tgkill", "clone", "clone3", "fork", "vfork", "wait4",
	"waitid", "pipe", "pipe2", "dup", "dup2", "dup3",
	/* files */
	"read", "readv", "pread64", "preadv", "write", "writev", "pwrite64", "close",
	"close_range", "open", "openat", "fcntl", "flock", "lseek", "stat", "lstat", "fstat",
	"newfstatat", "statx", "statfs", "fstatfs", "access", "faccessat", "faccessat2",
	"readlink", "readlinkat", "getdents64", "getcwd", "rename", "renameat", "renameat2",
	"unlink", "unlinkat", "rmdir", "mkdir", "mkdirat", "chmod", "fchmod", "fchmodat", "ftruncate",
	"fsync", "fdatasync", "fadvise64", "sendfile", "umask", "inotify_init1",
	"inotify_add_watch", "inotify_rm_watch",
	/* waiting */
	"epoll_create1", "epoll_ctl", "epoll_wait", "epoll_pwait", "epoll_pwait2", "poll",
	"ppoll", "select", "pselect6", "eventfd2", "timerfd_create", "timerfd_settime",
	"timerfd_gettime",
	/* sockets */
	"bind", "listen", "accept", "accept4", "connect", "shutdown", "getsockname",
	"getpeername", "getsockopt", "setsockopt", "socketpair", "sendto", "sendmsg", "sendmmsg",
	"recvfrom", "recvmsg", "recvmmsg",
	/* what only such a program needs: devices' features, programs, machines' processes */
	"ioctl", "bpf", "pidfd_open", "pidfd_getfd",
#ifdef __SANITIZE_ADDRESS__
	"ptrace", "process_vm_readv", "getdents", /* LeakSanitizer looks at its own process */
#endif
};
/* clang-format on */

static int allow_calls(scmp_filter_ctx filter)
{
	int r = 0;

	for (size_t i = 0; i < COUNT(calls) && r == 0; i++) {
		int number = seccomp_syscall_resolve_name(calls[i]);

		if (number != __NR_SCMP_ERROR)
			r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, number, 0);
	}
	return r;
}

static int allow_sockets(scmp_filter_ctx filter)
{
	static const int families[] = {AF_UNIX, AF_INET, AF_INET6, AF_NETLINK, AF_PACKET};
	int r = 0;

	for (size_t i = 0; i < COUNT(families) && r == 0; i++)
		r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(socket), 1,
				     SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)families[i], 0));
	return r;
}

/* Memory may be written or executed, never both, and doesn't become executable later. */
static int allow_mapping(scmp_filter_ctx filter)
{
	int r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1,
				 SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));

	if (r == 0)
		r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1,
				     SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_WRITE, 0));
	if (r == 0)
		r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1,
				     SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
	return r;
}

int confine_calls(struct err *e)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
	int r = filter ? allow_calls(filter) : -ENOMEM;

	if (r == 0)
		r = allow_sockets(filter);
	if (r == 0)
		r = allow_mapping(filter);
	if (r == 0)
		r = seccomp_load(filter);
	seccomp_release(filter);
	return r < 0 ? err_sys(e, r, "can't filter system calls") : 0;
}
