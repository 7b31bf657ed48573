/* SPDX-License-Identifier: MIT */
/* Finds processes that look like machines, in a network namespace of the test's own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/if_tun.h>
#include <linux/seccomp.h>
#include <net/if_arp.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "calls/calls.h"
#include "memory/memory.h"
#include "portmirror/vm.h"

#define MAX_HOLDERS 4

struct holder {
	pid_t pid;
	int stdin; /* closing it ends the process */
};

struct world {
	char *program; /* test-tap-holder */
	struct holder holders[MAX_HOLDERS];
	size_t count;
};

static void run_holder(const char *program, const char *taps, const char *foreign,
		       const char *const *argv, int in, int out)
{
	char taps_env[128], foreign_env[32];
	char *env[] = {taps_env, foreign ? foreign_env : NULL, NULL};

	snprintf(taps_env, sizeof(taps_env), "TAPS=%s", taps);
	snprintf(foreign_env, sizeof(foreign_env), "FOREIGN=%s", foreign ? foreign : "");
	dup2(in, STDIN_FILENO);
	dup2(out, STDOUT_FILENO);
	execve(program, (char **)(uintptr_t)argv, env);
	_exit(1);
}

/* Starts one and waits until it holds its taps; skips the test where none can be made. */
static pid_t start(struct world *w, const char *taps, const char *foreign, const char *const *argv)
{
	struct holder *h = &w->holders[w->count];
	int in[2], out[2], status = 0;
	char ready[5];

	assert_true(w->count < MAX_HOLDERS);
	assert_int_equal(pipe2(in, O_CLOEXEC), 0);
	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	h->pid = fork();
	assert_true(h->pid >= 0);
	if (h->pid == 0)
		run_holder(w->program, taps, foreign, argv, in[0], out[1]);
	close(in[0]);
	close(out[1]);
	h->stdin = in[1];
	w->count++;
	if (read(out[0], ready, sizeof(ready)) != sizeof(ready)) {
		w->count--;
		close(in[1]);
		close(out[0]);
		waitpid(h->pid, &status, 0);
		if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
			skip(); /* no /dev/net/tun, or no right to it */
		fail_msg("%s can't be started", w->program);
	}
	close(out[0]);
	return h->pid;
}

static int stop_all(void **state)
{
	struct world *w = *state;

	for (; w->count > 0; w->count--) {
		close(w->holders[w->count - 1].stdin);
		waitpid(w->holders[w->count - 1].pid, NULL, 0);
	}
	return 0;
}

static void find(struct vms *vms)
{
	struct err e = {0};

	if (vms_find("/proc", vms, &e) < 0)
		fail_msg("%s", e.text);
}

static void assert_nic(const struct vm *vm, size_t nic, const char *port, int last_of_mac)
{
	const uint8_t mac[] = {0x52, 0x54, 0, 0, 0, (uint8_t)last_of_mac};

	assert_true(nic < vm->nnics);
	assert_string_equal(vm->nics[nic].port, port);
	assert_int_equal(vm->nics[nic].has_mac, last_of_mac > 0);
	if (last_of_mac > 0)
		assert_memory_equal(vm->nics[nic].mac, mac, sizeof(mac));
}

static void a_machine_has_its_nics_in_order(void **state)
{
	/* vnet7 has two queues, vnet10 and vnet9 were plugged in later. */
	static const char *const argv[] = {"/usr/bin/qemu-system-x86_64",
					   "-name",
					   "guest=web 1,debug-threads=on",
					   "-netdev",
					   "{\"type\":\"tap\",\"fds\":\"30:31\",\"id\":\"a\"}",
					   "-device",
					   "x,netdev=a,mac=52:54:00:00:00:01",
					   "-netdev",
					   "tap,fd=20,id=b",
					   "-device",
					   "x,netdev=b,mac=52:54:00:00:00:02",
					   "-netdev",
					   "tap,ifname=vnet3,id=c",
					   NULL};
	struct vms vms cleanup(vms_free) = {0};
	pid_t pid = start(*state, "20=vnet1 25=vnet10 26=vnet9 27=vnet3 28= 30=vnet7 31=vnet7",
			  NULL, argv);

	find(&vms);
	assert_int_equal(vms.count, 1);
	assert_int_equal(vms.items[0].pid, pid);
	assert_string_equal(vms.items[0].name, "web 1");
	assert_string_equal(vms.items[0].monitor, "qemu");
	assert_int_equal(vms.items[0].nnics, 5);
	assert_nic(&vms.items[0], 0, "vnet7", 1);
	assert_nic(&vms.items[0], 1, "vnet1", 2);
	assert_nic(&vms.items[0], 2, "vnet3", 0);
	assert_nic(&vms.items[0], 3, "vnet9", 0);
	assert_nic(&vms.items[0], 4, "vnet10", 0);
}

