/* SPDX-License-Identifier: MIT */
#include "stopexec/catch_program.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

/*
 * Registers that calls leave alone. The processors' order of bytes is little-endian on both that
 * stopexec knows.
 */
enum {
	CONTEXT = BPF_REG_6,
	CONTROL = BPF_REG_7,
	PATH = BPF_REG_8,   /* before: a task */
	LENGTH = BPF_REG_9, /* of the path with its NUL; before: 1 where the parent was seen;
			       behind: the event's name */
};

/* On the stack. */
enum {
	WORD = -8,
	EVENT = -16,
	COMM = -32,
	NAME = COMM - CATCH_NAME_MOST - 9,
};

enum { GENERATIONS = 64 }; /* how far a parent is looked for, as proc_descends() does */

enum label { LABEL_END, LABEL_WALKED, LABEL_FOUND, LABEL_TELL, LABEL_BACK, LABEL_NEXT };

struct jump {
	size_t at;
	enum label label;
};

struct code {
	struct bpf_insn *insns;
	size_t count, room;
	struct jump *jumps;
	size_t njumps, jumps_room;
	bool failed, far;
};

static void emit(struct code *c, int op, int dst, int src, int off, int32_t imm)
{
	if (c->failed || array_room(&c->insns, &c->room, c->count, sizeof(*c->insns)) < 0) {
		c->failed = true;
		return;
	}
	c->insns[c->count++] = (struct bpf_insn){.code = (uint8_t)op,
						 .dst_reg = (unsigned)dst & 15u,
						 .src_reg = (unsigned)src & 15u,
						 .off = (int16_t)off,
						 .imm = imm};
}

static void set(struct code *c, int dst, int32_t value)
{
	emit(c, BPF_ALU64 | BPF_MOV | BPF_K, dst, 0, 0, value);
}

static void copy(struct code *c, int dst, int src)
{
	emit(c, BPF_ALU64 | BPF_MOV | BPF_X, dst, src, 0, 0);
}

static void add(struct code *c, int dst, int32_t value)
{
	emit(c, BPF_ALU64 | BPF_ADD, dst, 0, 0, value); /* | BPF_K, which is 0, as BPF_ADD is */
}

static void wide(struct code *c, int dst, int src, uint64_t value)
{
	emit(c, BPF_LD | BPF_DW, dst, src, 0, (int32_t)(uint32_t)value); /* | BPF_IMM, which is 0 */
	emit(c, 0, 0, 0, 0, (int32_t)(value >> 32));
}

static void load(struct code *c, int size, int dst, int src, int off)
{
	emit(c, BPF_LDX | BPF_MEM | size, dst, src, off, 0);
}

static void store(struct code *c, int size, int dst, int off, int src)
{
	emit(c, BPF_STX | BPF_MEM | size, dst, src, off, 0);
}

static void call(struct code *c, int32_t helper)
{
	emit(c, BPF_JMP | BPF_CALL, 0, 0, 0, helper);
}

/* The address of a place on the stack. */
static void place(struct code *c, int dst, int off)
{
	copy(c, dst, BPF_REG_10);
	add(c, dst, off);
}

/* Jumps lead forward only. */
static void jump(struct code *c, int op, int dst, int src, int32_t imm, enum label label)
{
	if (c->failed || array_room(&c->jumps, &c->jumps_room, c->njumps, sizeof(*c->jumps)) < 0) {
		c->failed = true;
		return;
	}
	c->jumps[c->njumps++] = (struct jump){c->count, label};
	emit(c, BPF_JMP | op, dst, src, 0, imm);
}

static void here(struct code *c, enum label label)
{
	for (size_t i = c->njumps; i-- > 0;) {
		size_t distance = c->count - c->jumps[i].at - 1;

		if (c->jumps[i].label != label)
			continue;
		if (distance > INT16_MAX)
			c->far = true;
		else
			c->insns[c->jumps[i].at].off = (int16_t)distance;
		c->jumps[i] = c->jumps[--c->njumps];
	}
}

