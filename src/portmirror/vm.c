/* SPDX-License-Identifier: MIT */
#include "portmirror/vm.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/if_tun.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "base/err.h"
#include "base/file.h"
#include "base/mem.h"
#include "netlink/link.h"

#define CMDLINE_MAX (4U << 20) /* more than QEMU's longest, less than the kernel's limit */
#define FDINFO_MAX  4096

/* A descriptor of a tap that a process holds; a tap with several queues has several. */
struct tap {
	int fd;
	char port[IFNAMSIZ];
	uint8_t mac[6]; /* the tap's own, where it ends with the machine; zeros where not known */
	size_t hint;	/* which of the command line's hints is about it; SIZE_MAX: none */
};

struct taps {
	struct tap *items;
	size_t count, room;
};

struct vms_search {
	const char *path; /* of proc; borrowed */
	DIR *proc;
	struct stat net; /* our network namespace */
	unsigned steps;	 /* so far */
	struct vms vms;
};

/* A process while it is looked at. */
struct process {
	struct vms_search *search;
	pid_t pid;
	int pidfd; /* -1: not opened, or not to be had */
	bool asked;
	struct taps taps;
};

static void process_free(struct process *p)
{
	fd_close_at(&p->pidfd);
	free(p->taps.items);
}

static void hints_free(struct vm_hints *hints)
{
	free(hints->items);
}

static void closedir_at(DIR **dir)
{
	if (*dir)
		closedir(*dir);
}

/* A process that ends, or isn't ours to look at, is left out; anything else is an error. */
static bool is_gone(int code)
{
	return code == -ENOENT || code == -ESRCH || code == -EACCES || code == -EPERM;
}

/* A number as /proc names its folders and links; -1 for "self" and the like. */
static int number_of(const char *name)
{
	char *end;
	long number = strtol(name, &end, 10);

	return end == name || *end || number < 0 || number > INT_MAX ? -1 : (int)number;
}