static void what_is_left_over_belongs_together(void **state)
{
	static const char *const argv[] = {"qemu-system-x86_64",
					   "-netdev",
					   "bridge,id=a",
					   "-device",
					   "x,netdev=a,mac=52:54:00:00:00:01",
					   "-netdev",
					   "tap,ifname=tap1,id=b",
					   NULL};
	struct vms vms cleanup(vms_free) = {0};
	char name[32];
	pid_t pid = start(*state, "20=tap1 21=tap0", NULL, argv);

	find(&vms);
	assert_int_equal(vms.count, 1);
	snprintf(name, sizeof(name), "pid-%d", (int)pid);
	assert_string_equal(vms.items[0].name, name);
	assert_false(vms.items[0].named);
	assert_int_equal(vms.items[0].nnics, 2);
	assert_nic(&vms.items[0], 0, "tap0", 1);
	assert_nic(&vms.items[0], 1, "tap1", 0);
}

static void two_hints_that_are_left_over_tell_nothing(void **state)
{
	static const char *const argv[] = {"qemu-system-x86_64",
					   "-netdev",
					   "bridge,id=a",
					   "-device",
					   "x,netdev=a,mac=52:54:00:00:00:01",
					   "-netdev",
					   "bridge,id=b",
					   "-device",
					   "x,netdev=b,mac=52:54:00:00:00:02",
					   NULL};
	struct vms vms cleanup(vms_free) = {0};

	start(*state, "20=tap0", NULL, argv);
	find(&vms);
	assert_int_equal(vms.count, 1);
	assert_int_equal(vms.items[0].nnics, 1);
	assert_nic(&vms.items[0], 0, "tap0", 0);
}

static void set_address(const char *port, const char *bytes)
{
	struct ifreq request = {.ifr_hwaddr.sa_family = ARPHRD_ETHER};
	int fd cleanup(fd_close_at) = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", port);
	memcpy(request.ifr_hwaddr.sa_data, bytes, 6);
	assert_int_equal(ioctl(fd, SIOCSIFHWADDR, &request), 0);
}

/* As one that was there before the machine. */
static void make_persistent(const char *port, unsigned long persistent)
{
	struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_MULTI_QUEUE};
	int fd cleanup(fd_close_at) = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", port);
	assert_int_equal(ioctl(fd, TUNSETIFF, &request), 0);
	assert_int_equal(ioctl(fd, TUNSETPERSIST, persistent), 0);
}

/* Under libvirt, the first card was exchanged: its tap, with the same number, isn't the old one's.
 */
static void a_card_that_was_exchanged_has_no_old_address(void **state)
{
	static const char *const argv[] = {"qemu-system-x86_64",
					   "-netdev",
					   "tap,fd=30,id=hostnet0",
					   "-device",
					   "x,netdev=hostnet0,mac=52:54:00:00:00:01",
					   "-netdev",
					   "tap,fd=31,id=hostnet1",
					   "-device",
					   "x,netdev=hostnet1,mac=52:54:00:00:00:02",
					   NULL};
	struct vms before cleanup(vms_free) = {0}, after cleanup(vms_free) = {0};
	struct vms persistent cleanup(vms_free) = {0};

	start(*state, "30=vnet0 31=vnet1", NULL, argv);
	set_address("vnet0", "\xfe\x54\0\0\0\x01");
	set_address("vnet1", "\xfe\x54\0\0\0\x02");
	find(&before);
	assert_nic(&before.items[0], 0, "vnet0", 1);
	assert_nic(&before.items[0], 1, "vnet1", 2);

	set_address("vnet0", "\xfe\x54\0\0\0\x03");
	find(&after);
	assert_nic(&after.items[0], 0, "vnet1", 2);
	assert_nic(&after.items[0], 1, "vnet0", 0);

	make_persistent("vnet0", 1);
	find(&persistent);
	assert_nic(&persistent.items[0], 0, "vnet0", 1);
	make_persistent("vnet0", 0);
}

