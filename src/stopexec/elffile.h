/* SPDX-License-Identifier: MIT */
/*
 * What stopexec wants to know of an ELF file. Pure: the bytes come through a function of the
 * caller, a piece at a time, and every number in them may be a lie. 32 and 64 bits, this
 * machine's byte order only.
 */
#ifndef STOPEXEC_ELFFILE_H
#define STOPEXEC_ELFFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Copies exactly len bytes at the offset into to; false where the file has not so many. */
struct elf_bytes {
	bool (*read)(void *data, uint64_t offset, void *to, size_t len);
	void *data;
};

struct elf_file {
	bool wide;  /* 64 bits */
	bool moved; /* ET_DYN: loaded at an address that the kernel or ld.so chooses */
	uint16_t machine;
	uint64_t entry;
	char interpreter[256]; /* "" in a static program */
	/* private: where the tables are */
	uint64_t segments, sections;
	uint16_t segment_size, segment_count, section_size, section_count;
};

/* Reads the header. 0, or -ENOEXEC: no ELF file, or a broken one; *elf is untouched then. */
int elf_read(const struct elf_bytes *bytes, struct elf_file *elf);

/*
 * The value (an address, without the load bias) of the function called name, from the full
 * symbol table or, where that was stripped, the dynamic one. 0; -ENOENT: no such function, or
 * no symbols; -ENOTSUP: it is chosen at run time (STT_GNU_IFUNC), so it has no one address.
 */
int elf_symbol(const struct elf_bytes *bytes, const struct elf_file *elf, const char *name,
	       uint64_t *value);

/* The lowest address that the file asks to be loaded at; the load bias is relative to it. */
int elf_lowest(const struct elf_bytes *bytes, const struct elf_file *elf, uint64_t *address);

/* The value of the auxiliary vector's entry (getauxval(3)) of the type; false: it is not there. */
bool auxv_find(const void *auxv, size_t len, bool wide, uint64_t type, uint64_t *value);

/*
 * The interpreter that a script's first line names ("#!/bin/sh -e" gives "/bin/sh"), as the
 * kernel reads it (fs/binfmt_script.c). False: start is not a script's, or names none.
 */
bool script_interpreter(const char *start, size_t len, char interpreter[256]);

#endif
