/* SPDX-License-Identifier: MIT */
/*
 * Once-programs as an ELF object, the form in which bpftool(8) and libbpf take programs: the
 * section "classifier" holds them all, each is a function of its own name, and they share the map
 * "once". Pure: bytes in memory.
 */
#ifndef PORTMIRROR_OBJECT_H
#define PORTMIRROR_OBJECT_H

#include <stddef.h>

struct buf;
struct plan_program;

/* Appends the object to out, in this machine's byte order. -ENOMEM, -E2BIG. */
int object_build(const struct plan_program *programs, size_t count, struct buf *out);

#endif
