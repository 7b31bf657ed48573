/* SPDX-License-Identifier: MIT */
/*
 * The BPF program that stops a process at its exec, assembled for one rule: so nothing is looked up
 * while others execute that the rule itself answers, and no compiler for BPF is needed. It hangs on
 * the raw tracepoint sched_process_exec, which fires when the exec can't fail any more. Pure.
 */
#ifndef STOPEXEC_CATCH_PROGRAM_H
#define STOPEXEC_CATCH_PROGRAM_H

#include <linux/bpf.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum {
	CATCH_NAME_MOST = 255,
	CATCH_COMM_MOST = 15, /* TASK_COMM_LEN, without its NUL */
	CATCH_PATH_MOST = 4096,
};

/* Shared with the program: a map of one value, which is also memory of ours. */
struct catch_control {
	uint64_t on;
	int64_t wanted; /* starts still to be stopped, where they are counted */
	uint64_t helper;
	char scratch[CATCH_PATH_MOST]; /* only written: what counts there is the length */
};

/* What it tells. */
struct catch_event {
	uint32_t pid;
	uint32_t name; /* which of the names; CATCH_LOADER: perhaps, a dynamic loader runs */
};

#define CATCH_LOADER UINT32_MAX

/* Where the kernel keeps what the program reads, from its own description (BTF). */
struct catch_offsets {
	uint32_t task_parent;	/* task_struct.real_parent */
	uint32_t task_tgid;	/* task_struct.tgid */
	uint32_t exec_filename; /* linux_binprm.filename */
};

struct catch_filter {
	/* The path as it was executed where one has a slash, else its last part. None: any. */
	const char *const *names;
	size_t nnames;
	const char *comm; /* NULL: any */
	bool any_user;
	uid_t uid;
	uint64_t cgroup; /* its id; 0: any */
	int cgroup_level;
	pid_t parent;	     /* 0: any */
	const pid_t *spared; /* never these */
	size_t nspared;
	bool counted; /* by catch_control.wanted */
};

/*
 * Writes the instructions, which the caller frees. control and ring: the maps' descriptors.
 * -ENOMEM; -ENAMETOOLONG; -E2BIG: too many names.
 */
int catch_program(const struct catch_filter *filter, const struct catch_offsets *offsets,
		  int control, int ring, struct bpf_insn **insns, size_t *count);

/* True where the words that a dynamic loader was started with (each ends with a NUL) make it run a
 * program of that name. */
bool catch_loader_runs(const char *words, size_t len, const char *name);

/* True where the path, as it was executed, is the one that the name means. */
bool catch_name_fits(const char *path, const char *name);

#endif
