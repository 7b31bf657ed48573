/* SPDX-License-Identifier: MIT */
/* Into the kernel, with its words where it refuses. */
#ifndef BPF_LOAD_H
#define BPF_LOAD_H

#include <stdbool.h>

struct bpf_object;
struct bpf_object_open_opts;
struct err;

/*
 * How a skeleton is opened and loaded so that nothing is printed and the verifier's words are kept:
 *
 *	struct load load cleanup(load_free) = {0};
 *	struct X_bpf *x = load_begin(&load) ? X_bpf__open_opts(load.opts) : NULL;
 *	…  // bpf_map__reuse_fd(), rodata
 *	r = x ? load_finish(&load, x->obj, "the program that …", e) : err_…;
 */
struct load {
	char *log;
	struct bpf_object_open_opts *opts;
};

/* How many CPUs the kernel has room for: so many values has each cell of a map per CPU. */
int load_cpus(struct err *e);

/* False: out of memory. */
bool load_begin(struct load *load);
/* Loads all programs and maps of the object. Refused: what, and why, is in e: the verifier's last
 * words, or that BPF is locked down. */
int load_finish(const struct load *load, struct bpf_object *object, const char *what,
		struct err *e);
void load_free(struct load *load); /* also for cleanup(); the object may not be loaded after it */

/* The verifier's log ends with what it objects to, and a line of statistics, which is cut off. */
const char *load_last_words(char *log);

/* A sentence for why the kernel has refused to load (code: a negative errno). */
int load_refused(struct err *e, int code, const char *what, const char *words);

#endif
