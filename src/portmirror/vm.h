/* SPDX-License-Identifier: MIT */
/*
 * The virtual machines of this host, found without asking any manager: a process that holds
 * /dev/net/tun open shows the device's name in /proc/PID/fdinfo (iff:), and its command line
 * tells the machine's name, UUID and MAC addresses.
 */
#ifndef PORTMIRROR_VM_H
#define PORTMIRROR_VM_H

#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct err;

struct vm_nic {
	char port[IFNAMSIZ]; /* the tap on this host */
	bool has_mac;
	uint8_t mac[6]; /* the guest's */
};

struct vm {
	pid_t pid;
	char *name;	  /* what the command line calls it; "pid-1234" where it doesn't */
	char uuid[37];	  /* in small letters; "" where the command line tells none */
	char id[24];	  /* what Proxmox calls it ("100"); "" elsewhere */
	char monitor[24]; /* "qemu", "cloud-hypervisor", "firecracker", or the program's comm */
	bool named;	  /* the name is the machine's own */
	struct vm_nic *nics;
	size_t nnics;
};

struct vms {
	struct vm *items; /* by name, then pid */
	size_t count, room;
};

/* Looks through proc ("/proc"). Processes that end meanwhile, or whose tap lives in another network
 * namespace, are left out. */
int vms_find(const char *proc, struct vms *vms, struct err *e);

/* The same in portions, for who has other things to do meanwhile. proc: borrowed. */
struct vms_search;
int vms_search_new(const char *proc, struct vms_search **search, struct err *e);
void vms_search_free(struct vms_search *search);
/* Looks at so many processes and descriptors of theirs more, about. 0: there are others left; 1: no
 * more, *vms is what was found, and the search is to be freed; or a negative errno. */
int vms_search_go_on(struct vms_search *search, unsigned steps, struct vms *vms, struct err *e);

void vms_free(struct vms *vms);
int vms_copy(const struct vms *vms, struct vms *copy); /* 0 or -ENOMEM */
bool vms_equal(const struct vms *a, const struct vms *b);

/*
 * The pure half: what a command line (the bytes of /proc/PID/cmdline) says. *vm must be zeroed but
 * for pid; nics get a MAC and the descriptor number or device name that ties them to a tap.
 */
struct vm_hint {
	int fds[8]; /* descriptors of the tap; nfds of them */
	size_t nfds;
	char port[IFNAMSIZ]; /* or its name; "" */
	char netdev[64];     /* QEMU's id of the back end */
	bool has_mac;
	uint8_t mac[6];
};
struct vm_hints {
	struct vm_hint *items;
	size_t count, room;
};
int vm_read_cmdline(const char *cmdline, size_t len, const char *comm, struct vm *vm,
		    struct vm_hints *hints);
void vm_free(struct vm *vm); /* what it holds */

#endif
