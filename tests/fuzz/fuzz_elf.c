/* SPDX-License-Identifier: MIT */
/* Programs whose every number lies: ELF files and scripts. */
#include <stdint.h>
#include <string.h>

#include "stopexec/elffile.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

struct file {
	const uint8_t *bytes;
	size_t len;
};

static bool read_file(void *data, uint64_t offset, void *to, size_t len)
{
	const struct file *file = data;

	if (offset > file->len || len > file->len - offset)
		return false;
	memcpy(to, file->bytes + offset, len);
	return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct file file = {data, len};
	struct elf_bytes bytes = {read_file, &file};
	struct elf_file elf;
	char interpreter[256];
	uint64_t value;

	if (script_interpreter((const char *)data, len, interpreter) &&
	    (len < 2 || memcmp(data, "#!", 2) != 0 || !*interpreter))
		__builtin_trap();
	if (elf_read(&bytes, &elf) < 0)
		return 0;
	if (!memchr(elf.interpreter, '\0', sizeof(elf.interpreter)))
		__builtin_trap();
	(void)elf_symbol(&bytes, &elf, "main", &value);
	(void)elf_symbol(&bytes, &elf, "", &value);
	(void)elf_lowest(&bytes, &elf, &value);
	return 0;
}