/* Jumps to the label unless so many bytes of the stack are these. */
static void compare(struct code *c, int off, const char *text, size_t len, enum label otherwise)
{
	static const struct {
		size_t bytes;
		int size;
	} steps[] = {{8, BPF_DW}, {4, BPF_W}, {2, BPF_H}, {1, BPF_B}};

	for (size_t i = 0; i < COUNT(steps); i++) {
		while (len >= steps[i].bytes) {
			uint64_t value = 0;

			memcpy(&value, text, steps[i].bytes);
			load(c, steps[i].size, BPF_REG_1, BPF_REG_10, off);
			wide(c, BPF_REG_2, 0, value);
			jump(c, BPF_JNE | BPF_X, BPF_REG_1, BPF_REG_2, 0, otherwise);
			text += steps[i].bytes;
			off += (int)steps[i].bytes;
			len -= steps[i].bytes;
		}
	}
}

/* Reads the kernel's memory at src + offset to WORD; 0 where that can't be read. */
static void read_kernel(struct code *c, int32_t len, int src, uint32_t offset)
{
	emit(c, BPF_ST | BPF_MEM | BPF_DW, BPF_REG_10, 0, WORD, 0);
	place(c, BPF_REG_1, WORD);
	set(c, BPF_REG_2, len);
	copy(c, BPF_REG_3, src);
	add(c, BPF_REG_3, (int32_t)offset);
	call(c, BPF_FUNC_probe_read_kernel);
}

static void begin(struct code *c, int control)
{
	copy(c, CONTEXT, BPF_REG_1);
	wide(c, CONTROL, BPF_PSEUDO_MAP_VALUE, (uint32_t)control);
	load(c, BPF_DW, BPF_REG_1, CONTROL, offsetof(struct catch_control, on));
	jump(c, BPF_JEQ | BPF_K, BPF_REG_1, 0, 0, LABEL_END);
}

static void filter_process(struct code *c, const struct catch_filter *f)
{
	if (f->counted) {
		load(c, BPF_DW, BPF_REG_1, CONTROL, offsetof(struct catch_control, wanted));
		jump(c, BPF_JSLE | BPF_K, BPF_REG_1, 0, 0, LABEL_END);
	}
	call(c, BPF_FUNC_get_current_pid_tgid);
	emit(c, BPF_ALU64 | BPF_RSH | BPF_K, BPF_REG_0, 0, 0, 32);
	jump(c, BPF_JLE | BPF_K, BPF_REG_0, 0, 1, LABEL_END);
	for (size_t i = 0; i < f->nspared; i++)
		jump(c, BPF_JEQ | BPF_K, BPF_REG_0, 0, f->spared[i], LABEL_END);
	emit(c, BPF_ST | BPF_MEM | BPF_DW, BPF_REG_10, 0, EVENT, 0);
	store(c, BPF_W, BPF_REG_10, EVENT, BPF_REG_0);
	if (!f->any_user) {
		call(c, BPF_FUNC_get_current_uid_gid); /* the real ids, behind the exec */
		emit(c, BPF_ALU | BPF_MOV | BPF_X, BPF_REG_1, BPF_REG_0, 0, 0);
		emit(c, BPF_ALU | BPF_MOV | BPF_K, BPF_REG_2, 0, 0, (int32_t)f->uid);
		jump(c, BPF_JNE | BPF_X, BPF_REG_1, BPF_REG_2, 0, LABEL_END);
	}
	if (f->cgroup != 0) {
		set(c, BPF_REG_1, f->cgroup_level);
		call(c, BPF_FUNC_get_current_ancestor_cgroup_id);
		wide(c, BPF_REG_1, 0, f->cgroup);
		jump(c, BPF_JNE | BPF_X, BPF_REG_0, BPF_REG_1, 0, LABEL_END);
	}
	if (f->comm != NULL || f->nnames > 0) {
		place(c, BPF_REG_1, COMM);
		set(c, BPF_REG_2, CATCH_COMM_MOST + 1);
		call(c, BPF_FUNC_get_current_comm);
	}
	if (f->comm != NULL) {
		size_t len = strlen(f->comm);

		/* with its NUL, where it is not cut off */
		compare(c, COMM, f->comm, len < CATCH_COMM_MOST ? len + 1 : CATCH_COMM_MOST,
			LABEL_END);
	}
}

