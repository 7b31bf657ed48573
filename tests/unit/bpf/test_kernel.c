/* SPDX-License-Identifier: MIT */
/* Pins, links and the copying programs on this kernel, in namespaces of the test's own. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include <bpf/bpf.h>

#include "base/err.h"
#include "bpf/copy.h"
#include "bpf/copy_load.h"
#include "bpf/inline_load.h"
#include "bpf/load.h"
#include "bpf/pin.h"
#include "bpf/tcx.h"
#include "memory/memory.h"

#define LOOPBACK 1
#define HOUSE	 0x1234abcd

struct loaded {
	char house[PIN_PATH];
	int maps[COPY_MAPS];
	int programs[2];
};

static void load_all(struct loaded *l)
{
	struct err e = {0};

	assert_int_equal(pin_house(HOUSE, l->house, &e), 0);
	for (int i = 0; i < COPY_MAPS; i++) {
		l->maps[i] = scarce(copy_map_make((enum copy_map)i, &e));
		if (l->maps[i] < 0)
			fail_msg("%s", e.text);
	}
	if (scarce(copy_load(l->maps, l->programs, &e)) < 0)
		fail_msg("%s", e.text);
}

static void close_all(struct loaded *l)
{
	for (int i = 0; i < COPY_MAPS; i++)
		close(l->maps[i]);
	close(l->programs[0]);
	close(l->programs[1]);
}

static void pins_are_seen_and_go(void **state)
{
	struct pins pins = {0};
	struct loaded l;
	struct err e = {0};
	char path[PIN_PATH], link_path[PIN_PATH];
	const struct pin *pin;
	int link;
	uint32_t ids[4];

	(void)state;
	load_all(&l);
	assert_int_equal(pins_look(l.house, &pins, &e), 0);
	assert_int_equal(pins.count, 0);
	pin_path(l.house, "a.b", "config2", path);
	assert_non_null(strstr(path, "/a+b/config2"));
	assert_int_equal(pin_put(l.maps[COPY_MAP_CONFIG], path, &e), 0);
	assert_int_equal(pin_put(l.maps[COPY_MAP_CONFIG], path, &e), 0); /* again: in its place */
	pin_path(l.house, "a.b", "sent", path);
	assert_int_equal(pin_put(l.programs[0], path, &e), 0);
	link = tcx_attach(l.programs[0], LOOPBACK, true, 0, &e);
	assert_true(link >= 0);
	pin_path(l.house, "a.b", "1-egress", link_path);
	assert_int_equal(pin_put(link, link_path, &e), 0);
	close(link);

	assert_int_equal(scarce(pins_look(l.house, &pins, &e)), 0);
	assert_int_equal(pins.count, 3);
	pin = pins_find(&pins, "a.b", "sent");
	assert_true(pin && pin->kind == PIN_PROGRAM && pin->nmaps == COPY_MAPS);
	pin = pins_find(&pins, "a.b", "1-egress");
	assert_true(pin && pin->kind == PIN_LINK && pin->ifindex == LOOPBACK && pin->egress);
	assert_int_equal(pin->program, pins_find(&pins, "a.b", "sent")->id);
	assert_int_equal(tcx_programs(LOOPBACK, true, ids, 4), 1);
	assert_int_equal(ids[0], pin->program);
	assert_null(pins_find(&pins, "", "config2"));

	assert_int_equal(pin_drop_link(link_path, &e), 0);
	assert_int_equal(tcx_programs(LOOPBACK, true, ids, 4), 0);
	pin_path(l.house, "a.b", "sent", path);
	assert_int_equal(pin_drop(path, &e), 0);
	pin_path(l.house, "a.b", "config2", path);
	assert_int_equal(pin_drop(path, &e), 0);
	assert_int_equal(pin_drop(path, &e), 0);
	assert_int_equal(access(PIN_ROOT, F_OK), -1);
	pins_free(&pins);
	close_all(&l);
}

