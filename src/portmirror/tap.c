/* SPDX-License-Identifier: MIT */
#include "portmirror/tap.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/if_tun.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

#include "base/file.h"
#include "base/mem.h"
#include "netlink/link.h"
#include "portmirror/vm.h"

#define FDINFO_MAX 4096

/* A process while it is looked at. */
struct holder {
	struct tap_search *search;
	pid_t pid;
	int pidfd; /* -1: not opened, or not to be had */
	bool asked;
	struct taps *taps;
};

static void holder_free(struct holder *h)
{
	fd_close_at(&h->pidfd);
}

static void closedir_at(DIR **dir)
{
	if (*dir)
		closedir(*dir);
}

int proc_number(const char *name)
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
static int ask_tap(struct holder *h, struct tap *asked, struct stat *net)
{
	int tap cleanup(fd_close_at) = -1;
	int ns cleanup(fd_close_at) = -1;

	if (!h->asked)
		h->pidfd = (int)syscall(SYS_pidfd_open, h->pid, 0);
	h->asked = true;
	if (h->pidfd < 0)
		return -ESRCH;
	tap = (int)syscall(SYS_pidfd_getfd, h->pidfd, asked->fd, 0);
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
static bool is_in_our_net(struct holder *h, struct tap *tap)
{
	struct stat net = {0};
	char path[32];

	if (ask_tap(h, tap, &net) == 0)
		return is_same(&net, &h->search->net);
	snprintf(path, sizeof(path), "%d/ns/net", (int)h->pid);
	return fstatat(dirfd(h->search->proc), path, &net, 0) == 0 &&
	       is_same(&net, &h->search->net);
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

static int add_tap(struct holder *h, int fd)
{
	struct tap tap = {.fd = fd, .hint = SIZE_MAX};
	char *fdinfo cleanup(free_at) = NULL;
	char path[48];
	size_t len;
	int r;

	snprintf(path, sizeof(path), "%d/fdinfo/%d", (int)h->pid, fd);
	r = file_read_at(dirfd(h->search->proc), path, FDINFO_MAX, &fdinfo, &len, NULL);
	if (r < 0)
		return r == -ENOMEM ? r : 0;
	if (!read_port(fdinfo, tap.port) || !is_in_our_net(h, &tap))
		return 0;
	if (array_room(&h->taps->items, &h->taps->room, h->taps->count, sizeof(tap)) < 0)
		return -ENOMEM;
	h->taps->items[h->taps->count++] = tap;
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
static int open_folder(const struct holder *h, const char *name)
{
	char path[32];
	int fd;

	snprintf(path, sizeof(path), "%d/%s", (int)h->pid, name);
	fd = openat(dirfd(h->search->proc), path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* The links in "fd" tell at once what is no tap. Of another user's process it takes
 * CAP_DAC_READ_SEARCH to open them; "fdinfo" then says as much, in a longer time, to who may trace
 * the process (Linux 5.14, fs/proc/fd.c). */
static int find_taps(struct holder *h)
{
	DIR *fds cleanup(closedir_at) = NULL;
	const struct dirent *entry;
	bool links = true;
	char path[32];
	int folder, ret = 0;

	snprintf(path, sizeof(path), "%d/exe", (int)h->pid);
	if (readlinkat(dirfd(h->search->proc), path, (char[1]){0}, 1) < 0)
		return -errno; /* -ENOENT for the kernel's own threads */
	folder = open_folder(h, "fd");
	if (folder == -EACCES) {
		links = false;
		folder = open_folder(h, "fdinfo");
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
		int fd = proc_number(entry->d_name);

		h->search->steps++;
		if (fd >= 0 && (!links || is_tun(folder, entry->d_name)))
			ret = add_tap(h, fd);
	}
	return ret;
}

int taps_find(struct tap_search *s, pid_t pid, struct taps *taps)
{
	struct holder h cleanup(holder_free) = {.search = s, .pid = pid, .pidfd = -1, .taps = taps};

	return find_taps(&h);
}

void taps_free(struct taps *taps)
{
	free(taps->items);
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

void taps_settle(struct taps *taps, const struct vm_hints *hints)
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