/* Up to the first process: away where a helper is among them, or the wanted parent is not. */
static void filter_parents(struct code *c, const struct catch_filter *f,
			   const struct catch_offsets *o)
{
	set(c, LENGTH, 0);
	if (f->parent == 0) {
		load(c, BPF_DW, BPF_REG_1, CONTROL, offsetof(struct catch_control, helper));
		jump(c, BPF_JEQ | BPF_K, BPF_REG_1, 0, 0, LABEL_WALKED);
	}
	load(c, BPF_DW, PATH, CONTEXT, 0); /* the task that executes */
	for (int i = 0; i < GENERATIONS; i++) {
		read_kernel(c, 4, PATH, o->task_tgid);
		load(c, BPF_W, BPF_REG_1, BPF_REG_10, WORD);
		jump(c, BPF_JLE | BPF_K, BPF_REG_1, 0, 1, LABEL_WALKED);
		load(c, BPF_DW, BPF_REG_2, CONTROL, offsetof(struct catch_control, helper));
		jump(c, BPF_JEQ | BPF_X, BPF_REG_1, BPF_REG_2, 0, LABEL_END);
		if (f->parent != 0 && i > 0) {
			jump(c, BPF_JNE | BPF_K, BPF_REG_1, 0, f->parent, LABEL_NEXT);
			set(c, LENGTH, 1);
			here(c, LABEL_NEXT);
		}
		read_kernel(c, 8, PATH, o->task_parent);
		load(c, BPF_DW, PATH, BPF_REG_10, WORD);
	}
	here(c, LABEL_WALKED);
	if (f->parent != 0)
		jump(c, BPF_JEQ | BPF_K, LENGTH, 0, 0, LABEL_END);
}

/* The end of the path, from so many bytes before its NUL on, is this text: goes on. */
static void compare_end(struct code *c, const char *text, size_t len)
{
	place(c, BPF_REG_1, NAME);
	set(c, BPF_REG_2, (int32_t)len);
	copy(c, BPF_REG_3, PATH);
	emit(c, BPF_ALU64 | BPF_ADD | BPF_X, BPF_REG_3, LENGTH, 0, 0);
	add(c, BPF_REG_3, -(int32_t)len - 1);
	call(c, BPF_FUNC_probe_read_kernel);
	jump(c, BPF_JNE | BPF_K, BPF_REG_0, 0, 0, LABEL_NEXT);
	compare(c, NAME, text, len, LABEL_NEXT);
}

static void match_name(struct code *c, const char *name, uint32_t number)
{
	char text[CATCH_NAME_MOST + 2];
	size_t len = strlen(name);

	text[0] = '/';
	memcpy(text + 1, name, len + 1);
	/* the whole path: a PATH, or a NAME without a folder */
	jump(c, BPF_JNE | BPF_K, LENGTH, 0, (int32_t)len + 1, LABEL_BACK);
	compare_end(c, name, len);
	emit(c, BPF_ST | BPF_MEM | BPF_W, BPF_REG_10, 0, EVENT + 4, (int32_t)number);
	jump(c, BPF_JA, 0, 0, 0, LABEL_FOUND);
	here(c, LABEL_BACK);
	if (strchr(name, '/') == NULL) {
		jump(c, BPF_JSLE | BPF_K, LENGTH, 0, (int32_t)len + 1, LABEL_NEXT);
		compare_end(c, text, len + 1);
		emit(c, BPF_ST | BPF_MEM | BPF_W, BPF_REG_10, 0, EVENT + 4, (int32_t)number);
		jump(c, BPF_JA, 0, 0, 0, LABEL_FOUND);
	}
	here(c, LABEL_NEXT);
}

static void filter_names(struct code *c, const struct catch_filter *f,
			 const struct catch_offsets *o)
{
	load(c, BPF_DW, PATH, CONTEXT, 16); /* struct linux_binprm * */
	read_kernel(c, 8, PATH, o->exec_filename);
	load(c, BPF_DW, PATH, BPF_REG_10, WORD);
	copy(c, BPF_REG_1, CONTROL);
	add(c, BPF_REG_1, offsetof(struct catch_control, scratch));
	set(c, BPF_REG_2, CATCH_PATH_MOST);
	copy(c, BPF_REG_3, PATH);
	call(c, BPF_FUNC_probe_read_kernel_str);
	copy(c, LENGTH, BPF_REG_0);
	jump(c, BPF_JSLE | BPF_K, LENGTH, 0, 1, LABEL_END);
	for (size_t i = 0; i < f->nnames; i++)
		match_name(c, f->names[i], (uint32_t)i);
	/* "ld-linux….so.2", "ld-musl-….so.1", "ld.so": what they run is looked at from outside, and
	 * is not counted before that. */
	load(c, BPF_W, BPF_REG_1, BPF_REG_10, COMM);
	emit(c, BPF_ALU64 | BPF_AND | BPF_K, BPF_REG_1, 0, 0, 0xffffff);
	emit(c, BPF_ST | BPF_MEM | BPF_W, BPF_REG_10, 0, EVENT + 4, (int32_t)CATCH_LOADER);
	jump(c, BPF_JEQ | BPF_K, BPF_REG_1, 0, 'l' | 'd' << 8 | '-' << 16, LABEL_TELL);
	jump(c, BPF_JEQ | BPF_K, BPF_REG_1, 0, 'l' | 'd' << 8 | '.' << 16, LABEL_TELL);
	jump(c, BPF_JA, 0, 0, 0, LABEL_END);
	here(c, LABEL_FOUND);
}

