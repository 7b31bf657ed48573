/* SPDX-License-Identifier: MIT */
/* The object as libbpf, the library below bpftool and tc, reads it; and loads it, where it may. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "memory/memory.h"
#include "portmirror/filter.h"
#include "portmirror/object.h"
#include "portmirror/once.h"
#include "portmirror/plan.h"

#define PROGRAMS 2

struct made {
	struct plan_program programs[PROGRAMS]; /* of both directions */
	struct buf bytes;
	struct bpf_object *object;
};

static int quiet(enum libbpf_print_level level, const char *format, va_list args)
{
	(void)level;
	(void)format;
	(void)args;
	return 0;
}

/* It is added to what there is. */
static int build_anew(struct made *made)
{
	buf_free(&made->bytes);
	return object_build(made->programs, PROGRAMS, &made->bytes);
}

static int make(void **state)
{
	static struct made made;
	LIBBPF_OPTS(bpf_object_open_opts, options, .object_name = "made");

	libbpf_set_print(quiet);
	made = (struct made){0};
	for (int i = 0; i < PROGRAMS; i++) {
		struct bytecode code cleanup(bytecode_free) = {0};

		if (filter_compile("tcp port 80", &code, NULL) < 0 ||
		    once_build(&code, 9001, i == 1, 0, &made.programs[i].program, NULL) < 0)
			return -1;
	}
	if (scarce(build_anew(&made)) < 0)
		return -1;
	made.object = bpf_object__open_mem(made.bytes.data, made.bytes.len, &options);
	*state = &made;
	return 0;
}

static int unmake(void **state)
{
	struct made *made = *state;

	bpf_object__close(made->object);
	buf_free(&made->bytes);
	for (int i = 0; i < PROGRAMS; i++)
		once_free(&made->programs[i].program);
	return 0;
}

static void it_has_the_programs(void **state)
{
	const struct made *made = *state;

	assert_non_null(made->object);
	for (int i = 0; i < PROGRAMS; i++) {
		const struct once_program *want = &made->programs[i].program;
		const struct bpf_program *found =
			bpf_object__find_program_by_name(made->object, want->name);

		assert_non_null(found);
		assert_int_equal(bpf_program__type(found), BPF_PROG_TYPE_SCHED_CLS);
		assert_int_equal(bpf_program__insn_cnt(found), want->count);
		assert_memory_equal(bpf_program__insns(found), want->code,
				    want->count * sizeof(*want->code));
	}
}

static void it_has_the_map(void **state)
{
	const struct made *made = *state;
	const struct bpf_map *map;

	assert_non_null(made->object);
	map = bpf_object__next_map(made->object, NULL);
	assert_non_null(map);
	assert_null(bpf_object__next_map(made->object, map));
	assert_string_equal(bpf_map__name(map), "once");
	assert_int_equal(bpf_map__type(map), BPF_MAP_TYPE_PERCPU_ARRAY);
	assert_int_equal(bpf_map__key_size(map), sizeof(uint32_t));
	assert_int_equal(bpf_map__value_size(map), sizeof(struct once_cell));
	assert_int_equal(bpf_map__max_entries(map), 1);
}

static void tag_of(int fd, uint8_t tag[BPF_TAG_SIZE])
{
	struct bpf_prog_info info = {0};
	uint32_t len = sizeof(info);

	assert_int_equal(bpf_obj_get_info_by_fd(fd, &info, &len), 0);
	memcpy(tag, info.tag, BPF_TAG_SIZE);
}

/* The same instructions have the same tag. */
static void the_kernel_takes_it_for_ours(void **state)
{
	const struct made *made = *state;
	int map cleanup(fd_close_at) = once_map_create(NULL);

	if (map == -EPERM)
		skip(); /* it takes root */
	assert_true(map >= 0);
	assert_int_equal(bpf_object__load(made->object), 0);
	for (int i = 0; i < PROGRAMS; i++) {
		const struct once_program *program = &made->programs[i].program;
		uint8_t ours[BPF_TAG_SIZE], theirs[BPF_TAG_SIZE];
		int fd cleanup(fd_close_at) = once_load(program, map, NULL);

		assert_true(fd >= 0);
		tag_of(fd, ours);
		tag_of(bpf_program__fd(
			       bpf_object__find_program_by_name(made->object, program->name)),
		       theirs);
		assert_memory_equal(ours, theirs, BPF_TAG_SIZE);
	}
}

static void too_much_is_refused(void **state)
{
	struct plan_program program = {.program = {.count = 1 << 24}};
	struct buf out = {0};

	(void)state;
	assert_int_equal(scarce(object_build(&program, 1, &out)), -E2BIG);
	assert_int_equal(out.len, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(it_has_the_programs, make, unmake),
		cmocka_unit_test_setup_teardown(it_has_the_map, make, unmake),
		cmocka_unit_test_setup_teardown(the_kernel_takes_it_for_ours, make, unmake),
		cmocka_unit_test(too_much_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
