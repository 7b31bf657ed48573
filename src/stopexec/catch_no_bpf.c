/* SPDX-License-Identifier: MIT */
/* Where stopexec is built without libbpf. */
#include <errno.h>

#include "base/err.h"
#include "stopexec/catch_loop.h"
#include "stopexec/catch_maps.h"

static int way_open(struct catch_loop *l, long count, int *fd, struct err *e)
{
	(void)l;
	(void)count;
	(void)fd;
	return err_set(e, -EOPNOTSUPP, "This stopexec was built without BPF (libbpf)");
}

const struct catch_way catch_bpf = {.open = way_open};

void catch_maps_drain(const struct catch_maps *maps)
{
	(void)maps; /* there are none */
}