static void add_to_wanted(struct code *c, int32_t value)
{
	set(c, BPF_REG_1, value);
	emit(c, BPF_STX | BPF_ATOMIC | BPF_DW, CONTROL, BPF_REG_1,
	     offsetof(struct catch_control, wanted), BPF_ADD | BPF_FETCH);
}

/* First it is told, then it is stopped: what can't be told goes on. */
static void act(struct code *c, const struct catch_filter *f, int ring)
{
	if (f->counted) {
		add_to_wanted(c, -1);
		jump(c, BPF_JSLE | BPF_K, BPF_REG_1, 0, 0, LABEL_BACK);
	}
	here(c, LABEL_TELL);
	wide(c, BPF_REG_1, BPF_PSEUDO_MAP_FD, (uint32_t)ring);
	place(c, BPF_REG_2, EVENT);
	set(c, BPF_REG_3, sizeof(struct catch_event));
	set(c, BPF_REG_4, 0);
	call(c, BPF_FUNC_ringbuf_output);
	jump(c, BPF_JNE | BPF_K, BPF_REG_0, 0, 0, LABEL_END);
	set(c, BPF_REG_1, SIGSTOP);
	call(c, BPF_FUNC_send_signal);
	if (f->counted) {
		jump(c, BPF_JA, 0, 0, 0, LABEL_END);
		here(c, LABEL_BACK); /* another processor had the last one */
		add_to_wanted(c, 1);
	}
	here(c, LABEL_END);
	set(c, BPF_REG_0, 0);
	emit(c, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
}

int catch_program(const struct catch_filter *filter, const struct catch_offsets *offsets,
		  int control, int ring, struct bpf_insn **insns, size_t *count)
{
	struct code c = {0};

	for (size_t i = 0; i < filter->nnames; i++)
		if (strlen(filter->names[i]) > CATCH_NAME_MOST)
			return -ENAMETOOLONG;
	begin(&c, control);
	filter_process(&c, filter);
	filter_parents(&c, filter, offsets);
	if (filter->nnames > 0)
		filter_names(&c, filter, offsets);
	act(&c, filter, ring);
	free(c.jumps);
	if (c.failed || c.far) {
		free(c.insns);
		return c.failed ? -ENOMEM : -E2BIG;
	}
	*insns = c.insns;
	*count = c.count;
	return 0;
}

bool catch_name_fits(const char *path, const char *name)
{
	const char *slash = strrchr(path, '/');

	if (strchr(name, '/') != NULL)
		return strcmp(path, name) == 0;
	return strcmp(slash != NULL ? slash + 1 : path, name) == 0;
}

/* glibc's options that take a word of their own (elf/rtld.c), and musl's. */
static bool takes_word(const char *option)
{
	static const char *const options[] = {
		"--library-path",	  "--inhibit-rpath",	"--audit", "--preload", "--argv0",
		"--glibc-hwcaps-prepend", "--glibc-hwcaps-mask"};

	for (size_t i = 0; i < COUNT(options); i++)
		if (strcmp(option, options[i]) == 0)
			return true;
	return false;
}

/* With these it runs nothing. */
static bool only_looks(const char *option)
{
	return strcmp(option, "--verify") == 0 || strcmp(option, "--list") == 0;
}

bool catch_loader_runs(const char *words, size_t len, const char *name)
{
	size_t at = strnlen(words, len) + 1; /* behind the loader's own name */

	while (at < len) {
		const char *word = words + at;
		size_t n = strnlen(word, len - at);

		if (n == len - at) /* cut off */
			return false;
		if (strncmp(word, "--", 2) != 0)
			return catch_name_fits(word, name);
		if (only_looks(word))
			return false;
		at += n + 1;
		if (takes_word(word) && at < len)
			at += strnlen(words + at, len - at) + 1;
	}
	return false;
}