/* Whoever else hands a descriptor over leaves the tap's address to chance, or to somebody. */
static void an_address_that_libvirt_has_not_given_tells_nothing(void **state)
{
	static const char *const argv[] = {"qemu-system-x86_64",
					   "-netdev",
					   "tap,fd=30,id=net0",
					   "-device",
					   "x,netdev=net0,mac=52:54:00:00:00:01",
					   NULL};
	struct vms vms cleanup(vms_free) = {0};

	start(*state, "30=tap0", NULL, argv);
	set_address("tap0", "\xfe\x54\0\0\0\x03");
	find(&vms);
	assert_nic(&vms.items[0], 0, "tap0", 1);
}

static void machines_are_sorted_by_name(void **state)
{
	static const char *const b[] = {"kvm", "-name", "b", NULL};
	static const char *const a[] = {"kvm", "-name", "a", NULL};
	struct vms vms cleanup(vms_free) = {0};

	start(*state, "20=tap0", NULL, b);
	start(*state, "20=tap1", NULL, a);
	find(&vms);
	assert_int_equal(vms.count, 2);
	assert_string_equal(vms.items[0].name, "a");
	assert_string_equal(vms.items[1].name, "b");
}

static void a_tap_belongs_to_the_machine_that_has_a_name(void **state)
{
	static const char *const manager[] = {"/usr/sbin/libvirtd", NULL};
	static const char *const vm[] = {"kvm", "-name", "web1", NULL};
	struct vms vms cleanup(vms_free) = {0};

	start(*state, "20=tap0 21=tap1", NULL, manager);
	start(*state, "20=tap0", NULL, vm);
	start(*state, "20=tap0", NULL, manager);
	find(&vms);
	assert_int_equal(vms.count, 2);
	assert_int_equal(vms.items[0].nnics, 1); /* the manager keeps the other */
	assert_nic(&vms.items[0], 0, "tap1", 0);
	assert_string_equal(vms.items[1].name, "web1");
	assert_nic(&vms.items[1], 0, "tap0", 0);
}

static void taps_of_another_namespace_are_left_out(void **state)
{
	static const char *const evil[] = {"kvm", "-name", "web1", NULL};
	static const char *const good[] = {"kvm", "-name", "web2", NULL};
	struct vms vms cleanup(vms_free) = {0};

	start(*state, "20=tap0", "stay", evil);
	start(*state, "20=tap0", "back", evil); /* the process is in our namespace, its tap isn't */
	start(*state, "20=tap0", NULL, good);
	find(&vms);
	assert_int_equal(vms.count, 1);
	assert_string_equal(vms.items[0].name, "web2");
}

static void nothing_is_found_where_nothing_is(void **state)
{
	static const char *const argv[] = {"kvm", "-name", "web1", NULL};
	struct vms vms cleanup(vms_free) = {0}, untouched = {.count = 7};
	struct err e = {0};

	start(*state, "20=", NULL, argv);
	find(&vms);
	assert_int_equal(vms.count, 0);
	assert_int_equal(vms_find("/nonexistent", &untouched, &e), -ENOENT);
	assert_string_equal(e.text, "can't open /nonexistent: No such file or directory");
	assert_int_equal(untouched.count, 7);
}

/* Of this process: pidfd_getfd(2) fails, as where it may not trace the other, or pidfd_open(2). */
static void forbid(unsigned call)
{
	struct sock_filter code[] = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
					      offsetof(struct seccomp_data, nr)),
				     BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 0, 1),
				     BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
				     BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
	struct sock_fprog filter = {.len = COUNT(code), .filter = code};

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) < 0)
		_exit(3);
}

/* Then the namespace of the process decides. */
static void where_no_descriptor_can_be_taken(void **state)
{
	static const unsigned forbidden[] = {SYS_pidfd_getfd, SYS_pidfd_open};
	static const char *const argv[] = {"kvm", "-name", "web1", NULL};
	struct vms vms = {0};
	int status;
	pid_t pid;

	start(*state, "20=tap0", NULL, argv);
	for (size_t i = 0; i < COUNT(forbidden); i++) {
		pid = fork();
		assert_true(pid >= 0);
		if (pid == 0) {
			forbid(forbidden[i]);
			_exit(vms_find("/proc", &vms, NULL) < 0 || vms.count != 1 ||
			      strcmp(vms.items[0].nics[0].port, "tap0") != 0);
		}
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_int_equal(status, 0);
	}
}