static bool is_same(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

static void read_mac(int fd, struct tap *tap)
{
	struct ifreq request = {0};

	if (ioctl(fd, TUNGETIFF, &request) == 0 && !(request.ifr_flags & IFF_PERSIST) &&
	    ioctl(fd, SIOCGIFHWADDR, &request) == 0)
		memcpy(tap->mac, request.ifr_hwaddr.sa_data, sizeof(tap->mac));
}

/* What the tap itself tells: its address, and the network namespace of its device. It takes
 * pidfd_getfd(2), Linux 5.6, and TUNGETDEVNETNS, Linux 5.2. -errno where that can't be had. */
static int ask_tap(struct process *p, struct tap *asked, struct stat *net)
{
	int tap cleanup(fd_close_at) = -1;
	int ns cleanup(fd_close_at) = -1;

	if (!p->asked)
		p->pidfd = (int)syscall(SYS_pidfd_open, p->pid, 0);
	p->asked = true;
	if (p->pidfd < 0)
		return -ESRCH;
	tap = (int)syscall(SYS_pidfd_getfd, p->pidfd, asked->fd, 0);
	if (tap < 0)
		return -errno;
	ns = ioctl(tap, TUNGETDEVNETNS);
	if (ns < 0)
		return -errno;
	read_mac(tap, asked);
	return fstat(ns, net) < 0 ? -errno : 0;
}

/*
 * Anybody may make a tap called vnet1 in a namespace of his own and hand its descriptor around:
 * the device's own namespace decides. Only where the kernel won't tell it, the process's does.
 */
static bool is_in_our_net(struct process *p, struct tap *tap)
{
	struct stat net = {0};
	char path[32];

	if (ask_tap(p, tap, &net) == 0)
		return is_same(&net, &p->search->net);
	snprintf(path, sizeof(path), "%d/ns/net", (int)p->pid);
	return fstatat(dirfd(p->search->proc), path, &net, 0) == 0 &&
	       is_same(&net, &p->search->net);
}

/* The name behind "iff:", which drivers/net/tun.c, tun_chr_show_fdinfo(), writes; false for a
 * descriptor that has no device yet. */
static bool read_port(const char *fdinfo, char port[IFNAMSIZ])
{
	static const char key[] = "\niff:\t";
	const char *name = strstr(fdinfo, key);
	size_t len;

	if (!name)
		return false;
	name += strlen(key);
	len = strcspn(name, "\n");
	if (len == 0 || len >= IFNAMSIZ)
		return false;
	memcpy(port, name, len);
	port[len] = '\0';
	nl_link_name(port, 0);
	return true;
}

static int add_tap(struct process *p, int fd)
{
	struct tap tap = {.fd = fd, .hint = SIZE_MAX};
	char *fdinfo cleanup(free_at) = NULL;
	char path[48];
	size_t len;
	int r;

	snprintf(path, sizeof(path), "%d/fdinfo/%d", (int)p->pid, fd);
	r = file_read_at(dirfd(p->search->proc), path, FDINFO_MAX, &fdinfo, &len, NULL);
	if (r < 0)
		return r == -ENOMEM ? r : 0;
	if (!read_port(fdinfo, tap.port) || !is_in_our_net(p, &tap))
		return 0;
	if (array_room(&p->taps.items, &p->taps.room, p->taps.count, sizeof(tap)) < 0)
		return -ENOMEM;
	p->taps.items[p->taps.count++] = tap;
	return 0;
}

/* A jail shows the path as it is outside of it, so only the end counts; fdinfo has the last word.
 */
static bool is_tun(int folder, const char *name)
{
	static const char tun[] = "/dev/net/tun";
	char target[PATH_MAX];
	ssize_t len = readlinkat(folder, name, target, sizeof(target));
	ssize_t wanted = (ssize_t)strlen(tun);

	return len >= wanted && memcmp(target + len - wanted, tun, strlen(tun)) == 0;
}

/* Opens one of the process's folders: a descriptor, or a negative errno. */
static int open_folder(const struct process *p, const char *name)
{
	char path[32];
	int fd;

	snprintf(path, sizeof(path), "%d/%s", (int)p->pid, name);
	fd = openat(dirfd(p->search->proc), path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* The links in "fd" tell at once what is no tap. Of another user's process it takes
 * CAP_DAC_READ_SEARCH to open them; "fdinfo" then says as much, in a longer time, to who may trace
 * the process (Linux 5.14, fs/proc/fd.c). */
static int find_taps(struct process *p)
{
	DIR *fds cleanup(closedir_at) = NULL;
	const struct dirent *entry;
	bool links = true;
	char path[32];
	int folder, ret = 0;

	snprintf(path, sizeof(path), "%d/exe", (int)p->pid);
	if (readlinkat(dirfd(p->search->proc), path, (char[1]){0}, 1) < 0)
		return -errno; /* -ENOENT for the kernel's own threads */
	folder = open_folder(p, "fd");
	if (folder == -EACCES) {
		links = false;
		folder = open_folder(p, "fdinfo");
	}
	if (folder < 0)
		return folder;
	fds = fdopendir(folder);
	if (!fds) {
		ret = -errno; /* -ENOENT where the process has ended meanwhile */
		close(folder);
		return ret;
	}
	while (ret == 0 && (entry = readdir(fds))) {
		int fd = number_of(entry->d_name);

		p->search->steps++;
		if (fd >= 0 && (!links || is_tun(folder, entry->d_name)))
			ret = add_tap(p, fd);
	}
	return ret;
}

/*
 * The card of the command line was unplugged, and another one's tap has the same descriptor. Under
 * libvirt that can be told: its taps have the address of the guest's card but for the first byte
 * (virNetDevTapCreateInBridgePort(), qemuInterfaceEthernetConnect()). It hands descriptors over,
 * and calls a back end "host" and the card's alias. A tap that outlives the machine it hasn't made.
 */
static bool is_stale(const struct vm_hint *hint, const struct tap *tap)
{
	return hint->nfds > 0 && hint->has_mac && strncmp(hint->netdev, "host", 4) == 0 &&
	       tap->mac[0] == 0xfe && memcmp(hint->mac + 1, tap->mac + 1, 5) != 0;
}

static bool is_about(const struct vm_hint *hint, const struct tap *tap)
{
	if (is_stale(hint, tap))
		return false;
	for (size_t i = 0; i < hint->nfds; i++)
		if (hint->fds[i] == tap->fd)
			return true;
	return strcmp(hint->port, tap->port) == 0;
}

static int by_port(const void *a, const void *b)
{
	const struct tap *x = a, *y = b;
	int order = strcmp(x->port, y->port);

	return order ? order : (x->hint > y->hint) - (x->hint < y->hint);
}

/* As the command line has them, then those that it doesn't know: plugged in later. */
static int by_hint(const void *a, const void *b)
{
	const struct tap *x = a, *y = b;

	if (x->hint != y->hint)
		return x->hint < y->hint ? -1 : 1;
	return strverscmp(x->port, y->port);
}

/* If one tap and one hint are left over they belong together: QEMU's helper made the tap. */
static void pair_last(struct taps *taps, const struct vm_hints *hints)
{
	size_t tap = SIZE_MAX, hint = SIZE_MAX;

	for (size_t i = 0; i < taps->count; i++) {
		if (taps->items[i].hint != SIZE_MAX)
			continue;
		if (tap != SIZE_MAX)
			return;
		tap = i;
	}
	for (size_t i = 0; i < hints->count; i++) {
		bool taken = false;

		for (size_t j = 0; j < taps->count; j++)
			taken |= taps->items[j].hint == i;
		if (taken)
			continue;
		if (hint != SIZE_MAX)
			return;
		hint = i;
	}
	if (tap != SIZE_MAX && hint != SIZE_MAX &&
	    !is_stale(&hints->items[hint], &taps->items[tap]))
		taps->items[tap].hint = hint;
}

/* One tap for each device, tied to the hint about it, in the machine's order. */
static void settle_taps(struct taps *taps, const struct vm_hints *hints)
{
	size_t kept = 0;

	for (size_t i = 0; i < taps->count; i++)
		for (size_t j = hints->count; j-- > 0;)
			if (is_about(&hints->items[j], &taps->items[i]))
				taps->items[i].hint = j;
	qsort(taps->items, taps->count, sizeof(*taps->items), by_port);
	for (size_t i = 0; i < taps->count; i++)
		if (kept == 0 || strcmp(taps->items[kept - 1].port, taps->items[i].port) != 0)
			taps->items[kept++] = taps->items[i];
	taps->count = kept;
	pair_last(taps, hints);
	qsort(taps->items, taps->count, sizeof(*taps->items), by_hint);
}

static int fill_nics(struct vm *vm, const struct taps *taps, const struct vm_hints *hints)
{
	vm->nics = calloc(taps->count, sizeof(*vm->nics));
	if (!vm->nics)
		return -ENOMEM;
	for (; vm->nnics < taps->count; vm->nnics++) {
		const struct tap *tap = &taps->items[vm->nnics];
		struct vm_nic *nic = &vm->nics[vm->nnics];

		memcpy(nic->port, tap->port, sizeof(nic->port));
		if (tap->hint == SIZE_MAX || !hints->items[tap->hint].has_mac)
			continue;
		nic->has_mac = true;
		memcpy(nic->mac, hints->items[tap->hint].mac, sizeof(nic->mac));
	}
	return 0;
}

/* What the command line and the taps say together. */
static int describe(struct process *p, struct vm *vm)
{
	struct vm_hints hints cleanup(hints_free) = {0};
	char *cmdline cleanup(free_at) = NULL;
	char *comm cleanup(free_at) = NULL;
	char path[32];
	size_t len = 0, comm_len;
	int ret;

	snprintf(path, sizeof(path), "%d/cmdline", (int)p->pid);
	ret = file_read_at(dirfd(p->search->proc), path, CMDLINE_MAX, &cmdline, &len, NULL);
	if (ret == -ENOMEM)
		return ret;
	snprintf(path, sizeof(path), "%d/comm", (int)p->pid);
	ret = file_read_at(dirfd(p->search->proc), path, 64, &comm, &comm_len, NULL);
	if (ret == -ENOMEM)
		return ret;
	if (comm)
		comm[strcspn(comm, "\n")] = '\0';
	ret = vm_read_cmdline(cmdline ? cmdline : "", len, comm ? comm : "", vm, &hints);
	if (ret < 0)
		return ret;
	settle_taps(&p->taps, &hints);
	return fill_nics(vm, &p->taps, &hints);
}

static int look_at(struct vms_search *s, pid_t pid)
{
	struct process p cleanup(process_free) = {.search = s, .pid = pid, .pidfd = -1};
	struct vm vm cleanup(vm_free) = {.pid = pid};
	int ret = find_taps(&p);

	if (ret < 0)
		return is_gone(ret) ? 0 : ret;
	if (p.taps.count == 0)
		return 0;
	ret = describe(&p, &vm);
	if (ret == 0)
		ret = array_room(&s->vms.items, &s->vms.room, s->vms.count, sizeof(vm));
	if (ret < 0)
		return ret;
	s->vms.items[s->vms.count++] = vm;
	vm = (struct vm){0};
	return 0;
}

/* A port as one machine claims it. */
struct claim {
	struct vm *vm;
	struct vm_nic *nic;
};

static int by_right(const void *a, const void *b)
{
	const struct claim *x = a, *y = b;
	int order = strcmp(x->nic->port, y->nic->port);

	if (order == 0)
		order = y->vm->named - x->vm->named;
	if (order == 0)
		order = y->nic->has_mac - x->nic->has_mac;
	if (order == 0)
		order = (x->vm->pid > y->vm->pid) - (x->vm->pid < y->vm->pid);
	return order;
}

static void drop_lost_nics(struct vms *vms)
{
	size_t kept = 0;

	for (size_t i = 0; i < vms->count; i++) {
		struct vm *vm = &vms->items[i];
		size_t nics = 0;

		for (size_t j = 0; j < vm->nnics; j++)
			if (*vm->nics[j].port)
				vm->nics[nics++] = vm->nics[j];
		vm->nnics = nics;
		if (nics == 0)
			vm_free(vm);
		else
			vms->items[kept++] = *vm;
	}
	vms->count = kept;
}

/* A tap may be open in two processes, as in libvirtd while it starts a machine; it belongs to the
 * one whose command line names a machine. */
static int settle_claims(struct vms *vms)
{
	struct claim *claims cleanup(free_at) = NULL;
	size_t count = 0, n = 0;

	for (size_t i = 0; i < vms->count; i++)
		count += vms->items[i].nnics;
	if (count == 0)
		return 0;
	claims = calloc(count, sizeof(*claims));
	if (!claims)
		return -ENOMEM;
	for (size_t i = 0; i < vms->count; i++)
		for (size_t j = 0; j < vms->items[i].nnics; j++)
			claims[n++] = (struct claim){&vms->items[i], &vms->items[i].nics[j]};
	qsort(claims, count, sizeof(*claims), by_right);
	for (size_t i = 1, first = 0; i < count; i++) {
		if (strcmp(claims[i].nic->port, claims[first].nic->port) == 0)
			claims[i].nic->port[0] = '\0';
		else
			first = i;
	}
	drop_lost_nics(vms);
	return 0;
}

static int by_name(const void *a, const void *b)
{
	const struct vm *x = a, *y = b;
	int order = strcmp(x->name, y->name);

	return order ? order : (x->pid > y->pid) - (x->pid < y->pid);
}

void vms_search_free(struct vms_search *s)
{
	if (!s)
		return;
	closedir_at(&s->proc);
	vms_free(&s->vms);
	free(s);
}

static void vms_search_free_at(struct vms_search **s)
{
	vms_search_free(*s);
}

int vms_search_new(const char *proc, struct vms_search **search, struct err *e)
{
	struct vms_search *s cleanup(vms_search_free_at) = calloc(1, sizeof(*s));

	if (!s)
		return err_set(e, -ENOMEM, "out of memory");
	s->path = proc;
	s->proc = opendir(proc);
	if (!s->proc)
		return err_sys(e, -errno, "can't open %s", proc);
	/* Of the thread, whose netlink sockets see the same devices. */
	if (fstatat(dirfd(s->proc), "thread-self/ns/net", &s->net, 0) < 0)
		return err_sys(e, -errno, "can't read %s/thread-self/ns/net", proc);
	*search = take(s);
	return 0;
}

/* 1: there is no process left. */
static int look_further(struct vms_search *s, unsigned steps)
{
	unsigned until = s->steps + steps;
	const struct dirent *entry;
	int ret = 0;

	while (ret == 0 && s->steps < until) {
		int pid;

		errno = 0;
		entry = readdir(s->proc);
		if (!entry)
			return errno ? -errno : 1;
		s->steps++;
		pid = number_of(entry->d_name);
		if (pid > 0)
			ret = look_at(s, pid);
	}
	return ret;
}

int vms_search_go_on(struct vms_search *s, unsigned steps, struct vms *vms, struct err *e)
{
	int ret = look_further(s, steps);

	if (ret == 0)
		return 0;
	if (ret > 0)
		ret = settle_claims(&s->vms);
	if (ret < 0)
		return err_sys(e, ret, "can't look through %s for machines", s->path);
	if (s->vms.count > 0)
		qsort(s->vms.items, s->vms.count, sizeof(*s->vms.items), by_name);
	*vms = s->vms;
	s->vms = (struct vms){0};
	return 1;
}

int vms_find(const char *proc, struct vms *vms, struct err *e)
{
	struct vms_search *s cleanup(vms_search_free_at) = NULL;
	int ret = vms_search_new(proc, &s, e);

	while (ret == 0 && s)
		ret = vms_search_go_on(s, INT_MAX, vms, e);
	return ret < 0 ? ret : 0;
}

void vms_free(struct vms *vms)
{
	for (size_t i = 0; i < vms->count; i++)
		vm_free(&vms->items[i]);
	free(vms->items);
	*vms = (struct vms){0};
}

static int vm_copy(const struct vm *vm, struct vm *copy)
{
	*copy = *vm;
	copy->name = strdup(vm->name);
	copy->nics = calloc(vm->nnics + 1, sizeof(*copy->nics));
	if (!copy->name || !copy->nics) {
		vm_free(copy);
		return -ENOMEM;
	}
	memcpy(copy->nics, vm->nics, vm->nnics * sizeof(*copy->nics));
	return 0;
}

int vms_copy(const struct vms *vms, struct vms *copy)
{
	struct vms made = {.items = calloc(vms->count + 1, sizeof(*made.items)),
			   .room = vms->count + 1};

	if (!made.items)
		return -ENOMEM;
	for (; made.count < vms->count; made.count++) {
		if (vm_copy(&vms->items[made.count], &made.items[made.count]) < 0) {
			vms_free(&made);
			return -ENOMEM;
		}
	}
	*copy = made;
	return 0;
}

static bool vm_equal(const struct vm *a, const struct vm *b)
{
	bool same = a->pid == b->pid && a->named == b->named && a->nnics == b->nnics &&
		    strcmp(a->name, b->name) == 0 && strcmp(a->uuid, b->uuid) == 0 &&
		    strcmp(a->id, b->id) == 0 && strcmp(a->monitor, b->monitor) == 0;

	for (size_t i = 0; same && i < a->nnics; i++)
		same = strcmp(a->nics[i].port, b->nics[i].port) == 0 &&
		       a->nics[i].has_mac == b->nics[i].has_mac &&
		       memcmp(a->nics[i].mac, b->nics[i].mac, sizeof(a->nics[i].mac)) == 0;
	return same;
}

bool vms_equal(const struct vms *a, const struct vms *b)
{
	bool same = a->count == b->count;

	for (size_t i = 0; same && i < a->count; i++)
		same = vm_equal(&a->items[i], &b->items[i]);
	return same;
}
