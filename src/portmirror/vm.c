/* SPDX-License-Identifier: MIT */
#include "portmirror/vm.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/err.h"
#include "base/file.h"
#include "base/mem.h"
#include "portmirror/tap.h"

#define CMDLINE_MAX (4U << 20) /* more than QEMU's longest, less than the kernel's limit */

struct vms_search {
	const char *path; /* of proc; borrowed */
	struct tap_search in;
	struct vms vms;
};

static void hints_free(struct vm_hints *hints)
{
	free(hints->items);
}

/* A process that ends, or isn't ours to look at, is left out; anything else is an error. */
static bool is_gone(int code)
{
	return code == -ENOENT || code == -ESRCH || code == -EACCES || code == -EPERM;
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
static int describe(const struct vms_search *s, struct taps *taps, struct vm *vm)
{
	struct vm_hints hints cleanup(hints_free) = {0};
	char *cmdline cleanup(free_at) = NULL;
	char *comm cleanup(free_at) = NULL;
	char path[32];
	size_t len = 0, comm_len;
	int ret;

	snprintf(path, sizeof(path), "%d/cmdline", (int)vm->pid);
	ret = file_read_at(dirfd(s->in.proc), path, CMDLINE_MAX, &cmdline, &len, NULL);
	if (ret == -ENOMEM)
		return ret;
	snprintf(path, sizeof(path), "%d/comm", (int)vm->pid);
	ret = file_read_at(dirfd(s->in.proc), path, 64, &comm, &comm_len, NULL);
	if (ret == -ENOMEM)
		return ret;
	if (comm)
		comm[strcspn(comm, "\n")] = '\0';
	ret = vm_read_cmdline(cmdline ? cmdline : "", len, comm ? comm : "", vm, &hints);
	if (ret < 0)
		return ret;
	taps_settle(taps, &hints);
	return fill_nics(vm, taps, &hints);
}

static int look_at(struct vms_search *s, pid_t pid)
{
	struct taps taps cleanup(taps_free) = {0};
	struct vm vm cleanup(vm_free) = {.pid = pid};
	int ret = taps_find(&s->in, pid, &taps);

	if (ret < 0)
		return is_gone(ret) ? 0 : ret;
	if (taps.count == 0)
		return 0;
	ret = describe(s, &taps, &vm);
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
	if (s->in.proc)
		closedir(s->in.proc);
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
	s->in.proc = opendir(proc);
	if (!s->in.proc)
		return err_sys(e, -errno, "can't open %s", proc);
	/* Of the thread, whose netlink sockets see the same devices. */
	if (fstatat(dirfd(s->in.proc), "thread-self/ns/net", &s->in.net, 0) < 0)
		return err_sys(e, -errno, "can't read %s/thread-self/ns/net", proc);
	*search = take(s);
	return 0;
}

/* 1: there is no process left. */
static int look_further(struct vms_search *s, unsigned steps)
{
	unsigned until = s->in.steps + steps;
	const struct dirent *entry;
	int ret = 0;

	while (ret == 0 && s->in.steps < until) {
		int pid;

		errno = 0;
		entry = readdir(s->in.proc);
		if (!entry)
			return errno ? -errno : 1;
		s->in.steps++;
		pid = proc_number(entry->d_name);
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