static void an_empty_folder_is_seen_and_goes(void **state)
{
	struct pins pins = {0};
	struct loaded l;
	struct err e = {0};
	char path[PIN_PATH];

	(void)state;
	load_all(&l);
	pin_path(l.house, "a.b", "config2", path);
	assert_int_equal(pin_put(l.maps[COPY_MAP_CONFIG], path, &e), 0);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(scarce(pins_look(l.house, &pins, &e)), 0);
	assert_int_equal(pins.count, 1);
	assert_int_equal(pins.items[0].kind, PIN_FOLDER);
	assert_string_equal(pins.items[0].session, "a.b");
	pin_path(l.house, "a.b", "", path);
	assert_int_equal(pin_drop(path, &e), 0);
	assert_int_equal(access(PIN_ROOT, F_OK), -1);
	pins_free(&pins);
	close_all(&l);
}

static void a_program_is_exchanged_in_one_step(void **state)
{
	struct loaded l;
	struct err e = {0};
	struct tcx_link first = {0}, second = {0};
	char path[PIN_PATH];
	int link;

	(void)state;
	load_all(&l);
	link = tcx_attach(l.programs[0], LOOPBACK, false, 0, &e);
	assert_true(link >= 0);
	assert_int_equal(tcx_look(link, &first), 0);
	assert_int_equal(tcx_replace(link, l.programs[1], &e), 0);
	assert_int_equal(tcx_look(link, &second), 0);
	assert_true(first.ifindex == LOOPBACK && second.ifindex == LOOPBACK && !second.egress);
	assert_int_not_equal(first.program, second.program);
	pin_path(l.house, "a", "1-ingress", path);
	assert_int_equal(pin_put(link, path, &e), 0);
	close(link);
	assert_int_equal(pin_drop_link(path, &e), 0);
	assert_int_equal(tcx_programs(LOOPBACK, false, NULL, 0), 0);
	assert_int_equal(tcx_attach(l.programs[0], 9999, false, 0, &e), -ENODEV);
	close_all(&l);
}

static void without_a_bpf_file_system_it_says_what_to_do(void **state)
{
	struct err e = {0};
	struct pins pins = {0};
	struct loaded l;
	char path[PIN_PATH];

	(void)state;
	load_all(&l);
	assert_int_equal(umount(PIN_FS), 0);
	pin_path(l.house, "", "once", path);
	assert_int_equal(pin_put(l.maps[COPY_MAP_ONCE], path, &e), -ENODEV);
	assert_non_null(strstr(e.text, "mount -t bpf -o mode=700 bpf /sys/fs/bpf"));
	assert_int_equal(pins_look(l.house, &pins, &e), 0);
	assert_int_equal(pins.count, 0);
	assert_int_equal(mount("bpf", PIN_FS, "bpf", 0, NULL), 0);
	close_all(&l);
}

/* The BPF file system's own folder may be everybody's: nobody is to lead us to others' pins. */
static void a_folder_of_another_user_is_not_used(void **state)
{
	struct pins pins = {0};
	struct err e = {0};
	struct loaded l;
	char path[PIN_PATH];

	(void)state;
	load_all(&l);
	pin_path(l.house, "", "once", path);
	for (int kind = 0; kind < 3; kind++) {
		if (kind < 2)
			assert_int_equal(mkdir(PIN_ROOT, 0700), 0);
		else
			assert_int_equal(symlink(PIN_FS, PIN_ROOT), 0);
		if (kind == 0)
			assert_int_equal(chown(PIN_ROOT, 65534, 0), 0);
		if (kind == 1)
			assert_int_equal(chmod(PIN_ROOT, 0777), 0);
		assert_int_equal(pin_put(l.maps[COPY_MAP_ONCE], path, &e), -ENODEV);
		assert_non_null(strstr(e.text, "remove it"));
		assert_int_equal(pins_look(PIN_ROOT, &pins, &e), 0);
		assert_int_equal(pins.count, 0);
		assert_int_equal(remove(PIN_ROOT), 0);
	}
	close_all(&l);
}

