/* SPDX-License-Identifier: MIT */
#include "stopexec/elffile.h"

#include <elf.h>
#include <endian.h>
#include <errno.h>
#include <string.h>

#include "base/cursor.h"

enum {
	MANY_SYMBOLS =
		4 << 20, /* more than any program that runs has; bounds the work on garbage */
	NAME_MAX_LEN = 1024,
	PIECE = 256, /* symbols read at once */
};

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define OUR_ORDER ELFDATA2LSB
#else
#define OUR_ORDER ELFDATA2MSB
#endif

/* The 32-bit and the 64-bit structs hold the same members, elsewhere. */
#define MEMBER(elf, raw, type, name)                                                               \
	((elf)->wide ? (uint64_t)((const Elf64_##type *)(raw))->name                               \
		     : (uint64_t)((const Elf32_##type *)(raw))->name)

union header {
	unsigned char ident[EI_NIDENT];
	Elf64_Ehdr wide;
	Elf32_Ehdr narrow;
};
union segment {
	Elf64_Phdr wide;
	Elf32_Phdr narrow;
};
union section {
	Elf64_Shdr wide;
	Elf32_Shdr narrow;
};

static bool get(const struct elf_bytes *bytes, uint64_t offset, void *to, size_t len)
{
	return offset <= UINT64_MAX - len && bytes->read(bytes->data, offset, to, len);
}

static bool get_segment(const struct elf_bytes *bytes, const struct elf_file *elf, unsigned n,
			union segment *segment)
{
	size_t len = elf->wide ? sizeof(segment->wide) : sizeof(segment->narrow);

	return elf->segment_size >= len &&
	       get(bytes, elf->segments + (uint64_t)n * elf->segment_size, segment, len);
}

static bool get_section(const struct elf_bytes *bytes, const struct elf_file *elf, uint64_t n,
			union section *section)
{
	size_t len = elf->wide ? sizeof(section->wide) : sizeof(section->narrow);

	return n < elf->section_count && elf->section_size >= len &&
	       get(bytes, elf->sections + n * elf->section_size, section, len);
}

static bool read_interpreter(const struct elf_bytes *bytes, struct elf_file *elf)
{
	for (unsigned n = 0; n < elf->segment_count; n++) {
		union segment segment;
		uint64_t len;

		if (!get_segment(bytes, elf, n, &segment))
			return false;
		if (MEMBER(elf, &segment, Phdr, p_type) != PT_INTERP)
			continue;
		len = MEMBER(elf, &segment, Phdr, p_filesz);
		if (len < 2 || len > sizeof(elf->interpreter))
			return false;
		if (!get(bytes, MEMBER(elf, &segment, Phdr, p_offset), elf->interpreter,
			 (size_t)len))
			return false;
		return elf->interpreter[len - 1] == '\0';
	}
	return true;
}

int elf_read(const struct elf_bytes *bytes, struct elf_file *elf)
{
	struct elf_file got = {0};
	union header header;
	uint64_t type;

	if (!get(bytes, 0, &header, sizeof(header.narrow)) ||
	    memcmp(header.ident, ELFMAG, SELFMAG) != 0 || header.ident[EI_DATA] != OUR_ORDER ||
	    (header.ident[EI_CLASS] != ELFCLASS64 && header.ident[EI_CLASS] != ELFCLASS32))
		return -ENOEXEC;
	got.wide = header.ident[EI_CLASS] == ELFCLASS64;
	if (got.wide && !get(bytes, 0, &header, sizeof(header.wide)))
		return -ENOEXEC;
	type = MEMBER(&got, &header, Ehdr, e_type);
	if (type != ET_EXEC && type != ET_DYN)
		return -ENOEXEC;
	got.moved = type == ET_DYN;
	got.machine = (uint16_t)MEMBER(&got, &header, Ehdr, e_machine);
	got.entry = MEMBER(&got, &header, Ehdr, e_entry);
	got.segments = MEMBER(&got, &header, Ehdr, e_phoff);
	got.segment_size = (uint16_t)MEMBER(&got, &header, Ehdr, e_phentsize);
	got.segment_count = (uint16_t)MEMBER(&got, &header, Ehdr, e_phnum);
	got.sections = MEMBER(&got, &header, Ehdr, e_shoff);
	got.section_size = (uint16_t)MEMBER(&got, &header, Ehdr, e_shentsize);
	got.section_count = (uint16_t)MEMBER(&got, &header, Ehdr, e_shnum);
	if (got.segment_count == 0 || got.segments > INT64_MAX || got.sections > INT64_MAX ||
	    !read_interpreter(bytes, &got))
		return -ENOEXEC;
	*elf = got;
	return 0;
}

int elf_lowest(const struct elf_bytes *bytes, const struct elf_file *elf, uint64_t *address)
{
	uint64_t lowest = UINT64_MAX;

	for (unsigned n = 0; n < elf->segment_count; n++) {
		union segment segment;

		if (!get_segment(bytes, elf, n, &segment))
			return -ENOEXEC;
		if (MEMBER(elf, &segment, Phdr, p_type) == PT_LOAD &&
		    MEMBER(elf, &segment, Phdr, p_vaddr) < lowest)
			lowest = MEMBER(elf, &segment, Phdr, p_vaddr);
	}
	if (lowest == UINT64_MAX)
		return -ENOEXEC;
	*address = lowest;
	return 0;
}

/* A table of symbols being searched: where it and the names lie in the file. */
struct symbols {
	uint64_t offset, count;
	uint64_t names, names_len;
	size_t size;
};

static bool named(const struct elf_bytes *bytes, const struct symbols *table, uint64_t at,
		  const char *name, size_t len)
{
	char text[NAME_MAX_LEN];

	return len < sizeof(text) && at < table->names_len && table->names_len - at > len &&
	       get(bytes, table->names + at, text, len + 1) && memcmp(text, name, len + 1) == 0;
}

/* 0, -ENOENT, -ENOTSUP */
static int judge_symbol(const struct elf_bytes *bytes, const struct elf_file *elf,
			const struct symbols *table, const void *raw, const char *name,
			uint64_t *value)
{
	unsigned char info = (unsigned char)MEMBER(elf, raw, Sym, st_info);
	unsigned type = ELF64_ST_TYPE(info);

	if (MEMBER(elf, raw, Sym, st_shndx) == SHN_UNDEF ||
	    (type != STT_FUNC && type != STT_NOTYPE && type != STT_GNU_IFUNC) ||
	    !named(bytes, table, MEMBER(elf, raw, Sym, st_name), name, strlen(name)))
		return -ENOENT;
	if (type == STT_GNU_IFUNC)
		return -ENOTSUP;
	*value = MEMBER(elf, raw, Sym, st_value);
	return 0;
}

static int search(const struct elf_bytes *bytes, const struct elf_file *elf,
		  const struct symbols *table, const char *name, uint64_t *value)
{
	Elf64_Sym piece[PIECE]; /* the larger of the two kinds */

	for (uint64_t done = 0; done < table->count;) {
		uint64_t left = table->count - done;
		size_t n = left < PIECE ? (size_t)left : PIECE;

		if (!get(bytes, table->offset + done * table->size, piece, n * table->size))
			return -ENOENT;
		for (size_t i = 0; i < n; i++) {
			const char *raw = (const char *)piece + i * table->size;
			int status = judge_symbol(bytes, elf, table, raw, name, value);

			if (status != -ENOENT)
				return status;
		}
		done += n;
	}
	return -ENOENT;
}

static int search_section(const struct elf_bytes *bytes, const struct elf_file *elf,
			  const union section *section, const char *name, uint64_t *value)
{
	struct symbols table = {.size = elf->wide ? sizeof(Elf64_Sym) : sizeof(Elf32_Sym)};
	union section names;

	table.offset = MEMBER(elf, section, Shdr, sh_offset);
	table.count = MEMBER(elf, section, Shdr, sh_size) / table.size;
	if (table.offset > INT64_MAX || table.count > MANY_SYMBOLS ||
	    !get_section(bytes, elf, MEMBER(elf, section, Shdr, sh_link), &names))
		return -ENOENT;
	table.names = MEMBER(elf, &names, Shdr, sh_offset);
	table.names_len = MEMBER(elf, &names, Shdr, sh_size);
	if (table.names > INT64_MAX || table.names_len > INT64_MAX)
		return -ENOENT;
	return search(bytes, elf, &table, name, value);
}

int elf_symbol(const struct elf_bytes *bytes, const struct elf_file *elf, const char *name,
	       uint64_t *value)
{
	static const uint32_t kinds[] = {SHT_SYMTAB, SHT_DYNSYM};

	for (size_t k = 0; k < 2; k++) {
		for (unsigned n = 0; n < elf->section_count; n++) {
			union section section;
			int status;

			if (!get_section(bytes, elf, n, &section))
				return -ENOENT;
			if (MEMBER(elf, &section, Shdr, sh_type) != kinds[k])
				continue;
			status = search_section(bytes, elf, &section, name, value);
			if (status != -ENOENT)
				return status;
		}
	}
	return -ENOENT;
}

static bool take_word(struct cursor *c, bool wide, uint64_t *value)
{
	uint32_t narrow;

	if (wide)
		return cursor_copy(c, value, sizeof(*value));
	if (!cursor_copy(c, &narrow, sizeof(narrow)))
		return false;
	*value = narrow;
	return true;
}

bool auxv_find(const void *auxv, size_t len, bool wide, uint64_t type, uint64_t *value)
{
	struct cursor c = cursor_of(auxv, len);
	uint64_t found, with;

	while (take_word(&c, wide, &found) && take_word(&c, wide, &with)) {
		if (found == type) {
			*value = with;
			return true;
		}
		if (found == AT_NULL)
			break;
	}
	return false;
}

bool script_interpreter(const char *start, size_t len, char interpreter[256])
{
	const char *end = len > 0 ? memchr(start, '\n', len) : NULL;
	const char *from;

	if (len < 2 || start[0] != '#' || start[1] != '!')
		return false;
	if (end == NULL)
		end = start + len;
	for (start += 2; start < end && (*start == ' ' || *start == '\t'); start++)
		continue;
	for (from = start; start < end && *start != ' ' && *start != '\t' && *start != '\0';
	     start++)
		continue;
	if (start == from || start - from >= 256)
		return false;
	memcpy(interpreter, from, (size_t)(start - from));
	interpreter[start - from] = '\0';
	return true;
}
