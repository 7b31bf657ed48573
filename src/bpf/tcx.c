/* SPDX-License-Identifier: MIT */
#include "bpf/tcx.h"

#include <errno.h>
#include <string.h>

#include <bpf/bpf.h>

#include "base/err.h"

/* Linux 6.6, <linux/bpf.h>; older headers lack them. They are enumerators there, so that no #ifdef
 * tells. */
enum { TCX_INGRESS = 46, TCX_EGRESS = 47, TCX_LINK = 11 };
#define TCX_BEFORE (1u << 3) /* BPF_F_BEFORE */
#define TCX_AFTER  (1u << 4) /* BPF_F_AFTER */
#define TCX_ID	   (1u << 5) /* BPF_F_ID: relative to a program with that id */

#define LOOPBACK 1 /* the index of lo in every network namespace */

static enum bpf_attach_type hook(bool egress)
{
	return (enum bpf_attach_type)(egress ? TCX_EGRESS : TCX_INGRESS);
}

int tcx_programs(int ifindex, bool egress, uint32_t *ids, size_t room)
{
	LIBBPF_OPTS(bpf_prog_query_opts, opts, .prog_ids = ids, .prog_cnt = (uint32_t)room);
	int r = bpf_prog_query_opts(ifindex, hook(egress), &opts);

	/* -ENOSPC: as many as there is room for were told, and their number is right. */
	return r < 0 && r != -ENOSPC ? r : (int)opts.prog_cnt;
}

int tcx_known(struct err *e)
{
	int r = tcx_programs(LOOPBACK, false, NULL, 0);

	if (r == -ENOMEM) /* which says nothing about the kernel */
		return err_sys(e, r, "can't learn whether the kernel has tcx");
	return r >= 0;
}

int tcx_attach(int program_fd, int ifindex, bool egress, uint32_t behind, struct err *e)
{
	/* Older headers lack link_create.tcx.relative_id, which is where target_btf_id is. */
	LIBBPF_OPTS(bpf_link_create_opts, opts, .flags = behind ? TCX_AFTER | TCX_ID : TCX_BEFORE,
		    .target_btf_id = behind);
	int fd = bpf_link_create(program_fd, ifindex, hook(egress), &opts);

	return fd < 0 ? err_sys(e, fd, "can't attach a program to the device with index %d",
				ifindex)
		      : fd;
}

int tcx_replace(int link_fd, int program_fd, struct err *e)
{
	int r = bpf_link_update(link_fd, program_fd, NULL);

	return r < 0 ? err_sys(e, r, "can't exchange an attached program") : 0;
}

int tcx_look(int link_fd, struct tcx_link *link)
{
	struct bpf_link_info info = {0};
	struct { /* info.tcx, which older headers lack; it has the form of info.netns */
		uint32_t ifindex, attach_type;
	} tcx;
	uint32_t len = sizeof(info);
	int r = bpf_obj_get_info_by_fd(link_fd, &info, &len);

	if (r < 0)
		return r;
	if (info.type != TCX_LINK)
		return -ENOTSUP;
	memcpy(&tcx, &info.netns, sizeof(tcx));
	*link = (struct tcx_link){
		.id = info.id,
		.program = info.prog_id,
		.ifindex = (int)tcx.ifindex,
		.egress = tcx.attach_type == TCX_EGRESS,
	};
	return 0;
}