/* What somebody else has put where ours belongs is told of, and stays. */
static void strange_things_are_told(void **state)
{
	struct pins pins = {0};
	struct loaded l;
	struct err e = {0};
	char path[PIN_PATH], folder[PIN_PATH], house[PIN_PATH];

	(void)state;
	load_all(&l);
	pin_path(l.house, "a", "link", path);
	assert_int_equal(pin_put(l.maps[COPY_MAP_CONFIG], path, &e), 0);
	assert_int_equal(pin_drop_link(path, &e), -EINVAL);
	assert_non_null(strstr(e.text, "can't detach"));
	assert_int_equal(pins_look(path, &pins, &e), -ENOTDIR);

	pin_path(l.house, "a", "", folder);
	folder[strlen(folder) - 1] = '\0';
	assert_int_equal(pin_drop(folder, &e), -EISDIR);
	assert_int_equal(pin_drop(path, &e), 0);

	pin_path(l.house, "b", "a-name-that-is-one-letter-longer-than-the-longest-name-of-a-pin-x",
		 path);
	assert_int_equal(pin_put(l.maps[COPY_MAP_CONFIG], path, &e), 0);
	assert_int_equal(pins_look(l.house, &pins, &e), -ENAMETOOLONG);
	assert_int_equal(pins.count, 0);
	assert_int_equal(pin_drop(path, &e), 0);

	pin_path(l.house, "c", "once", path);
	assert_int_equal(pin_put(l.maps[COPY_MAP_ONCE], path, &e), 0);
	assert_int_equal(unlink(path), 0);
	pin_path(l.house, "c", "", folder);
	assert_int_equal(mount("none", folder, "tmpfs", 0, NULL), 0);
	assert_int_equal(pin_drop(path, &e), -EBUSY);
	assert_int_equal(umount(folder), 0);
	assert_int_equal(pin_drop(path, &e), 0);
	assert_int_equal(access(PIN_ROOT, F_OK), -1);

	assert_int_equal(mount("none", "/proc", "tmpfs", 0, NULL), 0);
	assert_int_equal(pin_house(HOUSE, house, &e), -ENOENT);
	assert_int_equal(umount("/proc"), 0);
	close_all(&l);
}

/* A link of another kind among them, and one object that the kernel calls by no name that we know.
 */
static void strange_objects_are_told(void **state)
{
	static const struct bpf_insn pass[] = {{.code = BPF_ALU64 | BPF_MOV | BPF_K,
						.imm = 2}, /* XDP_PASS */
					       {.code = BPF_JMP | BPF_EXIT}};
	int program = bpf_prog_load(BPF_PROG_TYPE_XDP, "pass", "GPL", pass, 2, NULL);
	int link = bpf_link_create(program, LOOPBACK, BPF_XDP, NULL);
	struct pins pins = {0};
	struct loaded l;
	struct err e = {0};
	char path[PIN_PATH], name[40];

	(void)state;
	assert_true(program >= 0 && link >= 0);
	load_all(&l);
	pin_path(l.house, "a", "1-ingress", path);
	assert_int_equal(pin_put(link, path, &e), 0);
	assert_int_equal(pins_look(l.house, &pins, &e), -ENOTSUP);
	assert_non_null(strstr(e.text, "can't look at "));
	assert_non_null(strstr(e.text, path));
	assert_int_equal(pins.count, 0);

	assert_int_equal(mount("none", "/proc", "tmpfs", 0, NULL), 0);
	assert_int_equal(mkdir("/proc/self", 0755), 0);
	assert_int_equal(mkdir("/proc/self/fd", 0755), 0);
	for (int fd = 0; fd < 64; fd++) {
		snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
		assert_int_equal(symlink("anon_inode:bpf-thing", name), 0);
	}
	assert_int_equal(pins_look(l.house, &pins, &e), -EBADMSG);
	assert_non_null(strstr(e.text, "can't look at "));
	assert_int_equal(umount("/proc"), 0);

	assert_int_equal(pin_drop(path, &e), 0);
	close(link);
	close(program);
	close_all(&l);
}

