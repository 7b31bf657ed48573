/* SPDX-License-Identifier: MIT */
#include "portmirror/object.h"

#include <elf.h>
#include <endian.h>
#include <errno.h>
#include <linux/btf.h>
#include <stdint.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "portmirror/once.h"
#include "portmirror/plan.h"

/* In the order of the file. */
enum { NONE, STRINGS, SYMBOLS, PROGRAMS, RELOCATIONS, MAPS, LICENSE, TYPES, SECTIONS };

#define MAP_NAME   "once"
#define MAP_SYMBOL 1 /* the first symbol behind the empty one */
#define SIZE_LIMIT (16u << 20)

static const struct {
	const char *name;
	uint32_t type;
	uint32_t flags;
	uint32_t link, info;
	uint32_t align, entry;
} layout[SECTIONS] = {
	[STRINGS] = {".strtab", SHT_STRTAB, 0, 0, 0, 1, 0},
	/* info: the first symbol that is not local */
	[SYMBOLS] = {".symtab", SHT_SYMTAB, 0, STRINGS, MAP_SYMBOL, 8, sizeof(Elf64_Sym)},
	[PROGRAMS] = {"classifier", SHT_PROGBITS, SHF_ALLOC | SHF_EXECINSTR, 0, 0, 8, 0},
	[RELOCATIONS] = {".relclassifier", SHT_REL, SHF_INFO_LINK, SYMBOLS, PROGRAMS, 8,
			 sizeof(Elf64_Rel)},
	[MAPS] = {".maps", SHT_PROGBITS, SHF_ALLOC | SHF_WRITE, 0, 0, 8, 0},
	[LICENSE] = {"license", SHT_PROGBITS, SHF_ALLOC | SHF_WRITE, 0, 0, 1, 0},
	[TYPES] = {".BTF", SHT_PROGBITS, 0, 0, 0, 8, 0},
};

/*
 * What libbpf 1 wants to know of a map: a structure of pointers, in which the number of elements of
 * an array that is pointed to is the value of the member (Documentation/bpf/btf.rst of the kernel,
 * and __uint() of bpf_helpers.h).
 */
static const struct {
	const char *name;
	uint32_t value;
} map_members[] = {
	{"type", BPF_MAP_TYPE_PERCPU_ARRAY},
	{"key_size", sizeof(uint32_t)},
	{"value_size", sizeof(struct once_cell)},
	{"max_entries", 1},
};

#define MAP_SIZE (COUNT(map_members) * sizeof(uint64_t))

/* The offset of a new string. */
static uint32_t string(struct buf *strings, const char *text)
{
	size_t at = strings->len;

	buf_add(strings, text, strlen(text) + 1);
	return (uint32_t)at;
}

static void add_symbol(struct buf *sections, const char *name, unsigned type, uint16_t section,
		       size_t value, size_t size)
{
	Elf64_Sym symbol = {
		.st_name = string(&sections[STRINGS], name),
		.st_info = (unsigned char)ELF64_ST_INFO(STB_GLOBAL, type),
		.st_shndx = section,
		.st_value = value,
		.st_size = size,
	};

	buf_add(&sections[SYMBOLS], &symbol, sizeof(symbol));
}

static void add_program(struct buf *sections, const struct once_program *program)
{
	size_t at = sections[PROGRAMS].len, size = program->count * sizeof(*program->code);
	Elf64_Rel relocation = {
		.r_offset = at + program->map_load * sizeof(*program->code),
		.r_info = ELF64_R_INFO(MAP_SYMBOL, R_BPF_64_64),
	};

	buf_add(&sections[PROGRAMS], program->code, size);
	buf_add(&sections[RELOCATIONS], &relocation, sizeof(relocation));
	add_symbol(sections, program->name, STT_FUNC, PROGRAMS, at, size);
}

static void add_type(struct buf *types, uint32_t name, unsigned kind, unsigned count, uint32_t size)
{
	struct btf_type type = {.name_off = name, .info = kind << 24 | count, .size = size};

	buf_add(types, &type, sizeof(type));
}

/* The structure; its members are pointers of the types 3, 5, …. Returns the number of its type. */
static uint32_t add_map_type(struct buf *types, struct buf *strings)
{
	const uint32_t integer = 1, structure = integer + 2 * COUNT(map_members) + 1;
	const uint32_t encoding = BTF_INT_SIGNED << 24 | 32;

	add_type(types, string(strings, "int"), BTF_KIND_INT, 0, sizeof(int));
	buf_add(types, &encoding, sizeof(encoding));
	for (uint32_t i = 0; i < COUNT(map_members); i++) {
		struct btf_array array = {
			.type = integer, .index_type = integer, .nelems = map_members[i].value};

		add_type(types, 0, BTF_KIND_ARRAY, 0, 0);
		buf_add(types, &array, sizeof(array));
		add_type(types, 0, BTF_KIND_PTR, 0, integer + 2 * i + 1);
	}
	add_type(types, 0, BTF_KIND_STRUCT, COUNT(map_members), MAP_SIZE);
	for (uint32_t i = 0; i < COUNT(map_members); i++) {
		struct btf_member member = {.name_off = string(strings, map_members[i].name),
					    .type = integer + 2 * i + 2,
					    .offset = 64 * i};

		buf_add(types, &member, sizeof(member));
	}
	return structure;
}

