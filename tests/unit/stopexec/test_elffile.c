/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "stopexec/elffile.h"

/* A file in memory. */
struct memory {
	const char *data;
	size_t len;
};

static bool read_memory(void *data, uint64_t offset, void *to, size_t len)
{
	const struct memory *m = data;

	if (offset > m->len || m->len - offset < len)
		return false;
	memcpy(to, m->data + offset, len);
	return true;
}

static struct elf_bytes bytes_of(struct memory *m)
{
	return (struct elf_bytes){.read = read_memory, .data = m};
}

/* This test itself is the example. */
static struct memory own(char **data)
{
	size_t len;

	assert_int_equal(file_read("/proc/self/exe", 64 << 20, data, &len, NULL), 0);
	return (struct memory){*data, len};
}

static void test_own_program(void **state)
{
	char *data cleanup(free_at) = NULL;
	struct memory memory = own(&data);
	struct elf_bytes bytes = bytes_of(&memory);
	struct elf_file elf;
	uint64_t value, lowest;

	(void)state;
	assert_int_equal(elf_read(&bytes, &elf), 0);
	assert_true(elf.wide == (sizeof(long) == 8));
	assert_true(strncmp(elf.interpreter, "/lib", 4) == 0);
	assert_int_equal(elf_lowest(&bytes, &elf, &lowest), 0);
	assert_int_equal(elf_symbol(&bytes, &elf, "read_memory", &value), 0);
	assert_int_equal(value + (getauxval(AT_ENTRY) - elf.entry), (uintptr_t)read_memory);
	assert_int_equal(elf_symbol(&bytes, &elf, "read_memor", &value), -ENOENT);
	assert_int_equal(elf_symbol(&bytes, &elf, "", &value), -ENOENT);
}

static void test_every_cut_is_refused_or_read(void **state)
{
	char *data cleanup(free_at) = NULL;
	struct memory whole = own(&data);
	size_t step = whole.len / 500 + 1;

	(void)state;
	for (size_t len = 0; len < whole.len; len += len < 2048 ? 1 : step) {
		struct memory memory = {whole.data, len};
		struct elf_bytes bytes = bytes_of(&memory);
		struct elf_file elf;
		uint64_t value;

		if (len < sizeof(Elf64_Ehdr))
			assert_int_equal(elf_read(&bytes, &elf), -ENOEXEC);
		else if (elf_read(&bytes, &elf) == 0)
			(void)elf_symbol(&bytes, &elf, "main", &value);
	}
}

static void test_garbage(void **state)
{
	char *data cleanup(free_at) = NULL;
	struct memory memory = own(&data);
	struct elf_bytes bytes = bytes_of(&memory);

	(void)state;
	srandom(1);
	for (int i = 0; i < 20000; i++) {
		size_t at = (size_t)random() % 4096;
		char before = data[at];
		struct elf_file elf;
		uint64_t value;

		data[at] = (char)random();
		if (elf_read(&bytes, &elf) == 0) {
			(void)elf_lowest(&bytes, &elf, &value);
			if (i % 64 == 0)
				(void)elf_symbol(&bytes, &elf, "main", &value);
		}
		data[at] = before;
	}
}

static void test_lies(void **state)
{
	char *data cleanup(free_at) = NULL;
	struct memory memory = own(&data);
	struct elf_bytes bytes = bytes_of(&memory);
	struct elf_file elf = {.machine = 42};
	union {
		char *bytes;
		Elf64_Ehdr *header;
	} file = {.bytes = data};
	uint64_t value;

	(void)state;
	file.header->e_phoff = UINT64_MAX - 8;
	assert_int_equal(elf_read(&bytes, &elf), -ENOEXEC);
	assert_int_equal(elf.machine, 42); /* untouched */
	file.header->e_phoff = 64;
	file.header->e_shoff = INT64_MAX;
	assert_int_equal(elf_read(&bytes, &elf), 0);
	assert_int_equal(elf_symbol(&bytes, &elf, "main", &value), -ENOENT);
	file.header->e_phentsize = 1;
	assert_int_equal(elf_read(&bytes, &elf), -ENOEXEC);
	file.header->e_type = ET_CORE;
	assert_int_equal(elf_read(&bytes, &elf), -ENOEXEC);
}

