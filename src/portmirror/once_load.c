/* SPDX-License-Identifier: MIT */
#include <bpf/bpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "bpf/load.h"
#include "portmirror/once.h"

#define LOG_SIZE 65536

int once_map_create(struct err *e)
{
	int fd = bpf_map_create(BPF_MAP_TYPE_PERCPU_ARRAY, "once", sizeof(uint32_t),
				sizeof(struct once_cell), 1, NULL);

	if (fd < 0)
		return err_sys(e, fd,
			       "can't make the map that keeps frames from being copied twice");
	return fd;
}

int once_load(const struct once_program *program, int map_fd, struct err *e)
{
	char *log cleanup(free_at) = calloc(1, LOG_SIZE);
	struct bpf_insn *code cleanup(free_at) = calloc(program->count, sizeof(*code));
	LIBBPF_OPTS(bpf_prog_load_opts, opts, .log_buf = log, .log_size = LOG_SIZE);
	int fd;

	if (!log || !code)
		return err_set(e, -ENOMEM, "out of memory");
	memcpy(code, program->code, program->count * sizeof(*code));
	code[program->map_load].imm = map_fd;
	/* libbpf fills the log only where loading fails. */
	fd = bpf_prog_load(BPF_PROG_TYPE_SCHED_CLS, program->name, "MIT", code, program->count,
			   &opts);
	if (fd < 0)
		return load_refused(e, fd, program->what, load_last_words(log));
	return fd;
}