static int descriptors(void)
{
	int n = 0;

	for (int fd = 0; fd < 1024; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

/* With more and more descriptors to be had, until there are enough: the result of the last time. */
static int with_few_descriptors(int (*load)(void *data, struct err *e), void *data, bool *not_kept)
{
	struct rlimit before, few;
	struct err e = {0};
	int had = descriptors(), r = -EMFILE;

	*not_kept = false;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	for (int most = had; r < 0 && most < had + 40; most++) {
		few = (struct rlimit){(rlim_t)most, before.rlim_max};
		assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
		r = load(data, &e);
		assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
		if (r < 0)
			assert_int_equal(descriptors(), had);
		if (r < 0 && strstr(e.text, "can't keep a loaded program"))
			*not_kept = true;
	}
	return r;
}

static int load_copy(void *data, struct err *e)
{
	struct loaded *l = data;

	return copy_load(l->maps, l->programs, e);
}

static int load_cut(void *data, struct err *e)
{
	struct loaded *l = data;

	return cut_load(l->maps[COPY_MAP_CUT], e);
}

struct inline_loaded {
	int maps[INLINE_MAPS], programs[INLINE_PROGRAMS];
};

static int load_inline(void *data, struct err *e)
{
	static const struct bpf_insn nothing = {
		.code = BPF_ALU64 | BPF_MOV | BPF_X, .dst_reg = BPF_REG_1, .src_reg = BPF_REG_1};
	struct inline_loaded *l = data;

	return inline_load(l->maps, &nothing, 1, l->programs, e);
}

static void without_descriptors_nothing_is_left_open(void **state)
{
	struct inline_loaded in;
	struct loaded l;
	struct err e = {0};
	bool not_kept;
	int cut;

	(void)state;
	load_all(&l);
	close(l.programs[0]);
	close(l.programs[1]);
	assert_int_equal(with_few_descriptors(load_copy, &l, &not_kept), 0);
	assert_true(not_kept);
	close(cut_load(l.maps[COPY_MAP_CUT], &e));
	cut = with_few_descriptors(load_cut, &l, &not_kept);
	assert_true(cut >= 0 && not_kept);
	close(cut);

	for (int i = 0; i < INLINE_MAPS; i++) {
		in.maps[i] = scarce(inline_map_make((enum inline_map)i, &e));
		assert_true(in.maps[i] >= 0);
	}
	assert_int_equal(scarce(load_inline(&in, &e)), 0);
	for (int i = 0; i < INLINE_PROGRAMS; i++)
		close(in.programs[i]);
	assert_int_equal(with_few_descriptors(load_inline, &in, &not_kept), 0);
	assert_true(not_kept);
	for (int i = 0; i < INLINE_PROGRAMS; i++)
		close(in.programs[i]);
	for (int i = 0; i < INLINE_MAPS; i++)
		close(in.maps[i]);
	close_all(&l);
}

static void maps_that_are_none_are_not_used(void **state)
{
	struct inline_loaded in;
	int maps[COPY_MAPS], programs[2];
	struct err e = {0};

	(void)state;
	for (int i = 0; i < INLINE_MAPS; i++)
		in.maps[i] = -1;
	for (int i = 0; i < COPY_MAPS; i++)
		maps[i] = -1;
	assert_true(copy_load(maps, programs, &e) < 0);
	assert_non_null(strstr(e.text, "can't use the maps"));
	assert_true(cut_load(-1, &e) < 0);
	assert_non_null(strstr(e.text, "can't use the map that"));
	assert_true(load_inline(&in, &e) < 0);
	assert_non_null(strstr(e.text, "can't use the maps"));
}

/* The verifier's log ends with its statistics, which tell nobody what is wrong. */
static void the_last_words_are_what_is_wrong(void **state)
{
	char log[] = "0: (95) exit\nR0 !read_ok\nprocessed 1 insns (limit 1000000)\n";
	char silent[] = "";

	(void)state;
	assert_string_equal(load_last_words(log), "R0 !read_ok");
	assert_string_equal(load_last_words(silent), "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pins_are_seen_and_go),
		cmocka_unit_test(an_empty_folder_is_seen_and_goes),
		cmocka_unit_test(a_program_is_exchanged_in_one_step),
		cmocka_unit_test(without_a_bpf_file_system_it_says_what_to_do),
		cmocka_unit_test(a_folder_of_another_user_is_not_used),
		cmocka_unit_test(strange_things_are_told),
		cmocka_unit_test(strange_objects_are_told),
		cmocka_unit_test(without_descriptors_nothing_is_left_open),
		cmocka_unit_test(maps_that_are_none_are_not_used),
		cmocka_unit_test(the_last_words_are_what_is_wrong),
	};

	if (unshare(CLONE_NEWNET | CLONE_NEWNS) < 0 ||
	    mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("bpf", PIN_FS, "bpf", 0, NULL) < 0) {
		perror("namespaces of its own with a BPF file system");
		return 77;
	}
	if (tcx_known(NULL) <= 0) {
		puts("this kernel has no tcx");
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