static void test_auxv(void **state)
{
	uint64_t wide[] = {AT_PAGESZ, 4096, AT_ENTRY, 0x401000, AT_NULL, 0, AT_BASE, 9};
	uint32_t narrow[] = {AT_ENTRY, 0x8048000, AT_NULL, 0};
	uint64_t value = 5;

	(void)state;
	assert_true(auxv_find(wide, sizeof(wide), true, AT_ENTRY, &value));
	assert_int_equal(value, 0x401000);
	assert_false(auxv_find(wide, sizeof(wide), true, AT_BASE, &value)); /* behind the end */
	assert_false(auxv_find(wide, 24, true, AT_ENTRY, &value));	    /* cut */
	assert_int_equal(value, 0x401000);
	assert_true(auxv_find(narrow, sizeof(narrow), false, AT_ENTRY, &value));
	assert_int_equal(value, 0x8048000);
	assert_false(auxv_find(narrow, 2, false, AT_ENTRY, &value)); /* cut */
	assert_false(auxv_find(narrow, 6, false, AT_ENTRY, &value));
	assert_int_equal(value, 0x8048000);
	assert_false(auxv_find(NULL, 0, true, AT_ENTRY, &value));
}

static void expect_interpreter(const char *line, const char *expected)
{
	char interpreter[256] = "untouched";

	if (expected == NULL) {
		assert_false(script_interpreter(line, strlen(line), interpreter));
		assert_string_equal(interpreter, "untouched");
		return;
	}
	assert_true(script_interpreter(line, strlen(line), interpreter));
	assert_string_equal(interpreter, expected);
}

static void test_scripts(void **state)
{
	char longest[400] = "#!/";

	(void)state;
	expect_interpreter("#!/bin/sh\necho", "/bin/sh");
	expect_interpreter("#! \t/usr/bin/env python3\n", "/usr/bin/env");
	expect_interpreter("#!/bin/sh", "/bin/sh");
	expect_interpreter("#!\n/bin/sh\n", NULL);
	expect_interpreter("#!", NULL);
	expect_interpreter("#", NULL);
	expect_interpreter("", NULL);
	expect_interpreter("echo\n", NULL);
	memset(longest + 3, 'x', sizeof(longest) - 4);
	expect_interpreter(longest, NULL);
}

/* Tables of symbols that are to be behind the file's end. */
static void test_symbols_nowhere(void **state)
{
	char *data cleanup(free_at) = NULL;
	struct memory memory = own(&data);
	struct elf_bytes bytes = bytes_of(&memory);
	Elf64_Ehdr *header = (void *)data;
	Elf64_Shdr *sections = (void *)(data + header->e_shoff);
	struct elf_file elf;
	uint64_t value;

	(void)state;
	for (int n = 0; n < header->e_shnum; n++)
		sections[n].sh_offset = memory.len;
	assert_int_equal(elf_read(&bytes, &elf), 0);
	assert_int_equal(elf_symbol(&bytes, &elf, "main", &value), -ENOENT);
}

/* Tables of symbols whose names are to be in a section that is not there. */
static void test_names_nowhere(void **state)
{
	char *data cleanup(free_at) = NULL;
	struct memory memory = own(&data);
	struct elf_bytes bytes = bytes_of(&memory);
	Elf64_Ehdr *header = (void *)data;
	Elf64_Shdr *sections = (void *)(data + header->e_shoff);
	struct elf_file elf;
	uint64_t value;

	(void)state;
	for (int n = 0; n < header->e_shnum; n++)
		sections[n].sh_link = header->e_shnum;
	assert_int_equal(elf_read(&bytes, &elf), 0);
	assert_int_equal(elf_symbol(&bytes, &elf, "main", &value), -ENOENT);
}

/* Names that begin so far behind the end that the place of one is at the file's start again. */
static void test_names_beyond_any_file(void **state)
{
	char *data cleanup(free_at) = NULL;
	struct memory memory = own(&data);
	struct elf_bytes bytes = bytes_of(&memory);
	Elf64_Ehdr *header = (void *)data;
	Elf64_Shdr *sections = (void *)(data + header->e_shoff);
	struct elf_file elf;
	uint64_t value;

	(void)state;
	strcpy(data + EI_PAD, "main");
	for (int n = 0; n < header->e_shnum; n++) {
		const Elf64_Sym *symbols = (void *)(data + sections[n].sh_offset);
		Elf64_Shdr *names = &sections[sections[n].sh_link];
		size_t i = 0;

		if (sections[n].sh_type == SHT_DYNSYM)
			sections[n].sh_type = SHT_NULL;
		if (sections[n].sh_type != SHT_SYMTAB)
			continue;
		while (strcmp(data + names->sh_offset + symbols[i].st_name, "main") != 0)
			i++;
		names->sh_offset = (uint64_t)EI_PAD - symbols[i].st_name;
	}
	assert_int_equal(elf_read(&bytes, &elf), 0);
	assert_int_equal(elf_symbol(&bytes, &elf, "main", &value), -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_own_program),
		cmocka_unit_test(test_every_cut_is_refused_or_read),
		cmocka_unit_test(test_garbage),
		cmocka_unit_test(test_lies),
		cmocka_unit_test(test_auxv),
		cmocka_unit_test(test_scripts),
		cmocka_unit_test(test_symbols_nowhere),
		cmocka_unit_test(test_names_nowhere),
		cmocka_unit_test(test_names_beyond_any_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
