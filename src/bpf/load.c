/* SPDX-License-Identifier: MIT */
#include "bpf/load.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <bpf/libbpf.h>

#include "base/err.h"

#define LOG_SIZE ((size_t)1 << 20)

/* What goes wrong is in the error. */
static void let_nothing_be_printed(void)
{
	libbpf_set_print(NULL);
}

int load_cpus(struct err *e)
{
	int cpus;

	let_nothing_be_printed();
	cpus = libbpf_num_possible_cpus();
	return cpus < 0 ? err_sys(e, cpus, "can't tell the number of CPUs") : cpus;
}

bool load_begin(struct load *load)
{
	let_nothing_be_printed();
	load->log = calloc(1, LOG_SIZE);
	load->opts = calloc(1, sizeof(*load->opts)); /* libbpf looks at the padding too */
	if (!load->log || !load->opts) {
		load_free(load);
		return false;
	}
	load->opts->sz = sizeof(*load->opts);
	load->opts->kernel_log_buf = load->log;
	load->opts->kernel_log_size = LOG_SIZE;
	return true;
}

void load_free(struct load *load)
{
	free(load->log);
	free(load->opts);
	*load = (struct load){0};
}

const char *load_last_words(char *log)
{
	char *statistics = strstr(log, "\nprocessed ");
	char *line;

	if (statistics)
		*statistics = '\0';
	line = strrchr(log, '\n');
	return line ? line + 1 : log;
}

int load_refused(struct err *e, int code, const char *what, const char *words)
{
	if (code == -EPERM && *words == '\0')
		return err_set(e, code,
			       "the kernel refused %s: BPF is locked down here, or root lacks "
			       "CAP_BPF and CAP_NET_ADMIN",
			       what);
	return err_sys(e, code, "the kernel refused %s%s%s", what, *words ? ": " : "", words);
}

int load_finish(const struct load *load, struct bpf_object *object, const char *what, struct err *e)
{
	int r = bpf_object__load(object);

	return r < 0 ? load_refused(e, r, what, load_last_words(load->log)) : 0;
}