static void add_types(struct buf *out)
{
	struct buf types cleanup(buf_free) = {0};
	struct buf strings cleanup(buf_free) = {0};
	const struct btf_var global = {.linkage = BTF_VAR_GLOBAL_ALLOCATED};
	struct btf_header header = {
		.magic = BTF_MAGIC, .version = BTF_VERSION, .hdr_len = sizeof(header)};
	struct btf_var_secinfo in_section = {.size = MAP_SIZE};
	uint32_t structure;

	string(&strings, "");
	structure = add_map_type(&types, &strings);
	add_type(&types, string(&strings, MAP_NAME), BTF_KIND_VAR, 0, structure);
	buf_add(&types, &global, sizeof(global));
	in_section.type = structure + 1;
	add_type(&types, string(&strings, layout[MAPS].name), BTF_KIND_DATASEC, 1, MAP_SIZE);
	buf_add(&types, &in_section, sizeof(in_section));

	header.type_len = header.str_off = (uint32_t)types.len;
	header.str_len = (uint32_t)strings.len;
	buf_add(out, &header, sizeof(header));
	buf_add(out, types.data, types.len);
	buf_add(out, strings.data, strings.len);
	out->failed |= types.failed || strings.failed;
}

static void fill(struct buf *sections, const struct plan_program *programs, size_t count)
{
	static const char nothing[MAP_SIZE], license[] = "MIT";
	static const Elf64_Sym no_symbol;

	string(&sections[STRINGS], "");
	buf_add(&sections[SYMBOLS], &no_symbol, sizeof(no_symbol));
	buf_add(&sections[MAPS], nothing, sizeof(nothing));
	add_symbol(sections, MAP_NAME, STT_OBJECT, MAPS, 0, MAP_SIZE);
	for (size_t i = 0; i < count; i++)
		add_program(sections, &programs[i].program);
	buf_add(&sections[LICENSE], license, sizeof(license));
	add_types(&sections[TYPES]);
}

static void pad(struct buf *file, size_t align)
{
	while (!file->failed && file->len % align != 0)
		buf_char(file, '\0');
}

/* Header, sections, table of sections: the header tells where the table is, so it comes last. */
static void join(struct buf *sections, struct buf *file)
{
	Elf64_Shdr table[SECTIONS] = {0};
	Elf64_Ehdr header = {
		.e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64,
			    BYTE_ORDER == LITTLE_ENDIAN ? ELFDATA2LSB : ELFDATA2MSB, EV_CURRENT},
		.e_type = ET_REL,
		.e_machine = EM_BPF,
		.e_version = EV_CURRENT,
		.e_ehsize = sizeof(header),
		.e_shentsize = sizeof(*table),
		.e_shnum = SECTIONS,
		.e_shstrndx = STRINGS,
	};

	for (int i = NONE + 1; i < SECTIONS; i++)
		table[i].sh_name = string(&sections[STRINGS], layout[i].name);
	buf_add(file, &header, sizeof(header));
	for (int i = NONE + 1; i < SECTIONS; i++) {
		pad(file, layout[i].align);
		table[i].sh_type = layout[i].type;
		table[i].sh_flags = layout[i].flags;
		table[i].sh_offset = file->len;
		table[i].sh_size = sections[i].len;
		table[i].sh_link = layout[i].link;
		table[i].sh_info = layout[i].info;
		table[i].sh_addralign = layout[i].align;
		table[i].sh_entsize = layout[i].entry;
		buf_add(file, sections[i].data, sections[i].len);
		file->failed |= sections[i].failed;
	}
	pad(file, sizeof(uint64_t));
	header.e_shoff = file->len;
	buf_add(file, table, sizeof(table));
	if (!file->failed)
		memcpy(file->data, &header, sizeof(header));
}

int object_build(const struct plan_program *programs, size_t count, struct buf *out)
{
	struct buf sections[SECTIONS] = {0};
	struct buf file cleanup(buf_free) = {0};
	size_t size = 0;

	for (size_t i = 0; i < count; i++)
		size += programs[i].program.count * sizeof(*programs[i].program.code);
	if (size > SIZE_LIMIT)
		return -E2BIG;
	fill(sections, programs, count);
	join(sections, &file);
	for (int i = 0; i < SECTIONS; i++)
		buf_free(&sections[i]);
	if (buf_status(&file) < 0)
		return -ENOMEM;
	buf_add(out, file.data, file.len);
	return buf_status(out);
}
