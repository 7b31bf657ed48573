/* SPDX-License-Identifier: MIT */
/* Pins, links and the copying programs on this kernel, in namespaces of the test's own. */
#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cmocka.h>

#include <bpf/bpf.h>

#include "base/err.h"
#include "bpf/copy.h"
#include "bpf/copy_load.h"
#include "bpf/pin.h"
#include "bpf/tcx.h"

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
		l->maps[i] = copy_map_make((enum copy_map)i, &e);
		if (l->maps[i] < 0)
			fail_msg("%s", e.text);
	}
	if (copy_load(l->maps, l->programs, &e) < 0)
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
	pin_path(l.house, "a.b", "config", path);
	assert_non_null(strstr(path, "/a+b/config"));
	assert_int_equal(pin_put(l.maps[COPY_MAP_CONFIG], path, &e), 0);
	assert_int_equal(pin_put(l.maps[COPY_MAP_CONFIG], path, &e), 0); /* again: in its place */
	pin_path(l.house, "a.b", "sent", path);
	assert_int_equal(pin_put(l.programs[0], path, &e), 0);
	link = tcx_attach(l.programs[0], LOOPBACK, true, 0, &e);
	assert_true(link >= 0);
	pin_path(l.house, "a.b", "1-egress", link_path);
	assert_int_equal(pin_put(link, link_path, &e), 0);
	close(link);

	assert_int_equal(pins_look(l.house, &pins, &e), 0);
	assert_int_equal(pins.count, 3);
	pin = pins_find(&pins, "a.b", "sent");
	assert_true(pin && pin->kind == PIN_PROGRAM && pin->nmaps == COPY_MAPS);
	pin = pins_find(&pins, "a.b", "1-egress");
	assert_true(pin && pin->kind == PIN_LINK && pin->ifindex == LOOPBACK && pin->egress);
	assert_int_equal(pin->program, pins_find(&pins, "a.b", "sent")->id);
	assert_int_equal(tcx_programs(LOOPBACK, true, ids, 4), 1);
	assert_int_equal(ids[0], pin->program);
	assert_null(pins_find(&pins, "", "config"));

	assert_int_equal(pin_drop_link(link_path, &e), 0);
	assert_int_equal(tcx_programs(LOOPBACK, true, ids, 4), 0);
	pin_path(l.house, "a.b", "sent", path);
	assert_int_equal(pin_drop(path, &e), 0);
	pin_path(l.house, "a.b", "config", path);
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
	pin_path(l.house, "a.b", "config", path);
	assert_int_equal(pin_put(l.maps[COPY_MAP_CONFIG], path, &e), 0);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(pins_look(l.house, &pins, &e), 0);
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
	assert_non_null(strstr(e.text, "mount -t bpf bpf /sys/fs/bpf"));
	assert_int_equal(pins_look(l.house, &pins, &e), 0);
	assert_int_equal(pins.count, 0);
	assert_int_equal(mount("bpf", PIN_FS, "bpf", 0, NULL), 0);
	close_all(&l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pins_are_seen_and_go),
		cmocka_unit_test(an_empty_folder_is_seen_and_goes),
		cmocka_unit_test(a_program_is_exchanged_in_one_step),
		cmocka_unit_test(without_a_bpf_file_system_it_says_what_to_do),
	};

	if (unshare(CLONE_NEWNET | CLONE_NEWNS) < 0 ||
	    mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("bpf", PIN_FS, "bpf", 0, NULL) < 0) {
		perror("namespaces of its own with a BPF file system");
		return 77;
	}
	if (!tcx_known()) {
		puts("this kernel has no tcx");
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