/* TUNGETDEVNETNS is of Linux 5.2. */
static void where_the_tap_does_not_tell(void **state)
{
	static const char *const argv[] = {"kvm", "-name", "web1", NULL};
	struct vms vms cleanup(vms_free) = {0};

	start(*state, "20=tap0", NULL, argv);
	call_refuse_next("ioctl", EINVAL);
	find(&vms);
	assert_string_equal(call_refused(), "ioctl");
	assert_int_equal(vms.count, 1);
	assert_nic(&vms.items[0], 0, "tap0", 0);
}

static void a_proc_without_this_thread_is_told(void **state)
{
	char folder[] = "/tmp/proc-XXXXXX";
	struct vms vms = {0};
	struct err e = {0};

	(void)state;
	assert_non_null(mkdtemp(folder));
	assert_int_equal(vms_find(folder, &vms, &e), -ENOENT);
	assert_non_null(strstr(e.text, "/thread-self/ns/net: No such file or directory"));
	assert_int_equal(rmdir(folder), 0);
}

static void a_search_in_portions_finds_the_same(void **state)
{
	static const char *const argv[] = {"kvm", "-name", "web1", NULL};
	struct vms whole cleanup(vms_free) = {0}, portions cleanup(vms_free) = {0};
	struct vms copy cleanup(vms_free) = {0};
	struct vms_search *search = NULL;
	struct err e = {0};
	int r, rounds = 0;

	start(*state, "20=tap0 21=tap1", NULL, argv);
	find(&whole);
	assert_int_equal(whole.items[0].nnics, 2);
	assert_int_equal(vms_search_new("/proc", &search, &e), 0);
	while ((r = vms_search_go_on(search, 10, &portions, &e)) == 0)
		rounds++;
	assert_int_equal(r, 1);
	vms_search_free(search);
	assert_true(rounds > 1);
	assert_true(vms_equal(&whole, &portions));
	assert_int_equal(scarce(vms_copy(&whole, &copy)), 0);
	assert_true(vms_equal(&whole, &copy));
	vms_free(&copy);
	assert_int_equal(scarce(vms_find("/proc", &copy, &e)), 0);
	assert_true(vms_equal(&whole, &copy));
}

int main(int argc, char **argv)
{
	struct world world = {.program = argc > 1 ? argv[1] : NULL};
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_prestate_setup_teardown(a_machine_has_its_nics_in_order, NULL,
							 stop_all, &world),
		cmocka_unit_test_prestate_setup_teardown(what_is_left_over_belongs_together, NULL,
							 stop_all, &world),
		cmocka_unit_test_prestate_setup_teardown(two_hints_that_are_left_over_tell_nothing,
							 NULL, stop_all, &world),
		cmocka_unit_test_prestate_setup_teardown(
			a_card_that_was_exchanged_has_no_old_address, NULL, stop_all, &world),
		cmocka_unit_test_prestate_setup_teardown(
			an_address_that_libvirt_has_not_given_tells_nothing, NULL, stop_all,
			&world),
		cmocka_unit_test_prestate_setup_teardown(machines_are_sorted_by_name, NULL,
							 stop_all, &world),
		cmocka_unit_test_prestate_setup_teardown(
			a_tap_belongs_to_the_machine_that_has_a_name, NULL, stop_all, &world),
		cmocka_unit_test_prestate_setup_teardown(taps_of_another_namespace_are_left_out,
							 NULL, stop_all, &world),
		cmocka_unit_test_prestate_setup_teardown(nothing_is_found_where_nothing_is, NULL,
							 stop_all, &world),
		cmocka_unit_test_prestate_setup_teardown(a_search_in_portions_finds_the_same, NULL,
							 stop_all, &world),
		cmocka_unit_test_prestate_setup_teardown(where_no_descriptor_can_be_taken, NULL,
							 stop_all, &world),
		cmocka_unit_test_prestate_setup_teardown(where_the_tap_does_not_tell, NULL,
							 stop_all, &world),
		cmocka_unit_test(a_proc_without_this_thread_is_told),
	};

	if (!world.program) {
		fprintf(stderr, "usage: %s TAP-HOLDER\n", argv[0]);
		return 2;
	}
	if (unshare(CLONE_NEWNET) < 0) {
		fprintf(stderr, "skipped: can't make a network namespace: %s\n", strerror(errno));
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
